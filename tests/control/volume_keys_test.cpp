// SPDX-License-Identifier: Apache-2.0
// Keys of volumes: generated, wrapped, wrapped again, and what happens when the ones that wrap are not there.
#include <doctest/doctest.h>

#include "ironcore/control/volume_provider.hpp"
#include "key_world.hpp"

using namespace ironcore;
using namespace ironcore::control;
using namespace ironcore::control::test;
using api::ConditionStatus;
using api::VolumeSnapshotState;
using api::VolumeState;

TEST_CASE(
    "a volume that asks for encryption without a Secret gets a key of its own, readable only while a machine has it") {
  KeyWorld world;
  world.start();
  for (const auto* name : {"data", "other"}) world.create(VolumeWorld::generated(VolumeWorld::here(name)));
  world.run_for(5s);
  REQUIRE(world.state_of("data") == VolumeState::available);
  CHECK(world.blocks.volume(world.id_of(world.get_volume("data"))).value().is_encrypted);
  CHECK(world.wrapped_by_of("data") == "rack-1/1");
  CHECK(world.secret_entry("data", "encryptionKey").empty());
  // Who finds no key there knows that there must be one.
  CHECK(world.get_volume("data")->status.access->volume_attributes.at("encryption") == "luks2");
  world.claim("data", "web");
  world.run_for(5s);
  CHECK(world.holder_of("data") == "web");
  const auto key = world.secret_entry("data", "encryptionKey");
  REQUIRE(key.size() == 44);
  CHECK(world.is_anywhere(key));
  world.put("data", "secret");
  world.release("data");
  world.run_for(5s);
  CHECK(world.secret_entry("data", "encryptionKey").empty());
  CHECK_FALSE(world.is_anywhere(key));
  CHECK_FALSE(world.is_anywhere(base64_decode(key).value()));
  CHECK(world.contents_claimed("data", 6) == "secret");
  world.claim("other", "web");
  world.run_for(5s);
  CHECK(world.secret_entry("other", "encryptionKey") != key);
  // At rest nothing is written, once the pool has said that all keys are as they shall be.
  world.run_for(3min, 5s);
  const auto revision = world.real->revision().value();
  world.run_for(5min, 5s);
  CHECK(world.real->revision().value() == revision);
  world.release("other");
  for (const auto* name : {"data", "other"}) world.remove<api::Volume>(name);
  world.run_for(1min, 1s);
  CHECK_FALSE(world.get_volume("data"));
  CHECK(world.count_secrets() == 0);
}

TEST_CASE("a class that asks for it gives its volumes generated keys, but not those that say how they are encrypted") {
  KeyWorld world;
  world.change<api::VolumeClass>("fast", [](api::VolumeClass& c) {
    c.metadata.annotations[std::string(api::class_encryption_annotation)] = "generated";
  });
  world.start();
  world.create_key("my-key", key_text);
  world.create(VolumeWorld::here("plain"));
  world.create(VolumeWorld::encrypted(VolumeWorld::here("users"), "my-key"));
  world.create(world.from_image("root"));
  world.run_for(10s);
  for (const auto* name : {"plain", "users", "root"}) {
    CAPTURE(name);
    REQUIRE(world.state_of(name) == VolumeState::available);
    CHECK(world.blocks.volume(world.id_of(world.get_volume(name))).value().is_encrypted);
    CHECK(world.wrapped_by_of(name) == "rack-1/1");
    world.claim(name, "web");
  }
  world.run_for(5s);
  CHECK(world.secret_entry("users", "encryptionKey") == key_text);
  CHECK(world.secret_entry("plain", "encryptionKey").size() == 44);
  CHECK(world.contents("root", 3) == "rrr");
  // What the class says later changes nothing about those that are there.
  world.change<api::VolumeClass>("fast", [](api::VolumeClass& c) { c.metadata.annotations.clear(); });
  world.start();
  world.create(VolumeWorld::here("bare"));
  world.run_for(10s);
  CHECK_FALSE(world.blocks.volume(world.id_of(world.get_volume("bare"))).value().is_encrypted);
  CHECK(world.state_of("plain") == VolumeState::available);
  CHECK(world.contents("root", 3) == "rrr");
}

