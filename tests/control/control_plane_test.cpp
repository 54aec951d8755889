// SPDX-License-Identifier: Apache-2.0
// The active process writes under its lease; a standby keeps nothing that it will not work on.
#include "ironcore/control/control_plane.hpp"

#include <doctest/doctest.h>

#include <algorithm>

#include "ironcore/control/machine_ephemerals.hpp"
#include "world.hpp"

using namespace ironcore;
using namespace ironcore::control;
using namespace ironcore::control::test;

namespace {

api::Machine with_inline_interface(const std::string& name) {
  auto made = machine(name);
  made.spec.network_interfaces.push_back(
      {.name = "net", .ephemeral = api::EphemeralNetworkInterface{.network_interface_template = {{}}}});
  return made;
}

}  // namespace

TEST_CASE("whatever a control plane writes, it writes under its lease, except events") {
  World world;
  int fenced = 0, unfenced = 0;
  world.store.set_faults(
      [&](FaultyStore::Call call, const store::Transaction* transaction) -> std::optional<FaultyStore::Fault> {
        if (call != FaultyStore::Call::commit) return std::nullopt;
        const auto* made = std::get_if<store::Create>(&transaction->operations.front());
        if (made != nullptr && made->object.is<api::Event>()) return std::nullopt;
        const bool has_lease =
            std::any_of(transaction->preconditions.begin(), transaction->preconditions.end(),
                        [](const auto& each) { return std::holds_alternative<store::HoldsLease>(each); });
        ++(has_lease ? fenced : unfenced);
        return std::nullopt;
      });
  ControlPlane plane(world.store, {.holder = "one"}, world.clock, world.log);
  const std::vector<std::function<bool()>> parts{[&] { return plane.step(); }};
  world.create(machine_class("small"));
  world.create_pool("host-1", {{"cpu", Quantity(4)}, {"memory", Quantity::bytes(64 * gibibyte)}});
  world.create(with_inline_interface("web"));
  const auto add_storage = [&](auto storage_class, auto pool, auto offered) {
    storage_class.metadata.name = "fast";
    storage_class.capabilities = {{"tps", Quantity(1)}, {"iops", Quantity(1)}};
    world.create(storage_class);
    pool.metadata.name = "ceph";
    world.create(pool);
    using Pool = decltype(pool);
    world.change<Pool>(
        "ceph",
        [&](Pool& made) {
          (made.status.*offered).push_back({.name = "fast"});
          made.status.conditions = {{.type = "Ready", .status = api::ConditionStatus::true_, .reason = "Test"}};
          if constexpr (requires { made.status.allocatable; })
            made.status.allocatable = {{"storage", Quantity::bytes(gibibyte)}};
        },
        store::Part::status);
  };
  add_storage(api::VolumeClass(), api::VolumePool(), &api::VolumePoolStatus::available_volume_classes);
  add_storage(api::BucketClass(), api::BucketPool(), &api::BucketPoolStatus::available_bucket_classes);
  world.create(volume("data", "fast"));
  world.create(bucket("pictures", "fast"));
  world.pass(1min, parts, 1s);  // protects, binds, makes the interface, marks the silent pools
  CHECK(world.get<api::Volume>("data", "default")->spec.volume_pool_ref == api::LocalReference{.name = "ceph"});
  CHECK(world.get<api::Bucket>("pictures", "default")->spec.bucket_pool_ref == api::LocalReference{.name = "ceph"});
  CHECK_FALSE(world.get<api::VolumeClass>("fast")->metadata.finalizers.empty());
  CHECK(world.get<api::VolumePool>("ceph")->status.state == api::StoragePoolState::unavailable);
  CHECK(world.get<api::BucketPool>("ceph")->status.state == api::StoragePoolState::unavailable);
  CHECK(world.pool_of("web") == "host-1");
  CHECK(world.get<api::NetworkInterface>("web-net", "default"));
  world.change<api::MachinePool>("host-1", [](api::MachinePool& p) {
    p.spec.taints = {{.key = "broken", .effect = api::TaintEffect::no_execute}};
  });
  world.pass(1s, parts);
  CHECK_FALSE(world.get_machine("web"));
  CHECK(fenced >= 11);
  CHECK(unfenced == 0);
}

TEST_CASE("a standby that becomes active looks at everything that happened before") {
  World world;
  ControlPlane first(world.store, {.holder = "one"}, world.clock, world.log);
  ControlPlane second(world.store, {.holder = "two"}, world.clock, world.log);
  world.settle({[&] { return first.step(); }, [&] { return second.step(); }});
  REQUIRE(first.is_active());
  // The active one is away; the standby sees it all and may do nothing yet.
  world.create(machine_class("small"));
  world.create(with_inline_interface("web"));
  world.settle({[&] { return second.step(); }});
  CHECK_FALSE(world.get<api::NetworkInterface>("web-net", "default"));
  CHECK(world.get<api::MachineClass>("small")->metadata.finalizers.empty());
  world.pass(20s, {[&] { return second.step(); }}, 1s);
  CHECK(second.is_active());
  CHECK(world.get<api::NetworkInterface>("web-net", "default"));
  CHECK_FALSE(world.get<api::MachineClass>("small")->metadata.finalizers.empty());
}

TEST_CASE("a controller that is not active keeps no keys") {
  World world;
  Informer<api::Machine> machines(world.store, world.clock, world.log);
  Informer<api::NetworkInterface> interfaces(world.store, world.clock, world.log);
  Informer<api::Volume> volumes(world.store, world.clock, world.log);
  EventRecorder events(world.store, {.component = "machine-ephemerals"}, world.clock, world.log);
  MachineEphemerals ephemerals(world.store, machines, interfaces, volumes, events, world.clock, world.log);
  const auto look = [&] {
    world.settle({[&] { return machines.step(); }, [&] { return interfaces.step(); }, [&] { return volumes.step(); }});
  };
  world.create(with_inline_interface("web"));
  look();
  CHECK_FALSE(ephemerals.step());
  ephemerals.activate();
  CHECK(ephemerals.step());
  CHECK(world.get<api::NetworkInterface>("web-net", "default"));
  world.create(with_inline_interface("other"));
  look();
  ephemerals.deactivate();
  world.remove<api::Machine>("other");
  look();
  CHECK_FALSE(ephemerals.step());
}
