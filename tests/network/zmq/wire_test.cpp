// SPDX-License-Identifier: Apache-2.0
// The bytes of every message of a dataplane, and how two protocol versions meet.
#include <doctest/doctest.h>

#include <optional>
#include <string>
#include <thread>

#include "counter_records.hpp"
#include "local_socket.hpp"
#include "messages.hpp"
#include "remote_dataplane.hpp"
#include "usage_records.hpp"

using namespace ironcore;
using namespace ironcore::network;
using namespace ironcore::network::tests;
using namespace ironcore::network::zmq;
using ironcore::wire::encode;

namespace {

constexpr auto messages = [](auto each) { test::for_each_dataplane_message(each); };

/// Answers each request with what `answer` makes of it, until it ends.
class FakeServer {
 public:
  template <class Answer>
  FakeServer(wire::Context& context, const std::string& path, Answer answer)
      : socket_(good(wire::Socket::open(context, ZMQ_ROUTER))) {
    REQUIRE(socket_.set(ZMQ_ROUTER_MANDATORY, 1).has_value());
    file_ = good(wire::bind_local(socket_, path));
    thread_ = std::jthread([this, answer](std::stop_token stop) {
      while (!stop.stop_requested()) {
        auto routing_id = socket_.receive();
        if (!routing_id) {
          std::this_thread::sleep_for(std::chrono::milliseconds(1));
          continue;
        }
        const auto request = socket_.receive();
        wire::Message reply(answer(std::string(request->bytes())));
        socket_.send(*routing_id, ZMQ_SNDMORE);
        socket_.send(reply);
      }
    });
  }

 private:
  wire::Socket socket_;
  wire::SocketFile file_;
  std::jthread thread_;
};

std::string with_version(std::string bytes, std::uint16_t version) {
  bytes[4] = static_cast<char>(version & 0xff);
  bytes[5] = static_cast<char>(version >> 8);
  return bytes;
}
std::uint64_t id_of(const std::string& bytes) {
  std::uint64_t id = 0;
  for (std::size_t i = 0; i < 8; ++i) id |= std::uint64_t{static_cast<unsigned char>(bytes[8 + i])} << (8 * i);
  return id;
}

}  // namespace

TEST_CASE("every message of a dataplane has the bytes of its golden file") {
  test::check_golden_files(IRONCORE_GOLDEN, messages);
}

TEST_CASE("every message of a dataplane reads back as it was written") {
  test::check_there_and_back(messages);
}

TEST_CASE("a message of a dataplane that is cut off anywhere, or has one byte more, is refused") {
  test::check_cuts(messages);
}

TEST_CASE("any single damaged byte of a dataplane's message is refused or reads as another message, never worse") {
  test::check_damage(messages);
}

TEST_CASE("the least sizes that bound a dataplane's lists are the sizes of empty elements") {
  const auto grows_by = [](auto reply, auto member) {
    const auto size = [&](std::size_t count) {
      (reply.*member).resize(count);
      return encode(0, 0, reply).size();
    };
    return size(2) - size(1);
  };
  CHECK(grows_by(WatchReply{}, &WatchReply::batches) == BatchRecord::least_bytes);
  CHECK(grows_by(CountersReply{}, &CountersReply::packets) == CountRecord::least_bytes);
  CHECK(grows_by(CountersReply{}, &CountersReply::stages) == StageRecord::least_bytes);
  CHECK(grows_by(CountersReply{}, &CountersReply::bursts) == 8);
  CHECK(grows_by(CountersReply{}, &CountersReply::interfaces) == InterfaceRecord::least_bytes);
  CHECK(grows_by(UsageReply{}, &UsageReply::resources) == ResourceRecord::least_bytes);
  CHECK(grows_by(UsageReply{}, &UsageReply::interfaces) == MetersRecord::least_bytes);
  const auto resource = [](std::size_t workers) {
    return UsageReply{.resources = {{"", "", std::vector<UsedRecord>(workers)}}, .interfaces = {}, .objects = {}};
  };
  CHECK(encode(0, 0, resource(2)).size() - encode(0, 0, resource(1)).size() == UsedRecord::least_bytes);
  const auto metered = [](std::size_t meters) {
    return UsageReply{.resources = {}, .interfaces = {{"", std::vector<ColorRecord>(meters)}}, .objects = {}};
  };
  CHECK(encode(0, 0, metered(2)).size() - encode(0, 0, metered(1)).size() == ColorRecord::least_bytes);
  CHECK(grows_by(PortsReply{}, &PortsReply::ports) == PortRecord::least_bytes);
  CHECK(grows_by(ExplainReply{}, &ExplainReply::steps) == StepRecord::least_bytes);
}

