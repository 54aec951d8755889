// SPDX-License-Identifier: Apache-2.0
// From a Volume or VolumeSnapshot in the store to blocks in a simulated store, through its whole life.
#include "ironcore/control/volume_provider.hpp"

#include <doctest/doctest.h>

#include <thread>

#include "fault_loops.hpp"
#include "ironcore/control/finalizers.hpp"
#include "ironcore/control/managed_by.hpp"
#include "scheduling_world.hpp"
#include "volume_world.hpp"

using namespace ironcore;
using namespace ironcore::control;
using namespace ironcore::control::test;
using api::ConditionStatus;
using api::VolumeSnapshotState;
using api::VolumeState;

namespace {

const std::string key_text = base64_encode(std::string(32, 'k'));

}  // namespace

TEST_CASE("an empty volume is made and its status says everything about it") {
  VolumeWorld world;
  world.start();
  world.create(VolumeWorld::here("data", 3 * gibibyte / 2));
  world.run_for(5s);
  const auto made = world.get_volume("data");
  CHECK(made->status.state == VolumeState::available);
  CHECK(made->status.volume_id == "ceph://" + made->metadata.uid);
  CHECK(made->status.last_state_transition_time);
  CHECK(made->status.resources.at("storage") == Quantity::bytes(2 * gibibyte));
  CHECK(has_finalizer(made->metadata, api::volume_finalizer));
  CHECK(world.condition("data", "Ready").status == ConditionStatus::true_);
  CHECK(world.condition("data", "UpToDate").status == ConditionStatus::true_);
  REQUIRE(made->status.access);
  CHECK(made->status.access->driver == "ceph");
  CHECK(made->status.access->handle.size() == 16);
  CHECK_FALSE(made->status.access->volume_attributes.empty());
  REQUIRE(made->status.access->secret_ref);
  const auto secret = world.get<api::Secret>(made->status.access->secret_ref->name, "default");
  REQUIRE(secret);
  CHECK(secret->type == api::volume_auth_secret_type);
  REQUIRE(secret->metadata.owner_references.size() == 1);
  CHECK(secret->metadata.owner_references[0].uid == made->metadata.uid);
  const auto seen = world.blocks.volume(world.id_of(made)).value();
  CHECK(seen.size_bytes == 2 * gibibyte);
  CHECK(seen.limits == storage::limits_of(10, 1000, {}));
  CHECK_FALSE(seen.is_encrypted);
  CHECK(world.contents("data", 4) == std::string(4, '\0'));
  CHECK(world.events("data", "EmptyImageCreationSucceeded").size() == 1);
  // At rest nothing is written.
  const auto revision = world.real->revision().value();
  world.run_for(5min, 5s);
  CHECK(world.real->revision().value() == revision);
}

TEST_CASE("volumes of other pools, without a pool or class, or managed by others are not touched") {
  VolumeWorld world;
  world.start();
  auto elsewhere = VolumeWorld::here("elsewhere");
  elsewhere.spec.volume_pool_ref->name = "other";
  world.create(elsewhere);
  world.create(volume("unbound", "fast"));
  world.create(volume("classless"));
  auto managed = VolumeWorld::here("managed");
  managed.metadata.annotations[managed_by] = "somebody";
  world.create(managed);
  world.run_for(10s);
  for (const auto* name : {"elsewhere", "unbound", "classless", "managed"}) {
    CAPTURE(name);
    CHECK(world.get_volume(name)->metadata.finalizers.empty());
  }
  CHECK(world.blocks.volumes().value().empty());
}

