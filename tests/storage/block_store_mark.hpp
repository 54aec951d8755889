// SPDX-License-Identifier: Apache-2.0
// Whose a store is.
#pragma once

#include "block_store_fixture.hpp"

namespace ironcore::storage::testing {

TEST_CASE_TEMPLATE_DEFINE("a store says whose it is, and only who knows that may change it", Fixture, blocks_mark) {
  Fixture fixture;
  auto& store = fixture.store();
  const auto other = fixture.another();
  auto before = store.mark();
  IRONCORE_BLOCKS_OK(before);  // nothing, or from an earlier test
  const auto of = [](const std::string& pool) {
    return StoreMark{.store = Uid::random(), .pool = Uid::random(), .pool_name = pool};
  };
  const auto ours = of("here"), theirs = of("rack-1.example");
  IRONCORE_BLOCKS_OK(store.set_mark(*before, ours));
  CHECK(*store.mark() == ours);
  CHECK(*other->mark() == ours);
  IRONCORE_BLOCKS_FAIL(conflict, other->set_mark(std::nullopt, theirs));
  IRONCORE_BLOCKS_FAIL(conflict, other->set_mark(theirs, theirs));
  CHECK(*store.mark() == ours);
  const auto id = new_id();
  created(store, id, empty_spec(mib));
  auto later = ours;
  later.pool = Uid::random();
  IRONCORE_BLOCKS_OK(other->set_mark(ours, later));
  CHECK(*store.mark() == later);
  CHECK(*fixture.another()->mark() == later);
  CHECK(count_of(store.volumes(), id) == 1);
  IRONCORE_BLOCKS_OK(store.remove(id));

  // Of many at the same time one wins.
  std::array<Result<void>, 4> answers;
  {
    std::vector<std::jthread> all;
    for (auto& answer : answers)
      all.emplace_back([&, object = fixture.another().release()] {
        const std::unique_ptr<BlockStore> mine(object);
        auto wanted = later;
        wanted.pool = Uid::random();
        answer = mine->set_mark(later, wanted);
      });
  }
  CHECK(std::ranges::count_if(answers, [](const auto& answer) { return answer.has_value(); }) == 1);
  for (const auto& answer : answers)
    if (!answer) CHECK(answer.error().code() == ErrorCode::conflict);
}

}  // namespace ironcore::storage::testing
