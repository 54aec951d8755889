// SPDX-License-Identifier: Apache-2.0
// A machine that speaks to its gateway.
#pragma once

#include <doctest/doctest.h>

#include <algorithm>
#include <cstddef>
#include <memory>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "dataplane/local_services.hpp"
#include "packets.hpp"

namespace ironcore::tests {

inline const Bytes gateway_mac{0x02, 0, 0, 0, 0, 0xfe};
inline const Bytes machine_mac{0x02, 0, 0, 0, 0, 0x0a};
inline const Bytes broadcast{0xff, 0xff, 0xff, 0xff, 0xff, 0xff};
inline constexpr std::string_view machine_v6_link = "fe80::a";

inline MacAddress mac_of(const Bytes& bytes) {
  std::array<std::uint8_t, 6> raw{};
  std::copy_n(bytes.begin(), 6, raw.begin());
  return MacAddress(raw);
}
inline IpAddress address(std::string_view text) {
  return IpAddress::parse(text).value();
}
inline Bytes raw(std::string_view text) {
  const auto parsed = address(text);
  const auto bytes = parsed.bytes();
  return {bytes.begin(), bytes.end()};
}
inline Bytes text(std::string_view letters) {
  return {letters.begin(), letters.end()};
}

/// With both addresses, and nothing that is optional.
inline network::dataplane::LocalServices services() {
  network::dataplane::LocalServices told;
  told.gateway_mac = mac_of(gateway_mac);
  told.ipv4 = address("10.1.2.3");
  told.ipv6 = address("2001:db8::3");
  return told;
}

inline Bytes ethernet(std::uint16_t type, const Bytes& payload, const Bytes& destination = broadcast,
                      const Bytes& source = machine_mac) {
  return destination + source + Bytes{static_cast<std::uint8_t>(type >> 8), static_cast<std::uint8_t>(type)} + payload;
}

inline Bytes part(const Bytes& bytes, std::size_t at, std::size_t count) {
  REQUIRE(at + count <= bytes.size());
  const auto begin = bytes.begin() + static_cast<std::ptrdiff_t>(at);
  return {begin, begin + static_cast<std::ptrdiff_t>(count)};
}
inline Bytes from(const Bytes& bytes, std::size_t at) {
  REQUIRE(at <= bytes.size());
  return part(bytes, at, bytes.size() - at);
}
inline std::uint16_t get16(const Bytes& bytes, std::size_t at) {
  REQUIRE(at + 2 <= bytes.size());
  return static_cast<std::uint16_t>(bytes[at] << 8 | bytes[at + 1]);
}

/// What the transport's checksum covers: of a right packet it sums up to 0.
inline Bytes covered(const Bytes& packet) {
  const bool is_v6 = packet[0] >> 4 == 6;
  const std::size_t header = is_v6 ? 40 : static_cast<std::size_t>(packet[0] & 15) * 4;
  const auto protocol = is_v6 ? packet[6] : packet[9];
  const auto transport = from(packet, header);
  if (protocol == 1) return transport;
  Bytes pseudo = is_v6 ? part(packet, 8, 32) : part(packet, 12, 8);
  pseudo = pseudo + Bytes{0, protocol, 0, 0};
  put16(pseudo, pseudo.size() - 2, static_cast<std::uint16_t>(transport.size()));
  return pseudo + transport;
}

/// An IP packet without extension headers gets the checksum of its UDP, ICMP or ICMPv6.
inline Bytes summed(Bytes packet) {
  const bool is_v6 = packet[0] >> 4 == 6;
  const std::size_t header = is_v6 ? 40 : static_cast<std::size_t>(packet[0] & 15) * 4;
  const auto at = header + ((is_v6 ? packet[6] : packet[9]) == 17 ? 6 : 2);
  put16(packet, at, 0);
  put16(packet, at, checksum_of(covered(packet)));
  return packet;
}

struct Heard {
  network::dataplane::NoReply why;
  Bytes frame;
  std::optional<network::dataplane::Claim> claim;
};

/// From and into memory of exactly that size, so that a sanitizer sees a read or write beyond it.
template <class Service>
Heard heard(Service service, const Bytes& frame, const network::dataplane::LocalServices& told,
            std::size_t room = 2048) {
  const auto in = std::make_unique<std::uint8_t[]>(frame.size());
  const auto out = std::make_unique<std::uint8_t[]>(room);
  std::copy(frame.begin(), frame.end(), in.get());
  const auto answer = service(std::span<const std::uint8_t>(in.get(), frame.size()), told, {out.get(), room});
  CHECK((answer.length != 0) == (answer.why == network::dataplane::NoReply::none));
  REQUIRE(answer.length <= room);
  return {answer.why, Bytes(out.get(), out.get() + answer.length), answer.claim};
}

/// The transport and what it carries of a frame from the gateway, whose addresses, lengths and checksums are checked.
inline Bytes opened(const Bytes& frame, const Bytes& to_mac, std::string_view to, std::uint8_t protocol,
                    std::uint8_t hop_limit = 64) {
  REQUIRE(frame.size() >= 34);
  CHECK(part(frame, 0, 6) == to_mac);
  CHECK(part(frame, 6, 6) == gateway_mac);
  const auto packet = from(frame, 14);
  CHECK(checksum_of(covered(packet)) == 0);
  if (get16(frame, 12) == 0x86dd) {
    CHECK(part(packet, 0, 4) == Bytes{0x60, 0, 0, 0});
    CHECK(get16(packet, 4) == packet.size() - 40);
    CHECK(packet[6] == protocol);
    CHECK(packet[7] == hop_limit);
    CHECK(part(packet, 8, 16) == raw("fe80::1"));
    CHECK(part(packet, 24, 16) == raw(to));
    return from(packet, 40);
  }
  CHECK(get16(frame, 12) == 0x0800);
  CHECK(packet[0] == 0x45);
  CHECK(get16(packet, 2) == packet.size());
  CHECK(packet[8] == hop_limit);
  CHECK(packet[9] == protocol);
  CHECK(checksum_of(part(packet, 0, 20)) == 0);
  CHECK(part(packet, 12, 4) == raw("169.254.0.1"));
  CHECK(part(packet, 16, 4) == raw(to));
  return from(packet, 20);
}

/// Every shorter frame, and every frame with one byte changed: what comes back is a whole frame or nothing, and no sanitizer complains.
template <class Service>
void survives_damage(Service service, const Bytes& frame, const network::dataplane::LocalServices& told) {
  for (std::size_t length = 0; length < frame.size(); ++length) heard(service, part(frame, 0, length), told);
  for (std::size_t at = 0; at < frame.size(); ++at) {
    for (const int change : {1, 0x80, 0xff}) {
      auto damaged = frame;
      damaged[at] = static_cast<std::uint8_t>(damaged[at] ^ change);
      heard(service, damaged, told);
    }
  }
  for (std::size_t room = 0; room < 400; ++room) heard(service, frame, told, room);
}

}  // namespace ironcore::tests

namespace doctest {
template <>
struct StringMaker<ironcore::tests::Bytes> {
  static String convert(const ironcore::tests::Bytes& bytes) {
    String hex;
    for (const auto byte : bytes) {
      const char digits[] = {"0123456789abcdef"[byte >> 4], "0123456789abcdef"[byte & 15], 0};
      hex += digits;
    }
    return hex;
  }
};
}  // namespace doctest
