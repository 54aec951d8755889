// SPDX-License-Identifier: Apache-2.0
// Machines get pools: at once, later, fairly, never twice, and whoever waits is told why.
#include "ironcore/control/controller.hpp"
#include "ironcore/control/scheduler.hpp"

#include <doctest/doctest.h>

#include <map>
#include <thread>

#include "scheduling_world.hpp"

using namespace ironcore;
using namespace ironcore::control;
using namespace ironcore::control::test;

TEST_CASE("a machine is bound to a pool that has room") {
  Scheduling world;
  world.create_pool("host-1", room_for(8));
  world.create(machine("web"));
  world.run_to_rest();
  CHECK(world.pool_of("web") == "host-1");
  CHECK(world.scheduler.waiting() == 0);
  CHECK(world.scheduler.bound() == 1);
  CHECK(world.scheduler.usage("host-1").objects == 1);
}

TEST_CASE("a machine that came before its pool, its class or its room is bound when they come") {
  Scheduling world;
  world.create(machine("web", "late"));
  world.run_to_rest();
  CHECK(world.pool_of("web").empty());
  world.create(machine_class("late", 2));
  world.run_to_rest();
  CHECK(world.pool_of("web").empty());
  world.create_pool("host-1", room_for(1));
  world.run_to_rest();
  CHECK(world.pool_of("web").empty());
  world.change<api::MachinePool>(
      "host-1", [](api::MachinePool& p) { p.status.allocatable = room_for(2); }, store::Part::status);
  world.run_to_rest();
  CHECK(world.pool_of("web") == "host-1");
}

TEST_CASE("the selector chooses pools by their labels") {
  Scheduling world;
  world.create_pool("east-1", room_for(4), {{"zone", "east"}});
  world.create_pool("west-1", room_for(64), {{"zone", "west"}});
  auto web = machine("web");
  web.spec.machine_pool_selector = {{"zone", "east"}};
  world.create(web);
  auto nowhere = machine("nowhere");
  nowhere.spec.machine_pool_selector = {{"zone", "north"}};
  world.create(nowhere);
  world.run_to_rest();
  CHECK(world.pool_of("web") == "east-1");
  CHECK(world.pool_of("nowhere").empty());
  world.change<api::MachinePool>("west-1", [](api::MachinePool& p) { p.metadata.labels["zone"] = "north"; });
  world.run_to_rest();
  CHECK(world.pool_of("nowhere") == "west-1");
}

TEST_CASE("a tainted pool takes only machines that tolerate the taint, of either effect") {
  for (const auto effect : {api::TaintEffect::no_schedule, api::TaintEffect::no_execute}) {
    Scheduling world;
    world.create_pool("host-1", room_for(8), {}, {{.key = "gpu", .value = "a", .effect = effect}});
    world.create(machine("plain"));
    auto tolerant = machine("tolerant");
    tolerant.spec.tolerations = {{.key = "gpu", .operator_ = api::TolerationOperator::equal, .value = "a"}};
    world.create(tolerant);
    world.run_to_rest();
    CHECK(world.pool_of("plain").empty());
    CHECK(world.pool_of("tolerant") == "host-1");
    world.change<api::MachinePool>("host-1", [](api::MachinePool& p) { p.spec.taints.clear(); });
    world.run_to_rest();
    CHECK(world.pool_of("plain") == "host-1");
  }
}

TEST_CASE("a pool without condition Ready, with Ready False or Unknown takes nothing until it is True") {
  Scheduling world;
  world.create_pool("host-1", room_for(8));
  const auto set_ready = [&](std::optional<api::ConditionStatus> status) {
    world.change<api::MachinePool>(
        "host-1",
        [&](api::MachinePool& p) {
          p.status.conditions.clear();
          if (status) p.status.conditions = {{.type = "Ready", .status = *status, .reason = "Test"}};
        },
        store::Part::status);
  };
  int i = 0;
  for (const auto status : {std::optional<api::ConditionStatus>(), std::optional(api::ConditionStatus::false_),
                            std::optional(api::ConditionStatus::unknown)}) {
    set_ready(status);
    const auto name = "web-" + std::to_string(++i);
    world.create(machine(name));
    world.run_to_rest();
    CHECK(world.pool_of(name).empty());
  }
  set_ready(api::ConditionStatus::true_);
  world.run_to_rest();
  for (int n = 1; n <= 3; ++n) CHECK(world.pool_of("web-" + std::to_string(n)) == "host-1");
}

