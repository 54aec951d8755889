// SPDX-License-Identifier: Apache-2.0
// What hostile machines and outsiders try, and changes that come at the worst moment.
#include <doctest/doctest.h>

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

struct HostilePublic : Host {
  explicit HostilePublic(WorkerOptions with = {}) : Host(1, with) {
    add(1, "10.0.0.1", 100, "fd00::1");
    change({route("0.0.0.0/0", {other_host().to_text()}), route("::/0", {other_host().to_text()})});
  }
  IpAddress nat_underlay() const { return *desired.nats().at({"m1"}).underlay; }
  Went answer(const IpAddress& to, const Bytes& packet) { return from_wire(wire_frame(other_host(), to, packet)); }
  /// Until all flows have ended.
  void wait() {
    for (int i = 0; i < 4000; ++i) worker.process({}, (now += 1) * second);
    CHECK(worker.flows().size() == 0);
  }
};

Bytes udp_between(std::string_view from, std::uint16_t from_port, std::string_view to, std::uint16_t to_port) {
  return checksummed(v4(udp(from_port, to_port, {1, 2, 3}), {.source = from, .destination = to}));
}
Bytes inner_of(const Went& went) {
  REQUIRE(went.drop == Drop::none);
  REQUIRE(went.port == uplink_port);
  return slice(went.frame, 54);
}
std::uint16_t public_port(const Went& went) {
  return get16(inner_of(went), 20);
}

/// A packet in memory that a sanitizer, and we, see the ends of.
struct Guarded {
  Guarded(const Bytes& frame, std::uint32_t headroom, std::uint32_t port)
      : before(headroom), memory(Bytes(guard, 0x5a) + Bytes(headroom, 0xee) + frame + Bytes(guard, 0x5a)) {
    packet.frame = memory.data() + guard + headroom;
    packet.bytes = packet.frame_bytes = packet.room = static_cast<std::uint32_t>(frame.size());
    packet.headroom = headroom;
    packet.port = port;
  }
  bool is_intact() const {
    const Bytes wanted(guard, 0x5a);
    return slice(memory, 0, guard) == wanted && slice(memory, memory.size() - guard) == wanted;
  }

  static constexpr std::uint32_t guard = 64;
  std::uint32_t before;
  Bytes memory;
  Packet packet;
};

}  // namespace

TEST_CASE("a flow that ends in the midst of a burst ends once") {
  HostilePublic host;
  host.add(2, "10.0.0.2");
  const auto packet = udp_between("10.0.0.1", 1, server, 2);
  CHECK(host.from_machine(1, packet).drop == Drop::none);
  CHECK(host.from_machine(2, udp_between("10.0.0.2", 1, server, 2)).drop == Drop::none);
  host.change({RouteKey{vni(100), prefix("0.0.0.0/0")}});
  const auto port = first_machine_port + 1;
  const auto frame = ethernet(port_mac(port), machine_mac(1), packet);
  std::vector<Guarded> burst;
  for (int i = 0; i < 3; ++i) burst.emplace_back(frame, 64U, port);
  std::vector<Packet> packets;
  for (auto& one : burst) {
    one.packet.frame = one.memory.data() + Guarded::guard + 64;
    packets.push_back(one.packet);
  }
  host.worker.process(packets, host.now * second);
  for (const auto& one : packets) CHECK(one.drop == Drop::route);
  CHECK(host.worker.flows().size() == 1);
  CHECK(host.worker.connections_of(host.compiler.interface_index("m1")) == 0);
  CHECK(host.worker.connections_of(host.compiler.interface_index("m2")) == 1);
}

TEST_CASE("ICMPv6 in IPv4 takes no port of a NAT") {
  HostilePublic host;
  host.change({nat("m1", 1000, 1001)});
  for (int i = 0; i < 5; ++i)
    CHECK(host.from_machine(1, v4(icmp(128, 0, static_cast<std::uint16_t>(i)), {"10.0.0.1", server, protocol_icmpv6}))
              .drop == Drop::translation);
  CHECK(host.from_machine(1, checksummed(v4(icmp(8, 0, 7), {"10.0.0.1", server, protocol_icmp}))).drop == Drop::none);
}

