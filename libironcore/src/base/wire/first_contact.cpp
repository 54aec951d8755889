// SPDX-License-Identifier: Apache-2.0
// Endpoints and keys of clients, and what ZeroMQ tells about a connection that does not come about.
#include "first_contact.hpp"

#include <algorithm>
#include <cstring>
#include <utility>

namespace ironcore::wire {

namespace {

/// What ZeroMQ tells about one socket's connection. Thread: one.
class ConnectionMonitor {
 public:
  static Result<ConnectionMonitor> open(const std::shared_ptr<Context::Native>& context, const Socket& watched) {
    const auto name = "inproc://monitor-" + std::to_string(random_number());
    if (zmq_socket_monitor(watched.native(), name.c_str(), ZMQ_EVENT_ALL) != 0) return zmq_error("watch a connection");
    IRONCORE_TRY(auto socket, Socket::open(context, ZMQ_PAIR));
    IRONCORE_CHECK(socket.connect(name));
    return ConnectionMonitor(watched.native(), std::move(socket));
  }
  ConnectionMonitor(ConnectionMonitor&& other) noexcept
      : watched_(std::exchange(other.watched_, nullptr)), socket_(std::move(other.socket_)), events_(other.events_) {}
  ~ConnectionMonitor() { close(); }
  void close() noexcept {
    if (watched_ != nullptr) zmq_socket_monitor(std::exchange(watched_, nullptr), nullptr, 0);
  }

  zmq_pollitem_t poll_item() const noexcept { return wire::poll_item(socket_, ZMQ_POLLIN); }
  bool is_key_refused() {
    read();
    return (events_ & ZMQ_EVENT_HANDSHAKE_FAILED_AUTH) != 0;
  }
  bool has_connected() const noexcept { return (events_ & ZMQ_EVENT_CONNECTED) != 0; }
  bool has_shaken_hands() const noexcept { return (events_ & ZMQ_EVENT_HANDSHAKE_SUCCEEDED) != 0; }

 private:
  ConnectionMonitor(void* watched, Socket socket) noexcept : watched_(watched), socket_(std::move(socket)) {}
  void read() {
    while (auto frame = socket_.receive()) {
      // A frame of number and value, then one with the address.
      if (frame->has_more() && frame->bytes().size() >= 2) {
        std::uint16_t event;
        std::memcpy(&event, frame->bytes().data(), sizeof event);
        events_ |= event;
      }
    }
  }
  void* watched_;
  Socket socket_;
  unsigned events_ = 0;
};

}  // namespace

Reach reach_of(const std::string& endpoint) {
  return endpoint.starts_with("ipc://") ? Reach::this_machine : Reach::network;
}

Result<void> check_endpoint(const std::string& endpoint, const std::optional<ClientKeys>& keys) {
  if (reach_of(endpoint) == Reach::this_machine) {
    if (keys) return Error(ErrorCode::invalid, "keys are for tcp endpoints; " + endpoint + " needs none");
    if (endpoint.size() == 6) return Error(ErrorCode::invalid, "endpoint ipc:// names no path");
    return {};
  }
  if (!endpoint.starts_with("tcp://"))
    return Error(ErrorCode::invalid, "endpoint '" + endpoint + "' is neither ipc://PATH nor tcp://HOST:PORT");
  if (!keys) {
    return Error(ErrorCode::invalid,
                 "endpoint " + endpoint + " needs keys: give a key file and the server's public key");
  }
  if (endpoint.rfind(':') <= 5) return Error(ErrorCode::invalid, "endpoint " + endpoint + " names no port");
  return {};
}

Result<void> prepare_client(Socket& socket, const std::string& endpoint, const std::optional<ClientKeys>& keys) {
  IRONCORE_CHECK(prepare_client(socket, reach_of(endpoint)));
  if (!keys) return {};
  const auto set_key = [&](int option, const std::string& key, const char* which) -> Result<void> {
    if (key.size() != 40 || zmq_setsockopt(socket.native(), option, key.c_str(), 41) != 0)
      return Error(ErrorCode::invalid, std::string(which) + " is not a key of 40 Z85 characters");
    return {};
  };
  IRONCORE_CHECK(set_key(ZMQ_CURVE_SERVERKEY, keys->server_public_key, "the server's public key"));
  IRONCORE_CHECK(set_key(ZMQ_CURVE_PUBLICKEY, keys->own.public_key, "the own public key"));
  return set_key(ZMQ_CURVE_SECRETKEY, keys->own.secret_key, "the own secret key");
}

Result<Answer> first_answer(Channel& channel, const std::shared_ptr<Context::Native>& context,
                            const std::optional<ClientKeys>& keys, Instant deadline) {
  IRONCORE_TRY(auto monitor, ConnectionMonitor::open(context, channel.socket()));
  for (;;) {
    IRONCORE_TRY(auto answer, channel.advance());
    if (answer) return std::move(*answer);
    if (monitor.is_key_refused() && keys) {
      return Error(ErrorCode::forbidden, channel.endpoint() + " does not know the key " + keys->own.public_key +
                                             ": add it to the server's identities file");
    }
    if (channel.clock().now() >= deadline) {
      if (keys && monitor.has_connected() && !monitor.has_shaken_hands()) {
        return Error(ErrorCode::forbidden,
                     channel.endpoint() +
                         " breaks off before the handshake is done: check that the server's public key is right");
      }
      return channel.finish(deadline);
    }
    zmq_pollitem_t items[2] = {channel.poll_item(), monitor.poll_item()};
    poll(items, std::min(deadline, channel.next_send()), channel.clock());
  }
}

}  // namespace ironcore::wire
