// SPDX-License-Identifier: Apache-2.0
// The words of the API and the words of compute: machine specs one way, machine status the other. Pure.
#pragma once

#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "ironcore/api/compute.hpp"
#include "ironcore/compute/hypervisor.hpp"
#include "ironcore/compute/machine.hpp"

namespace ironcore::control {

using NicDevice = decltype(compute::Nic::device);

/// The objects behind the entries of a machine: the one referred to, or `<machine>-<entry>` for ephemeral ones; empty for local disks.
std::string interface_name(const api::Machine& machine, const api::MachineNetworkInterface& entry);
std::string volume_name(const api::Machine& machine, const api::MachineVolume& entry);

/// `oda` → `vda`.
Result<std::string> host_device(std::string_view device);
/// Which device of the host an interface is; `unsupported` says what it waits for.
Result<NicDevice> nic_device(const api::NetworkInterface& interface, const std::filesystem::path& vhost_user_directory);

/// How many machines of the class an empty host takes, at least one. `invalid` or `unsupported` says why it is not offered here.
Result<std::int64_t> offered_count(const api::MachineClass& machine_class, const std::vector<std::string>& offered,
                                   const compute::HostCapacity& capacity);
/// Processors and memory of a class.
Result<void> apply_class(const api::MachineClass& machine_class, compute::MachineSpec& spec);
/// What of the spec needs no other object.
Result<compute::MachineSpec> translate(const api::Machine& machine);
Result<compute::Disk> local_disk(const api::MachineVolume& entry);

/// Why something that the machine needs is not there.
struct Missing {
  std::string reason;  ///< `IgnitionNotReady` …
  std::string message;
};

/// What the provider found out besides what the host says.
struct Findings {
  std::optional<Missing> missing;              ///< why the machine cannot run yet
  std::optional<Missing> postponed;            ///< why a running machine is not rebooted yet
  std::string failure;                         ///< of the last attempt; empty if it went well
  std::map<std::string, std::string> volumes;  ///< entry → why it is not attached
  std::map<std::string, std::string> interfaces;
  /// Of `volumes`, those that a running machine has all the same: they cannot be opened anew now.
  std::set<std::string> kept;
};

/// Whether the machine has the device. One that is off has what it is defined with.
bool is_attached(const compute::MachineStatus& seen, const compute::DeviceStatus& device);

/// The machine's new status. Times of transition move only with what they belong to.
api::MachineStatus translate(const api::Machine& machine, const compute::MachineStatus& seen, const Findings& findings,
                             std::string_view type, WallTime now);

}  // namespace ironcore::control
