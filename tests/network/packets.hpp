// SPDX-License-Identifier: Apache-2.0
// Packets, byte by byte.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <string_view>
#include <vector>

#include "ironcore/base/ip_address.hpp"

namespace ironcore::tests {

using Bytes = std::vector<std::uint8_t>;

inline Bytes operator+(Bytes a, const Bytes& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}
inline void put16(Bytes& bytes, std::size_t at, std::uint16_t value) {
  bytes[at] = static_cast<std::uint8_t>(value >> 8);
  bytes[at + 1] = static_cast<std::uint8_t>(value);
}
inline void put_address(Bytes& bytes, std::size_t at, std::string_view address) {
  const auto parsed = IpAddress::parse(address).value();
  const auto raw = parsed.bytes();
  for (std::size_t i = 0; i < raw.size(); ++i) bytes[at + i] = raw[i];
}

/// RFC 1071, the way that the RFC says it: to compare with.
inline std::uint16_t checksum_of(const Bytes& bytes) {
  std::uint32_t sum = 0;
  for (std::size_t i = 0; i < bytes.size(); i += 2)
    sum += static_cast<std::uint32_t>(bytes[i] << 8 | (i + 1 < bytes.size() ? bytes[i + 1] : 0));
  while (sum >> 16 != 0) sum = (sum & 0xffff) + (sum >> 16);
  return static_cast<std::uint16_t>(~sum);
}

struct V4 {
  std::string_view source = "10.0.0.1";
  std::string_view destination = "10.0.0.2";
  std::uint8_t protocol = 17;
  std::uint8_t ttl = 64;
  std::uint16_t fragment = 0;  ///< flags and offset as they stand in the header
  Bytes options;               ///< a multiple of four bytes
};
inline Bytes v4(const Bytes& payload, const V4& with = {}) {
  Bytes ip(20);
  ip = ip + with.options;
  ip[0] = static_cast<std::uint8_t>(0x40 | ip.size() / 4);
  put16(ip, 2, static_cast<std::uint16_t>(ip.size() + payload.size()));
  put16(ip, 4, 0x1234);
  put16(ip, 6, with.fragment);
  ip[8] = with.ttl;
  ip[9] = with.protocol;
  put_address(ip, 12, with.source);
  put_address(ip, 16, with.destination);
  put16(ip, 10, checksum_of(ip));
  return ip + payload;
}

struct V6 {
  std::string_view source = "2001:db8::1";
  std::string_view destination = "2001:db8::2";
  std::uint8_t next_header = 17;
  std::uint8_t hop_limit = 64;
};
inline Bytes v6(const Bytes& payload, const V6& with = {}) {
  Bytes ip(40);
  ip[0] = 0x60;
  put16(ip, 4, static_cast<std::uint16_t>(payload.size()));
  ip[6] = with.next_header;
  ip[7] = with.hop_limit;
  put_address(ip, 8, with.source);
  put_address(ip, 24, with.destination);
  return ip + payload;
}

inline Bytes udp(std::uint16_t source, std::uint16_t destination, const Bytes& payload = {}) {
  Bytes header(8);
  put16(header, 0, source);
  put16(header, 2, destination);
  put16(header, 4, static_cast<std::uint16_t>(8 + payload.size()));
  return header + payload;
}
inline Bytes tcp(std::uint16_t source, std::uint16_t destination, std::uint8_t flags, const Bytes& payload = {}) {
  Bytes header(20);
  put16(header, 0, source);
  put16(header, 2, destination);
  header[12] = 0x50;
  header[13] = flags;
  return header + payload;
}
inline Bytes sctp(std::uint16_t source, std::uint16_t destination) {
  Bytes header(12);
  put16(header, 0, source);
  put16(header, 2, destination);
  return header;
}
inline Bytes icmp(std::uint8_t type, std::uint8_t code, std::uint16_t id = 0, const Bytes& payload = {}) {
  Bytes header(8);
  header[0] = type;
  header[1] = code;
  put16(header, 4, id);
  return header + payload;
}

/// An IPv6 extension header of eight bytes.
inline Bytes extension(std::uint8_t next, std::uint8_t third = 0, std::uint8_t fourth = 0) {
  return {next, 0, third, fourth, 0, 0, 0, 0};
}
inline Bytes v6_fragment(std::uint8_t next, std::uint16_t offset, bool has_more) {
  const auto field = static_cast<std::uint16_t>(offset | (has_more ? 1 : 0));
  return {next, 0, static_cast<std::uint8_t>(field >> 8), static_cast<std::uint8_t>(field), 0xca, 0xfe, 0xba, 0xbe};
}

}  // namespace ironcore::tests
