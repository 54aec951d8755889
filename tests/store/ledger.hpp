// SPDX-License-Identifier: Apache-2.0
// What a crash test writes, remembers, and finds again: pairs of objects that only ever change together.
#pragma once

#include <cstddef>
#include <map>
#include <optional>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "ironcore/api/core.hpp"
#include "ironcore/store/store.hpp"

namespace ironcore::test {

/// A broken promise; the text says which.
class Violation : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// The value of a pair; nothing = it does not exist.
using PairValue = std::optional<int>;

inline std::string pair_name(int pair, char half) {
  return "pair-" + std::to_string(pair) + "-" + half;
}

/// Brings pair `pair` from one value to another, both halves in one transaction.
inline store::Transaction pair_transaction(int pair, PairValue from, PairValue to, std::size_t padding = 0) {
  store::Transaction transaction;
  for (const char half : {'a', 'b'}) {
    const auto key = store::key<api::Secret>("default", pair_name(pair, half));
    if (!to) {
      transaction.operations.emplace_back(store::Delete{key});
    } else if (from) {
      transaction.operations.emplace_back(
          store::Patch{key, R"({"metadata":{"labels":{"value":")" + std::to_string(*to) + R"("}}})"});
    } else {
      api::Secret object;
      object.metadata.name = key.name;
      object.metadata.namespace_ = "default";
      object.metadata.labels["value"] = std::to_string(*to);
      object.data["padding"].value = std::string(padding, 'x');
      transaction.operations.emplace_back(store::Create{store::Object::of(std::move(object))});
    }
  }
  return transaction;
}

/// What was acknowledged, and what may have happened since. Thread: one.
class Ledger {
 public:
  PairValue value(int pair) const {
    const auto found = pairs_.find(pair);
    return found == pairs_.end() ? PairValue() : found->second.acknowledged;
  }
  void intend(int pair, PairValue to) { pairs_[pair].intended = to; }
  void acknowledge(int pair) {
    auto& entry = pairs_[pair];
    entry.acknowledged = *entry.intended;
    entry.intended.reset();
  }
  /// It did not happen, for certain.
  void refuse(int pair) { pairs_[pair].intended.reset(); }

  /// Compares with the store; what it says is the truth from now on. Throws Violation.
  void check(store::Store& store) {
    for (auto& [pair, entry] : pairs_) {
      const auto a = read(store, pair, 'a');
      const auto b = read(store, pair, 'b');
      if (a != b)
        throw Violation("pair " + std::to_string(pair) + " was written by half: " + text(a) + " and " + text(b));
      if (a != entry.acknowledged && !(entry.intended && a == *entry.intended))
        throw Violation("pair " + std::to_string(pair) + " is " + text(a) + ", acknowledged was " +
                        text(entry.acknowledged) + (entry.intended ? ", intended " + text(*entry.intended) : ""));
      entry.acknowledged = a;
      entry.intended.reset();
    }
  }

 private:
  struct Entry {
    PairValue acknowledged;
    std::optional<PairValue> intended;
  };
  static std::string text(PairValue value) { return value ? std::to_string(*value) : "absent"; }
  static PairValue read(store::Store& store, int pair, char half) {
    const auto object = store.get(store::key<api::Secret>("default", pair_name(pair, half)));
    if (!object) return {};
    return std::stoi(object->metadata().labels.at("value"));
  }
  std::map<int, Entry> pairs_;
};

/// A copy of the Secrets that lives on watches alone, across any number of stores. Thread: one.
class Mirror {
 public:
  /// Reads everything since the last time and compares with what the store has now. Throws Violation.
  void follow(store::Store& store) {
    store::Query query;
    query.kind = &api::kind_of<api::Secret>();
    auto watch = store.watch(query, at_);
    if (!watch)
      throw Violation("the watch cannot be resumed after revision " + std::to_string(at_.value) + ": " +
                      watch.error().message());
    const auto end = store.revision().value();
    while (at_ < end) {
      const auto changes = (*watch)->next(Instant{});
      if (!changes) throw Violation(changes.error().message());
      if (changes->empty()) break;
      for (const auto& change : *changes) apply(change);
    }
    std::map<std::string, store::Object> listed;
    for (auto& object : store.list(query, {}).value().objects) listed.emplace(object.name(), object);
    if (listed != objects_)
      throw Violation("what the watch told differs from what the store has, at revision " + std::to_string(end.value));
    at_ = std::max(at_, end);
  }
  /// One change that a watch told. Throws Violation when it cannot follow on what was told before.
  void apply(const store::Change& change) {
    if (change.type == store::Change::Type::bookmark) {
      at_ = change.revision;
      is_begun_ = true;
      return;
    }
    const auto& name = change.object->name();
    const auto fail = [&](const char* what) {
      throw Violation("change " + std::to_string(change.revision.value) + " of " + name + " after revision " +
                      std::to_string(at_.value) + ": " + what);
    };
    if (is_begun_ && change.revision <= at_) fail("it was told already");
    const bool is_there = objects_.contains(name);
    if (change.type == store::Change::Type::added && is_there) fail("added, but it was there");
    if (change.type != store::Change::Type::added && !is_there) fail("changed, but it was not there");
    if (change.type == store::Change::Type::deleted) {
      objects_.erase(name);
    } else {
      objects_.insert_or_assign(name, *change.object);
    }
    if (is_begun_) at_ = change.revision;
  }

  store::Revision at() const noexcept { return at_; }
  const std::map<std::string, store::Object>& objects() const noexcept { return objects_; }

 private:
  store::Revision at_;
  bool is_begun_ = false;
  std::map<std::string, store::Object> objects_;
};

}  // namespace ironcore::test
