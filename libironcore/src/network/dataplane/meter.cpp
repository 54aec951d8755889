// SPDX-License-Identifier: Apache-2.0
// Filling and emptying the buckets.
#include "meter.hpp"

#include <algorithm>
#include <cassert>

namespace ironcore::network::dataplane {

// A token is a byte times the ticks of a second: then a tick brings `rate` of them, and there is nothing to divide.
Meter::Meter(const Policy& policy, std::uint64_t ticks_per_second) noexcept
    : kind_(policy.kind),
      ticks_(ticks_per_second),
      committed_{policy.committed_rate, policy.committed_burst * ticks_per_second},
      excess_{policy.excess_rate, policy.excess_burst * ticks_per_second} {
  assert(ticks_per_second > 0 && ticks_per_second <= max_ticks_per_second);
  assert(policy.committed_burst <= max_burst && policy.excess_burst <= max_burst);
  static_assert(2 * max_burst <= ~std::uint64_t{0} / max_ticks_per_second,
                "both buckets together are counted in 64 bits");
}

Meter::State Meter::start(std::uint64_t now) const noexcept {
  return {.committed = committed_.size, .excess = excess_.size, .last = now};
}

std::uint64_t Meter::Bucket::inflow(std::uint64_t elapsed, std::uint64_t most) const noexcept {
  __extension__ using Wide = unsigned __int128;
  return static_cast<std::uint64_t>(std::min<Wide>(Wide{elapsed} * rate, most));
}

Color Meter::mark(State& state, std::uint64_t now, std::uint32_t bytes) const noexcept {
  if (is_unlimited()) return Color::green;
  const auto elapsed = now > state.last ? now - state.last : 0;
  state.last += elapsed;
  auto& committed = state.committed;
  auto& excess = state.excess;
  committed = std::min(committed, committed_.size);
  excess = std::min(excess, excess_.size);
  const auto committed_room = committed_.size - committed, excess_room = excess_.size - excess;
  if (kind_ == Kind::single_rate) {
    const auto in = committed_.inflow(elapsed, committed_room + excess_room);
    const auto first = std::min(in, committed_room);
    committed += first;
    excess += in - first;
  } else {
    committed += committed_.inflow(elapsed, committed_room);
    excess += excess_.inflow(elapsed, excess_room);
  }

  if (bytes > max_burst) return Color::red;
  const auto cost = bytes * ticks_;
  if (kind_ == Kind::peak_and_committed) {
    if (excess < cost) return Color::red;
    excess -= cost;
    if (committed < cost) return Color::yellow;
    committed -= cost;
    return Color::green;
  }
  if (committed >= cost) {
    committed -= cost;
    return Color::green;
  }
  if (excess < cost) return Color::red;
  excess -= cost;
  return Color::yellow;
}

}  // namespace ironcore::network::dataplane
