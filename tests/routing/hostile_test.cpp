// SPDX-License-Identifier: Apache-2.0
// Ends that lie, repeat themselves or never stop: what they can do to others, and it must be nothing.
#include <doctest/doctest.h>

#include <deque>

#include "messages.hpp"
#include "site.hpp"

using namespace ironcore;
using namespace ironcore::routing;
using namespace ironcore::routing::testing;
using namespace std::chrono_literals;

namespace {

MessageType type_of(std::string_view message) {
  return read_envelope(message).value().type;
}

/// A node that says what it likes.
class Hostile {
 public:
  explicit Hostile(Site& site, std::size_t reflector = 0)
      : site_(site), end_(site.wires.add_speaker({site.reflectors[reflector]->end})) {
    site.wires.attach(end_, {[this](PeerId, Channel, std::string_view message) { heard_.emplace_back(message); }, {}});
  }
  void say(Channel channel, std::string message) {
    site_.wires.link(end_).send(0, channel, std::move(message));
    site_.run(1ms);
  }
  /// Its session.
  std::uint64_t open(std::string_view name, std::uint64_t instance) {
    say(Channel::control, encode(0, Open{.name = name, .instance = instance}));
    REQUIRE(!heard_.empty());
    REQUIRE(type_of(heard_.back()) == MessageType::welcome);
    return read_envelope(heard_.back())->session;
  }
  /// Announces or withdraws, as what follows on `from`.
  void change(std::uint64_t session, std::uint64_t instance, std::uint64_t from, const std::vector<Record>& records) {
    std::uint64_t at = from;
    for (std::size_t i = 0; i < records.size(); i += max_records) {
      ChangesWriter writer;
      for (std::size_t j = i; j < std::min(records.size(), i + max_records); ++j) writer.add(records[j]);
      const auto to = at + writer.count();
      // Digests are compared only at the end; this one never comes.
      say(Channel::bulk,
          std::move(writer).finish(session, {.stream = {}, .epoch = instance, .from = at, .to = to, .head = to + 1}));
      at = to;
    }
  }
  std::deque<std::string>& heard() { return heard_; }

 private:
  Site& site_;
  sim::Wires::EndId end_;
  std::deque<std::string> heard_;
};

/// What a reflector hears, to be said to it again.
struct Heard {
  PeerId peer;
  Channel channel;
  std::string message;
};
void record_what_is_heard(Site& site, std::vector<Heard>& heard) {
  auto& of = *site.reflectors[0];
  site.wires.attach(of.end, {[&](PeerId peer, Channel channel, std::string_view message) {
                               heard.push_back({peer, channel, std::string(message)});
                               of.reflector->receive(peer, channel, message, nullptr);
                               of.wake = {};
                             },
                             [&](StreamName topic) { of.reflector->subscribed(topic); }});
}

}  // namespace

TEST_CASE("messages of a session that come again, restarts too, bring no withdrawn route back") {
  Site site;
  site.add_reflector();
  std::vector<Heard> heard;
  record_what_is_heard(site, heard);
  const auto a = site.add_speaker("a", {0});
  const auto b = site.add_speaker("b", {0});
  site.speaker(b).subscribe(net);
  REQUIRE(site.speaker(a).announce(route("100#10.0.0.1/32#fd00::a")).has_value());
  REQUIRE(site.speaker(a).announce(route("100#10.0.0.2/32#fd00::a")).has_value());
  REQUIRE(site.run_until([&] { return site.speaker(b).status().learned_routes == 2; }));
  site.speaker(a).withdraw(route("100#10.0.0.1/32#fd00::a"));
  REQUIRE(site.run_until([&] { return site.speaker(b).status().learned_routes == 1; }));
  const auto sequence = site.speaker(b).sequence(net);
  for (int times = 0; times < 2; ++times) {
    const auto again = heard;
    for (const auto& one : again) {
      if (one.channel != Channel::bulk) continue;
      site.reflector(0).receive(one.peer, one.channel, one.message, nullptr);
      site.run(500ms);
      CHECK(table(site.speaker(b)) == Texts{"100#10.0.0.2/32#fd00::a"});
    }
  }
  site.run(5s);
  CHECK(site.speaker(b).sequence(net) == sequence);
  for (const auto& node : site.reflector(0).nodes()) {
    if (node.name == "a") CHECK(node.announced == site.speaker(a).status().announced);
  }
}

