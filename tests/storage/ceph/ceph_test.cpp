// SPDX-License-Identifier: Apache-2.0
// What only the body on Ceph has: its images, its index, what tenants may do, silence of the cluster.
#include <doctest/doctest.h>
#include <rbd/librbd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <functional>
#include <future>
#include <iterator>
#include <optional>
#include <set>
#include <string>
#include <thread>

#include "ceph_fixture.hpp"

namespace ironcore::storage::ceph::testing {

namespace {

constexpr std::uint64_t mib = std::uint64_t{1} << 20;
const std::string tenant = "team-c";

BlockId new_id() {
  return {tenant, Uid::random()};
}

std::string image_of(const BlockId& id) {
  return "img_" + id.uid.to_text();
}

Result<Volume> create(BlockStore& store, const BlockId& id, const VolumeSpec& spec) {
  return store.create(id, spec, {}, {});
}

/// A file of noise, taken in.
crypto::Digest base_in(BlockStore& store, const Directory& directory, std::uint64_t size) {
  std::string bytes(size, '\0');
  SystemRandom().fill(std::as_writable_bytes(std::span(bytes)));
  const auto path = directory.path() / "base.raw";
  std::ofstream(path, std::ios::binary) << bytes;
  const auto digest = crypto::sha256(bytes);
  REQUIRE_OK(store.import_base({.path = path, .digest = digest, .size_bytes = size}, {}, {}));
  return digest;
}

std::optional<BaseImage> listed_base(BlockStore& store, const crypto::Digest& digest) {
  const auto all = store.bases();
  REQUIRE_OK(all);
  const auto found = std::ranges::find(*all, digest, &BaseImage::digest);
  return found == all->end() ? std::nullopt : std::optional(*found);
}

bool is_listed(BlockStore& store, const BlockId& id) {
  const auto all = store.volumes();
  REQUIRE_OK(all);
  return std::ranges::find(*all, id, &Volume::id) != all->end();
}

/// Until nothing waits.
void maintain(BlockStore& store) {
  for (int i = 0; i < 60; ++i) {
    const auto done = store.maintain({});
    REQUIRE_OK(done);
    if (done->waiting == 0) return;
  }
  FAIL("maintain never comes to an end");
}

/// The object of its first bytes.
std::string data_object(const OpenImage& image) {
  REQUIRE(image.code() == 0);
  std::array<char, 256> prefix{};
  REQUIRE(rbd_get_block_name_prefix(image.get(), prefix.data(), prefix.size()) == 0);
  return prefix.data() + std::string(".0000000000000000");
}

/// Below librbd, where only the cluster itself says no.
void touch_objects(const Stranger& who, const std::string& space, const std::string& object, int reading, int writing) {
  const rados_ioctx_t io = who.space(space);
  CAPTURE(space);
  CAPTURE(object);
  std::uint64_t size = 0;
  char byte = 0;
  CHECK(rados_stat(io, object.c_str(), &size, nullptr) == reading);
  CHECK(std::min(rados_read(io, object.c_str(), &byte, 1, 0), 0) == reading);
  CHECK(rados_write(io, object.c_str(), "x", 1, 0) == writing);
  CHECK(rados_remove(io, object.c_str()) == writing);
  rados_ioctx_destroy(io);
}

void remove_key(const Stranger& admin, const std::string& object, const std::string& key) {
  const rados_ioctx_t io = admin.space(".ironcore");
  const rados_write_op_t operation = rados_create_write_op();
  const char* keys = key.c_str();
  rados_write_op_omap_rm_keys(operation, &keys, 1);
  CHECK(rados_write_op_operate(operation, io, object.c_str(), nullptr, 0) == 0);
  rados_release_write_op(operation);
  rados_ioctx_destroy(io);
}

}  // namespace

TEST_CASE("a guest reads what we enciphered, and we read what a guest enciphers") {
  if (std::system("qemu-io --version > /dev/null 2>&1") != 0) return;  // a host without QEMU
  const auto cluster = provider();
  const auto store = store_on(*cluster);
  const Directory directory;
  const auto key = EncryptionKey::random();
  const auto key_file = directory.path() / "key";
  std::ofstream(key_file, std::ios::binary)
      .write(reinterpret_cast<const char*>(key.bytes().data()), static_cast<std::streamsize>(key.bytes().size()));
  const auto digest = base_in(*store, directory, mib + 1000);  // ends within a sector
  const auto empty = new_id(), copied = new_id();
  REQUIRE_OK(create(*store, empty, {.size_bytes = 8 * mib, .key = key}));
  REQUIRE_OK(create(*store, copied, {.size_bytes = 8 * mib, .source = FromBase{digest}, .key = key}));

  const auto finish = [](const std::function<void(BlockData::Done)>& begin) {
    std::promise<Result<void>> done;
    begin([&](Result<void> result) { done.set_value(std::move(result)); });
    REQUIRE_OK(done.get_future().get());
  };
  Bytes expected(8 * mib);
  const auto put = [&](std::uint64_t offset, std::size_t size) {
    const auto part = std::span(expected).subspan(offset, size);
    SystemRandom().fill(part);
    const auto data = store->open(empty, key).value();
    finish([&](auto done) { data->write(offset, part, std::move(done)); });
    finish([&](auto done) { data->flush(std::move(done)); });
  };
  put(0, 512);
  put(4096 * 3 + 100, 9000);
  put(5 * mib - 77, 200'000);
  const auto image = [&](const BlockId& id) {
    return "--object secret,id=k,format=raw,file=" + key_file.string() +
           " --image-opts driver=rbd,pool=rbd,namespace=" + tenant + ",image=" + image_of(id) +
           ",conf=" + test_cluster().env("CEPH_CONF") + ",encrypt.format=luks2,encrypt.key-secret=k";
  };
  const auto as_guest = [&](const BlockId& id) {
    const auto out = directory.path() / "out.raw";
    CHECK(std::system(("qemu-img convert -O raw " + image(id) + " " + out.string()).c_str()) == 0);
    std::ifstream file(out, std::ios::binary);
    const std::string text((std::istreambuf_iterator<char>(file)), {});
    const auto bytes = as_bytes(text);
    return Bytes(bytes.begin(), bytes.end());
  };
  CHECK(as_guest(empty) == expected);
  const auto base = as_guest(copied);
  REQUIRE(base.size() == 8 * mib);
  CHECK(crypto::sha256(BytesView(base).first(mib + 1000)) == digest);
  CHECK(std::ranges::all_of(BytesView(base).subspan(mib + 1000), [](std::byte byte) { return byte == std::byte{0}; }));

  const auto write = "qemu-io -c 'write -P 0x5a 1000448 70144' -c 'write -P 0x11 7340032 4096' -c flush " +
                     image(empty) + " > /dev/null";
  CHECK(std::system(write.c_str()) == 0);
  std::fill_n(expected.begin() + 1'000'448, 70'144, std::byte{0x5a});
  std::fill_n(expected.begin() + 7 * static_cast<std::ptrdiff_t>(mib), 4096, std::byte{0x11});
  Bytes seen(8 * mib);
  {
    const auto data = store->open(empty, key).value();
    finish([&](auto done) { data->read(0, seen, std::move(done)); });
  }
  CHECK(seen == expected);
  for (const auto& id : {empty, copied}) REQUIRE_OK(store->remove(id));
}

TEST_CASE(
    "a name that librbd entered before its process died keeps no volume, snapshot or base image from being made") {
  const auto cluster = provider();
  const auto store = store_on(*cluster);
  const Stranger admin;
  // What rbd_create4 and rbd_clone3 do first: the name and an id in the list of the namespace.
  const auto enter = [&](const std::string& space, const std::string& name) {
    std::string in;
    for (const std::string& text : {name, std::string("f00d") + name.substr(5, 6)}) {
      for (int shift = 0; shift < 32; shift += 8) in += static_cast<char>(text.size() >> shift & 0xff);
      in += text;
    }
    rados_ioctx_t io = admin.space(space);
    char out[16];
    CHECK(rados_exec(io, "rbd_directory", "rbd", "dir_add_image", in.data(), in.size(), out, sizeof out) >= 0);
    rados_ioctx_destroy(io);
  };
  const auto first = new_id();
  REQUIRE_OK(create(*store, first, {.size_bytes = mib}));  // the namespace is there from now on
  const auto empty = new_id();
  enter(tenant, image_of(empty));
  REQUIRE_OK(create(*store, empty, {.size_bytes = mib}));
  const auto encrypted = new_id();
  enter(tenant, image_of(encrypted));
  REQUIRE_OK(create(*store, encrypted, {.size_bytes = mib, .key = EncryptionKey::random()}));
  const auto snapshot = Uid::random();
  enter(tenant, "snap_" + snapshot.to_text());
  REQUIRE_OK(store->take_snapshot(empty, snapshot, {}));
  const auto restored = new_id();
  enter(tenant, image_of(restored));
  REQUIRE_OK(create(*store, restored, {.size_bytes = mib, .source = FromSnapshot{snapshot, {}}}));
  for (const auto& id : {first, empty, encrypted, restored}) REQUIRE_OK(store->remove(id));
  REQUIRE_OK(store->remove_snapshot({tenant, snapshot}));
}

TEST_CASE("a volume is an image of the tenant's namespace, with librbd's limits on it") {
  const auto cluster = provider();
  const auto store = store_on(*cluster);
  const auto id = new_id();
  const Limits limits = limits_of(100, 5 * mib, {});
  REQUIRE_OK(create(*store, id, {.size_bytes = 64 * mib, .source = Empty{}, .key = {}, .limits = limits}));
  const Stranger admin;
  {
    const OpenImage image(admin, tenant, image_of(id));
    REQUIRE(image.code() == 0);
    std::uint64_t features = 0;
    rbd_get_features(image.get(), &features);
    CHECK(features == (RBD_FEATURE_LAYERING | RBD_FEATURE_EXCLUSIVE_LOCK | RBD_FEATURE_OBJECT_MAP |
                       RBD_FEATURE_FAST_DIFF | RBD_FEATURE_DEEP_FLATTEN));
    for (const std::string way : {"", "read_", "write_"}) {
      CAPTURE(way);
      CHECK(image.metadata("conf_rbd_qos_" + way + "iops_limit") == "100");
      CHECK(image.metadata("conf_rbd_qos_" + way + "iops_burst") == "1000");
      CHECK(image.metadata("conf_rbd_qos_" + way + "iops_burst_seconds") == "15");
      CHECK(image.metadata("conf_rbd_qos_" + way + "bps_limit") == std::to_string(5 * mib));
      CHECK(image.metadata("conf_rbd_qos_" + way + "bps_burst") == std::to_string(50 * mib));
      CHECK(image.metadata("conf_rbd_qos_" + way + "bps_burst_seconds") == "15");
    }
  }
  // A snapshot, and what is restored from it, do not inherit them.
  const Uid snapshot = Uid::random();
  REQUIRE_OK(store->take_snapshot(id, snapshot, {}));
  const auto restored = new_id();
  REQUIRE_OK(create(*store, restored,
                    {.size_bytes = 64 * mib, .source = FromSnapshot{snapshot, {}}, .key = {}, .limits = {}}));
  CHECK(OpenImage(admin, tenant, image_of(restored)).metadata("conf_rbd_qos_iops_limit") == "0");
  // Whoever has it open is told of new ones.
  {
    const OpenImage open(admin, tenant, image_of(id));
    REQUIRE_OK(store->set_limits(id, limits_of(7, mib, {})));
    CHECK(open.metadata("conf_rbd_qos_write_iops_limit") == "7");
  }
  REQUIRE_OK(store->remove(restored));
  REQUIRE_OK(store->remove(id));
  REQUIRE_OK(store->remove_snapshot({tenant, snapshot}));
  maintain(*store);
}

TEST_CASE("a half volume is not listed, is reported, and is finished by the next call or removed") {
  const auto cluster = provider();
  const auto store = store_on(*cluster);
  REQUIRE_OK(create(*store, new_id(), {.size_bytes = mib}));  // the namespace
  const Stranger admin;
  const auto first = new_id(), second = new_id();
  const rados_ioctx_t io = admin.space(tenant);
  for (const BlockId& id : {first, second}) {
    int order = 22;
    say_begun(admin, tenant, image_of(id));
    REQUIRE(rbd_create2(io, image_of(id).c_str(), 8 * mib, RBD_FEATURE_LAYERING, &order) == 0);
    CHECK_FALSE(is_listed(*store, id));
    CHECK(store->volume(id).error().code() == ErrorCode::not_found);
    CHECK(store->open(id, {}).error().code() == ErrorCode::not_found);
  }
  rados_ioctx_destroy(io);
  const auto found = store->maintain({});
  REQUIRE_OK(found);
  for (const BlockId& id : {first, second}) CHECK(std::ranges::count(found->unfinished, id) == 1);
  REQUIRE_OK(create(*store, first, {.size_bytes = 16 * mib}));
  CHECK(store->volume(first)->size_bytes == 16 * mib);
  REQUIRE_OK(store->remove_unfinished(second));
  const auto now = store->maintain({});
  REQUIRE_OK(now);
  CHECK(now->unfinished.empty());
  CHECK(store->remove_unfinished(first).error().code() == ErrorCode::wrong_state);
}

TEST_CASE("a snapshot whose making was cut off before it had an object map is made anew") {
  const auto cluster = provider();
  const auto store = store_on(*cluster);
  const BlockId volume = new_id(), snapshot = new_id();
  REQUIRE_OK(create(*store, volume, {.size_bytes = 8 * mib}));
  const Stranger admin;
  const rados_ioctx_t io = admin.space(tenant);
  rbd_image_t image = nullptr;
  REQUIRE(rbd_open(io, image_of(volume).c_str(), &image, nullptr) == 0);
  REQUIRE(rbd_snap_create(image, snapshot.uid.to_text().c_str()) == 0);
  std::array<rbd_snap_info_t, 4> found{};
  auto count = static_cast<int>(found.size());
  REQUIRE(rbd_snap_list(image, found.data(), &count) == 1);
  std::array<char, 64> id{};
  REQUIRE(rbd_get_id(image, id.data(), id.size()) == 0);
  std::array<char, 128> map{};
  std::snprintf(map.data(), map.size(), "rbd_object_map.%s.%016lx", id.data(),
                static_cast<unsigned long>(found.front().id));
  rbd_snap_list_end(found.data());
  REQUIRE(rbd_close(image) == 0);
  REQUIRE(rados_remove(io, map.data()) == 0);
  rados_ioctx_destroy(io);

  const auto refused = store->take_snapshot(volume, snapshot.uid, {});
  REQUIRE(refused.has_error());
  CHECK(refused.error().code() == ErrorCode::conflict);
  const auto taken = store->take_snapshot(volume, snapshot.uid, {});
  REQUIRE_OK(taken);
  CHECK(taken->size_bytes == 8 * mib);
  REQUIRE_OK(store->remove_snapshot(snapshot));
  REQUIRE_OK(store->remove(volume));
}

TEST_CASE("the index is made anew from the images, and what is gone goes from it") {
  const auto cluster = provider();
  const auto store = store_on(*cluster);
  const Directory directory;
  const auto digest = base_in(*store, directory, 5 * mib);
  const auto id = new_id();
  const Limits limits = limits_of(9, mib, {});
  REQUIRE_OK(create(*store, id, {.size_bytes = 8 * mib, .source = FromBase{digest}, .key = {}, .limits = limits}));
  const Uid snapshot = Uid::random();
  REQUIRE_OK(store->take_snapshot(id, snapshot, {}));
  const Stranger admin;
  const std::string key = tenant + "/" + id.uid.to_text();
  remove_key(admin, "volumes", key);
  remove_key(admin, "snapshots", tenant + "/" + snapshot.to_text());
  remove_key(admin, "bases", digest.to_text());
  CHECK_FALSE(is_listed(*store, id));
  CHECK_FALSE(listed_base(*store, digest).has_value());
  REQUIRE_OK(store->maintain({}));
  const auto volume = store->volume(id);
  REQUIRE_OK(volume);
  CHECK(volume->size_bytes == 8 * mib);
  CHECK(volume->limits == limits);
  CHECK(volume->depth == 1);
  const auto again = store->snapshot({tenant, snapshot});
  REQUIRE_OK(again);
  CHECK(again->volume == id.uid);
  CHECK(again->size_bytes == 8 * mib);
  const auto base = listed_base(*store, digest);
  REQUIRE(base.has_value());
  CHECK(base->size_bytes == 5 * mib);
  CHECK(base->children == 1);

  // A removal that was cut off before its last step.
  {
    const OpenImage image(admin, tenant, image_of(id));
    CHECK(rbd_metadata_set(image.get(), "ironcore.removed", image_of(id).c_str()) == 0);
  }
  const rados_ioctx_t io = admin.space(tenant);
  CHECK(rbd_trash_move(io, image_of(id).c_str(), 0) == 0);
  rados_ioctx_destroy(io);
  CHECK(is_listed(*store, id));
  CHECK(store->volume(id).error().code() == ErrorCode::not_found);
  REQUIRE_OK(store->maintain({}));
  CHECK_FALSE(is_listed(*store, id));
  maintain(*store);
  // The snapshot became independent, so that its volume could go.
  CHECK(listed_base(*store, digest)->children == 0);
  REQUIRE_OK(store->remove_snapshot({tenant, snapshot}));
  REQUIRE_OK(store->remove_base(digest));
  maintain(*store);
}

TEST_CASE("a tenant's credential reaches its own volumes and base images to read, and nothing else") {
  const auto cluster = provider();
  const auto store = store_on(*cluster);
  const Directory directory;
  const auto digest = base_in(*store, directory, mib);
  const auto mine = new_id();
  const BlockId other{"team-d", Uid::random()};
  for (const BlockId& id : {mine, other}) {
    REQUIRE_OK(create(*store, id, {.size_bytes = 4 * mib, .source = FromBase{digest}}));
  }
  const auto access = store->access(mine);
  REQUIRE_OK(access);
  const std::string key = access->secrets.at("userKey");
  const Stranger user(access->secrets.at("userID"), key);
  REQUIRE(user.is_connected());
  {
    const OpenImage image(user, tenant, image_of(mine));
    REQUIRE(image.code() == 0);
    std::array<char, 4096> bytes{};
    CHECK(rbd_read(image.get(), 0, bytes.size(), bytes.data()) == static_cast<ssize_t>(bytes.size()));
    CHECK(rbd_write(image.get(), 0, bytes.size(), bytes.data()) == static_cast<ssize_t>(bytes.size()));
    CHECK(rbd_flush(image.get()) == 0);
  }
  // Neither images of another tenant nor the objects that they are made of.
  const Stranger admin;
  CHECK(OpenImage(user, "team-d", image_of(other)).code() == -EPERM);
  CHECK(OpenImage(user, "team-d", image_of(other), OpenImage::Mode::read_only).code() == -EPERM);
  touch_objects(user, "team-d", data_object(OpenImage(admin, "team-d", image_of(other))), -EPERM, -EPERM);
  touch_objects(user, "team-d", "rbd_directory", -EPERM, -EPERM);
  // What its volumes are clones of is there to read.
  const auto base = "base_" + digest.hex();
  CHECK(OpenImage(user, "", base).code() == -EPERM);
  {
    const OpenImage image(user, "", base, OpenImage::Mode::read_only);
    REQUIRE(image.code() == 0);
    touch_objects(user, "", data_object(image), 0, -EPERM);
  }
  touch_objects(user, "", "rbd_directory", 0, -EPERM);
  const rados_ioctx_t index = user.space(".ironcore");
  std::uint64_t size = 0;
  CHECK(rados_stat(index, "volumes", &size, nullptr) == -EPERM);
  CHECK(rados_write_full(index, "volumes", "x", 1) == -EPERM);
  rados_ioctx_destroy(index);
  for (const BlockId& id : {mine, other}) REQUIRE_OK(store->remove(id));
  maintain(*store);
  REQUIRE_OK(store->remove_base(digest));
}

TEST_CASE("the namespace of a tenant and its users go with its last volume, and others come with the next one") {
  const auto cluster = provider();
  const auto store = store_on(*cluster), other = store_on(*cluster);
  const Stranger admin;
  const rados_ioctx_t pool = admin.space("");
  const auto is_there = [&](const std::string& name) {
    bool is = false;
    CHECK(rbd_namespace_exists(pool, name.c_str(), &is) == 0);
    return is;
  };
  const BlockId first{"team-g", Uid::random()}, second{"team-g", Uid::random()};
  CHECK(rbd_namespace_create(pool, "not-ours") == 0);
  std::set<std::string> users;
  const auto is_good = [](const Access& access) {
    return Stranger(access.secrets.at("userID"), access.secrets.at("userKey")).is_connected();
  };
  const auto new_user = [&](const BlockId& id) {
    const auto access = store->access(id);
    REQUIRE_OK(access);
    CHECK(is_good(*access));
    CHECK(users.insert(access->credential).second);
    return *access;
  };
  for (const BlockId& id : {first, second}) REQUIRE_OK(create(*store, id, {.size_bytes = mib}));
  const Access old = new_user(first);
  REQUIRE_OK(store->rotate_credential("team-g"));
  const Access current = new_user(second);
  const auto snapshot = Uid::random();
  REQUIRE_OK(store->take_snapshot(first, snapshot, {}));
  const auto look_often = [&] {
    maintain(*other);
    for (int i = 0; i < 3; ++i) REQUIRE_OK(other->maintain({}));
  };
  REQUIRE_OK(store->remove(first));
  REQUIRE_OK(store->remove(second));
  look_often();
  CHECK(is_there("team-g"));  // the snapshot is in it
  CHECK(is_good(old));
  CHECK(is_good(current));
  REQUIRE_OK(store->remove_snapshot({"team-g", snapshot}));
  look_often();
  CHECK_FALSE(is_there("team-g"));
  CHECK_FALSE(is_good(old));
  CHECK_FALSE(is_good(current));
  CHECK(other->credentials("team-g").value().empty());
  CHECK(is_there("not-ours"));
  // Nobody tells the one that has just used it.
  for (int round = 0; round < 3; ++round) {
    CAPTURE(round);
    const BlockId id{"team-g", Uid::random()};
    REQUIRE_OK(create(*store, id, {.size_bytes = mib}));
    CHECK(is_there("team-g"));
    CHECK(is_listed(*other, id));
    REQUIRE_OK(store->open(id, std::nullopt));
    const Access access = new_user(id);
    look_often();
    CHECK(is_there("team-g"));
    CHECK(is_good(access));
    REQUIRE_OK(store->remove(id));
    look_often();
    CHECK_FALSE(is_there("team-g"));
  }
  CHECK(rbd_namespace_remove(pool, "not-ours") == 0);
  rados_ioctx_destroy(pool);
}

TEST_CASE("a base image that another process removed is gone for this one too") {
  const auto cluster = provider();
  const auto store = store_on(*cluster), other = store_on(*cluster);
  const Directory directory;
  const auto digest = base_in(*store, directory, mib);
  const auto id = new_id();
  REQUIRE_OK(create(*store, id, {.size_bytes = 4 * mib, .source = FromBase{digest}}));
  REQUIRE_OK(store->remove(id));
  maintain(*store);
  REQUIRE_OK(other->remove_base(digest));
  for (const auto& key : {std::optional<EncryptionKey>(), std::optional(EncryptionKey::random())}) {
    const auto made = create(*store, new_id(), {.size_bytes = 4 * mib, .source = FromBase{digest}, .key = key});
    REQUIRE(made.has_error());
    CHECK(made.error().code() == ErrorCode::not_found);
    CHECK(made.error().message().find("base image " + digest.to_text()) != std::string::npos);
  }
  REQUIRE_OK(other->import_base({.path = directory.path() / "base.raw", .digest = digest, .size_bytes = mib}, {}, {}));
  REQUIRE_OK(create(*store, id, {.size_bytes = 4 * mib, .source = FromBase{digest}}));
  REQUIRE_OK(store->remove(id));
  maintain(*store);
  REQUIRE_OK(store->remove_base(digest));
}

TEST_CASE("data goes to the data pool, and the tenant's credential reaches it there") {
  const Stranger admin;
  const char* command = R"({"prefix": "osd pool create", "pool": "spare", "pg_num": 1})";
  REQUIRE(rados_mon_command(admin.get(), &command, 1, nullptr, 0, nullptr, nullptr, nullptr, nullptr) == 0);
  REQUIRE(rados_wait_for_latest_osdmap(admin.get()) == 0);
  const auto cluster = provider();
  const auto store = store_on(*cluster, "spare");
  const Directory directory;
  const auto digest = base_in(*store, directory, mib);
  // A tenant without a user: those of other tests may do less.
  const std::string fresh = "team-e";
  const BlockId plain{fresh, Uid::random()}, sealed{fresh, Uid::random()};
  const EncryptionKey key = EncryptionKey::random();
  REQUIRE_OK(create(*store, plain, {.size_bytes = 4 * mib, .source = FromBase{digest}}));
  REQUIRE_OK(create(*store, sealed, {.size_bytes = 4 * mib, .source = FromBase{digest}, .key = key}));
  for (const BlockId& id : {plain, sealed}) {
    CHECK(rbd_get_data_pool_id(OpenImage(admin, fresh, image_of(id)).get()) == rados_pool_lookup(admin.get(), "spare"));
  }
  const auto access = store->access(plain);
  REQUIRE_OK(access);
  {
    const Stranger user(access->secrets.at("userID"), access->secrets.at("userKey"));
    REQUIRE(user.is_connected());
    const OpenImage image(user, fresh, image_of(plain));
    REQUIRE(image.code() == 0);
    std::array<char, 4096> bytes{};
    CHECK(rbd_read(image.get(), 0, bytes.size(), bytes.data()) == static_cast<ssize_t>(bytes.size()));
    CHECK(crypto::sha256(std::string_view(bytes.data(), bytes.size())) !=
          crypto::sha256(std::string(bytes.size(), '\0')));
    CHECK(rbd_write(image.get(), 0, bytes.size(), bytes.data()) == static_cast<ssize_t>(bytes.size()));
    CHECK(rbd_flush(image.get()) == 0);
  }
  auto room = store->capacity();
  // The manager tells of a new pool with its next report.
  for (int i = 0; i < 300 && room.has_error() && room.error().code() == ErrorCode::unavailable; ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
    room = store->capacity();
  }
  REQUIRE_OK(room);
  CHECK(room->total_bytes > 64 * mib);
  for (const BlockId& id : {plain, sealed}) REQUIRE_OK(store->remove(id));
  maintain(*store);
  REQUIRE_OK(store->remove_base(digest));
  maintain(*store);
}

TEST_CASE("a wrong user, key or pool is refused with words that hold no key") {
  const std::string key = test_cluster().env("CEPH_KEY");
  const std::string monitor = test_cluster().env("CEPH_MONITOR");
  const auto wrong = Cluster::connect({.monitors = {monitor}, .user = "nobody", .key = key});
  REQUIRE(wrong.has_error());
  CHECK(wrong.error().code() == ErrorCode::forbidden);
  CHECK(wrong.error().message().find(key) == std::string::npos);
  const auto no_key = Cluster::connect({.monitors = {monitor}, .user = "admin", .key = "no key"});
  REQUIRE(no_key.has_error());
  CHECK(no_key.error().message().find("no key") == std::string::npos);
  CHECK(Cluster::connect({.monitors = {"a b"}, .user = "admin", .key = key}).error().code() == ErrorCode::invalid);
  const auto cluster = provider();
  SystemClock clock;
  NullLog log;
  CHECK(open(*cluster, {.pool = "absent"}, clock, log).error().code() == ErrorCode::not_found);
  CHECK(open(*cluster, {.pool = "a, allow *"}, clock, log).error().code() == ErrorCode::invalid);
}

TEST_CASE("a cluster that is silent is unavailable after the patience, and all is well when it is back") {
  const auto cluster = provider(std::chrono::seconds(3));
  const auto store = store_on(*cluster);
  const auto id = new_id();
  REQUIRE_OK(create(*store, id, {.size_bytes = 4 * mib}));
  auto data = store->open(id, {});
  REQUIRE_OK(data);
  test_cluster().run({"pause", "osd.0"});
  const auto late = store->volume(id);
  const auto later = create(*store, new_id(), {.size_bytes = mib});
  std::promise<Result<void>> ended;
  auto end = ended.get_future();
  std::array<std::byte, 512> bytes{};
  (*data)->read(0, bytes, [&](Result<void> result) { ended.set_value(std::move(result)); });
  test_cluster().run({"resume", "osd.0"});
  REQUIRE(late.has_error());
  CHECK(late.error().code() == ErrorCode::unavailable);
  REQUIRE(later.has_error());
  CHECK(later.error().code() == ErrorCode::unavailable);
  CHECK(end.wait_for(std::chrono::seconds(60)) == std::future_status::ready);
  data->reset();
  REQUIRE_OK(store->volume(id));

  test_cluster().run({"pause", "mon"});
  const auto room = store->capacity();
  test_cluster().run({"resume", "mon"});
  REQUIRE(room.has_error());
  CHECK(room.error().code() == ErrorCode::unavailable);
  Result<Capacity> again = store->capacity();
  for (int i = 0; i < 20 && again.has_error(); ++i) again = store->capacity();
  REQUIRE_OK(again);
  Result<void> removed = store->remove(id);
  for (int i = 0; i < 20 && removed.has_error(); ++i) removed = store->remove(id);
  REQUIRE_OK(removed);
  maintain(*store);
}

TEST_CASE("a manager that is silent only delays, and what it or a monitor answers too late harms nobody") {
  const auto cluster = provider(std::chrono::seconds(2));
  const auto store = store_on(*cluster);
  const auto id = new_id();
  const Uid snapshot = Uid::random();
  REQUIRE_OK(create(*store, id, {.size_bytes = 4 * mib}));
  REQUIRE_OK(store->take_snapshot(id, snapshot, {}));
  REQUIRE_OK(store->remove(id));

  test_cluster().run({"pause", "mgr"});
  const auto begin = std::chrono::steady_clock::now();
  const auto delayed = store->maintain({});
  CHECK(std::chrono::steady_clock::now() - begin < std::chrono::seconds(60));
  {
    const auto left = provider(std::chrono::seconds(2));
    const auto other = store_on(*left);
    test_cluster().run({"pause", "mon"});
    const auto room = other->capacity();
    REQUIRE(room.has_error());
    CHECK(room.error().code() == ErrorCode::unavailable);
  }
  test_cluster().run({"resume", "mon"});
  test_cluster().run({"resume", "mgr"});
  REQUIRE_OK(delayed);
  CHECK(delayed->waiting > 0);

  maintain(*store);
  REQUIRE_OK(store->remove_snapshot({tenant, snapshot}));
  maintain(*store);
}

}  // namespace ironcore::storage::ceph::testing
