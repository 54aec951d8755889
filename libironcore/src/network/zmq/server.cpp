// SPDX-License-Identifier: Apache-2.0
// The server's loop: each request is carried out when it is read; watches wait beside it.
#include <algorithm>
#include <array>
#include <atomic>
#include <deque>
#include <set>
#include <utility>

#include "../../base/wire/local_socket.hpp"
#include "../../base/wire/tcp_socket.hpp"
#include "access.hpp"
#include "capture_records.hpp"
#include "counter_records.hpp"
#include "ironcore/base/text.hpp"
#include "ironcore/network/configuration_json.hpp"
#include "ironcore/network/zmq.hpp"
#include "port_records.hpp"
#include "usage_records.hpp"

namespace ironcore::network::zmq {

namespace {

using ironcore::wire::Header;
using ironcore::wire::Message;
using ironcore::wire::Socket;
using ironcore::wire::StopWake;
using ironcore::wire::Wake;

constexpr std::size_t page_objects = 1000;
constexpr std::size_t batch_bytes = 8 * 1024 * 1024;  ///< in one answer to a watch, about
constexpr std::size_t most_field_errors = 64;         ///< that anybody is told at once
constexpr std::size_t most_watches = 1024;
constexpr std::size_t messages_per_turn = 64;
constexpr Duration watch_tick = std::chrono::milliseconds(20);
// A worker answers between two bursts; one that does not run must not hold up the others for long.
constexpr Duration explain_patience = std::chrono::seconds(1);
constexpr Duration longest_watch = std::chrono::minutes(1);
constexpr std::size_t kinds = std::variant_size_v<Change> / 2;

/// Calls `f` with the number of the kind as a type; false if there is no such kind.
template <class F>
bool with_kind(std::string_view kind, F f) {
  const auto names = configuration_kinds();
  return [&]<std::size_t... I>(std::index_sequence<I...>) {
    return ((names[I] == kind && (f(std::integral_constant<std::size_t, I>()), true)) || ...);
  }
  (std::make_index_sequence<kinds>());
}

/// One of the server's endpoints.
struct Listener {
  bool is_local = false;
  std::string endpoint;
  Socket socket;
  ironcore::wire::SocketFile file;
};

/// Who asked, and for what.
struct Origin {
  Listener* listener = nullptr;
  Message routing_id;
  std::uint64_t request_id = 0;
  std::string key;  ///< public one; empty on ipc
};

class ZmqServer final : public Server {
 public:
  ZmqServer(Dataplane& dataplane, Ports& ports, ServerOptions options, Clock& clock, Log& log)
      : dataplane_(dataplane),
        ports_(ports),
        options_(std::move(options)),
        clock_(clock),
        log_(log),
        access_(options_.tcp ? options_.tcp->identities : Identities()) {}

  Result<void> open(Context& context) {
    if (options_.path.empty() && !options_.tcp)
      return Error(ErrorCode::invalid, "the server has neither a path nor a tcp endpoint");
    IRONCORE_TRY(wake_, Wake::create());
    if (!options_.path.empty()) {
      IRONCORE_CHECK(ironcore::wire::check_path(options_.path));
      IRONCORE_TRY(auto listener, listen(context));
      listener->is_local = true;
      listener->endpoint = "ipc://" + options_.path;
      IRONCORE_TRY(listener->file, ironcore::wire::bind_local(listener->socket, options_.path));
      listeners_.push_back(std::move(listener));
    }
    if (options_.tcp) {
      const auto& tcp = *options_.tcp;
      IRONCORE_TRY(key_checker_, ironcore::wire::KeyChecker::open(context));
      IRONCORE_TRY(auto listener, listen(context));
      IRONCORE_CHECK(ironcore::wire::secure(listener->socket, tcp.keys));
      IRONCORE_TRY(const auto port, ironcore::wire::bind_tcp(listener->socket, tcp.address, tcp.port));
      listener->endpoint = "tcp://" + tcp.address + ":" + std::to_string(port);
      listeners_.push_back(std::move(listener));
    }
    return {};
  }

  Result<void> run(std::stop_token stop) override;
  std::string ipc_endpoint() const override { return endpoint(true); }
  std::string tcp_endpoint() const override { return endpoint(false); }
  void replace_identities(Identities identities) override {
    access_.replace(std::move(identities));
    has_new_identities_.store(true);
    wake_->set();
  }
  ServerCounters counters() const override {
    const auto read = [](const std::atomic<std::uint64_t>& count) { return count.load(std::memory_order_relaxed); };
    return {read(requests_), read(malformed_), read(foreign_version_), read(refused_), read(unknown_keys_)};
  }

