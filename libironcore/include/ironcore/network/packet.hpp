// SPDX-License-Identifier: Apache-2.0
// A frame on its way through the packet engine.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace ironcore::network {

/// Why a packet goes no further.
enum class Drop : std::uint8_t {
  none,            ///< it goes out of `port`
  port,            ///< it came from a port without a use
  ethertype,       ///< neither IPv4 nor IPv6, nor anything that is served here
  malformed,       ///< lengths, versions or checksums that cannot be
  source_mac,      ///< a machine sent with another one's MAC
  source_address,  ///< or with an address that is not its own
  outer,           ///< from the wire, but neither IP in IPv6 nor for this host
  underlay,        ///< for an underlay address that nobody here has
  destination,  ///< for an address that the one behind the underlay address does not have, or that nobody can be sent to
  fragment,     ///< a later one whose first one was not seen
  egress_rule,   ///< the firewall of its sender
  ingress_rule,  ///< that of its receiver
  route,         ///< no way there
  hop_limit,     ///< used up
  too_big,       ///< for the way
  table_full,    ///< there is no room for one more connection
  port_gone,     ///< the receiver's port is not there
  neighbour,     ///< the receiver's MAC is not known yet
  uplink,        ///< no uplink is up
  headroom,      ///< no room for the outer header: the port has to leave some
  local,         ///< for the gateway, which has no answer to it
  nat_ports,     ///< all ports of the NAT are taken
  nat_inside,    ///< for a port of a NAT that no machine has, or not towards this sender
  translation,  ///< cannot be translated: a protocol without ports, a piece of a packet, or without a counterpart in the other family
  service,    ///< for a port that the load balancer does not serve
  target,     ///< the load balancer has no target
  rate,       ///< beyond the rate of its interface
  busy,       ///< the worker that it belongs to has no room for it
  elsewhere,  ///< none: another worker has taken it, buffer and all
};
inline constexpr std::size_t drop_reasons = static_cast<std::size_t>(Drop::elsewhere) + 1;
/// As in counters: `source_mac`.
std::string_view name(Drop drop) noexcept;

/// What a network card does, or has done, about the checksum of TCP or UDP and about the size of a packet.
struct PacketOffload {
  /// The checksum field holds the sum of the pseudo header, not complemented: who sends the packet fills in the rest (virtio
  /// `VIRTIO_NET_HDR_F_NEEDS_CSUM`).
  bool needs_checksum = false;
  /// A card has found the transport's checksum right.
  bool is_checksum_right = false;
  /// Bytes of payload in each of the packets into which this one is cut on its way out; 0 = it stays whole.
  std::uint16_t segment_bytes = 0;
};

/// `frame` belongs to whoever has the packet and may be overwritten, `headroom` bytes before it as well, and up to `room` bytes from it on.
struct Packet {
  std::uint8_t* frame = nullptr;  ///< begins with the Ethernet header
  std::uint32_t bytes = 0;        ///< from there on in one piece; holds all headers
  std::uint32_t frame_bytes = 0;  ///< of the whole frame, in further pieces too: these are dropped if it says `bytes`
  std::uint32_t headroom = 0;
  std::uint32_t room = 0;  ///< that can be written in one piece from `frame` on; not less than `bytes`
  std::uint32_t port = 0;  ///< where it came from, and then where it goes
  PacketOffload offload;
  Drop drop = Drop::none;
  bool is_from_here = false;  ///< of the engine: this host sent it to itself
  bool is_placed = false;     ///< of the engine: it is where it belongs
  void* buffer = nullptr;     ///< of the adapter that it came from

  /// Cuts off the front, or grows into the headroom.
  void move_front(std::int32_t by) noexcept {
    frame += by;
    bytes = static_cast<std::uint32_t>(static_cast<std::int64_t>(bytes) - by);
    frame_bytes = static_cast<std::uint32_t>(static_cast<std::int64_t>(frame_bytes) - by);
    headroom = static_cast<std::uint32_t>(static_cast<std::int64_t>(headroom) + by);
    room = static_cast<std::uint32_t>(static_cast<std::int64_t>(room) - by);
  }
};

}  // namespace ironcore::network