TEST_CASE("a class that is not offered, or not there, is waited for; a size that cannot be is an error") {
  VolumeWorld world;
  world.options.classes["late"] = &world.blocks;
  world.start();
  auto wrong = VolumeWorld::here("wrong");
  wrong.spec.volume_class_ref->name = "slow";
  world.create(wrong);
  auto early = VolumeWorld::here("early");
  early.spec.volume_class_ref->name = "late";
  world.create(early);
  world.create(VolumeWorld::here("huge", std::int64_t{1} << 51));
  world.run_for(5s);
  CHECK(world.state_of("wrong") == VolumeState::pending);
  CHECK(world.condition("wrong", "Ready").reason == "VolumeClassNotReady");
  CHECK(world.condition("wrong", "Ready").message ==
        "volume class slow is not offered by pool ceph; it offers fast, late");
  CHECK(world.get_volume("wrong")->metadata.finalizers.empty());
  CHECK(world.condition("early", "Ready").message == "volume class late does not exist");
  CHECK(world.state_of("huge") == VolumeState::error);
  CHECK(world.condition("huge", "Ready").reason == "InvalidSize");
  CHECK(world.events("huge", "InvalidSize").size() == 1);
  world.create_class("late");
  world.run_for(5s);
  CHECK(world.state_of("early") == VolumeState::available);
}

TEST_CASE("volumes of one OS image share it, and it is copied once") {
  VolumeWorld world;
  world.start();
  int imports = 0;
  world.blocks.set_faults([&](const sim::BlockStore::Call& call) -> std::optional<Error> {
    if (call.name == "import_base" && call.step == 0) ++imports;
    return std::nullopt;
  });
  for (const auto* name : {"a", "b", "c"}) world.create(world.from_image(name));
  world.run_for(10s);
  CHECK(imports == 1);
  for (const auto* name : {"a", "b", "c"}) {
    CAPTURE(name);
    CHECK(world.state_of(name) == VolumeState::available);
    CHECK(world.contents(name, 3) == "rrr");
    CHECK(world.get_volume(name)->status.resources.at("storage") == Quantity::bytes(gibibyte));
  }
  CHECK(world.events("a", "ImagePullSucceeded").size() == 1);
  const auto bases = world.blocks.bases().value();
  REQUIRE(bases.size() == 1);
  CHECK(bases[0].children == 3);
  CHECK(bases[0].digest == crypto::sha256(std::string(1 << 20, 'r')));
}

TEST_CASE("an image that cannot be had is tried again, and no other volume minds") {
  VolumeWorld world;
  world.start();
  auto missing = world.from_image("missing");
  missing.spec.data_source->os_image->image = "oci:" + (world.directory.path() / "later").string() + ":test";
  world.create(missing);
  auto foreign = world.from_image("foreign");
  foreign.spec.data_source->os_image->architecture = "pdp11";
  world.create(foreign);
  auto tiny = world.from_image("small", 1 << 19);
  tests::make_image(world.directory.path() / "large", {.rootfs = std::string(3 << 20, 'l')});
  tiny.spec.data_source->os_image->image = "oci:" + (world.directory.path() / "large").string() + ":test";
  world.create(tiny);
  auto packed = world.from_image("packed");
  tests::make_image(world.directory.path() / "qcow2",
                    {.rootfs = std::string("QFI\xfb", 4) + std::string(1 << 20, 'x')});
  packed.spec.data_source->os_image->image = "oci:" + (world.directory.path() / "qcow2").string() + ":test";
  world.create(packed);
  world.create(world.from_image("good"));
  world.run_for(1min, 1s);
  CHECK(world.state_of("good") == VolumeState::available);
  CHECK(world.state_of("missing") == VolumeState::pending);
  CHECK(world.condition("missing", "Ready").reason == "ImagePullFailed");
  CHECK(world.events("missing", "ImagePullFailed").size() == 1);
  CHECK(world.condition("foreign", "Ready").reason == "ImagePullFailed");
  CHECK(world.condition("foreign", "Ready").message.find("pdp11") != std::string::npos);
  CHECK(world.condition("packed", "Ready").reason == "ImagePullFailed");
  CHECK(world.condition("packed", "Ready").message.find("qemu-img convert") != std::string::npos);
  CHECK(world.state_of("small") == VolumeState::error);
  CHECK(world.condition("small", "Ready").reason == "ImageSizeIsSmallerThanSnapshotSize");
  CHECK(world.condition("small", "Ready").message.find("3Mi") != std::string::npos);
  tests::make_image(world.directory.path() / "later", {.rootfs = std::string(1 << 20, 'x')});
  world.grow("small", 4 << 20);
  world.run_for(7min, 5s);
  CHECK(world.state_of("missing") == VolumeState::available);
  CHECK(world.contents("missing", 2) == "xx");
  CHECK(world.state_of("small") == VolumeState::available);
}

