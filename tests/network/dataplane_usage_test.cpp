// SPDX-License-Identifier: Apache-2.0
// How full a dataplane says it is, as it fills and empties.
#include <doctest/doctest.h>

#include <atomic>
#include <string>
#include <thread>
#include <vector>

#include "checked_packets.hpp"
#include "configuration_objects.hpp"
#include "ironcore/network/configuration_json.hpp"
#include "ironcore/network/dataplane.hpp"
#include "ironcore/sim/ports.hpp"
#include "ironcore/sim/virtual_clock.hpp"
#include "packets.hpp"

using namespace ironcore;
using namespace ironcore::network;
using namespace ironcore::network::tests;
using namespace ironcore::tests;

namespace {

const MacAddress router({2, 0, 0, 0, 3, 0});
const MacAddress machine({2, 0, 0, 0, 1, 1});
constexpr const char* other_host = "2001:db8:0:99:d000::1";

/// A machine with a way to the public, on two workers; what it sends comes to the first one.
struct Host {
  Host() {
    DataplaneOptions told;
    told.underlay = prefix("2001:db8:0:1::/64");
    told.uplinks = {{"uplink", router, 1}};
    told.connections = 1000;
    told.fragments = 64;
    told.maglev_size = 251;
    told.seed = 1;
    told.announces = false;
    dataplane = Dataplane::create(told, ports, clock, log).value();
    for (const auto* name : {"uplink", "port-a"})
      REQUIRE(ports.open({name, std::string("memory:") + name, 1600, std::nullopt}).has_value());
    auto a = interface("a");
    a.mac = machine;
    apply({a, route("0.0.0.0/0", {other_host})});
  }
  void apply(const std::vector<Change>& batch) {
    const auto applied = dataplane->apply(batch);
    REQUIRE_MESSAGE(applied.has_value(), applied.error().message());
  }
  void send(const Bytes& ip) {
    Bytes frame(6, 2);
    frame.insert(frame.end(), machine.bytes().begin(), machine.bytes().end());
    REQUIRE(ports.inject("port-a", frame + Bytes{0x08, 0x00} + ip));
    for (bool moves = true; moves;) moves = dataplane->step(0) + dataplane->step(1) > 0;
  }
  void send_udp(std::uint16_t from_port, std::string_view to = "198.51.100.7", std::uint16_t to_port = 53) {
    send(checksummed(v4(udp(from_port, to_port), {.source = "10.0.0.1", .destination = to})));
  }
  /// Everything of age is found.
  void pass(Duration span) {
    clock.advance(span);
    for (int i = 0; i < 300; ++i) static_cast<void>(dataplane->step(0) + dataplane->step(1));
  }
  /// Of all workers.
  ResourceUse::Part use(Resource what, const std::string& of = "") const {
    for (const auto& one : dataplane->usage().resources)
      if (one.what == what && one.of == of) return one.sum();
    return {};
  }
  std::uint64_t count(const std::string& kind) const {
    for (const auto& one : dataplane->usage().objects)
      if (one.kind == kind) return one.count;
    FAIL("there is no count of ", kind);
    return 0;
  }

  sim::VirtualClock clock;
  NullLog log;
  sim::Ports ports{clock, {.queues = 2}};
  std::unique_ptr<Dataplane> dataplane;
};

using Part = ResourceUse::Part;

}  // namespace

TEST_CASE("a NAT tells for each worker how many ports are used, and refuses when its worker's are") {
  Host host;
  auto filtering = nat("a", 1024, 1039);
  filtering.filtering = Nat::Filtering::address_dependent;
  host.apply({filtering});
  CHECK(host.use(Resource::nat_udp, "a") == Part{0, 16});
  CHECK(host.use(Resource::nat_tcp, "a") == Part{0, 16});
  CHECK(host.use(Resource::nat_flows, "a") == Part{0, 0});  // it has none
  CHECK(host.use(Resource::nat_peers, "a") == Part{0, 2000});

  for (std::uint16_t port = 1; port <= 5; ++port) host.send_udp(port);
  CHECK(host.use(Resource::nat_udp, "a") == Part{5, 16});
  CHECK(host.use(Resource::nat_tcp, "a") == Part{0, 16});
  CHECK(host.use(Resource::nat_peers, "a") == Part{5, 2000});
  CHECK(host.use(Resource::connections) == Part{5, 2000});
  host.send_udp(1, "198.51.100.8");  // the same port for another destination
  CHECK(host.use(Resource::nat_udp, "a") == Part{5, 16});
  CHECK(host.use(Resource::nat_peers, "a") == Part{6, 2000});

  for (std::uint16_t port = 6; port <= 20; ++port) host.send_udp(port);
  // All flows of a machine are one worker's, which has half of the ports.
  const auto usage = host.dataplane->usage();
  const auto found = std::find_if(usage.resources.begin(), usage.resources.end(),
                                  [](const auto& one) { return one.what == Resource::nat_udp; });
  REQUIRE(found != usage.resources.end());
  REQUIRE(found->workers.size() == 2);
  CHECK(found->sum() == Part{8, 16});
  CHECK(found->fullest() == Part{8, 8});
  CHECK(host.dataplane->counters().packets[static_cast<std::size_t>(Drop::nat_ports)] == 12);

  host.pass(std::chrono::seconds(130));
  CHECK(host.use(Resource::nat_udp, "a") == Part{0, 16});
  CHECK(host.use(Resource::nat_peers, "a") == Part{0, 2000});
  CHECK(host.use(Resource::connections) == Part{0, 2000});
}

