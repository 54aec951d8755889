// SPDX-License-Identifier: Apache-2.0
// A store belongs to one pool, and a pool's store is never another one, or none.
#include <doctest/doctest.h>

#include "ironcore/storage/local.hpp"
#include "volume_world.hpp"

using namespace ironcore;
using namespace ironcore::control;
using namespace ironcore::control::test;
using namespace std::chrono_literals;
using api::ConditionStatus;
using api::VolumeState;

namespace {

api::Condition ready_of(VolumeWorld& world, const std::string& pool = "ceph") {
  const auto found = world.get<api::VolumePool>(pool);
  REQUIRE(found);
  const auto* ready = api::find_condition(found->status.conditions, "Ready");
  REQUIRE(ready != nullptr);
  return *ready;
}

std::string noted(VolumeWorld& world, const std::string& pool = "ceph") {
  const auto& all = world.get<api::VolumePool>(pool)->metadata.annotations;
  const auto found = all.find(std::string(stores_annotation));
  return found == all.end() ? "" : found->second;
}

bool says(const api::Condition& condition, const std::string& words) {
  return condition.message.find(words) != std::string::npos;
}

}  // namespace

TEST_CASE("a store is marked as the pool's, and the pool notes which it is, once") {
  VolumeWorld world;
  world.create_class("slow");
  world.options.classes["slow"] = &world.blocks;
  world.start();
  world.create(VolumeWorld::here("data"));
  world.run_for(5s);
  const auto mark = world.blocks.mark().value();
  REQUIRE(mark);
  CHECK(mark->pool.to_text() == world.pool()->metadata.uid);
  CHECK(mark->pool_name == "ceph");
  const auto id = mark->store.to_text();
  CHECK(noted(world) == "fast=" + id + ", slow=" + id);
  CHECK(world.state_of("data") == VolumeState::available);
  const auto version = world.pool()->metadata.resource_version;
  world.start();
  world.run_for(1min, 1s);
  CHECK(world.pool()->metadata.resource_version == version);
  CHECK(*world.blocks.mark().value() == *mark);
}

TEST_CASE("where the store of a pool is not, nothing is lost, made or offered until it is back") {
  VolumeWorld world;
  world.start();
  world.create(VolumeWorld::here("data"));
  world.run_for(5s);
  const auto before = noted(world);
  const auto uid = world.get_volume("data")->metadata.uid;

  sim::BlockStore empty{world.clock};  // the directory below the mount
  world.options.classes["fast"] = &empty;
  world.start();
  world.create(VolumeWorld::here("late"));
  world.run_for(3min, 5s);
  CHECK_FALSE(empty.mark().value());
  CHECK(empty.volumes()->empty());
  CHECK(noted(world) == before);
  CHECK(ready_of(world).status == ConditionStatus::false_);
  CHECK(ready_of(world).reason == "StoreUnreachable");
  CHECK(says(ready_of(world), "is not where it was: nothing there has a mark"));
  CHECK(world.pool()->status.available_volume_classes.empty());
  CHECK(world.state_of("data") == VolumeState::available);
  CHECK(world.condition("data", "UpToDate").reason == "StoreUnavailable");
  CHECK(world.state_of("late") == VolumeState::pending);
  CHECK(world.condition("late", "Ready").reason == "StoreUnavailable");
  // Deleting it forgets nothing that is still somewhere.
  world.remove<api::Volume>("data");
  world.run_for(3min, 5s);
  REQUIRE(world.get_volume("data"));

  SUBCASE("it comes back") {
    world.options.classes["fast"] = &world.blocks;
    world.start();
    world.run_for(3min, 5s);
    CHECK_FALSE(world.get_volume("data"));
    CHECK_FALSE(world.blocks.volume({.tenant = "default", .uid = Uid::parse(uid).value()}));
    CHECK(world.state_of("late") == VolumeState::available);
    CHECK(ready_of(world).status == ConditionStatus::true_);
  }
  SUBCASE("another one is there") {
    const storage::StoreMark other{
        .store = Uid::random(), .pool = Uid::parse(world.pool()->metadata.uid).value(), .pool_name = "ceph"};
    REQUIRE(empty.set_mark(std::nullopt, other));
    world.run_for(3min, 5s);
    CHECK(says(ready_of(world), "is the right file system mounted?"));
    CHECK(says(ready_of(world), other.store.to_text()));
    CHECK(empty.volumes()->empty());
    CHECK(noted(world) == before);
  }
  SUBCASE("an operator begins anew") {
    world.change<api::VolumePool>(
        "ceph", [](api::VolumePool& pool) { pool.metadata.annotations.erase(std::string(stores_annotation)); });
    world.run_for(3min, 5s);
    REQUIRE(empty.mark().value());
    CHECK(noted(world) == "fast=" + empty.mark().value()->store.to_text());
    CHECK(world.state_of("late") == VolumeState::available);
    CHECK_FALSE(world.get_volume("data"));
  }
}

