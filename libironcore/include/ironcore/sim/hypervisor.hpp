// SPDX-License-Identifier: Apache-2.0
// A hypervisor in memory whose guests follow a script: for tests, simulations and trying things without QEMU.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <string_view>
#include <vector>

#include "ironcore/compute/hypervisor.hpp"
#include "ironcore/sim/virtual_clock.hpp"

namespace ironcore::sim {

/// How a guest behaves. All times run on the hypervisor's clock.
struct Guest {
  Duration boot = std::chrono::seconds(3);  ///< from the start until the banner; before that it hears nothing
  std::string banner = "ironcore guest: ready\n";
  bool has_agent = true;    ///< the agent connects when the guest has booted
  bool heeds_agent = true;  ///< stops when the agent is asked to (the agent answers either way)
  bool heeds_power_button = true;
  Duration shutdown = std::chrono::seconds(1);  ///< from the accepted request until it is off
  bool releases_devices = true;                 ///< lets go of a device that is to be detached
  Duration release = std::chrono::milliseconds(200);
  /// What the guest writes to its serial port when it reads `input`; empty = it echoes.
  std::function<std::string(std::string_view input)> answer;
};

/// Domains, guests and consoles in memory. Deterministic: with a VirtualClock the guests act, and the events are
/// delivered, inside `VirtualClock::advance`. With another clock the guests act when they are looked at, and events are
/// delivered inside `run`. Serial output also goes to the domain's console log file. Every call of the seam can be made
/// to fail. Thread: any.
class Hypervisor final : public compute::Hypervisor {
 public:
  struct Options {
    compute::HostCapacity capacity{.cpus = 8, .memory_bytes = std::uint64_t{16} << 30};
    Guest guest;  ///< the script of guests that have none of their own
  };
  explicit Hypervisor(VirtualClock& clock);
  Hypervisor(VirtualClock& clock, Options options);
  explicit Hypervisor(Clock& clock);
  Hypervisor(Clock& clock, Options options);
  ~Hypervisor() override;

  /// Lets guests act and delivers events until stopped. Not needed, but allowed, with a VirtualClock.
  void run(std::stop_token stop);

  Result<compute::HostCapacity> capacity() override;
  Result<std::vector<compute::Domain>> domains() override;
  Result<compute::Domain> domain(const Uid& uid) override;
  Result<void> define(const compute::DomainSpec& spec) override;
  Result<void> start(const Uid& uid) override;
  Result<void> shutdown(const Uid& uid, compute::ShutdownSignal signal) override;
  Result<void> reboot(const Uid& uid) override;
  Result<void> resume(const Uid& uid) override;
  Result<void> destroy(const Uid& uid) override;
  Result<void> undefine(const Uid& uid) override;
  Result<void> attach_disk(const Uid& uid, const compute::DomainDisk& disk) override;
  Result<void> detach_disk(const Uid& uid, const std::string& name) override;
  Result<void> resize_disk(const Uid& uid, const std::string& name, std::uint64_t size_bytes) override;
  Result<void> limit_disk(const Uid& uid, const std::string& name, const compute::DiskLimits& limits) override;
  Result<void> attach_nic(const Uid& uid, const compute::DomainNic& nic) override;
  Result<void> detach_nic(const Uid& uid, const std::string& name) override;
  Result<void> put_secrets(const Uid& uid, const std::string& disk, const compute::DiskSecrets& secrets) override;
  Result<void> remove_secrets(const Uid& uid, const std::string& disk) override;
  Result<std::vector<Uid>> secret_owners() override;
  Result<std::unique_ptr<compute::Console>> console(const Uid& uid) override;
  void on_event(std::function<void(const compute::DomainEvent&)> listener) override;
  std::optional<FileOwner> file_owner() override;

  // ---- the script: what tests make happen ----

  /// One call of the seam, as faults see it.
  struct Call {
    std::string_view name;  ///< `start`, `attach_disk` …
    Uid uid;                ///< nil for `capacity` and `domains`
    std::uint64_t index;    ///< counts all calls from 0
  };
  struct Fault {
    Error error;
    enum class When { before, after } when = When::before;  ///< after: it took effect, the answer is lost
  };
  /// Asked before every call; may be empty. Must not call back.
  void set_faults(std::function<std::optional<Fault>(const Call&)> faults);
  std::uint64_t calls() const;

  /// What Ceph says when an image is opened: its size, or why not. Empty = every image is there and has 1 GiB. Must not call back.
  using OpenImage = std::function<Result<std::uint64_t>(const compute::RbdImage&, const compute::DiskSecrets&)>;
  void set_images(OpenImage open);

  /// The script of this domain's guest, whether it exists already or not; takes effect at once.
  void set_guest(const Uid& uid, Guest guest);
  /// The guest of a running domain does something by itself. `wrong_state` if it does not run.
  Result<void> guest_powers_off(const Uid& uid);
  Result<void> guest_reboots(const Uid& uid);
  Result<void> guest_crashes(const Uid& uid);
  /// Stops the guest where it is, as a full disk or an operator does, until `resume`.
  Result<void> pause(const Uid& uid, compute::PauseReason reason);
  Result<void> guest_prints(const Uid& uid, std::string_view text);

  /// The hypervisor's daemon is gone: every call fails with `unavailable`; guests and open consoles run on.
  void disconnect();
  /// It is back: events that happened meanwhile and secrets are lost, `reconnected` is delivered.
  void reconnect();
  /// The machine under all this is switched off and on: nothing runs, why is forgotten, definitions stay.
  void restart_host();

  /// What a running or defined domain was made of, for assertions. `not_found` if there is none.
  struct Inside {
    compute::DomainSpec definition;
    std::vector<compute::DomainDisk> disks;               ///< attached now
    std::vector<compute::DomainNic> nics;                 ///< attached now
    std::map<std::string, std::uint64_t> sizes;           ///< of attached disks, as the guest sees them
    std::map<std::string, compute::DiskSecrets> opened;   ///< with what attached disks on Ceph were opened
    std::map<std::string, compute::DiskSecrets> secrets;  ///< that are there for the next attach or start
    bool has_booted = false;
    std::uint64_t starts = 0;  ///< processes started in all
    std::uint64_t boots = 0;   ///< starts and reboots in all
  };
  Result<Inside> inside(const Uid& uid) const;

 private:
  struct State;
  class SimConsole;
  std::shared_ptr<State> state_;
};

}  // namespace ironcore::sim
