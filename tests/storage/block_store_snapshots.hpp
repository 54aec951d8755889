// SPDX-License-Identifier: Apache-2.0
// Snapshots, and volumes of them.
#pragma once

#include "block_store_fixture.hpp"

namespace ironcore::storage::testing {

TEST_CASE_TEMPLATE_DEFINE("a snapshot is taken once and holds what the volume held", Fixture, blocks_snapshot) {
  Fixture fixture;
  auto& store = fixture.store();
  const auto id = new_id();
  created(store, id, empty_spec(4 * mib));
  const auto before = noise(200'000);
  put(store, id, 1000, before);
  const Uid uid = Uid::random();
  const auto saved = snapshot_id(id, uid);
  const auto snapshot = store.take_snapshot(id, uid, {});
  IRONCORE_BLOCKS_OK(snapshot);
  CHECK(snapshot->id == saved);
  CHECK(snapshot->volume == id.uid);
  CHECK(snapshot->size_bytes == 4 * mib);
  CHECK_FALSE(snapshot->is_encrypted);

  const auto after = noise(200'000);
  put(store, id, 1000, after);
  IRONCORE_BLOCKS_OK(store.expand(id, 8 * mib));
  IRONCORE_BLOCKS_OK(store.take_snapshot(id, uid, {}));
  for (const auto& seen : {store.snapshot(saved), fixture.another()->snapshot(saved)}) {
    IRONCORE_BLOCKS_OK(seen);
    CHECK(seen->volume == id.uid);
    CHECK(seen->size_bytes == 4 * mib);
  }
  CHECK(count_of(store.snapshots(), saved) == 1);
  CHECK(count_of(store.volumes(), saved) == 0);
  CHECK(count_of(store.volumes(), id) == 1);
  IRONCORE_BLOCKS_FAIL(not_found, store.volume(saved));
  IRONCORE_BLOCKS_FAIL(not_found, store.access(saved));
  CHECK(get(store, saved, 1000, 200'000) == before);
  CHECK(get(store, id, 1000, 200'000) == after);

  const auto data = opened(store, saved);
  CHECK(data->size() == 4 * mib);
  IRONCORE_BLOCKS_FAIL(invalid, write(*data, 0, as_bytes("x")));
  IRONCORE_BLOCKS_FAIL(invalid, discard(*data, 0, mib));
  CHECK(read(*data, 1000, 200'000) == before);

  const auto other = new_id();
  created(store, other, empty_spec(mib));
  IRONCORE_BLOCKS_FAIL(already_exists, store.take_snapshot(other, uid, {}));
}

TEST_CASE_TEMPLATE_DEFINE("a snapshot outlives its volume, and a restored volume both: in any order nothing is lost",
                          Fixture, blocks_any_order) {
  Fixture fixture;
  auto& store = fixture.store();
  const auto image = imported(fixture);
  // All orders where that is cheap; elsewhere each is once the first and once the last.
  const bool is_cheap = fixture.quirks().cheap_bytes >= 16 * mib;
  std::string order = "0123";
  int round = 0;
  const auto next_order = [&] {
    if (is_cheap) return std::next_permutation(order.begin(), order.end());
    std::rotate(order.begin(), order.begin() + 1, order.end());
    return order.front() != '0';
  };
  do {
    CAPTURE(order);
    // A volume of the base image, a snapshot of it, a volume of that, a snapshot of that one.
    const auto volume = new_id();
    created(store, volume, base_spec(4 * mib, image.source.digest));
    auto first = longer(image.bytes, 4 * mib);
    const auto bytes = noise(5000);
    put(store, volume, 2 * mib, bytes);
    std::ranges::copy(bytes, first.begin() + 2 * mib);
    const auto saved = snapshot_id(volume, taken(store, volume));
    put(store, volume, 0, bytes);
    auto later = first;
    std::ranges::copy(bytes, later.begin());

    const auto restored = new_id();
    created(store, restored, restore_spec(5 * mib, saved.uid));
    auto other = longer(first, 5 * mib);
    const auto more = noise(9000);
    put(store, restored, 3 * mib, more);
    std::ranges::copy(more, other.begin() + 3 * mib);
    const auto again = snapshot_id(restored, taken(store, restored));

    const std::array ids{volume, saved, restored, again};
    const std::array contents{later, first, other, other};
    std::array<bool, 4> is_gone{};
    for (const char next : order) {
      const auto at = static_cast<std::size_t>(next - '0');
      if (at % 2 == 0) {
        IRONCORE_BLOCKS_OK(store.remove(ids[at]));
      } else {
        IRONCORE_BLOCKS_OK(store.remove_snapshot(ids[at]));
      }
      is_gone[at] = true;
      if (round % 2 == 0) maintain(store);
      for (std::size_t i = 0; i < ids.size(); ++i) {
        if (is_gone[i]) {
          IRONCORE_BLOCKS_FAIL(not_found, store.open(ids[i], {}));
        } else {
          CHECK(content(store, ids[i]) == contents[i]);
        }
      }
      if (!is_gone[1] && is_gone[0]) {
        CHECK(store.snapshot(saved)->volume == volume.uid);
        IRONCORE_BLOCKS_OK(store.take_snapshot(volume, saved.uid, {}));  // a lost answer
        IRONCORE_BLOCKS_FAIL(not_found, store.take_snapshot(volume, Uid::random(), {}));
        const auto late = new_id();
        created(store, late, restore_spec(4 * mib, saved.uid));
        CHECK(content(store, late) == first);
        IRONCORE_BLOCKS_OK(store.remove(late));
      }
      if (is_gone[1] && !is_gone[2]) {
        IRONCORE_BLOCKS_OK(create(store, restored, restore_spec(5 * mib, saved.uid)));  // a lost answer
        IRONCORE_BLOCKS_FAIL(already_exists, create(store, restored, restore_spec(5 * mib, again.uid)));
        IRONCORE_BLOCKS_FAIL(not_found, create(store, new_id(), restore_spec(5 * mib, saved.uid)));
      }
    }
    ++round;
  } while (next_order());
  maintain(store);
  IRONCORE_BLOCKS_OK(store.remove_base(image.source.digest));
}

TEST_CASE_TEMPLATE_DEFINE("snapshots of volumes restored from snapshots, further than anything may depend on others",
                          Fixture, blocks_generations) {
  Fixture fixture;
  auto& store = fixture.store();
  const auto image = imported(fixture);
  const std::uint64_t size = 4 * mib;
  auto volume = new_id();
  created(store, volume, base_spec(size, image.source.digest));
  auto expected = longer(image.bytes, size);
  std::vector<std::pair<BlockId, Bytes>> kept;
  for (std::uint32_t i = 0; i < fixture.quirks().generations; ++i) {
    CAPTURE(i);
    const auto bytes = noise(3000);
    put(store, volume, i * 100'000, bytes);
    std::ranges::copy(bytes, expected.begin() + i * 100'000);
    const auto saved = snapshot_id(volume, taken(store, volume));
    kept.emplace_back(saved, expected);
    const auto next = new_id();
    created(store, next, restore_spec(size, saved.uid));
    CHECK(content(store, next) == expected);
    if (i % 3 == 0) IRONCORE_BLOCKS_OK(store.remove(volume));
    if (i % 5 == 4) maintain(store);
    volume = next;
  }
  for (const auto& [id, bytes] : kept) CHECK(content(store, id) == bytes);
  maintain(store);
  for (const auto& [id, bytes] : kept) CHECK(content(store, id) == bytes);
  CHECK(content(store, volume) == expected);
  CHECK(store.volume(volume)->depth <= fixture.quirks().max_depth);
  for (const auto& [id, bytes] : kept) IRONCORE_BLOCKS_OK(store.remove_snapshot(id));
  maintain(store);
  CHECK(content(store, volume) == expected);
}

TEST_CASE_TEMPLATE_DEFINE("a snapshot is restored into more room, never into less", Fixture, blocks_restore_sizes) {
  Fixture fixture;
  auto& store = fixture.store();
  const auto id = new_id();
  created(store, id, empty_spec(4 * mib));
  const auto bytes = noise(mib);
  put(store, id, 3 * mib, bytes);
  const auto snapshot = taken(store, id);
  const auto smaller = new_id();
  IRONCORE_BLOCKS_FAIL(invalid, create(store, smaller, restore_spec(3 * mib, snapshot)));
  IRONCORE_BLOCKS_FAIL(not_found, store.volume(smaller));
  const auto bigger = new_id();
  created(store, bigger, restore_spec(12 * mib, snapshot));
  CHECK(get(store, bigger, 3 * mib, mib) == bytes);
  CHECK(get(store, bigger, 4 * mib, 8 * mib) == zeros(8 * mib));
  put(store, bigger, 11 * mib, bytes);
  CHECK(get(store, bigger, 11 * mib, mib) == bytes);
  IRONCORE_BLOCKS_OK(store.remove(id));
  const auto equal = new_id();
  created(store, equal, restore_spec(4 * mib, snapshot));
  CHECK(get(store, equal, 3 * mib, mib) == bytes);
}

TEST_CASE_TEMPLATE_DEFINE("a snapshot taken while somebody writes is what a power cut would leave", Fixture,
                          blocks_snapshot_in_use) {
  Fixture fixture;
  auto& store = fixture.store();
  const auto id = new_id();
  constexpr std::uint64_t block = 4096;
  const std::uint64_t blocks = std::min<std::uint64_t>(fixture.quirks().cheap_bytes, 4 * mib) / block;
  created(store, id, empty_spec(blocks * block));
  auto elsewhere = fixture.open_elsewhere(id, {});
  if (!fixture.quirks().snapshots_in_use) {
    IRONCORE_BLOCKS_FAIL(wrong_state, store.take_snapshot(id, Uid::random(), {}));
    return;
  }
  if (elsewhere.data == nullptr) {
    const auto snapshot = taken(store, id);
    CHECK(content(store, snapshot_id(id, snapshot)) == zeros(blocks * block));
    return;
  }
  // Block after block is written and flushed; so at any moment those are there that were begun, but for the last.
  std::atomic<std::uint64_t> begun{0};
  std::atomic<std::uint64_t> flushed{0};
  std::atomic<bool> has_failed{false};
  std::jthread writer([&](std::stop_token stop) {
    const Bytes full(block, std::byte{0xff});
    for (std::uint64_t i = 0; i < blocks && !stop.stop_requested(); ++i) {
      ++begun;
      std::promise<bool> written, safe;
      elsewhere.data->write(i * block, full, [&](Result<void> result) { written.set_value(result.has_value()); });
      const bool is_written = written.get_future().get();
      elsewhere.data->flush([&](Result<void> result) { safe.set_value(result.has_value()); });
      if (!safe.get_future().get() || !is_written) {
        has_failed = true;
        return;
      }
      ++flushed;
    }
  });
  struct Moment {
    BlockId id;
    std::uint64_t at_least, at_most;
  };
  std::vector<Moment> moments;
  for (int i = 0; i < 4; ++i) {
    const auto least = flushed.load();
    const auto uid = taken(store, id);
    moments.push_back({snapshot_id(id, uid), least, begun.load()});
    CHECK(fixture.wait_until([&] { return flushed > moments.back().at_most || flushed == blocks || has_failed; }));
  }
  writer.request_stop();
  writer.join();
  CHECK_FALSE(has_failed);
  elsewhere.close();
  IRONCORE_BLOCKS_OK(store.remove(id));
  for (const auto& moment : moments) {
    const auto bytes = content(store, moment.id);
    std::uint64_t there = 0;
    while (there < blocks && bytes[there * block] == std::byte{0xff}) ++there;
    CHECK(there >= moment.at_least);
    CHECK(there <= moment.at_most);
    // No byte is there of what came later, and none is missing of what came before; the last block may be torn.
    const std::uint64_t whole = (there > 0 ? there - 1 : 0) * block;
    CHECK(part(bytes, 0, whole) == Bytes(whole, std::byte{0xff}));
    if (there < blocks) {
      const std::uint64_t rest = there * block;
      CHECK(part(bytes, rest, bytes.size() - rest) == zeros(bytes.size() - rest));
    }
  }
}

}  // namespace ironcore::storage::testing
