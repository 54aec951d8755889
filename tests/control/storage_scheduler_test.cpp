// SPDX-License-Identifier: Apache-2.0
// Volumes and buckets get pools: what they share with machines, and how storage is counted.
#include <doctest/doctest.h>

#include "scheduling_world.hpp"

using namespace ironcore;
using namespace ironcore::control;
using namespace ironcore::control::test;

namespace {

/// Bytes for each class, and for all together under `storage`.
api::ResourceList storage(std::map<std::string, std::int64_t> gibibytes) {
  api::ResourceList resources;
  for (const auto& [name, amount] : gibibytes)
    resources[name == "storage" ? name : "class/volume." + name] = Quantity::bytes(amount * gibibyte);
  return resources;
}

void offer(api::VolumePool& pool, const std::vector<std::string>& classes) {
  pool.status.available_volume_classes.clear();
  for (const auto& name : classes) pool.status.available_volume_classes.push_back({.name = name});
  if (pool.status.allocatable.empty()) pool.status.allocatable = storage({{"fast", 100}, {"slow", 100}});
}
void offer(api::BucketPool& pool, const std::vector<std::string>& classes) {
  pool.status.available_bucket_classes.clear();
  for (const auto& name : classes) pool.status.available_bucket_classes.push_back({.name = name});
}

api::Volume of_class(const std::string& name, const api::Volume*) {
  return volume(name, "fast");
}
api::Bucket of_class(const std::string& name, const api::Bucket*) {
  return bucket(name, "fast");
}
std::map<std::string, std::string>& selector_of(api::Volume& object) {
  return object.spec.volume_pool_selector;
}
std::map<std::string, std::string>& selector_of(api::Bucket& object) {
  return object.spec.bucket_pool_selector;
}

template <class T>
struct Storage : SchedulingOf<T> {
  using Pool = typename PlacedKind<T>::Pool;
  using Class = typename PlacedKind<T>::Class;

  Storage() {
    for (const auto* name : {"fast", "slow"}) create_class(name);
  }
  void create_class(const std::string& name) {
    Class made;
    made.metadata.name = name;
    made.capabilities = {{"tps", Quantity(1)}, {"iops", Quantity(1)}};
    this->create(std::move(made));
  }
  /// Ready, and offering both classes.
  void create_pool(const std::string& name, std::map<std::string, std::string> labels = {},
                   std::vector<api::Taint> taints = {}) {
    Pool pool;
    pool.metadata.name = name;
    pool.metadata.labels = std::move(labels);
    pool.spec.taints = std::move(taints);
    this->create(std::move(pool));
    set_ready(name, api::ConditionStatus::true_);
    change_status(name, [](Pool& made) { offer(made, {"fast", "slow"}); });
  }
  void change_status(const std::string& name, const std::function<void(Pool&)>& edit) {
    this->template change<Pool>(name, edit, store::Part::status);
  }
  void set_ready(const std::string& name, std::optional<api::ConditionStatus> status) {
    change_status(name, [&](Pool& pool) {
      pool.status.conditions.clear();
      if (status) pool.status.conditions = {{.type = "Ready", .status = *status, .reason = "Test"}};
    });
  }
  T wanted(const std::string& name) { return of_class(name, static_cast<const T*>(nullptr)); }
  std::string placed_on(const std::string& name) {
    const auto found = this->template get<T>(name, "default");
    REQUIRE(found);
    const auto* pool = PlacedKind<T>::pool_of(*found);
    return pool == nullptr ? "" : *pool;
  }
};

/// The same words for all that is placed.
template <class T>
struct Waiting : Storage<T> {
  void create_wanted(const std::string& name, const std::string& class_name = "fast", const std::string& pool = "") {
    auto made = this->wanted(name);
    if constexpr (std::is_same_v<T, api::Volume>) {
      made.spec.volume_class_ref->name = class_name;
      if (!pool.empty()) made.spec.volume_pool_ref = api::LocalReference{.name = pool};
    } else {
      made.spec.bucket_class_ref->name = class_name;
      if (!pool.empty()) made.spec.bucket_pool_ref = api::LocalReference{.name = pool};
    }
    this->create(std::move(made));
  }
  void create_ready_pool(const std::string& name) { this->create_pool(name); }
};
template <>
struct Waiting<api::Machine> : SchedulingOf<api::Machine> {
  Waiting() { create(machine_class("fast")); }
  void create_wanted(const std::string& name, const std::string& class_name = "fast", const std::string& pool = "") {
    auto made = machine(name, class_name);
    if (!pool.empty()) made.spec.machine_pool_ref = api::LocalReference{.name = pool};
    create(std::move(made));
  }
  void create_ready_pool(const std::string& name) {
    create_pool(name, room_for(8));
    change<api::MachinePool>(
        name, [](api::MachinePool& pool) { pool.status.available_machine_classes = {{.name = "fast"}}; },
        store::Part::status);
  }
};

}  // namespace

