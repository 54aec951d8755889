// SPDX-License-Identifier: Apache-2.0
// Streams on one connection.
#include "stream_link.hpp"

#include <algorithm>

#include "codec.hpp"

namespace ironcore::store::zmq {

namespace {
constexpr std::size_t max_offers = 64;
}  // namespace

//        accept_stream               close() or the other side's close_stream
//  ───────────────────▶ open ───────────────────────────────────────────────▶ ended: what arrived may still be read
struct StreamLink::State {
  std::uint64_t id = 0;
  std::string arrived;                 ///< at most what we granted
  std::uint32_t consumed = 0;          ///< credit to give back
  std::string waiting;                 ///< written, not sent: at most a window
  std::uint64_t credit = 0;            ///< that the other side granted
  bool is_accepted = false;            ///< the worker took it; nothing is sent before
  bool is_offered = false;             ///< a worker's: its handler has not decided yet
  std::optional<Error> end;            ///< why there is nothing after `arrived`
  std::optional<std::string> closing;  ///< send what waits, then this reason
  bool has_sent_close = false;
};

class LinkStream final : public Stream {
 public:
  LinkStream(std::shared_ptr<StreamLink> link, std::shared_ptr<StreamLink::State> state)
      : link_(std::move(link)), state_(std::move(state)) {}

  ~LinkStream() override {
    std::lock_guard lock(link_->mutex_);
    if (!state_->end && !state_->has_sent_close && !state_->is_offered) {
      // What waits is lost here; `close` is for those who care.
      link_->send_locked(
          encode(state_->id, 0, CloseStream{to_record(Error(ErrorCode::gone, "the other side went away"))}));
      link_->hurry();
    }
    link_->streams_.erase(state_->id);
  }

  Result<std::string> read(Instant deadline, std::stop_token stop, std::size_t limit) override {
    std::unique_lock lock(link_->mutex_);
    link_->wait_until(lock, deadline, stop, [&] { return !state_->arrived.empty() || state_->end; });
    if (state_->arrived.empty()) {
      if (state_->end) return *state_->end;
      return std::string();
    }
    const auto count = std::min(std::max<std::size_t>(limit, 1), state_->arrived.size());
    std::string bytes = state_->arrived.substr(0, count);
    state_->arrived.erase(0, count);
    state_->consumed += static_cast<std::uint32_t>(count);
    // Messages' own cost was counted when they came. Granting in quarters keeps the writer moving with few messages.
    if (state_->consumed >= stream_window / 4) {
      link_->send_locked(encode(state_->id, 0, StreamCredit{state_->consumed}));
      state_->consumed = 0;
      link_->hurry();
    }
    return bytes;
  }

  Result<std::size_t> write(std::string_view bytes, Instant deadline, std::stop_token stop) override {
    std::size_t taken = 0;
    std::unique_lock lock(link_->mutex_);
    while (taken < bytes.size()) {
      link_->wait_until(lock, deadline, stop, [&] { return state_->waiting.size() < stream_window || state_->end; });
      if (state_->end) return *state_->end;
      if (state_->closing) return Error(ErrorCode::wrong_state, "the stream was closed: open a new one");
      const auto count =
          std::min(bytes.size() - taken, stream_window - std::min<std::size_t>(state_->waiting.size(), stream_window));
      if (count == 0) break;
      state_->waiting.append(bytes.substr(taken, count));
      taken += count;
      link_->hurry();
    }
    // Where nobody else moves the messages, they are on their way when this returns, as far as the deadline allows.
    if (link_->pump_ == StreamLink::Pump::waiters)
      link_->wait_until(lock, deadline, stop, [&] { return state_->waiting.empty() || state_->end; });
    return taken;
  }

  void close(std::string_view reason, Instant deadline) override {
    std::unique_lock lock(link_->mutex_);
    if (state_->end || state_->has_sent_close) return;
    state_->closing = std::string(reason);
    link_->wake_->set();
    link_->wait_until(lock, deadline, {}, [&] { return state_->has_sent_close || state_->end; });
    if (!state_->end) state_->end = Error(ErrorCode::gone, "closed by this side");
  }

