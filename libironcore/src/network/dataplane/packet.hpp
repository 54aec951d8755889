// SPDX-License-Identifier: Apache-2.0
// A frame on its way through a worker.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace ironcore::network::dataplane {

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
};
inline constexpr std::size_t drop_reasons = static_cast<std::size_t>(Drop::headroom) + 1;
/// As in counters: `source_mac`.
std::string_view name(Drop drop) noexcept;

/// `frame` belongs to the caller and may be overwritten, `headroom` bytes before it as well.
struct Packet {
  std::uint8_t* frame = nullptr;  ///< begins with the Ethernet header
  std::uint32_t bytes = 0;        ///< from there on in one piece; holds all headers
  std::uint32_t frame_bytes = 0;  ///< of the whole frame, in further pieces too
  std::uint32_t headroom = 0;
  std::uint32_t port = 0;  ///< where it came from, and then where it goes
  Drop drop = Drop::none;

  /// Cuts off the front, or grows into the headroom.
  void move_front(std::int32_t by) noexcept {
    frame += by;
    bytes = static_cast<std::uint32_t>(static_cast<std::int64_t>(bytes) - by);
    frame_bytes = static_cast<std::uint32_t>(static_cast<std::int64_t>(frame_bytes) - by);
    headroom = static_cast<std::uint32_t>(static_cast<std::int64_t>(headroom) + by);
  }
};

}  // namespace ironcore::network::dataplane
