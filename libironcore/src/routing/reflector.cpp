// SPDX-License-Identifier: Apache-2.0
// The life of a reflector: its peers, its time, its beginning and end.
#include "ironcore/routing/reflector.hpp"

#include <span>

#include "ironcore/base/names.hpp"
#include "ironcore/base/text.hpp"
#include "reflector_impl.hpp"

namespace ironcore::routing {

std::uint64_t random_identifier(Random& random) {
  std::uint64_t number = 0;
  while (number == 0) random.fill(std::as_writable_bytes(std::span(&number, 1)));
  return number;
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
  const auto secret = random_identifier(random);
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

}  // namespace ironcore::routing
