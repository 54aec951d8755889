// SPDX-License-Identifier: Apache-2.0
// How many workers a store may keep busy.
#pragma once

#include <algorithm>
#include <cstddef>
#include <functional>
#include <map>
#include <mutex>
#include <set>
#include <string>
#include <utility>

namespace ironcore::control {

/// A store that hangs holds each turn for as long as its patience lasts. With several stores each gets so few turns at once that, while all others
/// hang, the last one has a worker left (if there are as many workers as stores). Thread: any.
class StoreTurns {
 public:
  StoreTurns(std::size_t workers, std::size_t stores, std::function<void(const std::string& key)> wake)
      : most_(stores < 2 ? workers : std::max<std::size_t>(1, (workers - 1) / (stores - 1))), wake_(std::move(wake)) {}

  /// False if the store has as many as it may: as soon as it has not, `wake` is told the key.
  bool begin(const void* store, const std::string& key) {
    const std::lock_guard lock(mutex_);
    if (const auto kept = kept_.find(key); kept != kept_.end()) {
      const void* const other = kept->second;
      kept_.erase(kept);
      if (other == store) return true;
      give_back(other);
    }
    Turns& turns = turns_[store];
    if (turns.busy == most_) {
      turns.waiting.insert(key);
      return false;
    }
    ++turns.busy;
    return true;
  }
  void end(const void* store) {
    const std::lock_guard lock(mutex_);
    give_back(store);
  }
  /// `key` comes to nothing, whatever was kept for it.
  void drop(const std::string& key) {
    const std::lock_guard lock(mutex_);
    const auto kept = kept_.find(key);
    if (kept == kept_.end()) return;
    const void* const store = kept->second;
    kept_.erase(kept);
    give_back(store);
  }

 private:
  struct Turns {
    std::size_t busy = 0;  // kept ones too
    std::set<std::string> waiting;
  };

  void give_back(const void* store) {
    Turns& turns = turns_[store];
    if (turns.waiting.empty()) {
      --turns.busy;
      return;
    }
    const std::string next = std::move(turns.waiting.extract(turns.waiting.begin()).value());
    kept_.emplace(next, store);
    wake_(next);
  }

  const std::size_t most_;
  const std::function<void(const std::string& key)> wake_;
  std::mutex mutex_;
  std::map<const void*, Turns> turns_;
  std::map<std::string, const void*> kept_;  // keys that `wake_` was told, and the store whose turn is theirs
};

}  // namespace ironcore::control