TEST_CASE("what an earlier life of a host said, and comes late, stops no later one") {
  Site site;
  site.add_reflector();
  std::vector<Heard> heard;
  record_what_is_heard(site, heard);
  const auto a = site.add_speaker("a", {0});
  site.run(1s);
  REQUIRE(type_of(heard.at(0).message) == MessageType::open);
  const auto late = heard.at(0);
  site.kill_speaker(a);
  site.start_speaker(a);
  REQUIRE(site.speaker(a).announce(route("100#10.0.0.1/32#fd00::a")).has_value());
  // Its welcome is overtaken by what the late message is answered with.
  auto& of = *site.speakers[a];
  std::vector<std::string> held;
  bool holds = true;
  site.wires.attach(of.end, {[&](PeerId peer, Channel channel, std::string_view message) {
                               if (holds && type_of(message) == MessageType::welcome) {
                                 held.emplace_back(message);
                                 return;
                               }
                               of.speaker->receive(peer, channel, message);
                               of.wake = {};
                             },
                             {}});
  site.run(5ms);
  site.reflector(0).receive(late.peer, late.channel, late.message, nullptr);
  site.run(5ms);
  holds = false;
  for (const auto& message : held) of.speaker->receive(0, Channel::control, message);
  site.run(5s);
  CHECK(!site.speaker(a).has_conflict());
  CHECK(site.reflector(0).status().routes == 1);
  // Again while the connection is made anew.
  site.kill_reflector(0);
  site.run(10s);
  site.start_reflector(0);
  record_what_is_heard(site, heard);
  holds = true;
  held.clear();
  REQUIRE(site.run_until([&] { return !held.empty(); }, 10s));
  site.reflector(0).receive(late.peer, late.channel, late.message, nullptr);
  site.run(5ms);
  holds = false;
  site.run(10s);
  CHECK(!site.speaker(a).has_conflict());
  CHECK(site.reflector(0).status().routes == 1);
}

TEST_CASE("of three sites one loses its reflector: its routes stay with the others") {
  Site site;
  site.add_reflector({}, {1, 2});
  site.add_reflector({}, {0, 2});
  site.add_reflector({}, {0, 1});
  const std::vector hosts{site.add_speaker("a", {0}), site.add_speaker("b", {1}), site.add_speaker("c", {2})};
  site.speaker(hosts[0]).subscribe(net);
  REQUIRE(site.speaker(hosts[1]).announce(route("100#10.0.0.1/32#fd00::b")).has_value());
  REQUIRE(site.speaker(hosts[2]).announce(route("100#10.0.0.1/32#fd00::c")).has_value());
  const Texts both{"100#10.0.0.1/32#fd00::b", "100#10.0.0.1/32#fd00::c"};
  REQUIRE(site.run_until([&] { return table(site.speaker(hosts[0])) == both; }));
  site.run(15s);
  CHECK(site.speaker(hosts[0]).is_complete(net));
  const auto sequence = site.speaker(hosts[0]).sequence(net);
  site.kill_reflector(2);
  site.run(5min);
  CHECK(table(site.speaker(hosts[0])) == both);
  CHECK(site.speaker(hosts[0]).sequence(net) == sequence);
  // The own reflector begins anew, and cannot know what the lost one would say.
  site.kill_reflector(0);
  site.start_reflector(0);
  site.run(5min);
  CHECK(table(site.speaker(hosts[0])) == both);
  CHECK(!site.speaker(hosts[0]).is_complete(net));
  site.start_reflector(2);
  site.run(30s);
  CHECK(site.speaker(hosts[0]).is_complete(net));
  CHECK(site.speaker(hosts[0]).sequence(net) == sequence);
}

TEST_CASE("what is told of other sites by a lost reflector stays until one that is left knows it too") {
  Site site;
  site.add_reflector({.stale_time = 30min}, {2});
  site.add_reflector({.stale_time = 30min}, {2});
  site.add_reflector({}, {0, 1});
  const auto near = site.add_speaker("near", {0, 1});
  const auto far = site.add_speaker("far", {2});
  site.speaker(near).subscribe(net);
  REQUIRE(site.speaker(far).announce(route("100#10.0.0.1/32#fd00::f")).has_value());
  REQUIRE(site.run_until([&] { return site.speaker(near).status().learned_routes == 1; }));
  site.run(15s);
  // The first one begins anew without a way to the other site, then the second one dies.
  site.kill_reflector(0);
  site.wires.cut(site.reflectors[0]->peer_end, site.reflectors[2]->end);
  site.start_reflector(0);
  site.run(30s);
  CHECK(site.reflector(0).is_ready());
  site.kill_reflector(1);
  site.run(5min);
  CHECK(site.speaker(near).status().learned_routes == 1);
  CHECK(!site.speaker(near).is_complete(net));
  site.run(30min);
  CHECK(site.speaker(near).is_complete(net));
  CHECK(site.speaker(near).status().learned_routes == 0);
}

