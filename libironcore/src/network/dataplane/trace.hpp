// SPDX-License-Identifier: Apache-2.0
// What the slow path tells about its steps, when somebody asks.
#pragma once

#include <string>
#include <utility>

#include "flow_key.hpp"
#include "ironcore/network/explanation.hpp"
#include "snapshot.hpp"

namespace ironcore::network::dataplane {

class Trace {
 public:
  explicit Trace(Explanation& out) : out_(out) {}
  void note(std::string stage, std::string text) { out_.steps.push_back({std::move(stage), std::move(text)}); }

 private:
  Explanation& out_;
};

/// `UDP 10.0.0.1:1000 to 10.0.0.2:53`.
std::string text_of(const FlowKey& key);
/// `next hop 2001:db8::1`, and whether that is this host.
std::string text_of_hop(const Snapshot& snapshot, std::uint32_t next_hop);
std::string text_of_address(const std::uint8_t* bytes, bool is_v6);

}  // namespace ironcore::network::dataplane
