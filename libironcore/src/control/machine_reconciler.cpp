// SPDX-License-Identifier: Apache-2.0
// Finalizer, inputs, claims, host, status: the steps of one machine.
#include "machine_reconciler.hpp"

#include <algorithm>

#include "ironcore/control/finalizers.hpp"

namespace ironcore::control {

// ---- what is wanted -----------------------------------------------------------------------------------------------

Result<void> MachineReconciler::add_ignition(const api::Machine& machine, Wish& wish) {
  const auto& reference = machine.spec.ignition_ref;
  if (!reference) return {};
  const auto key = reference->key.empty() ? std::string("ignition.yaml") : reference->key;
  // Read when it is needed: no copy of other people's secrets stays here.
  const auto secret = store::get<api::Secret>(parts_.store, machine.metadata.namespace_, reference->name);
  if (!secret) {
    if (secret.error().code() != ErrorCode::not_found)
      return secret.error().within("ignition secret " + reference->name);
    wish.findings.missing = Missing{"IgnitionNotReady", "secret " + reference->name + " does not exist"};
    return {};
  }
  const auto data = (*secret)->data.find(key);
  if (data == (*secret)->data.end()) {
    wish.findings.missing = Missing{"IgnitionNotReady", "secret " + reference->name + " has no key " + key};
    return {};
  }
  wish.spec.ignition = data->second.value;
  return {};
}

Result<compute::Disk> MachineReconciler::open_volume(const api::Volume& volume) {
  const auto& name = volume.metadata.name;
  const auto& access = *volume.status.access;
  VolumeSecrets secrets;
  if (access.secret_ref) {
    // Read when it is needed: no copy of other people's secrets stays here.
    const auto secret = store::get<api::Secret>(parts_.store, volume.metadata.namespace_, access.secret_ref->name);
    if (!secret && secret.error().code() == ErrorCode::not_found)
      return Error(ErrorCode::wrong_state, "volume " + name + ": its secret " + access.secret_ref->name +
                                               " does not exist; its provider makes it again");
    if (!secret) return secret.error().within("secret " + access.secret_ref->name);
    for (const auto& [key, value] : (*secret)->data) secrets[key] = value.value;
  }
  return within(parts_.options.open_volume(access, secrets), "volume " + name);
}

/// Only the disk of the very same volume: one that its entry names no more goes.
void MachineReconciler::keep_unopened(const api::Machine& machine, const compute::MachineStatus& seen, Wish& wish) {
  for (const auto& entry : machine.spec.volumes) {
    const auto unopened = wish.unopened.find(entry.name);
    if (unopened == wish.unopened.end() || unopened->second.empty()) continue;
    const auto has_it = [&](const compute::DeviceStatus& device) {
      return device.name == entry.name && device.handle == unopened->second &&
             device.state != compute::DeviceStatus::State::pending;
    };
    if (std::none_of(seen.disks.begin(), seen.disks.end(), has_it)) continue;
    wish.spec.kept_disks.push_back(entry.name);
    wish.findings.kept.insert(entry.name);
    wish.volumes.insert(volume_name(machine, entry));
  }
}

Result<compute::Disk> MachineReconciler::volume_disk(const api::Machine& machine, const api::MachineVolume& entry,
                                                     Wish& wish) {
  const auto usable = parts_.claims.usable_volume(machine, entry);
  if (!usable) {
    // A guest that has it open may still get on with it, and nobody else could get at what it has not written yet.
    if (const auto handle = parts_.claims.handle_of_spoiled(machine, entry); !handle.empty())
      wish.unopened[entry.name] = handle;
    return usable.error();
  }
  const auto& volume = *usable;
  const auto& name = volume->metadata.name;
  if (wish.volumes.contains(name))
    return Error(ErrorCode::wrong_state,
                 "volume " + name + " is another disk of this machine already; give each its own");
  const auto& access = *volume->status.access;
  if (!parts_.options.open_volume)
    return Error(ErrorCode::unsupported, "volume " + name + " has driver \"" + access.driver +
                                             "\"; this host can attach only localDisk and emptyDisk");
  const auto claim = [&]() -> Result<void> {
    IRONCORE_CHECK(parts_.claims.claim_volume(machine, *volume));
    wish.volumes.insert(name);
    return {};
  };
  const bool is_handed_over = volume->status.use.has_value();
  if (is_handed_over) {  // what opens it is there only for the one that has claimed it
    IRONCORE_CHECK(claim());
    IRONCORE_CHECK(parts_.claims.check_handed_over(machine, *volume));
  }
  const bool is_mine = is_handed_over || MachineClaims::has_claimed(machine, *volume);
  if (is_mine) wish.unopened[entry.name] = access.handle;
  IRONCORE_TRY(auto disk, open_volume(*volume));
  wish.unopened.erase(entry.name);
  disk.name = entry.name;
  IRONCORE_TRY(disk.device, host_device(entry.device));
  if (const auto size = volume->status.resources.find("storage");
      size != volume->status.resources.end() && size->second.sign() > 0)
    disk.size_bytes = static_cast<std::uint64_t>(size->second.value());
  if (!is_handed_over) IRONCORE_CHECK(claim());
  return disk;
}

Result<void> MachineReconciler::add_volumes(const api::Machine& machine, Wish& wish) {
  for (const auto& entry : machine.spec.volumes) {
    if (entry.local_disk || entry.empty_disk) {
      IRONCORE_TRY(auto disk, local_disk(entry));
      wish.spec.disks.push_back(std::move(disk));
      continue;
    }
    auto disk = volume_disk(machine, entry, wish);
    if (disk) {
      wish.spec.disks.push_back(std::move(*disk));
      continue;
    }
    if (disk.error().code() == ErrorCode::conflict || disk.error().code() == ErrorCode::unavailable)
      return disk.error();
    wish.findings.volumes[entry.name] = disk.error().message();
    wish.is_complete = false;
  }
  return {};
}

Result<void> MachineReconciler::add_interfaces(const api::Machine& machine, Wish& wish) {
  for (const auto& entry : machine.spec.network_interfaces) {
    const auto nic = [&]() -> Result<compute::Nic> {
      IRONCORE_TRY(const auto interface, parts_.claims.claim_interface(machine, entry));
      wish.interfaces.insert(interface->metadata.name);
      compute::Nic found;
      found.name = entry.name;
      IRONCORE_TRY(found.device, nic_device(*interface, parts_.options.vhost_user_directory));
      return found;
    }();
    if (nic) {
      wish.spec.nics.push_back(*nic);
      continue;
    }
    if (nic.error().code() == ErrorCode::conflict || nic.error().code() == ErrorCode::unavailable) return nic.error();
    wish.findings.interfaces[entry.name] = nic.error().message();
    wish.is_complete = false;
  }
  return {};
}

auto MachineReconciler::assemble(const api::Machine& machine) -> Result<Wish> {
  Wish wish;
  IRONCORE_TRY(wish.spec, translate(machine));
  wish.spec.shutdown_grace = parts_.options.shutdown_grace;
  wish.spec.shutdown_signal = parts_.options.shutdown_signal;
  IRONCORE_CHECK(add_interfaces(machine, wish));
  IRONCORE_CHECK(add_volumes(machine, wish));
  IRONCORE_CHECK(add_ignition(machine, wish));
  const auto& class_name = machine.spec.machine_class_ref.name;
  const auto machine_class = parts_.classes.get(class_name);
  if (!machine_class) {
    wish.findings.missing = Missing{"MachineClassNotReady", "machine class " + class_name + " does not exist"};
  } else if (const auto applied = apply_class(*machine_class, wish.spec); !applied) {
    wish.findings.missing = Missing{"MachineClassNotReady", applied.error().message()};
  }
  return wish;
}

// ---- what is ------------------------------------------------------------------------------------------------------

void MachineReconciler::tell(const api::Machine& machine, const compute::MachineStatus& seen) {
  for (const auto& event : seen.events)
    parts_.events.record(
        reference_to(machine),
        event.type == compute::MachineEvent::Type::normal ? api::EventType::normal : api::EventType::warning,
        event.reason, event.message, "", event.time);
}

/// Whoever looks takes the events along: they are told at once, whatever comes next.
Result<compute::MachineStatus> MachineReconciler::look(const api::Machine& machine, const Uid& uid) {
  auto seen = parts_.host.status(uid);
  if (seen) tell(machine, *seen);
  return seen;
}

Result<void> MachineReconciler::write_status(const api::Machine& machine, const compute::MachineStatus& seen,
                                             const Findings& findings) {
  auto changed = machine;
  changed.status = translate(machine, seen, findings, parts_.options.type, parts_.clock.wall());
  if (changed.status == machine.status) return {};
  // Waiting for something is told once, when it begins or when the reason changes.
  const auto is_news = [&](const char* type) {
    const auto* before = api::find_condition(machine.status.conditions, type);
    const auto* after = api::find_condition(changed.status.conditions, type);
    return after->status == api::ConditionStatus::false_ &&
           (before == nullptr || before->reason != after->reason || before->message != after->message);
  };
  const auto record = [&](const std::string& reason, const std::string& message) {
    parts_.events.record(reference_to(machine), api::EventType::normal, reason, message);
  };
  if (findings.missing && is_news("Ready")) record(findings.missing->reason, findings.missing->message);
  const auto* ready_before = api::find_condition(machine.status.conditions, "Ready");
  const bool says_something_new =
      ready_before == nullptr ||
      ready_before->message != api::find_condition(changed.status.conditions, "Ready")->message;
  if (findings.postponed && says_something_new)
    record(findings.postponed->reason, "the reboot waits: " + findings.postponed->message);
  if (!findings.failure.empty() && says_something_new)
    parts_.events.record(reference_to(machine), api::EventType::warning, "ReconcileFailed", findings.failure);
  if (!findings.volumes.empty() && is_news("VolumesReady")) record("VolumeNotReady", findings.volumes.begin()->second);
  const auto pending = [](const api::Machine& one) {
    const auto* condition = api::find_condition(one.status.conditions, "VolumesReady");
    return condition != nullptr && condition->reason == "CredentialsPending" ? condition->message : std::string();
  };
  if (const auto told = pending(changed); !findings.kept.empty() && !told.empty() && told != pending(machine))
    record("VolumeNotReady", told);
  if (!findings.interfaces.empty() && is_news("NetworkInterfacesReady"))
    record("NetworkInterfaceNotReady", findings.interfaces.begin()->second);

  return writes_.write_status(machine, std::move(changed));
}

Requeue MachineReconciler::when(const compute::MachineStatus& seen) const {
  if (!seen.next_check) return {};
  return {.after = std::max<Duration>(*seen.next_check - parts_.clock.now(), std::chrono::milliseconds(1))};
}

// ---- the steps ----------------------------------------------------------------------------------------------------

/// Bound by hand, or offered when it was decided: nothing new is begun with a class that the pool does not offer.
Result<void> MachineReconciler::check_offer(const std::string& class_name) {
  const auto machine_class = parts_.classes.get(class_name);
  if (!machine_class) return {};
  IRONCORE_TRY(const auto capacity, parts_.host.capacity());
  IRONCORE_CHECK(offered_count(*machine_class, parts_.options.classes, capacity));
  return {};
}

Result<Requeue> MachineReconciler::bring_up(const api::Machine& machine, std::stop_token stop) {
  IRONCORE_TRY(auto wish, assemble(machine));
  IRONCORE_TRY(const auto uid, Uid::parse(machine.metadata.uid));
  auto& findings = wish.findings;
  IRONCORE_TRY(auto seen, look(machine, uid));
  const bool exists = seen.state != compute::MachineState::terminated;
  keep_unopened(machine, seen, wish);
  if (!exists) {
    seen.state = compute::MachineState::pending;
    if (const auto offered = check_offer(machine.spec.machine_class_ref.name); !offered) {
      const auto code = offered.error().code();
      if (code != ErrorCode::unsupported && code != ErrorCode::invalid) return offered.error();
      findings.missing = Missing{"MachineClassNotReady", offered.error().message()};
    }
  }

  // A start needs everything, the first one and every other. While the guest runs, a volume that went away is only taken off, and
  // ignition is not needed.
  if (!findings.missing && !wish.is_complete) {
    findings.missing = !findings.interfaces.empty()
                           ? Missing{"NetworkInterfaceNotReady", findings.interfaces.begin()->second}
                           : Missing{"VolumeNotReady", findings.volumes.begin()->second};
  }
  const bool is_waiting = findings.missing.has_value();
  if (is_waiting) wish.spec.hold = findings.missing->message;
  // Without its class nobody knows how large the machine shall be.
  const bool shall_apply = !is_waiting || (exists && wish.spec.memory_bytes > 0);
  std::optional<Error> failure;
  auto latest = std::make_shared<const api::Machine>(machine);
  const auto show_progress = [&](const compute::MachineStatus& so_far) {
    tell(machine, so_far);
    // For people only: what cannot be written now is soon overtaken.
    if (!write_status(*latest, so_far, findings)) return;
    if (auto written = writes_.newest_of(machine)) latest = std::move(written);
  };
  if (shall_apply) {
    auto applied = parts_.host.apply(wish.spec, stop, show_progress);
    if (applied) {
      tell(machine, *applied);
      seen = std::move(*applied);
    } else {
      if (stop.stop_requested()) return applied.error();
      failure = applied.error();
      IRONCORE_TRY(seen, look(machine, uid));
      if (seen.state == compute::MachineState::terminated) seen.state = compute::MachineState::pending;
      seen.message = findings.failure = failure->message();
    }
  }
  const bool is_rebooting = machine.spec.power == api::Power::on && !wish.spec.reboot_token.empty() &&
                            wish.spec.reboot_token != seen.reboot_token;
  if (is_waiting && is_rebooting && seen.state == compute::MachineState::running) findings.postponed = findings.missing;
  // The machine runs, or is switched off, without what is missing: that is no reason to call it not ready.
  if (shall_apply ? seen.state != compute::MachineState::pending : seen.state == compute::MachineState::running)
    findings.missing.reset();
  IRONCORE_CHECK(write_status(*latest, seen, findings));

  // A device that the guest has not let go of is still used.
  for (const auto& entry : machine.status.network_interfaces) {
    const auto is_held = [&](const compute::DeviceStatus& device) { return device.name == entry.name; };
    if (entry.network_interface_ref && std::any_of(seen.nics.begin(), seen.nics.end(), is_held))
      wish.interfaces.insert(entry.network_interface_ref->name);
  }
  for (const auto& entry : machine.status.volumes) {
    const auto is_held = [&](const compute::DeviceStatus& device) { return device.name == entry.name; };
    if (entry.volume_ref && std::any_of(seen.disks.begin(), seen.disks.end(), is_held))
      wish.volumes.insert(entry.volume_ref->name);
  }
  // A machine that does not run keeps what it names: it is defined with it, and nothing is taken off.
  const bool is_up = seen.state == compute::MachineState::running || seen.state == compute::MachineState::terminating;
  if (exists && !is_up) {
    for (const auto& entry : machine.spec.network_interfaces) wish.interfaces.insert(interface_name(machine, entry));
    for (const auto& entry : machine.spec.volumes) wish.volumes.insert(volume_name(machine, entry));
  }
  IRONCORE_CHECK(parts_.claims.release_unused(machine, wish.interfaces, wish.volumes));
  for (const auto& entry : machine.spec.network_interfaces) {
    const auto device =
        std::find_if(seen.nics.begin(), seen.nics.end(), [&](const auto& nic) { return nic.name == entry.name; });
    const bool has_device = device != seen.nics.end() && is_attached(seen, *device);
    IRONCORE_CHECK(
        parts_.claims.note_handle(machine, interface_name(machine, entry), has_device ? device->handle : ""));
  }
  if (failure) return *failure;
  auto requeue = when(seen);
  if (is_waiting && (!requeue.after || *requeue.after > parts_.options.look_again))
    requeue.after = parts_.options.look_again;
  return requeue;
}

Result<Requeue> MachineReconciler::tear_down(const api::Machine& machine) {
  if (!has_finalizer(machine.metadata, api::machine_finalizer)) return Requeue{};
  IRONCORE_TRY(const auto uid, Uid::parse(machine.metadata.uid));
  const auto removed = parts_.host.remove(uid, parts_.options.shutdown_grace, parts_.options.shutdown_signal);
  if (!removed) {
    auto seen = look(machine, uid);
    if (seen) {
      seen->state = compute::MachineState::terminating;
      seen->message = removed.error().message();
      IRONCORE_CHECK(write_status(machine, *seen, {}));
    }
    return removed.error();
  }
  tell(machine, *removed);
  IRONCORE_CHECK(write_status(machine, *removed, {}));
  if (removed->state != compute::MachineState::terminated) return when(*removed);
  IRONCORE_CHECK(parts_.claims.release_all(machine));
  IRONCORE_CHECK(writes_.let_go(machine, api::machine_finalizer));
  return Requeue{};
}

Result<Requeue> MachineReconciler::reconcile(const std::string& key, std::stop_token stop) {
  auto machine = writes_.newest(key);
  // What others manage is theirs, unless we have begun with it: then nobody else would end it.
  if (!machine ||
      (is_managed_by_others(machine->metadata) && !has_finalizer(machine->metadata, api::machine_finalizer)))
    return Requeue{};
  if (machine->metadata.deletion_timestamp) return tear_down(*machine);
  IRONCORE_TRY(machine, writes_.keep(machine, api::machine_finalizer));
  return bring_up(*machine, std::move(stop));
}

}  // namespace ironcore::control
