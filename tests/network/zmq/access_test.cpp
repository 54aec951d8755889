// SPDX-License-Identifier: Apache-2.0
// A dataplane on TCP: nothing without a key, and with one no more than it may.
#include <doctest/doctest.h>

#include <string>
#include <thread>
#include <vector>

#include "remote_dataplane.hpp"
#include "tcp_socket.hpp"

using namespace ironcore;
using namespace ironcore::network;
using namespace ironcore::network::tests;

namespace {

using network::zmq::Client;
using network::zmq::ClientKeys;
using wire::KeyPair;

/// The identity that a key and a list of rules make.
std::string identity(const std::string& name, const KeyPair& keys, const std::string& rules) {
  return R"({"name":")" + name + R"(","publicKey":")" + keys.public_key + R"(","rules":)" + rules + "}";
}
network::zmq::Identities identities(const std::vector<std::string>& all) {
  std::string list;
  for (const auto& each : all) list += (list.empty() ? "" : ",") + each;
  return good(network::zmq::parse_identities(R"({"identities":[)" + list + "]}"));
}

struct Guarded {
  KeyPair server = good(wire::make_key_pair());
  KeyPair reader = good(wire::make_key_pair());
  KeyPair writer = good(wire::make_key_pair());
  KeyPair router = good(wire::make_key_pair());
  KeyPair stranger = good(wire::make_key_pair());
  std::string reads = identity("reader", reader, R"([{"verbs":["read"]}])");
  std::string writes = identity("writer", writer, R"([{"verbs":["*"]}])");
  std::string routes =
      identity("router", router,
               R"([{"verbs":["read","update"],"resources":["Route"]},{"verbs":["read"],"resources":["ports"]}])");
  Remote remote{{.keys = server, .identities = identities({reads, writes, routes})}};
  /// ZeroMQ's clients are elsewhere.
  std::unique_ptr<wire::Context> context = good(wire::Context::create());

  Result<std::unique_ptr<Client>> try_connect(const ClientKeys& keys, Duration timeout = std::chrono::seconds(10)) {
    return Client::connect(*context, {.endpoint = remote.server->tcp_endpoint(), .keys = keys, .timeout = timeout},
                           remote.local.clock);
  }
  std::unique_ptr<Client> connect(const KeyPair& keys) { return good(try_connect({keys, server.public_key})); }
};

template <class T>
ErrorCode code_of(const Result<T>& result) {
  REQUIRE_FALSE(result.has_value());
  return result.error().code();
}

}  // namespace

