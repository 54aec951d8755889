// SPDX-License-Identifier: Apache-2.0
// What routers of the underlay see of flows, and networks that lead into each other by its addresses.
#include <doctest/doctest.h>

#include <set>
#include <string>

#include "hosts.hpp"

using namespace ironcore;
using namespace ironcore::network;
using namespace ironcore::network::tests;

namespace {

std::uint32_t flow_label(const Went& went) {
  REQUIRE(went.drop == Drop::none);
  REQUIRE(went.port == uplink_port);
  return static_cast<std::uint32_t>(went.frame[15] & 15) << 16 | get16(went.frame, 16);
}

Bytes udp_between(std::string_view from, std::uint16_t from_port, std::string_view to, std::uint16_t to_port) {
  return checksummed(v4(udp(from_port, to_port, {1, 2, 3}), {.source = from, .destination = to}));
}

/// Machines 1 and 3 in network 100, 2 in network 200; addresses 10.<network>.0.<machine>.
struct Peers : Host {
  explicit Peers(std::uint8_t number = 1) : Host(number) {}
  void add_all() {
    add(1, "10.100.0.1", 100, "fd00:100::1");
    add(2, "10.200.0.2", 200, "fd00:200::2");
    add(3, "10.100.0.3", 100);
  }
};

}  // namespace

TEST_CASE("flows have flow labels of their own, and all packets of a flow the same one") {
  Host host(1);
  host.add(1, "10.0.0.1", 100, "fd00::1");
  host.change({route("0.0.0.0/0", {other_host().to_text()}), route("::/0", {other_host().to_text()})});
  const auto v4_label = [&](std::uint16_t port, std::string_view to = "10.9.0.1") {
    return flow_label(host.from_machine(1, udp_between("10.0.0.1", port, to, 53)));
  };
  const auto v6_label = [&](std::uint16_t port) {
    return flow_label(host.from_machine(1, v6(udp(port, 53), {"fd00::1", "fd00:9::1"})));
  };
  std::set<std::uint32_t> labels;
  for (std::uint16_t port = 1; port <= 200; ++port) {
    const auto label = v4_label(port);
    labels.insert(label);
    labels.insert(v6_label(port));
    labels.insert(v4_label(port, "10.9.0.2"));
    for (int i = 0; i < 3; ++i) CHECK(v4_label(port) == label);
  }
  CHECK(labels.size() > 590);  // of 600; two of 2^20 are seldom the same

  SUBCASE("also when it is looked at again after a change") {
    const auto before = v4_label(7);
    host.change({rule("m1", "another")});
    CHECK(v4_label(7) == before);
    host.change({route("10.0.0.0/8", {other_host(2).to_text()})});
    CHECK(v4_label(7) == before);
  }
  SUBCASE("also its pieces, and errors about it") {
    const auto first = v4(udp(7, 53, Bytes(8)), {"10.0.0.1", "10.9.0.1", 17, 64, 0x2000});
    const auto later = v4(Bytes(24), {"10.0.0.1", "10.9.0.1", 17, 64, 2});
    CHECK(flow_label(host.from_machine(1, first)) == v4_label(7));
    CHECK(flow_label(host.from_machine(1, later)) == v4_label(7));
  }
  SUBCASE("also its answers, all of them") {
    const auto in =
        host.from_wire(wire_frame(other_host(), host.underlay_of(1), udp_between("10.9.0.7", 53, "10.0.0.1", 1000)));
    REQUIRE(in.drop == Drop::none);
    const auto answer = [&] { return flow_label(host.from_machine(1, udp_between("10.0.0.1", 1000, "10.9.0.7", 53))); };
    const auto label = answer();
    for (int i = 0; i < 5; ++i) CHECK(answer() == label);
  }
  SUBCASE("nobody can tell it from the addresses and ports: hosts have secrets of their own") {
    WorkerOptions other;
    other.secret = 12'345;
    Host another(1, other);
    another.add(1, "10.0.0.1");
    another.change({route("0.0.0.0/0", {other_host().to_text()})});
    std::size_t same = 0;
    for (std::uint16_t port = 1; port <= 50; ++port) {
      const auto went = another.from_machine(1, udp_between("10.0.0.1", port, "10.9.0.1", 53));
      same += flow_label(went) == v4_label(port) ? 1 : 0;
    }
    CHECK(same <= 1);
  }
}

