// SPDX-License-Identifier: Apache-2.0
// Speakers and reflectors together: what must hold when all goes well, and when one thing fails.
#include <doctest/doctest.h>

#include "site.hpp"

using namespace ironcore;
using namespace ironcore::routing;
using namespace ironcore::routing::testing;
using namespace std::chrono_literals;

TEST_CASE("what a host announces is learned by those that subscribe, and nobody else") {
  Site site;
  site.add_reflector();
  const auto a = site.add_speaker("a", {0});
  const auto b = site.add_speaker("b", {0});
  const auto c = site.add_speaker("c", {0});
  site.speaker(b).subscribe(net);
  site.speaker(c).subscribe(*Vni::make(101));
  REQUIRE(site.speaker(a).announce(route("100#10.0.0.1/32#fd00::a")).has_value());
  CHECK(site.run_until([&] { return table(site.speaker(b)) == Texts{"100#10.0.0.1/32#fd00::a"}; }, 2s));
  CHECK(site.speaker(c).status().learned_routes == 0);
  site.speaker(a).withdraw(route("100#10.0.0.1/32#fd00::a"));
  CHECK(site.run_until([&] { return table(site.speaker(b)).empty(); }, 1s));
  CHECK(site.speaker(b).status().gaps == 0);
  CHECK(site.speaker(b).status().resyncs == 0);
}

TEST_CASE("a prefix has as many next hops as are announced, from one host or several, of every type") {
  Site site;
  site.add_reflector();
  const auto a = site.add_speaker("a", {0});
  const auto b = site.add_speaker("b", {0});
  const auto c = site.add_speaker("c", {0});
  site.speaker(c).subscribe(net);
  const Texts all{"100#10.0.0.1/32#fd00::a",
                  "100#10.0.0.1/32#fd00::a2",
                  "100#10.0.0.1/32#fd00::b",
                  "100#192.0.2.1/32#fd00::a#nat#1024#2047",
                  "100#192.0.2.1/32#fd00::b#nat#2048#4095",
                  "100#192.0.2.9/32#fd00::a#load-balancer-target",
                  "100#192.0.2.9/32#fd00::b#load-balancer-target",
                  "100#0.0.0.0/0#fd00::b"};
  for (const auto& text : all) {
    const auto of_b = text.find("fd00::b") != std::string::npos;
    REQUIRE(site.speaker(of_b ? b : a).announce(route(text)).has_value());
  }
  CHECK(site.run_until([&] { return table(site.speaker(c)) == all; }, 2s));
}

TEST_CASE("a host does not learn its own routes, but those of others for the same prefix") {
  Site site;
  site.add_reflector();
  const auto a = site.add_speaker("a", {0});
  const auto b = site.add_speaker("b", {0});
  for (const auto i : {a, b}) site.speaker(i).subscribe(net);
  REQUIRE(site.speaker(a).announce(route("100#0.0.0.0/0#fd00::a")).has_value());
  REQUIRE(site.speaker(b).announce(route("100#0.0.0.0/0#fd00::b")).has_value());
  CHECK(site.run_until([&] { return table(site.speaker(a)) == Texts{"100#0.0.0.0/0#fd00::b"}; }, 2s));
  CHECK(table(site.speaker(b)) == Texts{"100#0.0.0.0/0#fd00::a"});
}

