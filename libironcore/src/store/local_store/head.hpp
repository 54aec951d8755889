// SPDX-License-Identifier: Apache-2.0
// Head: all objects as the committing thread sees them, staged changes included, with what it needs to find
// quickly.
#pragma once

#include <boost/unordered/unordered_flat_set.hpp>
#include <cstddef>
#include <set>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "ironcore/store/store.hpp"
#include "table.hpp"

namespace ironcore::store::local_store {

/// Orders keys of all kinds, the same in every run.
struct KeyOrder {
  bool operator()(const Key& a, const Key& b) const;
};

/// Readers never look here. Thread: one at a time.
class Head {
 public:
  /// Makes room for this many objects.
  void reserve(std::size_t count) { objects_.reserve(count); }
  /// Valid until the next change.
  const Object* find(const api::Kind& kind, NameView name) const;
  const Object* find(const Key& key) const {
    return key.kind == nullptr ? nullptr : find(*key.kind, {key.namespace_, key.name});
  }

  /// From one state of an object to the next; null = it does not exist. `before` must be what `find` returns
  /// now. The other way round, it takes a change back.
  void change(const Object* before, const Object* after);

  /// Objects whose metadata names this namespace.
  std::size_t count_in(std::string_view namespace_) const;
  /// Objects with an owner reference of this uid, in order.
  std::vector<Key> owned_by(const std::string& uid) const;

 private:
  struct Name {
    const api::Kind* kind;
    NameView name;
  };
  /// With its hash, so that growing visits no object.
  struct Entry {
    std::size_t hash;
    Object object;
  };
  static std::size_t hash_of(const Name& name);
  struct Hash {
    using is_transparent = void;
    std::size_t operator()(const Name& name) const { return hash_of(name); }
    std::size_t operator()(const Entry& entry) const { return entry.hash; }
  };
  struct Equal {
    using is_transparent = void;
    bool operator()(const Entry& a, const Entry& b) const {
      return a.hash == b.hash && &a.object.kind() == &b.object.kind() && name_of(a.object) == name_of(b.object);
    }
    bool operator()(const Name& a, const Entry& b) const {
      return a.kind == &b.object.kind() && a.name == name_of(b.object);
    }
    bool operator()(const Entry& a, const Name& b) const { return (*this)(b, a); }
  };
  struct TextHash {
    using is_transparent = void;
    std::size_t operator()(std::string_view text) const noexcept { return std::hash<std::string_view>()(text); }
  };

  void index(const Object& object);
  void unindex(const Object& object);

  boost::unordered_flat_set<Entry, Hash, Equal> objects_;
  std::unordered_map<std::string, std::size_t, TextHash, std::equal_to<>> namespaces_;
  std::unordered_map<std::string, std::set<Key, KeyOrder>> owned_;
};

}  // namespace ironcore::store::local_store
