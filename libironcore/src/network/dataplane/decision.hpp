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

namespace ironcore::network::dataplane {

/// What the decision is about: the first packet of a flow, or one that is looked at again.
struct Question {
  FlowKey key;
  std::uint64_t hash = 0;  ///< of the key; decides among equals
  std::uint8_t icmp_type = 0;
  std::uint8_t icmp_code = 0;
  const Connection* before = nullptr;  ///< whose choices stand while they are legal
};

struct Decision {
  Drop drop = Drop::none;  ///< then nothing else counts
  Action forward;
  Action reverse;  ///< may drop by itself: not every answer has a way
  FlowKey reverse_key;
  std::uint16_t owner = 0;
  std::array<Generations::Slot, 5> slots{};
};

/// Anti-spoofing, firewall and routing, in the order of architecture: sender's rules, way, receiver's rules. Same on every thread, reads nothing but
/// its arguments.
Decision decide(const Snapshot& snapshot, const Question& question, bool has_firewall) noexcept;

}  // namespace ironcore::network::dataplane
