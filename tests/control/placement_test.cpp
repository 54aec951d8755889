// SPDX-License-Identifier: Apache-2.0
// Which pool takes which machine, and that nothing is counted twice or forgotten.
#include "ironcore/control/placement.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <map>
#include <random>
#include <set>
#include <utility>

using namespace ironcore;
using namespace ironcore::control;

namespace {

constexpr std::int64_t gibibyte = std::int64_t{1} << 30;

PoolView pool(const std::string& name, std::int64_t processors = 8, std::int64_t memory = 32 * gibibyte) {
  PoolView view;
  view.name = name;
  view.is_ready = true;
  view.cpu_milli = processors * 1000;
  view.memory_bytes = memory;
  return view;
}

Demand demand(const std::string& class_name = "small") {
  return {.class_name = class_name};
}

/// A placement that knows `small` (1 processor, 2 GiB) and `big` (4 processors, 16 GiB).
struct WithClasses : Placement {
  WithClasses() {
    set_class("small", {1000, 2 * gibibyte});
    set_class("big", {4000, 16 * gibibyte});
  }
};

Obstacle obstacle_of(const Placement& placement, const Demand& demand, const std::string& name) {
  for (const auto& verdict : placement.explain(demand))
    if (verdict.pool == name) return verdict.obstacle;
  return Obstacle::none;
}

}  // namespace

TEST_CASE("a machine goes to the pool with most room, the first by name of equals") {
  WithClasses placement;
  placement.set_pool(pool("b", 4));
  placement.set_pool(pool("c", 8));
  placement.set_pool(pool("a", 8));
  CHECK(placement.decide(demand()) == "a");
  REQUIRE(placement.assume("1", "small", "a"));
  CHECK(placement.decide(demand()) == "c");
  REQUIRE(placement.assume("2", "small", "c"));
  CHECK(placement.decide(demand()) == "a");
}

TEST_CASE("without pools, without the class, without room there is no decision, and the summary says why") {
  Placement placement;
  CHECK_FALSE(placement.decide(demand()));
  CHECK(placement.summary(demand()) == "machine class \"small\" does not exist: create it");
  placement.set_class("small", {1000, 2 * gibibyte});
  CHECK_FALSE(placement.decide(demand()));
  CHECK(placement.summary(demand()) == "no machine pools");
  placement.set_pool(pool("a", 1));
  CHECK(placement.decide(demand()) == "a");
  placement.observe("1", "small", "a");
  CHECK_FALSE(placement.decide(demand()));
  CHECK(placement.summary(demand()) == "1 pool: no room (cpu)");
  placement.remove_class("small");
  placement.remove("1");
  CHECK_FALSE(placement.decide(demand()));
}