TEST_CASE("a late subscriber gets a table of many pieces") {
  Site site;
  site.add_reflector();
  const auto a = site.add_speaker("a", {0});
  const auto routes = numbered("100#10.0.0.1/32#fd00::a", 25'000);
  REQUIRE(site.speaker(a).announce(routes).has_value());
  CHECK(site.run_until([&] { return site.reflector(0).status().routes == routes.size(); }, 2s));
  const auto b = site.add_speaker("b", {0});
  site.speaker(b).subscribe(net);
  CHECK(site.run_until([&] { return site.speaker(b).status().learned_routes == routes.size(); }, 1s));
  CHECK(site.speaker(b).status().resyncs == 0);
  const auto counters = site.reflector(0).status().counters;
  CHECK(counters.snapshots == 1);
  CHECK(counters.snapshot_us > 0);
  CHECK(counters.pieces == 25);
}

TEST_CASE("a host that comes back with the same routes causes no update, in the same life or the next") {
  Site site;
  site.add_reflector();
  const auto a = site.add_speaker("a", {0});
  const auto b = site.add_speaker("b", {0});
  site.speaker(b).subscribe(net);
  auto routes = numbered("100#10.0.0.1/32#fd00::a", 3'000);
  REQUIRE(site.speaker(a).announce(routes).has_value());
  REQUIRE(site.run_until([&] { return site.speaker(b).status().learned_routes == routes.size(); }));
  const auto changes = site.reflector(0).status().counters.changes;
  const auto sequence = site.speaker(b).sequence(net);

  // A cut that is shorter than the lease.
  site.wires.cut(site.speakers[a]->end, site.reflectors[0]->end);
  site.run(2s);
  site.wires.mend_all();
  site.run(5s);
  // Another life of the host.
  site.kill_speaker(a);
  site.run(1s);
  site.start_speaker(a);
  REQUIRE(site.speaker(a).announce(routes).has_value());
  site.run(5s);
  CHECK(site.speaker(a).status().reflectors[0].announced == site.speaker(a).status().announced);
  CHECK(site.reflector(0).status().counters.changes == changes);
  CHECK(site.reflector(0).status().counters.restarts == 1);  // the first time
  CHECK(site.speaker(b).sequence(net) == sequence);

  // A life that announces something else: the rest stays untouched.
  site.kill_speaker(a);
  site.start_speaker(a);
  routes.pop_back();
  routes.push_back(route("100#10.9.0.0/16#fd00::a"));
  REQUIRE(site.speaker(a).announce(routes).has_value());
  CHECK(site.run_until([&] { return table(site.speaker(b)).contains("100#10.9.0.0/16#fd00::a"); }, 3s));
  CHECK(site.speaker(b).status().learned_routes == routes.size());
  CHECK(site.reflector(0).status().counters.changes == changes + 2);
}

TEST_CASE("a reflector that dies, or all of them, takes no route along; one that comes back restores order") {
  Site site;
  for (int i = 0; i < 2; ++i) site.add_reflector();
  const auto a = site.add_speaker("a", {0, 1});
  const auto b = site.add_speaker("b", {0, 1});
  site.speaker(b).subscribe(net);
  REQUIRE(site.speaker(a).announce(route("100#10.0.0.1/32#fd00::a")).has_value());
  REQUIRE(site.speaker(a).announce(route("100#10.0.0.2/32#fd00::a")).has_value());
  const Texts both{"100#10.0.0.1/32#fd00::a", "100#10.0.0.2/32#fd00::a"};
  REQUIRE(site.run_until([&] { return table(site.speaker(b)) == both; }));
  site.run(10s);
  const auto sequence = site.speaker(b).sequence(net);

  site.kill_reflector(0);
  site.run(30s);
  CHECK(site.speaker(b).sequence(net) == sequence);
  CHECK(!site.speaker(b).is_stale(net));
  site.kill_reflector(1);
  site.run(30min);
  CHECK(site.speaker(b).sequence(net) == sequence);
  CHECK(table(site.speaker(b)) == both);
  CHECK(site.speaker(b).is_stale(net));

  // Meanwhile one was withdrawn: that is seen when a reflector is there again and knows all.
  site.speaker(a).withdraw(route("100#10.0.0.2/32#fd00::a"));
  site.start_reflector(0);
  CHECK(site.run_until([&] { return table(site.speaker(b)) == Texts{"100#10.0.0.1/32#fd00::a"}; }, 20s));
  CHECK(site.run_until([&] { return site.speaker(b).is_complete(net); }, 20s));
  site.start_reflector(1);
  site.run(30s);
  CHECK(table(site.speaker(b)) == Texts{"100#10.0.0.1/32#fd00::a"});
  CHECK(site.speaker(b).sequence(net) == sequence + 1);
}

TEST_CASE("what no reflector confirms is dropped when it is too old, and not before") {
  Site site;
  site.add_reflector();
  const auto a = site.add_speaker("a", {0});
  const auto b = site.add_speaker("b", {0}, {.stale_time = 10min});
  site.speaker(b).subscribe(net);
  REQUIRE(site.speaker(a).announce(route("100#10.0.0.1/32#fd00::a")).has_value());
  REQUIRE(site.run_until([&] { return site.speaker(b).status().learned_routes == 1; }));
  site.kill_reflector(0);
  site.run(9min);
  CHECK(site.speaker(b).status().learned_routes == 1);
  site.run(2min);
  CHECK(site.speaker(b).status().learned_routes == 0);
}

TEST_CASE("what no reflector confirms stays for 6 h if nothing else is said, and is shown as stale") {
  Site site;
  site.add_reflector();
  const auto a = site.add_speaker("a", {0});
  const auto b = site.add_speaker("b", {0});
  const auto c = site.add_speaker("c", {0}, {.stale_time = Duration{}});
  for (const auto i : {b, c}) site.speaker(i).subscribe(net);
  REQUIRE(site.speaker(a).announce(route("100#10.0.0.1/32#fd00::a")).has_value());
  REQUIRE(site.run_until([&] { return site.speaker(b).status().learned_routes == 1; }));
  site.run(10s);
  const auto sequence = site.speaker(b).sequence(net);
  site.kill_reflector(0);
  REQUIRE(site.run_until([&] { return site.speaker(b).is_stale(net); }, 5s));
  site.run(6h - 1s);
  const auto status = site.speaker(b).status();
  CHECK(table(site.speaker(b)) == Texts{"100#10.0.0.1/32#fd00::a"});
  CHECK(site.speaker(b).sequence(net) == sequence);
  REQUIRE(status.vnis.size() == 1);
  CHECK(status.vnis[0].routes == 1);
  CHECK(status.vnis[0].is_stale);
  CHECK(!status.vnis[0].is_complete);
  site.run(2s);
  CHECK(table(site.speaker(b)).empty());
  CHECK(site.speaker(b).sequence(net) == sequence + 1);
  // Without a limit they stay.
  site.run(24h);
  CHECK(table(site.speaker(c)) == Texts{"100#10.0.0.1/32#fd00::a"});
  CHECK(site.speaker(c).is_stale(net));
}

TEST_CASE("what a lost peer told stays for 6 h if nothing else is said") {
  Site site;
  site.add_reflector({}, {1});
  site.add_reflector();
  const auto near = site.add_speaker("near", {0});
  const auto far = site.add_speaker("far", {1});
  site.speaker(near).subscribe(net);
  REQUIRE(site.speaker(far).announce(route("100#10.0.0.1/32#fd00::f")).has_value());
  REQUIRE(site.run_until([&] { return site.speaker(near).status().learned_routes == 1; }));
  site.run(10s);
  site.kill_reflector(1);
  const auto is_lost = [&] {
    return site.reflector(0).status().peers.reflectors[0].phase == ReflectorSession::Phase::connecting;
  };
  REQUIRE(site.run_until(is_lost, 5s));
  site.run(6h - 1s);
  CHECK(site.reflector(0).status().relayed_routes == 1);
  CHECK(site.speaker(near).status().learned_routes == 1);
  site.run(2s);
  CHECK(site.reflector(0).status().relayed_routes == 0);
  CHECK(site.speaker(near).status().learned_routes == 0);
}

TEST_CASE("a reflector that begins anew sweeps only when it knows all") {
  Site site;
  site.add_reflector();
  const auto a = site.add_speaker("a", {0});
  const auto c = site.add_speaker("c", {0});
  const auto b = site.add_speaker("b", {0});
  site.speaker(b).subscribe(net);
  REQUIRE(site.speaker(a).announce(route("100#10.0.0.1/32#fd00::a")).has_value());
  REQUIRE(site.speaker(c).announce(route("100#10.0.0.3/32#fd00::c")).has_value());
  REQUIRE(site.run_until([&] { return site.speaker(b).status().learned_routes == 2; }));
  site.run(10s);
  // c cannot reach the new reflector for a while; it is dead for it when the deferral is over, and not earlier.
  site.kill_reflector(0);
  site.wires.cut(site.speakers[c]->end, site.reflectors[0]->end);
  site.start_reflector(0);
  site.run(7s);
  CHECK(!site.reflector(0).is_ready());
  CHECK(site.reflector(0).status().routes == 1);
  CHECK(site.speaker(b).status().learned_routes == 2);
  site.run(3s);
  CHECK(site.reflector(0).is_ready());
  CHECK(table(site.speaker(b)) == Texts{"100#10.0.0.1/32#fd00::a"});
}

TEST_CASE("with the names of all nodes a new reflector is ready when they have spoken") {
  Site site;
  site.add_reflector({.deferral = 10min, .expected = {"a", "b"}});
  site.add_speaker("a", {0});
  site.run(5s);
  CHECK(!site.reflector(0).is_ready());
  site.add_speaker("b", {0});
  site.run(5s);
  CHECK(site.reflector(0).is_ready());
}

TEST_CASE("a host that dies is withdrawn by one message, within the lease and a heartbeat") {
  Site site;
  site.add_reflector();
  const auto a = site.add_speaker("a", {0});
  const auto b = site.add_speaker("b", {0});
  site.speaker(b).subscribe(net);
  const auto routes = numbered("100#10.0.0.1/32#fd00::a", 5'000);
  REQUIRE(site.speaker(a).announce(routes).has_value());
  REQUIRE(site.run_until([&] { return site.speaker(b).status().learned_routes == routes.size(); }));
  const auto sequence = site.reflector(0).vnis()[0].sequence;
  site.kill_speaker(a);
  site.run(2s);
  CHECK(site.speaker(b).status().learned_routes == routes.size());
  CHECK(site.run_until([&] { return site.speaker(b).status().learned_routes == 0; }, 2s));
  CHECK(site.reflector(0).vnis()[0].sequence == sequence + 1);
  CHECK(site.reflector(0).status().counters.deaths == 1);
  CHECK(site.speaker(b).status().resyncs == 0);
}

TEST_CASE("a host is not dead as long as a reflector in sync sees it") {
  Site site;
  for (int i = 0; i < 2; ++i) site.add_reflector();
  const auto a = site.add_speaker("a", {0, 1});
  const auto b = site.add_speaker("b", {0, 1});
  site.speaker(b).subscribe(net);
  REQUIRE(site.speaker(a).announce(route("100#10.0.0.1/32#fd00::a")).has_value());
  REQUIRE(site.run_until([&] { return site.speaker(b).status().learned_routes == 1; }));
  site.run(10s);
  const auto sequence = site.speaker(b).sequence(net);
  site.wires.cut(site.speakers[a]->end, site.reflectors[0]->end);
  site.run(30s);
  CHECK(site.reflector(0).status().counters.deaths == 1);
  CHECK(site.speaker(b).sequence(net) == sequence);
  site.wires.mend_all();
  site.run(30s);
  CHECK(site.reflector(0).status().routes == 1);
  CHECK(site.speaker(b).sequence(net) == sequence);
  // Unless the one that sees it is not heard itself.
  site.wires.cut(site.speakers[b]->end, site.reflectors[1]->end);
  site.run(5s);
  site.wires.cut(site.speakers[a]->end, site.reflectors[0]->end);
  CHECK(site.run_until([&] { return site.speaker(b).status().learned_routes == 0; }, 5s));
  site.wires.mend_all();
  CHECK(site.run_until([&] { return site.speaker(b).status().learned_routes == 1; }, 10s));
}

TEST_CASE("a reflector that stood still withdraws nobody") {
  Site site;
  site.add_reflector();
  const auto a = site.add_speaker("a", {0});
  const auto b = site.add_speaker("b", {0});
  site.speaker(b).subscribe(net);
  REQUIRE(site.speaker(a).announce(route("100#10.0.0.1/32#fd00::a")).has_value());
  REQUIRE(site.run_until([&] { return site.speaker(b).status().learned_routes == 1; }));
  const auto sequence = site.speaker(b).sequence(net);
  site.stop(*site.reflectors[0], 30s);
  site.run(60s);
  CHECK(site.reflector(0).status().counters.stalls >= 1);
  CHECK(site.reflector(0).status().counters.deaths == 0);
  CHECK(site.speaker(b).sequence(net) == sequence);
  CHECK(!site.speaker(b).is_stale(net));
}

TEST_CASE("a host that says it comes back has more time, and one that leaves takes its routes along") {
  Site site;
  site.add_reflector();
  const auto a = site.add_speaker("a", {0});
  const auto b = site.add_speaker("b", {0});
  site.speaker(b).subscribe(net);
  REQUIRE(site.speaker(a).announce(route("100#10.0.0.1/32#fd00::a")).has_value());
  REQUIRE(site.run_until([&] { return site.speaker(b).status().learned_routes == 1; }));
  site.speaker(a).close(Speaker::Leave::coming_back);
  site.run(100ms);
  site.kill_speaker(a);
  site.run(40s);
  CHECK(site.speaker(b).status().learned_routes == 1);
  site.start_speaker(a);
  REQUIRE(site.speaker(a).announce(route("100#10.0.0.1/32#fd00::a")).has_value());
  site.run(90s);
  CHECK(site.speaker(b).status().learned_routes == 1);
  site.speaker(a).close(Speaker::Leave::leaving);
  site.run(100ms);
  CHECK(site.speaker(b).status().learned_routes == 0);
}

TEST_CASE("the route with the highest mobility is told from the others") {
  Site site;
  site.add_reflector();
  const auto a = site.add_speaker("a", {0});
  const auto b = site.add_speaker("b", {0});
  site.speaker(b).subscribe(net);
  CHECK(site.speaker(a).take_over(route("100#10.0.0.1/32#fd00::a")).error().code() == ErrorCode::wrong_state);
  REQUIRE(site.speaker(a).announce(route("100#10.0.0.1/32#fd00::a,mobility=6")).has_value());
  REQUIRE(site.run_until([&] { return site.speaker(b).status().learned_routes == 1; }));
  REQUIRE(site.speaker(b).take_over(route("100#10.0.0.1/32#fd00::b")).has_value());
  CHECK(to_text(site.speaker(b).announced()[0]) == "100#10.0.0.1/32#fd00::b,mobility=7");
}

TEST_CASE("with one of several reflectors down announcements reach everyone through the others") {
  Site site;
  for (int i = 0; i < 2; ++i) site.add_reflector();
  const auto a = site.add_speaker("a", {0, 1});
  const auto b = site.add_speaker("b", {1, 0});
  site.speaker(b).subscribe(net);
  site.run(1s);
  site.kill_reflector(0);
  for (std::uint32_t i = 0; i < 1'000; ++i) {
    auto one = route("100#10.0.0.1/32#fd00::a");
    one.destination = Prefix::host(IpAddress::v4(0x0a000000 + i));
    REQUIRE(site.speaker(a).announce(one).has_value());
    if (i % 10 == 0) site.run(1ms);
    if (i == 500) site.start_reflector(0);
  }
  CHECK(site.run_until([&] { return site.speaker(b).status().learned_routes == 1'000; }, 1s));
  CHECK(site.run_until([&] { return site.reflector(0).status().routes == 1'000; }, 10s));
}

TEST_CASE("reflectors of several sites tell each other what was announced to them, and keep no ghost") {
  Site site;
  site.add_reflector({}, {1, 2});
  site.add_reflector({}, {0, 2});
  site.add_reflector({}, {0, 1});
  const std::vector hosts{site.add_speaker("a", {0}), site.add_speaker("b", {1}), site.add_speaker("c", {2})};
  for (const auto i : hosts) site.speaker(i).subscribe(net);
  REQUIRE(site.speaker(hosts[0]).announce(route("100#10.0.0.1/32#fd00::a")).has_value());
  REQUIRE(site.speaker(hosts[1]).announce(route("100#10.0.0.1/32#fd00::b")).has_value());
  CHECK(site.run_until([&] { return table(site.speaker(hosts[2])).size() == 2; }, 5s));
  CHECK(site.run_until([&] { return table(site.speaker(hosts[0])) == Texts{"100#10.0.0.1/32#fd00::b"}; }, 5s));
  site.run(15s);
  CHECK(site.speaker(hosts[2]).is_complete(net));
  site.speaker(hosts[0]).withdraw(route("100#10.0.0.1/32#fd00::a"));
  site.run(10ms);
  CHECK(table(site.speaker(hosts[2])) == Texts{"100#10.0.0.1/32#fd00::b"});
  // A host that dies elsewhere is gone here too, by one change.
  site.kill_speaker(hosts[1]);
  site.run(5s);
  CHECK(table(site.speaker(hosts[2])).empty());
  CHECK(table(site.speaker(hosts[0])).empty());
  site.run(60s);
  for (std::size_t i = 0; i < 3; ++i) {
    CHECK(site.reflector(i).status().routes == 0);
    CHECK(site.reflector(i).status().relayed_routes == 0);
  }
}

TEST_CASE("a peer that is lost takes no route along") {
  Site site;
  site.add_reflector({}, {1});
  site.add_reflector({}, {0});
  const auto a = site.add_speaker("a", {0});
  const auto b = site.add_speaker("b", {1});
  site.speaker(b).subscribe(net);
  REQUIRE(site.speaker(a).announce(route("100#10.0.0.1/32#fd00::a")).has_value());
  REQUIRE(site.run_until([&] { return site.speaker(b).status().learned_routes == 1; }));
  site.run(15s);
  const auto sequence = site.speaker(b).sequence(net);
  site.kill_reflector(0);
  site.run(60s);
  CHECK(site.speaker(b).sequence(net) == sequence);
  site.start_reflector(0);
  site.run(60s);
  CHECK(site.speaker(b).sequence(net) == sequence);
}

TEST_CASE("a subscriber that stands still delays nobody and catches up by what has changed") {
  Site site;
  site.add_reflector();
  const auto a = site.add_speaker("a", {0});
  const auto b = site.add_speaker("b", {0});
  const auto c = site.add_speaker("c", {0});
  for (const auto i : {b, c}) site.speaker(i).subscribe(net);
  const auto routes = numbered("100#10.0.0.1/32#fd00::a", 20'000);
  REQUIRE(site.speaker(a).announce(routes).has_value());
  REQUIRE(site.run_until([&] { return site.speaker(c).status().learned_routes == routes.size(); }));
  site.stop(*site.speakers[b], 30s);
  const auto pieces = site.reflector(0).status().counters.pieces;
  for (std::uint32_t i = 0; i < 1'000; ++i) {
    auto one = routes[i % 700];
    one.weight = static_cast<std::uint8_t>(i % 250 + 2);
    REQUIRE(site.speaker(a).announce(one).has_value());
    site.run(30ms);
    if (i % 100 == 0) CHECK(site.speaker(c).sequence(net) >= routes.size() + i);
  }
  CHECK(site.run_until(
      [&] { return site.speaker(b).routes(net).size() == routes.size() && !site.speaker(b).is_stale(net); }, 10s));
  site.run(3s);
  CHECK(table(site.speaker(b)) == table(site.speaker(c)));
  CHECK(site.speaker(b).status().resyncs == 0);
  CHECK(site.reflector(0).status().counters.pieces - pieces <= 10);  // not the 20 of the whole table
}

TEST_CASE("of two nodes with one name the later one is heard, and the other is told") {
  Site site;
  site.add_reflector();
  const auto first = site.add_speaker("a", {0});
  site.run(1s);
  const auto second = site.add_speaker("a", {0});
  site.run(1s);
  CHECK(site.speaker(first).has_conflict());
  CHECK(site.speaker(first).status().reflectors[0].refusal.find("name of its own") != std::string::npos);
  CHECK(!site.speaker(second).has_conflict());
  site.run(60s);
  CHECK(site.speaker(first).has_conflict());
  CHECK(!site.speaker(second).has_conflict());
  CHECK(site.reflector(0).nodes().size() == 1);
  // When that one is gone, its name is free.
  site.kill_speaker(second);
  site.run(20s);
  CHECK(!site.speaker(first).has_conflict());
}

TEST_CASE("a host whose clock went back is heard nevertheless") {
  Site site;
  for (int i = 0; i < 2; ++i) site.add_reflector();
  const auto a = site.add_speaker("a", {0, 1});
  const auto b = site.add_speaker("b", {0, 1});
  site.speaker(b).subscribe(net);
  REQUIRE(site.speaker(a).announce(route("100#10.0.0.1/32#fd00::a")).has_value());
  REQUIRE(site.run_until([&] { return site.speaker(b).status().learned_routes == 1; }));
  site.kill_speaker(a);
  site.clock.set_wall(-1h);
  site.start_speaker(a);
  REQUIRE(site.speaker(a).announce(route("100#10.0.0.1/32#fd00::a,weight=9")).has_value());
  CHECK(site.run_until([&] { return table(site.speaker(b)) == Texts{"100#10.0.0.1/32#fd00::a,weight=9"}; }, 3s));
  CHECK(!site.speaker(a).has_conflict());
}

TEST_CASE("changes tell those who read them what to do, as far back as they are known") {
  Site site;
  site.add_reflector();
  const auto a = site.add_speaker("a", {0});
  const auto b = site.add_speaker("b", {0});
  site.speaker(b).subscribe(net);
  REQUIRE(site.speaker(a).announce(route("100#10.0.0.1/32#fd00::a")).has_value());
  REQUIRE(site.speaker(a).announce(route("100#10.0.0.2/32#fd00::a")).has_value());
  REQUIRE(site.run_until([&] { return site.speaker(b).status().learned_routes == 2; }));
  std::vector<LearnedRoute> seen;
  const auto collect = [&](const LearnedRoute& one) { seen.push_back(one); };
  const auto first = site.speaker(b).changes(net, 0, 100, collect);
  REQUIRE(first.has_value());
  CHECK(seen.size() == 2);
  CHECK(seen[0].origin == origin_id("a"));
  seen.clear();
  site.speaker(a).withdraw(route("100#10.0.0.1/32#fd00::a"));
  site.run(1s);
  const auto second = site.speaker(b).changes(net, *first, 100, collect);
  REQUIRE(seen.size() == 1);
  CHECK(seen[0].what == LearnedRoute::What::withdrawn);
  CHECK(to_text(seen[0].route) == "100#10.0.0.1/32#fd00::a");
  seen.clear();
  site.kill_speaker(a);
  site.run(5s);
  CHECK(site.speaker(b).changes(net, *second, 100, collect).has_value());
  REQUIRE(seen.size() == 1);
  CHECK(seen[0].what == LearnedRoute::What::origin_gone);
}

TEST_CASE("unsubscribing forgets, and touches nothing that the host announces itself") {
  Site site;
  site.add_reflector();
  const auto a = site.add_speaker("a", {0});
  const auto b = site.add_speaker("b", {0});
  for (const auto i : {a, b}) site.speaker(i).subscribe(net);
  REQUIRE(site.speaker(a).announce(route("100#10.0.0.1/32#fd00::a")).has_value());
  REQUIRE(site.speaker(b).announce(route("100#10.0.0.2/32#fd00::b")).has_value());
  REQUIRE(site.run_until(
      [&] { return site.speaker(b).status().learned_routes == 1 && site.speaker(a).status().learned_routes == 1; }));
  site.speaker(b).unsubscribe(net);
  CHECK(site.speaker(b).status().learned_routes == 0);
  site.run(10s);
  CHECK(table(site.speaker(a)) == Texts{"100#10.0.0.2/32#fd00::b"});
  site.speaker(b).subscribe(net);
  CHECK(site.run_until([&] { return site.speaker(b).status().learned_routes == 1; }, 1s));
}

TEST_CASE("rights: what a node may not announce or learn is refused and counted, the rest stands") {
  sim::VirtualClock clock;
  SeededRandom random(1);
  NullLog log;
  sim::Wires wires(clock, random);
  const auto end = wires.add_reflector();
  const auto speaker_end = wires.add_speaker({end});
  const auto reflector =
      Reflector::create({.name = "r"}, wires.link(end), wires.link(speaker_end), clock, random, log).value();
  auto speaker = Speaker::create({.name = "a"}, wires.link(speaker_end), clock, random, log).value();
  NodeRights rights{
      .name = "a", .announcements = {{{100, 100}, {*Prefix::parse("10.0.0.0/8")}}}, .subscriptions = {{100, 100}}};
  wires.attach(end, {[&](PeerId peer, Channel channel, std::string_view message) {
                       reflector->receive(peer, channel, message, &rights);
                     },
                     [&](StreamName topic) { reflector->subscribed(topic); }});
  wires.attach(
      speaker_end,
      {[&](PeerId peer, Channel channel, std::string_view message) { speaker->receive(peer, channel, message); }, {}});
  const auto run = [&](int steps) {
    for (int i = 0; i < steps; ++i) {
      reflector->advance();
      speaker->advance();
      clock.advance(1ms);
      wires.deliver();
    }
  };
  REQUIRE(speaker->announce(route("100#10.0.0.1/32#fd00::a")).has_value());
  REQUIRE(speaker->announce(route("100#0.0.0.0/0#fd00::a")).has_value());
  REQUIRE(speaker->announce(route("101#10.0.0.1/32#fd00::a")).has_value());
  speaker->subscribe(*Vni::make(101));
  run(3'000);
  CHECK(reflector->status().routes == 1);
  CHECK(speaker->status().reflectors[0].refused_routes == 2);
  CHECK(reflector->status().counters.forbidden >= 3);
  CHECK(reflector->status().counters.gaps == 0);
  // With more rights what was refused is announced again.
  rights.announcements[0].prefixes.push_back(*Prefix::parse("0.0.0.0/0"));
  reflector->end_sessions();
  run(3'000);
  CHECK(reflector->status().routes == 2);
  // And with less what was accepted goes.
  rights.announcements[0].prefixes = {*Prefix::parse("10.0.0.0/8")};
  reflector->end_sessions();
  run(3'000);
  CHECK(reflector->status().routes == 1);
  // Also when all of it was accepted, so that the node has no reason to say it again.
  speaker->withdraw(route("100#0.0.0.0/0#fd00::a"));
  speaker->withdraw(route("101#10.0.0.1/32#fd00::a"));
  reflector->end_sessions();
  run(3'000);
  CHECK(speaker->status().reflectors[0].refused_routes == 0);
  rights.announcements[0].prefixes = {*Prefix::parse("192.0.2.0/24")};
  reflector->end_sessions();
  run(3'000);
  CHECK(reflector->status().routes == 0);
  CHECK(speaker->status().reflectors[0].refused_routes == 1);
  // One that may not come back at all is dead after its lease.
  rights.announcements[0].prefixes = {*Prefix::parse("10.0.0.0/8")};
  reflector->end_sessions();
  run(3'000);
  CHECK(reflector->status().routes == 1);
  // And one that was away meanwhile is judged when it is back.
  speaker->close(Speaker::Leave::coming_back);
  run(100);
  rights.announcements[0].prefixes = {*Prefix::parse("192.0.2.0/24")};
  reflector->end_sessions();
  CHECK(reflector->status().routes == 1);
  speaker = Speaker::create({.name = "a"}, wires.link(speaker_end), clock, random, log).value();
  REQUIRE(speaker->announce(route("100#10.0.0.1/32#fd00::a")).has_value());
  run(3'000);
  CHECK(reflector->status().routes == 0);
  CHECK(speaker->status().reflectors[0].refused_routes == 1);
  rights.announcements[0].prefixes = {*Prefix::parse("10.0.0.0/8")};
  reflector->end_sessions();
  run(3'000);
  CHECK(reflector->status().routes == 1);
  rights.name = "b";
  reflector->end_sessions();
  run(4'000);
  CHECK(reflector->status().routes == 0);
  CHECK(speaker->status().reflectors[0].phase == ReflectorSession::Phase::refused);
  CHECK(speaker->status().reflectors[0].refusal.find("this key belongs to") != std::string::npos);
}

TEST_CASE("hostile bytes are refused and counted, and change nothing") {
  Site site;
  site.add_reflector();
  const auto a = site.add_speaker("a", {0});
  const auto b = site.add_speaker("b", {0});
  site.speaker(b).subscribe(net);
  REQUIRE(site.speaker(a).announce(route("100#10.0.0.1/32#fd00::a")).has_value());
  REQUIRE(site.run_until([&] { return site.speaker(b).status().learned_routes == 1; }));
  auto& reflector = site.reflector(0);
  const auto before = reflector.status().counters;
  reflector.receive(77, Channel::control, "", nullptr);
  reflector.receive(77, Channel::bulk, "hello", nullptr);
  reflector.receive(77, Channel::control, std::string(100'000, '\xff'), nullptr);
  CHECK(reflector.status().counters.malformed == before.malformed + 3);
  site.speaker(b).receive(0, Channel::bulk, std::string(100, '\xff'));
  site.speaker(b).receive(99, Channel::bulk, "x");
  CHECK(site.speaker(b).status().malformed == 2);
  site.run(5s);
  CHECK(site.speaker(b).status().learned_routes == 1);
}

TEST_CASE("a host that withdraws more at once than is remembered says what is left, once") {
  Site site;
  site.add_reflector();
  const auto a = site.add_speaker("a", {0});
  const auto b = site.add_speaker("b", {0});
  site.speaker(b).subscribe(net);
  // What is left does not fit into one window of messages either.
  constexpr std::uint32_t count = 120'000, left = 60'000;
  std::vector<Route> routes;
  for (std::uint32_t i = 0; i < count; ++i) {
    routes.push_back(route("100#10.0.0.0/32#fd00::a"));
    routes.back().destination = Prefix::host(IpAddress::v4(0x0a000000 + i));
  }
  REQUIRE(site.speaker(a).announce(routes).has_value());
  REQUIRE(site.run_until([&] { return site.speaker(b).learned_routes() == count; }));
  site.speaker(a).withdraw(std::span(routes).subspan(left));
  REQUIRE(site.run_until([&] { return site.speaker(b).learned_routes() == left; }, 5s));
  const auto is_told = [&] {
    const auto status = site.speaker(a).status();
    return status.reflectors[0].announced == status.announced;
  };
  CHECK(site.run_until(is_told, 5s));
  const auto restarts = site.reflector(0).status().counters.restarts;
  CHECK(restarts <= 2);  // the first announcement is one
  CHECK(site.reflector(0).status().counters.gaps == 0);
  site.run(30s);
  CHECK(site.reflector(0).status().counters.restarts == restarts);
  REQUIRE(site.speaker(a).announce(route("100#10.9.0.1/32#fd00::a")).has_value());
  CHECK(site.run_until([&] { return site.speaker(b).learned_routes() == left + 1; }, 1s));
}
