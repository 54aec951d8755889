// SPDX-License-Identifier: Apache-2.0
// Base images, and volumes of them.
#pragma once

#include "block_store_fixture.hpp"

namespace ironcore::storage::testing {

TEST_CASE_TEMPLATE_DEFINE("a base image is taken in when every byte is right, with its holes", Fixture, blocks_import) {
  Fixture fixture;
  auto& store = fixture.store();
  const std::uint64_t before = fixture.occupied().value_or(0);
  const auto image = raw_image(fixture, 64 * mib + 512, {{0, 300'000}, {33 * mib + 7, 5000}, {64 * mib, 512}});
  std::vector<image::Progress> progress;
  const auto here = std::this_thread::get_id();
  const auto base = store.import_base(image.source,
                                      [&](const image::Progress& step) {
                                        CHECK(std::this_thread::get_id() == here);
                                        progress.push_back(step);
                                      },
                                      {});
  IRONCORE_BLOCKS_OK(base);
  CHECK(base->digest == image.source.digest);
  CHECK(base->size_bytes == image.source.size_bytes);
  CHECK(base->children == 0);
  REQUIRE_FALSE(progress.empty());
  CHECK(std::ranges::is_sorted(progress, {}, &image::Progress::done_bytes));
  for (const auto& step : progress) CHECK(step.total_bytes == image.source.size_bytes);
  CHECK(progress.back().done_bytes == image.source.size_bytes);
  if (const auto now = fixture.occupied()) CHECK(*now - before < 16 * mib);

  const auto listed = listed_base(*fixture.another(), image.source.digest);
  REQUIRE(listed.has_value());
  CHECK(listed->size_bytes == image.source.size_bytes);
  CHECK(listed->children == 0);

  // What is there is not read again.
  std::filesystem::remove(image.source.path);
  IRONCORE_BLOCKS_OK(store.import_base(image.source, {}, {}));
  IRONCORE_BLOCKS_FAIL(invalid, create(store, new_id(), base_spec(64 * mib, image.source.digest)));
  const auto id = new_id();
  created(store, id, base_spec(65 * mib, image.source.digest));
  CHECK(get(store, id, 0, mib) == part(image.bytes, 0, mib));
  CHECK(get(store, id, 33 * mib, mib) == part(image.bytes, 33 * mib, mib));
  CHECK(get(store, id, 64 * mib - 512, 2048) == longer(part(image.bytes, 64 * mib - 512, 1024), 2048));

  IRONCORE_BLOCKS_OK(store.remove(id));
  maintain(store);
  IRONCORE_BLOCKS_OK(store.remove_base(image.source.digest));
  IRONCORE_BLOCKS_OK(store.remove_base(image.source.digest));
  CHECK_FALSE(listed_base(store, image.source.digest).has_value());
  maintain(store);
  if (const auto now = fixture.occupied()) CHECK(*now == before);
}

TEST_CASE_TEMPLATE_DEFINE("of a base image that is not what it should be, nothing stays", Fixture, blocks_bad_import) {
  Fixture fixture;
  auto& store = fixture.store();
  const std::uint64_t before = fixture.occupied().value_or(0);
  const auto image = small_image(fixture);
  auto wrong = image.source;
  wrong.digest = crypto::sha256("something else");
  IRONCORE_BLOCKS_FAIL(corrupt, store.import_base(wrong, {}, {}));
  CHECK_FALSE(listed_base(store, wrong.digest).has_value());
  CHECK_FALSE(listed_base(store, image.source.digest).has_value());
  for (const std::uint64_t size : {image.source.size_bytes - 1, image.source.size_bytes + 1, mib, 4 * mib}) {
    CAPTURE(size);
    wrong = image.source;
    wrong.size_bytes = size;
    IRONCORE_BLOCKS_FAIL(corrupt, store.import_base(wrong, {}, {}));
  }
  // The right digest of a part is not enough.
  wrong = image.source;
  wrong.size_bytes = mib;
  wrong.digest = crypto::sha256(BytesView(image.bytes).first(mib));
  IRONCORE_BLOCKS_FAIL(corrupt, store.import_base(wrong, {}, {}));
  CHECK_FALSE(listed_base(store, wrong.digest).has_value());
  wrong = image.source;
  wrong.path = fixture.directory() / "absent.raw";
  IRONCORE_BLOCKS_FAIL(not_found, store.import_base(wrong, {}, {}));
  wrong.path = fixture.directory();
  const auto directory = store.import_base(wrong, {}, {});
  REQUIRE_FALSE(directory.has_value());
  CHECK_MESSAGE(is_one_of(directory.error(), {ErrorCode::invalid, ErrorCode::corrupt}), directory.error().message());
  wrong = image.source;
  wrong.size_bytes = 0;
  const auto nothing = store.import_base(wrong, {}, {});
  REQUIRE_FALSE(nothing.has_value());
  CHECK_MESSAGE(is_one_of(nothing.error(), {ErrorCode::invalid, ErrorCode::corrupt}), nothing.error().message());
  CHECK_FALSE(listed_base(store, image.source.digest).has_value());
  maintain(store);
  if (const auto now = fixture.occupied()) CHECK(*now == before);

  // A digest of the other kind is as good.
  wrong = image.source;
  wrong.digest = crypto::sha512(image.bytes);
  IRONCORE_BLOCKS_OK(store.import_base(wrong, {}, {}));
  IRONCORE_BLOCKS_OK(store.import_base(image.source, {}, {}));
  CHECK(listed_base(store, image.source.digest).has_value());
}

TEST_CASE_TEMPLATE_DEFINE("an import that is stopped leaves nothing that is listed, and goes on when called again",
                          Fixture, blocks_stopped_import) {
  Fixture fixture;
  auto& store = fixture.store();
  const auto image = raw_image(fixture, 24 * mib, {{0, fixture.quirks().cheap_bytes / 2}});
  std::stop_source stopped;
  stopped.request_stop();
  IRONCORE_BLOCKS_FAIL(cancelled, store.import_base(image.source, {}, stopped.get_token()));
  CHECK_FALSE(listed_base(store, image.source.digest).has_value());
  IRONCORE_BLOCKS_FAIL(not_found, create(store, new_id(), base_spec(24 * mib, image.source.digest)));

  std::stop_source stop;
  const auto half = store.import_base(
      image.source, [&](const image::Progress&) { stop.request_stop(); }, stop.get_token());
  if (half.has_error()) {
    IRONCORE_BLOCKS_FAIL(cancelled, half);
    CHECK_FALSE(listed_base(store, image.source.digest).has_value());
  }
  IRONCORE_BLOCKS_OK(fixture.another()->import_base(image.source, {}, {}));
  CHECK(listed_base(store, image.source.digest).has_value());
  const auto id = new_id();
  created(store, id, base_spec(24 * mib, image.source.digest));
  CHECK(content(store, id) == image.bytes);
}

TEST_CASE_TEMPLATE_DEFINE("two import the same image at the same time, and there is one", Fixture, blocks_two_imports) {
  Fixture fixture;
  auto& store = fixture.store();
  const auto another = fixture.another();
  const auto image = raw_image(fixture, 8 * mib, {{mib, 3 * mib}});
  both(store, *another, [&](BlockStore& one) { return without_value(one.import_base(image.source, {}, {})); });
  REQUIRE(listed_base(store, image.source.digest).has_value());
  const auto id = new_id();
  created(store, id, base_spec(8 * mib, image.source.digest));
  CHECK(content(store, id) == image.bytes);
}

TEST_CASE_TEMPLATE_DEFINE("volumes of one base image share it and are independent", Fixture, blocks_clones) {
  Fixture fixture;
  auto& store = fixture.store();
  const auto image = imported(fixture);
  const std::uint64_t size = 4 * mib;
  const std::array ids{new_id(team_a), new_id(team_a), new_id(team_b)};
  for (const auto& id : ids) created(store, id, base_spec(size, image.source.digest));
  created(store, ids[0], base_spec(size, image.source.digest));
  const auto original = longer(image.bytes, size);
  for (const auto& id : ids) CHECK(content(store, id) == original);

  auto first = original;
  const auto bytes = noise(100'000);
  put(store, ids[0], 65'000, bytes);
  std::ranges::copy(bytes, first.begin() + 65'000);
  auto second = original;
  IRONCORE_BLOCKS_OK(discard(*opened(store, ids[1]), 100, mib + 1000));
  std::fill_n(second.begin() + 100, mib + 1000, std::byte{0});
  CHECK(content(store, ids[0]) == first);
  CHECK(content(store, ids[1]) == second);
  CHECK(content(store, ids[2]) == original);
  const auto late = new_id();
  created(store, late, base_spec(size, image.source.digest));
  CHECK(content(store, late) == original);

  const auto base = listed_base(store, image.source.digest);
  REQUIRE(base.has_value());
  if (store.volume(ids[2])->depth > 0) {
    CHECK(base->children == 4);
    IRONCORE_BLOCKS_FAIL(wrong_state, store.remove_base(image.source.digest));
    REQUIRE(listed_base(store, image.source.digest).has_value());
  } else {
    CHECK(base->children == 0);
  }
  for (const auto& id : {ids[1], ids[2], late}) IRONCORE_BLOCKS_OK(store.remove(id));
  maintain(store);
  if (store.volume(ids[0])->depth > 0) {
    CHECK(listed_base(store, image.source.digest)->children == 1);
    IRONCORE_BLOCKS_FAIL(wrong_state, store.remove_base(image.source.digest));
    CHECK(content(store, ids[0]) == first);
    IRONCORE_BLOCKS_OK(store.remove(ids[0]));
    maintain(store);
    IRONCORE_BLOCKS_OK(store.remove_base(image.source.digest));
  } else {
    IRONCORE_BLOCKS_OK(store.remove_base(image.source.digest));
    CHECK(content(store, ids[0]) == first);
    // Whoever lost the answer asks again.
    IRONCORE_BLOCKS_OK(create(store, ids[0], base_spec(size, image.source.digest)));
  }
  CHECK_FALSE(listed_base(store, image.source.digest).has_value());
}

}  // namespace ironcore::storage::testing
