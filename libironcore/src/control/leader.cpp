// SPDX-License-Identifier: Apache-2.0
// Taking, renewing and losing a lease.
#include "ironcore/control/leader.hpp"

#include <algorithm>
#include <condition_variable>
#include <mutex>
#include <thread>

namespace ironcore::control {

Leadership::Leadership(store::Store& store, LeaderOptions options, Clock& clock, Log& log)
    : store_(store), options_(std::move(options)), clock_(clock), log_(log), next_step_(clock.now()) {}

std::optional<store::HoldsLease> Leadership::active() const {
  return held_ && clock_.now() < expires_ ? held_ : std::nullopt;
}

std::optional<store::HoldsLease> Leadership::step() {
  // Read before asking: the store counts the time to live from a later moment, so ours always ends first.
  const auto asked_at = clock_.now();
  if (asked_at < next_step_) return active();
  next_step_ = asked_at + options_.renew_every;
  const auto lease = store_.acquire_lease(options_.lease, options_.holder, options_.time_to_live);
  if (lease) {
    if (!held_ || held_->token != lease->token)
      log_.info("this process is the active one", {{"lease", options_.lease}, {"token", std::to_string(lease->token)}});
    held_ = store::HoldsLease{options_.lease, lease->token};
    expires_ = asked_at + options_.time_to_live;
  } else if (lease.error().code() == ErrorCode::conflict || lease.error().code() == ErrorCode::forbidden) {
    if (held_)
      log_.warning("another process has become the active one",
                   {{"lease", options_.lease}, {"error", lease.error().message()}});
    held_.reset();
  } else {
    log_.warning(held_ ? "the lease cannot be renewed now" : "the lease cannot be taken",
                 {{"lease", options_.lease}, {"error", lease.error().message()}});
  }
  if (held_ && expires_ > asked_at) next_step_ = std::min(next_step_, expires_);
  return active();
}

void Leadership::resign() {
  if (held_) {
    const auto released = store_.release_lease(options_.lease, held_->token);
    if (!released)
      log_.debug("the lease will expire by itself", {{"lease", options_.lease}, {"error", released.error().message()}});
  }
  held_.reset();
  next_step_ = clock_.now() + options_.renew_every;
}

void run_while_active(store::Store& store, const LeaderOptions& options, Clock& clock, Log& log, std::stop_token stop,
                      const std::function<void(std::stop_token, const store::HoldsLease&)>& body) {
  Leadership leadership(store, options, clock, log);
  std::mutex mutex;
  std::condition_variable_any changed;
  bool has_returned = false, has_expired = false;
  Instant expires{};
  while (!stop.stop_requested()) {
    const auto lease = leadership.step();
    if (!lease) {
      sleep_until(clock, leadership.next_step(), stop);
      continue;
    }
    has_returned = has_expired = false;
    expires = leadership.expires();
    std::jthread thread([&, lease = *lease](std::stop_token body_stop) {
      body(body_stop, lease);
      const std::lock_guard lock(mutex);
      has_returned = true;
      changed.notify_all();
    });
    // Renewing may take as long as the store likes; the body's time is over all the same.
    std::jthread timer([&](std::stop_token timer_stop) {
      std::unique_lock lock(mutex);
      while (!timer_stop.stop_requested() && clock.now() < expires)
        clock.wait(lock, changed, timer_stop, expires, [&, until = expires] { return expires != until; });
      if (timer_stop.stop_requested()) return;
      has_expired = true;
      changed.notify_all();
      lock.unlock();
      thread.request_stop();
    });
    // The token belongs to this body: with another token the same candidate has to start again.
    for (auto now = lease; now && now->token == lease->token && !stop.stop_requested(); now = leadership.step()) {
      std::unique_lock lock(mutex);
      if (has_expired) break;
      expires = leadership.expires();
      changed.notify_all();
      if (clock.wait(lock, changed, stop, leadership.next_step(), [&] { return has_returned || has_expired; })) break;
    }
    timer.request_stop();
    timer.join();
    bool is_own_will = false;
    {
      const std::lock_guard lock(mutex);
      is_own_will = has_returned && !has_expired;
    }
    thread.request_stop();
    thread.join();
    if (is_own_will || stop.stop_requested()) leadership.resign();
  }
}

}  // namespace ironcore::control
