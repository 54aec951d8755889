// SPDX-License-Identifier: Apache-2.0
// Encrypted volumes that can never be, and keys that are none: refused before anything is made.
#include <doctest/doctest.h>

#include "ironcore/storage/local.hpp"
#include "volume_world.hpp"

using namespace ironcore;
using namespace ironcore::control;
using namespace ironcore::control::test;
using api::VolumeState;

TEST_CASE("a store that never encrypts says so before a key, an image or a Secret is looked for") {
  VolumeWorld world;
  const auto executor = [](const std::function<void()>& job) { job(); };
  auto local =
      storage::LocalStore::open({.directory = world.directory.path() / "local", .executor = executor}, world.clock)
          .value();
  world.options.classes = {{"fast", local.get()}};
  world.start();
  world.create(VolumeWorld::generated(VolumeWorld::here("generated", 1 << 20)));
  world.create(VolumeWorld::encrypted(VolumeWorld::here("users", 1 << 20), "missing"));
  world.create(VolumeWorld::generated(world.from_image("image")));
  world.create(VolumeWorld::here("plain", 1 << 20));
  world.run_for(1min, 1s);
  for (const auto* name : {"generated", "users", "image"}) {
    CAPTURE(name);
    CHECK(world.state_of(name) == VolumeState::error);
    const auto told = world.condition(name, "Ready");
    CHECK(told.reason == "EncryptionUnsupported");
    CHECK_MESSAGE(told.message.find("use a class whose pool is on Ceph") != std::string::npos, told.message);
    CHECK(world.events(name, "EncryptionUnsupported").size() == 1);
  }
  CHECK(world.state_of("plain") == VolumeState::available);
  CHECK(local->bases()->empty());
  world.provider.reset();
}

TEST_CASE("a user's key of which all bytes are the same makes no volume; in both forms, what is random does") {
  VolumeWorld world;
  world.start();
  const std::string zeros(32, '\0'), text(32, 'a');
  world.create_key("zeros", base64_encode(zeros));
  world.create_key("raw-zeros", zeros);
  world.create_key("letters", text);
  world.create_key("short", base64_encode(std::string(16, 'x')));
  world.create_key("base64", key_text);
  world.create_key("raw", key_of_user);
  for (const auto* name : {"zeros", "raw-zeros", "letters", "short", "base64", "raw"})
    world.create(VolumeWorld::encrypted(VolumeWorld::here(std::string("of-") + name), name));
  world.run_for(10s);
  for (const auto* name : {"of-zeros", "of-raw-zeros", "of-letters"}) {
    CAPTURE(name);
    CHECK(world.state_of(name) == VolumeState::error);
    const auto told = world.condition(name, "Ready");
    CHECK(told.reason == "VolumeEncryptionSecretNotReady");
    CHECK_MESSAGE(told.message.find("all its bytes are the same") != std::string::npos, told.message);
  }
  CHECK(world.condition("of-short", "Ready").message ==
        "entry encryptionKey of secret short must be 256 random bits: 44 characters of base64, or the 32 bytes as they "
        "are; it has 24");
  for (const auto* name : {"of-base64", "of-raw"}) CHECK(world.state_of(name) == VolumeState::available);
  CHECK(world.blocks.volumes()->size() == 2);
  // Put right, it is made; and what the Secret says later does not matter.
  world.change<api::Secret>("zeros", [](api::Secret& s) { s.data["encryptionKey"].value = key_text; });
  world.run_for(10s);
  CHECK(world.state_of("of-zeros") == VolumeState::available);
  world.change<api::Secret>("zeros", [&](api::Secret& s) { s.data["encryptionKey"].value = base64_encode(zeros); });
  world.start();
  world.run_for(10s);
  CHECK(world.state_of("of-zeros") == VolumeState::available);
}
