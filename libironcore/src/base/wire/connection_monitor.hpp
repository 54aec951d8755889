// SPDX-License-Identifier: Apache-2.0
// ConnectionMonitor: what ZeroMQ tells about the connection of a client's socket.
#pragma once

#include <memory>

#include "socket.hpp"

namespace ironcore::wire {

/// To be closed before the socket that it watches. Thread: one.
class ConnectionMonitor {
 public:
  static Result<ConnectionMonitor> open(const std::shared_ptr<Context::Native>& context, const Socket& watched);
  ConnectionMonitor(ConnectionMonitor&& other) noexcept;
  ConnectionMonitor& operator=(ConnectionMonitor&&) = delete;
  ~ConnectionMonitor();

  /// Why there was no connection at the last attempt.
  enum class Obstacle {
    none,
    unreachable,     ///< nobody takes a connection there
    unknown_key,     ///< the server does not know our key
    unchecked_key,   ///< the server cannot say whether it knows our key
    other_protocol,  ///< no ZeroMQ, or without keys, or with other ones than CURVE
    broken_off,  ///< twice in a row before the handshake was done: so does a server with another key than the one we know
  };

  zmq_pollitem_t poll_item() const noexcept { return wire::poll_item(socket_, ZMQ_POLLIN); }
  /// Takes what has come; the rest says what was taken.
  void read() noexcept;
  Obstacle obstacle() const noexcept { return obstacle_; }
  bool has_connected() const noexcept { return has_connected_; }
  bool has_shaken_hands() const noexcept { return has_shaken_hands_; }
  /// ZeroMQ does not try again by itself, as it does otherwise, after a refused key, something that is no ZeroMQ, and a message that is too big. To be
  /// believed if it still holds a moment later.
  bool has_given_up() const noexcept { return has_given_up_; }

 private:
  ConnectionMonitor(void* watched, Socket socket) noexcept : watched_(watched), socket_(std::move(socket)) {}
  void take(unsigned event, unsigned value) noexcept;

  void* watched_;
  Socket socket_;
  Obstacle obstacle_ = Obstacle::none;
  unsigned broken_off_ = 0;
  bool has_connected_ = false;
  bool has_shaken_hands_ = false;
  bool has_given_up_ = false;
};

}  // namespace ironcore::wire
