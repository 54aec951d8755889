// SPDX-License-Identifier: Apache-2.0
// What others have in the pool is theirs, whatever it is called.
#include <doctest/doctest.h>
#include <rbd/librbd.h>

#include <algorithm>
#include <string>
#include <vector>

#include "ceph_fixture.hpp"
#include "ironcore/base/uid.hpp"

namespace ironcore::storage::ceph {
namespace {

using namespace testing;

constexpr std::uint64_t mib = std::uint64_t{1} << 20;
const std::string words = "somebody's data";

std::string image_of(const BlockId& id) {
  return "img_" + id.uid.to_text();
}

/// With data, and a snapshot of it.
void make(const rados_ioctx_t io, const std::string& name) {
  int order = 22;
  REQUIRE(rbd_create2(io, name.c_str(), 64 * mib, RBD_FEATURE_LAYERING, &order) == 0);
  rbd_image_t image = nullptr;
  REQUIRE(rbd_open(io, name.c_str(), &image, nullptr) == 0);
  CHECK(rbd_write(image, 0, words.size(), words.data()) == static_cast<ssize_t>(words.size()));
  CHECK(rbd_snap_create(image, "precious") == 0);
  CHECK(rbd_close(image) == 0);
}

void check_whole(const rados_ioctx_t io, const std::string& name) {
  CAPTURE(name);
  rbd_image_t image = nullptr;
  REQUIRE(rbd_open_read_only(io, name.c_str(), &image, "precious") == 0);
  std::string seen(words.size(), ' ');
  CHECK(rbd_read(image, 0, seen.size(), seen.data()) == static_cast<ssize_t>(seen.size()));
  CHECK(seen == words);
  CHECK(rbd_close(image) == 0);
}

/// Back under its name, from the trash.
void restore(const rados_ioctx_t io, const std::string& name) {
  rbd_trash_image_info_t all[64];
  std::size_t count = 64;
  REQUIRE(rbd_trash_list(io, all, &count) >= 0);
  const auto* found = std::find_if(all, all + count, [&](const auto& one) { return name == one.name; });
  REQUIRE(found != all + count);
  const std::string id = found->id;
  rbd_trash_list_cleanup(all, count);
  REQUIRE(rbd_trash_restore(io, id.c_str(), name.c_str()) == 0);
}

/// Through librbd, after the store has let go of them.
void remove_image(const rados_ioctx_t io, const std::string& name) {
  rbd_image_t image = nullptr;
  REQUIRE(rbd_open(io, name.c_str(), &image, nullptr) == 0);
  CHECK(rbd_snap_remove(image, "precious") == 0);
  CHECK(rbd_close(image) == 0);
  CHECK(rbd_remove(io, name.c_str()) == 0);
}

/// Objects of claims, in the namespace of the index.
std::vector<std::string> claims_of(const Stranger& admin, const std::string& tenant) {
  const rados_ioctx_t io = admin.space(".ironcore");
  std::vector<std::string> out;
  rados_list_ctx_t list = nullptr;
  REQUIRE(rados_nobjects_list_open(io, &list) == 0);
  const char* entry = nullptr;
  while (rados_nobjects_list_next(list, &entry, nullptr, nullptr) == 0)
    if (std::string(entry).starts_with("claim." + tenant + ".")) out.emplace_back(entry);
  rados_nobjects_list_close(list);
  rados_ioctx_destroy(io);
  return out;
}

void maintain_often(BlockStore& store) {
  for (int i = 0; i < 5; ++i) {
    const auto done = store.maintain({});
    REQUIRE_OK(done);
    CHECK(done->unfinished.empty());
  }
}

}  // namespace

TEST_CASE("images of others stay, in each namespace and in the trash, whatever they are called") {
  const auto cluster = provider();
  const auto store = store_on(*cluster);
  const Stranger admin;
  const rados_ioctx_t pool = admin.space("");
  REQUIRE(rbd_namespace_create(pool, "theirs") == 0);
  const rados_ioctx_t theirs = admin.space("theirs");
  const std::string uid = Uid::random().to_text(), digits(64, 'a');
  for (const auto& name : {"img_" + uid, "snap_" + uid, "base_" + digits}) {
    for (const auto& io : {pool, theirs}) make(io, name);
    REQUIRE(rbd_trash_move(theirs, name.c_str(), 0) == 0);
  }
  maintain_often(*store);
  for (const auto& name : {"img_" + uid, "snap_" + uid, "base_" + digits}) {
    restore(theirs, name);
    for (const auto& io : {pool, theirs}) check_whole(io, name);
  }
  maintain_often(*store);
  CHECK(store->remove_unfinished({"theirs", Uid::parse(uid).value()}).error().code() == ErrorCode::wrong_state);
  for (const auto& name : {"img_" + uid, "snap_" + uid, "base_" + digits})
    for (const auto& io : {pool, theirs}) {
      check_whole(io, name);
      remove_image(io, name);
    }
  CHECK(rbd_namespace_remove(pool, "theirs") == 0);
  rados_ioctx_destroy(theirs);
  rados_ioctx_destroy(pool);
}

TEST_CASE("of what was begun a word stays until it is whole or gone, and no longer") {
  const auto cluster = provider();
  const auto store = store_on(*cluster);
  const Stranger admin;
  const std::string tenant = "team-w";
  const BlockId id{tenant, Uid::random()}, killed{tenant, Uid::random()}, wrong{tenant, Uid::random()};
  const auto snapshot = Uid::random();
  const auto none = std::vector<std::string>();
  REQUIRE_OK(store->create(id, {.size_bytes = mib}, {}, {}));
  CHECK(claims_of(admin, tenant) == none);
  REQUIRE_OK(store->create(id, {.size_bytes = mib}, {}, {}));
  REQUIRE_OK(store->expand(id, 2 * mib));
  REQUIRE_OK(store->take_snapshot(id, snapshot, {}));
  CHECK(store->create(wrong, {.size_bytes = mib, .source = FromSnapshot{Uid::random(), {}}}, {}, {}).has_error());
  CHECK(claims_of(admin, tenant) == none);
  say_begun(admin, tenant, image_of(killed));
  const auto left = std::vector{"claim." + tenant + "." + image_of(killed)};
  maintain_often(*store);
  CHECK(store->expand(killed, mib).error().code() == ErrorCode::not_found);
  CHECK(store->set_limits(killed, {}).error().code() == ErrorCode::not_found);
  CHECK(claims_of(admin, tenant) == left);
  REQUIRE_OK(store->create(killed, {.size_bytes = mib}, {}, {}));
  CHECK(claims_of(admin, tenant) == none);
  say_begun(admin, tenant, image_of(killed));
  REQUIRE_OK(store->remove(killed));
  REQUIRE_OK(store->remove_snapshot({tenant, snapshot}));
  REQUIRE_OK(store->remove(id));
  maintain_often(*store);
  CHECK(claims_of(admin, tenant) == none);
}

TEST_CASE("an image of somebody else under the name of a volume or snapshot is in the way, and stays") {
  const auto cluster = provider();
  const auto store = store_on(*cluster);
  const Stranger admin;
  const BlockId first{"team-f", Uid::random()}, id{"team-f", Uid::random()};
  REQUIRE_OK(store->create(first, {.size_bytes = mib}, {}, {}));  // the namespace
  const rados_ioctx_t io = admin.space("team-f");
  const auto snapshot = Uid::random();
  const std::string name = image_of(id), snapshot_name = "snap_" + snapshot.to_text();
  make(io, name);
  make(io, snapshot_name);
  for (int i = 0; i < 2; ++i) {
    const auto made = store->create(id, {.size_bytes = mib}, {}, {});
    REQUIRE(made.has_error());
    CHECK(made.error().code() == ErrorCode::already_exists);
    CHECK(made.error().message().find("rbd/team-f/" + name) != std::string::npos);
    const auto encrypted = store->create(id, {.size_bytes = mib, .source = {}, .key = EncryptionKey::random()}, {}, {});
    REQUIRE(encrypted.has_error());
    CHECK(encrypted.error().code() == ErrorCode::already_exists);
    CHECK(store->remove(id).error().code() == ErrorCode::wrong_state);
    CHECK(store->take_snapshot(first, snapshot, {}).error().code() == ErrorCode::already_exists);
    CHECK(store->remove_snapshot({"team-f", snapshot}).error().code() == ErrorCode::wrong_state);
    maintain_often(*store);
    check_whole(io, name);
    check_whole(io, snapshot_name);
  }
  REQUIRE(rbd_rename(io, name.c_str(), "elsewhere") == 0);
  REQUIRE(rbd_rename(io, snapshot_name.c_str(), "elsewhere-too") == 0);
  REQUIRE_OK(store->create(id, {.size_bytes = mib}, {}, {}));
  REQUIRE_OK(store->take_snapshot(first, snapshot, {}));
  check_whole(io, "elsewhere");
  REQUIRE_OK(store->remove(id));
  REQUIRE_OK(store->remove(first));
  REQUIRE_OK(store->remove_snapshot({"team-f", snapshot}));
  for (const char* one : {"elsewhere", "elsewhere-too"}) remove_image(io, one);
  rados_ioctx_destroy(io);
}

TEST_CASE("a volume that somebody puts into the trash is lost until it is taken out, and is whole then") {
  const auto cluster = provider();
  const auto store = store_on(*cluster);
  const Stranger admin;
  const BlockId id{"team-t", Uid::random()};
  REQUIRE_OK(store->create(id, {.size_bytes = 64 * mib}, {}, {}));
  const rados_ioctx_t io = admin.space("team-t");
  {
    const OpenImage image(admin, "team-t", image_of(id));
    REQUIRE(image.code() == 0);
    CHECK(rbd_write(image.get(), 0, words.size(), words.data()) == static_cast<ssize_t>(words.size()));
    CHECK(rbd_snap_create(image.get(), "precious") == 0);
  }
  REQUIRE(rbd_trash_move(io, image_of(id).c_str(), 3600) == 0);
  maintain_often(*store);
  CHECK(store->volume(id).error().code() == ErrorCode::not_found);
  restore(io, image_of(id));
  maintain_often(*store);
  REQUIRE_OK(store->volume(id));
  CHECK(store->volume(id)->size_bytes == 64 * mib);
  check_whole(io, image_of(id));
  {
    const OpenImage image(admin, "team-t", image_of(id));
    CHECK(rbd_snap_remove(image.get(), "precious") == 0);
  }
  rados_ioctx_destroy(io);
  REQUIRE_OK(store->remove(id));
}

TEST_CASE("data that was brought back by hand is taken once it says what it is") {
  const auto cluster = provider();
  const auto store = store_on(*cluster);
  const Stranger admin;
  const BlockId id{"team-i", Uid::random()};
  const std::string name = image_of(id);
  REQUIRE_OK(store->create(id, {.size_bytes = 64 * mib}, {}, {}));
  const rados_ioctx_t io = admin.space("team-i");
  REQUIRE(rbd_remove(io, name.c_str()) == 0);
  maintain_often(*store);
  CHECK(store->volume(id).error().code() == ErrorCode::not_found);
  make(io, name);
  maintain_often(*store);
  const auto absent = store->volume(id);
  REQUIRE(absent.has_error());
  CHECK(absent.error().code() == ErrorCode::not_found);
  CHECK(absent.error().message().find("storage-ceph.md") != std::string::npos);
  {
    const OpenImage image(admin, "team-i", name);
    for (const auto& [key, value] : {std::pair("source", "empty"), std::pair("encryption", "none")})
      CHECK(rbd_metadata_set(image.get(), (std::string("ironcore.") + key).c_str(), value) == 0);
    CHECK(rbd_metadata_set(image.get(), "ironcore.whole", name.c_str()) == 0);
  }
  maintain_often(*store);
  REQUIRE_OK(store->volume(id));
  CHECK(store->volume(id)->size_bytes == 64 * mib);
  check_whole(io, name);
  {
    const OpenImage image(admin, "team-i", name);
    CHECK(rbd_snap_remove(image.get(), "precious") == 0);
  }
  rados_ioctx_destroy(io);
  REQUIRE_OK(store->remove(id));
}

}  // namespace ironcore::storage::ceph
