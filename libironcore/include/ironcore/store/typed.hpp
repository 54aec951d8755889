// SPDX-License-Identifier: Apache-2.0
// The Store for one kind at a time: plain structs in, plain structs out.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "ironcore/store/store.hpp"

namespace ironcore::store {

template <class T>
using Shared = std::shared_ptr<const T>;

/// The object that one operation leaves behind.
Result<Object> commit_one(Store& store, Operation operation);

template <class T>
Result<Shared<T>> get(Store& store, const std::string& namespace_, const std::string& name) {
  IRONCORE_TRY(auto object, store.get(key<T>(namespace_, name)));
  return object.template share<T>();
}

template <class T>
Result<Shared<T>> create(Store& store, T value) {
  IRONCORE_TRY(auto object, commit_one(store, Create{Object::of(std::move(value))}));
  return object.template share<T>();
}

/// Writes what differs between two versions of the same object as a merge patch, so that fields that others
/// own stay theirs. Nothing is written when nothing differs. Fails with `conflict` only if the object was
/// replaced (other uid).
template <class T>
Result<Shared<T>> patch(Store& store, const T& before, T after, Part part = Part::object) {
  const Object old_object = Object::of(before);
  Object new_object = Object::of(std::move(after));
  std::string merge = api::merge_patch(old_object, new_object);
  if (merge == "{}") return new_object.share<T>();
  IRONCORE_TRY(auto object, commit_one(store, Patch{key_of(old_object), std::move(merge), part}));
  return object.template share<T>();
}

template <class T>
Result<Shared<T>> update(Store& store, T value, Part part = Part::object) {
  IRONCORE_TRY(auto object, commit_one(store, Update{Object::of(std::move(value)), part}));
  return object.template share<T>();
}

template <class T>
Result<void> remove(Store& store, const std::string& namespace_, const std::string& name) {
  IRONCORE_CHECK(commit_one(store, Delete{key<T>(namespace_, name)}));
  return {};
}

/// All of them, page by page.
template <class T>
Result<std::vector<Shared<T>>> list(Store& store, Query query = {}) {
  query.kind = &api::kind_of<T>();
  std::vector<Shared<T>> all;
  ListOptions options{.limit = 1000};
  do {
    IRONCORE_TRY(auto page, store.list(query, options));
    for (const auto& object : page.objects) all.push_back(object.template share<T>());
    options.continue_at = page.continue_at;
  } while (!options.continue_at.empty());
  return all;
}

}  // namespace ironcore::store
