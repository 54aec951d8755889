// SPDX-License-Identifier: Apache-2.0
// The steps that bring one machine closer to its spec, or to being gone.
#pragma once

#include <map>
#include <mutex>
#include <optional>
#include <stop_token>
#include <string>
#include <vector>

#include "ironcore/base/log.hpp"
#include "ironcore/compute/host.hpp"
#include "ironcore/image/cache.hpp"
#include "machine_files.hpp"
#include "machine_record.hpp"

namespace ironcore::compute {

/// What is kept about a machine between two calls and may be lost with the process.
struct MachineMemory {
  std::mutex mutex;  ///< one call at a time
  std::optional<Instant> last_signal;
  unsigned signals = 0;
  bool was_agent_asked = false;
  /// A device that the guest was asked to let go of.
  struct Detach {
    Instant first;
    Instant next;  ///< it is asked again then
    Duration pause;
    bool is_told = false;  ///< that it takes long
  };
  std::map<std::string, Detach> detaching;  ///< `disk/NAME`, `nic/NAME`
  std::vector<MachineEvent> events;         ///< not handed out yet
  std::string message;                      ///< why the machine is not as wished
  std::string defined_here;                 ///< digest of what this process defined last
  std::string start_error;                  ///< why the last start failed
  std::optional<Instant> last_resume;       ///< of a guest that was paused for want of room
  std::optional<MachineRecord> unsaved;     ///< what a full disk did not take
};

/// What all machines of a host share.
struct MachineSurroundings {
  Hypervisor& hypervisor;
  image::Cache& images;
  const HostOptions& options;
  Clock& clock;
  Log& log;
  std::optional<Hypervisor::FileOwner> file_owner;
};

/// Lives for one call, under the machine's mutex.
class MachineDriver {
 public:
  MachineDriver(const MachineSurroundings& around, const Uid& uid, MachineMemory& memory)
      : around_(around), uid_(uid), memory_(memory), files_(around.options.directory, uid) {}

  Result<MachineStatus> apply(const MachineSpec& spec, std::stop_token stop, const Host::Progress& progress);
  Result<MachineStatus> remove(Duration grace, ShutdownSignal signal);
  Result<MachineStatus> status();

 private:
  // Looking (machine_driver.cpp)
  Result<void> load();
  Result<void> save();
  Result<void> observe();
  bool is_up() const;
  Result<void> note_state();
  void note_crash();
  void note_failed_start(const Error& error);
  void pause_before_start();
  void note_wish(const MachineSpec& spec);
  void begin_stop_anew();
  MachineStatus report();
  void event(MachineEvent::Type type, std::string reason, std::string message);
  void wake(Instant time);
  void wake(WallTime time);

  // Power (machine_driver.cpp)
  Result<void> stop(Duration grace, ShutdownSignal signal);
  Result<void> go_on();
  Result<void> send_signal(ShutdownSignal signal, Duration grace);
  Result<void> bring_up(const MachineSpec& spec, std::stop_token stop);

  // Devices (machine_devices.cpp)
  struct PreparedDisk {
    DomainDisk domain;
    MachineRecord::Disk record;
    std::uint64_t wished_bytes = 0;
    DiskSecrets secrets;
  };
  DomainSpec describe(const MachineSpec& spec) const;
  Result<void> prepare_local(const Disk& disk, const LocalDisk& local, PreparedDisk& out, std::stop_token stop);
  Result<PreparedDisk> prepare_disk(const Disk& disk, std::stop_token stop);
  Result<MachineFiles::DiskFile> create_disk(const Disk& disk, const LocalDisk& local, std::stop_token stop);
  void tell_progress(std::string message);
  Result<image::CachedImage> fetch(const std::string& reference, std::stop_token stop);
  std::filesystem::path backing_of(const std::string& name, const MachineFiles::DiskFile& file) const;
  Result<void> prepare_down(const MachineSpec& spec, std::stop_token stop);
  Result<void> prepare_start(const MachineSpec& spec, std::stop_token stop);
  Result<std::vector<PreparedDisk>> prepare(const MachineSpec& spec, DomainSpec& domain, std::stop_token stop);
  Result<void> add_kernel(const KernelBoot& boot, DomainSpec& domain, std::stop_token stop);
  Result<void> define(const DomainSpec& domain);
  Result<void> remove_stale_disks(const MachineSpec& spec);
  Result<void> reconcile_up(const MachineSpec& spec, std::stop_token stop);
  Result<void> plug_disk(const PreparedDisk& disk);
  Result<void> keep_disk(const PreparedDisk& disk);
  Result<void> hand_over(const PreparedDisk& disk);
  Result<void> take_secrets_back(const std::string& name);
  Result<void> plug_nic(const DomainNic& nic);
  Result<void> unplug_disk(const std::string& name);
  Result<void> unplug_nic(const std::string& name);
  bool has_disk(const std::string& name) const;
  bool has_nic(const std::string& name) const;
  bool may_ask_detach(const std::string& key, const std::string& what, const char* reason);

  const MachineSurroundings& around_;
  const Uid uid_;
  MachineMemory& memory_;
  MachineFiles files_;
  std::optional<Domain> domain_;  // none: the hypervisor knows no such domain
  bool is_new_ = false;           // no record yet
  MachineRecord record_;
  MachineRecord saved_;
  std::string message_;
  std::optional<Instant> wake_;
  const Host::Progress* progress_ = nullptr;  // who wants to hear of a long copy
};

}  // namespace ironcore::compute
