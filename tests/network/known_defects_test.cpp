// SPDX-License-Identifier: Apache-2.0
// Defects of the dataplane that this one replaces, and that no other test here is about.
#include <doctest/doctest.h>

#include <string>

#include "hosts.hpp"
#include "ironcore/network/configuration_json.hpp"

using namespace ironcore;
using namespace ironcore::network;
using namespace ironcore::network::tests;

namespace {

constexpr const char* other_host = "2001:db8:0:99:d000::1";
constexpr const char* server = "198.51.100.7";

/// Three machines with a way to the public.
struct PublicHost : Host {
  PublicHost() : Host(1) {
    for (std::uint8_t i = 1; i <= 3; ++i) add(i, "10.0.0." + std::to_string(i), 100, "fd00::" + std::to_string(i));
    change({route("0.0.0.0/0", {other_host}), route("::/0", {other_host})});
  }
  Went answer(const IpAddress& to, const Bytes& packet) { return from_wire(wire_frame(ip(other_host), to, packet)); }
  IpAddress nat_underlay(const std::string& id) const { return *desired.nats().at({id}).underlay; }
};

Bytes udp_of(std::string_view from, std::uint16_t from_port, std::string_view to, std::uint16_t to_port,
             const Bytes& options = {}) {
  V4 with{.source = from, .destination = to};
  with.options = options;
  return checksummed(v4(udp(from_port, to_port, {1, 2, 3, 4}), with));
}

}  // namespace

TEST_CASE("an egress rule of the receiver says nothing about what comes to it, and harms nobody") {
  PublicHost host;
  auto strict = rule("m2", "egress");
  strict.direction = FirewallRule::Direction::egress;
  strict.destination = prefix("203.0.113.0/24");
  host.change({strict});
  CHECK(host.from_machine(1, udp_of("10.0.0.1", 1, "10.0.0.2", 53)).drop == Drop::none);
  CHECK(host.answer(host.underlay_of(2), udp_of(server, 1, "10.0.0.2", 53)).drop == Drop::none);
  CHECK(host.from_machine(2, udp_of("10.0.0.2", 9, "10.0.0.3", 53)).drop == Drop::egress_rule);
}

TEST_CASE("options of IPv4 pass NAT as they are, both ways, and all checksums are right") {
  PublicHost host;
  host.change({nat("m1", 1024, 2047)});
  const Bytes options{7, 7, 4, 1, 2, 3, 4, 0};  // a record route
  const auto out = host.from_machine(1, udp_of("10.0.0.1", 5000, server, 53, options));
  REQUIRE(out.drop == Drop::none);
  const auto inner = slice(out.frame, 54);
  CHECK(is_right(inner));
  CHECK(slice(inner, 20, 28) == options);
  CHECK(source_address(inner) == "192.0.2.1");
  const auto port = get16(inner, 28);
  CHECK(port >= 1024);
  CHECK(port <= 2047);
  const auto back = host.answer(host.nat_underlay("m1"), udp_of(server, 53, "192.0.2.1", port, options));
  REQUIRE(back.drop == Drop::none);
  CHECK(back.ip() == udp_of(server, 53, "10.0.0.1", 5000, options));
}

TEST_CASE("prefixes of IPv6 in rules keep their length") {
  PublicHost host;
  auto narrow = rule("m2", "narrow");
  narrow.source = prefix("fd00::1/128");
  narrow.destination = prefix("fd00::/65");
  host.change({narrow});
  const auto& told = host.desired.rules().at({"m2", "narrow"});
  CHECK(told.source == narrow.source);
  CHECK(told.destination == narrow.destination);
  CHECK(to_json(Change(told)).find("\"fd00::/65\"") != std::string::npos);
  host.change({FirewallRuleKey{"m2", "all-v6"}});
  const auto to = [](const char* from) { return checksummed(v6(udp(1, 53), {from, "fd00::2"})); };
  CHECK(host.from_machine(1, to("fd00::1")).drop == Drop::none);
  CHECK(host.from_machine(3, to("fd00::3")).drop == Drop::ingress_rule);
}

TEST_CASE("rates hold for IPv6 too") {
  PublicHost host;
  auto slow = host.desired.interfaces().at({"m1"});
  slow.total = {8000, 1000};
  host.change({slow});
  std::size_t passed = 0;
  for (int i = 0; i < 300; ++i)
    passed += host.from_machine(1, checksummed(v6(udp(1, 53, Bytes(952)), {"fd00::1", "fd00::2"}))).drop == Drop::none;
  CHECK(passed == 262);  // of 1,000 bytes each: what may come at once is twice 128 KiB
  CHECK(host.worker.packets()[static_cast<std::size_t>(Drop::rate)] == 38);
}

TEST_CASE("one of two NATs on an address goes, and the other one goes on") {
  PublicHost host;
  auto open = nat("m2", 2048, 4095);
  open.filtering = Nat::Filtering::endpoint_independent;
  host.change({nat("m1", 1024, 2047), open});
  const auto out = host.from_machine(2, udp_of("10.0.0.2", 5000, server, 53));
  REQUIRE(out.drop == Drop::none);
  const auto port = get16(slice(out.frame, 54), 20);
  const auto underlay = host.nat_underlay("m2");
  host.change({NatKey{"m1"}});
  CHECK(host.answer(underlay, udp_of(server, 53, "192.0.2.1", port)).ip() == udp_of(server, 53, "10.0.0.2", 5000));
  // And what machines of this host send to its ports still gets there.
  const auto inside = host.from_machine(3, udp_of("10.0.0.3", 7, "192.0.2.1", port));
  CHECK(inside.drop == Drop::none);
  const auto echo = checksummed(v4(icmp(8, 0, 77, {1, 2}), {server, "192.0.2.1", protocol_icmp}));
  CHECK(host.answer(underlay, echo).drop == Drop::none);
}

TEST_CASE("two load balancers are two, and when one goes the other one is still there") {
  PublicHost host;
  host.change({balancer("a", "192.0.2.8"), balancer("b", "192.0.2.9")});
  CHECK(host.desired.load_balancers().at({"a"}).underlay != host.desired.load_balancers().at({"b"}).underlay);
  host.change({LoadBalancerKey{"a"}});
  CHECK(host.desired.load_balancers().size() == 1);
  CHECK(host.from_machine(1, checksummed(v4(tcp(1, 80, tcp_syn), {"10.0.0.1", "192.0.2.9", protocol_tcp}))).drop ==
        Drop::target);
}
