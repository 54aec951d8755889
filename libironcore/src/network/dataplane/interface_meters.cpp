// SPDX-License-Identifier: Apache-2.0
// From bits per second to buckets.
#include "interface_meters.hpp"

#include <algorithm>
#include <utility>

namespace ironcore::network::dataplane {

namespace {

constexpr std::uint64_t nanoseconds_per_second = 1'000'000'000;
constexpr std::uint64_t bits_per_byte = 8;
/// Twice the longest packet, which is still to be cut into many.
constexpr std::uint64_t least_default_burst = 128 * 1024;

/// Bytes.
std::uint64_t burst_of(std::uint64_t told, std::uint64_t rate) noexcept {
  return told != 0 ? told : std::clamp(rate / 10, least_default_burst, Meter::max_burst);
}

Meter::Policy policy_of(std::uint64_t committed, std::uint64_t burst, std::uint64_t excess,
                        std::uint64_t excess_burst) noexcept {
  Meter::Policy out;
  out.committed_rate = committed / bits_per_byte;
  out.committed_burst = burst_of(burst, out.committed_rate);
  if (excess == 0) {
    out.excess_burst = excess_burst != 0 ? excess_burst : out.committed_burst;
    return out;
  }
  out.kind = Meter::Kind::two_rates;
  out.excess_rate = excess / bits_per_byte;
  out.excess_burst = burst_of(excess_burst, out.excess_rate);
  return out;
}

}  // namespace

MeterCounters MeterTally::get(Way way, bool is_public) const noexcept {
  const auto& one = ways_[static_cast<std::size_t>(way)].meters[is_public ? 1 : 0];
  MeterCounters out;
  for (std::size_t i = 0; i < colors; ++i) {
    out.packets[i] = one.packets[i].load(std::memory_order_relaxed);
    out.bytes[i] = one.bytes[i].load(std::memory_order_relaxed);
  }
  return out;
}

InterfaceMeters::InterfaceMeters(const MeterRates& total, const MeterRates& public_traffic,
                                 std::shared_ptr<MeterTally> tally) noexcept
    : tally_(std::move(tally)) {
  const auto limit = [](One& one, const Meter::Policy& policy) {
    one.policy = Meter(policy, nanoseconds_per_second);
    one.state = one.policy.start(0);
  };
  auto& egress = ways_[static_cast<std::size_t>(Way::egress)];
  auto& ingress = ways_[static_cast<std::size_t>(Way::ingress)];
  const auto set = [&](const MeterRates& rates, One& out, One& in) {
    if (rates.egress != 0)
      limit(out, policy_of(rates.egress, rates.burst.egress, rates.excess.egress, rates.excess_burst.egress));
    if (rates.ingress != 0)
      limit(in, policy_of(rates.ingress, rates.burst.ingress, rates.excess.ingress, rates.excess_burst.ingress));
  };
  set(total, egress.total, ingress.total);
  set(public_traffic, egress.public_traffic, ingress.public_traffic);
}

Color InterfaceMeters::mark(Way way, bool is_public, std::uint64_t now_ns, std::uint32_t bytes) noexcept {
  if (!is_limited(way, is_public)) return Color::green;
  auto& meters = ways_[static_cast<std::size_t>(way)];
  const bool asks_public = is_public && !meters.public_traffic.policy.is_unlimited();
  auto of_public = Color::green;
  auto of_all = Color::green;
  while (meters.is_busy.test_and_set(std::memory_order_acquire)) {
  }
  if (asks_public) of_public = meters.public_traffic.policy.mark(meters.public_traffic.state, now_ns, bytes);
  const bool asks_all = of_public != Color::red && !meters.total.policy.is_unlimited();
  if (asks_all) of_all = meters.total.policy.mark(meters.total.state, now_ns, bytes);
  meters.is_busy.clear(std::memory_order_release);
  if (asks_public) tally_->add(way, true, of_public, bytes);
  if (asks_all) tally_->add(way, false, of_all, bytes);
  return std::max(of_public, of_all);
}

}  // namespace ironcore::network::dataplane
