// SPDX-License-Identifier: Apache-2.0
// Classes in use stay, NoExecute drives machines away, silent pools become unknown.
#include <doctest/doctest.h>

#include "ironcore/control/claim_release.hpp"
#include "ironcore/control/class_protection.hpp"
#include "ironcore/control/finalizers.hpp"
#include "ironcore/control/machine_eviction.hpp"
#include "ironcore/control/pool_health.hpp"
#include "world.hpp"

using namespace ironcore;
using namespace ironcore::control;
using namespace ironcore::control::test;

namespace {

struct Controllers : World {
  Informer<api::Machine> machines{store, clock, log};
  Informer<api::MachinePool> pools{store, clock, log};
  Informer<api::MachineClass> classes{store, clock, log};
  EventRecorder events_written{store, {.component = "machine-eviction"}, clock, log};
  std::unique_ptr<MachineClassProtection> protection;
  std::unique_ptr<MachineEviction> eviction;
  MachinePoolHealth health{store, pools, {}, clock, log};

  Controllers() {
    protection = std::make_unique<MachineClassProtection>(store, classes, machines, clock, log);
    eviction = std::make_unique<MachineEviction>(store, pools, machines, events_written, clock, log);
    protection->activate();
    eviction->activate();
  }
  std::vector<std::function<bool()>> parts() {
    return {[&] { return machines.step(); },  [&] { return pools.step(); },
            [&] { return classes.step(); },   [&] { return protection->step(); },
            [&] { return eviction->step(); }, [&] { return events_written.step(); }};
  }
  void run_to_rest() { settle(parts()); }

  // ---- pool health ----
  std::vector<std::function<bool()>> health_parts() {
    return {[&] { return pools.step(); }, [&] { return health.step(); }};
  }
  void quiet(Duration span) { pass(span, health_parts(), 1s); }
  const api::Condition* ready(const Shared<api::MachinePool>& pool) {
    return api::find_condition(pool->status.conditions, "Ready");
  }
  bool is_unknown(const std::string& name) {
    const auto pool = get<api::MachinePool>(name);
    const auto* condition = ready(pool);
    const bool is = condition != nullptr && condition->status == api::ConditionStatus::unknown;
    if (is) {
      CHECK(condition->reason == "MachinePoolStatusUnknown");
      CHECK(pool->status.state == api::MachinePoolState::offline);
    }
    return is;
  }
  void write_ready(const std::string& name, api::ConditionStatus status, std::int64_t observed_generation = 0) {
    change<api::MachinePool>(
        name,
        [&](api::MachinePool& p) {
          api::set_condition(p.status.conditions,
                             {.type = "Ready",
                              .status = status,
                              .reason = "HeartbeatReceived",
                              .observed_generation = observed_generation},
                             clock.wall());
          p.status.state = api::MachinePoolState::ready;
        },
        store::Part::status);
  }
  void renew(const std::string& name) { REQUIRE(real->acquire_lease("machinepool/" + name, "provider", 40s)); }
};

}  // namespace

// ---- class protection ---------------------------------------------------------------------------------------------

TEST_CASE("a machine class gets a finalizer and goes at once when nobody uses it") {
  Controllers world;
  world.create(machine_class("small"));
  world.run_to_rest();
  CHECK(has_finalizer(world.get<api::MachineClass>("small")->metadata, api::machine_class_finalizer));
  world.remove<api::MachineClass>("small");
  world.run_to_rest();
  CHECK_FALSE(world.get<api::MachineClass>("small"));
}

TEST_CASE("a machine class stays until the last machine of it is gone") {
  Controllers world;
  world.create(machine_class("small"));
  world.create(machine_class("big"));
  world.create(machine("a"));
  world.create(machine("b"));
  world.create(machine("c", "big"));
  world.run_to_rest();
  world.remove<api::MachineClass>("small");
  world.run_to_rest();
  REQUIRE(world.get<api::MachineClass>("small"));
  CHECK(world.get<api::MachineClass>("small")->metadata.deletion_timestamp);
  world.remove<api::Machine>("a");
  world.run_to_rest();
  REQUIRE(world.get<api::MachineClass>("small"));
  world.remove<api::Machine>("b");
  world.run_to_rest();
  CHECK_FALSE(world.get<api::MachineClass>("small"));
  CHECK(world.get<api::MachineClass>("big"));
}

