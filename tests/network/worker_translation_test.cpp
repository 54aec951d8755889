// SPDX-License-Identifier: Apache-2.0
// Addresses that change on the way: virtual IPs, NAT, NAT64, and the ICMP errors about their packets.
#include <doctest/doctest.h>

#include <map>
#include <set>
#include <string>
#include <vector>

#include "hosts.hpp"

using namespace ironcore;
using namespace ironcore::network;
using namespace ironcore::network::dataplane;
using namespace ironcore::network::tests;
using namespace ironcore::tests;

namespace {

constexpr const char* server = "198.51.100.7";

/// A machine with a way to the public.
struct PublicHost : Host {
  explicit PublicHost(WorkerOptions with = {}) : Host(1, with) {
    add(1, "10.0.0.1", 100, "fd00::1");
    change({route("0.0.0.0/0", {other_host().to_text()}), route("::/0", {other_host().to_text()})});
  }
  IpAddress nat_underlay(std::uint8_t number) const {
    return *desired.nats().at({"m" + std::to_string(number)}).underlay;
  }
  IpAddress virtual_underlay(std::uint8_t number, bool is_v6 = false) const {
    return *desired.virtual_ips().at({"m" + std::to_string(number), is_v6}).underlay;
  }
  Went answer(const IpAddress& to, const Bytes& packet) { return from_wire(wire_frame(other_host(), to, packet)); }
};

Bytes inner(const Went& went) {
  REQUIRE(went.drop == Drop::none);
  REQUIRE(went.port == uplink_port);
  return slice(went.frame, 54);
}
Bytes udp_to(std::string_view from, std::uint16_t from_port, std::string_view to, std::uint16_t to_port,
             const Bytes& payload = {1, 2, 3}) {
  return checksummed(v4(udp(from_port, to_port, payload), {.source = from, .destination = to}));
}
Bytes tcp_to(std::string_view from, std::uint16_t from_port, std::string_view to, std::uint16_t to_port,
             std::uint8_t flags = tcp_syn) {
  return checksummed(v4(tcp(from_port, to_port, flags, {9, 8, 7, 6, 5}), {from, to, protocol_tcp}));
}
Bytes echo_to(std::string_view from, std::string_view to, std::uint8_t type, std::uint16_t id) {
  return checksummed(v4(icmp(type, 0, id, {1, 2, 3, 4}), {from, to, protocol_icmp}));
}
std::uint16_t source_port_of(const Bytes& packet) {
  return get16(packet, place_of(packet).at);
}
}  // namespace

TEST_CASE("a virtual IP stands for the machine's address, both ways, for every protocol") {
  PublicHost host;
  host.change({VirtualIp{"m1", ip("192.0.2.50"), {}}, VirtualIp{"m1", ip("2001:db8:50::1"), {}}});
  SUBCASE("from the machine") {
    const auto out = inner(host.from_machine(1, tcp_to("10.0.0.1", 1000, server, 80)));
    CHECK(out == passed_on(tcp_to("192.0.2.50", 1000, server, 80)));
    CHECK(is_right(out));
    const auto back = host.answer(host.virtual_underlay(1), tcp_to(server, 80, "192.0.2.50", 1000, tcp_syn | tcp_ack));
    CHECK(back.ip() == tcp_to(server, 80, "10.0.0.1", 1000, tcp_syn | tcp_ack));
    CHECK(host.worker.flows().size() == 1);
  }
  SUBCASE("from outside") {
    const auto in = host.answer(host.virtual_underlay(1), tcp_to(server, 5000, "192.0.2.50", 22));
    CHECK(in.ip() == tcp_to(server, 5000, "10.0.0.1", 22));
    const auto out = inner(host.from_machine(1, tcp_to("10.0.0.1", 22, server, 5000, tcp_syn | tcp_ack)));
    CHECK(out == passed_on(tcp_to("192.0.2.50", 22, server, 5000, tcp_syn | tcp_ack)));
    CHECK(host.worker.flows().size() == 1);
  }
  SUBCASE("IPv6") {
    const auto packet = [](std::string_view from, std::string_view to) {
      return checksummed(v6(udp(7, 8, {5, 5}), {from, to}));
    };
    CHECK(inner(host.from_machine(1, packet("fd00::1", "2001:db8:9::9"))) ==
          passed_on(packet("2001:db8:50::1", "2001:db8:9::9")));
    CHECK(host.answer(host.virtual_underlay(1, true), checksummed(v6(udp(8, 7), {"2001:db8:9::9", "2001:db8:50::1"})))
              .ip() == checksummed(v6(udp(8, 7), {"2001:db8:9::9", "fd00::1"})));
  }
  SUBCASE("protocols without ports, and pieces") {
    CHECK(inner(host.from_machine(1, v4({1, 2, 3, 4}, {"10.0.0.1", server, 47}))) ==
          passed_on(v4({1, 2, 3, 4}, {"192.0.2.50", server, 47})));
    const auto first = v4(udp(9, 9, Bytes(8)), {"10.0.0.1", server, 17, 64, 0x2000});
    CHECK(source_address(inner(host.from_machine(1, first))) == "192.0.2.50");
    const auto later = inner(host.from_machine(1, v4(Bytes(24), {"10.0.0.1", server, 17, 64, 2})));
    CHECK(later == passed_on(v4(Bytes(24), {"192.0.2.50", server, 17, 64, 2})));
  }
  SUBCASE("only for the public, only the primary address, and not for another one's") {
    host.change({route("10.9.0.0/16", {other_host().to_text()}), InterfacePrefix{"m1", prefix("10.7.0.0/24"), {}, {}}});
    CHECK(source_address(inner(host.from_machine(1, tcp_to("10.0.0.1", 1, "10.9.0.1", 2)))) == "10.0.0.1");
    CHECK(source_address(inner(host.from_machine(1, tcp_to("10.7.0.1", 1, server, 2)))) == "10.7.0.1");
    CHECK(host.answer(host.virtual_underlay(1), tcp_to(server, 1, "192.0.2.51", 1)).drop == Drop::destination);
    CHECK(host.answer(host.underlay_of(1), tcp_to(server, 1, "192.0.2.50", 1)).drop == Drop::destination);
  }
  SUBCASE("one that goes takes its flows along") {
    host.from_machine(1, tcp_to("10.0.0.1", 1000, server, 80));
    const auto underlay = host.virtual_underlay(1);
    host.change({VirtualIpKey{"m1", false}});
    CHECK(source_address(inner(host.from_machine(1, tcp_to("10.0.0.1", 1000, server, 80)))) == "10.0.0.1");
    CHECK(host.answer(underlay, tcp_to(server, 80, "192.0.2.50", 1000)).drop == Drop::underlay);
  }
}

