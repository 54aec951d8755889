// SPDX-License-Identifier: Apache-2.0
// Reflector: hears what nodes announce and tells it to those that subscribe.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "ironcore/base/clock.hpp"
#include "ironcore/base/log.hpp"
#include "ironcore/base/prefix.hpp"
#include "ironcore/base/random.hpp"
#include "ironcore/base/result.hpp"
#include "ironcore/routing/link.hpp"
#include "ironcore/routing/rights.hpp"
#include "ironcore/routing/route.hpp"
#include "ironcore/routing/speaker.hpp"

namespace ironcore::routing {

struct ReflectorOptions {
  std::string name;                              ///< of this reflector, unique; DNS labels joined by dots
  Duration heartbeat = std::chrono::seconds(1);  ///< how often both sides say something
  Duration lease = std::chrono::seconds(3);      ///< a node that is silent for longer is dead; two heartbeats at least
  Duration restart_time = std::chrono::minutes(1);  ///< a node that said it comes back has this long
  /// After a start nobody takes silence for absence until so much time has passed, or all of `expected` have announced themselves.
  Duration deferral = std::chrono::seconds(8);
  std::vector<std::string> expected;            ///< names of nodes; may be empty
  std::size_t peers = 0;                        ///< reflectors of other sites, 0 to n-1 of the link to them
  Duration stale_time = std::chrono::hours(6);  ///< how long what a lost peer told is kept; 0 = for ever
  std::size_t max_nodes = 20'000;
  std::size_t max_routes = 10'000'000;      ///< of all nodes together
  std::size_t max_node_routes = 2'000'000;  ///< of one node
  std::size_t max_topics = 200'000;         ///< that somebody subscribes to; others have no publications
  std::string bulk;          ///< told to nodes: where the bulk socket is; empty = beside the one of control
  std::string publications;  ///< likewise
};

/// A node as a reflector sees it.
struct NodeStatus {
  std::string name;
  OriginId origin{};
  std::uint64_t instance = 0;
  bool is_connected = false;    ///< false: it comes back, or was not here since rights have changed
  Duration silent{};            ///< since it was heard last
  std::size_t routes = 0;       ///< that it announces
  std::uint64_t announced = 0;  ///< through this number of its own count
  std::uint64_t refused = 0;    ///< routes that it may not announce, in this session
  std::size_t streams = 0;      ///< that it said it reads
  std::uint64_t behind = 0;     ///< changes that it has not read as of its last heartbeat
};

struct ReflectorCounters {
  std::uint64_t messages = 0;
  std::uint64_t malformed = 0;  ///< messages that were none
  std::uint64_t foreign_version = 0;
  std::uint64_t unknown_session = 0;  ///< messages of sessions that are over
  std::uint64_t forbidden = 0;        ///< sessions, messages, readings and routes that were refused for want of a right
  std::uint64_t bad_records = 0;      ///< single routes that cannot be
  std::uint64_t exhausted = 0;        ///< sessions, routes, topics and questions above a limit
  std::uint64_t replaced = 0;         ///< nodes whose name a later life took
  std::uint64_t gaps = 0;             ///< announcements that were missed and asked for again
  std::uint64_t restarts = 0;         ///< nodes that announced everything anew
  std::uint64_t deaths = 0;           ///< nodes whose lease ended
  std::uint64_t stalls = 0;           ///< times that this reflector itself stood still
  std::uint64_t changes = 0;          ///< of routes
  std::uint64_t publications = 0;     ///< messages
  std::uint64_t pieces = 0;           ///< messages to readers that asked
  std::uint64_t rereadings = 0;       ///< readers that had to begin from 0
  std::uint64_t snapshots = 0;        ///< streams that were read from 0 to their end
  std::uint64_t snapshot_us = 0;      ///< how long these took from the first question to the last piece, together
};

struct ReflectorStatus {
  std::string name;
  std::uint64_t epoch = 0;  ///< of this life
  bool is_ready = false;    ///< the deferral is over
  std::size_t nodes = 0;
  std::size_t routes = 0;          ///< that were announced here
  std::size_t relayed_routes = 0;  ///< that peers told
  std::size_t vnis = 0;            ///< that have routes announced here
  std::size_t topics = 0;          ///< that somebody subscribes to
  std::size_t refused_vnis = 0;    ///< that nodes asked for and may not read: of all nodes together, 100 of one
  std::size_t table_bytes = 0;
  Duration heartbeat{};
  Duration lease{};
  ReflectorCounters counters;
  /// As a reader of other reflectors; its own routes are none. The refusal of one that is connected is of VNIs.
  SpeakerStatus peers;
};

struct VniStatus {
  Vni vni;
  View view = View::direct;
  std::size_t routes = 0;
  std::size_t tombstones = 0;
  std::uint64_t sequence = 0;
  std::uint64_t digest = 0;
  bool is_subscribed = false;
};

/// One of `counts`.
struct ReflectorCount {
  std::string_view name;  ///< `relayed_routes`
  std::string_view help;  ///< a sentence
  enum class Kind { gauge, counter } kind = Kind::gauge;
  std::uint64_t value = 0;
};
/// Every number of a status by name, for those who pass them on.
std::vector<ReflectorCount> counts(const ReflectorStatus& status);

struct KnownRoute {
  LearnedRoute::What what = LearnedRoute::What::announced;
  Route route;  ///< as in LearnedRoute
  OriginId origin{};
  std::string node;  ///< that announces it; empty if it is a peer's
  std::uint64_t version = 0;
  std::uint64_t sequence = 0;  ///< of its last change in the stream
};

/// Which routes of a VNI are wanted.
struct RoutesQuery {
  Vni vni;
  View view = View::direct;
  std::uint64_t after = 0;    ///< only what changed after this number of the stream
  std::size_t limit = 1'000;  ///< of the answer
  enum class Withdrawals { left_out, included } withdrawals = Withdrawals::left_out;
  enum class Match { all, covering, inside } match = Match::all;
  Prefix prefix;  ///< that destinations cover, or lie inside of; equal ones are both