TEST_CASE("without keys that wrap none is generated, and the volume says what is missing") {
  KeyWorld world;
  world.options.keys = nullptr;
  world.start();
  world.create(VolumeWorld::generated(VolumeWorld::here("data")));
  world.run_for(10s);
  CHECK(world.state_of("data") == VolumeState::error);
  CHECK(world.condition("data", "Ready").reason == "KeyManagementMissing");
  CHECK(world.blocks.volumes().value().empty());
  CHECK(world.keys_current().type == "none");
  world.options.keys = &world.keys;
  world.start();
  world.run_for(10s);
  CHECK(world.state_of("data") == VolumeState::available);
}

TEST_CASE("keys that are there before anything wraps are wrapped, and not lost on the way") {
  KeyWorld world;
  world.options.keys = nullptr;
  world.start();
  world.create_key("my-key", key_text);
  world.create(VolumeWorld::encrypted(VolumeWorld::here("free"), "my-key"));
  world.create(VolumeWorld::encrypted(VolumeWorld::here("held"), "my-key"));
  world.run_for(5s);
  world.claim("held", "web");
  world.run_for(5s);
  world.put("free", "free");
  CHECK(world.secret_entry("free", "encryptionKey") == key_text);
  world.create(VolumeWorld::snapshot_of("monday", "free"));
  world.run_for(5s);
  CHECK(world.get<api::Secret>("volumesnapshot-" + world.get_snapshot("monday")->metadata.uid, "default"));
  world.remove<api::Secret>("my-key");
  world.options.keys = &world.keys;
  world.fail(ErrorCode::unavailable);
  world.start();
  world.run_for(1min, 1s);
  // As long as it cannot be wrapped it stays where it is.
  CHECK(world.secret_entry("free", "encryptionKey") == key_text);
  CHECK(world.condition("free", "UpToDate").reason == "KeyManagementUnavailable");
  CHECK(world.state_of("free") == VolumeState::available);
  CHECK(world.condition("held", "UpToDate").status == ConditionStatus::true_);
  world.keys.set_faults({});
  world.run_for(2min, 1s);
  CHECK(world.wrapped_by_of("free") == "rack-1/1");
  CHECK(world.secret_entry("free", "encryptionKey").empty());
  CHECK(world.condition("free", "UpToDate").status == ConditionStatus::true_);
  CHECK(world.contents_claimed("free", 4) == "free");
  CHECK(world.secret_entry("held", "encryptionKey") == key_text);
  world.release("held");
  world.run_for(10s);
  CHECK(world.wrapped_by_of("held") == "rack-1/1");
  CHECK(world.wrapped_by(world.get_snapshot("monday")->metadata.uid) == "rack-1/1");
  CHECK_FALSE(world.is_anywhere(key_text));
  world.create(VolumeWorld::from_snapshot("copy", "monday"));
  world.run_for(10s);
  CHECK(world.contents_claimed("copy", 4) == "free");
}

TEST_CASE("a key server that is down or forbids it is told on the volume, and all heals when it is back") {
  KeyWorld world;
  world.start();
  world.fail(ErrorCode::unavailable);
  world.create(VolumeWorld::generated(VolumeWorld::here("data")));
  world.create(VolumeWorld::here("plain"));
  world.run_for(90s, 1s);
  CHECK(world.state_of("plain") == VolumeState::available);
  CHECK(world.state_of("data") == VolumeState::pending);
  CHECK(world.condition("data", "Ready").reason == "KeyManagementUnavailable");
  CHECK(world.condition("data", "Ready").message.find("the key server says no") != std::string::npos);
  CHECK(world.events("data", "KeyManagementUnavailable").size() == 1);
  CHECK(world.keys_current().reason == "KeyManagementUnavailable");
  CHECK(world.events("ceph", "KeyManagementUnavailable").size() == 1);
  CHECK(world.blocks.volumes().value().size() == 1);
  world.fail(ErrorCode::forbidden);
  world.run_for(2min, 1s);
  CHECK(world.state_of("data") == VolumeState::error);
  CHECK(world.condition("data", "Ready").reason == "KeyManagementForbidden");
  CHECK(world.keys_current().reason == "KeyManagementForbidden");
  world.keys.set_faults({});
  world.run_for(3min, 1s);
  CHECK(world.state_of("data") == VolumeState::available);
  CHECK(world.keys_current().status == ConditionStatus::true_);
  world.put_claimed("data", "secret");

  // Who has a volume notices nothing, nor does who gets it from there; who would need a key waits.
  world.create(VolumeWorld::generated(VolumeWorld::here("other")));
  world.claim("data", "web");
  world.run_for(5s);
  world.fail(ErrorCode::timeout);
  world.claim("other", "web");
  world.start();
  world.run_for(10s);
  CHECK(world.contents("data", 6) == "secret");
  CHECK(world.condition("data", "UpToDate").status == ConditionStatus::true_);
  CHECK(world.holder_of("other").empty());
  CHECK(world.condition("other", "UpToDate").reason == "KeyManagementUnavailable");
  world.claim("data", "db");
  world.run_for(10s);
  CHECK(world.holder_of("data") == "db");
  CHECK(world.contents("data", 6) == "secret");
  world.keys.set_faults({});
  world.run_for(2min, 1s);
  CHECK(world.holder_of("other") == "web");
  CHECK(world.condition("other", "UpToDate").status == ConditionStatus::true_);
}

