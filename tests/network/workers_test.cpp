// SPDX-License-Identifier: Apache-2.0
// Several workers: wherever a packet comes in, it meets its flow.
#include <doctest/doctest.h>

#include <map>
#include <random>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "checked_packets.hpp"
#include "configuration_objects.hpp"
#include "dataplane/crossing.hpp"
#include "dataplane/nat_pool.hpp"
#include "ironcore/network/dataplane.hpp"
#include "ironcore/sim/ports.hpp"
#include "packets.hpp"

using namespace ironcore;
using namespace ironcore::network;
using namespace ironcore::network::tests;
using namespace ironcore::tests;

namespace {

constexpr std::size_t workers = 4;
const MacAddress router({2, 0, 0, 0, 3, 0});
constexpr const char* server = "198.51.100.7";
constexpr const char* other_host = "2001:db8:0:99:d000::1";

MacAddress machine_mac(int number) {
  return MacAddress({2, 0, 0, 0, 1, static_cast<std::uint8_t>(number)});
}

/// Four workers; each frame comes in at any of the queues.
struct Host {
  Host() : ports(clock, options()) {
    DataplaneOptions told;
    told.underlay = prefix("2001:db8:0:1::/64");
    told.uplinks = {{"uplink", router, 1}};
    told.connections = 10'000;
    told.maglev_size = 251;
    told.seed = 1;
    told.announces = false;
    open("uplink");
    dataplane = Dataplane::create(told, ports, clock, log).value();
    apply({route("0.0.0.0/0", {other_host}), route("::/0", {other_host})});
  }
  sim::Ports::Options options() {
    sim::Ports::Options out;
    out.queues = workers;
    out.steer = [this](std::span<const std::uint8_t>) { return random() % workers; };
    return out;
  }
  void open(const std::string& name) { REQUIRE(ports.open({name, "memory:" + name, 1600, std::nullopt}).has_value()); }
  void apply(const std::vector<Change>& batch) {
    const auto applied = dataplane->apply(batch);
    REQUIRE_MESSAGE(applied.has_value(), applied.error().message());
  }
  void add(int number, std::string_view ipv4) {
    const auto id = "m" + std::to_string(number);
    auto machine = interface(id, ipv4);
    machine.mac = machine_mac(number);
    apply({machine});
    open("port-" + id);
  }
  template <class Object>
  std::string underlay(const decltype(key_of(std::declval<Object>()))& key) const {
    return dataplane->get<Object>(key).value().underlay->to_text();
  }

  /// Until nothing moves any more.
  void run() {
    for (bool moves = true; moves;) {
      moves = false;
      for (std::size_t i = 0; i < workers; ++i) moves = dataplane->step(i) > 0 || moves;
    }
  }
  static Bytes ethernet(const MacAddress& source, const Bytes& ip) {
    Bytes out(6, 2);
    out.insert(out.end(), source.bytes().begin(), source.bytes().end());
    return out + (ip[0] >> 4 == 6 ? Bytes{0x86, 0xdd} : Bytes{0x08, 0x00}) + ip;
  }
  void from_machine(int number, const Bytes& ip) {
    REQUIRE(ports.inject("port-m" + std::to_string(number), ethernet(machine_mac(number), ip)));
    run();
  }
  void from_wire(const std::string& underlay, const Bytes& inner) {
    Bytes outer = v6(inner, {other_host, underlay, static_cast<std::uint8_t>(inner[0] >> 4 == 6 ? 41 : 4)});
    REQUIRE(ports.inject("uplink", ethernet(router, outer)));
    run();
  }
  /// The one IP packet that has left there, without what wraps it.
  Bytes at(const std::string& port) {
    auto frames = ports.take(port);
    REQUIRE(frames.size() == 1);
    return slice(frames.front().bytes, port == "uplink" ? 54 : 14);
  }
  std::uint64_t count(Drop drop) const { return dataplane->counters().packets[static_cast<std::size_t>(drop)]; }

  std::mt19937 random{7};
  SystemClock clock;
  NullLog log;
  sim::Ports ports;
  std::unique_ptr<Dataplane> dataplane;
};

Bytes udp_of(std::string_view from, std::uint16_t from_port, std::string_view to, std::uint16_t to_port) {
  return checksummed(v4(udp(from_port, to_port, {1, 2, 3, 4, 5, 6, 7, 8}), {.source = from, .destination = to}));
}
std::uint16_t source_port_of(const Bytes& ip) {
  return get16(ip, 20);
}

}  // namespace

