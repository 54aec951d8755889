// SPDX-License-Identifier: Apache-2.0
// From a Machine in the store to a domain on the simulated hypervisor, through its whole life.
#include "ironcore/control/machine_provider.hpp"

#include <doctest/doctest.h>

#include <map>
#include <thread>

#include "ironcore/control/finalizers.hpp"
#include "provider_world.hpp"

using namespace ironcore;
using namespace ironcore::control;
using namespace ironcore::control::test;
using api::ConditionStatus;
using api::MachineState;

TEST_CASE("a machine on this host is brought up and its status says everything about it") {
  ProviderWorld world;
  world.start();
  world.create_interface("web-net");
  auto web = world.on_host("web");
  web.spec.network_interfaces = {ProviderWorld::interface_entry("net", "web-net")};
  web.spec.guest_config = api::GuestConfig{.hostname = "web-1"};
  world.create(web);
  world.run_for(5s);
  const auto made = world.get_machine("web");
  CHECK(made->status.state == MachineState::running);
  CHECK(made->status.machine_id == "libvirt://" + made->metadata.uid);
  CHECK(made->status.observed_generation == made->metadata.generation);
  CHECK(has_finalizer(made->metadata, api::machine_finalizer));
  const auto ready = world.condition("web", "Ready");
  CHECK(ready.status == ConditionStatus::true_);
  CHECK(ready.reason == "Running");
  CHECK(ready.message == "Machine is running");
  CHECK(world.condition("web", "VolumesReady").status == ConditionStatus::true_);
  CHECK(world.condition("web", "NetworkInterfacesReady").reason == "NetworkInterfacesReady");
  REQUIRE(made->status.volumes.size() == 1);
  CHECK(made->status.volumes[0].name == "root");
  CHECK(made->status.volumes[0].state == api::AttachmentState::attached);
  CHECK(made->status.volumes[0].handle == compute::derived_handle(world.uid_of("web"), "root"));
  CHECK_FALSE(made->status.volumes[0].volume_ref);
  CHECK(made->status.volumes[0].last_state_transition_time);
  REQUIRE(made->status.network_interfaces.size() == 1);
  CHECK(made->status.network_interfaces[0].state == api::AttachmentState::attached);
  CHECK(made->status.network_interfaces[0].network_interface_ref->name == "web-net");

  const auto inside = world.hypervisor.inside(world.uid_of("web")).value();
  CHECK(inside.definition.vcpus == 2);
  CHECK(inside.definition.memory_bytes == gibibyte);
  CHECK(inside.definition.hostname == "web-1");
  CHECK(inside.definition.title == "default/web");
  REQUIRE(inside.disks.size() == 1);
  CHECK(inside.disks[0].target == "vda");
  CHECK(inside.definition.labels.at("name") == "web");
  CHECK_FALSE(world.events("web", "Started").empty());
  // At rest nothing is written.
  const auto revision = world.get_machine("web")->metadata.resource_version;
  world.run_for(5min, 5s);
  CHECK(world.get_machine("web")->metadata.resource_version == revision);
}

TEST_CASE("machines of other hosts, without a host, or managed by others are not touched") {
  ProviderWorld world;
  world.start();
  auto elsewhere = world.on_host("elsewhere");
  elsewhere.spec.machine_pool_ref->name = "host-2";
  world.create(elsewhere);
  world.create(machine("unbound"));
  auto labelled = world.on_host("labelled");
  labelled.metadata.labels[managed_by] = "somebody";
  world.create(labelled);
  auto annotated = world.on_host("annotated");
  annotated.metadata.annotations[managed_by] = "somebody";
  world.create(annotated);
  world.run_for(10s);
  for (const auto* name : {"elsewhere", "unbound", "labelled", "annotated"}) {
    CAPTURE(name);
    CHECK(world.get_machine(name)->metadata.finalizers.empty());
    CHECK_FALSE(world.is_domain_there(world.uid_of(name)));
  }
  // Bound later, it is.
  world.change<api::Machine>("unbound",
                             [](api::Machine& m) { m.spec.machine_pool_ref = api::LocalReference{.name = "host-1"}; });
  world.run_for(5s);
  CHECK(world.state_of("unbound") == MachineState::running);
}

TEST_CASE("power off shuts the guest down, power on starts it again") {
  ProviderWorld world;
  world.start();
  world.create(world.on_host("web"));
  world.run_for(10s);
  REQUIRE(world.state_of("web") == MachineState::running);
  const auto went_up = *world.condition("web", "Ready").last_transition_time;
  world.change<api::Machine>("web", [](api::Machine& m) { m.spec.power = api::Power::off; });
  world.run_to_rest();
  CHECK(world.state_of("web") == MachineState::terminating);
  CHECK(world.condition("web", "Ready").reason == "Terminating");
  world.run_for(10s);
  CHECK(world.state_of("web") == MachineState::shutdown);
  CHECK(world.condition("web", "Ready").reason == "NotReady");
  CHECK(*world.condition("web", "Ready").last_transition_time > went_up);
  CHECK_FALSE(world.events("web", "ShutdownTriggered").empty());
  world.change<api::Machine>("web", [](api::Machine& m) { m.spec.power = api::Power::on; });
  world.run_for(10s);
  CHECK(world.state_of("web") == MachineState::running);
  CHECK(world.hypervisor.inside(world.uid_of("web")).value().starts == 2);
}