TEST_CASE("with a new version all keys are wrapped again, and the pool says which version nobody needs any more") {
  KeyWorld world;
  world.start();
  world.create_key("my-key", key_text);
  world.create(VolumeWorld::generated(VolumeWorld::here("data")));
  world.create(VolumeWorld::encrypted(VolumeWorld::here("users"), "my-key"));
  world.run_for(5s);
  world.put_claimed("data", "secret");
  world.create(VolumeWorld::snapshot_of("monday", "data"));
  world.run_for(3min, 1s);
  CHECK(world.keys_current().status == ConditionStatus::true_);
  CHECK(world.keys_current().message == "all keys of the pool are wrapped with rack-1/1");
  const auto snapshot = world.get_snapshot("monday")->metadata.uid;
  CHECK(world.wrapped_by(snapshot) == "rack-1/1");

  world.keys.add_version();
  world.create(VolumeWorld::generated(VolumeWorld::here("late")));
  world.run_for(5s);
  CHECK(world.wrapped_by_of("late") == "rack-1/2");
  world.run_for(3min, 1s);
  for (const auto* name : {"data", "users", "late"}) {
    CAPTURE(name);
    CHECK(world.wrapped_by_of(name) == "rack-1/2");
  }
  CHECK(world.wrapped_by(snapshot) == "rack-1/2");
  CHECK(world.keys_current().status == ConditionStatus::true_);
  CHECK(world.keys_current().message ==
        "all keys of the pool are wrapped with rack-1/2; no key in the store needs any more: rack-1/1");
  world.keys.lose(1);
  world.start();
  CHECK(world.contents_claimed("data", 6) == "secret");
  world.create(VolumeWorld::from_snapshot("copy", "monday"));
  world.run_for(10s);
  CHECK(world.contents_claimed("copy", 6) == "secret");
  CHECK(world.wrapped_by_of("copy") == "rack-1/2");
}

TEST_CASE("keys of another pool are not wrapped again, but counted") {
  KeyWorld world;
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
  world.keys.add_version();
  world.start();
  world.run_for(5min, 1s);
  CHECK(world.wrapped_by_of("there") == "rack-1/1");
  CHECK(world.keys_current().message == "all keys of the pool are wrapped with rack-1/2");
  const auto other = VolumeProvider::create(world.store, world.images.get(), others, world.clock, world.log).value();
  world.pass(5min, {[&] { return other->step(); }}, 1s);
  CHECK(world.wrapped_by_of("there") == "rack-1/2");
  world.run_for(70min, 10s);
  CHECK(world.keys_current().message.find("needs any more: rack-1/1") != std::string::npos);
}

