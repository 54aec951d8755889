// SPDX-License-Identifier: Apache-2.0
// What operators ask a reflector: the bytes, the answers, and what is refused.
#include "operations.hpp"

#include <doctest/doctest.h>

#include <stdlib.h>

#include <algorithm>
#include <deque>
#include <filesystem>
#include <set>
#include <thread>

#include "../../wire_messages.hpp"
#include "ironcore/sim/virtual_clock.hpp"

using namespace ironcore;
using namespace ironcore::routing;
using namespace ironcore::routing::zmq;
using namespace std::chrono_literals;

namespace {

constexpr auto messages = [](auto each) {
  using test::one_message;
  one_message(each, "status", StatusRequest{});
  one_message(each, "status_reply",
              StatusReply{.program = "metalbondd 0.1.0",
                          .name = "r1",
                          .epoch = 7,
                          .is_ready = true,
                          .heartbeat_ms = 1'000,
                          .lease_ms = 3'000,
                          .counts = {{"routes", 2}, {"gaps", 3}},
                          .peers = {{.endpoint = "tcp://10.1.0.1:7420",
                                     .phase = "refused",
                                     .name = "r2",
                                     .epoch = 9,
                                     .is_ready = false,
                                     .refusal = "no"}}});
  one_message(each, "nodes", NodesRequest{.after = "host-1", .limit = 2});
  one_message(each, "nodes_reply",
              NodesReply{.nodes = {{.name = "host-2",
                                    .origin = 1,
                                    .instance = 2,
                                    .is_connected = true,
                                    .silent_ms = 3,
                                    .routes = 4,
                                    .announced = 5,
                                    .refused = 6,
                                    .streams = 7,
                                    .behind = 8}},
                         .has_more = true});
  one_message(each, "vnis", VnisRequest{.from = 100, .limit = 2});
  one_message(each, "vnis_reply",
              VnisReply{.vnis = {{.vni = 100,
                                  .view = "direct",
                                  .routes = 1,
                                  .tombstones = 2,
                                  .sequence = 3,
                                  .digest = 4,
                                  .is_subscribed = true}},
                        .has_more = false});
  one_message(each, "routes",
              RoutesRequest{.vni = 100,
                            .view = "direct",
                            .after = 5,
                            .limit = 10,
                            .has_withdrawals = true,
                            .match = "covering",
                            .prefix = "10.0.0.1/32"});
  one_message(each, "routes_reply",
              RoutesReply{.routes = {{.what = "announced",
                                      .route = "100#10.0.0.1/32#fd00::1",
                                      .origin = 1,
                                      .node = "host-1",
                                      .version = 2,
                                      .sequence = 3}},
                          .next = 4,
                          .is_last = true,
                          .has_forgotten = false,
                          .epoch = 7});
};

/// Remembers what was sent.
struct Sent final : Link {
  void send(PeerId peer, Channel, std::string message) override { messages.emplace_back(peer, std::move(message)); }
  void publish(StreamName, std::string) override {}
  void connect(PeerId, std::string_view, std::string_view) override {}
  void subscribe(PeerId, StreamName) override {}
  void unsubscribe(PeerId, StreamName) override {}
  std::deque<std::pair<PeerId, std::string>> messages;
};

/// A reflector without a network, and its operations.
struct Bench {
  Bench() : reflector(Reflector::create({.name = "r1"}, link, peer_link, clock, random, log).value()) {}
  sim::VirtualClock clock;
  SeededRandom random{1};
  NullLog log;
  Sent link, peer_link;
  std::unique_ptr<Reflector> reflector;
  Sent answers;
  Operations operations{*reflector, answers, "test", {}};

  std::uint64_t count(std::string_view name) const {
    for (const auto& one : operations.counts())
      if (one.name == name) return one.value;
    FAIL("no such count");
    return 0;
  }
  template <class Request>
  void ask(const Request& request, std::uint64_t id = 1, const KeyRights::Rights* rights = nullptr) {
    operations.take(7, wire::encode(id, 0, request), rights);
  }
  template <class Reply>
  Reply answer() {
    while (operations.answer({})) {
    }
    REQUIRE(answers.messages.size() == 1);
    last = std::move(answers.messages.front().second);
    answers.messages.clear();
    wire::Header header;
    REQUIRE(wire::decode_header(last, header));
    CHECK(header.type == Reply::type);
    return wire::decode<Reply>(last).value();
  }
  Error refusal() { return wire::error_of(answer<wire::ErrorReply>()); }
  std::string last;  ///< what texts of the latest answer view into
};

}  // namespace

