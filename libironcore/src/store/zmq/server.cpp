// SPDX-License-Identifier: Apache-2.0
// The server's loop: who is ready, who is next.
#include "ironcore/store/zmq_server.hpp"

#include <algorithm>
#include <atomic>

#include "../../base/wire/tcp_socket.hpp"
#include "authorizer.hpp"
#include "counters.hpp"
#include "listener.hpp"
#include "publisher.hpp"
#include "requests.hpp"
#include "stream_relay.hpp"

namespace ironcore::store::zmq {

namespace {

constexpr Duration rebind_pause = std::chrono::milliseconds(5);
constexpr Duration rebind_patience = std::chrono::seconds(2);

/// Set by whoever commits; wakes the loop only when it sleeps.
struct ChangeSignal {
  std::atomic<bool> has_changed{true};
  std::atomic<bool> is_sleeping{false};
  std::shared_ptr<Wake> wake;
};

class ZmqServer final : public Server {
 public:
  ZmqServer(LocalStore& store, ServerOptions options, Clock& clock, Log& log)
      : store_(store),
        options_(std::move(options)),
        clock_(clock),
        log_(log),
        instance_(random_number() | 1),  // never 0, which stands for none
        authorizer_(store, options_.tcp ? options_.tcp->identities : Identities()),
        publisher_(store, kinds_, authorizer_, options_, instance_, clock),
        relay_(kinds_, authorizer_, options_, instance_, clock, log, counters_),
        requests_(
            store, kinds_, authorizer_, publisher_, options_, instance_,
            [this](const Peer& peer, const Object& object, Text what) { return relay_.grant(peer, object, what); },
            clock, log, counters_) {}

  Result<void> open(Context& context) {
    context_ = context.native();
    if (options_.path.empty() && !options_.tcp)
      return Error(ErrorCode::invalid, "the server has neither a path nor a tcp endpoint");
    signal_ = std::make_shared<ChangeSignal>();
    IRONCORE_TRY(signal_->wake, Wake::create());
    if (!options_.path.empty()) {
      IRONCORE_TRY(auto listener, listen_local(context, options_));
      add(std::move(listener));
    }
    if (options_.tcp) {
      IRONCORE_TRY(key_checker_, KeyChecker::open(context));
      IRONCORE_TRY(auto listener, listen_tcp(context, options_));
      add(std::move(listener));
    }
    return {};
  }

  Result<void> run(std::stop_token stop) override;

  std::string ipc_endpoint() const override { return endpoint(true); }
  std::string tcp_endpoint() const override { return endpoint(false); }
  void replace_identities(Identities identities) override {
    authorizer_.replace(std::move(identities));
    has_new_identities_.store(true);
    signal_->wake->set();
  }
  ServerCounters counters() const override { return counters_.read(); }

 private:
  void add(std::unique_ptr<Listener> listener) {
    publisher_.add(*listener);
    requests_.add(*listener);
    relay_.add(*listener);
    listeners_.push_back(std::move(listener));
  }
  std::string endpoint(bool is_local) const {
    for (const auto& listener : listeners_)
      if (listener->is_local == is_local) return listener->endpoint;
    return {};
  }
  /// True = there is more to publish.
  bool publish();
  std::vector<zmq_pollitem_t> poll_items() const;
  /// Ends what was admitted by identities that were replaced.
  void drop_connections();
  void bind_again();
  void complain(std::string_view what, const Error& error);

