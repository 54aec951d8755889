// SPDX-License-Identifier: Apache-2.0
// Owners for ZeroMQ's sockets and messages, waiting on them, and the one place where its errors become ours.
#pragma once

#include <poll.h>
#include <zmq.h>

#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <stop_token>
#include <string>
#include <string_view>
#include <utility>

#include "ironcore/base/clock.hpp"
#include "ironcore/base/result.hpp"
#include "ironcore/base/unique_fd.hpp"
#include "ironcore/base/zmq_context.hpp"

namespace ironcore::wire {

/// The context itself; ended when the last socket and the Context are gone.
struct Context::Native {
  void* handle = nullptr;
  ~Native();
};

/// zmq_errno as an Error: `bind tcp://…: address already in use`.
Error zmq_error(std::string_view doing);

/// One frame. Thread: one.
class Message {
 public:
  Message() noexcept { zmq_msg_init(&message_); }
  /// Takes the bytes over without copying them when they are many.
  explicit Message(std::string&& bytes);
  explicit Message(std::string_view bytes);
  Message(Message&& other) noexcept {
    zmq_msg_init(&message_);
    zmq_msg_move(&message_, &other.message_);
  }
  Message& operator=(Message&& other) noexcept {
    zmq_msg_move(&message_, &other.message_);
    return *this;
  }
  ~Message() { zmq_msg_close(&message_); }

  std::string_view bytes() const noexcept {
    return {static_cast<const char*>(zmq_msg_data(const_cast<zmq_msg_t*>(&message_))), zmq_msg_size(&message_)};
  }
  bool has_more() const noexcept { return zmq_msg_more(&message_) != 0; }
  /// The name that the handshake gave to the sender; empty on ipc.
  std::string_view user() const noexcept;
  /// Shares large contents.
  Message copy() noexcept;
  zmq_msg_t* native() noexcept { return &message_; }

 private:
  zmq_msg_t message_;
};

/// Thread: one (may be handed to another thread with a lock). Closing never waits: what was not sent is dropped.
class Socket {
 public:
  Socket() noexcept = default;
  static Result<Socket> open(const Context& context, int type) { return open(context.native(), type); }
  static Result<Socket> open(const std::shared_ptr<Context::Native>& context, int type);
  Socket(Socket&& other) noexcept
      : context_(std::move(other.context_)), handle_(std::exchange(other.handle_, nullptr)) {}
  Socket& operator=(Socket&& other) noexcept;
  ~Socket() { close(); }
  void close() noexcept;

  explicit operator bool() const noexcept { return handle_ != nullptr; }
  void* native() const noexcept { return handle_; }

  Result<void> set(int option, int value);
  Result<void> set(int option, std::int64_t value);
  Result<void> set(int option, std::string_view value);
  Result<void> bind(const std::string& endpoint);
  Result<void> connect(const std::string& endpoint);
  Result<std::string> last_endpoint() const;

  /// Does not wait. False = no room (or, on a ROUTER, no such peer any more); the message is then untouched.
  bool send(Message& message, int flags = 0) noexcept;
  /// Does not wait.
  std::optional<Message> receive() noexcept;

  /// ZMQ_POLLIN and ZMQ_POLLOUT, as far as they hold now.
  int events() const noexcept;
  /// Readable when there is news. It tells each news once, to whoever uses the socket next, whatever that use was: before waiting for it,
  /// receive until nothing is left, or look at `events`.
  Result<int> fd() const;

 private:
  std::shared_ptr<Context::Native> context_;
  void* handle_ = nullptr;
};

/// Wakes a poll from another thread. Thread: any.
class Wake {
 public:
  static Result<std::shared_ptr<Wake>> create();
  explicit Wake(UniqueFd fd) noexcept : fd_(std::move(fd)) {}
  void set() noexcept;
  /// Look at what you wait for after this, not before.
  void clear() noexcept;
  int fd() const noexcept { return fd_.get(); }

 private:
  UniqueFd fd_;
  std::atomic<bool> may_be_set_{false};  ///< saves the system call when nothing is to be cleared
};

/// Sets a Wake when stop is requested.
class StopWake {
 public:
  StopWake(std::stop_token stop, std::shared_ptr<Wake> wake) : callback_(std::move(stop), Setter{std::move(wake)}) {}

 private:
  struct Setter {
    std::shared_ptr<Wake> wake;
    void operator()() const noexcept { wake->set(); }
  };
  std::stop_callback<Setter> callback_;
};

inline zmq_pollitem_t poll_item(const Socket& socket, short events) {
  return {socket.native(), 0, events, 0};
}
inline zmq_pollitem_t poll_item(int fd, short events) {
  return {nullptr, fd, events, 0};
}

/// Waits until one of the items is ready or `deadline` has passed on `clock`; the items say which. False = ZeroMQ cannot
/// wait: one of the sockets, or their context, is no more; see `zmq_error`.
bool poll(std::span<zmq_pollitem_t> items, Instant deadline, const Clock& clock);

/// The same for descriptors alone, with one system call; may return early without any of them ready.
void poll_descriptors(std::span<pollfd> items, Instant deadline, const Clock& clock);

/// 16 random bytes as two numbers; 8 as one.
struct RandomId {
  std::uint64_t high;
  std::uint64_t low;
  friend bool operator==(const RandomId&, const RandomId&) = default;
};
RandomId random_id();
std::uint64_t random_number();

}  // namespace ironcore::wire