TEST_CASE("a machine that is created with its power off is never started") {
  ProviderWorld world;
  world.start();
  auto web = world.on_host("web");
  web.spec.power = api::Power::off;
  world.create(web);
  world.run_for(10s);
  CHECK(world.state_of("web") == MachineState::shutdown);
  CHECK(world.hypervisor.inside(world.uid_of("web")).value().starts == 0);
}

TEST_CASE("a new reboot token reboots once and is acknowledged") {
  ProviderWorld world;
  world.start();
  world.create(world.on_host("web"));
  world.run_for(10s);
  const auto boots = world.hypervisor.inside(world.uid_of("web")).value().boots;
  world.change<api::Machine>(
      "web", [](api::Machine& m) { m.metadata.annotations[std::string(api::reboot_annotation)] = "now"; });
  world.run_for(20s);
  CHECK(world.get_machine("web")->status.reboot_token == "now");
  CHECK(world.state_of("web") == MachineState::running);
  CHECK(world.hypervisor.inside(world.uid_of("web")).value().boots == boots + 1);
  world.run_for(1min, 1s);
  CHECK(world.hypervisor.inside(world.uid_of("web")).value().boots == boots + 1);
}

TEST_CASE("a guest that powers itself off is seen without anybody asking") {
  ProviderWorld world;
  world.start();
  world.create(world.on_host("web"));
  world.run_for(10s);
  REQUIRE(world.hypervisor.guest_powers_off(world.uid_of("web")));
  world.run_for(5s);
  CHECK(world.state_of("web") == MachineState::shutdown);
  CHECK(world.condition("web", "Ready").message.find("powered itself off") != std::string::npos);
}

TEST_CASE("a deleted machine is shut down, cleaned up, and goes; nothing of it is left") {
  ProviderWorld world;
  world.start();
  world.create_interface("web-net");
  auto web = world.on_host("web");
  web.spec.network_interfaces = {ProviderWorld::interface_entry("net", "web-net")};
  world.create(web);
  world.run_for(10s);
  const auto uid = world.uid_of("web");
  REQUIRE(world.get<api::NetworkInterface>("web-net", "default")->spec.machine_ref);
  world.remove<api::Machine>("web");
  world.run_to_rest();
  CHECK(world.state_of("web") == MachineState::terminating);
  world.run_for(10s);
  CHECK_FALSE(world.get_machine("web"));
  CHECK_FALSE(world.is_domain_there(uid));
  CHECK_FALSE(std::filesystem::exists(world.directory.path() / "state" / "machines" / uid.to_text()));
  const auto interface = world.get<api::NetworkInterface>("web-net", "default");
  CHECK_FALSE(interface->spec.machine_ref);
  CHECK(interface->spec.provider_id.empty());
}

TEST_CASE("a guest that does not react is stopped by force after the grace period") {
  ProviderWorld world;
  world.options.shutdown_grace = 1min;
  world.start();
  world.create(world.on_host("web"));
  world.run_for(10s);
  world.hypervisor.set_guest(world.uid_of("web"), {.heeds_agent = false, .heeds_power_button = false});
  world.remove<api::Machine>("web");
  world.run_for(50s, 1s);
  CHECK(world.state_of("web") == MachineState::terminating);
  world.run_for(30s, 1s);
  CHECK_FALSE(world.get_machine("web"));
}

TEST_CASE("a machine waits for its ignition, says so once, and starts when it is there") {
  ProviderWorld world;
  world.start();
  auto web = world.on_host("web");
  web.spec.ignition_ref = api::SecretKeySelector{.name = "web-ignition", .key = "ignition.yaml"};
  world.create(web);
  world.run_for(2min, 1s);
  CHECK(world.state_of("web") == MachineState::pending);
  CHECK(world.condition("web", "Ready").reason == "IgnitionNotReady");
  CHECK(world.condition("web", "Ready").message == "secret web-ignition does not exist");
  CHECK_FALSE(world.is_domain_there(world.uid_of("web")));
  auto told = world.events("web", "IgnitionNotReady");
  REQUIRE(told.size() == 1);
  CHECK(told.front()->count == 1);

  api::Secret secret;
  secret.metadata.namespace_ = "default";
  secret.metadata.name = "web-ignition";
  secret.data["other"] = api::Bytes{"x"};
  world.create(secret);
  world.run_for(20s, 1s);
  CHECK(world.condition("web", "Ready").message == "secret web-ignition has no key ignition.yaml");
  world.change<api::Secret>("web-ignition",
                            [](api::Secret& s) { s.data["ignition.yaml"] = api::Bytes{"{\"ignition\":1}"}; });
  world.run_for(20s, 1s);
  CHECK(world.state_of("web") == MachineState::running);
  const auto inside = world.hypervisor.inside(world.uid_of("web")).value();
  CHECK_FALSE(inside.definition.ignition.empty());

  // A running machine does not care whether the secret stays, and can be switched off without it.
  world.remove<api::Secret>("web-ignition");
  world.run_for(20s, 1s);
  CHECK(world.condition("web", "Ready").status == ConditionStatus::true_);
  world.change<api::Machine>("web", [](api::Machine& m) { m.spec.power = api::Power::off; });
  world.run_for(20s, 1s);
  CHECK(world.state_of("web") == MachineState::shutdown);
  // But it is not started without what it was made with.
  world.change<api::Machine>("web", [](api::Machine& m) { m.spec.power = api::Power::on; });
  world.run_for(20s, 1s);
  CHECK(world.state_of("web") != MachineState::running);
  CHECK(world.condition("web", "Ready").reason == "IgnitionNotReady");
}