TEST_CASE("a base image that no volume needs any more is collected after its grace") {
  VolumeWorld world;
  world.options.base_image_grace = 10min;
  world.start();
  world.create(world.from_image("a"));
  world.run_for(5s);
  REQUIRE(world.blocks.bases().value().size() == 1);
  world.run_for(30min, 30s);
  CHECK(world.blocks.bases().value().size() == 1);
  world.remove<api::Volume>("a");
  world.run_for(5min, 30s);
  CHECK_FALSE(world.get_volume("a"));
  CHECK(world.blocks.bases().value().size() == 1);
  world.run_for(15min, 30s);
  CHECK(world.blocks.bases().value().empty());
  world.create(world.from_image("b"));
  world.run_for(5s);
  CHECK(world.state_of("b") == VolumeState::available);
}

TEST_CASE("a volume grows, also while somebody has it open, and limits follow the provider's burst") {
  VolumeWorld world;
  world.start();
  world.create(VolumeWorld::here("data"));
  world.run_for(5s);
  world.put("data", "hello");
  const auto open = world.attach("data").value();
  world.grow("data", 3 * gibibyte);
  world.run_for(5s);
  CHECK(world.get_volume("data")->status.resources.at("storage") == Quantity::bytes(3 * gibibyte));
  CHECK(open->size() == 3 * gibibyte);
  CHECK(world.contents("data", 5) == "hello");
  CHECK(world.events("data", "UpdatedImageSizeSucceeded").size() == 1);
  world.options.burst = {.factor = 2, .span = 3s};
  world.start();
  world.run_for(5s);
  CHECK(world.blocks.volume(world.id_of(world.get_volume("data"))).value().limits ==
        storage::limits_of(10, 1000, {.factor = 2, .span = 3s}));
  CHECK(world.events("data", "SetImageLimitSucceeded").size() == 1);
}

TEST_CASE("a volume does not grow beyond the room of its class, harms nobody by the wish, and can take it back") {
  VolumeWorld world;
  world.blocks.set_total(100 * gibibyte);
  world.start();
  world.create(VolumeWorld::here("data"));
  world.create(VolumeWorld::here("big", 40 * gibibyte));
  world.run_for(15s);
  const auto offered = [&] { return world.pool()->status.allocatable.at("class/volume.fast"); };
  const auto before = offered();
  for (const auto wish : {60 * gibibyte, std::int64_t{100} << 40, std::int64_t{1} << 62}) {
    CAPTURE(wish);
    world.grow("data", wish);
    world.run_for(30s);
    CHECK(world.state_of("data") == VolumeState::available);
    CHECK(world.get_volume("data")->status.resources.at("storage") == Quantity::bytes(gibibyte));
    CHECK(world.blocks.volume(world.id_of(world.get_volume("data"))).value().size_bytes == gibibyte);
    const auto told = world.condition("data", "UpToDate");
    CHECK(told.status == ConditionStatus::false_);
    CHECK(told.reason == (wish == std::int64_t{1} << 62 ? "InvalidSize" : "OutOfCapacity"));
    CHECK(told.message.find("lowered again, down to what") != std::string::npos);
    CHECK(world.events("data", told.reason).size() == 1);
    CHECK(offered() == before);
    // At rest nothing is written.
    const auto revision = world.real->revision().value();
    world.run_for(1min, 5s);
    CHECK(world.real->revision().value() == revision);
  }
  // The machine that uses it does not mind.
  world.claim("data", "web");
  world.run_for(15s);
  CHECK(world.holder_of("data") == "web");
  world.grow("data", gibibyte);
  world.run_for(15s);
  CHECK(world.condition("data", "UpToDate").status == ConditionStatus::true_);
}

