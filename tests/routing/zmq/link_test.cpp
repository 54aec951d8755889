// SPDX-License-Identifier: Apache-2.0
// The suite of Link on ZeroMQ's sockets, over ipc and over TCP with keys; and what strangers can say to them.
#include "../link_suite.hpp"

#include <unistd.h>

#include <filesystem>
#include <thread>

#include "client_link.hpp"
#include "server_link.hpp"
#include "topic.hpp"

using namespace ironcore;
using namespace ironcore::routing;
using namespace ironcore::routing::testing;
using namespace std::chrono_literals;

namespace {

enum class Way { ipc, tcp };

struct Directory {
  Directory() {
    char name[] = "/tmp/ironcore-link-XXXXXX";
    path = ::mkdtemp(name);
  }
  ~Directory() { std::filesystem::remove_all(path); }
  std::string path;
};

class ZmqFixture final : public LinkFixture {
 public:
  explicit ZmqFixture(Way way) {
    context = zmq::Context::create().value();
    zmq::ServerOptions options;
    std::vector<wire::KeyPair> keys;
    const auto server_keys = wire::make_key_pair().value();
    if (way == Way::ipc) {
      options.path = directory.path + "/r";
    } else {
      std::string json = R"({"identities": [)";
      for (std::size_t i = 0; i < 2; ++i) {
        keys.push_back(wire::make_key_pair().value());
        json += (i == 0 ? "" : ",") +
                (R"({"name": "n)" + std::to_string(i) + R"(", "publicKey": ")" + keys.back().public_key +
                 R"(", "rules": [{"verbs": ["read"], "resources": ["routes"]}]})");
      }
      options.tcp = zmq::TcpOptions{.keys = server_keys, .identities = zmq::KeyRights::parse(json + "]}").value()};
    }
    server = zmq::ServerLink::create(*context, std::move(options)).value();
    for (std::size_t i = 0; i < 2; ++i) {
      zmq::ReflectorEndpoint to{way == Way::ipc ? server->ipc_endpoint() : server->tcp_endpoint(), std::nullopt};
      if (way == Way::tcp) to.keys = wire::ClientKeys{keys[i], server_keys.public_key};
      clients[i] = zmq::ClientLink::create(*context, {to}).value();
      clients[i]->connect(0, server->bulk(), server->publications());
      // Until it is connected, what is said on the channel of control is dropped.
      REQUIRE(until([&] {
        clients[i]->send(0, Channel::control, "hello");
        return !at_reflector.empty();
      }));
      a_while();
      at_reflector.clear();
    }
  }
  Link& reflector() override { return *server; }
  Link& speaker(std::size_t number) override { return *clients[number]; }
  void turn() override {
    std::vector<pollfd> items;
    server->add_descriptors(items);
    for (const auto& client : clients)
      if (client) client->add_descriptors(items);
    REQUIRE(::poll(items.data(), items.size(), 0) >= 0);
    server->look(items);
    server->read({[this](PeerId peer, Channel channel, std::string_view message, const zmq::KeyRights::Rights*) {
                    at_reflector.push_back({peer, channel, std::string(message)});
                  },
                  [this](StreamName topic) { subscribed.push_back(topic); }});
    server->has_input();
    for (std::size_t i = 0; i < 2; ++i) {
      if (!clients[i]) continue;
      clients[i]->look(items);
      clients[i]->read([this, i](PeerId peer, Channel channel, std::string_view message) {
        at_speaker[i].push_back({peer, channel, std::string(message)});
      });
      clients[i]->act();
      clients[i]->has_input();
    }
    std::this_thread::sleep_for(1ms);
  }

  const Directory directory;
  std::unique_ptr<zmq::Context> context;
  std::unique_ptr<zmq::ServerLink> server;
  std::unique_ptr<zmq::ClientLink> clients[2];
};

}  // namespace

TEST_CASE("sockets on ipc are a link") {
  check_link([] { return std::make_unique<ZmqFixture>(Way::ipc); });
}

TEST_CASE("sockets on TCP with keys are a link") {
  check_link([] { return std::make_unique<ZmqFixture>(Way::tcp); });
}

TEST_CASE("topics are five bytes and nothing else") {
  CHECK(zmq::topic_of({0x123456, View::direct}) == std::string("\x01\x00\x12\x34\x56", 5));
  CHECK(zmq::stream_of(zmq::topic_of({Vni::max, View::relayed})) == StreamName{Vni::max, View::relayed});
  CHECK(!zmq::stream_of("").has_value());
  CHECK(!zmq::stream_of(std::string_view("\x01\x00\x12\x34", 4)).has_value());
  CHECK(!zmq::stream_of(std::string_view("\x00\x00\x00\x00\x07", 5)).has_value());
  CHECK(!zmq::stream_of(std::string_view("\x01\x01\x00\x00\x07", 5)).has_value());
}

TEST_CASE("strangers' subscriptions, frames and names are dropped") {
  ZmqFixture link(Way::ipc);
  void* const context = link.context->native()->handle;
  void* const sub = zmq_socket(context, ZMQ_SUB);
  REQUIRE(zmq_connect(sub, (link.server->ipc_endpoint() + std::string(zmq::publications_suffix)).c_str()) == 0);
  zmq_setsockopt(sub, ZMQ_SUBSCRIBE, "", 0);      // everything
  zmq_setsockopt(sub, ZMQ_SUBSCRIBE, "\x01", 1);  // a beginning
  zmq_setsockopt(sub, ZMQ_SUBSCRIBE, "nonsense", 8);
  void* const named = zmq_socket(context, ZMQ_DEALER);
  zmq_setsockopt(named, ZMQ_ROUTING_ID, "root", 4);
  REQUIRE(zmq_connect(named, link.server->ipc_endpoint().c_str()) == 0);
  zmq_send(named, "from a name of its own", 22, 0);
  void* const many = zmq_socket(context, ZMQ_DEALER);
  REQUIRE(zmq_connect(many, link.server->ipc_endpoint().c_str()) == 0);
  zmq_send(many, "one", 3, ZMQ_SNDMORE);
  zmq_send(many, "two", 3, 0);
  zmq_send(many, "proper", 6, 0);
  CHECK(link.until([&] { return !link.at_reflector.empty() && link.server->refused_subscriptions() == 3; }));
  CHECK(link.at_reflector.size() == 1);
  CHECK(link.at_reflector[0].message == "proper");
  CHECK(link.subscribed.empty());
  link.reflector().publish({7, View::direct}, "secret");
  link.a_while();
  char buffer[16];
  CHECK(zmq_recv(sub, buffer, sizeof buffer, ZMQ_DONTWAIT) == -1);
  const int none = 0;
  for (void* const socket : {sub, named, many}) {
    zmq_setsockopt(socket, ZMQ_LINGER, &none, sizeof none);
    zmq_close(socket);
  }
}
