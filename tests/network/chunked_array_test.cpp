// SPDX-License-Identifier: Apache-2.0
// Copies of an array, against vectors.
#include "dataplane/chunked_array.hpp"

#include <doctest/doctest.h>

#include <random>
#include <utility>
#include <vector>

using namespace ironcore::network::dataplane;

TEST_CASE("what is set in one copy is not seen in the others") {
  std::mt19937 random(3);
  std::vector<std::pair<ChunkedArray<int>, std::vector<int>>> copies(1);
  for (int step = 0; step < 3000; ++step) {
    auto& [array, model] = copies[random() % copies.size()];
    const std::size_t index = random() % 500;
    if (index >= model.size()) model.resize(index + 1);
    model[index] = step;
    array.set(index, step);
    if (step % 10 == 0) {
      auto copy = copies[random() % copies.size()];
      if (copies.size() < 20) {
        copies.push_back(std::move(copy));
      } else {
        copies[random() % copies.size()] = std::move(copy);
      }
    }
    if (step % 100 != 0) continue;
    for (const auto& [found, wanted] : copies) {
      REQUIRE(found.size() == wanted.size());
      bool is_same = true;
      for (std::size_t i = 0; i < wanted.size(); ++i) is_same = is_same && found[i] == wanted[i];
      CHECK(is_same);
    }
  }
}

TEST_CASE("a number that was given back is used again, and no other one twice") {
  Numbers numbers;
  CHECK(numbers.take() == 0);
  CHECK(numbers.take() == 1);
  CHECK(numbers.take() == 2);
  numbers.give_back(1);
  CHECK(numbers.take() == 1);
  CHECK(numbers.take() == 3);
}
