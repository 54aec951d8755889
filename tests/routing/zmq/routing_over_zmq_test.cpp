// SPDX-License-Identifier: Apache-2.0
// Speakers and reflectors on real sockets: ipc, and TCP with keys.
#include <doctest/doctest.h>

#include <unistd.h>

#include <atomic>
#include <set>
#include <thread>

#include "ironcore/routing/zmq.hpp"
#include "socket.hpp"
#include "tcp_socket.hpp"

using namespace ironcore;
using namespace ironcore::routing;
using namespace std::chrono_literals;

namespace {

const Vni net = *Vni::make(100);

Route route(std::string_view text) {
  return parse_route(text).value();
}
Route numbered(std::uint32_t i, std::string_view way = "fd00::a") {
  auto one = route("100#10.0.0.0/32#" + std::string(way));
  one.destination = Prefix::host(IpAddress::v4(0x0a000000 + i));
  return one;
}

/// A directory that goes with the test.
struct Directory {
  std::string path = [] {
    char name[] = "/tmp/ironcore-routing-XXXXXX";
    return std::string(::mkdtemp(name));
  }();
  ~Directory() { std::filesystem::remove_all(path); }
};

struct Nothing final : Log {
  void write(LogLevel, std::string_view, std::initializer_list<LogField>) override {}
};

SystemClock system_clock;
SystemRandom system_random;
Nothing nothing;

/// A reflector with its loop on a thread.
struct RunningReflector {
  RunningReflector(zmq::ServerOptions options, std::vector<zmq::ReflectorEndpoint> peers = {},
                   ReflectorOptions reflector = {.name = "r"})
      : context(zmq::Context::create().value()),
        server(zmq::ReflectorServer::create(*context, std::move(reflector), std::move(options), std::move(peers),
                                            system_clock, system_random, nothing)
                   .value()),
        thread([this](std::stop_token stop) { CHECK(server->run(std::move(stop)).has_value()); }) {}
  std::unique_ptr<zmq::Context> context;
  std::unique_ptr<zmq::ReflectorServer> server;
  std::jthread thread;
  ReflectorStatus status() const {
    ReflectorStatus status;
    server->with([&](const Reflector& reflector) { status = reflector.status(); });
    return status;
  }
};

struct RunningSpeaker {
  RunningSpeaker(std::string name, std::vector<zmq::ReflectorEndpoint> reflectors,
                 Speaker::Leave how = Speaker::Leave::coming_back)
      : context(zmq::Context::create().value()),
        node(zmq::SpeakerNode::create(*context, {.name = std::move(name)}, std::move(reflectors), system_clock,
                                      system_random, nothing)
                 .value()),
        thread([this, how](std::stop_token stop) {
          node->leave_as(how);
          CHECK(node->run(std::move(stop)).has_value());
        }) {}
  std::unique_ptr<zmq::Context> context;
  std::unique_ptr<zmq::SpeakerNode> node;
  std::jthread thread;
  void announce(std::vector<Route> routes) {
    node->with([&](Speaker& speaker) { REQUIRE(speaker.announce(routes).has_value()); });
  }
  void subscribe(Vni vni = net) {
    node->with([&](Speaker& speaker) { speaker.subscribe(vni); });
  }
  SpeakerStatus status() {
    SpeakerStatus status;
    node->with([&](Speaker& speaker) { status = speaker.status(); });
    return status;
  }
  std::set<std::string> table(Vni vni = net) {
    std::set<std::string> texts;
    node->with([&](Speaker& speaker) {
      for (const auto& learned : speaker.routes(vni)) texts.insert(to_text(learned.route));
    });
    return texts;
  }
};

bool wait_for(const std::function<bool()>& done, Duration limit = 20s) {
  const auto end = system_clock.now() + limit;
  while (!done()) {
    if (system_clock.now() > end) return false;
    std::this_thread::sleep_for(1ms);
  }
  return true;
}

using Texts = std::set<std::string>;

}  // namespace