TEST_CASE_TEMPLATE("an object of storage is bound to a pool, also to one that comes later", T, api::Volume,
                   api::Bucket) {
  Storage<T> world;
  world.create(world.wanted("data"));
  world.run_to_rest();
  CHECK(world.placed_on("data").empty());
  CHECK(world.scheduler.waiting() == 1);
  world.create_pool("ceph");
  world.run_to_rest();
  CHECK(world.placed_on("data") == "ceph");
  CHECK(world.scheduler.waiting() == 0);
  CHECK(world.scheduler.bound() == 1);
  CHECK(world.scheduler.usage("ceph").objects == 1);
}

TEST_CASE_TEMPLATE("labels and taints of a pool of storage count as those of machines do", T, api::Volume,
                   api::Bucket) {
  Storage<T> world;
  world.create_pool("east", {{"zone", "east"}}, {{.key = "old", .effect = api::TaintEffect::no_execute}});
  world.create_pool("west", {{"zone", "west"}});
  auto in_east = world.wanted("in-east");
  selector_of(in_east) = {{"zone", "east"}};
  auto tolerant = in_east;
  tolerant.metadata.name = "tolerant";
  tolerant.spec.tolerations = {{.key = "old", .operator_ = api::TolerationOperator::exists}};
  world.create(in_east);
  world.create(tolerant);
  world.create(world.wanted("anywhere"));
  world.run_to_rest();
  CHECK(world.placed_on("in-east").empty());
  CHECK(world.placed_on("tolerant") == "east");
  CHECK(world.placed_on("anywhere") == "west");
  world.template change<typename Storage<T>::Pool>("east", [](auto& pool) { pool.spec.taints.clear(); });
  world.run_to_rest();
  CHECK(world.placed_on("in-east") == "east");
}

TEST_CASE_TEMPLATE("a pool of storage that is not ready, being deleted or without the class is no choice", T,
                   api::Volume, api::Bucket) {
  using Pool = typename PlacedKind<T>::Pool;
  Storage<T> world;
  world.create_pool("ceph");
  world.create(world.wanted("data"));
  for (const auto status : {std::optional<api::ConditionStatus>(), std::optional(api::ConditionStatus::false_),
                            std::optional(api::ConditionStatus::unknown)}) {
    world.set_ready("ceph", status);
    world.run_to_rest();
    CHECK(world.placed_on("data").empty());
  }
  world.change_status("ceph", [](Pool& pool) { offer(pool, {"slow"}); });
  world.set_ready("ceph", api::ConditionStatus::true_);
  world.run_to_rest();
  CHECK(world.placed_on("data").empty());
  CHECK(explain_placement<T>(world.store, "default", "data").value().summary == "1 pool: class not offered");
  world.create_pool("leaving");
  world.template change<Pool>("leaving", [](Pool& pool) { pool.metadata.finalizers = {"example.org/keep"}; });
  world.template remove<Pool>("leaving");
  world.run_to_rest();
  CHECK(world.placed_on("data").empty());
  world.change_status("ceph", [](Pool& pool) { offer(pool, {"fast"}); });
  world.run_to_rest();
  CHECK(world.placed_on("data") == "ceph");
}

