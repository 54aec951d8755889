// SPDX-License-Identifier: Apache-2.0
// Snapshots: what changes step by step is what a fresh start would make; and who depends on a change hears of it.
#include "dataplane/compiler.hpp"

#include <doctest/doctest.h>

#include <map>
#include <set>
#include <string>
#include <vector>

#include "configuration_objects.hpp"

using namespace ironcore;
using namespace ironcore::network;
using namespace ironcore::network::dataplane;
using namespace ironcore::network::tests;

namespace {

constexpr std::uint32_t maglev_size = 251;

struct Host {
  Desired desired{prefix("2001:db8:1:1::/64"), 42};
  Compiler compiler{prefix("2001:db8:1:1::/64"), {.maglev_size = maglev_size}};
  Generations generations;
  std::unique_ptr<const Snapshot> snapshot;

  void apply(const std::vector<Change>& changes) {
    auto dirty = desired.apply(changes);
    REQUIRE_MESSAGE(dirty.has_value(), dirty.error().message());
    snapshot = compiler.compile(desired, *dirty, generations);
  }
  /// Whether a connection that was checked before the last batch and depends on this has to be checked again.
  bool is_changed(Generations::Slot slot) const {
    return !generations.is_unchanged(std::array<Generations::Slot, 2>{slot, Generations::nothing},
                                     snapshot->number - 1);
  }
  const InterfaceView& view(const std::string& id) const { return *snapshot->interfaces[compiler.interface_index(id)]; }
};

/// Everything is dirty.
Dirty all_of(const Desired& desired) {
  Dirty out;
  for (const auto& [key, object] : desired.interfaces()) out.interfaces.insert(key.id);
  for (const auto& [key, object] : desired.load_balancers()) out.load_balancers.insert(key.id);
  for (const auto& [key, object] : desired.neighbour_nats()) out.neighbours.insert(key);
  for (const auto& [key, object] : desired.virtual_services()) out.virtual_services.insert(key.id);
  for (const auto& entry : desired.routes()) {
    auto& prefixes = out.routes[entry.first];
    entry.second.v4.for_each([&](PrefixBits bits, unsigned length, std::uint32_t) {
      prefixes.push_back(Prefix::make(IpAddress::v4(static_cast<std::uint32_t>(bits.high >> 32)), length).value());
    });
  }
  return out;
}

/// Those of `RandomBatches`, but for one that is never there.
void add_ports(Compiler& compiler) {
  for (std::uint32_t i = 0; i < 6; ++i) compiler.add_port("port" + std::to_string(i), 10 + i, MacAddress());
}

std::string text_of(const UnderlayBytes& bytes) {
  return IpAddress::v6(bytes).to_text();
}

/// What a snapshot says, by names instead of numbers.
std::string text_of(const Snapshot& snapshot) {
  std::string out;
  const auto name = [&](std::uint32_t interface) { return snapshot.interfaces[interface]->told.id; };
  const auto maps = [&](const std::string& what, const PrefixMaps& map, auto text) {
    for (const bool is_v6 : {false, true}) {
      map.of(is_v6).for_each([&](PrefixBits bits, unsigned length, std::uint32_t value) {
        out += what + " " + std::to_string(bits.high) + "/" + std::to_string(length) + " " + text(value) + "\n";
      });
    }
  };
  std::set<std::string> interfaces;
  for (std::size_t i = 0; i < snapshot.interfaces.size(); ++i) {
    const auto* view = snapshot.interfaces[i].get();
    if (view == nullptr) continue;
    const auto before = out;
    const auto port = snapshot.attachments[i].port;
    out = view->told.id + " " + text_of(view->underlay) + (port == no_port ? " - " : " port ");
    if (port != no_port) {
      CHECK(snapshot.ports[port].kind == PortView::Kind::machine);
      CHECK(snapshot.ports[port].interface == i);
      out += std::to_string(port) + " ";
    }
    maps("own", view->own, [](std::uint32_t) { return std::string(); });
    if (view->virtual_ipv4) out += "vip " + view->virtual_ipv4->address.to_text();
    if (view->nat) out += "nat " + view->nat->address.to_text() + ":" + std::to_string(view->nat->first_port);
    out += std::to_string(view->ingress.actions.size()) + " rules\n";
    interfaces.insert(out);
    out = before;
  }
  for (const auto& one : interfaces) out += one;
  for (std::size_t i = 0; i < snapshot.ports.size(); ++i) {
    const auto& port = snapshot.ports[i];
    if (port.kind == PortView::Kind::machine) out += "port " + std::to_string(i) + " " + name(port.interface) + "\n";
  }
  std::set<std::string> balancers;
  for (std::size_t i = 0; i < snapshot.load_balancers.size(); ++i) {
    const auto* view = snapshot.load_balancers[i].get();
    if (view == nullptr) continue;
    std::string one = view->told.id + " to";
    for (const auto& target : view->targets) one += " " + text_of(snapshot.next_hops[target]);
    for (const auto place : view->choice.places()) one += std::to_string(place);
    balancers.insert(one + "\n");
  }
  for (const auto& one : balancers) out += one;
  snapshot.underlays.for_each([&](PrefixBits bits, unsigned, std::uint32_t number) {
    const auto& view = snapshot.underlay_views[number];
    const bool is_balancer = view.use == UnderlayUse::load_balancer;
    out += "underlay " + std::to_string(bits.high) + " " + std::to_string(static_cast<int>(view.use)) + " " +
           (is_balancer                                ? snapshot.load_balancers[view.index]->told.id
            : view.use == UnderlayUse::virtual_service ? snapshot.virtual_services[view.index]->told.id
                                                       : name(view.index)) +
           "\n";
  });
  snapshot.served.for_each([&](PrefixBits bits, unsigned, std::uint32_t number) {
    out += "served " + std::to_string(bits.high) + " " + snapshot.virtual_services[number]->told.id + "\n";
  });
  for (const auto& route : snapshot.link_routes) out += "on the link " + route.to_text() + "\n";
  snapshot.networks.for_each([&](PrefixBits bits, unsigned, std::uint32_t number) {
    const auto& network = *snapshot.network_views[number];
    out += "network " + std::to_string(bits.high >> 40) + "\n";
    maps("local", network.local, name);
    maps("balanced", network.balanced, [&](std::uint32_t index) { return snapshot.load_balancers[index]->told.id; });
    maps("route", network.routes, [&](std::uint32_t set) {
      std::string hops;
      for (const auto& hop : snapshot.next_hop_sets[set])
        hops += text_of(snapshot.next_hops[hop.address]) + "*" + std::to_string(hop.weight) + " ";
      return hops;
    });
  });
  snapshot.publics.for_each([&](PrefixBits bits, unsigned, std::uint32_t number) {
    out += "public " + std::to_string(bits.high) + ":";
    for (const auto& range : snapshot.public_ranges[number])
      out += " " + std::to_string(range.first_port) + "-" + std::to_string(range.last_port) + " " +
             text_of(snapshot.next_hops[range.next_hop]) +
             (range.interface == PublicRange::elsewhere ? "" : " " + name(range.interface));
    out += "\n";
  });
  return out;
}

}  // namespace

