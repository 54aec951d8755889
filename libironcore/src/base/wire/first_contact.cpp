// SPDX-License-Identifier: Apache-2.0
// Endpoints and keys of clients, and what ZeroMQ tells about a connection that does not come about.
#include "first_contact.hpp"

#include <algorithm>
#include <utility>

#include "connection_monitor.hpp"

namespace ironcore::wire {

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
    monitor.read();
    if (monitor.obstacle() == ConnectionMonitor::Obstacle::unknown_key && keys) {
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
