// SPDX-License-Identifier: Apache-2.0
// A controller calls again when asked to, later after errors, and stops when told to.
#include "ironcore/control/controller.hpp"

#include <doctest/doctest.h>

#include <atomic>
#include <condition_variable>
#include <mutex>
#include <set>
#include <thread>

#include "ironcore/sim/virtual_clock.hpp"

using namespace ironcore;
using namespace ironcore::control;
using namespace std::chrono_literals;

namespace {

class CountingLog final : public Log {
 public:
  void write(LogLevel level, std::string_view, std::initializer_list<LogField>) override {
    if (level == LogLevel::warning) ++warnings;
  }
  std::atomic<int> warnings{0};
};

}  // namespace

TEST_CASE("a key is called again after the time it asked for") {
  sim::VirtualClock clock;
  NullLog log;
  int calls = 0;
  Controller controller(
      {.name = "test"},
      [&](const std::string&, std::stop_token) -> Result<Requeue> {
        ++calls;
        return calls < 3 ? Requeue{.after = 10s} : Requeue{};
      },
      clock, log);
  controller.queue().add("a");
  while (controller.step()) {
  }
  CHECK(calls == 1);
  clock.advance(10s);
  while (controller.step()) {
  }
  CHECK(calls == 2);
  clock.advance(10s);
  while (controller.step()) {
  }
  CHECK(calls == 3);
  clock.advance(1h);
  CHECK_FALSE(controller.step());
}

TEST_CASE("errors are tried again with back-off and logged, conflicts are not worth a line") {
  sim::VirtualClock clock;
  CountingLog log;
  int calls = 0;
  Controller controller(
      {.name = "test"},
      [&](const std::string&, std::stop_token) -> Result<Requeue> {
        ++calls;
        if (calls == 1) return Error(ErrorCode::unavailable, "the other side is away");
        if (calls == 2) return Error(ErrorCode::conflict, "somebody was faster");
        return Requeue{};
      },
      clock, log);
  controller.queue().add("a");
  CHECK(controller.step());
  CHECK_FALSE(controller.step());
  CHECK(controller.queue().failures("a") == 1);
  clock.advance(5ms);
  CHECK(controller.step());
  clock.advance(10ms);
  CHECK(controller.step());
  CHECK(calls == 3);
  CHECK(controller.queue().failures("a") == 0);
  CHECK(log.warnings == 1);
}

TEST_CASE("several workers work on different keys at the same time") {
  SystemClock clock;
  NullLog log;
  std::atomic<int> inside{0};
  std::atomic<bool> has_met{false};
  Controller controller(
      {.name = "test", .workers = 3},
      [&](const std::string&, std::stop_token stop) -> Result<Requeue> {
        ++inside;
        while (inside < 3 && !has_met && !stop.stop_requested()) std::this_thread::yield();
        has_met = has_met || inside == 3;
        return Requeue{};
      },
      clock, log);
  for (const auto* key : {"a", "b", "c"}) controller.queue().add(key);
  std::jthread runner([&](std::stop_token stop) { controller.run(stop); });
  while (!has_met) std::this_thread::yield();
  CHECK(has_met);
}

TEST_CASE("a part that ends stops the others") {
  std::atomic<int> ended{0};
  run_together({}, {[&](std::stop_token stop) {
                      while (!stop.stop_requested()) std::this_thread::yield();
                      ++ended;
                    },
                    [&](std::stop_token) { ++ended; }});
  CHECK(ended == 2);
}

TEST_CASE("an outer stop ends all parts") {
  std::stop_source source;
  std::atomic<int> started{0};
  std::jthread stopper([&] {
    while (started < 2) std::this_thread::yield();
    source.request_stop();
  });
  const auto wait = [&](std::stop_token stop) {
    ++started;
    while (!stop.stop_requested()) std::this_thread::yield();
  };
  run_together(source.get_token(), {wait, wait});
  CHECK(started == 2);
}

TEST_CASE("a key whose work failed while its controller was being stopped is not lost") {
  sim::VirtualClock clock;
  NullLog log;
  std::stop_source stop;
  int calls = 0;
  Controller controller(
      {.name = "test"},
      [&](const std::string&, std::stop_token) -> Result<Requeue> {
        if (++calls > 1) return Requeue{};
        stop.request_stop();
        return Error(ErrorCode::unavailable, "the other side is away");
      },
      clock, log);
  controller.queue().add("a");
  controller.run(stop.get_token());
  clock.advance(1s);
  CHECK(controller.step());
  CHECK(calls == 2);
}

TEST_CASE("all workers at a standstill are noticed, one that is free, ends or tells progress is none") {
  sim::VirtualClock clock;
  NullLog log;
  std::mutex mutex;
  std::condition_variable_any changed;
  std::set<std::string> working, ending;
  Controller controller(
      {.name = "test", .workers = 2},
      [&](const std::string& key, std::stop_token stop) -> Result<Requeue> {
        std::unique_lock lock(mutex);
        working.insert(key);
        changed.notify_all();
        changed.wait(lock, stop, [&] { return ending.contains(key); });
        working.erase(key);
        changed.notify_all();
        return Requeue{};
      },
      clock, log);
  const auto wait_for = [&](const std::set<std::string>& wanted) {
    std::unique_lock lock(mutex);
    CHECK(changed.wait_for(lock, 30s, [&] { return working == wanted; }));
  };
  const auto end = [&](const std::string& key) {
    const std::lock_guard lock(mutex);
    ending.insert(key);
    changed.notify_all();
  };
  CHECK_FALSE(controller.standstill());
  std::jthread runner([&](std::stop_token stop) { controller.run(stop); });
  controller.queue().add("a");
  wait_for({"a"});
  clock.advance(1h);
  CHECK_FALSE(controller.standstill());  // one is free
  controller.queue().add("b");
  wait_for({"a", "b"});
  CHECK(controller.standstill() == Duration::zero());
  clock.advance(5min);
  CHECK(controller.standstill() == 5min);
  controller.note_progress();
  CHECK(controller.standstill() == Duration::zero());
  clock.advance(7min);
  controller.queue().add("c");  // waits for a worker
  CHECK(controller.standstill() == 7min);
  end("a");
  wait_for({"b", "c"});
  CHECK(controller.standstill() == Duration::zero());
  end("b");
  end("c");
  wait_for({});
}
