// SPDX-License-Identifier: Apache-2.0
// From bits per second to buckets.
#include "interface_meters.hpp"

#include <algorithm>

namespace ironcore::network::dataplane {

namespace {

constexpr std::uint64_t nanoseconds_per_second = 1'000'000'000;
constexpr std::uint64_t bits_per_byte = 8;
/// A packet that is still to be cut into many has up to 64 KiB.
constexpr std::uint64_t least_burst = 128 * 1024;

/// What comes in a tenth of a second may come at once, and as much again after a pause.
Meter::Policy policy_of(std::uint64_t bits_per_second) noexcept {
  const std::uint64_t rate = bits_per_second / bits_per_byte;
  const std::uint64_t burst = std::clamp(rate / 10, least_burst, Meter::max_burst);
  return {.committed_rate = rate, .committed_burst = burst, .excess_burst = burst};
}

}  // namespace

InterfaceMeters::InterfaceMeters(const MeterRates& total, const MeterRates& public_traffic) noexcept {
  const auto limit = [](One& one, std::uint64_t rate) {
    if (rate == 0) return;
    one.policy = Meter(policy_of(rate), nanoseconds_per_second);
    one.state = one.policy.start(0);
  };
  const auto set = [&](Way way, std::uint64_t of_all, std::uint64_t of_public) {
    limit(ways_[static_cast<std::size_t>(way)].total, of_all);
    limit(ways_[static_cast<std::size_t>(way)].public_traffic, of_public);
  };
  set(Way::egress, total.egress, public_traffic.egress);
  set(Way::ingress, total.ingress, public_traffic.ingress);
}

bool InterfaceMeters::Meters::pass(bool is_public, std::uint64_t now_ns, std::uint32_t bytes) noexcept {
  while (is_busy.test_and_set(std::memory_order_acquire)) {
  }
  bool may = !is_public || public_traffic.policy.mark(public_traffic.state, now_ns, bytes) != Color::red;
  may = may && total.policy.mark(total.state, now_ns, bytes) != Color::red;
  is_busy.clear(std::memory_order_release);
  return may;
}

}  // namespace ironcore::network::dataplane
