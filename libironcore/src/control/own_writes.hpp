// SPDX-License-Identifier: Apache-2.0
// What a provider has written itself and its cache does not show yet.
#pragma once

#include <algorithm>
#include <functional>
#include <mutex>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "ironcore/control/finalizers.hpp"
#include "ironcore/control/informer.hpp"

namespace ironcore::control {

/// Thread: any.
template <class T>
class OwnWrites {
 public:
  /// Both must outlive it.
  OwnWrites(store::Store& store, Informer<T>& cache) : store_(store), cache_(cache) {}

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
  /// The same of this object; null if it is gone.
  store::Shared<T> newest_of(const T& object) {
    auto found = newest(cache_key(object.metadata.namespace_, object.metadata.name));
    return found && found->metadata.uid == object.metadata.uid ? found : nullptr;
  }
  void remember(const store::Object& object) {
    const std::lock_guard lock(mutex_);
    if (const auto turn = turns_.find(cache_key(object)); turn != turns_.end())
      turn->second.written.push_back(object.metadata().resource_version);
    // What the informer has told as gone, nobody takes out again.
    const auto cached = cache_.get(cache_key(object));
    if (!cached || cached->metadata.uid != object.metadata().uid) return;
    auto& last = written_[object.metadata().uid];
    if (!last || last->metadata.resource_version < object.metadata().resource_version)
      last = object.template share<T>();
  }
  /// What is in the status of `after`; nothing if that is what it was.
  Result<void> write_status(const T& before, T after) {
    if (after.status == before.status) return {};
    const auto known = store::Object::of(before);
    const auto merge = api::merge_patch(known, store::Object::of(std::move(after)));
    IRONCORE_TRY(const auto written,
                 store::commit_one(store_, store::Patch{store::key_of(known), merge, store::Part::status}));
    remember(written);
    return {};
  }
  /// With the finalizer, before anything exists that could be left behind.
  Result<store::Shared<T>> keep(const store::Shared<T>& object, std::string_view finalizer) {
    IRONCORE_TRY(const auto kept, add_finalizer(store_, store::Object(api::kind_of<T>(), object), finalizer));
    if (kept.metadata().resource_version == object->metadata.resource_version) return object;
    remember(kept);
    return kept.template share<T>();
  }
  /// Nothing is left of it. Others may keep the object.
  Result<void> let_go(const T& object, std::string_view finalizer) {
    const auto current = newest_of(object);
    if (!current) return {};
    const auto dropped = drop_finalizer(store_, store::Object(api::kind_of<T>(), current), finalizer);
    if (dropped) remember(*dropped);
    if (!dropped && dropped.error().code() != ErrorCode::not_found) return dropped.error();
    return {};
  }

  using Changed = std::function<void(const store::Shared<T>& before, const store::Shared<T>& after)>;
  /// While it lasts, what the cache tells of this object is kept back; at its end `changed` gets what was not written by the turn itself: that needs no other
  /// turn.
  class Turn {
   public:
    Turn(OwnWrites& writes, std::string key, const Changed& changed)
        : writes_(writes), key_(std::move(key)), changed_(changed) {
      const std::lock_guard lock(writes_.mutex_);
      writes_.turns_[key_];
    }
    Turn(const Turn&) = delete;
    Turn& operator=(const Turn&) = delete;
    ~Turn() {
      const auto told = [&] {
        const std::lock_guard lock(writes_.mutex_);
        return writes_.turns_.extract(key_);
      }();
      const auto& [written, kept_back] = told.mapped();
      for (const auto& [before, after] : kept_back)
        if (std::ranges::count(written, after->metadata.resource_version) == 0 || !is_of_provider(*before, *after))
          changed_(before, after);
    }

   private:
    OwnWrites& writes_;
    const std::string key_;
    const Changed& changed_;
  };
  /// Whether a change that the cache tells needs no turn: it is what was written last, or is kept back until the turn for it ends.
  bool is_expected(const store::Shared<T>& before, const store::Shared<T>& after) {
    if (!before || !after || before->metadata.uid != after->metadata.uid) return false;
    const std::lock_guard lock(mutex_);
    const auto turn = turns_.find(cache_key(after->metadata.namespace_, after->metadata.name));
    if (turn != turns_.end()) {
      turn->second.kept_back.emplace_back(before, after);
      return true;
    }
    const auto written = written_.find(after->metadata.uid);
    return written != written_.end() &&
           written->second->metadata.resource_version == after->metadata.resource_version &&
           is_of_provider(*before, *after);
  }

  /// It is gone from the store.
  void forget(const std::string& uid) {
    const std::lock_guard lock(mutex_);
    written_.erase(uid);
  }

 private:
  /// Nothing but the status and finalizers has changed.
  static bool is_of_provider(const T& before, const T& after) {
    auto metadata = before.metadata;
    metadata.resource_version = after.metadata.resource_version;
    metadata.finalizers = after.metadata.finalizers;
    return metadata == after.metadata && before.spec == after.spec;
  }
  struct Told {
    std::vector<store::Revision> written;  ///< by the turn itself
    std::vector<std::pair<store::Shared<T>, store::Shared<T>>> kept_back;
  };

  store::Store& store_;
  Informer<T>& cache_;
  std::mutex mutex_;
  std::unordered_map<std::string, store::Shared<T>> written_;  // by uid
  std::unordered_map<std::string, Told> turns_;                // by key, while they last
};

/// Nothing but the status, which only providers write, has changed.
template <class T>
bool is_status_alone(const T& before, const T& after) {
  auto metadata = before.metadata;
  metadata.resource_version = after.metadata.resource_version;
  return metadata == after.metadata && before.spec == after.spec;
}

}  // namespace ironcore::control
