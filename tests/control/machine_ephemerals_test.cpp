// SPDX-License-Identifier: Apache-2.0
// Interfaces and volumes that machines describe inline are made, kept and removed.
#include <doctest/doctest.h>

#include "ironcore/control/machine_ephemerals.hpp"
#include "world.hpp"

using namespace ironcore;
using namespace ironcore::control;
using namespace ironcore::control::test;

namespace {

struct Ephemerals : World {
  Informer<api::Machine> machines{store, clock, log};
  Informer<api::NetworkInterface> interfaces{store, clock, log};
  Informer<api::Volume> volumes{store, clock, log};
  EventRecorder events{store, {.component = "machine-ephemerals"}, clock, log};
  MachineEphemerals ephemerals{store, machines, interfaces, volumes, events, clock, log};

  Ephemerals() { ephemerals.activate(); }

  void run() {
    pass(10s, {[&] { return machines.step(); }, [&] { return interfaces.step(); }, [&] { return volumes.step(); },
               [&] { return ephemerals.step(); }, [&] { return events.step(); }});
  }
  Shared<api::NetworkInterface> interface(const std::string& name) {
    const auto found = store::get<api::NetworkInterface>(*real, "default", name);
    return found ? *found : nullptr;
  }
  Shared<api::Volume> volume(const std::string& name) {
    const auto found = store::get<api::Volume>(*real, "default", name);
    return found ? *found : nullptr;
  }
};

api::Machine with_interface(const std::string& entry) {
  auto made = machine("web-1");
  api::NetworkInterfaceTemplate from{.metadata = {.labels = {{"app", "web"}}}, .spec = {.attributes = {{"a", "b"}}}};
  made.spec.network_interfaces.push_back(
      {.name = entry, .ephemeral = api::EphemeralNetworkInterface{.network_interface_template = from}});
  return made;
}

api::Machine with_volume(const std::string& entry) {
  auto made = machine("web-1");
  api::VolumeTemplate from{.spec = {.volume_class_ref = api::LocalReference{.name = "fast"},
                                    .resources = {{"storage", Quantity::bytes(1 << 30)}}}};
  made.spec.volumes.push_back({.name = entry, .ephemeral = api::EphemeralVolume{.volume_template = from}});
  return made;
}

}  // namespace

TEST_CASE_FIXTURE(Ephemerals, "an interface described inline is made with owner, label and claim") {
  const auto owner = create(with_interface("primary"));
  run();
  const auto made = interface("web-1-primary");
  REQUIRE(made);
  REQUIRE(made->metadata.owner_references.size() == 1);
  CHECK(made->metadata.owner_references[0].uid == owner->metadata.uid);
  CHECK(made->metadata.owner_references[0].controller == true);
  CHECK(made->metadata.annotations.at(ephemeral_managed_by) == ephemeral_manager);
  CHECK(made->metadata.labels.at("app") == "web");
  CHECK(made->spec.attributes.at("a") == "b");
  REQUIRE(made->spec.machine_ref);
  CHECK(made->spec.machine_ref->uid == owner->metadata.uid);
}

TEST_CASE_FIXTURE(Ephemerals, "a volume described inline is made, unclaimed, and goes with its machine") {
  create(with_volume("data"));
  run();
  REQUIRE(volume("web-1-data"));
  CHECK_FALSE(volume("web-1-data")->spec.claim_ref);
  REQUIRE(store::remove<api::Machine>(*real, "default", "web-1"));
  CHECK_FALSE(volume("web-1-data"));
}

TEST_CASE_FIXTURE(Ephemerals,
                  "a volume described inline is looked for where its machine is, unless it says otherwise") {
  auto owner = with_volume("data");
  owner.spec.machine_pool_selector = {
      {"topology.ironcore.dev/region", "r1"}, {"topology.ironcore.dev/zone", "z1"}, {"rack", "7"}};
  owner.spec.volumes[0].ephemeral->volume_template->spec.volume_pool_selector = {{"topology.ironcore.dev/zone", "z2"}};
  create(owner);
  run();
  REQUIRE(volume("web-1-data"));
  CHECK(
      volume("web-1-data")->spec.volume_pool_selector ==
      std::map<std::string, std::string>{{"topology.ironcore.dev/region", "r1"}, {"topology.ironcore.dev/zone", "z2"}});
}

TEST_CASE_FIXTURE(
    Ephemerals,
    "the image of a volume described inline is that of the class's architecture; without the class it waits") {
  auto owner = with_volume("root");
  owner.spec.volumes[0].ephemeral->volume_template->spec.data_source =
      api::VolumeDataSource{.os_image = api::OsImage{.image = "registry.example/os:1"}};
  create(owner);
  run();
  CHECK_FALSE(volume("web-1-root"));
  const auto told = store::list<api::Event>(*real).value();
  REQUIRE(told.size() == 1);
  CHECK(told[0]->reason == "VolumeNotReady");
  CHECK(told[0]->message.find("volume web-1-root cannot be made: architecture of machine class small") == 0);

  auto small = machine_class("small", 1, gibibyte);
  small.metadata.labels["common.ironcore.dev/architecture"] = "arm64";
  create(small);
  pass(10min, {[&] { return ephemerals.step(); }}, 1s);
  run();
  REQUIRE(volume("web-1-root"));
  CHECK(volume("web-1-root")->spec.data_source->os_image->architecture == "arm64");
}

TEST_CASE_FIXTURE(Ephemerals, "an entry that is taken out takes its interface with it, and only its own") {
  auto owner = create(with_interface("primary"));
  run();
  auto external = *interface("web-1-primary");
  external.metadata.name = "web-1-external";
  external.metadata.annotations.clear();
  create(external);
  auto without = *owner;
  without.spec.network_interfaces.clear();
  REQUIRE(store::patch(*real, *owner, without));
  run();
  CHECK_FALSE(interface("web-1-primary"));
  CHECK(interface("web-1-external"));
}

TEST_CASE_FIXTURE(Ephemerals, "somebody else's interface of the same name is left alone; when it goes, ours is made") {
  api::NetworkInterface foreign{.metadata = {.name = "web-1-primary", .namespace_ = "default"}};
  create(foreign);
  create(with_interface("primary"));
  run();
  CHECK(interface("web-1-primary")->metadata.owner_references.empty());
  REQUIRE(store::remove<api::NetworkInterface>(*real, "default", "web-1-primary"));
  run();
  REQUIRE(interface("web-1-primary"));
  CHECK(interface("web-1-primary")->metadata.owner_references.size() == 1);
}

TEST_CASE_FIXTURE(Ephemerals, "an interface that was deleted by hand is made again") {
  create(with_interface("primary"));
  run();
  const auto first = interface("web-1-primary")->metadata.uid;
  REQUIRE(store::remove<api::NetworkInterface>(*real, "default", "web-1-primary"));
  run();
  REQUIRE(interface("web-1-primary"));
  CHECK(interface("web-1-primary")->metadata.uid != first);
}
