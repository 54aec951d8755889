// SPDX-License-Identifier: Apache-2.0
// Volumes as disks of machines: from what a Volume says to the hypervisor, and back to the claim.
#include "ironcore/base/base64.hpp"
#include "ironcore/image/disk_file.hpp"
#include "provider_world.hpp"

namespace ironcore::control::test {

using api::MachineState;

namespace {

constexpr std::int64_t mebibyte = 1 << 20;

/// A provider of volumes played by the test.
struct VolumesWorld : ProviderWorld {
  std::filesystem::path volumes = directory.path() / "volumes";
  std::uint64_t image_bytes = 64 * mebibyte;
  std::string good_key = "first";

  VolumesWorld() {
    std::filesystem::create_directory(volumes);
    options.open_volume = [this](const api::VolumeAccess& access, const VolumeSecrets& secrets) {
      return open_volume(access, secrets, {.directories = {volumes}});
    };
    hypervisor.set_images(
        [this](const compute::RbdImage&, const compute::DiskSecrets& secrets) -> Result<std::uint64_t> {
          if (secrets.key != good_key) return Error(ErrorCode::internal, "error connecting: Operation not permitted");
          return image_bytes;
        });
  }

  void create_volume(const std::string& name, api::VolumeAccess access, std::int64_t bytes) {
    auto made = test::volume(name);
    create(std::move(made));
    tell(name, std::move(access), bytes);
  }
  void tell(const std::string& name, api::VolumeAccess access, std::int64_t bytes) {
    change<api::Volume>(
        name,
        [&](api::Volume& v) {
          v.status.state = api::VolumeState::available;
          v.status.access = std::move(access);
          v.status.resources = {{"storage", Quantity::bytes(bytes)}};
        },
        store::Part::status);
  }
  api::VolumeAccess local(const std::string& name) {
    return {.driver = "local",
            .handle = "0123456789abcdef",
            .volume_attributes = {{"path", (volumes / name).string()}, {"format", "raw"}}};
  }
  static api::VolumeAccess ceph() {
    return {.secret_ref = api::LocalReference{.name = "volume-data"},
            .driver = "ceph",
            .handle = "fedcba9876543210",
            .volume_attributes = {{"monitors", "10.0.0.1:6789,10.0.0.2:6789"}, {"image", "pool/default/img_1"}}};
  }
  void write_key(const std::string& user, const std::string& key) {
    const auto edit = [&](api::Secret& secret) {
      secret.data["userID"].value = user;
      secret.data["userKey"].value = base64_encode(key);
    };
    if (get<api::Secret>("volume-data", "default")) return change<api::Secret>("volume-data", edit);
    api::Secret made;
    made.metadata.namespace_ = "default";
    made.metadata.name = "volume-data";
    edit(made);
    create(std::move(made));
  }
  api::Machine with_volume(const std::string& name) {
    auto made = on_host(name);
    api::MachineVolume entry;
    entry.name = "data";
    entry.device = "odb";
    entry.volume_ref = api::LocalReference{.name = "data"};
    made.spec.volumes.push_back(entry);
    return made;
  }
  /// Of the machine `web`.
  sim::Hypervisor::Inside inside() {
    const auto found = hypervisor.inside(uid_of("web"));
    REQUIRE(found);
    return *found;
  }
  void drop_volume(const std::string& name) {
    change<api::Machine>(name, [](api::Machine& m) { m.spec.volumes.resize(1); });
  }
  void let_go(const std::string& name, bool lets_go) {
    sim::Guest guest;
    guest.releases_devices = lets_go;
    hypervisor.set_guest(uid_of(name), guest);
  }
};

}  // namespace

// ---- what access says ---------------------------------------------------------------------------------------------

TEST_CASE("access of a local volume becomes a file with limits, and only files of its directories") {
  const VolumeAccessOptions options{.directories = {"/srv/volumes/", "/data"}};
  api::VolumeAccess access{.driver = "local",
                           .handle = "0123456789abcdef",
                           .volume_attributes = {{"path", "/srv/volumes/volumes/default/1.qcow2"},
                                                 {"format", "qcow2"},
                                                 {"iops", "100"},
                                                 {"bytesPerSecond", "1000000"},
                                                 {"burstIops", "1000"},
                                                 {"burstBytesPerSecond", "99999999999999999999999"},
                                                 {"burstSeconds", "15"}}};
  const auto disk = open_volume(access, {}, options);
  REQUIRE(disk);
  CHECK(disk->handle == "0123456789abcdef");
  const auto& file = std::get<compute::ExistingDisk>(disk->source);
  CHECK(file.path == "/srv/volumes/volumes/default/1.qcow2");
  CHECK(file.format == "qcow2");
  CHECK(disk->limits == compute::DiskLimits{.iops = 100,
                                            .bytes_per_second = 1000000,
                                            .burst_iops = 1000,
                                            .burst_bytes_per_second = std::uint64_t{1} << 50,
                                            .burst = 15s});
  for (const char* path : {"/etc/shadow", "/srv/volumes/../x", "/srv/volumes", "/srv/volumes/", "volumes/x",
                           "/srv/volumes2/x", "/srv/volumes/./x", "/srv//volumes/x"}) {
    CAPTURE(path);
    access.volume_attributes["path"] = path;
    CHECK(open_volume(access, {}, options).error().code() == ErrorCode::forbidden);
  }
  access.volume_attributes["path"] = "/data/x";
  CHECK(open_volume(access, {}, options));
  CHECK(open_volume(access, {}, {}).error().code() == ErrorCode::unsupported);
  access.volume_attributes["iops"] = "-1";
  CHECK(open_volume(access, {}, options).error().message() == "attribute iops of its access is no number");
  access.volume_attributes.erase("path");
  CHECK(open_volume(access, {}, options).error().code() == ErrorCode::invalid);
  access.driver = "nfs";
  CHECK(open_volume(access, {}, options).error().message() ==
        "driver \"nfs\" is not known; this host knows local and ceph");
}

TEST_CASE("access of a volume on Ceph becomes an image with its secrets, and what is wrong shows none of them") {
  auto access = VolumesWorld::ceph();
  VolumeSecrets secrets{{"userID", "tenant.1"}, {"userKey", base64_encode("key")}};
  auto disk = open_volume(access, secrets, {});
  REQUIRE(disk);
  CHECK(std::get<compute::RbdImage>(disk->source) == compute::RbdImage{.monitors = {"10.0.0.1:6789", "10.0.0.2:6789"},
                                                                       .pool = "pool",
                                                                       .space = "default",
                                                                       .image = "img_1",
                                                                       .user = "tenant.1",
                                                                       .is_encrypted = false});
  CHECK(disk->secrets == compute::DiskSecrets{.key = "key", .passphrase = {}});
  const std::string passphrase(32, '\0');
  secrets["encryptionKey"] = base64_encode(passphrase);
  access.volume_attributes["image"] = "pool/img_1";
  disk = open_volume(access, secrets, {});
  REQUIRE(disk);
  CHECK(std::get<compute::RbdImage>(disk->source).space.empty());
  CHECK(std::get<compute::RbdImage>(disk->source).is_encrypted);
  CHECK(disk->secrets.passphrase == passphrase);

  for (const auto* name : {"userID", "userKey", "encryptionKey"}) {
    CAPTURE(name);
    auto wrong = secrets;
    wrong[name] = "";
    CHECK(open_volume(access, wrong, {}).error().message().find(name) != std::string::npos);
    if (name == std::string_view("userID")) continue;
    wrong[name] = "s3cret!";
    CHECK(open_volume(access, wrong, {}).error().message().find("s3cret") == std::string::npos);
  }
  // What says that it is encrypted is never opened as a plain one.
  access.volume_attributes["encryption"] = "luks2";
  disk = open_volume(access, secrets, {});
  REQUIRE(disk);
  CHECK(std::get<compute::RbdImage>(disk->source).is_encrypted);
  auto keyless = secrets;
  keyless.erase("encryptionKey");
  CHECK(open_volume(access, keyless, {}).error().message() ==
        "the secret of its access has no entry encryptionKey: see to its provider");
  access.volume_attributes["encryption"] = "rot13";
  CHECK(open_volume(access, secrets, {}).error().code() == ErrorCode::unsupported);
  CHECK(open_volume(access, keyless, {}).error().message() ==
        "its encryption \"rot13\" is not known; this host knows luks2");
  access.volume_attributes.erase("encryption");
  for (const auto* name : {"monitors", "image"}) {
    auto wrong = access;
    wrong.volume_attributes.erase(name);
    CHECK(open_volume(wrong, secrets, {}).error().code() == ErrorCode::invalid);
  }
  access.volume_attributes["image"] = "img_1";
  CHECK(open_volume(access, secrets, {}).error().code() == ErrorCode::invalid);
}

// ---- machines -----------------------------------------------------------------------------------------------------

TEST_CASE("a machine has a local volume, sees it grow, and another host's volume keeps it waiting") {
  VolumesWorld world;
  world.start();
  const auto file = world.volumes / "data.raw";
  REQUIRE(image::create_raw_disk(file, 4 * mebibyte));
  auto elsewhere = world.local("data.raw");
  elsewhere.volume_attributes["path"] = "/elsewhere/data.raw";
  world.create_volume("data", elsewhere, 4 * mebibyte);
  world.create(world.with_volume("web"));
  world.run_for(10s);
  CHECK(world.condition("web", "Ready").message.find("is no file of a directory with local volumes of this host") !=
        std::string::npos);
  CHECK_FALSE(world.get<api::Volume>("data", "default")->spec.claim_ref);
  world.tell("data", world.local("data.raw"), 4 * mebibyte);
  world.run_for(10s);
  REQUIRE(world.state_of("web") == MachineState::running);
  CHECK(world.get_machine("web")->status.volumes[1].handle == "0123456789abcdef");
  CHECK(world.inside().disks[1].serial == "vdb-0123456789abcdef");

  REQUIRE(image::grow_disk(file, image::DiskFormat::raw, 8 * mebibyte));
  world.tell("data", world.local("data.raw"), 8 * mebibyte);
  world.run_for(2s);
  CHECK(world.inside().sizes.at("data") == 8 * mebibyte);
  CHECK(world.events("web", "DiskResized").size() == 1);
  world.remove<api::Machine>("web");
  world.run_for(30s);
  CHECK_FALSE(world.get_machine("web"));
  CHECK_FALSE(world.get<api::Volume>("data", "default")->spec.claim_ref);
  CHECK(std::filesystem::exists(file));
}

TEST_CASE("a volume on Ceph waits for its secret, and a new key is pending until the next start") {
  VolumesWorld world;
  world.start();
  world.create_volume("data", VolumesWorld::ceph(), 64 * mebibyte);
  world.create(world.with_volume("web"));
  world.run_for(10s);
  CHECK(world.condition("web", "Ready").message ==
        "volume data: its secret volume-data does not exist; its provider makes it again");
  world.write_key("tenant.1", "first");
  world.run_for(10s);
  REQUIRE(world.state_of("web") == MachineState::running);
  CHECK(world.inside().opened.at("data").key == "first");
  CHECK(world.condition("web", "VolumesReady").reason == "VolumesReady");

  world.write_key("tenant.2", "second");
  world.run_for(2min, 5s);
  CHECK(world.state_of("web") == MachineState::running);
  auto condition = world.condition("web", "VolumesReady");
  CHECK(condition.status == api::ConditionStatus::true_);
  CHECK(condition.reason == "CredentialsPending");
  CHECK(condition.message.find("data: its credentials or monitors have changed") == 0);
  CHECK(world.events("web", "VolumeCredentialsPending").size() == 1);
  CHECK(world.inside().opened.at("data").key == "first");

  world.good_key = "second";
  world.change<api::Machine>("web", [](api::Machine& m) { m.spec.power = api::Power::off; });
  world.run_for(30s);
  CHECK(world.state_of("web") == MachineState::shutdown);
  CHECK(world.inside().secrets.empty());
  world.change<api::Machine>("web", [](api::Machine& m) { m.spec.power = api::Power::on; });
  world.run_for(10s);
  CHECK(world.state_of("web") == MachineState::running);
  CHECK(world.inside().opened.at("data").key == "second");
  CHECK(world.condition("web", "VolumesReady").reason == "VolumesReady");
}

TEST_CASE("an encrypted volume without its key is never a plain disk, neither at the start nor while a machine runs") {
  VolumesWorld world;
  world.start();
  auto access = VolumesWorld::ceph();
  access.volume_attributes["encryption"] = "luks2";
  world.create_volume("data", access, 64 * mebibyte);
  world.write_key("tenant.1", "first");
  const auto write = [&](const std::string& passphrase) {
    world.change<api::Secret>("volume-data", [&](api::Secret& s) {
      s.data.erase("encryptionKey");
      if (!passphrase.empty()) s.data["encryptionKey"].value = base64_encode(passphrase);
    });
  };
  const std::string passphrase(32, 'p');
  world.create(world.with_volume("web"));
  world.run_for(1min, 1s);
  CHECK(world.state_of("web") == MachineState::pending);
  CHECK(world.condition("web", "Ready").message ==
        "volume data: the secret of its access has no entry encryptionKey: see to its provider");
  write(passphrase);
  world.run_for(2min, 1s);
  REQUIRE(world.state_of("web") == MachineState::running);
  CHECK(world.inside().opened.at("data").passphrase == passphrase);
  write("");
  world.run_for(3min, 5s);
  CHECK(world.state_of("web") == MachineState::running);
  CHECK(world.inside().opened.at("data").passphrase == passphrase);
  CHECK(world.condition("web", "VolumesReady").message.find("has no entry encryptionKey") != std::string::npos);
  world.change<api::Machine>("web", [](api::Machine& m) { m.spec.power = api::Power::off; });
  world.run_for(30s);
  CHECK(world.state_of("web") == MachineState::shutdown);
  world.change<api::Machine>("web", [](api::Machine& m) { m.spec.power = api::Power::on; });
  world.run_for(1min, 1s);
  CHECK(world.state_of("web") != MachineState::running);
  CHECK(world.condition("web", "Ready").message.find("has no entry encryptionKey") != std::string::npos);
  write(passphrase);
  world.run_for(2min, 1s);
  CHECK(world.state_of("web") == MachineState::running);
  CHECK(world.inside().opened.at("data").passphrase == passphrase);
}

namespace {

/// A machine that runs with a volume, which then cannot be opened any more.
struct KeptDisk : VolumesWorld {
  std::uint64_t detached = 0;

