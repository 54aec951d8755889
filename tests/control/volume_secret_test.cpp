// SPDX-License-Identifier: Apache-2.0
// What others make of the Secret that opens a volume does not last.
#include <doctest/doctest.h>

#include "host_world.hpp"
#include "volume_world.hpp"

using namespace ironcore;
using namespace ironcore::control;
using namespace ironcore::control::test;
using namespace std::chrono_literals;

namespace {

struct SecretWorld : HostWorld {
  std::string secret_name(const std::string& volume) { return "volume-" + get_volume(volume)->metadata.uid; }
  Shared<api::Secret> secret_of(const std::string& volume) { return get<api::Secret>(secret_name(volume), "default"); }
  void spoil(const std::string& volume, const std::function<void(api::Secret&)>& edit) {
    change<api::Secret>(secret_name(volume), edit);
  }
};

}  // namespace

TEST_CASE("a Secret that others change or remove is put right at once, whether a machine has the volume or not") {
  SecretWorld world;
  world.start();
  world.create(VolumeWorld::here("free"));
  world.create(VolumeWorld::generated(VolumeWorld::here("data")));
  world.run_for(5s);
  world.claim("data", "web");
  world.run_for(5s);
  REQUIRE(world.secret_of("data")->data.contains("encryptionKey"));
  for (const auto* name : {"free", "data"}) {
    CAPTURE(name);
    const auto good = world.secret_of(name)->data;
    const auto is_good_at_once = [&] {
      world.run_to_rest();  // no time passes
      const auto now = world.secret_of(name);
      return now && now->data == good;
    };
    world.spoil(name, [](api::Secret& s) { s.data["userKey"].value = "wrong"; });
    CHECK(is_good_at_once());
    world.spoil(name, [](api::Secret& s) { s.data.erase("userID"); });
    CHECK(is_good_at_once());
    world.spoil(name, [](api::Secret& s) { s.data["more"].value = "anything"; });
    CHECK(is_good_at_once());
    world.spoil(name, [](api::Secret& s) { s.data.clear(); });
    CHECK(is_good_at_once());
    world.remove<api::Secret>(world.secret_name(name));
    CHECK(is_good_at_once());
    CHECK(world.attach(name));
  }
  CHECK(world.events("data", "EncryptionKeyRestored").size() >= 1);
}

TEST_CASE("a Secret that is nobody's any more is told at once, and taken again when it is gone") {
  SecretWorld world;
  world.start();
  world.create(VolumeWorld::here("data"));
  world.run_for(5s);
  const auto good = world.secret_of("data")->data;
  world.spoil("data", [](api::Secret& s) { s.metadata.owner_references.clear(); });
  world.run_to_rest();
  const auto told = world.condition("data", "UpToDate");
  CHECK(told.status == api::ConditionStatus::false_);
  CHECK_MESSAGE(told.message.find("does not belong to data; delete it") != std::string::npos, told.message);
  world.remove<api::Secret>(world.secret_name("data"));
  world.run_to_rest();
  REQUIRE(world.secret_of("data"));
  CHECK(world.secret_of("data")->data == good);
  CHECK(world.condition("data", "UpToDate").status == api::ConditionStatus::true_);
}

TEST_CASE("what the provider itself writes into a Secret, and Secrets of others, bring no other turn") {
  SecretWorld world;
  world.start();
  world.create(VolumeWorld::here("data"));
  world.run_for(5s);
  int turns = 0;
  world.blocks.set_faults([&](const sim::BlockStore::Call& call) -> std::optional<Error> {
    if (call.name == "access" && call.step == 0 && !call.is_done) ++turns;
    return std::nullopt;
  });
  const auto count = [&] {
    world.run_to_rest();
    return std::exchange(turns, 0);
  };
  CHECK(count() == 0);
  const auto before = world.secret_of("data");
  REQUIRE(world.blocks.rotate_credential("default"));
  world.change<api::Volume>("data", [](api::Volume& v) { v.metadata.labels["touched"] = "yes"; });
  CHECK(count() == 1);
  CHECK(world.secret_of("data")->data != before->data);
  // One of the same name elsewhere, and one of another name.
  api::Namespace elsewhere;
  elsewhere.metadata.name = "elsewhere";
  world.create(elsewhere);
  for (const auto& [space, name] : {std::pair<std::string, std::string>{"elsewhere", before->metadata.name},
                                    {"default", "volume-" + Uid::random(world.random).to_text()}}) {
    auto foreign = *before;
    foreign.metadata = {};
    foreign.metadata.namespace_ = space;
    foreign.metadata.name = name;
    world.create(foreign);
    CHECK(count() == 0);
  }
  // Labels are the user's.
  world.spoil("data", [](api::Secret& s) { s.metadata.labels["mine"] = "yes"; });
  CHECK(count() == 0);
  world.spoil("data", [](api::Secret& s) { s.data["userKey"].value = "wrong"; });
  CHECK(count() == 1);
}
