// SPDX-License-Identifier: Apache-2.0
// Whole hosts from outside: told by control, fed at their ports.
#include "ironcore/network/dataplane.hpp"

#include <doctest/doctest.h>

#include <atomic>
#include <chrono>
#include <map>
#include <memory>
#include <string>
#include <thread>
#include <type_traits>
#include <vector>

#include "checked_packets.hpp"
#include "configuration_objects.hpp"
#include "ironcore/sim/ports.hpp"
#include "ironcore/sim/virtual_clock.hpp"
#include "packets.hpp"
#include "ports_conformance.hpp"

using namespace ironcore;
using namespace ironcore::network;
using namespace ironcore::network::tests;
using namespace ironcore::tests;

namespace {

const MacAddress router({2, 0, 0, 0, 3, 0});

MacAddress machine_mac(std::uint32_t number) {
  return MacAddress({2, 0, 0, 1, static_cast<std::uint8_t>(number >> 8), static_cast<std::uint8_t>(number)});
}
PortSpec port_spec(const std::string& name) {
  return {name, "memory:" + name, 1600, std::nullopt};
}
Bytes ethernet(const MacAddress& destination, const MacAddress& source, const Bytes& ip) {
  Bytes out(destination.bytes().begin(), destination.bytes().end());
  out.insert(out.end(), source.bytes().begin(), source.bytes().end());
  return out + (ip[0] >> 4 == 6 ? Bytes{0x86, 0xdd} : Bytes{0x08, 0x00}) + ip;
}

struct Host {
  explicit Host(std::uint8_t number, sim::Ports::Options with = {}, DataplaneOptions told = {}) : ports(clock, with) {
    told.underlay = prefix("2001:db8:0:" + std::to_string(number) + "::/64");
    told.uplinks = {{"uplink", router, 1}};
    if (told.connections == DataplaneOptions().connections) told.connections = 10'000;
    told.maglev_size = 251;
    told.seed = number;
    told.announces = false;
    REQUIRE(ports.open(port_spec("uplink")).has_value());
    auto made = Dataplane::create(told, ports, clock, log);
    REQUIRE_MESSAGE(made.has_value(), made.error().message());
    dataplane = *std::move(made);
  }

  std::uint64_t apply(const std::vector<Change>& batch) {
    const auto applied = dataplane->apply(batch);
    REQUIRE_MESSAGE(applied.has_value(), applied.error().message());
    return *applied;
  }
  /// A machine with a port; anybody may talk to it.
  void add(std::uint32_t number, std::string_view ipv4) {
    const auto id = "m" + std::to_string(number);
    auto machine = interface(id, ipv4);
    machine.mac = machine_mac(number);
    apply({machine, rule(id, "all")});
    REQUIRE(ports.open(port_spec("port-" + id)).has_value());
  }
  std::string underlay_of(std::uint32_t number) const {
    return dataplane->get<Interface>(InterfaceKey{"m" + std::to_string(number)}).value().underlay->to_text();
  }
  Bytes frame(std::uint32_t number, const Bytes& ip) const {
    const auto port = "port-m" + std::to_string(number);
    for (const auto& state : ports.list())
      if (state.spec.name == port) return ethernet(state.mac, machine_mac(number), ip);
    return ethernet(router, machine_mac(number), ip);
  }
  void step() {
    for (std::size_t i = 0; i < dataplane->workers(); ++i) dataplane->step(i);
  }
  InterfaceCounters counters_of(const std::string& id) const {
    for (auto& counters : dataplane->interface_counters())
      if (counters.id == id) return counters;
    return {};
  }

  SystemClock clock;
  NullLog log;
  sim::Ports ports;
  std::unique_ptr<Dataplane> dataplane;
};

Bytes packet(std::string_view from, std::string_view to, std::uint16_t port = 1000) {
  return v4(udp(port, 53, Bytes{1, 2, 3}), {.source = from, .destination = to});
}

/// The workers of a host, on threads, as long as this lives.
struct Running {
  explicit Running(Host& host) {
    for (std::size_t i = 0; i < host.dataplane->workers(); ++i)
      threads.emplace_back([&host, i](std::stop_token stop) { host.dataplane->run(i, stop); });
  }
  std::vector<std::jthread> threads;
};

using AnyKey = std::variant<InterfaceKey, InterfacePrefixKey, VirtualIpKey, NatKey, NeighbourNatKey, LoadBalancerKey,
                            LoadBalancerTargetKey, RouteKey, FirewallRuleKey, VirtualServiceKey>;
using Model = std::map<AnyKey, Change>;

void repeat(const Change& change, Model& model) {
  std::visit(
      [&](const auto& value) {
        if constexpr (requires { key_of(value); })
          model.insert_or_assign(key_of(value), change);
        else
          model.erase(value);
      },
      change);
}
template <class Object>
void collect(const Dataplane& dataplane, Model& into) {
  for (auto& object : dataplane.list<Object>().objects) into.emplace(key_of(object), std::move(object));
}
Model all_of(const Dataplane& dataplane) {
  Model out;
  collect<Interface>(dataplane, out);
  collect<InterfacePrefix>(dataplane, out);
  collect<VirtualIp>(dataplane, out);
  collect<Nat>(dataplane, out);
  collect<NeighbourNat>(dataplane, out);
  collect<LoadBalancer>(dataplane, out);
  collect<LoadBalancerTarget>(dataplane, out);
  collect<Route>(dataplane, out);
  collect<FirewallRule>(dataplane, out);
  collect<VirtualService>(dataplane, out);
  return out;
}

}  // namespace