TEST_CASE("later pieces of ICMP are of the kind of their first one") {
  HostilePublic host;
  host.add(2, "10.0.0.2", 100, "fd00::2");
  host.change({FirewallRuleKey{"m1", "all-v6"}, nat("m1", 1000, 1001)});
  const auto piece = [](std::uint8_t type, std::string_view from, std::string_view to, bool is_first) {
    const auto part = is_first ? icmp(type, 0, 7, Bytes(8)) : Bytes(8);
    return v6(v6_fragment(protocol_icmpv6, is_first ? 0 : 16, is_first) + part,
              {.source = from, .destination = to, .next_header = 44});
  };
  SUBCASE("an answer in pieces passes the firewall") {
    CHECK(host.from_machine(1, piece(128, "fd00::1", "fd00::2", true)).drop == Drop::none);
    CHECK(host.from_machine(1, piece(128, "fd00::1", "fd00::2", false)).drop == Drop::none);
    CHECK(host.from_machine(2, piece(129, "fd00::2", "fd00::1", true)).drop == Drop::none);
    CHECK(host.from_machine(2, piece(129, "fd00::2", "fd00::1", false)).drop == Drop::none);
    CHECK(host.worker.flows().size() == 1);
  }
  SUBCASE("of what is no echo they make no flow") {
    const V4 first{.source = "10.0.0.1", .destination = server, .protocol = protocol_icmp, .fragment = 0x2000};
    const V4 later{.source = "10.0.0.1", .destination = server, .protocol = protocol_icmp, .fragment = 2};
    CHECK(host.from_machine(1, v4(icmp(13, 0, 0, Bytes(8)), first)).drop == Drop::translation);
    CHECK(host.from_machine(1, v4(Bytes(8), later)).drop == Drop::translation);
    CHECK(host.worker.flows().size() == 0);
  }
}

TEST_CASE("a machine hears nothing about the packets that carry its own ones") {
  WorkerOptions with;
  with.gateway.icmp_errors_at_once = 100;
  HostilePublic host(with);
  host.change({balancer("lb", "192.0.2.9")});
  const auto underlay = *host.desired.load_balancers().at({"lb"}).underlay;
  host.add(2, "10.0.0.1", 200);
  host.change({route("192.0.2.9/32", {underlay.to_text()}, 200)});
  const auto went = host.from_machine(2, udp_between("10.0.0.1", 1, "192.0.2.9", 2));
  CHECK(went.drop == Drop::service);
}

TEST_CASE("a piece of a packet that a card shall cut is not read beyond its end") {
  HostilePublic host;
  const V4 first{.source = "10.0.0.1", .destination = server, .protocol = protocol_tcp, .fragment = 0x2000};
  const V4 later{.source = "10.0.0.1", .destination = server, .protocol = protocol_tcp, .fragment = 3};
  CHECK(host.from_machine(1, v4(tcp(1, 2, 0, Bytes(4)), first)).drop == Drop::none);
  const auto port = first_machine_port + 1;
  const auto frame = ethernet(port_mac(port), machine_mac(1), v4({}, later));
  Exact exact(frame);
  Packet packet;
  packet.frame = exact.span().data();
  packet.bytes = packet.frame_bytes = packet.room = static_cast<std::uint32_t>(frame.size());
  packet.port = port;
  packet.offload.segment_bytes = 100;
  host.worker.process({&packet, 1}, host.now * second);
  CHECK(packet.drop == Drop::headroom);
}

