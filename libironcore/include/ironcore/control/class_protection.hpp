// SPDX-License-Identifier: Apache-2.0
// ClassProtection: a class that something uses stays until the last user is gone.
#pragma once

#include <string>

#include "ironcore/control/controller.hpp"
#include "ironcore/control/informer.hpp"
#include "ironcore/control/placed_kinds.hpp"

namespace ironcore::control {

/// Puts a finalizer (`compute.ironcore.dev/machineclass` …) on every class of machines, volumes or buckets and takes it off a class that
/// is being deleted once no user refers to it: neither in the cache nor, asked last, in the store. A class that is deleted before it got its
/// finalizer is not protected. There is one for each kind of user. Thread: any.
template <class User>
class ClassProtection {
 public:
  using Class = typename PlacedKind<User>::Class;

  /// Listens to the informers and adds an index, so make it before they run.
  ClassProtection(store::Store& store, Informer<Class>& classes, Informer<User>& users, Clock& clock, Log& log);

  /// Until a stop is requested. Before and afterwards it remembers nothing of what the informers tell: at its start it looks at everything.
  void run(std::stop_token stop);
  /// The same by hand, for those who own the loop: `activate`, then `step` (false if there was nothing to do), `deactivate`.
  void activate();
  void deactivate() { controller_.queue().close(); }
  bool step() { return are_synced() && controller_.step(); }

 private:
  bool are_synced() const { return classes_.has_synced() && users_.has_synced(); }
  Result<Requeue> reconcile(const std::string& name);

  store::Store& store_;
  Informer<Class>& classes_;
  Informer<User>& users_;
  Controller controller_;
};

using MachineClassProtection = ClassProtection<api::Machine>;
using VolumeClassProtection = ClassProtection<api::Volume>;
using BucketClassProtection = ClassProtection<api::Bucket>;

extern template class ClassProtection<api::Machine>;
extern template class ClassProtection<api::Volume>;
extern template class ClassProtection<api::Bucket>;

}  // namespace ironcore::control
