// SPDX-License-Identifier: Apache-2.0
// Subscriber: reads the streams of several reflectors into one table, and never lets go of a route for the wrong reason.
#pragma once

#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "ironcore/base/clock.hpp"
#include "ironcore/base/random.hpp"
#include "ironcore/routing/link.hpp"
#include "messages.hpp"
#include "rib.hpp"

namespace ironcore::routing {

struct SubscriberOptions {
  std::size_t reflectors = 0;
  std::vector<View> views;  ///< of each reflector
  OriginId self{};          ///< whose routes are not wanted back
  Duration stale_time{};    ///< how long what no reflector confirms is kept; 0 = for ever
  Duration
      comparison_time{};  ///< how long a reflector is missing until one that is complete is believed to know all that it knew; `Duration::max()` = it never is
  std::uint64_t secret = 0;
};

struct SubscriberCounters {
  std::uint64_t changes = 0;      ///< messages that were taken
  std::uint64_t gaps = 0;         ///< something before them was missing
  std::uint64_t resyncs = 0;      ///< a digest differed: read again from the beginning
  std::uint64_t foreign = 0;      ///< messages of another life of a reflector, or of what nobody asked for
  std::uint64_t bad_records = 0;  ///< records that cannot be
  std::uint64_t cleared = 0;      ///< streams of which everything was forgotten
};

/// One source is a view of a reflector. Each has a replica, exact as far as it was read; `merged` has of each key the highest version that any replica
/// knows, withdrawals included.
///
///   stream:  unknown ──first word of the reflector──▶ reading ──digest is equal──▶ in sync ──is ready──▶ complete
///              reading again (gap, digest, new epoch) keeps what was there, unconfirmed;
///              complete sweeps what is still unconfirmed; a silent reflector makes its streams stale, and nothing else
///
/// Thread: one.
class Subscriber {
 public:
  Subscriber(SubscriberOptions options, Link& link, Clock& clock, Random& random);

  void want(std::uint32_t vni);
  /// Its routes leave at once.
  void unwant(std::uint32_t vni);
  bool wants(std::uint32_t vni) const { return wanted_.contains(vni); }
  const std::set<std::uint32_t>& wanted() const noexcept { return wanted_; }

  /// A session has begun, with this life of the reflector. Without `has_relayed` that view is not read.
  void up(PeerId reflector, std::uint64_t session, std::uint64_t epoch, Duration heartbeat, bool has_relayed);
  /// It is not heard any more.
  void down(PeerId reflector);
  /// A message of changes of a reflector, by whichever way it came. False: another life of it speaks.
  bool receive(PeerId reflector, std::string_view message, const Changes& changes);
  /// The reflector does not tell us the stream, and why. True: that is news, of none of its views it was known.
  bool refused(PeerId reflector, StreamName stream, const std::string& why);
  /// What is due. When to call again.
  Instant advance();

  const Rib& merged() const noexcept { return merged_; }
  /// Some reflector is in sync and complete here, in all its views, so that of reflectors that are all told the same what is not in `merged` does not exist.
  bool is_complete(std::uint32_t vni) const;
  /// Each reflector is, or was not heard for `stale_time`: for those that know different hosts.
  bool are_all_complete(std::uint32_t vni) const;
  /// Nobody confirms what is known here.
  bool is_stale(std::uint32_t vni) const;
  /// Who refuses to tell it, and why: of reflectors that are connected, until something of it is heard.
  std::vector<std::pair<PeerId, std::string>> refusals(std::uint32_t vni) const;
  /// What was read since the last call, for the reflector to know; all of it now and then, because such words may be lost.
  std::vector<Heartbeat::Position> take_positions(PeerId reflector);

  struct StreamStatus {
    PeerId reflector = 0;
    StreamName stream;
    std::uint64_t sequence = 0;
    std::size_t routes = 0;
    bool is_in_sync = false;
    bool is_complete = false;
    std::size_t held = 0;  ///< publications that wait
  };
  std::vector<StreamStatus> streams() const;
  const SubscriberCounters& counters() const noexcept { return counters_; }

 private:
  struct Stream {
    std::uint64_t epoch = 0;     ///< that `sequence` belongs to; 0 = nothing was read yet
    std::uint64_t sequence = 0;  ///< everything through this was read
    std::uint64_t base = 0;      ///< where this reading began
    bool is_in_sync = false;
    bool is_complete = false;
    bool has_unconfirmed = false;
    bool is_moved = false;  ///< since `take_positions`
    Instant heard{};        ///< when something proved that the subscription is active
    Instant stale_since{};
    std::uint8_t pieces = 0;  ///< that are on their way; 0 = none were asked for
    Instant asked{};
    std::deque<std::string> held;  ///< publications that came before what is missing before them
    std::string refusal;           ///< why the reflector does not tell it; empty = it did not say that
  };
  struct Source {
    Source(PeerId of, View read, std::uint64_t secret)
        : reflector(of), view(read), replica(Rib::Streams::per_vni, secret) {}
    PeerId reflector;
    View view;
    Rib replica;
    std::map<std::uint32_t, Stream> streams;
  };
  struct Reflector {
    std::uint64_t session = 0;  ///< 0 = not connected
    std::uint64_t epoch = 0;
    Duration heartbeat{};
    bool has_relayed = false;
    std::vector<StreamName> left;  ///< that are not read any more, since `take_positions`
    unsigned until_all = 0;        ///< calls of `take_positions` until all are told again
  };

  bool is_read(const Source& source) const noexcept;
  bool is_old(const Stream& stream) const;
  Source* source_of(PeerId reflector, View view);
  void begin(Source& source, std::uint32_t vni, Stream& stream, std::uint64_t epoch, std::uint64_t base);
  void ask(Source& source, std::uint32_t vni, Stream& stream);
  void take(Source& source, std::uint32_t vni, Stream& stream, const Changes& changes);
  void compare(Source& source, std::uint32_t vni, Stream& stream, const Changes& changes);
  void take_held(Source& source, std::uint32_t vni, Stream& stream);
  void apply(Source& source, std::uint32_t vni, const Record& record);
  void take_death(Source& source, std::uint32_t vni, OriginId origin);
  void sweep(Source& source, std::uint32_t vni);
  void clear(Source& source, std::uint32_t vni, Stream& stream);
  /// Of all that is known of a key the best; `announcer` has just said `like` itself.
  void settle(const Record& like, const Source* announcer = nullptr);
  void become_stale(Stream& stream);

  const SubscriberOptions options_;
  Link& link_;
  Clock& clock_;
  Random& random_;
  std::vector<Reflector> reflectors_;
  std::vector<std::unique_ptr<Source>> sources_;
  std::set<std::uint32_t> wanted_;
  Rib merged_;
  SubscriberCounters counters_;
  Instant next_look_{};
};

}  // namespace ironcore::routing
