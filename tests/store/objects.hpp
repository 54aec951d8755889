// SPDX-License-Identifier: Apache-2.0
// Small objects, short calls and readable failures for the tests of stores.
#pragma once

#include <doctest/doctest.h>

#include <chrono>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "ironcore/api/compute.hpp"
#include "ironcore/api/core.hpp"
#include "ironcore/store/store.hpp"
#include "ironcore/store/typed.hpp"

namespace ironcore::test {

using store::Change;
using store::Committed;
using store::Create;
using store::Delete;
using store::Key;
using store::key;
using store::Object;
using store::Part;
using store::Patch;
using store::Query;
using store::Revision;
using store::Store;
using store::Transaction;
using store::Update;

/// Longer than anything takes that works.
inline constexpr auto long_bound = std::chrono::seconds(60);

inline api::Machine machine(std::string name, std::string namespace_ = "default") {
  api::Machine result;
  result.metadata.name = std::move(name);
  result.metadata.namespace_ = std::move(namespace_);
  result.spec.machine_class_ref.name = "small";
  return result;
}

inline api::Machine machine_on(std::string name, std::string pool) {
  auto result = machine(std::move(name));
  result.spec.machine_pool_ref = api::LocalReference{.name = std::move(pool), .unknown = {}};
  return result;
}

inline api::MachinePool machine_pool(std::string name) {
  api::MachinePool result;
  result.metadata.name = std::move(name);
  result.spec.provider_id = "test://" + result.metadata.name;
  return result;
}

inline api::Namespace namespace_object(std::string name) {
  api::Namespace result;
  result.metadata.name = std::move(name);
  return result;
}

inline api::Secret secret(std::string name, std::string value = "x") {
  api::Secret result;
  result.metadata.name = std::move(name);
  result.metadata.namespace_ = "default";
  result.data["value"].value = std::move(value);
  return result;
}

inline api::OwnerReference owned_by(const Object& owner) {
  return {.api_version = owner.kind().api_version(),
          .kind = std::string(owner.kind().info().kind),
          .name = owner.name(),
          .uid = owner.metadata().uid,
          .controller = {},
          .block_owner_deletion = {},
          .unknown = {}};
}

template <class T>
Create make(T value) {
  return Create{Object::of(std::move(value))};
}

/// The object of one operation that must succeed.
inline Object must(Store& store, store::Operation operation) {
  auto result = store::commit_one(store, std::move(operation));
  if (!result) FAIL(result.error().message());
  return *std::move(result);
}

/// The code of one operation that must fail.
inline ErrorCode code_of(Store& store, store::Operation operation) {
  const auto result = store::commit_one(store, std::move(operation));
  REQUIRE_MESSAGE(result.has_error(), "this should have failed");
  CHECK_FALSE(result.error().message().empty());
  return result.error().code();
}

template <class T>
ErrorCode code_of(const Result<T>& result) {
  REQUIRE_MESSAGE(result.has_error(), "this should have failed");
  CHECK_FALSE(result.error().message().empty());
  return result.error().code();
}

template <class T>
Query query(std::string labels = {}, std::string fields = {}, std::string namespace_ = {}) {
  Query result;
  result.kind = &api::kind_of<T>();
  result.namespace_ = std::move(namespace_);
  result.labels = store::LabelSelector::parse(labels).value();
  result.fields = store::FieldSelector::parse(fields).value();
  return result;
}

inline std::vector<std::string> names_of(const std::vector<Object>& objects) {
  std::vector<std::string> names;
  for (const auto& object : objects) names.push_back(object.name());
  return names;
}

template <class T>
bool exists(Store& store, const std::string& name, const std::string& namespace_ = "default") {
  const auto scope = T::info.scope;
  return store.get(key<T>(scope == api::Scope::namespaced ? namespace_ : "", name)).has_value();
}

/// `added a` for each change but bookmarks.
inline std::string text_of(const Change& change) {
  switch (change.type) {
    case Change::Type::added:
      return "added " + change.object->name();
    case Change::Type::modified:
      return "modified " + change.object->name();
    case Change::Type::deleted:
      return "deleted " + change.object->name();
    case Change::Type::bookmark:
      return "bookmark";
  }
  return "?";
}

inline Instant bound() {
  return std::chrono::steady_clock::now() + long_bound;
}

/// Reads until `count` changes other than bookmarks are there. Fails when they do not come.
inline std::vector<Change> read(store::Watch& watch, std::size_t count, std::size_t limit = 1000) {
  std::vector<Change> result;
  while (result.size() < count) {
    auto changes = watch.next(bound(), {}, limit);
    if (!changes) FAIL(changes.error().message());
    REQUIRE_MESSAGE(!changes->empty(), "nothing came, " << result.size() << " of " << count << " changes are there");
    for (auto& change : *changes)
      if (change.type != Change::Type::bookmark) result.push_back(std::move(change));
  }
  return result;
}

inline std::vector<std::string> texts_of(const std::vector<Change>& changes) {
  std::vector<std::string> texts;
  for (const auto& change : changes) texts.push_back(text_of(change));
  return texts;
}

inline std::vector<std::string> read_texts(store::Watch& watch, std::size_t count) {
  return texts_of(read(watch, count));
}

using Texts = std::vector<std::string>;

}  // namespace ironcore::test
