// SPDX-License-Identifier: Apache-2.0
// ControlPlane: the schedulers and the controllers that one process runs, of which one process at a time is the active one.
#pragma once

#include <memory>
#include <stop_token>
#include <string>

#include "ironcore/base/clock.hpp"
#include "ironcore/base/log.hpp"
#include "ironcore/control/pool_health.hpp"
#include "ironcore/control/scheduler.hpp"
#include "ironcore/store/store.hpp"

namespace ironcore::control {

struct ControlPlaneOptions {
  std::string holder;  ///< required: this process among those that could be the active one; unique for each start
  Duration lease_time_to_live = std::chrono::seconds(15);  ///< after this without renewal another process takes over
  Duration renew_every = std::chrono::seconds(5);          ///< less than half of it
  SchedulerOptions scheduler;                              ///< of machines, volumes and buckets
  PoolHealthOptions health;
};

/// Caches of machines, volumes, buckets, their pools and classes are kept warm all the time; schedulers, eviction, class protection, claim release
/// and pool health work only while this process holds the lease `control-plane`, and the store refuses their writes when it does not. A standby
/// takes over within `lease_time_to_live`. Thread: any.
class ControlPlane {
 public:
  /// Everything given by reference must outlive it.
  ControlPlane(store::Store& store, ControlPlaneOptions options, Clock& clock, Log& log);
  ~ControlPlane();

  /// Works until a stop is requested. Makes threads (one for each cache and each controller) and joins them before it returns.
  void run(std::stop_token stop);
  /// Does what is due now; false if that was nothing. For those who own the loop: tests, simulations.
  bool step();
  /// Gives the lease back; only for those who call `step`.
  void resign();

  bool is_active() const;
  const MachineScheduler& scheduler() const;  ///< of machines

 private:
  class Body;
  std::unique_ptr<Body> body_;
};

}  // namespace ironcore::control