/// A class of storage with everything that it needs.
template <class Class>
Class storage_class(const std::string& name) {
  Class made;
  made.metadata.name = name;
  made.capabilities = {{"tps", Quantity(1)}, {"iops", Quantity(1)}};
  return made;
}

template <class User>
void check_class_protection(const std::function<User(const std::string&)>& user_of_fast) {
  using Class = typename PlacedKind<User>::Class;
  CAPTURE(Class::info.kind);
  World world;
  Informer<Class> classes(world.store, world.clock, world.log);
  Informer<User> users(world.store, world.clock, world.log);
  ClassProtection<User> protection(world.store, classes, users, world.clock, world.log);
  protection.activate();
  const auto run_to_rest = [&] {
    world.settle({[&] { return classes.step(); }, [&] { return users.step(); }, [&] { return protection.step(); }});
  };
  world.create(storage_class<Class>("fast"));
  world.create(storage_class<Class>("slow"));
  world.create(user_of_fast("a"));
  User classless;
  classless.metadata.namespace_ = "default";
  classless.metadata.name = "classless";
  world.create(classless);
  run_to_rest();
  CHECK(world.get<Class>("fast")->metadata.finalizers == std::vector{std::string(PlacedKind<User>::class_finalizer)});
  world.remove<Class>("slow");
  world.remove<Class>("fast");
  world.remove<User>("classless");
  run_to_rest();
  CHECK_FALSE(world.get<Class>("slow"));
  REQUIRE(world.get<Class>("fast"));
  world.remove<User>("a");
  run_to_rest();
  CHECK_FALSE(world.get<Class>("fast"));
}

TEST_CASE("classes of volumes and buckets stay while they are used, and only then") {
  check_class_protection<api::Volume>([](const std::string& name) { return volume(name, "fast"); });
  check_class_protection<api::Bucket>([](const std::string& name) { return bucket(name, "fast"); });
}

TEST_CASE("a machine that the cache has not seen yet keeps its class as well") {
  Controllers world;
  world.create(machine_class("small"));
  world.run_to_rest();
  world.remove<api::MachineClass>("small");
  world.create(machine("unseen"));
  // Everything runs except the informer of machines.
  world.settle({[&] { return world.classes.step(); }, [&] { return world.protection->step(); }});
  CHECK(world.get<api::MachineClass>("small"));
  world.remove<api::Machine>("unseen");
  world.pass(2s, world.parts());
  CHECK_FALSE(world.get<api::MachineClass>("small"));
}

TEST_CASE("finalizers of others are kept when ours is added or dropped, and nobody's change is overwritten") {
  World world;
  auto made = machine_class("small");
  made.metadata.finalizers = {"example.org/theirs"};
  const auto stale = store::Object(api::kind_of<api::MachineClass>(), world.create(made));
  const auto added = add_finalizer(world.store, stale, "example.org/ours").value();
  CHECK(added.metadata().finalizers == std::vector<std::string>{"example.org/theirs", "example.org/ours"});
  const auto again = add_finalizer(world.store, added, "example.org/ours").value();
  CHECK(again.metadata().resource_version == added.metadata().resource_version);
  const auto lost = add_finalizer(world.store, stale, "example.org/third");
  REQUIRE(lost.has_error());
  CHECK(lost.error().code() == ErrorCode::conflict);
  const auto dropped = drop_finalizer(world.store, added, "example.org/ours").value();
  CHECK(dropped.metadata().finalizers == std::vector<std::string>{"example.org/theirs"});
}

// ---- eviction -----------------------------------------------------------------------------------------------------

