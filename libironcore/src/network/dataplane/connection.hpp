// SPDX-License-Identifier: Apache-2.0
// What a worker knows of one connection: three cache lines.
#pragma once

#include <array>
#include <cstdint>

#include "flow_key.hpp"

namespace ironcore::network::dataplane {

enum class Direction : std::uint8_t { forward = 0, reverse = 1 };  ///< forward is the one of the first packet
constexpr Direction opposite(Direction direction) noexcept {
  return direction == Direction::forward ? Direction::reverse : Direction::forward;
}

/// The numbers are in files that outlive the process (kept_flows.cpp): never give one another meaning.
enum class Verdict : std::uint8_t {
  drop = 0,      ///< `out` is the reason
  machine = 1,   ///< `out` is the interface
  underlay = 2,  ///< encapsulate; `out` is the next hop
  plain = 3,     ///< by an uplink as it is: what it is for is in the underlay
  here = 4,      ///< as `underlay`, but the next hop is this host: it goes round without a wire
};

/// What is done with every packet of one direction; compiled by the slow path. What addresses and ports become is not here: it is the key of
/// the other direction, turned round.
struct Action {
  std::uint32_t out = 0;
  std::uint16_t addresses_sum = 0;  ///< by how much the sum of the addresses changes (`ChecksumDelta::value`)
  std::uint16_t transport_sum = 0;  ///< by how much that of what the transport's checksum covers does
  std::uint32_t entropy = 0;        ///< the flow label of the outer header (RFC 6438); 20 bits
  Verdict verdict = Verdict::drop;
  bool rewrites = false;           ///< addresses or ports
  bool translates_family = false;  ///< NAT64: more than a rewrite
  bool is_public = false;          ///< takes a default route, or came from there
};
static_assert(sizeof(Action) == 16);

/// The time of a worker, in seconds since some start; does not run over within 136 years.
using Tick = std::uint32_t;

/// The part that both directions share.
struct ConnectionState {
  std::uint64_t valid_at = 0;            ///< the configuration that both actions were last checked against
  std::array<std::uint16_t, 5> slots{};  ///< what they depend on (generations.hpp); 0 = nothing
  std::uint16_t owner = 0;               ///< index of the interface that pays for it
  bool holds_port = false;               ///< of the owner's NAT, or of a virtual service
  bool is_one_sided = false;             ///< its answers do not come this way
  std::uint8_t tcp = 0;                  ///< how far it has come (tracking.hpp)
  std::uint8_t wheel_slot = 0;           ///< of the flow table's wheel
  Tick seen = 0;                         ///< its last packet
  Tick timeout = 0;                      ///< dead when nothing was seen for so long
  std::uint32_t next = 0;                ///< in the wheel's slot, or among the free ones
  std::uint32_t previous = 0;
  std::array<std::uint32_t, 2> packets{};  ///< of each direction; these run over
  std::array<std::uint64_t, 2> bytes{};    ///< of each direction, inner headers included

  static constexpr std::uint16_t nobody = 0xffff;  ///< as `owner`
};

struct alignas(64) Connection {
  struct Side {
    FlowKey key;
    Action action;
  };
  std::array<Side, 2> sides;
  ConnectionState state;

  const Side& side(Direction direction) const noexcept { return sides[static_cast<std::size_t>(direction)]; }
  Side& side(Direction direction) noexcept { return sides[static_cast<std::size_t>(direction)]; }
};
static_assert(sizeof(Connection::Side) == 64 && sizeof(ConnectionState) <= 64 && sizeof(Connection) == 192);

}  // namespace ironcore::network::dataplane
