// SPDX-License-Identifier: Apache-2.0
// Volumes whose data cannot be had: Ready says so for as long as it is true, whoever has claimed them.
#include <doctest/doctest.h>

#include "key_world.hpp"

using namespace ironcore;
using namespace ironcore::control;
using namespace ironcore::control::test;
using api::ConditionStatus;
using api::VolumeSnapshotState;
using api::VolumeState;

namespace {

struct UnusableWorld : KeyWorld {
  UnusableWorld() {
    start();
    create(generated(here("data")));
    run_for(5s);
    REQUIRE(state_of("data") == VolumeState::available);
  }
  std::string wrapped() { return "volumekey-" + get_volume("data")->metadata.uid; }
  storage::BlockId id() { return id_of(get_volume("data")); }
  /// Why it cannot be used, as both conditions say; empty if it can.
  std::string trouble(const std::string& name = "data") {
    const auto ready = condition(name, "Ready"), current = condition(name, "UpToDate");
    const bool is_usable = state_of(name) == VolumeState::available;
    CHECK(is_usable == (ready.status == ConditionStatus::true_));
    if (is_usable) return "";
    CHECK(state_of(name) == VolumeState::error);
    CHECK(current.status == ConditionStatus::false_);
    CHECK(current.reason == ready.reason);
    CHECK(current.message == ready.message);
    return ready.reason;
  }
  /// Whether it is `reason` whatever machines do, also for another process of the provider, and told once.
  void check_told(const std::string& reason) {
    for (const bool is_restarted : {false, true}) {
      CAPTURE(is_restarted);
      claim("data", "web");
      run_for(1min, 1s);
      CHECK(trouble() == reason);
      CHECK(holder_of("data").empty());
      release("data");
      run_for(2min, 1s);
      CHECK(trouble() == reason);
      start();
      run_for(2min, 1s);
      CHECK(trouble() == reason);
    }
    CHECK(events("data", reason).size() == 1);
  }
  void check_well() {
    run_for(3min, 1s);
    CHECK(trouble().empty());
    CHECK(condition("data", "UpToDate").status == ConditionStatus::true_);
    claim("data", "db");
    run_for(10s);
    CHECK(holder_of("data") == "db");
  }
};

}  // namespace

TEST_CASE("a volume whose key is gone is not ready, claimed or released, until the key is back") {
  UnusableWorld world;
  const auto kept = *world.get<api::Secret>(world.wrapped(), "default");
  world.remove<api::Secret>(world.wrapped());
  world.check_told("EncryptionKeyLost");
  CHECK(world.condition("data", "Ready").message.find(kept.metadata.name) != std::string::npos);
  // Nothing is taken of it, either.
  world.create(VolumeWorld::snapshot_of("monday", "data"));
  world.run_for(1min, 1s);
  CHECK(world.get_snapshot("monday")->status.state == VolumeSnapshotState::pending);
  auto again = kept;
  again.metadata.resource_version = {};
  again.metadata.uid.clear();
  again.metadata.creation_timestamp.reset();
  world.create(again);
  world.check_well();
  CHECK(world.get_snapshot("monday")->status.state == VolumeSnapshotState::ready);
}

TEST_CASE("a volume with a damaged wrapped key, or without the version that wrapped it, is not ready") {
  UnusableWorld world;
  SUBCASE("damaged") {
    const auto good = world.get<api::Secret>(world.wrapped(), "default")->data;
    world.change<api::Secret>(world.wrapped(), [](api::Secret& s) { s.data["wrappedKey"].value = "nonsense"; });
    world.check_told("EncryptionKeyDamaged");
    world.change<api::Secret>(world.wrapped(), [&](api::Secret& s) { s.data = good; });
  }
  SUBCASE("the version") {
    world.keys.add_version();
    world.keys.lose(1);
    world.check_told("KeyEncryptionKeyMissing");
    world.keys.bring_back(1);
  }
  SUBCASE("the provider has no keys") {
    world.options.keys = nullptr;
    world.start();
    world.check_told("KeyEncryptionKeyMissing");
    world.options.keys = &world.keys;
    world.start();
  }
  world.check_well();
}

TEST_CASE("a volume with another's header is not ready from the first claim on, also when it is released") {
  UnusableWorld world;
  world.create(VolumeWorld::generated(VolumeWorld::here("other")));
  world.run_for(5s);
  const auto other = world.id_of(world.get_volume("other"));
  REQUIRE(world.blocks.exchange_headers(world.id(), other));
  world.check_told("EncryptionKeyLost");
  REQUIRE(world.blocks.exchange_headers(world.id(), other));
  world.check_well();
}

TEST_CASE("what will be tried again changes nothing about Ready: neither for what is well nor for what is not") {
  UnusableWorld world;
  world.create(VolumeWorld::generated(VolumeWorld::here("lost")));
  world.run_for(5s);
  world.remove<api::Secret>("volumekey-" + world.get_volume("lost")->metadata.uid);
  world.claim("lost", "web");
  world.run_for(10s);
  REQUIRE(world.trouble("lost") == "EncryptionKeyLost");
  std::string reason;
  SUBCASE("the store does not answer") {
    world.blocks.disconnect();
    reason = "StoreUnavailable";
  }
  SUBCASE("the key server does not answer") {
    world.fail(ErrorCode::unavailable);
    reason = "KeyManagementUnavailable";
  }
  world.start();
  world.run_for(3min, 1s);
  CHECK(world.state_of("data") == VolumeState::available);
  CHECK(world.condition("data", "Ready").status == ConditionStatus::true_);
  CHECK(world.condition("data", "UpToDate").reason == reason);
  CHECK(world.state_of("lost") == VolumeState::error);
  CHECK(world.condition("lost", "Ready").reason == "EncryptionKeyLost");
  world.blocks.reconnect();
  world.keys.set_faults({});
  world.run_for(3min, 1s);
  CHECK(world.trouble().empty());
  CHECK(world.condition("data", "UpToDate").status == ConditionStatus::true_);
  CHECK(world.trouble("lost") == "EncryptionKeyLost");
}

TEST_CASE("a machine keeps what it has: its volume stays ready while its Secret has the key") {
  UnusableWorld world;
  world.claim("data", "web");
  world.run_for(10s);
  REQUIRE(world.holder_of("data") == "web");
  world.put("data", "secret");
  const auto open = world.attach("data").value();
  world.remove<api::Secret>(world.wrapped());
  world.keys.lose(1);
  world.start();
  world.run_for(3min, 1s);
  CHECK(world.trouble().empty());
  CHECK(world.condition("data", "UpToDate").status == ConditionStatus::true_);
  CHECK(world.contents("data", 6) == "secret");
}