TEST_CASE_TEMPLATE("what has no class or a pool already is left alone", T, api::Volume, api::Bucket) {
  Storage<T> world;
  T classless;
  classless.metadata.namespace_ = "default";
  classless.metadata.name = "classless";
  world.create(classless);
  world.create_pool("ceph");
  world.run_to_rest();
  CHECK(world.placed_on("classless").empty());
  CHECK(world.scheduler.waiting() == 0);
  CHECK(explain_placement<T>(world.store, "default", "classless").error().code() == ErrorCode::wrong_state);
  auto by_hand = world.wanted("by-hand");
  if constexpr (std::same_as<T, api::Volume>)
    by_hand.spec.volume_pool_ref = {.name = "ceph"};
  else
    by_hand.spec.bucket_pool_ref = {.name = "ceph"};
  world.create(by_hand);
  world.run_to_rest();
  CHECK(world.scheduler.bound() == 0);
  CHECK(world.scheduler.usage("ceph").objects == 1);
  world.template remove<T>("by-hand");
  world.template remove<T>("classless");
  world.run_to_rest();
  CHECK(world.scheduler.usage("ceph").objects == 0);
}

TEST_CASE_TEMPLATE("fifty objects of storage spread evenly over two pools", T, api::Volume, api::Bucket) {
  Storage<T> world;
  world.create_pool("ceph-1");
  world.create_pool("ceph-2");
  for (int i = 0; i < 50; ++i) world.create(world.wanted("data-" + std::to_string(i)));
  world.run_to_rest();
  CHECK(world.scheduler.usage("ceph-1").objects == 25);
  CHECK(world.scheduler.usage("ceph-2").objects == 25);
}

TEST_CASE_TEMPLATE("who waits for a pool says why in a condition, which is true once it is placed", T, api::Machine,
                   api::Volume, api::Bucket) {
  Waiting<T> world;
  const std::string word(PlacedKind<T>::subject.word);
  world.create_wanted("data");
  world.create_wanted("strange", "unknown");
  world.run_to_rest();
  const auto told = world.template condition_of<T>("data", scheduled_condition);
  CHECK(told.status == api::ConditionStatus::false_);
  CHECK(told.reason == PlacedKind<T>::no_room_reason);
  CHECK(told.message == "no " + word + " pool can take it now: no " + word + " pools");
  CHECK(world.template condition_of<T>("strange", scheduled_condition).message ==
        "no " + word + " pool can take it now: " + word + " class \"unknown\" does not exist: create it");
  for (const auto* name : {"data", "strange"})
    CHECK(world.events(name, std::string(PlacedKind<T>::no_room_reason)).size() == 1);
  // At rest nothing is written, and nothing is told twice.
  const auto revision = world.real->revision().value();
  world.pass(5min, world.parts(), 5s);
  CHECK(world.real->revision().value() == revision);
  // What changes without anything to do with it changes nothing.
  world.template change<T>("data", [](T& object) { object.metadata.labels["a"] = "b"; });
  world.pass(5min, world.parts(), 5s);
  CHECK(world.real->revision().value().value == revision.value + 1);
  world.create_ready_pool("ceph");
  world.run_to_rest();
  const auto placed = world.template condition_of<T>("data", scheduled_condition);
  CHECK(placed.status == api::ConditionStatus::true_);
  CHECK(placed.message == "placed on " + word + " pool ceph");
  CHECK(world.template condition_of<T>("strange", scheduled_condition).status == api::ConditionStatus::false_);
  // Who need not wait has none: a placement is one write.
  const auto before = world.real->revision().value();
  world.create_wanted("fast-one");
  world.run_to_rest();
  CHECK(world.real->revision().value().value == before.value + 2);
  CHECK(world.template get<T>("fast-one", "default")->status.conditions.empty());
}

