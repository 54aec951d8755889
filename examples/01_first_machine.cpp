// SPDX-License-Identifier: Apache-2.0
// The first machine with the library alone, in one process: store, scheduler, provider, hypervisor.
//
//   01_first_machine                                  on a simulated hypervisor, in seconds
//   01_first_machine qemu:///system oci:DIRECTORY     on libvirt, booting the root disk of an OCI image layout
#include <csignal>
#include <iostream>
#include <thread>

#include "ironcore/api/compute.hpp"
#include "ironcore/api/core.hpp"
#include "ironcore/compute/host.hpp"
#include "ironcore/control/control_plane.hpp"
#include "ironcore/control/machine_provider.hpp"
#include "ironcore/sim/hypervisor.hpp"
#include "ironcore/store/local_store.hpp"
#include "ironcore/store/typed.hpp"
#ifdef IRONCORE_WITH_LIBVIRT
#include "ironcore/compute/libvirt.hpp"
#endif

using namespace ironcore;

namespace {

/// A directory that is gone when the program is.
struct ScratchDirectory {
  std::filesystem::path path;
  ScratchDirectory() {
    std::string pattern = (std::filesystem::temp_directory_path() / "first-machine-XXXXXX").string();
    if (mkdtemp(pattern.data()) == nullptr) throw std::runtime_error("cannot make a directory below " + pattern);
    path = pattern;
    std::filesystem::permissions(path, std::filesystem::perms(0711));
  }
  ~ScratchDirectory() {
    std::error_code ignored;
    std::filesystem::remove_all(path, ignored);
  }
};

/// What a machine of this example needs beside itself: a class, and what the guest reads at its first boot.
void class_and_ignition(store::Store& store) {
  store::create(store,
                api::MachineClass{.metadata = {.name = "small"},
                                  .capabilities = {{"cpu", Quantity(1)}, {"memory", Quantity::bytes(256 << 20)}}})
      .value();
  const std::string ignition = R"({"ignition": {"version": "3.4.0"}, "storage": {"files": [
      {"path": "/etc/hostname", "mode": 420, "contents": {"source": "data:,web-1"}}]}})";
  store::create(store, api::Secret{.metadata = {.name = "web-1-ignition", .namespace_ = "default"},
                                   .type = std::string(api::ignition_secret_type),
                                   .data = {{"ignition.yaml", {ignition}}}})
      .value();
}

/// `Running`, or `Pending: ` and why.
std::string state_of(const api::Object& object) {
  std::string text = api::field_text(object, "status.state").value_or("");
  const auto& machine = object.as<api::Machine>();
  if (machine.status.state != api::MachineState::pending) return text;
  for (const api::Condition& condition : machine.status.conditions) {
    if (condition.status == api::ConditionStatus::true_ || condition.message.empty()) continue;
    return text + ": " + condition.message + " (" + condition.reason + ')';
  }
  return text;
}

/// Prints every state until the machine is in `wanted`, or, without one, until it is gone.
void follow(store::Store& store, Clock& clock, std::optional<api::MachineState> wanted) {
  auto watch = store.watch({.kind = &api::kind_of<api::Machine>()}, {}).value();
  const Instant deadline = clock.now() + std::chrono::minutes(2);
  bool is_there = false;
  std::string last;
  while (clock.now() < deadline) {
    for (const store::Change& change : watch->next(deadline).value()) {
      using Type = store::Change::Type;
      if (change.object) {
        const auto& machine = change.object->as<api::Machine>();
        const std::string state = state_of(*change.object);
        if (state != last) std::cout << "web-1: " << state << std::endl;
        last = state;
        is_there = change.type != Type::deleted;
        if (is_there && machine.status.state == wanted) return;
      }
      // The first bookmark ends the list of what exists.
      if (!is_there && !wanted && (change.type == Type::deleted || change.type == Type::bookmark)) return;
    }
  }
  throw std::runtime_error("the machine did not get there within two minutes; it is " + last);
}

void switch_power(store::Store& store, api::Power power) {
  const auto before = store::get<api::Machine>(store, "default", "web-1").value();
  api::Machine after = *before;
  after.spec.power = power;
  store::patch(store, *before, after).value();
}

void first_machine(compute::Hypervisor& hypervisor, const std::string& image, Clock& clock, Log& log) {
  const ScratchDirectory directory;
  compute::HostOptions host_options;
  host_options.directory = directory.path;
  host_options.shutdown_repeat = std::chrono::seconds(2);  // a guest that still boots hears only a later signal

  // [machine]
  auto store = store::memory_store(clock, log);  // or store::sqlite::open, or store::zmq::connect
  auto host = compute::Host::create(hypervisor, host_options, clock, log).value();
  control::ControlPlane control_plane(*store, {.holder = "example"}, clock, log);
  auto provider = control::MachineProvider::create(
                      *store, *host, {.pool = "this-host", .provider_id = "example://this-host"}, clock, log)
                      .value();
  std::jthread scheduling([&](std::stop_token stop) { control_plane.run(stop); });
  std::jthread providing([&](std::stop_token stop) { provider->run(stop); });

  class_and_ignition(*store);  // MachineClass "small" and Secret "web-1-ignition"
  api::Machine machine{.metadata = {.name = "web-1", .namespace_ = "default"},
                       .spec = {.machine_class_ref = {.name = "small"}}};
  machine.spec.ignition_ref = {.name = "web-1-ignition"};
  machine.spec.volumes = {{.name = "root", .local_disk = api::LocalDisk{.image = image}}};
  machine.spec.network_interfaces = {{.name = "primary", .ephemeral = {{.network_interface_template = {{}}}}}};
  store::create(*store, machine).value();
  follow(*store, clock, api::MachineState::running);
  // [machine]

  switch_power(*store, api::Power::off);
  follow(*store, clock, api::MachineState::shutdown);
  switch_power(*store, api::Power::on);
  follow(*store, clock, api::MachineState::running);
  store::remove<api::Machine>(*store, "default", "web-1").value();
  follow(*store, clock, std::nullopt);
  std::cout << "web-1: gone\n";
}

}  // namespace

int main(int count, char** words) {
  try {
    SystemClock clock;
    NullLog log;
    if (count == 1) {
      sim::Hypervisor hypervisor(clock);
      std::jthread acting([&](std::stop_token stop) { hypervisor.run(stop); });
      first_machine(hypervisor, "", clock, log);
      return 0;
    }
#ifdef IRONCORE_WITH_LIBVIRT
    if (count == 3) {
      std::signal(SIGPIPE, SIG_IGN);  // libvirt writes to a daemon that may just have died
      auto loop = compute::libvirt::EventLoop::create().value();
      auto hypervisor = compute::libvirt::connect(*loop, {.uri = words[1]}, clock, log).value();
      std::jthread events([&](std::stop_token stop) { loop->run(stop); });
      first_machine(*hypervisor, words[2], clock, log);
      return 0;
    }
#endif
    std::cerr << "usage: " << words[0] << " [LIBVIRT-URI IMAGE]\n";
    return 2;
  } catch (const std::exception& error) {
    std::cerr << "error: " << error.what() << '\n';
    return 1;
  }
}
