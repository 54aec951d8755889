// SPDX-License-Identifier: Apache-2.0
// What holds one interface to its rates.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>

#include "ironcore/network/configuration.hpp"
#include "meter.hpp"

namespace ironcore::network::dataplane {

/// Both directions, of everything and of public traffic; yellow packets pass (RFC 2697). Workers share the buckets, each for some
/// instructions at a time. Thread: any.
class InterfaceMeters {
 public:
  enum class Way : std::uint8_t { egress, ingress };

  InterfaceMeters(const MeterRates& total, const MeterRates& public_traffic) noexcept;

  /// Whether so many bytes may pass now.
  bool pass(Way way, bool is_public, std::uint64_t now_ns, std::uint32_t bytes) noexcept {
    auto& meters = ways_[static_cast<std::size_t>(way)];
    const bool is_limited =
        !meters.total.policy.is_unlimited() || (is_public && !meters.public_traffic.policy.is_unlimited());
    return !is_limited || meters.pass(is_public, now_ns, bytes);
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

    bool pass(bool is_public, std::uint64_t now_ns, std::uint32_t bytes) noexcept;
  };

  std::array<Meters, 2> ways_;
};

}  // namespace ironcore::network::dataplane
