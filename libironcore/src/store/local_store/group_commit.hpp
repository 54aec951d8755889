// SPDX-License-Identifier: Apache-2.0
// GroupCommit: one thread at a time works, for itself and for everybody who waits; the others sleep until it is done.
#pragma once

#include <condition_variable>
#include <cstddef>
#include <deque>
#include <mutex>
#include <vector>

namespace ironcore::store::local_store {

/// Jobs are queued in order. The thread that finds nobody at work becomes the leader, takes what is waiting, and runs it as one batch; then
/// the first of those that came meanwhile becomes the next leader. Thread: any.
template <class Job>
class GroupCommit {
 public:
  /// Returns when `job` was part of a batch. `work(std::vector<Job*>)` runs on one thread at a time and must not throw. At most about
  /// `enough` of `job.weight()` makes one batch, but at least one job.
  template <class Work>
  void run(Job& job, std::size_t enough, Work&& work) {
    Waiting self{&job};
    std::vector<Waiting*> batch;
    {
      std::unique_lock lock(mutex_);
      queue_.push_back(&self);
      if (is_busy_) self.changed.wait(lock, [&] { return self.state != State::waiting; });
      if (self.state == State::done) return;
      is_busy_ = true;
      std::size_t weight = 0;
      while (!queue_.empty() && (batch.empty() || weight + queue_.front()->job->weight() <= enough)) {
        weight += queue_.front()->job->weight();
        batch.push_back(queue_.front());
        queue_.pop_front();
      }
    }
    std::vector<Job*> jobs;
    jobs.reserve(batch.size());
    for (auto* waiting : batch) jobs.push_back(waiting->job);
    work(jobs);
    // Notified under the lock: a follower that wakes by itself might otherwise be gone, and its condition with it.
    const std::lock_guard lock(mutex_);
    for (auto* waiting : batch) {
      if (waiting == &self) continue;
      waiting->state = State::done;
      waiting->changed.notify_one();
    }
    is_busy_ = !queue_.empty();
    if (is_busy_) {
      queue_.front()->state = State::leading;
      queue_.front()->changed.notify_one();
    }
  }

 private:
  enum class State { waiting, leading, done };
  struct Waiting {
    Job* job;
    State state = State::waiting;
    std::condition_variable changed{};
  };

  std::mutex mutex_;
  bool is_busy_ = false;
  std::deque<Waiting*> queue_;
};

}  // namespace ironcore::store::local_store