TEST_CASE_TEMPLATE("who waits hears of pools that come and go within seconds, and not of each", T, api::Machine,
                   api::Volume, api::Bucket) {
  using Pool = typename PlacedKind<T>::Pool;
  Waiting<T> world;
  const std::string no_room(PlacedKind<T>::no_room_reason);
  const auto said = [&] { return world.template condition_of<T>("data", scheduled_condition).message; };
  const auto create_idle = [&](const std::string& name) {
    Pool pool;
    pool.metadata.name = name;
    world.create(std::move(pool));
  };
  const auto prefix = "no " + std::string(PlacedKind<T>::subject.word) + " pool can take it now: ";
  world.create_wanted("data");
  world.run_to_rest();
  REQUIRE(said() == prefix + "no " + std::string(PlacedKind<T>::subject.word) + " pools");
  create_idle("one");
  world.pass(2s, world.parts());
  CHECK(said() == prefix + "1 pool: not ready");
  create_idle("two");
  world.pass(2s, world.parts());
  CHECK(said() == prefix + "2 pools: 2 not ready");
  const auto before = world.events("data", no_room).front()->count;
  for (int i = 0; i < 20; ++i) {
    create_idle("hasty");
    world.pass(100ms, world.parts(), 100ms);
    world.template remove<Pool>("hasty");
    world.pass(100ms, world.parts(), 100ms);
  }
  world.pass(2s, world.parts());
  CHECK(said() == prefix + "2 pools: 2 not ready");
  CHECK(world.events("data", no_room).front()->count <= before + 6);
}

TEST_CASE_TEMPLATE("with a class that is being deleted nothing more is placed", T, api::Machine, api::Volume,
                   api::Bucket) {
  using Class = typename PlacedKind<T>::Class;
  Waiting<T> world;
  const std::string word(PlacedKind<T>::subject.word);
  world.create_ready_pool("pool");
  world.create_wanted("old");
  world.run_to_rest();
  world.template change<Class>("fast", [](Class& of) { of.metadata.finalizers = {"example.org/in-use"}; });
  world.template remove<Class>("fast");
  REQUIRE(world.template get<Class>("fast")->metadata.deletion_timestamp);
  world.run_to_rest();
  world.create_wanted("new");
  world.run_to_rest();
  CHECK(world.scheduler.waiting() == 1);
  CHECK(world.scheduler.usage("pool").objects == 1);
  CHECK(world.template condition_of<T>("new", scheduled_condition).message ==
        "no " + word + " pool can take it now: " + word + " class \"fast\" is being deleted: use another one");
  const auto why = explain_placement<T>(world.store, "default", "new").value();
  CHECK(why.pools.front().obstacle == Obstacle::class_leaving);
  CHECK(why.pools.front().detail == word + " class fast is being deleted: use another one");
  const auto made = world.template get<Class>("fast");
  // It goes, and comes back.
  world.template change<Class>("fast", [](Class& of) { of.metadata.finalizers.clear(); });
  world.run_to_rest();
  REQUIRE_FALSE(world.template get<Class>("fast"));
  Class again;
  again.metadata.name = "fast";
  again.capabilities = made->capabilities;
  world.create(std::move(again));
  world.run_to_rest();
  CHECK(world.scheduler.waiting() == 0);
  CHECK(world.scheduler.usage("pool").objects == 2);
}

