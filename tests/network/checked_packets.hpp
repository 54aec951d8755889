// SPDX-License-Identifier: Apache-2.0
// Packets whose checksums are right, made and verified by summing all bytes; random ones too.
#pragma once

#include <algorithm>
#include <array>
#include <cstring>
#include <memory>
#include <optional>
#include <random>
#include <span>
#include <string>

#include "packets.hpp"

namespace ironcore::tests {

inline std::uint16_t get16(const Bytes& bytes, std::size_t at) {
  return static_cast<std::uint16_t>(bytes.at(at) << 8 | bytes.at(at + 1));
}
inline std::uint32_t get32(const Bytes& bytes, std::size_t at) {
  return static_cast<std::uint32_t>(get16(bytes, at)) << 16 | get16(bytes, at + 2);
}
inline void put32(Bytes& bytes, std::size_t at, std::uint32_t value) {
  put16(bytes, at, static_cast<std::uint16_t>(value >> 16));
  put16(bytes, at + 2, static_cast<std::uint16_t>(value));
}
inline Bytes slice(const Bytes& bytes, std::size_t from, std::size_t to = SIZE_MAX) {
  return {bytes.begin() + static_cast<std::ptrdiff_t>(std::min(from, bytes.size())),
          bytes.begin() + static_cast<std::ptrdiff_t>(std::min(to, bytes.size()))};
}
inline Bytes address_bytes(std::string_view text) {
  const auto parsed = IpAddress::parse(text).value();
  return {parsed.bytes().begin(), parsed.bytes().end()};
}

/// Where a packet's transport is and what it is, read without doubts.
struct Place {
  std::size_t at = 0;
  std::uint8_t protocol = 0;
  bool is_fragment = false;
  bool is_first = true;
};
inline Place place_of(const Bytes& packet) {
  if (packet.at(0) >> 4 == 4) {
    const auto flags = get16(packet, 6);
    return {static_cast<std::size_t>(packet[0] & 15) * 4, packet[9], (flags & 0x3fff) != 0, (flags & 0x1fff) == 0};
  }
  Place place{40, packet.at(6)};
  while (place.protocol == 0 || place.protocol == 43 || place.protocol == 44 || place.protocol == 60) {
    const auto size = place.protocol == 44 ? 8U : packet.at(place.at + 1) * 8U + 8U;
    if (place.protocol == 44) {
      const auto field = get16(packet, place.at + 2);
      place.is_fragment = (field & 0xfff9) != 0;
      place.is_first = field < 8;
    }
    place.protocol = packet.at(place.at);
    place.at += size;
    if (!place.is_first) break;
  }
  return place;
}
inline std::size_t length_of(const Bytes& packet) {
  return packet.at(0) >> 4 == 4 ? get16(packet, 2) : get16(packet, 4) + 40U;
}
/// From the transport's beginning on; 0 if it has none that we know.
inline std::size_t checksum_place(std::uint8_t protocol) {
  if (protocol == 6) return 16;
  if (protocol == 17) return 6;
  return protocol == 1 || protocol == 58 ? 2 : 0;
}
/// What the transport's checksum field should hold.
inline std::uint16_t transport_checksum(const Bytes& packet) {
  const auto place = place_of(packet);
  auto transport = slice(packet, place.at, length_of(packet));
  put16(transport, checksum_place(place.protocol), 0);
  const bool is_v4 = packet[0] >> 4 == 4;
  Bytes pseudo;
  if (place.protocol != 1) {
    pseudo = is_v4 ? slice(packet, 12, 20) : slice(packet, 8, 40);
    pseudo.resize(pseudo.size() + 8);
    put32(pseudo, pseudo.size() - 8, static_cast<std::uint32_t>(transport.size()));
    put32(pseudo, pseudo.size() - 4, place.protocol);
  }
  const auto sum = checksum_of(pseudo + transport);
  return place.protocol == 17 && sum == 0 ? 0xffff : sum;
}
/// CRC-32C as RFC 9260 defines it, bit by bit.
inline std::uint32_t crc32c_of(const Bytes& bytes) {
  std::uint32_t crc = 0xffff'ffff;
  for (const auto byte : bytes) {
    crc ^= byte;
    for (int bit = 0; bit < 8; ++bit) crc = (crc & 1) != 0 ? crc >> 1 ^ 0x82f6'3b78 : crc >> 1;
  }
  return ~crc;
}
/// An SCTP packet, without what is around it, gets its checksum.
inline Bytes sctp_summed(Bytes packet) {
  put32(packet, 8, 0);
  const auto crc = crc32c_of(packet);
  for (unsigned i = 0; i < 4; ++i) packet[8 + i] = static_cast<std::uint8_t>(crc >> 8 * i);
  return packet;
}

/// All checksums set, of the outer headers only.
inline Bytes checksummed(Bytes packet) {
  if (packet.at(0) >> 4 == 4) {
    put16(packet, 10, 0);
    put16(packet, 10, checksum_of(slice(packet, 0, place_of(packet).at)));
  }
  const auto place = place_of(packet);
  const auto within = checksum_place(place.protocol);
  if (within != 0 && !place.is_fragment) put16(packet, place.at + within, transport_checksum(packet));
  return packet;
}
inline bool is_header_right(const Bytes& packet) {
  return packet.at(0) >> 4 != 4 || checksum_of(slice(packet, 0, place_of(packet).at)) == 0;
}
/// Of whole packets, no fragments. UDP without a checksum is right in IPv4.
inline bool is_right(const Bytes& packet) {
  if (!is_header_right(packet) || length_of(packet) != packet.size()) return false;
  const auto place = place_of(packet);
  const auto within = checksum_place(place.protocol);
  if (within == 0) return true;
  const auto value = get16(packet, place.at + within);
  if (place.protocol == 17 && value == 0) return packet[0] >> 4 == 4;
  return value == transport_checksum(packet);
}
/// The message of an ICMP error about a packet.
inline Bytes icmp_error(std::uint8_t type, std::uint8_t code, std::uint32_t value, const Bytes& quote) {
  Bytes header(8);
  header[0] = type;
  header[1] = code;
  put32(header, 4, value);
  return header + quote;
}
/// What an ICMP error quotes.
inline Bytes quote_of(const Bytes& error) {
  return slice(error, place_of(error).at + 8);
}

inline IpAddress v6_at(const Bytes& packet, std::size_t at) {
  std::array<std::uint8_t, 16> bytes{};
  std::copy_n(packet.begin() + static_cast<std::ptrdiff_t>(at), bytes.size(), bytes.begin());
  return IpAddress::v6(bytes);
}
inline std::string source_address(const Bytes& packet) {
  return packet[0] >> 4 == 4 ? IpAddress::v4(get32(packet, 12)).to_text() : v6_at(packet, 8).to_text();
}
inline std::string destination_address(const Bytes& packet) {
  return packet[0] >> 4 == 4 ? IpAddress::v4(get32(packet, 16)).to_text() : v6_at(packet, 24).to_text();
}

/// Bytes in memory of exactly their number, so that a sanitizer sees what is beyond.
class Exact {
 public:
  explicit Exact(const Bytes& bytes) : memory_(std::make_unique<std::uint8_t[]>(bytes.size())), size_(bytes.size()) {
    std::copy(bytes.begin(), bytes.end(), memory_.get());
  }
  std::span<std::uint8_t> span() { return {memory_.get(), size_}; }
  Bytes bytes() const { return {memory_.get(), memory_.get() + size_}; }

