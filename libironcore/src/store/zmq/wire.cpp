// SPDX-License-Identifier: Apache-2.0
// Messages to bytes and back; the only file that knows cereal.
#include "wire.hpp"

#include "../../base/wire/records.hpp"

namespace ironcore::store::zmq {

// The order here is the order on the wire.
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
bool split_topic(std::string_view published, std::string_view& topic, std::string_view& message) noexcept {
  const auto end = published.find('\0');
  if (end == std::string_view::npos) return false;
  topic = published.substr(0, end);
  message = published.substr(end + 1);
  return true;
}

}  // namespace ironcore::store::zmq

namespace ironcore::wire {
IRONCORE_WIRE_RECORD(store::zmq::HelloRequest)
IRONCORE_WIRE_RECORD(store::zmq::HelloReply)
IRONCORE_WIRE_RECORD(store::zmq::GetRequest)
IRONCORE_WIRE_RECORD(store::zmq::GetReply)
IRONCORE_WIRE_RECORD(store::zmq::ListRequest)
IRONCORE_WIRE_RECORD(store::zmq::ListReply)
IRONCORE_WIRE_RECORD(store::zmq::CommitRequest)
IRONCORE_WIRE_RECORD(store::zmq::CommitReply)
IRONCORE_WIRE_RECORD(store::zmq::ChangesRequest)
IRONCORE_WIRE_RECORD(store::zmq::ChangesReply)
IRONCORE_WIRE_RECORD(store::zmq::RevisionRequest)
IRONCORE_WIRE_RECORD(store::zmq::RevisionReply)
IRONCORE_WIRE_RECORD(store::zmq::AcquireLeaseRequest)
IRONCORE_WIRE_RECORD(store::zmq::AcquireLeaseReply)
IRONCORE_WIRE_RECORD(store::zmq::ReleaseLeaseRequest)
IRONCORE_WIRE_RECORD(store::zmq::ReleaseLeaseReply)
IRONCORE_WIRE_RECORD(store::zmq::LeasesRequest)
IRONCORE_WIRE_RECORD(store::zmq::LeasesReply)
IRONCORE_WIRE_RECORD(store::zmq::RestartedReply)
IRONCORE_WIRE_RECORD(store::zmq::ChangeMessage)
IRONCORE_WIRE_RECORD(store::zmq::BookmarkMessage)
IRONCORE_WIRE_RECORD(store::zmq::HeartbeatMessage)
IRONCORE_WIRE_RECORD(store::zmq::GrantStreamRequest)
IRONCORE_WIRE_RECORD(store::zmq::GrantStreamReply)
IRONCORE_WIRE_RECORD(store::zmq::ServeStreams)
IRONCORE_WIRE_RECORD(store::zmq::ServeStreamsReply)
IRONCORE_WIRE_RECORD(store::zmq::OpenStream)
IRONCORE_WIRE_RECORD(store::zmq::OfferStream)
IRONCORE_WIRE_RECORD(store::zmq::AcceptStream)
IRONCORE_WIRE_RECORD(store::zmq::StreamData)
IRONCORE_WIRE_RECORD(store::zmq::StreamCredit)
IRONCORE_WIRE_RECORD(store::zmq::CloseStream)
IRONCORE_WIRE_RECORD(store::zmq::Ping)
}  // namespace ironcore::wire
