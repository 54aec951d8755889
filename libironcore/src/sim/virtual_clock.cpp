// SPDX-License-Identifier: Apache-2.0
// Waiting on time that somebody else moves.
#include "ironcore/sim/virtual_clock.hpp"

#include <algorithm>
#include <thread>

namespace ironcore::sim {

VirtualClock::VirtualClock(WallTime start) : start_(start) {}

Instant VirtualClock::now() const {
  return Instant{} + std::chrono::hours(1) + Duration(elapsed_.load());
}
WallTime VirtualClock::wall() const {
  return start_ + Duration(elapsed_.load() + wall_correction_.load());
}
void VirtualClock::set_wall(Duration span) {
  wall_correction_ += span.count();
}

bool VirtualClock::wait(std::unique_lock<std::mutex>& lock, std::condition_variable_any& condition,
                        std::stop_token stop, Instant deadline, const std::function<bool()>& ready) {
  if (ready()) return true;
  std::list<Waiter>::iterator self;
  {
    const std::lock_guard guard(mutex_);
    self = waiters_.insert(waiters_.end(), Waiter{lock.mutex(), &condition, deadline});
  }
  condition.wait(lock, std::move(stop), [&] { return ready() || now() >= deadline; });
  {
    const std::lock_guard guard(mutex_);
    waiters_.erase(self);
  }
  return ready();
}

VirtualClock::Timer VirtualClock::at(Instant time, std::function<void()> action) {
  const std::lock_guard guard(mutex_);
  timers_.emplace(std::pair(time, ++last_timer_), std::move(action));
  return last_timer_;
}

void VirtualClock::cancel(Timer timer) {
  const std::lock_guard guard(mutex_);
  std::erase_if(timers_, [timer](const auto& entry) { return entry.first.second == timer; });
}

void VirtualClock::advance(Duration span) {
  const Instant target = now() + span;
  for (;;) {
    std::function<void()> action;
    Instant time = target;
    {
      const std::lock_guard guard(mutex_);
      if (!timers_.empty() && timers_.begin()->first.first <= target) {
        time = std::max(now(), timers_.begin()->first.first);
        action = std::move(timers_.begin()->second);
        timers_.erase(timers_.begin());
      }
    }
    move_to(time);
    if (!action) return;
    action();
  }
}

bool VirtualClock::advance_until(const std::function<bool()>& done, Duration limit) {
  const Instant end = now() + limit;
  while (!done()) {
    const std::optional<Instant> next = next_deadline();
    const Instant step = next ? std::clamp(*next, now(), end) : end;
    const bool is_last = step == end;
    advance(step - now());
    if (is_last) return done();
  }
  return true;
}

void VirtualClock::move_to(Instant time) {
  std::unique_lock lock(mutex_);
  elapsed_ += (time - now()).count();
  for (auto& waiter : waiters_) waiter.is_woken = false;
  // A waiter that has looked at the time but is not asleep yet still holds its mutex; a notification sent now would be lost. So
  // each is notified while its mutex is ours. It is only ever tried: blocking on it here could deadlock with a waiter that is
  // about to register. As long as mutex_ is held, a registered waiter cannot leave, so its mutex and condition exist.
  for (bool all_woken = false; !all_woken;) {
    all_woken = true;
    for (auto& waiter : waiters_) {
      if (waiter.is_woken || waiter.deadline > now()) continue;
      if (waiter.mutex->try_lock()) {
        waiter.condition->notify_all();
        waiter.mutex->unlock();
        waiter.is_woken = true;
      } else {
        all_woken = false;
      }
    }
    if (!all_woken) {
      lock.unlock();
      std::this_thread::yield();
      lock.lock();
    }
  }
}

std::optional<Instant> VirtualClock::next_deadline() const {
  const std::lock_guard guard(mutex_);
  std::optional<Instant> earliest;
  if (!timers_.empty()) earliest = timers_.begin()->first.first;
  for (const auto& waiter : waiters_)
    if (waiter.deadline != Instant::max() && (!earliest || waiter.deadline < *earliest)) earliest = waiter.deadline;
  return earliest;
}

std::size_t VirtualClock::waiting() const {
  const std::lock_guard guard(mutex_);
  return waiters_.size();
}

}  // namespace ironcore::sim
