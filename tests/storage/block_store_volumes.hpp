// SPDX-License-Identifier: Apache-2.0
// Volumes: made, sized, read and written, enlarged, limited, removed.
#pragma once

#include "block_store_fixture.hpp"

namespace ironcore::storage::testing {

TEST_CASE_TEMPLATE_DEFINE("volumes, snapshots and base images that are not there", Fixture, blocks_absent) {
  Fixture fixture;
  auto& store = fixture.store();
  const auto id = new_id();
  IRONCORE_BLOCKS_FAIL(not_found, store.volume(id));
  IRONCORE_BLOCKS_FAIL(not_found, store.expand(id, mib));
  IRONCORE_BLOCKS_FAIL(not_found, store.set_limits(id, {}));
  IRONCORE_BLOCKS_FAIL(not_found, store.take_snapshot(id, Uid::random(), {}));
  IRONCORE_BLOCKS_FAIL(not_found, store.snapshot(id));
  IRONCORE_BLOCKS_FAIL(not_found, store.open(id, {}));
  IRONCORE_BLOCKS_FAIL(not_found, store.access(id));
  IRONCORE_BLOCKS_FAIL(not_found, store.clients(id));
  IRONCORE_BLOCKS_FAIL(not_found, create(store, id, base_spec(mib, crypto::sha256(id.uid.to_text()))));
  IRONCORE_BLOCKS_FAIL(not_found, create(store, id, restore_spec(mib, Uid::random())));
  CHECK(count_of(store.volumes(), id) == 0);
  CHECK(count_of(store.snapshots(), id) == 0);
  IRONCORE_BLOCKS_OK(store.remove(id));
  IRONCORE_BLOCKS_OK(store.remove_snapshot(id));
  IRONCORE_BLOCKS_OK(store.remove_base(crypto::sha256(id.uid.to_text())));
  IRONCORE_BLOCKS_OK(store.remove_unfinished(id));
  IRONCORE_BLOCKS_FAIL(not_found, store.volume(id));
}

TEST_CASE_TEMPLATE_DEFINE("the store has room", Fixture, blocks_capacity) {
  Fixture fixture;
  const auto capacity = fixture.store().capacity();
  IRONCORE_BLOCKS_OK(capacity);
  CHECK(capacity->total_bytes >= 64 * mib);
  CHECK(capacity->used_bytes <= capacity->total_bytes);
  CHECK(capacity->available_bytes > 0);
  CHECK(capacity->available_bytes <= capacity->total_bytes);
  CHECK_FALSE(capacity->is_full);
}

TEST_CASE_TEMPLATE_DEFINE("a volume is made once, is what was asked for, and goes once", Fixture, blocks_create) {
  Fixture fixture;
  auto& store = fixture.store();
  const auto image = imported(fixture);
  const auto id = new_id();
  auto spec = empty_spec(8 * mib);
  spec.limits = {100, mib, 1000, 10 * mib, std::chrono::seconds(15)};
  CHECK(created(store, id, spec).depth == 0);
  CHECK(content(store, id) == zeros(8 * mib));
  const auto bytes = noise(10'000);
  put(store, id, 12'345, bytes);

  const auto again = create(store, id, spec);
  IRONCORE_BLOCKS_OK(again);
  CHECK(again->size_bytes == 8 * mib);
  CHECK(get(store, id, 12'345, bytes.size()) == bytes);
  IRONCORE_BLOCKS_FAIL(already_exists, create(store, id, empty_spec(4 * mib)));
  IRONCORE_BLOCKS_FAIL(already_exists, create(store, id, empty_spec(16 * mib)));
  IRONCORE_BLOCKS_FAIL(already_exists, create(store, id, base_spec(8 * mib, image.source.digest)));
  auto unlimited = spec;
  unlimited.limits = {};
  IRONCORE_BLOCKS_OK(create(store, id, unlimited));
  CHECK(get(store, id, 12'345, bytes.size()) == bytes);

  for (const auto& seen : {store.volume(id), fixture.another()->volume(id)}) {
    IRONCORE_BLOCKS_OK(seen);
    CHECK(seen->id == id);
    CHECK(seen->size_bytes == 8 * mib);
    CHECK_FALSE(seen->is_encrypted);
    CHECK(seen->limits == spec.limits);
    CHECK(seen->depth == 0);
  }
  CHECK(count_of(store.volumes(), id) == 1);
  CHECK(count_of(store.snapshots(), id) == 0);
  IRONCORE_BLOCKS_FAIL(not_found, store.snapshot(id));

  // What it is now counts, not what it was made as.
  IRONCORE_BLOCKS_OK(store.expand(id, 16 * mib));
  IRONCORE_BLOCKS_OK(create(store, id, empty_spec(16 * mib)));
  IRONCORE_BLOCKS_FAIL(already_exists, create(store, id, spec));

  IRONCORE_BLOCKS_OK(store.remove(id));
  IRONCORE_BLOCKS_OK(store.remove(id));
  IRONCORE_BLOCKS_FAIL(not_found, store.volume(id));
  IRONCORE_BLOCKS_FAIL(not_found, fixture.another()->volume(id));
  CHECK(count_of(store.volumes(), id) == 0);

  created(store, id, base_spec(8 * mib, image.source.digest));
  CHECK(content(store, id) == longer(image.bytes, 8 * mib));
  IRONCORE_BLOCKS_FAIL(already_exists, create(store, id, spec));
  const auto other = imported(fixture);
  IRONCORE_BLOCKS_FAIL(already_exists, create(store, id, base_spec(8 * mib, other.source.digest)));
  IRONCORE_BLOCKS_OK(store.remove(id));
}

TEST_CASE_TEMPLATE_DEFINE("sizes are whole steps, not nothing, not too much", Fixture, blocks_sizes) {
  Fixture fixture;
  auto& store = fixture.store();
  const auto id = new_id();
  for (const std::uint64_t size : {std::uint64_t{0}, std::uint64_t{1}, size_step - 1, size_step + 1, max_size + 1,
                                   max_size + size_step, ~std::uint64_t{0}, ~std::uint64_t{0} - size_step + 1}) {
    CAPTURE(size);
    IRONCORE_BLOCKS_FAIL(invalid, create(store, id, empty_spec(size)));
    IRONCORE_BLOCKS_FAIL(not_found, store.volume(id));
  }
  created(store, id, empty_spec(size_step));
  for (const std::uint64_t size :
       {std::uint64_t{0}, size_step - 1, size_step + 1, max_size + size_step, ~std::uint64_t{0}}) {
    CAPTURE(size);
    IRONCORE_BLOCKS_FAIL(invalid, store.expand(id, size));
    CHECK(store.volume(id)->size_bytes == size_step);
  }
  const auto large = new_id();
  created(store, large, empty_spec(20 * gib));
  const auto data = opened(store, large);
  CHECK(data->size() == 20 * gib);
  const auto bytes = noise(5000);
  IRONCORE_BLOCKS_OK(write(*data, 20 * gib - bytes.size(), bytes));
  CHECK(read(*data, 20 * gib - bytes.size(), bytes.size()) == bytes);
  CHECK(read(*data, 10 * gib, 4096) == zeros(4096));
}

TEST_CASE_TEMPLATE_DEFINE("nothing is made for a tenant or a uid that cannot be", Fixture, blocks_hostile_names) {
  Fixture fixture;
  auto& store = fixture.store();
  for (const std::string tenant : {"", ".", "..", "../x", "a/b", "A", "a b", "a\n", "-a", "a,b", "a\"", "a=b", "*"}) {
    CAPTURE(tenant);
    IRONCORE_BLOCKS_FAIL(invalid, create(store, new_id(tenant), empty_spec(mib)));
    IRONCORE_BLOCKS_FAIL(invalid, store.rotate_credential(tenant));
  }
  IRONCORE_BLOCKS_FAIL(invalid, create(store, new_id(std::string(64, 'a')), empty_spec(mib)));
  IRONCORE_BLOCKS_FAIL(invalid, create(store, new_id(std::string("a\0b", 3)), empty_spec(mib)));
  IRONCORE_BLOCKS_FAIL(invalid, create(store, {team_a, Uid()}, empty_spec(mib)));
  const auto longest = new_id(std::string(63, 'a'));
  created(store, longest, empty_spec(mib));
  IRONCORE_BLOCKS_FAIL(invalid, store.take_snapshot(longest, Uid(), {}));
  IRONCORE_BLOCKS_OK(store.remove(longest));
}

TEST_CASE_TEMPLATE_DEFINE("tenants are apart", Fixture, blocks_tenants) {
  Fixture fixture;
  auto& store = fixture.store();
  const auto here = new_id(team_a);
  const BlockId there{team_b, here.uid};
  created(store, here, empty_spec(4 * mib));
  IRONCORE_BLOCKS_FAIL(not_found, store.volume(there));
  IRONCORE_BLOCKS_FAIL(not_found, store.open(there, {}));
  IRONCORE_BLOCKS_FAIL(not_found, store.access(there));
  const auto bytes = noise(4096);
  put(store, here, 0, bytes);
  created(store, there, empty_spec(8 * mib));
  CHECK(get(store, there, 0, 4096) == zeros(4096));
  CHECK(store.volume(here)->size_bytes == 4 * mib);
  CHECK(store.access(here)->handle != store.access(there)->handle);

  const auto snapshot = taken(store, here);
  IRONCORE_BLOCKS_FAIL(not_found, store.snapshot({team_b, snapshot}));
  IRONCORE_BLOCKS_FAIL(not_found, store.open({team_b, snapshot}, {}));
  IRONCORE_BLOCKS_FAIL(not_found, create(store, new_id(team_b), restore_spec(4 * mib, snapshot)));
  IRONCORE_BLOCKS_OK(store.remove_snapshot({team_b, snapshot}));
  IRONCORE_BLOCKS_OK(store.remove(there));
  CHECK(get(store, here, 0, 4096) == bytes);
  CHECK(get(store, snapshot_id(here, snapshot), 0, 4096) == bytes);
}

TEST_CASE_TEMPLATE_DEFINE("what is written anywhere is read there, and nothing else changes", Fixture, blocks_data) {
  Fixture fixture;
  auto& store = fixture.store();
  std::vector<Key> keys{Key()};
  if (fixture.quirks().encrypts) keys.push_back(EncryptionKey::random());
  for (const auto& key : keys) {
    CAPTURE(key.has_value());
    const auto id = new_id();
    const std::uint64_t size = 6 * mib;
    created(store, id, empty_spec(size, key));
    auto data = opened(store, id, key);
    CHECK(data->size() == size);
    Bytes expected = zeros(size);
    SeededRandom random(7);
    for (int i = 0; i < 120; ++i) {
      const std::uint64_t most = i % 10 == 0 ? 300'000 : i % 3 == 0 ? 10 : 9000;
      const std::uint64_t length = 1 + random.below(static_cast<std::uint32_t>(most));
      std::uint64_t offset = random.below(static_cast<std::uint32_t>(size - length + 1));
      if (i % 4 == 0) offset -= offset % 512;
      const auto at = expected.begin() + static_cast<std::ptrdiff_t>(offset);
      if (i % 5 == 4) {
        IRONCORE_BLOCKS_OK(discard(*data, offset, length));
        std::fill_n(at, length, std::byte{0});
      } else {
        const auto bytes = noise(length);
        IRONCORE_BLOCKS_OK(write(*data, offset, bytes));
        std::ranges::copy(bytes, at);
      }
      if (i % 20 == 19) IRONCORE_BLOCKS_OK(flush(*data));
      if (i % 7 == 0) CHECK(read(*data, offset, length) == part(expected, offset, length));
    }
    CHECK(read(*data, 0, size) == expected);
    CHECK(read(*data, 4097, mib + 3) == part(expected, 4097, mib + 3));
    IRONCORE_BLOCKS_OK(write(*data, size - 1, as_bytes("x")));
    expected.back() = std::byte{'x'};
    IRONCORE_BLOCKS_OK(flush(*data));
    CHECK(get(*fixture.another(), id, 0, size, key) == expected);

    // Closing flushes.
    IRONCORE_BLOCKS_OK(write(*data, 1, as_bytes("yz")));
    expected[1] = std::byte{'y'};
    expected[2] = std::byte{'z'};
    data.reset();
    CHECK(content(*fixture.another(), id, key) == expected);
    IRONCORE_BLOCKS_OK(discard(*opened(store, id, key), 0, size));
    CHECK(content(store, id, key) == zeros(size));
  }
}

TEST_CASE_TEMPLATE_DEFINE("beyond the end nothing is read, written or discarded", Fixture, blocks_bounds) {
  Fixture fixture;
  auto& store = fixture.store();
  const auto id = new_id();
  const std::uint64_t size = 2 * mib;
  created(store, id, empty_spec(size));
  const auto data = opened(store, id);
  const auto bytes = noise(4096);
  IRONCORE_BLOCKS_OK(write(*data, size - 4096, bytes));
  Bytes buffer(4096);
  for (const std::uint64_t offset :
       {size - 4095, size - 1, size, size + 1, max_size, ~std::uint64_t{0} - 4095, ~std::uint64_t{0}}) {
    CAPTURE(offset);
    IRONCORE_BLOCKS_FAIL(invalid, read_into(*data, offset, buffer));
    IRONCORE_BLOCKS_FAIL(invalid, write(*data, offset, zeros(4096)));
    IRONCORE_BLOCKS_FAIL(invalid, discard(*data, offset, 4096));
  }
  IRONCORE_BLOCKS_FAIL(invalid, discard(*data, 0, size + 1));
  IRONCORE_BLOCKS_FAIL(invalid, discard(*data, 4096, ~std::uint64_t{0} - 4095));
  CHECK(read(*data, size - 4096, 4096) == bytes);
  for (const std::uint64_t offset : {std::uint64_t{0}, std::uint64_t{17}, size}) {
    IRONCORE_BLOCKS_OK(read_into(*data, offset, {}));
    IRONCORE_BLOCKS_OK(write(*data, offset, {}));
    IRONCORE_BLOCKS_OK(discard(*data, offset, 0));
  }
  IRONCORE_BLOCKS_OK(flush(*data));
  CHECK(read(*data, 0, size) == [&] {
    Bytes expected = zeros(size);
    std::ranges::copy(bytes, expected.end() - 4096);
    return expected;
  }());
}

TEST_CASE_TEMPLATE_DEFINE("many operations are under way at once, and each ends once", Fixture,
                          blocks_many_operations) {
  Fixture fixture;
  auto& store = fixture.store();
  const auto id = new_id();
  const std::uint64_t size = std::min<std::uint64_t>(fixture.quirks().cheap_bytes, 16 * mib);
  constexpr std::uint64_t block = 16 * kib;
  const std::size_t blocks = size / block;
  created(store, id, empty_spec(size));
  auto data = opened(store, id);
  const auto bytes = noise(size);
  std::vector<std::atomic<int>> ends(blocks);
  std::atomic<std::size_t> ended{0};
  std::atomic<std::size_t> failed{0};
  const auto done = [&](std::size_t number) {
    return [&, number](Result<void> result) {
      ++ends[number];
      if (!result.has_value()) ++failed;
      ++ended;
    };
  };
  {
    std::vector<std::jthread> threads;
    for (std::size_t thread = 0; thread < 4; ++thread) {
      threads.emplace_back([&, thread] {
        for (std::size_t i = thread; i < blocks; i += 4) {
          data->write(i * block, BytesView(bytes).subspan(i * block, block), done(i));
        }
      });
    }
  }
  REQUIRE(fixture.wait_until([&] { return ended == blocks; }));
  CHECK(failed == 0);
  IRONCORE_BLOCKS_OK(flush(*data));

  Bytes back(size);
  for (std::size_t i = 0; i < blocks; ++i) {
    data->read(i * block, std::span(back).subspan(i * block, block), done(i));
  }
  REQUIRE(fixture.wait_until([&] { return ended == 2 * blocks; }));
  CHECK(failed == 0);
  CHECK(back == bytes);

  // Destroying it waits for what is under way.
  const auto others = noise(size);
  for (std::size_t i = 0; i < blocks; ++i) {
    data->write(i * block, BytesView(others).subspan(i * block, block), done(i));
  }
  data.reset();
  CHECK(ended == 3 * blocks);
  CHECK(failed == 0);
  for (const auto& count : ends) CHECK(count == 3);
  CHECK(content(store, id) == others);
}

TEST_CASE_TEMPLATE_DEFINE("a volume grows, also while it is in use, and never shrinks", Fixture, blocks_expand) {
  Fixture fixture;
  auto& store = fixture.store();
  std::vector<Key> keys{Key()};
  if (fixture.quirks().encrypts) keys.push_back(EncryptionKey::random());
  for (const auto& key : keys) {
    CAPTURE(key.has_value());
    const auto id = new_id();
    created(store, id, empty_spec(4 * mib, key));
    const auto bytes = noise(mib);
    put(store, id, 3 * mib, bytes, key);
    auto expanded = store.expand(id, 6 * mib);
    IRONCORE_BLOCKS_OK(expanded);
    CHECK(expanded->id == id);
    CHECK(expanded->size_bytes == 6 * mib);
    CHECK(expanded->is_encrypted == key.has_value());
    expanded = store.expand(id, 6 * mib);
    IRONCORE_BLOCKS_OK(expanded);
    CHECK(expanded->size_bytes == 6 * mib);
    IRONCORE_BLOCKS_FAIL(invalid, store.expand(id, 5 * mib));
    CHECK(store.volume(id)->size_bytes == 6 * mib);
    CHECK(get(store, id, 3 * mib, mib, key) == bytes);
    CHECK(get(store, id, 4 * mib, 2 * mib, key) == zeros(2 * mib));

    const auto here = opened(store, id, key);
    CHECK(here->size() == 6 * mib);
    IRONCORE_BLOCKS_OK(store.expand(id, 9 * mib));
    CHECK(here->size() == 9 * mib);
    IRONCORE_BLOCKS_OK(write(*here, 8 * mib, bytes));
    CHECK(read(*here, 8 * mib, mib) == bytes);
    CHECK(read(*here, 6 * mib, 2 * mib) == zeros(2 * mib));
  }
  const auto id = new_id();
  created(store, id, empty_spec(4 * mib));
  auto elsewhere = fixture.open_elsewhere(id, {});
  IRONCORE_BLOCKS_OK(store.expand(id, 8 * mib));
  CHECK(store.volume(id)->size_bytes == 8 * mib);
  if (elsewhere.data != nullptr) {
    CHECK(fixture.wait_until([&] { return elsewhere.data->size() == 8 * mib; }));
    IRONCORE_BLOCKS_OK(write(*elsewhere.data, 8 * mib - 5, as_bytes("there")));
    CHECK(read(*elsewhere.data, 8 * mib - 5, 5) == Bytes(as_bytes("there").begin(), as_bytes("there").end()));
  }
  IRONCORE_BLOCKS_FAIL(not_found, store.expand(snapshot_id(id, Uid::random()), 16 * mib));
}

TEST_CASE_TEMPLATE_DEFINE("limits are kept and shown, also of a volume in use", Fixture, blocks_limits) {
  Fixture fixture;
  auto& store = fixture.store();
  const auto id = new_id();
  created(store, id, empty_spec(mib));
  CHECK(store.volume(id)->limits == Limits{});
  const Limits limits{100, 1 << 20, 200, 2 << 20, std::chrono::seconds(3)};
  IRONCORE_BLOCKS_OK(store.set_limits(id, limits));
  IRONCORE_BLOCKS_OK(store.set_limits(id, limits));
  CHECK(store.volume(id)->limits == limits);
  CHECK(fixture.another()->volume(id)->limits == limits);
  const auto elsewhere = fixture.open_elsewhere(id, {});
  const Limits others{7, 0, 0, 0, std::chrono::seconds(0)};
  IRONCORE_BLOCKS_OK(store.set_limits(id, others));
  CHECK(store.volume(id)->limits == others);
  const auto all = store.volumes();
  IRONCORE_BLOCKS_OK(all);
  const auto listed = std::ranges::find(*all, id, &Volume::id);
  REQUIRE(listed != all->end());
  CHECK(listed->limits == others);
  IRONCORE_BLOCKS_OK(store.set_limits(id, {}));
  CHECK(store.volume(id)->limits == Limits{});
}

}  // namespace ironcore::storage::testing