TEST_CASE("a volume that waits for room to grow grows when there is some") {
  VolumeWorld world;
  world.blocks.set_total(100 * gibibyte);
  world.start();
  world.create(VolumeWorld::here("data"));
  world.create(VolumeWorld::here("big", 40 * gibibyte));
  world.run_for(15s);
  world.grow("data", 60 * gibibyte);
  world.run_for(15s);
  CHECK(world.condition("data", "UpToDate").reason == "OutOfCapacity");
  world.remove<api::Volume>("big");
  world.run_for(30s);
  CHECK(world.get_volume("data")->status.resources.at("storage") == Quantity::bytes(60 * gibibyte));
  CHECK(world.condition("data", "UpToDate").status == ConditionStatus::true_);
}

TEST_CASE("volumes that grow at the same time do not grow into the same room") {
  VolumeWorld world;
  world.blocks.set_total(100 * gibibyte);
  world.start();
  for (const auto* name : {"a", "b", "c"}) world.create(VolumeWorld::here(name));
  world.run_for(15s);
  for (const auto* name : {"a", "b", "c"}) world.grow(name, 40 * gibibyte);
  // The provider's cache is told of nothing that it has written.
  world.store.set_faults([](FaultyStore::Call call, const store::Transaction*) -> std::optional<FaultyStore::Fault> {
    if (call != FaultyStore::Call::commit) return std::nullopt;
    return FaultyStore::Fault{Error(ErrorCode::unavailable, "no answer"), FaultyStore::Fault::When::before};
  });
  world.run_for(5s);
  world.store.set_faults({});
  world.run_for(2min, 1s);
  int grown = 0;
  for (const auto* name : {"a", "b", "c"})
    if (world.get_volume(name)->status.resources.at("storage") == Quantity::bytes(40 * gibibyte)) ++grown;
  CHECK(grown == 2);
  std::uint64_t promised = 0;
  const auto volumes = world.blocks.volumes().value();
  for (const auto& volume : volumes) promised += volume.size_bytes;
  CHECK(promised == 81 * gibibyte);
}

TEST_CASE("a volume that is larger in its store than it is wanted keeps its size and says so") {
  VolumeWorld world;
  world.start();
  world.create(VolumeWorld::here("data"));
  world.run_for(5s);
  const auto id = world.id_of(world.get_volume("data"));
  REQUIRE(world.blocks.expand(id, 5 * gibibyte));
  world.start();
  world.run_for(5s);
  CHECK(world.state_of("data") == VolumeState::available);
  CHECK(world.get_volume("data")->status.resources.at("storage") == Quantity::bytes(5 * gibibyte));
  const auto told = world.condition("data", "UpToDate");
  CHECK(told.status == ConditionStatus::false_);
  CHECK(told.reason == "ShrinkRefused");
  CHECK(world.blocks.volume(id).value().size_bytes == 5 * gibibyte);
  world.grow("data", 5 * gibibyte);
  world.run_for(5s);
  CHECK(world.condition("data", "UpToDate").status == ConditionStatus::true_);
}

TEST_CASE("a deleted volume waits for its machine and for whoever has it open, and leaves nothing") {
  VolumeWorld world;
  world.start();
  world.create(VolumeWorld::here("data"));
  world.run_for(5s);
  const auto id = world.id_of(world.get_volume("data"));
  CHECK(world.count_secrets() == 1);
  world.claim("data", "web");
  world.remove<api::Volume>("data");
  world.run_for(30s, 1s);
  CHECK(world.state_of("data") == VolumeState::available);
  CHECK(world.condition("data", "Removable").reason == "Claimed");
  CHECK(world.condition("data", "Removable").message.find("machine web") != std::string::npos);
  CHECK(world.blocks.volume(id));
  auto open = world.attach("data", "host-7").value();
  world.release("data");
  world.run_for(30s, 1s);
  CHECK(world.condition("data", "Removable").reason == "InUse");
  CHECK(world.condition("data", "Removable").message.find("host-7") != std::string::npos);
  open.reset();
  world.run_for(10s, 1s);
  CHECK_FALSE(world.get_volume("data"));
  CHECK(world.blocks.volume(id).error().code() == ErrorCode::not_found);
  CHECK(world.count_secrets() == 0);
  CHECK(world.events("data", "ImageDeletionSucceeded").size() == 1);
}

