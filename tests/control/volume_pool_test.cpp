// SPDX-License-Identifier: Apache-2.0
// What a pool says of its store, whose it is, and what lies in the store without an object.
#include "ironcore/control/volume_provider.hpp"

#include <doctest/doctest.h>

#include "scheduling_world.hpp"
#include "volume_world.hpp"

using namespace ironcore;
using namespace ironcore::control;
using namespace ironcore::control::test;
using api::ConditionStatus;
using api::VolumeState;

namespace {

/// A scheduler of volumes, with all that it listens to.
struct SchedulingParts {
  Informer<api::Volume> volumes;
  Informer<api::VolumePool> pools;
  Informer<api::VolumeClass> classes;
  EventRecorder events;
  Scheduler<api::Volume> scheduler;

  explicit SchedulingParts(World& world)
      : volumes(world.store, world.clock, world.log),
        pools(world.store, world.clock, world.log),
        classes(world.store, world.clock, world.log),
        events(world.store, {.component = "scheduler"}, world.clock, world.log),
        scheduler(world.store, volumes, pools, classes, events, {}, world.clock, world.log) {
    scheduler.activate();
  }
  std::vector<std::function<bool()>> parts() {
    return {[this] { return volumes.step(); }, [this] { return pools.step(); }, [this] { return classes.step(); },
            [this] { return scheduler.step(); }, [this] { return events.step(); }};
  }
};

}  // namespace

TEST_CASE("the pool says what its store takes, and the scheduler counts it once") {
  VolumeWorld world;
  world.blocks.set_total(100 * gibibyte);
  world.options.labels = {{"topology.ironcore.dev/zone", "east"}};
  world.options.classes["slow"] = &world.blocks;
  world.create_class("slow");
  world.start();
  SchedulingParts scheduling(world);
  auto parts = world.parts();
  for (auto& part : scheduling.parts()) parts.push_back(part);
  world.pass(5s, parts);
  auto pool = world.pool();
  REQUIRE(pool);
  CHECK(pool->spec.provider_id == "ceph://one");
  CHECK(pool->metadata.labels.at("topology.ironcore.dev/zone") == "east");
  CHECK(pool->status.state == api::StoragePoolState::available);
  CHECK(api::find_condition(pool->status.conditions, "Ready")->status == ConditionStatus::true_);
  CHECK(pool->status.available_volume_classes == std::vector<api::LocalReference>{{.name = "fast"}, {.name = "slow"}});
  CHECK(pool->status.capacity.at("class/volume.fast") == Quantity::bytes(100 * gibibyte));
  const auto all = pool->status.allocatable.at("class/volume.fast").value();
  CHECK(all > 90 * gibibyte);
  CHECK(all <= 100 * gibibyte);
  CHECK(pool->status.allocatable.at("storage").value() == all);
  // Nobody writes anything, and yet not more is promised than there is.
  const auto size = all / gibibyte / 4 * gibibyte;
  for (int i = 0; i < 6; ++i) {
    world.create(volume("v" + std::to_string(i), i % 2 == 0 ? "fast" : "slow", size));
    world.pass(30s, parts, 1s);
  }
  int placed = 0;
  for (int i = 0; i < 6; ++i)
    if (world.state_of("v" + std::to_string(i)) == VolumeState::available) ++placed;
  CHECK(placed == 4);
  pool = world.pool();
  CHECK(pool->status.allocatable.at("storage").value() >= 4 * size);
  CHECK(pool->status.allocatable.at("storage").value() <= all);
  // Who goes makes room.
  world.remove<api::Volume>("v0");
  world.pass(2min, parts, 1s);
  placed = 0;
  for (int i = 1; i < 6; ++i)
    if (world.state_of("v" + std::to_string(i)) == VolumeState::available) ++placed;
  CHECK(placed == 4);
  // Somebody else fills the store: what is promised stays, nothing more is.
  world.blocks.fill(99 * gibibyte);
  world.pass(30s, parts, 1s);
  pool = world.pool();
  CHECK(pool->status.allocatable.at("class/volume.fast").value() +
            pool->status.allocatable.at("class/volume.slow").value() ==
        4 * size);
  CHECK(api::find_condition(pool->status.conditions, "HasRoom")->status == ConditionStatus::false_);
  CHECK(api::find_condition(pool->status.conditions, "HasRoom")->reason == "Full");
  REQUIRE(world.events("ceph", "Full").size() == 1);
  CHECK(world.events("ceph", "Full").front()->count == 1);
  CHECK(world.events("ceph", "Full").front()->message.find("add storage") != std::string::npos);
}

