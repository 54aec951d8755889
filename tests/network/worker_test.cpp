// SPDX-License-Identifier: Apache-2.0
// Packets through whole hosts: machines on ports, hosts on one wire.
#include <doctest/doctest.h>

#include <memory>
#include <optional>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "hosts.hpp"

using namespace ironcore;
using namespace ironcore::network;
using namespace ironcore::network::dataplane;
using namespace ironcore::network::tests;
using namespace ironcore::tests;

TEST_CASE("machines of one host reach each other, and each sees a router between them") {
  Host host(1);
  host.add(1, "10.0.0.1", 100, "fd00::1");
  host.add(2, "10.0.0.2", 100, "fd00::2");
  for (const auto& [there, back] :
       {std::pair(udp_v4("10.0.0.1", "10.0.0.2"), v4(udp(53, 1000), {"10.0.0.2", "10.0.0.1"})),
        std::pair(udp_v6("fd00::1", "fd00::2"), v6(udp(53, 1000), {"fd00::2", "fd00::1"}))}) {
    for (int again = 0; again < 3; ++again) {
      const auto went = host.from_machine(1, there);
      CHECK(went.drop == Drop::none);
      CHECK(went.port == first_machine_port + 2);
      CHECK(went.frame == ethernet(machine_mac(2), port_mac(first_machine_port + 2), passed_on(there)));
      const auto came = host.from_machine(2, back);
      CHECK(came.port == first_machine_port + 1);
      CHECK(came.frame == ethernet(machine_mac(1), port_mac(first_machine_port + 1), passed_on(back)));
    }
  }
  CHECK(host.worker.flows().size() == 2);
  CHECK(host.worker.slow_path() == 2);  // only the first packet of each
  CHECK(host.worker.packets()[0] == 12);
}

