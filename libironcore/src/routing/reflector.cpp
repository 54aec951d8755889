// SPDX-License-Identifier: Apache-2.0
// Nodes and their leases, what they announce, and publishing it.
#include "ironcore/routing/reflector.hpp"

#include <algorithm>
#include <map>
#include <unordered_map>

#include "ironcore/base/text.hpp"
#include "messages.hpp"
#include "rib.hpp"
#include "sessions.hpp"
#include "subscriber.hpp"

namespace ironcore::routing {

namespace {

constexpr Duration comparison_time = std::chrono::seconds(10);
/// A VNI of peers is read on for so long after its last subscriber has left.
constexpr Duration linger = std::chrono::minutes(1);

std::uint64_t random_number(Random& random) {
  std::uint64_t number = 0;
  while (number == 0) random.fill(std::as_writable_bytes(std::span(&number, 1)));
  return number;
}

std::uint32_t milliseconds(Duration span) {
  return static_cast<std::uint32_t>(span / std::chrono::milliseconds(1));
}

std::uint64_t topic_number(StreamName topic) {
  return std::uint64_t{static_cast<std::uint8_t>(topic.view)} << 32 | topic.vni;
}

}  // namespace

class Reflector::Impl {
 public:
  Impl(ReflectorOptions options, std::uint64_t secret, Link& link, Link& peer_link, Clock& clock, Random& random,
       Log& log)
      : options_(std::move(options)),
        link_(link),
        clock_(clock),
        random_(random),
        log_(log),
        epoch_(random_number(random)),
        peer_instance_(static_cast<std::uint64_t>(clock.wall().time_since_epoch() / std::chrono::microseconds(1))),
        direct_(Rib::Streams::per_vni, secret),
        peers_({.reflectors = options_.peers,
                .views = {View::direct},
                .self = {},
                .stale_time = options_.stale_time,
                .comparison_time = comparison_time,
                .secret = secret},
               peer_link, clock, random),
        peer_sessions_(options_.peers, peer_events(), peer_link, clock, random, log),
        ready_at_(clock.now() + options_.deferral),
        last_advance_(clock.now()),
        next_heartbeat_(clock.now()) {}

  void receive(PeerId node, Channel channel, std::string_view message, const NodeRights* rights);
  void subscribed(StreamName topic);
  void unsubscribed(StreamName topic);
  void receive_from_peer(PeerId reflector, std::string_view message);
  Instant advance();
  void close();
  void end_sessions();

  struct Node {
    std::string name;
    OriginId origin{};
    std::uint64_t instance = 0;
    std::uint64_t sequence = 0;  ///< of its own count, through which its routes are here
    std::uint64_t session = 0;   ///< 0: it said that it comes back
    PeerId control = 0;
    Instant heard{};
    std::uint64_t refused = 0;
    bool has_restarted = false;  ///< what is unmarked was not said again yet
    bool has_finished = false;   ///< said everything once in this life of ours
    bool must_acknowledge = false;
    PeerId bulk = 0;
    std::map<StreamName, std::uint64_t> positions;  ///< how far it has read
  };

  bool is_ready() const { return is_ready_; }
  bool is_complete(StreamName stream) const {
    return stream.view == View::direct ? is_ready_
                                       : is_ready_ && (options_.peers == 0 || peers_.is_complete(stream.vni));
  }
  const Rib& rib_of(View view) const { return view == View::direct ? direct_ : peers_.merged(); }

  const ReflectorOptions options_;
  Link& link_;
  Clock& clock_;
  Random& random_;
  Log& log_;
  const std::uint64_t epoch_;
  std::uint64_t peer_instance_;  ///< of this life, as peers see it
  Rib direct_;
  Subscriber peers_;
  Sessions peer_sessions_;
  ReflectorCounters counters_;
  std::unordered_map<std::uint64_t, Node> nodes_;  ///< by origin
  struct Topic {
    StreamName name;
    std::uint64_t published = 0;
    bool is_dirty = false;
  };
  std::unordered_map<std::uint64_t, Topic> topics_;

