// SPDX-License-Identifier: Apache-2.0
// A server's end on the network: only with CURVE, only for keys that it knows.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "ironcore/base/zmq_context.hpp"
#include "socket.hpp"

namespace ironcore::wire {

/// Before it is bound: keys, and time-outs after which a peer that is gone or takes nothing is cut off. A KeyChecker of the same context says who
/// gets in. `invalid`: the keys are none.
Result<void> secure(Socket& socket, const KeyPair& keys);
/// Port 0 = a free one. Gives the port.
Result<std::uint16_t> bind_tcp(Socket& socket, const std::string& address, std::uint16_t port);

/// Answers ZeroMQ's questions about keys (ZAP, ZeroMQ RFC 27). Thread: one.
class KeyChecker {
 public:
  /// `wrong_state` when the context has one already.
  static Result<std::unique_ptr<KeyChecker>> open(const Context& context);
  const Socket& socket() const noexcept { return socket_; }
  /// `knows`: whether somebody has this public key. Returns how many keys were refused.
  std::size_t answer(const std::function<bool(std::string_view)>& knows);

 private:
  explicit KeyChecker(Socket socket) : socket_(std::move(socket)) {}
  Socket socket_;
};

}  // namespace ironcore::wire