TEST_CASE("over ipc: announced, learned, withdrawn, by as many as subscribe") {
  Directory directory;
  RunningReflector reflector({.path = directory.path + "/r"});
  const std::vector<zmq::ReflectorEndpoint> to{{reflector.server->ipc_endpoint(), {}}};
  RunningSpeaker a("a", to);
  std::vector<std::unique_ptr<RunningSpeaker>> readers;
  for (int i = 0; i < 5; ++i) {
    readers.push_back(std::make_unique<RunningSpeaker>("reader-" + std::to_string(i), to));
    readers.back()->subscribe();
  }
  std::vector<Route> routes;
  for (std::uint32_t i = 0; i < 20'000; ++i) routes.push_back(numbered(i));
  a.announce(routes);
  for (const auto& reader : readers) CHECK(wait_for([&] { return reader->status().learned_routes == routes.size(); }));
  // Sooner or later, it is the same: a late one too.
  RunningSpeaker late("late", to);
  late.subscribe();
  CHECK(wait_for([&] { return late.status().learned_routes == routes.size(); }));
  a.node->with([&](Speaker& speaker) { speaker.withdraw(std::span(routes).subspan(1)); });
  for (const auto& reader : readers) CHECK(wait_for([&] { return reader->table() == Texts{to_text(routes[0])}; }));
  for (const auto& reader : readers) CHECK(reader->status().resyncs == 0);
  CHECK(reflector.status().counters.malformed == 0);
}

TEST_CASE("a reflector that is started again finds its subscribers and their routes, and nobody loses any") {
  Directory directory;
  const std::string path = directory.path + "/r";
  auto reflector = std::make_unique<RunningReflector>(zmq::ServerOptions{.path = path});
  const std::vector<zmq::ReflectorEndpoint> to{{"ipc://" + path, {}}};
  RunningSpeaker a("a", to);
  RunningSpeaker b("b", to);
  b.subscribe();
  a.announce({numbered(1), numbered(2)});
  REQUIRE(wait_for([&] { return b.status().learned_routes == 2; }));
  std::uint64_t sequence = 0;
  b.node->with([&](Speaker& speaker) { sequence = speaker.sequence(net); });
  reflector.reset();
  REQUIRE(wait_for([&] { return b.status().vnis[0].is_stale; }));
  CHECK(b.status().learned_routes == 2);
  reflector = std::make_unique<RunningReflector>(zmq::ServerOptions{.path = path});
  REQUIRE(wait_for([&] { return !b.status().vnis[0].is_stale; }));
  b.node->with([&](Speaker& speaker) { CHECK(speaker.sequence(net) == sequence); });
  a.announce({numbered(3)});
  CHECK(wait_for([&] { return b.status().learned_routes == 3; }));
}

TEST_CASE("two reflectors: one of them dies, and announcements reach everybody; sites tell each other") {
  Directory directory;
  const auto endpoint = [&](const std::string& name) {
    return zmq::ReflectorEndpoint{"ipc://" + directory.path + "/" + name, {}};
  };
  auto first = std::make_unique<RunningReflector>(zmq::ServerOptions{.path = directory.path + "/1"},
                                                  std::vector{endpoint("3")}, ReflectorOptions{.name = "r1"});
  RunningReflector second({.path = directory.path + "/2"}, {endpoint("3")}, {.name = "r2"});
  RunningReflector remote({.path = directory.path + "/3"}, {endpoint("1"), endpoint("2")}, {.name = "r3"});
  RunningSpeaker a("a", {endpoint("1"), endpoint("2")});
  RunningSpeaker b("b", {endpoint("2"), endpoint("1")});
  RunningSpeaker c("c", {endpoint("3")});
  for (auto* const one : {&b, &c}) one->subscribe();
  a.announce({numbered(0)});
  for (auto* const one : {&b, &c}) CHECK(wait_for([&] { return one->status().learned_routes == 1; }));
  first.reset();
  for (std::uint32_t i = 1; i < 1'000; ++i) a.announce({numbered(i)});
  for (auto* const one : {&b, &c}) CHECK(wait_for([&] { return one->status().learned_routes == 1'000; }));
}

TEST_CASE("over TCP a key is a node: what it may announce and learn, and nothing for keys that nobody has") {
  const auto server_keys = wire::make_key_pair().value();
  const auto keys_a = wire::make_key_pair().value();
  const auto keys_b = wire::make_key_pair().value();
  const auto keys_x = wire::make_key_pair().value();
  const auto rights = [&](const std::string& prefix) {
    return zmq::KeyRights::parse(
               R"({"identities": [
      {"name": "a", "publicKey": ")" +
               keys_a.public_key +
               R"(", "rules": [{"verbs": ["update"], "resources": ["routes"], "vnis": ["100-101"], "prefixes": [")" +
               prefix + R"("]}]},
      {"name": "b", "publicKey": ")" +
               keys_b.public_key + R"(", "rules": [{"verbs": ["read"], "resources": ["routes"], "vnis": ["100"]}]}]})")
        .value();
  };
  RunningReflector reflector(
      {.path = "", .tcp = zmq::TcpOptions{.keys = server_keys, .identities = rights("10.0.0.0/8")}});
  const auto endpoint = reflector.server->tcp_endpoint();
  const auto to = [&](const wire::KeyPair& keys) {
    return std::vector{zmq::ReflectorEndpoint{endpoint, zmq::ClientKeys{keys, server_keys.public_key}}};
  };
  RunningSpeaker a("a", to(keys_a));
  RunningSpeaker b("b", to(keys_b));
  RunningSpeaker x("x", to(keys_x));
  for (auto* const one : {&b, &x}) {
    one->subscribe();
    one->subscribe(*Vni::make(101));
  }
  a.announce({numbered(1), route("100#192.0.2.1/32#fd00::a"), route("100#0.0.0.0/0#fd00::a"),
              route("101#10.0.0.1/32#fd00::a")});
  CHECK(wait_for([&] { return b.table() == Texts{to_text(numbered(1))}; }));
  CHECK(wait_for([&] { return a.status().reflectors[0].refused_routes == 2; }));
  CHECK(wait_for([&] { return reflector.server->unknown_keys() > 0; }));
  CHECK(x.status().reflectors[0].phase == ReflectorSession::Phase::connecting);
  CHECK(b.table(*Vni::make(101)).empty());
  CHECK(reflector.status().routes == 2);
  // b may not announce at all, and nobody may take another name.
  b.announce({numbered(9, "fd00::b")});
  CHECK(wait_for([&] { return b.status().reflectors[0].refused_routes == 1; }));
  RunningSpeaker liar("a", to(keys_b));
  CHECK(wait_for([&] { return liar.status().reflectors[0].phase == ReflectorSession::Phase::refused; }));
  // Other rights: what is not allowed any more goes, what is allowed now comes.
  reflector.server->replace_identities(rights("192.0.2.0/24"));
  CHECK(wait_for([&] { return b.table() == Texts{"100#192.0.2.1/32#fd00::a"}; }));
}

TEST_CASE("a host that dies is withdrawn, one that leaves at once") {
  Directory directory;
  RunningReflector reflector({.path = directory.path + "/r"}, {}, {.name = "r", .heartbeat = 100ms, .lease = 300ms});
  const std::vector<zmq::ReflectorEndpoint> to{{reflector.server->ipc_endpoint(), {}}};
  RunningSpeaker b("b", to);
  b.subscribe();
  {
    RunningSpeaker a("a", to, Speaker::Leave::leaving);
    a.announce({numbered(1)});
    REQUIRE(wait_for([&] { return b.status().learned_routes == 1; }));
  }
  CHECK(wait_for([&] { return b.status().learned_routes == 0; }, 5s));
  CHECK(reflector.status().counters.deaths == 0);
}

TEST_CASE("wrong endpoints and rights are refused with the reason") {
  Directory directory;
  const auto context = zmq::Context::create().value();
  const auto speaker = [&](zmq::ReflectorEndpoint where) {
    return zmq::SpeakerNode::create(*context, {.name = "a"}, {std::move(where)}, system_clock, system_random, nothing)
        .error()
        .message();
  };
  CHECK(speaker({"tcp://127.0.0.1:4711", {}}).find("needs keys") != std::string::npos);
  CHECK(speaker({"udp://127.0.0.1:4711", {}}).find("neither") != std::string::npos);
  CHECK(zmq::SpeakerNode::create(*context, {.name = "a"}, {}, system_clock, system_random, nothing)
            .error()
            .message()
            .find("reflectors") != std::string::npos);
  CHECK(zmq::SpeakerNode::create(*context, {.name = "host 1"}, {{"ipc:///r", {}}}, system_clock, system_random, nothing)
            .error()
            .message()
            .starts_with("name: \"host 1\""));
  RunningReflector reflector({.path = directory.path + "/r"});
  const auto second = zmq::ReflectorServer::create(*context, {.name = "r"}, {.path = directory.path + "/r"}, {},
                                                   system_clock, system_random, nothing);
  CHECK(second.error().code() == ErrorCode::wrong_state);
  CHECK(zmq::KeyRights::parse("{").error().code() == ErrorCode::invalid);
  const auto rule = [](const std::string& text) {
    return zmq::KeyRights::parse(
               R"({"identities": [{"name": "a", "publicKey": "0123456789012345678901234567890123456789", "rules": [)" +
               text + "]}]}")
        .error()
        .message();
  };
  CHECK(rule(R"({"verbs": ["update"], "resources": ["routes"]})").find("0.0.0.0/0") != std::string::npos);
  CHECK(rule(R"({"verbs": ["read"], "resources": ["rootes"]})").find("routes, peers or status") != std::string::npos);
  CHECK(rule(R"({"verbs": ["read"], "resources": ["routes"], "vnis": ["9-3"]})").find("ends before it begins") !=
        std::string::npos);
  CHECK(rule(R"({"verbs": ["read"], "resources": ["routes"], "vnis": ["x"]})").find("vnis") != std::string::npos);
  CHECK(rule(R"({"verbs": ["update"], "resources": ["routes"], "prefixes": ["10.0.0.1/8"]})")
            .find("10.0.0.1/8 has host bits: 10.0.0.0/8") != std::string::npos);
}

namespace {

/// Without an identity in it; with `keys`, one that may read VNI 100.
zmq::KeyRights readers(const std::vector<std::pair<std::string, wire::KeyPair>>& keys) {
  std::string json = R"({"identities": [)";
  for (const auto& [name, pair] : keys)
    json += (&pair == &keys.front().second ? R"({"name": ")" : R"(, {"name": ")") + name + R"(", "publicKey": ")" +
            pair.public_key + R"(", "rules": [{"verbs": ["read"], "resources": ["routes"], "vnis": ["100"]}]})";
  return zmq::KeyRights::parse(json + "]}").value();
}

ReflectorSession session_of(RunningSpeaker& speaker) {
  return speaker.status().reflectors[0];
}

bool is_told(RunningSpeaker& speaker, std::string_view words) {
  return wait_for([&] { return session_of(speaker).refusal.find(words) != std::string::npos; });
}

}  // namespace

TEST_CASE("a host with an unknown key is told so, and is there soon after the key became known") {
  const auto server_keys = wire::make_key_pair().value();
  const auto keys = wire::make_key_pair().value();
  RunningReflector reflector({.path = "", .tcp = zmq::TcpOptions{.keys = server_keys, .identities = readers({})}});
  RunningSpeaker speaker("a", {{reflector.server->tcp_endpoint(), zmq::ClientKeys{keys, server_keys.public_key}}});
  for (const auto vni : {net, *Vni::make(7)}) speaker.subscribe(vni);
  REQUIRE(is_told(speaker, "does not know our key " + keys.public_key + ": add it to the reflector's identities file"));
  CHECK(session_of(speaker).phase == ReflectorSession::Phase::connecting);
  reflector.server->replace_identities(readers({{"a", keys}}));
  REQUIRE(wait_for([&] { return session_of(speaker).phase == ReflectorSession::Phase::connected; }));
  CHECK(session_of(speaker).refusal.empty());
  REQUIRE(wait_for([&] { return speaker.status().vnis[0].refusals.size() == 1; }));
  CHECK(speaker.status().vnis[0].refusals[0].reason.find("no right to VNI 7") != std::string::npos);
  CHECK(wait_for([&] { return speaker.status().vnis[1].is_complete || !speaker.status().vnis[1].is_stale; }));
  CHECK(speaker.status().vnis[1].refusals.empty());
}

TEST_CASE("a host is told of a wrong key of the reflector, of what is no reflector, and that nobody is there") {
  Directory directory;
  const auto server_keys = wire::make_key_pair().value();
  const auto other = wire::make_key_pair().value();
  const auto keys = wire::make_key_pair().value();
  RunningReflector reflector(
      {.path = "", .tcp = zmq::TcpOptions{.keys = server_keys, .identities = readers({{"a", keys}})}});
  RunningSpeaker mistaken("a", {{reflector.server->tcp_endpoint(), zmq::ClientKeys{keys, other.public_key}}});
  CHECK(is_told(mistaken, "breaks off the handshake: check that the reflector's public key is right"));

  const auto path = "ipc://" + directory.path + "/r";
  RunningSpeaker early("a", {{path, {}}});
  CHECK(is_told(early, "nobody answers at " + path + ": is the reflector running"));
  RunningReflector late({.path = directory.path + "/r"});
  CHECK(wait_for([&] { return session_of(early).phase == ReflectorSession::Phase::connected; }));
  CHECK(session_of(early).refusal.empty());

  // Keys to an endpoint without some.
  const auto context = zmq::Context::create().value();
  auto plain = wire::Socket::open(*context, ZMQ_ROUTER).value();
  const auto port = wire::bind_tcp(plain, "127.0.0.1", 0).value();
  RunningSpeaker wrong("a",
                       {{"tcp://127.0.0.1:" + std::to_string(port), zmq::ClientKeys{keys, server_keys.public_key}}});
  CHECK(is_told(wrong, "does not speak as a reflector does"));
}

TEST_CASE("a connection that ZeroMQ gave up after a message that is too big is made again") {
  Directory directory;
  const auto context = zmq::Context::create().value();
  auto server = wire::Socket::open(*context, ZMQ_ROUTER).value();
  REQUIRE(server.bind("ipc://" + directory.path + "/r").has_value());
  RunningSpeaker speaker("a", {{"ipc://" + directory.path + "/r", {}}});
  const auto next = [&] {
    std::optional<wire::Message> id;
    REQUIRE(wait_for([&] { return (id = server.receive()).has_value(); }));
    while (auto more = server.receive()) {
      if (!more->has_more()) break;
    }
    return std::string(id->bytes());
  };
  const auto first = next();
  wire::Message to{std::string_view(first)};
  wire::Message big{std::string(1024 * 1024, 'x')};
  REQUIRE(server.send(to, ZMQ_SNDMORE));
  REQUIRE(server.send(big));
  auto id = first;
  CHECK(wait_for([&] { return (id = next()) != first; }));
}