  std::shared_ptr<Context::Native> context_;
  LocalStore& store_;
  const ServerOptions options_;
  Clock& clock_;
  Log& log_;
  const std::uint64_t instance_;
  const KindTable kinds_;
  Counters counters_;
  Authorizer authorizer_;
  Publisher publisher_;
  StreamRelay relay_;
  Requests requests_;
  std::shared_ptr<ChangeSignal> signal_;
  std::unique_ptr<KeyChecker> key_checker_;
  std::vector<std::unique_ptr<Listener>> listeners_;
  std::atomic<bool> has_new_identities_{false};
  bool is_unbound_ = false;  ///< the TCP socket for changes
  Instant unbound_since_{};
  Instant bind_at_{};
  Instant complain_again_{};
};

bool ZmqServer::publish() {
  const auto before = publisher_.count();
  auto published = publisher_.publish();
  counters_.published.add(publisher_.count() - before);
  if (published) return *published;
  complain("cannot publish changes, watches fall behind", published.error());
  return false;
}

void ZmqServer::complain(std::string_view what, const Error& error) {
  if (clock_.now() < complain_again_) return;
  log_.error(what, {{"error", error.message()}});
  complain_again_ = clock_.now() + std::chrono::seconds(60);
}

// ---- replaced identities ----------------------------------------------------------------------------------------

/// ZeroMQ cannot end one peer's subscription, so all of them end. Those who still may come back at once and miss nothing.
void ZmqServer::drop_connections() {
  relay_.drop_unknown_keys();
  for (const auto& listener : listeners_) {
    if (listener->is_local) continue;
    if (auto reopened = reopen_changes(*listener, context_, options_); !reopened) {
      complain("cannot end the subscriptions of replaced identities, restart the server", reopened.error());
      continue;
    }
    publisher_.forget_subscriptions(*listener);
    is_unbound_ = true;
    unbound_since_ = bind_at_ = clock_.now();
  }
}

void ZmqServer::bind_again() {
  const auto now = clock_.now();
  if (!is_unbound_ || now < bind_at_) return;
  for (const auto& listener : listeners_) {
    if (listener->is_local) continue;
    auto bound = bind_changes(*listener, *options_.tcp);
    is_unbound_ = !bound;
    bind_at_ = now + rebind_pause;
    // ZeroMQ takes some milliseconds to close the old one. Meanwhile watches go on by asking.
    if (!bound && now >= unbound_since_ + rebind_patience)
      complain("cannot bind the port of changes again, watches are slow", bound.error());
  }
}

std::vector<zmq_pollitem_t> ZmqServer::poll_items() const {
  std::vector<zmq_pollitem_t> items;
  items.push_back(poll_item(signal_->wake->fd(), ZMQ_POLLIN));
  if (key_checker_) items.push_back(poll_item(key_checker_->socket(), ZMQ_POLLIN));
  for (const auto& listener : listeners_) {
    items.push_back(poll_item(listener->requests, ZMQ_POLLIN));
    items.push_back(poll_item(listener->changes, ZMQ_POLLIN));
    items.push_back(poll_item(listener->streams, ZMQ_POLLIN));
  }
  return items;
}

// ---- the loop ---------------------------------------------------------------------------------------------------

Result<void> ZmqServer::run(std::stop_token stop) {
  IRONCORE_CHECK(publisher_.start());
  const StopWake stop_wake(stop, signal_->wake);
  struct Unsubscribe {
    LocalStore& store;
    ~Unsubscribe() { store.on_change({}); }
  } const unsubscribe{store_};
  store_.on_change([signal = signal_] {
    signal->has_changed.store(true);
    if (signal->is_sleeping.load()) signal->wake->set();
  });

  auto items = poll_items();
  const std::size_t first_listener = key_checker_ ? 2 : 1;
  const auto is_ready = [&](std::size_t which) {
    for (auto i = first_listener + which; i < items.size(); i += 3)
      if (items[i].revents != 0) return true;
    return false;
  };

  bool is_busy = false;
  while (!stop.stop_requested()) {
    signal_->is_sleeping.store(!is_busy);
    const bool may_sleep = !is_busy && !signal_->has_changed.load();
    const auto next_tick =
        std::min({publisher_.next_tick(), relay_.next_tick(), is_unbound_ ? bind_at_ : Instant::max()});
    const bool can_wait = poll(items, may_sleep ? next_tick : Instant(), clock_);
    signal_->is_sleeping.store(false);
    if (!can_wait) return Error(ErrorCode::internal, zmq_error("wait for messages").message() + ": restart the server");
    if (items[0].revents != 0) signal_->wake->clear();
    if (has_new_identities_.exchange(false)) {
      drop_connections();
      bind_again();
      items = poll_items();
      continue;
    }
    bind_again();

    if (key_checker_ && items[1].revents != 0) {
      counters_.unknown_keys.add(key_checker_->answer([this](std::string_view key) { return authorizer_.knows(key); }));
    }
    if (is_ready(1)) counters_.refused.add(publisher_.read_subscriptions());
    is_busy = false;
    if (is_ready(0)) {
      is_busy = requests_.read();
      requests_.commit();
    }
    if (signal_->has_changed.exchange(false) && publish()) signal_->has_changed.store(true);
    is_busy = requests_.work() || is_busy;
    if (is_ready(2)) is_busy = relay_.read() || is_busy;
    publisher_.tick();
    relay_.tick();
    requests_.forget_old();
  }
  relay_.close_all();
  return {};
}

}  // namespace

Result<std::unique_ptr<Server>> Server::create(Context& context, LocalStore& store, ServerOptions options, Clock& clock,
                                               Log& log) {
  auto server = std::make_unique<ZmqServer>(store, std::move(options), clock, log);
  IRONCORE_CHECK(server->open(context));
  return std::unique_ptr<Server>(std::move(server));
}

}  // namespace ironcore::store::zmq
