// SPDX-License-Identifier: Apache-2.0
// Sockets of a loop that waits for descriptors, and touches a socket only when there is something to do with it.
#pragma once

#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "../../base/wire/socket.hpp"

namespace ironcore::routing::zmq {

/// What is known of the input of one socket. ZeroMQ's descriptor tells each news once, to whoever uses the socket next; so a socket that was used has to
/// be asked before one waits again (`settle`), and one that was not used has news only when its descriptor says so (`look`). Thread: as its socket.
class Input {
 public:
  bool is_there() const noexcept { return is_there_; }
  void use() noexcept { is_used_ = true; }
  /// A receive found nothing: from then on the descriptor tells what comes.
  void end() noexcept { is_there_ = is_used_ = false; }
  void add_to(std::vector<pollfd>& items, const wire::Socket& socket) {
    const auto fd = socket.fd();
    place_ = fd ? std::optional(items.size()) : std::nullopt;
    if (fd) items.push_back({*fd, POLLIN, 0});
  }
  /// After waiting for the items.
  void look(std::span<const pollfd> items) noexcept {
    if (place_ && *place_ < items.size() && items[*place_].revents != 0) is_there_ = true;
    place_.reset();
  }
  /// Before waiting: true = do not wait, there is something.
  bool settle(const wire::Socket& socket) noexcept {
    if (std::exchange(is_used_, false)) is_there_ = (socket.events() & ZMQ_POLLIN) != 0;
    return is_there_;
  }

 private:
  std::optional<std::size_t> place_;
  bool is_there_ = false;
  bool is_used_ = true;
};

/// Thread: as Socket. May be empty, as Socket.
class LoopSocket : public wire::Socket {
 public:
  LoopSocket() noexcept = default;
  LoopSocket(wire::Socket&& socket) noexcept : Socket(std::move(socket)) {}

  bool send(wire::Message& message, int flags = 0) noexcept {
    input_.use();
    return Socket::send(message, flags);
  }
  std::optional<wire::Message> receive() noexcept {
    input_.use();
    auto message = Socket::receive();
    if (!message) input_.end();
    return message;
  }

  bool has_input() const noexcept { return *this && input_.is_there(); }
  void add_to(std::vector<pollfd>& items) {
    if (*this) input_.add_to(items, *this);
  }
  void look(std::span<const pollfd> items) noexcept { input_.look(items); }
  bool settle() noexcept { return *this && input_.settle(*this); }

 private:
  Input input_;
};

}  // namespace ironcore::routing::zmq
