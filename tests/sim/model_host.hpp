// SPDX-License-Identifier: Apache-2.0
// A compute::Host made of a few variables: machines that take time, sometimes fail, and survive their provider.
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "ironcore/compute/host.hpp"
#include "ironcore/sim/virtual_clock.hpp"

namespace ironcore::sim_test {

/// Level-triggered like the real one. Thread: one.
class ModelHost final : public compute::Host {
 public:
  ModelHost(sim::VirtualClock& clock, compute::HostCapacity capacity) : clock_(clock), capacity_(capacity) {}

  /// Asked before every call; true = it fails.
  std::function<bool()> fails;
  /// Told what every machine is started with.
  std::function<void(const compute::MachineSpec&)> on_start;
  /// Says so when something happened that a hypervisor would report.
  void report_all() {
    if (changed_) changed_(Uid());
  }

  Result<compute::MachineStatus> apply(const compute::MachineSpec& spec, std::stop_token, const Progress&) override {
    if (fails && fails()) return Error(ErrorCode::unavailable, "the model fails on purpose");
    auto& machine = machines_[spec.uid];
    settle(machine);
    const bool is_wanted = spec.power == compute::Power::on;
    const bool is_down = machine.state != compute::MachineState::running && !machine.busy_until;
    if (is_down && !spec.hold.empty()) {
      machine.state = is_wanted ? compute::MachineState::pending : compute::MachineState::shutdown;
      return status_of(machine);
    }
    machine.spec = spec;
    if (is_wanted && machine.state != compute::MachineState::running && !machine.busy_until) {
      if (on_start) on_start(spec);
      machine.busy_until = clock_.now() + std::chrono::seconds(2);
      machine.next = compute::MachineState::running;
      machine.state = compute::MachineState::pending;
    } else if (!is_wanted && machine.state == compute::MachineState::running && !machine.busy_until) {
      machine.busy_until = clock_.now() + std::chrono::seconds(3);
      machine.next = compute::MachineState::shutdown;
      machine.state = compute::MachineState::terminating;
    } else if (!is_wanted && machine.state == compute::MachineState::pending && !machine.busy_until) {
      machine.state = compute::MachineState::shutdown;
    }
    if (spec.hold.empty()) machine.reboot_token = spec.reboot_token;
    return status_of(machine);
  }

  Result<compute::MachineStatus> remove(const Uid& uid, Duration, compute::ShutdownSignal) override {
    if (fails && fails()) return Error(ErrorCode::unavailable, "the model fails on purpose");
    const auto found = machines_.find(uid);
    if (found == machines_.end()) return gone();
    auto& machine = found->second;
    settle(machine);
    if (machine.state == compute::MachineState::running && !machine.busy_until) {
      machine.busy_until = clock_.now() + std::chrono::seconds(3);
      machine.next = compute::MachineState::shutdown;
    }
    if (machine.busy_until) {
      machine.state = compute::MachineState::terminating;
      machine.next = compute::MachineState::shutdown;
      return status_of(machine);
    }
    machines_.erase(found);
    return gone();
  }

  Result<compute::MachineStatus> status(const Uid& uid) override {
    if (fails && fails()) return Error(ErrorCode::unavailable, "the model fails on purpose");
    const auto found = machines_.find(uid);
    if (found == machines_.end()) return gone();
    settle(found->second);
    return status_of(found->second);
  }

  Result<std::uint64_t> remove_unused_images() override { return 0; }
  Result<std::size_t> remove_unused_secrets() override { return 0; }

  Result<std::vector<compute::Orphan>> orphans(const std::vector<Uid>& known) override {
    std::vector<compute::Orphan> found;
    for (const auto& [uid, machine] : machines_)
      if (std::find(known.begin(), known.end(), uid) == known.end())
        found.push_back({uid, machine.spec.name, compute::DomainState::running});
    return found;
  }
  Result<std::unique_ptr<compute::Console>> console(const Uid&) override {
    return Error(ErrorCode::unsupported, "a model has no console");
  }
  Result<std::string> console_log(const Uid&, std::size_t) override { return std::string(); }
  Result<compute::HostCapacity> capacity() override {
    if (fails && fails()) return Error(ErrorCode::unavailable, "the model fails on purpose");
    return capacity_;
  }
  void on_change(std::function<void(const Uid&)> changed) override { changed_ = std::move(changed); }

  std::set<Uid> machines() const {
    std::set<Uid> uids;
    for (const auto& [uid, machine] : machines_) uids.insert(uid);
    return uids;
  }

 private:
  struct Machine {
    compute::MachineSpec spec;
    compute::MachineState state = compute::MachineState::pending;
    compute::MachineState next = compute::MachineState::pending;
    std::optional<Instant> busy_until;
    std::string reboot_token;
  };

  void settle(Machine& machine) const {
    if (!machine.busy_until || clock_.now() < *machine.busy_until) return;
    machine.busy_until.reset();
    machine.state = machine.next;
  }
  static compute::MachineStatus gone() {
    compute::MachineStatus status;
    status.state = compute::MachineState::terminated;
    return status;
  }
  static compute::MachineStatus status_of(const Machine& machine) {
    compute::MachineStatus status;
    status.state = machine.state;
    status.reboot_token = machine.reboot_token;
    status.next_check = machine.busy_until;
    const auto state = machine.state == compute::MachineState::running ? compute::DeviceStatus::State::attached
                                                                       : compute::DeviceStatus::State::pending;
    for (const auto& disk : machine.spec.disks) {
      compute::DeviceStatus device;
      device.name = disk.name;
      device.state = state;
      device.handle = "disk-" + disk.name;
      status.disks.push_back(std::move(device));
    }
    for (const auto& nic : machine.spec.nics) {
      compute::DeviceStatus device;
      device.name = nic.name;
      device.state = state;
      device.handle = "nic-" + nic.name;
      status.nics.push_back(std::move(device));
    }
    return status;
  }

  sim::VirtualClock& clock_;
  compute::HostCapacity capacity_;
  std::map<Uid, Machine> machines_;
  std::function<void(const Uid&)> changed_;
};

}  // namespace ironcore::sim_test
