// SPDX-License-Identifier: Apache-2.0
// MachineEviction: a pool's NoExecute taint drives away the machines that do not tolerate it.
#pragma once

#include "ironcore/api/compute.hpp"
#include "ironcore/control/controller.hpp"
#include "ironcore/control/event_recorder.hpp"
#include "ironcore/control/informer.hpp"

namespace ironcore::control {

/// Deletes every machine on a pool with a `NoExecute` taint that the machine does not tolerate, after telling why (`Evicted`). There is no
/// grace beyond that of any deletion, and nothing is made in its place. Thread: any.
class MachineEviction {
 public:
  /// Listens to the informers and adds an index, so make it before they run.
  MachineEviction(store::Store& store, Informer<api::MachinePool>& pools, Informer<api::Machine>& machines,
                  EventRecorder& events, Clock& clock, Log& log);

  /// Until a stop is requested. Before and afterwards it remembers nothing of what the informers tell: at its start it looks at everything.
  void run(std::stop_token stop);
  /// The same by hand, for those who own the loop: `activate`, then `step` (false if there was nothing to do), `deactivate`.
  void activate();
  void deactivate() { controller_.queue().close(); }
  bool step() { return pools_.has_synced() && machines_.has_synced() && controller_.step(); }

 private:
  void add_machines_of(const std::string& pool);
  Result<Requeue> reconcile(const std::string& key);

  store::Store& store_;
  Informer<api::MachinePool>& pools_;
  Informer<api::Machine>& machines_;
  EventRecorder& events_;
  Controller controller_;
};

}  // namespace ironcore::control
