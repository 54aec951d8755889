// SPDX-License-Identifier: Apache-2.0
// Requests of a client: sent again until answered.
#include "request_channel.hpp"

#include <algorithm>
#include <utility>

namespace ironcore::wire {

Result<void> prepare_client(Socket& socket, Reach reach) {
  // A request waits in our hands until there is a connection: what the caller gave up on is never delivered later.
  IRONCORE_CHECK(socket.set(ZMQ_IMMEDIATE, 1));
  IRONCORE_CHECK(socket.set(ZMQ_RECONNECT_IVL, 20));
  IRONCORE_CHECK(socket.set(ZMQ_RECONNECT_IVL_MAX, 1000));
  IRONCORE_CHECK(socket.set(ZMQ_MAXMSGSIZE, static_cast<std::int64_t>(max_reply_bytes)));
  if (reach == Reach::network) {
    // Notices a host that vanished; on ipc the kernel tells.
    IRONCORE_CHECK(socket.set(ZMQ_HEARTBEAT_IVL, 3000));
    IRONCORE_CHECK(socket.set(ZMQ_HEARTBEAT_TIMEOUT, 9000));
    IRONCORE_CHECK(socket.set(ZMQ_IPV6, 1));
  }
  return {};
}

Error no_answer(const std::string& endpoint, unsigned sends) {
  if (sends == 0)
    return Error(ErrorCode::unavailable, "no server answers at " + endpoint + ": is it running, and may you open it?");
  return Error(ErrorCode::timeout, "no answer from " + endpoint + " in time: the server is overloaded or went away");
}

void Channel::start(std::uint64_t id, std::string request) {
  id_ = id;
  request_ = std::move(request);
  is_busy_ = true;
  is_sent_ = false;
  sends_ = 0;
  resend_after_ = first_resend;
}

Result<std::optional<Answer>> Channel::advance() {
  if (is_sent_) {
    while (auto message = socket_.receive()) {
      if (message->has_more()) {
        while (message && message->has_more()) message = socket_.receive();
        continue;
      }
      Answer answer{std::move(*message), {}};
      auto read = decode_header(answer.message.bytes(), answer.header);
      if (!read && read.error().code() == ErrorCode::unsupported) {
        is_busy_ = false;
        return std::move(read).error();
      }
      if (!read || answer.header.request_id != id_) continue;  // the late answer to a request that was sent twice
      is_busy_ = false;
      return std::optional<Answer>(std::move(answer));
    }
  }
  const auto now = clock_.now();
  if (!is_sent_ || now >= resend_at_) {
    Message message{std::string_view(request_)};
    is_sent_ = socket_.send(message);
    if (is_sent_) {
      ++sends_;
      resend_at_ = now + resend_after_;
      resend_after_ = std::min(resend_after_ * 2, last_resend);
    }
  }
  return std::optional<Answer>();
}

zmq_pollitem_t Channel::poll_item() const noexcept {
  return wire::poll_item(socket_, static_cast<short>(is_sent_ ? ZMQ_POLLIN : ZMQ_POLLOUT));
}

Result<Answer> Channel::finish(Instant deadline, const std::shared_ptr<Wake>& cancel) {
  for (;;) {
    IRONCORE_TRY(auto answer, advance());
    if (answer) return std::move(*answer);
    const auto now = clock_.now();
    if (now >= deadline) return no_answer(endpoint_, sends_);
    zmq_pollitem_t items[2] = {poll_item(), wire::poll_item(cancel ? cancel->fd() : -1, ZMQ_POLLIN)};
    poll(std::span(items, cancel ? 2 : 1), std::min(deadline, next_send()), clock_);
    if (cancel && items[1].revents != 0) return Error(ErrorCode::cancelled, "stopped while waiting for " + endpoint_);
  }
}

std::uint32_t milliseconds_until(Instant deadline, const Clock& clock) {
  const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(deadline - clock.now()).count();
  return static_cast<std::uint32_t>(std::clamp<std::int64_t>(left, 1, 3'600'000));
}

}  // namespace ironcore::wire
