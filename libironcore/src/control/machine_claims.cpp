// SPDX-License-Identifier: Apache-2.0
// Claiming and releasing, always on the version that was looked at.
#include "machine_claims.hpp"

#include "machine_translation.hpp"

namespace ironcore::control {

namespace {

constexpr const char* by_claimer = "claimer";

Error unusable(std::string message) {
  return Error(ErrorCode::wrong_state, std::move(message));
}

/// Whether the controlling owner of an ephemeral object is this machine: a foreign object of that name is never taken.
bool is_owned(const api::Metadata& metadata, const api::Machine& machine) {
  for (const auto& owner : metadata.owner_references)
    if (owner.uid == machine.metadata.uid) return true;
  return false;
}

enum class Claim {
  free,
  planned,  ///< for this machine, without knowing its uid
  mine,
  taken,
};
Claim claim_of(const std::optional<api::LocalUidReference>& claim, const api::Machine& machine) {
  if (!claim) return Claim::free;
  if (claim->uid == machine.metadata.uid) return Claim::mine;
  return claim->uid.empty() && claim->name == machine.metadata.name ? Claim::planned : Claim::taken;
}

/// Writes what changed, only if the object is still the one that was read.
template <class T>
Result<store::Shared<T>> write(store::Store& store, const T& before, T after) {
  const auto known = store::Object::of(before);
  store::Transaction transaction;
  transaction.operations.emplace_back(
      store::Patch{store::key_of(known), api::merge_patch(known, store::Object::of(std::move(after)))});
  transaction.preconditions.emplace_back(store::Unchanged{store::key_of(known), before.metadata.resource_version});
  IRONCORE_TRY(const auto committed, store.commit(transaction));
  return committed.objects.front().template share<T>();
}

/// The same for taking something back: what is gone needs no release.
template <class T>
Result<void> write_unless_gone(store::Store& store, const T& before, T after, std::string_view what) {
  const auto written = write(store, before, std::move(after));
  if (written || written.error().code() == ErrorCode::not_found) return {};
  return written.error().within(std::string(what) + " " + before.metadata.name);
}

}  // namespace

MachineClaims::MachineClaims(store::Store& store, Clock& clock, Log& log)
    : store_(store), interfaces_(store, clock, log), volumes_(store, clock, log) {
  interfaces_.add_index(by_claimer, [](const api::NetworkInterface& interface) -> std::vector<std::string> {
    if (!interface.spec.machine_ref) return {};
    return {interface.spec.machine_ref->uid};
  });
  volumes_.add_index(by_claimer, [](const api::Volume& volume) -> std::vector<std::string> {
    if (!volume.spec.claim_ref) return {};
    return {volume.spec.claim_ref->uid};
  });
}

Result<store::Shared<api::NetworkInterface>> MachineClaims::claim_interface(const api::Machine& machine,
                                                                            const api::MachineNetworkInterface& entry) {
  const auto name = interface_name(machine, entry);
  const auto interface = interfaces_.get(cache_key(machine.metadata.namespace_, name));
  if (!interface) return unusable("network interface " + name + " does not exist");
  if (entry.ephemeral && !is_owned(interface->metadata, machine))
    return unusable("network interface " + name + " exists, but does not belong to this machine; delete or rename it");
  const auto claim = claim_of(interface->spec.machine_ref, machine);
  if (claim == Claim::mine) return interface;
  if (claim == Claim::taken)
    return unusable("network interface " + name + " is used by machine " + interface->spec.machine_ref->name);
  if (interface->metadata.deletion_timestamp) return unusable("network interface " + name + " is being deleted");
  auto claimed = *interface;
  claimed.spec.machine_ref = api::LocalUidReference{.name = machine.metadata.name, .uid = machine.metadata.uid};
  return within(write(store_, *interface, std::move(claimed)), "claim network interface " + name);
}

Result<store::Shared<api::Volume>> MachineClaims::usable_volume(const api::Machine& machine,
                                                                const api::MachineVolume& entry) {
  const auto name = volume_name(machine, entry);
  const auto volume = volumes_.get(cache_key(machine.metadata.namespace_, name));
  if (!volume) return unusable("volume " + name + " does not exist");
  if (entry.ephemeral && !is_owned(volume->metadata, machine))
    return unusable("volume " + name + " exists, but does not belong to this machine; delete or rename it");
  const auto claim = claim_of(volume->spec.claim_ref, machine);
  if (claim == Claim::taken) return unusable("volume " + name + " is used by machine " + volume->spec.claim_ref->name);
  if (volume->spec.unclaimable.value_or(false)) return unusable("volume " + name + " is marked as unclaimable");
  if (claim != Claim::mine && volume->metadata.deletion_timestamp)
    return unusable("volume " + name + " is being deleted");
  if (volume->status.state != api::VolumeState::available || !volume->status.access) {
    const auto* told = api::find_condition(volume->status.conditions, "Ready");
    const bool is_told = told != nullptr && told->status == api::ConditionStatus::false_ && !told->message.empty();
    return unusable("volume " + name + " is not available" + (is_told ? ": " + told->message : " yet"));
  }
  return volume;
}

std::string MachineClaims::handle_of_spoiled(const api::Machine& machine, const api::MachineVolume& entry) const {
  const auto volume = volumes_.get(cache_key(machine.metadata.namespace_, volume_name(machine, entry)));
  const bool is_spoiled = volume && has_claimed(machine, *volume) && volume->status.access &&
                          volume->status.state != api::VolumeState::available &&
                          !volume->spec.unclaimable.value_or(false);
  return is_spoiled ? volume->status.access->handle : "";
}

bool MachineClaims::has_claimed(const api::Machine& machine, const api::Volume& volume) {
  return claim_of(volume.spec.claim_ref, machine) == Claim::mine;
}

Result<void> MachineClaims::claim_volume(const api::Machine& machine, const api::Volume& volume) {
  if (has_claimed(machine, volume)) return {};
  auto claimed = volume;
  claimed.spec.claim_ref = api::LocalUidReference{.name = machine.metadata.name, .uid = machine.metadata.uid};
  IRONCORE_CHECK(within(write(store_, volume, std::move(claimed)), "claim volume " + volume.metadata.name));
  return {};
}

Result<void> MachineClaims::check_handed_over(const api::Machine& machine, const api::Volume& volume) const {
  const auto& use = volume.status.use;
  if (!use || (use->machine && use->machine->uid == machine.metadata.uid)) return {};
  const auto* told = api::find_condition(volume.status.conditions, "Attachable");
  const bool is_blocked = told != nullptr && told->status == api::ConditionStatus::false_;
  return unusable("volume " + volume.metadata.name + " is not handed over to this machine yet" +
                  (is_blocked ? ": " + told->message : ""));
}

Result<void> MachineClaims::release_unused(const api::Machine& machine, const std::set<std::string>& used_interfaces,
                                           const std::set<std::string>& used_volumes) {
  const auto& uid = machine.metadata.uid;
  for (const auto& interface : interfaces_.by_index(by_claimer, uid))
    if (!used_interfaces.contains(interface->metadata.name)) IRONCORE_CHECK(release(*interface));
  for (const auto& volume : volumes_.by_index(by_claimer, uid))
    if (!used_volumes.contains(volume->metadata.name)) IRONCORE_CHECK(release(*volume));
  return {};
}

Result<void> MachineClaims::release(const api::NetworkInterface& interface) {
  auto released = interface;
  released.spec.machine_ref.reset();
  released.spec.provider_id.clear();
  return write_unless_gone(store_, interface, std::move(released), "release network interface");
}

Result<void> MachineClaims::release(const api::Volume& volume) {
  auto released = volume;
  released.spec.claim_ref.reset();
  return write_unless_gone(store_, volume, std::move(released), "release volume");
}

Result<void> MachineClaims::release_all(const api::Machine& machine) {
  IRONCORE_CHECK(release_unused(machine, {}, {}));
  const auto& uid = machine.metadata.uid;
  const auto& namespace_ = machine.metadata.namespace_;
  std::set<std::string> names;
  for (const auto& entry : machine.spec.network_interfaces) names.insert(interface_name(machine, entry));
  for (const auto& entry : machine.status.network_interfaces)
    if (entry.network_interface_ref) names.insert(entry.network_interface_ref->name);
  for (const auto& name : names) {
    const auto interface = store::get<api::NetworkInterface>(store_, namespace_, name);
    if (!interface && interface.error().code() != ErrorCode::not_found) return interface.error();
    if (interface && (*interface)->spec.machine_ref && (*interface)->spec.machine_ref->uid == uid)
      IRONCORE_CHECK(release(**interface));
  }
  names.clear();
  for (const auto& entry : machine.spec.volumes) names.insert(volume_name(machine, entry));
  for (const auto& entry : machine.status.volumes)
    if (entry.volume_ref) names.insert(entry.volume_ref->name);
  names.erase("");
  for (const auto& name : names) {
    const auto volume = store::get<api::Volume>(store_, namespace_, name);
    if (!volume && volume.error().code() != ErrorCode::not_found) return volume.error();
    if (volume && (*volume)->spec.claim_ref && (*volume)->spec.claim_ref->uid == uid) IRONCORE_CHECK(release(**volume));
  }
  return {};
}

Result<void> MachineClaims::note_handle(const api::Machine& machine, const std::string& interface,
                                        const std::string& handle) {
  const auto known = interfaces_.get(cache_key(machine.metadata.namespace_, interface));
  if (!known || !known->spec.machine_ref || known->spec.machine_ref->uid != machine.metadata.uid) return {};
  if (known->spec.provider_id == handle) return {};
  auto noted = *known;
  noted.spec.provider_id = handle;
  IRONCORE_CHECK(within(write(store_, *known, std::move(noted)), "note the device of network interface " + interface));
  return {};
}

}  // namespace ironcore::control
