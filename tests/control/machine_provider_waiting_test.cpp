// SPDX-License-Identifier: Apache-2.0
// What a machine lacks: it is not started without it, runs on without it, and is always told.
#include <doctest/doctest.h>

#include "provider_world.hpp"

using namespace ironcore;
using namespace ironcore::control;
using namespace ironcore::control::test;
using api::ConditionStatus;
using api::MachineState;

namespace {

void create_secret(World& world, const std::string& name) {
  api::Secret secret;
  secret.metadata.namespace_ = "default";
  secret.metadata.name = name;
  secret.data["ignition.yaml"] = api::Bytes{"{}"};
  world.create(secret);
}

void set_power(World& world, const std::string& name, api::Power power) {
  world.change<api::Machine>(name, [&](api::Machine& m) { m.spec.power = power; });
}

/// A host that has something to tell to whoever looks first, as after a step that failed.
struct TellingHost final : compute::Host {
  explicit TellingHost(compute::Host& host) : inner(host) {}
  Result<compute::MachineStatus> apply(const compute::MachineSpec& spec, std::stop_token stop,
                                       const Progress& progress) override {
    return inner.apply(spec, std::move(stop), progress);
  }
  Result<compute::MachineStatus> remove(const Uid& uid, Duration grace, compute::ShutdownSignal signal) override {
    return inner.remove(uid, grace, signal);
  }
  Result<compute::MachineStatus> status(const Uid& uid) override {
    auto seen = inner.status(uid);
    if (seen) seen->events.push_back({compute::MachineEvent::Type::warning, "Crashed", "earlier"});
    return seen;
  }
  Result<std::vector<compute::Orphan>> orphans(const std::vector<Uid>& known) override { return inner.orphans(known); }
  Result<std::uint64_t> remove_unused_images() override { return inner.remove_unused_images(); }
  Result<std::size_t> remove_unused_secrets() override { return inner.remove_unused_secrets(); }
  Result<std::unique_ptr<compute::Console>> console(const Uid& uid) override { return inner.console(uid); }
  Result<std::string> console_log(const Uid& uid, std::size_t limit) override { return inner.console_log(uid, limit); }
  Result<compute::HostCapacity> capacity() override { return inner.capacity(); }
  void on_change(std::function<void(const Uid&)> changed) override { inner.on_change(std::move(changed)); }
  compute::Host& inner;
};

}  // namespace

TEST_CASE("a stopped machine is not started without a volume that is away, keeps it, and starts when it is back") {
  ProviderWorld world;
  const auto file = world.directory.path() / "volume.raw";
  tests::write_text(file, std::string(1 << 20, 'v'));
  world.options.open_volume = [&](const api::VolumeAccess&, const VolumeSecrets&) -> Result<compute::Disk> {
    compute::Disk disk;
    disk.source = compute::ExistingDisk{.path = file};
    return disk;
  };
  world.start();
  api::Volume volume;
  volume.metadata.namespace_ = "default";
  volume.metadata.name = "boot";
  world.create(volume);
  const auto set_state = [&](api::VolumeState state) {
    world.change<api::Volume>(
        "boot",
        [&](api::Volume& v) {
          v.status.state = state;
          v.status.access = api::VolumeAccess{.driver = "file", .handle = "boot"};
        },
        store::Part::status);
  };
  set_state(api::VolumeState::available);
  auto web = world.on_host("web");
  web.spec.volumes = {{.name = "root", .device = "oda", .volume_ref = api::LocalReference{.name = "boot"}}};
  world.create(web);
  world.run_for(10s);
  REQUIRE(world.state_of("web") == MachineState::running);
  set_power(world, "web", api::Power::off);
  world.run_for(20s, 1s);
  REQUIRE(world.state_of("web") == MachineState::shutdown);
  set_state(api::VolumeState::pending);
  world.run_for(10s, 1s);
  set_power(world, "web", api::Power::on);
  world.run_for(1min, 1s);
  CHECK(world.state_of("web") == MachineState::pending);
  CHECK(world.condition("web", "Ready").reason == "VolumeNotReady");
  CHECK(world.hypervisor.inside(world.uid_of("web")).value().starts == 1);
  CHECK(world.get<api::Volume>("boot", "default")->spec.claim_ref->uid == world.get_machine("web")->metadata.uid);
  set_state(api::VolumeState::available);
  world.run_for(20s, 1s);
  CHECK(world.state_of("web") == MachineState::running);
  CHECK(world.hypervisor.inside(world.uid_of("web")).value().disks.size() == 1);
}

