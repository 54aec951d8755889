// SPDX-License-Identifier: Apache-2.0
// A clock that moves only when it is told to: hours of timeouts in a test of milliseconds.
#pragma once

#include <atomic>
#include <list>
#include <mutex>
#include <optional>

#include "ironcore/base/clock.hpp"

namespace ironcore::sim {

/// Starts at `Instant{}` + 1 h (so that "an hour ago" exists) and at the given wall time; both move together. Threads that wait on
/// it sleep for real until `advance` passes their deadline, their condition is notified, or they are stopped. Thread: any.
class VirtualClock final : public Clock {
 public:
  /// 2026-01-01T00:00:00Z unless told otherwise.
  explicit VirtualClock(WallTime start = WallTime(std::chrono::sys_days(std::chrono::year(2026) / 1 / 1)));

  Instant now() const override;
  WallTime wall() const override;
  bool wait(std::unique_lock<std::mutex>& lock, std::condition_variable_any& condition, std::stop_token stop, Instant deadline,
            const std::function<bool()>& ready) override;

  /// Moves on by `span` (not negative) and wakes everybody whose deadline has passed. Do not call it while holding a mutex that
  /// a waiting thread gave to `wait`.
  void advance(Duration span);
  /// The earliest deadline that somebody waits for now; nullopt when nobody waits or all wait without one.
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
  std::atomic<Duration::rep> elapsed_{0};
  WallTime start_;
  mutable std::mutex mutex_;
  std::list<Waiter> waiters_;
};

}  // namespace ironcore::sim
