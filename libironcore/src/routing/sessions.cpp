// SPDX-License-Identifier: Apache-2.0
// Opening, heartbeats, and what refusals mean.
#include "sessions.hpp"

#include <algorithm>

#include "ironcore/base/text.hpp"

namespace ironcore::routing {

namespace {

constexpr Duration first_pause = std::chrono::milliseconds(10);
constexpr Duration longest_pause = std::chrono::seconds(4);
constexpr Duration refused_pause = std::chrono::seconds(10);

constexpr std::size_t most_reason_bytes = 300;  ///< of a foreign sentence

std::string number(PeerId reflector) {
  return std::to_string(reflector);
}

/// Empty for what is none that can be refused.
std::optional<StreamName> stream_of(std::uint64_t number) {
  const StreamName stream{static_cast<std::uint32_t>(number), static_cast<View>(number >> 32)};
  const bool is_view = number >> 32 == 1 || number >> 32 == 2;
  if (!is_view || stream.vni > Vni::max) return std::nullopt;
  return stream;
}

}  // namespace

std::string_view Sessions::Session::obstacle() const noexcept {
  if (phase == Phase::connected) return {};
  return phase == Phase::refused && trouble.empty() ? refusal : trouble;
}

std::uint64_t first_instance(const Clock& clock) {
  const auto microseconds = clock.wall().time_since_epoch() / std::chrono::microseconds(1);
  return static_cast<std::uint64_t>(std::max<Duration::rep>(1, microseconds));
}

Sessions::Sessions(std::size_t reflectors, Events events, Link& link, Clock& clock, Random& random, Log& log)
    : events_(std::move(events)), link_(link), clock_(clock), random_(random), log_(log), sessions_(reflectors) {
  for (auto& session : sessions_) session.pause = first_pause;
}

void Sessions::open(PeerId reflector) {
  auto& session = sessions_[reflector];
  link_.send(reflector, Channel::control, encode(0, events_.open()));
  // Jitter, so that a thousand hosts that lost the same reflector do not come back in one moment.
  const auto jitter = random_.below(static_cast<std::uint32_t>(session.pause / std::chrono::microseconds(4)));
  session.next = clock_.now() + session.pause + std::chrono::microseconds(jitter);
  session.pause = std::min(2 * session.pause, longest_pause);
}

void Sessions::lose(PeerId reflector, Duration pause) {
  auto& session = sessions_[reflector];
  if (session.phase == Phase::connected) {
    log_.warning("reflector lost", {{"number", number(reflector)}, {"name", session.reflector}});
    session.phase = Phase::connecting;
    session.id = 0;
    events_.disconnected(reflector);
  }
  session.pause = first_pause;
  session.next = clock_.now() + pause;
}

bool Sessions::receive(PeerId reflector, const Envelope& envelope) {
  if (is_closed_ || reflector >= sessions_.size()) return true;
  auto& session = sessions_[reflector];
  switch (envelope.type) {
    case MessageType::welcome: {
      Welcome welcome;
      return decode(envelope.body, welcome) && take(reflector, envelope, welcome);
    }
    case MessageType::refuse: {
      Refuse refuse;
      return decode(envelope.body, refuse) && take(reflector, envelope, refuse);
    }
    case MessageType::heartbeat: {
      Heartbeat heartbeat;
      if (!decode(envelope.body, heartbeat)) return false;
      if (session.id == 0 || envelope.session != session.id) return true;
      session.heard = clock_.now();
      session.is_ready = heartbeat.is_ready != 0;
      return true;
    }
    case MessageType::close: {
      Close close;
      if (!decode(envelope.body, close)) return false;
      if (session.id != 0 && envelope.session == session.id) lose(reflector, first_pause);
      return true;
    }
    default:
      return false;
  }
}

bool Sessions::take(PeerId reflector, const Envelope& envelope, const Welcome& welcome) {
  auto& session = sessions_[reflector];
  if (envelope.session == 0) return false;
  if (session.id == envelope.session) return true;  // said twice
  const bool was_connected = session.phase == Phase::connected;
  session.phase = Phase::connected;
  session.id = envelope.session;
  session.epoch = welcome.epoch;
  session.reflector = in_one_line(welcome.name, max_name_bytes);
  session.is_ready = welcome.is_ready != 0;
  session.has_relayed = welcome.has_relayed != 0;
  session.heartbeat = std::chrono::milliseconds(welcome.heartbeat_ms);
  session.lease = std::chrono::milliseconds(welcome.lease_ms);
  session.refusal.clear();
  session.told_trouble.clear();
  session.is_conflict = false;
  session.was_connected = true;
  session.pause = first_pause;
  session.heard = clock_.now();
  session.next = session.heard + session.heartbeat;
  if (!was_connected) log_.info("reflector connected", {{"number", number(reflector)}, {"name", session.reflector}});
  link_.connect(reflector, welcome.bulk, welcome.publications);
  events_.connected(reflector, session, welcome);
  return true;
}

bool Sessions::take(PeerId reflector, const Envelope& envelope, const Refuse& refuse) {
  auto& session = sessions_[reflector];
  if (envelope.session != session.id) return true;  // of an earlier one
  switch (refuse.reason) {
    case Refuse::Reason::unknown_session:
      if (session.phase == Phase::connected) lose(reflector, Duration{});
      return true;
    case Refuse::Reason::older_instance:
      if (refuse.detail <= events_.open().instance) return true;  // an earlier word of ours came late
      if (!session.was_connected) {
        // The clock of this host went back between two lives: only its later instance is known there.
        events_.raise_instance(refuse.detail);
        return true;
      }
      [[fallthrough]];
    case Refuse::Reason::replaced:
      // If that one was but a late word of an earlier life, it is forgotten when its lease ends; asking again finds out.
      return refused(reflector, "another node announces under this name: give each node a name of its own"),
             session.is_conflict = true;
    case Refuse::Reason::stream: {
      const auto stream = stream_of(refuse.detail);
      if (!stream) return false;
      if (session.phase == Phase::connected)
        events_.stream_refused(reflector, *stream, in_one_line(refuse.text, most_reason_bytes));
      return true;
    }
    case Refuse::Reason::forbidden:
    case Refuse::Reason::foreign_version:
    case Refuse::Reason::exhausted:
      break;
  }
  refused(reflector, in_one_line(refuse.text, most_reason_bytes));
  return true;
}

void Sessions::foreign_version(PeerId reflector, const std::string& why) {
  if (is_closed_ || reflector >= sessions_.size() || sessions_[reflector].phase == Phase::connected) return;
  refused(reflector, why);
}

void Sessions::trouble(PeerId reflector, std::string_view what) {
  if (is_closed_ || reflector >= sessions_.size()) return;
  auto& session = sessions_[reflector];
  session.trouble = what;
  // A session that is there ends by silence, and until then it may be over already.
  if (session.phase == Phase::connected || what.empty() || session.told_trouble == what) return;
  session.told_trouble = what;
  log_.warning("reflector not reached", {{"number", number(reflector)}, {"reason", session.trouble}});
}

void Sessions::refused(PeerId reflector, const std::string& why) {
  auto& session = sessions_[reflector];
  if (session.refusal != why) log_.error("reflector refuses us", {{"number", number(reflector)}, {"reason", why}});
  lose(reflector, refused_pause);
  session.phase = Phase::refused;
  session.refusal = why;
}

void Sessions::doubt(PeerId reflector) {
  if (is_closed_ || sessions_[reflector].phase != Phase::connected) return;
  sessions_[reflector].next = std::min(sessions_[reflector].next, clock_.now());
}

Instant Sessions::advance() {
  auto wake = Instant::max();
  if (is_closed_) return wake;
  const auto now = clock_.now();
  for (PeerId i = 0; i < sessions_.size(); ++i) {
    auto& session = sessions_[i];
    if (session.phase == Phase::connected && now - session.heard > session.lease) lose(i, Duration{});
    if (now >= session.next) {
      if (session.phase == Phase::connected) {
        link_.send(i, Channel::control, encode(session.id, Heartbeat{.positions = events_.positions(i)}));
        session.next = now + session.heartbeat;
      } else {
        open(i);
      }
    }
    wake = std::min(wake, session.next);
  }
  return wake;
}

void Sessions::close(Close::Reason reason) {
  if (is_closed_) return;
  is_closed_ = true;
  for (PeerId i = 0; i < sessions_.size(); ++i) {
    if (sessions_[i].phase == Phase::connected) link_.send(i, Channel::control, encode(sessions_[i].id, Close{reason}));
  }
}

void Sessions::reopen() {
  for (PeerId i = 0; i < sessions_.size(); ++i) {
    auto& session = sessions_[i];
    lose(i, Duration{});
    session.was_connected = false;
  }
}

}  // namespace ironcore::routing