TEST_CASE("begun anew with another marked directory, a running provider goes on there, and only there") {
  VolumeWorld world;
  namespace fs = std::filesystem;
  const auto there = world.directory.path() / "local", before = world.directory.path() / "before",
             other = world.directory.path() / "other";
  const auto executor = [](const std::function<void()>& job) { job(); };
  // Another directory that this pool has had: with a mark, and with a volume.
  const auto open = [&] { return storage::LocalStore::open({.directory = there, .executor = executor}, world.clock); };
  auto local = open().value();
  world.options.classes = {{"fast", local.get()}};
  world.start();
  world.create(VolumeWorld::here("old", 1 << 20));
  world.run_for(5s);
  REQUIRE(world.state_of("old") == VolumeState::available);
  const auto old_id = noted(world);
  fs::rename(there, other);
  const auto forget = [&] {
    world.change<api::VolumePool>(
        "ceph", [](api::VolumePool& pool) { pool.metadata.annotations.erase(std::string(stores_annotation)); });
  };
  forget();
  world.run_for(1min, 5s);
  world.create(VolumeWorld::here("data", 1 << 20));
  world.run_for(1min, 5s);
  REQUIRE(world.state_of("data") == VolumeState::available);
  const auto id = noted(world);
  REQUIRE(id != old_id);

  const auto exchange = [&] {
    fs::rename(there, before);
    fs::rename(other, there);
    fs::rename(before, other);
  };
  const auto is_lost = [&](const char* name) { return world.condition(name, "Ready").reason == "VolumeLost"; };
  exchange();
  SUBCASE("the other one is noticed before the operator begins anew") {
    world.run_for(1min, 5s);
    CHECK(says(ready_of(world), "is the right file system mounted?"));
    CHECK(noted(world) == id);
    CHECK_FALSE(is_lost("data"));
  }
  SUBCASE("the operator is faster") {}
  SUBCASE("the pool is another one by now") {
    world.remove<api::VolumePool>("ceph");
    world.run_for(1min, 5s);
  }
  forget();
  world.run_for(2min, 5s);
  CHECK(noted(world) == old_id);
  CHECK(ready_of(world).status == ConditionStatus::true_);
  CHECK(world.condition("old", "UpToDate").status == ConditionStatus::true_);
  CHECK(is_lost("data"));
  world.create(VolumeWorld::here("new", 1 << 20));
  world.run_for(5s);
  CHECK(world.state_of("new") == VolumeState::available);
  CHECK(local->volumes()->size() == 2);

  // The one of before is refused now, until the operator wants it again.
  exchange();
  world.run_for(2min, 5s);
  CHECK(noted(world) == old_id);
  CHECK(ready_of(world).status == ConditionStatus::false_);
  CHECK_FALSE(is_lost("new"));
  forget();
  world.run_for(2min, 5s);
  CHECK(noted(world) == id);
  CHECK(world.condition("data", "UpToDate").status == ConditionStatus::true_);
  CHECK(is_lost("new"));
  world.provider.reset();
}

TEST_CASE("the store of another pool is refused by its name, and its volumes are nobody's orphans") {
  VolumeWorld world;
  world.start();
  world.create(VolumeWorld::here("data"));
  world.run_for(5s);
  const auto mark = *world.blocks.mark().value();

  auto theirs = world.options;
  theirs.pool = "there";
  theirs.provider_id = "ceph://two";
  const auto other = world.blocks.another();
  theirs.classes = {{"fast", other.get()}};
  const auto second = VolumeProvider::create(world.store, nullptr, theirs, world.clock, world.log).value();
  auto parts = world.parts();
  parts.push_back([&] { return second->step(); });
  auto late = VolumeWorld::here("late");
  late.spec.volume_pool_ref->name = "there";
  world.create(std::move(late));
  world.pass(3min, parts, 5s);
  CHECK(ready_of(world, "there").status == ConditionStatus::false_);
  CHECK(says(ready_of(world, "there"), "belongs to volume pool ceph (uid " + world.pool()->metadata.uid + ")"));
  CHECK(world.get<api::VolumePool>("there")->status.available_volume_classes.empty());
  CHECK(noted(world, "there").empty());
  CHECK(world.events("there", "OrphanedVolume").empty());
  CHECK(world.events("ceph", "OrphanedVolume").empty());
  CHECK(world.condition("late", "Ready").reason == "StoreUnavailable");
  CHECK(*world.blocks.mark().value() == mark);
  CHECK(ready_of(world).status == ConditionStatus::true_);
  CHECK(world.blocks.volumes()->size() == 1);
}

