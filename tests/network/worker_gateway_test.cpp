// SPDX-License-Identifier: Apache-2.0
// The gateway inside the worker: who asks is answered, who sends in vain hears why, and MACs are learned.
#include <doctest/doctest.h>

#include <string>

#include "hosts.hpp"

using namespace ironcore;
using namespace ironcore::network;
using namespace ironcore::network::dataplane;
using namespace ironcore::network::tests;
using namespace ironcore::tests;

namespace {

Bytes arp_request(const MacAddress& from, std::string_view address, std::string_view for_address = "169.254.0.1") {
  Bytes packet(28);
  put16(packet, 0, 1);
  put16(packet, 2, 0x0800);
  packet[4] = 6;
  packet[5] = 4;
  put16(packet, 6, 1);
  std::copy(from.bytes().begin(), from.bytes().end(), packet.begin() + 8);
  put_address(packet, 14, address);
  put_address(packet, 24, for_address);
  return Bytes(6, 0xff) + bytes_of(from) + Bytes{8, 6} + packet;
}

WorkerOptions with_errors() {
  WorkerOptions out;
  out.gateway.icmp_errors_at_once = 3;
  out.gateway.icmp_errors_per_second = 1;
  return out;
}

}  // namespace

TEST_CASE("the gateway answers on the port that asks") {
  Host host(1);
  host.add(1, "10.0.0.1", 100, "fd00::1");
  const auto port = first_machine_port + 1;
  const auto arp = host.send(port, arp_request(machine_mac(1), "10.0.0.1"));
  CHECK(arp.drop == Drop::none);
  CHECK(arp.port == port);
  CHECK(slice(arp.frame, 0, 6) == bytes_of(machine_mac(1)));
  CHECK(slice(arp.frame, 22, 28) == bytes_of(port_mac(port)));
  const auto ping = host.from_machine(1, checksummed(v4(icmp(8, 0, 1), {"10.0.0.1", "169.254.0.1", protocol_icmp})));
  CHECK(ping.port == port);
  CHECK(source_address(ping.ip()) == "169.254.0.1");
  CHECK(is_right(ping.ip()));
  CHECK(host.worker.gateway().answers() == 2);
  CHECK(host.worker.flows().size() == 0);
  CHECK(host.send(port, arp_request(machine_mac(1), "10.0.0.1", "10.0.0.2")).drop == Drop::local);
}

TEST_CASE("a machine whose MAC nobody told is known by what it asks, and may change it") {
  Host host(1);
  host.add(1, "10.0.0.1");
  host.add(2, "10.0.0.2");
  auto nameless = interface("m3", "10.0.0.3");
  host.change({nameless, rule("m3", "all")});
  const auto port = first_machine_port + 3;
  host.compiler.add_port("port-m3", port, port_mac(port));
  host.change({});
  const auto learn = [&] {
    host.learned.take([&](std::uint32_t interface, std::uint16_t, const MacAddress& address) {
      CHECK(interface == host.compiler.interface_index("m3"));
      host.compiler.learn_mac("m3", address);
    });
    host.change({});
  };
  CHECK(host.from_machine(1, udp_v4("10.0.0.1", "10.0.0.3")).drop == Drop::neighbour);
  const auto frame_of = [&](std::uint8_t number) {
    return ethernet(port_mac(port), machine_mac(number), udp_v4("10.0.0.3", "10.0.0.1", number));
  };
  CHECK(host.send(port, arp_request(machine_mac(30), "10.0.0.3")).drop == Drop::none);
  learn();
  const auto in = host.from_machine(1, udp_v4("10.0.0.1", "10.0.0.3"));
  CHECK(in.port == port);
  CHECK(slice(in.frame, 0, 6) == bytes_of(machine_mac(30)));
  CHECK(host.send(port, frame_of(30)).drop == Drop::none);
  CHECK(host.send(port, frame_of(31)).drop == Drop::source_mac);
  // Not by what claims to be somebody else.
  host.send(port, arp_request(machine_mac(31), "10.0.0.1"));
  learn();
  CHECK(host.send(port, frame_of(31)).drop == Drop::source_mac);
  host.send(port, arp_request(machine_mac(31), "10.0.0.3"));
  learn();
  CHECK(host.send(port, frame_of(31)).drop == Drop::none);
  CHECK(host.send(port, frame_of(30)).drop == Drop::source_mac);
  // One that was told does not change.
  host.send(first_machine_port + 2, arp_request(machine_mac(40), "10.0.0.2"));
  learn();
  CHECK(host.send(first_machine_port + 2, ethernet(router, machine_mac(40), udp_v4("10.0.0.2", "10.0.0.1"))).drop ==
        Drop::source_mac);
}

