// SPDX-License-Identifier: Apache-2.0
// GroupCommit: one thread at a time works, for itself and for everybody who waits; the others sleep until it
// is done.
#pragma once

#include <condition_variable>
#include <cstddef>
#include <deque>
#include <memory>
#include <mutex>
#include <utility>
#include <vector>

namespace ironcore::store::local_store {

/// Jobs are queued in order. The thread that finds nobody at work becomes the leader, takes what is waiting,
/// and runs it as one batch; then the first of those that came meanwhile becomes the next leader. Thread:
/// any.
template <class Job>
class GroupCommit {
 public:
  /// Returns when `job` was part of a batch. `work(std::vector<Job*>)` runs on one thread at a time and must
  /// not throw. At most about `enough` of `job.weight()` makes one batch, but at least one job.
  template <class Work>
  void run(Job& job, std::size_t enough, Work&& work) {
    std::vector<Waiting> batch;
    const auto signal = std::make_shared<Signal>();
    {
      std::unique_lock lock(mutex_);
      queue_.push_back({&job, signal});
      if (is_busy_) {
        lock.unlock();
        if (signal->wait() == State::done) return;
        lock.lock();
      }
      is_busy_ = true;
      std::size_t weight = 0;
      while (!queue_.empty() && (batch.empty() || weight + queue_.front().job->weight() <= enough)) {
        weight += queue_.front().job->weight();
        batch.push_back(std::move(queue_.front()));
        queue_.pop_front();
      }
    }
    std::vector<Job*> jobs;
    jobs.reserve(batch.size());
    for (const auto& waiting : batch) jobs.push_back(waiting.job);
    work(jobs);
    Waiting next{};
    {
      const std::lock_guard lock(mutex_);
      is_busy_ = !queue_.empty();
      if (is_busy_) next = queue_.front();
    }
    // The next leader last: those who are done may come back in time for its batch. The signals are shared,
    // because who is done may leave at once.
    for (const auto& waiting : batch)
      if (waiting.signal != signal) waiting.signal->set(State::done);
    if (next.signal) next.signal->set(State::leading);
  }

 private:
  enum class State : int { waiting, leading, done };
  /// With a mutex of its own, so that waking many does not make them queue up for one.
  struct Signal {
    std::mutex mutex;
    std::condition_variable changed;
    State state = State::waiting;
    void set(State wanted) {
      {
        const std::lock_guard lock(mutex);
        state = wanted;
      }
      changed.notify_one();
    }
    State wait() {
      std::unique_lock lock(mutex);
      changed.wait(lock, [&] { return state != State::waiting; });
      return state;
    }
  };
  struct Waiting {
    Job* job;
    std::shared_ptr<Signal> signal;
  };

  std::mutex mutex_;
  bool is_busy_ = false;
  std::deque<Waiting> queue_;
};

}  // namespace ironcore::store::local_store