TEST_CASE("a volume that vanished from its store is never made anew") {
  VolumeWorld world;
  world.start();
  world.create(VolumeWorld::here("data"));
  world.run_for(5s);
  const auto id = world.id_of(world.get_volume("data"));
  REQUIRE(world.blocks.remove(id));
  world.start();
  world.run_for(2min, 1s);
  CHECK(world.blocks.volumes().value().empty());
  CHECK(world.state_of("data") == VolumeState::error);
  CHECK(world.condition("data", "Ready").reason == "VolumeLost");
  CHECK(world.events("data", "VolumeLost").size() == 1);
  world.remove<api::Volume>("data");
  world.run_for(2min, 1s);
  CHECK_FALSE(world.get_volume("data"));
}

// ---- snapshots ----------------------------------------------------------------------------------------------------

TEST_CASE("a snapshot keeps what the volume held, outlives it, and volumes are made from it") {
  VolumeWorld world;
  world.start();
  world.create(VolumeWorld::here("data"));
  // Before there is anything to make it from.
  world.create(VolumeWorld::from_snapshot("copy", "monday", 2 * gibibyte));
  world.run_for(5s);
  CHECK(world.state_of("copy") == VolumeState::pending);
  CHECK(world.condition("copy", "Ready").reason == "VolumeSnapshotNotFound");
  world.put("data", "monday");
  world.create(VolumeWorld::snapshot_of("monday", "data"));
  world.run_for(5s);
  const auto taken = world.get_snapshot("monday");
  CHECK(taken->status.state == VolumeSnapshotState::ready);
  CHECK(taken->status.snapshot_id == "ceph://" + taken->metadata.uid);
  CHECK(taken->status.size == Quantity::bytes(gibibyte));
  CHECK(taken->status.last_state_transition_time);
  CHECK(has_finalizer(taken->metadata, api::volume_snapshot_finalizer));
  CHECK(world.events("monday", "CreateImageSnapshotSucceeded").size() == 1);
  CHECK(world.state_of("copy") == VolumeState::available);
  CHECK(world.contents("copy", 6) == "monday");
  world.put("data", "tuesda");
  world.remove<api::Volume>("data");
  world.run_for(30s, 1s);
  REQUIRE_FALSE(world.get_volume("data"));
  world.create(VolumeWorld::from_snapshot("second", "monday"));
  world.create(VolumeWorld::from_snapshot("too-small", "monday", gibibyte / 2));
  world.run_for(5s);
  CHECK(world.contents("second", 6) == "monday");
  CHECK(world.state_of("too-small") == VolumeState::error);
  CHECK(world.condition("too-small", "Ready").reason == "ImageSizeIsSmallerThanSnapshotSize");
  world.remove<api::VolumeSnapshot>("monday");
  world.run_for(30s, 1s);
  CHECK_FALSE(world.get_snapshot("monday"));
  CHECK(world.blocks.snapshots().value().empty());
  CHECK(world.contents("second", 6) == "monday");
}

TEST_CASE("a snapshot waits for its volume; one of another pool or that is gone is not made") {
  VolumeWorld world;
  world.start();
  world.create(VolumeWorld::snapshot_of("early", "data"));
  auto elsewhere = VolumeWorld::here("elsewhere");
  elsewhere.spec.volume_pool_ref->name = "other";
  world.create(elsewhere);
  world.create(VolumeWorld::snapshot_of("foreign", "elsewhere"));
  world.run_for(10s);
  CHECK(world.get_snapshot("early")->status.state == VolumeSnapshotState::pending);
  CHECK(world.get_snapshot("early")->metadata.finalizers.empty());
  CHECK(world.events("early", "SourceVolumeNotFound").size() == 1);
  CHECK(world.get_snapshot("foreign")->metadata.finalizers.empty());
  CHECK(world.events("foreign", "SourceVolumeNotFound").empty());
  world.create(VolumeWorld::here("data"));
  world.run_for(10s);
  CHECK(world.get_snapshot("early")->status.state == VolumeSnapshotState::ready);
  // What is lost is said to be lost.
  REQUIRE(world.blocks.remove_snapshot(world.id_of(world.get_snapshot("early"))));
  world.start();
  world.run_for(10s);
  CHECK(world.get_snapshot("early")->status.state == VolumeSnapshotState::failed);
  CHECK(world.events("early", "VolumeSnapshotLost").size() == 1);
}

