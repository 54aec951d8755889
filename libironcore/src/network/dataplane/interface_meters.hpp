// SPDX-License-Identifier: Apache-2.0
// What holds one interface to its rates.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>

#include "ironcore/network/configuration.hpp"
#include "ironcore/network/counters.hpp"
#include "meter.hpp"

namespace ironcore::network::dataplane {

/// Seen from the machine.
enum class Way : std::uint8_t { egress, ingress };

/// What the meters of one interface have said. It outlives them when other rates are told. Thread: any.
class MeterTally {
 public:
  void add(Way way, bool is_public, Color color, std::uint32_t bytes) noexcept {
    auto& one = ways_[static_cast<std::size_t>(way)].meters[is_public ? 1 : 0];
    one.packets[static_cast<std::size_t>(color)].fetch_add(1, std::memory_order_relaxed);
    one.bytes[static_cast<std::size_t>(color)].fetch_add(bytes, std::memory_order_relaxed);
  }
  MeterCounters get(Way way, bool is_public) const noexcept;

 private:
  struct One {
    std::array<std::atomic<std::uint64_t>, colors> packets{};
    std::array<std::atomic<std::uint64_t>, colors> bytes{};
  };
  struct alignas(64) OfWay {
    std::array<One, 2> meters;  ///< of all, and of public traffic
  };
  std::array<OfWay, 2> ways_;
};

/// Both directions, of everything and of public traffic; yellow packets pass. Workers share the buckets, each for some instructions at a time.
/// Thread: any.
class InterfaceMeters {
 public:
  InterfaceMeters(const MeterRates& total, const MeterRates& public_traffic,
                  std::shared_ptr<MeterTally> tally) noexcept;

  /// Of so many bytes now: the worse of what both meters say. What the public one refuses does not come to the other.
  Color mark(Way way, bool is_public, std::uint64_t now_ns, std::uint32_t bytes) noexcept;
  /// Whether anything may be refused.
  bool is_limited(Way way, bool is_public) const noexcept {
    const auto& meters = ways_[static_cast<std::size_t>(way)];
    return !meters.total.policy.is_unlimited() || (is_public && !meters.public_traffic.policy.is_unlimited());
  }

 private:
  struct One {
    Meter policy;
    Meter::State state;
  };
  struct alignas(64) Meters {
    One total;
    One public_traffic;
    std::atomic_flag is_busy;
  };

  std::array<Meters, 2> ways_;
  std::shared_ptr<MeterTally> tally_;
};

}  // namespace ironcore::network::dataplane