TEST_CASE("a volume that its provider hands over is claimed first, and opened when it is handed over") {
  ProviderWorld world;
  const auto file = world.directory.path() / "volume.raw";
  tests::write_text(file, std::string(1 << 20, 'v'));
  int opened = 0;
  world.options.open_volume = [&](const api::VolumeAccess&, const VolumeSecrets&) -> Result<compute::Disk> {
    ++opened;
    return compute::Disk{.source = compute::ExistingDisk{.path = file}};
  };
  world.start();
  api::Volume volume;
  volume.metadata.namespace_ = "default";
  volume.metadata.name = "data";
  world.create(volume);
  const auto hand_to = [&](std::optional<api::LocalUidReference> machine, api::ConditionStatus attachable) {
    world.change<api::Volume>(
        "data",
        [&](api::Volume& v) {
          v.status.state = api::VolumeState::available;
          v.status.access = api::VolumeAccess{.driver = "file", .handle = "data"};
          v.status.use.emplace();
          v.status.use->machine = machine;
          api::set_condition(v.status.conditions,
                             {.type = "Attachable",
                              .status = attachable,
                              .reason = "Test",
                              .message = "machine old on machine pool host-7 has it open"},
                             world.clock.wall());
        },
        store::Part::status);
  };
  hand_to(api::LocalUidReference{.name = "old", .uid = "another"}, ConditionStatus::false_);
  auto web = world.on_host("web");
  web.spec.volumes.push_back({.name = "data", .device = "odb", .volume_ref = api::LocalReference{.name = "data"}});
  world.create(web);
  world.run_for(1min, 1s);
  const auto uid = world.get_machine("web")->metadata.uid;
  CHECK(world.get<api::Volume>("data", "default")->spec.claim_ref->uid == uid);
  CHECK(world.state_of("web") == MachineState::pending);
  CHECK(world.condition("web", "Ready").message ==
        "volume data is not handed over to this machine yet: machine old on machine pool host-7 has it open");
  hand_to(std::nullopt, ConditionStatus::true_);
  world.run_for(10s, 1s);
  CHECK(world.condition("web", "Ready").message == "volume data is not handed over to this machine yet");
  CHECK(opened == 0);
  hand_to(api::LocalUidReference{.name = "web", .uid = uid}, ConditionStatus::true_);
  world.run_for(10s, 1s);
  CHECK(world.state_of("web") == MachineState::running);
  CHECK(world.hypervisor.inside(world.uid_of("web")).value().disks.size() == 2);
  world.change<api::Machine>("web", [](api::Machine& m) { m.spec.volumes.pop_back(); });
  world.run_for(30s, 1s);
  CHECK_FALSE(world.get<api::Volume>("data", "default")->spec.claim_ref);
}

TEST_CASE("a running machine whose ignition is gone is looked after; its reboot waits, is told, and comes later") {
  ProviderWorld world;
  world.start();
  create_secret(world, "ign");
  auto web = world.on_host("web");
  web.spec.ignition_ref = api::SecretKeySelector{.name = "ign", .key = "ignition.yaml"};
  world.create(web);
  world.run_for(20s, 1s);
  REQUIRE(world.state_of("web") == MachineState::running);
  const auto boots = world.hypervisor.inside(world.uid_of("web")).value().boots;
  world.remove<api::Secret>("ign");
  world.change<api::Machine>("web", [](api::Machine& m) {
    m.metadata.annotations[std::string(api::reboot_annotation)] = "t1";
    api::MachineVolume data;
    data.name = "data";
    data.device = "odb";
    data.empty_disk = api::EmptyDisk{.size_limit = Quantity::bytes(1 << 20)};
    m.spec.volumes.push_back(data);
  });
  world.run_for(1min, 1s);
  CHECK(world.state_of("web") == MachineState::running);
  CHECK(world.hypervisor.inside(world.uid_of("web")).value().disks.size() == 2);
  CHECK(world.condition("web", "VolumesReady").status == ConditionStatus::true_);
  CHECK(world.condition("web", "Ready").status == ConditionStatus::true_);
  CHECK(world.condition("web", "Ready").message == "Machine is running; its reboot waits: secret ign does not exist");
  CHECK(world.get_machine("web")->status.reboot_token.empty());
  const auto told = world.events("web", "IgnitionNotReady");
  REQUIRE(told.size() == 1);
  CHECK(told.front()->count == 1);
  create_secret(world, "ign");
  world.run_for(30s, 1s);
  CHECK(world.get_machine("web")->status.reboot_token == "t1");
  CHECK(world.state_of("web") == MachineState::running);
  CHECK(world.hypervisor.inside(world.uid_of("web")).value().boots == boots + 1);
  CHECK(world.condition("web", "Ready").message == "Machine is running");
}

