// SPDX-License-Identifier: Apache-2.0
// Many calls on one connection.
#include "shared_channel.hpp"

#include <algorithm>
#include <utility>

namespace ironcore::store::zmq {

namespace {
constexpr Duration longest_wait = std::chrono::hours(1);
}  // namespace

Result<std::shared_ptr<SharedChannel>> SharedChannel::open(const std::shared_ptr<Context::Native>& context,
                                                           const ClientOptions& options, const std::string& endpoint,
                                                           Clock& clock) {
  IRONCORE_TRY(auto socket, Socket::open(context, ZMQ_DEALER));
  IRONCORE_CHECK(prepare_client(socket, options.endpoint, options.keys));
  IRONCORE_CHECK(socket.connect(endpoint));
  IRONCORE_TRY(const int fd, socket.fd());
  IRONCORE_TRY(auto wake, Wake::create());
  return std::shared_ptr<SharedChannel>(new SharedChannel(std::move(socket), fd, std::move(wake), endpoint, clock));
}

void SharedChannel::Call::set(State wanted) {
  {
    const std::lock_guard lock(mutex);
    if (state != State::done) state = wanted;
  }
  // After the lock: who wakes up finds it free.
  changed.notify_one();
}

void SharedChannel::Call::stop_reading() {
  const std::lock_guard lock(mutex);
  if (state == State::reading) state = State::waiting;
}

auto SharedChannel::Call::wait_for(Duration span) -> State {
  std::unique_lock lock(mutex);
  changed.wait_for(lock, span, [&] { return state != State::waiting; });
  return state;
}

void SharedChannel::Section::leave() {
  if (!lock_.owns_lock()) return;
  const auto answered = std::exchange(channel_.answered_, {});
  const auto appointed = std::exchange(channel_.appointed_, nullptr);
  lock_.unlock();
  for (const auto& call : answered) call->set(Call::State::done);
  if (appointed) appointed->set(Call::State::reading);
}

Result<Answer> SharedChannel::call(std::uint64_t id, std::string request, Instant deadline, unsigned* sends) {
  const auto call = std::make_shared<Call>();
  call->request = std::move(request);
  call->resend_after = first_resend;
  in_flight_.fetch_add(1, std::memory_order_relaxed);
  const auto send_again = begin(id, call);
  wait(id, *call, send_again, deadline);
  in_flight_.fetch_sub(1, std::memory_order_relaxed);
  if (sends != nullptr) *sends = call->sends;
  if (call->error) return std::move(*call->error);
  if (call->answer) return std::move(*call->answer);
  return no_answer(endpoint_, call->sends);
}

Instant SharedChannel::begin(std::uint64_t id, const std::shared_ptr<Call>& call) {
  const auto now = clock_.now();
  Section section(*this);
  calls_.emplace(id, call);
  ++not_sent_;
  send(*call, now);
  settle(now);
  if (reader_ == nullptr) appoint_reader();
  return call->is_sent ? call->resend_at : now + first_resend;
}

//            begin                      appointed                     answered, or no more time
//   ─────────────────▶ waits for itself ─────────▶ reads for all ───────────────────────────────▶ appoints another one
void SharedChannel::wait(std::uint64_t id, Call& call, Instant send_again, Instant deadline) {
  for (;;) {
    const auto until = std::min(deadline, send_again);
    const auto state = call.wait_for(std::clamp<Duration>(until - clock_.now(), Duration::zero(), longest_wait));
    if (state == Call::State::done) return;
    if (state == Call::State::reading) {
      if (wait_as_reader(id, call, deadline)) return;
      continue;
    }
    const auto now = clock_.now();
    if (now >= deadline) return give_up(id, call);
    const Section section(*this);
    if (call.is_sent && now >= call.resend_at && calls_.contains(id)) {
      call.is_sent = false;
      ++not_sent_;
    }
    settle(now);
    send_again = call.is_sent ? call.resend_at : now + first_resend;
  }
}

/// Ends when this call is answered or has no more time; false = another one is the reader by now.
bool SharedChannel::wait_as_reader(std::uint64_t id, Call& call, Instant deadline) {
  Section section(*this);
  if (reader_.get() != &call) {
    call.stop_reading();
    return false;
  }
  has_reader_begun_ = true;
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
    is_reader_asleep_ = true;
    section.leave();
    pollfd items[2] = {{fd_, POLLIN, 0}, {wake_->fd(), POLLIN, 0}};
    poll_descriptors(items, until, clock_);
    if (items[1].revents != 0) wake_->clear();
    section.enter();
    is_reader_asleep_ = false;
  }
  appoint_reader();
  return true;
}

void SharedChannel::give_up(std::uint64_t id, Call& call) {
  const Section section(*this);
  if (calls_.erase(id) != 0 && !call.is_sent) --not_sent_;
  if (reader_.get() == &call) appoint_reader();  // it just became the reader
}

/// Another one of those who wait, if there is any.
void SharedChannel::appoint_reader() {
  reader_ = calls_.empty() ? nullptr : calls_.begin()->second;
  has_reader_begun_ = false;
  appointed_ = reader_;
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
    auto call = std::move(at->second);
    calls_.erase(at);
    if (!call->is_sent) --not_sent_;
    if (call == reader_ && is_reader_asleep_) wake_->set();
    if (call == reader_ && !has_reader_begun_) appoint_reader();
    if (read)
      call->answer = std::move(answer);
    else
      call->error = std::move(read).error();
    answered_.push_back(std::move(call));
  }
}

}  // namespace ironcore::store::zmq
