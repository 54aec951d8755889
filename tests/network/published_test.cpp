// SPDX-License-Identifier: Apache-2.0
// Nobody ever sees a value that is gone.
#include "dataplane/published.hpp"

#include <doctest/doctest.h>

#include <atomic>
#include <cstdint>
#include <thread>
#include <vector>

using namespace ironcore::network::dataplane;

namespace {

/// Says when it is destroyed, and counts how many live.
struct Value {
  explicit Value(std::uint64_t n) : number(n), twice(2 * n) { ++alive; }
  ~Value() {
    number = twice = ~std::uint64_t{0};
    --alive;
  }
  Value(const Value&) = delete;
  std::uint64_t number;
  std::uint64_t twice;
  static inline std::atomic<int> alive = 0;
};

}  // namespace

TEST_CASE("a reader keeps what it looks at, and nobody else does") {
  {
    Published<Value> published(2, std::make_unique<Value>(1));
    const Value& first = published.enter(0);
    CHECK(first.number == 1);
    published.publish(std::make_unique<Value>(2));
    CHECK(first.number == 1);
    CHECK(published.kept() == 2);
    CHECK(published.newest().number == 2);
    CHECK(published.enter(1).number == 2);
    published.publish(std::make_unique<Value>(3));
    published.publish(std::make_unique<Value>(4));
    CHECK(published.kept() == 3);  // 1 and 2 are read, 4 is the newest
    CHECK(published.enter(0).number == 4);
    published.leave(1);
    published.collect();
    CHECK(published.kept() == 1);
    CHECK(Value::alive == 1);
  }
  CHECK(Value::alive == 0);
}

TEST_CASE("readers on other threads see whole values in their order while these are replaced") {
  constexpr std::size_t count = 3;
  constexpr int looks = 200'000;
  {
    Published<Value> published(count, std::make_unique<Value>(0));
    std::atomic<int> wrong = 0;
    std::atomic<std::size_t> done = 0;
    std::vector<std::jthread> readers;
    for (std::size_t reader = 0; reader < count; ++reader) {
      readers.emplace_back([&, reader] {
        std::uint64_t last = 0;
        for (int look = 0; look < looks; ++look) {
          const Value& value = published.enter(reader);
          if (value.number < last || value.twice != 2 * value.number) ++wrong;
          last = value.number;
          published.leave(reader);  // so that each time it has to say anew what it looks at
        }
        ++done;
      });
    }
    for (std::uint64_t i = 1; done < count; ++i) {
      published.publish(std::make_unique<Value>(i));
      if (published.kept() > count + 1) ++wrong;
    }
    readers.clear();
    CHECK(wrong == 0);
    published.collect();
    CHECK(published.kept() == 1);
  }
  CHECK(Value::alive == 0);
}
