// SPDX-License-Identifier: Apache-2.0
// From IPv6 to IPv4 and back: the headers (RFC 7915) and the addresses (RFC 6052). Which address and port becomes which is the caller's.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>

namespace ironcore::network::dataplane {

using V4Address = std::array<std::uint8_t, 4>;
using V6Address = std::array<std::uint8_t, 16>;

/// 64:ff9b::, of 96 bits (RFC 6052 §2.1).
inline constexpr V6Address well_known_prefix{0x00, 0x64, 0xff, 0x9b};

/// The IPv6 address that stands for an IPv4 address behind a prefix of 32, 40, 48, 56, 64 or 96 bits; nothing for other lengths, and for a prefix
/// whose bits 64 to 71, which RFC 6052 §2.2 reserves, are not zero.
std::optional<V6Address> embed(const V6Address& prefix, unsigned length, const V4Address& address) noexcept;
/// The IPv4 address inside, whatever the prefix is; nothing for other lengths.
std::optional<V4Address> extract(const V6Address& address, unsigned length) noexcept;

/// A packet that begins with its IP header, and the bytes before it that may be overwritten.
struct PacketBytes {
  std::uint8_t* begin = nullptr;
  std::size_t length = 0;  ///< of the packet, as far as it is in one piece
  std::size_t headroom = 0;
  std::size_t beyond = 0;  ///< bytes of the packet in further pieces, which are not looked at
  bool has_pseudo_sum_only =
      false;  ///< in the checksum field of TCP or UDP, not complemented: a card finishes it, and may cut the packet
};
/// What a translation to IPv6 may add at the front: an IPv6 header with a fragment header for an IPv4 header, of an error twice.
inline constexpr std::size_t most_growth = 48;

/// What a packet's ends become. Ports are of TCP, UDP, SCTP, or the identifier of an echo (if both are given, the source's counts); none: it stays.
template <class Address>
struct NewEnds {
  Address source{};
  Address destination{};
  std::optional<std::uint16_t> source_port;
  std::optional<std::uint16_t> destination_port;
};

/// The MTUs are those of the two next hops; they bound what a translated "too big" says.
struct ToV4 {
  NewEnds<V4Address> packet;
  NewEnds<V4Address> quoted;  ///< of the packet inside an ICMP error
  std::uint16_t identification =
      0;  ///< for a packet without a fragment header: different ones for packets on their way at the same time
  std::uint32_t v4_mtu = 65'535;
  std::uint32_t v6_mtu = 65'535;
};

enum class ZeroChecksum : std::uint8_t { compute, refuse };

struct ToV6 {
  NewEnds<V6Address> packet;
  NewEnds<V6Address> quoted;
  ZeroChecksum udp = ZeroChecksum::
      compute;  ///< for UDP without a checksum, which IPv6 does not have; of fragments it is always refused
  std::uint32_t v4_mtu = 65'535;
  std::uint32_t v6_mtu = 65'535;
};

/// What became of a packet, and what RFC 7915 wants its sender to hear if it was not translated.
enum class Translation : std::uint8_t {
  done,
  malformed,         ///< nothing
  source_route,      ///< IPv4: `IcmpError::source_route`; IPv6: `header_field` at the `pointer`
  extension_header,  ///< of IPv6, behind the fragment header: `prohibited`
  udp_checksum,      ///< UDP without one that is refused, a fragment, or in several pieces: `prohibited`
  too_big,           ///< 65,535 bytes are not enough: `too_big`
  unsupported,  ///< no counterpart: types and codes, pieces of ICMP, or of SCTP with new ports, errors about errors, protocols of one family, AH: nothing
  checksum,     ///< that of an ICMP error was wrong before: nothing
  headroom,     ///< the caller's mistake
};

struct Translated {
  Translation result = Translation::done;
  std::uint32_t pointer = 0;
};

/// Translates in place: `packet` says then where it begins and how long it is, without padding. Checksums change by what changed, so one that
/// was wrong stays wrong; those of ICMP errors, which are cut and moved, must be right before. Time to live and hop limit are copied: count
/// them down before. Larger packets than the next MTU, IPv4's without DF included, are to be fragmented or refused before (RFC 7915 §4.1).
/// All headers must be in the first piece, and ICMP whole. Unless `done`, nothing has changed. Thread: any.
Translated translate(PacketBytes& packet, const ToV4& to) noexcept;
Translated translate(PacketBytes& packet, const ToV6& to) noexcept;

}  // namespace ironcore::network::dataplane