TEST_CASE("a NAT with shared ports tells of its flows") {
  Host host;
  auto shared = nat("a", 1024, 1025);
  shared.ports = Nat::Ports::shared;
  host.apply({shared});
  CHECK(host.use(Resource::nat_flows, "a") == Part{0, 128});
  for (std::uint16_t port = 1; port <= 9; ++port) host.send_udp(7, "198.51.100.7", port);
  CHECK(host.use(Resource::nat_flows, "a") == Part{9, 128});
  CHECK(host.use(Resource::nat_udp, "a") == Part{0, 0});
  host.apply({NatKey{"a"}});
  CHECK(host.use(Resource::nat_flows, "a") == Part{0, 0});
}

TEST_CASE("a NAT that is told anew counts the ports that its flows keep") {
  Host host;
  host.apply({nat("a", 1024, 1039)});
  for (std::uint16_t port = 1; port <= 5; ++port) host.send_udp(port);
  host.apply({nat("a", 1024, 1055)});
  static_cast<void>(host.dataplane->step(0) + host.dataplane->step(1));
  CHECK(host.use(Resource::nat_udp, "a") == Part{5, 32});
}

TEST_CASE("a virtual service tells how many of its ports are used") {
  Host host;
  host.apply({virtual_service("dns")});
  CHECK(host.use(Resource::service_ports, "dns") == Part{0, 2000});  // no more than there is room for connections
  for (std::uint16_t port = 1; port <= 7; ++port) host.send_udp(port, "169.254.1.53");
  CHECK(host.use(Resource::service_ports, "dns") == Part{7, 2000});
  host.pass(std::chrono::seconds(130));
  CHECK(host.use(Resource::service_ports, "dns") == Part{0, 2000});
}

TEST_CASE("datagrams in pieces are counted until they are forgotten") {
  Host host;
  const auto send_first = [&](std::uint16_t id) {
    auto ip = v4(udp(9, 53, Bytes(8)), {.source = "10.0.0.1", .destination = "198.51.100.7", .fragment = 0x2000});
    put16(ip, 4, id);
    put16(ip, 10, 0);
    put16(ip, 10, checksum_of({ip.begin(), ip.begin() + 20}));
    host.send(ip);
  };
  CHECK(host.use(Resource::fragments) == Part{0, 128});
  for (std::uint16_t id = 1; id <= 5; ++id) send_first(id);
  send_first(5);
  CHECK(host.use(Resource::fragments) == Part{5, 128});
  host.pass(std::chrono::seconds(29));
  CHECK(host.use(Resource::fragments) == Part{5, 128});
  host.pass(std::chrono::seconds(2));
  CHECK(host.use(Resource::fragments) == Part{0, 128});
  for (std::uint16_t id = 0; id < 1000; ++id) send_first(id);
  const auto flooded = host.use(Resource::fragments);
  CHECK(flooded.used > 50);
  CHECK(flooded.used <= 64);  // of the one worker
}

TEST_CASE("objects are counted by kind") {
  Host host;
  CHECK(host.dataplane->usage().objects.size() == configuration_kinds().size());
  CHECK(host.count("Interface") == 1);
  CHECK(host.count("Route") == 1);
  CHECK(host.count("FirewallRule") == 0);
  std::vector<Change> batch{route("fd00:1::/32", {other_host}), route("10.9.0.0/16", {other_host}, 200)};
  for (int i = 0; i < 30; ++i) batch.push_back(rule("a", "r" + std::to_string(i)));
  batch.push_back(virtual_service("dns"));
  host.apply(batch);
  CHECK(host.count("Route") == 3);
  CHECK(host.count("FirewallRule") == 30);
  CHECK(host.count("VirtualService") == 1);
  host.apply({InterfaceKey{"a"}});
  CHECK(host.count("FirewallRule") == 0);
  CHECK(host.count("Interface") == 0);
}

