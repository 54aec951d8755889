// SPDX-License-Identifier: Apache-2.0
// Each key once, never at two workers, later after each failure.
#include "ironcore/control/work_queue.hpp"

#include <doctest/doctest.h>

#include <atomic>
#include <map>
#include <thread>
#include <vector>

#include "ironcore/sim/virtual_clock.hpp"

using namespace ironcore;
using namespace ironcore::control;
using namespace std::chrono_literals;

TEST_CASE("keys come out in the order in which they were first added, each once") {
  sim::VirtualClock clock;
  WorkQueue queue(clock);
  for (const auto* key : {"a", "b", "a", "c", "b"}) queue.add(key);
  CHECK(queue.size() == 3);
  CHECK(queue.try_take() == "a");
  CHECK(queue.try_take() == "b");
  CHECK(queue.try_take() == "c");
  CHECK_FALSE(queue.try_take());
}

TEST_CASE("a key that is added while it is worked on gets one more turn, and not before it is done") {
  sim::VirtualClock clock;
  WorkQueue queue(clock);
  queue.add("a");
  REQUIRE(queue.try_take() == "a");
  queue.add("a");
  queue.add("a");
  CHECK_FALSE(queue.try_take());
  queue.done("a");
  CHECK(queue.try_take() == "a");
  queue.done("a");
  CHECK_FALSE(queue.try_take());
}

TEST_CASE("a delayed key comes when its time has passed, and the earliest of several times counts") {
  sim::VirtualClock clock;
  WorkQueue queue(clock);
  queue.add_after("a", 10s);
  queue.add_after("a", 3s);
  queue.add_after("a", 7s);
  CHECK(queue.delayed() == 1);
  CHECK(queue.next_due() == clock.now() + 3s);
  clock.advance(2999ms);
  CHECK_FALSE(queue.try_take());
  clock.advance(1ms);
  CHECK(queue.try_take() == "a");
  queue.done("a");
  clock.advance(1h);
  CHECK_FALSE(queue.try_take());
}

TEST_CASE("a key that is taken early is not called a second time for its old delay") {
  sim::VirtualClock clock;
  WorkQueue queue(clock);
  queue.add_after("a", 10s);
  queue.add("a");
  CHECK(queue.try_take() == "a");
  queue.done("a");
  CHECK(queue.delayed() == 0);
  clock.advance(1min);
  CHECK_FALSE(queue.try_take());
}

TEST_CASE("a delay that is not positive is no delay") {
  sim::VirtualClock clock;
  WorkQueue queue(clock);
  queue.add_after("a", 0s);
  queue.add_after("b", -5s);
  CHECK(queue.try_take() == "a");
  CHECK(queue.try_take() == "b");
}

TEST_CASE(
    "the back-off doubles from 5 ms up to 5 minutes, is jittered downwards by at most half, and starts anew after "
    "success") {
  sim::VirtualClock clock;
  WorkQueue queue(clock);
  Duration expected = 5ms;
  for (std::uint32_t failures = 1; failures <= 40; ++failures) {
    queue.retry("a");
    CHECK(queue.failures("a") == failures);
    const auto delay = *queue.next_due() - clock.now();
    CHECK(delay <= expected);
    CHECK(delay >= expected / 2);
    clock.advance(delay);
    REQUIRE(queue.try_take() == "a");
    queue.done("a");
    expected = std::min<Duration>(expected * 2, 5min);
  }
  queue.forget("a");
  CHECK(queue.failures("a") == 0);
  queue.retry("a");
  CHECK(*queue.next_due() - clock.now() <= 5ms);
}

TEST_CASE("keys that fail together do not come back together") {
  sim::VirtualClock clock;
  WorkQueue queue(clock, {.first_delay = 1min});
  for (int i = 0; i < 100; ++i) queue.retry(std::to_string(i));
  clock.advance(45s);
  int half = 0;
  while (queue.try_take()) ++half;
  CHECK(half > 20);
  CHECK(half < 80);
}

TEST_CASE("nothing is remembered of keys that are done") {
  sim::VirtualClock clock;
  WorkQueue queue(clock);
  queue.done("never-taken");
  queue.forget("unknown");
  CHECK(queue.failures("unknown") == 0);
  CHECK(queue.size() == 0);
}

TEST_CASE("a closed queue gives nothing and takes nothing") {
  sim::VirtualClock clock;
  WorkQueue queue(clock);
  queue.add("a");
  std::jthread waiter([&] {
    while (queue.take({})) {
    }
  });
  queue.close();
  waiter.join();
  queue.add("b");
  CHECK_FALSE(queue.try_take());
}

TEST_CASE("a waiting worker hears of a key, of a due delay, of a stop, and of its deadline") {
  sim::VirtualClock clock;
  WorkQueue queue(clock);
  std::atomic<int> taken{0};
  std::jthread worker([&](std::stop_token stop) {
    while (const auto key = queue.take(stop)) {
      ++taken;
      queue.done(*key);
    }
  });
  queue.add("a");
  while (taken < 1) std::this_thread::yield();
  queue.add_after("b", 1h);
  while (clock.next_deadline() != clock.now() + 1h) std::this_thread::yield();
  clock.advance(1h);
  while (taken < 2) std::this_thread::yield();
  worker.request_stop();
  worker.join();

  CHECK_FALSE(queue.take({}, clock.now()));
  std::jthread sleeper([&] { CHECK_FALSE(queue.take({}, clock.now() + 5s)); });
  while (clock.waiting() == 0) std::this_thread::yield();
  clock.advance(5s);
}

TEST_CASE("a key is never at two workers, and no addition is lost") {
  SystemClock clock;
  WorkQueue queue(clock);
  constexpr int keys = 10, additions = 2000;
  std::map<std::string, std::atomic<int>> busy, version, seen;
  for (int i = 0; i < keys; ++i) busy[std::to_string(i)], version[std::to_string(i)], seen[std::to_string(i)];
  std::atomic<bool> is_shared{false};
  {
    std::vector<std::jthread> workers;
    for (int i = 0; i < 4; ++i) {
      workers.emplace_back([&](std::stop_token stop) {
        while (const auto key = queue.take(stop)) {
          if (busy.at(*key)++ != 0) is_shared = true;
          seen.at(*key) = version.at(*key).load();
          --busy.at(*key);
          queue.done(*key);
        }
      });
    }
    for (int i = 0; i < additions; ++i) {
      const auto key = std::to_string(i % keys);
      ++version.at(key);
      queue.add(key);
    }
    const auto is_complete = [&] {
      for (const auto& [key, count] : version)
        if (seen.at(key) != count) return false;
      return true;
    };
    while (!is_complete()) std::this_thread::yield();
  }
  CHECK_FALSE(is_shared);
}

TEST_CASE("a closed queue forgets what waits and what comes; opened again it takes keys") {
  sim::VirtualClock clock;
  WorkQueue queue(clock);
  queue.add("taken");
  REQUIRE(queue.try_take() == "taken");
  queue.add("taken");
  queue.add("waits");
  queue.retry("failed");
  queue.add_after("later", 1s);
  queue.close();
  queue.add("comes");
  queue.retry("taken");
  queue.done("taken");
  CHECK(queue.size() == 0);
  CHECK(queue.delayed() == 0);
  CHECK(queue.failures("failed") == 0);
  queue.open();
  clock.advance(1h);
  CHECK_FALSE(queue.try_take());
  queue.add("waits");
  CHECK(queue.try_take() == "waits");
}
