// SPDX-License-Identifier: Apache-2.0
// Many calls on one connection.
#include "shared_channel.hpp"

#include <algorithm>

namespace ironcore::store::zmq {

Result<std::shared_ptr<SharedChannel>> SharedChannel::open(const std::shared_ptr<Context::Native>& context,
                                                           const ClientOptions& options, const std::string& endpoint,
                                                           Clock& clock) {
  IRONCORE_TRY(auto socket, Socket::open(context, ZMQ_DEALER));
  IRONCORE_CHECK(prepare_client_socket(socket, options));
  IRONCORE_CHECK(socket.connect(endpoint));
  IRONCORE_TRY(const int fd, socket.fd());
  IRONCORE_TRY(auto wake, Wake::create());
  return std::shared_ptr<SharedChannel>(new SharedChannel(std::move(socket), fd, std::move(wake), endpoint, clock));
}

Result<Answer> SharedChannel::call(std::uint64_t id, std::string request, Instant deadline, unsigned* sends) {
  Call call;
  call.request = std::move(request);
  call.resend_after = first_resend;
  in_flight_.fetch_add(1, std::memory_order_relaxed);
  begin(id, call);
  wait(id, call, deadline);
  in_flight_.fetch_sub(1, std::memory_order_relaxed);
  if (sends != nullptr) *sends = call.sends;
  if (call.error) return std::move(*call.error);
  if (call.answer) return std::move(*call.answer);
  return no_answer(endpoint_, call.sends);
}

void SharedChannel::begin(std::uint64_t id, Call& call) {
  const auto now = clock_.now();
  std::lock_guard lock(mutex_);
  calls_.emplace(id, &call);
  ++not_sent_;
  send(call, now);
  settle(now);
  if (reader_ == nullptr) appoint_reader();
}

//            begin                      appointed                     answered, or no more time
//   ─────────────────▶ waits for itself ─────────▶ reads for all ───────────────────────────────▶ appoints another one
void SharedChannel::wait(std::uint64_t id, Call& call, Instant deadline) {
  for (;;) {
    Instant until = deadline;
    {
      std::lock_guard lock(mutex_);
      until = std::min(deadline, call.is_sent ? call.resend_at : Instant::max());
    }
    bool is_reader;
    {
      std::unique_lock lock(call.mutex);
      clock_.wait(lock, call.changed, {}, until, [&] { return call.is_done || call.is_reader; });
      if (call.is_done && !call.is_reader) return;
      is_reader = call.is_reader;
    }
    if (is_reader) {
      if (wait_as_reader(id, call, deadline)) return;
      continue;
    }
    const auto now = clock_.now();
    if (now >= deadline) return give_up(id, call);
    std::lock_guard lock(mutex_);
    if (call.is_sent && now >= call.resend_at && calls_.contains(id)) {
      call.is_sent = false;
      ++not_sent_;
    }
    settle(now);
  }
}

/// True = answered, or no more time.
bool SharedChannel::wait_as_reader(std::uint64_t id, Call& call, Instant deadline) {
  std::unique_lock lock(mutex_);
  for (;;) {
    const auto now = clock_.now();
    if (calls_.contains(id) && call.is_sent && now >= call.resend_at) {
      call.is_sent = false;
      ++not_sent_;
    }
    settle(now);
    if (!calls_.contains(id)) break;
    if (now >= deadline) {
      calls_.erase(id);
      if (!call.is_sent) --not_sent_;
      break;
    }
    const auto until = std::min(deadline, call.is_sent ? call.resend_at : Instant::max());
    lock.unlock();
    pollfd items[2] = {{fd_, POLLIN, 0}, {wake_->fd(), POLLIN, 0}};
    poll_descriptors(items, until, clock_);
    if (items[1].revents != 0) wake_->clear();
    lock.lock();
  }
  reader_ = nullptr;
  appoint_reader();
  return true;
}

void SharedChannel::give_up(std::uint64_t id, Call& call) {
  std::lock_guard lock(mutex_);
  if (calls_.erase(id) != 0 && !call.is_sent) --not_sent_;
  std::lock_guard call_lock(call.mutex);  // whoever was about to answer or appoint it is done
  if (reader_ != &call) return;
  reader_ = nullptr;
  appoint_reader();
}

void SharedChannel::appoint_reader() {
  if (calls_.empty()) return;
  reader_ = calls_.begin()->second;
  std::lock_guard lock(reader_->mutex);
  reader_->is_reader = true;
  reader_->changed.notify_one();
}

void SharedChannel::send(Call& call, Instant now) {
  Message message{std::string_view(call.request)};
  if (!socket_.send(message)) return;
  call.is_sent = true;
  --not_sent_;
  ++call.sends;
  call.resend_at = now + call.resend_after;
  call.resend_after = std::min(call.resend_after * 2, last_resend);
}

void SharedChannel::send_waiting(Instant now) {
  for (auto& [id, call] : calls_) {
    if (call->is_sent) continue;
    send(*call, now);
    if (!call->is_sent) return;
  }
}

/// After each use of the socket everything is done that can be done, until nothing is left but to wait for its descriptor.
void SharedChannel::settle(Instant now) {
  for (;;) {
    receive();
    if (not_sent_ == 0) return;
    const int events = socket_.events();
    if ((events & ZMQ_POLLOUT) != 0)
      send_waiting(now);
    else if ((events & ZMQ_POLLIN) == 0)
      return;
  }
}

void SharedChannel::receive() {
  while (auto message = socket_.receive()) {
    if (message->has_more()) {
      while (message && message->has_more()) message = socket_.receive();
      continue;
    }
    Answer answer{std::move(*message), {}};
    auto read = decode_header(answer.message.bytes(), answer.header);
    if (!read && read.error().code() != ErrorCode::unsupported) continue;
    const auto at = calls_.find(answer.header.request_id);
    if (at == calls_.end()) continue;  // nobody waits any more, or it was sent twice
    auto& call = *at->second;
    calls_.erase(at);
    if (!call.is_sent) --not_sent_;
    if (&call == reader_) wake_->set();
    // The last use of the call here: its thread may return as soon as this lock is free.
    std::lock_guard lock(call.mutex);
    if (read)
      call.answer = std::move(answer);
    else
      call.error = std::move(read).error();
    call.is_done = true;
    call.changed.notify_one();
  }
}

}  // namespace ironcore::store::zmq