TEST_CASE("a lost version destroys nothing: what it wrapped waits for it") {
  KeyWorld world;
  world.start();
  world.create(VolumeWorld::generated(VolumeWorld::here("data")));
  world.create(VolumeWorld::generated(VolumeWorld::here("held")));
  world.run_for(5s);
  world.put_claimed("data", "secret");
  world.claim("held", "web");
  world.run_for(5s);
  world.put("held", "in use");
  const auto key = world.secret_entry("held", "encryptionKey");
  const auto before = world.get<api::Secret>("volumekey-" + world.get_volume("data")->metadata.uid, "default")->data;
  world.keys.add_version();
  world.keys.lose(1);
  world.claim("data", "db");
  world.run_for(5min, 1s);
  CHECK(world.holder_of("data").empty());
  CHECK(world.state_of("data") == VolumeState::error);
  CHECK(world.condition("data", "UpToDate").reason == "KeyEncryptionKeyMissing");
  CHECK(world.condition("data", "UpToDate").message.find("rack-1/1") != std::string::npos);
  CHECK(world.events("data", "KeyEncryptionKeyMissing").size() == 1);
  CHECK(world.keys_current().reason == "KeyEncryptionKeyMissing");
  CHECK(world.keys_current().message.starts_with("2 keys could not be wrapped with rack-1/2"));
  CHECK(world.get<api::Secret>("volumekey-" + world.get_volume("data")->metadata.uid, "default")->data == before);
  // The one that a machine has is not lost with it.
  CHECK(world.secret_entry("held", "encryptionKey") == key);
  world.release("held");
  world.run_for(10s);
  CHECK(world.wrapped_by_of("held") == "rack-1/2");
  CHECK(world.secret_entry("held", "encryptionKey").empty());
  CHECK(world.contents_claimed("held", 6) == "in use");
  // Deleting needs no key.
  world.create(VolumeWorld::snapshot_of("monday", "data"));
  world.run_for(10s);
  CHECK(world.get_snapshot("monday")->status.state == VolumeSnapshotState::pending);
  CHECK(world.events("monday", "SourceVolumeNotAvailable").size() == 1);
  world.keys.bring_back(1);
  world.run_for(5min, 1s);
  CHECK(world.holder_of("data") == "db");
  CHECK(world.contents("data", 6) == "secret");
  CHECK(world.get_snapshot("monday")->status.state == VolumeSnapshotState::ready);
  CHECK(world.keys_current().status == ConditionStatus::true_);
}

TEST_CASE("a wrapped key that is gone, damaged or another volume's is never replaced by a new one") {
  KeyWorld world;
  world.start();
  for (const auto* name : {"gone", "damaged", "swapped", "other"})
    world.create(VolumeWorld::generated(VolumeWorld::here(name)));
  world.run_for(5s);
  const auto key_secret = [&](const char* name) { return "volumekey-" + world.get_volume(name)->metadata.uid; };
  const auto gone = *world.get<api::Secret>(key_secret("gone"), "default");
  const auto good = world.get<api::Secret>(key_secret("swapped"), "default")->data;
  world.remove<api::Secret>(key_secret("gone"));
  world.change<api::Secret>(key_secret("damaged"), [](api::Secret& s) { s.data["wrappedKey"].value = "nonsense"; });
  world.change<api::Secret>(key_secret("swapped"), [&](api::Secret& s) {
    s.data = world.get<api::Secret>(key_secret("other"), "default")->data;
  });
  world.start();
  for (const auto* name : {"gone", "damaged", "swapped"}) world.claim(name, "web");
  world.run_for(2min, 1s);
  CHECK(world.condition("gone", "UpToDate").reason == "EncryptionKeyLost");
  CHECK(world.condition("gone", "UpToDate").message.find(key_secret("gone")) != std::string::npos);
  CHECK(world.condition("damaged", "UpToDate").reason == "EncryptionKeyDamaged");
  CHECK(world.condition("swapped", "UpToDate").reason == "EncryptionKeyDamaged");
  CHECK_FALSE(world.get<api::Secret>(key_secret("gone"), "default"));
  CHECK(world.blocks.volumes().value().size() == 4);
  // Brought back, they open.
  world.change<api::Secret>(key_secret("swapped"), [&](api::Secret& s) { s.data = good; });
  api::Secret again;
  again.metadata.namespace_ = "default";
  again.metadata.name = gone.metadata.name;
  again.metadata.owner_references = gone.metadata.owner_references;
  again.type = gone.type;
  again.data = gone.data;
  world.create(again);
  world.run_for(3min, 1s);
  CHECK(world.holder_of("swapped") == "web");
  CHECK(world.holder_of("gone") == "web");
  CHECK(world.attach("gone"));
}

