// SPDX-License-Identifier: Apache-2.0
// Encrypted volumes, and what is made from them.
#pragma once

#include "block_store_fixture.hpp"

namespace ironcore::storage::testing {

/// What lies on the medium shows nothing of what was written, and is not empty.
inline void check_raw(BlockStoreFixture& fixture, const BlockId& id, const Bytes& written) {
  const auto raw = fixture.raw(id);
  if (!raw.has_value()) return;
  REQUIRE(written.size() >= 256);
  CHECK(std::ranges::any_of(*raw, [](std::byte byte) { return byte != std::byte{0}; }));
  for (std::size_t offset = 0; offset + 32 <= written.size(); offset += 4096) {
    CHECK(std::ranges::search(*raw, std::span(written).subspan(offset, 32)).empty());
  }
}

TEST_CASE_TEMPLATE_DEFINE("an encrypted volume has the size asked for, and is read only with its key", Fixture,
                          blocks_encrypted) {
  Fixture fixture;
  auto& store = fixture.store();
  const auto id = new_id();
  const Key key = EncryptionKey::random();
  const Key wrong = EncryptionKey::random();
  if (!fixture.quirks().encrypts) {
    IRONCORE_BLOCKS_FAIL(unsupported, create(store, id, empty_spec(4 * mib, key)));
    IRONCORE_BLOCKS_FAIL(not_found, store.volume(id));
    created(store, id, empty_spec(4 * mib));
    IRONCORE_BLOCKS_FAIL(invalid, store.open(id, key));
    CHECK_FALSE(store.is_key_of(id, *key).value());
    IRONCORE_BLOCKS_FAIL(not_found, store.is_key_of(new_id(), *key));
    return;
  }
  created(store, id, empty_spec(4 * mib, key));
  CHECK(store.volume(id)->is_encrypted);
  CHECK(store.access(id).value().attributes.at("encryption") == "luks2");
  CHECK(content(store, id, key) == zeros(4 * mib));
  const auto bytes = noise(100'000);
  put(store, id, 777, bytes, key);
  {
    const auto data = opened(store, id, key);
    CHECK(data->size() == 4 * mib);
    IRONCORE_BLOCKS_OK(write(*data, 4 * mib - 10, as_bytes("0123456789")));
    IRONCORE_BLOCKS_FAIL(invalid, write(*data, 4 * mib - 9, as_bytes("0123456789")));
  }
  check_raw(fixture, id, bytes);

  IRONCORE_BLOCKS_OK(create(store, id, empty_spec(4 * mib, key)));
  IRONCORE_BLOCKS_FAIL(already_exists, create(store, id, empty_spec(4 * mib, wrong)));
  IRONCORE_BLOCKS_FAIL(already_exists, create(store, id, empty_spec(4 * mib)));
  IRONCORE_BLOCKS_FAIL(already_exists, create(store, id, empty_spec(8 * mib, key)));
  IRONCORE_BLOCKS_FAIL(forbidden, store.open(id, wrong));
  IRONCORE_BLOCKS_FAIL(invalid, store.open(id, {}));
  CHECK(store.is_key_of(id, *key).value());
  CHECK_FALSE(store.is_key_of(id, *wrong).value());
  {
    // Nobody sees it, and it disturbs nobody.
    const auto other = fixture.another();
    const auto data = opened(store, id, key);
    const auto clients = other->clients(id).value().size();
    CHECK(other->is_key_of(id, *key).value());
    CHECK(other->clients(id).value().size() == clients);
    CHECK(read(*data, 777, bytes.size()) == bytes);
  }
  CHECK(get(*fixture.another(), id, 777, bytes.size(), key) == bytes);
  CHECK(get(store, id, 4 * mib - 10, 10, key) == Bytes(as_bytes("0123456789").begin(), as_bytes("0123456789").end()));

  const auto plain = new_id();
  created(store, plain, empty_spec(mib));
  CHECK_FALSE(store.access(plain).value().attributes.contains("encryption"));
  IRONCORE_BLOCKS_FAIL(invalid, store.open(plain, key));
  CHECK_FALSE(store.is_key_of(plain, *key).value());
  IRONCORE_BLOCKS_FAIL(already_exists, create(store, plain, empty_spec(mib, key)));

  const auto smallest = new_id();
  created(store, smallest, empty_spec(mib, key));
  const auto full = noise(mib);
  put(store, smallest, 0, full, key);
  CHECK(content(store, smallest, key) == full);
  IRONCORE_BLOCKS_OK(store.remove(smallest));
  IRONCORE_BLOCKS_OK(store.remove(id));
  IRONCORE_BLOCKS_FAIL(not_found, store.open(id, key));
  IRONCORE_BLOCKS_FAIL(not_found, store.is_key_of(id, *key));
}

TEST_CASE_TEMPLATE_DEFINE("small changes beside each other in an encrypted volume, all at once, and none is lost",
                          Fixture, blocks_encrypted_small) {
  Fixture fixture;
  if (!fixture.quirks().encrypts) return;
  auto& store = fixture.store();
  const auto id = new_id();
  const Key key = EncryptionKey::random();
  created(store, id, empty_spec(4 * mib, key));
  constexpr std::size_t piece = 300, count = 200;  // fourteen in a sector, many across two
  constexpr std::uint64_t begin = mib - 1000;
  auto expected = noise(piece * count);
  put(store, id, begin, noise(piece * count), key);
  {
    const auto data = opened(store, id, key);
    std::vector<std::promise<Result<void>>> done(count);
    for (std::size_t i = 0; i < count; ++i) {
      const auto finish = [&done, i](Result<void> result) { done[i].set_value(std::move(result)); };
      if (i % 5 == 4) {
        std::fill_n(expected.begin() + static_cast<std::ptrdiff_t>(i * piece), piece, std::byte{0});
        data->discard(begin + i * piece, piece, finish);
      } else {
        data->write(begin + i * piece, BytesView(expected).subspan(i * piece, piece), finish);
      }
    }
    for (auto& one : done) IRONCORE_BLOCKS_OK(one.get_future().get());
    CHECK(read(*data, begin, expected.size()) == expected);
    IRONCORE_BLOCKS_OK(discard(*data, begin + 100, 3 * 4096));
    std::fill_n(expected.begin() + 100, 3 * 4096, std::byte{0});
    IRONCORE_BLOCKS_OK(flush(*data));
  }
  CHECK(get(store, id, begin, expected.size(), key) == expected);
  CHECK(get(store, id, begin - 5000, 5000, key) == zeros(5000));
  IRONCORE_BLOCKS_OK(store.remove(id));
}

TEST_CASE_TEMPLATE_DEFINE("an encrypted volume of a plain base image is a copy through the encryption", Fixture,
                          blocks_encrypted_base) {
  Fixture fixture;
  if (!fixture.quirks().encrypts) return;
  auto& store = fixture.store();
  const auto image = imported(fixture);
  const Key key = EncryptionKey::random();
  const auto id = new_id();
  std::vector<image::Progress> progress;
  const auto volume = store.create(id, base_spec(8 * mib, image.source.digest, key),
                                   [&](const image::Progress& step) { progress.push_back(step); }, {});
  IRONCORE_BLOCKS_OK(volume);
  CHECK(volume->is_encrypted);
  CHECK(volume->size_bytes == 8 * mib);
  CHECK(std::ranges::is_sorted(progress, {}, &image::Progress::done_bytes));
  if (!progress.empty()) CHECK(progress.back().done_bytes == progress.back().total_bytes);
  CHECK(content(store, id, key) == longer(image.bytes, 8 * mib));
  check_raw(fixture, id, part(image.bytes, 0, 65'000));
  IRONCORE_BLOCKS_FAIL(forbidden, store.open(id, EncryptionKey::random()));
  const auto other = new_id();
  const Key other_key = EncryptionKey::random();
  created(store, other, base_spec(4 * mib, image.source.digest, other_key));
  CHECK(content(store, other, other_key) == longer(image.bytes, 4 * mib));
  IRONCORE_BLOCKS_OK(create(store, id, base_spec(8 * mib, image.source.digest, key)));
  IRONCORE_BLOCKS_FAIL(already_exists, create(store, id, base_spec(8 * mib, image.source.digest, other_key)));
  IRONCORE_BLOCKS_FAIL(already_exists, create(store, id, base_spec(8 * mib, image.source.digest)));

  const auto bytes = noise(70'000);
  put(store, id, mib, bytes, key);
  CHECK(get(store, id, mib, bytes.size(), key) == bytes);
  CHECK(content(store, other, other_key) == longer(image.bytes, 4 * mib));
}

TEST_CASE_TEMPLATE_DEFINE("a snapshot of an encrypted volume is restored with the same key, another or none", Fixture,
                          blocks_encrypted_snapshot) {
  Fixture fixture;
  if (!fixture.quirks().encrypts) return;
  auto& store = fixture.store();
  const Key key = EncryptionKey::random();
  const Key other = EncryptionKey::random();
  const auto id = new_id();
  created(store, id, empty_spec(4 * mib, key));
  const auto bytes = noise(mib + 100);
  put(store, id, mib + 50, bytes, key);
  auto expected = zeros(4 * mib);
  std::ranges::copy(bytes, expected.begin() + mib + 50);
  const auto uid = Uid::random();
  const auto snapshot = store.take_snapshot(id, uid, {});
  IRONCORE_BLOCKS_OK(snapshot);
  CHECK(snapshot->is_encrypted);
  CHECK(snapshot->size_bytes == 4 * mib);
  const auto saved = snapshot_id(id, uid);
  put(store, id, mib, noise(mib), key);
  CHECK(content(store, saved, key) == expected);
  IRONCORE_BLOCKS_FAIL(forbidden, store.open(saved, other));
  CHECK(store.is_key_of(saved, *key).value());
  CHECK_FALSE(store.is_key_of(saved, *other).value());
  IRONCORE_BLOCKS_FAIL(invalid, store.open(saved, {}));

  const auto refused = new_id();
  IRONCORE_BLOCKS_FAIL(forbidden, create(store, refused, restore_spec(4 * mib, uid, other, other)));
  IRONCORE_BLOCKS_FAIL(forbidden, create(store, refused, restore_spec(4 * mib, uid, other)));
  IRONCORE_BLOCKS_FAIL(invalid, create(store, refused, restore_spec(4 * mib, uid, {}, key)));
  IRONCORE_BLOCKS_FAIL(invalid, create(store, refused, restore_spec(4 * mib, uid)));
  IRONCORE_BLOCKS_FAIL(invalid, create(store, refused, restore_spec(3 * mib, uid, key, key)));
  IRONCORE_BLOCKS_FAIL(not_found, store.volume(refused));

  struct Way {
    bool is_copy;
    Key key;
    std::uint64_t size;
    BlockId id;
  };
  std::vector<Way> ways{{false, key, 4 * mib, new_id()},         {false, key, 7 * mib, new_id()},
                        {true, other, 4 * mib, new_id()},        {true, other, 7 * mib, new_id()},
                        {true, std::nullopt, 4 * mib, new_id()}, {true, std::nullopt, 7 * mib, new_id()}};
  for (int pass = 0; pass < 2; ++pass) {
    for (const auto& way : ways) {
      CAPTURE(way.size);
      created(store, way.id, restore_spec(way.size, uid, key, way.key));
      CHECK(content(store, way.id, way.key) == longer(expected, way.size));
      if (way.key.has_value()) check_raw(fixture, way.id, bytes);
      if (way.is_copy) CHECK(store.volume(way.id)->depth == 0);
    }
    // The second time everything is there already.
  }
  IRONCORE_BLOCKS_FAIL(forbidden, store.open(ways[2].id, key));

  // They are independent of each other and of what they came from.
  std::vector<Bytes> now;
  for (const auto& way : ways) {
    now.push_back(longer(expected, way.size));
    const auto some = noise(20'000);
    put(store, way.id, way.size - 30'000, some, way.key);
    std::ranges::copy(some, now.back().end() - 30'000);
  }
  CHECK(content(store, saved, key) == expected);
  IRONCORE_BLOCKS_OK(store.remove(id));
  maintain(store);
  CHECK(content(store, saved, key) == expected);
  IRONCORE_BLOCKS_OK(store.remove_snapshot(saved));
  maintain(store);
  for (std::size_t i = 0; i < ways.size(); ++i) CHECK(content(store, ways[i].id, ways[i].key) == now[i]);
  for (std::size_t i = 0; i < ways.size(); ++i) {
    IRONCORE_BLOCKS_OK(store.expand(ways[i].id, 10 * mib));
    CHECK(content(store, ways[i].id, ways[i].key) == longer(now[i], 10 * mib));
  }
}

TEST_CASE_TEMPLATE_DEFINE("a snapshot of a plain volume is restored with a key", Fixture, blocks_encrypted_restore) {
  Fixture fixture;
  if (!fixture.quirks().encrypts) return;
  auto& store = fixture.store();
  const auto image = imported(fixture);
  const auto id = new_id();
  created(store, id, base_spec(4 * mib, image.source.digest));
  auto expected = longer(image.bytes, 4 * mib);
  const auto bytes = noise(40'000);
  put(store, id, 2 * mib, bytes);
  std::ranges::copy(bytes, expected.begin() + 2 * mib);
  const auto snapshot = taken(store, id);
  const Key key = EncryptionKey::random();
  const auto restored = new_id();
  IRONCORE_BLOCKS_FAIL(invalid, create(store, restored, restore_spec(4 * mib, snapshot, key, key)));
  created(store, restored, restore_spec(6 * mib, snapshot, {}, key));
  CHECK(content(store, restored, key) == longer(expected, 6 * mib));
  check_raw(fixture, restored, bytes);
  IRONCORE_BLOCKS_OK(store.remove(id));
  IRONCORE_BLOCKS_OK(store.remove_snapshot(snapshot_id(id, snapshot)));
  maintain(store);
  CHECK(content(store, restored, key) == longer(expected, 6 * mib));
  IRONCORE_BLOCKS_OK(store.remove_base(image.source.digest));
}

TEST_CASE_TEMPLATE_DEFINE("generations of encrypted volumes keep their data when what they came from goes", Fixture,
                          blocks_encrypted_generations) {
  Fixture fixture;
  if (!fixture.quirks().encrypts) return;
  auto& store = fixture.store();
  const Key key = EncryptionKey::random();
  const auto image = imported(fixture);
  auto volume = new_id();
  created(store, volume, base_spec(4 * mib, image.source.digest, key));
  auto expected = longer(image.bytes, 4 * mib);
  for (std::uint64_t i = 1; i <= 4; ++i) {
    CAPTURE(i);
    const auto bytes = noise(50'000);
    put(store, volume, i * 300'001, bytes, key);
    std::ranges::copy(bytes, expected.begin() + static_cast<std::ptrdiff_t>(i * 300'001));
    const auto snapshot = taken(store, volume);
    const auto next = new_id();
    const auto size = (4 + i) * mib;
    created(store, next, restore_spec(size, snapshot, key, key));
    expected.resize(size);
    IRONCORE_BLOCKS_OK(store.remove(volume));
    if (i % 2 == 0) maintain(store);
    IRONCORE_BLOCKS_OK(store.remove_snapshot(snapshot_id(volume, snapshot)));
    CHECK(content(store, next, key) == expected);
    if (i % 2 == 1) maintain(store);
    CHECK(content(store, next, key) == expected);
    volume = next;
  }
  IRONCORE_BLOCKS_FAIL(forbidden, store.open(volume, EncryptionKey::random()));
}

TEST_CASE_TEMPLATE_DEFINE(
    "with another's header a volume is closed to its key, and nothing is lost until its own is back", Fixture,
    blocks_foreign_header) {
  Fixture fixture;
  if (!fixture.quirks().encrypts) return;
  auto& store = fixture.store();
  const Key key = EncryptionKey::random(), foreign = EncryptionKey::random();
  const auto id = new_id(), other = new_id();
  created(store, id, empty_spec(4 * mib, key));
  created(store, other, empty_spec(4 * mib, foreign));
  const auto bytes = noise(4 * mib);
  put(store, id, 0, bytes, key);
  put(store, other, mib, noise(10'000), foreign);
  const auto others = content(store, other, foreign);
  const auto before = taken(store, id);
  if (!fixture.exchange_headers(id, other)) return;
  const auto medium = fixture.raw(id);

  IRONCORE_BLOCKS_FAIL(forbidden, store.open(id, key));
  IRONCORE_BLOCKS_FAIL(invalid, store.open(id, {}));
  CHECK_FALSE(store.is_key_of(id, *key).value());
  CHECK(store.is_key_of(id, *foreign).value());
  IRONCORE_BLOCKS_FAIL(already_exists, create(store, id, empty_spec(4 * mib, key)));
  IRONCORE_BLOCKS_FAIL(already_exists, create(*fixture.another(), id, empty_spec(4 * mib, key)));
  // A snapshot has what was there, and a volume is made from it with the key that opens that.
  const auto during = taken(store, id);
  const auto refused = new_id(), copied = new_id(), saved = new_id();
  for (const Key& wanted : {key, foreign, Key()}) {
    IRONCORE_BLOCKS_FAIL(forbidden, create(store, refused, restore_spec(4 * mib, during, key, wanted)));
  }
  IRONCORE_BLOCKS_FAIL(not_found, store.volume(refused));
  CHECK(std::ranges::count(store.maintain({}).value().unfinished, refused) == 0);
  created(store, saved, restore_spec(4 * mib, before, key, key));
  CHECK(content(store, saved, key) == bytes);
  CHECK(fixture.raw(id) == medium);
  IRONCORE_BLOCKS_OK(store.expand(id, 6 * mib));
  IRONCORE_BLOCKS_OK(store.set_limits(id, {.iops = 100}));
  maintain(store);

  REQUIRE(fixture.exchange_headers(id, other));
  CHECK(content(store, id, key) == longer(bytes, 6 * mib));
  CHECK(content(store, other, foreign) == others);
  IRONCORE_BLOCKS_FAIL(forbidden, store.open(id, foreign));
  IRONCORE_BLOCKS_FAIL(forbidden, store.open(snapshot_id(id, during), key));
  created(store, copied, restore_spec(4 * mib, during, foreign, key));
  CHECK(content(store, copied, key) != bytes);
  IRONCORE_BLOCKS_OK(store.remove(id));
  IRONCORE_BLOCKS_OK(store.remove_snapshot(snapshot_id(id, during)));
}

TEST_CASE_TEMPLATE_DEFINE("what a guest encrypts by itself in a plain volume is data like any other", Fixture,
                          blocks_guests_encryption) {
  Fixture fixture;
  auto& store = fixture.store();
  // The begin of a LUKS2 header: magic, version, size.
  auto bytes = noise(mib);
  constexpr std::string_view magic("LUKS\xba\xbe\0\2\0\0\0\0\0\0\x40\0", 16);
  std::ranges::copy(as_bytes(magic), bytes.begin());
  const auto id = new_id();
  created(store, id, empty_spec(4 * mib));
  put(store, id, 0, bytes);
  CHECK_FALSE(store.volume(id)->is_encrypted);
  CHECK_FALSE(store.is_key_of(id, EncryptionKey::random()).value());
  IRONCORE_BLOCKS_FAIL(invalid, store.open(id, EncryptionKey::random()));
  IRONCORE_BLOCKS_OK(create(store, id, empty_spec(4 * mib)));
  IRONCORE_BLOCKS_OK(store.expand(id, 8 * mib));
  const auto snapshot = taken(store, id);
  const auto again = new_id();
  created(store, again, restore_spec(8 * mib, snapshot));
  CHECK(content(store, again) == longer(bytes, 8 * mib));
  if (fixture.quirks().encrypts) {
    const Key key = EncryptionKey::random();
    const auto twice = new_id();
    created(store, twice, restore_spec(8 * mib, snapshot, {}, key));
    CHECK(content(store, twice, key) == longer(bytes, 8 * mib));
  }
  CHECK(content(store, id) == longer(bytes, 8 * mib));
}

TEST_CASE_TEMPLATE_DEFINE("a copy that is stopped is not a volume, and is finished or given up", Fixture,
                          blocks_stopped_copy) {
  Fixture fixture;
  auto& store = fixture.store();
  const auto image = raw_image(fixture, 16 * mib, {{0, fixture.quirks().cheap_bytes / 2}});
  IRONCORE_BLOCKS_OK(store.import_base(image.source, {}, {}));
  const Key key = fixture.quirks().encrypts ? Key(EncryptionKey::random()) : Key();
  const auto spec = base_spec(16 * mib, image.source.digest, key);
  for (const std::string_view way : {"again", "remove", "remove_unfinished"}) {
    CAPTURE(way);
    const auto id = new_id();
    std::stop_source stop;
    const auto half = store.create(
        id, spec, [&](const image::Progress&) { stop.request_stop(); }, stop.get_token());
    if (half.has_error()) {
      IRONCORE_BLOCKS_FAIL(cancelled, half);
      IRONCORE_BLOCKS_FAIL(not_found, store.volume(id));
      CHECK(count_of(store.volumes(), id) == 0);
      IRONCORE_BLOCKS_FAIL(not_found, store.open(id, key));
      IRONCORE_BLOCKS_FAIL(not_found, store.access(id));
      IRONCORE_BLOCKS_FAIL(not_found, store.take_snapshot(id, Uid::random(), {}));
    }
    if (way == "again") {
      created(*fixture.another(), id, spec);
      CHECK(content(store, id, key) == image.bytes);
      IRONCORE_BLOCKS_FAIL(wrong_state, store.remove_unfinished(id));
      CHECK(content(store, id, key) == image.bytes);
    } else if (way == "remove" || half.has_value()) {
      IRONCORE_BLOCKS_OK(store.remove(id));
    } else {
      IRONCORE_BLOCKS_OK(store.remove_unfinished(id));
      IRONCORE_BLOCKS_OK(store.remove_unfinished(id));
    }
    maintain(store);
    const auto left = store.maintain({});
    IRONCORE_BLOCKS_OK(left);
    CHECK(std::ranges::count(left->unfinished, id) == 0);
  }
  std::stop_source stop;
  stop.request_stop();
  const auto id = new_id();
  const auto never = store.create(id, spec, {}, stop.get_token());
  if (never.has_error()) {
    IRONCORE_BLOCKS_FAIL(cancelled, never);
    IRONCORE_BLOCKS_FAIL(not_found, store.volume(id));
  }
  created(store, id, spec);
}

}  // namespace ironcore::storage::testing
