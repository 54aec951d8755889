// SPDX-License-Identifier: Apache-2.0
// The whole life of some volumes and a snapshot, with each of its calls and writes failing in turn.
#include "ironcore/control/volume_provider.hpp"

#include <doctest/doctest.h>

#include "fault_loops.hpp"
#include "volume_world.hpp"

using namespace ironcore;
using namespace ironcore::control;
using namespace ironcore::control::test;
using api::ConditionStatus;
using api::VolumeSnapshotState;
using api::VolumeState;

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