TEST_CASE("a NoExecute taint deletes the machines that do not tolerate it, and tells them why") {
  Controllers world;
  world.create_pool("host-1", {});
  world.create_pool("host-2", {});
  const auto on = [&](const std::string& name, const std::string& pool, std::vector<api::Toleration> tolerations = {}) {
    auto made = machine(name);
    made.spec.machine_pool_ref = api::LocalReference{.name = pool};
    made.spec.tolerations = std::move(tolerations);
    world.create(made);
  };
  on("plain", "host-1");
  on("tolerant", "host-1", {{.key = "broken", .operator_ = api::TolerationOperator::exists}});
  on("mistaken", "host-1", {{.key = "other", .operator_ = api::TolerationOperator::exists}});
  on("half", "host-1",
     {{.key = "broken", .operator_ = api::TolerationOperator::exists, .effect = api::TaintEffect::no_schedule}});
  on("elsewhere", "host-2");
  world.create(machine("unbound"));
  world.run_to_rest();
  world.change<api::MachinePool>("host-1", [](api::MachinePool& p) {
    p.spec.taints = {{.key = "soft"}, {.key = "broken", .value = "yes", .effect = api::TaintEffect::no_execute}};
  });
  world.run_to_rest();
  for (const auto* name : {"plain", "mistaken", "half"}) {
    CAPTURE(name);
    CHECK_FALSE(world.get_machine(name));
    REQUIRE(world.events(name, "Evicted").size() == 1);
    CHECK(world.events(name, "Evicted").front()->message ==
          "deleted: machine pool host-1 has taint broken=yes:NoExecute, which the machine does not tolerate");
  }
  for (const auto* name : {"tolerant", "elsewhere", "unbound"}) CHECK(world.get_machine(name));
}

TEST_CASE("a machine that comes to a pool with a NoExecute taint, or loses its toleration there, is evicted too") {
  Controllers world;
  world.create_pool("host-1", {}, {}, {{.key = "broken", .effect = api::TaintEffect::no_execute}});
  auto tolerant = machine("tolerant");
  tolerant.spec.machine_pool_ref = api::LocalReference{.name = "host-1"};
  tolerant.spec.tolerations = {{.key = "broken", .operator_ = api::TolerationOperator::exists}};
  world.create(tolerant);
  auto plain = machine("plain");
  plain.spec.machine_pool_ref = api::LocalReference{.name = "host-1"};
  world.create(plain);
  world.run_to_rest();
  CHECK_FALSE(world.get_machine("plain"));
  REQUIRE(world.get_machine("tolerant"));
  world.change<api::Machine>("tolerant", [](api::Machine& m) { m.spec.tolerations.clear(); });
  world.run_to_rest();
  CHECK_FALSE(world.get_machine("tolerant"));
}

TEST_CASE("a machine on a pool that appears only later with its taint is evicted then") {
  Controllers world;
  auto plain = machine("plain");
  plain.spec.machine_pool_ref = api::LocalReference{.name = "host-1"};
  world.create(plain);
  world.run_to_rest();
  CHECK(world.get_machine("plain"));
  world.create_pool("host-1", {}, {}, {{.key = "broken", .effect = api::TaintEffect::no_execute}});
  world.run_to_rest();
  CHECK_FALSE(world.get_machine("plain"));
}

TEST_CASE("a machine is not evicted for a taint that was taken off meanwhile") {
  Controllers world;
  world.create_pool("host-1", {});
  auto plain = machine("plain");
  plain.spec.machine_pool_ref = api::LocalReference{.name = "host-1"};
  world.create(plain);
  world.run_to_rest();
  const auto set_taints = [&](std::vector<api::Taint> taints) {
    world.change<api::MachinePool>("host-1", [&](api::MachinePool& p) { p.spec.taints = taints; });
  };
  set_taints({{.key = "broken", .effect = api::TaintEffect::no_execute}});
  world.settle({[&] { return world.pools.step(); }});
  set_taints({});
  world.eviction->step();
  CHECK(world.get_machine("plain"));
  world.pass(10s, world.parts());
  CHECK(world.get_machine("plain"));
}

