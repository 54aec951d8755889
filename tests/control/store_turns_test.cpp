// SPDX-License-Identifier: Apache-2.0
// Workers that stores may keep busy: how many, and who comes next.
#include "../../libironcore/src/control/store_turns.hpp"

#include <doctest/doctest.h>

#include <string>
#include <vector>

using ironcore::control::StoreTurns;

TEST_CASE("a single store gets all workers; of several each leaves one to the others") {
  const auto most = [](std::size_t workers, std::size_t stores) {
    StoreTurns turns(workers, stores, [](const std::string&) {});
    const int store = 0;
    std::size_t count = 0;
    while (count < 100 && turns.begin(&store, std::to_string(count))) ++count;
    return count;
  };
  CHECK(most(8, 1) == 8);
  CHECK(most(8, 2) == 7);
  CHECK(most(8, 3) == 3);
  CHECK(most(8, 20) == 1);
  CHECK(most(1, 2) == 1);
}

TEST_CASE("the end of a turn brings back one that waits, and its place is kept for it") {
  std::vector<std::string> woken;
  StoreTurns turns(2, 2, [&](const std::string& key) { woken.push_back(key); });
  const int one = 0;
  const int other = 0;
  REQUIRE(turns.begin(&one, "a"));
  CHECK_FALSE(turns.begin(&one, "b"));
  CHECK_FALSE(turns.begin(&one, "c"));
  CHECK_FALSE(turns.begin(&one, "b"));
  CHECK(turns.begin(&other, "d"));
  turns.end(&other);
  CHECK(woken.empty());
  turns.end(&one);
  CHECK(woken == std::vector<std::string>{"b"});
  CHECK_FALSE(turns.begin(&one, "e"));
  CHECK(turns.begin(&one, "b"));
  turns.end(&one);
  CHECK(woken == std::vector<std::string>{"b", "c"});
  // It needs none after all, or one of another store: the next comes.
  turns.drop("c");
  CHECK(woken == std::vector<std::string>{"b", "c", "e"});
  CHECK_FALSE(turns.begin(&one, "f"));
  CHECK(turns.begin(&other, "e"));
  turns.end(&other);
  CHECK(woken == std::vector<std::string>{"b", "c", "e", "f"});
  turns.drop("f");
  turns.drop("f");
  CHECK(turns.begin(&one, "g"));
  CHECK(woken.size() == 4);
}