TEST_CASE("NAT gives a machine's flows ports of a public address, and answers find back") {
  PublicHost host;
  host.change({nat("m1", 1024, 2047)});
  std::set<std::uint16_t> ports;
  for (std::uint16_t i = 0; i < 20; ++i) {
    const auto from = static_cast<std::uint16_t>(5000 + i);
    const auto out = inner(host.from_machine(1, udp_to("10.0.0.1", from, server, 53)));
    const auto port = source_port_of(out);
    CHECK(out == passed_on(udp_to("192.0.2.1", port, server, 53)));
    CHECK(port >= 1024);
    CHECK(port <= 2047);
    CHECK(ports.insert(port).second);
    const auto back = host.answer(host.nat_underlay(1), udp_to(server, 53, "192.0.2.1", port, {7}));
    CHECK(back.ip() == udp_to(server, 53, "10.0.0.1", from, {7}));
  }
  SUBCASE("the same port towards all (RFC 4787 REQ-1), and nobody else may answer") {
    const auto port = source_port_of(inner(host.from_machine(1, udp_to("10.0.0.1", 5000, server, 53))));
    CHECK(source_port_of(inner(host.from_machine(1, udp_to("10.0.0.1", 5000, "198.51.100.8", 99)))) == port);
    CHECK(host.answer(host.nat_underlay(1), udp_to("198.51.100.9", 99, "192.0.2.1", port)).drop == Drop::nat_inside);
    CHECK(host.answer(host.nat_underlay(1), udp_to("198.51.100.8", 98, "192.0.2.1", port)).drop == Drop::nat_inside);
  }
  SUBCASE("unless anybody shall") {
    auto open = nat("m1", 1024, 2047);
    open.filtering = Nat::Filtering::endpoint_independent;
    host.change({open});
    const auto port = source_port_of(inner(host.from_machine(1, udp_to("10.0.0.1", 5000, server, 53))));
    const auto in = host.answer(host.nat_underlay(1), udp_to("198.51.100.9", 99, "192.0.2.1", port));
    CHECK(in.ip() == udp_to("198.51.100.9", 99, "10.0.0.1", 5000));
    CHECK(inner(host.from_machine(1, udp_to("10.0.0.1", 5000, "198.51.100.9", 99))) ==
          passed_on(udp_to("192.0.2.1", port, "198.51.100.9", 99)));
    const auto unused = static_cast<std::uint16_t>(port == 1500 ? 1501 : 1500);
    CHECK(host.answer(host.nat_underlay(1), udp_to("198.51.100.9", 99, "192.0.2.1", unused)).drop == Drop::nat_inside);
    host.change({FirewallRuleKey{"m1", "all-v4"}});
    CHECK(host.answer(host.nat_underlay(1), udp_to("198.51.100.10", 99, "192.0.2.1", port)).drop == Drop::ingress_rule);
  }
  SUBCASE("or those whom it talks to, from any of their ports") {
    auto by_address = nat("m1", 1024, 2047);
    by_address.filtering = Nat::Filtering::address_dependent;
    host.change({by_address});
    const auto port = source_port_of(inner(host.from_machine(1, udp_to("10.0.0.1", 5000, server, 53))));
    CHECK(host.answer(host.nat_underlay(1), udp_to("198.51.100.9", 99, "192.0.2.1", port)).drop == Drop::nat_inside);
    const auto in = host.answer(host.nat_underlay(1), udp_to(server, 99, "192.0.2.1", port));
    CHECK(in.ip() == udp_to(server, 99, "10.0.0.1", 5000));
    CHECK(inner(host.from_machine(1, udp_to("10.0.0.1", 5000, server, 99))) ==
          passed_on(udp_to("192.0.2.1", port, server, 99)));
    // The other port's peer is not this one's.
    const auto second_port = source_port_of(inner(host.from_machine(1, udp_to("10.0.0.1", 6001, "198.51.100.9", 53))));
    CHECK(host.answer(host.nat_underlay(1), udp_to("198.51.100.9", 99, "192.0.2.1", port)).drop == Drop::nat_inside);
    CHECK(host.answer(host.nat_underlay(1), udp_to(server, 99, "192.0.2.1", second_port)).drop == Drop::nat_inside);
    CHECK(host.answer(host.nat_underlay(1), udp_to("198.51.100.9", 99, "192.0.2.1", second_port)).drop == Drop::none);
    CHECK(host.answer(host.nat_underlay(1), tcp_to(server, 99, "192.0.2.1", port)).drop == Drop::nat_inside);
    host.change({FirewallRuleKey{"m1", "all-v4"}});
    CHECK(host.answer(host.nat_underlay(1), udp_to(server, 98, "192.0.2.1", port)).drop == Drop::ingress_rule);
  }
  SUBCASE("who came in by the filter of before stays if it was answered") {
    auto other = nat("m1", 1024, 2047);
    other.filtering = Nat::Filtering::endpoint_independent;
    host.change({other});
    const auto port = source_port_of(inner(host.from_machine(1, udp_to("10.0.0.1", 5000, server, 53))));
    CHECK(host.answer(host.nat_underlay(1), udp_to("198.51.100.9", 99, "192.0.2.1", port)).drop == Drop::none);
    CHECK(host.answer(host.nat_underlay(1), udp_to("198.51.100.10", 99, "192.0.2.1", port)).drop == Drop::none);
    CHECK(host.from_machine(1, udp_to("10.0.0.1", 5000, "198.51.100.9", 99)).drop == Drop::none);
    for (const auto filtering : {Nat::Filtering::address_dependent, Nat::Filtering::address_and_port_dependent}) {
      other.filtering = filtering;
      host.change({other});
      CHECK(host.answer(host.nat_underlay(1), udp_to("198.51.100.9", 99, "192.0.2.1", port)).drop == Drop::none);
      CHECK(host.answer(host.nat_underlay(1), udp_to("198.51.100.10", 99, "192.0.2.1", port)).drop == Drop::nat_inside);
    }
  }
  SUBCASE("echoes have identifiers for ports") {
    const auto out = inner(host.from_machine(1, echo_to("10.0.0.1", server, 8, 77)));
    const auto id = get16(out, 24);
    CHECK(out == passed_on(echo_to("192.0.2.1", server, 8, id)));
    CHECK(host.answer(host.nat_underlay(1), echo_to(server, "192.0.2.1", 0, id)).ip() ==
          echo_to(server, "10.0.0.1", 0, 77));
    CHECK(host.answer(host.nat_underlay(1), echo_to(server, "192.0.2.1", 0, static_cast<std::uint16_t>(id ^ 1))).drop ==
          Drop::nat_inside);
  }
  SUBCASE("a ping of the address itself is answered") {
    const auto pong = inner(host.answer(host.nat_underlay(1), echo_to(server, "192.0.2.1", 8, 5)));
    CHECK(pong == echo_to("192.0.2.1", server, 0, 5));
    auto from_far = wire_frame(other_host(), host.nat_underlay(1), echo_to(server, "192.0.2.1", 8, 5));
    from_far[14 + 7] = 1;
    const auto back = host.from_wire(from_far);
    CHECK(inner(back) == pong);
    CHECK(back.frame[14 + 7] == 64);
  }
  SUBCASE("UDP without a checksum stays so; what has no ports does not go") {
    const auto out =
        inner(host.from_machine(1, v4(udp(5000, 53, {1, 2}), {.source = "10.0.0.1", .destination = server})));
    CHECK(get16(out, 26) == 0);
    CHECK(is_right(out));
    CHECK(host.from_machine(1, v4({1, 2, 3, 4}, {"10.0.0.1", server, 47})).drop == Drop::translation);
  }
  SUBCASE("pieces of a datagram follow the first one") {
    auto first = v4(udp(5000, 53, Bytes(8, 1)), {"10.0.0.1", server, 17, 64, 0x2000});
    const auto out = inner(host.from_machine(1, first));
    CHECK(source_address(out) == "192.0.2.1");
    const auto later = inner(host.from_machine(1, v4(Bytes(24), {"10.0.0.1", server, 17, 64, 2})));
    CHECK(later == passed_on(v4(Bytes(24), {"192.0.2.1", server, 17, 64, 2})));
  }
  SUBCASE("one that goes takes its flows along; one that is told again keeps them") {
    const auto before = inner(host.from_machine(1, udp_to("10.0.0.1", 5000, server, 53)));
    auto same = host.desired.nats().at({"m1"});
    same.underlay.reset();
    host.change({same, VirtualIp{"m1", ip("192.0.2.50"), {}}});
    CHECK(inner(host.from_machine(1, udp_to("10.0.0.1", 5000, server, 53))) == before);
    host.change({NatKey{"m1"}});
    CHECK(source_address(inner(host.from_machine(1, udp_to("10.0.0.1", 5000, server, 53)))) == "192.0.2.50");
  }
}

