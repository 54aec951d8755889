// SPDX-License-Identifier: Apache-2.0
// A World with a simulated store of blocks and the provider that serves it.
#pragma once

#include <algorithm>
#include <future>
#include <memory>
#include <optional>
#include <string>

#include "../compute/temporary_directory.hpp"
#include "../compute/test_image.hpp"
#include "ironcore/base/base64.hpp"
#include "ironcore/control/volume_provider.hpp"
#include "ironcore/sim/block_store.hpp"
#include "ironcore/sim/key_management.hpp"
#include "world.hpp"

namespace ironcore::control::test {

/// What a user writes into a Secret as the key of a volume.
inline const std::string key_of_user = "0123456789abcdefghijklmnopqrstuv";
inline const std::string key_text = base64_encode(key_of_user);

struct VolumeWorld : World {
  tests::TemporaryDirectory directory;
  sim::BlockStore blocks{clock};
  sim::KeyManagement keys{"rack-1"};
  std::string image = tests::make_image(directory.path() / "image", {.rootfs = std::string(1 << 20, 'r')});
  std::unique_ptr<image::Cache> images;
  std::unique_ptr<VolumeProvider> provider;
  bool is_stepping = false;  ///< a call of the store of blocks is the provider's, not the test's
  VolumeProviderOptions options{.pool = "ceph", .provider_id = "ceph://one", .classes = {{"fast", &blocks}}};

  VolumeWorld() {
    create_class("fast");
    images = image::Cache::open({.directory = directory.path() / "cache"}, clock, log).value();
  }

  /// As after a start of the program; again as after it was killed.
  void start() {
    provider.reset();
    provider = VolumeProvider::create(store, images.get(), options, clock, log).value();
  }
  std::vector<std::function<bool()>> parts() {
    return {[this] {
      is_stepping = true;
      const bool did = provider->step();
      is_stepping = false;
      return did;
    }};
  }
  void run_to_rest() { settle(parts()); }
  void run_for(Duration span, Duration step = std::chrono::milliseconds(250)) { pass(span, parts(), step); }

  void create_class(const std::string& name, api::ResizePolicy policy = api::ResizePolicy::expand_only) {
    api::VolumeClass made;
    made.metadata.name = name;
    made.capabilities = {{"tps", Quantity(1000)}, {"iops", Quantity(10)}};
    made.resize_policy = policy;
    create(std::move(made));
  }
  /// A volume of this pool.
  static api::Volume here(const std::string& name, std::int64_t size = gibibyte) {
    auto made = volume(name, "fast", size);
    made.spec.volume_pool_ref = api::LocalReference{.name = "ceph"};
    return made;
  }
  api::Volume from_image(const std::string& name, std::int64_t size = gibibyte) {
    auto made = here(name, size);
    made.spec.data_source.emplace();
    made.spec.data_source->os_image = api::OsImage{.image = image, .architecture = ""};
    return made;
  }
  static api::Volume from_snapshot(const std::string& name, const std::string& snapshot, std::int64_t size = gibibyte) {
    auto made = here(name, size);
    made.spec.data_source.emplace();
    made.spec.data_source->volume_snapshot_ref = api::LocalReference{.name = snapshot};
    return made;
  }
  static api::Volume encrypted(api::Volume made, const std::string& secret) {
    made.spec.encryption.emplace();
    made.spec.encryption->secret_ref.name = secret;
    return made;
  }
  static api::VolumeSnapshot snapshot_of(const std::string& name, const std::string& source) {
    api::VolumeSnapshot made;
    made.metadata.namespace_ = "default";
    made.metadata.name = name;
    made.spec.volume_ref = api::LocalReference{.name = source};
    return made;
  }
  void create_key(const std::string& name, const std::string& key) {
    api::Secret made;
    made.metadata.namespace_ = "default";
    made.metadata.name = name;
    made.type = std::string(api::volume_encryption_secret_type);
    made.data["encryptionKey"].value = key;
    create(std::move(made));
  }
  void grow(const std::string& name, std::int64_t size) {
    change<api::Volume>(name, [&](api::Volume& v) { v.spec.resources["storage"] = Quantity::bytes(size); });
  }
  /// By the machine of that name, or by one that nobody knows.
  void claim(const std::string& name, const std::string& machine) {
    const auto known = get_machine(machine);
    change<api::Volume>(name, [&](api::Volume& v) {
      v.spec.claim_ref =
          api::LocalUidReference{.name = machine, .uid = known ? known->metadata.uid : Uid::random(random).to_text()};
    });
  }
  /// Empty if nobody may use it.
  std::string holder_of(const std::string& name) {
    const auto found = get_volume(name);
    REQUIRE(found);
    return found->status.use && found->status.use->machine ? found->status.use->machine->name : "";
  }
  /// With a key that the provider generates.
  static api::Volume generated(api::Volume made) {
    made.spec.encryption.emplace();
    return made;
  }
  /// An entry of the Secret that opens the volume; empty if it is not there.
  std::string secret_entry(const std::string& name, const std::string& entry) {
    const auto secret = get<api::Secret>("volume-" + get_volume(name)->metadata.uid, "default");
    if (!secret) return "";
    const auto found = secret->data.find(entry);
    return found == secret->data.end() ? "" : found->second.value;
  }
  /// Whether anything that is written anywhere in the store of objects has this in it.
  bool is_anywhere(const std::string& text) {
    const auto in = [&](const auto& objects) {
      return std::any_of(objects.begin(), objects.end(), [&](const auto& object) {
        return store::Object::of(*object).json().find(text) != std::string::npos;
      });
    };
    const auto secrets = store::list<api::Secret>(*real).value();
    const bool is_in_data = std::any_of(secrets.begin(), secrets.end(), [&](const auto& secret) {
      return std::any_of(secret->data.begin(), secret->data.end(),
                         [&](const auto& entry) { return entry.second.value.find(text) != std::string::npos; });
    });
    return is_in_data || in(secrets) || in(store::list<api::Volume>(*real).value()) ||
           in(store::list<api::VolumeSnapshot>(*real).value()) || in(store::list<api::VolumePool>(*real).value()) ||
           in(store::list<api::Event>(*real).value());
  }
  void release(const std::string& name) {
    change<api::Volume>(name, [](api::Volume& v) { v.spec.claim_ref.reset(); });
  }

