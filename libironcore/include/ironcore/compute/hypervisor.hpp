// SPDX-License-Identifier: Apache-2.0
// Hypervisor: the seam towards libvirt (or its simulation). It knows domains, not machines: no images, no policy.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <stop_token>
#include <string>
#include <variant>
#include <vector>

#include "ironcore/base/clock.hpp"
#include "ironcore/base/result.hpp"
#include "ironcore/compute/machine.hpp"

namespace ironcore::compute {

/// automatic = KVM only if /dev/kvm opens and the processor has vmx or svm, else TCG.
enum class Accelerator { automatic, kvm, tcg };

struct HostCapacity {
  std::uint32_t cpus = 0;
  std::uint64_t memory_bytes = 0;
};

struct DomainDisk {
  std::string name;    ///< becomes the device alias
  std::string target;  ///< `vda`
  std::string serial;
  std::filesystem::path path;
  std::string format;             ///< `raw` or `qcow2`
  std::filesystem::path backing;  ///< raw parent of a copy-on-write disk, shared and never written; empty = none
  std::optional<RbdImage> rbd{};  ///< instead of path, format and backing
  /// Settings of the client of `rbd`, instead of /etc/ceph/ceph.conf; QEMU's user can read it.
  std::filesystem::path rbd_settings{};
  DiskLimits limits{};
};

struct DomainNic {
  std::string name;  ///< becomes the device alias
  MacAddress mac;
  std::variant<UserNetwork, LibvirtNetwork, Tap, VhostUser, PciDevice> device;
};

struct DomainKernel {
  std::filesystem::path kernel;
  std::filesystem::path initramfs;  ///< empty = none
  std::string command_line;
};

/// A whole domain, all paths resolved.
struct DomainSpec {
  Uid uid;
  std::string name;  ///< domain name: unique on the hypervisor
  std::string title;
  std::uint32_t vcpus = 1;
  std::uint64_t memory_bytes = 0;
  Accelerator accelerator = Accelerator::automatic;
  std::vector<DomainDisk> disks;
  std::vector<DomainNic> nics;
  std::optional<DomainKernel> kernel;
  std::filesystem::path console_log;          ///< what the guest writes to its serial port; empty = not kept
  std::filesystem::path agent_socket;         ///< where a body may put the agent's socket; empty = its own place
  std::filesystem::path ignition;             ///< file for fw_cfg `opt/com.coreos/config`; empty = none
  std::string hostname;                       ///< fw_cfg `opt/ironcore/hostname`; empty = none
  std::map<std::string, std::string> labels;  ///< kept in the domain's metadata
};

enum class DomainState { running, paused, shutting_down, shut_off, crashed, unknown };

/// Why a domain that does not run stopped, as far as the body still knows: after a restart of the host it is unknown.
enum class StopReason {
  unknown,
  shutdown,   ///< the guest stopped, by itself or because it was asked
  destroyed,  ///< forced from outside
  crashed,    ///< guest or QEMU
  failed,     ///< it could not be started
};

/// Why a domain that has a process does not go on.
enum class PauseReason {
  none,      ///< it is not paused
  no_space,  ///< a disk of it could not be written for want of room; `resume` tries again
  other,     ///< somebody paused it from outside, or the body does not know
};

struct Domain {
  Uid uid;
  std::string name;
  std::string title;
  DomainState state = DomainState::unknown;
  StopReason stop_reason = StopReason::unknown;  ///< of a domain that is shut_off or crashed
  PauseReason pause_reason = PauseReason::none;
  bool is_agent_connected = false;
  std::int64_t process = 0;        ///< QEMU's pid where the body can tell, else 0
  std::vector<std::string> disks;  ///< names of attached disks
  std::vector<std::string> nics;   ///< names of attached NICs
};

struct DomainEvent {
  enum class Type {
    defined,
    started,
    stopped,
    crashed,
    paused,
    resumed,
    rebooted,
    device_removed,
    agent_changed,
    undefined,
    reconnected
  };
  Type type;
  Uid uid;             ///< nil for `reconnected`: everything may have changed
  std::string device;  ///< name, for `device_removed`
};

/// A two-way byte stream to a domain's serial port. One holder at a time; the destructor frees it. Thread: one.
class Console {
 public:
  virtual ~Console() = default;
  /// Bytes that the guest wrote; waits until there are some. Empty = the deadline passed. `gone` = the guest stopped and
  /// what could still be had of its last words was read.
  virtual Result<std::string> read(Instant deadline, std::stop_token stop) = 0;
  /// Hands bytes to the guest; blocks while its buffer is full, until the deadline (`timeout`: a part was handed over). A
  /// guest that does not read holds up nothing else.
  virtual Result<void> write(std::string_view bytes, Instant deadline) = 0;
};

/// The domains of one hypervisor that carry our mark; others are neither seen nor touched. All calls are idempotent: starting a
/// running domain, destroying a stopped one and undefining an absent one succeed. Errors: `not_found` (no such domain),
/// `unavailable` (connection lost; the body reconnects by itself), `timeout` (the hypervisor does not answer for this domain: what was asked may
/// happen yet; `destroy` helps), `wrong_state`, `exhausted`, `unsupported`, `invalid`. Thread: any.
class Hypervisor {
 public:
  virtual ~Hypervisor() = default;

