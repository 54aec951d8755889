// SPDX-License-Identifier: Apache-2.0
// The gate stops new work and waits for the work under way.
#include "ironcore/base/gate.hpp"

#include <doctest/doctest.h>

#include <atomic>
#include <optional>
#include <thread>
#include <vector>

using namespace ironcore;
using namespace std::chrono_literals;

TEST_CASE("a closed gate lets nobody in") {
  Gate gate;
  CHECK(gate.enter());
  gate.close();
  CHECK(gate.is_closed());
  CHECK_FALSE(gate.enter());
  CHECK(gate.under_way() == 0);
}

TEST_CASE("draining waits for every pass") {
  SystemClock clock;
  Gate gate;
  std::atomic<int> finished{0};
  std::vector<std::jthread> workers;
  for (int i = 0; i < 8; ++i) {
    auto pass = gate.enter();
    REQUIRE(pass);
    workers.emplace_back([&finished, pass = std::move(pass)]() mutable {
      std::this_thread::yield();
      ++finished;
      pass = {};
    });
  }
  CHECK(gate.drain(clock));
  CHECK(finished == 8);
}

TEST_CASE("draining gives up at its deadline and when stopped") {
  SystemClock clock;
  Gate gate;
  const auto pass = gate.enter();
  CHECK_FALSE(gate.drain(clock, clock.now() + 1ms));
  std::stop_source stop;
  stop.request_stop();
  CHECK_FALSE(gate.drain(clock, Instant::max(), stop.get_token()));
  CHECK(gate.under_way() == 1);
}

TEST_CASE("a pass can be moved and may outlive its gate") {
  std::optional<Gate> gate(std::in_place);
  auto first = gate->enter();
  auto second = std::move(first);
  CHECK_FALSE(first);
  CHECK(second);
  CHECK(gate->under_way() == 1);
  gate.reset();
  CHECK(second);
  second = Gate::Pass();
  CHECK_FALSE(second);
}