TEST_CASE("what a peer told that was not heard for too long leaves the readers as soon as the reflector") {
  Site site;
  site.add_reflector({.heartbeat = 10s, .lease = 30s, .stale_time = 1min}, {1});
  site.add_reflector({}, {0});
  const auto near = site.add_speaker("near", {0});
  const auto far = site.add_speaker("far", {1});
  site.speaker(near).subscribe(net);
  REQUIRE(site.speaker(far).announce(route("100#10.0.0.1/32#fd00::f")).has_value());
  REQUIRE(site.run_until([&] { return site.speaker(near).status().learned_routes == 1; }));
  site.run(1s);
  site.kill_reflector(1);
  REQUIRE(site.run_until([&] { return site.reflector(0).status().relayed_routes == 0; }, 3min));
  site.run(10ms);
  CHECK(site.speaker(near).status().learned_routes == 0);
}

TEST_CASE("withdrawals told by a reflector that is lost for good do not stop a host whose clock went back") {
  for (const bool is_compared : {true, false}) {
    Site site;
    for (int i = 0; i < 2; ++i) site.add_reflector();
    const auto a = site.add_speaker("a", {0, 1});
    const auto b = site.add_speaker("b", {0, 1}, {.stale_time = is_compared ? Duration{} : Duration(5min)});
    site.speaker(b).subscribe(net);
    REQUIRE(site.speaker(a).announce(route("100#10.0.0.1/32#fd00::a")).has_value());
    REQUIRE(site.run_until([&] { return site.speaker(b).status().learned_routes == 1; }));
    site.speaker(a).withdraw(route("100#10.0.0.1/32#fd00::a"));
    REQUIRE(site.run_until([&] { return site.speaker(b).status().learned_routes == 0; }));
    site.run(10s);
    site.kill_speaker(a);
    site.run(10s);
    CHECK(site.reflector(0).nodes().size() == 1);
    site.kill_reflector(1);
    if (!is_compared) site.kill_reflector(0);
    site.run(6min);
    if (!is_compared) site.start_reflector(0);
    site.clock.set_wall(-1h);
    site.start_speaker(a);
    REQUIRE(site.speaker(a).announce(route("100#10.0.0.1/32#fd00::a")).has_value());
    CHECK(site.run_until([&] { return site.speaker(b).status().learned_routes == 1; }, 10s));
  }
}

TEST_CASE("withdrawals of an earlier life of a reflector do not stop a host whose clock went back") {
  Site site;
  for (int i = 0; i < 2; ++i) site.add_reflector();
  const auto a = site.add_speaker("a", {0, 1});
  const auto b = site.add_speaker("b", {0, 1});
  site.speaker(b).subscribe(net);
  REQUIRE(site.speaker(a).announce(route("100#10.0.0.1/32#fd00::a")).has_value());
  REQUIRE(site.run_until([&] { return site.speaker(b).status().learned_routes == 1; }));
  site.speaker(a).withdraw(route("100#10.0.0.1/32#fd00::a"));
  REQUIRE(site.run_until([&] { return site.speaker(b).status().learned_routes == 0; }));
  site.kill_speaker(a);
  site.run(10s);
  site.kill_reflector(1);
  site.start_reflector(1);
  site.run(20s);
  REQUIRE(site.speaker(b).is_complete(net));
  site.wires.cut(site.speakers[a]->end, site.reflectors[1]->end);
  site.clock.set_wall(-1h);
  site.start_speaker(a);
  REQUIRE(site.speaker(a).announce(route("100#10.0.0.1/32#fd00::a")).has_value());
  CHECK(site.run_until([&] { return site.speaker(b).status().learned_routes == 1; }, 10s));
}

TEST_CASE("a reflector that begins anew brings nothing back that one that is not heard has yet") {
  Site site;
  for (int i = 0; i < 2; ++i) site.add_reflector();
  const auto a = site.add_speaker("a", {0, 1});
  const auto b = site.add_speaker("b", {0, 1});
  site.speaker(b).subscribe(net);
  REQUIRE(site.speaker(a).announce(route("100#10.0.0.1/32#fd00::a")).has_value());
  REQUIRE(site.run_until([&] { return site.speaker(b).status().learned_routes == 1; }));
  site.run(10s);
  for (const auto i : {a, b}) site.wires.cut(site.speakers[i]->end, site.reflectors[0]->end);
  site.speaker(a).withdraw(route("100#10.0.0.1/32#fd00::a"));
  REQUIRE(site.run_until([&] { return site.speaker(b).status().learned_routes == 0; }, 500ms));
  site.kill_speaker(a);
  site.kill_reflector(1);
  site.start_reflector(1);
  CHECK(!site.run_until([&] { return site.speaker(b).status().learned_routes != 0; }, 1min));
}