TEST_CASE_TEMPLATE("a pool that is named by hand and does not exist is told, until it does", T, api::Machine,
                   api::Volume, api::Bucket) {
  Waiting<T> world;
  const std::string word(PlacedKind<T>::subject.word);
  const auto reason = std::string(T::info.kind) + "PoolNotFound";
  world.create_wanted("data", "fast", "nopool");
  world.run_to_rest();
  const auto told = world.template condition_of<T>("data", scheduled_condition);
  CHECK(told.status == api::ConditionStatus::false_);
  CHECK(told.reason == reason);
  CHECK(told.message.find(word + " pool nopool does not exist: ") == 0);
  CHECK(world.events("data", reason).size() == 1);
  const auto revision = world.real->revision().value();
  world.pass(5min, world.parts(), 5s);
  CHECK(world.real->revision().value() == revision);
  // Another scheduler finds it said.
  world.scheduler.deactivate();
  world.scheduler.activate();
  world.pass(1min, world.parts(), 5s);
  CHECK(world.real->revision().value() == revision);
  world.create_ready_pool("nopool");
  world.run_to_rest();
  CHECK(world.template condition_of<T>("data", scheduled_condition).status == api::ConditionStatus::true_);
  // It goes: what is on it says so again.
  world.template remove<typename PlacedKind<T>::Pool>("nopool");
  world.run_to_rest();
  CHECK(world.template condition_of<T>("data", scheduled_condition).reason == reason);
  CHECK(world.scheduler.bound() == 0);
}

TEST_CASE("a condition that cannot be written now is written later, and holds up nobody") {
  Storage<api::Volume> world;
  for (const auto code : {ErrorCode::conflict, ErrorCode::timeout, ErrorCode::unavailable}) {
    CAPTURE(name(code));
    const auto object = "data-" + std::string(name(code));
    const bool is_done = code == ErrorCode::timeout;
    int failed = 0;
    world.store.set_faults(
        [&](FaultyStore::Call call, const store::Transaction* transaction) -> std::optional<FaultyStore::Fault> {
          if (call != FaultyStore::Call::commit || failed >= 3) return std::nullopt;
          const auto* patch = std::get_if<store::Patch>(&transaction->operations.front());
          if (patch == nullptr || patch->merge_patch.find("Scheduled") == std::string::npos) return std::nullopt;
          ++failed;
          return FaultyStore::Fault{Error(code, "test"),
                                    is_done ? FaultyStore::Fault::When::after : FaultyStore::Fault::When::before};
        });
    world.create(volume(object, "fast"));
    world.pass(10s, world.parts());
    CHECK(failed == (is_done ? 1 : 3));
    CHECK(world.condition_of<api::Volume>(object, scheduled_condition).status == api::ConditionStatus::false_);
    world.store.set_faults({});  // they use what ends here
  }
  world.create_pool("ceph");
  world.run_to_rest();
  CHECK(world.scheduler.bound() == 3);
}

TEST_CASE("a bucket that no pool takes is told so") {
  Storage<api::Bucket> world;
  world.create(bucket("pictures", "fast"));
  world.create(bucket("strange", "unknown"));
  world.create_pool("rgw", {}, {{.key = "closed"}});
  world.run_to_rest();
  REQUIRE(world.events("pictures", "CannotSchedule").size() == 1);
  CHECK(world.events("pictures", "CannotSchedule").front()->message ==
        "no bucket pool can take it now: 1 pool: taint not tolerated");
  CHECK(world.events("strange", "CannotSchedule").front()->message ==
        "no bucket pool can take it now: bucket class \"unknown\" does not exist: create it");
  world.template change<api::BucketPool>("rgw", [](auto& pool) { pool.spec.taints.clear(); });
  world.run_to_rest();
  CHECK(world.placed_on("pictures") == "rgw");
  const auto why = explain_placement<api::Bucket>(world.store, "default", "pictures").value();
  CHECK(why.pools.front().detail == "it has 0 buckets");
}

