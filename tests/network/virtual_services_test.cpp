// SPDX-License-Identifier: Apache-2.0
// Machines talk IPv4 to virtual services, which are in the underlay and speak IPv6.
#include <doctest/doctest.h>

#include <set>
#include <string>

#include "hosts.hpp"

using namespace ironcore;
using namespace ironcore::network;
using namespace ironcore::network::dataplane;
using namespace ironcore::network::tests;
using namespace ironcore::tests;

namespace {

constexpr const char* virtual_address = "169.254.1.53";
constexpr const char* service_address = "2001:db8:5::53";

VirtualService dns() {
  VirtualService out;
  out.id = "dns";
  out.protocol = protocol_udp;
  out.address = ip(virtual_address);
  out.port = 53;
  out.service_address = ip(service_address);
  out.service_port = 5353;
  return out;
}

struct ServedHost : Host {
  ServedHost() : Host(1) {
    add(1, "10.0.0.1");
    change({dns()});
  }
  std::string underlay() const { return desired.virtual_services().at({"dns"}).underlay->to_text(); }
  Went plain(const Bytes& packet) { return from_wire(ethernet(port_mac(uplink_port), router, packet)); }
};

/// What left by the uplink, without an outer header.
Bytes sent(const Went& went) {
  REQUIRE(went.drop == Drop::none);
  REQUIRE(went.port == uplink_port);
  CHECK(slice(went.frame, 0, 14) == bytes_of(router) + bytes_of(port_mac(uplink_port)) + Bytes{0x86, 0xdd});
  return went.ip();
}
Bytes question(std::string_view from, std::uint16_t port, const Bytes& payload = {1, 2, 3}) {
  return checksummed(v4(udp(port, 53, payload), {.source = from, .destination = virtual_address}));
}
Bytes answer(std::string_view to, std::uint16_t port, const Bytes& payload = {4, 5}) {
  return checksummed(v4(udp(53, port, payload), {.source = virtual_address, .destination = to}));
}
Bytes v6_udp(std::string_view from, std::uint16_t from_port, std::string_view to, std::uint16_t to_port,
             const Bytes& payload) {
  return checksummed(v6(udp(from_port, to_port, payload), {.source = from, .destination = to}));
}
std::uint16_t port_in(const Bytes& packet) {
  return get16(packet, 40);
}

}  // namespace