TEST_CASE("whatever batches there were, the snapshot is the one of a fresh start, and older ones stay as they were") {
  RandomBatches batches(5);
  Host host;
  add_ports(host.compiler);
  std::vector<std::pair<std::unique_ptr<const Snapshot>, std::string>> older;
  int applied = 0;
  for (int round = 0; round < 6000; ++round) {
    const auto dirty = host.desired.apply(batches.next());
    if (!dirty.has_value()) continue;
    ++applied;
    host.snapshot = host.compiler.compile(host.desired, *dirty, host.generations);
    const auto text = text_of(*host.snapshot);
    Compiler fresh(prefix("2001:db8:1:1::/64"), {.maglev_size = maglev_size});
    add_ports(fresh);
    Generations generations;
    REQUIRE(text == text_of(*fresh.compile(host.desired, all_of(host.desired), generations)));
    if (round % 50 == 0) older.emplace_back(std::move(host.snapshot), text);
  }
  CHECK(applied > 1000);
  bool is_same = true;
  for (const auto& [snapshot, text] : older) is_same = is_same && text_of(*snapshot) == text;
  CHECK(is_same);
}

TEST_CASE("things keep their numbers while others come and go") {
  Host host;
  host.apply({interface("a", "10.0.0.1"), interface("b", "10.0.0.2"), balancer("lb")});
  const auto a = host.compiler.interface_index("a");
  const auto b = host.compiler.interface_index("b");
  CHECK(a != b);
  host.apply({InterfaceKey{"a"}});
  CHECK(host.snapshot->interfaces[a] == nullptr);
  host.apply({interface("c", "10.0.0.3"), interface("b", "10.0.0.4"), rule("b", "r")});
  CHECK(host.compiler.interface_index("b") == b);
  CHECK(host.compiler.interface_index("c") == a);  // used again
  CHECK(host.view("b").told.ipv4 == ip("10.0.0.4"));
  CHECK(host.view("b").ingress.actions.size() == 1);
}