TEST_CASE("answers meet their flow, whichever worker they come to: no rule lets anything in") {
  Host host;
  host.add(1, "10.0.0.1");
  host.add(2, "10.0.0.2");
  host.apply({rule("m2", "all")});
  for (std::uint16_t port = 1; port <= 200; ++port) {
    host.from_machine(1, udp_of("10.0.0.1", port, "10.0.0.2", 53));
    host.at("port-m2");
    host.from_machine(2, udp_of("10.0.0.2", 53, "10.0.0.1", port));
    host.at("port-m1");
    host.from_machine(1, udp_of("10.0.0.1", port, "10.9.0.1", 53));
    host.at("uplink");
    host.from_wire(host.underlay<Interface>({"m1"}), udp_of("10.9.0.1", 53, "10.0.0.1", port));
    host.at("port-m1");
  }
  CHECK(host.count(Drop::ingress_rule) == 0);
  CHECK(host.dataplane->counters().connections == 400);
}

TEST_CASE("what is too long for a machine is told to its sender, whichever worker it comes to") {
  Host host;
  host.add(1, "10.0.0.1");
  for (std::uint16_t port = 1; port <= 8; ++port) {
    host.from_machine(1, udp_of("10.0.0.1", port, "10.9.0.1", 53));
    host.at("uplink");
    const auto answer = checksummed(v4(udp(53, port, Bytes(1473)), {"10.9.0.1", "10.0.0.1"}));
    host.from_wire(host.underlay<Interface>({"m1"}), answer);
    const auto error = host.at("uplink");
    CHECK(is_right(error));
    CHECK(destination_address(error) == "10.9.0.1");
    CHECK(error[20] == 3);
    CHECK(get16(error, 26) == 1500);
    CHECK(quote_of(error) == slice(answer, 0, 576 - 28));
  }
  CHECK(host.count(Drop::too_big) == 8);
}

TEST_CASE("answers to a NAT, a virtual IP and by NAT64 meet their flow; one socket has one port") {
  Host host;
  for (int i = 1; i <= 6; ++i) host.add(i, "10.0.0." + std::to_string(i));
  auto both = host.dataplane->get<Interface>(InterfaceKey{"m2"}).value();
  both.ipv6 = ip("fd00::2");
  host.apply({both, nat("m1", 1024, 9000), nat("m2", 10'000, 20'000), VirtualIp{"m3", ip("192.0.2.50"), {}}});
  for (std::uint16_t port = 1; port <= 100; ++port) {
    std::set<std::uint16_t> ports;
    for (const auto* to : {server, "198.51.100.8", "198.51.100.9"}) {
      host.from_machine(1, udp_of("10.0.0.1", port, to, 53));
      const auto out = host.at("uplink");
      ports.insert(source_port_of(out));
      host.from_wire(host.underlay<Nat>({"m1"}), udp_of(to, 53, "192.0.2.1", source_port_of(out)));
      CHECK(host.at("port-m1") == udp_of(to, 53, "10.0.0.1", port));
    }
    CHECK(ports.size() == 1);
    host.from_machine(3, udp_of("10.0.0.3", port, server, 53));
    host.at("uplink");
    host.from_wire(host.underlay<VirtualIp>({"m3", false}), udp_of(server, 53, "192.0.2.50", port));
    CHECK(host.at("port-m3") == udp_of(server, 53, "10.0.0.3", port));
    host.from_machine(2, checksummed(v6(udp(port, 53), {"fd00::2", "64:ff9b::c633:6407"})));
    const auto out = host.at("uplink");
    host.from_wire(host.underlay<Nat>({"m2"}),
                   checksummed(v4(udp(53, source_port_of(out)), {.source = server, .destination = "192.0.2.1"})));
    CHECK(host.at("port-m2") == checksummed(v6(udp(53, port), {"64:ff9b::c633:6407", "fd00::2"})));
  }
  SUBCASE("ICMP errors too") {
    for (std::uint16_t port = 1; port <= 100; ++port) {
      host.from_machine(1, udp_of("10.0.0.1", port, server, 53));
      const auto out = host.at("uplink");
      host.from_wire(host.underlay<Nat>({"m1"}), checksummed(v4(icmp_error(3, 1, 0, slice(out, 0, 28)),
                                                                {"203.0.113.1", "192.0.2.1", protocol_icmp})));
      CHECK(get16(quote_of(host.at("port-m1")), 20) == port);
    }
  }
  SUBCASE("and pieces of a datagram, in any order after the first") {
    for (std::uint16_t id = 1; id <= 100; ++id) {
      host.from_machine(1, udp_of("10.0.0.1", 77, server, 53));
      const auto port = source_port_of(host.at("uplink"));
      auto first = v4(udp(53, port, Bytes(16)), {server, "192.0.2.1", 17, 64, 0x2000});
      auto later = v4(Bytes(8), {server, "192.0.2.1", 17, 64, 3});
      for (auto* piece : {&first, &later}) {
        put16(*piece, 4, id);
        put16(*piece, 10, 0);
        put16(*piece, 10, checksum_of(slice(*piece, 0, 20)));
        host.from_wire(host.underlay<Nat>({"m1"}), *piece);
        CHECK(destination_address(host.at("port-m1")) == "10.0.0.1");
      }
    }
  }
  SUBCASE("and what goes round on this host") {
    host.apply({rule("m3", "all")});
    for (std::uint16_t port = 1; port <= 100; ++port) {
      host.from_machine(1, udp_of("10.0.0.1", port, "192.0.2.50", 53));
      const auto in = host.at("port-m3");
      CHECK(destination_address(in) == "10.0.0.3");
      host.from_machine(3, udp_of("10.0.0.3", 53, "192.0.2.1", source_port_of(in)));
      const auto back = host.at("port-m1");
      CHECK(get16(back, 22) == port);
      CHECK(source_address(back) == "192.0.2.50");
    }
  }
  CHECK(host.count(Drop::busy) == 0);
  CHECK(host.ports.buffers_in_use() == 0);
}

