// SPDX-License-Identifier: Apache-2.0
// A consistent choice among the targets of a load balancer.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace ironcore::network::dataplane {

/// The lookup table of Maglev (Eisenbud et al., NSDI 2016, §3.4): each target has a share of the places by its weight, hosts with the same
/// targets have the same table, and when a target comes or goes few places of the others change. Thread: any (immutable).
class Maglev {
 public:
  struct Target {
    std::uint64_t id = 0;  ///< a hash of what names the target on all hosts, such as its address; decides its places
    std::uint32_t weight = 1;  ///< 0 = gets no new flows
  };
  static constexpr std::uint32_t default_size = 65'537;
  static constexpr std::uint16_t nobody = 0xffff;

  /// An empty table: nobody is chosen.
  Maglev() = default;
  /// `size` is a prime (`is_prime`), at best 100 times as many as targets or more; of these there are less than `nobody`. The order of the
  /// targets makes no difference to who is chosen.
  Maglev(std::span<const Target> targets, std::uint32_t size);

  /// An index into `targets`, the same for the same hash; `nobody` if none has a weight.
  std::uint16_t pick(std::uint64_t hash) const noexcept;
  std::span<const std::uint16_t> places() const noexcept { return places_; }

 private:
  std::vector<std::uint16_t> places_;
};

bool is_prime(std::uint32_t number) noexcept;

}  // namespace ironcore::network::dataplane
