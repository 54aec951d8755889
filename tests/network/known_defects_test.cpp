// SPDX-License-Identifier: Apache-2.0
// Defects of the dataplane that this one replaces, and that no other test here is about.
//
// All of them, by their numbers in the list that we began with, and the tests that guard against them (without a file: here):
//
//  1 an egress rule of the receiver ends the process     "an egress rule of the receiver says nothing …"
//  2 a boot request ends the process                     dhcpv4_test "a machine whose boot server is IPv6, or that has none …";
//                                                        dhcpv6_test "firmware is told the loader, and the loader its URL (RFC 5970)"
//  3 a machine's MAC is told to the wire                 "a machine that changes its MAC is heard by nobody else"
//  4 NAT drops though ports are free                     nat_ports_test "an inside whose port is taken towards an outside gets another one there"
//  5 one machine uses up a NAT at the cost of all        worker_translation_test "ports come back when their flows end, and a range that is used up …",
//                                                        "a flow that is refused gets a port as soon as one is free …";
//                                                        worker_gateway_test "a machine that floods the table leaves room for others"
//  6 fragments and IPv4 options are damaged by NAT       "options of IPv4 pass NAT as they are …"; worker_translation_test "NAT gives a machine's
//                                                        flows ports …" (pieces of a datagram follow the first one)
//  7 a plain IPv6 flow counts as one of a NAT            "a plain IPv6 flow has nothing of the translated ones before it"
//  8 two load balancers of one id                        "two load balancers are two …"
//  9 prefixes of IPv6 in rules are read back cut         "prefixes of IPv6 in rules keep their length"
// 10 hop limits, SCTP, GRE, extension headers, ICMP      worker_test "machines of one host reach each other …", "what cannot be forwarded is told
//    errors, spoofed sources                             apart", "a machine sends only from its own addresses and MAC"; worker_translation_test "SCTP
//                                                        passes a NAT …", "a virtual IP stands for …"; headers_test "IPv4 options and IPv6 extension
//                                                        headers are walked"; worker_gateway_test "who sends in vain hears why …"
// 11 aging stops the worker                              flow_table_test "a call looks at no more than its budget …"
// 12 (the list has none)
// 13 a capture never stops                               capture_test "a capture ends by itself at its limits", "captures start and stop while workers forward …"
// 14 IPv6 is not metered and has one uplink              "rates hold for IPv6 too"; worker_test "two uplinks share the flows by weight …"
// 15 network 0 goes, and with it all neighbours' NATs    desired_test "each wrong field is named, and nothing changes" (there is no network 0);
//                                                        "a network that goes leaves the neighbours' NATs of others"
// 16 answers of a service to ports below 1024            "answers of a virtual service to ports that it never gives reach nobody"
// 17 frames are captured after they were sent            capture_test "a frame is captured as it came and as it left …"
// 18 rings with several writers                          capture_test "captures start and stop while workers forward …"; workers_test "workers on threads
//                                                        hand over what belongs to others …"
// 19 one of two NATs on an address goes                  "one of two NATs on an address goes, and the other one goes on"
// 20 headers are read past the end of a packet           headers_test "any bytes are read within their bounds"; worker_hostile_test "a piece of a packet that a
//                                                        card shall cut …"; worker_test "whatever machines and the wire send …"; the fuzz target dataplane
// 21 DHCPv6 options are read past their end; boot        dhcpv6_test "options that are cut are not read"; dhcpv4_test "nobody else is told to boot from the network"
//    settings are of another machine
// 22 checksums in ICMP errors through NAT                icmp_quote_test; worker_translation_test "an ICMP error about a translated packet is translated …"
// 23 a load balancer that fails leaves something behind  desired_test "a batch that fails leaves no trace, whatever was in it"
// 24 DHCPv6 rapid commit, renew and rebind               dhcpv6_test "with rapid commit it has it at once", "renew and rebind extend …"
// 25 silent TCP moves to another target                  "a connection that was silent keeps its target when others come"
// 26 control is serial, open to all, and lists are cut   zmq/access_test; dataplane_test "a long list comes in pages, in the order of keys"
// 27 one worker; cards have to know packets' types       workers_test; headers_test "what is read at once is what the walk would have read"
// 28 a virtual IP beside a NAT; times in captures;       worker_translation_test "NAT gives a machine's flows ports …" (one that goes …); capture_test "a frame
//    the rest is code that is not here                   is captured as it came and as it left, with its port and the time"
#include <doctest/doctest.h>

#include <map>
#include <string>

