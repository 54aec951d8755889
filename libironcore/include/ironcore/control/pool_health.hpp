// SPDX-License-Identifier: Apache-2.0
// PoolHealth: a pool whose provider shows no progress is not ready any more.
#pragma once

#include <map>
#include <optional>
#include <string>

#include "ironcore/base/clock.hpp"
#include "ironcore/base/log.hpp"
#include "ironcore/control/informer.hpp"
#include "ironcore/control/placed_kinds.hpp"

namespace ironcore::control {

/// The lease that a pool's provider renews: `machinepool/host-1`, `volumepool/…`, `bucketpool/…`.
template <class T>
std::string pool_lease(const std::string& pool) {
  return std::string(PlacedKind<T>::subject.word) + "pool/" + pool;
}

/// Whether the host of a machine pool is dead: its provider does not hold the pool's lease any more, and the pool was found without signs of life, or was
/// deleted. Either alone is no evidence: a lease runs out before the grace of the pool, and a pool is made anew by a provider that lives. The pool without a name
/// is not. Thread: any.
Result<bool> is_host_dead(store::Store& store, const std::string& machine_pool);

struct PoolHealthOptions {
  Duration grace = std::chrono::seconds(50);      ///< without progress for so long: unknown
  Duration look_every = std::chrono::seconds(5);  ///< between two looks at the leases
};

/// Progress is a renewal of the pool's lease or a change of its Ready condition, seen by this process on its own clock: clocks of different hosts
/// are never compared, and a new active controller gives every pool the whole grace again. Time in which nobody looked (this process was
/// paused, the leases could not be read) does not count. Without progress, Ready becomes Unknown (reason `MachinePoolStatusUnknown` …) and the
/// state Offline, of pools of storage Unavailable, written once; only the provider makes it ready again. `T` is what is on the pools. Thread: one.
template <class T>
class PoolHealth {
 public:
  using Pool = typename PlacedKind<T>::Pool;

  PoolHealth(store::Store& store, Informer<Pool>& pools, PoolHealthOptions options, Clock& clock, Log& log);

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
  Result<void> mark_unknown(const Pool& pool);

  store::Store& store_;
  Informer<Pool>& pools_;
  PoolHealthOptions options_;
  Clock& clock_;
  Log& log_;
  std::map<std::string, Seen> seen_;  // by pool uid
  Instant next_look_{};
  std::optional<Instant> looked_at_;  // the last look that showed something
};

using MachinePoolHealth = PoolHealth<api::Machine>;
using VolumePoolHealth = PoolHealth<api::Volume>;
using BucketPoolHealth = PoolHealth<api::Bucket>;

extern template class PoolHealth<api::Machine>;
extern template class PoolHealth<api::Volume>;
extern template class PoolHealth<api::Bucket>;

}  // namespace ironcore::control
