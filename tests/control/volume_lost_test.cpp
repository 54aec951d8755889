// SPDX-License-Identifier: Apache-2.0
// Data that goes from a store while its provider runs is told soon, and what is only late is not.
#include <doctest/doctest.h>

#include <filesystem>
#include <vector>

#include "ironcore/storage/local.hpp"
#include "volume_world.hpp"

using namespace ironcore;
using namespace ironcore::control;
using namespace ironcore::control::test;
using api::ConditionStatus;
using api::VolumeSnapshotState;
using api::VolumeState;

TEST_CASE(
    "a volume that somebody removes from its store is told as lost within a turn of maintenance, and found again") {
  VolumeWorld world;
  // A directory, so that what is gone can come back.
  const auto there = world.directory.path() / "local";
  const auto executor = [](const std::function<void()>& job) { job(); };
  auto local = storage::LocalStore::open({.directory = there, .executor = executor}, world.clock).value();
  world.options.classes = {{"fast", local.get()}};
  world.start();
  for (const auto* name : {"data", "other", "going"}) world.create(VolumeWorld::here(name, 1 << 20));
  world.run_for(5s);
  REQUIRE(world.state_of("data") == VolumeState::available);
  // Nobody tells anything of what is there.
  world.run_for(5min, 5s);
  CHECK(world.events("data", "VolumeLost").empty());
  const auto aside = world.directory.path() / "aside";
  std::filesystem::create_directories(aside);
  const auto uid = world.get_volume("data")->metadata.uid;
  std::vector<std::filesystem::path> files;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(there / "volumes"))
    if (entry.path().filename().string().starts_with(uid)) files.push_back(entry.path());
  REQUIRE_FALSE(files.empty());
  for (const auto& file : files) std::filesystem::rename(file, aside / file.filename());
  world.run_for(world.options.maintain_every + 5s, 1s);
  CHECK(world.state_of("data") == VolumeState::error);
  for (const auto* type : {"Ready", "UpToDate"}) {
    CAPTURE(type);
    const auto told = world.condition("data", type);
    CHECK(told.status == ConditionStatus::false_);
    CHECK(told.reason == "VolumeLost");
    CHECK_MESSAGE(told.message.find("bring its data back there under the same name") != std::string::npos,
                  told.message);
  }
  CHECK(world.events("data", "VolumeLost").size() == 1);
  CHECK(world.state_of("other") == VolumeState::available);
  world.run_for(10min, 5s);
  CHECK(world.events("data", "VolumeLost").front()->count == 1);

  for (const auto& file : files) std::filesystem::rename(aside / file.filename(), file);
  world.run_for(2min, 1s);
  CHECK(world.state_of("data") == VolumeState::available);
  CHECK(world.condition("data", "Ready").status == ConditionStatus::true_);
  CHECK(world.condition("data", "UpToDate").status == ConditionStatus::true_);
  world.provider.reset();
}

TEST_CASE("a snapshot that somebody removes from its store is told as lost within a turn of maintenance") {
  VolumeWorld world;
  world.start();
  world.create(VolumeWorld::here("data"));
  world.run_for(5s);
  world.create(VolumeWorld::snapshot_of("monday", "data"));
  world.run_for(5s);
  REQUIRE(world.get_snapshot("monday")->status.state == VolumeSnapshotState::ready);
  REQUIRE(world.blocks.remove_snapshot(world.id_of(world.get_snapshot("monday"))));
  world.run_for(world.options.maintain_every + 5s, 1s);
  CHECK(world.get_snapshot("monday")->status.state == VolumeSnapshotState::failed);
  CHECK(world.events("monday", "VolumeSnapshotLost").size() == 1);
  CHECK(world.state_of("data") == VolumeState::available);
}

TEST_CASE("what is made, deleted or not answered while the store is asked is not lost") {
  VolumeWorld world;
  world.start();
  for (const auto* name : {"data", "going"}) world.create(VolumeWorld::here(name));
  world.run_for(5s);
  bool is_told = false;
  // The list is always answered late: volumes come and go between it and the objects.
  int number = 0;
  world.blocks.set_faults([&](const sim::BlockStore::Call& call) -> std::optional<Error> {
    if (call.name != "volumes" || call.step != 0 || call.is_done) return std::nullopt;
    if (++number == 1) world.remove<api::Volume>("going");
    world.create(VolumeWorld::here("new-" + std::to_string(number)));
    if (number % 3 == 0) return Error(ErrorCode::unavailable, "no answer");
    return std::nullopt;
  });
  for (int i = 0; i < 6 * 60; ++i) {
    world.run_for(1s, 1s);
    for (const auto& volume : store::list<api::Volume>(*world.real).value())
      for (const auto& condition : volume->status.conditions) is_told = is_told || condition.reason == "VolumeLost";
  }
  CHECK(number >= 6);
  CHECK_FALSE(is_told);
  CHECK_FALSE(world.get_volume("going"));
  CHECK(world.state_of("new-1") == VolumeState::available);
}