TEST_CASE("an underlay address leads to what it is for") {
  Host host;
  auto target = InterfacePrefix{"a", prefix("192.0.2.9/32"), InterfacePrefix::Use::load_balancer, {}};
  host.apply({interface("a"), target, nat("a", 1, 9), balancer("lb")});
  const auto find = [&](const IpAddress& address) { return host.snapshot->underlay(address.bytes().data() + 8); };
  const auto* interface_view = find(*host.desired.interfaces().at({"a"}).underlay);
  REQUIRE(interface_view != nullptr);
  CHECK(interface_view->use == UnderlayUse::interface);
  CHECK(interface_view->index == host.compiler.interface_index("a"));
  const auto* target_view = find(*host.desired.prefixes().begin()->second.underlay);
  REQUIRE(target_view != nullptr);
  CHECK(target_view->use == UnderlayUse::load_balancer_target);
  CHECK(find(*host.desired.nats().begin()->second.underlay)->use == UnderlayUse::nat);
  CHECK(find(*host.desired.load_balancers().begin()->second.underlay)->use == UnderlayUse::load_balancer);
  CHECK(find(ip("2001:db8:1:1:d0ff::1")) == nullptr);
  // What a target may send from, but is not routed to it.
  CHECK(host.view("a").own.v4.find(bits_of(ip("192.0.2.9"))).has_value());
  CHECK_FALSE(host.snapshot->network(vni(100))->local.v4.find(bits_of(ip("192.0.2.9"))).has_value());
}

TEST_CASE("a deny goes before an allow of the same priority, whatever they are called") {
  Host host;
  auto allow = rule("a", "1");
  auto deny = rule("a", "2");
  deny.action = FirewallRule::Action::deny;
  const auto verdict = [&] {
    Classifier::Query query;
    query.protocol = protocol_tcp;
    const auto& rules = host.view("a").ingress;
    return rules.actions[rules.classifier.find(query)];
  };
  host.apply({interface("a"), allow, deny});
  CHECK(verdict() == FirewallRule::Action::deny);
  allow.priority = 999;
  host.apply({allow});
  CHECK(verdict() == FirewallRule::Action::allow);
}