TEST_CASE("a network is there as long as something names it, and says how much does") {
  Host host;
  const auto only = [&](std::uint32_t number) {
    for (const auto& use : host.dataplane->vnis().objects)
      if (use.vni == vni(number)) return use;
    FAIL("there is no such network");
    return VniUse();
  };
  const auto count = [&] { return host.dataplane->vnis().objects.size(); };
  const auto before = count();
  host.apply({route("10.9.0.0/16", {other_host}, 500), route("10.10.0.0/16", {other_host}, 500),
              route("fd00:9::/32", {other_host}, 500)});
  CHECK(only(500) == VniUse{.vni = vni(500), .routes_v4 = 2, .routes_v6 = 1});
  CHECK(host.dataplane->vnis().revision == host.dataplane->revision());
  auto machine = interface("z", "10.9.0.1", 600);
  auto service = balancer("lb", "10.9.0.9");
  service.vni = vni(700);
  host.apply({machine, nat("z", 5000, 5999, "192.0.2.77"), service,
              NeighbourNat{vni(800), ip("192.0.2.77"), 6000, 6999, ip(other_host)}});
  CHECK(only(600) == VniUse{.vni = vni(600), .interfaces = 1, .nats = 1});
  CHECK(only(700) == VniUse{.vni = vni(700), .load_balancers = 1});
  CHECK(only(800) == VniUse{.vni = vni(800), .neighbour_nats = 1});
  CHECK(count() == before + 4);

  // Page by page, in their order.
  std::vector<VniUse> all;
  std::optional<Vni> after;
  for (bool has_more = true; has_more;) {
    const auto page = host.dataplane->vnis(2, after);
    REQUIRE_FALSE(page.objects.empty());
    REQUIRE(page.objects.size() <= 2);
    all.insert(all.end(), page.objects.begin(), page.objects.end());
    after = all.back().vni;
    has_more = page.has_more;
  }
  CHECK(all == host.dataplane->vnis().objects);
  CHECK(std::is_sorted(all.begin(), all.end(), [](const auto& a, const auto& b) { return a.vni < b.vni; }));
  CHECK(host.dataplane->vnis(5, vni(0xff'ffff)).objects.empty());
  CHECK_FALSE(host.dataplane->vnis(5, vni(0xff'ffff)).has_more);

  host.apply(
      {RouteKey{vni(500), prefix("10.9.0.0/16")}, RouteKey{vni(500), prefix("10.10.0.0/16")}, InterfaceKey{"z"}});
  CHECK(only(500) == VniUse{.vni = vni(500), .routes_v6 = 1});
  CHECK(count() == before + 3);
  host.apply({RouteKey{vni(500), prefix("fd00:9::/32")}, LoadBalancerKey{"lb"},
              NeighbourNatKey{vni(800), ip("192.0.2.77"), 6000}});
  CHECK(count() == before);
}

TEST_CASE("interfaces with rates tell what their meters said") {
  Host host;
  CHECK(host.dataplane->usage().meters.empty());
  auto limited = host.dataplane->get<Interface>({"a"}).value();
  limited.public_traffic.egress = 8'000'000;
  host.apply({limited});
  host.send_udp(1);
  const auto meters = host.dataplane->usage().meters;
  REQUIRE(meters.size() == 1);
  CHECK(meters[0].interface == "a");
  CHECK(meters[0].public_egress.packets == std::array<std::uint64_t, colors>{1, 0, 0});
  CHECK(meters[0].public_egress.bytes == std::array<std::uint64_t, colors>{28, 0, 0});
  CHECK(meters[0].total_egress == MeterCounters());
  CHECK(meters[0].public_ingress == MeterCounters());
}

TEST_CASE("usage is read while workers run and NATs come and go") {
  Host host;
  std::atomic<bool> is_done = false;
  std::jthread worker([&](std::stop_token stop) { host.dataplane->run(0, std::move(stop)); });
  std::jthread other([&](std::stop_token stop) { host.dataplane->run(1, std::move(stop)); });
  std::jthread reader([&] {
    while (!is_done)
      for (const auto& use : host.dataplane->usage().resources) CHECK(use.sum().used <= use.sum().room);
  });
  Bytes frame(6, 2);
  frame.insert(frame.end(), machine.bytes().begin(), machine.bytes().end());
  for (std::uint16_t i = 0; i < 200; ++i) {
    host.apply({nat("a", 1024, static_cast<std::uint16_t>(1100 + i % 3))});
    const auto ip = checksummed(v4(udp(i, 53), {.source = "10.0.0.1", .destination = "198.51.100.7"}));
    REQUIRE(host.ports.inject("port-a", frame + Bytes{0x08, 0x00} + ip));
    if (i % 50 == 49) host.apply({NatKey{"a"}});
  }
  is_done = true;
}
