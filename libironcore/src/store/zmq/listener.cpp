// SPDX-License-Identifier: Apache-2.0
// Binds the server's endpoints safely.
#include "listener.hpp"

#include "../../base/wire/tcp_socket.hpp"
#include "wire.hpp"

namespace ironcore::store::zmq {

namespace {

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
    IRONCORE_CHECK(secure(*socket, tcp.keys));
  const auto port = [&](unsigned offset) { return static_cast<std::uint16_t>(tcp.port == 0 ? 0u : tcp.port + offset); };
  IRONCORE_TRY(const auto requests_port, bind_tcp(listener->requests, tcp.address, port(0)));
  IRONCORE_TRY(listener->changes_port, bind_tcp(listener->changes, tcp.address, port(1)));
  IRONCORE_TRY(listener->streams_port, bind_tcp(listener->streams, tcp.address, port(2)));
  listener->endpoint = "tcp://" + tcp.address + ":" + std::to_string(requests_port);
  return listener;
}

Result<void> reopen_changes(Listener& listener, const std::shared_ptr<Context::Native>& context,
                            const ServerOptions& options) {
  IRONCORE_TRY(auto socket, open_changes(context, options));
  IRONCORE_CHECK(secure(socket, options.tcp->keys));
  listener.changes = std::move(socket);
  return {};
}

Result<void> bind_changes(Listener& listener, const TcpOptions& tcp) {
  IRONCORE_CHECK(bind_tcp(listener.changes, tcp.address, listener.changes_port));
  return {};
}

}  // namespace ironcore::store::zmq