TEST_CASE("the pool with most room for the class wins, whatever it has for others") {
  Storage<api::Volume> world;
  for (const auto& [name, gibibytes] : std::map<std::string, std::int64_t>{{"a", 3}, {"b", 9}, {"c", 6}}) {
    world.create_pool(name);
    world.change_status(name, [&](api::VolumePool& pool) {
      pool.status.allocatable = storage({{"fast", gibibytes}, {"slow", 100 - gibibytes}});
    });
  }
  world.create(volume("data", "fast"));
  world.create(volume("archive", "slow"));
  world.run_to_rest();
  CHECK(world.placed_on("data") == "b");
  CHECK(world.placed_on("archive") == "a");
}

TEST_CASE("a pool is filled up to what it has for the class and for all, each volume counted once") {
  Storage<api::Volume> world;
  world.create_pool("ceph");
  world.change_status("ceph", [](api::VolumePool& pool) {
    pool.status.allocatable = storage({{"fast", 8}, {"slow", 8}, {"storage", 10}});
  });
  for (int i = 0; i < 10; ++i) world.create(volume("fast-" + std::to_string(i), "fast"));
  world.run_to_rest();
  CHECK(world.scheduler.usage("ceph").objects == 8);
  CHECK(world.scheduler.usage("ceph").storage_bytes == 8 * gibibyte);
  world.clock.advance(1s);
  for (int i = 0; i < 4; ++i) world.create(volume("slow-" + std::to_string(i), "slow"));
  world.run_to_rest();
  CHECK(world.scheduler.usage("ceph").objects == 10);
  CHECK(world.scheduler.waiting() == 4);
  CHECK(explain_placement<api::Volume>(world.store, "default", "slow-3").value().pools.front().detail ==
        "storage: 10Gi altogether, 10Gi taken, the volume needs 1Gi");
  // What goes makes room for the oldest that it helps.
  world.remove<api::Volume>("slow-0");
  world.run_to_rest();
  CHECK(world.scheduler.usage("ceph").objects == 10);
  CHECK(world.scheduler.waiting() == 3);
}

TEST_CASE("a large volume waits until there is room, and small ones of its class pass by") {
  Storage<api::Volume> world;
  world.create_pool("ceph");
  world.change_status("ceph", [](api::VolumePool& pool) { pool.status.allocatable = storage({{"fast", 10}}); });
  world.create(volume("large", "fast", 11 * gibibyte));
  world.clock.advance(1s);
  for (int i = 0; i < 3; ++i) world.create(volume("small-" + std::to_string(i), "fast", 2 * gibibyte));
  world.run_to_rest();
  CHECK(world.placed_on("large").empty());
  CHECK(world.scheduler.usage("ceph") == Placement::Usage{.objects = 3, .storage_bytes = 6 * gibibyte});
  const auto why = explain_placement<api::Volume>(world.store, "default", "large").value();
  CHECK(why.summary == "1 pool: no room (storage of the class)");
  CHECK(why.pools.front().detail == "storage of class fast: 10Gi altogether, 6Gi taken, the volume needs 11Gi");
  CHECK(why.pools.front().room == 4 * gibibyte);
  CHECK(world.events("large", "OutOfCapacity").front()->message ==
        "no volume pool can take it now: 1 pool: no room (storage of the class)");
  world.change_status("ceph", [](api::VolumePool& pool) { pool.status.allocatable = storage({{"fast", 17}}); });
  world.run_to_rest();
  CHECK(world.placed_on("large") == "ceph");
}

