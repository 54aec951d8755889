// SPDX-License-Identifier: Apache-2.0
// Any bytes as a message of a dataplane, and as its configuration: what is accepted is written back as it was.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "capture_records.hpp"
#include "counter_records.hpp"
#include "ironcore/network/configuration_json.hpp"
#include "port_records.hpp"
#include "usage_records.hpp"
#include "wire.hpp"

using namespace ironcore;
using namespace ironcore::network;
using namespace ironcore::network::zmq;

namespace {

void require(bool holds) {
  if (!holds) std::abort();
}

void configuration(std::string_view json) {
  const auto changes = parse_changes(json);
  if (!changes) return;
  const auto text = to_json(*changes);
  const auto again = parse_changes(text);
  require(again && to_json(*again) == text);
}

template <class Record>
void content(const Record&) {}
void content(const ApplyRequest& record) {
  configuration(record.changes);
}
void content(const OpenPortRequest& record) {
  std::string mac;
  if (const auto spec = spec_of(record.spec)) require(spec_of(to_record(*spec, mac)) == spec);
}
void content(const CountersReply& record) {
  if (const auto counters = counters_of(record)) {
    const EncodedCounters encoded(counters->dataplane, counters->interfaces);
    const auto again = counters_of(encoded.reply);
    require(again && again->interfaces == counters->interfaces &&
            again->dataplane.bursts == counters->dataplane.bursts);
  }
}
void content(const OffloadReply& record) {
  const auto counters = offload_of(record);
  require(offload_of(to_record(counters)) == counters);
}
void content(const UsageReply& record) {
  const auto usage = usage_of(record);
  require(usage_of(to_record(usage)) == usage);
}
void content(const VnisReply& record) {
  const auto page = vnis_of(record);
  if (!page) return;
  const auto again = vnis_of(to_record(*page));
  require(again && again->objects == page->objects && again->revision == page->revision &&
          again->has_more == page->has_more);
}
void content(const StartCaptureRequest& record) {
  if (const auto spec = spec_of(record.spec)) {
    EncodedCaptureSpec encoded(*spec);
    require(spec_of(encoded.record()) == spec);
  }
}
void content(const StartCaptureReply& record) {
  static_cast<void>(state_of(record.capture));
}
void content(const OpenPortReply& record) {
  static_cast<void>(report_of(record.port));
}

/// What is accepted can be written in no other way.
template <class Record>
void try_as(std::string_view message, const ironcore::wire::Header& header) {
  if (header.type != Record::type) return;
  const auto record = ironcore::wire::decode<Record>(message);
  if (!record) return require(record.error().code() == ErrorCode::corrupt);
  require(ironcore::wire::encode(header.request_id, header.deadline_ms, *record) == message);
  content(*record);
}

template <class... Records>
void try_all(std::string_view message) {
  ironcore::wire::Header header;
  if (ironcore::wire::decode_header(message, header)) (try_as<Records>(message, header), ...);
}

void one(std::string_view message) {
  try_all<HelloRequest, HelloReply, ApplyRequest, ApplyReply, ListRequest, ListReply, VnisRequest, VnisReply,
          WatchRequest, WatchReply, CountersRequest, CountersReply, OffloadRequest, OffloadReply, UsageRequest,
          UsageReply, OpenPortRequest, OpenPortReply, ClosePortRequest, ClosePortReply, PortsRequest, PortsReply,
          ExplainRequest, ExplainReply, StartCaptureRequest, StartCaptureReply, StopCaptureRequest, StopCaptureReply,
          CapturesRequest, CapturesReply, ReadCaptureRequest, ReadCaptureReply>(message);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  configuration(bytes);
  one(bytes);
  // The length in the header is the one thing that mutation hardly ever gets right: put it right.
  if (size >= ironcore::wire::header_bytes) {
    std::string repaired(bytes);
    for (std::size_t at = 0; at < 4; ++at)
      repaired[20 + at] = static_cast<char>((size - ironcore::wire::header_bytes) >> (8 * at));
    one(repaired);
  }
  return 0;
}
