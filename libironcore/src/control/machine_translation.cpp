// SPDX-License-Identifier: Apache-2.0
// From api::Machine to compute::MachineSpec, and from compute::MachineStatus to the status of the machine.
#include "machine_translation.hpp"

#include <algorithm>
#include <limits>

#include "ironcore/control/machine_provider.hpp"
#include "ironcore/control/placement.hpp"

namespace ironcore::control {

std::string interface_name(const api::Machine& machine, const api::MachineNetworkInterface& entry) {
  return entry.network_interface_ref ? entry.network_interface_ref->name : machine.metadata.name + "-" + entry.name;
}

std::string volume_name(const api::Machine& machine, const api::MachineVolume& entry) {
  if (entry.volume_ref) return entry.volume_ref->name;
  return entry.ephemeral ? machine.metadata.name + "-" + entry.name : "";
}

Result<std::string> host_device(std::string_view device) {
  IRONCORE_CHECK(api::device_index(device));
  return "vd" + std::string(device.substr(2));
}

/// `path` as it was written: links are none of ours to follow, so `..` and the like are refused.
Result<compute::VhostUser> vhost_user(const std::filesystem::path& path, const std::filesystem::path& directory) {
  const bool is_there = directory.empty() || (path.lexically_normal() == path && path.has_filename() &&
                                              path.parent_path() == directory.lexically_normal());
  if (!is_there)
    return Error(ErrorCode::forbidden, "vhost-user sockets of this host lie in " + directory.string() + ", and " +
                                           path.string() + " does not");
  std::error_code error;
  const auto status = std::filesystem::symlink_status(path, error);
  if (std::filesystem::exists(status) && !std::filesystem::is_socket(status))
    return Error(ErrorCode::wrong_state, path.string() + " is no socket: remove it, or name another path");
  return compute::VhostUser{path};
}

Result<NicDevice> nic_device(const api::NetworkInterface& interface,
                             const std::filesystem::path& vhost_user_directory) {
  const auto attribute = interface.spec.attributes.find(nic_attribute);
  const auto named = "network interface " + interface.metadata.name;
  if (attribute == interface.spec.attributes.end()) {
    if (interface.spec.network_ref.name.empty()) return NicDevice(compute::UserNetwork{});
    return Error(ErrorCode::unsupported, named + " is in network " + interface.spec.network_ref.name +
                                             ", which no network provider has connected to this host; attribute " +
                                             nic_attribute + " can name a device of the host instead");
  }
  const std::string_view text = attribute->second;
  if (text == "user") return NicDevice(compute::UserNetwork{});
  const auto equals = text.find('=');
  const auto word = text.substr(0, equals);
  const std::string value(equals == std::string_view::npos ? "" : text.substr(equals + 1));
  if (!value.empty()) {
    if (word == "network") return NicDevice(compute::LibvirtNetwork{value});
    if (word == "tap") return NicDevice(compute::Tap{value});
    if (word == "vhost-user" && value.front() == '/') {
      IRONCORE_TRY(auto device, within(vhost_user(value, vhost_user_directory), named));
      return NicDevice(std::move(device));
    }
  }
  return Error(ErrorCode::invalid, named + ": attribute " + nic_attribute + " is \"" + std::string(text) +
                                       "\"; write user, network=NAME, tap=INTERFACE or vhost-user=/PATH");
}

Result<std::int64_t> offered_count(const api::MachineClass& machine_class, const std::vector<std::string>& offered,
                                   const compute::HostCapacity& capacity) {
  const auto& name = machine_class.metadata.name;
  if (!offered.empty() && std::find(offered.begin(), offered.end(), name) == offered.end())
    return Error(ErrorCode::unsupported, "machine class " + name + " is not offered by this machine pool");
  const auto size = size_of(machine_class);
  if (size.cpu_milli <= 0 || size.memory_bytes <= 0)
    return Error(ErrorCode::invalid, "machine class " + name + " names no cpu or no memory");
  const auto memory = static_cast<std::int64_t>(
      std::min<std::uint64_t>(capacity.memory_bytes, std::numeric_limits<std::int64_t>::max()));
  const auto count = std::min(std::int64_t{capacity.cpus} * 1000 / size.cpu_milli, memory / size.memory_bytes);
  if (count == 0) return Error(ErrorCode::unsupported, "machine class " + name + " is larger than this host");
  return count;
}

Result<void> apply_class(const api::MachineClass& machine_class, compute::MachineSpec& spec) {
  const auto size = size_of(machine_class);
  if (size.cpu_milli <= 0 || size.memory_bytes <= 0)
    return Error(ErrorCode::invalid, "machine class " + machine_class.metadata.name + " names no cpu or no memory");
  const auto processors = size.cpu_milli / 1000;
  if (processors > std::numeric_limits<std::uint16_t>::max())
    return Error(ErrorCode::invalid,
                 "machine class " + machine_class.metadata.name + " asks for more processors than a machine can have");
  spec.vcpus = static_cast<std::uint32_t>(processors);
  spec.memory_bytes = static_cast<std::uint64_t>(size.memory_bytes);
  return {};
}

Result<compute::Disk> local_disk(const api::MachineVolume& entry) {
  compute::LocalDisk local;
  const auto& limit = entry.local_disk ? entry.local_disk->size_limit : entry.empty_disk->size_limit;
  if (limit) {
    if (limit->sign() < 0) return Error(ErrorCode::invalid, "volume " + entry.name + ": the size limit is negative");
    local.size_bytes = static_cast<std::uint64_t>(limit->value());
  }
  if (entry.local_disk) local.image = entry.local_disk->image;
  compute::Disk disk;
  disk.name = entry.name;
  IRONCORE_TRY(disk.device, within(host_device(entry.device), "volume " + entry.name));
  disk.source = std::move(local);
  return disk;
}

Result<compute::MachineSpec> translate(const api::Machine& machine) {
  compute::MachineSpec spec;
  IRONCORE_TRY(spec.uid, Uid::parse(machine.metadata.uid));
  spec.name = machine.metadata.namespace_ + "/" + machine.metadata.name;
  spec.power = machine.spec.power == api::Power::on ? compute::Power::on : compute::Power::off;
  if (machine.spec.guest_config) spec.hostname = machine.spec.guest_config->hostname;
  spec.labels = {{"namespace", machine.metadata.namespace_},
                 {"name", machine.metadata.name},
                 {"machineClass", machine.spec.machine_class_ref.name}};
  if (const auto token = machine.metadata.annotations.find(std::string(api::reboot_annotation));
      token != machine.metadata.annotations.end())
    spec.reboot_token = token->second;
  return spec;
}

// ---- status -------------------------------------------------------------------------------------------------------

namespace {

api::MachineState state_of(compute::MachineState state) {
  switch (state) {
    case compute::MachineState::pending:
      return api::MachineState::pending;
    case compute::MachineState::running:
      return api::MachineState::running;
    case compute::MachineState::shutdown:
      return api::MachineState::shutdown;
    case compute::MachineState::terminating:
      return api::MachineState::terminating;
    case compute::MachineState::terminated:
      return api::MachineState::terminated;
  }
  return api::MachineState::pending;
}

const compute::DeviceStatus* find_device(const std::vector<compute::DeviceStatus>& devices, const std::string& name) {
  const auto found =
      std::find_if(devices.begin(), devices.end(), [&](const auto& device) { return device.name == name; });
  return found == devices.end() ? nullptr : &*found;
}

/// Entries of the status by name: those that exist keep their time while their state stays the same.
template <class Entry>
Entry entry_for(const std::vector<Entry>& known, const std::string& name, const compute::DeviceStatus* device,
                bool has_device, WallTime now) {
  Entry entry;
  entry.name = name;
  const auto before = std::find_if(known.begin(), known.end(), [&](const Entry& other) { return other.name == name; });
  if (before != known.end()) entry = *before;
  const auto state = has_device ? api::AttachmentState::attached : api::AttachmentState::pending;
  if (before == known.end() || before->state != state || !entry.last_state_transition_time)
    entry.last_state_transition_time = now;
  entry.state = state;
  if (device != nullptr) entry.handle = device->handle;
  return entry;
}

api::Condition ready_condition(const compute::MachineStatus& seen, const Findings& findings) {
  api::Condition condition{.type = "Ready", .status = api::ConditionStatus::false_};
  condition.message = seen.message;
  const auto message_or = [&](const char* text) {
    if (condition.message.empty()) condition.message = text;
  };
  switch (seen.state) {
    case compute::MachineState::running:
      condition.status = api::ConditionStatus::true_;
      condition.reason = "Running";
      condition.message = seen.message.empty() ? "Machine is running" : "Machine is running: " + seen.message;
      if (findings.postponed)
        condition.message = "Machine is running; its reboot waits: " + findings.postponed->message;
      return condition;
    case compute::MachineState::pending:
      condition.reason = "Pending";
      message_or("Machine is not running yet");
      break;
    case compute::MachineState::shutdown:
      condition.reason = "NotReady";
      message_or("Machine is shut down");
      break;
    case compute::MachineState::terminating:
    case compute::MachineState::terminated:
      condition.reason = "Terminating";
      message_or("Machine is stopping");
      break;
  }
  if (findings.missing) {
    condition.reason = findings.missing->reason;
    condition.message = findings.missing->message;
  }
  return condition;
}

/// True when every entry is attached, so also when there is none.
template <class Entry>
api::Condition devices_condition(std::string type, std::string not_ready, const std::vector<Entry>& entries,
                                 const char* all_ready, const std::map<std::string, std::string>& reasons) {
  for (const auto& entry : entries) {
    if (entry.state == api::AttachmentState::attached) continue;
    const auto why = reasons.find(entry.name);
    return {.type = std::move(type),
            .status = api::ConditionStatus::false_,
            .reason = std::move(not_ready),
            .message = entry.name + ": " + (why == reasons.end() ? std::string("not attached yet") : why->second)};
  }
  auto reason = type;
  return {.type = std::move(type),
          .status = api::ConditionStatus::true_,
          .reason = std::move(reason),
          .message = all_ready};
}

}  // namespace

bool is_attached(const compute::MachineStatus& seen, const compute::DeviceStatus& device) {
  return device.state != compute::DeviceStatus::State::pending || seen.state == compute::MachineState::shutdown;
}

api::MachineStatus translate(const api::Machine& machine, const compute::MachineStatus& seen, const Findings& findings,
                             std::string_view type, WallTime now) {
  auto status = machine.status;
  status.state = state_of(seen.state);
  status.observed_generation = machine.metadata.generation;
  status.reboot_token = seen.reboot_token;
  const bool exists = seen.state != compute::MachineState::terminated;
  if (exists && status.machine_id.empty() && !findings.missing)
    status.machine_id = std::string(type) + "://" + machine.metadata.uid;

  // What keeps an entry from being used at the next start is told although a machine that is off is still defined with the device.
  const auto has = [&](const compute::DeviceStatus* device, const std::map<std::string, std::string>& reasons) {
    return device != nullptr && is_attached(seen, *device) &&
           (device->state != compute::DeviceStatus::State::pending || !reasons.contains(device->name));
  };

  status.volumes.clear();
  std::vector<api::MachineVolumeStatus> wanted_volumes;
  for (const auto& entry : machine.spec.volumes) {
    const auto* device = find_device(seen.disks, entry.name);
    auto& volume = status.volumes.emplace_back(
        entry_for(machine.status.volumes, entry.name, device, has(device, findings.volumes), now));
    volume.volume_ref.reset();
    if (const auto name = volume_name(machine, entry); !name.empty())
      volume.volume_ref = api::LocalReference{.name = name};
    wanted_volumes.push_back(volume);
  }
  // What is no longer wanted stays in the list until the guest has let go of it: its name cannot be used again before.
  for (const auto& device : seen.disks) {
    const auto is_named = [&](const api::MachineVolume& entry) { return entry.name == device.name; };
    if (std::none_of(machine.spec.volumes.begin(), machine.spec.volumes.end(), is_named))
      status.volumes.push_back(entry_for(machine.status.volumes, device.name, &device, is_attached(seen, device), now));
  }

  status.network_interfaces.clear();
  std::vector<api::MachineNetworkInterfaceStatus> wanted_interfaces;
  for (const auto& entry : machine.spec.network_interfaces) {
    const auto* device = find_device(seen.nics, entry.name);
    auto& interface = status.network_interfaces.emplace_back(
        entry_for(machine.status.network_interfaces, entry.name, device, has(device, findings.interfaces), now));
    interface.network_interface_ref = api::LocalReference{.name = interface_name(machine, entry)};
    wanted_interfaces.push_back(interface);
  }
  for (const auto& device : seen.nics) {
    const auto is_named = [&](const api::MachineNetworkInterface& entry) { return entry.name == device.name; };
    if (std::none_of(machine.spec.network_interfaces.begin(), machine.spec.network_interfaces.end(), is_named))
      status.network_interfaces.push_back(
          entry_for(machine.status.network_interfaces, device.name, &device, is_attached(seen, device), now));
  }

  api::set_condition(status.conditions, ready_condition(seen, findings), now);
  auto volumes_ready =
      devices_condition("VolumesReady", "VolumeNotReady", wanted_volumes, "All volumes are ready", findings.volumes);
  if (volumes_ready.status == api::ConditionStatus::true_) {
    // The machine has them all; what cannot be had before the next attach is told with it.
    for (const auto& device : seen.disks) {
      const auto notice = findings.kept.contains(device.name)
                              ? findings.volumes.at(device.name) + "; until then the machine keeps the disk as it is"
                              : device.notice;
      if (notice.empty()) continue;
      volumes_ready.reason = "CredentialsPending";
      volumes_ready.message = device.name + ": " + notice;
      break;
    }
  }
  api::set_condition(status.conditions, std::move(volumes_ready), now);
  api::set_condition(status.conditions,
                     devices_condition("NetworkInterfacesReady", "NetworkInterfaceNotReady", wanted_interfaces,
                                       "All network interfaces are ready", findings.interfaces),
                     now);
  return status;
}

}  // namespace ironcore::control
