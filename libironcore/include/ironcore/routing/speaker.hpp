// SPDX-License-Identifier: Apache-2.0
// Speaker: a host's part. It announces the host's routes to several reflectors and learns those of the others.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "ironcore/base/clock.hpp"
#include "ironcore/base/log.hpp"
#include "ironcore/base/random.hpp"
#include "ironcore/base/result.hpp"
#include "ironcore/routing/link.hpp"
#include "ironcore/routing/route.hpp"

namespace ironcore::routing {

struct SpeakerOptions {
  std::string name;            ///< of this node, unique; DNS labels joined by dots
  std::size_t reflectors = 1;  ///< peers 0 to n-1 of the link; each is told everything
  Duration stale_time =
      std::chrono::hours(6);           ///< how long routes stay that no reflector confirms any more; 0 = for ever
  std::size_t max_routes = 1'000'000;  ///< that this node announces
};

/// How it stands with one reflector.
struct ReflectorSession {
  enum class Phase { connecting, connected, refused };
  Phase phase = Phase::connecting;
  std::string name;         ///< that it gave itself; empty before it was heard
  std::uint64_t epoch = 0;  ///< of its life
  bool is_ready = false;    ///< it says that it knows all that lives
  std::string
      refusal;  ///< why it is not connected and what to do, as far as it says so itself or the link has found out
  std::uint64_t announced = 0;       ///< through this change of ours it has everything
  std::uint64_t refused_routes = 0;  ///< of ours, in this session: the key may not announce them
};
std::string_view name(ReflectorSession::Phase phase) noexcept;

struct SpeakerStatus {
  std::vector<ReflectorSession> reflectors;
  std::uint64_t announced = 0;  ///< changes of our own routes so far
  std::size_t own_routes = 0;
  std::size_t learned_routes = 0;
  struct Table {
    Vni vni;
    std::size_t routes = 0;
    std::uint64_t sequence = 0;  ///< of `changes`
    bool is_stale = false;       ///< no reflector confirms it now; what was known is kept
    bool is_complete = false;    ///< some reflector has told everything
    struct Refusal {
      PeerId reflector = 0;
      std::string reason;  ///< `this node's key has no right to VNI 7: …`
    };
    std::vector<Refusal> refusals;  ///< of reflectors that do not tell it to this node
  };
  std::vector<Table> vnis;
  std::size_t held = 0;         ///< publications that wait for what is missing before them; bounded
  std::uint64_t gaps = 0;       ///< publications that were missed, and repaired
  std::uint64_t resyncs = 0;    ///< tables that differed, and were read again
  std::uint64_t malformed = 0;  ///< messages that were none
  std::uint64_t foreign_version = 0;
  std::uint64_t foreign = 0;      ///< of another life or session, or of what nobody asked for
  std::uint64_t bad_records = 0;  ///< single routes that cannot be
};

/// What is known of a route of another node, or of all of them.
struct LearnedRoute {
  enum class What {
    announced,
    withdrawn,    ///< of `route` only what says which one it is counts
    origin_gone,  ///< all routes of `origin` in the VNI are gone that were not announced after this; `route` is none
  };
  What what = What::announced;
  Route route;
  OriginId origin{};
};

/// Connections, retries and repair are its own affair: what is announced reaches every reflector that lives, what they know reaches this table, and a
/// reflector that is lost takes no route with it. Routes of this node itself are not learned. Thread: one.
class Speaker {
 public:
  /// The link, clock, random source and log outlive it. `invalid`: the name, or no reflectors.
  static Result<std::unique_ptr<Speaker>> create(SpeakerOptions options, Link& link, Clock& clock, Random& random,
                                                 Log& log);
  ~Speaker();
  Speaker(const Speaker&) = delete;
  Speaker& operator=(const Speaker&) = delete;

  /// Again is nothing; another weight, target or mobility of the same route replaces it. Takes effect here at once and at the reflectors when they
  /// can be reached. All or none. `invalid` names the field, `exhausted` above `max_routes`.
  Result<void> announce(std::span<const Route> routes);
  Result<void> announce(const Route& route) { return announce({&route, 1}); }
  /// What was not announced is nothing.
  void withdraw(std::span<const Route> routes);
  void withdraw(const Route& route) { withdraw({&route, 1}); }
  /// Announces `route` with a higher mobility than any other node's for its prefix, as far as is known here, so that it is the only one that is used.
  /// The VNI must be subscribed.
  Result<void> take_over(Route route);
  std::vector<Route> announced() const;

  void subscribe(Vni vni);
  /// What was learned there is gone at once.
  void unsubscribe(Vni vni);

  /// Learned routes of a subscribed VNI, in no order.
  std::vector<LearnedRoute> routes(Vni vni) const;
  /// Calls `f` for what changed after `after`, each route once, at most `limit` of them; returns the number to go on from. When it cannot be told
  /// any more what was withdrawn since, the result is empty: begin again with `routes` and the `sequence` of the status.
  std::optional<std::uint64_t> changes(Vni vni, std::uint64_t after, std::size_t limit,
                                       const std::function<void(const LearnedRoute&)>& f) const;
  std::uint64_t sequence(Vni vni) const;
  /// Of all subscribed VNIs.
  std::size_t learned_routes() const;
  /// No reflector confirms what is known.
  bool is_stale(Vni vni) const;
  bool is_complete(Vni vni) const;

  /// Tells the reflectors that this node goes: `leaving` takes its routes along, otherwise they stay for the lease. `advance` and `receive` do nothing any more.
  enum class Leave { leaving, coming_back };
  void close(Leave leave);

  /// Of the link.
  void receive(PeerId reflector, Channel channel, std::string_view message);
  /// Of the link: what keeps it from reaching the reflector, and what to do; empty = nothing that it knows of. Again is nothing. For the status, and
  /// the log when it changes.
  void trouble(PeerId reflector, std::string_view what);
  /// Does what is due, and says when it wants to be called again. To be called also after anything was announced or withdrawn.
  Instant advance();

  SpeakerStatus status() const;
  /// A later node has the same name: reflectors hear that one, until it is gone.
  bool has_conflict() const;

 private:
  class Impl;
  explicit Speaker(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace ironcore::routing