TEST_CASE("a pool that is being deleted and a class that is not offered are no choice") {
  Scheduling world;
  world.create_pool("host-1", room_for(8));
  world.change<api::MachinePool>(
      "host-1", [](api::MachinePool& p) { p.status.available_machine_classes = {{.name = "big"}}; },
      store::Part::status);
  world.create(machine("web"));
  world.run_to_rest();
  CHECK(world.pool_of("web").empty());
  world.change<api::MachinePool>("host-1", [](api::MachinePool& p) { p.metadata.finalizers = {"example.org/keep"}; });
  world.remove<api::MachinePool>("host-1");
  world.change<api::MachinePool>(
      "host-1", [](api::MachinePool& p) { p.status.available_machine_classes = {{.name = "small"}}; },
      store::Part::status);
  world.run_to_rest();
  CHECK(world.pool_of("web").empty());
  const auto why = explain_placement<api::Machine>(world.store, "default", "web").value();
  CHECK(why.pools.front().obstacle == Obstacle::being_deleted);
}

TEST_CASE("the pool with most room wins") {
  Scheduling world;
  world.create_pool("host-1", room_for(3));
  world.create_pool("host-2", room_for(9));
  world.create_pool("host-3", room_for(6));
  world.create(machine("web"));
  world.run_to_rest();
  CHECK(world.pool_of("web") == "host-2");
}

TEST_CASE("fifty machines spread evenly over two pools") {
  Scheduling world;
  world.create_pool("host-1", {{"class/machine.small", Quantity(50)}});
  world.create_pool("host-2", {{"class/machine.small", Quantity(50)}});
  for (int i = 0; i < 50; ++i) world.create(machine("web-" + std::to_string(i)));
  world.run_to_rest();
  CHECK(world.scheduler.usage("host-1").objects == 25);
  CHECK(world.scheduler.usage("host-2").objects == 25);
}

TEST_CASE("a pool is filled up to what it has and no further, with classes mixed") {
  Scheduling world;
  auto allocatable = room_for(10, 100 * gibibyte);
  allocatable["class/machine.small"] = Quantity(10);  // counts of an empty host: each alone would fit
  allocatable["class/machine.big"] = Quantity(2);
  world.create_pool("host-1", allocatable);
  for (int i = 0; i < 4; ++i) world.create(machine("big-" + std::to_string(i), "big"));
  for (int i = 0; i < 12; ++i) {
    world.clock.advance(1s);
    world.create(machine("small-" + std::to_string(i)));
  }
  world.run_to_rest();
  CHECK(world.scheduler.usage("host-1") == Placement::Usage{4, 10000, 20 * gibibyte});  // 2 × 4 + 2 × 1 processors
  CHECK(world.scheduler.waiting() == 12);
}

TEST_CASE("the oldest machine is served first") {
  Scheduling world;
  for (const auto* name : {"c", "a", "b"}) {
    world.create(machine(name));
    world.clock.advance(1s);
  }
  world.create_pool("host-1", room_for(1));
  world.run_to_rest();
  CHECK(world.pool_of("c") == "host-1");
  CHECK(world.pool_of("a").empty());
  world.remove<api::Machine>("c");
  world.run_to_rest();
  CHECK(world.pool_of("a") == "host-1");
  CHECK(world.pool_of("b").empty());
}

TEST_CASE("a deleted machine makes room when it is gone, not before, and the next one is bound at once") {
  Scheduling world;
  world.create_pool("host-1", room_for(1));
  auto first = machine("first");
  first.metadata.finalizers = {"example.org/keep"};
  world.create(first);
  world.run_to_rest();
  world.create(machine("second"));
  world.run_to_rest();
  world.remove<api::Machine>("first");
  world.run_to_rest();
  CHECK(world.pool_of("second").empty());
  world.change<api::Machine>("first", [](api::Machine& m) { m.metadata.finalizers.clear(); });
  world.run_to_rest();
  CHECK_FALSE(world.get_machine("first"));
  CHECK(world.pool_of("second") == "host-1");
}

