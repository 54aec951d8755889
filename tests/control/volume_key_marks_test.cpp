// SPDX-License-Identifier: Apache-2.0
// Wrapped keys whose Secrets were edited, or brought back without what was on them: each still counts, and is wrapped again.
#include <doctest/doctest.h>

#include "key_world.hpp"

using namespace ironcore;
using namespace ironcore::control;
using namespace ironcore::control::test;
using api::ConditionStatus;

namespace {

struct MarkWorld : KeyWorld {
  std::string name_of(const std::string& uid) { return "volumekey-" + uid; }
  api::Secret secret(const std::string& uid) {
    const auto found = get<api::Secret>(name_of(uid), "default");
    REQUIRE(found);
    return *found;
  }
  bool is_as_made(const api::Secret& made) {
    const auto now = secret(made.metadata.owner_references.at(0).uid);
    return now.metadata.labels == made.metadata.labels && now.metadata.annotations == made.metadata.annotations;
  }
  /// Gone, and there again with nothing but what is needed to open it.
  void bring_back(const std::string& uid, const std::string& type) {
    const auto before = secret(uid);
    remove<api::Secret>(before.metadata.name);
    api::Secret again;
    again.metadata.namespace_ = "default";
    again.metadata.name = before.metadata.name;
    again.metadata.owner_references = before.metadata.owner_references;
    again.type = type;
    again.data = before.data;
    create(again);
  }
};

constexpr const char* label = "storage.ironcore.dev/wrapped-key";

}  // namespace

TEST_CASE("a wrapped key without its label or its notes counts, is wrapped again, and has them back") {
  MarkWorld world;
  world.start();
  for (const auto* name : {"unlabelled", "unnoted", "bare", "again"})
    world.create(VolumeWorld::generated(VolumeWorld::here(name)));
  world.run_for(5s);
  world.create(VolumeWorld::snapshot_of("monday", "bare"));
  world.run_for(3min, 1s);
  REQUIRE(world.keys_current().message == "all keys of the pool are wrapped with rack-1/1");
  std::vector<api::Secret> made;
  for (const auto* name : {"unlabelled", "unnoted", "bare", "again"})
    made.push_back(world.secret(world.get_volume(name)->metadata.uid));
  made.push_back(world.secret(world.get_snapshot("monday")->metadata.uid));

  world.change<api::Secret>(made[0].metadata.name, [](api::Secret& s) { s.metadata.labels.erase(label); });
  world.change<api::Secret>(made[1].metadata.name, [](api::Secret& s) { s.metadata.annotations.clear(); });
  for (const auto i : {2, 4})
    world.change<api::Secret>(made[static_cast<std::size_t>(i)].metadata.name, [](api::Secret& s) {
      s.metadata.labels.clear();
      s.metadata.annotations.clear();
    });
  world.bring_back(world.get_volume("again")->metadata.uid, std::string(api::volume_wrapped_key_secret_type));
  world.keys.add_version();
  bool is_told = false;
  for (int i = 0; i < 300 && !is_told; ++i) {
    world.run_for(1s, 1s);
    is_told = world.keys_current().message.find("needs any more: rack-1/1") != std::string::npos;
  }
  REQUIRE(is_told);
  for (const auto& one : made) {
    CAPTURE(one.metadata.name);
    CHECK(world.wrapped_by(one.metadata.owner_references.at(0).uid) == "rack-1/2");
    CHECK(world.is_as_made(one));
  }
}

TEST_CASE(
    "a wrapped key that was brought back with another type has its label again before anybody says it is not needed") {
  MarkWorld world;
  world.start();
  world.create(VolumeWorld::generated(VolumeWorld::here("data")));
  world.run_for(3min, 1s);
  const auto uid = world.get_volume("data")->metadata.uid;
  const auto made = world.secret(uid);
  world.bring_back(uid, "Opaque");
  world.claim("data", "web");
  world.run_for(5s);
  REQUIRE(world.holder_of("data") == "web");
  CHECK(world.is_as_made(made));
  world.release("data");
  world.keys.add_version();
  world.run_for(5min, 1s);
  CHECK(world.wrapped_by(uid) == "rack-1/2");
  CHECK(world.keys_current().message.find("needs any more: rack-1/1") != std::string::npos);
}

TEST_CASE("a wrapped key of another pool without its label is left alone, and its version is needed") {
  MarkWorld world;
  auto others = world.options;
  others.pool = "attic";
  others.provider_id = "ceph://attic";
  sim::BlockStore attic(world.clock);
  others.classes = {{"fast", &attic}};
  auto there = VolumeWorld::generated(VolumeWorld::here("there"));
  there.spec.volume_pool_ref->name = "attic";
  world.create(there);
  {
    const auto other = VolumeProvider::create(world.store, world.images.get(), others, world.clock, world.log).value();
    world.pass(5s, {[&] { return other->step(); }});
  }
  const auto uid = world.get_volume("there")->metadata.uid;
  world.change<api::Secret>(world.name_of(uid), [](api::Secret& s) { s.metadata.labels.clear(); });
  world.keys.add_version();
  world.start();
  world.run_for(5min, 1s);
  CHECK(world.wrapped_by(uid) == "rack-1/1");
  CHECK(world.secret(uid).metadata.labels.empty());
  CHECK(world.keys_current().status == ConditionStatus::true_);
  CHECK(world.keys_current().message == "all keys of the pool are wrapped with rack-1/2");
}