TEST_CASE("counters are the same on both sides, and what one side does not know is left out") {
  DataplaneCounters all;
  std::uint64_t next = 1;
  for (auto& count : all.packets) count = next++;
  for (auto& stage : all.by_stage) stage = {next, next + 1}, next += 2;
  for (auto& count : all.answers_by_service) count = next++;
  for (auto& count : all.bursts.count) count = next++;
  for (auto* count : {&all.fast_path, &all.slow_path, &all.rechecks_kept, &all.rechecks_ended, &all.answers,
                      &all.icmp_errors, &all.connections_opened, &all.connections_expired, &all.connections,
                      &all.connection_room, &all.most_connections, &all.bursts.sum_ns})
    *count = next++;
  const std::vector<InterfaceCounters> interfaces{
      {"a", 1, 2, 3, 4, 5, 6, MacAddress::parse("02:00:00:00:00:01").value()}, {"b", 7, 8, 9, 10, 11, 12, {}, true}};
  EncodedCounters encoded(all, interfaces);
  encoded.reply.packets.push_back({"of a later release", 1});
  encoded.reply.stages.push_back({"likewise", 1, 1});
  encoded.reply.services.push_back({"likewise", 1});
  const auto bytes = encode(1, 0, encoded.reply);
  const auto reply = good(wire::decode<CountersReply>(bytes));
  const auto read = good(counters_of(reply));
  CHECK(read.interfaces == interfaces);
  const EncodedCounters again(read.dataplane, read.interfaces);
  CHECK(encode(1, 0, again.reply) == encode(1, 0, EncodedCounters(all, interfaces).reply));

  auto other = reply;
  other.bursts.pop_back();
  CHECK(counters_of(other).error().code() == ErrorCode::unsupported);
  other = reply;
  other.interfaces.front().heard_mac = "02";
  CHECK(counters_of(other).error().code() == ErrorCode::invalid);
}

TEST_CASE("counters of hardware for flows are the same on both sides, and so is that there is none") {
  CHECK_FALSE(offload_of(to_record(std::nullopt)).has_value());
  const OffloadCounters all{.connections = 1, .installed = 2, .refused = {0, 3, 4, 5, 6}, .packets = 7, .resets = 8};
  auto record = to_record(all);
  record.counts.push_back({"of a later release", 1});
  record.refused.push_back({"likewise", 1});
  const auto bytes = encode(1, 0, record);
  CHECK(offload_of(good(wire::decode<OffloadReply>(bytes))) == all);
}

TEST_CASE("of a server that knows no hardware for flows a client gets all other counters") {
  Directory directory;
  SystemClock clock;
  const auto context = good(wire::Context::create());
  const auto path = (directory.path / "earlier.sock").string();
  DataplaneCounters all;
  all.fast_path = 17;
  FakeServer server(*context, path, [&](const std::string& request) {
    wire::Header header;
    REQUIRE(wire::decode_header(request, header).has_value());
    if (header.type == wire::MessageType::dataplane_hello)
      return encode(header.request_id, 0, HelloReply{"metalnetd 0", 1, 1, 1});
    if (header.type == wire::MessageType::dataplane_counters)
      return encode(header.request_id, 0, EncodedCounters(all, {}).reply);
    return encode(header.request_id, 0, wire::to_record(Error(ErrorCode::unsupported, "no answer to this type")));
  });
  const auto client = good(Client::connect(*context, {.endpoint = "ipc://" + path, .keys = {}}, clock));
  const auto counters = good(client->counters());
  CHECK(counters.dataplane.fast_path == 17);
  CHECK_FALSE(counters.dataplane.offload.has_value());
}