// ---- pool health --------------------------------------------------------------------------------------------------

TEST_CASE("a pool without any sign of life becomes unknown after the grace period, and this is written once") {
  Controllers world;
  api::MachinePool pool;
  pool.metadata.name = "host-1";
  world.create(pool);
  world.quiet(49s);
  CHECK_FALSE(world.is_unknown("host-1"));
  world.quiet(6s);
  CHECK(world.is_unknown("host-1"));
  const auto written = world.get<api::MachinePool>("host-1")->metadata.resource_version;
  world.quiet(5min);
  CHECK(world.get<api::MachinePool>("host-1")->metadata.resource_version == written);
}

TEST_CASE("regular renewals alone keep a pool healthy, and after they stop it becomes unknown") {
  Controllers world;
  world.create_pool("host-1", {});
  for (int i = 0; i < 30; ++i) {
    world.renew("host-1");
    world.quiet(10s);
    CHECK_FALSE(world.is_unknown("host-1"));
  }
  world.quiet(60s);
  CHECK(world.is_unknown("host-1"));
}

TEST_CASE("a changing Ready condition alone keeps a pool healthy, whatever it says") {
  Controllers world;
  world.create_pool("host-1", {});
  std::int64_t generation = 1;
  for (const auto status : {api::ConditionStatus::true_, api::ConditionStatus::false_, api::ConditionStatus::false_,
                            api::ConditionStatus::true_, api::ConditionStatus::true_, api::ConditionStatus::false_}) {
    world.write_ready("host-1", status, generation++);
    world.quiet(40s);
    CHECK_FALSE(world.is_unknown("host-1"));
    CHECK(world.ready(world.get<api::MachinePool>("host-1"))->status == status);
  }
}

TEST_CASE("a pool that was unknown is left alone once its provider shows life again, and is watched as before") {
  Controllers world;
  world.create_pool("host-1", {});
  world.quiet(60s);
  REQUIRE(world.is_unknown("host-1"));
  world.write_ready("host-1", api::ConditionStatus::true_);
  world.renew("host-1");
  world.quiet(30s);
  CHECK_FALSE(world.is_unknown("host-1"));
  world.quiet(30s);
  CHECK(world.is_unknown("host-1"));
}

TEST_CASE("one pool's silence is not another's, and what is remembered goes with the pool") {
  Controllers world;
  world.create_pool("alive", {});
  world.create_pool("silent", {});
  for (int i = 0; i < 10; ++i) {
    world.renew("alive");
    world.quiet(10s);
  }
  CHECK_FALSE(world.is_unknown("alive"));
  CHECK(world.is_unknown("silent"));
  CHECK(world.health.size() == 2);
  world.remove<api::MachinePool>("silent");
  world.quiet(10s);
  CHECK(world.health.size() == 1);
  // A pool of the same name made later has its whole grace.
  world.create_pool("silent", {});
  world.renew("alive");
  world.quiet(40s);
  CHECK_FALSE(world.is_unknown("silent"));
}

TEST_CASE("what cannot be seen is no evidence: an outage of the leases makes no pool unknown") {
  Controllers world;
  world.create_pool("host-1", {});
  world.renew("host-1");
  world.quiet(20s);
  world.store.set_faults([](FaultyStore::Call call, const store::Transaction*) -> std::optional<FaultyStore::Fault> {
    if (call == FaultyStore::Call::leases) return FaultyStore::Fault{Error(ErrorCode::unavailable, "no answer")};
    return std::nullopt;
  });
  world.quiet(10min);
  CHECK_FALSE(world.is_unknown("host-1"));
  world.store.set_faults({});
  world.quiet(60s);
  CHECK(world.is_unknown("host-1"));
}