TEST_CASE("who sends in vain hears why, as often as it may") {
  Host host(1, with_errors());
  host.add(1, "10.0.0.1", 100, "fd00::1");
  const auto port = first_machine_port + 1;
  const auto packet = udp_v4("10.0.0.1", "10.9.9.9");
  const auto heard = host.from_machine(1, packet);
  CHECK(heard.drop == Drop::none);
  CHECK(heard.port == port);
  CHECK(slice(heard.frame, 0, 6) == bytes_of(machine_mac(1)));
  CHECK(is_right(heard.ip()));
  CHECK(source_address(heard.ip()) == "169.254.0.1");
  CHECK(heard.ip()[20] == 3);
  CHECK(quote_of(heard.ip()) == packet);
  CHECK(host.worker.packets()[static_cast<std::size_t>(Drop::route)] == 1);
  const auto expired = host.from_machine(1, udp_v4("10.0.0.1", "10.9.9.9", 1, 1));
  CHECK(expired.ip()[20] == 11);
  const auto v6_heard = host.from_machine(1, udp_v6("fd00::1", "fd00::9"));
  CHECK(is_right(v6_heard.ip()));
  CHECK(source_address(v6_heard.ip()) == "fe80::1");
  CHECK(host.worker.gateway().errors() == 3);
  CHECK(host.from_machine(1, packet).drop == Drop::route);
  host.now += 1;
  CHECK(host.from_machine(1, packet).drop == Drop::none);
  CHECK(host.from_machine(1, packet).drop == Drop::route);
}

TEST_CASE("what comes over the wire and is too long for a machine is told to its sender, if it is of a flow") {
  auto options = with_errors();
  options.gateway.icmp_errors_at_once = 4;
  Host host(1, options);
  host.add(1, "10.0.0.1", 100, "fd00::1");
  host.add(2, "10.0.0.2");
  host.change({route("10.9.0.0/16", {other_host().to_text()}), route("fd00:9::/32", {other_host().to_text()}),
               route("0.0.0.0/0", {other_host(2).to_text()}), nat("m2", 1024, 2047)});
  const auto too_big = [&] { return host.worker.packets()[static_cast<std::size_t>(Drop::too_big)]; };
  const auto come = [&](const Bytes& packet) {
    return host.from_wire(wire_frame(other_host(), host.underlay_of(1), packet));
  };
  const auto v4_of = [](std::size_t bytes) {
    return checksummed(v4(udp(53, 1000, Bytes(bytes - 28, 7)), {"10.9.0.1", "10.0.0.1"}));
  };
  const auto v6_of = [](std::size_t bytes) {
    return checksummed(v6(udp(53, 1000, Bytes(bytes - 48, 7)), {"fd00:9::1", "fd00::1"}));
  };
  // There is no flow, so nobody knows the way.
  CHECK(come(v4_of(1501)).drop == Drop::too_big);
  CHECK(come(v4_of(1500)).port == first_machine_port + 1);
  CHECK(come(v6_of(1500)).port == first_machine_port + 1);

  const auto check_told = [&](const Went& told, const IpAddress& from, const IpAddress& to) {
    REQUIRE(told.drop == Drop::none);
    CHECK(told.port == uplink_port);
    CHECK(v6_at(told.frame, 14 + 8) == from);
    CHECK(v6_at(told.frame, 14 + 24) == to);
    CHECK(told.frame[14 + 7] == 64);
    CHECK(is_right(slice(told.frame, 54)));
    return slice(told.frame, 54);
  };
  const auto before = too_big();
  const auto v4_error = check_told(come(v4_of(1501)), host.underlay_of(1), other_host());
  CHECK(too_big() == before + 1);
  CHECK(source_address(v4_error) == "10.0.0.1");
  CHECK(destination_address(v4_error) == "10.9.0.1");
  CHECK(v4_error[20] == 3);
  CHECK(v4_error[21] == 4);
  CHECK(get16(v4_error, 26) == 1500);
  CHECK(quote_of(v4_error) == slice(v4_of(1501), 0, 576 - 28));
  const auto v6_error = check_told(come(v6_of(1501)), host.underlay_of(1), other_host());
  CHECK(source_address(v6_error) == "fd00::1");
  CHECK(destination_address(v6_error) == "fd00:9::1");
  CHECK(v6_error[40] == 2);
  CHECK(get16(v6_error, 46) == 1500);
  CHECK(quote_of(v6_error) == slice(v6_of(1501), 0, 1280 - 48));

  SUBCASE("as often as the machine may cause it") {
    CHECK(come(v4_of(1501)).drop == Drop::none);
    CHECK(come(v4_of(1501)).drop == Drop::none);
    CHECK(come(v4_of(1501)).drop == Drop::too_big);
    CHECK(come(v4_of(1500)).port == first_machine_port + 1);
  }
  SUBCASE("of a flow with NAT from the public address") {
    const auto out = host.from_machine(2, checksummed(udp_v4("10.0.0.2", "198.51.100.7")));
    REQUIRE(out.drop == Drop::none);
    const auto port = get16(out.frame, 54 + 20);
    const auto answer = checksummed(v4(udp(53, port, Bytes(1500)), {"198.51.100.7", "192.0.2.1"}));
    const auto underlay = *host.desired.nats().at({"m2"}).underlay;
    const auto error = check_told(host.from_wire(wire_frame(other_host(2), underlay, answer)), underlay, other_host(2));
    CHECK(source_address(error) == "192.0.2.1");
    CHECK(destination_address(error) == "198.51.100.7");
    CHECK(quote_of(error) == slice(answer, 0, 576 - 28));
  }
  SUBCASE("but not of what the firewall refuses meanwhile") {
    host.change({FirewallRuleKey{"m1", "all-v4"}});
    CHECK(come(v4_of(1501)).drop != Drop::none);
  }
  SUBCASE("also if that is now a machine of this host") {
    host.add(9, "10.9.0.1");
    const auto told = come(v4_of(1501));
    CHECK(told.drop == Drop::none);
    CHECK(told.port == first_machine_port + 9);
    CHECK(told.ip()[20] == 3);
    CHECK(is_right(told.ip()));
  }
}

