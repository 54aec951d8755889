// SPDX-License-Identifier: Apache-2.0
// Nodes and their leases, what they announce, and publishing it.
#include "ironcore/routing/reflector.hpp"

#include <algorithm>
#include <map>
#include <set>
#include <unordered_map>

#include "ironcore/base/names.hpp"
#include "ironcore/base/text.hpp"
#include "messages.hpp"
#include "rib.hpp"
#include "sessions.hpp"
#include "subscriber.hpp"

namespace ironcore::routing {

namespace {

/// Messages to one node between two heartbeats: as many as a million routes take in half of that time. Who asks for more asks again later.
constexpr std::size_t most_pieces = 2'000;
/// A topic is published for so long after nobody was heard to want it.
constexpr std::size_t most_positions = 100'000;  ///< streams that one node reads
constexpr std::size_t most_refused_vnis = 100;   ///< of one node that are remembered, each with a line in the log
constexpr Duration linger = std::chrono::minutes(1);
/// Of a log, that one query looks at, and in one go.
constexpr std::size_t most_places = 10'000;
constexpr std::size_t piece_places = 1'000;

std::uint64_t random_number(Random& random) {
  std::uint64_t number = 0;
  while (number == 0) random.fill(std::as_writable_bytes(std::span(&number, 1)));
  return number;
}

std::uint32_t milliseconds(Duration span) {
  return static_cast<std::uint32_t>(span / std::chrono::milliseconds(1));
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
        peer_instance_(first_instance(clock)),
        direct_(Rib::Streams::per_vni, secret),
        peers_({.reflectors = options_.peers,
                .views = {View::direct},
                .self = {},
                .stale_time = options_.stale_time,
                .comparison_time = Duration::max(),  // each knows hosts that the others do not
                .secret = secret},
               peer_link, clock, random),
        peer_sessions_(options_.peers, peer_events(), peer_link, clock, random, log),
        ready_at_(clock.now() + options_.deferral),
        last_advance_(clock.now()),
        next_heartbeat_(clock.now()) {}

  void receive(PeerId node, Channel channel, std::string_view message, const NodeRights* rights);
  void subscribed(StreamName topic);
  void receive_from_peer(PeerId reflector, std::string_view message);
  Instant advance();
  void close();
  void end_sessions();

  struct Node {
    std::string name;
    OriginId origin{};
    std::uint64_t instance = 0;
    std::uint64_t sequence = 0;   ///< of its own count, through which its routes are here
    std::uint64_t session = 0;    ///< 0 = none now
    bool comes_back = false;      ///< it said so
    bool must_be_judged = false;  ///< rights have changed since its routes were taken
    PeerId control = 0;
    Instant heard{};
    std::uint64_t refused = 0;
    bool has_restarted = false;  ///< what is unmarked was not said again yet
    bool has_exhausted = false;  ///< some of its routes were above a limit
    bool has_finished = false;   ///< said everything once in this life of ours
    bool must_acknowledge = false;
    PeerId bulk = 0;
    std::uint64_t asked = 0;  ///< that it say again what comes after this
    Instant asked_at{};
    std::size_t pieces = 0;                         ///< that it was sent since the last heartbeat
    std::map<StreamName, std::uint64_t> positions;  ///< how far it has read
    std::map<StreamName, Instant> snapshots;        ///< that it reads now, since when
    std::set<std::uint32_t> refused_vnis;           ///< that it asked for and may not read
  };

  bool is_ready() const { return is_ready_; }
  bool is_complete(StreamName stream) const {
    return stream.view == View::direct ? is_ready_
                                       : is_ready_ && (options_.peers == 0 || peers_.are_all_complete(stream.vni));
  }
  bool has_room(const Node& node) const {
    return direct_.routes() < options_.max_routes && direct_.origin(node.origin).routes < options_.max_node_routes;
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
    std::size_t readers = 0;  ///< nodes with a session that say they read it
    Instant wanted{};         ///< when somebody did last, or subscribed
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
  void ask_again(Node& node);
  void answer(Node& node, PeerId peer, const Position& position, const NodeRights* rights);
  void refuse_stream(Node& node, PeerId peer, StreamName stream);
  void take_position(Node& node, const Heartbeat::Position& position);
  void drop_positions(Node& node);
  void forget_topics(Instant now);
  void remove_routes(const Node& node);
  void judge(const Node& node, const NodeRights& rights);
  void forget(Node& node);
  void touch(std::uint32_t vni);
  void publish(Topic& topic);
  void publish_changes();
  void flush();
  void look_at_leases(Instant now);
  void become_ready(std::string_view why);

  std::unordered_map<std::uint64_t, std::uint64_t> origin_of_session_;
  std::vector<Topic*> dirty_;
  std::vector<std::uint64_t> to_acknowledge_;  ///< origins
  std::size_t unpublished_withdrawals_ = 0;
  std::uint32_t touched_vni_ = ~std::uint32_t{0};
  bool has_peer_changes_ = false;
  bool is_ready_ = false;
  bool is_closed_ = false;
  Instant ready_at_;
  Instant last_advance_;
  Instant next_heartbeat_;
  Instant next_look_{};  ///< at leases
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
  if (envelope->type == MessageType::refuse) return malformed();  // and no answer: it would be answered too
  auto* const node = node_of(envelope->session);
  if (node != nullptr && rights != nullptr && rights->name != node->name) {
    ++counters_.forbidden;
    return;
  }
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
      return answer(*node, peer, position, rights);
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
  if (const auto reason = check_dns_subdomain(open.name)) {
    ++counters_.malformed;
    return refuse(peer, Channel::control, 0, Refuse::Reason::forbidden,
                  "name: " + in_quotes(open.name) + ' ' + *reason);
  }
  if (options_.peers > 0 && open.name == options_.name && open.instance == peer_instance_)
    return refuse(peer, Channel::control, 0, Refuse::Reason::forbidden,
                  "that is this reflector itself: take it out of its peers");
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
      log_.info("node began anew, or another one has its name", {{"node", node.name}});
      refuse(node.control, Channel::control, node.session, Refuse::Reason::replaced,
             "a later life of this node has come");
    }
  }
  const auto known = Welcome{.instance = node.instance, .sequence = node.sequence};
  if (std::exchange(node.must_be_judged, false) && rights != nullptr) judge(node, *rights);
  node.comes_back = false;
  node.session = random_number(random_);
  node.control = node.bulk = peer;
  node.heard = clock_.now();
  node.refused = 0;
  node.asked_at = {};
  drop_positions(node);
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
  for (const auto& position : heartbeat.positions) take_position(node, position);
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
  node.comes_back = true;
  drop_positions(node);
}

/// What it may not announce any more goes, whether it says it again or not.
void Reflector::Impl::judge(const Node& node, const NodeRights& rights) {
  direct_.unmark_origin(node.origin);
  direct_.for_unmarked_of_origin(node.origin, [&](const Record& record) {
    if (rights.may_announce(record.vni(), route_of(record).destination)) return;
    direct_.withdraw(withdrawal(record, record.version));
    ++counters_.changes;
    touch(record.vni());
    if (++unpublished_withdrawals_ >= max_records) publish_changes();
  });
}

void Reflector::Impl::remove_routes(const Node& node) {
  direct_.remove_origin(node.origin, [&](const Record& record) {
    ++counters_.changes;
    touch(record.vni());
  });
}

void Reflector::Impl::forget(Node& node) {
  drop_positions(node);
  origin_of_session_.erase(node.session);
  nodes_.erase(static_cast<std::uint64_t>(node.origin));
}

void Reflector::Impl::look_at_leases(Instant now) {
  std::vector<Node*> dead;
  for (auto& [id, node] : nodes_) {
    const auto patience = node.comes_back ? options_.restart_time : options_.lease;
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
  // A restart that is older than what was heard since comes late: what it says was replaced.
  if (changes.is_restart != 0 && (node.sequence == 0 || changes.head > node.sequence)) {
    ++counters_.restarts;
    direct_.unmark_origin(node.origin);
    node.sequence = 0;
    node.has_restarted = true;
    node.has_exhausted = false;
  }
  const bool is_empty = changes.from == changes.to;
  if (changes.from > node.sequence && is_empty && changes.to == changes.head && changes.digest == state.digest) {
    node.sequence = changes.to;  // another life of the node had the same routes
    node.has_restarted = false;
  }
  if (changes.from > node.sequence) {
    return ask_again(node);
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
  const auto is_here = [&] { return direct_.find_announcement(record) != nullptr; };
  if (rights != nullptr && !rights->may_announce(record.vni(), route_of(record).destination) &&
      !(operation == Operation::withdraw && is_here())) {
    ++counters_.forbidden;
    return operation == Operation::withdraw;  // what is missing is an announcement, if anything
  }
  if (operation == Operation::withdraw) {
    if (direct_.withdraw(record) == Rib::Change::changed) {
      ++counters_.changes;
      ++unpublished_withdrawals_;
      touch(record.vni());
    }
    return true;
  }
  if (!has_room(node) && !is_here()) {
    node.has_exhausted = true;
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
    node.sequence = 0;
    return ask_again(node);
  }
  if (node.has_finished) return;
  node.has_finished = true;
  if (!is_ready_ && !options_.expected.empty() && std::ranges::all_of(options_.expected, [&](const auto& name) {
        const auto found = nodes_.find(static_cast<std::uint64_t>(origin_id(name)));
        return found != nodes_.end() && found->second.has_finished;
      }))
    become_ready("all expected nodes have announced themselves");
}

/// Once, and not for each message that comes behind the missing one: each question is answered with a window full of messages. Should it be lost, then the node
/// says everything again that was not acknowledged.
void Reflector::Impl::ask_again(Node& node) {
  const auto now = clock_.now();
  if (node.asked_at != Instant{} && node.asked == node.sequence && now - node.asked_at < options_.heartbeat) return;
  ++counters_.gaps;
  node.asked = node.sequence;
  node.asked_at = now;
  const Position position{
      .stream = {}, .epoch = node.instance, .sequence = node.sequence, .base = 0, .refused = node.refused, .wants = 1};
  link_.send(node.bulk, Channel::bulk, encode(node.session, position));
}

// ---- readers ----------------------------------------------------------------------------------------------------

void Reflector::Impl::answer(Node& node, PeerId peer, const Position& position, const NodeRights* rights) {
  const auto stream = position.stream;
  if (rights != nullptr && !rights->may_subscribe(stream.vni)) return refuse_stream(node, peer, stream);
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
  if (from == 0 && position.wants > 0 && state.sequence > 0 && node.snapshots.size() < most_positions)
    node.snapshots.try_emplace(stream, clock_.now());
  for (std::uint8_t i = 0; i < position.wants; ++i) {
    if (node.pieces == most_pieces) {
      ++counters_.exhausted;
      return;
    }
    ++node.pieces;
    ChangesWriter writer(std::min<std::size_t>(max_records, state.sequence - from));
    const auto piece = rib.changes(stream.vni, from, max_records, [&](const Record& record) { writer.add(record); });
    ++counters_.pieces;
    link_.send(peer, Channel::bulk,
               std::move(writer).finish(node.session, {.stream = stream,
                                                       .epoch = epoch_,
                                                       .from = from,
                                                       .to = std::max(piece.to, from),
                                                       .head = state.sequence,
                                                       .digest = state.digest,
                                                       .is_ready = is_complete(stream),
                                                       .is_restart = is_restart}));
    if (piece.is_last) {
      if (const auto began = node.snapshots.find(stream); began != node.snapshots.end()) {
        ++counters_.snapshots;
        counters_.snapshot_us +=
            static_cast<std::uint64_t>((clock_.now() - began->second) / std::chrono::microseconds(1));
        node.snapshots.erase(began);
      }
      return;
    }
    from = piece.to;
    is_restart = false;
  }
}

void Reflector::Impl::refuse_stream(Node& node, PeerId peer, StreamName stream) {
  ++counters_.forbidden;
  const auto vni = std::to_string(stream.vni);
  if (node.refused_vnis.size() < most_refused_vnis && node.refused_vnis.insert(stream.vni).second)
    log_.warning("node may not read a VNI", {{"node", node.name}, {"vni", vni}});
  refuse(peer, Channel::bulk, node.session, Refuse::Reason::stream,
         "this node's key has no right to VNI " + vni + ": give it one in the reflector's identities file",
         stream_number(stream));
}

void Reflector::Impl::subscribed(StreamName name) {
  if (is_closed_ || (name.view != View::direct && name.view != View::relayed) || name.vni > Vni::max) return;
  const auto number = stream_number(name);
  if (!topics_.contains(number) &&
      (topics_.size() >= options_.max_topics ||
       (name.view == View::relayed && !peers_.wants(name.vni) && peers_.wanted().size() >= options_.max_topics))) {
    ++counters_.exhausted;
    return;
  }
  auto& topic = topics_[number];
  if (topic.name != name) {
    topic.name = name;
    topic.published = rib_of(name.view).state(name.vni).sequence;
    if (name.view == View::relayed) peers_.want(name.vni);
  }
  topic.wanted = clock_.now();
  publish(topic);
}

/// Subscriptions come without names, and their ends are not to be trusted: a topic stays for as long as nodes say that they read it.
void Reflector::Impl::take_position(Node& node, const Heartbeat::Position& position) {
  const auto topic = topics_.find(stream_number(position.stream));
  if (topic == topics_.end()) return;
  topic->second.wanted = clock_.now();
  const auto known = node.positions.find(position.stream);
  if (position.sequence == not_read) {
    if (known == node.positions.end()) return;
    --topic->second.readers;
    node.positions.erase(known);
  } else if (known != node.positions.end()) {
    known->second = position.sequence;
  } else if (node.positions.size() < most_positions) {
    ++topic->second.readers;
    node.positions[position.stream] = position.sequence;
  }
}

void Reflector::Impl::drop_positions(Node& node) {
  node.snapshots.clear();
  for (const auto& [stream, sequence] : std::exchange(node.positions, {})) {
    auto& topic = topics_.at(stream_number(stream));
    --topic.readers;
    topic.wanted = clock_.now();
  }
}

void Reflector::Impl::forget_topics(Instant now) {
  std::erase_if(topics_, [&](const auto& entry) {
    const auto& topic = entry.second;
    if (topic.readers > 0 || now - topic.wanted < linger) return false;
    if (topic.name.view == View::relayed) peers_.unwant(topic.name.vni);
    std::erase(dirty_, &topic);
    return true;
  });
}

void Reflector::Impl::touch(std::uint32_t vni) {
  if (vni == touched_vni_) return;
  touched_vni_ = vni;
  const auto found = topics_.find(stream_number({vni, View::direct}));
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
            peer_instance_ = std::min(seen, max_instance - 1) + 1;
            peer_sessions_.reopen();
          },
      .positions = [this](PeerId reflector) { return peers_.take_positions(reflector); },
      .stream_refused =
          [this](PeerId reflector, StreamName stream, const std::string& why) {
            if (peers_.refused(reflector, stream, why))
              log_.warning("peer does not tell a VNI", {{"number", std::to_string(reflector)},
                                                        {"name", peer_sessions_[reflector].reflector},
                                                        {"vni", std::to_string(stream.vni)},
                                                        {"reason", why}});
          }};
}

void Reflector::Impl::receive_from_peer(PeerId reflector, std::string_view message) {
  if (is_closed_) return;
  ++counters_.messages;
  const auto envelope = read_envelope(message);
  if (!envelope) {
    const bool is_foreign = envelope.error().code() == ErrorCode::unsupported;
    ++(is_foreign ? counters_.foreign_version : counters_.malformed);
    if (is_foreign) peer_sessions_.foreign_version(reflector, envelope.error().message());
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
  if (now >= next_look_) {
    look_at_leases(now);
    next_look_ = now + options_.heartbeat / 4;
  }
  const auto cleared = peers_.counters().cleared;
  auto wake = options_.peers > 0 ? std::min(peer_sessions_.advance(), peers_.advance()) : Instant::max();
  has_peer_changes_ = has_peer_changes_ || peers_.counters().cleared != cleared;
  flush();
  if (now >= next_heartbeat_) {
    for (auto& [number, topic] : topics_) publish(topic);
    forget_topics(now);
    for (auto& [id, node] : nodes_) {
      node.pieces = 0;
      if (!node.has_exhausted || node.session == 0 || !has_room(node)) continue;
      // What there was no room for: from the beginning.
      node.sequence = node.refused = 0;
      node.asked_at = {};
      ask_again(node);
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
    // What it has is judged again: nothing of it counts as said.
    node.must_be_judged = true;
    node.refused_vnis.clear();
    node.instance = 0;
    node.sequence = 0;
    if (node.session == 0) continue;
    refuse(node.control, Channel::control, node.session, Refuse::Reason::unknown_session, "rights have changed");
    origin_of_session_.erase(node.session);
    node.session = 0;
    node.heard = clock_.now();
    drop_positions(node);
  }
}

// ---- the public face --------------------------------------------------------------------------------------------

Result<void> check(const ReflectorOptions& options) {
  if (const auto reason = check_dns_subdomain(options.name))
    return Error(ErrorCode::invalid, "name: " + in_quotes(options.name) + ' ' + *reason);
  if (options.bulk.size() > max_name_bytes || options.publications.size() > max_name_bytes)
    return Error(ErrorCode::invalid, "bulk, publications: an endpoint has at most 253 bytes");
  if (options.heartbeat < least_heartbeat || options.heartbeat > longest_heartbeat)
    return Error(ErrorCode::invalid, "heartbeat: " + ironcore::to_text(options.heartbeat) + " is not from 10ms to 1h");
  if (options.lease < 2 * options.heartbeat || options.lease > longest_lease)
    return Error(ErrorCode::invalid,
                 "lease: " + ironcore::to_text(options.lease) + " is not from two heartbeats to 24h");
  for (const auto& name : options.expected) {
    if (const auto reason = check_dns_subdomain(name))
      return Error(ErrorCode::invalid, "expected: " + in_quotes(name) + ' ' + *reason);
  }
  return {};
}

Result<std::unique_ptr<Reflector>> Reflector::create(ReflectorOptions options, Link& link, Link& peer_link,
                                                     Clock& clock, Random& random, Log& log) {
  IRONCORE_CHECK(check(options));
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
void Reflector::receive_from_peer(PeerId reflector, Channel, std::string_view message) {
  impl_->receive_from_peer(reflector, message);
}
void Reflector::peer_trouble(PeerId reflector, std::string_view what) {
  impl_->peer_sessions_.trouble(reflector, what);
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
                         .refused_vnis = 0,
                         .table_bytes = impl_->direct_.bytes() + impl_->peers_.merged().bytes(),
                         .heartbeat = impl_->options_.heartbeat,
                         .lease = impl_->options_.lease,
                         .counters = impl_->counters_,
                         .peers = {}};
  for (const auto vni : impl_->direct_.streams()) status.vnis += impl_->direct_.state(vni).routes > 0 ? 1 : 0;
  for (const auto& [id, node] : impl_->nodes_) status.refused_vnis += node.refused_vnis.size();
  auto& peers = status.peers;
  for (PeerId i = 0; i < impl_->peer_sessions_.size(); ++i) {
    const auto& session = impl_->peer_sessions_[i];
    peers.reflectors.push_back({.phase = session.phase,
                                .name = session.reflector,
                                .epoch = session.epoch,
                                .is_ready = session.is_ready,
                                .refusal = session.obstacle()});
  }
  for (const auto vni : impl_->peers_.wanted()) {
    for (const auto& [reflector, why] : impl_->peers_.refusals(vni)) {
      auto& refusal = peers.reflectors[reflector].refusal;
      if (refusal.empty()) refusal = why;  // the first one speaks for those of other VNIs
    }
  }
  peers.learned_routes = status.relayed_routes;
  const auto& counters = impl_->peers_.counters();
  peers.gaps = counters.gaps;
  peers.resyncs = counters.resyncs;
  peers.foreign = counters.foreign;
  peers.bad_records = counters.bad_records;
  return status;
}

std::vector<ReflectorCount> counts(const ReflectorStatus& status) {
  using enum ReflectorCount::Kind;
  const auto& c = status.counters;
  const auto& peers = status.peers;
  return {
      {"nodes", "Nodes that have a lease.", gauge, status.nodes},
      {"routes", "Routes that were announced here.", gauge, status.routes},
      {"relayed_routes", "Routes that peers told.", gauge, status.relayed_routes},
      {"vnis", "VNIs that have routes announced here.", gauge, status.vnis},
      {"topics", "VNIs and views that somebody subscribes to.", gauge, status.topics},
      {"refused_vnis", "VNIs that nodes asked for and may not read, of all nodes together.", gauge,
       status.refused_vnis},
      {"table_bytes", "Memory of the tables, about.", gauge, status.table_bytes},
      {"messages", "Messages that came.", counter, c.messages},
      {"malformed", "Messages that were none.", counter, c.malformed},
      {"foreign_version", "Messages of another protocol version.", counter, c.foreign_version},
      {"unknown_session", "Messages of sessions that are over.", counter, c.unknown_session},
      {"forbidden", "Sessions, messages, readings and routes that were refused for want of a right.", counter,
       c.forbidden},
      {"bad_records", "Single routes that cannot be.", counter, c.bad_records},
      {"exhausted", "Sessions, routes, topics and questions above a limit.", counter, c.exhausted},
      {"replaced", "Nodes whose name a later life took.", counter, c.replaced},
      {"gaps", "Announcements that were missed and asked for again.", counter, c.gaps},
      {"restarts", "Nodes that announced everything anew.", counter, c.restarts},
      {"deaths", "Nodes whose lease ended.", counter, c.deaths},
      {"stalls", "Times that this reflector itself stood still.", counter, c.stalls},
      {"changes", "Changes of routes.", counter, c.changes},
      {"publications", "Messages published.", counter, c.publications},
      {"pieces", "Messages to readers that asked.", counter, c.pieces},
      {"rereadings", "Readers that had to begin from 0.", counter, c.rereadings},
      {"snapshots", "Streams that were read from 0 to their end.", counter, c.snapshots},
      {"snapshot_us", "Microseconds that these took, together.", counter, c.snapshot_us},
      {"peer_gaps", "Publications of peers that were missed, and repaired.", counter, peers.gaps},
      {"peer_resyncs", "Tables of peers that differed, and were read again.", counter, peers.resyncs},
      {"peer_foreign", "Messages of peers of another life, or of what nobody asked for.", counter, peers.foreign},
      {"peer_bad_records", "Single routes of peers that cannot be.", counter, peers.bad_records},
  };
}

std::vector<NodeStatus> Reflector::nodes(std::string_view after, std::size_t limit) const {
  std::vector<const Impl::Node*> wanted;
  for (const auto& [id, node] : impl_->nodes_) {
    if (node.name > after) wanted.push_back(&node);
  }
  const auto by_name = [](const Impl::Node* node) -> const std::string& { return node->name; };
  if (wanted.size() > limit) {
    const auto end = wanted.begin() + static_cast<std::ptrdiff_t>(limit);
    std::ranges::nth_element(wanted, end, {}, by_name);
    wanted.erase(end, wanted.end());
  }
  std::ranges::sort(wanted, {}, by_name);
  std::vector<NodeStatus> nodes;
  const auto now = impl_->clock_.now();
  for (const auto* const node : wanted) {
    std::uint64_t behind = 0;
    for (const auto& [stream, sequence] : node->positions) {
      const auto head = impl_->rib_of(stream.view).state(stream.vni).sequence;
      behind += head > sequence ? head - sequence : 0;
    }
    nodes.push_back({.name = node->name,
                     .origin = node->origin,
                     .instance = node->instance,
                     .is_connected = node->session != 0,
                     .silent = now - node->heard,
                     .routes = impl_->direct_.origin(node->origin).routes,
                     .announced = node->sequence,
                     .refused = node->refused,
                     .streams = node->positions.size(),
                     .behind = behind});
  }
  return nodes;
}

std::vector<VniStatus> Reflector::vnis(Vni from, std::size_t limit) const {
  std::vector<VniStatus> vnis;
  for (const auto view : {View::direct, View::relayed}) {
    const auto& rib = impl_->rib_of(view);
    auto streams = rib.streams();
    std::erase_if(streams, [from](auto vni) { return vni < from.value(); });
    if (streams.size() > limit) {
      const auto end = streams.begin() + static_cast<std::ptrdiff_t>(limit);
      std::ranges::nth_element(streams, end);
      streams.erase(end, streams.end());
    }
    for (const auto vni : streams) {
      const auto state = rib.state(vni);
      vnis.push_back({.vni = *Vni::make(vni),
                      .view = view,
                      .routes = state.routes,
                      .tombstones = state.tombstones,
                      .sequence = state.sequence,
                      .digest = state.digest,
                      .is_subscribed = impl_->topics_.contains(stream_number({vni, view}))});
    }
  }
  std::ranges::sort(vnis,
                    [](const auto& a, const auto& b) { return std::pair(a.vni, a.view) < std::pair(b.vni, b.view); });
  // The lowest VNIs of each view are there; of both together the lowest ones are whole.
  std::size_t count = 0;
  for (auto it = vnis.begin(); it != vnis.end(); ++it) {
    if (it != vnis.begin() && it->vni == std::prev(it)->vni) continue;
    if (count++ == limit) {
      vnis.erase(it, vnis.end());
      break;
    }
  }
  return vnis;
}

RoutesPage Reflector::routes(const RoutesQuery& query) const {
  using What = LearnedRoute::What;
  const auto& rib = impl_->rib_of(query.view);
  const auto state = rib.state(query.vni.value());
  RoutesPage page{.next = query.after, .has_forgotten = query.after < state.complete_from, .epoch = impl_->epoch_};
  const auto is_wanted = [&](const Record& record, const Route& route) {
    if (record.operation() == Operation::origin_gone || query.match == RoutesQuery::Match::all) return true;
    return query.match == RoutesQuery::Match::covering ? route.destination.contains(query.prefix)
                                                       : query.prefix.contains(route.destination);
  };
  std::size_t looked_at = 0;
  // Pieces, because what is not wanted counts into the limit of the table, but not into ours.
  while (page.routes.size() < query.limit && looked_at < most_places && !page.is_last) {
    const auto piece = rib.changes(
        query.vni.value(), page.next, query.limit - page.routes.size(),
        [&](const Record& record) {
          const auto operation = record.operation();
          if (operation != Operation::announce && query.withdrawals == RoutesQuery::Withdrawals::left_out) return;
          const auto route = operation == Operation::origin_gone ? Route{} : route_of(record);
          if (!is_wanted(record, route)) return;
          const auto node = impl_->nodes_.find(record.origin);
          page.routes.push_back({.what = operation == Operation::announce   ? What::announced
                                         : operation == Operation::withdraw ? What::withdrawn
                                                                            : What::origin_gone,
                                 .route = route,
                                 .origin = OriginId{record.origin},
                                 .node = node == impl_->nodes_.end() ? std::string() : node->second.name,
                                 .version = record.version,
                                 .sequence = rib.sequence_of(record)});
        },
        piece_places);
    looked_at += piece_places;
    page.is_last = piece.is_last;
    page.next = std::max(piece.to, page.next);
  }
  return page;
}

}  // namespace ironcore::routing