TEST_CASE("another key in the Secret of a volume is never kept: the one that opens the data is put back") {
  KeyWorld world;
  world.start();
  for (const auto* name : {"data", "moved"}) world.create(VolumeWorld::generated(VolumeWorld::here(name)));
  world.run_for(5s);
  const auto spoil = [&](const char* name, const std::string& text) {
    world.change<api::Secret>("volume-" + world.get_volume(name)->metadata.uid,
                              [&](api::Secret& s) { s.data["encryptionKey"].value = text; });
  };
  const auto wrapped = [&](const char* name) {
    return world.get<api::Secret>("volumekey-" + world.get_volume(name)->metadata.uid, "default")->data;
  };
  for (const auto& wrong : {key_text, std::string("no key at all")}) {
    CAPTURE(wrong);
    world.put_claimed("data", "secret");
    const auto before = wrapped("data");
    // Changed while a machine has it: put back for the machine, which may start again.
    world.claim("data", "web");
    world.run_for(5s);
    const auto key = world.secret_entry("data", "encryptionKey");
    spoil("data", wrong);
    world.start();
    world.run_for(5s);
    CHECK(world.secret_entry("data", "encryptionKey") == key);
    // Snapshots have the right one, whenever they are taken.
    spoil("data", wrong);
    const auto snapshot = wrong == key_text ? "monday" : "tuesday";
    world.create(VolumeWorld::snapshot_of(snapshot, "data"));
    // And nothing is left of it when the volume is released.
    world.release("data");
    world.run_for(5s);
    CHECK(world.secret_entry("data", "encryptionKey").empty());
    CHECK(wrapped("data") == before);
    CHECK(world.events("data", "EncryptionKeyRestored").size() >= 1);
    CHECK(world.contents_claimed("data", 6) == "secret");
    const auto copy = "copy-of-" + std::string(snapshot);
    world.create(VolumeWorld::from_snapshot(copy, snapshot));
    world.run_for(10s);
    REQUIRE(world.state_of(copy) == VolumeState::available);
    CHECK(world.contents_claimed(copy, 6) == "secret");
  }
  CHECK_FALSE(world.is_anywhere(key_text));
  CHECK(world.condition("data", "UpToDate").status == ConditionStatus::true_);

  // From one machine to the next, while the key server is down: only without it nobody can be helped.
  world.claim("moved", "web");
  world.run_for(5s);
  world.put("moved", "moved");
  const auto key = world.secret_entry("moved", "encryptionKey");
  spoil("moved", key_text);
  world.fail(ErrorCode::unavailable);
  world.claim("moved", "db");
  world.run_for(10s);
  CHECK(world.holder_of("moved") != "db");
  CHECK(world.condition("moved", "UpToDate").reason == "KeyManagementUnavailable");
  world.keys.set_faults({});
  world.run_for(2min, 1s);
  CHECK(world.holder_of("moved") == "db");
  CHECK(world.secret_entry("moved", "encryptionKey") == key);
  CHECK(world.contents("moved", 5) == "moved");
}