// ---- encryption ---------------------------------------------------------------------------------------------------

TEST_CASE("a volume is encrypted with the user's key, and keeps it whatever the user does to the Secret") {
  VolumeWorld world;
  world.start();
  world.create(VolumeWorld::encrypted(VolumeWorld::here("data"), "my-key"));
  world.create(VolumeWorld::encrypted(VolumeWorld::here("wrong"), "short-key"));
  world.create_key("short-key", base64_encode(std::string("too short")));
  world.run_for(10s);
  CHECK(world.state_of("data") == VolumeState::pending);
  CHECK(world.condition("data", "Ready").reason == "VolumeEncryptionSecretNotReady");
  CHECK(world.condition("data", "Ready").message ==
        "secret my-key does not exist: make it, with the key of the volume, 256 bits in base64, in the entry "
        "encryptionKey");
  CHECK(world.state_of("wrong") == VolumeState::error);
  CHECK(world.condition("wrong", "Ready").message.find("256 bits") != std::string::npos);
  CHECK(world.blocks.volumes().value().empty());
  world.create_key("my-key", key_text);
  world.run_for(10s);
  REQUIRE(world.state_of("data") == VolumeState::available);
  const auto id = world.id_of(world.get_volume("data"));
  CHECK(world.blocks.volume(id).value().is_encrypted);
  world.put("data", "secret");
  CHECK(world.events("data", "ConfigureEncryptionSucceeded").size() == 1);
  CHECK(world.contents("data", 6) == "secret");
  CHECK(world.blocks.open(id, std::nullopt).error().code() == ErrorCode::invalid);
  // Nothing of it is where everybody looks.
  const auto json = store::Object::of(*world.get_volume("data")).json();
  CHECK(json.find(key_text) == std::string::npos);
  world.change<api::Secret>(
      "my-key", [](api::Secret& s) { s.data["encryptionKey"].value = base64_encode(std::string(32, 'n')); });
  world.start();
  world.run_for(10s);
  CHECK(world.contents("data", 6) == "secret");
}

TEST_CASE("a snapshot of an encrypted volume brings its key along") {
  VolumeWorld world;
  world.start();
  world.create_key("my-key", key_text);
  world.create(VolumeWorld::encrypted(VolumeWorld::here("data"), "my-key"));
  world.run_for(5s);
  world.put("data", "secret");
  world.create(VolumeWorld::snapshot_of("monday", "data"));
  world.run_for(5s);
  REQUIRE(world.get_snapshot("monday")->status.state == VolumeSnapshotState::ready);
  world.remove<api::Volume>("data");
  world.remove<api::Secret>("my-key");
  world.run_for(30s, 1s);
  REQUIRE_FALSE(world.get_volume("data"));
  world.create_key("other-key", base64_encode(std::string(32, 'o')));
  world.create(VolumeWorld::from_snapshot("inherits", "monday"));
  world.create(VolumeWorld::encrypted(VolumeWorld::from_snapshot("rekeyed", "monday"), "other-key"));
  world.run_for(10s);
  CHECK(world.contents("inherits", 6) == "secret");
  CHECK(world.events("inherits", "VolumeEncryptionInherited").size() == 1);
  CHECK(world.contents("rekeyed", 6) == "secret");
  CHECK(world.blocks.volume(world.id_of(world.get_volume("rekeyed"))).value().is_encrypted);
  for (const auto* name : {"inherits", "rekeyed"}) world.remove<api::Volume>(name);
  world.remove<api::VolumeSnapshot>("monday");
  world.run_for(30s, 1s);
  CHECK(world.count_secrets() == 1);  // the user's
}

// ---- the pool -----------------------------------------------------------------------------------------------------

