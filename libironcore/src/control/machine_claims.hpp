// SPDX-License-Identifier: Apache-2.0
// Claims: the note on an interface or a volume that says which machine uses it.
#pragma once

#include <set>
#include <string>
#include <vector>

#include "ironcore/api/compute.hpp"
#include "ironcore/control/informer.hpp"

namespace ironcore::control {

/// Interfaces and volumes as the provider sees them. A claim is exclusive and names the machine's uid, so a machine of the same name made
/// later does not inherit it. One without a uid is kept for the machine of that name, which then claims it. Thread: any.
class MachineClaims {
 public:
  MachineClaims(store::Store& store, Clock& clock, Log& log);

  Informer<api::NetworkInterface>& interfaces() noexcept { return interfaces_; }
  Informer<api::Volume>& volumes() noexcept { return volumes_; }

  /// The interface of this entry, claimed by the machine. `wrong_state` says why it cannot be used (now): missing, being deleted,
  /// used by another machine.
  Result<store::Shared<api::NetworkInterface>> claim_interface(const api::Machine& machine,
                                                               const api::MachineNetworkInterface& entry);
  /// The volume of this entry if it is available and free for this machine, not claimed yet. `wrong_state` as above.
  Result<store::Shared<api::Volume>> usable_volume(const api::Machine& machine, const api::MachineVolume& entry);
  /// Of a volume that the machine has claimed and that cannot be used any more: the handle of its disk. Empty if there is none.
  std::string handle_of_spoiled(const api::Machine& machine, const api::MachineVolume& entry) const;
  static bool has_claimed(const api::Machine& machine, const api::Volume& volume);
  Result<void> claim_volume(const api::Machine& machine, const api::Volume& volume);
  /// `wrong_state` while the provider of a claimed volume has not handed it over yet: what opens it must not be used before.
  Result<void> check_handed_over(const api::Machine& machine, const api::Volume& volume) const;

  /// Takes the machine's claim off all that it does not name. `conflict`: again.
  Result<void> release_unused(const api::Machine& machine, const std::set<std::string>& used_interfaces,
                              const std::set<std::string>& used_volumes);
  /// The same for a machine that goes: also what the cache does not show yet, for nobody comes back to look.
  Result<void> release_all(const api::Machine& machine);
  /// Writes the handle of the attached device into `spec.providerID`, or clears it.
  Result<void> note_handle(const api::Machine& machine, const std::string& interface, const std::string& handle);

 private:
  Result<void> release(const api::NetworkInterface& interface);
  Result<void> release(const api::Volume& volume);

  store::Store& store_;
  Informer<api::NetworkInterface> interfaces_;
  Informer<api::Volume> volumes_;
};

}  // namespace ironcore::control