TEST_CASE("a key that opens nothing is kept nowhere, and takes the place of nothing, also of none") {
  KeyWorld world;
  world.start();
  world.create(VolumeWorld::generated(VolumeWorld::here("data")));
  world.create(VolumeWorld::generated(VolumeWorld::here("misled")));
  world.run_for(5s);
  const auto volume = [&](const char* name) { return "volume-" + world.get_volume(name)->metadata.uid; };
  const auto wrapped = [&](const char* name) { return "volumekey-" + world.get_volume(name)->metadata.uid; };
  for (const auto* name : {"data", "misled"}) {
    world.claim(name, "web");
    world.run_for(5s);
    world.put(name, "secret");
  }
  const auto key = world.secret_entry("data", "encryptionKey");
  // The wrapped one is gone, and what is left is wrong: nothing is thrown away.
  world.remove<api::Secret>(wrapped("data"));
  world.change<api::Secret>(volume("data"), [&](api::Secret& s) { s.data["encryptionKey"].value = key_text; });
  world.release("data");
  world.create(VolumeWorld::snapshot_of("monday", "data"));  // begun before anybody knows
  world.run_for(10s);
  CHECK(world.condition("data", "Ready").reason == "EncryptionKeyLost");
  CHECK(world.secret_entry("data", "encryptionKey") == key_text);
  CHECK_FALSE(world.get<api::Secret>(wrapped("data"), "default"));
  world.claim("data", "db");
  world.run_for(1min, 1s);
  CHECK(world.holder_of("data").empty());
  const auto snapshot = world.get_snapshot("monday")->metadata.uid;
  CHECK_FALSE(world.get<api::Secret>("volumekey-" + snapshot, "default"));
  CHECK(world.events("monday", "VolumeEncryptionSecretNotReady").size() == 1);
  world.create(VolumeWorld::from_snapshot("copy", "monday"));
  world.run_for(10s);
  CHECK(world.condition("copy", "Ready").reason == "VolumeEncryptionSecretNotReady");
  // A wrong key for the snapshot is as good as none.
  const auto give = [&](const std::string& text) {
    const auto found = *world.get_snapshot("monday");
    api::Secret made;
    made.metadata.namespace_ = "default";
    made.metadata.name = "volumesnapshot-" + snapshot;
    made.metadata.owner_references = {{.api_version = "storage.ironcore.dev/v1alpha1",
                                       .kind = "VolumeSnapshot",
                                       .name = "monday",
                                       .uid = snapshot,
                                       .controller = true}};
    made.type = std::string(api::volume_encryption_secret_type);
    made.data["encryptionKey"].value = text;
    world.create(made);
  };
  give(key_text);
  world.start();
  world.run_for(1min, 1s);
  CHECK(world.condition("copy", "Ready").reason == "VolumeEncryptionSecretNotReady");
  CHECK_FALSE(world.get<api::Secret>("volumekey-" + snapshot, "default"));
  CHECK_FALSE(world.get<api::Secret>(wrapped("copy"), "default"));
  CHECK(world.events("monday", "EncryptionKeyLost").size() == 1);
  // The right one is taken wherever it is put.
  world.change<api::Secret>("volumesnapshot-" + snapshot, [&](api::Secret& s) { s.data["encryptionKey"].value = key; });
  world.change<api::Secret>(volume("data"), [&](api::Secret& s) { s.data["encryptionKey"].value = key; });
  world.start();
  world.run_for(3min, 1s);
  CHECK(world.holder_of("data") == "db");
  CHECK(world.contents("data", 6) == "secret");
  CHECK(world.wrapped_by(snapshot) == "rack-1/1");
  CHECK_FALSE(world.get<api::Secret>("volumesnapshot-" + snapshot, "default"));
  CHECK(world.contents_claimed("copy", 6) == "secret");
  // Also in the place of a wrapped one that opens, and opens nothing.
  const auto uid = world.get_volume("misled")->metadata.uid;
  const auto other = storage::EncryptionKey::from_bytes(as_bytes(key_of_user)).value();
  const auto lie = world.keys.wrap(other, as_bytes("volume default/" + uid)).value().to_text();
  world.change<api::Secret>(wrapped("misled"), [&](api::Secret& s) { s.data["wrappedKey"].value = lie; });
  world.release("misled");
  world.run_for(10s);
  CHECK(world.contents_claimed("misled", 6) == "secret");
  CHECK(world.get<api::Secret>(wrapped("misled"), "default")->data.at("wrappedKey").value != lie);
}

TEST_CASE("a volume that has another's header is handed to nobody until its own is back") {
  KeyWorld world;
  world.start();
  for (const auto* name : {"data", "other"}) world.create(VolumeWorld::generated(VolumeWorld::here(name)));
  world.run_for(5s);
  world.put_claimed("data", "secret");
  const auto id = world.id_of(world.get_volume("data")), other = world.id_of(world.get_volume("other"));
  const auto kept = world.get<api::Secret>("volumekey-" + id.uid.to_text(), "default")->data;
  REQUIRE(world.blocks.exchange_headers(id, other).has_value());

  world.create(VolumeWorld::snapshot_of("during", "data"));
  world.claim("data", "web");
  world.run_for(1min, 1s);
  CHECK(world.holder_of("data").empty());
  CHECK(world.secret_entry("data", "encryptionKey").empty());
  CHECK(world.state_of("data") == VolumeState::error);
  const auto told = world.condition("data", "Ready");
  CHECK(told.reason == "EncryptionKeyLost");
  CHECK(told.message.find("bring back the header") != std::string::npos);
  CHECK(world.events("data", "EncryptionKeyLost").size() == 1);
  CHECK(world.events("during", "VolumeEncryptionSecretNotReady").size() == 1);
  world.create(VolumeWorld::from_snapshot("copy", "during"));
  world.run_for(1min, 1s);
  CHECK(world.condition("copy", "Ready").reason == "VolumeEncryptionSecretNotReady");
  CHECK(world.get<api::Secret>("volumekey-" + id.uid.to_text(), "default")->data == kept);

  REQUIRE(world.blocks.exchange_headers(id, other).has_value());
  world.run_for(6min, 1s);
  CHECK(world.holder_of("data") == "web");
  CHECK(world.condition("data", "UpToDate").status == ConditionStatus::true_);
  CHECK(world.contents("data", 6) == "secret");
}

