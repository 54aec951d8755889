// SPDX-License-Identifier: Apache-2.0
// MachinePoolHealth: a pool whose provider shows no progress is not ready any more.
#pragma once

#include <map>
#include <optional>
#include <string>

#include "ironcore/api/compute.hpp"
#include "ironcore/base/clock.hpp"
#include "ironcore/base/log.hpp"
#include "ironcore/control/informer.hpp"

namespace ironcore::control {

/// Prefix of the lease that a pool's provider renews: `machinepool/<pool>`.
inline constexpr const char* machine_pool_lease_prefix = "machinepool/";
/// Reason of a Ready condition that this controller has written.
inline constexpr const char* machine_pool_unknown_reason = "MachinePoolStatusUnknown";

struct MachinePoolHealthOptions {
  Duration grace = std::chrono::seconds(50);      ///< without progress for so long: unknown
  Duration look_every = std::chrono::seconds(5);  ///< between two looks at the leases
};

/// Progress is a renewal of the pool's lease or a change of its Ready condition, seen by this process on its own clock: clocks of different hosts
/// are never compared, and a new active controller gives every pool the whole grace again. Time in which nobody looked (this process was
/// paused, the leases could not be read) does not count. Without progress, Ready becomes Unknown and the
/// state Offline, written once; only the provider makes it ready again. Thread: one.
class MachinePoolHealth {
 public:
  MachinePoolHealth(store::Store& store, Informer<api::MachinePool>& pools, MachinePoolHealthOptions options,
                    Clock& clock, Log& log);

  /// Until a stop is requested. Forgets at the start what it saw in an earlier run.
  void run(std::stop_token stop);
  /// One look, if one is due; false if not.
  bool step();
  void forget() {
    seen_.clear();
    looked_at_.reset();
  }
  /// Pools that are remembered.
  std::size_t size() const noexcept { return seen_.size(); }

 private:
  struct Seen {
    std::uint64_t lease_token = 0;
    std::uint64_t renewals = 0;
    std::optional<api::Condition> ready;
    Instant progress_at{};
  };
  Result<void> mark_unknown(const api::MachinePool& pool);

  store::Store& store_;
  Informer<api::MachinePool>& pools_;
  MachinePoolHealthOptions options_;
  Clock& clock_;
  Log& log_;
  std::map<std::string, Seen> seen_;  // by pool uid
  Instant next_look_{};
  std::optional<Instant> looked_at_;  // the last look that showed something
};

}  // namespace ironcore::control
