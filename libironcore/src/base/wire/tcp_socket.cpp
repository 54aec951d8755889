// SPDX-License-Identifier: Apache-2.0
// Keys and time-outs of a server's TCP sockets, and ZeroMQ's questions about keys.
#include "tcp_socket.hpp"

#include <cerrno>
#include <vector>

namespace ironcore::wire {

namespace {
constexpr std::string_view key_domain = "ironcore";
}

Result<void> secure(Socket& socket, const KeyPair& keys) {
  IRONCORE_CHECK(socket.set(ZMQ_CURVE_SERVER, 1));
  if (zmq_setsockopt(socket.native(), ZMQ_CURVE_SECRETKEY, keys.secret_key.c_str(), 41) != 0)
    return Error(ErrorCode::invalid, "the server's secret key is not a key of 40 Z85 characters");
  IRONCORE_CHECK(socket.set(ZMQ_ZAP_DOMAIN, key_domain));
  IRONCORE_CHECK(socket.set(ZMQ_IPV6, 1));
  IRONCORE_CHECK(socket.set(ZMQ_HEARTBEAT_IVL, 2000));
  IRONCORE_CHECK(socket.set(ZMQ_HEARTBEAT_TIMEOUT, 6000));
  IRONCORE_CHECK(socket.set(ZMQ_HANDSHAKE_IVL, 10'000));
  // A host that takes nothing for this long is cut off, its queue freed; it comes back and resyncs.
  return socket.set(ZMQ_TCP_MAXRT, 30'000);
}

Result<std::uint16_t> bind_tcp(Socket& socket, const std::string& address, std::uint16_t port) {
  IRONCORE_CHECK(socket.bind("tcp://" + address + ":" + (port == 0 ? "*" : std::to_string(port))));
  IRONCORE_TRY(auto endpoint, socket.last_endpoint());
  return static_cast<std::uint16_t>(std::stoul(endpoint.substr(endpoint.rfind(':') + 1)));
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

std::size_t KeyChecker::answer(const std::function<bool(std::string_view)>& knows) {
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
    const bool is_known = !key.empty() && frames[4].bytes() == key_domain && knows(key);
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

}  // namespace ironcore::wire
