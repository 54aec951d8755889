// SPDX-License-Identifier: Apache-2.0
// A clock that moves only when it is told to: hours of timeouts in a test of milliseconds.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <list>
#include <map>
#include <mutex>
#include <optional>
#include <utility>

#include "ironcore/base/clock.hpp"

namespace ironcore::sim {

/// Starts at `Instant{}` + 1 h (so that "an hour ago" exists) and at the given wall time; both move together. Threads that wait on
/// it sleep for real until `advance` passes their deadline, their condition is notified, or they are stopped. Timers fire
/// inside `advance`, on its thread, in the order of their times (equal times: in the order in which they were set). Thread: any.
class VirtualClock final : public Clock {
 public:
  /// 2026-01-01T00:00:00Z unless told otherwise.
  explicit VirtualClock(WallTime start = WallTime(std::chrono::sys_days(std::chrono::year(2026) / 1 / 1)));

  Instant now() const override;
  WallTime wall() const override;
  bool wait(std::unique_lock<std::mutex>& lock, std::condition_variable_any& condition, std::stop_token stop,
            Instant deadline, const std::function<bool()>& ready) override;

  /// Moves on by `span` (not negative), stopping at every timer on the way, and wakes everybody whose deadline has passed. One
  /// caller at a time; not while holding a mutex that a waiting thread gave to `wait`, nor from a timer.
  void advance(Duration span);
  /// Moves on from one timer or deadline to the next until `done` holds; false if it does not within `limit`.
  bool advance_until(const std::function<bool()>& done, Duration limit = std::chrono::hours(1));
  /// The wall clock is corrected by `span`, which may be negative; `now` is not touched.
  void set_wall(Duration span);

  using Timer = std::uint64_t;
  /// Calls `action` once, without any lock, when `time` is reached. A time that has passed already is reached by the next
  /// `advance`, even by one of zero.
  Timer at(Instant time, std::function<void()> action);
  /// A timer that has fired or was cancelled before is ignored.
  void cancel(Timer timer);

  /// The earliest timer, or deadline that somebody waits for now; nullopt when there is none.
  std::optional<Instant> next_deadline() const;
  /// Threads waiting now.
  std::size_t waiting() const;

 private:
  struct Waiter {
    std::mutex* mutex;
    std::condition_variable_any* condition;
    Instant deadline;
    bool is_woken = false;
  };
  void move_to(Instant time);

  std::atomic<Duration::rep> elapsed_{0};
  std::atomic<Duration::rep> wall_correction_{0};
  WallTime start_;
  mutable std::mutex mutex_;
  std::list<Waiter> waiters_;
  Timer last_timer_ = 0;
  std::map<std::pair<Instant, Timer>, std::function<void()>> timers_;
};

}  // namespace ironcore::sim
