// SPDX-License-Identifier: Apache-2.0
// What the store refuses, what changes under a whole batch, and how thousands of waiting machines hear why.
#include <doctest/doctest.h>

#include <algorithm>
#include <thread>

#include "ironcore/control/controller.hpp"
#include "scheduling_world.hpp"

using namespace ironcore;
using namespace ironcore::control;
using namespace ironcore::control::test;

namespace {

std::string numbered(int i) {
  return "m" + std::to_string(100'000 + i);
}

bool binds(const store::Transaction& transaction, const std::string& name) {
  return is_binding(transaction) && std::any_of(transaction.operations.begin(), transaction.operations.end(),
                                                [&](const store::Operation& operation) {
                                                  return std::get<store::Patch>(operation).key.name == name;
                                                });
}

}  // namespace

TEST_CASE("a machine that the store refuses holds up nobody and is told why") {
  for (const auto code : {ErrorCode::exhausted, ErrorCode::internal, ErrorCode::corrupt, ErrorCode::invalid}) {
    Scheduling world;
    world.create_pool("host-1", room_for(100));
    world.store.set_faults(
        [&](FaultyStore::Call call, const store::Transaction* transaction) -> std::optional<FaultyStore::Fault> {
          if (call != FaultyStore::Call::commit || !binds(*transaction, "large")) return std::nullopt;
          return FaultyStore::Fault{Error(code, "the object would be too large")};
        });
    world.create(machine("large"));
    for (int i = 0; i < 20; ++i) world.create(machine(numbered(i)));
    world.pass(5s, world.parts());
    CHECK(world.scheduler.bound() == 20);
    CHECK(world.scheduler.waiting() == 1);
    CHECK(world.scheduler.usage("host-1").objects <= 21);
    const auto told = world.events("large", "BindingFailed");
    REQUIRE(told.size() == 1);
    CHECK(told.front()->type == api::EventType::warning);
    CHECK(told.front()->message.find("too large") != std::string::npos);
    // Those that come later are bound too, and in the end so is the one.
    world.create(machine("late"));
    world.pass(1s, world.parts());
    CHECK(world.pool_of("late") == "host-1");
    world.store.set_faults({});
    world.pass(1min, world.parts());
    CHECK(world.pool_of("large") == "host-1");
    CHECK(world.scheduler.usage("host-1").objects == 22);
  }
}

TEST_CASE("a full disk costs few commits, and when there is room again everything is bound") {
  Scheduling world;
  world.create_pool("host-1", room_for(1000));
  world.run_to_rest();
  int commits = 0;
  bool is_full = true;
  world.store.set_faults(
      [&](FaultyStore::Call call, const store::Transaction* transaction) -> std::optional<FaultyStore::Fault> {
        if (call != FaultyStore::Call::commit || !is_binding(*transaction)) return std::nullopt;
        ++commits;
        if (!is_full) return std::nullopt;
        return FaultyStore::Fault{Error(ErrorCode::exhausted, "the disk is full")};
      });
  for (int i = 0; i < 500; ++i) world.create(machine(numbered(i)));
  world.run_to_rest();
  CHECK(commits <= 12);
  world.pass(5min, world.parts(), 1s);
  CHECK(commits < 2000);
  CHECK(world.scheduler.bound() == 0);
  is_full = false;
  world.pass(1min, world.parts(), 1s);
  CHECK(world.scheduler.bound() == 500);
  CHECK(world.scheduler.usage("host-1").objects == 500);
}

TEST_CASE("a batch of large machines is split before the store has to refuse it") {
  Scheduling world;
  std::size_t most = 0;
  world.store.set_faults(
      [&](FaultyStore::Call call, const store::Transaction* transaction) -> std::optional<FaultyStore::Fault> {
        if (call == FaultyStore::Call::commit && is_binding(*transaction))
          most = std::max(most, transaction->operations.size());
        return std::nullopt;
      });
  for (int i = 0; i < 24; ++i) {
    auto large = machine(numbered(i));
    large.spec.efi_vars = {
        {.name = "x", .uuid = "8be4df61-93ca-11d2-aa0d-00e098032b8c", .value = std::string(1 << 20, 'v')}};
    world.create(large);
  }
  world.create_pool("host-1", room_for(100));
  world.run_to_rest();
  CHECK(world.scheduler.bound() == 24);
  CHECK(most < 24);
}

TEST_CASE("a pool that has changed takes its machines out of the batch with one commit, not one for each") {
  Scheduling world;
  world.create_pool("host-1", room_for(10'000, 100'000 * gibibyte));
  world.create_pool("host-2", room_for(9'950, 100'000 * gibibyte));
  world.run_to_rest();
  for (int i = 0; i < 500; ++i) world.create(machine(numbered(i)));
  while (world.machines.step()) {
  }
  world.change<api::MachinePool>("host-1", [](api::MachinePool& p) { p.metadata.labels["a"] = "b"; });
  int commits = 0;
  world.store.set_faults([&](FaultyStore::Call call, const store::Transaction*) -> std::optional<FaultyStore::Fault> {
    commits += call == FaultyStore::Call::commit ? 1 : 0;
    return std::nullopt;
  });
  world.scheduler.step();
  CHECK(commits == 2);
  const auto bound = world.scheduler.bound();
  CHECK(bound == world.scheduler.usage("host-2").objects);
  CHECK(bound > 100);
  CHECK(world.scheduler.usage("host-1").objects == 0);
  world.pass(2s, world.parts());
  CHECK(world.scheduler.bound() == 500);
}

TEST_CASE("a reason that changed soon after it was told is told when its time has come") {
  Scheduling world;
  world.create_pool("full", room_for(0));
  world.create(machine("web"));
  world.run_to_rest();
  world.pass(10s, world.parts(), 1s);
  const auto change = [&](std::vector<api::Condition> conditions) {
    world.change<api::MachinePool>(
        "full", [&](api::MachinePool& p) { p.status.conditions = conditions; }, store::Part::status);
    world.run_to_rest();
  };
  const auto ready = world.get<api::MachinePool>("full")->status.conditions;
  change({});
  change(ready);
  change({});
  change(ready);
  auto told = world.events("web", "OutOfCapacity");
  REQUIRE(told.size() == 1);
  CHECK(told.front()->message == "no machine pool can take it now: 1 pool: not ready");
  world.pass(2s, world.parts(), 100ms);
  told = world.events("web", "OutOfCapacity");
  REQUIRE(told.size() == 1);
  CHECK(told.front()->message == "no machine pool can take it now: 1 pool: no room (cpu)");
  change({});
  world.pass(2s, world.parts(), 100ms);
  told = world.events("web", "OutOfCapacity");
  REQUIRE(told.size() == 1);
  CHECK(told.front()->message == "no machine pool can take it now: 1 pool: not ready");
  CHECK(told.front()->count == 4);  // of six reasons
}

TEST_CASE("whoever comes later hears what holds now, not what the others were told") {
  Scheduling world;
  world.create(machine("web"));
  world.run_to_rest();
  world.create([] {
    api::MachinePool pool;
    pool.metadata.name = "new";
    return pool;
  }());
  world.run_to_rest();
  world.create(machine("late"));
  world.run_to_rest();
  CHECK(world.events("web", "OutOfCapacity").front()->message == "no machine pool can take it now: no machine pools");
  CHECK(world.events("late", "OutOfCapacity").front()->message == "no machine pool can take it now: 1 pool: not ready");
}

TEST_CASE("thousands of waiting machines all hear why, and changing numbers make no new events") {
  Scheduling world;
  for (int i = 0; i < 3000; ++i) world.create(machine(numbered(i)));
  for (int i = 0; i < 5; ++i) world.create_pool("p" + std::to_string(i), room_for(0));
  world.pass(10s, world.parts(), 1s);
  const auto count = [&] { return store::list<api::Event>(*world.real).value().size(); };
  CHECK(count() == 3000);
  for (int i = 0; i < 3; ++i) {
    world.change<api::MachinePool>(
        "p" + std::to_string(i), [](api::MachinePool& p) { p.status.conditions.clear(); }, store::Part::status);
    world.pass(70s, world.parts(), 1s);
  }
  CHECK(count() == 3000);
  CHECK(world.events(numbered(2999), "OutOfCapacity").front()->message.find("3 not ready") != std::string::npos);
}

TEST_CASE("running on its own threads, a changed reason is told without anything else happening") {
  SystemClock clock;
  NullLog log;
  const auto store = store::memory_store(clock, log);
  Informer<api::Machine> machines(*store, clock, log);
  Informer<api::MachinePool> pools(*store, clock, log);
  Informer<api::MachineClass> classes(*store, clock, log);
  EventRecorder events(*store, {.component = "machine-scheduler"}, clock, log);
  MachineScheduler scheduler(*store, machines, pools, classes, events, {.announce_every = 200ms}, clock, log);
  REQUIRE(store::create(*store, machine("web")));
  std::jthread runner([&](std::stop_token stop) {
    run_together(stop, {[&](std::stop_token s) { machines.run(s); }, [&](std::stop_token s) { pools.run(s); },
                        [&](std::stop_token s) { classes.run(s); }, [&](std::stop_token s) { events.run(s); },
                        [&](std::stop_token s) { scheduler.run(s); }});
  });
  const auto is_told = [&](const std::string& part) {
    const auto all = store::list<api::Event>(*store).value();
    return all.size() == 1 && all.front()->message.find(part) != std::string::npos;
  };
  while (!is_told("does not exist")) std::this_thread::yield();
  REQUIRE(store::create(*store, machine_class("small")));
  while (!is_told("no machine pools")) std::this_thread::yield();
  CHECK(scheduler.bound() == 0);
}
