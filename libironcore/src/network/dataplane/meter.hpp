// SPDX-License-Identifier: Apache-2.0
// Token buckets that hold an interface to its rates.
#pragma once

#include <cstdint>

#include "ironcore/network/counters.hpp"

namespace ironcore::network::dataplane {

using network::Color;

/// A colour-blind meter. The policy does not change and may be shared; `State` is the buckets of one user, which fit any policy: with another
/// one they go on with what they hold, but no more than fits. Counts in integers without rounding, so nothing drifts: over any time t
/// no more is green than committed_burst + committed_rate * t, and just that if there is always a packet waiting and the burst holds at
/// least a packet and what comes between two calls.
///
/// A meter made by default limits nothing: every packet is green. In a policy zero means zero: a rate of 0 refills nothing, a burst of 0 holds
/// nothing, and a policy of zeros turns every packet red. Packets larger than a burst never fit into it. Thread: any for `Meter`, one for a `State`.
class Meter {
 public:
  enum class Kind : std::uint8_t {
    single_rate,         ///< RFC 2697: what the full committed bucket cannot take goes into the excess bucket
    two_rates,           ///< RFC 4115: the excess bucket has a rate of its own, beside the committed one
    peak_and_committed,  ///< RFC 2698: `excess` is the peak, and green packets count there too
  };

  static constexpr std::uint64_t max_burst = std::uint64_t{1} << 30;
  static constexpr std::uint64_t max_ticks_per_second = 8'000'000'000;

  /// Rates in bytes a second, as large as you like; bursts in bytes, up to `max_burst`.
  struct Policy {
    Kind kind = Kind::single_rate;
    std::uint64_t committed_rate = 0;
    std::uint64_t committed_burst = 0;
    std::uint64_t excess_rate = 0;  ///< not of `single_rate`
    std::uint64_t excess_burst = 0;
  };

  struct State {
    std::uint64_t committed = 0;  ///< bytes times ticks a second
    std::uint64_t excess = 0;
    std::uint64_t last = 0;  ///< the latest tick seen
  };

  /// Limits nothing.
  Meter() noexcept = default;
  /// The clock counts 1 to `max_ticks_per_second`, such as those of the TSC, or nanoseconds.
  Meter(const Policy& policy, std::uint64_t ticks_per_second) noexcept;

  bool is_unlimited() const noexcept { return ticks_ == 0; }
  /// Full buckets.
  State start(std::uint64_t now) const noexcept;
  /// Takes the packet's bytes out of the buckets that its colour stands for. A clock that stands still refills nothing, one that goes back
  /// neither until it is where it was, and one that jumps ahead, however far, fills the buckets and no more.
  Color mark(State& state, std::uint64_t now, std::uint32_t bytes) const noexcept;

 private:
  struct Bucket {
    std::uint64_t rate = 0;
    std::uint64_t size = 0;  ///< in units of `State`

    /// What comes in `elapsed`, as far as it matters: not more than `most`.
    std::uint64_t inflow(std::uint64_t elapsed, std::uint64_t most) const noexcept;
  };

  Kind kind_ = Kind::single_rate;
  std::uint64_t ticks_ = 0;
  Bucket committed_;
  Bucket excess_;
};

}  // namespace ironcore::network::dataplane
