// SPDX-License-Identifier: Apache-2.0
// Time as a parameter: the machine's clocks, or a virtual one for tests and simulations.
#pragma once

#include <chrono>
#include <condition_variable>
#include <functional>
#include <mutex>
#include <stop_token>
#include <string>
#include <string_view>

#include "ironcore/base/result.hpp"

namespace ironcore {

using Duration = std::chrono::nanoseconds;
using Instant = std::chrono::time_point<std::chrono::steady_clock, Duration>;   ///< for intervals and deadlines
using WallTime = std::chrono::time_point<std::chrono::system_clock, Duration>;  ///< for people

/// Where time comes from. Only `base` and a program's `main` ask the machine for the time; everything else is
/// handed a Clock. Thread: any.
class Clock {
 public:
  virtual ~Clock() = default;
  virtual Instant now() const = 0;
  virtual WallTime wall() const = 0;
  /// Waits on `condition` until `ready` is true, `deadline` has passed or a stop is requested. Returns `ready()`.
  /// As with `std::condition_variable_any`, the lock is released while waiting.
  virtual bool wait(std::unique_lock<std::mutex>& lock, std::condition_variable_any& condition, std::stop_token stop,
                    Instant deadline, const std::function<bool()>& ready) = 0;
};

/// Sleeps until `deadline` or until a stop is requested; false if stopped.
bool sleep_until(Clock& clock, Instant deadline, std::stop_token stop);
inline bool sleep_for(Clock& clock, Duration span, std::stop_token stop) {
  return sleep_until(clock, clock.now() + span, std::move(stop));
}

/// The clocks of this machine.
class SystemClock final : public Clock {
 public:
  Instant now() const override;
  WallTime wall() const override;
  bool wait(std::unique_lock<std::mutex>& lock, std::condition_variable_any& condition, std::stop_token stop,
            Instant deadline, const std::function<bool()>& ready) override;
};

/// RFC 3339 in UTC, as Kubernetes writes it: `2026-11-23T01:45:08Z`; a fraction is written only when it is not zero.
std::string to_rfc3339(WallTime time);
Result<WallTime> parse_rfc3339(std::string_view text);

/// `90s`, `5m`, `1h30m`, `250ms` (Go's notation, as in the original's flags) and back.
std::string to_text(Duration span);
Result<Duration> parse_duration(std::string_view text);

}  // namespace ironcore
