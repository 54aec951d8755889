// SPDX-License-Identifier: Apache-2.0
// A dataplane over ZeroMQ: what it tells is what it would tell in this process, and nothing that a peer sends harms it.
#include <doctest/doctest.h>
#include <sys/stat.h>

#include <chrono>
#include <filesystem>
#include <memory>
#include <random>
#include <string>
#include <thread>

#include "../configuration_objects.hpp"
#include "ironcore/network/configuration_json.hpp"
#include "ironcore/network/zmq.hpp"
#include "ironcore/sim/ports.hpp"
#include "request_channel.hpp"
#include "wire.hpp"

using namespace ironcore;
using namespace ironcore::network;
using namespace ironcore::network::tests;
namespace wire = ironcore::wire;

namespace {

template <class T>
T good(Result<T> result) {
  REQUIRE_MESSAGE(result.has_value(), result.error().message());
  return *std::move(result);
}

DataplaneOptions options() {
  DataplaneOptions out;
  out.underlay = prefix("2001:db8:0:1::/64");
  out.connections = 1000;
  out.fragments = 64;
  out.maglev_size = 251;
  out.watched_changes = 100;
  out.seed = 1;
  return out;
}

/// A dataplane of this process.
struct Local {
  SystemClock clock;
  NullLog log;
  sim::Ports ports{clock, {}};
  std::unique_ptr<Dataplane> dataplane = good(Dataplane::create(options(), ports, clock, log));
};

struct Directory {
  std::filesystem::path path = [] {
    std::string name = (std::filesystem::temp_directory_path() / "dataplane-XXXXXX").string();
    REQUIRE(::mkdtemp(name.data()) != nullptr);
    return name;
  }();
  ~Directory() { std::filesystem::remove_all(path); }
};

/// One that is served, and a client.
struct Remote {
  Remote() { start(); }
  ~Remote() { stop(); }

  void start() {
    server =
        good(network::zmq::Server::create(*context, *local.dataplane, local.ports,
                                          {.path = socket.string(), .program = "metalnetd 1"}, local.clock, local.log));
    thread = std::jthread([this](std::stop_token stop) { static_cast<void>(server->run(std::move(stop))); });
    if (!client) client = good(network::zmq::Client::connect(*context, {.endpoint = server->endpoint()}, local.clock));
  }
  void stop() {
    thread = {};
    server.reset();
  }
  Instant soon(int milliseconds = 5000) const { return local.clock.now() + std::chrono::milliseconds(milliseconds); }