TEST_CASE("a withdrawal needs the right to announce, unless it ends what is there") {
  Site site;
  site.add_reflector();
  auto& reflector = site.reflector(0);
  NodeRights rights{.name = "a", .announcements = {{{100, 100}, {*Prefix::parse("10.0.0.0/8")}}}};
  Hostile a(site);
  const auto session = a.open("a", 7);
  const auto origin = origin_id("a");
  const auto change = [&](std::uint64_t from, const Record& record) {
    ChangesWriter writer;
    writer.add(record);
    reflector.receive(
        0, Channel::bulk,
        std::move(writer).finish(session, {.stream = {}, .epoch = 7, .from = from, .to = from + 1, .head = from + 2}),
        &rights);
  };
  const auto mine = announcement(route("100#10.0.0.1/32#fd00::a"), origin, 1);
  change(0, mine);
  CHECK(reflector.status().routes == 1);
  const auto forbidden = reflector.status().counters.forbidden;
  change(1, withdrawal(announcement(route("101#10.0.0.1/32#fd00::a"), origin, 1), 2));
  change(2, withdrawal(announcement(route("100#192.0.2.1/32#fd00::a"), origin, 1), 2));
  CHECK(reflector.status().counters.forbidden == forbidden + 2);
  CHECK(reflector.vnis().size() == 1);
  CHECK(reflector.vnis()[0].tombstones == 0);
  rights.announcements.clear();
  change(3, withdrawal(mine, 3));
  CHECK(reflector.status().routes == 0);
  CHECK(reflector.vnis()[0].tombstones == 1);
}

TEST_CASE("a session counts only with the key that opened it") {
  Site site;
  site.add_reflector();
  Hostile a(site);
  const auto session = a.open("a", 7);
  const NodeRights other{.name = "b", .announcements = {{{}, {*Prefix::parse("0.0.0.0/0")}}}};
  ChangesWriter writer;
  writer.add(announcement(route("100#10.0.0.1/32#fd00::a"), origin_id("a"), 1));
  auto& reflector = site.reflector(0);
  reflector.receive(99, Channel::bulk,
                    std::move(writer).finish(session, {.stream = {}, .epoch = 7, .from = 0, .to = 1, .head = 1}),
                    &other);
  reflector.receive(99, Channel::control, encode(session, Close{Close::Reason::leaving}), &other);
  CHECK(reflector.status().routes == 0);
  CHECK(reflector.nodes().size() == 1);
  CHECK(reflector.status().counters.forbidden == 2);
}

TEST_CASE("a host that dies with routes in very many networks holds up nobody") {
  Site site;
  site.add_reflector();
  Hostile a(site);
  const auto session = a.open("a", 7);
  std::vector<Record> records;
  for (std::uint32_t i = 0; i < 200'000; ++i) {
    auto one = route("0#10.0.0.1/32#fd00::a");
    one.vni = *Vni::make(i);
    records.push_back(announcement(one, origin_id("a"), i + 1));
  }
  a.change(session, 7, 0, records);
  CHECK(site.reflector(0).status().routes == records.size());
  site.run(5s);  // takes minutes when each network looks at all routes
  CHECK(site.reflector(0).status().counters.deaths == 1);
  CHECK(site.reflector(0).status().routes == 0);
}