TEST_CASE("a process that was stopped for a while blames nobody for the silence") {
  Controllers world;
  world.create_pool("host-1", {});
  world.renew("host-1");
  world.quiet(20s);
  world.clock.advance(10min);
  world.settle(world.health_parts());
  CHECK_FALSE(world.is_unknown("host-1"));
  world.quiet(20s);
  CHECK_FALSE(world.is_unknown("host-1"));
  world.quiet(20s);
  CHECK(world.is_unknown("host-1"));
}

TEST_CASE_TEMPLATE("pools of storage are watched as those of machines are", T, api::Volume, api::Bucket) {
  using Pool = typename PlacedKind<T>::Pool;
  World world;
  Informer<Pool> pools(world.store, world.clock, world.log);
  PoolHealth<T> health(world.store, pools, {}, world.clock, world.log);
  const std::vector<std::function<bool()>> parts{[&] { return pools.step(); }, [&] { return health.step(); }};
  for (const auto* name : {"alive", "silent"}) {
    Pool pool;
    pool.metadata.name = name;
    world.create(pool);
    world.change<Pool>(
        name,
        [](Pool& made) {
          made.status.state = api::StoragePoolState::available;
          made.status.conditions = {{.type = "Ready", .status = api::ConditionStatus::true_, .reason = "Test"}};
        },
        store::Part::status);
  }
  for (int i = 0; i < 6; ++i) {
    REQUIRE(world.real->acquire_lease(pool_lease<T>("alive"), "provider", 40s));
    // A lease of the same name for another kind of pool says nothing.
    REQUIRE(world.real->acquire_lease(pool_lease<api::Machine>("silent"), "other", 40s));
    world.pass(10s, parts, 1s);
  }
  const auto alive = world.get<Pool>("alive"), silent = world.get<Pool>("silent");
  CHECK(alive->status.state == api::StoragePoolState::available);
  CHECK(alive->status.conditions.front().status == api::ConditionStatus::true_);
  CHECK(silent->status.state == api::StoragePoolState::unavailable);
  CHECK(silent->status.conditions.front().status == api::ConditionStatus::unknown);
  CHECK(silent->status.conditions.front().reason == std::string(Pool::info.kind) + "StatusUnknown");
}

// ---- claims -------------------------------------------------------------------------------------------------------

namespace {

struct Claims : World {
  Informer<api::Machine> machines{store, clock, log};
  Informer<api::NetworkInterface> interfaces{store, clock, log};
  Informer<api::Volume> volumes{store, clock, log};
  EventRecorder events_written{store, {.component = "claim-release"}, clock, log};
  ClaimRelease release{store, machines, interfaces, volumes, events_written, clock, log};

  Claims() { release.activate(); }
  std::vector<std::function<bool()>> parts() {
    return {[&] { return machines.step(); }, [&] { return interfaces.step(); }, [&] { return volumes.step(); },
            [&] { return release.step(); }, [&] { return events_written.step(); }};
  }
  void run_to_rest() { settle(parts()); }
};

}  // namespace

TEST_CASE("a claim ends with the machine that made it, not with its name") {
  Claims world;
  const auto web = world.create(machine("web"));
  const auto create_claimed = [&](const std::string& name, const std::string& uid) {
    api::NetworkInterface interface;
    interface.metadata.namespace_ = "default";
    interface.metadata.name = name;
    interface.spec.machine_ref = api::LocalUidReference{.name = "web", .uid = uid};
    interface.spec.provider_id = "handle";
    world.create(interface);
  };
  create_claimed("held", web->metadata.uid);
  create_claimed("stale", "00000000-0000-4000-8000-000000000000");
  create_claimed("planned", "");
  api::Volume volume;
  volume.metadata.namespace_ = "default";
  volume.metadata.name = "data";
  volume.spec.claim_ref = api::LocalUidReference{.name = "web", .uid = web->metadata.uid};
  world.create(volume);
  const auto claim = [&](const std::string& name) {
    return world.get<api::NetworkInterface>(name, "default")->spec.machine_ref;
  };
  world.run_to_rest();
  CHECK(claim("held"));
  CHECK_FALSE(claim("stale"));
  CHECK(claim("planned"));
  CHECK(world.get<api::Volume>("data", "default")->spec.claim_ref);
  world.remove<api::Machine>("web");
  world.create(machine("web"));
  world.run_to_rest();
  CHECK_FALSE(claim("held"));
  CHECK(world.get<api::NetworkInterface>("held", "default")->spec.provider_id.empty());
  CHECK_FALSE(world.get<api::Volume>("data", "default")->spec.claim_ref);
  CHECK(claim("planned"));
}