#include "hosts.hpp"
#include "ironcore/network/configuration_json.hpp"
#include "ironcore/network/dataplane.hpp"
#include "ironcore/sim/ports.hpp"

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

TEST_CASE("a machine that changes its MAC is heard by nobody else") {
  SystemClock clock;
  NullLog log;
  sim::Ports ports(clock);
  DataplaneOptions options;
  options.underlay = prefix("2001:db8:0:1::/64");
  options.uplinks = {{"uplink", router, 1}};
  options.connections = 100;
  options.maglev_size = 251;
  options.announces = false;
  const auto dataplane = Dataplane::create(options, ports, clock, log).value();
  for (const auto* name : {"uplink", "port-a", "port-b"})
    REQUIRE(ports.open({name, std::string("memory:") + name, 1600, std::nullopt}).has_value());
  const std::vector<Change> machines{interface("a", "10.0.0.1"), interface("b", "10.0.0.2")};
  REQUIRE(dataplane->apply(machines).has_value());
  for (const std::uint8_t number : {std::uint8_t{1}, std::uint8_t{2}}) {
    const auto mac = bytes_of(machine_mac(number));
    const Bytes question = Bytes{0, 1, 8, 0, 6, 4, 0, 1} + mac + Bytes{10, 0, 0, 1} + Bytes(6) + Bytes{169, 254, 0, 1};
    REQUIRE(ports.inject("port-a", Bytes(6, 0xff) + mac + Bytes{8, 6} + question));
    for (int i = 0; i < 10; ++i) {
      dataplane->step(0);
      dataplane->tend();
    }
    CHECK(ports.take("port-a").size() == 1);
    CHECK(dataplane->interface_counters().at(0).heard_mac == machine_mac(number));
    CHECK(ports.take("uplink").empty());
    CHECK(ports.take("port-b").empty());
  }
}

TEST_CASE("a plain IPv6 flow has nothing of the translated ones before it") {
  PublicHost host;
  host.change({nat("m1", 1024, 2047), VirtualIp{"m2", ip("2001:db8:50::2"), {}}});
  const auto plain = [](std::string_view from, std::string_view to, std::uint16_t port) {
    return checksummed(v6(udp(port, 53, {1, 2}), {from, to}));
  };
  // Whatever a worker has done before, and in whatever place of its table a flow is.
  for (std::uint16_t port = 1; port <= 20; ++port) {
    CHECK(host.from_machine(1, udp_of("10.0.0.1", port, server, 53)).drop == Drop::none);          // NAT
    CHECK(host.from_machine(1, plain("fd00::1", "64:ff9b::c633:6407", port)).drop == Drop::none);  // NAT64
    CHECK(host.from_machine(2, plain("fd00::2", "2001:db8:9::9", port)).drop == Drop::none);       // virtual IP
    const auto packet = plain("fd00::1", "fd00::2", port);
    CHECK(host.from_machine(1, packet).ip() == passed_on(packet));
    CHECK(host.from_machine(1, packet).ip() == passed_on(packet));
    if (port == 10) host.now += 200;  // what is new then takes the places of what was
    for (int i = 0; i < 50; ++i) host.worker.process({}, host.now * second);
  }
  std::size_t plain_flows = 0;
  auto& flows = const_cast<FlowTable&>(host.worker.flows());  // `visit` lets who asks change them
  flows.visit(0, flows.capacity(), [&](Connection& connection) {
    const auto& forward = connection.side(Direction::forward);
    const auto& reverse = connection.side(Direction::reverse);
    const bool is_plain = forward.key.is_v6() && forward.action.verdict == Verdict::machine;
    if (!is_plain) return;
    ++plain_flows;
    CHECK_FALSE(connection.state.holds_port);
    CHECK_FALSE(forward.action.rewrites);
    CHECK_FALSE(reverse.action.rewrites);
    CHECK_FALSE(forward.action.translates_family);
    CHECK_FALSE(forward.action.is_public);
    CHECK_FALSE(connection.state.is_one_sided);
    CHECK(reverse.key == forward.key.reversed(reverse.key.scope()));
  });
  CHECK(plain_flows == 10);
  // And what ends the NAT does not end it.
  const auto ended = host.worker.slow_path_counts().ended.get();
  const auto packet = plain("fd00::1", "fd00::2", 20);
  host.change({NatKey{"m1"}});
  CHECK(host.from_machine(1, packet).ip() == passed_on(packet));
  CHECK(host.worker.slow_path_counts().ended.get() == ended);
}

