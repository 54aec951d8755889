// SPDX-License-Identifier: Apache-2.0
// A host's part: sessions, what it announces, what it learns.
#include "ironcore/routing/speaker.hpp"

#include <algorithm>
#include <set>

#include "announcer.hpp"
#include "ironcore/base/names.hpp"
#include "ironcore/base/text.hpp"
#include "sessions.hpp"
#include "subscriber.hpp"

namespace ironcore::routing {

namespace {

/// How long a reflector is missing until the others are believed to know all that it knew: more than any lease.
constexpr Duration comparison_time = std::chrono::seconds(10);

/// From the instance of a later life to the one that comes after it.
constexpr std::uint64_t leap = 1'000'000'000;

std::uint64_t random_number(Random& random) {
  std::uint64_t number = 0;
  random.fill(std::as_writable_bytes(std::span(&number, 1)));
  return number;
}

LearnedRoute learned(const Record& record) {
  const auto origin = OriginId{record.origin};
  switch (record.operation()) {
    case Operation::withdraw:
      return {LearnedRoute::What::withdrawn, route_of(record), origin};
    case Operation::origin_gone:
      return {LearnedRoute::What::origin_gone, {}, origin};
    default:
      return {LearnedRoute::What::announced, route_of(record), origin};
  }
}

}  // namespace

class Speaker::Impl {
 public:
  Impl(SpeakerOptions options, std::uint64_t secret, Link& link, Clock& clock, Random& random, Log& log)
      : options_(std::move(options)),
        self_(origin_id(options_.name)),
        clock_(clock),
        log_(log),
        announcer_(self_, first_instance(clock), options_.reflectors, secret, link, clock),
        subscriber_({.reflectors = options_.reflectors,
                     .views = {View::direct, View::relayed},
                     .self = self_,
                     .stale_time = options_.stale_time,
                     .comparison_time = comparison_time,
                     .secret = secret},
                    link, clock, random),
        sessions_(options_.reflectors, events(), link, clock, random, log) {}

  Sessions::Events events() {
    return {.open = [this] { return announcer_.open(options_.name); },
            .connected =
                [this](PeerId reflector, const Sessions::Session& session, const Welcome& welcome) {
                  announcer_.up(reflector, session.id, session.heartbeat, welcome);
                  subscriber_.up(reflector, session.id, session.epoch, session.heartbeat, session.has_relayed);
                },
            .disconnected =
                [this](PeerId reflector) {
                  announcer_.down(reflector);
                  subscriber_.down(reflector);
                },
            .raise_instance =
                [this](std::uint64_t seen) {
                  log_.warning("the clock of this host went back since its last start: announcing as a later life", {});
                  announcer_.set_instance(std::min(seen, max_instance - leap) + leap);
                  sessions_.reopen();
                },
            .positions = [this](PeerId reflector) { return subscriber_.take_positions(reflector); },
            .stream_refused =
                [this](PeerId reflector, StreamName stream, const std::string& why) {
                  if (subscriber_.refused(reflector, stream, why))
                    log_.warning("reflector does not tell a VNI", {{"number", std::to_string(reflector)},
                                                                   {"name", sessions_[reflector].reflector},
                                                                   {"vni", std::to_string(stream.vni)},
                                                                   {"reason", why}});
                }};
  }

  void receive(PeerId reflector, std::string_view message) {
    const auto envelope = read_envelope(message);
    if (!envelope) {
      const bool is_foreign = envelope.error().code() == ErrorCode::unsupported;
      ++(is_foreign ? foreign_version_ : malformed_);
      if (is_foreign) sessions_.foreign_version(reflector, envelope.error().message());
      return;
    }
    if (envelope->type == MessageType::changes) {
      Changes changes;
      if (!decode(envelope->body, changes)) {
        ++malformed_;
      } else if (reflector < sessions_.size() && !subscriber_.receive(reflector, message, changes)) {
        sessions_.doubt(reflector);
      }
      return;
    }
    if (envelope->type == MessageType::position) {
      Position position;
      if (!decode(envelope->body, position))
        ++malformed_;
      else if (reflector < sessions_.size())
        announcer_.receive(reflector, envelope->session, position);
      return;
    }
    if (!sessions_.receive(reflector, *envelope)) ++malformed_;
  }

  Instant advance() {
    if (is_closed_) return Instant::max();
    announcer_.advance();
    return std::min(sessions_.advance(), subscriber_.advance());
  }