TEST_CASE("a machine that is deleted gives its volumes back as soon as its host is dead, and not before") {
  Claims world;
  world.create(machine_class("small"));
  world.create_pool("host-1", {});
  auto made = machine("web");
  made.spec.machine_pool_ref = api::LocalReference{.name = "host-1"};
  made.metadata.finalizers = {std::string(api::machine_finalizer)};
  const auto web = world.create(made);
  const api::LocalUidReference claim{.name = "web", .uid = web->metadata.uid};
  auto data = volume("data");
  data.spec.claim_ref = claim;
  world.create(data);
  api::NetworkInterface interface;
  interface.metadata.namespace_ = "default";
  interface.metadata.name = "net";
  interface.spec.machine_ref = claim;
  world.create(interface);
  const auto is_claimed = [&] { return world.get<api::Volume>("data", "default")->spec.claim_ref.has_value(); };
  const auto beat = [&] { REQUIRE(world.real->acquire_lease(pool_lease<api::Machine>("host-1"), "host-1", 40s)); };
  const auto mark = [&](api::ConditionStatus status) {
    world.change<api::MachinePool>(
        "host-1",
        [&](api::MachinePool& p) {
          api::set_condition(p.status.conditions, {.type = "Ready", .status = status, .reason = "Test"},
                             world.clock.wall());
        },
        store::Part::status);
  };
  // Dead, but not deleted: it may come back with its host.
  mark(api::ConditionStatus::unknown);
  world.pass(1min, world.parts(), 1s);
  CHECK(is_claimed());
  // Deleted, and its host lives: its provider ends it and gives everything back.
  beat();
  world.remove<api::Machine>("web");
  world.pass(30s, world.parts(), 1s);
  CHECK(is_claimed());
  mark(api::ConditionStatus::true_);
  world.pass(1min, world.parts(), 1s);  // the lease runs out, which is not enough
  CHECK(is_claimed());
  mark(api::ConditionStatus::unknown);
  world.pass(20s, world.parts(), 1s);
  CHECK_FALSE(is_claimed());
  CHECK(world.get<api::NetworkInterface>("net", "default")->spec.machine_ref);
  CHECK(world.get_machine("web"));
  REQUIRE(world.events("web", "VolumeReleased").size() == 1);
  CHECK(world.events("web", "VolumeReleased").front()->message.find("volume data") != std::string::npos);
}

TEST_CASE("a volume that is deleted while a machine uses it goes when the claim is released") {
  Claims world;
  const auto web = world.create(machine("web"));
  world.create(volume("data"));
  world.change<api::Volume>("data", [&](api::Volume& v) {
    v.spec.claim_ref = {.name = "web", .uid = web->metadata.uid};
    v.metadata.finalizers = {"example.org/theirs"};
  });
  world.remove<api::Volume>("data");
  world.run_to_rest();
  const auto kept = world.get<api::Volume>("data", "default");
  REQUIRE(kept);
  CHECK(kept->metadata.deletion_timestamp);
  CHECK(has_finalizer(kept->metadata, api::volume_claim_finalizer));
  world.change<api::Volume>("data", [&](api::Volume& v) { v.metadata.finalizers.clear(); });
  REQUIRE_MESSAGE(world.get<api::Volume>("data", "default"), "the claim holds, whoever empties the list");
  world.remove<api::Machine>("web");
  world.run_to_rest();
  CHECK_FALSE(world.get<api::Volume>("data", "default"));
}