TEST_CASE("machines of two hosts reach each other over the wire") {
  Host left(1);
  Host right(2);
  left.add(1, "10.0.0.1", 100, "fd00::1");
  right.add(2, "10.0.0.2", 200, "fd00::2");
  left.change(
      {route("10.0.0.2/32", {right.underlay_of(2).to_text()}), route("fd00::2/128", {right.underlay_of(2).to_text()})});
  right.change({route("10.0.0.0/24", {left.underlay_of(1).to_text()}, 200),
                route("::/0", {left.underlay_of(1).to_text()}, 200)});
  for (const auto& there : {udp_v4("10.0.0.1", "10.0.0.2"), udp_v6("fd00::1", "fd00::2")}) {
    const auto went = left.from_machine(1, there);
    CHECK(went.drop == Drop::none);
    CHECK(went.port == uplink_port);
    auto on_wire = went.frame;
    CHECK((get32(on_wire, 14) & 0xfff0'0000) == 0x6000'0000);  // version, no class, and some flow label
    put32(on_wire, 14, 0x6000'0000);
    CHECK(on_wire ==
          ethernet(router, port_mac(uplink_port), outer(left.underlay_of(1), right.underlay_of(2), passed_on(there))));

    const auto came = right.from_wire(went.frame);
    CHECK(came.drop == Drop::none);
    CHECK(came.port == first_machine_port + 2);
    CHECK(came.frame == ethernet(machine_mac(2), port_mac(first_machine_port + 2), passed_on(there)));
    CHECK(right.from_wire(went.frame).frame == came.frame);
  }
  const auto back = right.from_machine(2, v4(udp(53, 1000), {"10.0.0.2", "10.0.0.1"}));
  CHECK(back.port == uplink_port);
  CHECK(left.from_wire(back.frame).port == first_machine_port + 1);
  CHECK(left.worker.flows().size() == 2);  // the answer belongs to what is there
  CHECK(right.worker.flows().size() == 2);
}

TEST_CASE("networks with the same addresses never meet") {
  Host host(1);
  host.add(1, "10.0.0.1", 100);
  host.add(2, "10.0.0.2", 100);
  host.add(3, "10.0.0.1", 200);
  host.add(4, "10.0.0.2", 200);
  host.add(5, "10.0.0.1", 300);
  const auto packet = udp_v4("10.0.0.1", "10.0.0.2");
  CHECK(host.from_machine(1, packet).port == first_machine_port + 2);
  CHECK(host.from_machine(3, packet).port == first_machine_port + 4);
  CHECK(host.from_machine(5, packet).drop == Drop::route);
  CHECK(host.from_machine(1, udp_v4("10.0.0.1", "10.0.0.9")).drop == Drop::route);
}

TEST_CASE("a machine sends only from its own addresses and MAC") {
  Host host(1);
  host.add(1, "10.0.0.1", 100, "fd00::1");
  host.add(2, "10.0.0.2", 100, "fd00::2");
  CHECK(host.from_machine(1, udp_v4("10.0.0.3", "10.0.0.2")).drop == Drop::source_address);
  CHECK(host.from_machine(1, udp_v6("fd00::3", "fd00::2")).drop == Drop::source_address);
  host.change({InterfacePrefix{"m1", prefix("10.0.0.3/32"), {}, {}}});
  CHECK(host.from_machine(1, udp_v4("10.0.0.3", "10.0.0.2")).drop == Drop::none);
  host.change({InterfacePrefixKey{"m1", prefix("10.0.0.3/32"), {}}});
  CHECK(host.from_machine(1, udp_v4("10.0.0.3", "10.0.0.2")).drop == Drop::source_address);  // its flow is no excuse
  const auto packet = udp_v4("10.0.0.1", "10.0.0.2");
  CHECK(host.send(first_machine_port + 1, ethernet(router, machine_mac(2), packet)).drop == Drop::source_mac);
}

TEST_CASE("without a rule nothing comes in; a rule that goes stops its flows at their next packet") {
  Host host(1);
  host.add(1, "10.0.0.1");
  host.add(2, "10.0.0.2");
  host.change({FirewallRuleKey{"m2", "all-v4"}, FirewallRuleKey{"m1", "all-v4"}});
  const auto there = udp_v4("10.0.0.1", "10.0.0.2");
  const auto back = v4(udp(53, 1000), {"10.0.0.2", "10.0.0.1"});
  CHECK(host.from_machine(1, there).drop == Drop::ingress_rule);
  CHECK(host.worker.flows().size() == 0);
  auto dns = rule("m2", "dns");
  dns.protocol = protocol_udp;
  dns.destination_ports = {53, 53};
  host.change({dns});
  CHECK(host.from_machine(2, back).drop == Drop::ingress_rule);  // nobody has asked
  CHECK(host.from_machine(1, there).drop == Drop::none);
  CHECK(host.from_machine(2, back).drop == Drop::none);  // the answer needs no rule
  host.change({FirewallRuleKey{"m2", "dns"}});
  CHECK(host.from_machine(2, back).drop == Drop::ingress_rule);
  CHECK(host.from_machine(1, there).drop == Drop::ingress_rule);

  host.change({dns});
  auto only_tcp = rule("m1", "tcp");
  only_tcp.direction = FirewallRule::Direction::egress;
  only_tcp.protocol = protocol_tcp;
  CHECK(host.from_machine(1, there).drop == Drop::none);
  host.change({only_tcp});
  CHECK(host.from_machine(1, there).drop == Drop::egress_rule);
}

TEST_CASE("the firewall can be off") {
  Host host(1, {.has_firewall = false});
  host.add(1, "10.0.0.1");
  host.add(2, "10.0.0.2");
  host.change({FirewallRuleKey{"m2", "all-v4"}});
  CHECK(host.from_machine(1, udp_v4("10.0.0.1", "10.0.0.2")).drop == Drop::none);
}

TEST_CASE("a route that changes takes its flows along, and they keep their choice while it is legal") {
  Host host(1);
  host.add(1, "10.0.0.1");
  const auto destination = [&](std::uint16_t port) {
    const auto went = host.from_machine(1, udp_v4("10.0.0.1", "10.9.0.1", port));
    REQUIRE(went.drop == Drop::none);
    return slice(went.frame, 14 + 24, 14 + 40);
  };
  const auto hop = [](int number) { return address_bytes(other_host(number).to_text()); };
  const auto to = [](std::vector<int> hops) {
    std::vector<std::string> texts;
    for (const int one : hops) texts.push_back(other_host(one).to_text());
    return route("10.9.0.0/16", texts);
  };
  host.change({to({1, 2})});
  std::vector<Bytes> first;
  std::set<Bytes> used;
  for (std::uint16_t port = 1; port <= 64; ++port) {
    first.push_back(destination(port));
    used.insert(first.back());
  }
  CHECK(used == std::set<Bytes>{hop(1), hop(2)});
  host.change({to({1, 2, 3})});
  bool is_same = true;
  for (std::uint16_t port = 1; port <= 64; ++port) is_same = is_same && destination(port) == first[port - 1U];
  CHECK(is_same);
  host.change({to({2, 3})});
  for (std::uint16_t port = 1; port <= 64; ++port) {
    const auto now = destination(port);
    CHECK(now != hop(1));
    if (first[port - 1U] == hop(2)) CHECK(now == hop(2));
  }
  host.change({RouteKey{vni(100), prefix("10.9.0.0/16")}});
  CHECK(host.from_machine(1, udp_v4("10.0.0.1", "10.9.0.1", 1)).drop == Drop::route);
}

TEST_CASE("a change elsewhere sends no flow to the slow path") {
  Host host(1);
  host.add(1, "10.0.0.1");
  host.change({route("10.9.0.0/16", {other_host().to_text()})});
  const auto packet = udp_v4("10.0.0.1", "10.9.0.1");
  host.from_machine(1, packet);
  const auto before = host.worker.slow_path();
  host.change({route("10.77.0.0/16", {other_host().to_text()}), route("10.9.0.0/16", {other_host(2).to_text()}, 200)});
  host.compiler.change_uplink({uplink_port, mac(3, 9), 1, true});
  host.change({});
  const auto went = host.from_machine(1, packet);
  CHECK(went.drop == Drop::none);
  CHECK(slice(went.frame, 0, 6) == bytes_of(mac(3, 9)));  // the new neighbour is used at once
  CHECK(host.worker.slow_path() == before);
}

TEST_CASE("an interface that goes takes its flows along, and who gets its number does not get them") {
  Host host(1);
  host.add(1, "10.0.0.1");
  host.add(2, "10.0.0.2");
  const auto packet = udp_v4("10.0.0.1", "10.0.0.2");
  CHECK(host.from_machine(1, packet).drop == Drop::none);
  host.change({InterfaceKey{"m2"}});
  CHECK(host.from_machine(1, packet).drop == Drop::route);
  CHECK(host.worker.flows().size() == 0);
  CHECK(host.from_machine(2, packet).drop == Drop::port);
  host.add(3, "10.0.0.3");
  CHECK(host.from_machine(1, packet).drop == Drop::route);
}

TEST_CASE("from the wire comes only IP in IPv6, for this host, from another one, for what is here") {
  Host host(1);
  host.add(1, "10.0.0.1");
  const auto inner = udp_v4("10.9.0.1", "10.0.0.1");
  const auto good = wire_frame(other_host(), host.underlay_of(1), inner);
  CHECK(host.from_wire(good).drop == Drop::none);
  const auto with = [&](std::size_t at, std::uint8_t value) {
    auto frame = good;
    frame[at] = value;
    return host.from_wire(frame).drop;
  };
  CHECK(with(12, 0x08) == Drop::ethertype);
  CHECK(with(14, 0x40) == Drop::malformed);
  CHECK(with(14 + 6, 17) == Drop::outer);
  CHECK(with(14 + 6, 41) == Drop::malformed);  // IPv4 inside, and says IPv6
  CHECK(with(14 + 8, 0xff) == Drop::outer);
  CHECK(with(14 + 5, static_cast<std::uint8_t>(inner.size() + 1)) == Drop::malformed);
  CHECK(host.from_wire(wire_frame(host.underlay_of(1), host.underlay_of(1), inner)).drop == Drop::outer);
  CHECK(host.from_wire(wire_frame(other_host(1), other_host(2), inner)).drop == Drop::outer);
  CHECK(host.from_wire(wire_frame(other_host(), ip("2001:db8:0:1:d000::77"), inner)).drop == Drop::underlay);
  CHECK(host.from_wire(wire_frame(other_host(), host.underlay_of(1), udp_v4("10.9.0.1", "10.0.0.2"))).drop ==
        Drop::destination);
  CHECK(host.from_wire(slice(good, 0, 53)).drop == Drop::malformed);
  CHECK(host.send(77, good).drop == Drop::port);
}

TEST_CASE("what cannot be forwarded is told apart") {
  Host host(1);
  host.add(1, "10.0.0.1");
  host.add(2, "10.0.0.2");
  host.change({route("0.0.0.0/0", {other_host().to_text()})});
  const auto from = "10.0.0.1";
  CHECK(host.from_machine(1, udp_v4(from, "10.0.0.2", 1, 2)).drop == Drop::none);
  CHECK(host.from_machine(1, udp_v4(from, "10.0.0.2", 1, 1)).drop == Drop::hop_limit);
  CHECK(host.from_machine(1, udp_v4(from, "10.0.0.2", 1, 0)).drop == Drop::hop_limit);
  for (const auto* to : {"224.0.0.1", "255.255.255.255", "169.254.0.9"})
    CHECK(host.from_machine(1, udp_v4(from, to)).drop == Drop::local);
  for (const auto* to : {"127.0.0.1", "0.0.0.0", "240.0.0.1"})
    CHECK(host.from_machine(1, udp_v4(from, to)).drop == Drop::destination);
  CHECK(host.from_machine(1, v4(Bytes(1481), {from, "10.0.0.2"})).drop == Drop::malformed);  // UDP's length
  CHECK(host.from_machine(1, v4(Bytes(1481), {from, "10.0.0.2", 47})).drop == Drop::too_big);
  CHECK(host.from_machine(1, v4(Bytes(1480), {from, "10.0.0.2", 47})).drop == Drop::none);
  auto arp = ethernet(router, machine_mac(1), udp_v4(from, "10.0.0.2"));
  arp[13] = 6;
  CHECK(host.send(first_machine_port + 1, arp).drop == Drop::local);
  arp[13] = 7;
  CHECK(host.send(first_machine_port + 1, arp).drop == Drop::ethertype);
  host.compiler.remove_port("port-m2");
  host.change({});
  CHECK(host.from_machine(1, udp_v4(from, "10.0.0.2", 1)).drop == Drop::port_gone);
  host.compiler.change_uplink({uplink_port, router, 1, false});
  host.change({});
  CHECK(host.from_machine(1, udp_v4(from, "10.9.0.1")).drop == Drop::uplink);
  auto nameless = interface("m9", "10.0.0.9");
  host.change({nameless, rule("m9", "all")});
  host.compiler.add_port("port-m9", 50, port_mac(50));
  host.change({});
  CHECK(host.from_machine(1, udp_v4(from, "10.0.0.9")).drop == Drop::neighbour);
  host.compiler.learn_mac("m9", machine_mac(9));
  host.change({});
  CHECK(host.from_machine(1, udp_v4(from, "10.0.0.9")).drop == Drop::none);
}

TEST_CASE("two uplinks share the flows by weight, and one takes all when the other is down") {
  Host host(1);
  host.add(1, "10.0.0.1", 100, "fd00::1");
  host.compiler.add_uplink({second_uplink_port, mac(3, 1), 1, true}, port_mac(second_uplink_port));
  host.change({route("0.0.0.0/0", {other_host().to_text()}), route("::/0", {other_host().to_text()})});
  const auto ports = [&] {
    std::array<int, 2> count{};
    for (std::uint16_t port = 1; port <= 200; ++port) {
      ++count[host.from_machine(1, udp_v4("10.0.0.1", "10.9.0.1", port)).port];
      ++count[host.from_machine(1, v6(udp(port, 53), {"fd00::1", "fd00:9::1"})).port];
    }
    return count;
  };
  CHECK(ports()[1] > 150);
  CHECK(ports()[1] < 250);
  host.compiler.change_uplink({uplink_port, router, 3, true});
  host.change({});
  CHECK(ports()[1] < 150);
  host.compiler.change_uplink({uplink_port, router, 3, false});
  host.change({});
  CHECK(ports()[1] == 400);
}

TEST_CASE("fragments go where their first one goes") {
  Host host(1);
  host.add(1, "10.0.0.1");
  host.add(2, "10.0.0.2");
  auto datagram = udp(1000, 53, Bytes(8));
  put16(datagram, 4, 100);
  const V4 first{.source = "10.0.0.1", .destination = "10.0.0.2", .fragment = 0x2000};
  const V4 later{.source = "10.0.0.1", .destination = "10.0.0.2", .fragment = 2};
  CHECK(host.from_machine(1, v4(Bytes(16), later)).drop == Drop::fragment);
  CHECK(host.from_machine(1, v4(datagram, first)).port == first_machine_port + 2);
  const auto went = host.from_machine(1, v4(Bytes(16), later));
  CHECK(went.port == first_machine_port + 2);
  CHECK(went.ip() == passed_on(v4(Bytes(16), later)));
  CHECK(host.worker.flows().size() == 1);
}

TEST_CASE("echoes are flows, and other ICMP is decided on message by message") {
  Host host(1);
  host.add(1, "10.0.0.1");
  host.add(2, "10.0.0.2");
  host.change({FirewallRuleKey{"m1", "all-v4"}});
  const auto packet = [](std::uint8_t type, std::string_view from, std::string_view to) {
    auto message = icmp(type, 0, 77);
    put16(message, 2, checksum_of(message));
    return v4(message, {from, to, protocol_icmp});
  };
  CHECK(host.from_machine(2, packet(0, "10.0.0.2", "10.0.0.1")).drop == Drop::ingress_rule);
  CHECK(host.from_machine(1, packet(8, "10.0.0.1", "10.0.0.2")).drop == Drop::none);
  CHECK(host.from_machine(2, packet(0, "10.0.0.2", "10.0.0.1")).drop == Drop::none);
  CHECK(host.worker.flows().size() == 1);
  CHECK(host.from_machine(1, packet(13, "10.0.0.1", "10.0.0.2")).drop == Drop::none);
  CHECK(host.from_machine(2, packet(14, "10.0.0.2", "10.0.0.1")).drop == Drop::ingress_rule);
  CHECK(host.worker.flows().size() == 1);
}

TEST_CASE("flows are forgotten when they are silent, each by its kind, and a full table says so") {
  Host host(
      1, {.connections = 3, .timeouts = {.tcp_established = 1000, .tcp_transitory = 200, .tcp_closed = 50, .udp = 30}});
  host.add(1, "10.0.0.1");
  host.add(2, "10.0.0.2");
  const auto segment = [&](bool is_answer, std::uint8_t flags) {
    const auto packet = is_answer ? v4(tcp(80, 1000, flags), {"10.0.0.2", "10.0.0.1", protocol_tcp})
                                  : v4(tcp(1000, 80, flags), {"10.0.0.1", "10.0.0.2", protocol_tcp});
    CHECK(host.from_machine(is_answer ? 2 : 1, packet).drop == Drop::none);
  };
  segment(false, tcp_syn);
  segment(true, tcp_syn | tcp_ack);
  segment(false, tcp_ack);
  CHECK(host.from_machine(1, udp_v4("10.0.0.1", "10.0.0.2", 1)).drop == Drop::none);
  CHECK(host.from_machine(1, udp_v4("10.0.0.1", "10.0.0.2", 2)).drop == Drop::none);
  CHECK(host.from_machine(1, udp_v4("10.0.0.1", "10.0.0.2", 3)).drop == Drop::table_full);
  const auto after = [&](Tick seconds) {
    host.now += seconds;
    host.worker.process({}, host.now * second);
    return host.worker.flows().size();
  };
  CHECK(after(29) == 3);
  CHECK(after(1) == 1);
  CHECK(after(900) == 1);
  segment(false, tcp_fin | tcp_ack);
  segment(true, tcp_fin | tcp_ack);
  CHECK(after(49) == 1);
  CHECK(after(1) == 0);
}

TEST_CASE("without headroom a packet cannot be wrapped, and is left as it was") {
  Host host(1);
  host.add(1, "10.0.0.1");
  host.change({route("0.0.0.0/0", {other_host().to_text()})});
  Bytes frame = ethernet(router, machine_mac(1), udp_v4("10.0.0.1", "10.9.0.1"));
  const auto before = frame;
  Packet packet;
  packet.frame = frame.data();
  packet.bytes = packet.frame_bytes = static_cast<std::uint32_t>(frame.size());
  packet.headroom = 39;
  packet.port = first_machine_port + 1;
  host.worker.process({&packet, 1}, host.now * second);
  CHECK(packet.drop == Drop::headroom);
  CHECK(frame == before);
}

TEST_CASE("a burst is handled as its packets one by one") {
  std::mt19937 random(3);
  Host one(1);
  Host burst(1);
  for (auto* host : {&one, &burst}) {
    host->add(1, "10.0.0.1");
    host->add(2, "10.0.0.2");
    host->change({route("10.9.0.0/16", {other_host(1).to_text(), other_host(2).to_text()})});
  }
  for (const std::size_t count : {1U, 31U, 32U, 33U, 100U}) {
    std::vector<Bytes> frames;
    std::vector<Packet> packets;
    std::vector<Went> wanted;
    for (std::size_t i = 0; i < count; ++i) {
      const auto port = static_cast<std::uint16_t>(1 + random() % 20);
      const auto* to = random() % 2 == 0 ? "10.0.0.2" : random() % 2 == 0 ? "10.9.0.1" : "10.8.0.1";
      const auto frame = ethernet(router, machine_mac(1), udp_v4("10.0.0.1", to, port));
      wanted.push_back(one.send(first_machine_port + 1, frame));
      frames.push_back(Bytes(64) + frame);
    }
    for (auto& frame : frames) {
      Packet packet;
      packet.frame = frame.data() + 64;
      packet.bytes = packet.frame_bytes = static_cast<std::uint32_t>(frame.size() - 64);
      packet.headroom = 64;
      packet.port = first_machine_port + 1;
      packets.push_back(packet);
    }
    burst.worker.process(packets, burst.now * second);
    for (std::size_t i = 0; i < count; ++i) {
      CHECK(packets[i].drop == wanted[i].drop);
      CHECK(packets[i].port == wanted[i].port);
      CHECK(Bytes(packets[i].frame, packets[i].frame + packets[i].bytes) == wanted[i].frame);
    }
  }
}

TEST_CASE("whatever machines and the wire send, nothing leaves its network and every header is right") {
  std::mt19937 random(9);
  const auto pick = [&](std::size_t count) { return static_cast<std::size_t>(random()) % count; };
  Host host(1);
  host.add(1, "10.0.0.1", 100, "fd00::1");
  host.add(2, "10.0.0.2", 100, "fd00::2");
  host.add(3, "10.0.0.1", 200, "fd00::1");
  host.add(4, "10.0.0.2", 200, "fd00::2");
  for (const std::uint32_t network : {100U, 200U})
    host.change({route("10.9.0.0/16", {other_host(static_cast<int>(network)).to_text()}, network)});
  const std::vector<std::string_view> addresses = {"10.0.0.1", "10.0.0.2", "10.9.0.1", "10.8.0.1"};
  int went_on = 0;
  for (int round = 0; round < 100'000; ++round) {
    const auto machine = static_cast<std::uint8_t>(1 + pick(4));
    auto packet = pick(2) == 0 ? udp_v4(addresses[pick(4)], addresses[pick(4)], static_cast<std::uint16_t>(1 + pick(3)))
                               : udp_v6(pick(2) == 0 ? "fd00::1" : "fd00::2", pick(2) == 0 ? "fd00::1" : "fd00::2");
    const bool is_wire = pick(3) == 0;
    auto frame = is_wire ? wire_frame(other_host(), host.underlay_of(machine), packet)
                         : ethernet(router, machine_mac(machine), packet);
    if (pick(2) == 0) frame[14 + pick(frame.size() - 14)] = static_cast<std::uint8_t>(random());
    if (pick(8) == 0) frame.resize(pick(frame.size() + 1));
    const auto went = host.send(is_wire ? uplink_port : first_machine_port + machine, frame);
    if (went.drop != Drop::none) continue;
    ++went_on;
    if (went.port == uplink_port) {
      const bool is_left = machine <= 2;
      REQUIRE_FALSE(is_wire);
      REQUIRE(slice(went.frame, 38, 54) == address_bytes(other_host(is_left ? 100 : 200).to_text()));
      REQUIRE(get16(went.frame, 18) <= went.frame.size() - 54);
    } else if (!is_wire) {
      const bool is_left = went.port - first_machine_port <= 2;
      REQUIRE(is_left == (machine <= 2));
    }
    const auto inner = slice(went.frame, went.port == uplink_port ? 54 : 14);
    Headers headers;
    REQUIRE(parse(inner, inner.size(), headers) == Malformed::none);  // IPv4's checksum, too
  }
  CHECK(went_on > 10'000);
}