TEST_CASE("usage is the same on both sides, and what one side does not know is left out") {
  DataplaneUsage usage;
  std::uint64_t next = 1;
  for (std::size_t i = 0; i < resources; ++i) {
    usage.resources.push_back({static_cast<Resource>(i), i < 2 ? "" : "a", {{next, next + 1}, {next + 2, next + 3}}});
    next += 4;
  }
  for (const auto* id : {"a", "b"}) {
    auto& one = usage.meters.emplace_back();
    one.interface = id;
    for (auto* counters : {&one.total_egress, &one.total_ingress, &one.public_egress, &one.public_ingress}) {
      for (auto& count : counters->packets) count = next++;
      for (auto& count : counters->bytes) count = next++;
    }
  }
  usage.objects = {{"FirewallRule", next++}, {"Of a later release", next++}};
  auto record = to_record(usage);
  record.resources.push_back({"of a later release", "a", {{1, 2}}});
  record.interfaces.front().meters.push_back({"of a later release", "green", 1, 2});
  record.interfaces.front().meters.push_back({"egress", "blue", 1, 2});
  const auto bytes = encode(1, 0, record);
  CHECK(usage_of(good(wire::decode<UsageReply>(bytes))) == usage);
}

TEST_CASE("a server answers a request of another version under its number, and names both") {
  Remote remote;
  RawPeer peer(remote);
  for (const std::uint16_t version : {std::uint16_t{0}, std::uint16_t{2}, std::uint16_t{0xffff}}) {
    // Whatever that version may have behind the first 16 bytes.
    peer.send(with_version(encode(77, 0, HelloRequest{}), version).substr(0, 16) + "something else");
    const auto bytes = peer.answer();
    CHECK(id_of(bytes) == 77);
    wire::Header header;
    REQUIRE(wire::decode_header(bytes, header).has_value());
    REQUIRE(header.type == wire::MessageType::error);
    const auto error = wire::error_of(good(wire::decode<wire::ErrorReply>(bytes)));
    CHECK(error.code() == ErrorCode::unsupported);
    CHECK(error.message().find(std::to_string(version)) != std::string::npos);
    CHECK(error.message().find(std::to_string(wire::protocol_version)) != std::string::npos);
  }
  CHECK(remote.server->counters().foreign_version == 3);
  // The connection goes on in the version that both know.
  peer.send(encode(78, 0, HelloRequest{}));
  CHECK(id_of(peer.answer()) == 78);
}

TEST_CASE("a client reports a server of another version, at once") {
  Directory directory;
  SystemClock clock;
  const auto context = good(wire::Context::create());
  const auto path = (directory.path / "later.sock").string();
  const auto meet = [&](auto answer) {
    FakeServer server(*context, path, answer);
    const auto client = Client::connect(*context, {.endpoint = "ipc://" + path, .keys = {}}, clock);
    REQUIRE_FALSE(client.has_value());
    return client.error();
  };
  const auto other = meet([](const std::string& request) {
    return with_version(encode(id_of(request), 0, HelloReply{"metalnetd 9", 1, 1, 1}), 2);
  });
  CHECK(other.code() == ErrorCode::unsupported);
  CHECK(other.message().find("2") != std::string::npos);
  // One that says in our version that it cannot speak it.
  const auto refused = meet([](const std::string& request) {
    return encode(id_of(request), 0, wire::to_record(Error(ErrorCode::unsupported, "only version 2 is spoken here")));
  });
  CHECK(refused.code() == ErrorCode::unsupported);
  CHECK(refused.message().find("only version 2 is spoken here") != std::string::npos);
}
