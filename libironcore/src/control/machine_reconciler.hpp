// SPDX-License-Identifier: Apache-2.0
// One machine of this host: from what is wanted to what is, one step at a time.
#pragma once

#include <map>
#include <optional>
#include <set>
#include <string>

#include "ironcore/api/core.hpp"
#include "ironcore/compute/host.hpp"
#include "ironcore/control/controller.hpp"
#include "ironcore/control/event_recorder.hpp"
#include "ironcore/control/informer.hpp"
#include "ironcore/control/machine_provider.hpp"
#include "machine_claims.hpp"
#include "machine_translation.hpp"
#include "own_writes.hpp"

namespace ironcore::control {

/// Thread: any, one at a time for each key.
class MachineReconciler {
 public:
  struct Parts {
    store::Store& store;
    compute::Host& host;
    Informer<api::Machine>& machines;
    Informer<api::MachineClass>& classes;
    MachineClaims& claims;
    EventRecorder& events;
    const MachineProviderOptions& options;
    Clock& clock;
    Log& log;
  };
  explicit MachineReconciler(Parts parts) : parts_(parts), writes_(parts.store, parts.machines) {}

  Result<Requeue> reconcile(const std::string& key, std::stop_token stop);
  /// The machine is gone from the store.
  void forget(const std::string& uid) { writes_.forget(uid); }

 private:
  /// What of a machine's wish could be put together.
  struct Wish {
    compute::MachineSpec spec;
    Findings findings;
    std::set<std::string> interfaces;  // objects that it uses, by name
    std::set<std::string> volumes;
    std::map<std::string, std::string>
        unopened;             // entries whose volume is the machine's, but cannot be opened → handle
    bool is_complete = true;  // false: a device that a start needs is missing
  };

  Result<Wish> assemble(const api::Machine& machine);
  Result<void> add_ignition(const api::Machine& machine, Wish& wish);
  Result<void> add_volumes(const api::Machine& machine, Wish& wish);
  Result<compute::Disk> open_volume(const api::Volume& volume);
  static void keep_unopened(const api::Machine& machine, const compute::MachineStatus& seen, Wish& wish);
  Result<compute::Disk> volume_disk(const api::Machine& machine, const api::MachineVolume& entry, Wish& wish);
  Result<void> add_interfaces(const api::Machine& machine, Wish& wish);
  Result<Requeue> bring_up(const api::Machine& machine, std::stop_token stop);
  Result<Requeue> tear_down(const api::Machine& machine);
  Result<void> check_offer(const std::string& class_name);
  Result<void> write_status(const api::Machine& machine, const compute::MachineStatus& seen, const Findings& findings);
  Result<compute::MachineStatus> look(const api::Machine& machine, const Uid& uid);
  void tell(const api::Machine& machine, const compute::MachineStatus& seen);
  Requeue when(const compute::MachineStatus& seen) const;

  Parts parts_;
  OwnWrites<api::Machine> writes_;
};

}  // namespace ironcore::control
