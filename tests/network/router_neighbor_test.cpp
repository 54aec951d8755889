// SPDX-License-Identifier: Apache-2.0
// Routers of uplinks: the states of one (RFC 4861), the frames, and hosts that lose and find theirs.
#include "dataplane/router_neighbor.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <set>
#include <string>

#include "configuration_objects.hpp"
#include "dataplane/checksum.hpp"
#include "dataplane/local_frames.hpp"
#include "ironcore/network/dataplane.hpp"
#include "ironcore/sim/ports.hpp"
#include "ironcore/sim/virtual_clock.hpp"
#include "packets.hpp"

using namespace ironcore;
using namespace ironcore::network;
using namespace ironcore::network::dataplane;
using namespace ironcore::network::tests;
using namespace ironcore::tests;

namespace {

constexpr std::uint64_t second = 1'000'000'000;
using State = RouterNeighbor::State;

const MacAddress own_mac({2, 0, 0, 0, 0, 1});
const MacAddress router_mac({2, 0, 0, 0, 3, 1});
const MacAddress other_mac({2, 0, 0, 0, 3, 2});
const IpAddress router_address = ip("fe80::aa");

/// A message of neighbor discovery as some node sends it.
struct Message {
  MacAddress from_mac = router_mac;
  MacAddress to_mac = own_mac;
  IpAddress from = router_address;
  IpAddress to = link_local_of(own_mac);
  std::uint8_t hop_limit = 255;
  std::uint8_t type = 136;
  std::uint8_t code = 0;
  std::uint32_t flags = 0xe0000000;
  IpAddress target = router_address;
  Bytes options = Bytes{2, 1, 2, 0, 0, 0, 3, 1};

  Bytes frame() const {
    Bytes message{type, code, 0, 0};
    for (int shift = 24; shift >= 0; shift -= 8) message.push_back(static_cast<std::uint8_t>(flags >> shift));
    message = message + Bytes(target.bytes().begin(), target.bytes().end()) + options;
    ChecksumSum sum;
    sum.add(from.bytes());
    sum.add(to.bytes());
    sum.add16(58);
    sum.add32(static_cast<std::uint32_t>(message.size()));
    sum.add(message);
    message[2] = static_cast<std::uint8_t>(sum.finish() >> 8);
    message[3] = static_cast<std::uint8_t>(sum.finish());
    Bytes out(to_mac.bytes().begin(), to_mac.bytes().end());
    out.insert(out.end(), from_mac.bytes().begin(), from_mac.bytes().end());
    out = out + Bytes{0x86, 0xdd, 0x60, 0, 0, 0, 0, static_cast<std::uint8_t>(message.size()), 58, hop_limit};
    out = out + Bytes(from.bytes().begin(), from.bytes().end()) + Bytes(to.bytes().begin(), to.bytes().end());
    return out + message;
  }
};

UplinkFrame read(const Bytes& frame) {
  Bytes reply(200);
  return read_uplink_frame(frame, own_mac, &router_address, reply);
}
UplinkFrame::Kind kind_of_frame(const Bytes& frame) {
  return read(frame).kind;
}

RouterTold solicited(const MacAddress& mac) {
  return {mac, true, true};
}

}  // namespace

TEST_CASE(
    "a router is asked for until it answers, used, asked again when it is stale, and forgotten when it is silent") {
  RouterNeighbor router;
  std::uint64_t now = 1000 * second;
  for (int i = 0; i < 5; ++i) {
    CHECK(router.tick(now) == RouterAsk::everybody);
    CHECK(router.tick(now) == RouterAsk::nothing);
    CHECK(router.tick(now + second - 1) == RouterAsk::nothing);
    CHECK_FALSE(router.mac().has_value());
    now += second;
  }
  router.hear(solicited(router_mac), now);
  CHECK(router.state() == State::reachable);
  CHECK(router.mac() == router_mac);
  CHECK(router.tick(now + RouterNeighbor::reachable_ns - 1) == RouterAsk::nothing);
  now += RouterNeighbor::reachable_ns;
  CHECK(router.tick(now) == RouterAsk::router);
  CHECK(router.state() == State::probing);
  CHECK(router.mac() == router_mac);  // used meanwhile
  router.hear({std::nullopt, true, false}, now);
  CHECK(router.state() == State::reachable);

  now += RouterNeighbor::reachable_ns;
  for (unsigned i = 0; i < RouterNeighbor::probes; ++i) {
    CHECK(router.tick(now) == RouterAsk::router);
    CHECK(router.mac() == router_mac);
    now += RouterNeighbor::retry_ns;
  }
  CHECK(router.tick(now) == RouterAsk::everybody);
  CHECK(router.state() == State::asking);
  CHECK_FALSE(router.mac().has_value());
}

