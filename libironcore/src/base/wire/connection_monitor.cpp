// SPDX-License-Identifier: Apache-2.0
// Events of ZeroMQ's socket monitor.
#include "connection_monitor.hpp"

#include <cstring>
#include <string>
#include <utility>

namespace ironcore::wire {

namespace {
constexpr unsigned unknown_key_status = 400;  ///< of ZAP (ZeroMQ RFC 27)
constexpr unsigned broken_off_for_sure = 2;   ///< once is what a server that ends looks like
}  // namespace

Result<ConnectionMonitor> ConnectionMonitor::open(const std::shared_ptr<Context::Native>& context,
                                                  const Socket& watched) {
  const auto name = "inproc://monitor-" + std::to_string(random_number());
  if (zmq_socket_monitor(watched.native(), name.c_str(), ZMQ_EVENT_ALL) != 0) return zmq_error("watch a connection");
  IRONCORE_TRY(auto socket, Socket::open(context, ZMQ_PAIR));
  IRONCORE_CHECK(socket.connect(name));
  return ConnectionMonitor(watched.native(), std::move(socket));
}

ConnectionMonitor::ConnectionMonitor(ConnectionMonitor&& other) noexcept
    : watched_(std::exchange(other.watched_, nullptr)),
      socket_(std::move(other.socket_)),
      obstacle_(other.obstacle_),
      broken_off_(other.broken_off_),
      has_connected_(other.has_connected_),
      has_shaken_hands_(other.has_shaken_hands_),
      has_given_up_(other.has_given_up_) {}

ConnectionMonitor::~ConnectionMonitor() {
  if (watched_ != nullptr) zmq_socket_monitor(watched_, nullptr, 0);
}

void ConnectionMonitor::read() noexcept {
  while (auto frame = socket_.receive()) {
    // A frame of number and value, then one with the address.
    std::uint16_t event;
    std::uint32_t value;
    if (!frame->has_more() || frame->bytes().size() != sizeof event + sizeof value) continue;
    std::memcpy(&event, frame->bytes().data(), sizeof event);
    std::memcpy(&value, frame->bytes().data() + sizeof event, sizeof value);
    take(event, value);
  }
}

void ConnectionMonitor::take(unsigned event, unsigned value) noexcept {
  switch (event) {
    case ZMQ_EVENT_CONNECT_DELAYED:
    case ZMQ_EVENT_CONNECT_RETRIED:
      has_given_up_ = false;
      break;
    case ZMQ_EVENT_CONNECTED:
      has_connected_ = true;
      has_given_up_ = false;
      break;
    case ZMQ_EVENT_CLOSED:
      obstacle_ = Obstacle::unreachable;
      broken_off_ = 0;
      break;
    case ZMQ_EVENT_HANDSHAKE_SUCCEEDED:
      has_shaken_hands_ = true;
      obstacle_ = Obstacle::none;
      broken_off_ = 0;
      break;
    case ZMQ_EVENT_HANDSHAKE_FAILED_AUTH:
      obstacle_ = value == unknown_key_status ? Obstacle::unknown_key : Obstacle::unchecked_key;
      break;
    case ZMQ_EVENT_HANDSHAKE_FAILED_PROTOCOL:
      obstacle_ = Obstacle::other_protocol;
      break;
    case ZMQ_EVENT_HANDSHAKE_FAILED_NO_DETAIL:
      if (++broken_off_ >= broken_off_for_sure) obstacle_ = Obstacle::broken_off;
      break;
    case ZMQ_EVENT_DISCONNECTED:
      has_given_up_ = true;  // unless an attempt follows, and it does at once
      break;
    default:
      break;
  }
}

}  // namespace ironcore::wire