TEST_CASE("a dataplane refuses options that cannot be, and names them all") {
  SystemClock clock;
  NullLog log;
  sim::Ports ports(clock);
  DataplaneOptions options;
  options.announces = false;
  options.underlay = prefix("2001:db8::/48");
  options.uplinks = {{"a", router, 1}, {"a", MacAddress(), 1}, {"", router, 1}};
  options.mtu = 67;
  options.connections = 0;
  options.fragments = 0;
  options.timeouts.udp = std::chrono::seconds(0);
  options.maglev_size = 65'536;
  options.lease_seconds = 0;
  options.dns_v4 = {ip("192.0.2.1"), ip("::1")};
  options.dns_v6 = {ip("192.0.2.1")};
  const auto made = Dataplane::create(options, ports, clock, log);
  REQUIRE_FALSE(made.has_value());
  CHECK(made.error().code() == ErrorCode::invalid);
  CHECK(check(options).error().fields() == made.error().fields());
  CHECK(made.error().message().find("and is 65536; the nearest is 65537") != std::string::npos);
  for (const auto& [size, nearest] :
       {std::pair(0U, "101"), std::pair(100U, "101"), std::pair(0xffff'ffffU, "16777213"), std::pair(252U, "251")}) {
    DataplaneOptions other;
    other.underlay = prefix("2001:db8:0:1::/64");
    CHECK(check(other).has_value());
    other.maglev_size = size;
    CHECK(check(other).error().message().ends_with(std::string("the nearest is ") + nearest));
  }
  std::vector<std::string> fields;
  const auto error = made.error();
  for (const auto& field : error.fields()) fields.push_back(field.field);
  CHECK(fields == std::vector<std::string>{"underlay", "uplinks[1].port", "uplinks[1].router", "uplinks[2].port", "mtu",
                                           "connections", "fragments", "timeouts.udp", "maglev_size", "lease_seconds",
                                           "dns_v4[1]", "dns_v6[0]"});
}

TEST_CASE("a batch is applied as a whole or not at all, and can be listed with what it was given") {
  Host host(1);
  const auto& dataplane = *host.dataplane;
  const auto start = dataplane.revision();
  CHECK(all_of(dataplane).empty());
  const auto first = host.apply({interface("a", "10.0.0.1"), interface("b", "10.0.0.2"), rule("a", "all"),
                                 route("10.9.0.0/16", {"2001:db8:2::2", "2001:db8:2::1"}), balancer("lb"),
                                 LoadBalancerTarget{"lb", ip("2001:db8:2::1"), 1}});
  CHECK(first > start);
  CHECK(all_of(dataplane).size() == 6);
  const auto a = dataplane.get<Interface>(InterfaceKey{"a"}).value();
  REQUIRE(a.underlay.has_value());
  CHECK(prefix("2001:db8:0:1::/64").contains(*a.underlay));
  CHECK(dataplane.list<Route>().objects[0].next_hops.size() == 2);
  CHECK(dataplane.get<Route>(RouteKey{vni(100), prefix("10.9.0.0/16")}).value() == dataplane.list<Route>().objects[0]);
  CHECK(dataplane.get<Route>(RouteKey{vni(100), prefix("10.9.0.0/17")}).error().code() == ErrorCode::not_found);
  CHECK(dataplane.get<Route>(RouteKey{vni(101), prefix("10.9.0.0/16")}).error().code() == ErrorCode::not_found);
  CHECK(dataplane.get<Nat>(NatKey{"a"}).error().code() == ErrorCode::not_found);

  // The same once more is no change.
  CHECK(host.apply({interface("a", "10.0.0.1"), InterfaceKey{"x"}}) == first);
  CHECK(dataplane.get<Interface>(InterfaceKey{"a"}).value() == a);

  const auto before = all_of(dataplane);
  const std::vector<Change> bad = {interface("c", "10.0.0.3"), InterfaceKey{"a"}, interface("d", "10.0.0.2"),
                                   interface("e", "10.0.0.5", 0)};
  const auto refused = host.dataplane->apply(bad);
  REQUIRE_FALSE(refused.has_value());
  CHECK(refused.error().code() == ErrorCode::invalid);
  CHECK(refused.error().fields().at(0).field == "changes[3].vni");
  CHECK(all_of(dataplane) == before);
  CHECK(dataplane.revision() == first);

  auto on_uplink = interface("f", "10.0.0.6");
  on_uplink.port = "uplink";
  const auto forbidden = host.dataplane->apply(std::vector<Change>{interface("g"), on_uplink});
  REQUIRE_FALSE(forbidden.has_value());
  CHECK(forbidden.error().fields().at(0).field == "changes[1].port");
  CHECK(all_of(dataplane) == before);
}

TEST_CASE("a long list comes in pages, in the order of keys") {
  Host host(1);
  std::vector<Change> batch;
  for (int i = 0; i < 20; ++i) {
    batch.emplace_back(interface("i" + std::to_string(i), "10.0.0." + std::to_string(i + 1)));
    batch.emplace_back(route("10." + std::to_string(i) + ".0.0/16", {"2001:db8:2::1"}, i < 5 ? 7 : 100));
    batch.emplace_back(route("10." + std::to_string(i) + ".0.0/24", {"2001:db8:2::1"}, 100));
    batch.emplace_back(route("fd00:" + std::to_string(i) + "::/32", {"2001:db8:2::1"}, i < 5 ? 7 : 100));
  }
  host.apply(batch);
  const auto in_pages = [&]<class Object>(const Object*, auto key) {
    std::vector<Object> out;
    ConfigurationPage<Object> page;
    do {
      page = host.dataplane->list<Object>(7, key);
      CHECK(page.objects.size() <= 7);
      out.insert(out.end(), page.objects.begin(), page.objects.end());
      key = key_of(out.back());
    } while (page.has_more);
    CHECK(out == host.dataplane->list<Object>().objects);
    for (std::size_t i = 1; i < out.size(); ++i) CHECK(key_of(out[i - 1]) < key_of(out[i]));
    return out.size();
  };
  CHECK(in_pages(static_cast<const Interface*>(nullptr), std::optional<InterfaceKey>()) == 20);
  CHECK(in_pages(static_cast<const Route*>(nullptr), std::optional<RouteKey>()) == 60);
}

TEST_CASE("who watches has every change of every batch in its order, and only what is different") {
  for (std::uint32_t seed = 1; seed <= 5; ++seed) {
    Host host(1);
    Model model;
    auto seen = host.dataplane->revision();
    RandomBatches batches(seed);
    for (int i = 0; i < 300; ++i) {
      const auto before = all_of(*host.dataplane);
      const auto applied = host.dataplane->apply(batches.next());
      const auto news = host.dataplane->watch(seen, Instant::min());
      REQUIRE(news.has_value());
      const auto now = all_of(*host.dataplane);
      REQUIRE(news->size() == (now == before ? 0U : 1U));
      if (!applied.has_value()) REQUIRE(now == before);
      for (const auto& batch : *news) {
        CHECK(batch.revision > seen);
        seen = batch.revision;
        CHECK(seen == *applied);
        CHECK_FALSE(batch.changes->empty());
        for (const auto& change : *batch.changes) repeat(change, model);
      }
      REQUIRE(model == now);
    }
    CHECK(model.size() > 5);
  }
}

TEST_CASE("what is not remembered is gone, and so is what never was") {
  DataplaneOptions options;
  options.watched_changes = 4;
  Host host(1, {}, options);
  const auto& dataplane = *host.dataplane;
  const auto start = dataplane.revision();
  CHECK(dataplane.watch(start, Instant::min()).value().empty());
  CHECK(dataplane.watch(start + 1, Instant::max()).error().code() == ErrorCode::gone);
  CHECK(dataplane.watch(0, Instant::max()).error().code() == ErrorCode::gone);
  host.apply({interface("a", "10.0.0.1"), interface("b", "10.0.0.2"), interface("c", "10.0.0.3")});
  host.apply({InterfaceKey{"a"}});
  CHECK(dataplane.watch(start, Instant::min()).value().size() == 2);
  CHECK(dataplane.watch(start, Instant::min(), {}, 1).value().size() == 1);
  host.apply({InterfaceKey{"b"}});
  CHECK(dataplane.watch(start, Instant::min()).error().code() == ErrorCode::gone);
  CHECK(dataplane.watch(start + 1, Instant::min()).value().size() == 2);
  // More at once than is remembered.
  std::vector<Change> many;
  for (int i = 0; i < 5; ++i) many.emplace_back(interface("x" + std::to_string(i), "10.1.0." + std::to_string(i + 1)));
  const auto last = host.apply(many);
  CHECK(dataplane.watch(last - 1, Instant::min()).error().code() == ErrorCode::gone);
  CHECK(dataplane.watch(last, Instant::min()).value().empty());
}

TEST_CASE("who watches waits until something happens, the time is over, or it is stopped") {
  Host host(1);
  const auto start = host.dataplane->revision();
  std::atomic<std::size_t> seen = 0;
  std::jthread watcher([&](std::stop_token stop) {
    auto after = start;
    while (!stop.stop_requested()) {
      const auto news = host.dataplane->watch(after, Instant::max(), stop);
      CHECK(news.has_value());
      if (!news.has_value()) return;
      for (const auto& batch : *news) after = batch.revision;
      seen += news->size();
    }
  });
  for (std::size_t i = 1; i <= 3; ++i) {
    host.apply({interface("a", "10.0.0." + std::to_string(i))});
    REQUIRE(wait_until([&] { return seen == i; }));
  }
  const auto begin = host.clock.now();
  CHECK(host.dataplane->watch(host.dataplane->revision(), begin + std::chrono::milliseconds(2)).value().empty());
  CHECK(host.clock.now() >= begin + std::chrono::milliseconds(2));
}

TEST_CASE("machines of two hosts reach each other over a wire, and everything is counted") {
  Host left(1);
  Host right(2);
  REQUIRE(sim::Ports::wire(left.ports, "uplink", right.ports, "uplink").has_value());
  left.add(1, "10.0.0.1");
  right.add(2, "10.0.0.2");
  left.apply({route("10.0.0.2/32", {right.underlay_of(2)})});
  right.apply({route("10.0.0.1/32", {left.underlay_of(1)})});
  const auto there = left.frame(1, packet("10.0.0.1", "10.0.0.2"));
  const auto back = right.frame(2, v4(udp(53, 1000), {.source = "10.0.0.2", .destination = "10.0.0.1"}));
  for (int again = 0; again < 3; ++again) {
    REQUIRE(left.ports.inject("port-m1", there));
    left.step();
    right.step();
    const auto came = right.ports.take("port-m2");
    REQUIRE(came.size() == 1);
    CHECK(came[0].bytes.size() == there.size());
    REQUIRE(right.ports.inject("port-m2", back));
    right.step();
    left.step();
    CHECK(left.ports.take("port-m1").size() == 1);
  }
  // One from somebody else, and one to nowhere.
  REQUIRE(left.ports.inject("port-m1", left.frame(1, packet("10.0.0.7", "10.0.0.2"))));
  REQUIRE(left.ports.inject("port-m1", left.frame(1, packet("10.0.0.1", "10.7.0.2"))));
  left.step();

  const auto told = left.ports.take("port-m1");  // of the one to nowhere
  REQUIRE(told.size() == 1);

  const auto counters = left.dataplane->counters();
  CHECK(counters.packets[static_cast<std::size_t>(Drop::none)] == 6);
  CHECK(counters.icmp_errors == 1);
  CHECK(counters.packets[static_cast<std::size_t>(Drop::source_address)] == 1);
  CHECK(counters.packets[static_cast<std::size_t>(Drop::route)] == 1);
  CHECK(counters.slow_path == 3);
  CHECK(counters.fast_path == 5);
  CHECK(counters.connections == 1);
  CHECK(counters.connections_opened == 1);
  CHECK(counters.connections_expired == 0);
  CHECK(counters.bursts.bursts() == 7);
  CHECK(counters.bursts.sum_ns > 0);
  using Stages = std::map<std::string, StageCounters, std::less<>>;
  const auto by_name = [](const DataplaneCounters& all) {
    Stages out;
    for (std::size_t i = 0; i < stages; ++i)
      if (all.by_stage[i].reached != 0) out[std::string(name(static_cast<Stage>(i)))] = all.by_stage[i];
    return out;
  };
  CHECK(by_name(counters) ==
        Stages{{"sender", {3, 1}}, {"egress_rules", {2, 0}}, {"route", {2, 1}}, {"encapsulation", {1, 0}}});
  CHECK(by_name(right.dataplane->counters()) ==
        Stages{{"underlay", {1, 0}}, {"ingress_rules", {1, 0}}, {"route", {1, 0}}, {"delivery", {1, 0}}});
  CHECK(counters.most_connections == 1);
  CHECK(counters.connection_room == 10'000);
  CHECK(left.counters_of("m1") ==
        InterfaceCounters{"m1", 5, 5 * there.size(), 4, 3 * back.size() + told[0].bytes.size(), 1, 1, {}, true});
  CHECK(right.counters_of("m2") == InterfaceCounters{"m2", 3, 3 * back.size(), 3, 3 * there.size(), 0, 0, {}, true});
  const auto used = left.dataplane->ports();
  REQUIRE(used.size() == 2);
  CHECK(used[0].is_uplink);
  CHECK(used[0].interface.empty());
  CHECK(used[0].counters.sent_packets == 3);
  CHECK(used[1].state.spec.name == "port-m1");
  CHECK(used[1].interface == "m1");
  CHECK(used[1].counters.received_packets == 5);
  CHECK(left.ports.buffers_in_use() == 0);
  CHECK(right.ports.buffers_in_use() == 0);
}

TEST_CASE("a port may come before its interface or after it, go, and come back under another number") {
  Host host(1);
  host.add(2, "10.0.0.2");
  const auto send = [&] {
    REQUIRE(host.ports.inject("port-m2", host.frame(2, packet("10.0.0.2", "10.0.0.1"))));
    host.step();
    return host.ports.take("port-m1").size();
  };
  CHECK(send() == 0);
  REQUIRE(host.ports.open(port_spec("port-m1")).has_value());
  auto machine = interface("m1", "10.0.0.1");
  machine.mac = machine_mac(1);
  host.apply({machine, rule("m1", "all")});
  CHECK(send() == 1);
  REQUIRE(host.ports.close("port-m1").has_value());
  CHECK(send() == 0);
  CHECK(host.dataplane->counters().packets[static_cast<std::size_t>(Drop::port_gone)] == 1);
  REQUIRE(host.ports.open(port_spec("other")).has_value());  // it gets the number
  CHECK(send() == 0);
  CHECK(host.ports.take("other").empty());
  REQUIRE(host.ports.open(port_spec("port-m1")).has_value());
  CHECK(send() == 1);
  CHECK(host.counters_of("m1").received_packets == 2);
  CHECK(host.counters_of("m2").sent_packets == 5);
  CHECK(host.counters_of("m2").dropped + host.counters_of("m2").received_packets == 3);

  // The interface moves to another port and takes its counters along; who gets the old one begins anew.
  machine.port = "other";
  auto next = interface("m3", "10.0.0.3");
  next.port = "port-m1";
  next.mac = machine_mac(3);
  host.apply({machine, next});
  CHECK(send() == 0);
  CHECK(host.ports.take("other").size() == 1);
  CHECK(host.counters_of("m1").received_packets == 3);
  CHECK(host.counters_of("m3") == InterfaceCounters{.id = "m3", .has_port = true});
  host.apply({InterfaceKey{"m3"}, InterfaceKey{"m1"}});
  CHECK(host.dataplane->interface_counters().size() == 1);
}

TEST_CASE("an interface says whether its port is there, which may come, go and change") {
  Host host(1);
  host.apply({interface("m1", "10.0.0.1")});
  CHECK_FALSE(host.counters_of("m1").has_port);
  REQUIRE(host.ports.open(port_spec("port-m1")).has_value());
  CHECK(host.counters_of("m1").has_port);
  auto moved = interface("m1", "10.0.0.1");
  moved.port = "another";
  host.apply({moved});
  CHECK_FALSE(host.counters_of("m1").has_port);
  host.apply({interface("m1", "10.0.0.1")});
  CHECK(host.counters_of("m1").has_port);
  REQUIRE(host.ports.close("port-m1").has_value());
  CHECK_FALSE(host.counters_of("m1").has_port);
}

TEST_CASE("a machine whose MAC nobody told is known by what it says, and workers hear of it") {
  Host host(1);
  host.add(1, "10.0.0.1");
  host.apply({interface("m2", "10.0.0.2"), rule("m2", "all")});
  REQUIRE(host.ports.open(port_spec("port-m2")).has_value());
  const auto send = [&] {
    REQUIRE(host.ports.inject("port-m1", host.frame(1, packet("10.0.0.1", "10.0.0.2"))));
    host.step();
    return host.ports.take("port-m2");
  };
  const auto ask = [&](std::uint8_t number) {
    const auto mac = machine_mac(number).bytes();
    Bytes arp = {0, 1, 8, 0, 6, 4, 0, 1};
    arp.insert(arp.end(), mac.begin(), mac.end());
    arp = arp + Bytes{10, 0, 0, 2} + Bytes(6) + Bytes{169, 254, 0, 1};
    REQUIRE(host.ports.inject("port-m2", Bytes(6, 0xff) + Bytes(mac.begin(), mac.end()) + Bytes{8, 6} + arp));
    host.step();
    CHECK(host.ports.take("port-m2").size() == 1);
  };
  CHECK(send().empty());
  CHECK(host.dataplane->counters().packets[static_cast<std::size_t>(Drop::neighbour)] == 1);
  for (const std::uint8_t number : std::initializer_list<std::uint8_t>{2, 7}) {
    ask(number);
    host.dataplane->tend();
    const auto came = send();
    REQUIRE(came.size() == 1);
    const auto mac = machine_mac(number).bytes();
    CHECK(std::equal(mac.begin(), mac.end(), came[0].bytes.begin()));
    CHECK(host.counters_of("m2").heard_mac == machine_mac(number));
  }
  CHECK_FALSE(host.counters_of("m1").heard_mac.has_value());  // told, not heard
  const auto counters = host.dataplane->counters();
  CHECK(counters.answers == 2);
  CHECK(counters.answers_by_service[static_cast<std::size_t>(GatewayService::arp)] == 2);
  // Whoever gets the number of an interface does not get what it was heard to say.
  ask(9);
  host.apply({InterfaceKey{"m2"}});
  host.apply({interface("m4", "10.0.0.4")});
  host.dataplane->tend();
  CHECK_FALSE(host.counters_of("m4").heard_mac.has_value());
}

TEST_CASE("an uplink that goes down, goes away and comes back is not used meanwhile") {
  Host host(1);
  host.add(1, "10.0.0.1");
  host.apply({route("10.0.0.0/8", {"2001:db8:2::1"})});
  const auto send = [&] {
    REQUIRE(host.ports.inject("port-m1", host.frame(1, packet("10.0.0.1", "10.9.0.2"))));
    host.step();
    return host.ports.take("uplink").size();
  };
  const auto refused = [&] { return host.dataplane->counters().packets[static_cast<std::size_t>(Drop::uplink)]; };
  CHECK(send() == 1);
  REQUIRE(host.ports.set_link("uplink", sim::Ports::Link::down).has_value());
  CHECK(send() == 0);
  CHECK(refused() == 1);
  REQUIRE(host.ports.set_link("uplink", sim::Ports::Link::up).has_value());
  CHECK(send() == 1);
  REQUIRE(host.ports.close("uplink").has_value());
  CHECK(send() == 0);
  CHECK(refused() == 2);
  REQUIRE(host.ports.open(port_spec("other")).has_value());  // it gets the number
  CHECK(send() == 0);
  REQUIRE(host.ports.open(port_spec("uplink")).has_value());
  CHECK(send() == 1);
  CHECK(host.ports.take("other").empty());
}

TEST_CASE("a worker that sleeps wakes up for a packet, and when it is stopped") {
  sim::VirtualClock virtual_clock;  // by which it would sleep for ever
  NullLog log;
  sim::Ports ports(virtual_clock, {.queues = 2});
  DataplaneOptions options;
  options.announces = false;
  options.underlay = prefix("2001:db8:0:1::/64");
  options.connections = 100;
  const auto dataplane = Dataplane::create(options, ports, virtual_clock, log).value();
  REQUIRE(dataplane->workers() == 2);
  for (const auto* id : {"a", "b"}) REQUIRE(ports.open(port_spec(std::string("port-") + id)).has_value());
  auto a = interface("a", "10.0.0.1");
  auto b = interface("b", "10.0.0.2");
  a.mac = machine_mac(1);
  b.mac = machine_mac(2);
  REQUIRE(dataplane->apply(std::vector<Change>{a, b, rule("b", "all")}).has_value());
  std::vector<std::jthread> threads;
  for (std::size_t i = 0; i < 2; ++i) threads.emplace_back([&, i](std::stop_token stop) { dataplane->run(i, stop); });
  threads.emplace_back([&](std::stop_token stop) { dataplane->run_control(stop); });
  for (std::size_t queue = 0; queue < 2; ++queue) {
    REQUIRE(wait_until([&] { return virtual_clock.waiting() == 3; }));
    REQUIRE(
        ports.inject("port-a", ethernet(ports.list()[0].mac, machine_mac(1), packet("10.0.0.1", "10.0.0.2")), queue));
    CHECK(wait_until([&] { return ports.take("port-b").size() == 1; }));
  }
  REQUIRE(wait_until([&] { return virtual_clock.waiting() == 3; }));
  threads.clear();
}

TEST_CASE("connections die of age while nothing comes") {
  sim::VirtualClock clock;
  NullLog log;
  sim::Ports ports(clock);
  DataplaneOptions options;
  options.announces = false;
  options.underlay = prefix("2001:db8:0:1::/64");
  options.connections = 100;
  options.timeouts.udp = std::chrono::seconds(30);
  const auto steps = [](Dataplane& dataplane) {
    for (int i = 0; i < 300; ++i) dataplane.step(0);
    return dataplane.counters().connections;
  };
  const auto dataplane = Dataplane::create(options, ports, clock, log).value();
  for (const auto* id : {"a", "b"}) REQUIRE(ports.open(port_spec(std::string("port-") + id)).has_value());
  auto a = interface("a", "10.0.0.1");
  auto b = interface("b", "10.0.0.2");
  a.mac = machine_mac(1);
  b.mac = machine_mac(2);
  REQUIRE(dataplane->apply(std::vector<Change>{a, b, rule("b", "all")}).has_value());
  REQUIRE(ports.inject("port-a", ethernet(ports.list()[0].mac, machine_mac(1), packet("10.0.0.1", "10.0.0.2"))));
  CHECK(steps(*dataplane) == 1);
  clock.advance(std::chrono::seconds(29));
  CHECK(steps(*dataplane) == 1);
  clock.advance(std::chrono::seconds(3));
  CHECK(steps(*dataplane) == 0);
}

TEST_CASE("thousands of connections die of age within a few rounds of nothing, and none comes back to life") {
  sim::VirtualClock clock;
  NullLog log;
  sim::Ports ports(clock);
  DataplaneOptions options;
  options.announces = false;
  options.underlay = prefix("2001:db8:0:1::/64");
  options.connections = 10'000;
  options.timeouts.udp = std::chrono::seconds(30);
  const auto dataplane = Dataplane::create(options, ports, clock, log).value();
  for (const auto* id : {"a", "b"}) REQUIRE(ports.open(port_spec(std::string("port-") + id)).has_value());
  auto a = interface("a", "10.0.0.1");
  auto b = interface("b", "10.0.0.2");
  a.mac = machine_mac(1);
  b.mac = machine_mac(2);
  REQUIRE(dataplane->apply(std::vector<Change>{a, b, rule("b", "all")}).has_value());
  const auto send = [&](const std::string& port, std::uint32_t from, const Bytes& ip) {
    REQUIRE(ports.inject(port, ethernet(ports.list()[from - 1].mac, machine_mac(from), ip)));
    dataplane->step(0);
  };
  const auto udp_of = [](const char* from, std::uint16_t from_port, const char* to, std::uint16_t to_port) {
    return checksummed(v4(udp(from_port, to_port), {.source = from, .destination = to}));
  };
  constexpr std::uint16_t flows = 5000;
  for (std::uint16_t i = 1; i <= flows; ++i) {
    send("port-a", 1, udp_of("10.0.0.1", i, "10.0.0.2", 53));
    ports.take("port-b");
  }
  CHECK(dataplane->counters().connections == flows);
  clock.advance(std::chrono::seconds(31));
  // The first thing that comes is an answer, too late: nothing lets it in.
  send("port-b", 2, udp_of("10.0.0.2", 53, "10.0.0.1", flows));
  CHECK(ports.take("port-a").empty());
  CHECK(dataplane->counters().packets[static_cast<std::size_t>(Drop::ingress_rule)] == 1);
  for (int i = 0; i < 60; ++i) dataplane->step(0);
  CHECK(dataplane->counters().connections == 0);
}

TEST_CASE("a running worker explains what it would do, and does not do it") {
  Host host(1, {.queues = 2});
  host.add(1, "10.0.0.1");
  host.add(2, "10.0.0.2");
  const auto good = host.frame(1, packet("10.0.0.1", "10.0.0.2"));
  const auto bad = host.frame(1, packet("10.0.0.9", "10.0.0.2"));
  const auto explain = [&](const std::string& port, const Bytes& frame, std::size_t worker = 0,
                           std::chrono::milliseconds most = std::chrono::seconds(20), std::stop_token stop = {}) {
    return host.dataplane->explain(port, frame, host.clock.now() + most, std::move(stop), worker);
  };
  CHECK(explain("x", good).error().code() == ErrorCode::not_found);
  CHECK(explain("port-m1", good, 2).error().code() == ErrorCode::not_found);
  CHECK(explain("port-m1", Bytes(9217)).error().code() == ErrorCode::invalid);
  CHECK(explain("port-m1", good, 0, std::chrono::milliseconds(1)).error().code() == ErrorCode::timeout);
  std::stop_source stopped;
  stopped.request_stop();
  CHECK(explain("port-m1", good, 0, std::chrono::seconds(20), stopped.get_token()).error().code() ==
        ErrorCode::cancelled);
  const Running running(host);
  std::vector<std::jthread> askers;
  for (std::size_t worker = 0; worker < 2; ++worker) {
    askers.emplace_back([&, worker] {
      for (int again = 0; again < 20; ++again) {
        const auto there = explain("port-m1", good, worker);
        CHECK(there.has_value());
        if (!there) return;
        CHECK(there->drop == Drop::none);
        CHECK(there->frame.size() == good.size());
        CHECK_FALSE(there->steps.empty());
        CHECK(explain("port-m1", bad, worker).value().drop == Drop::source_address);
        CHECK(explain("port-m1", {}, worker).value().drop == Drop::malformed);
      }
    });
  }
  askers.clear();
  CHECK(host.ports.take("port-m2").empty());
  CHECK(host.dataplane->counters().connections == 0);
  CHECK(host.ports.buffers_in_use() == 0);
}

TEST_CASE("nothing is lost while batches are applied under load") {
  Host host(1, {.queues = 2, .waiting_frames = 256});
  host.add(1, "10.0.0.1");
  host.add(2, "10.0.0.2");
  std::atomic<bool> is_over = false;
  std::atomic<std::size_t> came = 0;
  std::atomic<std::size_t> sent = 0;
  std::size_t batches = 0;
  const Running running(host);
  std::jthread control([&] {
    RandomBatches random(1);
    // Of the things that the traffic does not need; the worlds share a network and its addresses, though.
    while (!is_over) {
      std::vector<Change> routes;
      for (std::uint32_t i = 0; i < 50; ++i)
        routes.push_back(route("10." + std::to_string(random.pick(200) + 1) + ".0.0/16",
                               {"2001:db8:2::" + std::to_string(random.pick(9) + 1)}, 100 + random.pick(2)));
      auto elsewhere = interface("x", "10.0.0.3", 100 + random.pick(2));
      routes.emplace_back(elsewhere);
      if (random.pick(2) == 0) routes.emplace_back(InterfaceKey{"x"});
      CHECK(host.dataplane->apply(routes).has_value());
      CHECK(host.dataplane->list<Route>().objects.size() > 0);
      host.dataplane->counters();
      host.dataplane->interface_counters();
      ++batches;
    }
  });
  std::jthread receiver([&] {
    const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(60);
    while (came < sent || !is_over) {
      came += host.ports.take("port-m2").size();
      if (std::chrono::steady_clock::now() > end) return;
    }
  });
  constexpr std::size_t count = 20'000;
  constexpr std::size_t on_the_way = 64;
  for (std::size_t i = 0; i < count; ++i) {
    REQUIRE(wait_until([&] { return i - came < on_the_way; }));
    const auto frame = host.frame(1, packet("10.0.0.1", "10.0.0.2", static_cast<std::uint16_t>(1 + i % 100)));
    REQUIRE(host.ports.inject("port-m1", frame, i % 2));
    ++sent;
  }
  CHECK(wait_until([&] { return came == count; }));
  is_over = true;
  control.join();
  receiver.join();
  CHECK(batches > 10);
  REQUIRE(wait_until([&] { return host.ports.buffers_in_use() == 0; }));
  const auto counters = host.dataplane->counters();
  CHECK(counters.packets[0] == count);
  for (std::size_t i = 1; i < drop_reasons; ++i) CHECK(counters.packets[i] == 0);
}

TEST_CASE("ports come and go under traffic, and no frame goes astray") {
  Host host(1, {.queues = 2, .buffers = 4096});
  host.add(1, "10.0.0.1");
  host.add(2, "10.0.0.2");
  host.add(3, "10.0.0.3");
  const auto to_2 = host.frame(1, packet("10.0.0.1", "10.0.0.2"));
  const auto to_3 = host.frame(1, packet("10.0.0.1", "10.0.0.3"));
  {
    const Running running(host);
    std::jthread sender([&](std::stop_token stop) {
      for (std::size_t i = 0; !stop.stop_requested(); ++i) {
        host.ports.inject("port-m1", to_2, i % 2);
        host.ports.inject("port-m1", to_3, i % 2);
        if (i % 16 == 0) std::this_thread::yield();
      }
    });
    // Two ports change their numbers with each other again and again.
    for (int again = 0; again < 300; ++again) {
      for (const auto* name : {"port-m2", "port-m3"}) REQUIRE(host.ports.close(name).has_value());
      const bool is_even = again % 2 == 0;
      for (const auto* name : {is_even ? "port-m3" : "port-m2", is_even ? "port-m2" : "port-m3"})
        REQUIRE(host.ports.open(port_spec(name)).has_value());
      for (const std::uint32_t number : {2U, 3U}) {
        std::size_t seen = 0;
        REQUIRE(wait_until([&] {
          for (const auto& frame : host.ports.take("port-m" + std::to_string(number))) {
            ++seen;
            if (frame.bytes.at(14 + 19) != number) FAIL("a frame for another machine");
          }
          return seen > 0;
        }));
      }
    }
  }
  // What was on its way from one worker to the other when both stopped.
  for (std::size_t moved = 1; moved > 0;) moved = host.dataplane->step(0) + host.dataplane->step(1);
  for (const auto* name : {"port-m1", "port-m2", "port-m3"}) REQUIRE(host.ports.close(name).has_value());
  CHECK(host.ports.buffers_in_use() == 0);
}

TEST_CASE("a host may have 4,096 ports") {
  Host host(1, {.buffers = 8192});
  std::vector<Change> batch;
  constexpr std::uint32_t machines = 4095;
  const auto address = [](std::uint32_t number) { return IpAddress::v4(0x0a000000 + number + 1).to_text(); };
  for (std::uint32_t i = 0; i < machines; ++i) {
    const auto id = "m" + std::to_string(i);
    auto machine = interface(id, address(i));
    machine.mac = machine_mac(i);
    batch.emplace_back(machine);
    batch.emplace_back(rule(id, "all"));
  }
  host.apply(batch);
  for (std::uint32_t i = 0; i < machines; ++i)
    REQUIRE(host.ports.open(port_spec("port-m" + std::to_string(i))).has_value());
  for (std::uint32_t i = 0; i < machines; ++i)
    REQUIRE(host.ports.inject("port-m" + std::to_string(i),
                              ethernet(router, machine_mac(i), packet(address(i), address((i + 1) % machines)))));
  CHECK(host.dataplane->step(0) == machines);
  std::size_t came = 0;
  for (std::uint32_t i = 0; i < machines; ++i) came += host.ports.take("port-m" + std::to_string(i)).size();
  CHECK(came == machines);
  CHECK(host.ports.buffers_in_use() == 0);
}

TEST_CASE("a host may have 65,536 networks, and no more") {
  Host host(1);
  std::vector<Change> batch;
  const auto route_in = [](std::uint32_t number) {
    return Route{Vni::make(number).value(), prefix("0.0.0.0/0"), {{ip("2001:db8:0:99:d000::1"), 1}}};
  };
  for (std::uint32_t i = 1; i <= 65'536; ++i) batch.emplace_back(route_in(i));
  host.apply(batch);
  const auto one_more = host.dataplane->apply(std::vector<Change>{route_in(65'537)});
  REQUIRE_FALSE(one_more.has_value());
  CHECK(one_more.error().message().find("65536") != std::string::npos);
  CHECK(host.dataplane->get<Route>(RouteKey{Vni::make(65'536).value(), prefix("0.0.0.0/0")}).has_value());
  // The last one works like the first.
  auto machine = interface("m1", "10.0.0.1");
  machine.vni = Vni::make(65'536).value();
  machine.mac = machine_mac(1);
  host.apply({machine, rule("m1", "all")});
  REQUIRE(host.ports.open(port_spec("port-m1")).has_value());
  REQUIRE(host.ports.inject("port-m1", ethernet(router, machine_mac(1), packet("10.0.0.1", "10.0.0.9"))));
  host.dataplane->step(0);
  CHECK(host.ports.take("uplink").size() == 1);
}

TEST_CASE("the gateway says by itself that it is there: often at first, then now and then") {
  sim::VirtualClock clock;
  NullLog log;
  sim::Ports ports(clock);
  DataplaneOptions options;
  options.underlay = prefix("2001:db8:0:1::/64");
  options.connections = 100;
  const auto dataplane = Dataplane::create(options, ports, clock, log).value();
  for (const auto* id : {"a", "b"}) REQUIRE(ports.open(port_spec(std::string("port-") + id)).has_value());
  auto a = interface("a", "10.0.0.1");
  auto b = interface("b", "10.0.0.2");
  a.mac = machine_mac(1);
  b.ipv6 = ip("fd00::2");
  REQUIRE(dataplane->apply(std::vector<Change>{a, b}).has_value());
  const auto heard = [&](const std::string& port) {
    std::map<std::uint16_t, int> types;
    for (const auto& frame : ports.take(port))
      ++types[static_cast<std::uint16_t>(frame.bytes[12] << 8 | frame.bytes[13])];
    return types;
  };
  const auto run_for = [&](int seconds) {
    for (int i = 0; i < seconds; ++i, clock.advance(std::chrono::seconds(1))) dataplane->step(0);
  };
  run_for(1);
  CHECK(heard("port-a") == std::map<std::uint16_t, int>{{0x0806, 1}});
  CHECK(heard("port-b") == std::map<std::uint16_t, int>{{0x0806, 1}, {0x86dd, 2}});
  run_for(20);
  CHECK(heard("port-a") == std::map<std::uint16_t, int>{{0x0806, 4}});
  run_for(60);
  heard("port-a");
  run_for(90);
  CHECK(heard("port-a") == std::map<std::uint16_t, int>{{0x0806, 3}});
  heard("port-b");
  CHECK(ports.buffers_in_use() == 0);
}

TEST_CASE("flows that are looked at again, opened and forgotten are counted, and so is what goes round") {
  Host host(1);
  host.add(1, "10.0.0.1");
  host.add(2, "10.0.0.2");
  const auto send = [&](std::uint16_t port) {
    REQUIRE(host.ports.inject("port-m1", host.frame(1, packet("10.0.0.1", "10.0.0.2", port))));
    host.step();
    return host.ports.take("port-m2").size();
  };
  for (int i = 0; i < 3; ++i) CHECK(send(1000) == 1);
  auto counters = host.dataplane->counters();
  CHECK(counters.fast_path == 2);
  CHECK(counters.connections_opened == 1);
  CHECK(counters.rechecks_kept == 0);

  // Another rule changes nothing for the flow; without any it has no right any more, and the next one neither.
  host.apply({rule("m2", "more")});
  CHECK(send(1000) == 1);
  counters = host.dataplane->counters();
  CHECK(counters.rechecks_kept == 1);
  CHECK(counters.rechecks_ended == 0);
  CHECK(counters.fast_path == 3);
  host.apply({FirewallRuleKey{"m2", "more"}, FirewallRuleKey{"m2", "all"}});
  CHECK(send(1000) == 0);
  counters = host.dataplane->counters();
  CHECK(counters.rechecks_kept == 1);
  CHECK(counters.rechecks_ended == 1);
  CHECK(counters.connections == 0);
  CHECK(counters.fast_path == 3);
  const auto& rules = counters.by_stage[static_cast<std::size_t>(Stage::ingress_rules)];
  CHECK(rules.reached == 4);
  CHECK(rules.refused == 2);

  // By its public address a machine of this host is reached round a corner: both halves are flows.
  host.apply({rule("m2", "all"), VirtualIp{"m2", ip("192.0.2.7"), {}}, route("0.0.0.0/0", {"2001:db8:ffff::1"})});
  const auto before = host.dataplane->counters();
  for (int i = 0; i < 3; ++i) {
    REQUIRE(host.ports.inject("port-m1", host.frame(1, packet("10.0.0.1", "192.0.2.7", 2000))));
    host.step();
    CHECK(host.ports.take("port-m2").size() == 1);
  }
  counters = host.dataplane->counters();
  CHECK(counters.connections_opened == before.connections_opened + 2);
  CHECK(counters.fast_path == before.fast_path + 4);
  CHECK(counters.slow_path == before.slow_path + 2);
  CHECK(counters.by_stage[static_cast<std::size_t>(Stage::virtual_ip)].reached == 1);
  CHECK(counters.connections == counters.connections_opened - counters.rechecks_ended - counters.connections_expired);
}
