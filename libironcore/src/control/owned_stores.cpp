// SPDX-License-Identifier: Apache-2.0
// Marks of stores, and what a pool has noted of them.
#include "owned_stores.hpp"

#include <algorithm>
#include <utility>

#include "volume_reconciler.hpp"

namespace ironcore::control {

namespace {

using Notes = std::map<std::string, std::string>;  ///< class → id of its store

/// `fast=ID, large=ID`; people may have written it.
Notes parse_notes(const std::string& text) {
  Notes notes;
  for (std::size_t at = 0; at < text.size();) {
    const auto end = std::min(text.find(',', at), text.size());
    const auto first = std::min(text.find_first_not_of(' ', at), end);
    const auto equals = std::min(text.find('=', first), end);
    if (equals != end) {
      auto id = text.substr(equals + 1, end - equals - 1);
      id.erase(id.find_last_not_of(' ') + 1);
      notes[text.substr(first, equals - first)] = std::move(id);
    }
    at = end + 1;
  }
  return notes;
}

std::string to_text(const Notes& notes) {
  std::string text;
  for (const auto& [name, id] : notes) text += (text.empty() ? "" : ", ") + name + "=" + id;
  return text;
}

std::string list(const std::set<std::string>& names) {
  std::string text;
  for (const auto& name : names) text += (text.empty() ? "" : ", ") + name;
  return text;
}

std::string notes_of(const api::VolumePool& pool) {
  return annotation_of(pool.metadata, stores_annotation);
}

}  // namespace

Result<storage::Capacity> OwnedStore::capacity() {
  auto answer = inner_.capacity();
  IRONCORE_CHECK(target());
  return answer;
}

Result<std::shared_ptr<storage::BlockStore>> OwnedStore::target() {
  const std::lock_guard lock(mutex_);
  if (refusal_) return *refusal_;
  return std::shared_ptr<storage::BlockStore>(std::shared_ptr<void>(), &inner_);
}

bool OwnedStore::admit() {
  const std::lock_guard lock(mutex_);
  return std::exchange(refusal_, std::nullopt).has_value();
}

void OwnedStore::refuse(const Error& why) {
  const std::lock_guard lock(mutex_);
  refusal_ = Error(ErrorCode::unavailable, why.message());
}

/// An operator has begun anew: who is inside holds on to the store that it had, until it is told that this one is meant.
Result<void> OwnedStore::take(const storage::StoreMark& mark) {
  if (taken_ && *taken_ != mark.store) {
    refuse(Error(ErrorCode::unavailable, "the pool has not noted store " + mark.store.to_text() + " yet"));
    IRONCORE_CHECK(inner_.set_mark(mark, mark));
  }
  taken_ = mark.store;
  return {};
}

Result<Uid> OwnedStore::look(const api::Metadata& pool, const std::set<std::string>& noted,
                             const HoldsOurs& holds_ours) {
  const auto advice = std::string("; to begin anew with what is there, take its classes out of the annotation ") +
                      std::string(stores_annotation) + " of the pool";
  IRONCORE_TRY(const auto uid, Uid::parse(pool.uid));
  IRONCORE_TRY(const auto mark, inner_.mark());
  if (!mark) {
    if (!noted.empty()) {
      const auto there = inner_.capacity();  // says where that is, if nothing is there
      return Error(ErrorCode::not_found, "store " + list(noted) + " is not where it was: " +
                                             (there ? "nothing there has a mark" : there.error().message()) + advice);
    }
    const storage::StoreMark fresh{.store = Uid::random(), .pool = uid, .pool_name = pool.name};
    IRONCORE_CHECK(inner_.set_mark(std::nullopt, fresh));
    taken_ = fresh.store;
    return fresh.store;
  }
  const auto id = mark->store.to_text();
  if (std::ranges::any_of(noted, [&](const auto& one) { return one != id; }))
    return Error(ErrorCode::wrong_state,
                 "store " + id + " is where store " + list(noted) + " was: is the right file system mounted?" + advice);
  if (mark->pool == uid) {
    IRONCORE_CHECK(take(*mark));
    return mark->store;
  }
  // A pool that was made anew has the old one's volumes; one of the same name somewhere else does not.
  if (mark->pool_name == pool.name) {
    IRONCORE_CHECK(take(*mark));
    IRONCORE_TRY(const bool is_ours, holds_ours(inner_));
    if (is_ours) {
      IRONCORE_CHECK(inner_.set_mark(mark, {.store = mark->store, .pool = uid, .pool_name = pool.name}));
      return mark->store;
    }
  }
  return Error(ErrorCode::conflict, "store " + id + " belongs to volume pool " + mark->pool_name + " (uid " +
                                        mark->pool.to_text() +
                                        "): give this pool another one; if that pool is gone for good, remove the "
                                        "store's mark, owner");
}

VolumeProviderOptions OwnedStores::in_place_of(VolumeProviderOptions options) {
  for (auto& [name, store] : options.classes) {
    auto& owned = stores_[store];
    if (!owned.store) owned.store = std::make_unique<OwnedStore>(*store);
    owned.classes.insert(name);
    store = owned.store.get();
  }
  return options;
}

void OwnedStores::look(api::VolumePool& pool, const OwnedStore::HoldsOurs& holds_ours) {
  auto notes = parse_notes(notes_of(pool));
  for (auto& [inner, store] : stores_) {
    std::set<std::string> noted;
    for (const auto& name : store.classes)
      if (const auto found = notes.find(name); found != notes.end()) noted.insert(found->second);
    const auto found = store.store->look(pool.metadata, noted, holds_ours);
    if (found) {
      store.found = found->to_text();
      store.told.clear();
      for (const auto& name : store.classes) notes[name] = store.found;
      continue;
    }
    const auto& why = found.error();
    // One that does not answer now is not another one.
    if (!store.found.empty() && (why.code() == ErrorCode::unavailable || why.code() == ErrorCode::timeout)) continue;
    store.found.clear();
    store.store->refuse(why);
    if (store.told != why.message() && why.code() != ErrorCode::unavailable)
      log_.error("a store is not used", {{"classes", list(store.classes)}, {"because", why.message()}});
    store.told = why.message();
  }
  if (!notes.empty()) pool.metadata.annotations[std::string(stores_annotation)] = to_text(notes);
}

bool OwnedStores::admit(const api::VolumePool& pool) {
  bool is_news = false;
  const auto notes = parse_notes(notes_of(pool));
  for (auto& [inner, store] : stores_) {
    if (store.found.empty()) continue;
    const auto& as_found = store.found;  // clang 14 captures no structured binding
    const bool is_noted = std::ranges::all_of(store.classes, [&](const auto& name) {
      const auto found = notes.find(name);
      return found != notes.end() && found->second == as_found;
    });
    if (is_noted) is_news = store.store->admit() || is_news;
  }
  return is_news;
}

}  // namespace ironcore::control
