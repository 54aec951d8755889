// SPDX-License-Identifier: Apache-2.0
// Time that is moved by hand wakes those who wait for it.
#include "ironcore/sim/virtual_clock.hpp"

#include <doctest/doctest.h>

#include <atomic>
#include <thread>
#include <vector>

using namespace ironcore;
using namespace std::chrono_literals;

TEST_CASE("virtual time stands still until it is moved, and both clocks move together") {
  sim::VirtualClock clock;
  const auto now = clock.now();
  const auto wall = clock.wall();
  CHECK(clock.now() == now);
  CHECK(to_rfc3339(wall) == "2026-01-01T00:00:00Z");
  clock.advance(90s);
  CHECK(clock.now() == now + 90s);
  CHECK(clock.wall() == wall + 90s);
}

TEST_CASE("a deadline in the past does not wait") {
  sim::VirtualClock clock;
  CHECK(sleep_until(clock, clock.now() - 1s, {}));
  CHECK(sleep_until(clock, clock.now(), {}));
}

TEST_CASE("moving the time wakes those whose deadline has passed and no others") {
  sim::VirtualClock clock;
  std::atomic<int> early{0}, late{0};
  const auto start = clock.now();
  std::vector<std::jthread> threads;
  for (int i = 0; i < 8; ++i) {
    threads.emplace_back([&] {
      if (sleep_until(clock, start + 1s, {})) ++early;
    });
    threads.emplace_back([&](std::stop_token stop) {
      if (sleep_until(clock, start + 1h, stop)) ++late;
    });
  }
  while (clock.waiting() < 16) std::this_thread::yield();
  CHECK(clock.next_deadline() == start + 1s);
  clock.advance(999ms);
  CHECK(early == 0);
  clock.advance(1ms);
  while (early < 8) std::this_thread::yield();
  CHECK(late == 0);
  while (clock.waiting() > 8) std::this_thread::yield();
  CHECK(clock.next_deadline() == start + 1h);
  threads.clear();  // stops the others
  CHECK(late == 0);
  CHECK(clock.waiting() == 0);
}

TEST_CASE("a notified condition ends the wait at once") {
  sim::VirtualClock clock;
  std::mutex mutex;
  std::condition_variable_any condition;
  bool is_ready = false;
  std::jthread waiter([&] {
    std::unique_lock lock(mutex);
    CHECK(clock.wait(lock, condition, {}, Instant::max(), [&] { return is_ready; }));
  });
  {
    const std::lock_guard lock(mutex);
    is_ready = true;
  }
  condition.notify_all();
  waiter.join();
  CHECK_FALSE(clock.next_deadline());
}

TEST_CASE("timers fire in the order of their times, at their times, and may set further ones") {
  sim::VirtualClock clock;
  const auto start = clock.now();
  std::vector<std::pair<int, Duration>> fired;
  const auto note = [&](int which) { return [&, which] { fired.emplace_back(which, clock.now() - start); }; };
  clock.at(start + 2s, note(3));
  clock.at(start + 1s, note(1));
  clock.at(start + 1s, [&] {
    note(2)();
    clock.at(clock.now(), note(4));
    clock.at(start + 1h, note(6));
  });
  const auto cancelled = clock.at(start + 1s, note(5));
  clock.cancel(cancelled);
  CHECK(clock.next_deadline() == start + 1s);
  clock.advance(2s);
  const std::vector<std::pair<int, Duration>> expected{{1, 1s}, {2, 1s}, {4, 1s}, {3, 2s}};
  CHECK(fired == expected);
  CHECK(clock.now() == start + 2s);
  clock.cancel(cancelled);
  CHECK(clock.next_deadline() == start + 1h);
}

TEST_CASE("time moves from event to event until something holds, and not beyond the limit") {
  sim::VirtualClock clock;
  const auto start = clock.now();
  int fired = 0;
  for (int i = 1; i <= 5; ++i) clock.at(start + i * 1s, [&] { ++fired; });
  CHECK(clock.advance_until([&] { return fired == 3; }));
  CHECK(clock.now() == start + 3s);
  CHECK_FALSE(clock.advance_until([&] { return fired == 6; }, 10s));
  CHECK(clock.now() == start + 13s);
}

TEST_CASE("a corrected wall clock does not move deadlines") {
  sim::VirtualClock clock;
  const auto now = clock.now();
  clock.set_wall(-24h);
  CHECK(clock.now() == now);
  CHECK(to_rfc3339(clock.wall()) == "2025-12-31T00:00:00Z");
}
