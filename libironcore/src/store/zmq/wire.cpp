// SPDX-License-Identifier: Apache-2.0
// Messages to bytes and back; the only file that knows cereal.
#include "wire.hpp"

#include "archive.hpp"

namespace ironcore::store::zmq {

// One function per record, for both directions: the order here is the order on the wire.
#define IRONCORE_WIRE(Record, ...)                   \
  template <class Archive>                           \
  void serialize(Archive& archive, Record& record) { \
    static_cast<void>(archive);                      \
    static_cast<void>(record);                       \
    __VA_ARGS__;                                     \
  }

IRONCORE_WIRE(HelloRequest, archive(record.program))
IRONCORE_WIRE(HelloReply, archive(record.program, record.epoch, record.instance, record.revision, record.heartbeat_ms,
                                  record.changes_port, record.streams_port))
IRONCORE_WIRE(KeyRecord, archive(record.resource, record.namespace_, record.name))
IRONCORE_WIRE(GetRequest, archive(record.key))
IRONCORE_WIRE(GetReply, archive(record.json))
IRONCORE_WIRE(QueryRecord, archive(record.resource, record.namespace_, record.labels, record.fields))
IRONCORE_WIRE(ListRequest, archive(record.query, record.limit, record.continue_at))
IRONCORE_WIRE(ListReply, archive(record.epoch, record.revision, record.continue_at, record.objects))
IRONCORE_WIRE(OperationRecord, archive(Byte{record.operation}, record.key, record.json, Byte{record.part},
                                       record.revision, record.uid, Byte{record.propagation}))
IRONCORE_WIRE(PreconditionRecord, archive(Byte{record.precondition}, record.key, record.number))
IRONCORE_WIRE(CommitRequest,
              archive(record.id_high, record.id_low, record.instance, record.operations, record.preconditions))
IRONCORE_WIRE(ObjectRecord, archive(record.resource, record.json))
IRONCORE_WIRE(CommitReply, archive(record.revision, record.objects))
IRONCORE_WIRE(ChangesRequest, archive(record.query, record.epoch, record.from, record.limit))
IRONCORE_WIRE(ChangeRecord, archive(Byte{record.change}, record.revision, record.json))
IRONCORE_WIRE(ChangesReply, archive(record.epoch, record.through, record.is_pushed, record.has_more, record.changes))
IRONCORE_WIRE(RevisionRequest)
IRONCORE_WIRE(RevisionReply, archive(record.revision))
IRONCORE_WIRE(LeaseRecord, archive(record.name, record.holder, record.token, record.time_to_live_ns, record.renewals,
                                   record.is_held))
IRONCORE_WIRE(AcquireLeaseRequest, archive(record.name, record.holder, record.time_to_live_ns))
IRONCORE_WIRE(AcquireLeaseReply, archive(record.lease))
IRONCORE_WIRE(ReleaseLeaseRequest, archive(record.name, record.token))
IRONCORE_WIRE(ReleaseLeaseReply)
IRONCORE_WIRE(LeasesRequest, archive(record.prefix))
IRONCORE_WIRE(LeasesReply, archive(record.leases))
IRONCORE_WIRE(FieldRecord, archive(record.field, record.reason, record.message))
IRONCORE_WIRE(ErrorReply, archive(record.code, record.message, record.fields))
IRONCORE_WIRE(RestartedReply, archive(record.instance))
IRONCORE_WIRE(ChangeMessage,
              archive(record.epoch, record.revision, record.previous_on_topic, record.previous_of_resource,
                      Byte{record.change}, record.has_same_labels, record.namespace_, record.name, record.json))
IRONCORE_WIRE(BookmarkMessage, archive(record.epoch, record.revision, record.last_on_topic, record.last_of_resource))
IRONCORE_WIRE(HeartbeatMessage, archive(record.epoch, record.instance, record.revision))
IRONCORE_WIRE(GrantStreamRequest, archive(record.key, record.what))
IRONCORE_WIRE(GrantStreamReply, archive(record.grant_high, record.grant_low))
IRONCORE_WIRE(ServeStreams, archive(record.resource, record.pool))
IRONCORE_WIRE(ServeStreamsReply, archive(record.instance))
IRONCORE_WIRE(OpenStream, archive(record.grant_high, record.grant_low, record.credit))
IRONCORE_WIRE(OfferStream, archive(record.key, record.uid, record.what, record.identity, record.credit))
IRONCORE_WIRE(AcceptStream, archive(record.credit))
IRONCORE_WIRE(StreamData, archive(record.bytes))
IRONCORE_WIRE(StreamCredit, archive(record.credit))
IRONCORE_WIRE(CloseStream, archive(record.error))
IRONCORE_WIRE(Ping)
#undef IRONCORE_WIRE

template <class Record>
void encode(std::string& out, std::uint64_t request_id, std::uint32_t deadline_ms, const Record& record) {
  const auto start = out.size();
  OutputArchive archive(out);
  archive.put_bytes(magic);
  archive.put(protocol_version);
  archive.put(static_cast<std::uint16_t>(Record::type));
  archive.put(request_id);
  archive.put(deadline_ms);
  archive.put(std::uint32_t{0});
  archive(record);
  const auto body = static_cast<std::uint32_t>(out.size() - start - header_bytes);
  for (std::size_t i = 0; i < 4; ++i)
    out[start + 20 + i] = static_cast<char>(static_cast<unsigned char>(body >> (8 * i)));
}

Result<void> decode_header(std::string_view message, Header& header) {
  BoundedInputArchive archive(message);
  if (archive.take_bytes(magic.size()) != magic) return Error(ErrorCode::corrupt, "not a message of this protocol");
  header.version = archive.take<std::uint16_t>();
  header.type = static_cast<MessageType>(archive.take<std::uint16_t>());
  header.request_id = archive.take<std::uint64_t>();
  if (archive.has_failed()) return Error(ErrorCode::corrupt, "message is cut off in its header");
  if (header.version != protocol_version) {
    return Error(ErrorCode::unsupported, "the message is of protocol version " + std::to_string(header.version) +
                                             ", this program speaks version " + std::to_string(protocol_version) +
                                             ": install the same release on both sides");
  }
  header.deadline_ms = archive.take<std::uint32_t>();
  const auto body = archive.take<std::uint32_t>();
  if (archive.has_failed()) return Error(ErrorCode::corrupt, "message is cut off in its header");
  if (body != archive.left()) return Error(ErrorCode::corrupt, "the message's length is not what its header says");
  return {};
}

template <class Record>
Result<Record> decode(std::string_view message) {
  BoundedInputArchive archive(message.substr(header_bytes));
  Record record;
  archive(record);
  if (archive.has_failed()) return Error(ErrorCode::corrupt, "message is damaged: a size or value in it cannot be");
  if (archive.left() != 0) return Error(ErrorCode::corrupt, "message is damaged: bytes are left over at its end");
  return record;
}

bool split_topic(std::string_view published, std::string_view& topic, std::string_view& message) noexcept {
  const auto end = published.find('\0');
  if (end == std::string_view::npos) return false;
  topic = published.substr(0, end);
  message = published.substr(end + 1);
  return true;
}

#define IRONCORE_WIRE(Record)                                                              \
  template void encode<Record>(std::string&, std::uint64_t, std::uint32_t, const Record&); \
  template Result<Record> decode<Record>(std::string_view);
IRONCORE_WIRE(HelloRequest)
IRONCORE_WIRE(HelloReply)
IRONCORE_WIRE(GetRequest)
IRONCORE_WIRE(GetReply)
IRONCORE_WIRE(ListRequest)
IRONCORE_WIRE(ListReply)
IRONCORE_WIRE(CommitRequest)
IRONCORE_WIRE(CommitReply)
IRONCORE_WIRE(ChangesRequest)
IRONCORE_WIRE(ChangesReply)
IRONCORE_WIRE(RevisionRequest)
IRONCORE_WIRE(RevisionReply)
IRONCORE_WIRE(AcquireLeaseRequest)
IRONCORE_WIRE(AcquireLeaseReply)
IRONCORE_WIRE(ReleaseLeaseRequest)
IRONCORE_WIRE(ReleaseLeaseReply)
IRONCORE_WIRE(LeasesRequest)
IRONCORE_WIRE(LeasesReply)
IRONCORE_WIRE(ErrorReply)
IRONCORE_WIRE(RestartedReply)
IRONCORE_WIRE(ChangeMessage)
IRONCORE_WIRE(BookmarkMessage)
IRONCORE_WIRE(HeartbeatMessage)
IRONCORE_WIRE(GrantStreamRequest)
IRONCORE_WIRE(GrantStreamReply)
IRONCORE_WIRE(ServeStreams)
IRONCORE_WIRE(ServeStreamsReply)
IRONCORE_WIRE(OpenStream)
IRONCORE_WIRE(OfferStream)
IRONCORE_WIRE(AcceptStream)
IRONCORE_WIRE(StreamData)
IRONCORE_WIRE(StreamCredit)
IRONCORE_WIRE(CloseStream)
IRONCORE_WIRE(Ping)

}  // namespace ironcore::store::zmq
