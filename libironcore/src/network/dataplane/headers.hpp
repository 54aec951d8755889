// SPDX-License-Identifier: Apache-2.0
// What the headers of an IP packet say, read with every length checked.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>

#include "bytes.hpp"
#include "ironcore/network/protocols.hpp"

namespace ironcore::network::dataplane {

using network::protocol_icmp;
using network::protocol_icmpv6;
using network::protocol_sctp;
using network::protocol_tcp;
using network::protocol_udp;

/// Why a packet cannot be what it claims to be.
enum class Malformed : std::uint8_t {
  none,
  header_cut,        ///< a header does not fit into the packet, or into the bytes at hand
  version,           ///< neither IPv4 nor IPv6, or another one than the frame says
  length,            ///< lengths contradict each other
  header_checksum,   ///< of IPv4
  extension_header,  ///< of IPv6: misplaced, too many, or a routing header that asks for source routing (RFC 5095)
  fragment,          ///< reaches beyond 65,535 bytes, or hides the transport header (RFC 1858, RFC 3128, RFC 7112)
  transport,         ///< TCP's data offset or UDP's length is impossible
};

/// `quoted`: the beginning of a packet inside an ICMP error (RFC 792, RFC 4443): the lengths speak of a whole packet of which only 8 bytes
/// of the transport header need to be there.
enum class Extent : std::uint8_t { whole, quoted };

/// Offsets count from the first byte of the IP header.
struct Headers {
  bool is_v6 = false;
  std::uint8_t protocol = 0;          ///< of the transport, behind all extension headers
  std::uint8_t hop_limit = 0;         ///< or time to live
  std::uint16_t transport = 0;        ///< where it begins; of later fragments, where their data does
  std::uint32_t length = 0;           ///< of the packet; what the frame holds beyond is padding
  std::uint16_t fragment_header = 0;  ///< where IPv6 has it; 0 = there is none

  bool is_fragment = false;  ///< a real one: a lone first fragment (RFC 6946) is none
  bool is_first = true;      ///< it has the transport header
  bool has_more = false;
  std::uint16_t fragment_offset = 0;  ///< in bytes
  std::uint32_t fragment_id = 0;

  bool has_transport = false;     ///< what follows was read: of TCP, UDP, SCTP and ICMP, but not of later fragments
  std::uint16_t source_port = 0;  ///< ICMP: the identifier of an echo, else 0
  std::uint16_t destination_port = 0;  ///< likewise
  std::uint8_t tcp_flags = 0;
  std::uint8_t icmp_type = 0;
  std::uint8_t icmp_code = 0;
  friend bool operator==(const Headers&, const Headers&) = default;
};

// RFC 9293 §3.1
inline constexpr std::uint8_t tcp_fin = 0x01;
inline constexpr std::uint8_t tcp_syn = 0x02;
inline constexpr std::uint8_t tcp_rst = 0x04;
inline constexpr std::uint8_t tcp_ack = 0x10;

/// `bytes` begins with the IP header and holds at least all headers; `packet_bytes` counts what the frame holds from there on, in further
/// segments too. Reads nothing outside `bytes`. Only after `none` is `headers` filled. Thread: any.
Malformed parse(std::span<const std::uint8_t> bytes, std::size_t packet_bytes, Headers& headers,
                Extent extent = Extent::whole) noexcept;

/// Of 20 bytes. The sum is the same in the machine's order of bytes (RFC 1071 §2).
inline bool is_v4_checksum_right(const std::uint8_t* ip) noexcept {
  std::array<std::uint32_t, 5> words;
  std::memcpy(words.data(), ip, sizeof words);
  std::uint64_t sum = std::uint64_t{words[0]} + words[1] + words[2] + words[3] + words[4];
  sum = (sum & 0xffff'ffff) + (sum >> 32);
  sum = (sum & 0xffff) + (sum >> 16);
  sum = (sum & 0xffff) + (sum >> 16);
  return sum == 0xffff;
}

/// What most packets are, IPv4 without options or IPv6 without extension headers, and TCP or UDP in one piece, read at once and as `parse` would. False, and `headers` means nothing:
/// it is something else, or wrong.
inline bool parse_plain(std::span<const std::uint8_t> bytes, std::size_t packet_bytes, Headers& headers) noexcept {
  constexpr std::uint32_t v4_bytes = 20;
  constexpr std::uint32_t v6_bytes = 40;
  constexpr std::uint32_t udp_bytes = 8;
  constexpr std::uint32_t tcp_bytes = 20;
  if (bytes.size() < v4_bytes + udp_bytes) return false;
  const std::uint8_t* ip = bytes.data();
  const bool is_v6 = ip[0] >> 4 == 6;
  const std::uint32_t ip_bytes = is_v6 ? v6_bytes : v4_bytes;
  std::uint32_t length = 0;
  std::uint8_t protocol = 0;
  static constexpr Headers nothing;
  headers = nothing;
  if (is_v6) {
    if (bytes.size() < v6_bytes + udp_bytes) return false;
    length = v6_bytes + load16(ip + 4);
    protocol = ip[6];
    headers.is_v6 = true;
    headers.hop_limit = ip[7];
  } else {
    const bool is_whole = (load16(ip + 6) & 0x3fff) == 0;
    if (ip[0] != 0x45 || !is_whole || !is_v4_checksum_right(ip)) return false;
    length = load16(ip + 2);
    protocol = ip[9];
    headers.hop_limit = ip[8];
    headers.fragment_id = load16(ip + 4);
  }
  if (length > packet_bytes || length < ip_bytes + udp_bytes) return false;
  const std::uint8_t* transport = ip + ip_bytes;
  const std::uint32_t rest = length - ip_bytes;
  if (protocol == protocol_udp) {
    const std::uint32_t datagram = load16(transport + 4);
    if (datagram < udp_bytes || datagram > rest) return false;
  } else if (protocol == protocol_tcp) {
    if (bytes.size() < ip_bytes + tcp_bytes || rest < tcp_bytes) return false;
    const std::uint32_t header = (transport[12] >> 4) * 4U;
    if (header < tcp_bytes || header > rest) return false;
    headers.tcp_flags = transport[13];
  } else {
    return false;
  }
  headers.protocol = protocol;
  headers.transport = static_cast<std::uint16_t>(ip_bytes);
  headers.length = length;
  headers.has_transport = true;
  headers.source_port = load16(transport);
  headers.destination_port = load16(transport + 2);
  return true;
}

/// For ICMP and ICMPv6: whether the type is an echo request or reply, whose identifier tells flows apart.
bool is_echo(const Headers& headers) noexcept;
/// Whether the message quotes the packet that it is about.
bool is_icmp_error(const Headers& headers) noexcept;

}  // namespace ironcore::network::dataplane