TEST_CASE("workers on threads hand over what belongs to others, and nothing is lost or doubled") {
  Host host;
  host.add(1, "10.0.0.1");
  host.add(2, "10.0.0.2");
  host.apply({rule("m2", "all")});
  std::vector<std::jthread> threads;
  for (std::size_t i = 0; i < workers; ++i)
    threads.emplace_back([&, i](std::stop_token stop) { host.dataplane->run(i, stop); });
  constexpr std::uint32_t total = 20'000;
  std::uint32_t came = 0;
  const auto deadline = host.clock.now() + std::chrono::seconds(60);
  for (std::uint32_t sent = 0; came < total && host.clock.now() < deadline;) {
    for (int i = 0; i < 50 && sent < total && sent - came < 200; ++i, ++sent) {
      const auto port = static_cast<std::uint16_t>(1 + sent % 500);
      REQUIRE(host.ports.inject("port-m1", Host::ethernet(machine_mac(1), udp_of("10.0.0.1", port, "10.0.0.2", 53))));
    }
    came += static_cast<std::uint32_t>(host.ports.take("port-m2").size());
  }
  CHECK(came == total);
  threads.clear();
  CHECK(host.dataplane->counters().connections == 500);
  CHECK(host.ports.buffers_in_use() == 0);
}

TEST_CASE("answers of a virtual service meet their flow, in one piece, in several, and as errors") {
  Host host;
  for (int i = 1; i <= 8; ++i) host.add(i, "10.0.0." + std::to_string(i));
  host.apply({virtual_service("dns")});
  const auto own = host.underlay<VirtualService>({"dns"});
  const auto from_service = [&](const Bytes& ip) {
    REQUIRE(host.ports.inject("uplink", Host::ethernet(router, ip)));
    host.run();
  };
  std::set<std::uint16_t> ports;
  for (int i = 1; i <= 8; ++i) {
    for (std::uint16_t from = 1; from <= 50; ++from) {
      const auto machine = "10.0.0." + std::to_string(i);
      host.from_machine(i, udp_of(machine, from, "169.254.1.53", 53));
      const auto frames = host.ports.take("uplink");
      REQUIRE(frames.size() == 1);
      const auto out = slice(frames.front().bytes, 14);
      const auto port = get16(out, 40);
      CHECK(ports.insert(port).second);
      from_service(checksummed(v6(udp(5353, port, {7}), {"2001:db8:5::53", own})));
      const auto in = host.at("port-m" + std::to_string(i));
      CHECK(get16(in, 22) == from);
      CHECK(slice(in, 28) == Bytes{7});
      from_service(checksummed(v6(icmp_error(1, 4, 0, out), {"2001:db8:5::53", own, protocol_icmpv6})));
      CHECK(get16(quote_of(host.at("port-m" + std::to_string(i))), 20) == from);
      auto first = udp(5353, port, Bytes(16));
      put16(first, 6, 1);
      for (auto piece : {v6_fragment(protocol_udp, 0, true) + first, v6_fragment(protocol_udp, 24, false) + Bytes(8)}) {
        put16(piece, 4, port);
        from_service(v6(piece, {"2001:db8:5::53", own, 44}));
        CHECK(destination_address(host.at("port-m" + std::to_string(i))) == machine);
      }
    }
  }
  CHECK(host.dataplane->counters().connections == 400);
  CHECK(host.dataplane->list<VirtualService>().objects.size() == 1);
}