TEST_CASE("a network that goes leaves the neighbours' NATs of others") {
  PublicHost host;
  host.add(9, "10.5.0.9", 500);
  const auto neighbour = ip("2001:db8:0:77:d000::1");
  host.change({nat("m1", 1024, 2047), NeighbourNat{vni(100), ip("192.0.2.1"), 4096, 8191, neighbour}});
  const auto reaches_neighbour = [&] {
    const auto went = host.answer(host.nat_underlay("m1"), udp_of(server, 53, "192.0.2.1", 5000));
    return went.drop == Drop::none && load_v6(went.frame.data() + 38) == neighbour;
  };
  CHECK(reaches_neighbour());
  host.change({InterfaceKey{"m9"}});
  CHECK(reaches_neighbour());
  CHECK(host.desired.neighbour_nats().size() == 1);
}

TEST_CASE("answers of a virtual service to ports that it never gives reach nobody") {
  constexpr const char* service = "2001:db8:5::53";
  PublicHost host;
  for (const auto protocol : {protocol_udp, protocol_tcp, protocol_sctp})
    host.change({virtual_service("s" + std::to_string(protocol), "169.254.1.53", 53, protocol)});
  const auto underlay_of = [&](std::uint8_t protocol) {
    return *host.desired.virtual_services().at({"s" + std::to_string(protocol)}).underlay;
  };
  const auto answer = [&](std::uint8_t protocol, std::uint16_t port) {
    const auto to = underlay_of(protocol).to_text();
    const auto transport = protocol == protocol_udp   ? udp(5353, port, {4, 5})
                           : protocol == protocol_tcp ? tcp(5353, port, tcp_syn | tcp_ack)
                                                      : sctp(5353, port);
    const auto packet = checksummed(v6(transport, {service, to, protocol}));
    return host.from_wire(ethernet(port_mac(uplink_port), router, packet)).drop;
  };
  const auto check_all = [&] {
    for (const auto protocol : {protocol_udp, protocol_tcp, protocol_sctp}) {
      std::map<Drop, int> drops;
      for (std::uint16_t port = 0; port < 1024; ++port) ++drops[answer(protocol, port)];
      CHECK(drops == std::map<Drop, int>{{Drop::nat_inside, 1024}});
      CHECK(answer(protocol, 65'535) == Drop::nat_inside);
    }
  };
  check_all();
  CHECK(host.worker.flows().size() == 0);
  // A flow that is there stays what it was, and still gets its answers.
  const auto question = checksummed(v4(udp(1000, 53, {1}), {.source = "10.0.0.1", .destination = "169.254.1.53"}));
  const auto asked = host.from_machine(1, question);
  REQUIRE(asked.drop == Drop::none);
  const auto port = get16(asked.ip(), 40);
  CHECK(port >= 1024);
  check_all();
  CHECK(host.worker.flows().size() == 1);
  CHECK(answer(protocol_udp, port) == Drop::none);
}

TEST_CASE("a connection that was silent keeps its target when others come") {
  PublicHost host;
  const auto target = [](int number) { return ip("2001:db8:0:2" + std::to_string(number) + "::1"); };
  host.change({balancer("lb", "192.0.2.8"), LoadBalancerTarget{"lb", target(1), 1}});
  const auto packet = [&](std::uint16_t port, std::uint8_t flags) {
    const auto bytes = checksummed(v4(tcp(port, 80, flags), {server, "192.0.2.8", protocol_tcp}));
    return host.answer(*host.desired.load_balancers().at({"lb"}).underlay, bytes);
  };
  const auto chosen = [&](std::uint16_t port, std::uint8_t flags) {
    const auto went = packet(port, flags);
    REQUIRE(went.drop == Drop::none);
    return load_v6(went.frame.data() + 38);
  };
  for (std::uint16_t port = 1; port <= 50; ++port) {
    chosen(port, tcp_syn);
    CHECK(chosen(port, tcp_ack) == target(1));
  }
  for (int number = 2; number <= 5; ++number) host.change({LoadBalancerTarget{"lb", target(number), 1}});
  host.now += 3600;
  for (int i = 0; i < 100; ++i) host.worker.process({}, host.now * second);
  for (std::uint16_t port = 1; port <= 50; ++port) CHECK(chosen(port, tcp_ack) == target(1));
  int moved = 0;
  for (std::uint16_t port = 100; port < 150; ++port) moved += chosen(port, tcp_syn) == target(1) ? 0 : 1;
  CHECK(moved > 20);
}