TEST_CASE("a machine asks a virtual service by IPv4, which is asked by IPv6, and its answer comes back") {
  ServedHost host;
  const auto out = sent(host.from_machine(1, question("10.0.0.1", 1000)));
  const auto port = port_in(out);
  CHECK(port >= 1024);
  CHECK(out == passed_on(v6_udp(host.underlay(), port, service_address, 5353, {1, 2, 3})));
  const auto in = host.plain(v6_udp(service_address, 5353, host.underlay(), port, {4, 5}));
  CHECK(in.port == first_machine_port + 1);
  auto expected = answer("10.0.0.1", 1000);
  put16(expected, 4, get16(in.ip(), 4));  // whatever identifies it
  put16(expected, 6, 0);
  CHECK(in.ip() == checksummed(expected));
  CHECK(host.worker.flows().size() == 1);
  CHECK(port_in(sent(host.from_machine(1, question("10.0.0.1", 1000)))) == port);
  CHECK(host.worker.flows().size() == 1);

  SUBCASE("no rule for ingress is needed, and those for egress hold") {
    host.change({FirewallRuleKey{"m1", "all-v4"}, FirewallRuleKey{"m1", "all-v6"}});
    CHECK(host.plain(v6_udp(service_address, 5353, host.underlay(), port, {6})).drop == Drop::none);
    auto no = rule("m1", "no-dns");
    no.direction = FirewallRule::Direction::egress;
    no.action = FirewallRule::Action::deny;
    no.destination = prefix("169.254.1.53/32");
    host.change({no});
    CHECK(host.from_machine(1, question("10.0.0.1", 1000)).drop == Drop::egress_rule);
    CHECK(host.plain(v6_udp(service_address, 5353, host.underlay(), port, {6})).drop == Drop::nat_inside);
  }
  SUBCASE("UDP without a checksum gets one; pieces stay pieces") {
    auto without = question("10.0.0.1", 1000);
    put16(without, 26, 0);
    CHECK(sent(host.from_machine(1, without)) ==
          passed_on(v6_udp(host.underlay(), port, service_address, 5353, {1, 2, 3})));
    auto first = v4(udp(1000, 53, Bytes(8)), {"10.0.0.1", virtual_address, 17, 64, 0x2000});
    put16(first, 26, 0x1234);
    const auto piece = sent(host.from_machine(1, first));
    CHECK(piece[6] == 44);
    CHECK(get16(piece, 48) == port);
    const auto later = sent(host.from_machine(1, v4(Bytes(24, 7), {"10.0.0.1", virtual_address, 17, 64, 2})));
    CHECK(destination_address(later) == service_address);
    CHECK(slice(later, 48) == Bytes(24, 7));
  }
  SUBCASE("answers may be longer by what the translation takes away, and no more") {
    const auto of_length = [&](std::size_t length) {
      return host.plain(v6_udp(service_address, 5353, host.underlay(), port, Bytes(length - 48)));
    };
    CHECK(of_length(1520).ip().size() == 1500);
    CHECK(of_length(1521).drop == Drop::too_big);
  }
  SUBCASE("nobody else is heard, and nothing else") {
    CHECK(host.plain(v6_udp("2001:db8:5::54", 5353, host.underlay(), port, {6})).drop == Drop::nat_inside);
    CHECK(host.plain(v6_udp(service_address, 5354, host.underlay(), port, {6})).drop == Drop::nat_inside);
    const auto other = static_cast<std::uint16_t>(port ^ 1);
    CHECK(host.plain(v6_udp(service_address, 5353, host.underlay(), other, {6})).drop == Drop::nat_inside);
    CHECK(host.plain(v6_udp(service_address, 5353, host.underlay(), 80, {6})).drop == Drop::nat_inside);
    CHECK(host.plain(v6_udp(service_address, 5353, host.underlay_of(1).to_text(), port, {6})).drop == Drop::outer);
    CHECK(host.plain(v6_udp("ff02::1", 5353, host.underlay(), port, {6})).drop == Drop::outer);
    CHECK(host.plain(v6_udp("2001:db8:0:1::1", 5353, host.underlay(), port, {6})).drop == Drop::outer);
    CHECK(host.plain(v6_udp(service_address, 5353, "2001:db8:7:1:d0ff::1", port, {6})).drop == Drop::outer);
    CHECK(host.from_wire(wire_frame(other_host(), ip(host.underlay()), udp_v4("198.51.100.7", "10.0.0.1"))).drop ==
          Drop::nat_inside);
    const auto cut = slice(v6_udp(service_address, 5353, host.underlay(), port, {6}), 0, 45);
    CHECK(host.plain(cut).drop == Drop::malformed);
    // Other ports and protocols of the virtual address are of nobody.
    CHECK(host.from_machine(1, checksummed(v4(udp(1, 54), {.source = "10.0.0.1", .destination = virtual_address})))
              .drop == Drop::destination);
    CHECK(
        host.from_machine(1, checksummed(v4(tcp(1, 53, tcp_syn), {"10.0.0.1", virtual_address, protocol_tcp}))).drop ==
        Drop::destination);
  }
  SUBCASE("without an uplink it cannot go") {
    host.compiler.change_uplink({uplink_port, router, 1, false});
    host.change({});
    CHECK(host.from_machine(1, question("10.0.0.1", 1000)).drop == Drop::uplink);
  }
  SUBCASE("it is explained") {
    Bytes memory = Bytes(128) + ethernet(port_mac(11), machine_mac(1), question("10.0.0.1", 2000));
    Packet packet;
    packet.frame = memory.data() + 128;
    packet.bytes = packet.frame_bytes = packet.room = static_cast<std::uint32_t>(memory.size() - 128);
    packet.headroom = 128;
    packet.port = first_machine_port + 1;
    const auto explained = host.worker.explain(packet, host.now * second);
    CHECK(explained.drop == Drop::none);
    const auto step = std::find_if(explained.steps.begin(), explained.steps.end(),
                                   [](const auto& each) { return each.stage == "virtual service"; });
    REQUIRE(step != explained.steps.end());
    CHECK(step->text.find("dns: its source becomes port") == 0);
    CHECK(host.worker.flows().size() == 1);
  }
}

