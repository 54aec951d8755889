// SPDX-License-Identifier: Apache-2.0
// Sessions with reflectors, from the side of who opens them: opened, kept alive, opened again.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "ironcore/base/clock.hpp"
#include "ironcore/base/log.hpp"
#include "ironcore/base/random.hpp"
#include "ironcore/routing/link.hpp"
#include "ironcore/routing/speaker.hpp"
#include "messages.hpp"

namespace ironcore::routing {

/// Microseconds since 1970: later lives have higher numbers, by more than a life makes changes. Never 0.
std::uint64_t first_instance(const Clock& clock);

/// One for each reflector.
///
///   connecting ──welcome──▶ connected ──silent for the lease, or unknown there──▶ connecting
///        └────refuse────▶ refused ──after a while──▶ connecting
///
/// Thread: one.
class Sessions {
 public:
  using Phase = ReflectorSession::Phase;
  struct Session {
    Phase phase = Phase::connecting;
    std::uint64_t id = 0;     ///< 0 unless connected
    std::uint64_t epoch = 0;  ///< of the reflector's life
    std::string reflector;
    bool is_ready = false;
    bool has_relayed = false;
    Duration heartbeat{};
    Duration lease{};
    std::string refusal;       ///< that it told, while `refused`
    std::string trouble;       ///< that the link has with it now
    bool is_conflict = false;  ///< another node has our name
    /// What keeps us from it, as far as is known.
    std::string_view obstacle() const noexcept;

   private:
    friend class Sessions;
    Instant heard{};
    Instant next{};              ///< when something is said again
    Duration pause{};            ///< until the next attempt
    bool was_connected = false;  ///< with this instance
    std::string told_trouble;    ///< that is in the log
  };

  /// Called from within `receive` and `advance`.
  struct Events {
    std::function<Open()> open;  ///< what to say of ourselves
    std::function<void(PeerId, const Session&, const Welcome&)> connected;
    std::function<void(PeerId)> disconnected;
    /// A later life of this node was seen: choose an instance above this one, which is above that of `open`.
    std::function<void(std::uint64_t)> raise_instance;
    std::function<std::vector<Heartbeat::Position>(PeerId)> positions;
    /// We are not told this stream, and why: fit for one line. The session goes on.
    std::function<void(PeerId, StreamName, const std::string&)> stream_refused;
  };

  Sessions(std::size_t reflectors, Events events, Link& link, Clock& clock, Random& random, Log& log);

  const Session& operator[](PeerId reflector) const { return sessions_[reflector]; }
  std::size_t size() const noexcept { return sessions_.size(); }

  /// Messages of sessions; false if this is none, or cannot be read.
  bool receive(PeerId reflector, const Envelope& envelope);
  /// It speaks another protocol version. As good as a refusal, unless there is a session.
  void foreign_version(PeerId reflector, const std::string& why);
  /// What keeps the link from reaching it; empty = nothing that is known.
  void trouble(PeerId reflector, std::string_view what);
  /// The reflector seems to be another one than before: asks it.
  void doubt(PeerId reflector);
  Instant advance();
  /// Says so, and is silent from then on.
  void close(Close::Reason reason);
  /// All of them again, with what `open` says now.
  void reopen();

 private:
  void open(PeerId reflector);
  void lose(PeerId reflector, Duration pause);
  void refused(PeerId reflector, const std::string& why);
  bool take(PeerId reflector, const Envelope& envelope, const Welcome& welcome);
  bool take(PeerId reflector, const Envelope& envelope, const Refuse& refuse);

  Events events_;
  Link& link_;
  Clock& clock_;
  Random& random_;
  Log& log_;
  std::vector<Session> sessions_;
  bool is_closed_ = false;
};

}  // namespace ironcore::routing