TEST_CASE("a machine waits for its class") {
  ProviderWorld world;
  world.start();
  auto web = world.on_host("web");
  web.spec.machine_class_ref.name = "later";
  world.create(web);
  world.run_for(10s);
  CHECK(world.condition("web", "Ready").reason == "MachineClassNotReady");
  world.create(machine_class("later", 1, gibibyte));
  world.run_for(10s);
  CHECK(world.state_of("web") == MachineState::running);
}

TEST_CASE("an image that does not exist keeps the machine pending with a reason, and is tried again") {
  ProviderWorld world;
  world.start();
  auto web = world.on_host("web");
  web.spec.volumes[0].local_disk->image = "oci:" + (world.directory.path() / "late").string() + ":test";
  world.create(web);
  world.run_for(10s);
  CHECK(world.state_of("web") == MachineState::pending);
  CHECK(world.condition("web", "Ready").message.find("image") != std::string::npos);
  CHECK(world.condition("web", "VolumesReady").reason == "VolumeNotReady");
  tests::make_image(world.directory.path() / "late", {.rootfs = std::string(1 << 20, 'r')});
  world.run_for(6min, 5s);
  CHECK(world.state_of("web") == MachineState::running);
}

TEST_CASE("an emptyDisk is a disk, and disks are attached and detached while the guest runs") {
  ProviderWorld world;
  world.start();
  world.create(world.on_host("web"));
  world.run_for(10s);
  world.change<api::Machine>("web", [](api::Machine& m) {
    api::MachineVolume data;
    data.name = "data";
    data.device = "odb";
    data.empty_disk = api::EmptyDisk{.size_limit = Quantity::bytes(4 << 20)};
    m.spec.volumes.push_back(data);
  });
  world.run_for(10s);
  REQUIRE(world.get_machine("web")->status.volumes.size() == 2);
  CHECK(world.get_machine("web")->status.volumes[1].state == api::AttachmentState::attached);
  CHECK(world.hypervisor.inside(world.uid_of("web")).value().disks.size() == 2);
  CHECK(world.get_machine("web")->status.observed_generation == world.get_machine("web")->metadata.generation);

  auto guest = sim::Guest{};
  guest.releases_devices = false;
  world.hypervisor.set_guest(world.uid_of("web"), guest);
  world.change<api::Machine>("web", [](api::Machine& m) { m.spec.volumes.pop_back(); });
  world.run_for(10s);
  // The guest holds on to it: the entry stays, so that its name cannot be used again.
  REQUIRE(world.get_machine("web")->status.volumes.size() == 2);
  CHECK(world.condition("web", "VolumesReady").status == ConditionStatus::true_);
  world.hypervisor.set_guest(world.uid_of("web"), {});
  world.run_for(1min, 1s);
  CHECK(world.get_machine("web")->status.volumes.size() == 1);
  CHECK(world.hypervisor.inside(world.uid_of("web")).value().starts == 1);
}

// ---- network interfaces -------------------------------------------------------------------------------------------

TEST_CASE("the attribute of an interface selects the device on the host") {
  ProviderWorld world;
  world.start();
  const std::map<std::string, std::string> devices{
      {"user", "user"}, {"net", "network=default"}, {"tap", "tap=tap7"}, {"vhost", "vhost-user=/run/switch/port7"}};
  auto web = world.on_host("web");
  for (const auto& [name, device] : devices) {
    world.create_interface(name, device);
    web.spec.network_interfaces.push_back(ProviderWorld::interface_entry(name, name));
  }
  world.create(web);
  world.run_for(10s);
  REQUIRE(world.state_of("web") == MachineState::running);
  std::map<std::string, std::string> found;
  for (const auto& nic : world.hypervisor.inside(world.uid_of("web")).value().nics) {
    if (std::holds_alternative<compute::UserNetwork>(nic.device)) found[nic.name] = "user";
    if (const auto* d = std::get_if<compute::LibvirtNetwork>(&nic.device)) found[nic.name] = "network=" + d->network;
    if (const auto* d = std::get_if<compute::Tap>(&nic.device)) found[nic.name] = "tap=" + d->interface;
    if (const auto* d = std::get_if<compute::VhostUser>(&nic.device))
      found[nic.name] = "vhost-user=" + d->socket.string();
  }
  CHECK(found == devices);
  CHECK_FALSE(world.get<api::NetworkInterface>("tap", "default")->spec.provider_id.empty());
}