TEST_CASE("a NAT whose range changes keeps its flows at all workers") {
  Host host;
  for (int i = 1; i <= 8; ++i) host.add(i, "10.0.0." + std::to_string(i));
  auto told = nat("m1", 1000, 1999);
  std::vector<Change> batch;
  for (int i = 1; i <= 8; ++i) {
    told.interface = "m" + std::to_string(i);
    told.address = ip("192.0.2." + std::to_string(i));
    batch.push_back(told);
  }
  host.apply(batch);
  std::map<std::pair<int, std::uint16_t>, std::uint16_t> ports;
  const auto pass = [&](std::uint16_t first) {
    for (int i = 1; i <= 8; ++i) {
      for (std::uint16_t from = first; from < first + 50; ++from) {
        const auto own = "10.0.0." + std::to_string(i);
        host.from_machine(i, udp_of(own, from, server, 53));
        const auto port = source_port_of(host.at("uplink"));
        const auto known = ports.try_emplace({i, from}, port);
        CHECK(known.first->second == port);
        host.from_wire(host.underlay<Nat>({"m" + std::to_string(i)}),
                       udp_of(server, 53, "192.0.2." + std::to_string(i), port));
        CHECK(host.at("port-m" + std::to_string(i)) == udp_of(server, 53, own, from));
      }
    }
  };
  pass(100);
  for (const std::uint16_t first : {std::uint16_t{500}, std::uint16_t{900}, std::uint16_t{1}}) {
    for (auto& change : batch) {
      std::get<Nat>(change).first_port = first;
      std::get<Nat>(change).last_port = static_cast<std::uint16_t>(first + 2000);
    }
    host.apply(batch);
    pass(100);
  }
  pass(200);
  std::set<std::pair<int, std::uint16_t>> all;
  for (const auto& [key, port] : ports) all.insert({key.first, port});
  CHECK(all.size() == ports.size());
  CHECK(host.count(Drop::nat_ports) + host.count(Drop::nat_inside) == 0);
}

TEST_CASE("every port of a NAT is of the worker in whose slice it lies") {
  for (const auto& [first, last] :
       std::vector<std::pair<std::uint16_t, std::uint16_t>>{{1, 65'535}, {1024, 2047}, {1000, 1006}, {5, 5}, {7, 8}}) {
    for (std::size_t count = 1; count <= 9; ++count) {
      dataplane::NatPool pool(nat("m", first, last), 1, count, 1000, 3);
      std::set<std::uint16_t> all;
      for (std::size_t worker = 0; worker < count; ++worker) {
        for (std::uint32_t i = 0; i < 70'000; ++i) {
          const dataplane::Inside inside{{i, worker}, 1, static_cast<std::uint16_t>(i), dataplane::PortSpace::udp};
          const auto port =
              pool.take(worker, inside, {{1, 1}, 53, dataplane::PortSpace::udp}, dataplane::Opener::inside);
          if (!port) break;
          REQUIRE(pool.worker_of(*port) == worker);
          all.insert(*port);
        }
      }
      CHECK(all.size() == last - first + 1U);
    }
  }
}

TEST_CASE("a crossing keeps the order of each pair and refuses what has no room") {
  dataplane::Crossing crossing(2);
  Packet packet;
  for (std::uint32_t i = 0; i < dataplane::Crossing::room; ++i) {
    packet.port = i;
    CHECK(crossing.push(0, 1, packet));
  }
  CHECK_FALSE(crossing.push(0, 1, packet));
  std::array<Packet, 100> out;
  CHECK(crossing.pop(0, out) == 0);
  std::uint32_t next = 0;
  while (const auto count = crossing.pop(1, out))
    for (std::size_t i = 0; i < count; ++i) CHECK(out[i].port == next++);
  CHECK(next == dataplane::Crossing::room);
}
