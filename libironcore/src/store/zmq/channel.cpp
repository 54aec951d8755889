// SPDX-License-Identifier: Apache-2.0
// The pool of connections, and the first word with a server.
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
  IRONCORE_CHECK(prepare_client(socket, is_ipc(options.endpoint) ? Reach::this_machine : Reach::network));
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

Result<std::unique_ptr<Channel>> open_channel(const std::shared_ptr<Context::Native>& context,
                                              const ClientOptions& options, const std::string& endpoint, Clock& clock) {
  IRONCORE_TRY(auto socket, Socket::open(context, ZMQ_DEALER));
  IRONCORE_CHECK(prepare_client_socket(socket, options));
  IRONCORE_CHECK(socket.connect(endpoint));
  return std::make_unique<Channel>(std::move(socket), endpoint, clock);
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
  return open_channel(context, options, options.endpoint, clock);
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