TEST_CASE("each filter keeps a pool away, and says so") {
  WithClasses placement;
  auto view = pool("a");
  const auto expect = [&](const PoolView& changed, Obstacle expected, const Demand& asked = demand()) {
    placement.set_pool(changed);
    CHECK(obstacle_of(placement, asked, "a") == expected);
    CHECK(placement.decide(asked).has_value() == (expected == Obstacle::none));
    CHECK(placement.summary(asked) ==
          "1 pool: " + std::string(expected == Obstacle::selector ? "its " : "") + std::string(words(expected)));
    for (const auto& verdict : placement.explain(asked)) CHECK_FALSE(verdict.detail.empty());
  };
  expect(view, Obstacle::none);
  auto changed = view;
  changed.is_ready = false;
  expect(changed, Obstacle::not_ready);
  changed = view;
  changed.is_deleting = true;
  expect(changed, Obstacle::being_deleted);
  for (const auto effect : {api::TaintEffect::no_schedule, api::TaintEffect::no_execute}) {
    changed = view;
    changed.taints = {{.key = "gpu", .value = "yes", .effect = effect}};
    expect(changed, Obstacle::tainted);
    auto tolerant = demand();
    tolerant.tolerations = {{.key = "gpu", .operator_ = api::TolerationOperator::exists}};
    expect(changed, Obstacle::none, tolerant);
    tolerant.tolerations = {{.key = "gpu", .value = "no"}};
    expect(changed, Obstacle::tainted, tolerant);
    tolerant.tolerations = {{.key = "other", .operator_ = api::TolerationOperator::exists}};
    expect(changed, Obstacle::tainted, tolerant);
  }
  auto picky = demand();
  picky.selector = {{"zone", "east"}};
  expect(view, Obstacle::selector, picky);
  changed = view;
  changed.labels = {{"zone", "west"}};
  expect(changed, Obstacle::selector, picky);
  changed.labels = {{"zone", "east"}, {"rack", "7"}};
  expect(changed, Obstacle::none, picky);
  changed = view;
  changed.classes = std::vector<std::string>{};
  expect(changed, Obstacle::class_not_offered);
  changed.classes = std::vector<std::string>{"big"};
  expect(changed, Obstacle::class_not_offered);
  changed.classes = std::vector<std::string>{"big", "small"};
  expect(changed, Obstacle::none);
  changed = view;
  changed.cpu_milli.reset();
  changed.memory_bytes.reset();
  expect(changed, Obstacle::no_capacity);
  changed.class_limits = {{"small", 3}};
  expect(changed, Obstacle::none);
  changed.class_limits = {{"small", 0}};
  expect(changed, Obstacle::class_count);
  changed = view;
  changed.cpu_milli = 999;
  expect(changed, Obstacle::cpu);
  changed = view;
  changed.memory_bytes = gibibyte;
  expect(changed, Obstacle::memory);
}

TEST_CASE("one pool needs no count, and amounts are told as people read them") {
  Placement placement({"volume", Subject::Unit::byte});
  placement.set_class("fast", {.storage_bytes = 1});
  PoolView view;
  view.name = "ceph";
  view.is_ready = true;
  view.classes = std::vector<std::string>{"fast"};
  view.storage_bytes = 66806874116;
  placement.set_pool(view);
  placement.observe("uid-1", "fast", "ceph", 4831838212);
  auto asked = demand("fast");
  asked.amount = std::int64_t{16} << 40;
  CHECK(placement.explain(asked).front().detail == "storage: 62.2Gi altogether, 4.5Gi taken, the volume needs 16Ti");
  asked.amount = 1;
  CHECK(placement.explain(asked).front().detail == "room for 57.7Gi of fast");
  asked.selector = {{"zone", "east"}};
  CHECK(placement.summary(asked) == "1 pool: its labels do not match");
  view.name = "other";
  view.is_ready = false;
  placement.set_pool(view);
  CHECK(placement.summary(asked) == "2 pools: 1 not ready, 1 whose labels do not match");
}

TEST_CASE("room is the least of class count, cpu and memory, and every machine is subtracted exactly once") {
  WithClasses placement;
  auto view = pool("a", 16, 64 * gibibyte);
  view.class_limits = {{"small", 3}, {"big", 4}};
  placement.set_pool(view);
  int small = 0, big = 0;
  for (int i = 0; placement.decide(demand("small")); ++i, ++small)
    REQUIRE(placement.assume("s" + std::to_string(i), "small", "a"));
  CHECK(small == 3);  // the count; 13 processors are left
  for (int i = 0; placement.decide(demand("big")); ++i, ++big)
    REQUIRE(placement.assume("b" + std::to_string(i), "big", "a"));
  CHECK(big == 3);  // the processors: 3 + 3 × 4 = 15; memory 6 + 48 = 54
  CHECK(placement.usage("a") == Placement::Usage{6, 15000, 54 * gibibyte});
  CHECK(obstacle_of(placement, demand("big"), "a") == Obstacle::cpu);
  CHECK(obstacle_of(placement, demand("small"), "a") == Obstacle::class_count);
}