  Shared<api::Volume> get_volume(const std::string& name) { return get<api::Volume>(name, "default"); }
  Shared<api::VolumeSnapshot> get_snapshot(const std::string& name) {
    return get<api::VolumeSnapshot>(name, "default");
  }
  api::VolumeState state_of(const std::string& name) {
    const auto found = get_volume(name);
    REQUIRE(found);
    return found->status.state;
  }
  api::Condition condition(const std::string& name, const std::string& type) {
    return condition_of<api::Volume>(name, type);
  }
  template <class T>
  storage::BlockId id_of(const T& object) {
    return {.tenant = object->metadata.namespace_, .uid = Uid::parse(object->metadata.uid).value()};
  }
  /// What a hypervisor would do with the volume as its status says.
  Result<std::unique_ptr<storage::BlockData>> attach(const std::string& name, std::string_view host = "host-1") {
    const auto found = get_volume(name);
    REQUIRE(found);
    REQUIRE(found->status.access);
    storage::Access access{.driver = found->status.access->driver,
                           .handle = found->status.access->handle,
                           .attributes = found->status.access->volume_attributes,
                           .secrets = {}};
    std::optional<storage::EncryptionKey> key;
    REQUIRE(found->status.access->secret_ref);
    const auto secret = get<api::Secret>(found->status.access->secret_ref->name, "default");
    REQUIRE(secret);
    for (const auto& [entry, value] : secret->data) {
      if (entry == "encryptionKey")
        key = storage::EncryptionKey::from_bytes(as_bytes(base64_decode(value.value).value())).value();
      else
        access.secrets[entry] = value.value;
    }
    return blocks.attach(access, key, host);
  }
  static void wait_for(const std::function<void(storage::BlockData::Done)>& begin) {
    std::promise<Result<void>> promise;
    begin([&promise](Result<void> result) { promise.set_value(std::move(result)); });
    const auto result = promise.get_future().get();
    if (!result) FAIL(result.error().message());
  }
  void put(const std::string& name, const std::string& text) {
    const auto data = attach(name).value();
    wait_for([&](auto done) { data->write(0, as_bytes(text), done); });
    wait_for([&](auto done) { data->flush(done); });
  }
  std::string contents(const std::string& name, std::size_t size) {
    const auto data = attach(name).value();
    Bytes bytes(size);
    wait_for([&](auto done) { data->read(0, bytes, done); });
    return std::string(as_text(bytes));
  }
  Shared<api::VolumePool> pool() { return get<api::VolumePool>("ceph"); }
  std::size_t count_secrets() { return store::list<api::Secret>(*real).value().size(); }
};

}  // namespace ironcore::control::test
