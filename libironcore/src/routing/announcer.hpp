// SPDX-License-Identifier: Apache-2.0
// Announcer: what this node says of itself, and how much of it each reflector has.
#pragma once

#include <deque>
#include <vector>

#include "ironcore/base/clock.hpp"
#include "ironcore/routing/link.hpp"
#include "messages.hpp"
#include "rib.hpp"

namespace ironcore::routing {

/// The routes of this node are one stream; each reflector is sent what comes after the number that it has. Versions are instance + number, so that those of a
/// later life are higher. Thread: one.
class Announcer {
 public:
  Announcer(OriginId self, std::uint64_t instance, std::size_t reflectors, std::uint64_t secret, Link& link,
            Clock& clock);

  void announce(const Route& route);
  void withdraw(const Route& route);
  const Rib& own() const noexcept { return *own_; }
  std::uint64_t instance() const noexcept { return instance_; }
  /// Says everything anew, as another life.
  void set_instance(std::uint64_t instance);
  Open open(std::string_view name) const;

  void up(PeerId reflector, std::uint64_t session, Duration heartbeat, const Welcome& welcome);
  void down(PeerId reflector);
  void receive(PeerId reflector, std::uint64_t session, const Position& position);
  /// Sends what may be sent.
  void advance();
  /// That the reflector has everything through this; and what it did not accept.
  std::uint64_t acknowledged(PeerId reflector) const { return readers_[reflector].acknowledged; }
  std::uint64_t refused(PeerId reflector) const { return readers_[reflector].refused; }

 private:
  struct Reader {
    std::uint64_t session = 0;  ///< 0 = not connected
    Duration heartbeat{};
    std::uint64_t sent = 0;
    std::uint64_t acknowledged = 0;
    std::uint64_t refused = 0;
    std::uint64_t base = 0;     ///< what was withdrawn through this does not concern it: it began from 0 after that
    bool must_restart = false;  ///< the next message begins from 0
    bool must_tell = false;     ///< how things are, even if nothing is new
    Instant progress{};
    std::deque<std::uint64_t> under_way;  ///< the ends of messages that were not acknowledged
  };
  void rewind(Reader& reader, std::uint64_t to);
  void send(PeerId to, Reader& reader);

  const OriginId self_;
  std::uint64_t instance_;
  const std::uint64_t secret_;
  std::unique_ptr<Rib> own_;
  std::vector<Reader> readers_;
  Link& link_;
  Clock& clock_;
};

}  // namespace ironcore::routing