TEST_CASE("what a router says counts as RFC 4861 7.2.5 has it") {
  RouterNeighbor router;
  router.hear({std::nullopt, true, true}, second);  // without a MAC it says nothing yet
  CHECK_FALSE(router.mac().has_value());
  router.hear({router_mac, false, true}, second);  // nobody asked: it may be gone again, so it is asked
  CHECK(router.mac() == router_mac);
  CHECK(router.state() == State::probing);
  CHECK(router.tick(second) == RouterAsk::router);
  router.hear(solicited(router_mac), second);
  CHECK(router.state() == State::reachable);

  router.hear({router_mac, false, true}, 2 * second);  // nothing new
  CHECK(router.state() == State::reachable);
  router.hear({other_mac, true, false}, 2 * second);  // another one that does not override: the known one is asked
  CHECK(router.mac() == router_mac);
  CHECK(router.state() == State::probing);
  router.hear({other_mac, true, false}, 2 * second);
  CHECK(router.mac() == router_mac);
  router.hear({other_mac, false, true}, 2 * second);  // a router that takes over says so
  CHECK(router.mac() == other_mac);
  CHECK(router.state() == State::probing);
  router.hear(solicited(other_mac), 2 * second);
  CHECK(router.state() == State::reachable);
  router.restart();
  CHECK_FALSE(router.mac().has_value());
  CHECK(router.state() == State::asking);
}

TEST_CASE("letters keep what is written, and the newest one counts") {
  RouterMail mail(2);
  CHECK_FALSE(mail.take_told(0).has_value());
  for (const auto& mac : {std::optional(router_mac), std::optional<MacAddress>()})
    for (const bool is_solicited : {false, true})
      for (const bool overrides : {false, true}) {
        const RouterTold told{mac, is_solicited, overrides};
        mail.tell(1, {other_mac, true, true});
        mail.tell(1, told);
        mail.tell(2, told);  // of nobody
        CHECK_FALSE(mail.take_told(0).has_value());
        CHECK(mail.take_told(1) == told);
        CHECK_FALSE(mail.take_told(1).has_value());
      }
  CHECK_FALSE(mail.has_asks());
  mail.ask(0, RouterAsk::nothing, router_mac);
  CHECK_FALSE(mail.has_asks());
  mail.ask(0, RouterAsk::everybody, MacAddress());
  mail.ask(1, RouterAsk::router, router_mac);
  CHECK(mail.has_asks());
  std::string asked;
  mail.take_asks([&](std::size_t uplink, const std::optional<MacAddress>& mac) {
    asked += std::to_string(uplink) + (mac ? " " + mac->to_text() : " all") + ";";
  });
  CHECK(asked == "0 all;1 " + router_mac.to_text() + ";");
  CHECK_FALSE(mail.has_asks());
}

TEST_CASE("questions are sound, and go to the router's group or to the router alone") {
  CHECK(link_local_of(own_mac) == ip("fe80::ff:fe00:1"));
  Bytes frame(86);
  REQUIRE(write_router_question(own_mac, router_address, std::nullopt, frame) == frame.size());
  Message expected{.from_mac = own_mac,
                   .to_mac = MacAddress({0x33, 0x33, 0xff, 0, 0, 0xaa}),
                   .from = link_local_of(own_mac),
                   .to = ip("ff02::1:ff00:aa"),
                   .type = 135,
                   .flags = 0,
                   .options = {1, 1, 2, 0, 0, 0, 0, 1}};
  CHECK(frame == expected.frame());
  REQUIRE(write_router_question(own_mac, router_address, router_mac, frame) == frame.size());
  expected.to_mac = router_mac;
  expected.to = router_address;
  CHECK(frame == expected.frame());
  Bytes little(85);
  CHECK(write_router_question(own_mac, router_address, router_mac, little) == 0);
}