TEST_CASE("a pool that was made anew takes over its store, one of the same name elsewhere does not") {
  VolumeWorld world;
  const auto foreign = [&] {
    return storage::StoreMark{.store = Uid::random(), .pool = Uid::random(), .pool_name = "ceph"};
  };
  SUBCASE("the pool is deleted while its provider runs") {
    world.start();
    world.create(VolumeWorld::here("data"));
    world.run_for(5s);
    const auto mark = *world.blocks.mark().value();
    world.remove<api::VolumePool>("ceph");
    world.run_for(3min, 5s);
    REQUIRE(world.pool());
    CHECK(world.pool()->metadata.uid != mark.pool.to_text());
    CHECK(world.blocks.mark().value()->store == mark.store);
    CHECK(world.blocks.mark().value()->pool.to_text() == world.pool()->metadata.uid);
    CHECK(noted(world) == "fast=" + mark.store.to_text());
    CHECK(ready_of(world).status == ConditionStatus::true_);
    CHECK(world.condition("data", "UpToDate").status == ConditionStatus::true_);
  }
  SUBCASE("nothing is in it") {
    REQUIRE(world.blocks.set_mark(std::nullopt, foreign()));
    world.start();
    world.run_for(1min, 5s);
    CHECK(world.blocks.mark().value()->pool.to_text() == world.pool()->metadata.uid);
  }
  SUBCASE("what is in it has no objects here") {
    const auto mark = foreign();
    REQUIRE(world.blocks.set_mark(std::nullopt, mark));
    const storage::BlockId stray{.tenant = "default", .uid = Uid::random()};
    REQUIRE(world.blocks.create(stray, {.size_bytes = 1 << 20, .source = storage::Empty{}, .key = {}, .limits = {}}, {},
                                {}));
    world.start();
    world.create(VolumeWorld::here("data"));
    world.run_for(3min, 5s);
    CHECK(*world.blocks.mark().value() == mark);
    CHECK(says(ready_of(world), "belongs to volume pool ceph (uid " + mark.pool.to_text() + ")"));
    CHECK(world.events("ceph", "OrphanedVolume").empty());
    CHECK(world.blocks.volumes()->size() == 1);
  }
}

TEST_CASE("between mark and note everything may stop, and nothing is taken for another one") {
  VolumeWorld world;
  bool is_lost = false;
  // The mark is there, its answer is lost, and the process dies.
  world.blocks.set_faults([&](const sim::BlockStore::Call& call) -> std::optional<Error> {
    if (call.name != "set_mark" || !call.is_done || is_lost) return std::nullopt;
    is_lost = true;
    return Error(ErrorCode::unavailable, "the answer is lost");
  });
  world.start();
  world.run_to_rest();
  REQUIRE(is_lost);
  const auto mark = world.blocks.mark().value();
  REQUIRE(mark);
  CHECK(noted(world).empty());
  CHECK(ready_of(world).status == ConditionStatus::false_);
  world.start();
  world.create(VolumeWorld::here("data"));
  world.run_for(1min, 1s);
  CHECK(*world.blocks.mark().value() == *mark);
  CHECK(noted(world) == "fast=" + mark->store.to_text());
  CHECK(world.state_of("data") == VolumeState::available);
}

TEST_CASE("a store that does not answer when it is looked at is not another one") {
  VolumeWorld world;
  world.start();
  world.create(VolumeWorld::here("data"));
  world.run_for(5s);
  const auto mark = *world.blocks.mark().value();
  world.blocks.disconnect();
  world.start();
  world.run_for(1min, 1s);
  CHECK(says(ready_of(world), "the store does not answer"));
  CHECK(noted(world) == "fast=" + mark.store.to_text());
  world.blocks.reconnect();
  world.run_for(1min, 1s);
  CHECK(ready_of(world).status == ConditionStatus::true_);
  CHECK(*world.blocks.mark().value() == mark);
}
