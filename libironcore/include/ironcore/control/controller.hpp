// SPDX-License-Identifier: Apache-2.0
// Controller: a work queue and the function that brings one key closer to what is wanted.
#pragma once

#include <functional>
#include <mutex>
#include <optional>
#include <stop_token>
#include <string>
#include <vector>

#include "ironcore/base/clock.hpp"
#include "ironcore/base/log.hpp"
#include "ironcore/base/result.hpp"
#include "ironcore/control/work_queue.hpp"

namespace ironcore::control {

/// What a reconcile function wants next: nothing, or to be called again after a while.
struct Requeue {
  std::optional<Duration> after;
};

/// Looks at the wish and at the world, does one step, says when to look again. It may be called at any time for any key, also for one
/// that no longer exists. An error means: again, with back-off.
using Reconcile = std::function<Result<Requeue>(const std::string& key, std::stop_token stop)>;

struct ControllerOptions {
  std::string name;         ///< for log lines
  std::size_t workers = 1;  ///< threads that `run` makes; different keys run in parallel, one key never does
  WorkQueueOptions queue;
};

/// Thread: any.
class Controller {
 public:
  /// `clock` and `log` must outlive it.
  Controller(ControllerOptions options, Reconcile reconcile, Clock& clock, Log& log);

  WorkQueue& queue() noexcept { return queue_; }

  /// The work on some key goes on, however long it takes.
  void note_progress();
  /// For how long every worker has been at one key, while nothing was begun or ended and no progress was noted. Nothing while one is free.
  std::optional<Duration> standstill() const;

  /// Works until a stop is requested. Makes `workers` threads and joins them before it returns.
  void run(std::stop_token stop);
  /// Works on one key if one is due now; false if none is. For those who own the loop: tests, simulations.
  bool step(std::stop_token stop = {});

 private:
  void work_on(const std::string& key, std::stop_token stop);
  void turn(const std::string& key, std::stop_token stop);

  ControllerOptions options_;
  Reconcile reconcile_;
  Clock& clock_;
  Log& log_;
  WorkQueue queue_;
  mutable std::mutex mutex_;
  std::size_t busy_ = 0;  ///< workers
  Instant moved_{};       ///< when something was begun, ended or told last
};

/// Runs every part on its own thread, made here and joined before this returns, which is when all parts have returned. A part
/// that returns before `stop` stops the others.
void run_together(std::stop_token stop, std::vector<std::function<void(std::stop_token)>> parts);

}  // namespace ironcore::control
