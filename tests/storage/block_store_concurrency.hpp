// SPDX-License-Identifier: Apache-2.0
// Maintenance, and several that do the same at the same time.
#pragma once

#include "block_store_fixture.hpp"

namespace ironcore::storage::testing {

TEST_CASE_TEMPLATE_DEFINE("maintenance ends, removes nothing that is wanted, and may be stopped", Fixture,
                          blocks_maintain) {
  Fixture fixture;
  auto& store = fixture.store();
  const auto id = new_id();
  created(store, id, empty_spec(2 * mib));
  const auto bytes = noise(mib);
  put(store, id, 0, bytes);
  const auto saved = snapshot_id(id, taken(store, id));
  const std::uint64_t before = fixture.occupied().value_or(0);
  std::stop_source stop;
  stop.request_stop();
  const auto stopped = store.maintain(stop.get_token());
  if (stopped.has_error()) CHECK(stopped.error().code() == ErrorCode::cancelled);
  maintain(store);
  const auto done = store.maintain({});
  IRONCORE_BLOCKS_OK(done);
  CHECK(std::ranges::count(done->unfinished, id) == 0);
  CHECK(std::ranges::count(done->unfinished, saved) == 0);
  IRONCORE_BLOCKS_FAIL(wrong_state, store.remove_unfinished(id));
  IRONCORE_BLOCKS_FAIL(wrong_state, store.remove_unfinished(saved));
  CHECK(get(store, id, 0, mib) == bytes);
  CHECK(get(store, saved, 0, mib) == bytes);
  IRONCORE_BLOCKS_OK(store.remove(id));
  IRONCORE_BLOCKS_OK(store.remove_snapshot(saved));
  maintain(store);
  if (const auto now = fixture.occupied()) CHECK(*now + mib <= before);
}

TEST_CASE_TEMPLATE_DEFINE("two processes do the same at the same time, and it is done once", Fixture,
                          blocks_concurrent) {
  Fixture fixture;
  auto& store = fixture.store();
  const auto another = fixture.another();
  const auto image = imported(fixture);
  const auto expected = longer(image.bytes, 4 * mib);
  for (int round = 0; round < 3; ++round) {
    const auto id = new_id();
    const auto spec = base_spec(4 * mib, image.source.digest);
    both(store, *another, [&](BlockStore& one) { return without_value(create(one, id, spec)); });
    CHECK(count_of(store.volumes(), id) == 1);
    CHECK(content(store, id) == expected);

    const Uid snapshot = Uid::random();
    both(store, *another, [&](BlockStore& one) { return without_value(one.take_snapshot(id, snapshot, {})); });
    CHECK(count_of(store.snapshots(), snapshot_id(id, snapshot)) == 1);
    CHECK(content(store, snapshot_id(id, snapshot)) == expected);

    both(store, *another, [&](BlockStore& one) { return without_value(one.expand(id, 6 * mib)); });
    CHECK(store.volume(id)->size_bytes == 6 * mib);
    CHECK(content(store, id) == longer(image.bytes, 6 * mib));
    both(store, *another, [&](BlockStore& one) { return one.set_limits(id, {.iops = 5}); });

    both(store, *another, [&](BlockStore& one) { return one.remove(id); });
    IRONCORE_BLOCKS_FAIL(not_found, store.volume(id));
    both(store, *another, [&](BlockStore& one) { return without_value(one.maintain({})); });
    CHECK(content(store, snapshot_id(id, snapshot)) == expected);
    both(store, *another, [&](BlockStore& one) { return one.remove_snapshot(snapshot_id(id, snapshot)); });
    IRONCORE_BLOCKS_FAIL(not_found, store.snapshot(snapshot_id(id, snapshot)));
  }
  maintain(store);
  both(store, *another, [&](BlockStore& one) { return one.remove_base(image.source.digest); });
  CHECK_FALSE(listed_base(store, image.source.digest).has_value());
}

TEST_CASE_TEMPLATE_DEFINE("many volumes are made, saved and removed at the same time", Fixture, blocks_many_volumes) {
  Fixture fixture;
  auto& store = fixture.store();
  const auto another = fixture.another();
  const auto image = imported(fixture);
  constexpr int threads = 4, each = 6;
  std::array<std::vector<std::string>, threads> errors;
  {
    std::vector<std::jthread> running;
    for (std::size_t thread = 0; thread < threads; ++thread) {
      running.emplace_back([&, thread] {
        BlockStore& mine = thread % 2 == 0 ? store : *another;
        const auto note = [&](const auto& result) {
          if (result.has_error()) errors[thread].push_back(result.error().message());
        };
        for (int i = 0; i < each; ++i) {
          const auto id = new_id(i % 2 == 0 ? team_a : team_b);
          const Uid snapshot = Uid::random();
          note(create(mine, id, base_spec(4 * mib, image.source.digest)));
          note(mine.take_snapshot(id, snapshot, {}));
          note(mine.volumes());
          note(mine.expand(id, 5 * mib));
          note(mine.access(id));
          note(mine.remove(id));
          note(mine.snapshots());
          note(mine.remove_snapshot(snapshot_id(id, snapshot)));
        }
      });
    }
  }
  for (const auto& list : errors) {
    for (const auto& error : list) FAIL_CHECK(error);
  }
  maintain(store);
  IRONCORE_BLOCKS_OK(store.remove_base(image.source.digest));
}

}  // namespace ironcore::storage::testing
