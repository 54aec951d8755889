// SPDX-License-Identifier: Apache-2.0
// From a Volume in the store to blocks in a simulated store, through its whole life.
#include "ironcore/control/volume_provider.hpp"

#include <doctest/doctest.h>

#include <thread>

#include "fault_loops.hpp"
#include "ironcore/control/finalizers.hpp"
#include "ironcore/control/managed_by.hpp"
#include "volume_world.hpp"

using namespace ironcore;
using namespace ironcore::control;
using namespace ironcore::control::test;
using api::ConditionStatus;
using api::VolumeState;

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
  CHECK(world.condition("wrong", "Ready").message.find("256 random bits") != std::string::npos);
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
