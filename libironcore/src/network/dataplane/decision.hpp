// SPDX-License-Identifier: Apache-2.0
// The slow path: what shall happen to a flow, by the configuration.
#pragma once

#include <array>
#include <cstdint>
#include <optional>

#include "connection.hpp"
#include "flow_key.hpp"
#include "generations.hpp"
#include "ironcore/network/packet.hpp"
#include "snapshot.hpp"
#include "tally.hpp"

namespace ironcore::network::dataplane {

class Trace;

/// What the decision is about: the first packet of a flow, or one that is looked at again.
struct Question {
  FlowKey key;
  std::uint64_t hash = 0;  ///< of the key; decides among equals
  std::uint8_t icmp_type = 0;
  std::uint8_t icmp_code = 0;
  const Connection* before = nullptr;  ///< whose choices stand while they are legal
  std::size_t worker = 0;              ///< whose slice of a NAT's ports is used
  Trace* trace = nullptr;              ///< is told of each step; null = nobody asks
};

struct Decision {
  Drop drop = Drop::none;  ///< then nothing else counts
  Action forward;
  Action reverse;  ///< may drop by itself: not every answer has a way
  FlowKey reverse_key;
  std::uint16_t owner = ConnectionState::nobody;
  std::array<Generations::Slot, 5> slots{};
  bool holds_port =
      false;  ///< of the owner's NAT or a virtual service: it is to be released when the connection ends, or is never made
  bool is_one_sided = false;  ///< answers go another way
  bool is_echo_for_us =
      false;          ///< an echo request to an address of a load balancer or NAT; `forward` is the answer's way
  StageMarks stages;  ///< also of one that drops
};

/// The key that comes from the wire, of a connection that holds a port: in IPv4 one of its owner's NAT, in IPv6 one of a virtual service.
inline const FlowKey& public_side(const FlowKey& forward, const FlowKey& reverse) noexcept {
  return forward.scope().is_wire() ? forward : reverse;
}
/// Both ends of such a connection, told from its keys.
struct PortHolder {
  Inside inside;
  Outside outside;
  std::uint16_t port = 0;
  Opener opener = Opener::inside;
};
PortHolder port_holder(const FlowKey& forward, const FlowKey& reverse, Vni vni) noexcept;

/// Anti-spoofing, firewall, load balancer, NAT and routing: sender's rules, way, receiver's rules. Takes a port of a NAT if the flow needs one
/// and has none; changes nothing else, and reads nothing but its arguments.
Decision decide(const Snapshot& snapshot, const Question& question, bool has_firewall) noexcept;

}  // namespace ironcore::network::dataplane