TEST_CASE("a machine that is off keeps what it is defined with") {
  ProviderWorld world;
  world.start();
  world.create_interface("web-net", "user");
  auto web = world.on_host("web");
  web.spec.network_interfaces = {ProviderWorld::interface_entry("net", "web-net")};
  world.create(web);
  world.run_for(10s);
  const auto before = *world.get_machine("web");
  const auto handle = world.get<api::NetworkInterface>("web-net", "default")->spec.provider_id;
  REQUIRE_FALSE(handle.empty());
  set_power(world, "web", api::Power::off);
  world.run_for(1min, 1s);
  REQUIRE(world.state_of("web") == MachineState::shutdown);
  const auto after = world.get_machine("web");
  CHECK(after->status.volumes == before.status.volumes);
  CHECK(after->status.network_interfaces == before.status.network_interfaces);
  CHECK(world.condition("web", "VolumesReady").status == ConditionStatus::true_);
  CHECK(world.condition("web", "NetworkInterfacesReady").status == ConditionStatus::true_);
  CHECK(world.get<api::NetworkInterface>("web-net", "default")->spec.provider_id == handle);
}

TEST_CASE("a machine that somebody else takes over after it was brought up can still be deleted") {
  ProviderWorld world;
  world.start();
  world.create(world.on_host("web"));
  world.run_for(10s);
  const auto uid = world.uid_of("web");
  world.change<api::Machine>("web", [](api::Machine& m) { m.metadata.annotations[managed_by] = "somebody"; });
  world.run_for(5s);
  world.remove<api::Machine>("web");
  world.run_for(1min, 1s);
  CHECK_FALSE(world.get_machine("web"));
  CHECK_FALSE(world.is_domain_there(uid));
}

TEST_CASE("nothing is begun with a class that the pool does not offer, what runs goes on") {
  ProviderWorld world;
  world.create(machine_class("tiny", 1, gibibyte / 2));
  world.create(machine_class("huge", 1000, gibibyte));
  world.start();
  world.create(world.on_host("old"));
  auto huge = world.on_host("huge");
  huge.spec.machine_class_ref.name = "huge";
  world.create(huge);
  world.run_for(10s);
  CHECK(world.state_of("old") == MachineState::running);
  CHECK(world.condition("huge", "Ready").message == "machine class huge is larger than this host");
  world.options.classes = {"tiny"};
  world.start();
  world.create(world.on_host("new"));
  world.run_for(10s);
  CHECK(world.condition("new", "Ready").reason == "MachineClassNotReady");
  CHECK(world.condition("new", "Ready").message == "machine class small is not offered by this machine pool");
  CHECK_FALSE(world.is_domain_there(world.uid_of("new")));
  set_power(world, "old", api::Power::off);
  world.run_for(20s, 1s);
  set_power(world, "old", api::Power::on);
  world.run_for(20s, 1s);
  CHECK(world.state_of("old") == MachineState::running);
}

TEST_CASE("what the host has to tell is told, whichever call brought it") {
  ProviderWorld world;
  world.start();
  TellingHost telling(*world.host);
  world.provider = MachineProvider::create(world.store, telling, world.options, world.clock, world.log).value();
  world.create(world.on_host("web"));
  world.run_for(5s);
  CHECK_FALSE(world.events("web", "Crashed").empty());
  CHECK_FALSE(world.events("web", "Started").empty());
  world.provider.reset();
}
