// SPDX-License-Identifier: Apache-2.0
// Defaults and rules of MachineClass and Machine.
#include <algorithm>

#include "ironcore/base/names.hpp"
#include "ironcore/base/uid.hpp"
#include "rules.hpp"

namespace ironcore::api {

namespace {

using Reason = Checks::Reason;
using Names = std::set<std::string, std::less<>>;

/// What is made from a template is called MACHINE-ENTRY, and that has to be a name.
void check_joined_name(const FieldPath& at, std::string_view machine, std::string_view entry, Checks& checks) {
  if (machine.empty() || entry.empty() || check_dns_subdomain(entry)) return;
  const auto joined = std::string(machine) + "-" + std::string(entry);
  if (auto why = check_dns_subdomain(joined))
    checks.add(at, Reason::invalid, "makes a name that is none, with the machine's name and a dash before it: " + *why);
}

void check_source(const FieldPath& at, const MachineNetworkInterface& nic, Checks& checks) {
  OneSource source(at, checks);
  if (source.take("networkInterfaceRef", nic.network_interface_ref.has_value()))
    checks.optional_reference(FieldPath(at, "networkInterfaceRef"), nic.network_interface_ref);
  if (source.take("ephemeral", nic.ephemeral.has_value())) {
    const FieldPath ephemeral(at, "ephemeral");
    const FieldPath pattern(ephemeral, "networkInterfaceTemplate");
    const auto& wanted = nic.ephemeral->network_interface_template;
    if (!wanted) {
      checks.add(pattern, Reason::required, "is required: what the network interface is made from");
    } else {
      check_template_metadata(FieldPath(pattern, "metadata"), wanted->metadata, checks);
      check_network_interface_spec(FieldPath(pattern, "spec"), wanted->spec, checks);
    }
  }
  source.finish("networkInterfaceRef or ephemeral");
}

void check_ephemeral(const FieldPath& at, const EphemeralVolume& volume, Checks& checks) {
  const FieldPath pattern(at, "volumeTemplate");
  if (!volume.volume_template) {
    checks.add(pattern, Reason::required, "is required: what the volume is made from");
    return;
  }
  const FieldPath spec(pattern, "spec");
  const auto& wanted = volume.volume_template->spec;
  check_template_metadata(FieldPath(pattern, "metadata"), volume.volume_template->metadata, checks);
  check_volume_spec(spec, wanted, checks);
  checks.forbidden(FieldPath(spec, "claimRef"), wanted.claim_ref.has_value(), "the machine of the template claims it");
  checks.forbidden(FieldPath(spec, "unclaimable"), wanted.unclaimable.value_or(false),
                   "the machine of the template claims it");
}

void check_size_limit(const FieldPath& at, const std::optional<Quantity>& limit, Checks& checks) {
  if (limit) checks.not_negative(FieldPath(at, "sizeLimit"), *limit);
}

void check_source(const FieldPath& at, const MachineVolume& volume, Checks& checks) {
  OneSource source(at, checks);
  if (source.take("volumeRef", volume.volume_ref.has_value()))
    checks.optional_reference(FieldPath(at, "volumeRef"), volume.volume_ref);
  if (source.take("emptyDisk", volume.empty_disk.has_value()))
    check_size_limit(FieldPath(at, "emptyDisk"), volume.empty_disk->size_limit, checks);
  if (source.take("localDisk", volume.local_disk.has_value())) {
    const FieldPath disk(at, "localDisk");
    check_size_limit(disk, volume.local_disk->size_limit, checks);
    checks.image(FieldPath(disk, "image"), volume.local_disk->image);
  }
  if (source.take("ephemeral", volume.ephemeral.has_value()))
    check_ephemeral(FieldPath(at, "ephemeral"), *volume.ephemeral, checks);
  source.finish("volumeRef, localDisk, emptyDisk or ephemeral");
}

void check_network_interfaces(const FieldPath& at, const Machine& machine, Checks& checks) {
  const auto& spec = machine.spec;
  Names names;
  for (std::size_t i = 0; i < spec.network_interfaces.size(); ++i) {
    const FieldPath entry(at, i);
    const auto& nic = spec.network_interfaces[i];
    checks.required(FieldPath(entry, "name"), nic.name, "each network interface of a machine has a name");
    checks.dns_subdomain(FieldPath(entry, "name"), nic.name);
    checks.unique(FieldPath(entry, "name"), nic.name, names);
    if (nic.ephemeral) check_joined_name(FieldPath(entry, "name"), machine.metadata.name, nic.name, checks);
    check_source(entry, nic, checks);
  }
}

void check_volumes(const FieldPath& at, const Machine& machine, Checks& checks) {
  const auto& spec = machine.spec;
  Names names;
  std::set<std::size_t> indices;
  for (std::size_t i = 0; i < spec.volumes.size(); ++i) {
    const FieldPath entry(at, i);
    const auto& volume = spec.volumes[i];
    checks.required(FieldPath(entry, "name"), volume.name, "each volume of a machine has a name");
    checks.dns_subdomain(FieldPath(entry, "name"), volume.name);
    checks.unique(FieldPath(entry, "name"), volume.name, names);
    if (volume.ephemeral) check_joined_name(FieldPath(entry, "name"), machine.metadata.name, volume.name, checks);
    const FieldPath device(entry, "device");
    if (const auto index = device_index(volume.device); !index) {
      checks.add(device, Reason::invalid, index.error().message());
    } else if (!indices.insert(*index).second) {
      // `oda` and `vda` are two spellings of the first disk.
      checks.add(device, Reason::duplicate, "\"" + volume.device + "\" is used already");
    }
    check_source(entry, volume, checks);
  }
}

void check_efi_vars(const FieldPath& at, const MachineSpec& spec, Checks& checks) {
  Names names;
  for (std::size_t i = 0; i < spec.efi_vars.size(); ++i) {
    const FieldPath entry(at, i);
    const auto& variable = spec.efi_vars[i];
    checks.required(FieldPath(entry, "name"), variable.name, "each EFI variable has a name");
    checks.unique(FieldPath(entry, "name"), variable.name, names);
    if (!variable.uuid.empty() && !Uid::parse(variable.uuid))
      checks.add(FieldPath(entry, "uuid"), Reason::invalid,
                 "must be a UUID such as 8be4df61-93ca-11d2-aa0d-00e098032b8c");
  }
}

const MachineVolume* find_volume(const MachineSpec& spec, std::string_view name) {
  for (const auto& volume : spec.volumes)
    if (volume.name == name) return &volume;
  return nullptr;
}

/// Gives out device names: what a volume of this name had before, or the lowest that is free.
void name_devices(Machine& machine, const Machine* current, Checks& checks) {
  std::set<std::size_t> taken;
  for (const auto& volume : machine.spec.volumes) {
    if (volume.device.empty()) continue;
    if (const auto index = device_index(volume.device)) taken.insert(*index);
  }
  if (current != nullptr) {
    for (auto& volume : machine.spec.volumes) {
      if (!volume.device.empty()) continue;
      const auto* const before = find_volume(current->spec, volume.name);
      if (before == nullptr) continue;
      const auto index = device_index(before->device);
      if (index && taken.insert(*index).second) volume.device = before->device;
    }
  }
  std::size_t lowest = 0;
  for (std::size_t i = 0; i < machine.spec.volumes.size(); ++i) {
    auto& volume = machine.spec.volumes[i];
    if (!volume.device.empty()) continue;
    while (taken.contains(lowest)) ++lowest;
    auto name = device_name(lowest);
    if (!name) {
      const FieldPath root;
      const FieldPath spec(root, "spec");
      checks.add(FieldPath(spec, "volumes"), Reason::too_long, name.error().message());
      return;
    }
    taken.insert(lowest);
    volume.device = std::move(*name);
  }
}

void check_volume_changes(const FieldPath& at, const Machine& current, const Machine& wanted, Checks& checks) {
  for (std::size_t i = 0; i < wanted.spec.volumes.size(); ++i) {
    const auto& name = wanted.spec.volumes[i].name;
    if (find_volume(current.spec, name) != nullptr) continue;
    const auto& attached = current.status.volumes;
    if (std::any_of(attached.begin(), attached.end(), [&](const auto& volume) { return volume.name == name; })) {
      const FieldPath entry(at, i);
      checks.add(
          FieldPath(entry, "name"), Reason::duplicate,
          "\"" + name + "\" is still being detached: use another name, or wait until it is gone from status.volumes");
    }
  }
  for (const auto& before : current.spec.volumes) {
    if (!before.local_disk || before.local_disk->image.empty()) continue;
    const auto entry = FieldPath::entry(at, before.name);
    const FieldPath disk(entry, "localDisk");
    const FieldPath image(disk, "image");
    const auto* const after = find_volume(wanted.spec, before.name);
    if (after == nullptr) {
      checks.add(image, Reason::forbidden, "a volume made from an image cannot be removed: create another machine");
    } else if (!after->local_disk || after->local_disk->image != before.local_disk->image) {
      checks.add(image, Reason::forbidden, "cannot be changed or removed after creation: create another machine");
    }
  }
}

void check_hostname_change(const FieldPath& at, const MachineSpec& current, const MachineSpec& wanted, Checks& checks) {
  const auto hostname = [](const MachineSpec& spec) {
    return spec.guest_config ? std::string_view(spec.guest_config->hostname) : std::string_view();
  };
  const auto before = hostname(current), after = hostname(wanted);
  if (before == after) return;
  checks.add(at, Reason::forbidden,
             before.empty()  ? "cannot be set after creation: the guest has read its configuration"
             : after.empty() ? "cannot be removed after creation"
                             : "cannot be changed after creation");
}

}  // namespace

void complete(MachineClass&, const MachineClass*, Checks&) {}

void check(const MachineClass& object, Checks& checks) {
  const FieldPath root;
  checks.capabilities(FieldPath(root, "capabilities"), object.capabilities, {"cpu", "memory"});
}

void check_change(const MachineClass& current, const MachineClass& wanted, Checks& checks) {
  const FieldPath root;
  checks.immutable(FieldPath(root, "capabilities"), current.capabilities, wanted.capabilities);
}

void complete(Machine& object, const Machine* current, Checks& checks) {
  auto& ignition = object.spec.ignition_ref;
  if (ignition && ignition->key.empty()) ignition->key = "ignition.yaml";
  for (auto& nic : object.spec.network_interfaces)
    if (nic.ephemeral && nic.ephemeral->network_interface_template)
      complete_network_interface_spec(nic.ephemeral->network_interface_template->spec);
  name_devices(object, current, checks);
}

void check(const Machine& object, Checks& checks) {
  const FieldPath root;
  const FieldPath at(root, "spec");
  const auto& spec = object.spec;
  checks.required_reference(FieldPath(at, "machineClassRef"), spec.machine_class_ref,
                            "the class says how large the machine is");
  checks.labels(FieldPath(at, "machinePoolSelector"), spec.machine_pool_selector);
  checks.optional_reference(FieldPath(at, "machinePoolRef"), spec.machine_pool_ref);
  check_network_interfaces(FieldPath(at, "networkInterfaces"), object, checks);
  check_volumes(FieldPath(at, "volumes"), object, checks);
  checks.optional_reference(FieldPath(at, "ignitionRef"), spec.ignition_ref);
  check_efi_vars(FieldPath(at, "efiVars"), spec, checks);
  checks.tolerations(FieldPath(at, "tolerations"), spec.tolerations);
  if (spec.guest_config) {
    const FieldPath guest(at, "guestConfig");
    checks.dns_label(FieldPath(guest, "hostname"), spec.guest_config->hostname);
  }
}

void check_change(const Machine& current, const Machine& wanted, Checks& checks) {
  const FieldPath root;
  const FieldPath at(root, "spec");
  checks.immutable(FieldPath(at, "machineClassRef"), current.spec.machine_class_ref, wanted.spec.machine_class_ref);
  checks.set_once(FieldPath(at, "machinePoolRef"), current.spec.machine_pool_ref, wanted.spec.machine_pool_ref);
  check_volume_changes(FieldPath(at, "volumes"), current, wanted, checks);
  const FieldPath guest(at, "guestConfig");
  check_hostname_change(FieldPath(guest, "hostname"), current.spec, wanted.spec, checks);
}

}  // namespace ironcore::api