  Directory directory;
  std::filesystem::path socket = directory.path / "dataplane.sock";
  Local local;
  std::unique_ptr<wire::Context> context = good(wire::Context::create());
  std::unique_ptr<network::zmq::Server> server;
  std::jthread thread;
  std::unique_ptr<network::zmq::Client> client;
};

/// A peer that speaks bytes.
struct RawPeer {
  explicit RawPeer(Remote& remote) : socket(good(wire::Socket::open(*remote.context, ZMQ_DEALER))) {
    REQUIRE(socket.connect(remote.server->endpoint()).has_value());
  }
  void send(std::string bytes, int flags = 0) {
    wire::Message message(std::move(bytes));
    REQUIRE(socket.send(message, flags));
  }
  std::string answer() {
    for (int i = 0; i < 5000; ++i) {
      if (const auto message = socket.receive()) return std::string(message->bytes());
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    FAIL("no answer");
    return {};
  }
  Error error() {
    const auto bytes = answer();
    wire::Header header;
    REQUIRE(wire::decode_header(bytes, header).has_value());
    REQUIRE(header.type == wire::MessageType::error);
    return wire::error_of(good(wire::decode<wire::ErrorReply>(bytes)));
  }
  wire::Socket socket;
};

template <class Object>
std::vector<Change> all(const Dataplane& dataplane) {
  std::vector<Change> out;
  for (auto& object : dataplane.list<Object>().objects) out.emplace_back(std::move(object));
  return out;
}
std::vector<Change> all(const Dataplane& dataplane) {
  std::vector<Change> out;
  const auto add = [&](std::vector<Change> more) { out.insert(out.end(), more.begin(), more.end()); };
  add(all<Interface>(dataplane));
  add(all<InterfacePrefix>(dataplane));
  add(all<VirtualIp>(dataplane));
  add(all<Nat>(dataplane));
  add(all<NeighbourNat>(dataplane));
  add(all<LoadBalancer>(dataplane));
  add(all<LoadBalancerTarget>(dataplane));
  add(all<Route>(dataplane));
  add(all<FirewallRule>(dataplane));
  add(all<VirtualService>(dataplane));
  return out;
}
Change key_of_change(const Change& change) {
  return std::visit(
      [](const auto& object) -> Change {
        if constexpr (requires { key_of(object); })
          return key_of(object);
        else
          return object;
      },
      change);
}
/// Page by page.
std::vector<Change> all(network::zmq::Client& client, std::size_t page) {
  std::vector<Change> out;
  for (const auto kind : configuration_kinds()) {
    std::optional<Change> after;
    for (bool has_more = true; has_more;) {
      auto found = good(client.list(kind, page, after));
      has_more = found.has_more;
      REQUIRE(found.objects.size() <= page);
      if (!found.objects.empty()) after = key_of_change(found.objects.back());
      out.insert(out.end(), found.objects.begin(), found.objects.end());
    }
  }
  return out;
}

}  // namespace

TEST_CASE("a remote dataplane does what a local one does") {
  Remote remote;
  Local local;
  RandomBatches batches(7);
  int accepted = 0;
  for (int i = 0; i < 300; ++i) {
    const auto batch = batches.next();
    const auto here = local.dataplane->apply(batch);
    const auto there = remote.client->apply(batch);
    REQUIRE(here.has_value() == there.has_value());
    if (here) {
      ++accepted;
    } else {
      CHECK(here.error() == there.error());
    }
  }
  CHECK(accepted > 50);
  const auto expected = to_json(all(*local.dataplane));
  CHECK(to_json(all(*remote.client, 3)) == expected);
  CHECK(to_json(all(*remote.client, 1000)) == expected);
  for (const auto& object : all(*local.dataplane))
    CHECK(to_json(good(remote.client->get(key_of_change(object)))) == to_json(object));
}

TEST_CASE("a client is told who serves, and errors as they are") {
  Remote remote;
  const auto facts = good(remote.client->facts());
  CHECK(facts.program == "metalnetd 1");
  CHECK(facts.workers == 1);
  CHECK(facts.revision == remote.local.dataplane->revision());
  CHECK(remote.client->get(Change(InterfaceKey{"a"})).error().code() == ErrorCode::not_found);
  CHECK(remote.client->list("Interfaces", 5, {}).error().code() == ErrorCode::invalid);
  CHECK(remote.client->list("Interface", 5, Change(NatKey{"a"})).error().message() ==
        "after must be the key of kind Interface");
  struct stat info {};
  REQUIRE(::stat(remote.socket.c_str(), &info) == 0);
  CHECK((info.st_mode & 0777) == 0600);
}

TEST_CASE("a watch gets every batch, waits for the next one, and says when it missed some") {
  Remote remote;
  const auto first = good(remote.client->facts()).revision;
  CHECK(good(remote.client->watch(first, remote.soon(0))).empty());
  std::jthread later([&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
    static_cast<void>(remote.local.dataplane->apply(std::vector<Change>{interface("a")}));
  });
  auto batches = good(remote.client->watch(first, remote.soon()));
  later.join();
  REQUIRE(batches.size() == 1);
  REQUIRE(batches[0].changes->size() == 1);
  CHECK(to_json(*batches[0].changes) == to_json(all(*remote.local.dataplane)));
  CHECK(batches[0].revision == remote.local.dataplane->revision());

  good(remote.client->apply(std::vector<Change>{interface("b", "10.0.0.2")}));
  good(remote.client->apply(std::vector<Change>{InterfaceKey{"a"}}));
  CHECK(good(remote.client->watch(batches[0].revision, remote.soon())).size() == 2);
  CHECK(good(remote.client->watch(batches[0].revision, remote.soon(), {}, 1)).size() == 1);
  CHECK(remote.client->watch(1, remote.soon()).error().code() == ErrorCode::gone);

  std::stop_source stop;
  std::jthread stopper([&] { stop.request_stop(); });
  CHECK(good(remote.client->watch(remote.local.dataplane->revision(), remote.soon(60'000), stop.get_token())).empty());
}

TEST_CASE("ports are opened, told and closed") {
  Remote remote;
  const PortSpec spec{"port-a", "memory:a", 1500, MacAddress::parse("02:00:00:00:00:07").value()};
  const auto state = good(remote.client->open_port(spec));
  CHECK(state.spec == spec);
  CHECK(state.mac == *spec.mac);
  CHECK(good(remote.client->open_port(spec)) == state);
  auto other = spec;
  other.mtu = 1400;
  CHECK(remote.client->open_port(other).error().code() == ErrorCode::already_exists);
  const auto ports = good(remote.client->ports());
  REQUIRE(ports.size() == 1);
  CHECK(ports[0].state == remote.local.ports.list().front());
  CHECK(ports[0].counters == good(remote.local.ports.counters("port-a")));
  REQUIRE(remote.client->close_port("port-a").has_value());
  REQUIRE(remote.client->close_port("port-a").has_value());
  CHECK(good(remote.client->ports()).empty());
}

TEST_CASE("counters are those of the dataplane") {
  Remote remote;
  good(remote.client->apply(std::vector<Change>{interface("a"), interface("b", "10.0.0.2")}));
  const auto counters = good(remote.client->counters());
  CHECK(counters.dataplane.connection_room == remote.local.dataplane->counters().connection_room);
  CHECK(counters.dataplane.packets == remote.local.dataplane->counters().packets);
  CHECK(counters.interfaces == remote.local.dataplane->interface_counters());
}

TEST_CASE("a packet is explained as here, by a worker that runs") {
  Remote remote;
  good(remote.client->apply(std::vector<Change>{interface("a")}));
  good(remote.client->open_port({"port-a", "memory:a", 1500, std::nullopt}));
  const std::vector<std::uint8_t> frame(60);
  CHECK(remote.client->explain("nobody", frame).error().code() == ErrorCode::not_found);
  CHECK(remote.client->explain("port-a", std::vector<std::uint8_t>(10'000)).error().code() == ErrorCode::invalid);
  std::jthread worker([&](std::stop_token stop) { remote.local.dataplane->run(0, std::move(stop)); });
  const auto here = good(remote.local.dataplane->explain("port-a", frame, remote.soon()));
  const auto there = good(remote.client->explain("port-a", frame));
  CHECK_FALSE(here.steps.empty());
  CHECK(there.drop != Drop::none);
  CHECK(there.to_json() == here.to_json());
  CHECK(remote.client->explain("port-a", frame, 5).error().code() == ErrorCode::not_found);
}

TEST_CASE("a restart of the server is bridged") {
  Remote remote;
  remote.stop();
  std::jthread again([&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(200));
    remote.start();
  });
  CHECK(remote.client->apply(std::vector<Change>{interface("a")}).has_value());
  again.join();
}

TEST_CASE("who serves nobody is unavailable, and a path that is taken is told") {
  Remote remote;
  CHECK(network::zmq::Server::create(*remote.context, *remote.local.dataplane, remote.local.ports,
                                     {.path = remote.socket.string()}, remote.local.clock, remote.local.log)
            .error()
            .code() == ErrorCode::wrong_state);
  const auto connect = [&](const std::string& endpoint) {
    return network::zmq::Client::connect(
               *remote.context, {.endpoint = endpoint, .timeout = std::chrono::milliseconds(50)}, remote.local.clock)
        .error()
        .code();
  };
  CHECK(connect("ipc://" + (remote.directory.path / "nobody").string()) == ErrorCode::unavailable);
  CHECK(connect("tcp://127.0.0.1:1") == ErrorCode::invalid);
  CHECK(connect("ipc://") == ErrorCode::invalid);
}

TEST_CASE("of a batch in which all is wrong the first errors are told") {
  Remote remote;
  const auto error = remote.client->apply(std::vector<Change>(70'000, VirtualIp())).error();
  CHECK(error.code() == ErrorCode::invalid);
  CHECK(error.fields().size() == 64);
  CHECK(remote.client->apply(std::vector<Change>(400'000, interface("a"))).error().code() == ErrorCode::exhausted);
}

TEST_CASE("garbage, damage, other versions and too much harm nobody") {
  Remote remote;
  good(remote.client->apply(std::vector<Change>{interface("a")}));
  const auto before = to_json(all(*remote.local.dataplane));
  {
    RawPeer peer(remote);
    peer.send("");
    peer.send("ICZM");
    peer.send(std::string(100'000, '\xff'));
    peer.send("several", ZMQ_SNDMORE);
    peer.send("frames");
    auto other = wire::encode(1, 0, network::zmq::HelloRequest{});
    other[4] = 9;
    peer.send(other);
    CHECK(peer.error().code() == ErrorCode::unsupported);
    peer.send(wire::encode(2, 0, network::zmq::ApplyReply{}));
    CHECK(peer.error().code() == ErrorCode::unsupported);
    peer.send(wire::encode(3, 0, network::zmq::ApplyRequest{R"([{"kind":"Nat"}])"}));
    CHECK(peer.error().fields().front().field == "changes[0].interface");
    peer.send(wire::encode(4, 0, network::zmq::ApplyRequest{std::string(1000, '[')}));
    CHECK(peer.error().code() == ErrorCode::invalid);
    peer.send(wire::encode(5, 0, network::zmq::OpenPortRequest{{"p", "memory:p", 1500, "02"}}));
    CHECK(peer.error().code() == ErrorCode::invalid);
    CHECK(remote.server->counters().malformed == 4);
    CHECK(remote.server->counters().foreign_version == 1);
  }
  {
    RawPeer peer(remote);
    peer.send(std::string(network::zmq::max_request_bytes + 1, 'x'));  // it is cut off
  }
  std::mt19937 random(1);
  RawPeer peer(remote);
  for (int i = 0; i < 1000; ++i) {
    std::string body(random() % 100, '\0');
    for (auto& byte : body) byte = static_cast<char>(random());
    auto message = wire::encode(static_cast<std::uint64_t>(i), 1, network::zmq::HelloRequest{});
    message[6] = static_cast<char>(1 + random() % 8);
    message[20] = static_cast<char>(body.size());
    peer.send(message + body);
    static_cast<void>(peer.answer());
  }
  CHECK(to_json(all(*remote.local.dataplane)) == before);
  CHECK(remote.client->facts().has_value());
}