TEST_CASE("machines of all networks share a service, and each gets its own answers") {
  ServedHost host;
  host.add(2, "10.0.0.1", 200);
  host.add(3, "10.0.0.3");
  std::set<std::uint16_t> ports;
  for (std::uint16_t from = 1; from <= 50; ++from) {
    for (const std::uint8_t number : {std::uint8_t{1}, std::uint8_t{2}, std::uint8_t{3}}) {
      const auto* own = number == 3 ? "10.0.0.3" : "10.0.0.1";
      const auto port = port_in(sent(host.from_machine(number, question(own, from))));
      CHECK(ports.insert(port).second);
      const auto in = host.plain(v6_udp(service_address, 5353, host.underlay(), port, {9}));
      CHECK(in.port == first_machine_port + number);
      CHECK(destination_address(in.ip()) == own);
      CHECK(get16(in.ip(), 22) == from);
    }
  }
}

TEST_CASE("ICMP errors about a virtual service's packets reach who sent them") {
  ServedHost host;
  const auto out = sent(host.from_machine(1, question("10.0.0.1", 1000)));
  SUBCASE("from a router") {
    const auto error =
        checksummed(v6(icmp_error(2, 0, 1400, out), {"2001:db8:77::1", host.underlay(), protocol_icmpv6}));
    const auto heard = host.plain(error).ip();
    CHECK(is_right(heard));
    CHECK(source_address(heard) == virtual_address);
    CHECK(destination_address(heard) == "10.0.0.1");
    CHECK(slice(heard, 20, 22) == Bytes{3, 4});
    CHECK(get16(heard, 26) == 1380);
    CHECK(source_address(quote_of(heard)) == "10.0.0.1");
    CHECK(destination_address(quote_of(heard)) == virtual_address);
    CHECK(slice(quote_of(heard), 20, 24) == slice(question("10.0.0.1", 1000), 20, 24));
  }
  SUBCASE("from the machine") {
    const auto in = host.plain(v6_udp(service_address, 5353, host.underlay(), port_in(out), {9})).ip();
    const auto error = checksummed(v4(icmp_error(3, 3, 0, in), {"10.0.0.1", virtual_address, protocol_icmp}));
    const auto told = sent(host.from_machine(1, error));
    CHECK(is_right(told));
    CHECK(source_address(told) == host.underlay());
    CHECK(destination_address(told) == service_address);
    CHECK(slice(told, 40, 42) == Bytes{1, 4});
    CHECK(destination_address(quote_of(told)) == host.underlay());
    CHECK(get16(quote_of(told), 42) == port_in(out));
  }
  SUBCASE("about nothing that was sent: none") {
    auto other = out;
    put16(other, 40, static_cast<std::uint16_t>(port_in(out) ^ 1));
    CHECK(host.plain(checksummed(v6(icmp_error(1, 4, 0, other), {service_address, host.underlay(), protocol_icmpv6})))
              .drop == Drop::nat_inside);
  }
}

TEST_CASE("TCP and SCTP services") {
  ServedHost host;
  for (const std::uint8_t protocol : {protocol_tcp, protocol_sctp}) {
    auto web = dns();
    web.id = "web-" + std::to_string(protocol);
    web.protocol = protocol;
    web.port = web.service_port = 80;
    host.change({web});
    const auto its = host.desired.virtual_services().at({web.id}).underlay->to_text();
    const auto transport = [&](std::uint16_t from, std::uint16_t to) {
      return protocol == protocol_tcp ? tcp(from, to, tcp_syn, {7}) : sctp_summed(sctp(from, to) + Bytes{1, 0, 0, 4});
    };
    const auto out =
        sent(host.from_machine(1, checksummed(v4(transport(1000, 80), {"10.0.0.1", virtual_address, protocol}))));
    CHECK(out == passed_on(checksummed(v6(transport(port_in(out), 80), {its, service_address, protocol}))));
    const auto in = host.plain(checksummed(v6(transport(80, port_in(out)), {service_address, its, protocol}))).ip();
    CHECK(slice(in, 20) == slice(checksummed(v4(transport(80, 1000), {virtual_address, "10.0.0.1", protocol})), 20));
  }
}