TEST_CASE("networks of one host reach each other by routes to each other's machines, and only there") {
  Peers host;
  host.add_all();
  const auto there = [&](std::uint16_t port = 1000) {
    return host.from_machine(1, udp_between("10.100.0.1", port, "10.200.0.2", 53));
  };
  const auto back = [&](std::uint16_t port = 1000) {
    return host.from_machine(2, udp_between("10.200.0.2", 53, "10.100.0.1", port));
  };
  CHECK(there().drop == Drop::route);
  CHECK(back().drop == Drop::route);
  const auto to_second = route("10.200.0.2/32", {host.underlay_of(2).to_text()}, 100);
  const auto to_first = route("10.100.0.1/32", {host.underlay_of(1).to_text()}, 200);
  host.change({to_second, to_first});

  SUBCASE("both ways, whoever begins") {
    auto out = there();
    CHECK(out.drop == Drop::none);
    CHECK(out.port == first_machine_port + 2);
    CHECK(out.ip() == passed_on(udp_between("10.100.0.1", 1000, "10.200.0.2", 53)));
    out = back();
    CHECK(out.port == first_machine_port + 1);
    CHECK(out.ip() == passed_on(udp_between("10.200.0.2", 53, "10.100.0.1", 1000)));
    CHECK(host.from_machine(2, udp_between("10.200.0.2", 7, "10.100.0.1", 8)).port == first_machine_port + 1);
  }
  SUBCASE("IPv6 too") {
    host.change({route("fd00:200::2/128", {host.underlay_of(2).to_text()}, 100),
                 route("fd00:100::1/128", {host.underlay_of(1).to_text()}, 200)});
    CHECK(host.from_machine(1, v6(udp(1, 2), {"fd00:100::1", "fd00:200::2"})).port == first_machine_port + 2);
    CHECK(host.from_machine(2, v6(udp(2, 1), {"fd00:200::2", "fd00:100::1"})).port == first_machine_port + 1);
    CHECK(host.from_machine(2, v6(udp(3, 1), {"fd00:200::2", "fd00:100::3"})).drop == Drop::route);
  }
  SUBCASE("not to other addresses, and not from who has no way") {
    CHECK(host.from_machine(1, udp_between("10.100.0.1", 1, "10.200.0.3", 53)).drop == Drop::route);
    CHECK(host.from_machine(2, udp_between("10.200.0.2", 1, "10.100.0.3", 53)).drop == Drop::route);
    // The third machine's network has the way to the second one, but answers to it have none.
    CHECK(host.from_machine(3, udp_between("10.100.0.3", 1, "10.200.0.2", 53)).drop == Drop::none);
    CHECK(host.from_machine(2, udp_between("10.200.0.2", 53, "10.100.0.3", 1)).drop == Drop::route);
    // What the route leads to is another machine's: nobody gets what is not his.
    host.change({route("10.200.0.0/24", {host.underlay_of(2).to_text()}, 100)});
    CHECK(host.from_machine(1, udp_between("10.100.0.1", 1, "10.200.0.9", 53)).drop == Drop::destination);
  }
  SUBCASE("the rules of the receiver hold") {
    host.change({FirewallRuleKey{"m2", "all-v4"}});
    CHECK(there().drop == Drop::ingress_rule);
    CHECK(back(7).drop == Drop::none);
    CHECK(there(7).drop == Drop::none);  // an answer
  }
  SUBCASE("a way that goes takes its flows along, in its direction") {
    CHECK(there().drop == Drop::none);
    CHECK(back().drop == Drop::none);
    host.change({RouteKey{vni(200), prefix("10.100.0.1/32")}});
    CHECK(there().drop == Drop::none);
    CHECK(back().drop == Drop::route);
    host.change({RouteKey{vni(100), prefix("10.200.0.2/32")}});
    CHECK(there().drop == Drop::route);
  }
}

TEST_CASE("networks of two hosts reach each other in the same way") {
  Host one(1);
  Host two(2);
  one.add(1, "10.100.0.1", 100);
  two.add(2, "10.200.0.2", 200);
  one.change({route("10.200.0.0/24", {two.underlay_of(2).to_text()}, 100)});
  const auto question = udp_between("10.100.0.1", 1000, "10.200.0.2", 53);
  const auto answer = udp_between("10.200.0.2", 53, "10.100.0.1", 1000);
  const auto sent = one.from_machine(1, question);
  REQUIRE(sent.drop == Drop::none);
  CHECK(two.from_wire(sent.frame).ip() == passed_on(question));
  // The other network has no way back yet.
  CHECK(two.from_machine(2, answer).drop == Drop::route);
  two.change({route("10.100.0.0/24", {one.underlay_of(1).to_text()}, 200)});
  const auto answered = two.from_machine(2, answer);
  REQUIRE(answered.drop == Drop::none);
  CHECK(one.from_wire(answered.frame).ip() == passed_on(answer));
  // The same addresses in the network that the machine is in are others.
  one.add(3, "10.200.0.2", 300);
  CHECK(one.from_machine(1, question).port == uplink_port);
}
