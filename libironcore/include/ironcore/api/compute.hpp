// SPDX-License-Identifier: Apache-2.0
// The kinds of compute.ironcore.dev: MachineClass, MachinePool, Machine.
#pragma once

#include "ironcore/api/boxed.hpp"
#include "ironcore/api/networking.hpp"
#include "ironcore/api/object.hpp"
#include "ironcore/api/references.hpp"
#include "ironcore/api/storage.hpp"

namespace ironcore::api {

/// What a machine of this class gets. `cpu` and `memory` are required and positive.
struct MachineClass {
  static constexpr KindInfo info{"compute.ironcore.dev", "v1alpha1", "MachineClass",
                                 "machineclasses",       "mc",       Scope::cluster};
  Metadata metadata;
  ResourceList capabilities;  ///< immutable
  Unknown unknown;
  friend bool operator==(const MachineClass&, const MachineClass&) = default;
};
BOOST_DESCRIBE_STRUCT(MachineClass, (), (metadata, capabilities))

enum class MachinePoolState { ready, pending, error, offline };
BOOST_DESCRIBE_ENUM(MachinePoolState, ready, pending, error, offline)

enum class MachinePoolAddressType { hostname, internal_ip, external_ip, internal_dns, external_dns };
BOOST_DESCRIBE_ENUM(MachinePoolAddressType, hostname, internal_ip, external_ip, internal_dns, external_dns)

struct MachinePoolAddress {
  MachinePoolAddressType type = MachinePoolAddressType::hostname;
  std::string address;
  Unknown unknown;
  friend bool operator==(const MachinePoolAddress&, const MachinePoolAddress&) = default;
};
BOOST_DESCRIBE_STRUCT(MachinePoolAddress, (), (type, address))

struct DaemonEndpoint {
  std::int32_t port = 0;
  Unknown unknown;
  friend bool operator==(const DaemonEndpoint&, const DaemonEndpoint&) = default;
};
BOOST_DESCRIBE_STRUCT(DaemonEndpoint, (), (port))

struct MachinePoolDaemonEndpoints {
  std::optional<DaemonEndpoint> machinepoollet_endpoint;
  Unknown unknown;
  friend bool operator==(const MachinePoolDaemonEndpoints&, const MachinePoolDaemonEndpoints&) = default;
};
BOOST_DESCRIBE_STRUCT(MachinePoolDaemonEndpoints, (), (machinepoollet_endpoint))

/// `capacity` is written by the provider: `cpu` and `memory` of the whole host beside `class/machine.<class>`
/// counts of an empty host. `allocatable` is what is left of it for machines altogether (host reserve taken
/// off, machines NOT taken off): only the scheduler subtracts machines, and it does so once.
struct MachinePoolStatus {
  MachinePoolState state = MachinePoolState::pending;
  std::vector<Condition> conditions;  ///< `Ready`
  std::vector<LocalReference> available_machine_classes;
  std::vector<MachinePoolAddress> addresses;
  MachinePoolDaemonEndpoints daemon_endpoints;
  ResourceList capacity;
  ResourceList allocatable;
  Unknown unknown;
  friend bool operator==(const MachinePoolStatus&, const MachinePoolStatus&) = default;
};
BOOST_DESCRIBE_STRUCT(MachinePoolStatus, (),
                      (state, conditions, available_machine_classes, addresses, daemon_endpoints, capacity,
                       allocatable))

struct MachinePool {
  static constexpr KindInfo info{"compute.ironcore.dev", "v1alpha1", "MachinePool",
                                 "machinepools",         "mp",       Scope::cluster};
  Metadata metadata;
  PoolSpec spec;
  MachinePoolStatus status;
  Unknown unknown;
  friend bool operator==(const MachinePool&, const MachinePool&) = default;
};
BOOST_DESCRIBE_STRUCT(MachinePool, (), (metadata, spec, status))

enum class Power { on, off };
BOOST_DESCRIBE_ENUM(Power, on, off)

struct NetworkInterfaceTemplate {
  TemplateMetadata metadata;
  NetworkInterfaceSpec spec;
  Unknown unknown;
  friend bool operator==(const NetworkInterfaceTemplate&, const NetworkInterfaceTemplate&) = default;
};
BOOST_DESCRIBE_STRUCT(NetworkInterfaceTemplate, (), (metadata, spec))

struct EphemeralNetworkInterface {
  std::optional<NetworkInterfaceTemplate> network_interface_template;
  Unknown unknown;
  friend bool operator==(const EphemeralNetworkInterface&, const EphemeralNetworkInterface&) = default;
};
BOOST_DESCRIBE_STRUCT(EphemeralNetworkInterface, (), (network_interface_template))

/// Exactly one source.
struct MachineNetworkInterface {
  std::string name;
  std::optional<LocalReference> network_interface_ref;
  Boxed<EphemeralNetworkInterface> ephemeral;
  Unknown unknown;
  friend bool operator==(const MachineNetworkInterface&, const MachineNetworkInterface&) = default;
};
BOOST_DESCRIBE_STRUCT(MachineNetworkInterface, (), (name, network_interface_ref, ephemeral))

struct EmptyDisk {
  std::optional<Quantity> size_limit;
  Unknown unknown;
  friend bool operator==(const EmptyDisk&, const EmptyDisk&) = default;
};
BOOST_DESCRIBE_STRUCT(EmptyDisk, (), (size_limit))

struct LocalDisk {
  std::optional<Quantity> size_limit;
  std::string image;  ///< OCI reference; cannot be changed or removed later
  Unknown unknown;
  friend bool operator==(const LocalDisk&, const LocalDisk&) = default;
};
BOOST_DESCRIBE_STRUCT(LocalDisk, (), (size_limit, image))

struct VolumeTemplate {
  TemplateMetadata metadata;
  VolumeSpec spec;
  Unknown unknown;
  friend bool operator==(const VolumeTemplate&, const VolumeTemplate&) = default;
};
BOOST_DESCRIBE_STRUCT(VolumeTemplate, (), (metadata, spec))

struct EphemeralVolume {
  std::optional<VolumeTemplate> volume_template;
  Unknown unknown;
  friend bool operator==(const EphemeralVolume&, const EphemeralVolume&) = default;
};
BOOST_DESCRIBE_STRUCT(EphemeralVolume, (), (volume_template))

/// Exactly one source. `device` is `oda` … `odzz`; given out at admission when absent.
struct MachineVolume {
  std::string name;
  std::string device;
  std::optional<LocalReference> volume_ref;
  std::optional<EmptyDisk> empty_disk;  ///< deprecated spelling of `local_disk` without an image
  std::optional<LocalDisk> local_disk;
  Boxed<EphemeralVolume> ephemeral;
  Unknown unknown;
  friend bool operator==(const MachineVolume&, const MachineVolume&) = default;
};
BOOST_DESCRIBE_STRUCT(MachineVolume, (), (name, device, volume_ref, empty_disk, local_disk, ephemeral))

struct EfiVar {
  std::string name;
  std::string uuid;
  std::string value;
  Unknown unknown;
  friend bool operator==(const EfiVar&, const EfiVar&) = default;
};
BOOST_DESCRIBE_STRUCT(EfiVar, (), (name, uuid, value))

struct GuestConfig {
  std::string hostname;  ///< a DNS label; cannot be set, changed or cleared later
  Unknown unknown;
  friend bool operator==(const GuestConfig&, const GuestConfig&) = default;
};
BOOST_DESCRIBE_STRUCT(GuestConfig, (), (hostname))

struct MachineSpec {
  LocalReference machine_class_ref;  ///< immutable
  std::map<std::string, std::string> machine_pool_selector;
  std::optional<LocalReference> machine_pool_ref;  ///< set once, by the scheduler or by the user
  Power power = Power::on;
  std::vector<MachineNetworkInterface> network_interfaces;
  std::vector<MachineVolume> volumes;
  std::optional<SecretKeySelector> ignition_ref;  ///< default key `ignition.yaml`
  std::vector<EfiVar> efi_vars;
  std::vector<Toleration> tolerations;
  std::optional<GuestConfig> guest_config;
  Unknown unknown;
  friend bool operator==(const MachineSpec&, const MachineSpec&) = default;
};
BOOST_DESCRIBE_STRUCT(MachineSpec, (),
                      (machine_class_ref, machine_pool_selector, machine_pool_ref, power, network_interfaces, volumes,
                       ignition_ref, efi_vars, tolerations, guest_config))

enum class MachineState { pending, running, shutdown, terminating, terminated };
BOOST_DESCRIBE_ENUM(MachineState, pending, running, shutdown, terminating, terminated)

enum class AttachmentState { pending, attached };
BOOST_DESCRIBE_ENUM(AttachmentState, pending, attached)

struct MachineNetworkInterfaceStatus {
  std::string name;
  std::string handle;
  AttachmentState state = AttachmentState::pending;
  std::optional<LocalReference> network_interface_ref;
  std::optional<WallTime> last_state_transition_time;
  Unknown unknown;
  friend bool operator==(const MachineNetworkInterfaceStatus&, const MachineNetworkInterfaceStatus&) = default;
};
BOOST_DESCRIBE_STRUCT(MachineNetworkInterfaceStatus, (),
                      (name, handle, state, network_interface_ref, last_state_transition_time))

struct MachineVolumeStatus {
  std::string name;
  std::string handle;
  AttachmentState state = AttachmentState::pending;
  std::optional<LocalReference> volume_ref;  ///< always the Volume's name; absent for local disks
  std::optional<WallTime> last_state_transition_time;
  Unknown unknown;
  friend bool operator==(const MachineVolumeStatus&, const MachineVolumeStatus&) = default;
};
BOOST_DESCRIBE_STRUCT(MachineVolumeStatus, (), (name, handle, state, volume_ref, last_state_transition_time))

struct MachineStatus {
  std::string machine_id;  ///< `TYPE://ID`
  std::int64_t observed_generation = 0;
  MachineState state = MachineState::pending;
  std::vector<Condition> conditions;  ///< `Ready`, `VolumesReady`, `NetworkInterfacesReady`
  std::vector<MachineNetworkInterfaceStatus> network_interfaces;
  std::vector<MachineVolumeStatus> volumes;
  std::string reboot_token;  ///< the last value of annotation `compute.ironcore.dev/reboot` that was acted on
  Unknown unknown;
  friend bool operator==(const MachineStatus&, const MachineStatus&) = default;
};
BOOST_DESCRIBE_STRUCT(MachineStatus, (),
                      (machine_id, observed_generation, state, conditions, network_interfaces, volumes, reboot_token))

struct Machine {
  static constexpr KindInfo info{"compute.ironcore.dev",    "v1alpha1", "Machine", "machines", "m", Scope::namespaced,
                                 "spec.machinePoolRef.name"};
  Metadata metadata;
  MachineSpec spec;
  MachineStatus status;
  Unknown unknown;
  friend bool operator==(const Machine&, const Machine&) = default;
};
BOOST_DESCRIBE_STRUCT(Machine, (), (metadata, spec, status))

/// Annotation whose new value asks for one reboot.
inline constexpr std::string_view reboot_annotation = "compute.ironcore.dev/reboot";
/// Type of a Secret with ignition data.
inline constexpr std::string_view ignition_secret_type = "compute.ironcore.dev/ignition";
/// Keeps a class while machines use it.
inline constexpr std::string_view machine_class_finalizer = "compute.ironcore.dev/machineclass";
/// Keeps a machine until its provider has cleaned up.
inline constexpr std::string_view machine_finalizer = "machinepoollet.ironcore.dev/machine";

/// The device after those given: prefix `od`, then `a` … `zz` (index 0 … 701).
Result<std::string> device_name(std::size_t index);
Result<std::size_t> device_index(std::string_view name);

template <>
const Kind& kind_of<MachineClass>();
template <>
const Kind& kind_of<MachinePool>();
template <>
const Kind& kind_of<Machine>();

}  // namespace ironcore::api