 private:
  const std::shared_ptr<StreamLink> link_;
  const std::shared_ptr<StreamLink::State> state_;
};

Result<std::shared_ptr<StreamLink>> StreamLink::open(const ClientCore& core, const std::string& endpoint, Pump pump) {
  IRONCORE_TRY(auto socket, Socket::open(core.context, ZMQ_DEALER));
  IRONCORE_CHECK(prepare_client(socket, core.options.endpoint, core.options.keys));
  // The peer's threads answer these, so a stopped process or a vanished host is noticed, a busy one is not taken for dead.
  IRONCORE_CHECK(socket.set(ZMQ_HEARTBEAT_IVL, 2000));
  IRONCORE_CHECK(socket.set(ZMQ_HEARTBEAT_TIMEOUT, 6000));
  IRONCORE_CHECK(socket.set(ZMQ_LINGER, 100));  // the last word, if the server takes it
  IRONCORE_CHECK(socket.set(ZMQ_MAXMSGSIZE, static_cast<std::int64_t>(max_request_bytes)));
  IRONCORE_CHECK(socket.connect(endpoint));
  IRONCORE_TRY(auto wake, Wake::create());
  return std::shared_ptr<StreamLink>(new StreamLink(std::move(socket), std::move(wake), core.clock, pump));
}

StreamLink::~StreamLink() {
  if (!socket_) return;
  for (auto& bytes : outbox_) {
    Message message(std::move(bytes));
    if (!socket_.send(message)) break;
  }
}

void StreamLink::send(std::string message) {
  std::lock_guard lock(mutex_);
  send_locked(std::move(message));
  wake_->set();
}

Result<std::unique_ptr<Stream>> StreamLink::open_stream(RandomId grant, Instant deadline) {
  constexpr std::uint64_t id = 1;  // the only one on this connection
  auto state = std::make_shared<State>();
  state->id = id;
  auto stream = std::make_unique<LinkStream>(shared_from_this(), state);
  std::unique_lock lock(mutex_);
  streams_.insert_or_assign(id, state);
  send_locked(encode(id, milliseconds_until(deadline, clock_), OpenStream{grant.high, grant.low, stream_window}));
  wait_until(lock, deadline, {}, [&] { return state->is_accepted || state->end; });
  // What came before the end may be all there was to say: a short log.
  if (state->end && !state->is_accepted) return *state->end;
  if (!state->is_accepted)
    return Error(ErrorCode::timeout, "the stream was not taken in time: its worker does not answer");
  lock.unlock();
  return std::unique_ptr<Stream>(std::move(stream));
}

std::optional<StreamLink::Offer> StreamLink::next_offer(const KindTable& kinds) {
  std::lock_guard lock(mutex_);
  while (!offers_.empty()) {
    const Message message = std::move(offers_.front());
    offers_.pop_front();
    Header header;
    if (!decode_header(message.bytes(), header)) continue;
    const auto record = decode<OfferStream>(message.bytes());
    if (!record) continue;
    auto key = key_of(record->key, kinds);
    if (!key) {
      send_locked(encode(header.request_id, 0, CloseStream{to_record(key.error())}));
      continue;
    }
    return Offer{header.request_id,
                 {std::move(*key), std::string(record->uid), std::string(record->what), std::string(record->identity)},
                 record->credit};
  }
  return std::nullopt;
}

void StreamLink::settle(Offer offer, const StreamWorker::Handler& handler) {
  auto state = std::make_shared<State>();
  state->id = offer.id;
  state->credit = offer.credit;
  state->is_offered = true;
  {
    std::lock_guard lock(mutex_);
    streams_.insert_or_assign(offer.id, state);
  }
  auto taken = handler(offer.request, std::make_unique<LinkStream>(shared_from_this(), state));
  std::lock_guard lock(mutex_);
  state->is_offered = false;
  if (!taken) {
    if (!state->end) state->end = taken.error();
    streams_.erase(offer.id);
    return send_locked(encode(offer.id, 0, CloseStream{to_record(taken.error())}));
  }
  state->is_accepted = true;
  send_locked(encode(offer.id, 0, AcceptStream{stream_window}));
  if (!streams_.contains(offer.id))  // taken and dropped at once
    send_locked(encode(offer.id, 0, CloseStream{to_record(Error(ErrorCode::gone, "the other side went away"))}));
}

std::optional<Answer> StreamLink::next_answer() {
  std::lock_guard lock(mutex_);
  if (answers_.empty()) return std::nullopt;
  auto answer = std::move(answers_.front());
  answers_.pop_front();
  return answer;
}

void StreamLink::end(const Error& error) {
  std::lock_guard lock(mutex_);
  for (auto& [id, state] : streams_) {
    if (state->end) continue;
    state->end = error;
    if (!state->has_sent_close)
      send_locked(
          encode(id, 0, CloseStream{to_record(Error(ErrorCode::unavailable, "the provider stopped serving streams"))}));
  }
  streams_.clear();
  flush();
  outbox_.clear();
  socket_.close();  // the last words have a tenth of a second; who still holds a stream does not hold the connection
  changed_.notify_all();
}

void StreamLink::hurry() {
  if (pump_ == Pump::waiters && !is_pumping_) flush();
  wake_->set();
}

Instant StreamLink::last_heard() const {
  std::lock_guard lock(mutex_);
  return last_heard_;
}

// ---- moving messages --------------------------------------------------------------------------------------------

template <class Ready>
bool StreamLink::wait_until(std::unique_lock<std::mutex>& lock, Instant deadline, std::stop_token stop, Ready ready) {
  std::optional<StopWake> stop_wake;
  if (pump_ == Pump::waiters && stop.stop_possible()) stop_wake.emplace(stop, wake_);
  for (;;) {
    if (ready()) return true;
    const auto now = clock_.now();
    if (now >= deadline || stop.stop_requested()) return false;
    if (pump_ == Pump::waiters && !is_pumping_) {
      // The server pings a connection with a stream every second. A reader that stayed away finds those pings waiting.
      if (now - last_pumped_ > 2 * stream_ping) listening_since_ = now;
      if (now - std::max(last_heard_, listening_since_) > stream_silence) {
        const Error lost(ErrorCode::unavailable, "the server was lost: nothing was heard from it for 10 s");
        for (auto& [id, state] : streams_)
          if (!state->end) state->end = lost;
        changed_.notify_all();
        continue;
      }
      is_pumping_ = true;
      lock.unlock();
      pump_once(std::min(deadline, now + stream_ping));
      lock.lock();
      is_pumping_ = false;
      last_pumped_ = clock_.now();
      changed_.notify_all();
      continue;
    }
    clock_.wait(lock, changed_, stop, deadline, [&] { return ready() || (pump_ == Pump::waiters && !is_pumping_); });
  }
}

void StreamLink::pump(Instant deadline, std::stop_token stop) {
  const StopWake stop_wake(stop, wake_);
  if (!stop.stop_requested()) pump_once(deadline);
}

void StreamLink::pump_once(Instant deadline) {
  bool is_flushed;
  {
    std::lock_guard lock(mutex_);
    is_flushed = flush();
  }
  zmq_pollitem_t items[2] = {
      poll_item(wake_->fd(), ZMQ_POLLIN),
      poll_item(socket_, static_cast<short>(is_flushed ? ZMQ_POLLIN : ZMQ_POLLIN | ZMQ_POLLOUT))};
  poll(items, deadline, clock_);
  wake_->clear();
  std::lock_guard lock(mutex_);
  while (auto message = socket_.receive()) take(std::move(*message));
  flush();
  changed_.notify_all();
}

/// False = something is left, because the network takes no more now.
bool StreamLink::flush() {
  if (!socket_) return true;
  while (!outbox_.empty()) {
    Message message{std::string_view(outbox_.front())};
    if (!socket_.send(message)) return false;
    outbox_.pop_front();
  }
  for (auto& [id, state] : streams_)
    if (!flush(*state)) return false;
  return true;
}

bool StreamLink::flush(State& state) {
  while (!state.waiting.empty() && state.credit > stream_message_cost && state.is_accepted) {
    const auto count =
        std::min({state.waiting.size(), stream_chunk, static_cast<std::size_t>(state.credit - stream_message_cost)});
    Message message(encode(state.id, 0, StreamData{std::string_view(state.waiting).substr(0, count)}));
    if (!socket_.send(message)) return false;
    state.waiting.erase(0, count);
    state.credit -= count + stream_message_cost;
  }
  if (state.closing && state.waiting.empty() && state.is_accepted && !state.has_sent_close) {
    Message message(encode(state.id, 0, CloseStream{to_record(Error(ErrorCode::gone, *state.closing))}));
    if (!socket_.send(message)) return false;
    state.has_sent_close = true;
  }
  return true;
}

void StreamLink::take(Message message) {
  Header header;
  if (message.has_more() || !decode_header(message.bytes(), header)) return;
  last_heard_ = clock_.now();
  const auto at = streams_.find(header.request_id);
  auto* state = at == streams_.end() ? nullptr : at->second.get();
  switch (header.type) {
    case MessageType::offer_stream:
      if (offers_.size() < max_offers) {
        offers_.push_back(std::move(message));
      } else {
        send_locked(encode(
            header.request_id, 0,
            CloseStream{to_record(Error(ErrorCode::exhausted, "too many streams are being opened: try again"))}));
      }
      return;
    case MessageType::accept_stream: {
      const auto record = decode<AcceptStream>(message.bytes());
      if (state == nullptr || !record) return;
      state->is_accepted = true;
      state->credit += record->credit;
      return;
    }
    case MessageType::stream_data: {
      const auto record = decode<StreamData>(message.bytes());
      if (state == nullptr || state->end || !record) return;
      state->arrived += record->bytes;
      state->consumed += stream_message_cost;
      // The relay enforces what we granted; this is the same bound once more, against a relay that does not.
      if (state->arrived.size() > 2 * stream_window)
        state->end = Error(ErrorCode::internal, "the other side sent more than it may");
      return;
    }
    case MessageType::stream_credit: {
      const auto record = decode<StreamCredit>(message.bytes());
      if (state != nullptr && record) state->credit += record->credit;
      return;
    }
    case MessageType::close_stream: {
      const auto record = decode<CloseStream>(message.bytes());
      if (state == nullptr || !record) return;
      if (!state->end) state->end = error_of(record->error);
      streams_.erase(at);
      return;
    }
    case MessageType::ping:
      return;
    default:
      if (answers_.size() < max_offers) answers_.push_back({std::move(message), header});
  }
}

}  // namespace ironcore::store::zmq