TEST_CASE("a vhost-user socket lies where the host allows it, and takes nobody else's place") {
  ProviderWorld world;
  const auto directory = world.directory.path() / "vhost-user";
  world.options.vhost_user_directory = directory;
  world.start();
  std::filesystem::create_directories(directory);
  { std::ofstream(directory / "file") << "mine"; }
  std::filesystem::create_symlink("/dev/null", directory / "link");
  const auto message_with = [&](const std::string& name, const std::string& path) {
    world.create_interface(name, "vhost-user=" + path);
    auto machine = world.on_host(name);
    machine.spec.network_interfaces = {ProviderWorld::interface_entry("net", name)};
    world.create(machine);
    world.run_for(10s);
    return world.state_of(name) == MachineState::running ? "" : world.condition(name, "NetworkInterfacesReady").message;
  };
  const auto inside = directory.string();
  CHECK(message_with("a", inside + "/port7").empty());
  for (const auto& [name, path] : std::map<std::string, std::string>{
           {"b", "/etc/passwd"}, {"c", inside + "/../x"}, {"d", inside + "/sub/x"}, {"e", inside + "/"}, {"f", inside}})
    CHECK(message_with(name, path).find("of this host lie in " + inside) != std::string::npos);
  CHECK(message_with("g", inside + "/file").find("is no socket") != std::string::npos);
  CHECK(message_with("h", inside + "/link").find("is no socket") != std::string::npos);
}

TEST_CASE("a wrong device, a network without a provider, a missing interface: the machine waits and says which") {
  const auto reason_with = [](const std::function<void(ProviderWorld&)>& prepare) {
    ProviderWorld world;
    world.start();
    prepare(world);
    auto web = world.on_host("web");
    web.spec.network_interfaces = {ProviderWorld::interface_entry("net", "web-net")};
    world.create(web);
    world.run_for(10s);
    CHECK(world.state_of("web") == MachineState::pending);
    CHECK(world.condition("web", "Ready").reason == "NetworkInterfaceNotReady");
    CHECK(world.condition("web", "NetworkInterfacesReady").reason == "NetworkInterfaceNotReady");
    CHECK(world.events("web", "NetworkInterfaceNotReady").size() == 1);
    CHECK_FALSE(world.is_domain_there(world.uid_of("web")));
    return world.condition("web", "NetworkInterfacesReady").message;
  };
  CHECK(reason_with([](ProviderWorld&) {}) == "net: network interface web-net does not exist");
  for (const auto* text : {"tap=", "bridge=br0", "vhost-user=relative", "network", "", "userx"}) {
    if (std::string(text).empty()) continue;
    CHECK(reason_with([&](ProviderWorld& world) {
            world.create_interface("web-net", text);
          }).find("write user, network=NAME") != std::string::npos);
  }
  CHECK(reason_with([](ProviderWorld& world) {
          api::NetworkInterface interface;
          interface.metadata.namespace_ = "default";
          interface.metadata.name = "web-net";
          interface.spec.network_ref.name = "blue";
          interface.spec.ips = {{.value = IpAddress::v4(0x0a000001)}};
          world.create(interface);
        }).find("is in network blue") != std::string::npos);
}

TEST_CASE("an interface belongs to one machine; the other one waits until it is released") {
  ProviderWorld world;
  world.start();
  world.create_interface("shared");
  for (const auto* name : {"first", "second"}) {
    auto made = world.on_host(name);
    made.spec.network_interfaces = {ProviderWorld::interface_entry("net", "shared")};
    world.create(made);
    world.run_for(5s);
  }
  CHECK(world.state_of("first") == MachineState::running);
  CHECK(world.state_of("second") == MachineState::pending);
  CHECK(world.condition("second", "Ready").message == "network interface shared is used by machine first");
  const auto claim = world.get<api::NetworkInterface>("shared", "default")->spec.machine_ref;
  REQUIRE(claim);
  CHECK(claim->uid == world.get_machine("first")->metadata.uid);
  // Taken off the first one: detached, released, claimed by the second.
  world.change<api::Machine>("first", [](api::Machine& m) { m.spec.network_interfaces.clear(); });
  world.run_for(20s);
  CHECK(world.get<api::NetworkInterface>("shared", "default")->spec.machine_ref->name == "second");
  CHECK(world.state_of("second") == MachineState::running);
  CHECK(world.get_machine("first")->status.network_interfaces.empty());
  CHECK(world.condition("first", "NetworkInterfacesReady").status == ConditionStatus::true_);
}

