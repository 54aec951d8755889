// SPDX-License-Identifier: Apache-2.0
// The rules of writing.
#include "transaction.hpp"

#include <algorithm>
#include <string>
#include <utility>

#include "ironcore/api/core.hpp"
#include "ironcore/base/random.hpp"
#include "ironcore/base/uid.hpp"
#include "removal.hpp"

namespace ironcore::store::local_store {

namespace {

using api::Metadata;

constexpr std::size_t suffix_length = 5;
constexpr int name_attempts = 16;

Error field_error(std::string field, FieldError::Reason reason, std::string message) {
  return Error(std::vector<FieldError>{{std::move(field), reason, std::move(message)}});
}

Error is_missing() {
  return Error(ErrorCode::not_found, "it does not exist");
}

Error has_changed(const Object& current, Revision expected) {
  return Error(ErrorCode::conflict, "it was changed (it is at revision " +
                                        std::to_string(current.metadata().resource_version.value) + ", you have " +
                                        std::to_string(expected.value) + "): read it again, then retry");
}

Error was_replaced(const Object& current, const std::string& expected_uid) {
  return Error(ErrorCode::conflict, "it was deleted and created anew (its uid is " + current.metadata().uid +
                                        ", you have " + expected_uid + "): read it again");
}

class Execution : private api::Others {
 public:
  explicit Execution(Staging& staging) : staging_(staging), removal_(staging) {}

  Result<void> check(const Unchanged& precondition) const {
    const auto* current = staging_.find(precondition.key);
    if (current == nullptr)
      return Error(ErrorCode::conflict,
                   precondition.key.to_text() + " does not exist any more: read again, then retry");
    if (current->metadata().resource_version != precondition.revision)
      return has_changed(*current, precondition.revision).within(precondition.key.to_text());
    return {};
  }
  Result<void> check(const Absent& precondition) const {
    if (staging_.find(precondition.key) != nullptr)
      return Error(ErrorCode::conflict, precondition.key.to_text() + " exists, but must not");
    return {};
  }
  Result<void> check(const HoldsLease& precondition) const { return staging_.check_holder(precondition); }

  Result<Object> run(Create& operation);
  Result<Object> run(const Update& operation);
  Result<Object> run(const Patch& operation);
  Result<Object> run(const Delete& operation);

 private:
  Result<std::string> generate_name(const api::Kind& kind, const Metadata& metadata);
  Result<void> check_namespace(const Metadata& metadata) const;
  Result<void> check_owners(const api::Kind& kind, const Metadata& metadata, const Metadata* before) const;
  Result<Object> change(const Object& current, const Object& wanted, Part part);
  const Object* find(const api::Kind& kind, const std::string& namespace_, const std::string& name) const override {
    return staging_.find({&kind, namespace_, name});
  }

