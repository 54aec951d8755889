// SPDX-License-Identifier: Apache-2.0
// MachineProvider: the machines of one pool, from the store to a compute::Host and back.
#pragma once

#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <vector>

#include "ironcore/api/compute.hpp"
#include "ironcore/api/storage.hpp"
#include "ironcore/base/clock.hpp"
#include "ironcore/base/log.hpp"
#include "ironcore/base/result.hpp"
#include "ironcore/compute/host.hpp"
#include "ironcore/control/managed_by.hpp"
#include "ironcore/control/volume_access.hpp"
#include "ironcore/store/store.hpp"

namespace ironcore::control {

struct MachineProviderOptions {
  std::string pool;         ///< name of the MachinePool; made when absent
  std::string provider_id;  ///< `libvirt://host-1`: identity of this host, the same after every restart
  /// Who holds the pool's lease: the same after a restart, so that machines are taken over at once; another one for another copy of
  /// this host's provider, which then waits. Empty = `provider_id`.
  std::string holder;
  std::string type = "libvirt";               ///< the TYPE of `status.machineID`
  std::map<std::string, std::string> labels;  ///< put on the pool and kept there: `topology.ironcore.dev/zone` …
  std::vector<std::string> classes;           ///< machine classes offered; empty = every one that fits this host
  std::vector<api::MachinePoolAddress> addresses;
  std::size_t workers = 4;  ///< machines that are worked on at the same time
  Duration heartbeat_every = std::chrono::seconds(10);
  Duration lease_time_to_live = std::chrono::seconds(40);  ///< more than twice `heartbeat_every`
  Duration look_again = std::chrono::seconds(5);           ///< for a Secret or class that is missing
  Duration look_for_orphans = std::chrono::minutes(1);     ///< and for images that nobody needs
  Duration shutdown_grace = std::chrono::minutes(5);
  compute::ShutdownSignal shutdown_signal = compute::ShutdownSignal::agent_then_acpi;
  /// QEMU removes what is at the path of a vhost-user socket and makes the socket: so only directly in this directory, and only where
  /// nothing else is. Empty = anywhere.
  std::filesystem::path vhost_user_directory;
  /// Turns what a Volume's provider says about access, and the data of the Secret that it names, into source, limits and secrets of a disk of this
  /// host; `unsupported` for a driver that it does not know. Empty: only `localDisk` and `emptyDisk` can be attached. `open_volume` of
  /// ironcore/control/volume_access.hpp knows the drivers of this library.
  std::function<Result<compute::Disk>(const api::VolumeAccess& access, const VolumeSecrets& secrets)> open_volume;
};

/// Attribute of a NetworkInterface that selects its device on the host: `user`, `network=NAME` (a libvirt network), `tap=INTERFACE` or
/// `vhost-user=/PATH`. Without it, an interface without a network is `user`; one with a network waits for the network provider.
inline constexpr const char* nic_attribute = "compute.ironcore.dev/nic";

/// What a program needs to serve serial consoles and logs of the machines here. Thread: any.
class ConsoleSource {
 public:
  virtual ~ConsoleSource() = default;
  /// `not_found` for a machine that is not on this host, `wrong_state` while somebody else is attached.
  virtual Result<std::unique_ptr<compute::Console>> console(const std::string& namespace_, const std::string& name) = 0;
  /// The end of the serial log, at most `limit` bytes.
  virtual Result<std::string> console_log(const std::string& namespace_, const std::string& name,
                                          std::size_t limit) = 0;
};

/// Announces its MachinePool, renews lease `machinepool/<pool>`, and makes the host's machines match the Machines bound to the pool: adds
/// the finalizer, resolves class, ignition, volumes and interfaces, claims what is used and releases what is not, applies, writes the status
/// that it saw, and tells events. A machine is not started, for the first time or again, while something that it names is missing; a running
/// one is looked after all the same, and one that is off keeps what it names. Nothing is begun with a class that is not offered. Running
/// guests are adopted after a restart. While another process holds the lease, nothing is touched. Domains and files without a Machine are reported,
/// never removed. Thread: any.
class MachineProvider final : public ConsoleSource {
 public:
  /// Everything given by reference must outlive it. Takes over `host.on_change`. `invalid` lists what is wrong with the options.
  static Result<std::unique_ptr<MachineProvider>> create(store::Store& store, compute::Host& host,
                                                         MachineProviderOptions options, Clock& clock, Log& log);
  ~MachineProvider() override;

  /// Works until a stop is requested, then returns; guests run on. Makes threads (one for each watch, the heartbeat, the events and each
  /// worker) and joins them before it returns.
  void run(std::stop_token stop);
  /// Does what is due now; false if that was nothing. For those who own the loop: tests, simulations.
  bool step();

  Result<std::unique_ptr<compute::Console>> console(const std::string& namespace_, const std::string& name) override;
  Result<std::string> console_log(const std::string& namespace_, const std::string& name, std::size_t limit) override;

 private:
  class Body;
  explicit MachineProvider(std::unique_ptr<Body> body);
  std::unique_ptr<Body> body_;
};

}  // namespace ironcore::control