TEST_CASE("a change is noted for what depends on it, and hardly for anything else") {
  Host host;
  host.apply({interface("a", "10.0.0.1"), interface("b", "10.0.1.2"), balancer("lb"), nat("a", 1, 9),
              route("10.9.0.0/24", {"2001:db8:2:2::1"}), route("0.0.0.0/0", {"2001:db8:2:2::1"})});
  const auto route_to = [](std::string_view address, std::uint32_t network = 100) {
    return Generations::route(vni(network), false, bits_of(ip(address)));
  };
  const auto interface_slot = [&](const std::string& id) {
    return Generations::interface(host.compiler.interface_index(id));
  };
  const auto check_only = [&](std::set<Generations::Slot> wanted) {
    for (const auto slot :
         {route_to("10.0.0.1"), route_to("10.9.0.77"), route_to("10.8.0.1"), route_to("10.9.0.77", 101),
          Generations::network(vni(100)), Generations::network(vni(101)), interface_slot("a"), interface_slot("b"),
          Generations::load_balancer(host.compiler.load_balancer_index("lb")),
          Generations::nat(bits_of(ip("192.0.2.1")))})
      CHECK(host.is_changed(slot) == (wanted.count(slot) == 1));
  };
  host.apply({});
  check_only({});
  host.apply({route("10.9.0.0/24", {"2001:db8:2:2::2"})});
  check_only({route_to("10.9.0.77")});
  host.apply({RouteKey{vni(100), prefix("0.0.0.0/0")}});
  check_only({Generations::network(vni(100))});
  host.apply({rule("b", "r")});
  check_only({interface_slot("b"), route_to("10.0.1.2")});
  host.apply({LoadBalancerTarget{"lb", ip("2001:db8:2:2::1"), 1}});
  check_only({Generations::load_balancer(host.compiler.load_balancer_index("lb"))});
  host.apply({NeighbourNat{vni(100), ip("192.0.2.1"), 20, 30, ip("2001:db8:2:2::1")}});
  check_only({Generations::nat(bits_of(ip("192.0.2.1")))});
}

TEST_CASE("a port may come before its interface or after it, go and come back") {
  Host host;
  const auto port_of = [&] { return host.snapshot->attachments[host.compiler.interface_index("a")].port; };
  host.apply({interface("a")});
  CHECK(port_of() == no_port);
  host.compiler.add_port("port-a", 3, MacAddress());
  host.apply({});
  CHECK(port_of() == 3);
  CHECK(host.snapshot->ports[3].kind == PortView::Kind::machine);
  host.compiler.remove_port("port-a");
  host.apply({});
  CHECK(port_of() == no_port);
  CHECK(host.snapshot->ports[3].kind == PortView::Kind::none);
  host.compiler.add_port("port-a", 5, MacAddress());
  host.apply({});
  CHECK(port_of() == 5);
  host.apply({InterfaceKey{"a"}});
  CHECK(host.snapshot->ports[5].kind == PortView::Kind::none);
  host.apply({interface("a")});
  CHECK(port_of() == 5);
}

TEST_CASE("a machine's MAC is the one that was told, or else the one that was learned") {
  const auto first = MacAddress::parse("02:00:00:00:00:01").value();
  const auto second = MacAddress::parse("02:00:00:00:00:02").value();
  Host host;
  host.apply({interface("a")});
  CHECK_FALSE(host.view("a").mac.has_value());
  host.compiler.learn_mac("a", first);
  host.apply({});
  CHECK(host.view("a").mac == first);
  host.apply({rule("a", "r")});
  CHECK(host.view("a").mac == first);
  auto told = interface("a");
  told.mac = second;
  host.apply({told});
  CHECK(host.view("a").mac == second);
  host.compiler.learn_mac("a", first);
  host.apply({});
  CHECK(host.view("a").mac == second);
}

TEST_CASE("routes to many next hops forget those that nobody uses") {
  Host host;
  for (std::uint32_t round = 0; round < 200; ++round)
    host.apply({route("10.9.0.0/24", {"2001:db8:2:2::" + std::to_string(round % 50 + 1)})});
  CHECK(host.snapshot->next_hops.size() <= 3);
  CHECK(host.snapshot->next_hop_sets.size() <= 3);
}
