// SPDX-License-Identifier: Apache-2.0
// What a dataplane may be told to be: checked, and in the words of its workers.
#pragma once

#include "ironcore/network/dataplane.hpp"
#include "tracking.hpp"

namespace ironcore::network::dataplane {

constexpr Timeouts ticks(const ConnectionTimeouts& from) {
  const auto tick = [](std::chrono::seconds value) { return static_cast<Tick>(value.count()); };
  Timeouts out;
  out.tcp_established = tick(from.tcp_established);
  out.tcp_transitory = tick(from.tcp_transitory);
  out.tcp_closed = tick(from.tcp_closed);
  out.tcp_reset = tick(from.tcp_reset);
  out.tcp_one_sided = tick(from.tcp_one_sided);
  out.udp = tick(from.udp);
  out.icmp = tick(from.icmp);
  out.other = tick(from.other);
  return out;
}
static_assert(ticks({}) == Timeouts());

}  // namespace ironcore::network::dataplane
