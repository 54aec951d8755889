// SPDX-License-Identifier: Apache-2.0
// What a virtual machine on this host shall be (MachineSpec) and what it is (MachineStatus).
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "ironcore/base/clock.hpp"
#include "ironcore/base/error.hpp"
#include "ironcore/base/mac_address.hpp"
#include "ironcore/base/uid.hpp"

namespace ironcore::compute {

enum class Power { on, off };

/// A disk kept in a file of this host. With an image: a copy-on-write child of the image's root disk, grown to
/// `size_bytes` if that is larger. Without: empty, sparse.
struct LocalDisk {
  std::uint64_t size_bytes = 0;  ///< 0 = the image's size, or 500 MiB without an image
  std::string image;             ///< OCI reference; empty = no image
};

/// A disk that exists already: a file or block device, raw or qcow2. It is attached, never created or removed.
struct ExistingDisk {
  std::filesystem::path path;
  std::string format = "raw";
};

/// An image on Ceph, which QEMU reaches over the network. It is attached, never created, enlarged or removed. Names hold neither
/// `/` nor `@`.
struct RbdImage {
  std::vector<std::string> monitors;  ///< `HOST:PORT` or `[IPv6]:PORT`, at least one
  std::string pool;
  std::string space;  ///< the RADOS namespace; empty = the default one
  std::string image;
  std::string user;           ///< cephx user, without `client.`
  bool is_encrypted = false;  ///< LUKS2, opened by librbd with the passphrase
  friend bool operator==(const RbdImage&, const RbdImage&) = default;
};

/// What opens a disk. They reach the hypervisor's memory and nothing else: no definition, record, log or argument of a process.
struct DiskSecrets {
  std::string key;         ///< of the cephx user, as bytes (not base64); at least one
  std::string passphrase;  ///< of an encrypted image, as bytes
  friend bool operator==(const DiskSecrets&, const DiskSecrets&) = default;
};

/// What a disk may do in a second; 0 = as much as it likes. A burst may last for `burst`, and counts only where it is above the limit.
struct DiskLimits {
  std::uint64_t iops = 0;
  std::uint64_t bytes_per_second = 0;
  std::uint64_t burst_iops = 0;
  std::uint64_t burst_bytes_per_second = 0;
  std::chrono::seconds burst{0};
  friend bool operator==(const DiskLimits&, const DiskLimits&) = default;
};

struct Disk {
  std::string name;    ///< unique within the machine
  std::string device;  ///< `vda` … `vdzz`; unique within the machine
  std::string serial;  ///< at most 20 bytes, seen by the guest; empty = `<device>-<handle>`, cut to 20 bytes
  std::variant<LocalDisk, ExistingDisk, RbdImage> source;
  std::string handle{};  ///< what identifies the data; empty = derived from disk and machine
  std::uint64_t size_bytes =
      0;                ///< of a disk that exists already: what the guest shall see of it; 0 = all of it. It only grows
  DiskLimits limits{};  ///< also of a disk that is in use
  DiskSecrets secrets{};  ///< of an RbdImage: from the next attach or start on
};

struct UserNetwork {};  ///< QEMU's own NAT: no host set-up, no inbound traffic
struct LibvirtNetwork {
  std::string network;  ///< a network that libvirt knows by name
};
struct Tap {
  std::string interface;  ///< an existing tap device
};
struct VhostUser {
  std::filesystem::path socket;  ///< QEMU is the server, the switch connects to it
};
struct PciDevice {
  std::string address;  ///< `0000:3b:02.1`, handed to the guest (VFIO)
};

struct Nic {
  std::string name;               ///< unique within the machine
  std::optional<MacAddress> mac;  ///< empty = derived from machine and name, the same for ever
  std::variant<UserNetwork, LibvirtNetwork, Tap, VhostUser, PciDevice> device;
};

/// Boots kernel and initramfs of an OCI image directly instead of a disk's boot loader.
struct KernelBoot {
  std::string image;         ///< OCI reference with kernel (and initramfs) layers
  std::string command_line;  ///< appended to the image's own
};

/// How a guest that shall stop is asked to. `agent_then_acpi` asks the agent when it answers, else presses the button.
enum class ShutdownSignal { agent_then_acpi, agent, acpi };

/// The wish. Applying the same spec again changes nothing.
struct MachineSpec {
  Uid uid;                         ///< identity: domain UUID, directory, derived names
  std::string name;                ///< for people: domain title, messages
  std::uint32_t vcpus = 1;         ///< ≥ 1
  std::uint64_t memory_bytes = 0;  ///< ≥ 64 MiB
  Power power = Power::on;
  std::vector<Disk> disks;  ///< the first one boots, unless `kernel` is set
  /// Names of disks of which nobody can say now how they are opened: a running guest keeps those that it has, as they are. Only with `hold`.
  std::vector<std::string> kept_disks{};
  std::vector<Nic> nics;
  std::optional<KernelBoot> kernel;
  std::string ignition;                       ///< bytes for fw_cfg `opt/com.coreos/config`; a secret: never logged
  std::string hostname;                       ///< empty = none; handed to the guest as fw_cfg `opt/ironcore/hostname`
  std::map<std::string, std::string> labels;  ///< shown in the domain's metadata, for people
  std::string reboot_token;                   ///< a new value reboots a running guest once; acknowledged in the status
  /// Not empty: what the machine lacks. Then it is not started and no reboot begins, and what it was defined with stays; a running guest
  /// is looked after all the same.
  std::string hold;
  ShutdownSignal shutdown_signal = ShutdownSignal::agent_then_acpi;
  Duration shutdown_grace = std::chrono::minutes(5);  ///< from the first signal to the forced stop
};

/// Every wrong field of a spec, by its name (`disks[1].device`); empty if it can be applied. Names of disks and NICs: 1 to 63
/// printable bytes.
std::vector<FieldError> problems(const MachineSpec& spec);

/// The address of a NIC that has none given: locally administered, the same for ever for this machine and name.
MacAddress derived_mac(const Uid& machine, std::string_view nic);
/// 16 hexadecimal digits that name a disk in its serial and its handle, the same for ever.
std::string derived_handle(const Uid& machine, std::string_view disk);

///                 apply                    power off / delete
///  (none) ──► pending ──► running ──► terminating ──► shutdown ──► (removed)
///                ▲            │            ▲              │
///                └── guest stopped itself ─┴── power on ──┘
enum class MachineState {
  pending,  ///< not running yet: image, disk, NIC or hypervisor not ready; the message says which
  running,
  shutdown,     ///< stopped, as wished or by the guest itself; disks kept
  terminating,  ///< asked to stop, not stopped yet
  terminated,   ///< removed from this host: nothing is left
};

struct DeviceStatus {
  std::string name;
  enum class State {
    pending,
    attached,
    detaching,  ///< still attached: the guest was asked to let go
  } state = State::pending;
  std::string handle;            ///< what identifies the backing device
  std::uint64_t size_bytes = 0;  ///< disks: size that the guest sees
  std::string mac;               ///< NICs
  std::string notice{};          ///< disks: what waits for the next attach or start
};

/// One thing that happened, for the machine's event list.
struct MachineEvent {
  enum class Type { normal, warning } type = Type::normal;
  std::string reason;  ///< `PullingImage`, `Started`, `ShutdownTriggered` …: one CamelCase word
  std::string message;
  std::optional<WallTime> time;  ///< when it happened; empty = just now
};

/// What is. `message` says why a machine is not in the state that its spec wants.
struct MachineStatus {
  MachineState state = MachineState::pending;
  std::string message;
  std::vector<DeviceStatus> disks;
  std::vector<DeviceStatus> nics;
  std::string reboot_token;           ///< the last token acted on
  std::vector<MachineEvent> events;   ///< since the previous call
  std::optional<Instant> next_check;  ///< call again then, even if nothing was reported; empty = only on events
};

}  // namespace ironcore::compute