  const SpeakerOptions options_;
  const OriginId self_;
  Clock& clock_;
  Log& log_;
  Announcer announcer_;
  Subscriber subscriber_;
  Sessions sessions_;
  bool is_closed_ = false;
  std::uint64_t malformed_ = 0;
  std::uint64_t foreign_version_ = 0;
};

std::string_view name(ReflectorSession::Phase phase) noexcept {
  switch (phase) {
    case ReflectorSession::Phase::connecting:
      return "connecting";
    case ReflectorSession::Phase::connected:
      return "connected";
    case ReflectorSession::Phase::refused:
      return "refused";
  }
  return "unknown";
}

Result<std::unique_ptr<Speaker>> Speaker::create(SpeakerOptions options, Link& link, Clock& clock, Random& random,
                                                 Log& log) {
  if (const auto reason = check_dns_subdomain(options.name))
    return Error(ErrorCode::invalid, "name: " + in_quotes(options.name) + ' ' + *reason);
  if (options.reflectors == 0) return Error(ErrorCode::invalid, "reflectors: a speaker needs one at least");
  const auto secret = random_number(random);
  return std::unique_ptr<Speaker>(
      new Speaker(std::make_unique<Impl>(std::move(options), secret, link, clock, random, log)));
}

Speaker::Speaker(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Speaker::~Speaker() = default;

Result<void> Speaker::announce(std::span<const Route> routes) {
  for (const auto& route : routes) IRONCORE_CHECK(within(check(route), to_text(route)));
  // Those that are there already count twice here: the bound is not that exact.
  const auto now = impl_->announcer_.own().routes();
  if (now + routes.size() > impl_->options_.max_routes)
    return Error(ErrorCode::exhausted, "this node announces " + std::to_string(now) + " routes; with " +
                                           std::to_string(routes.size()) + " more it would be above its limit of " +
                                           std::to_string(impl_->options_.max_routes));
  for (const auto& route : routes) impl_->announcer_.announce(route);
  return {};
}

void Speaker::withdraw(std::span<const Route> routes) {
  for (const auto& route : routes) {
    if (check(route)) impl_->announcer_.withdraw(route);
  }
}

Result<void> Speaker::take_over(Route route) {
  if (!impl_->subscriber_.wants(route.vni.value()))
    return Error(ErrorCode::wrong_state,
                 "VNI " + route.vni.to_text() + " is not subscribed: what others announce there is not known");
  IRONCORE_CHECK(check(route));
  std::uint32_t highest = 0;
  bool is_known = false;
  impl_->subscriber_.merged().for_each(route.vni.value(), [&](const Record& record) {
    const auto other = route_of(record);
    if (other.destination != route.destination || other.type != route.type || other.nat_ports != route.nat_ports)
      return;
    is_known = true;
    highest = std::max(highest, other.mobility);
  });
  if (is_known && highest == max_mobility)
    return Error(ErrorCode::exhausted,
                 "mobility: " + route.destination.to_text() + " was moved too often: withdraw it everywhere first");
  if (is_known) route.mobility = std::max(route.mobility, highest + 1);
  return announce(route);
}

std::vector<Route> Speaker::announced() const {
  std::vector<Route> routes;
  impl_->announcer_.own().for_each(0, [&](const Record& record) { routes.push_back(route_of(record)); });
  return routes;
}

void Speaker::subscribe(Vni vni) {
  impl_->subscriber_.want(vni.value());
}

void Speaker::unsubscribe(Vni vni) {
  impl_->subscriber_.unwant(vni.value());
}

std::vector<LearnedRoute> Speaker::routes(Vni vni) const {
  std::vector<LearnedRoute> routes;
  impl_->subscriber_.merged().for_each(vni.value(), [&](const Record& record) { routes.push_back(learned(record)); });
  return routes;
}

std::optional<std::uint64_t> Speaker::changes(Vni vni, std::uint64_t after, std::size_t limit,
                                              const std::function<void(const LearnedRoute&)>& f) const {
  const auto& merged = impl_->subscriber_.merged();
  if (after < merged.state(vni.value()).complete_from) return std::nullopt;
  return merged.changes(vni.value(), after, limit, [&](const Record& record) { f(learned(record)); }).to;
}

std::uint64_t Speaker::sequence(Vni vni) const {
  return impl_->subscriber_.merged().state(vni.value()).sequence;
}

std::size_t Speaker::learned_routes() const {
  return impl_->subscriber_.merged().routes();
}

bool Speaker::is_stale(Vni vni) const {
  return impl_->subscriber_.is_stale(vni.value());
}

bool Speaker::is_complete(Vni vni) const {
  return impl_->subscriber_.is_complete(vni.value());
}

void Speaker::close(Leave leave) {
  impl_->is_closed_ = true;
  impl_->sessions_.close(leave == Leave::leaving ? Close::Reason::leaving : Close::Reason::stopping);
}

void Speaker::receive(PeerId reflector, Channel, std::string_view message) {
  if (!impl_->is_closed_) impl_->receive(reflector, message);
}

void Speaker::trouble(PeerId reflector, std::string_view what) {
  impl_->sessions_.trouble(reflector, what);
}

Instant Speaker::advance() {
  return impl_->advance();
}

SpeakerStatus Speaker::status() const {
  SpeakerStatus status;
  const auto& announcer = impl_->announcer_;
  const auto& subscriber = impl_->subscriber_;
  for (PeerId i = 0; i < impl_->sessions_.size(); ++i) {
    const auto& session = impl_->sessions_[i];
    status.reflectors.push_back({.phase = session.phase,
                                 .name = session.reflector,
                                 .epoch = session.epoch,
                                 .is_ready = session.is_ready,
                                 .refusal = std::string(session.obstacle()),
                                 .announced = announcer.acknowledged(i),
                                 .refused_routes = announcer.refused(i)});
  }
  status.announced = announcer.own().state(0).sequence;
  status.own_routes = announcer.own().routes();
  status.learned_routes = subscriber.merged().routes();
  for (const auto vni : subscriber.wanted()) {
    const auto state = subscriber.merged().state(vni);
    status.vnis.push_back({.vni = *Vni::make(vni),
                           .routes = state.routes,
                           .sequence = state.sequence,
                           .is_stale = subscriber.is_stale(vni),
                           .is_complete = subscriber.is_complete(vni),
                           .refusals = {}});
    for (auto& [reflector, why] : subscriber.refusals(vni))
      status.vnis.back().refusals.push_back({reflector, std::move(why)});
  }
  const auto& counters = subscriber.counters();
  for (const auto& stream : subscriber.streams()) status.held += stream.held;
  status.gaps = counters.gaps;
  status.resyncs = counters.resyncs;
  status.malformed = impl_->malformed_;
  status.foreign_version = impl_->foreign_version_;
  status.foreign = counters.foreign;
  status.bad_records = counters.bad_records;
  return status;
}

bool Speaker::has_conflict() const {
  for (PeerId i = 0; i < impl_->sessions_.size(); ++i) {
    if (impl_->sessions_[i].is_conflict) return true;
  }
  return false;
}

}  // namespace ironcore::routing
