// SPDX-License-Identifier: Apache-2.0
// Requests of a client: sent again until answered, from a pool of connections.
#include "channel.hpp"

#include <algorithm>
#include <cstring>
#include <utility>

#include "shared_channel.hpp"

namespace ironcore::store::zmq {

namespace {
constexpr std::size_t pool_size = 128;
// Fewer than the answers that a server keeps for one connection (listener.cpp), so that none is dropped.
constexpr std::size_t calls_per_connection = 32;

bool is_ipc(const std::string& endpoint) {
  return endpoint.starts_with("ipc://");
}

/// What ZeroMQ tells about one socket's connection. Thread: one.
class ConnectionMonitor {
 public:
  static Result<ConnectionMonitor> open(const std::shared_ptr<Context::Native>& context, const Socket& watched) {
    const auto name = "inproc://monitor-" + std::to_string(random_number());
    if (zmq_socket_monitor(watched.native(), name.c_str(), ZMQ_EVENT_ALL) != 0) return zmq_error("watch a connection");
    IRONCORE_TRY(auto socket, Socket::open(context, ZMQ_PAIR));
    IRONCORE_CHECK(socket.connect(name));
    return ConnectionMonitor(watched.native(), std::move(socket));
  }
  ConnectionMonitor(ConnectionMonitor&& other) noexcept
      : watched_(std::exchange(other.watched_, nullptr)), socket_(std::move(other.socket_)), events_(other.events_) {}
  ~ConnectionMonitor() { close(); }
  void close() noexcept {
    if (watched_ != nullptr) zmq_socket_monitor(std::exchange(watched_, nullptr), nullptr, 0);
  }

  zmq_pollitem_t poll_item() const noexcept { return zmq::poll_item(socket_, ZMQ_POLLIN); }
  bool is_key_refused() {
    read();
    return (events_ & ZMQ_EVENT_HANDSHAKE_FAILED_AUTH) != 0;
  }
  bool has_connected() const noexcept { return (events_ & ZMQ_EVENT_CONNECTED) != 0; }
  bool has_shaken_hands() const noexcept { return (events_ & ZMQ_EVENT_HANDSHAKE_SUCCEEDED) != 0; }