  friend bool operator==(const RoutesQuery&, const RoutesQuery&) noexcept = default;
};

/// In the order of their last changes.
struct RoutesPage {
  std::vector<KnownRoute> routes;  ///< may be fewer than there are, or none, though more follow
  std::uint64_t next = 0;          ///< `after` of the next page
  bool is_last = false;            ///< nothing is after `next` yet
  bool has_forgotten = false;      ///< what was withdrawn after `after` is not known any more
  std::uint64_t epoch = 0;         ///< numbers of another one mean nothing here
};

/// `invalid` names what is wrong: a name, an endpoint or a duration.
Result<void> check(const ReflectorOptions& options);

/// Pure: messages in, messages out. Nothing is written anywhere: nodes say again what they announce when a reflector begins anew. Thread: one.
class Reflector {
 public:
  /// `link` leads to nodes, `peer_link` to other reflectors, where this one is like a node; it is used only if there are peers. `invalid` as `check`.
  static Result<std::unique_ptr<Reflector>> create(ReflectorOptions options, Link& link, Link& peer_link, Clock& clock,
                                                   Random& random, Log& log);
  ~Reflector();
  Reflector(const Reflector&) = delete;
  Reflector& operator=(const Reflector&) = delete;

  /// Of a node. Rights are those of its key; null = everything, for links that only we can open.
  void receive(PeerId node, Channel channel, std::string_view message, const NodeRights* rights);
  /// The topic has a subscriber more. It is told how things are.
  void subscribed(StreamName topic);
  /// Of a peer.
  void receive_from_peer(PeerId reflector, Channel channel, std::string_view message);
  /// Of the link to peers, as `Speaker::trouble`.
  void peer_trouble(PeerId reflector, std::string_view what);

  /// Publishes what has changed and does what else is due; says when it wants to be called again. To be called after every few messages.
  Instant advance();

  /// Tells nodes that this reflector stops, so that they need not wait for it. Nothing else is sent any more.
  void close();
  /// Ends all sessions: nodes open new ones, which are judged by the rights that they have then, and so are their routes.
  void end_sessions();

  bool is_ready() const;
  ReflectorStatus status() const;
  /// In the order of their names, those behind `after`.
  std::vector<NodeStatus> nodes(std::string_view after = {}, std::size_t limit = ~std::size_t{0}) const;
  /// VNIs that have or had something, in order, from `from` on: of each both views, at most `limit` VNIs.
  std::vector<VniStatus> vnis(Vni from = {}, std::size_t limit = ~std::size_t{0}) const;
  /// Looks at 10,000 changes at most.
  RoutesPage routes(const RoutesQuery& query) const;

 private:
  class Impl;
  explicit Reflector(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace ironcore::routing
