// SPDX-License-Identifier: Apache-2.0
// Finalizers, owner references and namespaces.
#include "removal.hpp"

#include <algorithm>

#include "ironcore/api/core.hpp"

namespace ironcore::store::local_store {

namespace {

bool is_default_namespace(const Object& object) {
  return object.is<api::Namespace>() && object.name() == "default";
}

}  // namespace

Result<const Object*> find_owner(const Staging& staging, const api::Metadata& dependent, bool is_dependent_namespaced,
                                 const api::OwnerReference& reference) {
  IRONCORE_TRY(const auto* kind, api::find_kind(reference.api_version, reference.kind));
  const bool is_namespaced = kind->info().scope == api::Scope::namespaced;
  if (is_namespaced && !is_dependent_namespaced)
    return Error(ErrorCode::invalid, "an object without a namespace cannot be owned by a " +
                                         std::string(kind->info().kind) + ", which lives in one");
  const auto* owner = staging.find({kind, is_namespaced ? dependent.namespace_ : std::string(), reference.name});
  return owner != nullptr && owner->metadata().uid == reference.uid ? owner : nullptr;
}

Result<Object> Removal::start(const Object& object) {
  if (object.metadata().deletion_timestamp) return object;
  if (is_default_namespace(object))
    return Error(ErrorCode::forbidden, "the namespace default always exists and cannot be deleted");
  const bool is_namespace = object.is<api::Namespace>();
  const auto contents = is_namespace ? staging_.head().count_in(object.name()) : 0;
  if (object.metadata().finalizers.empty() && contents == 0) {
    // A copy: the staging forgets the one that the reference may point to.
    const Object last_state = object;  // NOLINT(performance-unnecessary-copy-initialization): see above
    IRONCORE_CHECK(finish(last_state));
    return last_state;
  }
  auto metadata = object.metadata();
  metadata.resource_version = staging_.next();
  metadata.deletion_timestamp = staging_.timestamp();
  auto marked = object.kind().with_metadata(object, std::move(metadata));
  if (is_namespace) {
    auto terminating = marked.as<api::Namespace>();
    terminating.status.phase = api::NamespacePhase::terminating;
    marked = Object::of(std::move(terminating));
    for (auto& key : staging_.keys_in(marked.name())) queue_.push_back({std::move(key), {}});
  }
  IRONCORE_CHECK(staging_.put_consequence(marked));
  return marked;
}

Result<void> Removal::finish(const Object& last_state) {
  const auto& metadata = last_state.metadata();
  IRONCORE_CHECK(staging_.remove(last_state));
  for (auto& key : staging_.head().owned_by(metadata.uid)) queue_.push_back({std::move(key), metadata.uid});
  if (metadata.namespace_.empty() || staging_.head().count_in(metadata.namespace_) > 0) return {};
  const auto* found = staging_.head().find(api::kind_of<api::Namespace>(), {{}, metadata.namespace_});
  if (found == nullptr || !found->metadata().deletion_timestamp || !found->metadata().finalizers.empty()) return {};
  const Object emptied = *found;
  return finish(emptied);
}

Result<void> Removal::strip_owner(const Object& object, const std::string& owner_uid) {
  auto metadata = object.metadata();
  std::erase_if(metadata.owner_references, [&](const auto& reference) { return reference.uid == owner_uid; });
  metadata.resource_version = staging_.next();
  return staging_.put_consequence(object.kind().with_metadata(object, std::move(metadata)));
}

Result<void> Removal::orphan_dependents(const Object& owner) {
  for (const auto& key : staging_.head().owned_by(owner.metadata().uid)) {
    const Object dependent = *staging_.find(key);
    IRONCORE_CHECK(strip_owner(dependent, owner.metadata().uid));
  }
  return {};
}

bool Removal::has_other_owner(const Object& object, const std::string& owner_uid) const {
  const auto& metadata = object.metadata();
  const bool is_namespaced = object.kind().info().scope == api::Scope::namespaced;
  return std::any_of(metadata.owner_references.begin(), metadata.owner_references.end(), [&](const auto& reference) {
    if (reference.uid == owner_uid) return false;
    const auto owner = find_owner(staging_, metadata, is_namespaced, reference);
    return !owner || *owner != nullptr;  // in doubt it stays
  });
}

Result<void> Removal::settle() {
  while (!queue_.empty()) {
    const auto consequence = std::move(queue_.front());
    queue_.pop_front();
    const auto* found = staging_.find(consequence.key);
    if (found == nullptr) continue;
    const Object object = *found;
    if (!consequence.owner_uid.empty()) {
      const auto& owners = object.metadata().owner_references;
      const bool is_owned = std::any_of(owners.begin(), owners.end(),
                                        [&](const auto& reference) { return reference.uid == consequence.owner_uid; });
      if (!is_owned) continue;
      if (is_default_namespace(object) || has_other_owner(object, consequence.owner_uid)) {
        IRONCORE_CHECK(strip_owner(object, consequence.owner_uid));
        continue;
      }
    }
    IRONCORE_CHECK(start(object));
  }
  return {};
}

}  // namespace ironcore::store::local_store
