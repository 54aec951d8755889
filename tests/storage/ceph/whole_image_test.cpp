// SPDX-License-Identifier: Apache-2.0
// Empty images that are made without librbd: the same as librbd's, and no obstacle when they were only begun.
#include "whole_image.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <functional>
#include <map>
#include <set>
#include <string>

#include "ceph_fixture.hpp"
#include "encoding.hpp"
#include "header.hpp"

namespace ironcore::storage::ceph::testing {

namespace {

constexpr std::uint64_t mib = std::uint64_t{1} << 20;

using Texts = std::map<std::string, std::string>;

Texts omap_of(const IoContext& io, const std::string& object) {
  const rados_read_op_t operation = rados_create_read_op();
  rados_omap_iter_t iterator = nullptr;
  unsigned char has_more = 0;
  rados_read_op_omap_get_vals2(operation, "", "", 1000, &iterator, &has_more, nullptr);
  REQUIRE(rados_read_op_operate(operation, io.get(), object.c_str(), 0) == 0);
  Texts out;
  char *key = nullptr, *value = nullptr;
  std::size_t key_size = 0, value_size = 0;
  while (rados_omap_get_next2(iterator, &key, &value, &key_size, &value_size) == 0 && key != nullptr)
    out.emplace(std::string(key, key_size), std::string(value, value_size));
  rados_omap_get_end(iterator);
  rados_release_read_op(operation);
  CHECK(has_more == 0);
  return out;
}

std::string bytes_of(const IoContext& io, const std::string& object) {
  std::string out(4096, '\0');
  const int size = rados_read(io.get(), object.c_str(), out.data(), out.size(), 0);
  REQUIRE_MESSAGE(size >= 0, object);
  out.resize(static_cast<std::size_t>(size));
  return out;
}

std::set<std::string> objects_of(const IoContext& io) {
  std::set<std::string> out;
  rados_list_ctx_t list = nullptr;
  REQUIRE(rados_nobjects_list_open(io.get(), &list) == 0);
  const char* name = nullptr;
  while (rados_nobjects_list_next(list, &name, nullptr, nullptr) == 0) out.insert(name);
  rados_nobjects_list_close(list);
  return out;
}

std::string id_of(const IoContext& io, const std::string& name) {
  const auto id = image_id(io, name);
  REQUIRE_OK(id);
  REQUIRE(id->has_value());
  return **id;
}

void call(const IoContext& io, const std::string& object, const char* method, const std::string& input) {
  const rados_write_op_t operation = rados_create_write_op();
  rados_write_op_create(operation, LIBRADOS_CREATE_IDEMPOTENT, nullptr);
  rados_write_op_exec(operation, "rbd", method, input.data(), input.size(), nullptr);
  CHECK(rados_write_op_operate(operation, io.get(), object.c_str(), nullptr, 0) == 0);
  rados_release_write_op(operation);
}

IoContext space(const Stranger& admin, const std::string& name) {
  auto io = IoContext::open(admin.get(), test_cluster().env("CEPH_POOL"), name);
  REQUIRE_OK(io);
  return std::move(*io);
}

}  // namespace

TEST_CASE("an empty image is to the last byte what librbd makes") {
  const Stranger admin;
  const std::string name_space = "images-" + Uid::random().to_text();
  REQUIRE(rbd_namespace_create(space(admin, "").get(), name_space.c_str()) == 0);
  const auto io = space(admin, name_space);
  const ImageOptions options("");
  for (const std::uint64_t size : {mib, 4 * mib, 37 * mib, 1024 * mib}) {
    CAPTURE(size);
    const std::string theirs = "theirs-" + std::to_string(size), ours = "ours-" + std::to_string(size);
    REQUIRE(rbd_create4(io.get(), theirs.c_str(), size, options.get()) == 0);
    REQUIRE_OK(make_whole_image(io, ours, size, {{"key", "value"}, {"empty", ""}}));
    const std::string their_id = id_of(io, theirs), our_id = id_of(io, ours);
    CHECK(our_id.size() == 14);  // at most; theirs begins with the number of the client

    Texts expected = omap_of(io, "rbd_header." + their_id), found = omap_of(io, "rbd_header." + our_id);
    std::string prefix;
    append(prefix, "rbd_data." + our_id);
    CHECK(found["object_prefix"] == prefix);
    CHECK(found["metadata_key"] == "value");
    CHECK(found["metadata_empty"] == "");
    for (const char* one : {"object_prefix", "create_timestamp", "access_timestamp", "modify_timestamp"}) {
      CHECK(found.contains(one));
      CHECK(expected.contains(one));
      expected.erase(one);
      found.erase(one);
    }
    found.erase("metadata_key");
    found.erase("metadata_empty");
    CHECK(found.contains("size"));
    CHECK(found == expected);
    CHECK(bytes_of(io, "rbd_object_map." + our_id) == bytes_of(io, "rbd_object_map." + their_id));
    const Texts names = omap_of(io, "rbd_directory");
    CHECK(names.contains("name_" + ours));
    CHECK(names.contains("id_" + our_id));

    const auto image = Image::open(io, ours, Image::Mode::read_write);
    REQUIRE_OK(image);
    std::uint64_t flags = 1;
    CHECK(rbd_get_flags(image->get(), &flags) == 0);
    CHECK(flags == 0);
    CHECK(image->size().value() == size);
    REQUIRE(rbd_write(image->get(), size - 4, 4, "last") == 4);
    REQUIRE(rbd_flush(image->get()) == 0);
    // With fast-diff this is what the object map says.
    std::vector<std::uint64_t> changed;
    const auto note = [](std::uint64_t at, std::size_t, int is_there, void* into) {
      if (is_there != 0) static_cast<std::vector<std::uint64_t>*>(into)->push_back(at);
      return 0;
    };
    CHECK(rbd_diff_iterate2(image->get(), nullptr, 0, size, 0, 1, note, &changed) == 0);
    CHECK(changed == std::vector<std::uint64_t>{(size - 1) / object_size * object_size});
  }
  const auto again = make_whole_image(io, "ours-" + std::to_string(mib), mib, {});
  REQUIRE(again.has_error());
  CHECK(again.error().code() == ErrorCode::already_exists);
}

TEST_CASE("what is left of an empty image that was only begun is no obstacle, and goes") {
  const auto cluster = provider();
  const auto store = store_on(*cluster);
  const Stranger admin;
  const std::string tenant = "begun-" + Uid::random().to_text();
  const VolumeSpec spec{.size_bytes = 8 * mib};
  REQUIRE_OK(store->create({tenant, Uid::random()}, spec, {}, {}));  // the namespace is there from now on
  const auto io = space(admin, tenant);
  const auto begin = [&](const std::string& name, int steps) {
    const std::string id = "f00d" + name.substr(name.size() - 6);
    std::string entry, number, objects;
    append(entry, name);
    append(entry, id);
    append(number, id);
    append(objects, std::uint64_t{2});
    append(objects, std::uint8_t{0});
    call(io, "rbd_directory", "dir_add_image", entry);
    say_begun(admin, tenant, name);
    if (steps > 1) call(io, "rbd_id." + name, "set_id", number);
    if (steps > 2) call(io, "rbd_object_map." + id, "object_map_resize", objects);
  };
  const std::function<void(const BlockId&)> ways[] = {
      [&](const BlockId& id) {
        REQUIRE_OK(store->create(id, spec, {}, {}));
        REQUIRE_OK(store->volume(id));
        const auto header =
            read_header(*Image::open(io, "img_" + id.uid.to_text(), Image::Mode::read_only), "img_" + id.uid.to_text());
        REQUIRE_OK(header);
        CHECK(header->has_value());
        REQUIRE_OK(store->remove(id));
      },
      [&](const BlockId& id) { REQUIRE_OK(store->remove(id)); },
      [&](const BlockId& id) { REQUIRE_OK(store->remove_unfinished(id)); },
  };
  const auto settle = [&] {
    for (int i = 0; i < 60; ++i) {
      const auto done = store->maintain({});
      REQUIRE_OK(done);
      if (done->waiting == 0) return;
    }
    FAIL("maintain never comes to an end");
  };
  settle();
  const auto before = objects_of(io);
  for (int steps = 1; steps <= 3; ++steps) {
    CAPTURE(steps);
    for (const auto& way : ways) {
      if (steps == 1 && &way != &ways[0]) continue;  // a name alone is nothing, and is removed by who needs it
      const BlockId id{tenant, Uid::random()};
      begin("img_" + id.uid.to_text(), steps);
      const auto seen = store->volume(id);
      REQUIRE(seen.has_error());
      CHECK(seen.error().code() == ErrorCode::not_found);
      const auto listed = store->volumes();
      REQUIRE_OK(listed);
      CHECK(std::ranges::count(*listed, id, &Volume::id) == 0);
      const auto found = store->maintain({});
      REQUIRE_OK(found);
      CHECK(std::ranges::count(found->unfinished, id) == (steps > 1 ? 1 : 0));
      way(id);
      settle();
      auto now = objects_of(io);
      for (const char* one : {"rbd_trash", "rbd_task"}) now.erase(one);  // of all images
      std::string more;
      for (const auto& object : now)
        if (!before.contains(object)) more += " " + object;
      CHECK(more == "");
    }
  }
}

}  // namespace ironcore::storage::ceph::testing
