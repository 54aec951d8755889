// SPDX-License-Identifier: Apache-2.0
// One connection to a server's request socket: one request at a time, sent again until it is answered.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "envelope.hpp"
#include "ironcore/base/clock.hpp"
#include "ironcore/base/result.hpp"
#include "socket.hpp"

namespace ironcore::wire {

/// Which side of the network the other one is on.
enum class Reach { this_machine, network };
/// Of a client's socket, before it is connected: time-outs, sizes, and on a network keep-alives.
Result<void> prepare_client(Socket& socket, Reach reach);

/// An answer whose header was read.
struct Answer {
  Message message;
  Header header;
};

/// Thread: one.
class Channel {
 public:
  /// The socket is a DEALER that was prepared and connected.
  Channel(Socket socket, std::string endpoint, Clock& clock)
      : socket_(std::move(socket)), endpoint_(std::move(endpoint)), clock_(clock) {}

  /// A number for the next request.
  std::uint64_t next_id() noexcept { return ++last_id_; }
  /// Begins; an unanswered request before is forgotten.
  void start(std::uint64_t id, std::string request);
  /// Does what can be done without waiting: sends, sends again, receives. Empty = no answer yet.
  Result<std::optional<Answer>> advance();
  /// Until an answer comes. `unavailable` if the server could not be reached at all, `timeout` if it did not answer, `cancelled`.
  Result<Answer> finish(Instant deadline, const std::shared_ptr<Wake>& cancel = nullptr);

  const Socket& socket() const noexcept { return socket_; }
  const std::string& endpoint() const noexcept { return endpoint_; }
  const Clock& clock() const noexcept { return clock_; }
  /// What to wait for before the next `advance`, and until when at most.
  zmq_pollitem_t poll_item() const noexcept;
  Instant next_send() const noexcept { return is_sent_ ? resend_at_ : Instant::max(); }
  bool is_busy() const noexcept { return is_busy_; }
  /// How often the request was handed to the network.
  unsigned sends() const noexcept { return sends_; }

 private:
  Socket socket_;
  std::string endpoint_;
  Clock& clock_;
  std::uint64_t last_id_ = 0;
  std::uint64_t id_ = 0;
  std::string request_;
  bool is_busy_ = false;
  bool is_sent_ = false;
  unsigned sends_ = 0;
  Instant resend_at_{};
  Duration resend_after_{};
};

// An answer is lost only when the server dies or the connection breaks, so asking again is rare and need not be quick.
inline constexpr Duration first_resend = std::chrono::milliseconds(400);
inline constexpr Duration last_resend = std::chrono::seconds(5);
/// The error of a request without an answer: `unavailable` when it could never be sent, otherwise `timeout`.
Error no_answer(const std::string& endpoint, unsigned sends);

/// What is left of a deadline, for a header.
std::uint32_t milliseconds_until(Instant deadline, const Clock& clock);

/// The record of an answer; the error if it is one.
template <class Reply>
Result<Reply> reply_of(const Answer& answer) {
  if (answer.header.type == MessageType::error) {
    IRONCORE_TRY(auto error, decode<ErrorReply>(answer.message.bytes()));
    return error_of(error);
  }
  if (answer.header.type != Reply::type)
    return Error(ErrorCode::internal, "the server's answer is of another type than the request");
  return decode<Reply>(answer.message.bytes());
}

}  // namespace ironcore::wire