 private:
  Sessions::Events peer_events();
  void open(PeerId peer, const Open& open, const NodeRights* rights);
  void welcome(Node& node);
  void refuse(PeerId peer, Channel channel, std::uint64_t session, Refuse::Reason reason, std::string_view text,
              std::uint64_t detail = 0);
  Node* node_of(std::uint64_t session);
  void beat(Node& node, const Heartbeat& heartbeat);
  void leave(Node& node, Close::Reason reason);
  void announced(Node& node, const Changes& changes, const NodeRights* rights);
  bool take(Node& node, const Record& record, const NodeRights* rights);
  void finish(Node& node, const Changes& changes);
  void answer(PeerId peer, std::uint64_t session, const Position& position, const NodeRights* rights);
  void remove_routes(const Node& node);
  void forget(Node& node);
  void touch(std::uint32_t vni);
  void publish(Topic& topic);
  void publish_changes();
  void flush();
  void look_at_leases(Instant now);
  void become_ready(std::string_view why);

  std::unordered_map<std::uint64_t, std::uint64_t> origin_of_session_;
  std::vector<Topic*> dirty_;
  std::vector<std::uint64_t> to_acknowledge_;   ///< origins
  std::map<std::uint32_t, Instant> lingering_;  ///< VNIs of peers that nobody subscribes to any more
  std::size_t unpublished_withdrawals_ = 0;
  std::uint32_t touched_vni_ = ~std::uint32_t{0};
  bool has_peer_changes_ = false;
  bool is_ready_ = false;
  bool is_closed_ = false;
  Instant ready_at_;
  Instant last_advance_;
  Instant next_heartbeat_;
};

// ---- nodes ------------------------------------------------------------------------------------------------------

void Reflector::Impl::receive(PeerId peer, Channel channel, std::string_view message, const NodeRights* rights) {
  if (is_closed_) return;
  ++counters_.messages;
  const auto envelope = read_envelope(message);
  if (!envelope) {
    if (envelope.error().code() != ErrorCode::unsupported) {
      ++counters_.malformed;
      return;
    }
    ++counters_.foreign_version;
    if (channel == Channel::control)
      refuse(peer, channel, 0, Refuse::Reason::foreign_version, envelope.error().message());
    return;
  }
  const auto malformed = [&] { ++counters_.malformed; };
  if (envelope->type == MessageType::open) {
    Open wish;
    if (!decode(envelope->body, wish)) return malformed();
    return open(peer, wish, rights);
  }
  auto* const node = node_of(envelope->session);
  if (node == nullptr) {
    ++counters_.unknown_session;
    return refuse(peer, channel, envelope->session, Refuse::Reason::unknown_session, "open a session first");
  }
  node->heard = clock_.now();
  switch (envelope->type) {
    case MessageType::heartbeat: {
      Heartbeat heartbeat;
      if (!decode(envelope->body, heartbeat)) return malformed();
      node->control = peer;
      return beat(*node, heartbeat);
    }
    case MessageType::close: {
      Close close;
      if (!decode(envelope->body, close)) return malformed();
      return leave(*node, close.reason);
    }
    case MessageType::changes: {
      Changes changes;
      if (!decode(envelope->body, changes) || changes.stream != StreamName{}) return malformed();
      node->bulk = peer;
      return announced(*node, changes, rights);
    }
    case MessageType::position: {
      Position position;
      if (!decode(envelope->body, position) || position.stream.view == View::own) return malformed();
      return answer(peer, envelope->session, position, rights);
    }
    default:
      return malformed();
  }
}

Reflector::Impl::Node* Reflector::Impl::node_of(std::uint64_t session) {
  const auto found = origin_of_session_.find(session);
  return found == origin_of_session_.end() ? nullptr : &nodes_.at(found->second);
}

void Reflector::Impl::refuse(PeerId peer, Channel channel, std::uint64_t session, Refuse::Reason reason,
                             std::string_view text, std::uint64_t detail) {
  link_.send(peer, channel, encode(session, Refuse{.reason = reason, .detail = detail, .text = text}));
}

void Reflector::Impl::open(PeerId peer, const Open& open, const NodeRights* rights) {
  if (rights != nullptr && rights->name != open.name) {
    ++counters_.forbidden;
    return refuse(peer, Channel::control, 0, Refuse::Reason::forbidden,
                  "this key belongs to " + in_quotes(rights->name) + ", not to " + in_quotes(open.name));
  }
  const auto origin = origin_id(open.name);
  const auto found = nodes_.find(static_cast<std::uint64_t>(origin));
  if (found == nodes_.end() && nodes_.size() == options_.max_nodes) {
    ++counters_.exhausted;
    return refuse(peer, Channel::control, 0, Refuse::Reason::exhausted,
                  "this reflector serves no more nodes: raise its limit");
  }
  auto& node = found == nodes_.end() ? nodes_[static_cast<std::uint64_t>(origin)] : found->second;
  if (node.name.empty()) {
    node.name = open.name;
    node.origin = origin;
    log_.info("node connected", {{"node", node.name}});
  } else if (node.name != open.name) {
    ++counters_.forbidden;
    return refuse(peer, Channel::control, 0, Refuse::Reason::forbidden,
                  "the name has the same number as that of " + in_quotes(node.name) + ": choose another one");
  } else if (open.instance < node.instance) {
    ++counters_.replaced;
    return refuse(peer, Channel::control, 0, Refuse::Reason::older_instance, "a later life of this node was here",
                  node.instance);
  }
  if (node.session != 0) {
    origin_of_session_.erase(node.session);
    if (open.instance != node.instance) {
      ++counters_.replaced;
      refuse(node.control, Channel::control, node.session, Refuse::Reason::replaced,
             "a later life of this node has come");
    }
  }
  const auto known = Welcome{.instance = node.instance, .sequence = node.sequence};
  node.session = random_number(random_);
  node.control = node.bulk = peer;
  node.heard = clock_.now();
  node.refused = 0;
  node.positions.clear();
  origin_of_session_[node.session] = static_cast<std::uint64_t>(origin);
  link_.send(peer, Channel::control,
             encode(node.session, Welcome{.name = options_.name,
                                          .epoch = epoch_,
                                          .instance = known.instance,
                                          .sequence = known.sequence,
                                          .digest = direct_.origin(origin).digest,
                                          .lease_ms = milliseconds(options_.lease),
                                          .heartbeat_ms = milliseconds(options_.heartbeat),
                                          .is_ready = is_ready_,
                                          .has_relayed = options_.peers > 0,
                                          .bulk = options_.bulk,
                                          .publications = options_.publications}));
  if (node.instance != open.instance) {
    node.instance = open.instance;
    node.sequence = 0;
    node.has_restarted = false;
  }
}

void Reflector::Impl::beat(Node& node, const Heartbeat& heartbeat) {
  for (const auto& position : heartbeat.positions) {
    if (node.positions.size() < 100'000 || node.positions.contains(position.stream))
      node.positions[position.stream] = position.sequence;
  }
  link_.send(
      node.control, Channel::control,
      encode(node.session, Heartbeat{.is_ready = is_ready_, .has_relayed = options_.peers > 0, .positions = {}}));
}

void Reflector::Impl::leave(Node& node, Close::Reason reason) {
  if (reason == Close::Reason::leaving) {
    log_.info("node left", {{"node", node.name}});
    remove_routes(node);
    return forget(node);
  }
  log_.info("node comes back", {{"node", node.name}});
  origin_of_session_.erase(node.session);
  node.session = 0;
}

void Reflector::Impl::remove_routes(const Node& node) {
  for (const auto vni : direct_.vnis_of(node.origin)) {
    std::size_t removed = 0;
    direct_.remove_origin(vni, node.origin, [&](const Record&) { ++removed; });
    counters_.changes += removed;
    touch(vni);
  }
}

void Reflector::Impl::forget(Node& node) {
  origin_of_session_.erase(node.session);
  nodes_.erase(static_cast<std::uint64_t>(node.origin));
}

void Reflector::Impl::look_at_leases(Instant now) {
  std::vector<Node*> dead;
  for (auto& [id, node] : nodes_) {
    const auto patience = node.session != 0 ? options_.lease : options_.restart_time;
    if (now - node.heard > patience) dead.push_back(&node);
  }
  for (auto* const node : dead) {
    ++counters_.deaths;
    log_.warning("node is dead: its routes are withdrawn",
                 {{"node", node->name}, {"routes", std::to_string(direct_.origin(node->origin).routes)}});
    remove_routes(*node);
    forget(*node);
  }
}

// ---- announcements ----------------------------------------------------------------------------------------------

void Reflector::Impl::announced(Node& node, const Changes& changes, const NodeRights* rights) {
  if (changes.epoch != node.instance) {  // it has become another one since it opened the session
    ++counters_.unknown_session;
    return refuse(node.control, Channel::control, node.session, Refuse::Reason::unknown_session,
                  "open a session first");
  }
  if (changes.head < node.sequence) return;  // late: it knew less than is known here
  const auto state = direct_.origin(node.origin);
  if (changes.is_restart != 0) {
    ++counters_.restarts;
    direct_.unmark_origin(node.origin);
    node.sequence = 0;
    node.has_restarted = true;
  }
  const bool is_empty = changes.from == changes.to;
  if (changes.from > node.sequence && is_empty && changes.to == changes.head && changes.digest == state.digest) {
    node.sequence = changes.to;  // another life of the node had the same routes
    node.has_restarted = false;
  }
  if (changes.from > node.sequence) {
    ++counters_.gaps;
    const Position position{.stream = {},
                            .epoch = node.instance,
                            .sequence = node.sequence,
                            .base = 0,
                            .refused = node.refused,
                            .wants = 1};
    return link_.send(node.bulk, Channel::bulk, encode(node.session, position));
  }
  if (changes.to >= node.sequence) {
    touched_vni_ = ~std::uint32_t{0};
    const auto count = changes.count();
    for (std::size_t i = 0; i < count; ++i) {
      if (!take(node, changes.record(i), rights)) ++node.refused;
    }
    node.sequence = changes.to;
    if (changes.to == changes.head) finish(node, changes);
  }
  // The table forgets withdrawals when there are too many: they are published before.
  if (unpublished_withdrawals_ >= max_records) publish_changes();
  if (!node.must_acknowledge) {
    node.must_acknowledge = true;
    to_acknowledge_.push_back(static_cast<std::uint64_t>(node.origin));
  }
}

bool Reflector::Impl::take(Node& node, const Record& record, const NodeRights* rights) {
  const auto operation = record.operation();
  if (fault_of(record) != nullptr || record.origin != static_cast<std::uint64_t>(node.origin) || record.version == 0 ||
      operation == Operation::origin_gone) {
    ++counters_.bad_records;
    return false;
  }
  if (operation == Operation::withdraw) {
    if (direct_.withdraw(record) == Rib::Change::changed) {
      ++counters_.changes;
      ++unpublished_withdrawals_;
      touch(record.vni());
    }
    return true;
  }
  if (rights != nullptr) {
    const auto route = route_of(record);
    if (!rights->may_announce(record.vni(), route.destination)) {
      ++counters_.forbidden;
      return false;
    }
  }
  if ((direct_.routes() >= options_.max_routes || direct_.origin(node.origin).routes >= options_.max_node_routes) &&
      direct_.find_announcement(record) == nullptr) {
    ++counters_.exhausted;
    return false;
  }
  if (direct_.announce(record) == Rib::Change::changed) {
    ++counters_.changes;
    touch(record.vni());
  }
  return true;
}

void Reflector::Impl::finish(Node& node, const Changes& changes) {
  if (node.has_restarted) {
    node.has_restarted = false;
    direct_.for_unmarked_of_origin(node.origin, [&](const Record& record) {
      direct_.withdraw(withdrawal(record, std::max(record.version, node.instance + changes.to)));
      ++counters_.changes;
      touch(record.vni());
      if (++unpublished_withdrawals_ >= max_records) publish_changes();
    });
  }
  if (node.refused == 0 && direct_.origin(node.origin).digest != changes.digest) {
    // It must have all been said, but it was not the same: from the beginning.
    ++counters_.gaps;
    node.sequence = 0;
    const Position position{.stream = {}, .epoch = node.instance, .sequence = 0, .base = 0, .refused = 0, .wants = 1};
    return link_.send(node.bulk, Channel::bulk, encode(node.session, position));
  }
  if (node.has_finished) return;
  node.has_finished = true;
  if (!is_ready_ && !options_.expected.empty() && std::ranges::all_of(options_.expected, [&](const auto& name) {
        const auto found = nodes_.find(static_cast<std::uint64_t>(origin_id(name)));
        return found != nodes_.end() && found->second.has_finished;
      }))
    become_ready("all expected nodes have announced themselves");
}

// ---- readers ----------------------------------------------------------------------------------------------------

void Reflector::Impl::answer(PeerId peer, std::uint64_t session, const Position& position, const NodeRights* rights) {
  const auto stream = position.stream;
  if (rights != nullptr && !rights->may_subscribe(stream.vni)) {
    ++counters_.forbidden;
    return;
  }
  const auto& rib = rib_of(stream.view);
  const auto state = rib.state(stream.vni);
  auto from = position.sequence;
  bool is_restart = false;
  if (position.epoch != epoch_) return;
  if (from > state.sequence || std::max(from, position.base) < state.complete_from) {
    from = 0;
    is_restart = true;
    ++counters_.rereadings;
  }
  for (std::uint8_t i = 0; i < position.wants; ++i) {
    ChangesWriter writer(std::min<std::size_t>(max_records, state.sequence - from));
    const auto piece = rib.changes(stream.vni, from, max_records, [&](const Record& record) { writer.add(record); });
    ++counters_.pieces;
    link_.send(peer, Channel::bulk,
               std::move(writer).finish(session, {.stream = stream,
                                                  .epoch = epoch_,
                                                  .from = from,
                                                  .to = std::max(piece.to, from),
                                                  .head = state.sequence,
                                                  .digest = state.digest,
                                                  .is_ready = is_complete(stream),
                                                  .is_restart = is_restart}));
    if (piece.is_last) return;
    from = piece.to;
    is_restart = false;
  }
}

void Reflector::Impl::subscribed(StreamName name) {
  if (is_closed_ || (name.view != View::direct && name.view != View::relayed) || name.vni > Vni::max) return;
  auto& topic = topics_[topic_number(name)];
  if (topic.name != name) {
    topic.name = name;
    topic.published = rib_of(name.view).state(name.vni).sequence;
    if (name.view == View::relayed) {
      lingering_.erase(name.vni);
      peers_.want(name.vni);
    }
  }
  publish(topic);
}

void Reflector::Impl::unsubscribed(StreamName name) {
  const auto found = topics_.find(topic_number(name));
  if (found == topics_.end()) return;
  std::erase(dirty_, &found->second);
  topics_.erase(found);
  if (name.view == View::relayed) lingering_[name.vni] = clock_.now() + linger;
}

void Reflector::Impl::touch(std::uint32_t vni) {
  if (vni == touched_vni_) return;
  touched_vni_ = vni;
  const auto found = topics_.find(topic_number({vni, View::direct}));
  if (found == topics_.end() || found->second.is_dirty) return;
  found->second.is_dirty = true;
  dirty_.push_back(&found->second);
}

void Reflector::Impl::publish(Topic& topic) {
  const auto& rib = rib_of(topic.name.view);
  const auto state = rib.state(topic.name.vni);
  topic.is_dirty = false;
  do {
    ChangesWriter writer(std::min<std::size_t>(max_records, state.sequence - topic.published));
    const auto from = topic.published;
    const auto piece =
        rib.changes(topic.name.vni, from, max_records, [&](const Record& record) { writer.add(record); });
    topic.published = std::max(piece.to, from);
    ++counters_.publications;
    link_.publish(topic.name, std::move(writer).finish(0, {.stream = topic.name,
                                                           .epoch = epoch_,
                                                           .from = from,
                                                           .to = topic.published,
                                                           .head = state.sequence,
                                                           .digest = state.digest,
                                                           .is_ready = is_complete(topic.name),
                                                           .is_restart = 0}));
  } while (topic.published < state.sequence);
}

void Reflector::Impl::publish_changes() {
  for (auto* const topic : dirty_) publish(*topic);
  dirty_.clear();
  touched_vni_ = ~std::uint32_t{0};
  unpublished_withdrawals_ = 0;
}

void Reflector::Impl::flush() {
  if (std::exchange(has_peer_changes_, false)) {
    for (auto& [number, topic] : topics_) {
      if (topic.name.view == View::relayed && !topic.is_dirty &&
          peers_.merged().state(topic.name.vni).sequence != topic.published)
        publish(topic);
    }
  }
  publish_changes();
  for (const auto origin : to_acknowledge_) {
    const auto found = nodes_.find(origin);
    if (found == nodes_.end()) continue;
    auto& node = found->second;
    node.must_acknowledge = false;
    if (node.session == 0) continue;
    const Position position{.stream = {},
                            .epoch = node.instance,
                            .sequence = node.sequence,
                            .base = 0,
                            .refused = node.refused,
                            .wants = 0};
    link_.send(node.bulk, Channel::bulk, encode(node.session, position));
  }
  to_acknowledge_.clear();
}

// ---- peers ------------------------------------------------------------------------------------------------------

Sessions::Events Reflector::Impl::peer_events() {
  return {
      .open = [this] { return Open{.name = options_.name, .instance = peer_instance_, .sequence = 0, .digest = 0}; },
      .connected =
          [this](PeerId reflector, const Sessions::Session& session, const Welcome&) {
            peers_.up(reflector, session.id, session.epoch, session.heartbeat, false);
            has_peer_changes_ = true;
          },
      .disconnected = [this](PeerId reflector) { peers_.down(reflector); },
      .raise_instance =
          [this](std::uint64_t seen) {
            if (seen < peer_instance_) return;
            peer_instance_ = seen + 1;
            peer_sessions_.reopen();
          },
      .positions = [this](PeerId reflector) { return peers_.take_positions(reflector); }};
}

void Reflector::Impl::receive_from_peer(PeerId reflector, std::string_view message) {
  if (is_closed_) return;
  ++counters_.messages;
  const auto envelope = read_envelope(message);
  if (!envelope) {
    ++(envelope.error().code() == ErrorCode::unsupported ? counters_.foreign_version : counters_.malformed);
    return;
  }
  if (envelope->type == MessageType::changes) {
    Changes changes;
    if (!decode(envelope->body, changes)) {
      ++counters_.malformed;
    } else if (reflector < peer_sessions_.size()) {
      if (!peers_.receive(reflector, message, changes)) peer_sessions_.doubt(reflector);
      has_peer_changes_ = true;
    }
    return;
  }
  if (envelope->type != MessageType::position && !peer_sessions_.receive(reflector, *envelope)) ++counters_.malformed;
}

// ---- time -------------------------------------------------------------------------------------------------------

void Reflector::Impl::become_ready(std::string_view why) {
  is_ready_ = true;
  log_.info("ready", {{"reason", std::string(why)},
                      {"nodes", std::to_string(nodes_.size())},
                      {"routes", std::to_string(direct_.routes())}});
  next_heartbeat_ = clock_.now();
}

Instant Reflector::Impl::advance() {
  if (is_closed_) return Instant::max();
  const auto now = clock_.now();
  if (now - last_advance_ > options_.heartbeat) {
    // We stood still, or could not keep up: who is silent may have spoken meanwhile.
    ++counters_.stalls;
    log_.warning("this reflector stood still: leases begin anew", {{"for", ironcore::to_text(now - last_advance_)}});
    for (auto& [id, node] : nodes_) node.heard = now;
  }
  last_advance_ = now;
  if (!is_ready_ && now >= ready_at_) become_ready("the deferral after the start is over");
  look_at_leases(now);
  auto wake = options_.peers > 0 ? std::min(peer_sessions_.advance(), peers_.advance()) : Instant::max();
  flush();
  if (now >= next_heartbeat_) {
    for (auto& [number, topic] : topics_) publish(topic);
    for (auto it = lingering_.begin(); it != lingering_.end();) {
      if (now < it->second) {
        ++it;
        continue;
      }
      peers_.unwant(it->first);
      it = lingering_.erase(it);
    }
    next_heartbeat_ = now + options_.heartbeat;
  }
  return std::min({wake, next_heartbeat_, now + options_.heartbeat / 4});
}

void Reflector::Impl::close() {
  if (is_closed_) return;
  flush();
  for (const auto& [id, node] : nodes_) {
    if (node.session != 0)
      link_.send(node.control, Channel::control, encode(node.session, Close{Close::Reason::stopping}));
  }
  peer_sessions_.close(Close::Reason::stopping);
  is_closed_ = true;
}

void Reflector::Impl::end_sessions() {
  for (auto& [id, node] : nodes_) {
    if (node.session == 0) continue;
    refuse(node.control, Channel::control, node.session, Refuse::Reason::unknown_session, "rights have changed");
    origin_of_session_.erase(node.session);
    node.session = 0;
    // What it has is judged again: nothing of it counts as said.
    node.instance = 0;
    node.sequence = 0;
  }
}

// ---- the public face --------------------------------------------------------------------------------------------

Result<std::unique_ptr<Reflector>> Reflector::create(ReflectorOptions options, Link& link, Link& peer_link,
                                                     Clock& clock, Random& random, Log& log) {
  if (options.name.empty() || options.name.size() > max_name_bytes)
    return Error(ErrorCode::invalid, "name: a reflector's name has 1 to 253 bytes");
  if (options.heartbeat < std::chrono::milliseconds(10) || options.heartbeat > std::chrono::hours(1))
    return Error(ErrorCode::invalid, "heartbeat: " + ironcore::to_text(options.heartbeat) + " is not from 10ms to 1h");
  if (options.lease < 2 * options.heartbeat || options.lease > std::chrono::hours(24))
    return Error(ErrorCode::invalid,
                 "lease: " + ironcore::to_text(options.lease) + " is not from two heartbeats to 24h");
  const auto secret = random_number(random);
  return std::unique_ptr<Reflector>(
      new Reflector(std::make_unique<Impl>(std::move(options), secret, link, peer_link, clock, random, log)));
}

Reflector::Reflector(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Reflector::~Reflector() = default;

void Reflector::receive(PeerId node, Channel channel, std::string_view message, const NodeRights* rights) {
  impl_->receive(node, channel, message, rights);
}
void Reflector::subscribed(StreamName topic) {
  impl_->subscribed(topic);
}
void Reflector::unsubscribed(StreamName topic) {
  impl_->unsubscribed(topic);
}
void Reflector::receive_from_peer(PeerId reflector, Channel, std::string_view message) {
  impl_->receive_from_peer(reflector, message);
}
Instant Reflector::advance() {
  return impl_->advance();
}
void Reflector::close() {
  impl_->close();
}
void Reflector::end_sessions() {
  impl_->end_sessions();
}
bool Reflector::is_ready() const {
  return impl_->is_ready();
}

ReflectorStatus Reflector::status() const {
  ReflectorStatus status{.name = impl_->options_.name,
                         .epoch = impl_->epoch_,
                         .is_ready = impl_->is_ready(),
                         .nodes = impl_->nodes_.size(),
                         .routes = impl_->direct_.routes(),
                         .relayed_routes = impl_->peers_.merged().routes(),
                         .vnis = 0,
                         .topics = impl_->topics_.size(),
                         .table_bytes = impl_->direct_.bytes() + impl_->peers_.merged().bytes(),
                         .counters = impl_->counters_,
                         .peers = {}};
  for (const auto vni : impl_->direct_.streams()) status.vnis += impl_->direct_.state(vni).routes > 0 ? 1 : 0;
  auto& peers = status.peers;
  for (PeerId i = 0; i < impl_->peer_sessions_.size(); ++i) {
    const auto& session = impl_->peer_sessions_[i];
    peers.reflectors.push_back({.phase = session.phase,
                                .name = session.reflector,
                                .epoch = session.epoch,
                                .is_ready = session.is_ready,
                                .refusal = session.refusal});
  }
  peers.learned_routes = status.relayed_routes;
  const auto& counters = impl_->peers_.counters();
  peers.gaps = counters.gaps;
  peers.resyncs = counters.resyncs;
  peers.foreign = counters.foreign;
  peers.bad_records = counters.bad_records;
  return status;
}

std::vector<NodeStatus> Reflector::nodes() const {
  std::vector<NodeStatus> nodes;
  const auto now = impl_->clock_.now();
  for (const auto& [id, node] : impl_->nodes_) {
    std::uint64_t behind = 0;
    for (const auto& [stream, sequence] : node.positions) {
      const auto head = impl_->rib_of(stream.view).state(stream.vni).sequence;
      behind += head > sequence ? head - sequence : 0;
    }
    nodes.push_back({.name = node.name,
                     .origin = node.origin,
                     .instance = node.instance,
                     .is_connected = node.session != 0,
                     .silent = now - node.heard,
                     .routes = impl_->direct_.origin(node.origin).routes,
                     .announced = node.sequence,
                     .refused = node.refused,
                     .streams = node.positions.size(),
                     .behind = behind});
  }
  std::ranges::sort(nodes, {}, &NodeStatus::name);
  return nodes;
}

std::vector<VniStatus> Reflector::vnis() const {
  std::vector<VniStatus> vnis;
  for (const auto view : {View::direct, View::relayed}) {
    const auto& rib = impl_->rib_of(view);
    for (const auto vni : rib.streams()) {
      const auto state = rib.state(vni);
      vnis.push_back({.vni = *Vni::make(vni),
                      .view = view,
                      .routes = state.routes,
                      .tombstones = state.tombstones,
                      .sequence = state.sequence,
                      .digest = state.digest,
                      .is_subscribed = impl_->topics_.contains(topic_number({vni, view}))});
    }
  }
  std::ranges::sort(vnis,
                    [](const auto& a, const auto& b) { return std::pair(a.vni, a.view) < std::pair(b.vni, b.view); });
  return vnis;
}

std::vector<KnownRoute> Reflector::routes(Vni vni, View view, std::uint64_t after, std::size_t limit,
                                          Withdrawals withdrawals) const {
  std::vector<KnownRoute> routes;
  const auto& rib = impl_->rib_of(view);
  bool is_last = false;
  // Pieces, because withdrawals count into the limit of the table, but not into ours.
  while (routes.size() < limit && !is_last) {
    const auto piece = rib.changes(vni.value(), after, limit - routes.size(), [&](const Record& record) {
      const bool is_withdrawn = record.operation() != Operation::announce;
      if (is_withdrawn && (withdrawals == Withdrawals::left_out || record.operation() == Operation::origin_gone))
        return;
      const auto node = impl_->nodes_.find(record.origin);
      routes.push_back({.route = route_of(record),
                        .origin = OriginId{record.origin},
                        .node = node == impl_->nodes_.end() ? std::string() : node->second.name,
                        .version = record.version,
                        .sequence = rib.sequence_of(record),
                        .view = view,
                        .is_withdrawn = is_withdrawn});
    });
    is_last = piece.is_last;
    after = piece.to;
  }
  return routes;
}

}  // namespace ironcore::routing
