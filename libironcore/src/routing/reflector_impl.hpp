// SPDX-License-Identifier: Apache-2.0
// What a Reflector is made of: nodes, topics, tables and peers; its functions stand in a file for each topic.
#pragma once

#include <algorithm>
#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "ironcore/routing/reflector.hpp"
#include "messages.hpp"
#include "rib.hpp"
#include "sessions.hpp"
#include "subscriber.hpp"

namespace ironcore::routing {

/// Never 0: for sessions and epochs.
std::uint64_t random_identifier(Random& random);

class Reflector::Impl {
 public:
  Impl(ReflectorOptions options, std::uint64_t secret, Link& link, Link& peer_link, Clock& clock, Random& random,
       Log& log)
      : options_(std::move(options)),
        link_(link),
        clock_(clock),
        random_(random),
        log_(log),
        epoch_(random_identifier(random)),
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
  // In reflector_nodes.cpp.
  void open(PeerId peer, const Open& open, const NodeRights* rights);
  void refuse(PeerId peer, Channel channel, std::uint64_t session, Refuse::Reason reason, std::string_view text,
              std::uint64_t detail = 0);
  Node* node_of(std::uint64_t session);
  void beat(Node& node, const Heartbeat& heartbeat);
  void leave(Node& node, Close::Reason reason);
  void judge(const Node& node, const NodeRights& rights);
  void remove_routes(const Node& node);
  void forget(Node& node);
  void look_at_leases(Instant now);

  // In reflector_announcements.cpp.
  void announced(Node& node, const Changes& changes, const NodeRights* rights);
  bool take(Node& node, const Record& record, const NodeRights* rights);
  void finish(Node& node, const Changes& changes);
  void ask_again(Node& node);

  // In reflector_readers.cpp.
  void answer(Node& node, PeerId peer, const Position& position, const NodeRights* rights);
  void refuse_stream(Node& node, PeerId peer, StreamName stream);
  void take_position(Node& node, const Heartbeat::Position& position);
  void drop_positions(Node& node);
  void forget_topics(Instant now);
  /// What changed there is published soon, if somebody reads it.
  void touch(std::uint32_t vni) {
    if (vni == touched_vni_) return;
    touched_vni_ = vni;
    make_dirty(vni);
  }
  void make_dirty(std::uint32_t vni);
  void publish(Topic& topic);
  void publish_changes();
  void flush();

  // In reflector.cpp.
  Sessions::Events peer_events();
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

}  // namespace ironcore::routing