TEST_CASE("every message of operators has the bytes of its golden file, and reads back") {
  test::check_golden_files(IRONCORE_GOLDEN, messages);
  test::check_there_and_back(messages);
}

TEST_CASE("a message of operators that is cut, longer or damaged is refused or reads as another one, never worse") {
  test::check_cuts(messages);
  test::check_damage(messages);
}

TEST_CASE("the least sizes that bound lists for operators are the sizes of empty elements") {
  const auto grows_by = [](auto reply, auto member) {
    const auto size = [&](std::size_t count) {
      (reply.*member).resize(count);
      return wire::encode(0, 0, reply).size();
    };
    return size(2) - size(1);
  };
  CHECK(grows_by(StatusReply{}, &StatusReply::counts) == CountRecord::least_bytes);
  CHECK(grows_by(StatusReply{}, &StatusReply::peers) == PeerRecord::least_bytes);
  CHECK(grows_by(NodesReply{}, &NodesReply::nodes) == NodeRecord::least_bytes);
  CHECK(grows_by(VnisReply{}, &VnisReply::vnis) == VniRecord::least_bytes);
  CHECK(grows_by(RoutesReply{}, &RoutesReply::routes) == RouteRecord::least_bytes);
}

TEST_CASE("only types of operators are requests") {
  CHECK(Operations::is_request(wire::encode(1, 0, StatusRequest{})));
  auto other = wire::encode(1, 0, StatusRequest{});
  other[6] = 0x01;  // open, of a session
  CHECK_FALSE(Operations::is_request(other));
  CHECK_FALSE(Operations::is_request(""));
  CHECK_FALSE(Operations::is_request("ICZM"));
}

