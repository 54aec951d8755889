// SPDX-License-Identifier: Apache-2.0
// A dataplane that is served, clients of it, and peers that speak bytes.
#pragma once

#include <doctest/doctest.h>

#include <chrono>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <utility>

#include "../configuration_objects.hpp"
#include "ironcore/network/configuration_json.hpp"
#include "ironcore/network/zmq.hpp"
#include "ironcore/sim/ports.hpp"
#include "request_channel.hpp"
#include "wire.hpp"

namespace ironcore::network::tests {

namespace wire = ironcore::wire;

template <class T>
T good(Result<T> result) {
  REQUIRE_MESSAGE(result.has_value(), result.error().message());
  return *std::move(result);
}

inline DataplaneOptions options() {
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
  explicit Remote(network::zmq::TcpOptions also) : tcp(std::move(also)) { start(); }
  ~Remote() { stop(); }

  void start() {
    server = good(network::zmq::Server::create(*context, *local.dataplane, local.ports,
                                               {.path = socket.string(), .tcp = tcp, .program = "metalnetd 1"},
                                               local.clock, local.log));
    thread = std::jthread([this](std::stop_token stop) { static_cast<void>(server->run(std::move(stop))); });
    if (!client)
      client = good(network::zmq::Client::connect(*context, {.endpoint = server->ipc_endpoint()}, local.clock));
  }
  void stop() {
    thread = {};
    server.reset();
  }
  Instant soon(int milliseconds = 5000) const { return local.clock.now() + std::chrono::milliseconds(milliseconds); }

  std::optional<network::zmq::TcpOptions> tcp;
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
  explicit RawPeer(Remote& remote) : RawPeer(*remote.context, remote.server->ipc_endpoint()) {}
  RawPeer(wire::Context& context, const std::string& endpoint) : socket(good(wire::Socket::open(context, ZMQ_DEALER))) {
    REQUIRE(socket.connect(endpoint).has_value());
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

}  // namespace ironcore::network::tests