TEST_CASE("an interface is not released before the guest has let go of it") {
  ProviderWorld world;
  world.start();
  world.create_interface("net");
  auto web = world.on_host("web");
  web.spec.network_interfaces = {ProviderWorld::interface_entry("net", "net")};
  world.create(web);
  world.run_for(10s);
  sim::Guest guest;
  guest.releases_devices = false;
  world.hypervisor.set_guest(world.uid_of("web"), guest);
  world.change<api::Machine>("web", [](api::Machine& m) { m.spec.network_interfaces.clear(); });
  world.run_for(30s);
  CHECK(world.get<api::NetworkInterface>("net", "default")->spec.machine_ref);
  world.hypervisor.set_guest(world.uid_of("web"), {});
  world.run_for(1min, 1s);
  CHECK_FALSE(world.get<api::NetworkInterface>("net", "default")->spec.machine_ref);
}

TEST_CASE("an ephemeral interface is used only if it belongs to the machine") {
  ProviderWorld world;
  world.start();
  auto web = world.on_host("web");
  api::MachineNetworkInterface entry;
  entry.name = "net";
  entry.ephemeral = api::EphemeralNetworkInterface{.network_interface_template = api::NetworkInterfaceTemplate{}};
  web.spec.network_interfaces = {entry};
  world.create_interface("web-net");
  const auto made = world.create(web);
  world.run_for(10s);
  CHECK(world.condition("web", "Ready").message.find("does not belong to this machine") != std::string::npos);
  world.remove<api::NetworkInterface>("web-net");
  api::NetworkInterface owned;
  owned.metadata.namespace_ = "default";
  owned.metadata.name = "web-net";
  owned.metadata.owner_references = {{.api_version = "compute.ironcore.dev/v1alpha1",
                                      .kind = "Machine",
                                      .name = "web",
                                      .uid = made->metadata.uid,
                                      .controller = true}};
  world.create(owned);
  world.run_for(10s);
  CHECK(world.state_of("web") == MachineState::running);
  CHECK(world.get_machine("web")->status.network_interfaces[0].network_interface_ref->name == "web-net");
}

// ---- volumes of the storage pillar --------------------------------------------------------------------------------

namespace {

void create_volume(ProviderWorld& world, const std::string& name, const std::string& driver) {
  api::Volume volume;
  volume.metadata.namespace_ = "default";
  volume.metadata.name = name;
  world.create(volume);
  world.change<api::Volume>(
      name,
      [&](api::Volume& v) {
        v.status.state = api::VolumeState::available;
        v.status.access = api::VolumeAccess{.driver = driver, .handle = "handle-" + name};
      },
      store::Part::status);
}

api::MachineVolume volume_entry(const std::string& name, const std::string& device, const std::string& object) {
  api::MachineVolume entry;
  entry.name = name;
  entry.device = device;
  entry.volume_ref = api::LocalReference{.name = object};
  return entry;
}

}  // namespace

TEST_CASE("a volume that this host cannot attach keeps a new machine waiting, and is not claimed") {
  ProviderWorld world;
  world.start();
  create_volume(world, "data", "ceph");
  auto web = world.on_host("web");
  web.spec.volumes.push_back(volume_entry("data", "odb", "data"));
  world.create(web);
  world.run_for(10s);
  CHECK(world.state_of("web") == MachineState::pending);
  CHECK(world.condition("web", "Ready").reason == "VolumeNotReady");
  CHECK(world.condition("web", "VolumesReady").message.find("not attached yet") != std::string::npos);
  CHECK(world.condition("web", "Ready").message ==
        "volume data has driver \"ceph\"; this host can attach only localDisk and emptyDisk");
  CHECK_FALSE(world.get<api::Volume>("data", "default")->spec.claim_ref);
  CHECK(world.get_machine("web")->status.volumes[1].volume_ref->name == "data");
}

TEST_CASE("a volume with a driver that the host knows is claimed, attached, and released with the machine") {
  ProviderWorld world;
  const auto file = world.directory.path() / "volume.raw";
  tests::write_text(file, std::string(1 << 20, 'v'));
  world.options.open_volume = [&](const api::VolumeAccess& access, const VolumeSecrets&) -> Result<compute::Disk> {
    if (access.driver != "file") return Error(ErrorCode::unsupported, "driver " + access.driver + " is not known here");
    compute::Disk disk;
    disk.source = compute::ExistingDisk{.path = file};
    return disk;
  };
  world.start();
  create_volume(world, "data", "file");
  auto web = world.on_host("web");
  web.spec.volumes.push_back(volume_entry("data", "odb", "data"));
  world.create(web);
  world.run_for(10s);
  CHECK(world.state_of("web") == MachineState::running);
  CHECK(world.get<api::Volume>("data", "default")->spec.claim_ref->uid == world.get_machine("web")->metadata.uid);
  CHECK(world.get_machine("web")->status.volumes[1].state == api::AttachmentState::attached);
  CHECK(world.get_machine("web")->status.volumes[1].volume_ref->name == "data");

  // Somebody else waits for it; a marked one is nobody's.
  auto other = world.on_host("other");
  other.spec.volumes.push_back(volume_entry("data", "odb", "data"));
  world.create(other);
  world.run_for(5s);
  CHECK(world.condition("other", "Ready").message == "volume data is used by machine web");
  world.remove<api::Machine>("web");
  world.run_for(30s);
  CHECK_FALSE(world.get_machine("web"));
  CHECK(world.state_of("other") == MachineState::running);
  CHECK(std::filesystem::exists(file));
}

