// SPDX-License-Identifier: Apache-2.0
// Host: makes the virtual machines of one hypervisor match their specs, one idempotent step at a time.
#pragma once

#include <filesystem>
#include <functional>
#include <memory>
#include <vector>

#include "ironcore/base/clock.hpp"
#include "ironcore/base/log.hpp"
#include "ironcore/base/result.hpp"
#include "ironcore/compute/hypervisor.hpp"
#include "ironcore/compute/machine.hpp"

namespace ironcore::compute {

struct HostOptions {
  std::filesystem::path directory;                 ///< machines/, images/, secrets/ live below it; created when absent
  std::vector<std::filesystem::path> image_roots;  ///< image layouts must lie below one of these; empty = anywhere
  Accelerator accelerator = Accelerator::automatic;
  /// A serial log that grows beyond this is rotated, and one old file is kept. virtlogd, which libvirt uses unless told
  /// otherwise, is faster: it rotates at the 2 MiB of its own configuration and keeps three old files.
  std::size_t console_log_bytes = 4 << 20;
  std::size_t capacity_reserved_memory = 512 << 20;     ///< bytes kept for the host itself
  Duration shutdown_repeat = std::chrono::seconds(10);  ///< a guest that does not react is asked again
  /// A device that the guest has not let go of by then is told as an event. It is asked on, with pauses that double up to five minutes.
  Duration detach_patience = std::chrono::minutes(1);
};

/// A domain of ours on the hypervisor, or files of a machine without one, for which nobody gave a spec.
struct Orphan {
  Uid uid;
  std::string name;
  DomainState state;
};

/// The machines of one host. Level-triggered: `apply` and `remove` look at the world, do what is possible now without
/// waiting for the guest, and say what they saw. Each may be repeated at any time; a crash between any two steps is
/// repaired by the next call. A running guest is adopted, never restarted because this object was. Thread: any
/// (calls for one machine are serialised, different machines run in parallel).
class Host {
 public:
  static Result<std::unique_ptr<Host>> create(Hypervisor& hypervisor, HostOptions options, Clock& clock, Log& log);
  virtual ~Host() = default;

  /// Brings the machine closer to `spec`. Blocks for disk and image work, so call it from a worker thread; `stop`
  /// interrupts a long image copy. `progress` is called on this thread when such a copy begins and then about once a
  /// second, with the status so far: its message says how much is done, its events are told only once. An error means that
  /// this step failed and may be retried; the status of what exists is then still available from `status`.
  using Progress = std::function<void(const MachineStatus&)>;
  virtual Result<MachineStatus> apply(const MachineSpec& spec, std::stop_token stop = {},
                                      const Progress& progress = {}) = 0;

  /// Brings the machine closer to being gone: graceful shutdown, forced stop after the grace period, then domain,
  /// disks, NICs, secrets and directory. `terminated` when nothing is left (also when nothing ever was).
  virtual Result<MachineStatus> remove(const Uid& uid, Duration grace,
                                       ShutdownSignal signal = ShutdownSignal::agent_then_acpi) = 0;

  /// Looks only.
  virtual Result<MachineStatus> status(const Uid& uid) = 0;

  /// Our domains, and machines of which only files are left, that are not in `known`.
  virtual Result<std::vector<Orphan>> orphans(const std::vector<Uid>& known) = 0;

  /// Removes copies of images that no machine here was made from and that were not used for ten minutes; returns the bytes
  /// freed. Does not wait: while an image is being copied, nothing happens. Call it now and then.
  virtual Result<std::uint64_t> remove_unused_images() = 0;

  /// Removes secrets of disks whose machine has neither domain nor files here: what a crash and a lost file left. Call it now and then.
  virtual Result<std::size_t> remove_unused_secrets() = 0;

  /// Attaches to the serial port. `wrong_state` while another holder has it; dropping the Console frees it.
  virtual Result<std::unique_ptr<Console>> console(const Uid& uid) = 0;

  /// The serial log since the last boots, at most `limit` bytes from its end, rotation included.
  virtual Result<std::string> console_log(const Uid& uid, std::size_t limit) = 0;

  /// Processor threads and bytes of memory that machines of this host may use altogether.
  virtual Result<HostCapacity> capacity() = 0;

  /// Calls `changed` with the machine's uid whenever the hypervisor reports something about it, and with a nil uid when
  /// everything should be looked at again (after a reconnect). Called on the hypervisor's event thread: hand it on, do not block.
  virtual void on_change(std::function<void(const Uid&)> changed) = 0;
};

}  // namespace ironcore::compute