TEST_CASE("a volume takes what it has, not what it wishes to grow to, and gives all of it back") {
  Storage<api::Volume> world;
  world.change<api::VolumeClass>("fast", [](api::VolumeClass& c) { c.resize_policy = api::ResizePolicy::expand_only; });
  world.create_pool("ceph");
  world.change_status("ceph", [](api::VolumePool& pool) { pool.status.allocatable = storage({{"fast", 10}}); });
  world.create(volume("data", "fast", 2 * gibibyte));
  world.run_to_rest();
  world.change<api::Volume>("data",
                            [](api::Volume& v) { v.spec.resources["storage"] = Quantity::bytes(9 * gibibyte); });
  CHECK(world.scheduler.usage("ceph").storage_bytes == 2 * gibibyte);
  const auto has = [&](std::int64_t size) {
    world.change<api::Volume>(
        "data", [&](api::Volume& v) { v.status.resources["storage"] = Quantity::bytes(size); }, store::Part::status);
  };
  has(2 * gibibyte);
  world.change<api::Volume>("data", [](api::Volume& v) { v.spec.resources["storage"] = Quantity::bytes(INT64_MAX); });
  world.create(volume("small", "fast", gibibyte));
  world.run_to_rest();
  CHECK(world.scheduler.usage("ceph").storage_bytes == 3 * gibibyte);
  CHECK(world.placed_on("small") == "ceph");
  has(8 * gibibyte);
  world.create(volume("other", "fast", 2 * gibibyte));
  world.run_to_rest();
  CHECK(world.scheduler.usage("ceph").storage_bytes == 9 * gibibyte);
  CHECK(world.placed_on("other").empty());
  world.remove<api::Volume>("data");
  world.run_to_rest();
  CHECK(world.placed_on("other") == "ceph");
  CHECK(world.scheduler.usage("ceph").storage_bytes == 3 * gibibyte);
}

TEST_CASE("a volume that asks for something else while it waits is asked anew") {
  Storage<api::Volume> world;
  world.change<api::VolumeClass>("fast", [](api::VolumeClass& c) { c.resize_policy = api::ResizePolicy::expand_only; });
  world.create_pool("ceph");
  world.change_status("ceph", [](api::VolumePool& pool) { pool.status.allocatable = storage({{"fast", 1}}); });
  world.create_pool("west", {{"zone", "west"}});
  world.change_status("west", [](api::VolumePool& pool) { pool.status.allocatable = storage({{"fast", 4}}); });
  auto data = volume("data", "fast", 2 * gibibyte);
  data.spec.volume_pool_selector = {{"zone", "east"}};
  world.create(data);
  world.run_to_rest();
  CHECK(world.placed_on("data").empty());
  world.change<api::Volume>("data", [](api::Volume& v) { v.spec.volume_pool_selector.clear(); });
  world.run_to_rest();
  CHECK(world.placed_on("data") == "west");
}

TEST_CASE("a binding of a volume whose answer is lost is asked for again, and nothing is counted twice") {
  for (const auto when : {FaultyStore::Fault::When::before, FaultyStore::Fault::When::after}) {
    Storage<api::Volume> world;
    world.create_pool("ceph");
    world.change_status("ceph", [](api::VolumePool& pool) { pool.status.allocatable = storage({{"fast", 2}}); });
    world.run_to_rest();
    world.store.set_faults(fail_binding(0, Error(ErrorCode::timeout, "no answer"), when));
    for (int i = 0; i < 3; ++i) world.create(volume("data-" + std::to_string(i), "fast"));
    world.run_to_rest();
    world.pass(2s, world.parts());
    CHECK(world.scheduler.usage("ceph") == Placement::Usage{.objects = 2, .storage_bytes = 2 * gibibyte});
    CHECK(world.scheduler.waiting() == 1);
  }
}

TEST_CASE("sizes that no 64 bits hold together make a pool full, not empty") {
  Storage<api::Volume> world;
  world.create_pool("ceph");
  world.run_to_rest();
  for (int i = 0; i < 3; ++i) {
    auto huge = volume("huge-" + std::to_string(i), "fast", INT64_MAX);
    huge.spec.volume_pool_ref = {.name = "ceph"};
    world.create(huge);
  }
  world.create(volume("data", "fast"));
  world.run_to_rest();
  CHECK(world.placed_on("data").empty());
  CHECK(world.scheduler.usage("ceph").storage_bytes == INT64_MAX);
  for (int i = 0; i < 3; ++i) world.remove<api::Volume>("huge-" + std::to_string(i));
  world.run_to_rest();
  CHECK(world.placed_on("data") == "ceph");
}