TEST_CASE(
    "a volume that is kept for a machine is its own, a marked one is nobody's, a deleted one stays while attached") {
  ProviderWorld world;
  const auto file = world.directory.path() / "volume.raw";
  tests::write_text(file, std::string(1 << 20, 'v'));
  world.options.open_volume = [&](const api::VolumeAccess&, const VolumeSecrets&) -> Result<compute::Disk> {
    compute::Disk disk;
    disk.source = compute::ExistingDisk{.path = file};
    return disk;
  };
  world.start();
  create_volume(world, "kept", "file");
  world.change<api::Volume>("kept", [](api::Volume& v) { v.spec.claim_ref = {.name = "web"}; });
  create_volume(world, "marked", "file");
  world.change<api::Volume>("marked", [](api::Volume& v) { v.spec.unclaimable = true; });
  for (const auto& [name, of] : std::map<std::string, std::string>{{"other", "kept"}, {"third", "marked"}}) {
    auto waiting = world.on_host(name);
    waiting.spec.volumes.push_back(volume_entry("data", "odb", of));
    world.create(waiting);
  }
  world.run_for(5s);
  CHECK(world.condition("other", "Ready").message == "volume kept is used by machine web");
  CHECK(world.condition("third", "Ready").message == "volume marked is marked as unclaimable");
  CHECK(world.get<api::Volume>("kept", "default")->metadata.finalizers.empty());
  auto web = world.on_host("web");
  web.spec.volumes.push_back(volume_entry("data", "odb", "kept"));
  web.spec.volumes.push_back(volume_entry("again", "odc", "kept"));
  world.create(web);
  world.run_for(10s);
  CHECK(world.state_of("web") == MachineState::pending);
  CHECK(world.condition("web", "Ready").message ==
        "volume kept is another disk of this machine already; give each its own");
  world.change<api::Machine>("web", [](api::Machine& m) { m.spec.volumes.pop_back(); });
  world.run_for(10s);
  CHECK(world.state_of("web") == MachineState::running);
  CHECK(world.get<api::Volume>("kept", "default")->spec.claim_ref->uid == world.get_machine("web")->metadata.uid);
  world.remove<api::Volume>("kept");
  world.run_for(10s);
  REQUIRE(world.get<api::Volume>("kept", "default"));
  CHECK(world.get_machine("web")->status.volumes[1].state == api::AttachmentState::attached);
  world.change<api::Machine>("web", [](api::Machine& m) { m.spec.volumes.pop_back(); });
  world.run_for(30s);
  CHECK_FALSE(world.get<api::Volume>("kept", "default"));
  CHECK(world.state_of("web") == MachineState::running);
  CHECK(world.condition("other", "Ready").message == "volume kept does not exist");
}

// ---- the pool -----------------------------------------------------------------------------------------------------

TEST_CASE("the provider announces its pool: identity, labels, classes that fit, capacity, readiness") {
  ProviderWorld world;
  world.options.labels = {{"topology.ironcore.dev/zone", "east"}};
  world.options.addresses = {{.type = api::MachinePoolAddressType::internal_ip, .address = "10.0.0.1"}};
  world.create(machine_class("huge", 1000, gibibyte));
  world.start();
  world.run_for(1s);
  auto pool = world.get<api::MachinePool>("host-1");
  REQUIRE(pool);
  CHECK(pool->spec.provider_id == "libvirt://host-1");
  CHECK(pool->metadata.labels == world.options.labels);
  CHECK(pool->status.state == api::MachinePoolState::ready);
  CHECK(pool->status.addresses == world.options.addresses);
  CHECK(pool->status.available_machine_classes == std::vector<api::LocalReference>{{.name = "small"}});
  // 8 processors, 16 GiB less the reserve of 512 MiB; `small` takes 2 and 1 GiB.
  CHECK(pool->status.allocatable.at("cpu") == Quantity(8));
  CHECK(pool->status.allocatable.at("memory") == Quantity::bytes(15 * gibibyte + gibibyte / 2));
  CHECK(pool->status.allocatable.at("class/machine.small") == Quantity(4));
  CHECK_FALSE(pool->status.allocatable.contains("class/machine.huge"));
  const auto* ready = api::find_condition(pool->status.conditions, "Ready");
  REQUIRE(ready);
  CHECK(ready->status == ConditionStatus::true_);
  CHECK(ready->reason == "HeartbeatReceived");
  const auto leases = world.real->leases("machinepool/").value();
  REQUIRE(leases.size() == 1);
  CHECK(leases[0].name == "machinepool/host-1");

  // A class that comes later shows up; machines are not subtracted; at rest only the lease moves.
  world.create(machine_class("tiny", 1, gibibyte / 2));
  world.create(world.on_host("web"));
  world.run_for(5s);
  pool = world.get<api::MachinePool>("host-1");
  CHECK(pool->status.allocatable.at("class/machine.tiny") == Quantity(8));
  CHECK(pool->status.allocatable.at("class/machine.small") == Quantity(4));
  world.run_for(1min, 1s);
  CHECK(world.get<api::MachinePool>("host-1")->metadata.resource_version == pool->metadata.resource_version);
  CHECK(world.real->leases("machinepool/").value()[0].renewals > leases[0].renewals + 4);
  CHECK(world.real->leases("machinepool/").value()[0].is_held);
}