TEST_CASE("a volume of an impossible size takes no room from others, and gives none back") {
  VolumeWorld world;
  world.blocks.set_total(100 * gibibyte);
  world.options.classes["slow"] = &world.blocks;
  world.create_class("slow");
  world.start();
  world.run_for(15s);
  const auto all = world.pool()->status.allocatable;
  REQUIRE(all.at("storage").value() > 90 * gibibyte);
  const std::vector<std::int64_t> sizes{std::int64_t{7} << 60, INT64_MAX, (std::int64_t{1} << 50) + 1};
  for (std::size_t i = 0; i < sizes.size(); ++i) world.create(VolumeWorld::here("huge-" + std::to_string(i), sizes[i]));
  world.run_for(30s);
  for (std::size_t i = 0; i < sizes.size(); ++i) {
    CHECK(world.condition("huge-" + std::to_string(i), "Ready").reason == "InvalidSize");
    CHECK(PlacedKind<api::Volume>::amount_of(*world.get_volume("huge-" + std::to_string(i))) == 1);
  }
  const auto offered = world.pool()->status.allocatable;
  CHECK(offered.at("class/volume.slow") == all.at("class/volume.slow"));
  CHECK(offered.at("class/volume.fast").value() == all.at("class/volume.fast").value() + 3);
  CHECK(offered.at("storage").value() == all.at("storage").value() + 3);
  world.create(VolumeWorld::here("data"));
  world.run_for(15s);
  world.grow("data", 50 * gibibyte);
  world.run_for(15s);
  CHECK(world.get_volume("data")->status.resources.at("storage") == Quantity::bytes(50 * gibibyte));
}

TEST_CASE("a class that is being deleted is not offered any more, and its volumes stay counted") {
  VolumeWorld world;
  world.blocks.set_total(100 * gibibyte);
  world.options.classes["slow"] = &world.blocks;
  world.create_class("slow");
  world.start();
  auto old = VolumeWorld::here("old", 30 * gibibyte);
  old.spec.volume_class_ref->name = "slow";
  world.create(old);
  world.run_for(15s);
  const auto all = world.pool()->status.allocatable;
  world.change<api::VolumeClass>("slow", [](api::VolumeClass& of) { of.metadata.finalizers = {"example.org/in-use"}; });
  world.remove<api::VolumeClass>("slow");
  world.run_for(15s);
  const auto pool = world.pool();
  CHECK(pool->status.available_volume_classes == std::vector<api::LocalReference>{{.name = "fast"}});
  CHECK_FALSE(pool->status.allocatable.contains("class/volume.slow"));
  CHECK(pool->status.allocatable.at("class/volume.fast") == all.at("class/volume.fast"));
  CHECK(pool->status.allocatable.at("storage") == all.at("storage"));
  CHECK(world.state_of("old") == VolumeState::available);
}

