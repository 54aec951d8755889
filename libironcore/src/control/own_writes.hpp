// SPDX-License-Identifier: Apache-2.0
// What a provider has written itself and its cache does not show yet.
#pragma once

#include <mutex>
#include <string>
#include <unordered_map>

#include "ironcore/control/informer.hpp"

namespace ironcore::control {

/// Thread: any.
template <class T>
class OwnWrites {
 public:
  explicit OwnWrites(Informer<T>& cache) : cache_(cache) {}

  /// The later one of what the cache has and what was written last. Null if the cache has nothing.
  store::Shared<T> newest(const std::string& key) {
    auto object = cache_.get(key);
    if (!object) return nullptr;
    const std::lock_guard lock(mutex_);
    const auto written = written_.find(object->metadata.uid);
    if (written == written_.end()) return object;
    if (written->second->metadata.resource_version > object->metadata.resource_version) return written->second;
    written_.erase(written);
    return object;
  }
  void remember(const store::Object& object) {
    const std::lock_guard lock(mutex_);
    // What the informer has told as gone, nobody takes out again.
    const auto cached = cache_.get(cache_key(object));
    if (cached && cached->metadata.uid == object.metadata().uid)
      written_[object.metadata().uid] = object.template share<T>();
  }
  /// It is gone from the store.
  void forget(const std::string& uid) {
    const std::lock_guard lock(mutex_);
    written_.erase(uid);
  }

 private:
  Informer<T>& cache_;
  std::mutex mutex_;
  std::unordered_map<std::string, store::Shared<T>> written_;  // by uid
};

/// Nothing but the status, which only providers write, has changed.
template <class T>
bool is_status_alone(const T& before, const T& after) {
  auto metadata = before.metadata;
  metadata.resource_version = after.metadata.resource_version;
  return metadata == after.metadata && before.spec == after.spec;
}

}  // namespace ironcore::control