TEST_CASE("a reflector answers with its status, and every count has a name of its own") {
  Bench bench;
  bench.ask(StatusRequest{});
  const auto reply = bench.answer<StatusReply>();
  CHECK(reply.name == "r1");
  CHECK(reply.program == "test");
  CHECK_FALSE(reply.is_ready);
  CHECK(reply.lease_ms == 3'000);
  std::set<std::string_view> names;
  for (const auto& count : reply.counts) CHECK(names.insert(count.name).second);
  CHECK(names.contains("routes"));
  CHECK(names.contains("requests"));
  CHECK(bench.count("requests") == 1);
}

TEST_CASE("what cannot be read, is of another version or may not be asked is refused and counted") {
  Bench bench;
  SUBCASE("cut") {
    const auto whole = wire::encode(1, 0, NodesRequest{.after = "x", .limit = 1});
    for (std::size_t size = 8; size < whole.size(); ++size) bench.operations.take(7, whole.substr(0, size), nullptr);
    CHECK(bench.answers.messages.empty());
    CHECK_FALSE(bench.operations.is_waiting());
    CHECK(bench.count("malformed_requests") == whole.size() - 8);
  }
  SUBCASE("a body that does not fit its type") {
    auto bytes = wire::encode(1, 0, StatusRequest{});
    bytes[6] = static_cast<char>(0x82);  // nodes
    bench.operations.take(7, bytes, nullptr);
    CHECK(bench.refusal().code() == ErrorCode::invalid);
    CHECK(bench.count("malformed_requests") == 1);
  }
  SUBCASE("too long") {
    const std::string name(5'000, 'x');
    bench.ask(NodesRequest{.after = name, .limit = 1});
    CHECK(bench.refusal().code() == ErrorCode::invalid);
    CHECK(bench.count("malformed_requests") == 1);
  }
  SUBCASE("another version") {
    auto bytes = wire::encode(1, 0, StatusRequest{});
    bytes[4] = 9;
    bench.operations.take(7, bytes, nullptr);
    CHECK(bench.refusal().code() == ErrorCode::unsupported);
    CHECK(bench.count("foreign_requests") == 1);
  }
  SUBCASE("a type of a later release") {
    auto bytes = wire::encode(1, 0, StatusRequest{});
    bytes[6] = static_cast<char>(0xf0);
    bench.operations.take(7, bytes, nullptr);
    CHECK(bench.refusal().code() == ErrorCode::unsupported);
  }
  SUBCASE("without the right") {
    KeyRights::Rights rights;
    rights.node.name = "host-1";
    bench.ask(StatusRequest{}, 1, &rights);
    const auto refusal = bench.refusal();
    CHECK(refusal.code() == ErrorCode::forbidden);
    CHECK(refusal.message().find("host-1") != std::string::npos);
    CHECK(bench.count("forbidden_requests") == 1);
    rights.may_read_status = true;
    bench.ask(StatusRequest{}, 2, &rights);
    CHECK(bench.answer<StatusReply>().name == "r1");
  }
  SUBCASE("words that are not known") {
    for (const auto& wrong : {RoutesRequest{.vni = 1, .view = "own", .match = "all"},
                              RoutesRequest{.vni = 1, .view = "direct", .match = "like"},
                              RoutesRequest{.vni = 1, .view = "direct", .match = "inside", .prefix = "10.0.0.0"},
                              RoutesRequest{.vni = 0xffff'ffff, .view = "direct", .match = "all"}}) {
      bench.ask(wrong);
      CHECK(bench.refusal().code() == ErrorCode::invalid);
    }
    bench.ask(VnisRequest{.from = 0xffff'ffff, .limit = 1});
    CHECK(bench.refusal().code() == ErrorCode::invalid);
  }
}

TEST_CASE(
    "a few requests are answered in each turn, one that is asked again once, and of too many the oldest are dropped") {
  Bench bench;
  for (int i = 0; i < 3; ++i) bench.ask(StatusRequest{}, 5);
  CHECK_FALSE(bench.operations.answer({}));
  CHECK(bench.answers.messages.size() == 1);
  bench.answers.messages.clear();
  for (std::uint64_t id = 1; id <= 1'000; ++id) bench.ask(StatusRequest{}, id);
  CHECK(bench.operations.answer({}));
  CHECK(bench.answers.messages.size() < 10);
  while (bench.operations.answer({})) {
  }
  CHECK(bench.answers.messages.size() == 256);
  wire::Header header;
  REQUIRE(wire::decode_header(bench.answers.messages.back().second, header));
  CHECK(header.request_id == 1'000);
}

TEST_CASE("a client reads over a socket what the reflector knows") {
  char directory[] = "/tmp/ironcore-operators-XXXXXX";
  REQUIRE(::mkdtemp(directory) != nullptr);
  const std::string path = std::string(directory) + "/r";
  SystemClock clock;
  SystemRandom random;
  NullLog log;
  const auto context = Context::create().value();
  {
    const auto server = ReflectorServer::create(*context, {.name = "r1", .deferral = {}}, {.path = path, .tcp = {}}, {},
                                                clock, random, log)
                            .value();
    std::stop_source stopped;
    stopped.request_stop();
    CHECK_FALSE(server->wait_until_ready(stopped.get_token()));
    std::jthread loop([&](std::stop_token stop) { CHECK(server->run(std::move(stop)).has_value()); });
    REQUIRE(server->wait_until_ready({}));
    const auto node =
        SpeakerNode::create(*context, {.name = "host-1"}, {{server->ipc_endpoint(), {}}}, clock, random, log).value();
    std::jthread speaking([&](std::stop_token stop) { CHECK(node->run(std::move(stop)).has_value()); });
    const auto route = parse_route("100#192.0.2.1/32#fd00::1#NAT#1024#2047,weight=3,mobility=2").value();
    node->with([&](Speaker& speaker) {
      REQUIRE(speaker.announce(route));
      speaker.subscribe(route.vni);
    });

    const auto client =
        OperatorClient::connect(*context, {.endpoint = server->ipc_endpoint(), .keys = {}}, clock).value();
    const auto end = clock.now() + 20s;
    RoutesPage page;
    while (page.routes.empty() && clock.now() < end) page = client->routes({.vni = route.vni}).value();
    REQUIRE(page.routes.size() == 1);
    CHECK(page.routes[0].route == route);
    CHECK(page.routes[0].node == "host-1");
    CHECK(page.is_last);
    const auto status = client->status().value();
    CHECK(status.name == "r1");
    CHECK(status.is_ready);
    CHECK(status.epoch == page.epoch);
    CHECK(status.lease == 3s);
    CHECK(std::ranges::find(status.counts, std::pair(std::string("routes"), std::uint64_t{1})) != status.counts.end());
    const auto nodes = client->nodes().value();
    REQUIRE(nodes.nodes.size() == 1);
    CHECK(nodes.nodes[0].is_connected);
    CHECK(nodes.nodes[0].routes == 1);
    CHECK_FALSE(nodes.has_more);
    const auto vnis = client->vnis().value();
    REQUIRE(vnis.vnis.size() == 1);
    CHECK(vnis.vnis[0].vni == route.vni);
    CHECK(vnis.vnis[0].view == View::direct);
  }
  std::filesystem::remove_all(directory);
}