TEST_CASE("the pool says what its store takes, and the scheduler counts it once") {
  VolumeWorld world;
  world.blocks.set_total(100 * gibibyte);
  world.options.labels = {{"topology.ironcore.dev/zone", "east"}};
  world.options.classes["slow"] = &world.blocks;
  world.create_class("slow");
  world.start();
  Informer<api::Volume> volumes{world.store, world.clock, world.log};
  Informer<api::VolumePool> pools{world.store, world.clock, world.log};
  Informer<api::VolumeClass> classes{world.store, world.clock, world.log};
  EventRecorder events(world.store, {.component = "scheduler"}, world.clock, world.log);
  Scheduler<api::Volume> scheduler(world.store, volumes, pools, classes, events, {}, world.clock, world.log);
  scheduler.activate();
  auto parts = world.parts();
  parts.insert(parts.end(),
               {[&] { return volumes.step(); }, [&] { return pools.step(); }, [&] { return classes.step(); },
                [&] { return scheduler.step(); }, [&] { return events.step(); }});
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
  // The scheduler goes on subtracting the volumes of the silent store.
  CHECK(pool->status.allocatable.at("storage").value() == fast + 301 * gibibyte);
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

TEST_CASE("wrong options are refused, each by name") {
  VolumeWorld world;
  const auto refused = VolumeProvider::create(world.store, nullptr,
                                              {.pool = "Not A Name",
                                               .provider_id = "x",
                                               .classes = {{"fast", nullptr}},
                                               .thin_provision_ratio = 0,
                                               .workers = 0,
                                               .lease_time_to_live = 15s},
                                              world.clock, world.log);
  REQUIRE(refused.has_error());
  CHECK(refused.error().code() == ErrorCode::invalid);
  std::vector<std::string> fields;
  const auto error = refused.error();
  for (const auto& field : error.fields()) fields.push_back(field.field);
  CHECK(fields == std::vector<std::string>{"pool", "provider_id", "lease_time_to_live", "classes", "workers",
                                           "thin_provision_ratio"});
}

// ---- faults -------------------------------------------------------------------------------------------------------

namespace {

/// The whole life of some volumes and a snapshot; ends with one volume, grown, and checks that it is so.
void live(VolumeWorld& world) {
  const auto run = [&] { world.run_for(3min, 5s); };
  world.start();
  world.create_key("my-key", key_text);
  world.create(VolumeWorld::here("data"));
  world.create(world.from_image("root"));
  world.create(VolumeWorld::encrypted(VolumeWorld::here("safe"), "my-key"));
  world.create(VolumeWorld::snapshot_of("monday", "safe"));
  world.create(VolumeWorld::from_snapshot("copy", "monday"));
  run();
  for (const auto* name : {"data", "root", "safe", "copy"}) {
    CAPTURE(name);
    REQUIRE(world.state_of(name) == VolumeState::available);
    CHECK(world.condition(name, "Ready").status == ConditionStatus::true_);
    CHECK(world.condition(name, "UpToDate").status == ConditionStatus::true_);
  }
  REQUIRE(world.get_snapshot("monday")->status.state == VolumeSnapshotState::ready);
  CHECK(world.blocks.volumes().value().size() == 4);
  CHECK(world.blocks.snapshots().value().size() == 1);
  CHECK(world.blocks.bases().value().size() == 1);
  world.grow("data", 2 * gibibyte);
  for (const auto* name : {"root", "safe", "copy"}) world.remove<api::Volume>(name);
  world.remove<api::VolumeSnapshot>("monday");
  run();
  for (const auto* name : {"root", "safe", "copy"}) CHECK_FALSE(world.get_volume(name));
  CHECK_FALSE(world.get_snapshot("monday"));
  const auto left = world.blocks.volumes().value();
  REQUIRE(left.size() == 1);
  CHECK(left[0].size_bytes == 2 * gibibyte);
  CHECK(world.get_volume("data")->status.resources.at("storage") == Quantity::bytes(2 * gibibyte));
  CHECK(world.blocks.snapshots().value().empty());
  CHECK(world.blocks.maintain({}).value().unfinished.empty());
  CHECK(world.count_secrets() == 2);  // the user's, and that of what is left
  CHECK(world.events("ceph", "OrphanedVolume").empty());
}

}  // namespace

TEST_CASE("whatever call of the store of blocks fails, before or after any of its steps, everything ends right") {
  std::uint64_t moments = 0;
  bool was_reached = true;
  for (std::uint64_t n = 0; was_reached; ++n) {
    CAPTURE(n);
    VolumeWorld world;
    was_reached = false;
    std::string name;
    world.blocks.set_faults(
        [&, seen = std::uint64_t{0}](const sim::BlockStore::Call& call) mutable -> std::optional<Error> {
          if (!world.is_stepping || seen++ != n) return std::nullopt;
          was_reached = true;
          name = std::string(call.name) + " step " + std::to_string(call.step);
          return Error(ErrorCode::unavailable, "the answer was lost");
        });
    CAPTURE(name);
    live(world);
    if (was_reached) ++moments;
  }
  CHECK(moments > 100);
}

TEST_CASE("whatever write to the store of objects fails or is not answered, everything ends right") {
  for (const auto when : {FaultyStore::Fault::When::before, FaultyStore::Fault::When::after})
    CHECK(at_each_failing_write<VolumeWorld>(when, live) > 20);
}

TEST_CASE("a provider that is killed at any write and started again ends right") {
  const int writes = at_each_deadly_write<VolumeWorld>([](VolumeWorld& world, bool& is_dead) {
    world.start();
    world.create_key("my-key", key_text);
    world.create(world.from_image("root"));
    world.create(VolumeWorld::encrypted(VolumeWorld::here("safe"), "my-key"));
    world.create(VolumeWorld::snapshot_of("monday", "safe"));
    world.run_for(5s, 1s);
    is_dead = false;
    world.blocks.crash();
    world.start();
    world.run_for(1min, 5s);
    CHECK(world.state_of("root") == VolumeState::available);
    CHECK(world.state_of("safe") == VolumeState::available);
    CHECK(world.get_snapshot("monday")->status.state == VolumeSnapshotState::ready);
    CHECK(world.blocks.volumes().value().size() == 2);
    CHECK(world.blocks.snapshots().value().size() == 1);
  });
  CHECK(writes > 10);
}

TEST_CASE("running on its own threads, volumes come and go") {
  SystemClock clock;
  NullLog log;
  sim::BlockStore blocks(clock);
  tests::TemporaryDirectory directory;
  const auto image = tests::make_image(directory.path() / "image", {.rootfs = std::string(8 << 20, 'r')});
  const auto images = image::Cache::open({.directory = directory.path() / "cache"}, clock, log).value();
  const auto store = store::memory_store(clock, log);
  const auto provider =
      VolumeProvider::create(*store, images.get(),
                             {.pool = "ceph", .provider_id = "ceph://one", .classes = {{"fast", &blocks}}}, clock, log)
          .value();
  api::VolumeClass fast;
  fast.metadata.name = "fast";
  fast.capabilities = {{"tps", Quantity(1)}, {"iops", Quantity(1)}};
  REQUIRE(store::create(*store, fast));
  std::jthread runner([&](std::stop_token stop) { provider->run(stop); });
  for (int i = 0; i < 20; ++i) {
    auto made = VolumeWorld::here("v" + std::to_string(i));
    if (i % 2 == 0) {
      made.spec.data_source.emplace();
      made.spec.data_source->os_image = api::OsImage{.image = image, .architecture = ""};
    }
    REQUIRE(store::create(*store, std::move(made)));
  }
  CHECK(eventually(clock, [&] {
    const auto all = store::list<api::Volume>(*store).value();
    return std::all_of(all.begin(), all.end(),
                       [](const auto& volume) { return volume->status.state == VolumeState::available; });
  }));
  CHECK(blocks.volumes().value().size() == 20);
  REQUIRE(blocks.bases().value().size() == 1);
  CHECK(blocks.bases().value()[0].children == 10);
  for (int i = 0; i < 20; ++i) REQUIRE(store::remove<api::Volume>(*store, "default", "v" + std::to_string(i)));
  CHECK(eventually(clock, [&] { return store::list<api::Volume>(*store).value().empty(); }));
  CHECK(blocks.volumes().value().empty());
}
