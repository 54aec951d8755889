// SPDX-License-Identifier: Apache-2.0
// A host is told why it learns nothing: a VNI without the right, another protocol version, a link that does not come about.
#include <doctest/doctest.h>

#include <algorithm>

#include "messages.hpp"
#include "site.hpp"

using namespace ironcore;
using namespace ironcore::routing;
using namespace ironcore::routing::testing;
using namespace std::chrono_literals;

namespace {

const Vni open_net = *Vni::make(100);
const Vni closed_net = *Vni::make(7);

/// The words of lines with their fields.
struct Lines final : Log {
  void write(LogLevel, std::string_view message, std::initializer_list<LogField> fields) override {
    std::string line(message);
    for (const auto& field : fields) line += ' ' + std::string(field.key) + '=' + std::string(field.value);
    lines.push_back(std::move(line));
  }
  std::size_t with(std::string_view words) const {
    return static_cast<std::size_t>(
        std::ranges::count_if(lines, [&](const auto& line) { return line.find(words) != std::string::npos; }));
  }
  std::vector<std::string> lines;
};

/// A reflector whose nodes have these rights, and a host that reads both VNIs.
struct Refusing {
  explicit Refusing(std::size_t peers = 0) {
    site.add_reflector({}, peers == 0 ? std::vector<std::size_t>() : std::vector<std::size_t>{1});
    judge();
    site.add_speaker("a", {0});
    site.add_speaker("b", {0});
    auto& reading = *site.speakers[1];
    reading.speaker =
        Speaker::create(reading.options, site.wires.link(reading.end), site.clock, site.random, lines).value();
    for (const auto vni : {open_net, closed_net}) site.speaker(1).subscribe(vni);
    REQUIRE(site.speaker(0).announce(route("100#10.0.0.1/32#fd00::a")).has_value());
    REQUIRE(site.speaker(0).announce(route("7#10.0.0.1/32#fd00::a")).has_value());
  }
  void judge() {
    auto& of = *site.reflectors[0];
    site.wires.attach(of.end, {[this, &of](PeerId peer, Channel channel, std::string_view message) {
                                 // The first node may do everything, the others have rights.
                                 const bool is_free = peer == site.speakers[0]->end;
                                 of.reflector->receive(peer, channel, message, is_free ? nullptr : &rights);
                                 of.wake = {};
                               },
                               [this, &of](StreamName topic) {
                                 if (rights.may_subscribe(topic.vni)) of.reflector->subscribed(topic);
                               }});
  }
  SpeakerStatus::Table table(Vni vni) {
    for (auto& one : site.speaker(1).status().vnis)
      if (one.vni == vni) return one;
    return {};
  }
  Site site;
  NodeRights rights{.name = "b", .announcements = {}, .subscriptions = {{100, 100}}};
  Lines lines;
};

}  // namespace

TEST_CASE("a host is told that it may not read a VNI, once, until it may; its other VNIs go on") {
  Refusing world;
  auto& site = world.site;
  REQUIRE(site.run_until([&] { return !world.table(closed_net).refusals.empty(); }, 2s));
  site.run(10s);
  const auto closed = world.table(closed_net);
  REQUIRE(closed.refusals.size() == 1);  // both views of it
  CHECK(closed.refusals[0].reflector == 0);
  CHECK(closed.refusals[0].reason ==
        "this node's key has no right to VNI 7: give it one in the reflector's identities file");
  CHECK(closed.is_stale);
  CHECK(world.table(open_net).refusals.empty());
  CHECK(world.table(open_net).routes == 1);
  CHECK(site.speaker(1).status().reflectors[0].phase == ReflectorSession::Phase::connected);
  CHECK(site.speaker(1).status().malformed == 0);
  CHECK(world.lines.with("reflector does not tell a VNI number=0 name=reflector-1 vni=7 reason=this node's key") == 1);
  CHECK(site.reflector(0).status().refused_vnis == 1);
  CHECK(site.reflector(0).status().counters.forbidden > 1);

  world.rights.subscriptions = {{7, 7}, {100, 100}};
  site.reflector(0).end_sessions();
  REQUIRE(site.run_until([&] { return world.table(closed_net).routes == 1; }, 5s));
  CHECK(world.table(closed_net).refusals.empty());
  CHECK(site.reflector(0).status().refused_vnis == 0);

  world.rights.subscriptions = {{7, 7}};
  site.reflector(0).end_sessions();
  REQUIRE(site.run_until([&] { return !world.table(open_net).refusals.empty(); }, 5s));
  CHECK(world.table(open_net).routes == 1);  // what was known stays: nobody said that it is wrong
  CHECK(world.table(closed_net).refusals.empty());
  site.speaker(1).unsubscribe(open_net);
  site.run(5s);
  CHECK(site.speaker(1).status().vnis.size() == 1);
}

