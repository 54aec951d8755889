// SPDX-License-Identifier: Apache-2.0
// A controller calls again when asked to, later after errors, and stops when told to.
#include "ironcore/control/controller.hpp"

#include <doctest/doctest.h>

#include <atomic>
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