 private:
  std::unique_ptr<std::uint8_t[]> memory_;
  std::size_t size_;
};

class RandomPackets {
 public:
  explicit RandomPackets(unsigned seed) : random_(seed) {}

  std::uint32_t below(std::uint32_t count) { return static_cast<std::uint32_t>(random_() % count); }
  std::uint16_t word() { return static_cast<std::uint16_t>(below(4) == 0 ? 0xffff * below(2) : below(65'536)); }
  Bytes bytes(std::size_t count) {
    Bytes made(count);
    // Zeros and ones are where one's complement has two forms of the same number.
    for (auto& byte : made) byte = static_cast<std::uint8_t>(below(3) == 0 ? 0xff * below(2) : below(256));
    return made;
  }
  /// TCP, UDP or echo, with right checksums.
  Bytes whole(bool is_v6, std::size_t most = 300) {
    const auto payload = bytes(below(static_cast<std::uint32_t>(most)));
    Bytes packet;
    const std::uint8_t protocols[] = {6, 17, static_cast<std::uint8_t>(is_v6 ? 58 : 1), 47};
    const auto protocol = protocols[below(4)];
    Bytes transport = payload;
    if (protocol == 6) transport = tcp(word(), word(), static_cast<std::uint8_t>(below(64)), payload);
    if (protocol == 17) transport = udp(word(), word(), payload);
    if (protocol == 58) transport = icmp(static_cast<std::uint8_t>(128 + below(2)), 0, word(), payload);
    if (protocol == 1) transport = icmp(below(2) == 0 ? 8 : 0, 0, word(), payload);
    if (is_v6) {
      Bytes extensions;
      auto next = protocol;
      for (auto count = below(3); count > 0; --count) {
        extensions = extension(next) + extensions;
        next = 60;
      }
      packet = v6(extensions + transport, {.next_header = next, .hop_limit = static_cast<std::uint8_t>(below(256))});
      std::ranges::copy(bytes(32), packet.begin() + 8);
      packet[8] = 0x20;
      packet[24] = 0x20;
    } else {
      packet = v4(transport, {.protocol = protocol, .options = Bytes(4 * below(3), 1)});
      std::ranges::copy(bytes(8), packet.begin() + 12);
      packet[12] = packet[16] = 10;
      put16(packet, 4, word());
      packet[8] = static_cast<std::uint8_t>(below(256));
    }
    packet[1] = static_cast<std::uint8_t>(is_v6 ? below(16) << 4 : below(256));
    packet = checksummed(packet);
    if (protocol == 17 && !is_v6 && below(4) == 0) put16(packet, place_of(packet).at + 6, 0);
    return packet;
  }

 private:
  std::mt19937 random_;
};

}  // namespace ironcore::tests
