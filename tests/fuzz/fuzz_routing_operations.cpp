// SPDX-License-Identifier: Apache-2.0
// Any bytes as a message of a reflector's operators: what is accepted is written back as it was, and a reflector answers it.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "operations.hpp"

using namespace ironcore;
using namespace ironcore::routing;
using namespace ironcore::routing::zmq;

namespace {

void require(bool holds) {
  if (!holds) std::abort();
}

template <class Record>
void content(const Record&) {}
void content(const RoutesReply& record) {
  for (const auto& one : record.routes) {
    const auto known = zmq::route_of(one);
    if (!known || known->what == LearnedRoute::What::origin_gone) continue;
    const auto text = to_text(known->route);
    auto again = one;
    again.route = text;
    require(zmq::route_of(again)->route == known->route);
  }
}

/// What is accepted can be written in no other way.
template <class Record>
void try_as(std::string_view message, const wire::Header& header) {
  if (header.type != Record::type) return;
  const auto record = wire::decode<Record>(message);
  if (!record) return require(record.error().code() == ErrorCode::corrupt);
  require(wire::encode(header.request_id, header.deadline_ms, *record) == message);
  content(*record);
}

template <class... Records>
void try_all(std::string_view message) {
  wire::Header header;
  if (wire::decode_header(message, header)) (try_as<Records>(message, header), ...);
}

struct Answers final : Link {
  void send(PeerId, Channel, std::string message) override {
    wire::Header header;
    require(wire::decode_header(message, header).has_value());
  }
  void publish(StreamName, std::string) override {}
  void connect(PeerId, std::string_view, std::string_view) override {}
  void subscribe(PeerId, StreamName) override {}
  void unsubscribe(PeerId, StreamName) override {}
};

void one(std::string_view message) {
  try_all<StatusRequest, StatusReply, NodesRequest, NodesReply, VnisRequest, VnisReply, RoutesRequest, RoutesReply>(
      message);
  if (!Operations::is_request(message)) return;
  SystemClock clock;
  SeededRandom random(1);
  NullLog log;
  Answers answers;
  const auto reflector = Reflector::create({.name = "r"}, answers, answers, clock, random, log).value();
  Operations operations(*reflector, answers, "fuzz", {});
  operations.take(1, message, nullptr);
  require(!operations.answer({}));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  one(bytes);
  // The length in the header is the one thing that mutation hardly ever gets right: put it right.
  if (size >= wire::header_bytes) {
    std::string repaired(bytes);
    for (std::size_t at = 0; at < 4; ++at)
      repaired[20 + at] = static_cast<char>((size - wire::header_bytes) >> (8 * at));
    one(repaired);
  }
  return 0;
}
