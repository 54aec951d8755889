// SPDX-License-Identifier: Apache-2.0
// FairQueue: a short queue for each sender, and the senders in turn.
#pragma once

#include <algorithm>
#include <cstddef>
#include <deque>
#include <map>
#include <string>
#include <utility>

namespace ironcore::store::zmq {

/// However much one sender asks for, the next one's turn comes after one step of work for him. Thread: one.
template <class Job>
class FairQueue {
 public:
  /// Most jobs of one sender, and of all of them.
  FairQueue(std::size_t each, std::size_t all) : max_each_(each), max_all_(all) {}

  bool is_empty() const noexcept { return turns_.empty(); }

  /// The waiting job of this sender for which `is_same` holds; null if there is none.
  template <class Same>
  Job* find(const std::string& sender, Same is_same) {
    const auto queue = queues_.find(sender);
    if (queue == queues_.end()) return nullptr;
    const auto job = std::find_if(queue->second.begin(), queue->second.end(), is_same);
    return job == queue->second.end() ? nullptr : &*job;
  }
  /// False = no room.
  bool push(const std::string& sender, Job job) {
    if (size_ >= max_all_) return false;
    auto& queue = queues_[sender];
    if (queue.size() >= max_each_) return false;
    if (queue.empty()) turns_.push_back(sender);
    queue.push_back(std::move(job));
    ++size_;
    return true;
  }
  /// One step for whose turn it is: `work(job)` is true when there is more to do. Not when it is empty.
  template <class Work>
  void step(Work work) {
    const auto queue = queues_.find(turns_.front());
    auto sender = std::move(turns_.front());
    turns_.pop_front();
    if (!work(queue->second.front())) {
      queue->second.pop_front();
      --size_;
    }
    if (queue->second.empty())
      queues_.erase(queue);
    else
      turns_.push_back(std::move(sender));
  }

 private:
  const std::size_t max_each_;
  const std::size_t max_all_;
  std::size_t size_ = 0;
  std::map<std::string, std::deque<Job>> queues_;  ///< none of them empty
  std::deque<std::string> turns_;                  ///< each sender once
};

}  // namespace ironcore::store::zmq