TEST_CASE("too much that was put there by hand makes no room when it goes") {
  VolumeWorld world;
  world.blocks.set_total(100 * gibibyte);
  world.options.classes["slow"] = &world.blocks;
  world.options.heartbeat_every = 1min;
  world.options.lease_time_to_live = 5min;
  world.create_class("slow");
  world.start();
  SchedulingParts scheduling(world);
  auto parts = world.parts();
  for (auto& part : scheduling.parts()) parts.push_back(part);
  world.create(VolumeWorld::here("by-hand", 10'000 * gibibyte));
  world.pass(3min, parts, 1s);
  REQUIRE(world.state_of("by-hand") == VolumeState::available);
  CHECK(world.pool()->status.allocatable.at("class/volume.fast").value() <= 100 * gibibyte);
  CHECK(world.pool()->status.allocatable.at("class/volume.slow").value() == 0);
  for (const auto* name : {"fast", "slow"}) {
    world.create(volume(std::string("large-") + name, name, 200 * gibibyte));
    world.create(volume(std::string("small-") + name, name, 40 * gibibyte));
  }
  world.pass(3min, parts, 1s);
  const auto is_placed = [&](const char* name) { return world.get_volume(name)->spec.volume_pool_ref.has_value(); };
  for (const auto* name : {"large-fast", "large-slow", "small-fast", "small-slow"}) CHECK_FALSE(is_placed(name));
  world.remove<api::Volume>("by-hand");
  world.pass(10s, parts, 250ms);  // no heartbeat may have come yet
  CHECK_FALSE(world.get_volume("by-hand"));
  for (const auto* name : {"large-fast", "large-slow"}) CHECK_FALSE(is_placed(name));
  world.pass(3min, parts, 1s);
  for (const auto* name : {"large-fast", "large-slow"}) CHECK_FALSE(is_placed(name));
  for (const auto* name : {"small-fast", "small-slow"}) CHECK(world.state_of(name) == VolumeState::available);
}

TEST_CASE("a volume that was refused and can be made now is made when there is room for it") {
  VolumeWorld world;
  world.blocks.set_total(100 * gibibyte);
  world.start();
  world.create_key("key", "too short");
  world.create(VolumeWorld::encrypted(VolumeWorld::here("secret", 60 * gibibyte), "key"));
  world.run_for(15s);
  REQUIRE(world.state_of("secret") == VolumeState::error);
  world.create(VolumeWorld::here("other", 60 * gibibyte));
  world.run_for(15s);
  REQUIRE(world.state_of("other") == VolumeState::available);
  world.change<api::Secret>("key", [](api::Secret& key) { key.data["encryptionKey"].value = key_text; });
  world.run_for(5min, 5s);
  CHECK(world.state_of("secret") == VolumeState::error);
  CHECK(world.condition("secret", "Ready").reason == "OutOfCapacity");
  CHECK(world.condition("secret", "Ready").message.find("it is made when there is room") != std::string::npos);
  // At rest nothing is written.
  const auto revision = world.real->revision().value();
  world.run_for(1min, 5s);
  CHECK(world.real->revision().value() == revision);
  world.remove<api::Volume>("other");
  world.run_for(5min, 5s);
  CHECK(world.state_of("secret") == VolumeState::available);
  CHECK(world.pool()->status.allocatable.at("storage").value() <= 100 * gibibyte);
}

TEST_CASE("a store that is nearly full, or full, is told by the pool until there is room again") {
  VolumeWorld world;
  sim::BlockStore archive(world.clock);
  world.blocks.set_total(100 * gibibyte);
  world.options.classes["slow"] = &archive;
  world.create_class("slow");
  world.start();
  world.create(VolumeWorld::here("data"));
  world.run_for(15s);
  const auto room = [&] {
    const auto* told = api::find_condition(world.pool()->status.conditions, "HasRoom");
    REQUIRE(told != nullptr);
    return *told;
  };
  const auto offered = [&] {
    return world.pool()->status.allocatable.at("class/volume.fast").value() - gibibyte;  // but for `data`
  };
  CHECK(room().status == ConditionStatus::true_);
  CHECK(room().reason == "HasRoom");
  CHECK(offered() > 0);

  world.blocks.fill(86 * gibibyte);
  world.run_for(15s);
  CHECK(room().status == ConditionStatus::false_);
  CHECK(room().reason == "NearlyFull");
  CHECK(room().message == "fast: the store is nearly full; add storage or delete volumes and snapshots");
  CHECK(offered() > 0);
  CHECK(offered() < 14 * gibibyte);
  const auto since = room().last_transition_time;

  world.blocks.fill(100 * gibibyte);
  world.run_for(15s);
  CHECK(room().status == ConditionStatus::false_);
  CHECK(room().message == "fast: the store is full; add storage or delete volumes and snapshots");
  CHECK(room().last_transition_time == since);
  CHECK(offered() == 0);
  // The pool serves on: what is there stays as it is, and the other store takes more.
  CHECK(api::find_condition(world.pool()->status.conditions, "Ready")->status == ConditionStatus::true_);
  CHECK(world.state_of("data") == VolumeState::available);
  CHECK(world.pool()->status.allocatable.at("class/volume.slow").value() > gibibyte);
  world.grow("data", 2 * gibibyte);
  world.run_for(15s);
  CHECK(world.condition("data", "UpToDate").reason == "OutOfCapacity");
  // At rest nothing is written.
  const auto revision = world.real->revision().value();
  world.run_for(1min, 5s);
  CHECK(world.real->revision().value() == revision);

  world.blocks.fill(0);
  world.run_for(30s);
  CHECK(room().status == ConditionStatus::true_);
  CHECK(room().reason == "HasRoom");
  CHECK(room().message == "no store is nearly full");
  CHECK(offered() > 80 * gibibyte);
  CHECK(world.get_volume("data")->status.resources.at("storage") == Quantity::bytes(2 * gibibyte));
  CHECK(world.condition("data", "UpToDate").status == ConditionStatus::true_);
}

TEST_CASE("a store that does not answer makes the pool not ready, and volumes stay as they are") {
  VolumeWorld world;
  world.start();
  world.create(VolumeWorld::here("data"));
  world.run_for(5s);
  world.blocks.disconnect();
  world.create(VolumeWorld::here("late"));
  world.grow("data", 2 * gibibyte);
  world.run_for(15s, 1s);
  CHECK(api::find_condition(world.pool()->status.conditions, "Ready")->reason == "StoreUnreachable");
  CHECK(world.pool()->status.state == api::StoragePoolState::unavailable);
  CHECK(world.pool()->status.available_volume_classes.empty());
  CHECK(world.state_of("data") == VolumeState::available);
  CHECK(world.condition("data", "UpToDate").reason == "StoreUnavailable");
  CHECK(world.state_of("late") == VolumeState::pending);
  CHECK(world.condition("late", "Ready").reason == "StoreUnavailable");
  world.blocks.reconnect();
  world.run_for(2min, 1s);
  CHECK(world.pool()->status.state == api::StoragePoolState::available);
  CHECK(world.state_of("late") == VolumeState::available);
  CHECK(world.condition("data", "UpToDate").status == ConditionStatus::true_);
  CHECK(world.get_volume("data")->status.resources.at("storage") == Quantity::bytes(2 * gibibyte));
}

TEST_CASE("each class has its store: one that does not answer takes only its own class away") {
  VolumeWorld world;
  sim::BlockStore archive(world.clock);
  world.blocks.set_total(100 * gibibyte);
  archive.set_total(1000 * gibibyte);
  world.options.classes["slow"] = &archive;
  world.options.thin_provision_ratio = 2;
  world.create_class("slow");
  world.start();
  world.create(VolumeWorld::here("data"));
  auto old = VolumeWorld::here("old", 300 * gibibyte);
  old.spec.volume_class_ref->name = "slow";
  world.create(old);
  world.create(VolumeWorld::snapshot_of("monday", "data"));
  auto copy = VolumeWorld::from_snapshot("copy", "monday");
  copy.spec.volume_class_ref->name = "slow";
  world.create(copy);
  world.run_for(15s, 1s);
  CHECK(world.blocks.volume(world.id_of(world.get_volume("data"))));
  CHECK(archive.volume(world.id_of(world.get_volume("old"))));
  CHECK(world.state_of("copy") == VolumeState::error);
  CHECK(world.condition("copy", "Ready").reason == "VolumeSnapshotElsewhere");
  auto pool = world.pool();
  CHECK(pool->status.capacity.at("class/volume.fast") == Quantity::bytes(200 * gibibyte));
  CHECK(pool->status.capacity.at("class/volume.slow") == Quantity::bytes(2000 * gibibyte));
  const auto fast = pool->status.allocatable.at("class/volume.fast").value();
  CHECK(fast > 180 * gibibyte);
  CHECK(pool->status.allocatable.at("storage").value() ==
        fast + pool->status.allocatable.at("class/volume.slow").value());
  archive.disconnect();
  world.run_for(15s, 1s);
  pool = world.pool();
  CHECK(pool->status.available_volume_classes == std::vector<api::LocalReference>{{.name = "fast"}});
  CHECK(pool->status.allocatable.at("class/volume.fast").value() == fast);
  CHECK_FALSE(pool->status.allocatable.contains("class/volume.slow"));
  // The scheduler goes on subtracting the volumes of the silent store, and the least that counts for the one that cannot be made.
  CHECK(pool->status.allocatable.at("storage").value() == fast + 300 * gibibyte + 1);
  CHECK(api::find_condition(pool->status.conditions, "Ready")->status == ConditionStatus::true_);
  CHECK(api::find_condition(pool->status.conditions, "Ready")->message.find("slow") != std::string::npos);
}

TEST_CASE("of two providers for one pool the lease decides, and the other takes over") {
  VolumeWorld world;
  world.start();
  auto others = world.options;
  others.holder = "the-other";
  const auto other = VolumeProvider::create(world.store, world.images.get(), others, world.clock, world.log).value();
  auto parts = world.parts();
  world.run_for(1s);
  parts.push_back([&] { return other->step(); });
  for (int i = 0; i < 5; ++i) world.create(VolumeWorld::here("v" + std::to_string(i)));
  world.pass(10s, parts);
  CHECK(world.blocks.volumes().value().size() == 5);
  CHECK(world.real->leases("volumepool/").value().at(0).holder == "ceph://one");
  world.provider.reset();
  world.create(VolumeWorld::here("late"));
  world.pass(2min, {[&] { return other->step(); }}, 1s);
  CHECK(world.state_of("late") == VolumeState::available);
  CHECK(world.real->leases("volumepool/").value().at(0).holder == "the-other");
}

TEST_CASE("a pool of another provider is left alone") {
  VolumeWorld world;
  api::VolumePool foreign;
  foreign.metadata.name = "ceph";
  foreign.spec.provider_id = "ceph://somebody-else";
  world.create(foreign);
  world.start();
  world.create(VolumeWorld::here("data"));
  world.run_for(30s, 1s);
  CHECK(world.pool()->status == api::VolumePoolStatus{});
  CHECK(world.get_volume("data")->metadata.finalizers.empty());
}

TEST_CASE("what lies in the store without an object is reported once and left alone") {
  VolumeWorld world;
  const storage::BlockId stray{.tenant = "default", .uid = Uid::random(world.random)};
  REQUIRE(
      world.blocks.create(stray, {.size_bytes = 1 << 20, .source = storage::Empty{}, .key = {}, .limits = {}}, {}, {}));
  world.start();
  world.create(VolumeWorld::here("data"));
  world.run_for(10min, 5s);
  CHECK(world.blocks.volume(stray));
  const auto told = world.events("ceph", "OrphanedVolume");
  REQUIRE(told.size() == 1);
  CHECK(told.front()->count == 1);
  CHECK(told.front()->message.find(stray.uid.to_text()) != std::string::npos);
  CHECK(told.front()->message.find(world.get_volume("data")->metadata.uid) == std::string::npos);
}

TEST_CASE("orphans that an operator names are removed, and nothing else is") {
  VolumeWorld world;
  const auto stray = [&](const std::string& tenant) {
    const storage::BlockId id{.tenant = tenant, .uid = Uid::random(world.random)};
    REQUIRE(
        world.blocks.create(id, {.size_bytes = 1 << 20, .source = storage::Empty{}, .key = {}, .limits = {}}, {}, {}));
    return id;
  };
  const auto name_of = [](const storage::BlockId& id) { return id.tenant + "/" + id.uid.to_text(); };
  const auto gone = stray("default"), open = stray("default"), kept = stray("default"), source = stray("other");
  const storage::BlockId snapshot{.tenant = "other", .uid = Uid::random(world.random)};
  REQUIRE(world.blocks.take_snapshot(source, snapshot.uid, {}));
  auto data = world.blocks.open(open, {}).value();
  world.start();
  world.create(VolumeWorld::here("data"));
  world.run_for(2min, 5s);
  const auto uid = world.get_volume("data")->metadata.uid;
  CHECK(world.events("ceph", "OrphanedVolume").front()->message.find(std::string(remove_orphans_annotation)) !=
        std::string::npos);

  const auto request = "default/" + uid + ", " + name_of(gone) + ", " + name_of(open) + "," + name_of(snapshot) +
                       ",other/" + gone.uid.to_text() + ",,nonsense";
  world.change<api::VolumePool>("ceph", [&](api::VolumePool& pool) {
    pool.metadata.annotations[std::string(remove_orphans_annotation)] = request;
  });
  world.run_for(3min, 5s);
  const auto is_there = [&](const storage::BlockId& id) { return world.blocks.volume(id).has_value(); };
  CHECK(!is_there(gone));
  CHECK(is_there(open));
  CHECK(is_there(kept));
  CHECK(is_there(source));
  CHECK(!world.blocks.snapshot(snapshot));
  CHECK(is_there({.tenant = "default", .uid = Uid::parse(uid).value()}));
  CHECK(world.state_of("data") == VolumeState::available);
  REQUIRE(world.events("ceph", "OrphanRemoved").size() == 1);
  CHECK(world.events("ceph", "OrphanRemoved").front()->message.find(name_of(kept)) == std::string::npos);
  REQUIRE(world.events("ceph", "OrphanNotRemoved").size() == 1);
  CHECK(world.events("ceph", "OrphanNotRemoved").front()->message.find(name_of(open)) != std::string::npos);

  CHECK(world.count(*world.provider, "volume_orphans") == 3);

  data.reset();
  world.run_for(3min, 5s);
  CHECK(world.count(*world.provider, "volume_orphans") == 2);
  CHECK(!is_there(open));
  CHECK(is_there(kept));
  CHECK(world.events("ceph", "OrphanedVolume").front()->count == 1);
}