  Staging& staging_;
  Removal removal_;
};

Result<std::string> Execution::generate_name(const api::Kind& kind, const Metadata& metadata) {
  const auto prefix = metadata.generate_name.substr(0, max_generated_prefix);
  for (int attempt = 0; attempt < name_attempts; ++attempt) {
    auto name = prefix + random_suffix(suffix_length, staging_.random());
    if (staging_.head().find(kind, {metadata.namespace_, name}) == nullptr) return name;
  }
  return Error(ErrorCode::already_exists,
               "no free name was found for generateName " + metadata.generate_name + ": use a longer prefix");
}

Result<void> Execution::check_namespace(const Metadata& metadata) const {
  const auto* found = staging_.head().find(api::kind_of<api::Namespace>(), {{}, metadata.namespace_});
  if (found == nullptr)
    return Error(ErrorCode::not_found, "namespace " + metadata.namespace_ + " does not exist: create it first");
  if (found->metadata().deletion_timestamp)
    return Error(ErrorCode::wrong_state,
                 "namespace " + metadata.namespace_ + " is being deleted: wait until it is gone, or use another one");
  return {};
}

Result<void> Execution::check_owners(const api::Kind& kind, const Metadata& metadata, const Metadata* before) const {
  for (std::size_t i = 0; i < metadata.owner_references.size(); ++i) {
    const auto& reference = metadata.owner_references[i];
    // An owner that went away while this one waits for its finalizers must not stand in the way of other
    // changes.
    const bool was_there =
        before != nullptr && std::any_of(before->owner_references.begin(), before->owner_references.end(),
                                         [&](const auto& other) { return other.uid == reference.uid; });
    if (was_there) continue;
    const auto field = "metadata.ownerReferences[" + std::to_string(i) + "]";
    const auto owner = find_owner(staging_, metadata, kind.info().scope == api::Scope::namespaced, reference);
    if (!owner) return field_error(field, FieldError::Reason::invalid, owner.error().message());
    if (*owner == nullptr)
      return Error(ErrorCode::conflict, field + ": the owner " + reference.kind + " " + reference.name + " with uid " +
                                            reference.uid + " does not exist: read the owner again, then retry");
    if (reference.uid == metadata.uid)
      return field_error(field, FieldError::Reason::invalid, "an object cannot own itself");
  }
  return {};
}

Result<Object> Execution::run(Create& operation) {
  auto& object = operation.object;
  const auto& kind = object.kind();
  auto name = object.metadata().name;
  if (name.empty() && !object.metadata().generate_name.empty()) {
    IRONCORE_TRY(name, generate_name(kind, object.metadata()));
  }
  IRONCORE_CHECK(kind.admit_create(object, {.name = std::move(name),
                                            .uid = Uid::random(staging_.random()).to_text(),
                                            .resource_version = staging_.next(),
                                            .creation_timestamp = staging_.timestamp()}));
  if (staging_.head().find(kind, name_of(object)) != nullptr)
    return Error(ErrorCode::already_exists, "it exists already");
  if (kind.info().scope == api::Scope::namespaced) {
    IRONCORE_CHECK(check_namespace(object.metadata()));
  }
  IRONCORE_CHECK(check_owners(kind, object.metadata(), nullptr));
  IRONCORE_CHECK(staging_.put(object));
  return object;
}

Result<Object> Execution::run(const Update& operation) {
  const auto* found = staging_.find(key_of(operation.object));
  if (found == nullptr) return is_missing();
  const Object current = *found;
  const auto& metadata = operation.object.metadata();
  if (metadata.resource_version == Revision{})
    return field_error("metadata.resourceVersion", FieldError::Reason::required,
                       "is required: an update replaces what you have read; or use a patch");
  if (!metadata.uid.empty() && metadata.uid != current.metadata().uid) return was_replaced(current, metadata.uid);
  if (metadata.resource_version != current.metadata().resource_version)
    return has_changed(current, metadata.resource_version);
  return change(current, operation.object, operation.part);
}

Result<Object> Execution::run(const Patch& operation) {
  const auto* found = staging_.find(operation.key);
  if (found == nullptr) return is_missing();
  const Object current = *found;
  IRONCORE_TRY(const auto wanted, api::apply_merge_patch(current, operation.merge_patch));
  const auto& metadata = wanted.metadata();
  if (!metadata.uid.empty() && metadata.uid != current.metadata().uid) return was_replaced(current, metadata.uid);
  if (metadata.resource_version != Revision{} && metadata.resource_version != current.metadata().resource_version)
    return has_changed(current, metadata.resource_version);
  if (metadata.name != current.metadata().name || metadata.namespace_ != current.metadata().namespace_)
    return field_error(metadata.name != current.metadata().name ? "metadata.name" : "metadata.namespace",
                       FieldError::Reason::forbidden, "is immutable: create another object and delete this one");
  return change(current, wanted, operation.part);
}

/// `wanted` has the name of `current`; everything else that the writer may not set is put right here.
Result<Object> Execution::change(const Object& current, const Object& wanted, Part part) {
  const auto& kind = current.kind();
  const auto& before = current.metadata();
  if (part == Part::status && !kind.has_status())
    return Error(ErrorCode::invalid,
                 std::string(kind.info().kind) + " objects have no status: write the object itself");

  auto metadata = part == Part::status ? before : wanted.metadata();
  metadata.generate_name = before.generate_name;
  metadata.uid = before.uid;
  metadata.resource_version = before.resource_version;
  metadata.generation = before.generation;
  metadata.creation_timestamp = before.creation_timestamp;
  metadata.deletion_timestamp = before.deletion_timestamp;
  if (before.deletion_timestamp)
    for (const auto& finalizer : metadata.finalizers)
      if (std::find(before.finalizers.begin(), before.finalizers.end(), finalizer) == before.finalizers.end())
        return Error(ErrorCode::wrong_state,
                     "finalizer " + finalizer + " cannot be added: the object is being deleted");
  const auto combined = part == Part::status ? kind.combine(current, wanted, std::move(metadata))
                                             : kind.combine(wanted, current, std::move(metadata));
  IRONCORE_TRY(auto admitted, kind.admit_update(current, combined));
  if (admitted == current) return current;
  IRONCORE_CHECK(kind.check_change_among(current, admitted, *this));
  IRONCORE_CHECK(check_owners(kind, admitted.metadata(), &before));

  const bool is_last_finalizer_gone =
      before.deletion_timestamp && !before.finalizers.empty() && admitted.metadata().finalizers.empty();
  if (is_last_finalizer_gone && !(current.is<api::Namespace>() && staging_.head().count_in(before.name) > 0)) {
    IRONCORE_CHECK(removal_.finish(admitted));
    IRONCORE_CHECK(removal_.settle());
    return admitted;
  }
  metadata = admitted.metadata();
  metadata.resource_version = staging_.next();
  if (!kind.is_same_spec(current, admitted)) ++metadata.generation;
  admitted = kind.with_metadata(std::move(admitted), std::move(metadata));
  IRONCORE_CHECK(staging_.put(admitted));
  return admitted;
}

Result<Object> Execution::run(const Delete& operation) {
  const auto* found = staging_.find(operation.key);
  if (found == nullptr) return is_missing();
  const Object current = *found;
  if (!operation.uid.empty() && operation.uid != current.metadata().uid) return was_replaced(current, operation.uid);
  if (operation.revision != Revision{} && operation.revision != current.metadata().resource_version)
    return has_changed(current, operation.revision);
  if (operation.propagation == Propagation::orphan) {
    IRONCORE_CHECK(removal_.orphan_dependents(current));
  }
  IRONCORE_TRY(auto last_state, removal_.start(current));
  IRONCORE_CHECK(removal_.settle());
  return last_state;
}

/// `create machine default/web-1`
std::string title(const Operation& operation) {
  if (const auto* create = std::get_if<Create>(&operation)) {
    auto key = key_of(create->object);
    if (key.name.empty()) key.name = create->object.metadata().generate_name;
    return "create " + key.to_text();
  }
  if (const auto* update = std::get_if<Update>(&operation)) return "update " + key_of(update->object).to_text();
  if (const auto* patch = std::get_if<Patch>(&operation)) return "patch " + patch->key.to_text();
  return "delete " + std::get<Delete>(operation).key.to_text();
}

const api::Kind* kind_in(const Operation& operation) {
  return std::visit(
      [](const auto& one) -> const api::Kind* {
        if constexpr (requires { one.key; }) {
          return one.key.kind;
        } else {
          return &one.object.kind();
        }
      },
      operation);
}

bool is_known(const api::Kind* kind) {
  const auto all = api::kinds();
  return std::find(all.begin(), all.end(), kind) != all.end();
}

Result<void> run_all(Staging& staging, Transaction& transaction, Committed& committed) {
  Execution execution(staging);
  if (transaction.operations.size() > max_operations)
    return Error(ErrorCode::exhausted, "a transaction may have " + std::to_string(max_operations) +
                                           " operations, this one has " +
                                           std::to_string(transaction.operations.size()) + ": split it");
  for (const auto& precondition : transaction.preconditions) {
    IRONCORE_CHECK(std::visit([&](const auto& one) { return execution.check(one); }, precondition));
  }
  committed.objects.reserve(transaction.operations.size());
  for (std::size_t i = 0; i < transaction.operations.size(); ++i) {
    auto& operation = transaction.operations[i];
    auto result = is_known(kind_in(operation))
                      ? std::visit([&](auto& one) { return execution.run(one); }, operation)
                      : Result<Object>(Error(ErrorCode::unsupported, "this store does not know the kind"));
    if (!result) {
      auto error = std::move(result).error().within(title(operation));
      return transaction.operations.size() == 1 ? error : std::move(error).within("operation " + std::to_string(i + 1));
    }
    committed.objects.push_back(*std::move(result));
  }
  return {};
}

}  // namespace

Result<Committed> execute(Staging& staging, Transaction& transaction) {
  const auto size = staging.begin_transaction();
  Committed committed;
  if (auto result = run_all(staging, transaction, committed); !result) {
    staging.roll_back(size);
    return std::move(result).error();
  }
  committed.revision = staging.last();
  return committed;
}

}  // namespace ironcore::store::local_store