TEST_CASE("of what comes from an uplink only sound words of the router are heard") {
  const auto heard = read(Message().frame());
  REQUIRE(heard.kind == UplinkFrame::Kind::told);
  CHECK(heard.told == solicited(router_mac));
  CHECK(read(Message{.flags = 0xa0000000, .options = {}}.frame()).told == RouterTold{std::nullopt, false, true});
  const auto all = Message{.to_mac = MacAddress({0x33, 0x33, 0, 0, 0, 1}), .to = ip("ff02::1"), .flags = 0x20000000};
  CHECK(read(all.frame()).told == RouterTold{router_mac, false, true});

  const auto is_other = [](const Bytes& frame) { return kind_of_frame(frame) == UplinkFrame::Kind::other; };
  auto solicited_by_all = all;
  solicited_by_all.flags = 0x60000000;
  CHECK(is_other(solicited_by_all.frame()));
  CHECK(is_other(Message{.hop_limit = 254}.frame()));
  CHECK(is_other(Message{.code = 1}.frame()));
  CHECK(is_other(Message{.target = ip("fe80::ab")}.frame()));
  CHECK(is_other(Message{.options = {2, 0, 2, 0, 0, 0, 3, 1}}.frame()));
  CHECK(is_other(Message{.options = {2, 2, 2, 0, 0, 0, 3, 1}}.frame()));
  CHECK(is_other(Message{.options = {2, 1, 3, 0, 0, 0, 3, 1}}.frame()));  // a group
  CHECK(is_other(Message{.options = {2, 1, 2, 0, 0, 0, 0, 1}}.frame()));  // ours
  CHECK(is_other(Message{.type = 134}.frame()));
  auto damaged = Message().frame();
  damaged.back() ^= 1;
  CHECK(is_other(damaged));
  for (std::size_t size = 0; size < damaged.size(); ++size) {
    const auto whole = Message().frame();
    CHECK(is_other(Bytes(whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(size))));
  }
  Bytes reply(200);
  CHECK(read_uplink_frame(Message().frame(), own_mac, nullptr, reply).kind == UplinkFrame::Kind::other);
}

TEST_CASE("a router that asks for our MAC is answered, and so is who looks whether our address is free") {
  Message question{.to_mac = MacAddress({0x33, 0x33, 0xff, 0, 0, 1}),
                   .to = ip("ff02::1:ff00:1"),
                   .type = 135,
                   .flags = 0,
                   .target = link_local_of(own_mac),
                   .options = {1, 1, 2, 0, 0, 0, 3, 1}};
  Bytes reply(200);
  const auto answer = [&](const Message& to) {
    const auto heard = read_uplink_frame(to.frame(), own_mac, nullptr, reply);
    return heard.kind == UplinkFrame::Kind::question
               ? Bytes(reply.begin(), reply.begin() + static_cast<std::ptrdiff_t>(heard.reply))
               : Bytes();
  };
  Message expected{.from_mac = own_mac,
                   .to_mac = router_mac,
                   .from = link_local_of(own_mac),
                   .to = router_address,
                   .flags = 0x60000000,
                   .target = link_local_of(own_mac),
                   .options = {2, 1, 2, 0, 0, 0, 0, 1}};
  CHECK(answer(question) == expected.frame());
  auto alone = question;
  alone.to_mac = own_mac;
  alone.to = link_local_of(own_mac);
  alone.options = {};
  CHECK(answer(alone) == expected.frame());

  auto unknown = question;
  unknown.from = ip("::");
  unknown.options = {};
  expected.to_mac = MacAddress({0x33, 0x33, 0, 0, 0, 1});
  expected.to = ip("ff02::1");
  expected.flags = 0x20000000;
  CHECK(answer(unknown) == expected.frame());

  unknown.options = question.options;
  CHECK(answer(unknown).empty());
  auto other = question;
  other.target = ip("fe80::1");
  CHECK(answer(other).empty());
  auto from_group = question;
  from_group.from = ip("ff02::1");
  CHECK(answer(from_group).empty());
}

