// SPDX-License-Identifier: Apache-2.0
// Between the store's values and the records of the wire.
#pragma once

#include <functional>
#include <map>
#include <string>
#include <string_view>

#include "ironcore/store/store.hpp"
#include "wire.hpp"

namespace ironcore::store::zmq {

/// Kinds by the word that stands for them in messages. Thread: any (immutable).
class KindTable {
 public:
  KindTable();
  /// Null when this build does not know it.
  const api::Kind* find(Text resource) const;
  Text resource(const api::Kind& kind) const;

 private:
  std::map<std::string, const api::Kind*, std::less<>> by_resource_;
  std::map<const api::Kind*, Text> names_;
};

/// `invalid` for a resource that this build does not know.
Result<const api::Kind*> kind_of(Text resource, const KindTable& kinds);
Result<Key> key_of(const KeyRecord& record, const KindTable& kinds);
KeyRecord to_record(const Key& key, const KindTable& kinds);

/// The views of the record point into this object and into `query`.
struct EncodedQuery {
  EncodedQuery(const Query& query, const KindTable& kinds);
  EncodedQuery(const EncodedQuery&) = delete;
  EncodedQuery& operator=(const EncodedQuery&) = delete;
  std::string labels;
  std::string fields;
  QueryRecord record;
};
/// Checked: `invalid` also for a field that the kind does not have.
Result<Query> query_of(const QueryRecord& record, const KindTable& kinds);

/// The views of `request` point into this object and into the transaction.
struct EncodedTransaction {
  EncodedTransaction(const Transaction& transaction, const KindTable& kinds);
  EncodedTransaction(const EncodedTransaction&) = delete;
  EncodedTransaction& operator=(const EncodedTransaction&) = delete;
  std::vector<std::string> texts;
  CommitRequest request;
  /// About what the request takes as a message: room to reserve.
  std::size_t expected_bytes() const;
};
/// Told of each member that this program does not know, with its path.
using NoteUnknown = std::function<void(const api::Kind& kind, std::string_view field)>;
Result<Transaction> transaction_of(const CommitRequest& request, const KindTable& kinds, const NoteUnknown& note = {});

using ironcore::wire::error_of;
using ironcore::wire::to_record;
LeaseRecord to_record(const Lease& lease);
Lease lease_of(const LeaseRecord& record);

ChangeType to_record(Change::Type type);

/// What the placement field of an object says; empty when the kind has none or nothing stands there.
std::string placement_of(const Object& object);

/// `machines.compute.ironcore.dev/` and `machines.compute.ironcore.dev/pool-a/`.
std::string resource_topic(Text resource);
std::string placed_topic(Text resource, Text placement);

}  // namespace ironcore::store::zmq