 private:
  struct Watch {
    Origin origin;
    std::uint64_t after = 0;
    std::size_t limit = 0;
    Instant until;
  };

  static Result<std::unique_ptr<Listener>> listen(Context& context) {
    auto listener = std::make_unique<Listener>();
    IRONCORE_TRY(listener->socket, Socket::open(context, ZMQ_ROUTER));
    IRONCORE_CHECK(ironcore::wire::prepare_router(listener->socket, {.message_bytes = max_request_bytes}));
    return listener;
  }
  std::string endpoint(bool is_local) const {
    for (const auto& listener : listeners_)
      if (listener->is_local == is_local) return listener->endpoint;
    return {};
  }
  static void add(std::atomic<std::uint64_t>& count, std::uint64_t more = 1) noexcept {
    count.fetch_add(more, std::memory_order_relaxed);
  }

  bool read(Listener& listener);
  void take(Listener& listener, Message routing_id, Message message);
  /// Anything at all.
  Result<void> may(const Origin& origin) const;
  Result<void> may(const Origin& origin, Verb verb, std::string_view resource) const;
  Result<void> may_apply(const Origin& origin, std::span<const Change> changes) const;
  Result<void> carry_out(Origin& origin, const Header& header, std::string_view message);
  Result<void> list(Origin& origin, const ListRequest& request);
  void tell_counters(Origin& origin);
  Result<void> explain(Origin& origin, const ExplainRequest& request);
  Result<void> watch(Origin& origin, const Header& header, const WatchRequest& request);
  /// True = it was answered.
  bool try_watch(Watch& watch);
  void look_at_watches();
  /// They ask again, and are judged by what holds now.
  void end_remote_watches();

  template <class Record>
  void answer(Origin& origin, const Record& record) {
    Message reply(ironcore::wire::encode(origin.request_id, 0, record));
    // Who is gone, or does not read, gets nothing and asks again.
    auto& socket = origin.listener->socket;
    if (socket.send(origin.routing_id, ZMQ_SNDMORE)) socket.send(reply);
  }

