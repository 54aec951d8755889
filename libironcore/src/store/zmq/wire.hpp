// SPDX-License-Identifier: Apache-2.0
// The messages: what stands in each one. docs/wire.md shows the bytes; tests/store/zmq/golden holds one of each.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "../../base/wire/envelope.hpp"
#include "ironcore/base/result.hpp"
#include "ironcore/store/zmq_context.hpp"

namespace ironcore::store::zmq {

struct HelloRequest {
  static constexpr MessageType type = MessageType::hello;
  Text program;
};
struct HelloReply {
  static constexpr MessageType type = reply_to(MessageType::hello);
  Text program;
  Text epoch;
  std::uint64_t instance = 0;  ///< random, of this start of the server
  std::uint64_t revision = 0;
  std::uint32_t heartbeat_ms = 0;
  std::uint16_t changes_port = 0;  ///< 0 on ipc
  std::uint16_t streams_port = 0;
};

struct KeyRecord {
  static constexpr std::size_t least_bytes = 12;
  Text resource;
  Text namespace_;
  Text name;
};
struct GetRequest {
  static constexpr MessageType type = MessageType::get;
  KeyRecord key;
};
struct GetReply {
  static constexpr MessageType type = reply_to(MessageType::get);
  Text json;
};

struct QueryRecord {
  Text resource;
  Text namespace_;
  Text labels;
  Text fields;
};
struct ListRequest {
  static constexpr MessageType type = MessageType::list;
  QueryRecord query;
  std::uint32_t limit = 0;
  Text continue_at;
};
struct ListReply {
  static constexpr MessageType type = reply_to(MessageType::list);
  Text epoch;
  std::uint64_t revision = 0;
  Text continue_at;
  std::vector<Text> objects;
};

enum class OperationType : std::uint8_t { create = 1, update, patch, remove };
constexpr OperationType wire_last(OperationType) {
  return OperationType::remove;
}
enum class PartType : std::uint8_t { object = 1, status };
constexpr PartType wire_last(PartType) {
  return PartType::status;
}
enum class PropagationType : std::uint8_t { cascade = 1, orphan };
constexpr PropagationType wire_last(PropagationType) {
  return PropagationType::orphan;
}

struct OperationRecord {
  static constexpr std::size_t least_bytes = 1 + KeyRecord::least_bytes + 4 + 1 + 8 + 4 + 1;
  OperationType operation = OperationType::create;
  KeyRecord key;                                           ///< create, update: only the resource
  Text json;                                               ///< the object, or the merge patch
  PartType part = PartType::object;                        ///< update, patch
  std::uint64_t revision = 0;                              ///< delete
  Text uid;                                                ///< delete
  PropagationType propagation = PropagationType::cascade;  ///< delete
};
enum class PreconditionType : std::uint8_t { unchanged = 1, absent, holds_lease };
constexpr PreconditionType wire_last(PreconditionType) {
  return PreconditionType::holds_lease;
}
struct PreconditionRecord {
  static constexpr std::size_t least_bytes = 1 + KeyRecord::least_bytes + 8;
  PreconditionType precondition = PreconditionType::unchanged;
  KeyRecord key;             ///< holds_lease: only the name
  std::uint64_t number = 0;  ///< unchanged: the revision; holds_lease: the token
};
struct CommitRequest {
  static constexpr MessageType type = MessageType::commit;
  std::uint64_t id_high = 0;  ///< random: the same commit sent again has the same
  std::uint64_t id_low = 0;
  std::uint64_t instance = 0;  ///< of the server that the sender means
  std::vector<OperationRecord> operations;
  std::vector<PreconditionRecord> preconditions;
};
struct ObjectRecord {
  static constexpr std::size_t least_bytes = 8;
  Text resource;
  Text json;
};
struct CommitReply {
  static constexpr MessageType type = reply_to(MessageType::commit);
  std::uint64_t revision = 0;
  std::vector<ObjectRecord> objects;
};

enum class ChangeType : std::uint8_t {
  added = 1,
  modified,
  deleted,
  entered,  ///< published only: modified, and came from another topic
  left,     ///< published only: went to another topic; no object
};
constexpr ChangeType wire_last(ChangeType) {
  return ChangeType::left;
}
struct ChangesRequest {
  static constexpr MessageType type = MessageType::changes;
  QueryRecord query;
  Text epoch;  ///< that `from` belongs to; empty = the server's
  std::uint64_t from = 0;
  std::uint32_t limit = 0;
};
struct ChangeRecord {
  static constexpr std::size_t least_bytes = 1 + 8 + 4;
  ChangeType change = ChangeType::added;
  std::uint64_t revision = 0;
  Text json;
};
struct ChangesReply {
  static constexpr MessageType type = reply_to(MessageType::changes);
  Text epoch;
  std::uint64_t through = 0;  ///< everything up to here is answered
  bool is_pushed = false;     ///< the sender may subscribe to the topic of this query
  bool has_more = false;      ///< ask again from `through`
  std::vector<ChangeRecord> changes;
};

struct RevisionRequest {
  static constexpr MessageType type = MessageType::revision;
};
struct RevisionReply {
  static constexpr MessageType type = reply_to(MessageType::revision);
  std::uint64_t revision = 0;
};

struct LeaseRecord {
  static constexpr std::size_t least_bytes = 4 + 4 + 8 + 8 + 8 + 1;
  Text name;
  Text holder;
  std::uint64_t token = 0;
  std::uint64_t time_to_live_ns = 0;
  std::uint64_t renewals = 0;
  bool is_held = false;
};
struct AcquireLeaseRequest {
  static constexpr MessageType type = MessageType::acquire_lease;
  Text name;
  Text holder;
  std::uint64_t time_to_live_ns = 0;
};
struct AcquireLeaseReply {
  static constexpr MessageType type = reply_to(MessageType::acquire_lease);
  LeaseRecord lease;
};
struct ReleaseLeaseRequest {
  static constexpr MessageType type = MessageType::release_lease;
  Text name;
  std::uint64_t token = 0;
};
struct ReleaseLeaseReply {
  static constexpr MessageType type = reply_to(MessageType::release_lease);
};
struct LeasesRequest {
  static constexpr MessageType type = MessageType::leases;
  Text prefix;
};
struct LeasesReply {
  static constexpr MessageType type = reply_to(MessageType::leases);
  std::vector<LeaseRecord> leases;
};

/// To a commit that names another start of the server: it was not carried out by this one.
struct RestartedReply {
  static constexpr MessageType type = MessageType::restarted;
  std::uint64_t instance = 0;
};

// ---- published: topic, a zero byte, then the message ------------------------------------------------------------

struct ChangeMessage {
  static constexpr MessageType type = MessageType::change;
  Text epoch;
  std::uint64_t revision = 0;
  std::uint64_t previous_on_topic = 0;     ///< revision of the change before on this topic, or a later one
  std::uint64_t previous_of_resource = 0;  ///< the same over all topics of this resource
  ChangeType change = ChangeType::added;
  bool has_same_labels = false;  ///< as the version before
  Text namespace_;
  Text name;
  Text json;  ///< empty = too large or not for everybody: ask
};
/// What a subscriber of this topic must have seen by now.
struct BookmarkMessage {
  static constexpr MessageType type = MessageType::bookmark;
  Text epoch;
  std::uint64_t revision = 0;       ///< everything up to here has been published
  std::uint64_t last_on_topic = 0;  ///< 0 = this is for subscribers of the whole resource
  std::uint64_t last_of_resource = 0;
};
/// On topic `~`.
struct HeartbeatMessage {
  static constexpr MessageType type = MessageType::heartbeat;
  Text epoch;
  std::uint64_t instance = 0;
  std::uint64_t revision = 0;
};
inline constexpr std::string_view heartbeat_topic = "~";

// ---- streams ----------------------------------------------------------------------------------------------------

struct GrantStreamRequest {
  static constexpr MessageType type = MessageType::grant_stream;
  KeyRecord key;
  Text what;
};
struct GrantStreamReply {
  static constexpr MessageType type = reply_to(MessageType::grant_stream);
  std::uint64_t grant_high = 0;
  std::uint64_t grant_low = 0;
};
/// A worker says what it serves; repeated as its sign of life.
struct ServeStreams {
  static constexpr MessageType type = MessageType::serve_streams;
  Text resource;
  Text pool;
};
struct ServeStreamsReply {
  static constexpr MessageType type = reply_to(MessageType::serve_streams);
  std::uint64_t instance = 0;  ///< another one than before: the streams are gone
};
struct OpenStream {
  static constexpr MessageType type = MessageType::open_stream;
  std::uint64_t grant_high = 0;
  std::uint64_t grant_low = 0;
  std::uint32_t credit = 0;
};
/// To the worker. It answers with `accept_stream` or `close_stream`.
struct OfferStream {
  static constexpr MessageType type = MessageType::offer_stream;
  KeyRecord key;
  Text uid;
  Text what;
  Text identity;
  std::uint32_t credit = 0;
};
struct AcceptStream {
  static constexpr MessageType type = MessageType::accept_stream;
  std::uint32_t credit = 0;
};
struct StreamData {
  static constexpr MessageType type = MessageType::stream_data;
  Text bytes;
};
struct StreamCredit {
  static constexpr MessageType type = MessageType::stream_credit;
  std::uint32_t credit = 0;
};
/// An orderly end, or with an error.
struct CloseStream {
  static constexpr MessageType type = MessageType::close_stream;
  ErrorReply error;
};
struct Ping {
  static constexpr MessageType type = MessageType::ping;
};

// ---- bytes ------------------------------------------------------------------------------------------------------

/// Splits a published message; `topic` ends with the zero byte.
bool split_topic(std::string_view published, std::string_view& topic, std::string_view& message) noexcept;

}  // namespace ironcore::store::zmq