TEST_CASE("assume, observe, forget and remove count a machine once, whatever their order") {
  WithClasses placement;
  placement.set_pool(pool("a"));
  placement.set_pool(pool("b"));
  CHECK(placement.assume("1", "small", "a"));
  CHECK_FALSE(placement.assume("1", "small", "b"));
  placement.observe("1", "small", "a");
  placement.observe("1", "small", "a");
  CHECK(placement.usage("a").objects == 1);
  CHECK_FALSE(placement.forget("1"));  // the store has it: that is no assumption any more
  CHECK(placement.usage("a").objects == 1);
  placement.observe("1", "big", "b");
  CHECK(placement.usage("a") == Placement::Usage{});
  CHECK(placement.usage("b") == Placement::Usage{1, 4000, 16 * gibibyte});
  CHECK(placement.pool_of("1") == "b");
  placement.remove("1");
  placement.remove("1");
  CHECK_FALSE(placement.forget("never-seen"));
  CHECK(placement.usage("b") == Placement::Usage{});
  CHECK(placement.objects() == 0);
  CHECK(placement.assume("2", "small", "a"));
  CHECK(placement.forget("2"));
  CHECK(placement.usage("a") == Placement::Usage{});
}

TEST_CASE("a removed machine makes room at once") {
  WithClasses placement;
  placement.set_pool(pool("a", 2));
  placement.observe("1", "small", "a");
  placement.observe("2", "small", "a");
  REQUIRE_FALSE(placement.decide(demand()));
  const auto before = placement.openings();
  placement.remove("1");
  CHECK(placement.openings() > before);
  CHECK(placement.decide(demand()) == "a");
}

TEST_CASE("machines are counted on pools and of classes that are not known yet") {
  Placement placement;
  placement.observe("1", "small", "a");
  CHECK(placement.usage("a") == Placement::Usage{1, 0, 0});
  CHECK(placement.pools() == 0);
  placement.set_pool(pool("a", 2));
  placement.set_class("small", {1000, gibibyte});
  CHECK(placement.usage("a") == Placement::Usage{1, 1000, gibibyte});
  placement.assume("2", "small", *placement.decide(demand()));
  CHECK_FALSE(placement.decide(demand()));
  placement.remove_pool("a");
  CHECK(placement.pools() == 0);
  CHECK(placement.summary(demand()) == "no machine pools");
  placement.set_pool(pool("a", 3));
  CHECK(placement.decide(demand()) == "a");
  CHECK(placement.usage("a").objects == 2);
}

TEST_CASE("a pool that is full beyond its capacity takes nothing until it is below it") {
  WithClasses placement;
  placement.set_pool(pool("a", 1));
  for (const auto* uid : {"1", "2", "3"}) placement.observe(uid, "small", "a");  // bound by hand
  CHECK_FALSE(placement.decide(demand()));
  placement.remove("1");
  placement.remove("2");
  CHECK_FALSE(placement.decide(demand()));
  placement.remove("3");
  CHECK(placement.decide(demand()) == "a");
}

TEST_CASE("fifty machines spread evenly over two pools of fifty") {
  WithClasses placement;
  for (const auto* name : {"a", "b"}) placement.set_pool(pool(name, 50, 500 * gibibyte));
  std::map<std::string, int> counts;
  for (int i = 0; i < 50; ++i) {
    const auto where = placement.decide(demand());
    REQUIRE(where);
    placement.assume(std::to_string(i), "small", *where);
    ++counts[*where];
  }
  CHECK(counts["a"] == 25);
  CHECK(counts["b"] == 25);
}

TEST_CASE("demands that differ have different texts, equal ones the same") {
  std::set<std::string> texts;
  Demand plain = demand("small");
  texts.insert(plain.text());
  CHECK(demand("small").text() == plain.text());
  texts.insert(demand("small1:x").text());
  Demand selective = plain;
  selective.selector = {{"a", "b"}};
  texts.insert(selective.text());
  selective.selector = {{"a", "b1:c"}};
  texts.insert(selective.text());
  selective.selector = {{"ab", ""}};
  texts.insert(selective.text());
  Demand tolerant = plain;
  tolerant.tolerations = {{.key = "a"}};
  texts.insert(tolerant.text());
  tolerant.tolerations = {{.key = "a", .operator_ = api::TolerationOperator::exists}};
  texts.insert(tolerant.text());
  tolerant.tolerations = {{.key = "a", .effect = api::TaintEffect::no_execute}};
  texts.insert(tolerant.text());
  CHECK(texts.size() == 8);
}

