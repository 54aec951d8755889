// SPDX-License-Identifier: Apache-2.0
// Walking from the IP header to the transport.
#include "headers.hpp"

#include "bytes.hpp"
#include "checksum.hpp"

namespace ironcore::network::dataplane {

namespace {

constexpr std::size_t v4_header_bytes = 20;
constexpr std::size_t v6_header_bytes = 40;
constexpr std::uint32_t longest_packet = 65'535;
/// More than any sender needs; each costs time.
constexpr int most_extension_headers = 8;

// Next headers of IPv6 that are not the transport (RFC 8200 §4.1).
constexpr std::uint8_t hop_by_hop = 0;
constexpr std::uint8_t routing = 43;
constexpr std::uint8_t fragment = 44;
constexpr std::uint8_t authentication = 51;
constexpr std::uint8_t destination_options = 60;

struct Input {
  std::span<const std::uint8_t> bytes;
  std::size_t packet_bytes;
  bool is_quoted;

  /// `count` bytes at `at` can be read.
  bool has(std::size_t at, std::size_t count) const noexcept {
    return at <= bytes.size() && count <= bytes.size() - at;
  }
  const std::uint8_t* at(std::size_t offset) const noexcept { return bytes.data() + offset; }
};

/// The bytes behind the transport's beginning, as far as this packet has them.
std::uint32_t transport_bytes(const Headers& headers) noexcept {
  return headers.length - headers.transport;
}

Malformed read_tcp(const Input& in, Headers& out) noexcept {
  const auto least = in.is_quoted ? 8U : 20U;
  if (transport_bytes(out) < least || !in.has(out.transport, least)) return Malformed::header_cut;
  const auto* tcp = in.at(out.transport);
  out.source_port = load16(tcp);
  out.destination_port = load16(tcp + 2);
  if (in.is_quoted) return Malformed::none;
  const auto header_bytes = static_cast<std::uint32_t>(tcp[12] >> 4) * 4;
  if (header_bytes < 20 || header_bytes > transport_bytes(out)) return Malformed::transport;
  out.tcp_flags = tcp[13];
  return Malformed::none;
}

Malformed read_udp(const Input& in, Headers& out) noexcept {
  if (transport_bytes(out) < 8 || !in.has(out.transport, 8)) return Malformed::header_cut;
  const auto* udp = in.at(out.transport);
  out.source_port = load16(udp);
  out.destination_port = load16(udp + 2);
  if (in.is_quoted) return Malformed::none;
  const auto length = load16(udp + 4);
  // A first fragment holds less than the datagram.
  if (length < 8 || (!out.is_fragment && length > transport_bytes(out))) return Malformed::transport;
  return Malformed::none;
}

Malformed read_sctp(const Input& in, Headers& out) noexcept {
  const auto least = in.is_quoted ? 8U : 12U;
  if (transport_bytes(out) < least || !in.has(out.transport, least)) return Malformed::header_cut;
  out.source_port = load16(in.at(out.transport));
  out.destination_port = load16(in.at(out.transport) + 2);
  return Malformed::none;
}

Malformed read_icmp(const Input& in, Headers& out) noexcept {
  if (transport_bytes(out) < 8 || !in.has(out.transport, 8)) return Malformed::header_cut;
  const auto* icmp = in.at(out.transport);
  out.icmp_type = icmp[0];
  out.icmp_code = icmp[1];
  if (is_echo(out)) out.source_port = out.destination_port = load16(icmp + 4);
  return Malformed::none;
}

Malformed read_transport(const Input& in, Headers& out) noexcept {
  if (!out.is_first) return Malformed::none;
  auto read = Malformed::none;
  switch (out.protocol) {
    case protocol_tcp:
      read = read_tcp(in, out);
      break;
    case protocol_udp:
      read = read_udp(in, out);
      break;
    case protocol_sctp:
      read = read_sctp(in, out);
      break;
    case protocol_icmp:
    case protocol_icmpv6:
      // Each belongs to one family; in the other one it is a protocol like any other.
      if ((out.protocol == protocol_icmpv6) != out.is_v6) return Malformed::none;
      read = read_icmp(in, out);
      break;
    default:
      return Malformed::none;
  }
  // The first fragment must have what filters decide by.
  if (read == Malformed::header_cut && out.is_fragment) return Malformed::fragment;
  out.has_transport = read == Malformed::none;
  return read;
}

Malformed check_fragment(Headers& out) noexcept {
  out.is_first = out.fragment_offset == 0;
  out.is_fragment = out.has_more || !out.is_first;
  if (!out.is_fragment) return Malformed::none;
  const auto data = transport_bytes(out);
  if (out.fragment_offset + data > longest_packet) return Malformed::fragment;
  // All but the last one are cut at multiples of eight bytes.
  if (out.has_more && (data == 0 || data % 8 != 0)) return Malformed::fragment;
  // The second eight bytes alone would overwrite the flags of TCP (RFC 3128).
  if (out.protocol == protocol_tcp && out.fragment_offset == 8) return Malformed::fragment;
  return Malformed::none;
}

Malformed parse_v4(const Input& in, Headers& out) noexcept {
  if (!in.has(0, v4_header_bytes)) return Malformed::header_cut;
  const auto* ip = in.at(0);
  const auto header_bytes = static_cast<std::size_t>(ip[0] & 0x0f) * 4;
  if (header_bytes < v4_header_bytes) return Malformed::length;
  if (!in.has(0, header_bytes)) return Malformed::header_cut;
  out.length = load16(ip + 2);
  if (out.length < header_bytes || (!in.is_quoted && out.length > in.packet_bytes)) return Malformed::length;
  if (!in.is_quoted) {
    ChecksumSum sum;
    sum.add(in.bytes.first(header_bytes));
    if (sum.folded() != 0xffff) return Malformed::header_checksum;
  }
  out.hop_limit = ip[8];
  out.protocol = ip[9];
  out.transport = static_cast<std::uint16_t>(header_bytes);
  const auto flags = load16(ip + 6);
  out.has_more = (flags & 0x2000) != 0;
  out.fragment_offset = static_cast<std::uint16_t>((flags & 0x1fff) * 8);
  out.fragment_id = load16(ip + 4);
  if (const auto wrong = check_fragment(out); wrong != Malformed::none && !in.is_quoted) return wrong;
  return read_transport(in, out);
}

Malformed parse_v6(const Input& in, Headers& out) noexcept {
  if (!in.has(0, v6_header_bytes)) return Malformed::header_cut;
  const auto* ip = in.at(0);
  out.is_v6 = true;
  out.length = static_cast<std::uint32_t>(load16(ip + 4) + v6_header_bytes);
  if (!in.is_quoted && out.length > in.packet_bytes) return Malformed::length;
  out.hop_limit = ip[7];
  auto next = ip[6];
  std::size_t at = v6_header_bytes;
  for (int count = 0;; ++count) {
    const bool is_extension = next == hop_by_hop || next == routing || next == fragment || next == authentication ||
                              next == destination_options;
    if (!is_extension) break;
    if (count == most_extension_headers || (next == hop_by_hop && count != 0)) return Malformed::extension_header;
    if (at + 8 > out.length || !in.has(at, 8)) return Malformed::header_cut;
    const auto* header = in.at(at);
    std::size_t size = (static_cast<std::size_t>(header[1]) + 1) * 8;
    if (next == authentication) size = (static_cast<std::size_t>(header[1]) + 2) * 4;  // RFC 4302 §2.2
    if (next == routing && header[2] == 0 && header[3] != 0) return Malformed::extension_header;
    if (next == fragment) {
      if (out.fragment_header != 0) return Malformed::extension_header;
      size = 8;
      out.fragment_header = static_cast<std::uint16_t>(at);
      const auto field = load16(header + 2);
      out.has_more = (field & 1) != 0;
      out.fragment_offset = field & 0xfff8;
      out.fragment_id = load32(header + 4);
    }
    next = header[0];
    at += size;
    if (at > out.length) return Malformed::header_cut;
    if (out.fragment_offset != 0) break;  // what follows is the middle of something
  }
  out.protocol = next;
  out.transport = static_cast<std::uint16_t>(at);
  if (out.fragment_header != 0)
    if (const auto wrong = check_fragment(out); wrong != Malformed::none && !in.is_quoted) return wrong;
  return read_transport(in, out);
}

}  // namespace

Malformed parse(std::span<const std::uint8_t> bytes, std::size_t packet_bytes, Headers& headers,
                Extent extent) noexcept {
  if (bytes.empty()) return Malformed::header_cut;
  Headers read;
  const Input in{bytes, packet_bytes, extent == Extent::quoted};
  auto wrong = Malformed::version;
  if (bytes[0] >> 4 == 4) wrong = parse_v4(in, read);
  if (bytes[0] >> 4 == 6) wrong = parse_v6(in, read);
  if (wrong == Malformed::none) headers = read;
  return wrong;
}

bool is_echo(const Headers& headers) noexcept {
  if (headers.is_v6)
    return headers.protocol == protocol_icmpv6 && (headers.icmp_type == 128 || headers.icmp_type == 129);
  return headers.protocol == protocol_icmp && (headers.icmp_type == 8 || headers.icmp_type == 0);
}

bool is_icmp_error(const Headers& headers) noexcept {
  if (!headers.has_transport) return false;
  // RFC 792: unreachable, source quench, redirect, time exceeded, parameter problem.
  if (headers.protocol == protocol_icmp)
    return headers.icmp_type == 3 || headers.icmp_type == 4 || headers.icmp_type == 5 || headers.icmp_type == 11 ||
           headers.icmp_type == 12;
  return headers.protocol == protocol_icmpv6 && headers.icmp_type < 128;
}

}  // namespace ironcore::network::dataplane
