// SPDX-License-Identifier: Apache-2.0
// The same life again and again, each time with another moment at which something fails.
#pragma once

#include <doctest/doctest.h>

#include <functional>
#include <thread>

#include "faulty_store.hpp"
#include "ironcore/base/clock.hpp"

namespace ironcore::control::test {

/// `live` gets 0, 1, 2 … and says whether there was such a moment. How many there are.
inline int at_each_moment(const std::function<bool(int n)>& live) {
  int n = 0;
  while (live(n)) ++n;
  return n;
}

/// In each life another write to the store of objects fails: before it takes effect, or after it, so that its answer is lost.
template <class World>
int at_each_failing_write(FaultyStore::Fault::When when, const std::function<void(World&)>& live) {
  return at_each_moment([&](int n) {
    CAPTURE(n);
    World world;
    bool was_reached = false;
    world.store.set_faults(
        [&, seen = 0](FaultyStore::Call call, const store::Transaction*) mutable -> std::optional<FaultyStore::Fault> {
          if (call != FaultyStore::Call::commit || seen++ != n) return std::nullopt;
          was_reached = true;
          return FaultyStore::Fault{Error(ErrorCode::timeout, "no answer"), when};
        });
    live(world);
    return was_reached;
  });
}

/// In each life the process is killed at another write (each `every`th of them): nothing of the store answers it any more while `is_dead`, which
/// `live` ends.
template <class World>
int at_each_deadly_write(const std::function<void(World&, bool& is_dead)>& live, int every = 1) {
  return at_each_moment([&](int moment) {
    const int n = moment * every;
    CAPTURE(n);
    World world;
    bool was_reached = false;
    bool is_dead = false;
    world.store.set_faults(
        [&, seen = 0](FaultyStore::Call call, const store::Transaction*) mutable -> std::optional<FaultyStore::Fault> {
          if (call == FaultyStore::Call::commit && seen++ == n) was_reached = is_dead = true;
          if (!is_dead) return std::nullopt;
          return FaultyStore::Fault{Error(ErrorCode::unavailable, "killed")};
        });
    live(world, is_dead);
    return was_reached;
  });
}

/// Waits for what threads do; false after a minute.
inline bool eventually(Clock& clock, const std::function<bool()>& is_so) {
  const auto deadline = clock.now() + std::chrono::seconds(60);
  while (!is_so()) {
    if (clock.now() >= deadline) return false;
    std::this_thread::yield();
  }
  return true;
}

}  // namespace ironcore::control::test
