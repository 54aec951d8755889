// SPDX-License-Identifier: Apache-2.0
// Load balancers: flows go to targets, which answer by themselves.
#include <doctest/doctest.h>

#include <map>
#include <string>

#include "hosts.hpp"

using namespace ironcore;
using namespace ironcore::network;
using namespace ironcore::network::dataplane;
using namespace ironcore::network::tests;
using namespace ironcore::tests;

namespace {

constexpr const char* address = "192.0.2.9";

IpAddress target_at(int number) {
  return other_host(50 + number);
}

struct Balancing : Host {
  explicit Balancing(std::uint8_t number = 1) : Host(number) {
    change({balancer("lb", address), route("0.0.0.0/0", {other_host().to_text()})});
  }
  void targets(int count, int from = 1) {
    for (int i = from; i < from + count; ++i) change({LoadBalancerTarget{"lb", target_at(i), 1}});
  }
  IpAddress balancer_underlay() const { return *desired.load_balancers().at({"lb"}).underlay; }
  Went client(const Bytes& packet) { return from_wire(wire_frame(other_host(), balancer_underlay(), packet)); }
};

Bytes connect_from(std::uint16_t port, std::uint16_t to_port = 80, std::uint8_t flags = tcp_syn,
                   std::string_view from = "198.51.100.7") {
  return checksummed(v4(tcp(port, to_port, flags), {from, address, protocol_tcp}));
}
IpAddress outer_destination(const Went& went) {
  REQUIRE(went.drop == Drop::none);
  REQUIRE(went.port == uplink_port);
  return load_v6(went.frame.data() + 38);
}

}  // namespace

TEST_CASE("connections are shared among the targets, and each keeps its own") {
  Balancing host;
  host.targets(4);
  std::map<IpAddress, int> shares;
  std::map<std::uint16_t, IpAddress> chosen;
  for (std::uint16_t port = 1000; port < 1400; ++port) {
    const auto went = host.client(connect_from(port));
    CHECK(slice(went.frame, 54) == connect_from(port));
    CHECK(load_v6(went.frame.data() + 22) == host.balancer_underlay());
    chosen.emplace(port, outer_destination(went));
    ++shares[chosen.at(port)];
  }
  CHECK(shares.size() == 4);
  for (const auto& [target, count] : shares) CHECK(count > 60);
  SUBCASE("another host chooses the same") {
    Balancing other(2);
    other.targets(4);
    for (const auto& [port, target] : chosen) CHECK(outer_destination(other.client(connect_from(port))) == target);
  }
  SUBCASE("a new target changes nothing for those that are there") {
    host.targets(4, 5);
    for (const auto& [port, target] : chosen)
      CHECK(outer_destination(host.client(connect_from(port, 80, tcp_ack))) == target);
    std::map<IpAddress, int> now;
    for (std::uint16_t port = 2000; port < 2400; ++port) ++now[outer_destination(host.client(connect_from(port)))];
    CHECK(now.size() == 8);
  }
  SUBCASE("one that drains keeps what it has and gets no more") {
    host.change({LoadBalancerTarget{"lb", target_at(1), 0}});
    for (const auto& [port, target] : chosen)
      CHECK(outer_destination(host.client(connect_from(port, 80, tcp_ack))) == target);
    for (std::uint16_t port = 2000; port < 2200; ++port)
      CHECK(outer_destination(host.client(connect_from(port))) != target_at(1));
  }
  SUBCASE("one that is gone loses its connections, the others keep theirs") {
    host.change({LoadBalancerTargetKey{"lb", target_at(1)}});
    for (const auto& [port, target] : chosen) {
      const auto now = outer_destination(host.client(connect_from(port, 80, tcp_ack)));
      if (target == target_at(1))
        CHECK(now != target);
      else
        CHECK(now == target);
    }
  }
}