namespace {

/// Two uplinks, whose routers answer when they are there; a machine whose packets go to another host.
struct Host {
  Host() {
    DataplaneOptions told;
    told.underlay = prefix("2001:db8:0:1::/64");
    told.uplinks = {{"up-a", {}, 1, router_address}, {"up-b", {}, 1, router_address}};
    told.connections = 100'000;
    told.maglev_size = 251;
    told.seed = 1;
    told.announces = false;
    for (const auto* name : {"up-a", "up-b", "port-m"})
      REQUIRE(ports.open({name, std::string("memory:") + name, 1600, std::nullopt}).has_value());
    auto made = Dataplane::create(told, ports, clock, log);
    REQUIRE_MESSAGE(made.has_value(), made.error().message());
    dataplane = *std::move(made);
    auto machine = interface("m", "10.0.0.1");
    machine.mac = other_mac;
    REQUIRE(dataplane->apply(std::vector<Change>{machine, route("10.2.0.0/16", {"2001:db8:0:2::1"})}).has_value());
  }

  MacAddress mac_of(const std::string& port) const {
    for (const auto& state : ports.list())
      if (state.spec.name == port) return state.mac;
    return {};
  }
  /// Takes what was sent to a port: questions are answered if the router is there, the rest are packets to another host.
  std::size_t take(const std::string& port) {
    std::size_t packets = 0;
    for (const auto& frame : ports.take(port)) {
      constexpr std::uint8_t icmpv6 = 58;
      if (frame.bytes[14 + 6] != icmpv6) {
        CHECK(std::equal(frame.bytes.begin(), frame.bytes.begin() + 6, router_mac.bytes().begin()));
        ++packets;
        continue;
      }
      ++questions;
      const auto own = mac_of(port);
      if (there.count(port) != 0) REQUIRE(ports.inject(port, Message{.to_mac = own, .to = link_local_of(own)}.frame()));
    }
    return packets;
  }
  void moment(Duration span = std::chrono::milliseconds(500)) {
    clock.advance(span);
    dataplane->tend();
    dataplane->step(0);
    for (const auto* port : {"up-a", "up-b"}) take(port);
    dataplane->step(0);
    dataplane->tend();
  }
  /// By which uplinks 100 flows leave; empty if they do not.
  std::string ways() {
    for (std::uint16_t i = 0; i < 100; ++i) {
      const auto packet = v4(udp(flow_++, 53, Bytes{1}), {.source = "10.0.0.1", .destination = "10.2.0.7"});
      Bytes frame(6, 2);
      frame.insert(frame.end(), other_mac.bytes().begin(), other_mac.bytes().end());
      REQUIRE(ports.inject("port-m", frame + Bytes{8, 0} + packet));
    }
    for (int i = 0; i < 10; ++i) dataplane->step(0);
    std::string out;
    for (const auto* port : {"up-a", "up-b"})
      if (take(port) != 0) out += (out.empty() ? "" : " ") + std::string(port);
    ports.take("port-m");
    return out;
  }

  std::set<std::string, std::less<>> there;  ///< the uplinks whose routers answer
  sim::VirtualClock clock;
  NullLog log;
  sim::Ports ports{clock, {}};
  std::unique_ptr<Dataplane> dataplane;
  int questions = 0;

 private:
  std::uint16_t flow_ = 1000;
};

}  // namespace