TEST_CASE("a flow to a virtual service follows what is told") {
  ServedHost host;
  const auto packet = question("10.0.0.1", 1000);
  const auto port = port_in(sent(host.from_machine(1, packet)));
  auto told = host.desired.virtual_services().at({"dns"});
  SUBCASE("one that is told again keeps it, and so does a NAT that changes") {
    host.change({dns(), nat("m1", 1000, 1009)});
    host.change({nat("m1", 1000, 1019)});
    CHECK(port_in(sent(host.from_machine(1, packet))) == port);
    CHECK(host.plain(v6_udp(service_address, 5353, host.underlay(), port, {9})).drop == Drop::none);
    for (int i = 0; i < 300; ++i) host.worker.process({}, (host.now += 1) * second);
    CHECK(host.worker.flows().size() == 0);
  }
  SUBCASE("one that goes ends it") {
    const auto underlay = host.underlay();
    host.change({VirtualServiceKey{"dns"}});
    CHECK(host.from_machine(1, packet).drop == Drop::destination);
    CHECK(host.plain(v6_udp(service_address, 5353, underlay, port, {9})).drop == Drop::outer);
    CHECK(host.worker.flows().size() == 0);
    CHECK(host.snapshots.newest().link_routes.empty());
  }
  SUBCASE("another service behind the address gets new flows") {
    told.service_address = ip("2001:db8:5::54");
    host.change({told});
    CHECK(host.plain(v6_udp(service_address, 5353, host.underlay(), port, {9})).drop == Drop::nat_inside);
    const auto out = sent(host.from_machine(1, packet));
    CHECK(destination_address(out) == "2001:db8:5::54");
    CHECK(host.worker.flows().size() == 1);
  }
  SUBCASE("another underlay address likewise") {
    told.underlay = ip("2001:db8:0:1:d000:8000::77");
    host.change({told});
    CHECK(source_address(sent(host.from_machine(1, packet))) == "2001:db8:0:1:d000:8000:0:77");
    CHECK(host.worker.flows().size() == 1);
  }
}

TEST_CASE("a virtual service goes before what a network has at its address, from the next packet on") {
  ServedHost host;
  host.change({route("0.0.0.0/0", {other_host().to_text()})});
  const auto packet = udp_v4("10.0.0.1", "203.0.113.5");
  CHECK(slice(host.from_machine(1, packet).frame, 54) == passed_on(packet));
  auto there = dns();
  there.id = "there";
  there.address = ip("203.0.113.5");
  host.change({there});
  CHECK(destination_address(sent(host.from_machine(1, packet))) == service_address);
  host.change({VirtualServiceKey{"there"}});
  CHECK(slice(host.from_machine(1, packet).frame, 54) == passed_on(packet));
}

TEST_CASE("ports of a virtual service come back when their flows end") {
  ServedHost host;
  for (int round = 0; round < 5; ++round) {
    std::set<std::uint16_t> ports;
    for (std::uint16_t from = 1; from <= 800; ++from)
      CHECK(ports.insert(port_in(sent(host.from_machine(1, question("10.0.0.1", from))))).second);
    for (int i = 0; i < 300; ++i) host.worker.process({}, (host.now += 1) * second);
    CHECK(host.worker.flows().size() == 0);
  }
}

TEST_CASE("machines are told of services that look as if they were on the link") {
  ServedHost host;
  auto more = dns();
  more.id = "more";
  more.address = ip("169.254.7.1");
  auto same = dns();
  same.id = "same";
  same.port = 54;
  auto elsewhere = dns();
  elsewhere.id = "elsewhere";
  elsewhere.address = ip("10.255.0.1");
  host.change({more, same, elsewhere});
  CHECK(host.snapshots.newest().link_routes == std::vector{prefix("169.254.1.0/24"), prefix("169.254.7.0/24")});
}