TEST_CASE("labels that somebody takes off the pool come back; those of others stay") {
  ProviderWorld world;
  world.options.labels = {{"topology.ironcore.dev/zone", "east"}};
  world.start();
  world.run_for(1s);
  world.change<api::MachinePool>("host-1", [](api::MachinePool& p) { p.metadata.labels = {{"mine", "too"}}; });
  world.run_for(2s);
  CHECK(world.get<api::MachinePool>("host-1")->metadata.labels ==
        std::map<std::string, std::string>{{"mine", "too"}, {"topology.ironcore.dev/zone", "east"}});
}

TEST_CASE("only the configured classes are offered") {
  ProviderWorld world;
  world.create(machine_class("tiny", 1, gibibyte / 2));
  world.options.classes = {"tiny", "no-such-class"};
  world.start();
  world.run_for(1s);
  CHECK(world.get<api::MachinePool>("host-1")->status.available_machine_classes ==
        std::vector<api::LocalReference>{{.name = "tiny"}});
}

TEST_CASE("a hypervisor that cannot be reached makes the pool not ready, and ready again") {
  ProviderWorld world;
  world.start();
  world.create(world.on_host("web"));
  world.run_for(10s);
  world.hypervisor.disconnect();
  world.run_for(15s, 1s);
  auto pool = world.get<api::MachinePool>("host-1");
  const auto* ready = api::find_condition(pool->status.conditions, "Ready");
  CHECK(ready->status == ConditionStatus::false_);
  CHECK(ready->reason == "RuntimeUnreachable");
  CHECK(pool->status.state == api::MachinePoolState::error);
  CHECK(pool->status.allocatable.at("cpu") == Quantity(8));
  world.hypervisor.reconnect();
  world.run_for(2s);
  pool = world.get<api::MachinePool>("host-1");
  CHECK(api::find_condition(pool->status.conditions, "Ready")->status == ConditionStatus::true_);
  world.run_for(6min, 5s);
  CHECK(world.state_of("web") == MachineState::running);
  CHECK(world.hypervisor.inside(world.uid_of("web")).value().starts == 1);
}

TEST_CASE("a pool that was declared unknown is ready again as soon as the provider sees it") {
  ProviderWorld world;
  world.start();
  world.run_for(1s);
  world.change<api::MachinePool>(
      "host-1",
      [](api::MachinePool& p) {
        p.status.state = api::MachinePoolState::offline;
        p.status.conditions = {
            {.type = "Ready", .status = ConditionStatus::unknown, .reason = "MachinePoolStatusUnknown"}};
      },
      store::Part::status);
  world.run_for(2s);
  const auto pool = world.get<api::MachinePool>("host-1");
  CHECK(api::find_condition(pool->status.conditions, "Ready")->status == ConditionStatus::true_);
  CHECK(pool->status.state == api::MachinePoolState::ready);
}

TEST_CASE("a pool of another provider, or one whose lease another process holds, is left alone") {
  ProviderWorld world;
  api::MachinePool foreign;
  foreign.metadata.name = "host-1";
  foreign.spec.provider_id = "libvirt://somebody-else";
  world.create(foreign);
  world.start();
  world.create(world.on_host("web"));
  world.run_for(30s, 1s);
  CHECK(world.get<api::MachinePool>("host-1")->status == api::MachinePoolStatus{});
  CHECK(world.get_machine("web")->metadata.finalizers.empty());

  ProviderWorld other;
  REQUIRE(other.real->acquire_lease("machinepool/host-1", "libvirt://twin", 40s));
  other.start();
  other.create(other.on_host("web"));
  other.run_for(30s, 1s);
  CHECK(other.get_machine("web")->metadata.finalizers.empty());
  other.run_for(30s, 1s);  // the twin is gone
  CHECK(other.state_of("web") == MachineState::running);
}

// ---- restarts, outages, strangers ---------------------------------------------------------------------------------

TEST_CASE("a provider that starts again adopts what runs and restarts no guest") {
  ProviderWorld world;
  world.start();
  world.create(world.on_host("web"));
  world.run_for(10s);
  const auto before = world.get_machine("web")->metadata.resource_version;
  world.start();
  world.run_for(30s, 1s);
  CHECK(world.hypervisor.inside(world.uid_of("web")).value().starts == 1);
  CHECK(world.get_machine("web")->metadata.resource_version == before);
  // What was deleted while it was away is cleaned up.
  world.provider.reset();
  const auto uid = world.uid_of("web");
  world.remove<api::Machine>("web");
  world.start();
  world.run_for(30s);
  CHECK_FALSE(world.get_machine("web"));
  CHECK_FALSE(world.is_domain_there(uid));
}

