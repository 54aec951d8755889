// SPDX-License-Identifier: Apache-2.0
// One is active, another takes over, and who lost the lease cannot write.
#include "ironcore/control/leader.hpp"

#include <doctest/doctest.h>

#include <atomic>
#include <thread>

#include "world.hpp"

using namespace ironcore;
using namespace ironcore::control;
using namespace ironcore::control::test;

namespace {

LeaderOptions candidate(const std::string& holder) {
  return {.lease = "test", .holder = holder};
}

}  // namespace

TEST_CASE(
    "the first candidate is active, the second one stands by until the first has been silent for the time to live") {
  World world;
  Leadership first(world.store, candidate("one"), world.clock, world.log);
  Leadership second(world.store, candidate("two"), world.clock, world.log);
  const auto lease = first.step();
  REQUIRE(lease);
  CHECK_FALSE(second.step());
  for (int i = 0; i < 20; ++i) {
    world.clock.advance(5s);
    CHECK(first.step());
    CHECK_FALSE(second.step());
  }
  CHECK(first.active()->token == lease->token);
  world.clock.advance(14s);
  CHECK(first.active());
  CHECK_FALSE(second.step());
  world.clock.advance(1s);
  CHECK_FALSE(first.active());  // by its own clock, before the other one can have it
  world.clock.advance(5s);
  const auto taken = second.step();
  REQUIRE(taken);
  CHECK(taken->token > lease->token);
  CHECK_FALSE(first.step());
}

TEST_CASE("who lost the lease is refused by the store") {
  World world;
  Leadership first(world.store, candidate("one"), world.clock, world.log);
  Leadership second(world.store, candidate("two"), world.clock, world.log);
  const auto old_lease = first.step();
  REQUIRE(old_lease);
  world.clock.advance(1min);
  const auto new_lease = second.step();
  REQUIRE(new_lease);
  const auto write = [&](const store::HoldsLease& lease, const std::string& name) {
    store::Transaction transaction;
    transaction.operations.emplace_back(store::Create{store::Object::of(machine(name))});
    transaction.preconditions.emplace_back(lease);
    return world.store.commit(transaction);
  };
  const auto refused = write(*old_lease, "a");
  REQUIRE(refused.has_error());
  CHECK(refused.error().code() == ErrorCode::forbidden);
  CHECK_FALSE(world.get_machine("a"));
  CHECK(write(*new_lease, "b").has_value());
}

TEST_CASE("a resigned lease is taken over at once") {
  World world;
  Leadership first(world.store, candidate("one"), world.clock, world.log);
  Leadership second(world.store, candidate("two"), world.clock, world.log);
  REQUIRE(first.step());
  first.resign();
  CHECK_FALSE(first.active());
  CHECK(second.step());
}

TEST_CASE("while the store cannot be reached the active one stays active only until its lease would expire") {
  World world;
  Leadership leader(world.store, candidate("one"), world.clock, world.log);
  REQUIRE(leader.step());
  world.store.set_faults([](FaultyStore::Call, const store::Transaction*) -> std::optional<FaultyStore::Fault> {
    return FaultyStore::Fault{Error(ErrorCode::unavailable, "no answer")};
  });
  Duration active_for{};
  while (leader.step()) {
    const auto next = leader.next_step();
    REQUIRE(next > world.clock.now());
    active_for += next - world.clock.now();
    world.clock.advance(next - world.clock.now());
  }
  CHECK(active_for == 15s);
  world.store.set_faults({});
  world.clock.advance(5s);
  CHECK(leader.step());
}

TEST_CASE("a body runs while the lease is held, is stopped when it is lost, and runs again when it is won back") {
  World world;
  std::atomic<int> started{0}, ended{0};
  std::atomic<bool> is_away{false};
  world.store.set_faults([&](FaultyStore::Call call, const store::Transaction*) -> std::optional<FaultyStore::Fault> {
    if (is_away && call == FaultyStore::Call::acquire_lease)
      return FaultyStore::Fault{Error(ErrorCode::unavailable, "no answer")};
    return std::nullopt;
  });
  std::jthread runner([&](std::stop_token stop) {
    run_while_active(world.store, candidate("one"), world.clock, world.log, stop,
                     [&](std::stop_token body_stop, const store::HoldsLease&) {
                       ++started;
                       sleep_until(world.clock, Instant::max(), body_stop);
                       ++ended;
                     });
  });
  const auto advance_until = [&](const auto& condition) {
    while (!condition()) {
      world.clock.advance(100ms);
      std::this_thread::yield();
    }
  };
  advance_until([&] { return started == 1; });
  is_away = true;
  advance_until([&] { return ended == 1; });
  is_away = false;
  advance_until([&] { return started == 2; });
  CHECK(ended == 1);
  runner.request_stop();
  runner.join();
  CHECK(ended == 2);
  // The lease was given back.
  Leadership other(world.store, candidate("two"), world.clock, world.log);
  CHECK(other.step());
}

TEST_CASE("a body that returns by itself gives the lease back and is started again later") {
  World world;
  std::atomic<int> started{0};
  std::jthread runner([&](std::stop_token stop) {
    run_while_active(world.store, candidate("one"), world.clock, world.log, stop,
                     [&](std::stop_token, const store::HoldsLease&) { ++started; });
  });
  while (started < 3) {
    world.clock.advance(1s);
    std::this_thread::yield();
  }
  CHECK(started >= 3);
}

TEST_CASE("a body is stopped when its lease ends, also while the store lets the renewal wait") {
  World world;
  std::atomic<bool> is_blocked{false}, is_waiting{false}, is_inside{false};
  std::atomic<int> started{0};
  world.store.set_faults([&](FaultyStore::Call call, const store::Transaction*) -> std::optional<FaultyStore::Fault> {
    if (call != FaultyStore::Call::acquire_lease || !is_blocked) return std::nullopt;
    is_waiting = true;
    while (is_blocked) std::this_thread::yield();
    return FaultyStore::Fault{Error(ErrorCode::timeout, "late")};
  });
  std::jthread runner([&](std::stop_token stop) {
    run_while_active(world.store, candidate("one"), world.clock, world.log, stop,
                     [&](std::stop_token body_stop, const store::HoldsLease&) {
                       ++started;
                       is_inside = true;
                       sleep_until(world.clock, Instant::max(), body_stop);
                       is_inside = false;
                     });
  });
  while (!is_inside) std::this_thread::yield();
  is_blocked = true;
  while (!is_waiting) {
    world.clock.advance(100ms);
    std::this_thread::yield();
  }
  world.clock.advance(1min);
  while (is_inside) std::this_thread::yield();
  is_blocked = false;
  while (started < 2) {
    world.clock.advance(100ms);
    std::this_thread::yield();
  }
  CHECK(started == 2);
}
