// SPDX-License-Identifier: Apache-2.0
// Any bytes as messages of routes; and a reflector, or a speaker, that hostile ends talk to: tables stay exact all the time, and come to be right
// when the hostile ends are silent.
#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <map>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <tuple>
#include <vector>

#include "messages.hpp"
#include "site.hpp"

using namespace ironcore;
using namespace ironcore::routing;
using namespace ironcore::routing::testing;
using namespace std::chrono_literals;

namespace {

void require(bool holds) {
  if (!holds) std::abort();
}

/// What an input says must not depend on the compiler: no two arguments of a function, and no two operands, are read from it.
class Input {
 public:
  explicit Input(std::span<const std::uint8_t> bytes) : left_(bytes) {}
  bool is_empty() const { return left_.empty(); }
  std::uint8_t byte() {
    if (left_.empty()) return 0;
    const auto out = left_.front();
    left_ = left_.subspan(1);
    return out;
  }
  std::uint8_t below(unsigned count) { return static_cast<std::uint8_t>(byte() % count); }
  template <class List>
  auto one_of(const List& list) {
    return list[below(static_cast<unsigned>(std::size(list)))];
  }
  std::string_view some(std::size_t count) {
    const auto taken = std::min(count, left_.size());
    const std::string_view out(reinterpret_cast<const char*>(left_.data()), taken);
    left_ = left_.subspan(taken);
    return out;
  }
  /// Small ones, and those at which sums run over.
  std::uint64_t number() {
    const auto kind = byte();
    if (kind < 180) return kind % 20;
    if (kind < 220) return ~std::uint64_t{0} - kind % 4;
    if (kind < 230) return (std::uint64_t{1} << 63) - 2 + kind % 4;
    std::uint64_t value = 0;
    for (int i = 0; i < 8; ++i) value = value << 8 | byte();
    return value;
  }