TEST_CASE("an uplink is used when its router is found, not while it is silent, and again when it is back") {
  Host host;
  CHECK(host.ways().empty());
  CHECK(host.dataplane->counters().packets[static_cast<std::size_t>(Drop::uplink)] == 100);
  const auto second_long = std::chrono::seconds(1);
  host.there = {"up-a"};
  host.moment(second_long);
  CHECK(host.ways() == "up-a");
  host.there = {"up-a", "up-b"};
  host.moment(second_long);
  CHECK(host.ways() == "up-a up-b");

  // While both answer, each is asked twice a minute and not more.
  host.questions = 0;
  for (int i = 0; i < 240; ++i) host.moment();
  CHECK(host.ways() == "up-a up-b");
  CHECK(host.questions >= 6);
  CHECK(host.questions <= 10);

  // The first router goes without a word: after its time is up and three questions the other uplink has all flows.
  host.there = {"up-b"};
  int half_seconds = 0;
  while (host.ways() != "up-b" && half_seconds < 200) {
    host.moment();
    ++half_seconds;
  }
  CHECK(half_seconds <= 70);
  for (int i = 0; i < 20; ++i) host.moment();
  CHECK(host.ways() == "up-b");
  host.there = {"up-a", "up-b"};
  for (int i = 0; i < 4; ++i) host.moment();
  CHECK(host.ways() == "up-a up-b");
  CHECK(host.dataplane->counters().packets[static_cast<std::size_t>(Drop::outer)] == 0);
}

TEST_CASE("a link that was away has its router asked for anew") {
  Host host;
  host.there = {"up-a", "up-b"};
  const auto second_long = std::chrono::seconds(1);
  host.moment(second_long);
  CHECK(host.ways() == "up-a up-b");
  REQUIRE(host.ports.close("up-a").has_value());
  CHECK(host.ways() == "up-b");
  REQUIRE(host.ports.open({"up-a", "memory:again", 1600, std::nullopt}).has_value());
  CHECK(host.ways() == "up-b");
  host.moment(second_long);
  CHECK(host.ways() == "up-a up-b");
}

TEST_CASE("who asks an uplink for its MAC is answered, also before the router is known") {
  Host host;
  const auto own = host.mac_of("up-a");
  const Message question{.to_mac = own,
                         .to = link_local_of(own),
                         .type = 135,
                         .flags = 0,
                         .target = link_local_of(own),
                         .options = {1, 1, 2, 0, 0, 0, 3, 1}};
  host.dataplane->step(0);
  host.ports.take("up-a");  // our own question
  REQUIRE(host.ports.inject("up-a", question.frame()));
  host.dataplane->step(0);
  const auto sent = host.ports.take("up-a");
  REQUIRE(sent.size() == 1);
  CHECK(sent[0].bytes[54] == 136);
  CHECK(host.dataplane->counters().answers_by_service[static_cast<std::size_t>(GatewayService::neighbor_discovery)] ==
        1);
  // What is neither goes nowhere, as before.
  auto foreign = question;
  foreign.target = ip("fe80::99");
  REQUIRE(host.ports.inject("up-a", foreign.frame()));
  host.dataplane->step(0);
  CHECK(host.ports.take("up-a").empty());
  CHECK(host.dataplane->counters().packets[static_cast<std::size_t>(Drop::outer)] == 1);
}

TEST_CASE("a router is told or asked for, not both") {
  sim::VirtualClock clock;
  NullLog log;
  sim::Ports ports(clock, {});
  const auto field = [&](const Uplink& uplink) {
    DataplaneOptions told;
    told.underlay = prefix("2001:db8:0:1::/64");
    told.uplinks = {uplink};
    const auto made = Dataplane::create(told, ports, clock, log);
    REQUIRE_FALSE(made.has_value());
    const Error error = made.error();
    REQUIRE(error.fields().size() == 1);
    return error.fields()[0].field;
  };
  CHECK(field({"up", router_mac, 1, router_address}) == "uplinks[0].router");
  CHECK(field({"up", {}, 1, std::nullopt}) == "uplinks[0].router");
  CHECK(field({"up", {}, 1, ip("10.0.0.1")}) == "uplinks[0].router_address");
  CHECK(field({"up", {}, 1, ip("ff02::2")}) == "uplinks[0].router_address");
}