  virtual Result<HostCapacity> capacity() = 0;
  virtual Result<std::vector<Domain>> domains() = 0;
  virtual Result<Domain> domain(const Uid& uid) = 0;

  /// Creates or replaces the persistent definition. A running domain keeps what it has until its next start.
  virtual Result<void> define(const DomainSpec& spec) = 0;
  virtual Result<void> start(const Uid& uid) = 0;
  /// Asks the guest to stop; `agent` fails with `unavailable` when no agent answers within two seconds.
  virtual Result<void> shutdown(const Uid& uid, ShutdownSignal signal) = 0;
  /// Restarts the guest without a new process: asks it when it can be asked, else a hard reset.
  virtual Result<void> reboot(const Uid& uid) = 0;
  /// Lets a paused guest go on; one that runs does. One that was paused for want of room may be paused again at once.
  virtual Result<void> resume(const Uid& uid) = 0;
  virtual Result<void> destroy(const Uid& uid) = 0;
  /// Removes the definition and everything the body kept for it (nvram, managed save, secrets of disks).
  virtual Result<void> undefine(const Uid& uid) = 0;

  /// Hot-plug. Attaching what is attached succeeds. Detaching only asks the guest; completion is `device_removed`
  /// and the name's absence from `Domain`.
  virtual Result<void> attach_disk(const Uid& uid, const DomainDisk& disk) = 0;
  virtual Result<void> detach_disk(const Uid& uid, const std::string& name) = 0;
  /// The guest sees `size_bytes` from now on. A file that is smaller is enlarged; an image on Ceph was enlarged by its owner before.
  /// `invalid` if the guest sees more already; the same changes nothing.
  virtual Result<void> resize_disk(const Uid& uid, const std::string& name, std::uint64_t size_bytes) = 0;
  /// What an attached disk may do from now on, in place of what it was attached with.
  virtual Result<void> limit_disk(const Uid& uid, const std::string& name, const DiskLimits& limits) = 0;
  virtual Result<void> attach_nic(const Uid& uid, const DomainNic& nic) = 0;
  virtual Result<void> detach_nic(const Uid& uid, const std::string& name) = 0;

  /// Hands over what opens a disk, which needs no domain yet, or replaces it; a disk that is attached goes on with what it has. Starting a domain
  /// and attaching need them: `forbidden` without. They are lost with the hypervisor's daemon, so hand them over before each start.
  virtual Result<void> put_secrets(const Uid& uid, const std::string& disk, const DiskSecrets& secrets) = 0;
  /// Those of a disk; none is there: nothing to do. `undefine` removes all of its domain, also when there is no domain.
  virtual Result<void> remove_secrets(const Uid& uid, const std::string& disk) = 0;
  /// For whose disks secrets are there.
  virtual Result<std::vector<Uid>> secret_owners() = 0;

  virtual Result<std::unique_ptr<Console>> console(const Uid& uid) = 0;

  /// One listener; called on the body's event thread, must not block or call back into the hypervisor.
  virtual void on_event(std::function<void(const DomainEvent&)> listener) = 0;

  /// User and group that disk files must belong to so that the hypervisor can open them; empty = the caller's own.
  struct FileOwner {
    std::uint32_t user;
    std::uint32_t group;
  };
  virtual std::optional<FileOwner> file_owner() = 0;
};

}  // namespace ironcore::compute