TEST_CASE("a machine that is being deleted is not bound") {
  Scheduling world;
  auto web = machine("web");
  web.metadata.finalizers = {"example.org/keep"};
  world.create(web);
  world.run_to_rest();
  world.remove<api::Machine>("web");
  world.create_pool("host-1", room_for(8));
  world.run_to_rest();
  CHECK(world.pool_of("web").empty());
  CHECK(world.scheduler.waiting() == 0);
}

TEST_CASE("a pool chosen by the user is left alone and accounted for") {
  Scheduling world;
  world.create_pool("host-1", room_for(2));
  auto by_hand = machine("by-hand");
  by_hand.spec.machine_pool_ref = api::LocalReference{.name = "host-1"};
  world.create(by_hand);
  auto elsewhere = machine("elsewhere");
  elsewhere.spec.machine_pool_ref = api::LocalReference{.name = "no-such-pool"};
  world.create(elsewhere);
  world.run_to_rest();
  world.create(machine("one"));
  world.create(machine("two"));
  world.run_to_rest();
  CHECK(world.scheduler.usage("host-1").objects == 2);
  CHECK(world.scheduler.waiting() == 1);
  CHECK(world.pool_of("elsewhere") == "no-such-pool");
}

TEST_CASE("a waiting machine is told why, in numbers, once") {
  Scheduling world;
  world.create_pool("full", room_for(0));
  world.create_pool("other", room_for(8), {}, {{.key = "t"}});
  world.create_pool("away-1", room_for(8));
  world.create_pool("away-2", room_for(8));
  for (const auto* name : {"away-1", "away-2"})
    world.change<api::MachinePool>(
        name, [](api::MachinePool& p) { p.status.conditions.clear(); }, store::Part::status);
  world.create(machine("web"));
  world.run_to_rest();
  auto told = world.events("web", "OutOfCapacity");
  REQUIRE(told.size() == 1);
  CHECK(told.front()->message ==
        "no machine pool can take it now: 4 pools: 2 not ready, 1 taint not tolerated, 1 no room (cpu)");
  CHECK(told.front()->type == api::EventType::normal);

  // Changes that do not help, again and again.
  for (int i = 0; i < 20; ++i) {
    world.change<api::MachinePool>("full", [&](api::MachinePool& p) { p.metadata.labels["n"] = std::to_string(i); });
    world.pass(10s, world.parts(), 1s);
  }
  told = world.events("web", "OutOfCapacity");
  REQUIRE(told.size() == 1);
  CHECK(told.front()->count == 1);

  // A new reason is told, in the same event.
  world.change<api::MachinePool>("other", [](api::MachinePool& p) {
    p.spec.taints.clear();
    p.status = {};
  });
  world.remove<api::MachinePool>("other");
  world.pass(1min, world.parts(), 1s);
  told = world.events("web", "OutOfCapacity");
  REQUIRE(told.size() == 1);
  CHECK(told.front()->count == 2);
  CHECK(told.front()->message == "no machine pool can take it now: 3 pools: 2 not ready, 1 no room (cpu)");
  // And somebody who comes later hears it too.
  world.create(machine("late"));
  world.run_to_rest();
  CHECK(world.events("late", "OutOfCapacity").size() == 1);
}

TEST_CASE("a machine in conflict does not hold up the other machines of its batch") {
  Scheduling world;
  world.create_pool("host-1", room_for(100));
  world.run_to_rest();
  for (int i = 0; i < 20; ++i) world.create(machine("web-" + std::to_string(i)));
  world.settle({[&] { return world.machines.step(); }});
  // After the scheduler has seen them: one is changed, one is deleted, one is bound by hand.
  world.change<api::Machine>("web-3", [](api::Machine& m) { m.metadata.labels["x"] = "y"; });
  world.remove<api::Machine>("web-7");
  world.change<api::Machine>("web-11",
                             [](api::Machine& m) { m.spec.machine_pool_ref = api::LocalReference{.name = "mine"}; });
  REQUIRE(world.scheduler.step());
  CHECK(world.scheduler.bound() == 17);
  CHECK(world.pool_of("web-3").empty());
  CHECK(world.pool_of("web-11") == "mine");
  world.pass(1s, world.parts());
  CHECK(world.pool_of("web-3") == "host-1");
  CHECK(world.scheduler.usage("host-1").objects == 18);
  CHECK(world.scheduler.usage("mine").objects == 1);
  CHECK(world.scheduler.waiting() == 0);
}