TEST_CASE("ports come back when their flows end, and a range that is used up says so for a while") {
  PublicHost host;
  for (const auto mode : {Nat::Ports::own, Nat::Ports::shared}) {
    CAPTURE(static_cast<int>(mode));
    auto small = nat("m1", 1000, 1003);
    small.ports = mode;
    host.change({small});
    std::map<std::uint16_t, int> uses;
    for (std::uint16_t i = 0; i < 4; ++i)
      ++uses[source_port_of(
          inner(host.from_machine(1, udp_to("10.0.0.1", static_cast<std::uint16_t>(6000 + i), server, 53))))];
    CHECK(uses.size() == 4);
    CHECK(host.from_machine(1, udp_to("10.0.0.1", 7000, server, 53)).drop == Drop::nat_ports);
    const auto slow = host.worker.slow_path();
    CHECK(host.from_machine(1, udp_to("10.0.0.1", 7000, server, 53)).drop == Drop::nat_ports);
    CHECK(host.worker.slow_path() == slow);
    // Another protocol has ports of its own; towards another server shared ones are free.
    CHECK(host.from_machine(1, tcp_to("10.0.0.1", 7000, server, 53)).drop == Drop::none);
    const auto other = host.from_machine(1, udp_to("10.0.0.1", 7000, "198.51.100.8", 53)).drop;
    CHECK(other == (mode == Nat::Ports::own ? Drop::nat_ports : Drop::none));
    for (int i = 0; i < 4000; ++i) {
      host.now += 1;
      host.worker.process({}, host.now * second);
    }
    CHECK(host.worker.flows().size() == 0);
    CHECK(host.from_machine(1, udp_to("10.0.0.1", 7000, server, 53)).drop == Drop::none);
    host.change({NatKey{"m1"}});
    for (int i = 0; i < 4000; ++i) host.worker.process({}, (host.now += 1) * second);
    CHECK(host.worker.flows().size() == 0);
    CHECK(host.worker.connections_of(0) == 0);
  }
}

TEST_CASE("a flow that is refused gets a port as soon as one is free, although it goes on asking") {
  PublicHost host;
  host.change({nat("m1", 1000, 1000)});
  CHECK(host.from_machine(1, udp_to("10.0.0.1", 6000, server, 53)).drop == Drop::none);
  int refused = 0;
  for (int i = 0; i < 300 && host.from_machine(1, udp_to("10.0.0.1", 7000, server, 53)).drop != Drop::none; ++i) {
    host.now += 1;
    ++refused;
  }
  CHECK(refused >= 100);
  CHECK(refused < 140);  // 120 s after the first flow's last packet, and a moment
}