TEST_CASE("a pool's object becomes a view: readiness, deletion, taints, amounts and counts") {
  api::MachinePool object;
  object.metadata.name = "host-1";
  object.metadata.labels = {{"zone", "east"}};
  CHECK_FALSE(view_of(object).is_ready);
  object.status.conditions = {{.type = "Ready", .status = api::ConditionStatus::unknown}};
  CHECK_FALSE(view_of(object).is_ready);
  object.status.conditions = {{.type = "Ready", .status = api::ConditionStatus::true_}};
  object.status.available_machine_classes = {{.name = "small"}};
  object.status.allocatable = {
      {"cpu", Quantity::milli(7500)}, {"memory", Quantity::bytes(gibibyte)}, {"class/machine.small", Quantity(3)}};
  object.status.capacity = {{"cpu", Quantity(64)}};
  const auto view = view_of(object);
  CHECK(view.is_ready);
  CHECK_FALSE(view.is_deleting);
  CHECK(view.labels == object.metadata.labels);
  CHECK(view.classes == std::vector<std::string>{"small"});
  CHECK(view.cpu_milli == 7500);
  CHECK(view.memory_bytes == gibibyte);
  CHECK(view.class_limits == std::map<std::string, std::int64_t>{{"small", 3}});
}

namespace {

/// What Placement should answer, by looking at every pool every time.
struct Naive {
  std::map<std::string, PoolView> pools;
  std::map<std::string, ClassSize> classes;
  struct Placed {
    std::string class_name, pool;
    std::int64_t amount;
  };
  std::map<std::string, Placed> placed;  // by uid

  std::int64_t room(const PoolView& view, const Demand& asked) const {
    if (!view.is_ready || view.is_deleting) return 0;
    if (!api::are_tolerated(view.taints, asked.tolerations)) return 0;
    for (const auto& [key, value] : asked.selector)
      if (!view.labels.contains(key) || view.labels.at(key) != value) return 0;
    if (view.classes && std::find(view.classes->begin(), view.classes->end(), asked.class_name) == view.classes->end())
      return 0;
    std::int64_t cpu = 0, memory = 0, storage = 0, of_class = 0;
    for (const auto& [uid, there] : placed) {
      if (there.pool != view.name) continue;
      cpu += there.amount * classes.at(there.class_name).cpu_milli;
      memory += there.amount * classes.at(there.class_name).memory_bytes;
      storage += there.amount * classes.at(there.class_name).storage_bytes;
      of_class += there.class_name == asked.class_name ? there.amount : 0;
    }
    const auto& size = classes.at(asked.class_name);
    std::int64_t result = INT64_MAX;
    if (view.class_limits.contains(asked.class_name))
      result = std::min(result, view.class_limits.at(asked.class_name) - of_class);
    const auto limit = [&](const std::optional<std::int64_t>& all, std::int64_t used, std::int64_t each) {
      if (all && each > 0) result = std::min(result, (*all - used) / each);
    };
    limit(view.cpu_milli, cpu, size.cpu_milli);
    limit(view.memory_bytes, memory, size.memory_bytes);
    limit(view.storage_bytes, storage, size.storage_bytes);
    return result == INT64_MAX ? 0 : std::max<std::int64_t>(result, 0);
  }
  std::optional<std::string> decide(const Demand& asked) const {
    std::optional<std::string> best;
    std::int64_t most = 0;
    for (const auto& [name, view] : pools) {
      const auto units = room(view, asked);
      if (units >= asked.amount && units > most) best = name, most = units;
    }
    return best;
  }
};

}  // namespace