TEST_CASE("a pool that has changed since it was seen is looked at again before anything is bound to it") {
  Scheduling world;
  world.create_pool("host-1", room_for(100));
  world.create(machine("web"));
  world.settle({[&] { return world.machines.step(); }, [&] { return world.pools.step(); },
                [&] { return world.classes.step(); }});
  world.change<api::MachinePool>("host-1", [](api::MachinePool& p) { p.spec.taints = {{.key = "closed"}}; });
  world.scheduler.step();
  CHECK(world.pool_of("web").empty());
  world.pass(1s, world.parts());
  CHECK(world.pool_of("web").empty());
  CHECK(world.scheduler.usage("host-1").objects == 0);
}

TEST_CASE(
    "a class that goes while its machine is being bound stops the binding, for nobody would know what the machine "
    "takes") {
  Scheduling world;
  world.create_pool("host-1", room_for(100));
  world.create(machine("web"));
  world.settle({[&] { return world.machines.step(); }, [&] { return world.pools.step(); },
                [&] { return world.classes.step(); }});
  world.remove<api::MachineClass>("small");
  world.scheduler.step();
  CHECK(world.pool_of("web").empty());
  world.pass(1s, world.parts());
  CHECK(world.pool_of("web").empty());
  world.create(machine_class("small"));
  world.pass(1s, world.parts());
  CHECK(world.pool_of("web") == "host-1");
}

TEST_CASE("when the answer of a commit is lost, the same binding is asked for again, and nobody is bound twice") {
  for (const auto when : {FaultyStore::Fault::When::before, FaultyStore::Fault::When::after}) {
    Scheduling world;
    world.create_pool("host-1", room_for(2));
    world.run_to_rest();
    world.store.set_faults(fail_binding(0, Error(ErrorCode::timeout, "no answer"), when));
    for (int i = 0; i < 3; ++i) world.create(machine("web-" + std::to_string(i)));
    world.run_to_rest();
    world.create_pool("host-2", room_for(8));  // more room, but the outcome is not known yet
    world.pass(2s, world.parts());
    CHECK(world.scheduler.usage("host-1").objects == 2);
    CHECK(world.scheduler.usage("host-2").objects == 1);
    CHECK(world.scheduler.waiting() == 0);
  }
}

TEST_CASE("a failed binding gives its room back and is tried again") {
  Scheduling world;
  world.create_pool("host-1", room_for(1));
  world.run_to_rest();
  world.store.set_faults(fail_binding(0, Error(ErrorCode::conflict, "somebody was faster")));
  world.create(machine("web"));
  world.run_to_rest();
  CHECK(world.pool_of("web").empty());
  CHECK(world.scheduler.usage("host-1").objects == 0);
  world.pass(1s, world.parts());
  CHECK(world.pool_of("web") == "host-1");
}

TEST_CASE("whoever lost the lease binds nothing and stops") {
  World world;
  world.create(machine_class("small"));
  world.create_pool("host-1", room_for(8));
  Informer<api::Machine> machines(world.store, world.clock, world.log);
  Informer<api::MachinePool> pools(world.store, world.clock, world.log);
  Informer<api::MachineClass> classes(world.store, world.clock, world.log);
  EventRecorder events(world.store, {.component = "machine-scheduler"}, world.clock, world.log);
  MachineScheduler scheduler(world.store, machines, pools, classes, events, {}, world.clock, world.log);
  const std::vector<std::function<bool()>> parts{[&] { return machines.step(); }, [&] { return pools.step(); },
                                                 [&] { return classes.step(); }, [&] { return scheduler.step(); }};
  const auto mine = world.real->acquire_lease("test", "one", 15s).value();
  world.clock.advance(1min);
  const auto theirs = world.real->acquire_lease("test", "two", 15s).value();
  scheduler.activate(store::HoldsLease{"test", mine.token});
  world.create(machine("web"));
  world.settle(parts);
  CHECK(world.pool_of("web").empty());
  CHECK_FALSE(scheduler.is_active());
  CHECK(scheduler.usage("host-1").objects == 0);
  scheduler.activate(store::HoldsLease{"test", theirs.token});
  world.settle(parts);
  CHECK(world.pool_of("web") == "host-1");
}