TEST_CASE("a key that was lost is taken from the user's Secret only if it opens the data") {
  for (const bool is_wrapping : {true, false}) {
    CAPTURE(is_wrapping);
    KeyWorld world;
    if (!is_wrapping) world.options.keys = nullptr;
    world.start();
    world.create_key("my-key", key_text);
    world.create(VolumeWorld::encrypted(VolumeWorld::here("data"), "my-key"));
    world.run_for(5s);
    world.put_claimed("data", "secret");
    const auto uid = world.get_volume("data")->metadata.uid;
    const auto kept = (is_wrapping ? "volumekey-" : "volume-") + uid;
    const auto set = [&](const std::string& text) {
      world.change<api::Secret>("my-key", [&](api::Secret& s) { s.data["encryptionKey"].value = text; });
    };
    set(base64_encode(std::string(32, 'x')));
    world.remove<api::Secret>(kept);
    world.start();
    world.claim("data", "web");
    world.run_for(1min, 1s);
    CHECK(world.holder_of("data").empty());
    CHECK(world.condition("data", "UpToDate").reason == "EncryptionKeyLost");
    CHECK(world.condition("data", "UpToDate").message.find("my-key") != std::string::npos);
    CHECK(world.events("data", "EncryptionKeyLost").size() == 1);
    CHECK(world.secret_entry("data", "encryptionKey").empty());
    CHECK_FALSE(world.get<api::Secret>("volumekey-" + uid, "default"));
    set("nonsense");
    world.run_for(6min, 1s);
    CHECK(world.condition("data", "UpToDate").reason == "EncryptionKeyLost");
    set(key_text);
    world.run_for(6min, 1s);
    CHECK(world.holder_of("data") == "web");
    CHECK(world.condition("data", "UpToDate").status == ConditionStatus::true_);
    CHECK(world.secret_entry("data", "encryptionKey") == key_text);
    CHECK(world.get<api::Secret>("volumekey-" + uid, "default").operator bool() == is_wrapping);
    CHECK(world.contents("data", 6) == "secret");
    if (is_wrapping) continue;
    // What lies in the only place that there is, and is wrong, gives way to it; a machine that has the volume notices nothing else.
    const auto user = world.secret_entry("data", "userID");
    world.change<api::Secret>(
        kept, [&](api::Secret& s) { s.data["encryptionKey"].value = base64_encode(std::string(32, 'x')); });
    world.start();
    world.run_for(10s);
    CHECK(world.secret_entry("data", "encryptionKey") == key_text);
    CHECK(world.secret_entry("data", "userID") == user);
  }
}

TEST_CASE("a provider without the keys it had says so and touches nothing") {
  KeyWorld world;
  world.start();
  world.create(VolumeWorld::generated(VolumeWorld::here("data")));
  world.run_for(5s);
  world.put_claimed("data", "secret");
  world.options.keys = nullptr;
  world.start();
  world.run_for(1min, 1s);
  CHECK(world.wrapped_by_of("data") == "rack-1/1");
  CHECK(world.condition("data", "UpToDate").reason == "KeyEncryptionKeyMissing");
  CHECK(world.condition("data", "UpToDate").message.find("give the provider the keys that it had") !=
        std::string::npos);
  world.options.keys = &world.keys;
  world.start();
  world.run_for(1min, 1s);
  CHECK(world.condition("data", "UpToDate").status == ConditionStatus::true_);
  CHECK(world.contents_claimed("data", 6) == "secret");
}