TEST_CASE("the heaps give the same answers as looking at every pool every time") {
  for (unsigned seed = 1; seed <= 30; ++seed) {
    CAPTURE(seed);
    std::mt19937 random(seed);
    const auto pick = [&](int bound) { return static_cast<int>(random() % static_cast<unsigned>(bound)); };
    const bool is_in_bytes = seed % 3 == 0;  // volumes instead of machines
    Naive naive;
    Placement placement(is_in_bytes ? Subject{"volume", Subject::Unit::byte} : Subject{});
    const std::vector<std::string> classes{"small", "big", "odd"};
    for (std::size_t i = 0; i < classes.size(); ++i) {
      const ClassSize size = is_in_bytes ? ClassSize{.storage_bytes = 1}
                                         : ClassSize{.cpu_milli = static_cast<std::int64_t>(500 * (i * i + 1)),
                                                     .memory_bytes = static_cast<std::int64_t>((i + 1)) * gibibyte};
      naive.classes[classes[i]] = size;
      placement.set_class(classes[i], size);
    }
    const bool is_wide = seed % 2 == 0;  // more pools than are looked at one by one
    const int names = is_wide ? 200 : 12;
    const auto random_pool = [&] {
      PoolView view = pool("pool-" + std::to_string(pick(names)), pick(12), pick(24) * gibibyte);
      view.is_ready = pick(8) != 0;
      view.is_deleting = pick(20) == 0;
      view.labels = {{"zone", pick(2) == 0 ? "east" : "west"}, {"rack", std::to_string(pick(3))}};
      if (pick(4) == 0)
        view.taints = {
            {.key = "t", .effect = pick(2) == 0 ? api::TaintEffect::no_schedule : api::TaintEffect::no_execute}};
      if (pick(3) == 0) view.cpu_milli.reset();
      if (pick(3) == 0) view.memory_bytes.reset();
      if (pick(3) != 0) view.storage_bytes = pick(30);
      if (pick(3) == 0) view.class_limits[classes[static_cast<std::size_t>(pick(3))]] = pick(5);
      if (pick(4) == 0) view.classes = std::vector<std::string>{classes[static_cast<std::size_t>(pick(3))]};
      return view;
    };
    std::vector<std::string> uids;
    int next_uid = 0;
    for (int i = 0; i < 1500; ++i) {
      switch (pick(10)) {
        case 0:
        case 1: {
          auto view = random_pool();
          naive.pools[view.name] = view;
          placement.set_pool(std::move(view));
          break;
        }
        case 2: {
          const auto name = "pool-" + std::to_string(pick(names));
          if (pick(4) == 0) {
            naive.pools.erase(name);
            placement.remove_pool(name);
          }
          break;
        }
        case 3:
        case 4: {
          if (naive.placed.empty()) break;
          auto victim = std::next(naive.placed.begin(), pick(static_cast<int>(naive.placed.size())));
          placement.remove(victim->first);
          naive.placed.erase(victim);
          break;
        }
        default: {
          Demand asked = demand(classes[static_cast<std::size_t>(pick(3))]);
          if (pick(2) == 0) asked.selector["zone"] = pick(2) == 0 ? "east" : "west";
          if (pick(4) == 0) asked.selector["rack"] = std::to_string(pick(4));
          if (pick(3) == 0) asked.tolerations = {{.key = "t", .operator_ = api::TolerationOperator::exists}};
          if (is_in_bytes) asked.amount = 1 + pick(5);
          const auto expected = naive.decide(asked);
          const auto decided = placement.decide(asked);
          REQUIRE(decided == expected);
          const auto uid = std::to_string(next_uid++);
          if (decided) {
            placement.assume(uid, asked.class_name, *decided, asked.amount);
            naive.placed[uid] = {asked.class_name, *decided, asked.amount};
          }
        }
      }
    }
    // All rooms, too.
    const auto asked = demand("odd");
    for (const auto& verdict : placement.explain(asked))
      CHECK(verdict.room == naive.room(naive.pools.at(verdict.pool), asked));
  }
}