TEST_CASE("an inactive scheduler keeps its accounts and binds nothing") {
  Scheduling world;
  world.scheduler.deactivate();
  world.create_pool("host-1", room_for(8));
  world.create(machine("web"));
  world.run_to_rest();
  CHECK(world.pool_of("web").empty());
  CHECK(world.scheduler.waiting() == 1);
  world.scheduler.activate();
  world.run_to_rest();
  CHECK(world.pool_of("web") == "host-1");
}

TEST_CASE("explain says for each pool why not, without counting the machine itself") {
  Scheduling world;
  world.create_pool("full", room_for(1));
  world.create_pool("tainted", room_for(8), {}, {{.key = "gpu"}});
  auto there = machine("there");
  there.spec.machine_pool_ref = api::LocalReference{.name = "full"};
  world.create(there);
  world.create(machine("web"));
  const auto web = explain_placement<api::Machine>(world.store, "default", "web").value();
  CHECK(web.pool.empty());
  CHECK(web.summary == "2 pools: 1 taint not tolerated, 1 no room (cpu)");
  REQUIRE(web.pools.size() == 2);
  CHECK(web.pools[0].pool == "full");
  CHECK(web.pools[0].detail == "cpu: 1000m altogether, 1000m taken, the machine needs 1000m");
  CHECK(web.pools[1].detail == "taint gpu:NoSchedule is not tolerated");
  const auto own = explain_placement<api::Machine>(world.store, "default", "there").value();
  CHECK(own.pool == "full");
  CHECK(own.pools[0].obstacle == Obstacle::none);
  CHECK(own.pools[0].room == 1);
  const auto nobody = explain_placement<api::Machine>(world.store, "default", "nobody");
  REQUIRE(nobody.has_error());
  CHECK(nobody.error().code() == ErrorCode::not_found);
}

TEST_CASE("running on its own threads, machines created meanwhile are all bound") {
  SystemClock clock;
  NullLog log;
  const auto store = store::memory_store(clock, log);
  Informer<api::Machine> machines(*store, clock, log);
  Informer<api::MachinePool> pools(*store, clock, log);
  Informer<api::MachineClass> classes(*store, clock, log);
  EventRecorder events(*store, {.component = "machine-scheduler"}, clock, log);
  MachineScheduler scheduler(*store, machines, pools, classes, events, {.batch = 16}, clock, log);
  REQUIRE(store::create(*store, machine_class("small")));
  api::MachinePool pool;
  pool.metadata.name = "host-1";
  const auto made = store::create(*store, pool).value();
  auto ready = *made;
  ready.status.conditions = {{.type = "Ready", .status = api::ConditionStatus::true_, .reason = "Test"}};
  ready.status.allocatable = room_for(1000, 100000 * gibibyte);
  ready.status.available_machine_classes = {{.name = "small"}};
  REQUIRE(store::patch(*store, *made, ready, store::Part::status));
  std::jthread runner([&](std::stop_token stop) {
    run_together(stop, {[&](std::stop_token s) { machines.run(s); }, [&](std::stop_token s) { pools.run(s); },
                        [&](std::stop_token s) { classes.run(s); }, [&](std::stop_token s) { scheduler.run(s); }});
  });
  for (int i = 0; i < 200; ++i) REQUIRE(store::create(*store, machine("web-" + std::to_string(i))));
  while (scheduler.bound() < 200) std::this_thread::yield();
  runner.request_stop();
  runner.join();
  for (const auto& each : store::list<api::Machine>(*store).value())
    CHECK(each->spec.machine_pool_ref->name == "host-1");
}