TEST_CASE("only what the load balancer serves is balanced, and its address answers a ping") {
  Balancing host;
  CHECK(host.client(connect_from(1000)).drop == Drop::target);
  host.targets(1);
  CHECK(host.client(connect_from(1000, 81)).drop == Drop::service);
  CHECK(host.client(checksummed(v4(udp(1, 80), {"198.51.100.7", address}))).drop == Drop::service);
  CHECK(host.client(checksummed(v4(tcp(1, 80, tcp_syn), {"198.51.100.7", "192.0.2.10", protocol_tcp}))).drop ==
        Drop::destination);
  auto all = balancer("lb", address);
  all.services = {{protocol_tcp, 0, 0xffff}, {protocol_udp, 1000, 2000}, {protocol_sctp, 5, 5}};
  host.change({all});
  CHECK(host.client(connect_from(1000, 81)).drop == Drop::none);
  CHECK(host.client(checksummed(v4(udp(1, 2000), {"198.51.100.7", address}))).drop == Drop::none);
  CHECK(host.client(checksummed(v4(udp(1, 2001), {"198.51.100.7", address}))).drop == Drop::service);
  CHECK(host.client(v4(sctp(1, 5), {"198.51.100.7", address, protocol_sctp})).drop == Drop::none);

  const auto ping = checksummed(v4(icmp(8, 0, 5, {1, 2, 3}), {"198.51.100.7", address, protocol_icmp}));
  const auto pong = host.client(ping);
  CHECK(outer_destination(pong) == other_host());
  CHECK(load_v6(pong.frame.data() + 22) == host.balancer_underlay());
  CHECK(slice(pong.frame, 54) == checksummed(v4(icmp(0, 0, 5, {1, 2, 3}), {address, "198.51.100.7", protocol_icmp})));
}

TEST_CASE("a target on the same host gets its packets without a wire, and answers the client directly") {
  Balancing host;
  host.add(1, "10.0.0.1");
  host.change({InterfacePrefix{"m1", prefix("192.0.2.9/32"), InterfacePrefix::Use::load_balancer, {}}});
  const auto underlay = *host.desired.prefixes().begin()->second.underlay;
  host.change({LoadBalancerTarget{"lb", underlay, 1}});
  const auto in = host.client(connect_from(1000));
  CHECK(in.drop == Drop::none);
  CHECK(in.port == first_machine_port + 1);
  CHECK(in.ip() == connect_from(1000));
  const auto answer = checksummed(v4(tcp(80, 1000, tcp_syn | tcp_ack), {address, "198.51.100.7", protocol_tcp}));
  const auto out = host.from_machine(1, answer);
  CHECK(outer_destination(out) == other_host());
  CHECK(slice(out.frame, 54) == passed_on(answer));
  SUBCASE("its rules hold") {
    host.change({FirewallRuleKey{"m1", "all-v4"}});
    CHECK(host.client(connect_from(1001)).drop == Drop::ingress_rule);
  }
  SUBCASE("a machine of the network reaches it too") {
    host.add(2, "10.0.0.2");
    const auto packet = connect_from(5, 80, tcp_syn, "10.0.0.2");
    const auto there = host.from_machine(2, packet);
    CHECK(there.port == first_machine_port + 1);
    CHECK(there.ip() == passed_on(packet));
    const auto back = checksummed(v4(tcp(80, 5, tcp_syn | tcp_ack), {address, "10.0.0.2", protocol_tcp}));
    const auto here = host.from_machine(1, back);
    CHECK(here.port == first_machine_port + 2);
    CHECK(here.ip() == passed_on(back));
    const auto ping = checksummed(v4(icmp(8, 0, 5), {"10.0.0.2", address, protocol_icmp}));
    const auto pong = host.from_machine(2, ping);
    CHECK(pong.port == first_machine_port + 2);
    CHECK(pong.drop == Drop::none);
    CHECK(source_address(pong.ip()) == address);
  }
}

TEST_CASE("load balancers that are targets of each other do not go round for ever") {
  Balancing host;
  host.change({LoadBalancerTarget{"lb", host.balancer_underlay(), 1}});
  CHECK(host.client(connect_from(1000)).drop == Drop::route);
}

TEST_CASE("what was balanced is forgotten when it ends, and an open connection is remembered for long") {
  Balancing host;
  host.targets(1);
  const auto after = [&](Tick seconds) {
    host.now += seconds;
    for (int i = 0; i < 600; ++i) host.worker.process({}, host.now * second);
    return host.worker.flows().size();
  };
  host.client(connect_from(1000));
  host.client(connect_from(1000, 80, tcp_ack));
  CHECK(after(7000) == 1);
  CHECK(after(1000) == 0);
  host.client(connect_from(1000));
  host.client(connect_from(1000, 80, tcp_ack));
  host.client(connect_from(1000, 80, tcp_fin | tcp_ack));
  CHECK(after(200) == 1);
  CHECK(after(100) == 0);
}