TEST_CASE("a pool that publishes amounts says which classes it offers, also when it names none") {
  api::MachinePool object;
  object.metadata.name = "host-1";
  CHECK_FALSE(view_of(object).classes);
  object.status.allocatable = {{"class/machine.small", Quantity(3)}};
  CHECK_FALSE(view_of(object).classes);
  object.status.allocatable["cpu"] = Quantity(4);
  CHECK(view_of(object).classes == std::vector<std::string>{});
  object.status.available_machine_classes = {{.name = "small"}};
  CHECK(view_of(object).classes == std::vector<std::string>{"small"});
}

TEST_CASE("part of a processor counts as a whole one, as the guest gets it") {
  api::MachineClass tiny;
  tiny.capabilities = {{"cpu", Quantity::milli(100)}, {"memory", Quantity::bytes(gibibyte)}};
  CHECK(size_of(tiny) == ClassSize{1000, gibibyte});
  tiny.capabilities["cpu"] = Quantity::milli(2001);
  CHECK(size_of(tiny).cpu_milli == 3000);
  tiny.capabilities["cpu"] = Quantity(INT64_MAX);
  CHECK(size_of(tiny).cpu_milli > 0);
}

TEST_CASE("sums that no 64 bits hold make a pool full, not empty") {
  WithClasses placement;
  placement.set_class("vast", {INT64_MAX / 1000 * 1000, std::int64_t{6} << 60});
  placement.set_pool(pool("a", 1));
  for (const auto* uid : {"1", "2", "3"}) placement.observe(uid, "vast", "a");  // bound by hand
  CHECK_FALSE(placement.decide(demand()));
  CHECK(placement.usage("a").memory_bytes == INT64_MAX);
  CHECK(obstacle_of(placement, demand(), "a") == Obstacle::cpu);
  placement.set_class("vast", {1000, std::int64_t{7} << 60});
  placement.set_class("vast", {0, 0});
  CHECK(placement.usage("a") == Placement::Usage{3, 0, 0});
  CHECK(placement.decide(demand()) == "a");
}

TEST_CASE("only what may help counts as an opening") {
  WithClasses placement;
  auto view = pool("a");
  placement.set_pool(view);
  auto seen = placement.openings();
  const auto has_opened = [&](const PoolView& changed) {
    placement.set_pool(changed);
    return std::exchange(seen, placement.openings()) != seen;
  };
  auto worse = view;
  worse.cpu_milli = 1000;
  CHECK_FALSE(has_opened(worse));
  worse.taints = {{.key = "t"}};
  CHECK_FALSE(has_opened(worse));
  worse.classes = std::vector<std::string>{"big"};
  CHECK_FALSE(has_opened(worse));
  worse.is_ready = false;
  CHECK_FALSE(has_opened(worse));
  CHECK_FALSE(placement.decide(demand("big")));
  CHECK(has_opened(view));
  CHECK(placement.decide(demand("big")) == "a");
  auto labelled = view;
  labelled.labels = {{"zone", "east"}};
  CHECK(has_opened(labelled));
  CHECK_FALSE(has_opened(view));
  auto unlimited = view;
  unlimited.cpu_milli.reset();
  CHECK(has_opened(unlimited));
}

TEST_CASE("names that come and go leave no trace in the answers") {
  WithClasses placement;
  placement.set_pool(pool("m", 4));
  for (int i = 0; i < 300; ++i) {
    const auto name = (i % 2 == 0 ? "a" : "z") + std::to_string(i);
    const auto machine_class = "class-" + std::to_string(i);
    placement.set_class(machine_class, {1000, gibibyte});
    placement.set_pool(pool(name, 8));
    CHECK(placement.decide(demand()) == name);
    CHECK(placement.decide(demand(machine_class)) == name);
    placement.observe("u", machine_class, name);
    CHECK(placement.usage(name).objects == 1);
    placement.remove_pool(name);
    CHECK(placement.usage(name).objects == 1);
    placement.remove("u");
    placement.remove_class(machine_class);
    CHECK(placement.usage(name) == Placement::Usage{});
    CHECK_FALSE(placement.decide(demand(machine_class)));
    CHECK(placement.decide(demand()) == "m");
    CHECK(placement.pools() == 1);
  }
}
