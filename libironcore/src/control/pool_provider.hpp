// SPDX-License-Identifier: Apache-2.0
// What the providers of one pool have in common. `Options` is what one is made with.
#pragma once

#include <algorithm>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "ironcore/control/controller.hpp"
#include "ironcore/control/informer.hpp"
#include "ironcore/control/managed_by.hpp"
#include "ironcore/control/placed_kinds.hpp"
#include "own_writes.hpp"
#include "pool_announcer.hpp"
#include "trouble.hpp"

namespace ironcore::control {

template <class Options>
PoolAnnouncerOptions announcing(const Options& options) {
  return {.pool = options.pool,
          .provider_id = options.provider_id,
          .holder = options.holder,
          .labels = options.labels,
          .heartbeat_every = options.heartbeat_every,
          .lease_time_to_live = options.lease_time_to_live};
}

/// What is wrong with the options that providers of volumes and of buckets have.
template <class Options>
std::vector<FieldError> problems_of_storage(const Options& options) {
  auto wrong = problems(announcing(options));
  const auto add = [&wrong](const char* field, std::string why) {
    wrong.push_back({field, FieldError::Reason::invalid, std::move(why)});
  };
  if (options.type.empty()) add("type", "must not be empty");
  if (options.classes.empty()) add("classes", "must name at least one class and its store");
  for (const auto& [name, store] : options.classes)
    if (store == nullptr) add("classes", "class " + name + " has no store");
  if (options.workers == 0) add("workers", "must be at least 1");
  if (options.look_again <= Duration::zero()) add("look_again", "must be longer than nothing");
  if (options.maintain_every <= Duration::zero()) add("maintain_every", "must be longer than nothing");
  return wrong;
}

/// Which objects are on a pool, and which pool that is.
struct PoolQueries {
  store::Query on_pool;
  store::Query the_pool;
};
template <class T>
Result<PoolQueries> pool_queries(const std::string& pool) {
  PoolQueries queries;
  IRONCORE_TRY(queries.on_pool.fields,
               store::FieldSelector::parse("spec." + std::string(PlacedKind<T>::pool_field) + ".name=" + pool));
  IRONCORE_TRY(queries.the_pool.fields, store::FieldSelector::parse("metadata.name=" + pool));
  return queries;
}

template <class T>
std::string key_of(const T& object) {
  return cache_key(object.metadata.namespace_, object.metadata.name);
}

/// Woken by `before` and `after`, unless it is only what a failed attempt said in the status: that must not bring the next one at once, there would be
/// no pause at all.
template <class T>
void wake(Controller& controller, const store::Shared<T>& before, const store::Shared<T>& after) {
  const auto key = key_of(after ? *after : *before);
  if (before && after && is_status_alone(*before, *after) && controller.queue().failures(key) > 0) return;
  controller.queue().add(key);
}

/// Without a class somebody else provides it. What others manage is theirs, unless we have begun with it: then nobody else would end it.
template <class T>
bool is_provided_here(const T& object, std::string_view finalizer) {
  return PlacedKind<T>::class_of(object) != nullptr &&
         (!is_managed_by_others(object.metadata) || has_finalizer(object.metadata, finalizer));
}

// ---- classes and their stores -------------------------------------------------------------------------------------

/// A pointer to the BlockStore or BucketStore of a class.
template <class Options>
using StorePointer = typename decltype(Options::classes)::mapped_type;

/// Every store once.
template <class Options>
std::vector<StorePointer<Options>> stores_of(const Options& options) {
  std::vector<StorePointer<Options>> stores;
  for (const auto& [name, store] : options.classes)
    if (std::find(stores.begin(), stores.end(), store) == stores.end()) stores.push_back(store);
  return stores;
}
/// Where something of a class is: in its store, or in any if the class is not offered any more.
template <class Options>
std::vector<StorePointer<Options>> stores_of(const Options& options, const std::string& class_name) {
  const auto offered = options.classes.find(class_name);
  if (offered == options.classes.end()) return stores_of(options);
  return {offered->second};
}

/// `fast, slow`: the classes offered; those of one store if one is given.
template <class Options>
std::string class_names(const Options& options, StorePointer<Options> of = nullptr) {
  std::string names;
  for (const auto& [name, store] : options.classes)
    if (of == nullptr || store == of) names += (names.empty() ? "" : ", ") + name;
  return names;
}

template <class T, class Options>
struct ClassOffer {
  store::Shared<typename PlacedKind<T>::Class> of_class;
  StorePointer<Options> store = nullptr;
};
/// Nothing, and why, if the pool does not offer the class of the object.
template <class T, class Options>
std::optional<ClassOffer<T, Options>> offer_for(const T& object, const Options& options,
                                                const Informer<typename PlacedKind<T>::Class>& classes,
                                                std::optional<Trouble>& trouble) {
  const auto& name = *PlacedKind<T>::class_of(object);
  const auto what = std::string(PlacedKind<T>::subject.word) + " class " + name;
  const auto reason = std::string(T::info.kind) + "ClassNotReady";
  const auto offered = options.classes.find(name);
  if (offered == options.classes.end()) {
    trouble = {reason, what + " is not offered by pool " + options.pool + "; it offers " + class_names(options)};
    return std::nullopt;
  }
  auto of_class = classes.get(name);
  if (!of_class) {
    trouble = {reason, what + " does not exist"};
    return std::nullopt;
  }
  return ClassOffer<T, Options>{std::move(of_class), offered->second};
}

/// State and Ready of a pool. `silent`: what the stores say that do not answer.
template <class Status>
void set_reach(Status& status, bool is_reached, const std::string& silent, WallTime now) {
  status.state = is_reached ? api::StoragePoolState::available : api::StoragePoolState::unavailable;
  api::Condition ready{.type = "Ready"};
  ready.status = is_reached ? api::ConditionStatus::true_ : api::ConditionStatus::false_;
  ready.reason = is_reached ? "HeartbeatReceived" : "StoreUnreachable";
  ready.message = silent.empty() ? "the provider runs and reaches its stores" : "stores that do not answer: " + silent;
  api::set_condition(status.conditions, std::move(ready), now);
}

/// What lies in a store without an object. Thread: one.
class Orphans {
 public:
  /// Those that were not there before, as a list for people. Each is told once.
  std::string news(std::set<std::string> found) {
    std::string fresh;
    for (const auto& orphan : found)
      if (!told_.contains(orphan)) fresh += (fresh.empty() ? "" : ", ") + orphan;
    told_ = std::move(found);
    return fresh;
  }

 private:
  std::set<std::string> told_;
};

}  // namespace ironcore::control