TEST_CASE(
    "a refusal of a stream that cannot be is malformed; one of another session, or of what is not read, is nothing") {
  Refusing world;
  auto& site = world.site;
  REQUIRE(site.run_until([&] { return world.table(open_net).routes == 1; }, 2s));
  std::uint64_t session = 0;
  auto& of = *site.speakers[1];
  site.wires.attach(of.end, {[&](PeerId peer, Channel channel, std::string_view message) {
                               session = std::max(session, read_envelope(message)->session);
                               of.speaker->receive(peer, channel, message);
                             },
                             {}});
  REQUIRE(site.run_until([&] { return session != 0; }, 5s));
  const auto say = [&](std::uint64_t of_session, std::uint64_t detail) {
    site.speaker(1).receive(
        0, Channel::bulk,
        encode(of_session, Refuse{.reason = Refuse::Reason::stream, .detail = detail, .text = "no\n"}));
  };
  const auto before = site.speaker(1).status().malformed;
  say(session, stream_number({100, View::own}));
  say(session, stream_number({100, View::direct}) + (std::uint64_t{1} << 34));
  say(session, std::uint64_t{1} << 32 | (Vni::max + 1));
  CHECK(site.speaker(1).status().malformed == before + 3);
  say(session + 1, stream_number({100, View::direct}));
  say(session, stream_number({99, View::direct}));
  CHECK(site.speaker(1).status().malformed == before + 3);
  CHECK(world.table(open_net).refusals.empty());
  say(session, stream_number({100, View::direct}));
  REQUIRE(world.table(open_net).refusals.size() == 1);
  CHECK(world.table(open_net).refusals[0].reason == "no?");
  // What it tells all the same is believed.
  REQUIRE(site.run_until([&] { return world.table(open_net).refusals.empty(); }, 5s));
}

TEST_CASE("a reflector says which of its peers does not tell it a VNI, and forgets nothing for it") {
  Site site;
  site.add_reflector({}, {1});
  site.add_reflector({}, {0});
  const NodeRights rights{.name = "reflector-1", .announcements = {}, .subscriptions = {}};
  bool is_peer = true;
  auto& remote = *site.reflectors[1];
  NodeRights peer = rights;
  site.wires.attach(remote.end, {[&](PeerId from, Channel channel, std::string_view message) {
                                   peer.may_peer = is_peer;
                                   const bool is_ours = from == site.reflectors[0]->peer_end;
                                   remote.reflector->receive(from, channel, message, is_ours ? &peer : nullptr);
                                   remote.wake = {};
                                 },
                                 [&](StreamName topic) {
                                   if (is_peer) remote.reflector->subscribed(topic);
                                 }});
  const auto host = site.add_speaker("host", {1});
  const auto reader = site.add_speaker("reader", {0});
  REQUIRE(site.speaker(host).announce(route("100#10.0.0.1/32#fd00::a")).has_value());
  site.speaker(reader).subscribe(open_net);
  REQUIRE(site.run_until([&] { return site.speaker(reader).routes(open_net).size() == 1; }));
  const auto session = [&] { return site.reflector(0).status().peers.reflectors[0]; };
  CHECK(session().refusal.empty());
  is_peer = false;
  site.reflector(1).end_sessions();
  REQUIRE(site.run_until([&] { return !session().refusal.empty(); }, 10s));
  CHECK(session().phase == ReflectorSession::Phase::connected);
  CHECK(session().refusal.starts_with("this node's key has no right to VNI 100"));
  site.run(30s);
  CHECK(site.speaker(reader).routes(open_net).size() == 1);
  CHECK(site.reflector(1).status().refused_vnis == 1);
}

TEST_CASE("a reflector that speaks another version is shown as refusing") {
  Refusing world;
  auto& site = world.site;
  std::string message = encode(1, Welcome{.name = "r", .epoch = 1, .lease_ms = 3000, .heartbeat_ms = 1000});
  message[4] = 9;
  site.speaker(1).receive(0, Channel::control, message);
  auto session = site.speaker(1).status().reflectors[0];
  CHECK(session.phase == ReflectorSession::Phase::refused);
  CHECK(session.refusal == "message has protocol version 9, this is 1: update the older side");
  site.speaker(1).receive(0, Channel::control, message);
  CHECK(world.lines.with("reflector refuses us") == 1);
  CHECK(site.speaker(1).status().foreign_version == 2);
  // It was updated.
  REQUIRE(site.run_until(
      [&] { return site.speaker(1).status().reflectors[0].phase == ReflectorSession::Phase::connected; }, 15s));
  CHECK(site.speaker(1).status().reflectors[0].refusal.empty());
  // A session that is there is not ended by a stranger's word.
  site.speaker(1).receive(0, Channel::control, message);
  CHECK(site.speaker(1).status().reflectors[0].phase == ReflectorSession::Phase::connected);
}

TEST_CASE("what the link has found out is shown while there is no session, and logged when it changes") {
  Refusing world;
  auto& site = world.site;
  auto& speaker = site.speaker(1);
  const auto refusal = [&] { return speaker.status().reflectors[0].refusal; };
  for (int i = 0; i < 3; ++i) speaker.trouble(0, "it does not know our key");
  CHECK(refusal() == "it does not know our key");
  CHECK(speaker.status().reflectors[0].phase == ReflectorSession::Phase::connecting);
  speaker.trouble(0, "nobody answers");
  CHECK(refusal() == "nobody answers");
  speaker.trouble(0, {});
  CHECK(refusal().empty());
  speaker.trouble(1, "there is no such one");
  CHECK(world.lines.with("reflector not reached") == 2);
  CHECK(world.lines.with("reason=it does not know our key") == 1);
  site.run(5s);
  REQUIRE(speaker.status().reflectors[0].phase == ReflectorSession::Phase::connected);
  speaker.trouble(0, "nobody answers");
  CHECK(refusal().empty());
  CHECK(world.lines.with("reflector not reached") == 2);
  site.kill_reflector(0);
  site.run(5s);
  speaker.trouble(0, "nobody answers");
  CHECK(refusal() == "nobody answers");
  CHECK(world.lines.with("reflector not reached") == 3);
}
