// SPDX-License-Identifier: Apache-2.0
// Binds the server's endpoints safely.
#include "listener.hpp"

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "ironcore/base/file.hpp"
#include "wire.hpp"

namespace ironcore::store::zmq {

namespace {

constexpr std::string_view key_domain = "ironcore";
// Waiting for one peer, in messages: a peer that asks without reading gets at most this much of our memory.
constexpr int waiting_answers = 128;
constexpr int waiting_requests = 128;
// Streams are bounded by credit; see stream_relay.hpp for why this is enough.
constexpr int waiting_stream_messages = 4096;

Result<Socket> open_changes(const std::shared_ptr<Context::Native>& context, const ServerOptions& options) {
  IRONCORE_TRY(auto socket, Socket::open(context, ZMQ_XPUB));
  IRONCORE_CHECK(socket.set(ZMQ_XPUB_MANUAL, 1));  // each subscription is admitted or not
  IRONCORE_CHECK(socket.set(ZMQ_SNDHWM, static_cast<int>(options.subscriber_messages)));
  IRONCORE_CHECK(socket.set(ZMQ_MAXMSGSIZE, std::int64_t{1024}));  // subscriptions are short
  // Who does not answer is cut off, his queue freed, on ipc too; he comes back and resyncs.
  IRONCORE_CHECK(socket.set(ZMQ_HEARTBEAT_IVL, 2000));
  IRONCORE_CHECK(socket.set(ZMQ_HEARTBEAT_TIMEOUT, 6000));
  return socket;
}

Result<void> open_sockets(Listener& listener, const Context& context, const ServerOptions& options) {
  IRONCORE_TRY(listener.requests, Socket::open(context, ZMQ_ROUTER));
  IRONCORE_CHECK(prepare_router(listener.requests, {waiting_answers, waiting_requests, max_request_bytes}));
  IRONCORE_TRY(listener.streams, Socket::open(context, ZMQ_ROUTER));
  IRONCORE_CHECK(prepare_router(listener.streams, {waiting_stream_messages, waiting_requests, max_request_bytes}));
  // Answered by the peer's I/O thread: a stopped process or a vanished host is forgotten, a busy one is not.
  IRONCORE_CHECK(listener.streams.set(ZMQ_HEARTBEAT_IVL, 2000));
  IRONCORE_CHECK(listener.streams.set(ZMQ_HEARTBEAT_TIMEOUT, 6000));
  IRONCORE_TRY(listener.changes, open_changes(context.native(), options));
  return {};
}

Result<void> secure(Socket& socket, const TcpOptions& tcp) {
  IRONCORE_CHECK(socket.set(ZMQ_CURVE_SERVER, 1));
  if (zmq_setsockopt(socket.native(), ZMQ_CURVE_SECRETKEY, tcp.keys.secret_key.c_str(), 41) != 0)
    return Error(ErrorCode::invalid, "the server's secret key is not a key of 40 Z85 characters");
  IRONCORE_CHECK(socket.set(ZMQ_ZAP_DOMAIN, key_domain));
  IRONCORE_CHECK(socket.set(ZMQ_IPV6, 1));
  IRONCORE_CHECK(socket.set(ZMQ_HEARTBEAT_IVL, 2000));
  IRONCORE_CHECK(socket.set(ZMQ_HEARTBEAT_TIMEOUT, 6000));
  IRONCORE_CHECK(socket.set(ZMQ_HANDSHAKE_IVL, 10'000));
  // A host that takes nothing for this long is cut off, its queue freed; it comes back and resyncs.
  return socket.set(ZMQ_TCP_MAXRT, 30'000);
}

Result<std::uint16_t> bind_tcp(Socket& socket, const TcpOptions& tcp, std::uint16_t port) {
  IRONCORE_CHECK(socket.bind("tcp://" + tcp.address + ":" + (port == 0 ? "*" : std::to_string(port))));
  IRONCORE_TRY(auto endpoint, socket.last_endpoint());
  return static_cast<std::uint16_t>(std::stoul(endpoint.substr(endpoint.rfind(':') + 1)));
}

}  // namespace

Result<std::unique_ptr<Listener>> listen_local(const Context& context, const ServerOptions& options) {
  IRONCORE_CHECK(check_path(options.path));
  auto listener = std::make_unique<Listener>();
  listener->is_local = true;
  listener->endpoint = "ipc://" + options.path;
  IRONCORE_CHECK(open_sockets(*listener, context, options));
  const auto bind_at = [&](Socket& socket, const std::string& path) -> Result<void> {
    IRONCORE_TRY(auto file, bind_local(socket, path));
    listener->files.push_back(std::move(file));
    return {};
  };
  IRONCORE_CHECK(bind_at(listener->requests, options.path));
  IRONCORE_CHECK(bind_at(listener->changes, options.path + ".changes"));
  IRONCORE_CHECK(bind_at(listener->streams, options.path + ".streams"));
  return listener;
}

Result<std::unique_ptr<Listener>> listen_tcp(const Context& context, const ServerOptions& options) {
  const auto& tcp = *options.tcp;
  if (tcp.port > 65533)
    return Error(ErrorCode::invalid, "tcp port must be at most 65533, because three in a row are used");
  auto listener = std::make_unique<Listener>();
  IRONCORE_CHECK(open_sockets(*listener, context, options));
  for (auto* socket : {&listener->requests, &listener->changes, &listener->streams})
    IRONCORE_CHECK(secure(*socket, tcp));
  const auto port = [&](unsigned offset) { return static_cast<std::uint16_t>(tcp.port == 0 ? 0u : tcp.port + offset); };
  IRONCORE_TRY(const auto requests_port, bind_tcp(listener->requests, tcp, port(0)));
  IRONCORE_TRY(listener->changes_port, bind_tcp(listener->changes, tcp, port(1)));
  IRONCORE_TRY(listener->streams_port, bind_tcp(listener->streams, tcp, port(2)));
  listener->endpoint = "tcp://" + tcp.address + ":" + std::to_string(requests_port);
  return listener;
}

Result<void> reopen_changes(Listener& listener, const std::shared_ptr<Context::Native>& context,
                            const ServerOptions& options) {
  IRONCORE_TRY(auto socket, open_changes(context, options));
  IRONCORE_CHECK(secure(socket, *options.tcp));
  listener.changes = std::move(socket);
  return {};
}

Result<void> bind_changes(Listener& listener, const TcpOptions& tcp) {
  IRONCORE_CHECK(bind_tcp(listener.changes, tcp, listener.changes_port));
  return {};
}

Result<std::unique_ptr<KeyChecker>> KeyChecker::open(const Context& context) {
  IRONCORE_TRY(auto socket, Socket::open(context, ZMQ_ROUTER));
  if (zmq_bind(socket.native(), "inproc://zeromq.zap.01") != 0) {
    if (zmq_errno() == EADDRINUSE)
      return Error(ErrorCode::wrong_state,
                   "this ZeroMQ context has a server with TCP already: give each one its own context");
    return zmq_error("bind the key checker");
  }
  return std::unique_ptr<KeyChecker>(new KeyChecker(std::move(socket)));
}

std::size_t KeyChecker::answer(const Authorizer& authorizer) {
  std::size_t refused = 0;
  while (auto first = socket_.receive()) {
    std::vector<Message> frames;
    frames.push_back(std::move(*first));
    while (frames.back().has_more()) {
      auto frame = socket_.receive();
      if (!frame) break;
      frames.push_back(std::move(*frame));
    }
    // Routing id, empty, version, request id, domain, address, identity, mechanism, credentials.
    if (frames.size() < 9 || frames[2].bytes() != "1.0") continue;
    std::string key;
    if (frames[7].bytes() == "CURVE" && frames[8].bytes().size() == 32) {
      char text[41];
      zmq_z85_encode(text, reinterpret_cast<const std::uint8_t*>(frames[8].bytes().data()), 32);
      key = text;
    }
    const bool is_known = !key.empty() && frames[4].bytes() == key_domain && authorizer.knows(key);
    if (!is_known) ++refused;
    const std::string_view parts[] = {"1.0",
                                      frames[3].bytes(),
                                      is_known ? "200" : "400",
                                      is_known ? "OK" : "unknown key",
                                      is_known ? std::string_view(key) : std::string_view(),
                                      ""};
    socket_.send(frames[0], ZMQ_SNDMORE);
    Message empty;
    socket_.send(empty, ZMQ_SNDMORE);
    for (std::size_t i = 0; i < std::size(parts); ++i) {
      Message part(parts[i]);
      socket_.send(part, i + 1 < std::size(parts) ? ZMQ_SNDMORE : 0);
    }
  }
  return refused;
}

}  // namespace ironcore::store::zmq