TEST_CASE("a NAT that is changed leaves its flows the ports that it still has, and gives them to nobody else") {
  PublicHost host;
  const auto told = [&](Nat::Ports ports, std::uint16_t first, std::uint16_t last) {
    auto out = nat("m1", first, last);
    out.ports = ports;
    return out;
  };
  struct Flow {
    std::uint16_t from;
    std::uint16_t port;
  };
  const auto open = [&](std::uint16_t from) {
    return source_port_of(inner(host.from_machine(1, udp_to("10.0.0.1", from, server, 53))));
  };
  constexpr Nat::Ports modes[] = {Nat::Ports::own, Nat::Ports::shared};
  for (const auto before : modes) {
    for (const auto after : modes) {
      CAPTURE(static_cast<int>(before));
      CAPTURE(static_cast<int>(after));
      host.change({told(before, 1000, 1019)});
      std::vector<Flow> flows;
      for (std::uint16_t from = 5000; from < 5020; ++from) flows.push_back({from, open(from)});
      host.change({told(after, 1010, 1039)});
      std::set<std::uint16_t> ports;
      // Those who have no port yet come before those who have one.
      for (std::uint16_t from = 6000; from < 6020; ++from) CHECK(ports.insert(open(from)).second);
      CHECK(*ports.begin() >= 1020);
      int kept = 0;
      for (const auto& flow : flows) {
        if (flow.port >= 1010) {
          ++kept;
          CHECK(open(flow.from) == flow.port);
          CHECK(ports.insert(flow.port).second);
          CHECK(host.answer(host.nat_underlay(1), udp_to(server, 53, "192.0.2.1", flow.port)).ip() ==
                udp_to(server, 53, "10.0.0.1", flow.from));
        } else {
          CHECK(host.answer(host.nat_underlay(1), udp_to(server, 53, "192.0.2.1", flow.port)).drop == Drop::nat_inside);
          CHECK(host.from_machine(1, udp_to("10.0.0.1", flow.from, server, 53)).drop == Drop::nat_ports);
        }
      }
      CHECK(kept == 10);
      CHECK(ports.size() == 30);
      // When they are silent they are free again, wherever they come from.
      for (int i = 0; i < 4000; ++i) host.worker.process({}, (host.now += 1) * second);
      CHECK(host.worker.flows().size() == 0);
      ports.clear();
      for (std::uint16_t from = 7000; from < 7030; ++from) CHECK(ports.insert(open(from)).second);
      host.change({NatKey{"m1"}});
      for (int i = 0; i < 4000; ++i) host.worker.process({}, (host.now += 1) * second);
    }
  }
}

TEST_CASE("flows of a changed NAT") {
  PublicHost host;
  host.change({nat("m1", 1000, 1003)});
  const auto packet = udp_to("10.0.0.1", 5000, server, 53);
  const auto port = source_port_of(inner(host.from_machine(1, packet)));
  auto told = host.desired.nats().at({"m1"});
  SUBCASE("keep one port for one socket") {
    told.last_port = 1099;
    host.change({told});
    CHECK(source_port_of(inner(host.from_machine(1, udp_to("10.0.0.1", 5000, "198.51.100.8", 53)))) == port);
    CHECK(source_port_of(inner(host.from_machine(1, packet))) == port);
  }
  SUBCASE("follow it to another underlay address") {
    const auto before = host.nat_underlay(1);
    told.underlay = ip("2001:db8:0:1:d000:8000::77");
    host.change({told});
    CHECK(host.answer(before, udp_to(server, 53, "192.0.2.1", port)).drop == Drop::underlay);
    CHECK(source_port_of(inner(host.from_machine(1, packet))) == port);
    CHECK(host.answer(host.nat_underlay(1), udp_to(server, 53, "192.0.2.1", port)).ip() ==
          udp_to(server, 53, "10.0.0.1", 5000));
    CHECK(host.worker.flows().size() == 1);
    CHECK(host.worker.connections_of(0) == 1);
  }
  SUBCASE("stop with its address, and do not take others' ports when it comes back") {
    told.address = ip("192.0.2.2");
    host.change({told});
    told.address = ip("192.0.2.1");
    host.change({told});
    std::set<std::uint16_t> ports;
    for (std::uint16_t from = 6000; from < 6004; ++from)
      ports.insert(source_port_of(inner(host.from_machine(1, udp_to("10.0.0.1", from, server, 53)))));
    CHECK(ports.size() == 4);
    CHECK(host.from_machine(1, packet).drop == Drop::nat_ports);
  }
  SUBCASE("stop when their port goes, and have it again if it comes back before they say anything") {
    const auto narrow = static_cast<std::uint16_t>(port == 1003 ? 1002 : 1003);
    told.first_port = told.last_port = narrow;
    host.change({told});
    told.first_port = 1000;
    told.last_port = 1003;
    host.change({told});
    std::set<std::uint16_t> ports;
    for (std::uint16_t from = 6000; from < 6003; ++from)
      ports.insert(source_port_of(inner(host.from_machine(1, udp_to("10.0.0.1", from, server, 53)))));
    CHECK(ports.size() == 3);
    CHECK(ports.count(port) == 0);
    CHECK(source_port_of(inner(host.from_machine(1, packet))) == port);
  }
  SUBCASE("that came from outside stay, too") {
    told.filtering = Nat::Filtering::endpoint_independent;
    host.change({told});
    CHECK(host.answer(host.nat_underlay(1), udp_to("198.51.100.9", 99, "192.0.2.1", port)).drop == Drop::none);
    told.last_port = 1099;
    host.change({told});
    CHECK(host.answer(host.nat_underlay(1), udp_to("198.51.100.9", 99, "192.0.2.1", port)).drop == Drop::none);
    told.ports = Nat::Ports::shared;
    host.change({told});
    CHECK(host.answer(host.nat_underlay(1), udp_to("198.51.100.9", 99, "192.0.2.1", port)).drop == Drop::none);
    CHECK(host.worker.flows().size() == 2);
  }
}

