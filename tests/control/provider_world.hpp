// SPDX-License-Identifier: Apache-2.0
// A World with a simulated host and the provider that serves it.
#pragma once

#include <memory>
#include <string>

#include "../compute/temporary_directory.hpp"
#include "../compute/test_image.hpp"
#include "ironcore/control/machine_provider.hpp"
#include "ironcore/sim/hypervisor.hpp"
#include "world.hpp"

namespace ironcore::control::test {

struct ProviderWorld : World {
  tests::TemporaryDirectory directory;
  sim::Hypervisor hypervisor{clock};
  std::string image = tests::make_image(directory.path() / "image", {.rootfs = std::string(1 << 20, 'r')});
  std::unique_ptr<compute::Host> host;
  std::unique_ptr<MachineProvider> provider;
  MachineProviderOptions options{.pool = "host-1", .provider_id = "libvirt://host-1"};

  ProviderWorld() { create(machine_class("small", 2, gibibyte)); }

  /// As after a start of the program; again as after it was killed.
  void start() {
    provider.reset();
    host.reset();
    compute::HostOptions host_options;
    host_options.directory = directory.path() / "state";
    host = compute::Host::create(hypervisor, host_options, clock, log).value();
    provider = MachineProvider::create(store, *host, options, clock, log).value();
  }
  std::vector<std::function<bool()>> parts() {
    return {[this] { return provider->step(); }};
  }
  void run_to_rest() { settle(parts()); }
  void run_for(Duration span, Duration step = std::chrono::milliseconds(250)) { pass(span, parts(), step); }

  /// A machine on this host, with a local disk from the image.
  api::Machine on_host(const std::string& name) {
    auto made = machine(name);
    made.spec.machine_pool_ref = api::LocalReference{.name = "host-1"};
    api::MachineVolume root;
    root.name = "root";
    root.device = "oda";
    root.local_disk = api::LocalDisk{.size_limit = Quantity::bytes(8 << 20), .image = image};
    made.spec.volumes = {root};
    return made;
  }
  static api::MachineNetworkInterface interface_entry(const std::string& name, const std::string& object) {
    api::MachineNetworkInterface entry;
    entry.name = name;
    entry.network_interface_ref = api::LocalReference{.name = object};
    return entry;
  }
  void create_interface(const std::string& name, const std::string& device = "") {
    api::NetworkInterface made;
    made.metadata.namespace_ = "default";
    made.metadata.name = name;
    if (!device.empty()) made.spec.attributes[nic_attribute] = device;
    create(std::move(made));
  }
  Uid uid_of(const std::string& name) { return Uid::parse(get_machine(name)->metadata.uid).value(); }
  api::MachineState state_of(const std::string& name) { return get_machine(name)->status.state; }
  api::Condition condition(const std::string& name, const std::string& type) {
    return condition_of<api::Machine>(name, type);
  }
  bool is_domain_there(const Uid& uid) { return hypervisor.inside(uid).has_value(); }
};

}  // namespace ironcore::control::test
