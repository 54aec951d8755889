// SPDX-License-Identifier: Apache-2.0
// MachineClassProtection: a class that machines use stays until the last of them is gone.
#pragma once

#include "ironcore/api/compute.hpp"
#include "ironcore/control/controller.hpp"
#include "ironcore/control/informer.hpp"

namespace ironcore::control {

/// Name of the index that controllers expect on the machine informer, by `spec.machineClassRef.name`.
inline constexpr const char* machines_by_class = "class";
/// Likewise by `spec.machinePoolRef.name`.
inline constexpr const char* machines_by_pool = "pool";
/// Adds both.
void add_machine_indexes(Informer<api::Machine>& machines);

/// Puts the finalizer `compute.ironcore.dev/machineclass` on every class and takes it off a class that is being deleted once no machine
/// refers to it: neither in the cache nor, asked last, in the store. A class that is deleted before it got its finalizer is not protected.
/// Thread: any.
class MachineClassProtection {
 public:
  /// Listens to the informers, so make it before they run; `machines` has the indexes above.
  MachineClassProtection(store::Store& store, Informer<api::MachineClass>& classes, Informer<api::Machine>& machines,
                         Clock& clock, Log& log);

  /// Until a stop is requested. Before and afterwards it remembers nothing of what the informers tell: at its start it looks at everything.
  void run(std::stop_token stop);
  /// The same by hand, for those who own the loop: `activate`, then `step` (false if there was nothing to do), `deactivate`.
  void activate();
  void deactivate() { controller_.queue().close(); }
  bool step() { return are_synced() && controller_.step(); }

 private:
  bool are_synced() const { return classes_.has_synced() && machines_.has_synced(); }
  Result<Requeue> reconcile(const std::string& name);

  store::Store& store_;
  Informer<api::MachineClass>& classes_;
  Informer<api::Machine>& machines_;
  Controller controller_;
};

}  // namespace ironcore::control
