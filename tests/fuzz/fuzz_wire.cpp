// SPDX-License-Identifier: Apache-2.0
// Any bytes as a message of the wire: what is accepted is written back byte for byte, and its content turns into values or an error.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "codec.hpp"
#include "wire.hpp"

using namespace ironcore;
using namespace ironcore::store::zmq;

namespace {

void require(bool holds) {
  if (!holds) std::abort();
}

const KindTable& kinds() {
  static const KindTable table;
  return table;
}

void query(const QueryRecord& record) {
  const auto value = query_of(record, kinds());
  if (!value) return;
  const EncodedQuery again(*value, kinds());
  const auto same = query_of(again.record, kinds());
  require(same && same->labels == value->labels && same->fields == value->fields);
}

// What a record's content turns into; most stand for themselves.
template <class Record>
void content(const Record&) {}
void content(const ListRequest& record) {
  query(record.query);
}
void content(const ChangesRequest& record) {
  query(record.query);
}
void content(const CommitRequest& record) {
  const auto value = transaction_of(record, kinds());
  if (!value) return;
  const EncodedTransaction again(*value, kinds());
  require(again.request.operations.size() == record.operations.size());
  require(transaction_of(again.request, kinds()).has_value());
}
void content(const AcquireLeaseReply& record) {
  lease_of(record.lease);
}
void content(const ErrorReply& record) {
  const auto value = error_of(record);
  require(error_of(to_record(value)) == value);
}
void content(const CloseStream& record) {
  content(record.error);
}

/// What is accepted can be written in no other way.
template <class Record>
void try_as(std::string_view message, const Header& header) {
  if (header.type != Record::type) return;
  const auto record = decode<Record>(message);
  if (!record) return require(record.error().code() == ErrorCode::corrupt);
  require(encode(header.request_id, header.deadline_ms, *record) == message);
  content(*record);
}

template <class... Records>
void try_all(std::string_view message, const Header& header) {
  (try_as<Records>(message, header), ...);
}

void one(std::string_view message) {
  Header header;
  if (!decode_header(message, header)) return;
  try_all<HelloRequest, HelloReply, GetRequest, GetReply, ListRequest, ListReply, CommitRequest, CommitReply,
          ChangesRequest, ChangesReply, RevisionRequest, RevisionReply, AcquireLeaseRequest, AcquireLeaseReply,
          ReleaseLeaseRequest, ReleaseLeaseReply, LeasesRequest, LeasesReply, ErrorReply, RestartedReply, ChangeMessage,
          BookmarkMessage, HeartbeatMessage, GrantStreamRequest, GrantStreamReply, ServeStreams, ServeStreamsReply,
          OpenStream, OfferStream, AcceptStream, StreamData, StreamCredit, CloseStream, Ping>(message, header);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  one(bytes);
  std::string_view topic, message;
  if (split_topic(bytes, topic, message)) one(message);
  // The length in the header is the one thing that mutation hardly ever gets right: put it right.
  if (size >= header_bytes) {
    std::string repaired(bytes);
    for (std::size_t at = 0; at < 4; ++at) repaired[20 + at] = static_cast<char>((size - header_bytes) >> (8 * at));
    one(repaired);
  }
  return 0;
}