 private:
  ConnectionMonitor(void* watched, Socket socket) noexcept : watched_(watched), socket_(std::move(socket)) {}
  void read() {
    while (auto frame = socket_.receive()) {
      // A frame of number and value, then one with the address.
      if (frame->has_more() && frame->bytes().size() >= 2) {
        std::uint16_t event;
        std::memcpy(&event, frame->bytes().data(), sizeof event);
        events_ |= event;
      }
    }
  }
  void* watched_;
  Socket socket_;
  unsigned events_ = 0;
};

}  // namespace

Error no_answer(const std::string& endpoint, unsigned sends) {
  if (sends == 0)
    return Error(ErrorCode::unavailable, "no server answers at " + endpoint + ": is it running, and may you open it?");
  return Error(ErrorCode::timeout, "no answer from " + endpoint + " in time: the server is overloaded or went away");
}

Result<void> check_options(const ClientOptions& options) {
  if (is_ipc(options.endpoint)) {
    if (options.keys)
      return Error(ErrorCode::invalid, "keys are for tcp endpoints; " + options.endpoint + " needs none");
    if (options.endpoint.size() == 6) return Error(ErrorCode::invalid, "endpoint ipc:// names no path");
    return {};
  }
  if (options.endpoint.starts_with("tcp://")) {
    if (!options.keys) {
      return Error(ErrorCode::invalid,
                   "endpoint " + options.endpoint + " needs keys: give a key file and the server's public key");
    }
    if (options.endpoint.rfind(':') <= 5)
      return Error(ErrorCode::invalid, "endpoint " + options.endpoint + " names no port");
    return {};
  }
  return Error(ErrorCode::invalid, "endpoint '" + options.endpoint + "' is neither ipc://PATH nor tcp://HOST:PORT");
}

Result<void> prepare_client_socket(Socket& socket, const ClientOptions& options) {
  // A request waits in our hands until there is a connection: what the caller gave up on is never delivered later.
  IRONCORE_CHECK(socket.set(ZMQ_IMMEDIATE, 1));
  IRONCORE_CHECK(socket.set(ZMQ_RECONNECT_IVL, 20));
  IRONCORE_CHECK(socket.set(ZMQ_RECONNECT_IVL_MAX, 1000));
  IRONCORE_CHECK(socket.set(ZMQ_MAXMSGSIZE, static_cast<std::int64_t>(max_reply_bytes)));
  if (!is_ipc(options.endpoint)) {
    // Notices a host that vanished; on ipc the kernel tells.
    IRONCORE_CHECK(socket.set(ZMQ_HEARTBEAT_IVL, 3000));
    IRONCORE_CHECK(socket.set(ZMQ_HEARTBEAT_TIMEOUT, 9000));
    IRONCORE_CHECK(socket.set(ZMQ_IPV6, 1));
  }
  if (options.keys) {
    const auto set_key = [&](int option, const std::string& key, const char* which) -> Result<void> {
      if (key.size() != 40 || zmq_setsockopt(socket.native(), option, key.c_str(), 41) != 0)
        return Error(ErrorCode::invalid, std::string(which) + " is not a key of 40 Z85 characters");
      return {};
    };
    IRONCORE_CHECK(set_key(ZMQ_CURVE_SERVERKEY, options.keys->server_public_key, "the server's public key"));
    IRONCORE_CHECK(set_key(ZMQ_CURVE_PUBLICKEY, options.keys->own.public_key, "the own public key"));
    IRONCORE_CHECK(set_key(ZMQ_CURVE_SECRETKEY, options.keys->own.secret_key, "the own secret key"));
  }
  return {};
}

Result<std::unique_ptr<Channel>> Channel::open(const std::shared_ptr<Context::Native>& context,
                                               const ClientOptions& options, const std::string& endpoint,
                                               Clock& clock) {
  IRONCORE_TRY(auto socket, Socket::open(context, ZMQ_DEALER));
  IRONCORE_CHECK(prepare_client_socket(socket, options));
  IRONCORE_CHECK(socket.connect(endpoint));
  return std::unique_ptr<Channel>(new Channel(std::move(socket), endpoint, clock));
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
  return zmq::poll_item(socket_, static_cast<short>(is_sent_ ? ZMQ_POLLIN : ZMQ_POLLOUT));
}

Result<Answer> Channel::finish(Instant deadline, const std::shared_ptr<Wake>& cancel) {
  for (;;) {
    IRONCORE_TRY(auto answer, advance());
    if (answer) return std::move(*answer);
    const auto now = clock_.now();
    if (now >= deadline) return no_answer(endpoint_, sends_);
    zmq_pollitem_t items[2] = {poll_item(), zmq::poll_item(cancel ? cancel->fd() : -1, ZMQ_POLLIN)};
    poll(std::span(items, cancel ? 2 : 1), std::min(deadline, next_send()), clock_);
    if (cancel && items[1].revents != 0) return Error(ErrorCode::cancelled, "stopped while waiting for " + endpoint_);
  }
}

std::uint32_t milliseconds_until(Instant deadline, const Clock& clock) {
  const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(deadline - clock.now()).count();
  return static_cast<std::uint32_t>(std::clamp<std::int64_t>(left, 1, 3'600'000));
}

Result<std::unique_ptr<Channel>> ClientCore::take() {
  {
    std::lock_guard lock(mutex_);
    if (is_closed_) return Error(ErrorCode::cancelled, "the store was closed");
    if (!free_.empty()) {
      auto channel = std::move(free_.back());
      free_.pop_back();
      return channel;
    }
  }
  return Channel::open(context, options, options.endpoint, clock);
}

void ClientCore::give_back(std::unique_ptr<Channel> channel) {
  if (channel == nullptr || channel->is_busy())
    return;  // its answer may still come: never mix it up with the next one's
  std::lock_guard lock(mutex_);
  if (!is_closed_ && free_.size() < pool_size) free_.push_back(std::move(channel));
}

Result<std::shared_ptr<SharedChannel>> ClientCore::share() {
  std::lock_guard lock(mutex_);
  if (is_closed_) return Error(ErrorCode::cancelled, "the store was closed");
  for (const auto& channel : shared_)
    if (channel->in_flight() < calls_per_connection) return channel;
  IRONCORE_TRY(auto channel, SharedChannel::open(context, options, options.endpoint, clock));
  shared_.push_back(channel);
  return channel;
}

Result<ServerFacts> ClientCore::hello(Instant deadline) {
  IRONCORE_TRY(auto answer, call(HelloRequest{options.program}, deadline));
  return take_hello(answer);
}

Result<ServerFacts> ClientCore::first_hello(Instant deadline) {
  IRONCORE_TRY(auto channel, take());
  IRONCORE_TRY(auto monitor, ConnectionMonitor::open(context, channel->socket()));
  const auto id = channel->next_id();
  channel->start(id, encode(id, milliseconds_until(deadline, clock), HelloRequest{options.program}));
  for (;;) {
    IRONCORE_TRY(auto answer, channel->advance());
    if (answer) {
      auto facts = take_hello(*answer);
      monitor.close();
      give_back(std::move(channel));
      return facts;
    }
    if (monitor.is_key_refused()) {
      return Error(ErrorCode::forbidden, options.endpoint + " does not know the key " + options.keys->own.public_key +
                                             ": add it to the server's identities file");
    }
    if (clock.now() >= deadline) {
      if (options.keys && monitor.has_connected() && !monitor.has_shaken_hands()) {
        return Error(
            ErrorCode::forbidden,
            options.endpoint + " breaks off before the handshake is done: check that the server's public key is right");
      }
      return channel->finish(deadline).error();
    }
    zmq_pollitem_t items[2] = {channel->poll_item(), monitor.poll_item()};
    poll(items, std::min(deadline, channel->next_send()), clock);
  }
}

Result<ServerFacts> ClientCore::take_hello(const Answer& answer) {
  IRONCORE_TRY(auto hello, reply<HelloReply>(answer));
  ServerFacts facts;
  facts.program = hello.program.substr(0, 64);
  facts.epoch = hello.epoch;
  facts.instance = hello.instance;
  facts.heartbeat = std::chrono::milliseconds(std::clamp<std::uint32_t>(hello.heartbeat_ms, 10, 60'000));
  if (is_ipc(options.endpoint)) {
    facts.changes_endpoint = options.endpoint + ".changes";
    facts.streams_endpoint = options.endpoint + ".streams";
  } else {
    const auto host = options.endpoint.substr(0, options.endpoint.rfind(':') + 1);
    facts.changes_endpoint = host + std::to_string(hello.changes_port);
    facts.streams_endpoint = host + std::to_string(hello.streams_port);
  }
  std::lock_guard lock(mutex_);
  facts_ = facts;
  return facts;
}

ServerFacts ClientCore::facts() const {
  std::lock_guard lock(mutex_);
  return facts_;
}

void ClientCore::saw_epoch(Text epoch) {
  std::lock_guard lock(mutex_);
  if (facts_.epoch != epoch) facts_.epoch = epoch;
}

Result<Object> ClientCore::decoded(const api::Kind& kind, Text epoch, std::uint64_t revision, Text json) {
  const auto place = revision % decoded_.size();
  {
    std::lock_guard lock(decoded_mutex_);
    const auto& known = decoded_[place];
    if (known && known->revision == revision && decoded_epoch_ == epoch && &known->object.kind() == &kind)
      return known->object;
  }
  IRONCORE_TRY(auto object, kind.decode(json));
  std::lock_guard lock(decoded_mutex_);
  if (decoded_epoch_ != epoch) {
    decoded_epoch_ = epoch;
    decoded_ = {};
  }
  decoded_[place] = Decoded{revision, object};
  return object;
}

void ClientCore::close() {
  std::vector<std::unique_ptr<Channel>> channels;
  std::lock_guard lock(mutex_);
  is_closed_ = true;
  channels.swap(free_);
  shared_.clear();
  for (const auto& watcher : watchers_)
    if (const auto wake = watcher.lock()) wake->set();
}

bool ClientCore::is_closed() const {
  std::lock_guard lock(mutex_);
  return is_closed_;
}

void ClientCore::wake_on_close(std::weak_ptr<Wake> wake) {
  std::lock_guard lock(mutex_);
  std::erase_if(watchers_, [](const auto& watcher) { return watcher.expired(); });
  watchers_.push_back(std::move(wake));
}

}  // namespace ironcore::store::zmq
