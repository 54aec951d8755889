// SPDX-License-Identifier: Apache-2.0
// Snapshots of volumes, and volumes that are made from them.
#include "ironcore/control/volume_provider.hpp"

#include <doctest/doctest.h>

#include "ironcore/control/finalizers.hpp"
#include "volume_world.hpp"

using namespace ironcore;
using namespace ironcore::control;
using namespace ironcore::control::test;
using api::VolumeSnapshotState;
using api::VolumeState;

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
  world.create_key("other-key", base64_encode(std::string(31, 'o') + "!"));
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

TEST_CASE("a snapshot that names another pool than its volume's is told so, and taken when it does not any more") {
  VolumeWorld world;
  world.start();
  auto astray = VolumeWorld::snapshot_of("astray", "data");
  const std::string annotation = "volumepoollet.ironcore.dev/volume-pool";
  astray.metadata.annotations[annotation] = "elsewhere";
  world.create(astray);
  world.run_for(15s);
  CHECK(world.events("astray", "VolumeSnapshotElsewhere").empty());
  world.create(VolumeWorld::here("data"));
  world.run_for(15s);
  CHECK(world.get_snapshot("astray")->status.state == api::VolumeSnapshotState::pending);
  const auto told = world.events("astray", "VolumeSnapshotElsewhere");
  REQUIRE(told.size() == 1);
  CHECK(told.front()->message == "annotation " + annotation +
                                     " says pool elsewhere, but volume data is in pool ceph: remove the annotation, "
                                     "and the snapshot is taken here");
  world.change<api::VolumeSnapshot>("astray",
                                    [&](api::VolumeSnapshot& one) { one.metadata.annotations.erase(annotation); });
  world.run_for(15s);
  CHECK(world.get_snapshot("astray")->status.state == api::VolumeSnapshotState::ready);
  CHECK(world.get_snapshot("astray")->metadata.annotations.at(annotation) == "ceph");
}