TEST_CASE("while the store cannot be reached guests run on, and afterwards the status is right") {
  ProviderWorld world;
  world.start();
  world.create(world.on_host("web"));
  world.run_for(10s);
  world.store.set_faults([](FaultyStore::Call, const store::Transaction*) -> std::optional<FaultyStore::Fault> {
    return FaultyStore::Fault{Error(ErrorCode::unavailable, "no answer")};
  });
  REQUIRE(world.hypervisor.guest_powers_off(world.uid_of("web")));
  world.run_for(1min, 1s);
  CHECK(world.state_of("web") == MachineState::running);  // nobody could say otherwise
  world.store.set_faults({});
  world.run_for(6min, 1s);
  CHECK(world.state_of("web") == MachineState::shutdown);
}

TEST_CASE("a domain without a machine is reported once and left alone") {
  ProviderWorld world;
  world.start();
  world.create(world.on_host("web"));
  world.run_for(10s);
  const auto uid = world.uid_of("web");
  // Somebody removes the finalizer by force.
  world.change<api::Machine>("web", [](api::Machine& m) { m.metadata.finalizers.clear(); });
  world.provider.reset();
  world.remove<api::Machine>("web");
  if (const auto left = world.get_machine("web"))
    world.change<api::Machine>("web", [](api::Machine& m) { m.metadata.finalizers.clear(); });
  REQUIRE_FALSE(world.get_machine("web"));
  world.start();
  world.run_for(5min, 5s);
  CHECK(world.is_domain_there(uid));
  const auto told = world.events("host-1", "OrphanedDomain");
  REQUIRE(told.size() == 1);
  CHECK(told.front()->count == 1);
  CHECK(told.front()->message.find(uid.to_text()) != std::string::npos);
}

TEST_CASE("console and log are served for machines of this host only") {
  ProviderWorld world;
  world.start();
  world.create(world.on_host("web"));
  world.run_for(10s);
  auto console = world.provider->console("default", "web");
  REQUIRE(console);
  CHECK(world.provider->console("default", "web").error().code() == ErrorCode::wrong_state);
  console->reset();
  CHECK(world.provider->console("default", "web"));
  CHECK(world.provider->console_log("default", "web", 4096).value().find("ironcore guest: ready") != std::string::npos);
  CHECK(world.provider->console("default", "nobody").error().code() == ErrorCode::not_found);
  CHECK(world.provider->console_log("other", "web", 10).error().code() == ErrorCode::not_found);
}

TEST_CASE("wrong options are refused, each by name") {
  ProviderWorld world;
  world.start();
  const auto refused = MachineProvider::create(
      world.store, *world.host, {.pool = "Not A Name", .provider_id = "x", .workers = 0, .lease_time_to_live = 15s},
      world.clock, world.log);
  REQUIRE(refused.has_error());
  CHECK(refused.error().code() == ErrorCode::invalid);
  std::vector<std::string> fields;
  const auto error = refused.error();
  for (const auto& field : error.fields()) fields.push_back(field.field);
  CHECK(fields == std::vector<std::string>{"pool", "provider_id", "lease_time_to_live", "workers"});
}

TEST_CASE("running on its own threads, a machine comes up and goes") {
  SystemClock clock;
  NullLog log;
  tests::TemporaryDirectory directory;
  const auto image = tests::make_image(directory.path() / "image", {.rootfs = std::string(1 << 20, 'r')});
  sim::Guest guest;
  guest.boot = 1ms;
  guest.shutdown = 1ms;
  sim::Hypervisor hypervisor(clock, sim::Hypervisor::Options{.guest = guest});
  compute::HostOptions host_options;
  host_options.directory = directory.path() / "state";
  const auto host = compute::Host::create(hypervisor, host_options, clock, log).value();
  const auto store = store::memory_store(clock, log);
  const auto provider =
      MachineProvider::create(*store, *host, {.pool = "host-1", .provider_id = "sim://host-1"}, clock, log).value();
  std::jthread guests([&](std::stop_token stop) { hypervisor.run(stop); });
  std::jthread runner([&](std::stop_token stop) { provider->run(stop); });
  REQUIRE(store::create(*store, machine_class("small", 1, gibibyte)));
  auto web = machine("web");
  web.spec.machine_pool_ref = api::LocalReference{.name = "host-1"};
  REQUIRE(store::create(*store, web));
  const auto state = [&] {
    const auto found = store::get<api::Machine>(*store, "default", "web");
    return found ? std::optional((*found)->status.state) : std::nullopt;
  };
  while (state() != MachineState::running) std::this_thread::yield();
  REQUIRE(store::remove<api::Machine>(*store, "default", "web"));
  while (state()) std::this_thread::yield();
  CHECK(hypervisor.domains().value().empty());
}