TEST_CASE("without keys there is no TCP, on neither side") {
  Guarded guarded;
  const auto endpoint = guarded.remote.server->tcp_endpoint();
  REQUIRE(endpoint.starts_with("tcp://127.0.0.1:"));
  auto& clock = guarded.remote.local.clock;
  CHECK(code_of(Client::connect(*guarded.context, {.endpoint = endpoint}, clock)) == ErrorCode::invalid);
  const ClientKeys keys{guarded.writer, guarded.server.public_key};
  const auto ipc = guarded.remote.server->ipc_endpoint();
  CHECK(code_of(Client::connect(*guarded.context, {.endpoint = ipc, .keys = keys}, clock)) == ErrorCode::invalid);

  auto& local = guarded.remote.local;
  const auto create = [&](network::zmq::ServerOptions options) {
    const auto own = good(wire::Context::create());
    return code_of(
        network::zmq::Server::create(*own, *local.dataplane, local.ports, std::move(options), clock, local.log));
  };
  CHECK(create({}) == ErrorCode::invalid);
  CHECK(create({.path = "", .tcp = network::zmq::TcpOptions{}}) == ErrorCode::invalid);
  // One that says nothing about keys gets nothing, and what it sends is not carried out.
  RawPeer peer(*guarded.context, endpoint);
  wire::Message message(wire::encode(1, 0, network::zmq::HelloRequest{}));
  peer.socket.send(message);
  const auto until = clock.now() + std::chrono::milliseconds(500);
  while (clock.now() < until) {
    CHECK_FALSE(peer.socket.receive().has_value());
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
  CHECK(guarded.remote.server->counters().requests == 1);  // that of the local client, when it connected
}

TEST_CASE("a key that nobody has, and a wrong key of the server, are told") {
  Guarded guarded;
  const auto stranger = guarded.try_connect({guarded.stranger, guarded.server.public_key});
  CHECK(code_of(stranger) == ErrorCode::forbidden);
  CHECK(stranger.error().message().find("does not know the key " + guarded.stranger.public_key) != std::string::npos);
  const auto before = guarded.remote.server->counters();
  CHECK(before.unknown_keys >= 1);
  CHECK(before.requests == 1);
  const auto wrong = guarded.try_connect({guarded.writer, guarded.stranger.public_key}, std::chrono::milliseconds(500));
  CHECK(code_of(wrong) == ErrorCode::forbidden);
  CHECK(wrong.error().message().find("check that the server's public key is right") != std::string::npos);
  CHECK(code_of(guarded.try_connect({guarded.writer, "short"})) == ErrorCode::invalid);
}

TEST_CASE("a reader reads everything and changes nothing") {
  Guarded guarded;
  auto& local = guarded.remote.local;
  good(local.dataplane->apply(std::vector<Change>{interface("a")}));
  good(local.ports.open({"port-a", "memory:a", 1500, std::nullopt}));
  std::jthread worker([&](std::stop_token stop) { local.dataplane->run(0, std::move(stop)); });
  const auto client = guarded.connect(guarded.reader);
  const auto revision = good(client->facts()).revision;
  CHECK(good(client->list("Interface", 10, {})).objects.size() == 1);
  CHECK(client->get(Change(InterfaceKey{"a"})).has_value());
  CHECK(client->counters().has_value());
  CHECK(good(client->vnis(10, {})).objects.size() == 1);
  CHECK(good(client->ports()).size() == 1);
  CHECK(good(client->watch(revision, local.clock.now())).empty());
  CHECK(client->explain("port-a", std::vector<std::uint8_t>(60)).has_value());
  CHECK(good(client->captures()).empty());

  const auto refused = client->apply(std::vector<Change>{interface("b", "10.0.0.2")});
  CHECK(code_of(refused) == ErrorCode::forbidden);
  CHECK(refused.error().message() == "reader may not update Interface: add a rule to the server's identities file");
  CHECK(code_of(client->apply(std::vector<Change>{InterfaceKey{"a"}})) == ErrorCode::forbidden);
  CHECK(code_of(client->open_port({"port-b", "memory:b", 1500, std::nullopt})) == ErrorCode::forbidden);
  CHECK(code_of(client->close_port("port-a")) == ErrorCode::forbidden);
  CHECK(code_of(client->start_capture({.id = "all", .sink = network::CaptureStream()})) == ErrorCode::forbidden);
  CHECK(code_of(client->stop_capture("all")) == ErrorCode::forbidden);
  CHECK(code_of(client->read_capture("all", 0)) == ErrorCode::forbidden);
  CHECK(local.dataplane->revision() == revision);
  CHECK(local.ports.list().size() == 1);
  CHECK(guarded.remote.server->counters().refused == 7);
}

TEST_CASE("a key that may change does, and local peers may everything") {
  Guarded guarded;
  const auto client = guarded.connect(guarded.writer);
  CHECK(client->open_port({"port-a", "memory:a", 1500, std::nullopt}).has_value());
  good(client->apply(std::vector<Change>{interface("a")}));
  CHECK(good(guarded.remote.local.dataplane->get<Interface>(InterfaceKey{"a"})).id == "a");
  good(guarded.remote.client->apply(std::vector<Change>{InterfaceKey{"a"}}));
  CHECK(client->close_port("port-a").has_value());
  CHECK(guarded.remote.local.ports.list().empty());
}

TEST_CASE("a rule can be of some kinds alone, and a batch needs the right for each of its kinds") {
  Guarded guarded;
  const auto client = guarded.connect(guarded.router);
  good(client->apply(std::vector<Change>{route("10.2.0.0/16", {"2001:db8:0:2::1"})}));
  CHECK(good(client->list("Route", 10, {})).objects.size() == 1);
  const std::vector<Change> both{route("10.3.0.0/16", {"2001:db8:0:2::1"}), interface("a")};
  CHECK(code_of(client->apply(both)) == ErrorCode::forbidden);
  CHECK(good(client->list("Route", 10, {})).objects.size() == 1);
  CHECK(code_of(client->list("Interface", 10, {})) == ErrorCode::forbidden);
  CHECK(code_of(client->vnis(10, {})) == ErrorCode::forbidden);
  CHECK(code_of(client->watch(0, guarded.remote.soon())) == ErrorCode::forbidden);
  CHECK(code_of(client->counters()) == ErrorCode::forbidden);
  CHECK(code_of(client->explain("port-a", std::vector<std::uint8_t>(60))) == ErrorCode::forbidden);
  CHECK(code_of(client->captures()) == ErrorCode::forbidden);
  CHECK(client->ports().has_value());
}

TEST_CASE("replaced identities hold from the next request on, for watches that wait too") {
  Guarded guarded;
  const auto client = guarded.connect(guarded.reader);
  const auto revision = good(client->facts()).revision;
  Result<std::vector<AppliedBatch>> watched = std::vector<AppliedBatch>();
  std::jthread watcher([&] { watched = client->watch(revision, guarded.remote.soon(60'000)); });
  std::this_thread::sleep_for(std::chrono::milliseconds(100));  // likely it waits by now; it must end in any case
  guarded.remote.server->replace_identities(identities({guarded.writes}));
  watcher.join();
  CHECK(code_of(watched) == ErrorCode::forbidden);
  CHECK(code_of(client->facts()) == ErrorCode::forbidden);
  CHECK(guarded.connect(guarded.writer)->facts().has_value());
  CHECK(code_of(guarded.try_connect({guarded.reader, guarded.server.public_key})) == ErrorCode::forbidden);
}

TEST_CASE("an identities file of a dataplane knows its own words alone") {
  const std::string key(40, 'a');
  const auto fields = [&](const std::string& rules) {
    const auto parsed = network::zmq::parse_identities(R"({"identities":[{"name":"a","publicKey":")" + key +
                                                       R"(","rules":)" + rules + "}]}");
    std::vector<std::string> out;
    if (parsed) return out;
    const Error error = parsed.error();
    for (const auto& field : error.fields()) out.push_back(field.field);
    return out;
  };
  using Fields = std::vector<std::string>;
  CHECK(fields(R"([{"verbs":["read","update"],"resources":["Interface","ports","counters","captures","packets"]}])")
            .empty());
  CHECK(fields(R"([{"verbs":["create"],"resources":["machines.compute.ironcore.dev"],"pools":["host-1"]}])") ==
        Fields{"identities[0].rules[0].pools", "identities[0].rules[0].verbs", "identities[0].rules[0].resources"});
}
