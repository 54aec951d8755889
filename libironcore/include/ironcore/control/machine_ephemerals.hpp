// SPDX-License-Identifier: Apache-2.0
// MachineEphemerals: makes the network interfaces and volumes that machines describe inline, and removes them with the entry.
#pragma once

#include <set>
#include <string>

#include "ironcore/api/compute.hpp"
#include "ironcore/api/storage.hpp"
#include "ironcore/control/controller.hpp"
#include "ironcore/control/event_recorder.hpp"
#include "ironcore/control/informer.hpp"

namespace ironcore::control {

/// Marks what was made here; only such objects are removed here.
inline constexpr const char* ephemeral_managed_by = "common.ironcore.dev/ephemeral-managed-by";
inline constexpr const char* ephemeral_manager = "ephemeral-manager";

/// For an entry `x` with `ephemeral` of machine `m` there is an object `m-x`, made from the template, controlled by the machine and so
/// deleted with it. An object of that name that belongs to somebody else is left alone; the machine waits. Changes of a template do not
/// reach objects that exist. A volume is looked for where the machine is (its region and zone, unless the template says otherwise), and
/// an image for it in the architecture of the machine's class. A volume that is refused is told as event `VolumeNotReady`. Thread: any.
class MachineEphemerals {
 public:
  /// Listens to the informers, so make it before they run.
  MachineEphemerals(store::Store& store, Informer<api::Machine>& machines, Informer<api::NetworkInterface>& interfaces,
                    Informer<api::Volume>& volumes, EventRecorder& events, Clock& clock, Log& log);

  /// Until a stop is requested. Before and afterwards it remembers nothing of what the informers tell: at its start it looks at everything.
  void run(std::stop_token stop);
  /// The same by hand, for those who own the loop: `activate`, then `step` (false if there was nothing to do), `deactivate`.
  void activate();
  void deactivate() { controller_.queue().close(); }
  bool step();

 private:
  Result<Requeue> reconcile(const std::string& key);
  Result<void> fit_to_machine(const api::Machine& machine, api::VolumeSpec& spec);
  template <class T>
  Result<void> make(const api::Machine& machine, T wanted, const api::TemplateMetadata& metadata);
  template <class T>
  Result<void> remove_unwanted(const api::Machine& machine, Informer<T>& informer, const std::set<std::string>& wanted);

  store::Store& store_;
  Informer<api::Machine>& machines_;
  Informer<api::NetworkInterface>& interfaces_;
  Informer<api::Volume>& volumes_;
  EventRecorder& events_;
  Log& log_;
  Controller controller_;
};

}  // namespace ironcore::control
