// SPDX-License-Identifier: Apache-2.0
// Workers around a queue.
#include "ironcore/control/controller.hpp"

#include <thread>
#include <utility>

namespace ironcore::control {

Controller::Controller(ControllerOptions options, Reconcile reconcile, Clock& clock, Log& log)
    : options_(std::move(options)),
      reconcile_(std::move(reconcile)),
      clock_(clock),
      log_(log),
      queue_(clock, options_.queue) {}

void Controller::note_progress() {
  const std::lock_guard lock(mutex_);
  moved_ = clock_.now();
}

std::optional<Duration> Controller::standstill() const {
  const std::lock_guard lock(mutex_);
  if (busy_ < options_.workers) return std::nullopt;
  return clock_.now() - moved_;
}

void Controller::work_on(const std::string& key, std::stop_token stop) {
  const auto count = [this](std::size_t more, std::size_t less) {
    const std::lock_guard lock(mutex_);
    busy_ += more;
    busy_ -= less;
    moved_ = clock_.now();
  };
  count(1, 0);
  turn(key, std::move(stop));
  count(0, 1);
}

void Controller::turn(const std::string& key, std::stop_token stop) {
  const auto result = reconcile_(key, stop);
  if (result) {
    queue_.forget(key);
    if (result->after) queue_.add_after(key, *result->after);
  } else {
    queue_.retry(key);  // also while stopping: whoever runs next shall find it
    // A conflict only says that the cache was behind, and a stop interrupts; both are part of normal life.
    const bool is_normal = result.error().code() == ErrorCode::conflict || stop.stop_requested();
    const auto level = is_normal ? LogLevel::debug : LogLevel::warning;
    log_.write(level, "will be tried again",
               {{"controller", options_.name},
                {"key", key},
                {"error", result.error().message()},
                {"failures", std::to_string(queue_.failures(key))}});
  }
  queue_.done(key);
}

bool Controller::step(std::stop_token stop) {
  const auto key = queue_.try_take();
  if (key) work_on(*key, std::move(stop));
  return key.has_value();
}

void Controller::run(std::stop_token stop) {
  std::vector<std::function<void(std::stop_token)>> workers(options_.workers, [this](std::stop_token worker_stop) {
    while (const auto key = queue_.take(worker_stop)) work_on(*key, worker_stop);
  });
  run_together(std::move(stop), std::move(workers));
}

void run_together(std::stop_token stop, std::vector<std::function<void(std::stop_token)>> parts) {
  std::stop_source stop_all;
  const std::stop_callback forward(stop, [&] { stop_all.request_stop(); });
  std::vector<std::jthread> threads;
  threads.reserve(parts.size());
  for (auto& part : parts) {
    threads.emplace_back([&part, token = stop_all.get_token(), &stop_all] {
      part(token);
      stop_all.request_stop();
    });
  }
}

}  // namespace ironcore::control