TEST_CASE("a machine that floods the table leaves room for others") {
  Host host(1);
  host.add(1, "10.0.0.1");
  host.add(2, "10.0.0.2");
  host.change({route("0.0.0.0/0", {other_host().to_text()})});
  std::uint32_t refused = 0;
  for (std::uint32_t i = 0; i < 5000; ++i) {
    const auto to = IpAddress::v4(0xc6330000 + i).to_text();
    refused += host.from_machine(1, udp_v4("10.0.0.1", to)).drop == Drop::table_full ? 1 : 0;
  }
  CHECK(refused > 3900);
  const auto flooded = host.worker.connections_of(host.compiler.interface_index("m1"));
  CHECK(flooded > 850);
  CHECK(flooded < 900);
  for (std::uint16_t port = 1; port <= 50; ++port)
    CHECK(host.from_machine(2, udp_v4("10.0.0.2", "198.51.100.7", port)).drop == Drop::none);
}

TEST_CASE("an interface keeps to its rates, both ways, and public traffic to its own") {
  Host host(1);
  host.add(1, "10.0.0.1");
  host.add(2, "10.0.0.2");
  host.change({route("0.0.0.0/0", {other_host().to_text()})});
  auto limited = host.desired.interfaces().at({"m1"});
  const auto bytes_in = [&](Tick seconds, const auto& send) {
    std::uint64_t bytes = 0;
    constexpr Tick per_second = 4000;
    for (Tick i = 0; i < seconds * per_second; ++i, host.now_ns += second / per_second)
      bytes += send().drop == Drop::none ? 1028U : 0U;
    return static_cast<double>(bytes);
  };
  const Bytes payload(1000);
  const auto out = [&](const char* to) {
    return [&host, &payload, to] {
      return host.from_machine(1, v4(udp(1, 2, payload), {.source = "10.0.0.1", .destination = to}));
    };
  };
  const auto in = [&] {
    return host.from_machine(2, v4(udp(1, 2, payload), {.source = "10.0.0.2", .destination = "10.0.0.1"}));
  };
  constexpr double rate = 1'000'000;
  const auto check_rate = [&](double bytes, double seconds) {
    CHECK(bytes >= rate * (seconds - 1));
    CHECK(bytes <= rate * seconds + 2 * 131'072);
  };
  SUBCASE("all that leaves") {
    limited.total.egress = 8'000'000;
    host.change({limited});
    check_rate(bytes_in(5, out("10.0.0.2")), 5);
    CHECK(bytes_in(1, in) == 4000.0 * 1028);
    CHECK(host.worker.packets()[static_cast<std::size_t>(Drop::rate)] > 0);
  }
  SUBCASE("all that arrives") {
    limited.total.ingress = 8'000'000;
    host.change({limited});
    check_rate(bytes_in(5, in), 5);
    CHECK(bytes_in(1, out("10.0.0.2")) == 4000.0 * 1028);
  }
  SUBCASE("what goes to the public") {
    limited.public_traffic.egress = 8'000'000;
    host.change({limited});
    check_rate(bytes_in(5, out("198.51.100.7")), 5);
    CHECK(bytes_in(1, out("10.0.0.2")) == 4000.0 * 1028);
  }
}

TEST_CASE("a packet is explained by the code that would forward it") {
  Host host(1);
  host.add(1, "10.0.0.1");
  host.add(2, "10.0.0.2");
  host.change(
      {route("0.0.0.0/0", {other_host().to_text()}), nat("m1", 1024, 2047), VirtualIp{"m2", ip("192.0.2.50"), {}}});
  const auto explain = [&](std::uint32_t port, const Bytes& frame) {
    Bytes memory = Bytes(128) + frame + Bytes(100);
    Packet packet;
    packet.frame = memory.data() + 128;
    packet.bytes = packet.frame_bytes = static_cast<std::uint32_t>(frame.size());
    packet.room = packet.bytes + 100;
    packet.headroom = 128;
    packet.port = port;
    return host.worker.explain(packet, host.now * second);
  };
  const auto stages = [](const Explanation& explanation) {
    std::string out;
    for (const auto& step : explanation.steps) out += step.stage + '|';
    return out;
  };
  const auto from_first = [&](const Bytes& packet) {
    return explain(first_machine_port + 1, ethernet(router, machine_mac(1), packet));
  };
  SUBCASE("it becomes what it would, and nothing is remembered") {
    const auto packet = checksummed(udp_v4("10.0.0.1", "198.51.100.7"));
    const auto told = from_first(packet);
    CHECK(stages(told) == "comes from|packet|connection|sender|egress rules|route|NAT|offload|leaves by|");
    CHECK(host.worker.flows().size() == 0);
    const auto went = host.from_machine(1, packet);
    CHECK(told.port == went.port);
    CHECK(told.frame.size() == went.frame.size());
    const auto again = from_first(packet);
    CHECK(again.frame == went.frame);
    CHECK(again.to_text().find("known, silent for 0 s") != std::string::npos);
    CHECK(host.worker.flows().size() == 1);
  }
  SUBCASE("it says what stops it") {
    host.change({FirewallRuleKey{"m2", "all-v4"}});
    const auto told = from_first(udp_v4("10.0.0.1", "10.0.0.2"));
    CHECK(told.drop == Drop::ingress_rule);
    CHECK(told.steps.back() == Explanation::Step{"dropped", "ingress_rule"});
    CHECK(told.to_json().ends_with(R"(],"drop":"ingress_rule"})"));
    CHECK(from_first(udp_v4("10.0.0.9", "10.0.0.2")).drop == Drop::source_address);
    CHECK(from_first(Bytes(30)).drop == Drop::malformed);
    CHECK(explain(77, Bytes(60)).drop == Drop::port);
  }
  SUBCASE("what goes round is followed") {
    const auto told = from_first(checksummed(udp_v4("10.0.0.1", "192.0.2.50")));
    CHECK(told.port == first_machine_port + 2);
    CHECK(stages(told) ==
          "comes from|packet|connection|sender|egress rules|route|NAT|goes round|packet|connection|underlay|virtual "
          "IP|ingress rules|way back|offload|leaves by|");
  }
  SUBCASE("the gateway answers, but not now") {
    const auto told = explain(first_machine_port + 1, arp_request(machine_mac(1), "10.0.0.1"));
    CHECK(told.drop == Drop::none);
    CHECK(host.worker.gateway().answers() == 0);
  }
  CHECK(host.worker.packets()[static_cast<std::size_t>(Drop::ingress_rule)] == 0);
}