  Dataplane& dataplane_;
  Ports& ports_;
  const ServerOptions options_;
  Clock& clock_;
  Log& log_;
  const std::uint64_t instance_ = ironcore::wire::random_number();
  Access access_;
  std::shared_ptr<Wake> wake_;
  std::unique_ptr<ironcore::wire::KeyChecker> key_checker_;
  std::vector<std::unique_ptr<Listener>> listeners_;
  std::deque<Watch> watches_;
  std::uint64_t seen_revision_ = 0;
  std::atomic<std::uint64_t> requests_{0};
  std::atomic<std::uint64_t> malformed_{0};
  std::atomic<std::uint64_t> foreign_version_{0};
  std::atomic<std::uint64_t> refused_{0};
  std::atomic<std::uint64_t> unknown_keys_{0};
  std::atomic<bool> has_new_identities_{false};
};

Result<void> ZmqServer::run(std::stop_token stop) {
  const StopWake stop_wake(stop, wake_);
  std::vector items{ironcore::wire::poll_item(wake_->fd(), ZMQ_POLLIN)};
  for (const auto& listener : listeners_) items.push_back(ironcore::wire::poll_item(listener->socket, ZMQ_POLLIN));
  if (key_checker_) items.push_back(ironcore::wire::poll_item(key_checker_->socket(), ZMQ_POLLIN));
  bool is_busy = false;
  while (!stop.stop_requested()) {
    const auto now = clock_.now();
    const auto until = is_busy ? now : watches_.empty() ? Instant::max() : now + watch_tick;
    if (!ironcore::wire::poll(items, until, clock_))
      return Error(ErrorCode::internal,
                   ironcore::wire::zmq_error("wait for messages").message() + ": restart the server");
    if (items[0].revents != 0) wake_->clear();
    if (has_new_identities_.exchange(false)) end_remote_watches();
    if (key_checker_) add(unknown_keys_, key_checker_->answer([this](auto key) { return access_.knows(key); }));
    is_busy = false;
    for (const auto& listener : listeners_) is_busy = read(*listener) || is_busy;
    look_at_watches();
  }
  watches_.clear();
  return {};
}

bool ZmqServer::read(Listener& listener) {
  auto& socket = listener.socket;
  for (std::size_t count = 0; count < messages_per_turn; ++count) {
    auto routing_id = socket.receive();
    if (!routing_id) return false;
    if (!routing_id->has_more()) continue;
    auto message = socket.receive();
    if (!message) return false;
    if (message->has_more()) {
      add(malformed_);
      while (message && message->has_more()) message = socket.receive();
      continue;
    }
    take(listener, std::move(*routing_id), std::move(*message));
  }
  return true;
}

void ZmqServer::take(Listener& listener, Message routing_id, Message message) {
  Header header;
  const auto read = ironcore::wire::decode_header(message.bytes(), header);
  if (!read && read.error().code() != ErrorCode::unsupported) {
    add(malformed_);
    log_.debug("dropped a message that is none of this protocol", {{"bytes", std::to_string(message.bytes().size())}});
    return;
  }
  Origin origin{&listener, std::move(routing_id), header.request_id, std::string(message.user())};
  if (!read) {
    add(foreign_version_);
    return answer(origin, ironcore::wire::to_record(read.error()));
  }
  add(requests_);
  const auto done = carry_out(origin, header, message.bytes());
  if (done) return;
  auto error = done.error();
  if (error.code() == ErrorCode::corrupt) {
    add(malformed_);
    error = Error(ErrorCode::invalid, error.message());
  }
  if (error.code() == ErrorCode::forbidden) add(refused_);
  // One that was shortened already says in its last one how many more there are.
  if (const auto count = error.fields().size();
      count > most_field_errors + 1 || (count > most_field_errors && !error.fields().back().field.empty())) {
    auto fields = error.fields();
    const auto more = fields.size() - most_field_errors;
    fields.resize(most_field_errors);
    fields.push_back({"", FieldError::Reason::invalid, "… and " + std::to_string(more) + " more"});
    error = Error(std::move(fields));
  }
  answer(origin, ironcore::wire::to_record(error));
}

Result<void> ZmqServer::may(const Origin& origin) const {
  if (origin.listener->is_local) return {};
  return access_.may(origin.key);
}

Result<void> ZmqServer::may(const Origin& origin, Verb verb, std::string_view resource) const {
  if (origin.listener->is_local) return {};
  return access_.may(origin.key, verb, resource);
}

Result<void> ZmqServer::may_apply(const Origin& origin, std::span<const Change> changes) const {
  std::set<std::string_view> kinds_in;
  for (const auto& change : changes) kinds_in.insert(kind_of(change));
  for (const auto kind : kinds_in) IRONCORE_CHECK(may(origin, Verb::update, kind));
  return {};
}

Result<void> ZmqServer::carry_out(Origin& origin, const Header& header, std::string_view message) {
  using ironcore::wire::decode;
  IRONCORE_CHECK(may(origin));
  switch (header.type) {
    case MessageType::dataplane_hello: {
      IRONCORE_CHECK(decode<HelloRequest>(message));
      answer(origin, HelloReply{.program = options_.program,
                                .instance = instance_,
                                .revision = dataplane_.revision(),
                                .workers = static_cast<std::uint32_t>(dataplane_.workers())});
      return {};
    }
    case MessageType::apply_changes: {
      IRONCORE_TRY(const auto request, decode<ApplyRequest>(message));
      IRONCORE_TRY(const auto changes, parse_changes(request.changes));
      IRONCORE_CHECK(may_apply(origin, changes));
      IRONCORE_TRY(const auto revision, dataplane_.apply(changes));
      answer(origin, ApplyReply{.revision = revision});
      return {};
    }
    case MessageType::list_objects: {
      IRONCORE_TRY(const auto request, decode<ListRequest>(message));
      IRONCORE_CHECK(may(origin, Verb::read, request.kind));
      return list(origin, request);
    }
    case MessageType::list_vnis: {
      IRONCORE_TRY(const auto request, decode<VnisRequest>(message));
      for (const auto kind : {"Interface", "Route", "LoadBalancer", "Nat", "NeighbourNat"})
        IRONCORE_CHECK(may(origin, Verb::read, kind));
      IRONCORE_TRY(const auto after, within(Vni::make(request.after), "after"));
      const auto page = dataplane_.vnis(std::min<std::size_t>(request.limit, page_objects),
                                        request.is_first ? std::nullopt : std::optional(after));
      answer(origin, to_record(page));
      return {};
    }
    case MessageType::watch_batches: {
      IRONCORE_TRY(const auto request, decode<WatchRequest>(message));
      for (const auto kind : configuration_kinds()) IRONCORE_CHECK(may(origin, Verb::read, kind));
      return watch(origin, header, request);
    }
    case MessageType::dataplane_counters: {
      IRONCORE_CHECK(decode<CountersRequest>(message));
      IRONCORE_CHECK(may(origin, Verb::read, counters_resource));
      tell_counters(origin);
      return {};
    }
    case MessageType::dataplane_offload: {
      IRONCORE_CHECK(decode<OffloadRequest>(message));
      IRONCORE_CHECK(may(origin, Verb::read, counters_resource));
      answer(origin, to_record(dataplane_.counters().offload));
      return {};
    }
    case MessageType::dataplane_usage: {
      IRONCORE_CHECK(decode<UsageRequest>(message));
      IRONCORE_CHECK(may(origin, Verb::read, counters_resource));
      const auto usage = dataplane_.usage();
      answer(origin, to_record(usage));
      return {};
    }
    case MessageType::open_port: {
      IRONCORE_TRY(const auto request, decode<OpenPortRequest>(message));
      IRONCORE_CHECK(may(origin, Verb::update, ports_resource));
      IRONCORE_TRY(const auto spec, spec_of(request.spec));
      IRONCORE_TRY(const auto state, ports_.open(spec));
      EncodedPort port(state, {});
      answer(origin, OpenPortReply{.port = port.record()});
      return {};
    }
    case MessageType::close_port: {
      IRONCORE_TRY(const auto request, decode<ClosePortRequest>(message));
      IRONCORE_CHECK(may(origin, Verb::update, ports_resource));
      IRONCORE_CHECK(ports_.close(std::string(request.name)));
      answer(origin, ClosePortReply{});
      return {};
    }
    case MessageType::list_ports: {
      IRONCORE_CHECK(decode<PortsRequest>(message));
      IRONCORE_CHECK(may(origin, Verb::read, ports_resource));
      const auto states = ports_.list();
      std::deque<EncodedPort> ports;  // does not move what records point into
      PortsReply reply;
      for (const auto& state : states) {
        // One that was closed just now has no counters any more.
        const auto counters = ports_.counters(state.spec.name);
        if (counters) reply.ports.push_back(ports.emplace_back(state, *counters).record());
      }
      answer(origin, reply);
      return {};
    }
    case MessageType::explain_packet: {
      IRONCORE_TRY(const auto request, decode<ExplainRequest>(message));
      IRONCORE_CHECK(may(origin, Verb::read, packets_resource));
      return explain(origin, request);
    }
    case MessageType::start_capture: {
      IRONCORE_TRY(const auto request, decode<StartCaptureRequest>(message));
      IRONCORE_CHECK(may(origin, Verb::update, captures_resource));
      IRONCORE_TRY(const auto spec, spec_of(request.spec));
      IRONCORE_TRY(const auto state, dataplane_.start_capture(spec));
      EncodedCapture capture(state);
      answer(origin, StartCaptureReply{.capture = capture.record()});
      return {};
    }
    case MessageType::stop_capture: {
      IRONCORE_TRY(const auto request, decode<StopCaptureRequest>(message));
      IRONCORE_CHECK(may(origin, Verb::update, captures_resource));
      IRONCORE_TRY(const auto state, dataplane_.stop_capture(std::string(request.id)));
      EncodedCapture capture(state);
      answer(origin, StopCaptureReply{.capture = capture.record()});
      return {};
    }
    case MessageType::list_captures: {
      IRONCORE_CHECK(decode<CapturesRequest>(message));
      IRONCORE_CHECK(may(origin, Verb::read, captures_resource));
      const auto states = dataplane_.captures();
      std::deque<EncodedCapture> captures;  // does not move what records point into
      CapturesReply reply;
      for (const auto& state : states) reply.captures.push_back(captures.emplace_back(state).record());
      answer(origin, reply);
      return {};
    }
    case MessageType::read_capture: {
      IRONCORE_TRY(const auto request, decode<ReadCaptureRequest>(message));
      // What is read is gone, and it is what machines say: more than to look on.
      IRONCORE_CHECK(may(origin, Verb::update, captures_resource));
      IRONCORE_TRY(const auto chunk, dataplane_.read_capture(std::string(request.id), request.offset));
      answer(origin, ReadCaptureReply{chunk.bytes, chunk.is_last});
      return {};
    }
    default:
      return Error(ErrorCode::unsupported, "a dataplane has no answer to messages of type " +
                                               std::to_string(static_cast<std::uint16_t>(header.type)));
  }
}

Result<void> ZmqServer::list(Origin& origin, const ListRequest& request) {
  std::optional<Change> after;
  if (!request.after.empty()) {
    IRONCORE_TRY(after, within(parse_change(request.after), "after"));
  }
  ListReply reply;
  std::vector<Change> objects;
  Result<void> done;
  const bool is_known = with_kind(request.kind, [&](auto kind) {
    using Object = std::variant_alternative_t<kind, Change>;
    using Key = std::variant_alternative_t<kind + kinds, Change>;
    std::optional<Key> key;
    if (after) {
      const auto* const given = std::get_if<Key>(&*after);
      if (given == nullptr) {
        done = Error(ErrorCode::invalid, "after must be the key of kind " + std::string(request.kind));
        return;
      }
      key = *given;
    }
    if (request.is_exact) {
      auto object = key ? dataplane_.get<Object>(*key) : Error(ErrorCode::invalid, "the key is missing");
      if (object)
        objects.emplace_back(std::move(*object));
      else
        done = object.error();
      return;
    }
    auto page = dataplane_.list<Object>(std::min<std::size_t>(request.limit, page_objects), key);
    reply.revision = page.revision;
    reply.has_more = page.has_more;
    for (auto& object : page.objects) objects.emplace_back(std::move(object));
  });
  if (!is_known) return Error(ErrorCode::invalid, in_quotes(request.kind) + " is no kind of a configuration");
  IRONCORE_CHECK(std::move(done));
  const auto json = to_json(objects);
  reply.objects = json;
  answer(origin, reply);
  return {};
}

void ZmqServer::tell_counters(Origin& origin) {
  const auto counters = dataplane_.counters();
  const EncodedCounters encoded(counters, dataplane_.interface_counters());
  answer(origin, encoded.reply);
}

Result<void> ZmqServer::explain(Origin& origin, const ExplainRequest& request) {
  const std::span frame(reinterpret_cast<const std::uint8_t*>(request.frame.data()), request.frame.size());
  IRONCORE_TRY(const auto explanation, dataplane_.explain(std::string(request.port), frame,
                                                          clock_.now() + explain_patience, {}, request.worker));
  ExplainReply reply{.steps = {},
                     .drop = name(explanation.drop),
                     .port = explanation.port,
                     .frame = {reinterpret_cast<const char*>(explanation.frame.data()), explanation.frame.size()}};
  for (const auto& step : explanation.steps) reply.steps.push_back({step.stage, step.text});
  answer(origin, reply);
  return {};
}

// ---- watches ----------------------------------------------------------------------------------------------------

Result<void> ZmqServer::watch(Origin& origin, const Header& header, const WatchRequest& request) {
  const auto span = std::min<Duration>(std::chrono::milliseconds(header.deadline_ms), longest_watch);
  Watch watch{std::move(origin), request.after, std::max<std::size_t>(request.limit, 1), clock_.now() + span};
  // Asked again: the same watch, which does not last longer by that.
  std::erase_if(watches_, [&](const Watch& other) {
    const bool is_same = other.origin.listener == watch.origin.listener &&
                         other.origin.request_id == watch.origin.request_id &&
                         other.origin.routing_id.bytes() == watch.origin.routing_id.bytes();
    if (is_same) watch.until = std::min(watch.until, other.until);
    return is_same;
  });
  if (try_watch(watch)) return {};
  if (watches_.size() == most_watches) {
    answer(watches_.front().origin, WatchReply{});
    watches_.pop_front();
  }
  watches_.push_back(std::move(watch));
  return {};
}

bool ZmqServer::try_watch(Watch& watch) {
  const auto batches = dataplane_.watch(watch.after, Instant(), {}, watch.limit);
  if (!batches) {
    answer(watch.origin, ironcore::wire::to_record(batches.error()));
    return true;
  }
  if (batches->empty() && clock_.now() < watch.until) return false;
  std::deque<std::string> texts;
  WatchReply reply;
  std::size_t bytes = 0;
  for (const auto& batch : *batches) {
    texts.push_back(to_json(*batch.changes));
    bytes += texts.back().size();
    if (!reply.batches.empty() && bytes > batch_bytes) break;
    reply.batches.push_back({batch.revision, texts.back()});
  }
  answer(watch.origin, reply);
  return true;
}

void ZmqServer::end_remote_watches() {
  std::erase_if(watches_, [&](Watch& watch) {
    if (watch.origin.listener->is_local) return false;
    answer(watch.origin, WatchReply{});
    return true;
  });
}

void ZmqServer::look_at_watches() {
  const auto revision = dataplane_.revision();
  const bool is_new = std::exchange(seen_revision_, revision) != revision;
  const auto now = clock_.now();
  std::erase_if(watches_, [&](Watch& watch) { return (is_new || now >= watch.until) && try_watch(watch); });
}

}  // namespace

Result<std::unique_ptr<Server>> Server::create(Context& context, Dataplane& dataplane, Ports& ports,
                                               ServerOptions options, Clock& clock, Log& log) {
  auto server = std::make_unique<ZmqServer>(dataplane, ports, std::move(options), clock, log);
  IRONCORE_CHECK(server->open(context));
  return std::unique_ptr<Server>(std::move(server));
}

}  // namespace ironcore::network::zmq
