// SPDX-License-Identifier: Apache-2.0
// A reflector's loop.
#include <condition_variable>
#include <mutex>

#include "client_link.hpp"
#include "ironcore/routing/zmq.hpp"
#include "operations.hpp"
#include "server_link.hpp"

namespace ironcore::routing::zmq {

namespace {

using wire::StopWake;
using wire::Wake;

class ZmqReflectorServer final : public ReflectorServer {
 public:
  ZmqReflectorServer(std::unique_ptr<ServerLink> nodes, std::unique_ptr<ClientLink> peers, std::shared_ptr<Wake> wake,
                     Clock& clock, Log& log)
      : nodes_(std::move(nodes)), peers_(std::move(peers)), wake_(std::move(wake)), clock_(clock), log_(log) {}

  Result<void> open(ReflectorOptions options, std::string program, std::vector<std::string> peers, Random& random) {
    options.bulk = nodes_->bulk();
    options.publications = nodes_->publications();
    IRONCORE_TRY(reflector_, Reflector::create(std::move(options), *nodes_, *peers_, clock_, random, log_));
    operations_ = std::make_unique<Operations>(*reflector_, *nodes_, std::move(program), std::move(peers));
    return {};
  }

  Result<void> run(std::stop_token stop) override;
  bool wait_until_ready(std::stop_token stop) const override {
    std::unique_lock lock(mutex_);
    return ready_.wait(lock, std::move(stop), [this] { return reflector_->is_ready(); });
  }
  std::string ipc_endpoint() const override { return nodes_->ipc_endpoint(); }
  std::string tcp_endpoint() const override { return nodes_->tcp_endpoint(); }
  void replace_identities(KeyRights rights) override {
    {
      const std::lock_guard lock(mutex_);
      new_rights_ = std::move(rights);
    }
    wake_->set();
  }
  void with(const std::function<void(const Reflector&)>& f) const override {
    const std::lock_guard lock(mutex_);
    f(*reflector_);
  }
  std::uint64_t unknown_keys() const override {
    const std::lock_guard lock(mutex_);
    return nodes_->unknown_keys();
  }
  std::vector<ReflectorCount> counts() const override {
    const std::lock_guard lock(mutex_);
    auto counts = link_counts();
    const auto requests = operations_->counts();
    counts.insert(counts.end(), requests.begin(), requests.end());
    return counts;
  }

 private:
  ServerLink::Events events() {
    return {.receive =
                [this](PeerId peer, Channel channel, std::string_view message, const KeyRights::Rights* rights) {
                  if (channel == Channel::control && Operations::is_request(message))
                    return operations_->take(peer, message, rights);
                  reflector_->receive(peer, channel, message, rights == nullptr ? nullptr : &rights->node);
                },
            .subscribed = [this](StreamName topic) { reflector_->subscribed(topic); }};
  }
  std::vector<ReflectorCount> link_counts() const {
    using enum ReflectorCount::Kind;
    return {
        {"unknown_keys", "TCP connections of keys that nobody has.", counter, nodes_->unknown_keys()},
        {"refused_subscriptions", "Subscriptions that a key may not have.", counter, nodes_->refused_subscriptions()}};
  }

  std::unique_ptr<ServerLink> nodes_;
  std::unique_ptr<ClientLink> peers_;
  std::shared_ptr<Wake> wake_;
  Clock& clock_;
  Log& log_;
  mutable std::mutex mutex_;
  mutable std::condition_variable_any ready_;
  std::unique_ptr<Reflector> reflector_;
  std::unique_ptr<Operations> operations_;
  std::optional<KeyRights> new_rights_;
};

Result<void> ZmqReflectorServer::run(std::stop_token stop) {
  const StopWake stop_wake(stop, wake_);
  const auto events = this->events();
  std::vector<pollfd> items;
  Instant until{}, next_watch{};
  while (!stop.stop_requested()) {
    items.assign(1, {wake_->fd(), POLLIN, 0});
    nodes_->add_descriptors(items);
    peers_->add_descriptors(items);
    wire::poll_descriptors(items, until, clock_);
    wake_->clear();
    const std::lock_guard lock(mutex_);
    nodes_->look(items);
    peers_->look(items);
    const auto was_ready = reflector_->is_ready();
    if (new_rights_) {
      IRONCORE_CHECK(
          within(nodes_->replace_rights(std::move(*new_rights_)), "publish again after rights have changed"));
      new_rights_.reset();
      reflector_->end_sessions();
    }
    nodes_->read(events);
    peers_->read([this](PeerId peer, Channel channel, std::string_view message) {
      reflector_->receive_from_peer(peer, channel, message);
    });
    if (const auto now = clock_.now(); peers_->size() > 0 && now >= next_watch) {
      next_watch = peers_->watch(now);
      for (PeerId i = 0; i < peers_->size(); ++i) reflector_->peer_trouble(i, peers_->trouble(i));
    }
    until = reflector_->advance();
    if (peers_->size() > 0) until = std::min(until, next_watch);
    peers_->act();
    if (!was_ready && reflector_->is_ready()) ready_.notify_all();
    bool is_busy = operations_->is_waiting() && operations_->answer(link_counts());
    if (nodes_->is_unbound()) until = std::min(until, clock_.now() + std::chrono::milliseconds(5));
    is_busy = nodes_->has_input() || is_busy;
    is_busy = peers_->has_input() || is_busy;
    if (is_busy) until = {};
  }
  const std::lock_guard lock(mutex_);
  reflector_->close();
  return {};
}

}  // namespace

Result<std::unique_ptr<ReflectorServer>> ReflectorServer::create(Context& context, ReflectorOptions options,
                                                                 ServerOptions server,
                                                                 std::vector<ReflectorEndpoint> peers, Clock& clock,
                                                                 Random& random, Log& log) {
  options.peers = peers.size();
  auto program = server.program;
  std::vector<std::string> peer_endpoints;
  for (const auto& peer : peers) peer_endpoints.push_back(peer.endpoint);
  IRONCORE_TRY(auto nodes, ServerLink::create(context, std::move(server)));
  IRONCORE_TRY(auto peer_link, ClientLink::create(context, std::move(peers)));
  IRONCORE_TRY(auto wake, Wake::create());
  auto made = std::make_unique<ZmqReflectorServer>(std::move(nodes), std::move(peer_link), std::move(wake), clock, log);
  IRONCORE_CHECK(made->open(std::move(options), std::move(program), std::move(peer_endpoints), random));
  return std::unique_ptr<ReflectorServer>(std::move(made));
}

}  // namespace ironcore::routing::zmq