TEST_CASE("SCTP passes a NAT with a checksum over its new ports") {
  PublicHost host;
  const auto association = [](std::string_view from, std::uint16_t from_port, std::string_view to,
                              std::uint16_t to_port, const Bytes& chunks = {1, 0, 0, 4}) {
    const auto packet = sctp_summed(sctp(from_port, to_port) + chunks);
    return from.find(':') == std::string_view::npos ? v4(packet, {from, to, protocol_sctp})
                                                    : v6(packet, {from, to, protocol_sctp});
  };
  for (const auto mode : {Nat::Ports::own, Nat::Ports::shared}) {
    auto told = nat("m1", 1024, 2047);
    told.ports = mode;
    host.change({told});
    for (std::uint16_t i = 0; i < 20; ++i) {
      const auto from = static_cast<std::uint16_t>(36'412 + i);
      const Bytes chunks(4U * i, static_cast<std::uint8_t>(i));
      const auto out = inner(host.from_machine(1, association("10.0.0.1", from, server, 36'412, chunks)));
      const auto port = source_port_of(out);
      CHECK(port >= 1024);
      CHECK(port <= 2047);
      CHECK(out == passed_on(association("192.0.2.1", port, server, 36'412, chunks)));
      CHECK(host.answer(host.nat_underlay(1), association(server, 36'412, "192.0.2.1", port, chunks)).ip() ==
            association(server, 36'412, "10.0.0.1", from, chunks));
    }
  }
  SUBCASE("by NAT64") {
    const std::string server_v6 = "64:ff9b::c633:6407";
    const auto out = inner(host.from_machine(1, association("fd00::1", 5000, server_v6, 36'412)));
    const auto port = source_port_of(out);
    CHECK(slice(out, 20) == sctp_summed(sctp(port, 36'412) + Bytes{1, 0, 0, 4}));
    CHECK(source_address(out) == "192.0.2.1");
    CHECK(host.answer(host.nat_underlay(1), association(server, 36'412, "192.0.2.1", port)).ip() ==
          association(server_v6, 36'412, "fd00::1", 5000));
  }
  SUBCASE("with the errors about it") {
    const auto out = inner(host.from_machine(1, association("10.0.0.1", 5000, server, 36'412)));
    const auto error =
        checksummed(v4(icmp_error(3, 4, 1400, slice(out, 0, 28)), {"203.0.113.1", "192.0.2.1", protocol_icmp}));
    const auto back = host.answer(host.nat_underlay(1), error).ip();
    CHECK(is_right(back));
    CHECK(source_address(quote_of(back)) == "10.0.0.1");
    CHECK(get16(quote_of(back), 20) == 5000);
  }
  SUBCASE("but not in pieces: the checksum is over the whole") {
    for (const std::uint16_t fragment : {std::uint16_t{0x2000}, std::uint16_t{2}})
      CHECK(host.from_machine(1, v4(sctp(5000, 36'412) + Bytes(4), {"10.0.0.1", server, protocol_sctp, 64, fragment}))
                .drop == Drop::translation);
    auto piece =
        v6(v6_fragment(protocol_sctp, 0, true) + sctp(5000, 36'412) + Bytes(4), {"fd00::1", "64:ff9b::c633:6407", 44});
    CHECK(host.from_machine(1, piece).drop == Drop::translation);
  }
  SUBCASE("and a virtual IP without a change of either, also in pieces") {
    host.change({NatKey{"m1"}, VirtualIp{"m1", ip("192.0.2.50"), {}}});
    CHECK(inner(host.from_machine(1, association("10.0.0.1", 5000, server, 36'412))) ==
          passed_on(association("192.0.2.50", 5000, server, 36'412)));
    const auto packet = sctp(5000, 36'412) + Bytes(4);
    CHECK(inner(host.from_machine(1, v4(packet, {"10.0.0.1", server, protocol_sctp, 64, 0x2000}))) ==
          passed_on(v4(packet, {"192.0.2.50", server, protocol_sctp, 64, 0x2000})));
  }
}

TEST_CASE("machines of one host talk through their public addresses") {
  PublicHost host;
  host.add(2, "10.0.0.2", 200);
  host.change({route("0.0.0.0/0", {other_host().to_text()}, 200)});
  SUBCASE("to a virtual IP, from behind a NAT") {
    host.change({nat("m1", 1024, 2047), VirtualIp{"m2", ip("192.0.2.50"), {}}});
    const auto in = host.from_machine(1, tcp_to("10.0.0.1", 5000, "192.0.2.50", 80));
    CHECK(in.drop == Drop::none);
    CHECK(in.port == first_machine_port + 2);
    const auto port = source_port_of(in.ip());
    CHECK(in.ip() == passed_on(tcp_to("192.0.2.1", port, "10.0.0.2", 80)));
    const auto back = host.from_machine(2, tcp_to("10.0.0.2", 80, "192.0.2.1", port, tcp_syn | tcp_ack));
    CHECK(back.port == first_machine_port + 1);
    CHECK(back.ip() == passed_on(tcp_to("192.0.2.50", 80, "10.0.0.1", 5000, tcp_syn | tcp_ack)));
  }
  SUBCASE("between two NATs of one address, when anybody may answer") {
    auto open = nat("m2", 3000, 3999);
    open.filtering = Nat::Filtering::endpoint_independent;
    host.change({nat("m1", 1024, 2047), open});
    const auto port = source_port_of(inner(host.from_machine(2, udp_to("10.0.0.2", 5000, server, 53))));
    const auto in = host.from_machine(1, udp_to("10.0.0.1", 6000, "192.0.2.1", port));
    CHECK(in.port == first_machine_port + 2);
    const auto seen = source_port_of(in.ip());
    CHECK(in.ip() == passed_on(udp_to("192.0.2.1", seen, "10.0.0.2", 5000)));
    const auto back = host.from_machine(2, udp_to("10.0.0.2", 5000, "192.0.2.1", seen));
    CHECK(back.port == first_machine_port + 1);
    CHECK(back.ip() == passed_on(udp_to("192.0.2.1", port, "10.0.0.1", 6000)));
  }
  SUBCASE("what comes to another one's ports of the address goes on to it") {
    host.change({nat("m1", 1024, 2047), nat("m2", 3000, 3999)});
    host.change({InterfaceKey{"m2"}});
    host.add(2, "10.0.0.2");
    host.change({nat("m2", 3000, 3999)});
    const auto port = source_port_of(inner(host.from_machine(2, udp_to("10.0.0.2", 5000, server, 53))));
    const auto back = host.answer(host.nat_underlay(1), udp_to(server, 53, "192.0.2.1", port));
    CHECK(back.port == first_machine_port + 2);
    CHECK(back.ip() == udp_to(server, 53, "10.0.0.2", 5000));
  }
}

TEST_CASE("what comes to a neighbour's ports goes to the neighbour") {
  PublicHost host;
  host.change({nat("m1", 1024, 2047), NeighbourNat{vni(100), ip("192.0.2.1"), 4000, 4999, other_host(5)}});
  const auto packet = udp_to(server, 53, "192.0.2.1", 4321);
  const auto went = host.answer(host.nat_underlay(1), packet);
  CHECK(inner(went) == packet);
  CHECK(load_v6(went.frame.data() + 38) == other_host(5));
  CHECK(load_v6(went.frame.data() + 22) == host.nat_underlay(1));
  CHECK(host.answer(host.nat_underlay(1), udp_to(server, 53, "192.0.2.1", 5000)).drop == Drop::nat_inside);
  host.change({NeighbourNatKey{vni(100), ip("192.0.2.1"), 4000}});
  CHECK(host.answer(host.nat_underlay(1), packet).drop == Drop::nat_inside);
}

TEST_CASE("an ICMP error about a translated packet is translated with what it quotes") {
  PublicHost host;
  host.change({nat("m1", 1024, 2047)});
  const auto out = inner(host.from_machine(1, udp_to("10.0.0.1", 5000, server, 53)));
  const auto port = source_port_of(out);
  SUBCASE("from a router outside") {
    const auto error =
        checksummed(v4(icmp_error(3, 4, 1400, slice(out, 0, 28)), {"203.0.113.1", "192.0.2.1", protocol_icmp}));
    const auto back = host.answer(host.nat_underlay(1), error).ip();
    CHECK(is_right(back));
    CHECK(source_address(back) == "203.0.113.1");
    CHECK(destination_address(back) == "10.0.0.1");
    CHECK(quote_of(back) == slice(passed_on(udp_to("10.0.0.1", 5000, server, 53)), 0, 28));
    CHECK(get16(back, 26) == 1400);
  }
  SUBCASE("from the machine, about an answer") {
    const auto in = host.answer(host.nat_underlay(1), udp_to(server, 53, "192.0.2.1", port)).ip();
    const auto error = checksummed(v4(icmp_error(3, 3, 0, slice(in, 0, 28)), {"10.0.0.1", server, protocol_icmp}));
    const auto sent = inner(host.from_machine(1, error));
    CHECK(is_right(sent));
    CHECK(source_address(sent) == "192.0.2.1");
    CHECK(quote_of(sent) == slice(udp_to(server, 53, "192.0.2.1", port), 0, 28));
  }
  SUBCASE("not about a packet of nobody, nor with a broken checksum, nor by a stranger's address") {
    auto other = udp_to("192.0.2.1", static_cast<std::uint16_t>(port ^ 1), server, 53);
    CHECK(host.answer(host.nat_underlay(1),
                      checksummed(v4(icmp_error(3, 1, 0, other), {"203.0.113.1", "192.0.2.1", protocol_icmp})))
              .drop == Drop::translation);
    auto broken = checksummed(v4(icmp_error(3, 1, 0, out), {"203.0.113.1", "192.0.2.1", protocol_icmp}));
    broken.back() ^= 1;
    CHECK(host.answer(host.nat_underlay(1), broken).drop == Drop::translation);
    const auto in = host.answer(host.nat_underlay(1), udp_to(server, 53, "192.0.2.1", port)).ip();
    CHECK(host.from_machine(1, checksummed(v4(icmp_error(3, 3, 0, in), {"10.0.0.9", server, protocol_icmp}))).drop ==
          Drop::source_address);
  }
}

TEST_CASE("an IPv6 machine behind a NAT reaches IPv4 by 64:ff9b::/96") {
  PublicHost host;
  host.change({nat("m1", 1024, 2047)});
  const std::string server_v6 = "64:ff9b::c633:6407";  // 198.51.100.7
  const auto v6_tcp = [](std::string_view from, std::uint16_t from_port, std::string_view to, std::uint16_t to_port,
                         std::uint8_t flags) {
    return checksummed(v6(tcp(from_port, to_port, flags, {9, 8, 7, 6, 5}), {from, to, protocol_tcp}));
  };
  const auto out = inner(host.from_machine(1, v6_tcp("fd00::1", 5000, server_v6, 80, tcp_syn)));
  CHECK((out[0] >> 4) == 4);
  CHECK(is_right(out));
  CHECK(source_address(out) == "192.0.2.1");
  CHECK(destination_address(out) == server);
  CHECK(out[8] == 63);
  const auto port = source_port_of(out);
  const auto back = host.answer(host.nat_underlay(1), tcp_to(server, 80, "192.0.2.1", port, tcp_syn | tcp_ack));
  CHECK(back.ip() == v6_tcp(server_v6, 80, "fd00::1", 5000, tcp_syn | tcp_ack));
  SUBCASE("echo") {
    const auto ping = checksummed(v6(icmp(128, 0, 77, {1, 2}), {"fd00::1", server_v6, protocol_icmpv6}));
    const auto sent = inner(host.from_machine(1, ping));
    CHECK(sent[9] == protocol_icmp);
    CHECK(sent[20] == 8);
    CHECK(is_right(sent));
    const auto id = get16(sent, 24);
    const auto pong = host.answer(host.nat_underlay(1),
                                  checksummed(v4(icmp(0, 0, id, {1, 2}), {server, "192.0.2.1", protocol_icmp})));
    CHECK(pong.ip() == checksummed(v6(icmp(129, 0, 77, {1, 2}), {server_v6, "fd00::1", protocol_icmpv6})));
  }
  SUBCASE("an error from outside") {
    const auto error =
        checksummed(v4(icmp_error(11, 0, 0, slice(out, 0, 28)), {"203.0.113.1", "192.0.2.1", protocol_icmp}));
    const auto heard = host.answer(host.nat_underlay(1), error).ip();
    CHECK(is_right(heard));
    CHECK(source_address(heard) == "64:ff9b::cb00:7101");
    CHECK(destination_address(heard) == "fd00::1");
    CHECK(heard[40] == 3);
    CHECK(source_address(quote_of(heard)) == "fd00::1");
    CHECK(destination_address(quote_of(heard)) == server_v6);
    CHECK(get16(quote_of(heard), 40) == 5000);
  }
  SUBCASE("IPv4 and IPv6 flows of the same ports are two") {
    const auto v4_out = inner(host.from_machine(1, tcp_to("10.0.0.1", 5000, server, 80)));
    CHECK(source_port_of(v4_out) != port);
    CHECK(host.worker.flows().size() == 2);
  }
}

TEST_CASE("a sum that the card shall finish stays one") {
  PublicHost host;
  host.change({nat("m1", 1024, 2047)});
  const auto pseudo = [](Bytes packet) {
    const auto place = place_of(packet);
    auto sum = slice(packet, 12, 20) + Bytes(4);
    sum[9] = place.protocol;
    put16(sum, 10, static_cast<std::uint16_t>(packet.size() - place.at));
    put16(packet, place.at + checksum_place(place.protocol), static_cast<std::uint16_t>(~checksum_of(sum)));
    return packet;
  };
  Bytes memory = Bytes(128) + ethernet(port_mac(11), machine_mac(1), pseudo(tcp_to("10.0.0.1", 5000, server, 80)));
  Packet packet;
  packet.frame = memory.data() + 128;
  packet.bytes = packet.frame_bytes = packet.room = static_cast<std::uint32_t>(memory.size() - 128);
  packet.headroom = 128;
  packet.port = first_machine_port + 1;
  packet.offload.needs_checksum = true;
  host.worker.process({&packet, 1}, host.now * second);
  REQUIRE(packet.drop == Drop::none);
  CHECK(packet.offload.needs_checksum);
  const Bytes out(packet.frame + 54, packet.frame + packet.bytes);
  CHECK(source_address(out) == "192.0.2.1");
  CHECK(out == pseudo(out));
}

TEST_CASE("NAT64 leaves sums and cutting to the card, and packets in several pieces") {
  PublicHost host;
  host.change({nat("m1", 1024, 2047)});
  const std::string server_v6 = "64:ff9b::c633:6407";
  const auto pass = [&](std::uint32_t port, Bytes frame, std::size_t here, PacketOffload offload) {
    Bytes memory = Bytes(128) + frame;
    Packet packet;
    packet.frame = memory.data() + 128;
    packet.bytes = static_cast<std::uint32_t>(here);
    packet.frame_bytes = packet.room = static_cast<std::uint32_t>(frame.size());
    packet.headroom = 128;
    packet.port = port;
    packet.offload = offload;
    host.worker.process({&packet, 1}, host.now * second);
    REQUIRE(packet.drop == Drop::none);
    CHECK(packet.offload.needs_checksum == offload.needs_checksum);
    CHECK(packet.offload.segment_bytes == offload.segment_bytes);
    CHECK(packet.frame_bytes - packet.bytes == frame.size() - here);
    // The further pieces are where they were.
    return Bytes(packet.frame, packet.frame + packet.frame_bytes);
  };
  const auto pseudo = [](Bytes packet) {
    const auto place = place_of(packet);
    const bool is_v4 = packet[0] >> 4 == 4;
    Bytes sum = (is_v4 ? slice(packet, 12, 20) : slice(packet, 8, 40)) + Bytes(4);
    put16(sum, sum.size() - 4, place.protocol);
    put16(sum, sum.size() - 2, static_cast<std::uint16_t>(packet.size() - place.at));
    put16(packet, place.at + 16, static_cast<std::uint16_t>(~checksum_of(sum)));
    return packet;
  };
  const auto segment = [](std::string_view from, std::uint16_t from_port, std::string_view to, std::uint16_t to_port,
                          std::size_t bytes) {
    const auto data = tcp(from_port, to_port, tcp_ack, Bytes(bytes, 7));
    return checksummed(from.find(':') == std::string_view::npos ? v4(data, {from, to, protocol_tcp})
                                                                : v6(data, {from, to, protocol_tcp}));
  };
  const auto machine_port = first_machine_port + 1;
  for (const std::size_t first_piece : {std::size_t{100}, std::size_t{1500}, std::size_t{3074}}) {
    const auto whole = segment("fd00::1", 5000, server_v6, 80, 3000);
    const auto big = pass(machine_port, ethernet(port_mac(machine_port), machine_mac(1), pseudo(whole)), first_piece,
                          {.needs_checksum = true, .segment_bytes = 1000});
    const auto out = slice(big, 54);
    const auto port = source_port_of(out);
    auto expected = segment("192.0.2.1", port, server, 80, 3000);
    put16(expected, 4, get16(out, 4));
    put16(expected, 6, 0x4000);
    CHECK(out == pseudo(passed_on(expected)));

    const auto answer = segment(server, 80, "192.0.2.1", port, 3000);
    const auto in = slice(pass(uplink_port, wire_frame(other_host(), host.nat_underlay(1), pseudo(answer)),
                               first_piece + 20, {.needs_checksum = true, .segment_bytes = 1000}),
                          14);
    CHECK(in == pseudo(segment(server_v6, 80, "fd00::1", 5000, 3000)));
  }
  const auto packet = segment("fd00::1", 5000, server_v6, 80, 1000);
  const auto out =
      slice(pass(machine_port, ethernet(port_mac(machine_port), machine_mac(1), packet), 100, PacketOffload()), 54);
  CHECK(is_right(out));
}

TEST_CASE(
    "what NAT64 makes too long for the machine is told to its sender, and the machine gets no frame that is longer "
    "than its MTU") {
  WorkerOptions options;
  options.gateway.icmp_errors_at_once = 3;
  PublicHost host(options);
  host.change({nat("m1", 1024, 2047)});
  const std::string server_v6 = "64:ff9b::c633:6407";
  const auto out = host.from_machine(1, checksummed(v6(udp(5000, 53, {1}), {"fd00::1", server_v6})));
  const auto port = source_port_of(inner(out));
  const auto answer = [&](std::size_t bytes, std::uint16_t flags) {
    auto packet = v4(udp(53, port, Bytes(bytes - 28, 7)), {server, "192.0.2.1"});
    put16(packet, 6, flags);
    return checksummed(packet);
  };
  const auto come = [&](const Bytes& packet) {
    return host.from_wire(wire_frame(other_host(), host.nat_underlay(1), packet));
  };
  constexpr std::uint16_t dont_fragment = 0x4000, more_fragments = 0x2000;
  const auto fits = come(answer(1480, dont_fragment));
  CHECK(fits.port == first_machine_port + 1);
  CHECK(fits.ip().size() == 1500);

  const auto too_big = [&] { return host.worker.packets()[static_cast<std::size_t>(Drop::too_big)]; };
  const auto check_told = [&](const Bytes& packet, std::uint32_t mtu) {
    const auto before = too_big();
    const auto told = come(packet);
    REQUIRE(told.drop == Drop::none);
    CHECK(too_big() == before + 1);
    CHECK(told.port == uplink_port);
    // By the way that the machine's own packets take, from where it came to.
    CHECK(v6_at(told.frame, 14 + 8) == host.nat_underlay(1));
    CHECK(v6_at(told.frame, 14 + 24) == v6_at(out.frame, 14 + 24));
    CHECK(told.frame[14 + 7] == 64);
    const auto error = inner(told);
    CHECK(is_right(error));
    CHECK(source_address(error) == "192.0.2.1");
    CHECK(destination_address(error) == server);
    CHECK(error[20] == 3);
    CHECK(error[21] == 4);
    CHECK(get16(error, 26) == mtu);
    CHECK(quote_of(error) == slice(packet, 0, 576 - 28));
  };
  check_told(answer(1481, dont_fragment), 1480);
  check_told(answer(1500, 0), 1480);  // a worker cuts nothing
  check_told(answer(1476, more_fragments), 1472);
  // No more than a machine may cause in a while.
  CHECK(come(answer(1500, dont_fragment)).drop == Drop::too_big);
  ++host.now;
  check_told(answer(1500, dont_fragment), 1480);
  // Of a fragment behind the first one nobody is told.
  CHECK(come(answer(1496, 10)).drop == Drop::too_big);
  CHECK(come(answer(1480, dont_fragment)).port == first_machine_port + 1);
  // IPv4 to a machine with IPv4 does not grow.
  const auto v4_port = source_port_of(inner(host.from_machine(1, udp_v4("10.0.0.1", server))));
  CHECK(come(checksummed(v4(udp(53, v4_port, Bytes(1472)), {server, "192.0.2.1"}))).ip().size() == 1500);
}

TEST_CASE("an error that tells an MTU says no more than the machine's own link has") {
  PublicHost host;
  host.change({nat("m1", 1024, 2047)});
  const auto out =
      inner(host.from_machine(1, checksummed(v6(udp(5000, 53, Bytes(100)), {"fd00::1", "64:ff9b::c633:6407"}))));
  const auto told = [&](std::uint16_t mtu) {
    const auto error =
        checksummed(v4(icmp_error(3, 4, mtu, slice(out, 0, 28)), {"203.0.113.1", "192.0.2.1", protocol_icmp}));
    const auto heard = host.answer(host.nat_underlay(1), error).ip();
    CHECK(heard[40] == 2);
    return get16(heard, 46);
  };
  CHECK(told(1400) == 1420);
  CHECK(told(9000) == 1500);
}

TEST_CASE("who claims to be a machine of this host gets nothing past that machine's rules") {
  PublicHost host;
  host.add(2, "10.0.0.2");
  host.change({VirtualIp{"m2", ip("192.0.2.50"), {}}, nat("m1", 1024, 2047), FirewallRuleKey{"m1", "all-v4"}});
  // As if m1 had asked.
  CHECK(host.answer(host.virtual_underlay(2), tcp_to("10.0.0.1", 5000, "192.0.2.50", 80)).ip() ==
        tcp_to("10.0.0.1", 5000, "10.0.0.2", 80));
  CHECK(host.from_machine(2, tcp_to("10.0.0.2", 80, "10.0.0.1", 5000, tcp_syn | tcp_ack)).drop == Drop::ingress_rule);
  CHECK(host.answer(host.nat_underlay(1), echo_to("10.0.0.1", "192.0.2.1", 8, 5)).drop == Drop::ingress_rule);
}

TEST_CASE("a socket that has two ports since its NAT was told anew keeps each one until its own flows end") {
  PublicHost host;
  auto told = nat("m1", 1000, 1003);
  told.ports = Nat::Ports::shared;
  host.change({told});
  const auto port_of = [&](std::uint16_t socket, std::string_view to) {
    const auto went = host.from_machine(1, udp_to("10.0.0.1", socket, to, 53));
    return went.drop == Drop::none ? source_port_of(inner(went)) : std::uint16_t{0};
  };
  // Others take the socket's port towards the second server, so that it has another one there.
  const auto first = port_of(5000, "198.51.100.1");
  REQUIRE(first != 0);
  std::uint16_t second = first;
  std::string to;
  for (std::uint16_t socket = 6000; second == first && socket < 6100; ++socket) {
    to = "203.0.113." + std::to_string(socket - 5999);
    port_of(socket, to);
    second = port_of(5000, to);
  }
  REQUIRE(second != first);
  REQUIRE(second != 0);
  const auto pass = [&](Tick seconds) {
    for (Tick i = 0; i < seconds; ++i) {
      ++host.now;
      host.worker.process({}, std::uint64_t{host.now} * 1'000'000'000);
    }
  };
  for (int i = 0; i < 13; ++i) {  // until the others' flows have ended
    pass(10);
    CHECK(port_of(5000, "198.51.100.1") == first);
    CHECK(port_of(5000, to) == second);
  }
  REQUIRE(host.worker.flows().size() == 2);
  told.ports = Nat::Ports::own;
  told.filtering = Nat::Filtering::endpoint_independent;
  host.change({told});
  for (const auto port : {first, second})
    CHECK(host.answer(host.nat_underlay(1), udp_to("203.0.113.200", port, "192.0.2.1", port)).drop == Drop::none);
  // The outsider's flows end; the machine's go on.
  for (int i = 0; i < 13; ++i) {
    pass(10);
    CHECK(port_of(5000, "198.51.100.1") == first);
    CHECK(port_of(5000, to) == second);
  }
  REQUIRE(host.worker.flows().size() == 2);
  for (std::uint16_t socket = 7000; socket < 7008; ++socket) {
    const auto port = port_of(socket, "198.51.100.99");
    CHECK(port != first);
    CHECK(port != second);
  }
  pass(400);
  CHECK(host.worker.flows().size() == 0);
  std::set<std::uint16_t> all;
  for (std::uint16_t socket = 8000; socket < 8004; ++socket) all.insert(port_of(socket, "198.51.100.99"));
  CHECK(all.size() == 4);
  CHECK(all.count(0) == 0);
}
