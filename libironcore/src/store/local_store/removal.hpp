// SPDX-License-Identifier: Apache-2.0
// Removal: what has to go, or is marked to go, when something is deleted.
#pragma once

#include <deque>
#include <string>

#include "staging.hpp"

namespace ironcore::store::local_store {

/// The owner that a reference of `dependent` means, if it exists. `invalid` if it cannot exist: an unknown
/// kind, or one that lives in another namespace.
Result<const Object*> find_owner(const Staging& staging, const api::Metadata& dependent, bool is_dependent_namespaced,
                                 const api::OwnerReference& reference);

/// One transaction's deletions. Consequences are queued, so that a chain of any depth needs no stack;
/// `settle` works them off. Thread: one.
class Removal {
 public:
  explicit Removal(Staging& staging) : staging_(staging) {}

  /// Removes the object, or marks it as being deleted if something has to happen first. Returns its state
  /// after that.
  Result<Object> start(const Object& object);
  /// Nothing holds this object any more; `last_state` is its state at the end.
  Result<void> finish(const Object& last_state);
  /// Takes the references to this owner off everything it owns.
  Result<void> orphan_dependents(const Object& owner);
  /// What else has to go, until nothing is left.
  Result<void> settle();

 private:
  struct Consequence {
    Key key;
    std::string owner_uid;  ///< whose removal is the reason; empty = that of the namespace
  };
  Result<void> strip_owner(const Object& object, const std::string& owner_uid);
  bool has_other_owner(const Object& object, const std::string& owner_uid) const;

  Staging& staging_;
  std::deque<Consequence> queue_;
};

}  // namespace ironcore::store::local_store