 private:
  std::span<const std::uint8_t> left_;
};

// ---- decoders ---------------------------------------------------------------------------------------------------

void try_record(const Record& record) {
  if (fault_of(record) != nullptr || record.operation() == Operation::origin_gone) return;
  const auto route = route_of(record);
  if (record.operation() == Operation::withdraw) {
    // What a withdrawal does not say has its default, and is as good as any other.
    require(check(route).has_value());
    const auto same = announcement(route, OriginId{record.origin}, record.version);
    return require(is_same_key(same, record) && withdrawal(same, record.version) == record);
  }
  require(check(route).has_value());
  require(announcement(route, OriginId{record.origin}, record.version) == record);
  const auto again = parse_route(to_text(route));
  require(again && *again == route);
}

/// What is accepted can be written in no other way.
template <class Message>
void try_as(std::string_view body, MessageType type) {
  Message message;
  if (const auto result = decode(body, message); !result) return require(result.error().code() == ErrorCode::corrupt);
  const auto bytes = encode(7, message);
  const auto envelope = read_envelope(bytes);
  require(envelope && envelope->type == type && envelope->session == 7 && envelope->body == body);
}

void try_as_changes(std::string_view body) {
  Changes changes;
  if (const auto result = decode(body, changes); !result) return require(result.error().code() == ErrorCode::corrupt);
  ChangesWriter writer;
  for (std::size_t i = 0; i < changes.count(); ++i) {
    writer.add(changes.record(i));
    try_record(changes.record(i));
  }
  const auto bytes = std::move(writer).finish(7, changes);
  require(std::string_view(bytes).substr(24) == body);
}

void decoders(std::string_view bytes) {
  const auto body = [&]() -> std::string_view {
    const auto envelope = read_envelope(bytes);
    return envelope ? envelope->body : bytes;
  }();
  try_as<Open>(body, MessageType::open);
  try_as<Welcome>(body, MessageType::welcome);
  try_as<Refuse>(body, MessageType::refuse);
  try_as<Heartbeat>(body, MessageType::heartbeat);
  try_as<Close>(body, MessageType::close);
  try_as<routing::Position>(body, MessageType::position);
  try_as_changes(body);
  if (bytes.size() >= sizeof(Record)) {
    Record record;
    std::memcpy(&record, bytes.data(), sizeof record);
    try_record(record);
  }
  if (const auto route = parse_route(bytes)) require(check(*route) && *parse_route(to_text(*route)) == *route);
}

// ---- messages of hostile ends -----------------------------------------------------------------------------------

constexpr std::uint32_t vnis[] = {1, 2, 3, Vni::max};
constexpr std::string_view names[] = {"h1", "h2", "h3", "h4"};

StreamName stream(Input& in) {
  return {in.one_of(vnis), static_cast<View>(in.below(3))};
}

Record record(Input& in, OriginId of) {
  Route route;
  route.vni = *Vni::make(in.one_of(vnis));
  const auto kind = in.byte();
  route.destination = Prefix::host(IpAddress::v4(0x0a000000 + kind % 8));
  route.next_hop = IpAddress::v4(0xc0000201 + kind / 8 % 2);
  route.weight = static_cast<std::uint8_t>(1 + kind / 16 % 2);
  if (kind >= 240) {
    route.type = RouteType::nat;
    route.nat_ports = {1024, 2047};
  }
  const auto origin = in.below(16) == 0 ? origin_id("reader") : of;
  auto out = announcement(route, origin, in.number());
  const auto operation = in.byte();
  if (operation % 4 == 0) out = withdrawal(out, out.version);
  if (operation == 255) out = gone(out.vni(), of);
  if (operation == 254) {
    const auto value = in.byte();
    reinterpret_cast<char*>(&out)[in.below(sizeof out)] = static_cast<char>(value);
  }
  return out;
}

std::string changes(Input& in, std::uint64_t session, Changes of, OriginId origin) {
  ChangesWriter writer;
  for (auto records = in.below(8); records > 0; --records) writer.add(record(in, origin));
  return std::move(writer).finish(session, of);
}

Changes any_changes(Input& in) {
  Changes of{.stream = stream(in), .epoch = in.number(), .from = in.number()};
  of.to = of.from + in.below(10);
  of.head = of.to + (in.below(4) == 0 ? in.number() : 0);
  of.digest = in.number();
  of.is_ready = in.below(2);
  of.is_restart = of.from == 0 ? in.below(2) : std::uint8_t{0};
  return of;
}

routing::Position any_position(Input& in) {
  return {.stream = stream(in),
          .epoch = in.number(),
          .sequence = in.number(),
          .base = in.number(),
          .refused = in.number(),
          .wants = in.below(max_pieces + 2)};
}

std::string any_refusal(Input& in, std::uint64_t session) {
  Refuse refuse{.reason = static_cast<Refuse::Reason>(1 + in.below(7)), .detail = in.number(), .text = "no"};
  if (refuse.reason == Refuse::Reason::stream && in.below(4) != 0) refuse.detail = stream_number(stream(in));
  return encode(session, refuse);
}

std::string any_heartbeat(Input& in, std::uint64_t session) {
  Heartbeat beat{.is_ready = in.below(2), .has_relayed = in.below(2), .positions = {}};
  for (auto count = in.below(5); count > 0; --count) beat.positions.push_back({stream(in), in.number()});
  return encode(session, beat);
}

/// Now and then a byte is another one, or the end is missing.
std::string damaged(Input& in, std::string message) {
  const auto how = in.byte();
  if (how >= 240) {
    const auto value = in.byte();
    const auto high = in.byte();
    message[(high * 256U + in.byte()) % message.size()] = static_cast<char>(value);
  }
  if (how == 239) message.resize(in.byte() % message.size());
  return message;
}

// ---- what must hold all the time --------------------------------------------------------------------------------

void check_sent(std::string_view message) {
  const auto envelope = read_envelope(message);
  require(envelope.has_value());
  const auto is = [&](auto value) { return decode(envelope->body, value).has_value(); };
  switch (envelope->type) {
    case MessageType::open:
      return require(is(Open()));
    case MessageType::welcome:
      return require(is(Welcome()));
    case MessageType::refuse:
      return require(is(Refuse()));
    case MessageType::heartbeat:
      return require(is(Heartbeat()));
    case MessageType::close:
      return require(is(Close()));
    case MessageType::changes:
      return require(is(Changes()));
    case MessageType::position:
      return require(is(routing::Position()));
  }
  std::abort();
}

const ReflectorOptions limits{.restart_time = 5s,
                              .deferral = 2s,
                              .stale_time = 20s,
                              .max_nodes = 6,
                              .max_routes = 48,
                              .max_node_routes = 30,
                              .max_topics = 12};

/// All pages of a view of a VNI.
std::vector<KnownRoute> all_routes(const Reflector& reflector, Vni vni, View view,
                                   RoutesQuery::Withdrawals withdrawals) {
  std::vector<KnownRoute> all;
  RoutesQuery query{.vni = vni, .view = view, .withdrawals = withdrawals};
  while (true) {
    const auto page = reflector.routes(query);
    all.insert(all.end(), page.routes.begin(), page.routes.end());
    if (page.is_last) return all;
    query.after = page.next;
  }
}

void check_tables(const Reflector& reflector) {
  const auto status = reflector.status();
  require(status.routes <= limits.max_routes && status.nodes <= limits.max_nodes);
  std::size_t direct = 0;
  std::size_t relayed = 0;
  std::map<OriginId, std::size_t> of_origins;
  for (const auto& vni : reflector.vnis()) {
    const auto known = all_routes(reflector, vni.vni, vni.view, RoutesQuery::Withdrawals::left_out);
    require(known.size() == vni.routes);
    std::uint64_t digest = 0;
    std::uint64_t sequence = 0;
    for (const auto& one : known) {
      require(check(one.route).has_value() && one.route.vni == vni.vni && one.what == LearnedRoute::What::announced);
      require(one.sequence > sequence && one.sequence <= vni.sequence);
      sequence = one.sequence;
      digest += content_hash(announcement(one.route, one.origin, 1));
      if (vni.view == View::direct) ++of_origins[one.origin];
    }
    require(digest == vni.digest);
    (vni.view == View::direct ? direct : relayed) += known.size();
  }
  require(direct == status.routes && relayed == status.relayed_routes);
  for (const auto& node : reflector.nodes()) {
    require(node.routes <= limits.max_node_routes);
    const auto found = of_origins.find(node.origin);
    require(node.routes == (found == of_origins.end() ? 0 : found->second));
    if (found != of_origins.end()) of_origins.erase(found);
  }
  require(of_origins.empty());
}

using Learned = std::set<std::pair<OriginId, Route>>;

Learned learned(const Speaker& speaker, Vni vni) {
  Learned all;
  for (const auto& one : speaker.routes(vni)) all.insert({one.origin, one.route});
  return all;
}

void check_tables(const Speaker& speaker) {
  const auto status = speaker.status();
  std::size_t routes = 0;
  for (const auto& table : status.vnis) {
    const auto known = speaker.routes(table.vni);
    require(known.size() == table.routes);
    routes += known.size();
    // Changes lead to the same table.
    Learned told;
    const auto end = speaker.changes(table.vni, 0, 1'000'000, [&](const LearnedRoute& one) {
      if (one.what == LearnedRoute::What::announced) told.insert({one.origin, one.route});
    });
    require(!end || (*end == table.sequence && told == learned(speaker, table.vni)));
    for (const auto& one : known) require(one.origin != origin_id("reader") && check(one.route).has_value());
  }
  require(status.learned_routes == routes && status.own_routes == speaker.announced().size());
}

/// What a reader of both views must know: of each route the highest version that either has.
Learned fold(const Reflector& reflector, Vni vni, OriginId reader) {
  using Key = std::tuple<OriginId, Prefix, RouteType, IpAddress, PortRange>;
  std::map<Key, KnownRoute> best;
  for (const auto view : {View::direct, View::relayed}) {
    for (const auto& one : all_routes(reflector, vni, view, RoutesQuery::Withdrawals::included)) {
      const Key key{one.origin, one.route.destination, one.route.type, one.route.next_hop, one.route.nat_ports};
      const auto [place, is_new] = best.insert({key, one});
      if (!is_new && (one.version > place->second.version ||
                      (one.version == place->second.version && one.what != LearnedRoute::What::announced)))
        place->second = one;
    }
  }
  Learned all;
  for (const auto& [key, one] : best) {
    if (one.what == LearnedRoute::What::announced && one.origin != reader) all.insert({one.origin, one.route});
  }
  return all;
}

std::vector<Route> routes_of_host() {
  std::vector<Route> routes;
  for (const auto vni : {1U, 2U, Vni::max}) {
    for (std::uint32_t i = 0; i < 3; ++i) {
      Route route;
      route.vni = *Vni::make(vni);
      route.destination = Prefix::host(IpAddress::v4(0x0a000000 + i));
      route.next_hop = IpAddress::v4(0xc0000209);
      routes.push_back(route);
    }
  }
  return routes;
}

void subscribe_all(Speaker& speaker) {
  for (const auto vni : vnis) speaker.subscribe(*Vni::make(vni));
}

// ---- a reflector ------------------------------------------------------------------------------------------------

struct HostileEnd {
  sim::Wires::EndId end = 0;
  std::uint64_t session = 0;
};

void reflector(Input in) {
  Site site(in.byte());
  // Its only peer is played by the input.
  site.add_reflector(limits, {1});
  const auto host = site.add_speaker("host", {0});
  const auto reader = site.add_speaker("reader", {0});
  subscribe_all(site.speaker(reader));
  require(site.speaker(host).announce(routes_of_host()).has_value());
  site.run(100ms);

  std::array<HostileEnd, 4> ends;
  std::set<std::uint64_t> issued;
  for (auto& end : ends) {
    end.end = site.wires.add_speaker({site.reflectors[0]->end});
    site.wires.attach(end.end, {[&](PeerId, Channel, std::string_view message) {
                                  check_sent(message);
                                  const auto envelope = read_envelope(message);
                                  if (envelope->type == MessageType::welcome)
                                    issued.insert(end.session = envelope->session);
                                  if (envelope->type == MessageType::refuse && envelope->session == end.session)
                                    end.session = 0;
                                },
                                {}});
  }
  const NodeRights narrow{
      .name = "h4", .announcements = {{{1, 2}, {*Prefix::parse("10.0.0.0/30")}}}, .subscriptions = {{1, 1}}};

  auto& under_test = site.reflector(0);
  for (int steps = 0; steps < 200 && !in.is_empty(); ++steps) {
    const auto number = in.below(ends.size());
    auto& from = ends[number];
    const auto* const rights = number == 3 ? &narrow : nullptr;
    const auto origin = origin_id(names[number]);
    // Mostly there is a session: without one little happens.
    if (from.session == 0 && in.below(8) != 0) {
      under_test.receive(from.end, Channel::control,
                         encode(0, Open{.name = names[number], .instance = 1U + in.below(20)}), rights);
      site.run(1ms);
    }
    const auto session = in.below(8) == 0 ? in.number() : from.session;
    const auto channel = in.below(2) == 0 ? Channel::control : Channel::bulk;
    const auto say = [&](std::string message) {
      message = damaged(in, std::move(message));
      const auto before = under_test.status();
      under_test.receive(from.end, channel, message, rights);
      const auto envelope = read_envelope(message);
      if (envelope && issued.contains(envelope->session)) return;
      const auto after = under_test.status();
      require(after.routes == before.routes && after.counters.changes == before.counters.changes);
    };
    switch (in.below(12)) {
      case 0:
      case 1: {
        const auto in_session = in.below(8) == 0 ? session : 0;
        say(encode(in_session, Open{.name = names[in.below(8) == 0 ? in.below(number == 3 ? 4 : 3) : number],
                                    .instance = in.number(),
                                    .sequence = in.number(),
                                    .digest = in.number()}));
        site.run(1ms);
        break;
      }
      case 2:
        say(any_heartbeat(in, session));
        break;
      case 3:
        say(encode(session, Close{in.below(2) == 0 ? Close::Reason::leaving : Close::Reason::stopping}));
        break;
      case 4:
      case 5: {  // changes that follow on what is there
        Changes of{.stream = {}, .epoch = 1};
        const auto nodes = under_test.nodes();
        const auto node = std::ranges::find(nodes, names[number], &NodeStatus::name);
        if (node != nodes.end()) {
          of.epoch = node->instance;
          of.from = node->announced;
        }
        of.is_restart = in.below(4) == 0;
        if (of.is_restart != 0) of.from = 0;
        of.to = of.from + 8;
        of.head = of.to + in.below(3);
        of.digest = in.number();
        say(changes(in, session, of, origin));
        break;
      }
      case 6:
        say(changes(in, session, any_changes(in), origin));
        break;
      case 7:
        say(encode(session, any_position(in)));
        break;
      case 8: {
        const StreamName topic{in.below(4) == 0 ? static_cast<std::uint32_t>(in.number()) : in.one_of(vnis),
                               static_cast<View>(in.below(4))};
        under_test.subscribed(topic);
        break;
      }
      case 9:
        site.run(std::chrono::milliseconds(1) * (in.byte() * in.byte() / 8 + 1));
        break;
      case 10: {
        const auto kind = in.below(6);
        auto message = kind == 0   ? encode(5, Welcome{.name = "peer",
                                                       .epoch = 1U + in.below(2),
                                                       .lease_ms = 3000,
                                                       .heartbeat_ms = 1000,
                                                       .is_ready = in.below(2),
                                                       .bulk = {},
                                                       .publications = {}})
                       : kind == 1 ? any_heartbeat(in, 5)
                       : kind == 2 ? changes(in, 0, any_changes(in), origin_id("far"))
                       : kind == 3 ? any_refusal(in, in.below(2) == 0 ? 5 : 0)
                       : kind == 4 ? encode(5, Close{})
                                   : changes(in, 0,
                                             {.stream = {in.one_of(vnis), View::direct},
                                              .epoch = 1,
                                              .from = 0,
                                              .to = 10,
                                              .head = 10,
                                              .digest = in.number(),
                                              .is_ready = 1},
                                             origin_id("far"));
        const PeerId peer = in.below(16) == 0 ? 9 : 0;
        under_test.receive_from_peer(peer, channel, damaged(in, std::move(message)));
        break;
      }
      case 11:
        if (in.below(8) == 0)
          under_test.end_sessions();
        else
          say(std::string(in.some(in.byte())) + ' ');
        break;
    }
    check_tables(under_test);
    for (const auto& vni : under_test.vnis()) {
      for (const auto& one : all_routes(under_test, vni.vni, View::direct, RoutesQuery::Withdrawals::included))
        require(one.what == LearnedRoute::What::origin_gone || one.origin != origin_id("h4") ||
                narrow.may_announce(vni.vni.value(), one.route.destination));
    }
  }

  // All are silent now: nobody of them lives on, and the reader knows what there is.
  site.run(20s);
  check_tables(under_test);
  check_tables(site.speaker(reader));
  require(under_test.nodes().size() == 2 && under_test.status().routes == routes_of_host().size());
  for (const auto vni : vnis) {
    require(!site.speaker(reader).is_stale(*Vni::make(vni)));
    require(learned(site.speaker(reader), *Vni::make(vni)) == fold(under_test, *Vni::make(vni), origin_id("reader")));
  }
}

// ---- a speaker --------------------------------------------------------------------------------------------------

void speaker(Input in) {
  Site site(in.byte());
  site.add_reflector(limits);
  site.add_reflector(limits);
  const auto host = site.add_speaker("host", {0, 1});
  const auto reader = site.add_speaker("reader", {0, 1});
  require(site.speaker(host).announce(routes_of_host()).has_value());
  site.kill_reflector(1);  // the input plays it
  auto& under_test = site.speaker(reader);
  subscribe_all(under_test);
  site.run(100ms);
  std::uint64_t epoch = 1;
  for (int steps = 0; steps < 200 && !in.is_empty(); ++steps) {
    const PeerId from = in.below(16) == 0 ? in.below(3) : 1;
    const bool is_connected = under_test.status().reflectors[1].phase == ReflectorSession::Phase::connected;
    if (!is_connected && in.below(2) == 0)
      under_test.receive(
          1, Channel::control,
          encode(5, Welcome{.name = "hostile", .epoch = epoch, .lease_ms = 3000, .heartbeat_ms = 1000, .is_ready = 1}));
    const auto session = in.below(8) == 0 ? in.number() : is_connected ? 5 : 0;
    const auto say = [&](std::string message) {
      const auto channel = in.below(2) == 0 ? Channel::control : Channel::bulk;
      under_test.receive(from, channel, damaged(in, std::move(message)));
    };
    switch (in.below(11)) {
      case 0: {
        epoch = 1U + in.below(3);
        const auto of_session = 4U + in.below(3);
        say(encode(of_session, Welcome{.name = "hostile",
                                       .epoch = epoch,
                                       .instance = in.number(),
                                       .sequence = in.number(),
                                       .digest = in.number(),
                                       .lease_ms = 3000,
                                       .heartbeat_ms = 1000,
                                       .is_ready = in.below(2),
                                       .has_relayed = in.below(2),
                                       .bulk = {},
                                       .publications = {}}));
        break;
      }
      case 1:
        say(any_refusal(in, session));
        break;
      case 2:
        say(any_heartbeat(in, session));
        break;
      case 3:
        say(encode(session, Close{in.below(2) == 0 ? Close::Reason::leaving : Close::Reason::stopping}));
        break;
      case 4: {
        auto of = any_changes(in);
        of.epoch = epoch;
        say(changes(in, 0, of, in.below(2) == 0 ? origin_id("host") : origin_id("far")));
        break;
      }
      case 5: {  // a table, as it would be told
        const std::uint64_t head = in.below(20);
        const Changes of{.stream = {in.one_of(vnis), in.below(2) == 0 ? View::direct : View::relayed},
                         .epoch = epoch,
                         .from = 0,
                         .to = head,
                         .head = head,
                         .digest = in.number(),
                         .is_ready = 1,
                         .is_restart = in.below(2)};
        const auto origin = in.below(2) == 0 ? origin_id("host") : origin_id("far");
        say(changes(in, 0, of, origin));
        break;
      }
      case 6: {
        auto position = any_position(in);
        position.stream = {};
        if (in.below(4) != 0) {
          const auto nodes = site.reflector(0).nodes();
          const auto node = std::ranges::find(nodes, "reader", &NodeStatus::name);
          if (node != nodes.end()) position.epoch = node->instance;
        }
        say(encode(session, position));
        break;
      }
      case 7: {
        auto route = routes_of_host()[in.below(9)];
        route.next_hop = IpAddress::v4(0xc0000207);
        const auto what = in.below(4);
        if (what == 0)
          under_test.withdraw(route);
        else if (what == 1)
          static_cast<void>(under_test.take_over(route));
        else
          require(under_test.announce(route).has_value());
        break;
      }
      case 8: {
        const auto vni = *Vni::make(in.one_of(vnis));
        under_test.unsubscribe(vni);
        require(under_test.routes(vni).empty());
        under_test.subscribe(vni);
        break;
      }
      case 9:
        site.run(std::chrono::milliseconds(1) * (in.byte() * in.byte() / 8 + 1));
        break;
      case 10:
        say(std::string(in.some(in.byte())) + ' ');
        break;
    }
    check_tables(under_test);
  }

  // The real one comes back: what the false one said is forgotten, and what it was told is said again.
  site.start_reflector(1);
  site.run(30s);
  check_tables(under_test);
  if (under_test.has_conflict()) return;
  for (std::size_t i = 0; i < 2; ++i) {
    require(under_test.status().reflectors[i].phase == ReflectorSession::Phase::connected);
    require(site.reflector(i).status().routes == routes_of_host().size() + under_test.status().own_routes);
    check_tables(site.reflector(i));
  }
  for (const auto& known : under_test.status().vnis) require(known.refusals.empty());
  for (const auto vni : vnis) {
    Learned all;
    for (const auto& route : routes_of_host()) {
      if (route.vni.value() == vni) all.insert({origin_id("host"), route});
    }
    require(learned(under_test, *Vni::make(vni)) == all && under_test.is_complete(*Vni::make(vni)));
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const std::span<const std::uint8_t> rest(data + 1, size - 1);
  switch (data[0] % 3) {
    case 0:
      decoders({reinterpret_cast<const char*>(rest.data()), rest.size()});
      break;
    case 1:
      reflector(Input(rest));
      break;
    default:
      speaker(Input(rest));
  }
  return 0;
}
