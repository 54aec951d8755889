// SPDX-License-Identifier: Apache-2.0
// One simulated host with its clock and its files, for the tests of Host.
#pragma once

#include <doctest/doctest.h>

#include <functional>
#include <map>
#include <memory>
#include <string>

#include "ironcore/compute/host.hpp"
#include "ironcore/sim/hypervisor.hpp"
#include "temporary_directory.hpp"
#include "test_image.hpp"

namespace ironcore::tests {

using compute::MachineState;
using compute::Power;

struct SimHost {
  TemporaryDirectory directory;
  sim::VirtualClock clock;
  sim::Hypervisor hypervisor{clock};
  NullLog log;
  std::string image = make_image(directory.path() / "image", {.rootfs = std::string(1 << 20, 'r')});
  std::unique_ptr<compute::Host> host;
  std::map<std::string, int> events;  // by reason, over all calls

  SimHost() { restart(); }

  /// As if the process had been killed and started again.
  void restart() {
    host.reset();
    compute::HostOptions options;
    options.directory = directory.path() / "state";
    host = compute::Host::create(hypervisor, options, clock, log).value();
  }

  std::filesystem::path machine_directory(const Uid& uid) const {
    return directory.path() / "state" / "machines" / uid.to_text();
  }

  compute::MachineSpec spec() const {
    compute::MachineSpec spec;
    spec.uid = Uid::random();
    spec.name = "web-1";
    spec.memory_bytes = std::uint64_t{256} << 20;
    spec.disks.push_back({"root", "vda", "", compute::LocalDisk{8 << 20, image}});
    spec.nics.push_back({"net", {}, compute::UserNetwork{}});
    return spec;
  }

  compute::MachineStatus count(compute::MachineStatus status) {
    for (const auto& event : status.events) ++events[event.reason];
    return status;
  }
  compute::MachineStatus apply(const compute::MachineSpec& spec) { return count(host->apply(spec).value()); }
  compute::MachineStatus remove(const Uid& uid, Duration grace = std::chrono::minutes(5)) {
    return count(host->remove(uid, grace).value());
  }

  /// Repeats the step as time passes, as a provider would, until the machine is in that state.
  compute::MachineStatus until(const std::function<compute::MachineStatus()>& step, MachineState state,
                               Duration limit = std::chrono::hours(1)) {
    const Instant end = clock.now() + limit;
    auto status = step();
    while (status.state != state && clock.now() < end) {
      clock.advance(std::chrono::milliseconds(500));
      status = step();
    }
    CHECK_MESSAGE(status.state == state, status.message);
    return status;
  }
  compute::MachineStatus reach(const compute::MachineSpec& spec, MachineState state,
                               Duration limit = std::chrono::hours(1)) {
    return until([&] { return apply(spec); }, state, limit);
  }
  /// Running, and the guest has booted.
  compute::MachineStatus run(const compute::MachineSpec& spec) {
    auto status = reach(spec, MachineState::running);
    REQUIRE(clock.advance_until([&] { return hypervisor.inside(spec.uid).value().has_booted; }));
    return status;
  }
  sim::Hypervisor::Inside inside(const Uid& uid) const { return hypervisor.inside(uid).value(); }
};

}  // namespace ironcore::tests