TEST_CASE("withdrawals in very many networks cost others nothing") {
  Site site;
  site.add_reflector();
  Hostile a(site);
  const auto b = site.add_speaker("b", {0});
  const auto c = site.add_speaker("c", {0});
  site.speaker(c).subscribe(net);
  const auto routes = numbered("100#10.0.0.1/32#fd00::b", 5'000);
  REQUIRE(site.speaker(b).announce(routes).has_value());
  REQUIRE(site.run_until([&] { return site.speaker(c).status().learned_routes == routes.size(); }));
  const auto session = a.open("a", 7);
  std::vector<Record> records;
  for (std::uint32_t i = 0; i < 110'000; ++i) {
    auto one = route("0#10.0.0.1/32#fd00::a");
    one.vni = *Vni::make(1'000 + i);
    records.push_back(withdrawal(announcement(one, origin_id("a"), 1), 1));
  }
  a.change(session, 7, 0, records);
  const auto before = site.reflector(0).status().counters;
  for (std::size_t i = 0; i < 20; ++i) {
    site.speaker(b).withdraw(routes[i]);
    site.run(10ms);
    CHECK(site.speaker(c).status().learned_routes == routes.size() - i - 1);
  }
  CHECK(site.speaker(c).status().resyncs == 0);
  CHECK(site.reflector(0).status().counters.rereadings == before.rereadings);
  std::size_t tombstones = 0;
  for (const auto& vni : site.reflector(0).vnis()) tombstones += vni.tombstones;
  CHECK(tombstones <= 100'000 + routes.size() / 2);
}

TEST_CASE("what a node says that it reads takes no more memory than what there is to read") {
  Site site;
  site.add_reflector();
  const auto b = site.add_speaker("b", {0});
  site.speaker(b).subscribe(net);
  site.run(1s);
  Hostile a(site);
  const auto session = a.open("a", 7);
  for (std::uint32_t i = 0; i < 50; ++i) {
    Heartbeat beat;
    for (std::uint32_t j = 0; j < max_positions; ++j)
      beat.positions.push_back({{i * 1'000 + j, View::direct}, not_read - 1});
    a.say(Channel::control, encode(session, beat));
  }
  for (const auto& node : site.reflector(0).nodes()) {
    CHECK(node.streams <= 2);
    CHECK(node.behind == 0);
  }
  CHECK(site.reflector(0).nodes()[0].streams == 1);
}

TEST_CASE("subscriptions to what cannot be are nothing, and there is a bound for the others") {
  Site site;
  site.add_reflector({.max_topics = 1'000});
  auto& reflector = site.reflector(0);
  reflector.subscribed({Vni::max + 1, View::direct});
  reflector.subscribed({~std::uint32_t{0}, View::relayed});
  reflector.subscribed({100, View::own});
  reflector.subscribed({100, static_cast<View>(77)});
  CHECK(reflector.status().topics == 0);
  for (std::uint32_t i = 0; i < 3'000; ++i) reflector.subscribed({i, i % 2 == 0 ? View::direct : View::relayed});
  CHECK(reflector.status().topics == 1'000);
  CHECK(reflector.status().counters.exhausted == 2'000);
  // Nobody with a session reads them: they are forgotten.
  site.run(2min);
  CHECK(reflector.status().topics == 0);
  reflector.subscribed({7, View::relayed});
  CHECK(reflector.status().topics == 1);
}

TEST_CASE("a topic lasts as long as a node reads it, whatever others say, and not much longer") {
  Site site;
  site.add_reflector();
  const auto a = site.add_speaker("a", {0});
  const auto b = site.add_speaker("b", {0});
  for (const auto i : {a, b}) site.speaker(i).subscribe(net);
  site.run(10min);
  CHECK(site.reflector(0).status().topics == 1);
  site.speaker(a).unsubscribe(net);
  site.run(10min);
  CHECK(site.reflector(0).status().topics == 1);
  CHECK(!site.speaker(b).is_stale(net));
  site.kill_speaker(b);
  site.run(2min);
  CHECK(site.reflector(0).status().topics == 0);
}

TEST_CASE("readers that ask without end get their share and no more") {
  Site site;
  site.add_reflector();
  const auto b = site.add_speaker("b", {0});
  const auto routes = numbered("100#10.0.0.1/32#fd00::b", 20'000);
  REQUIRE(site.speaker(b).announce(routes).has_value());
  REQUIRE(site.run_until([&] { return site.reflector(0).status().routes == routes.size(); }));
  Hostile a(site);
  const auto session = a.open("a", 7);
  const auto before = site.reflector(0).status().counters.pieces;
  const auto question = encode(
      session,
      routing::Position{.stream = {100, View::direct}, .epoch = site.reflector(0).status().epoch, .wants = max_pieces});
  for (int i = 0; i < 1'000; ++i) {
    site.reflector(0).receive(5, Channel::bulk, question, nullptr);
    site.run(1us);
  }
  CHECK(site.reflector(0).status().counters.pieces - before <= 2'000 + 20);
  const auto c = site.add_speaker("c", {0});
  site.speaker(c).subscribe(net);
  CHECK(site.run_until([&] { return site.speaker(c).status().learned_routes == routes.size(); }, 1s));
}

TEST_CASE("what there was no room for is announced when there is") {
  Site site;
  site.add_reflector({.max_routes = 10, .max_node_routes = 8});
  Hostile a(site);
  const auto session = a.open("a", 7);
  std::vector<Record> records;
  for (std::uint32_t i = 0; i < 20; ++i) {
    auto one = route("100#10.0.0.1/32#fd00::a");
    one.destination = Prefix::host(IpAddress::v4(0x0a000000 + i));
    records.push_back(announcement(one, origin_id("a"), i + 1));
  }
  a.change(session, 7, 0, records);
  CHECK(site.reflector(0).status().routes == 8);
  const auto b = site.add_speaker("b", {0});
  const auto routes = numbered("100#10.0.1.1/32#fd00::b", 5, 0x100);
  REQUIRE(site.speaker(b).announce(routes).has_value());
  site.run(1s);
  CHECK(site.reflector(0).status().routes == 10);
  CHECK(site.speaker(b).status().reflectors[0].refused_routes == 3);
  CHECK(site.run_until([&] { return site.reflector(0).status().counters.deaths == 1; }, 10s));
  CHECK(site.run_until([&] { return site.reflector(0).status().routes == routes.size(); }, 2s));
  site.run(1s);
  CHECK(site.speaker(b).status().reflectors[0].refused_routes == 0);
  const auto restarts = site.reflector(0).status().counters.restarts;
  site.run(10s);
  CHECK(site.reflector(0).status().counters.restarts == restarts);
}

TEST_CASE("one lost announcement is said again, and not as often as there are others behind it") {
  Site site;
  site.add_reflector();
  auto& of = *site.reflectors[0];
  std::size_t messages = 0;
  site.wires.attach(of.end, {[&](PeerId peer, Channel channel, std::string_view message) {
                               if (type_of(message) == MessageType::changes && messages++ == 0) return;
                               of.reflector->receive(peer, channel, message, nullptr);
                               of.wake = {};
                             },
                             {}});
  const auto a = site.add_speaker("a", {0});
  const auto routes = numbered("100#10.0.0.1/32#fd00::a", 100'000);
  REQUIRE(site.speaker(a).announce(routes).has_value());
  CHECK(site.run_until([&] { return site.reflector(0).status().routes == routes.size(); }, 1s));
  site.run(5s);
  CHECK(site.speaker(a).status().reflectors[0].announced == routes.size());
  CHECK(site.reflector(0).status().counters.gaps == 1);
  CHECK(messages <= 32 + 100 + 1);
}

TEST_CASE("numbers near the end of all numbers are refused, or do no harm but to who says them") {
  Open open;
  const auto instance = [](std::uint64_t number) { return encode(0, Open{.name = "a", .instance = number}); };
  CHECK(decode(std::string_view(instance(max_instance)).substr(24), open).has_value());
  CHECK(!decode(std::string_view(instance(max_instance + 1)).substr(24), open).has_value());
  CHECK(!decode(std::string_view(instance(~0ULL)).substr(24), open).has_value());

  Site site;
  site.add_reflector();
  const auto b = site.add_speaker("b", {0});
  const auto c = site.add_speaker("c", {0});
  site.speaker(c).subscribe(net);
  REQUIRE(site.speaker(b).announce(route("100#10.0.0.1/32#fd00::b")).has_value());
  REQUIRE(site.run_until([&] { return site.speaker(c).status().learned_routes == 1; }));
  Hostile a(site);
  const auto session = a.open("a", max_instance);
  const auto mine = announcement(route("100#10.0.0.1/32#fd00::a"), origin_id("a"), ~0ULL);
  a.change(session, max_instance, 0, {mine});
  CHECK(site.run_until([&] { return site.speaker(c).status().learned_routes == 2; }, 1s));
  for (const auto head : {~0ULL, ~0ULL - 1}) {
    ChangesWriter writer;
    a.say(Channel::bulk, std::move(writer).finish(
                             session, {.stream = {}, .epoch = max_instance, .from = 1, .to = head, .head = ~0ULL}));
    a.say(Channel::bulk,
          ChangesWriter().finish(
              session, {.stream = {}, .epoch = max_instance, .from = 0, .to = 0, .head = head, .is_restart = 1}));
    a.say(Channel::bulk, encode(session, routing::Position{.stream = {100, View::direct},
                                                           .epoch = site.reflector(0).status().epoch,
                                                           .sequence = head,
                                                           .base = head,
                                                           .wants = 16}));
  }
  site.run(10s);
  CHECK(table(site.speaker(c)) == Texts{"100#10.0.0.1/32#fd00::b"});
  CHECK(site.speaker(c).status().resyncs == 0);
}

TEST_CASE("a reflector that lies about what it has, or about other lives, stops no speaker") {
  Site site;
  site.add_reflector();
  site.add_reflector();
  site.kill_reflector(1);
  std::vector<std::string> opens;
  std::size_t changes = 0;
  PeerId speaker_end = 0;
  site.wires.attach(site.reflectors[1]->end, {[&](PeerId peer, Channel, std::string_view message) {
                                                speaker_end = peer;
                                                if (type_of(message) == MessageType::open) opens.emplace_back(message);
                                                if (type_of(message) == MessageType::changes) ++changes;
                                              },
                                              {}});
  const auto a = site.add_speaker("a", {0, 1});
  REQUIRE(site.speaker(a).announce(route("100#10.0.0.1/32#fd00::a")).has_value());
  site.run(1s);
  const auto say = [&](Channel channel, std::string message) {
    site.wires.link(site.reflectors[1]->end).send(speaker_end, channel, std::move(message));
    site.run(10ms);
  };
  const auto instance = [&] {
    Open open;
    const auto envelope = read_envelope(opens.back());
    REQUIRE(decode(envelope->body, open).has_value());
    return open.instance;
  };
  for (const auto lie : {~std::uint64_t{0}, ~std::uint64_t{0} - 1'000, max_instance, max_instance - 5}) {
    say(Channel::control, encode(0, Refuse{.reason = Refuse::Reason::older_instance, .detail = lie, .text = {}}));
    opens.clear();
    site.run(10s);
    REQUIRE(!opens.empty());
    CHECK(opens.size() < 20);
    CHECK(instance() <= max_instance);
    CHECK(site.reflector(0).status().routes == 1);
    CHECK(site.speaker(a).status().reflectors[0].phase == ReflectorSession::Phase::connected);
  }
  say(Channel::control, encode(77, Welcome{.name = "liar", .epoch = 3, .lease_ms = 60'000, .heartbeat_ms = 1'000}));
  CHECK(site.speaker(a).status().reflectors[1].phase == ReflectorSession::Phase::connected);
  say(Channel::bulk, encode(77, routing::Position{.stream = {}, .epoch = instance(), .sequence = ~0ULL}));
  CHECK(site.speaker(a).status().reflectors[1].announced <= site.speaker(a).status().announced);
  say(Channel::bulk, encode(77, routing::Position{.stream = {}, .epoch = instance(), .sequence = ~0ULL, .wants = 1}));
  CHECK(site.speaker(a).status().reflectors[1].announced <= site.speaker(a).status().announced);
  say(Channel::bulk, encode(77, routing::Position{.stream = {}, .epoch = instance(), .sequence = 1}));
  CHECK(site.speaker(a).status().reflectors[1].announced == 1);
  changes = 0;
  site.run(20s);
  CHECK(changes == 0);
  CHECK(!site.speaker(a).has_conflict());
}

TEST_CASE("a node whose name is none is told so, and is no node") {
  Site site;
  site.add_reflector();
  Hostile hostile(site);
  const std::string names[] = {
      "host 1", "host\n1", "\x1b[31m", "Host-1", "\xff\xfe", "h\xc3\xb6st", "-a", "a..b", std::string("a\0b", 3)};
  const auto before = site.reflector(0).status().counters;
  for (const auto& name : names) {
    hostile.say(Channel::control, encode(0, Open{.name = name, .instance = 1}));
    REQUIRE(!hostile.heard().empty());
    const auto answer = read_envelope(hostile.heard().back()).value();
    Refuse refuse;
    REQUIRE(decode(answer.body, refuse).has_value());
    CHECK_MESSAGE(refuse.text.starts_with("name: "), name);
    hostile.heard().clear();
  }
  CHECK(site.reflector(0).status().nodes == 0);
  CHECK(site.reflector(0).status().counters.malformed == before.malformed + std::size(names));
  CHECK(hostile.open("host-1.site-a", 1) != 0);
}

TEST_CASE("a welcome with times that no reflector has is none") {
  Welcome read;
  const auto passes = [&](std::uint32_t heartbeat, std::uint32_t lease) {
    const auto message = encode(1, Welcome{.name = "r", .epoch = 1, .lease_ms = lease, .heartbeat_ms = heartbeat});
    return decode(std::string_view(message).substr(24), read).has_value();
  };
  CHECK(passes(10, 20));
  CHECK(passes(3'600'000, 86'400'000));
  CHECK(!passes(9, 20));
  CHECK(!passes(1'000, 1'999));
  CHECK(!passes(3'600'001, 86'400'000));
  CHECK(!passes(1'000, 86'400'001));
  CHECK(!passes(~0U, ~0U));
}

namespace {

/// A reader that knows one route, and what a reflector could tell it.
struct Reading {
  Reading() {
    site.add_reflector();
    a = site.add_speaker("a", {0});
    b = site.add_speaker("b", {0});
    site.speaker(b).subscribe(net);
    REQUIRE(site.speaker(a).announce(route("100#10.0.0.1/32#fd00::a")).has_value());
    REQUIRE(site.run_until([&] { return site.speaker(b).status().learned_routes == 1; }));
    site.run(2s);
    sequence = site.reflector(0).vnis()[0].sequence;
    digest = site.reflector(0).vnis()[0].digest;
    epoch = site.reflector(0).status().epoch;
  }
  void tell(std::uint64_t from, std::uint64_t to, std::uint64_t of_digest, const std::vector<Record>& records) {
    ChangesWriter writer;
    for (const auto& record : records) writer.add(record);
    const auto message = std::move(writer).finish(0, {.stream = {net.value(), View::direct},
                                                      .epoch = epoch,
                                                      .from = from,
                                                      .to = to,
                                                      .head = to,
                                                      .digest = of_digest,
                                                      .is_ready = 1});
    site.speaker(b).receive(0, Channel::bulk, message);
  }
  Site site;
  std::size_t a = 0;
  std::size_t b = 0;
  std::uint64_t sequence = 0;
  std::uint64_t digest = 0;
  std::uint64_t epoch = 0;
};

}  // namespace

TEST_CASE("a reader whose table has another digest reads it again, and loses nothing meanwhile") {
  Reading reading;
  auto& b = reading.site.speaker(reading.b);
  const auto sequence = b.sequence(net);
  reading.tell(reading.sequence, reading.sequence, reading.digest, {});
  CHECK(b.status().resyncs == 0);
  reading.tell(reading.sequence, reading.sequence, reading.digest + 1, {});
  CHECK(b.status().resyncs == 1);
  CHECK(b.is_stale(net));
  CHECK(b.status().learned_routes == 1);
  reading.site.run(3s);
  CHECK(!b.is_stale(net));
  CHECK(b.sequence(net) == sequence);
  CHECK(b.status().resyncs == 1);
}

TEST_CASE("a reader takes no record that cannot be, and the others beside it") {
  Reading reading;
  auto& b = reading.site.speaker(reading.b);
  const auto good = announcement(route("100#10.0.0.2/32#fd00::a"), origin_id("a"), 1);
  auto bad = announcement(route("100#10.0.0.3/32#fd00::a"), origin_id("a"), 1);
  bad.prefix[9] = 1;
  const auto other_vni = announcement(route("101#10.0.0.4/32#fd00::a"), origin_id("a"), 1);
  reading.tell(reading.sequence, reading.sequence + 3, reading.digest + content_hash(good), {bad, good, other_vni});
  CHECK(b.status().bad_records == 2);
  CHECK(table(b) == Texts{"100#10.0.0.1/32#fd00::a", "100#10.0.0.2/32#fd00::a"});
  CHECK(b.status().resyncs == 0);
}

TEST_CASE("publications that wait for what is missing before them are bounded") {
  Reading reading;
  auto& b = reading.site.speaker(reading.b);
  // The missing ones never come.
  reading.site.wires.cut(reading.site.speakers[reading.b]->end, reading.site.reflectors[0]->end);
  for (std::uint64_t i = 1; i <= 1'000; ++i) {
    reading.tell(reading.sequence + i, reading.sequence + i + 1, 0,
                 {announcement(route("100#10.0.0.2/32#fd00::a"), origin_id("a"), i)});
  }
  CHECK(b.status().held == 64);
  CHECK(b.status().gaps == 1);
}

TEST_CASE("a reflector takes no record that cannot be, and none of another node, and the others beside it") {
  Site site;
  site.add_reflector();
  const auto b = site.add_speaker("b", {0});
  REQUIRE(site.speaker(b).announce(route("100#10.0.0.9/32#fd00::b")).has_value());
  REQUIRE(site.run_until([&] { return site.reflector(0).status().routes == 1; }));
  Hostile a(site);
  const auto session = a.open("a", 7);
  const auto of = [](std::string_view text, std::string_view name, std::uint64_t version) {
    return announcement(route(text), origin_id(name), version);
  };
  auto bad = of("100#10.0.0.2/32#fd00::a", "a", 9);
  bad.next_hop = {};
  a.change(session, 7, 0,
           {of("100#10.0.0.1/32#fd00::a", "a", 8), bad, of("100#10.0.0.3/32#fd00::b", "b", 10),
            withdrawal(of("100#10.0.0.9/32#fd00::b", "b", 1), ~0ULL), gone(net.value(), origin_id("b")),
            of("100#10.0.0.4/32#fd00::a", "a", 13)});
  const auto status = site.reflector(0).status();
  CHECK(status.routes == 3);
  CHECK(status.counters.bad_records == 4);
  CHECK(site.reflector(0).nodes()[0].routes == 2);
  CHECK(site.reflector(0).nodes()[0].refused == 4);
  CHECK(site.reflector(0).nodes()[1].routes == 1);
}

TEST_CASE("a reflector that stood still gives everybody a whole lease, though nobody was heard meanwhile") {
  Site site;
  site.add_reflector();
  const auto a = site.add_speaker("a", {0});
  const auto b = site.add_speaker("b", {0});
  site.speaker(b).subscribe(net);
  REQUIRE(site.speaker(a).announce(route("100#10.0.0.1/32#fd00::a")).has_value());
  REQUIRE(site.run_until([&] { return site.speaker(b).status().learned_routes == 1; }));
  const auto sequence = site.speaker(b).sequence(net);
  site.stop(*site.reflectors[0], 30s);
  for (const auto node : {a, b}) site.wires.cut(site.speakers[node]->end, site.reflectors[0]->end);
  site.run(30s + 100ms);
  CHECK(site.reflector(0).status().counters.stalls >= 1);
  CHECK(site.reflector(0).status().counters.deaths == 0);
  site.wires.mend_all();
  site.run(20s);
  CHECK(site.reflector(0).status().counters.deaths == 0);
  CHECK(site.speaker(b).sequence(net) == sequence);
}
