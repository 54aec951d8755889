// SPDX-License-Identifier: Apache-2.0
// Any bytes as a message of the wire: what is accepted is written back byte for byte, and its content turns into values or an error.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
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

/// The record, if the message is one; then it must be the only way to write it.
template <class Record>
Result<Record> same(std::string_view message, const Header& header) {
  auto record = decode<Record>(message);
  if (record)
    require(encode(header.request_id, header.deadline_ms, *record) == message);
  else
    require(record.error().code() == ErrorCode::corrupt);
  return record;
}

void query(const QueryRecord& record) {
  const auto value = query_of(record, kinds());
  if (!value) return;
  const EncodedQuery again(*value, kinds());
  const auto same_value = query_of(again.record, kinds());
  require(same_value && same_value->labels == value->labels && same_value->fields == value->fields);
}

void error(const ErrorReply& record) {
  const auto value = error_of(record);
  require(error_of(to_record(value)) == value);
}

void one(std::string_view message) {
  Header header;
  if (!decode_header(message, header)) return;
  switch (header.type) {
    case HelloRequest::type: same<HelloRequest>(message, header); break;
    case HelloReply::type: same<HelloReply>(message, header); break;
    case GetRequest::type: same<GetRequest>(message, header); break;
    case GetReply::type: same<GetReply>(message, header); break;
    case ListRequest::type:
      if (const auto record = same<ListRequest>(message, header)) query(record->query);
      break;
    case ListReply::type: same<ListReply>(message, header); break;
    case CommitRequest::type:
      if (const auto record = same<CommitRequest>(message, header)) {
        const auto value = transaction_of(*record, kinds());
        if (!value) break;
        const EncodedTransaction again(*value, kinds());
        require(again.request.operations.size() == record->operations.size());
        require(transaction_of(again.request, kinds()).has_value());
      }
      break;
    case CommitReply::type: same<CommitReply>(message, header); break;
    case ChangesRequest::type:
      if (const auto record = same<ChangesRequest>(message, header)) query(record->query);
      break;
    case ChangesReply::type: same<ChangesReply>(message, header); break;
    case RevisionRequest::type: same<RevisionRequest>(message, header); break;
    case RevisionReply::type: same<RevisionReply>(message, header); break;
    case AcquireLeaseRequest::type: same<AcquireLeaseRequest>(message, header); break;
    case AcquireLeaseReply::type:
      if (const auto record = same<AcquireLeaseReply>(message, header)) lease_of(record->lease);
      break;
    case ReleaseLeaseRequest::type: same<ReleaseLeaseRequest>(message, header); break;
    case ReleaseLeaseReply::type: same<ReleaseLeaseReply>(message, header); break;
    case LeasesRequest::type: same<LeasesRequest>(message, header); break;
    case LeasesReply::type: same<LeasesReply>(message, header); break;
    case ErrorReply::type:
      if (const auto record = same<ErrorReply>(message, header)) error(*record);
      break;
    case RestartedReply::type: same<RestartedReply>(message, header); break;
    case ChangeMessage::type: same<ChangeMessage>(message, header); break;
    case BookmarkMessage::type: same<BookmarkMessage>(message, header); break;
    case HeartbeatMessage::type: same<HeartbeatMessage>(message, header); break;
    case GrantStreamRequest::type: same<GrantStreamRequest>(message, header); break;
    case GrantStreamReply::type: same<GrantStreamReply>(message, header); break;
    case ServeStreams::type: same<ServeStreams>(message, header); break;
    case ServeStreamsReply::type: same<ServeStreamsReply>(message, header); break;
    case OpenStream::type: same<OpenStream>(message, header); break;
    case OfferStream::type: same<OfferStream>(message, header); break;
    case AcceptStream::type: same<AcceptStream>(message, header); break;
    case StreamData::type: same<StreamData>(message, header); break;
    case StreamCredit::type: same<StreamCredit>(message, header); break;
    case CloseStream::type:
      if (const auto record = same<CloseStream>(message, header)) error(record->error);
      break;
    case Ping::type: same<Ping>(message, header); break;
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  one(bytes);
  std::string_view topic, message;
  if (split_topic(bytes, topic, message)) one(message);
  // The length in the header is the one thing that mutation hardly ever gets right: put it right, and the type with it.
  if (size >= header_bytes) {
    std::string repaired(bytes);
    for (std::size_t at = 0; at < 4; ++at) repaired[20 + at] = static_cast<char>((size - header_bytes) >> (8 * at));
    one(repaired);
  }
  return 0;
}
