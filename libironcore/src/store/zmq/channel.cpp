// SPDX-License-Identifier: Apache-2.0
// The pool of connections, and the first word with a server.
#include "channel.hpp"

#include <algorithm>
#include <utility>

#include "shared_channel.hpp"

namespace ironcore::store::zmq {

namespace {
constexpr std::size_t pool_size = 128;
// Fewer than the answers that a server keeps for one connection (listener.cpp), so that none is dropped.
constexpr std::size_t calls_per_connection = 32;
}  // namespace

Result<std::unique_ptr<Channel>> open_channel(const std::shared_ptr<Context::Native>& context,
                                              const ClientOptions& options, const std::string& endpoint, Clock& clock) {
  IRONCORE_TRY(auto socket, Socket::open(context, ZMQ_DEALER));
  IRONCORE_CHECK(prepare_client(socket, options.endpoint, options.keys));
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
  const auto id = channel->next_id();
  channel->start(id, encode(id, milliseconds_until(deadline, clock), HelloRequest{options.program}));
  IRONCORE_TRY(const auto answer, first_answer(*channel, context, options.keys, deadline));
  auto facts = take_hello(answer);
  give_back(std::move(channel));
  return facts;
}

Result<ServerFacts> ClientCore::take_hello(const Answer& answer) {
  IRONCORE_TRY(auto hello, reply<HelloReply>(answer));
  ServerFacts facts;
  facts.program = hello.program.substr(0, 64);
  facts.epoch = hello.epoch;
  facts.instance = hello.instance;
  facts.heartbeat = std::chrono::milliseconds(std::clamp<std::uint32_t>(hello.heartbeat_ms, 10, 60'000));
  if (reach_of(options.endpoint) == Reach::this_machine) {
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