TEST_CASE("what the outer header cannot say the length of does not go") {
  HostilePublic host;
  const auto port = first_machine_port + 1;
  const auto packet_of = [](std::size_t payload) {
    return v6(tcp(1, 2, tcp_ack, Bytes(payload - 20)), {"fd00::1", "2001:db8:9::9", protocol_tcp});
  };
  for (const std::size_t payload : {65'495U, 65'496U, 65'535U}) {
    Guarded big(ethernet(port_mac(port), machine_mac(1), packet_of(payload)), 64, port);
    big.packet.offload.segment_bytes = 1000;
    host.worker.process({&big.packet, 1}, host.now * second);
    CHECK(big.packet.drop == (payload + 40 > 65'535 ? Drop::too_big : Drop::none));
    CHECK(big.is_intact());
  }
}

TEST_CASE("an error that grows in another family grows no further than there is room") {
  HostilePublic host;
  host.change({nat("m1", 1024, 2047)});
  const auto out =
      inner_of(host.from_machine(1, checksummed(v6(udp(5000, 53, {1, 2}), {"fd00::1", "64:ff9b::c633:6407"}))));
  auto quoted = slice(out, 0, 28);
  put16(quoted, 6, 0x2000);  // a first piece
  put16(quoted, 2, 28 + 8);
  put16(quoted, 10, 0);
  put16(quoted, 10, checksum_of(slice(quoted, 0, 20)));
  const auto error = checksummed(v4(icmp_error(11, 0, 0, quoted), {"203.0.113.1", "192.0.2.1", protocol_icmp}));
  for (const std::uint32_t headroom : {0U, 7U, 8U}) {
    Guarded packet(wire_frame(other_host(), host.nat_underlay(), error), headroom, uplink_port);
    host.worker.process({&packet.packet, 1}, host.now * second);
    CHECK(packet.packet.drop == (headroom < 8 ? Drop::translation : Drop::none));
    CHECK(packet.is_intact());
  }
}

TEST_CASE("an error for somebody else is not about the packet that it quotes") {
  HostilePublic host;
  host.add(2, "10.0.0.2");
  host.change({FirewallRuleKey{"m1", "all-v4"}});
  const auto packet = udp_between("10.0.0.1", 1, server, 2);
  CHECK(host.from_machine(1, packet).drop == Drop::none);
  const auto error = [&](std::string_view to) {
    return checksummed(v4(icmp_error(3, 1, 0, packet), {"203.0.113.1", to, protocol_icmp}));
  };
  CHECK(host.answer(host.underlay_of(1), error("10.0.0.1")).drop == Drop::none);
  CHECK(host.answer(host.underlay_of(1), error("10.0.0.9")).drop == Drop::destination);
}

TEST_CASE("a port that a NAT of before gave is not given back to the one of now") {
  HostilePublic host;
  auto open = nat("m1", 1000, 1001);
  open.filtering = Nat::Filtering::endpoint_independent;
  host.change({open});
  std::uint16_t inside = 5000;
  while (public_port(host.from_machine(1, udp_between("10.0.0.1", inside, server, 53))) != 1000) ++inside;
  const auto from_other = udp_between("198.51.100.9", 99, "192.0.2.1", 1000);
  CHECK(host.answer(host.nat_underlay(), from_other).drop == Drop::none);
  open.last_port = 1000;
  host.change({open});
  CHECK(public_port(host.from_machine(1, udp_between("10.0.0.1", inside, server, 53))) == 1000);
  CHECK(host.answer(host.nat_underlay(), from_other).drop == Drop::none);
  host.wait();
  CHECK(public_port(host.from_machine(1, udp_between("10.0.0.1", 6000, server, 53))) == 1000);
  CHECK(host.from_machine(1, udp_between("10.0.0.1", 6001, server, 53)).drop == Drop::nat_ports);
}

TEST_CASE("who has been there under an older configuration stands in nobody's way") {
  HostilePublic host;
  host.change({nat("m1", 1000, 1000), NeighbourNat{vni(100), ip("192.0.2.1"), 2000, 2000, other_host(5)}});
  CHECK(host.answer(host.nat_underlay(), udp_between(server, 53, "192.0.2.1", 2000)).drop == Drop::none);
  host.change({NeighbourNatKey{vni(100), ip("192.0.2.1"), 2000}, nat("m1", 2000, 2000)});
  CHECK(public_port(host.from_machine(1, udp_between("10.0.0.1", 1, server, 53))) == 2000);
  CHECK(host.answer(host.nat_underlay(), udp_between(server, 53, "192.0.2.1", 2000)).port == first_machine_port + 1);
}

TEST_CASE("hosts that send each other the same packet stop at some time") {
  HostilePublic host;
  host.change({nat("m1", 1000, 1000), NeighbourNat{vni(100), ip("192.0.2.1"), 2000, 2000, other_host(5)}});
  auto frame = wire_frame(other_host(), host.nat_underlay(), udp_between(server, 53, "192.0.2.1", 2000));
  int rounds = 0;
  for (; rounds < 100; ++rounds) {
    const auto went = host.from_wire(frame);
    if (went.drop != Drop::none) {
      CHECK(went.drop == Drop::hop_limit);
      break;
    }
    // Over there somebody says that it is here.
    put_address(frame, 14 + 24, host.nat_underlay().to_text());
    frame[14 + 7] = went.frame[14 + 7];
  }
  CHECK(rounds > 30);
  CHECK(rounds < 100);
}

TEST_CASE("anybody's packet to an IPv6 machine behind a NAT is answered by the way of IPv6") {
  Host host(1);
  host.add(1, "10.0.0.1", 100, "fd00::1");
  auto open = nat("m1", 1000, 1999);
  open.filtering = Nat::Filtering::endpoint_independent;
  host.change({open, route("::/0", {other_host().to_text()})});
  const auto v6_udp = [](std::string_view from, std::uint16_t from_port, std::string_view to, std::uint16_t to_port) {
    return checksummed(v6(udp(from_port, to_port, {1, 2, 3}), {from, to}));
  };
  const auto port = public_port(host.from_machine(1, v6_udp("fd00::1", 5000, "64:ff9b::c633:6407", 53)));
  const auto underlay = *host.desired.nats().at({"m1"}).underlay;
  const auto in =
      host.from_wire(wire_frame(other_host(), underlay, udp_between("198.51.100.9", 99, "192.0.2.1", port)));
  CHECK(in.ip() == v6_udp("64:ff9b::c633:6409", 99, "fd00::1", 5000));
  const auto back = inner_of(host.from_machine(1, v6_udp("fd00::1", 5000, "64:ff9b::c633:6409", 99)));
  CHECK(slice(back, 12, 24) == slice(udp_between("192.0.2.1", port, "198.51.100.9", 99), 12, 24));
}

TEST_CASE("ICMP errors count for the rate of who sends them") {
  HostilePublic host;
  auto limited = host.desired.interfaces().at({"m1"});
  limited.total.egress = 8000;
  host.change({limited});
  const auto request = udp_between(server, 53, "10.0.0.1", 9);
  CHECK(host.answer(host.underlay_of(1), request).drop == Drop::none);
  const auto error = checksummed(v4(icmp_error(3, 3, 0, request), {"10.0.0.1", server, protocol_icmp}));
  int went = 0;
  for (int i = 0; i < 10'000; ++i) went += host.from_machine(1, error).drop == Drop::none ? 1 : 0;
  CHECK(went < 5000);  // a burst holds 256 KiB
}
