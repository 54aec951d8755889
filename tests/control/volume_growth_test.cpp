// SPDX-License-Identifier: Apache-2.0
// Volumes that grow, and that wait for room to grow.
#include "ironcore/control/volume_provider.hpp"

#include <doctest/doctest.h>

#include "volume_world.hpp"

using namespace ironcore;
using namespace ironcore::control;
using namespace ironcore::control::test;
using api::ConditionStatus;
using api::VolumeState;

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
