// SPDX-License-Identifier: Apache-2.0
// Between the store's values and the records of the wire.
#include "codec.hpp"

#include <utility>

namespace ironcore::store::zmq {

namespace {

PartType to_record(Part part) {
  return part == Part::status ? PartType::status : PartType::object;
}
Part part_of(PartType part) {
  return part == PartType::status ? Part::status : Part::object;
}

void note_unknown(const api::Kind& kind, const Error& error, const NoteUnknown& note) {
  for (const auto& field : error.fields())
    if (field.reason == FieldError::Reason::unknown) note(kind, field.field);
}

/// Nearly always nothing is unknown: then it is decoded once.
Result<Object> decode_object(const api::Kind& kind, Text json, const NoteUnknown& note) {
  if (note) {
    auto object = kind.decode(json, api::UnknownFields::refuse);
    if (object) return object;
    note_unknown(kind, object.error(), note);
  }
  return kind.decode(json);
}

Result<Operation> operation_of(const OperationRecord& record, const KindTable& kinds, const NoteUnknown& note) {
  IRONCORE_TRY(auto key, key_of(record.key, kinds));
  switch (record.operation) {
    case OperationType::create: {
      IRONCORE_TRY(auto object, decode_object(*key.kind, record.json, note));
      return Operation(Create{std::move(object)});
    }
    case OperationType::update: {
      IRONCORE_TRY(auto object, decode_object(*key.kind, record.json, note));
      return Operation(Update{std::move(object), part_of(record.part)});
    }
    case OperationType::patch:
      // Read as an object it lacks much, but what it has is known or not.
      if (note) {
        if (const auto read = key.kind->decode(record.json, api::UnknownFields::refuse); !read)
          note_unknown(*key.kind, read.error(), note);
      }
      return Operation(Patch{std::move(key), std::string(record.json), part_of(record.part)});
    case OperationType::remove:
      return Operation(
          Delete{std::move(key), Revision{record.revision}, std::string(record.uid),
                 record.propagation == PropagationType::orphan ? Propagation::orphan : Propagation::cascade});
  }
  return Error(ErrorCode::invalid, "unknown operation");
}

Result<Precondition> precondition_of(const PreconditionRecord& record, const KindTable& kinds) {
  if (record.precondition == PreconditionType::holds_lease)
    return Precondition(HoldsLease{std::string(record.key.name), record.number});
  IRONCORE_TRY(auto key, key_of(record.key, kinds));
  if (record.precondition == PreconditionType::absent) return Precondition(Absent{std::move(key)});
  return Precondition(Unchanged{std::move(key), Revision{record.number}});
}

}  // namespace

KindTable::KindTable() {
  for (const auto* kind : api::kinds()) {
    const auto at = by_resource_.emplace(kind->resource(), kind).first;
    names_.emplace(kind, at->first);
  }
}
const api::Kind* KindTable::find(Text resource) const {
  const auto at = by_resource_.find(resource);
  return at == by_resource_.end() ? nullptr : at->second;
}
Text KindTable::resource(const api::Kind& kind) const {
  const auto at = names_.find(&kind);
  return at == names_.end() ? Text() : at->second;
}

Result<const api::Kind*> kind_of(Text resource, const KindTable& kinds) {
  if (const auto* kind = kinds.find(resource)) return kind;
  return Error(ErrorCode::invalid, "the server does not know the resource '" + std::string(resource.substr(0, 128)) +
                                       "': install the same release on both sides");
}
Result<Key> key_of(const KeyRecord& record, const KindTable& kinds) {
  IRONCORE_TRY(const auto* kind, kind_of(record.resource, kinds));
  return Key{kind, std::string(record.namespace_), std::string(record.name)};
}
KeyRecord to_record(const Key& key, const KindTable& kinds) {
  return {key.kind == nullptr ? Text() : kinds.resource(*key.kind), key.namespace_, key.name};
}

EncodedQuery::EncodedQuery(const Query& query, const KindTable& kinds)
    : labels(query.labels.to_text()), fields(query.fields.to_text()) {
  record = {query.kind == nullptr ? Text() : kinds.resource(*query.kind), query.namespace_, labels, fields};
}
Result<Query> query_of(const QueryRecord& record, const KindTable& kinds) {
  IRONCORE_TRY(const auto* kind, kind_of(record.resource, kinds));
  Query query{.kind = kind, .namespace_ = std::string(record.namespace_), .labels = {}, .fields = {}};
  if (!record.labels.empty()) {
    IRONCORE_TRY(query.labels, LabelSelector::parse(record.labels));
  }
  if (!record.fields.empty()) {
    IRONCORE_TRY(query.fields, FieldSelector::parse(record.fields));
    IRONCORE_CHECK(query.check());
  }
  return query;
}

EncodedTransaction::EncodedTransaction(const Transaction& transaction, const KindTable& kinds) {
  request.operations.reserve(transaction.operations.size());
  texts.reserve(transaction.operations.size());  // so that none moves while there are views of it
  for (const auto& operation : transaction.operations) {
    auto& record = request.operations.emplace_back();
    if (const auto* create = std::get_if<Create>(&operation)) {
      record.operation = OperationType::create;
      record.key.resource = kinds.resource(create->object.kind());
      record.json = texts.emplace_back(create->object.json());
    } else if (const auto* update = std::get_if<Update>(&operation)) {
      record.operation = OperationType::update;
      record.key.resource = kinds.resource(update->object.kind());
      record.json = texts.emplace_back(update->object.json());
      record.part = to_record(update->part);
    } else if (const auto* patch = std::get_if<Patch>(&operation)) {
      record.operation = OperationType::patch;
      record.key = zmq::to_record(patch->key, kinds);
      record.json = patch->merge_patch;
      record.part = to_record(patch->part);
    } else if (const auto* removal = std::get_if<Delete>(&operation)) {
      record.operation = OperationType::remove;
      record.key = zmq::to_record(removal->key, kinds);
      record.revision = removal->revision.value;
      record.uid = removal->uid;
      record.propagation =
          removal->propagation == Propagation::orphan ? PropagationType::orphan : PropagationType::cascade;
    }
  }
  request.preconditions.reserve(transaction.preconditions.size());
  for (const auto& precondition : transaction.preconditions) {
    auto& record = request.preconditions.emplace_back();
    if (const auto* unchanged = std::get_if<Unchanged>(&precondition)) {
      record = {PreconditionType::unchanged, zmq::to_record(unchanged->key, kinds), unchanged->revision.value};
    } else if (const auto* absent = std::get_if<Absent>(&precondition)) {
      record = {PreconditionType::absent, zmq::to_record(absent->key, kinds), 0};
    } else if (const auto* lease = std::get_if<HoldsLease>(&precondition)) {
      record = {PreconditionType::holds_lease, {{}, {}, lease->name}, lease->token};
    }
  }
}

std::size_t EncodedTransaction::expected_bytes() const {
  std::size_t bytes = 128 + 128 * request.preconditions.size();
  for (const auto& record : request.operations) bytes += 128 + record.json.size();
  return bytes;
}

Result<Transaction> transaction_of(const CommitRequest& request, const KindTable& kinds, const NoteUnknown& note) {
  if (request.operations.size() > max_operations) {
    return Error(ErrorCode::exhausted, "transaction has " + std::to_string(request.operations.size()) +
                                           " operations, at most " + std::to_string(max_operations) + " are allowed");
  }
  Transaction transaction;
  transaction.operations.reserve(request.operations.size());
  for (std::size_t i = 0; i < request.operations.size(); ++i) {
    auto operation = operation_of(request.operations[i], kinds, note);
    if (!operation) {
      if (request.operations.size() == 1) return std::move(operation).error();
      return std::move(operation).error().within("operation " + std::to_string(i + 1));
    }
    transaction.operations.push_back(std::move(*operation));
  }
  transaction.preconditions.reserve(request.preconditions.size());
  for (const auto& record : request.preconditions) {
    IRONCORE_TRY(auto precondition, precondition_of(record, kinds));
    transaction.preconditions.push_back(std::move(precondition));
  }
  return transaction;
}

LeaseRecord to_record(const Lease& lease) {
  return {lease.name,     lease.holder, lease.token, static_cast<std::uint64_t>(lease.time_to_live.count()),
          lease.renewals, lease.is_held};
}
Lease lease_of(const LeaseRecord& record) {
  return {std::string(record.name),
          std::string(record.holder),
          record.token,
          Duration(static_cast<Duration::rep>(record.time_to_live_ns & INT64_MAX)),
          record.renewals,
          record.is_held};
}

ChangeType to_record(Change::Type type) {
  switch (type) {
    case Change::Type::added:
      return ChangeType::added;
    case Change::Type::deleted:
      return ChangeType::deleted;
    default:
      return ChangeType::modified;
  }
}

std::string placement_of(const Object& object) {
  const auto path = object.kind().info().placement;
  if (path.empty()) return {};
  return api::field_text(object, path).value_or(std::string());
}

std::string resource_topic(Text resource) {
  return std::string(resource) + '/';
}
std::string placed_topic(Text resource, Text placement) {
  std::string topic;
  topic.reserve(resource.size() + placement.size() + 2);
  return topic.append(resource).append(1, '/').append(placement).append(1, '/');
}

}  // namespace ironcore::store::zmq