  KeptDisk() {
    start();
    write_key("tenant.1", "first");
    create_volume("data", ceph(), 64 * mebibyte);
    create(with_volume("web"));
    run_for(10s);
    REQUIRE(state_of("web") == MachineState::running);
    hypervisor.set_faults([this](const sim::Hypervisor::Call& call) -> std::optional<sim::Hypervisor::Fault> {
      if (call.name == "detach_disk") ++detached;
      return std::nullopt;
    });
  }
  void put_right() {
    write_key("tenant.1", "first");
    tell("data", ceph(), 64 * mebibyte);
  }
  void switch_power(api::Power power) {
    change<api::Machine>("web", [power](api::Machine& m) { m.spec.power = power; });
    run_for(1min, 5s);
  }
  bool is_claimed() { return get<api::Volume>("data", "default")->spec.claim_ref.has_value(); }
  bool is_kept() {
    return detached == 0 && inside().opened.contains("data") && inside().secrets.contains("data") && is_claimed();
  }
};

}  // namespace

TEST_CASE("a running machine keeps a disk that cannot be opened any more, as it is, and no reboot takes it away") {
  KeptDisk world;
  std::string missing;
  SUBCASE("its Secret lost an entry") {
    world.change<api::Secret>("volume-data", [](api::Secret& s) { s.data.erase("userKey"); });
    missing = "the secret of its access has no entry userKey: see to its provider";
  }
  SUBCASE("an entry of its Secret is no key") {
    world.change<api::Secret>("volume-data", [](api::Secret& s) { s.data["userKey"].value = "%%%"; });
    missing = "entry userKey of the secret of its access is no base64";
  }
  SUBCASE("its Secret is gone") {
    world.remove<api::Secret>("volume-data");
    missing = "its secret volume-data does not exist; its provider makes it again";
  }
  SUBCASE("its provider says nonsense") {
    auto access = VolumesWorld::ceph();
    access.volume_attributes["image"] = "img_1";
    world.tell("data", access, 64 * mebibyte);
    missing = "attribute image of its access must be POOL/IMAGE or POOL/NAMESPACE/IMAGE, not \"img_1\"";
  }
  world.run_for(5min, 5s);
  CHECK(world.state_of("web") == MachineState::running);
  CHECK(world.is_kept());
  CHECK(world.get_machine("web")->status.volumes[1].state == api::AttachmentState::attached);
  const auto told = world.condition("web", "VolumesReady");
  CHECK(told.status == api::ConditionStatus::true_);
  CHECK(told.reason == "CredentialsPending");
  CHECK(told.message.find("data: volume data: ") == 0);
  CHECK_MESSAGE(told.message.find(missing) != std::string::npos, told.message);
  CHECK(told.message.find("until then the machine keeps the disk as it is") != std::string::npos);
  CHECK(world.condition("web", "Ready").status == api::ConditionStatus::true_);
  CHECK(world.events("web", "VolumeNotReady").size() == 1);

  // Another process of the provider knows no more than this one.
  world.start();
  world.change<api::Machine>(
      "web", [](api::Machine& m) { m.metadata.annotations[std::string(api::reboot_annotation)] = "again"; });
  world.run_for(2min, 5s);
  CHECK(world.is_kept());
  CHECK(world.condition("web", "Ready").message.find("its reboot waits") != std::string::npos);
  CHECK(world.get_machine("web")->status.reboot_token.empty());

  world.put_right();
  world.run_for(3min, 5s);
  CHECK(world.state_of("web") == MachineState::running);
  CHECK(world.get_machine("web")->status.reboot_token == "again");
  CHECK(world.condition("web", "VolumesReady").reason == "VolumesReady");
  CHECK(world.is_kept());
}

TEST_CASE(
    "a running machine keeps the disk of a volume that is no longer available, does not start without it, and says "
    "why") {
  KeptDisk world;
  const auto say = [&](api::VolumeState state, api::ConditionStatus ready, const std::string& message) {
    world.change<api::Volume>(
        "data",
        [&](api::Volume& v) {
          v.status.state = state;
          api::set_condition(v.status.conditions,
                             {.type = "Ready", .status = ready, .reason = "VolumeLost", .message = message},
                             world.clock.wall());
        },
        store::Part::status);
  };
  say(api::VolumeState::error, api::ConditionStatus::false_, "its data is gone");
  world.run_for(5min, 5s);
  CHECK(world.is_kept());
  const auto told = world.condition("web", "VolumesReady");
  CHECK_MESSAGE(
      told.message ==
          "data: volume data is not available: its data is gone; until then the machine keeps the disk as it is",
      told.message);
  world.start();
  world.change<api::Machine>(
      "web", [](api::Machine& m) { m.metadata.annotations[std::string(api::reboot_annotation)] = "again"; });
  world.run_for(2min, 5s);
  CHECK(world.is_kept());
  CHECK(world.condition("web", "Ready").message.find("its reboot waits") != std::string::npos);
  say(api::VolumeState::available, api::ConditionStatus::true_, "");
  world.run_for(3min, 5s);
  CHECK(world.is_kept());
  CHECK(world.state_of("web") == MachineState::running);
  CHECK(world.get_machine("web")->status.reboot_token == "again");
  // One that is not attached yet is not begun with.
  say(api::VolumeState::error, api::ConditionStatus::false_, "its data is gone");
  world.create(world.with_volume("late"));
  world.drop_volume("web");
  world.run_for(1min, 5s);
  CHECK_FALSE(world.inside().opened.contains("data"));
  CHECK_FALSE(world.is_claimed());
  CHECK(world.state_of("late") == MachineState::pending);
  CHECK(world.condition("late", "Ready").message.find("its data is gone") != std::string::npos);
}

TEST_CASE("a disk that cannot be opened any more goes when the machine is off or wants another one") {
  KeptDisk world;
  world.remove<api::Secret>("volume-data");
  world.run_for(2min, 5s);
  REQUIRE(world.is_kept());
  SUBCASE("the power is switched off: no start without the disk") {
    world.switch_power(api::Power::off);
    CHECK(world.state_of("web") == MachineState::shutdown);
    CHECK(world.condition("web", "VolumesReady").status == api::ConditionStatus::false_);
    CHECK(world.is_claimed());
    world.switch_power(api::Power::on);
    CHECK(world.state_of("web") == MachineState::pending);
    CHECK(world.condition("web", "Ready").message.find("its secret volume-data does not exist") != std::string::npos);
    world.put_right();
    world.run_for(2min, 5s);
    CHECK(world.state_of("web") == MachineState::running);
    CHECK(world.is_kept());
  }
  SUBCASE("the machine does not want it any more") {
    world.drop_volume("web");
    world.run_for(1min, 5s);
    CHECK(world.detached == 1);
    CHECK_FALSE(world.inside().opened.contains("data"));
    CHECK(world.inside().secrets.empty());
    CHECK_FALSE(world.is_claimed());
    CHECK(world.state_of("web") == MachineState::running);
  }
  SUBCASE("its entry names another volume") {
    auto other = VolumesWorld::ceph();
    other.handle = "0000000000000001";
    other.secret_ref->name = "volume-other";
    world.create_volume("other", other, 64 * mebibyte);
    world.change<api::Machine>("web", [](api::Machine& m) { m.spec.volumes[1].volume_ref->name = "other"; });
    world.run_for(1min, 5s);
    CHECK(world.detached == 1);
    CHECK_FALSE(world.inside().opened.contains("data"));
    CHECK_FALSE(world.is_claimed());
  }
}

TEST_CASE("claim and secrets of a volume stay until the guest has let go of it; a guest that refuses is told once") {
  VolumesWorld world;
  world.start();
  world.write_key("tenant.1", "first");
  world.create_volume("data", VolumesWorld::ceph(), 64 * mebibyte);
  world.create(world.with_volume("web"));
  world.run_for(10s);
  REQUIRE(world.state_of("web") == MachineState::running);
  const auto is_claimed = [&] {
    const auto volume = world.get<api::Volume>("data", "default");
    REQUIRE(volume);
    return volume->spec.claim_ref.has_value() && !volume->metadata.finalizers.empty();
  };
  CHECK(is_claimed());

  world.let_go("web", false);
  world.drop_volume("web");
  world.remove<api::Volume>("data");  // its finalizer keeps it as long as it is claimed
  std::uint64_t asked = 0;
  world.hypervisor.set_faults([&](const sim::Hypervisor::Call& call) -> std::optional<sim::Hypervisor::Fault> {
    if (call.name == "detach_disk") ++asked;
    return std::nullopt;
  });
  world.run_for(30min, 5s);
  CHECK(is_claimed());
  CHECK(world.inside().secrets.contains("data"));
  CHECK(asked >= 10);
  CHECK(asked <= 11);
  CHECK(world.events("web", "DetachVolumeFailed").size() == 1);
  CHECK(world.events("web", "DetachVolumeFailed")[0]->type == api::EventType::warning);
  CHECK(world.condition("web", "Ready").message.find("waiting for the guest to release disk data") !=
        std::string::npos);
  const auto status = world.get_machine("web")->status;
  REQUIRE(status.volumes.size() == 2);
  CHECK(status.volumes[1].name == "data");
  CHECK(status.volumes[1].state == api::AttachmentState::attached);

  world.let_go("web", true);
  world.run_for(6min, 5s);
  CHECK_FALSE(world.get<api::Volume>("data", "default"));
  CHECK(world.get_machine("web")->status.volumes.size() == 1);
  CHECK(world.inside().secrets.empty());
  CHECK(world.events("web", "DetachVolumeSucceeded").size() == 1);
  CHECK(world.state_of("web") == MachineState::running);
}

TEST_CASE("secrets that a crash left for a machine that is gone are collected") {
  VolumesWorld world;
  world.start();
  world.run_for(1s);
  REQUIRE(world.hypervisor.put_secrets(Uid::random(world.random), "data", {"key", {}}));
  world.run_for(2min, 5s);
  CHECK(world.hypervisor.secret_owners()->empty());
}

// ---- faults -------------------------------------------------------------------------------------------------------

namespace {

/// The life of a volume on Ceph with a machine: plugged in, grown, with a new key, off and on, unplugged, plugged in again, and gone with its machine.
void live(VolumesWorld& world) {
  const auto run = [&] { world.run_for(4min, 2s); };
  world.start();
  world.write_key("tenant.1", "first");
  world.create_volume("data", VolumesWorld::ceph(), 64 * mebibyte);
  world.create(world.on_host("web"));
  run();
  REQUIRE(world.state_of("web") == MachineState::running);
  const auto entry = world.with_volume("web").spec.volumes.back();
  world.change<api::Machine>("web", [&](api::Machine& m) { m.spec.volumes.push_back(entry); });
  run();
  REQUIRE(world.inside().opened.contains("data"));

  world.image_bytes = 128 * mebibyte;
  world.tell("data", VolumesWorld::ceph(), 128 * mebibyte);
  world.write_key("tenant.2", "second");
  run();
  CHECK(world.inside().sizes.at("data") == 128 * mebibyte);
  CHECK(world.condition("web", "VolumesReady").reason == "CredentialsPending");

  world.good_key = "second";
  for (const auto power : {api::Power::off, api::Power::on}) {
    world.change<api::Machine>("web", [&](api::Machine& m) { m.spec.power = power; });
    run();
  }
  REQUIRE(world.state_of("web") == MachineState::running);
  CHECK(world.inside().opened.at("data").key == "second");
  CHECK(world.condition("web", "VolumesReady").reason == "VolumesReady");

  world.drop_volume("web");
  run();
  CHECK(world.inside().disks.size() == 1);
  CHECK(world.inside().secrets.empty());
  CHECK_FALSE(world.get<api::Volume>("data", "default")->spec.claim_ref);
  CHECK(world.get<api::Volume>("data", "default")->metadata.finalizers.empty());

  world.change<api::Machine>("web", [&](api::Machine& m) { m.spec.volumes.push_back(entry); });
  run();
  REQUIRE(world.inside().opened.contains("data"));
  world.remove<api::Machine>("web");
  run();
  CHECK_FALSE(world.get_machine("web"));
  CHECK_FALSE(world.get<api::Volume>("data", "default")->spec.claim_ref);
  world.hypervisor.set_faults({});  // what follows only looks
  CHECK(world.hypervisor.domains()->empty());
  CHECK(world.hypervisor.secret_owners()->empty());
}

}  // namespace

TEST_CASE("whatever call of the hypervisor fails, before or after it took effect, the volume's life goes on") {
  using Fault = sim::Hypervisor::Fault;
  for (const auto when : {Fault::When::before, Fault::When::after}) {
    bool was_reached = true;
    std::uint64_t moments = 0;
    for (std::uint64_t n = 0; was_reached; ++n) {
      CAPTURE(n);
      VolumesWorld world;
      was_reached = false;
      std::string name;
      world.hypervisor.set_faults(
          [&, seen = std::uint64_t{0}](const sim::Hypervisor::Call& call) mutable -> std::optional<Fault> {
            // Looking is done all the time, and changes nothing.
            if (call.name == "domain" || call.name == "domains" || call.name == "capacity" || seen++ != n)
              return std::nullopt;
            was_reached = true;
            name = call.name;
            return Fault{Error(ErrorCode::unavailable, "no answer"), when};
          });
      CAPTURE(name);
      live(world);
      if (was_reached) ++moments;
    }
    CHECK(moments > 15);
  }
}

TEST_CASE("whatever write to the store fails or is not answered, the volume's life goes on") {
  for (const auto when : {FaultyStore::Fault::When::before, FaultyStore::Fault::When::after}) {
    bool was_reached = true;
    int writes = 0;
    for (int n = 0; was_reached; ++n) {
      CAPTURE(n);
      VolumesWorld world;
      was_reached = false;
      world.store.set_faults([&, seen = 0](FaultyStore::Call call,
                                           const store::Transaction*) mutable -> std::optional<FaultyStore::Fault> {
        if (call != FaultyStore::Call::commit || seen++ != n) return std::nullopt;
        was_reached = true;
        return FaultyStore::Fault{Error(ErrorCode::timeout, "no answer"), when};
      });
      live(world);
      if (was_reached) ++writes;
    }
    CHECK(writes > 20);
  }
}

TEST_CASE("a provider that is killed at any call of the hypervisor and started again goes on with the volume") {
  using Fault = sim::Hypervisor::Fault;
  bool was_reached = true;
  std::uint64_t moments = 0;
  for (std::uint64_t n = 0; was_reached; ++n) {
    CAPTURE(n);
    VolumesWorld world;
    was_reached = false;
    bool is_dead = false;
    world.hypervisor.set_faults(
        [&, seen = std::uint64_t{0}](const sim::Hypervisor::Call& call) mutable -> std::optional<Fault> {
          const bool is_looking = call.name == "domain" || call.name == "domains" || call.name == "capacity";
          if (!is_looking && seen++ == n) was_reached = is_dead = true;
          if (!is_dead) return std::nullopt;
          return Fault{Error(ErrorCode::unavailable, "killed"), n % 2 == 0 ? Fault::When::before : Fault::When::after};
        });
    const auto run = [&] {
      world.run_for(30s, 1s);
      if (std::exchange(is_dead, false)) {
        world.start();
        world.run_for(3min, 5s);
      }
    };
    world.start();
    world.write_key("tenant.1", "first");
    world.create_volume("data", VolumesWorld::ceph(), 64 * mebibyte);
    world.create(world.with_volume("web"));
    run();
    REQUIRE(world.state_of("web") == MachineState::running);
    world.tell("data", VolumesWorld::ceph(), 128 * mebibyte);
    run();
    CHECK(world.inside().sizes.at("data") == 128 * mebibyte);
    world.drop_volume("web");
    run();
    CHECK(world.inside().secrets.empty());
    CHECK_FALSE(world.get<api::Volume>("data", "default")->spec.claim_ref);
    world.remove<api::Machine>("web");
    run();
    CHECK_FALSE(world.get_machine("web"));
    CHECK(world.hypervisor.domains()->empty());
    if (was_reached) ++moments;
  }
  CHECK(moments > 10);
}

}  // namespace ironcore::control::test
