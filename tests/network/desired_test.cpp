// SPDX-License-Identifier: Apache-2.0
// Batches of configuration: all or nothing, the same twice is nothing, and what does not fit is named.
#include "dataplane/desired.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "configuration_objects.hpp"

using namespace ironcore;
using namespace ironcore::network;
using namespace ironcore::network::dataplane;
using namespace ironcore::network::tests;

namespace {

struct Host {
  Desired desired{prefix("2001:db8:1:1::/64"), 0x1234567800000042};

  Result<Dirty> apply(std::vector<Change> changes) { return desired.apply(changes); }
  Dirty done(std::vector<Change> changes) {
    auto result = apply(std::move(changes));
    REQUIRE_MESSAGE(result.has_value(), result.error().message());
    return std::move(*result);
  }
  /// The fields that were named.
  std::vector<std::string> wrong(std::vector<Change> changes) {
    const auto before = text();
    const auto result = apply(std::move(changes));
    if (result) return {};
    CHECK(text() == before);  // nothing changed
    const Error error = result.error();
    CHECK(error.code() == ErrorCode::invalid);
    std::vector<std::string> out;
    for (const auto& field : error.fields()) {
      CHECK_FALSE(field.message.empty());
      out.push_back(field.field);
    }
    return out;
  }

  /// Everything that can be seen.
  std::string text() const {
    std::string out;
    const auto underlay = [&](const auto& object) { out += " " + object.underlay->to_text() + "\n"; };
    for (const auto& [key, i] : desired.interfaces()) {
      out += key.id + " " + i.port + " " + i.vni.to_text() + " " + (i.ipv4 ? i.ipv4->to_text() : "-") + " " +
             (i.ipv6 ? i.ipv6->to_text() : "-") + i.hostname;
      underlay(i);
    }
    for (const auto& [key, p] : desired.prefixes()) out += key.interface + " " + p.prefix.to_text(), underlay(p);
    for (const auto& [key, v] : desired.virtual_ips()) out += key.interface + " " + v.address.to_text(), underlay(v);
    for (const auto& [key, n] : desired.nats()) {
      out += key.interface + " " + n.address.to_text() + ":" + std::to_string(n.first_port) + "-" +
             std::to_string(n.last_port);
      underlay(n);
    }
    for (const auto& [key, n] : desired.neighbour_nats())
      out += key.address.to_text() + ":" + std::to_string(n.first_port) + "-" + std::to_string(n.last_port) + "\n";
    for (const auto& [key, l] : desired.load_balancers()) out += key.id + " " + l.address.to_text(), underlay(l);
    for (const auto& [key, t] : desired.targets())
      out += key.load_balancer + " " + t.underlay.to_text() + " " + std::to_string(t.weight) + "\n";
    for (const auto& [key, r] : desired.rules())
      out += key.interface + " " + key.id + std::to_string(r.priority) + "\n";
    for (const auto& [key, s] : desired.virtual_services())
      out += key.id + " " + std::to_string(s.protocol) + " " + s.address.to_text() + ":" + std::to_string(s.port),
          underlay(s);
    for (const auto& entry : desired.routes()) {
      const auto network = entry.first;
      for (const bool is_v6 : {false, true}) {
        entry.second.of(is_v6).for_each([&](PrefixBits bits, unsigned length, std::uint32_t set) {
          out += network.to_text() + " " + std::to_string(bits.high) + "/" + std::to_string(length);
          for (const auto& hop : desired.next_hops()[set])
            out += " " + hop.underlay.to_text() + "*" + std::to_string(hop.weight);
          out += "\n";
        });
      }
    }
    return out + std::to_string(desired.next_hops().size());
  }
};

}  // namespace

TEST_CASE("what a list tells may be told back, and is no change") {
  Host host;
  host.done({interface("a"), VirtualIp{"a", ip("192.0.2.50"), {}}, nat("a", 1, 9), balancer("lb"),
             InterfacePrefix{"a", prefix("10.1.0.0/24"), {}, {}}});
  const auto& desired = host.desired;
  auto same = desired.interfaces().at({"a"});
  CHECK(host.desired
            .apply(std::vector<Change>{same, desired.virtual_ips().begin()->second, desired.nats().begin()->second,
                                       desired.load_balancers().begin()->second, desired.prefixes().begin()->second})
            .value()
            .empty());
  const auto underlay = same.underlay;
  same.hostname = "other";
  host.done({same});
  CHECK(desired.interfaces().at({"a"}).underlay == underlay);
}

TEST_CASE("objects are kept as told, with underlay addresses of the original's form") {
  Host host;
  const auto dirty = host.done({interface("a"), InterfacePrefix{"a", prefix("10.1.0.0/24"), {}, {}},
                                VirtualIp{"a", ip("192.0.2.2"), {}}, nat("a", 1024, 2047), balancer("lb"),
                                LoadBalancerTarget{"lb", ip("2001:db8:2:2::1"), 1}, rule("a", "r"),
                                route("0.0.0.0/0", {"2001:db8:9::1", "2001:db8:8::1"})});
  CHECK(dirty.interfaces == std::set<std::string>{"a"});
  CHECK(dirty.load_balancers == std::set<std::string>{"lb"});
  CHECK(dirty.routes.at(vni(100)) == std::vector{prefix("0.0.0.0/0")});
  const auto& desired = host.desired;
  const auto underlay = desired.interfaces().at({"a"}).underlay->bytes();
  CHECK(desired.interfaces().at({"a"}).underlay->to_text().starts_with("2001:db8:1:1:"));
  CHECK(underlay[8] == 0xd0);
  CHECK(underlay[9] == 1);
  CHECK(underlay[10] == 0);
  CHECK(underlay[11] == 0x42);
  CHECK(desired.virtual_ips().at({"a", false}).underlay->bytes()[9] == 2);
  CHECK(desired.nats().at({"a"}).underlay->bytes()[9] == 3);
  CHECK(desired.load_balancers().at({"lb"}).underlay->bytes()[9] == 4);
  CHECK(desired.prefixes().begin()->second.underlay->bytes()[9] == 6);
}

TEST_CASE("the same batch twice changes nothing, and the order of next hops does not matter") {
  Host host;
  const std::vector<Change> batch = {interface("a"),
                                     nat("a", 1024, 2047),
                                     rule("a", "r"),
                                     balancer("lb"),
                                     LoadBalancerTarget{"lb", ip("2001:db8:2:2::1"), 1},
                                     route("0.0.0.0/0", {"2001:db8:9::1", "2001:db8:8::1"})};
  host.done(batch);
  const auto before = host.text();
  CHECK(host.done(batch).empty());
  CHECK(host.done({route("0.0.0.0/0", {"2001:db8:8::1", "2001:db8:9::1"})}).empty());
  CHECK(host.text() == before);  // the derived underlay addresses, too
  CHECK(host.done({InterfaceKey{"b"}, NatKey{"b"}, RouteKey{vni(7), prefix("10.0.0.0/8")}}).empty());
}

TEST_CASE("of several words on one object the last one counts") {
  Host host;
  CHECK(host.done({interface("a"), InterfaceKey{"a"}}).empty());
  host.done({InterfaceKey{"a"}, interface("a", "10.0.0.1"), interface("a", "10.0.0.2")});
  CHECK(host.desired.interfaces().at({"a"}).ipv4 == ip("10.0.0.2"));
  host.done({route("10.0.0.0/8", {"2001:db8:9::1"}), RouteKey{vni(100), prefix("10.0.0.0/8")}});
  CHECK(host.desired.routes().empty());
}

TEST_CASE("what belongs to an interface or a load balancer goes with it") {
  Host host;
  const auto empty = host.text();
  host.done({interface("a"), interface("b", "10.0.0.2"), InterfacePrefix{"a", prefix("10.1.0.0/24"), {}, {}},
             VirtualIp{"a", ip("192.0.2.2"), {}}, nat("a", 1024, 2047), rule("a", "r"), balancer("lb"),
             LoadBalancerTarget{"lb", ip("2001:db8:2:2::1"), 1}, LoadBalancerTarget{"lb", ip("2001:db8:2:2::2"), 1}});
  const auto dirty = host.done({InterfaceKey{"a"}, LoadBalancerKey{"lb"}});
  CHECK(dirty.interfaces == std::set<std::string>{"a"});
  CHECK(host.desired.interfaces().size() == 1);
  CHECK(host.desired.prefixes().empty());
  CHECK(host.desired.targets().empty());
  CHECK(host.desired.rules().empty());
  host.done({InterfaceKey{"b"}});
  CHECK(host.text() == empty);
  // And all of it is free again, for somebody else.
  host.done({interface("c"), InterfacePrefix{"c", prefix("10.1.0.0/24"), {}, {}}, VirtualIp{"c", ip("192.0.2.2"), {}},
             nat("c", 1500, 3000), balancer("other")});
}

TEST_CASE("two interfaces may exchange what each may have alone, in one batch") {
  Host host;
  auto a = interface("a", "10.0.0.1");
  auto b = interface("b", "10.0.0.2");
  host.done({a, b, nat("a", 1, 10), nat("b", 11, 20)});
  std::swap(a.port, b.port);
  std::swap(a.ipv4, b.ipv4);
  host.done({a, b, nat("a", 11, 20), nat("b", 1, 10)});
  CHECK(host.desired.interfaces().at({"a"}).port == "port-b");
  CHECK(host.wrong({interface("c", "10.0.0.1"), nat("c", 5, 6)}) ==
        std::vector<std::string>{"changes[0].ipv4", "changes[1].firstPort"});
}

TEST_CASE("an alias of one address is nobody else's address in the network") {
  Host host;
  const InterfacePrefix alias{"a", prefix("10.0.0.2/32"), {}, {}};
  host.done({interface("a"), alias});
  CHECK(host.wrong({interface("b", "10.0.0.2")}) == std::vector<std::string>{"changes[0].ipv4"});
  host.done({interface("b", "10.0.0.2", 200)});
  CHECK(host.wrong({interface("c", "10.0.0.3"), InterfacePrefix{"c", prefix("10.0.0.1/32"), {}, {}}}) ==
        std::vector<std::string>{"changes[1].prefix"});
  host.done({InterfacePrefix{"a", prefix("10.0.0.1/32"), {}, {}}});  // its own
  host.done({InterfacePrefixKey{"a", alias.prefix, {}}, interface("c", "10.0.0.2")});
}

TEST_CASE("a machine and a load balancer of one network have addresses of their own") {
  Host host;
  host.done({interface("a", "10.0.0.1"), balancer("web", "10.0.0.9")});
  CHECK(host.wrong({balancer("other", "10.0.0.1")}) == std::vector<std::string>{"changes[0].address"});
  CHECK(host.wrong({interface("b", "10.0.0.9")}) == std::vector<std::string>{"changes[0].ipv4"});
  CHECK(host.wrong({interface("b", "10.0.0.2"), balancer("other", "10.0.0.2")}) ==
        std::vector<std::string>{"changes[1].address"});
  host.done({interface("b", "10.0.0.9", 200)});
  host.done({LoadBalancerKey{"web"}, interface("c", "10.0.0.9")});
}

TEST_CASE("an interface takes its prefixes into another network") {
  Host host;
  const InterfacePrefix alias{"a", prefix("10.1.0.0/24"), {}, {}};
  host.done({interface("a"), alias});
  const auto underlay = host.desired.prefixes().begin()->second.underlay;
  auto other = alias;
  other.interface = "b";
  CHECK(host.wrong({interface("b", "10.0.0.2"), other}) == std::vector<std::string>{"changes[1].prefix"});
  SUBCASE("silently") {
    host.done({interface("a", "10.0.0.1", 200)});
  }
  SUBCASE("and told again") {
    host.done({interface("a", "10.0.0.1", 200), alias});
  }
  CHECK(host.desired.prefixes().begin()->second.underlay == underlay);
  host.done({interface("b", "10.0.0.2"), other});  // free in the old one
  auto third = alias;
  third.interface = "c";
  CHECK(host.wrong({interface("c", "10.0.0.3", 200), third}) == std::vector<std::string>{"changes[1].prefix"});
}

TEST_CASE("each wrong field is named, and nothing changes") {
  Host host;
  host.done({interface("a"), nat("a", 1000, 2000), VirtualIp{"a", ip("192.0.2.2"), {}}, balancer("lb"),
             NeighbourNat{vni(100), ip("192.0.2.1"), 3000, 4000, ip("2001:db8:2:2::1")},
             InterfacePrefix{"a", prefix("10.1.0.0/24"), {}, {}}});
  const auto field = [&](Change change) {
    const auto fields = host.wrong({std::move(change)});
    REQUIRE(fields.size() == 1);
    REQUIRE(fields[0].starts_with("changes[0]."));
    return fields[0].substr(11);
  };
  const auto changed = [](auto object, auto change) {
    change(object);
    return object;
  };
  const auto with = [&](auto change) { return changed(interface("b", "10.0.0.2"), change); };
  CHECK(field(interface("", "10.0.0.2")) == "id");
  CHECK(field(interface("a b", "10.0.0.2")) == "id");
  CHECK(field(with([](auto& i) { i.id = std::string(64, 'x'); })) == "id");
  CHECK(field(with([](auto& i) { i.port.clear(); })) == "port");
  CHECK(field(with([](auto& i) { i.port = "port-a"; })) == "port");  // of another one
  CHECK(field(with([](auto& i) { i.vni = Vni(); })) == "vni");
  CHECK(field(with([](auto& i) { i.ipv4.reset(); })) == "ipv4");
  CHECK(field(with([](auto& i) { i.ipv4 = ip("fd00::1"); })) == "ipv4");
  CHECK(field(with([](auto& i) { i.ipv6 = ip("10.0.0.9"); })) == "ipv6");
  for (const auto* address : {"0.0.0.0", "127.0.0.1", "224.0.0.1", "255.255.255.255", "169.254.0.1", "10.0.0.1"})
    CHECK(field(interface("b", address)) == "ipv4");
  CHECK(field(with([](auto& i) { i.mac = MacAddress(); })) == "mac");
  CHECK(field(with([](auto& i) { i.mac = MacAddress::parse("01:00:5e:00:00:01").value(); })) == "mac");
  CHECK(field(with([](auto& i) { i.hostname = "no_underscore"; })) == "hostname");
  CHECK(field(with([](auto& i) { i.pxe = Pxe{ip("10.0.0.9"), "file"}; })) == "pxe.path");
  CHECK(field(with([](auto& i) { i.pxe = Pxe{ip("10.0.0.9"), "/a b"}; })) == "pxe.path");
  CHECK(field(with([](auto& i) { i.pxe = Pxe{ip("10.0.0.9"), "/" + std::string(127, 'x')}; })) == "pxe.path");
  CHECK(field(with([](auto& i) { i.pxe = Pxe{ip("0.0.0.0"), "/x"}; })) == "pxe.server");
  CHECK(field(with([](auto& i) { i.total.egress = 10, i.public_traffic.egress = 11; })) == "publicTraffic.egress");
  CHECK(field(with([](auto& i) { i.total.ingress = 10, i.public_traffic.ingress = 11; })) == "publicTraffic.ingress");
  for (const std::uint64_t burst : {std::uint64_t{1}, std::uint64_t{65'535}, std::uint64_t{1} << 30 | 1}) {
    CHECK(field(with([&](auto& i) { i.total = {.egress = 10, .burst = {.egress = burst}}; })) == "total.burst.egress");
    CHECK(field(with([&](auto& i) { i.total = {.ingress = 10, .excess_burst = {.ingress = burst}}; })) ==
          "total.excessBurst.ingress");
  }
  CHECK(field(with([](auto& i) { i.total = {.ingress = 10, .excess = {.egress = 1}}; })) == "total.excess.egress");
  CHECK(field(with([](auto& i) { i.public_traffic = {.excess = {.ingress = 1}}; })) == "publicTraffic.excess.ingress");
  CHECK(field(with([](auto& i) { i.public_traffic.burst.egress = 65'536; })) == "publicTraffic.burst.egress");
  CHECK(field(with([](auto& i) {
          i.total = {.egress = 10, .excess = {.egress = 5}};
          i.public_traffic = {.egress = 10, .excess = {.egress = 6}};
        })) == "publicTraffic.excess.egress");
  CHECK(field(with([](auto& i) {
          i.total = {.ingress = 10, .excess = {.ingress = 5}};
          i.public_traffic = {.ingress = 9, .excess = {.ingress = UINT64_MAX}};
        })) == "publicTraffic.excess.ingress");
  for (const auto* address :
       {"2001:db8:2:2:d000:8000::1", "2001:db8:1:1:e000:8000::1", "2001:db8:1:1:d000::1", "10.0.0.1"})
    CHECK(field(with([&](auto& i) { i.underlay = ip(address); })) == "underlay");
  CHECK(field(with([&](auto& i) { i.underlay = host.desired.interfaces().at({"a"}).underlay; })) == "underlay");

  const auto alias = [&](std::string_view what, const std::string& id = "a") {
    return InterfacePrefix{id, prefix(what), {}, {}};
  };
  CHECK(field(alias("10.2.0.0/24", "b")) == "interface");
  CHECK(field(alias("10.2.0.1/24")) == "prefix");
  CHECK(field(alias("0.0.0.0/0")) == "prefix");
  CHECK(field(alias("::/0")) == "prefix");

  CHECK(field(VirtualIp{"b", ip("192.0.2.3"), {}}) == "interface");
  CHECK(field(VirtualIp{"a", ip("0.0.0.0"), {}}) == "address");
  CHECK(field(VirtualIp{"a", ip("2001:db8:5::1"), {}}) == "address");  // it has no IPv6
  CHECK(field(VirtualIp{"a", ip("192.0.2.1"), {}}) == "address");      // it is used for NAT

  CHECK(field(nat("b", 1, 2)) == "interface");
  CHECK(field(nat("a", 0, 2)) == "firstPort");
  CHECK(field(nat("a", 3, 2)) == "lastPort");
  CHECK(field(nat("a", 1, 2, "fd00::1")) == "address");
  CHECK(field(nat("a", 1, 2, "192.0.2.2")) == "address");  // a virtual IP
  for (const auto& [first, last] :
       {std::pair(2500, 3000), std::pair(4000, 5000), std::pair(3500, 3600), std::pair(1, 65535)})
    CHECK(field(nat("a", static_cast<std::uint16_t>(first), static_cast<std::uint16_t>(last))) == "firstPort");
  CHECK(host.wrong({nat("a", 2001, 2999)}).empty());
  host.done({nat("a", 1000, 2000)});

  const auto neighbour = [&](std::uint16_t first, std::uint16_t last, std::string_view underlay = "2001:db8:2:2::1") {
    return NeighbourNat{vni(200), ip("192.0.2.1"), first, last, ip(underlay)};
  };
  CHECK(field(neighbour(2000, 2001)) == "firstPort");  // in whatever network
  CHECK(field(neighbour(5000, 4999)) == "lastPort");
  CHECK(field(neighbour(5000, 5001, "10.0.0.1")) == "underlay");
  CHECK(field(neighbour(5000, 5001, "2001:db8:1:1:d000::1")) == "underlay");  // our own

  const auto service = [&](LoadBalancer::Service first, LoadBalancer::Service second) {
    auto out = balancer("new", "192.0.2.10");
    out.services = {first, second};
    return out;
  };
  CHECK(field(balancer("new")) == "address");  // of another one
  CHECK(field(changed(balancer("new", "192.0.2.10"), [](auto& l) { l.services.clear(); })) == "services");
  CHECK(field(changed(balancer("new", "192.0.2.10"), [](auto& l) {
          l.services.clear();
          for (std::uint16_t i = 0; i < 65; ++i) l.services.push_back({protocol_tcp, i, i});
        })) == "services");
  CHECK(field(service({protocol_icmp, 1, 2}, {protocol_tcp, 1, 2})) == "services[0].protocol");
  CHECK(field(service({protocol_tcp, 2, 1}, {protocol_udp, 1, 2})) == "services[0].lastPort");
  CHECK(field(service({protocol_tcp, 0, 65535}, {protocol_tcp, 80, 80})) == "services[1].firstPort");
  CHECK(host.wrong({service({protocol_tcp, 0, 65535}, {protocol_udp, 80, 80}), LoadBalancerKey{"new"}}).empty());
  CHECK(field(LoadBalancerTarget{"none", ip("2001:db8:2:2::1"), 1}) == "loadBalancer");
  CHECK(field(LoadBalancerTarget{"lb", ip("10.0.0.1"), 1}) == "underlay");

  CHECK(field(route("10.0.0.1/8", {"2001:db8:2:2::1"})) == "prefix");
  CHECK(field(route("10.0.0.0/8", {})) == "nextHops");
  std::vector<std::string> many;
  for (int i = 1; i <= 65; ++i) many.push_back("2001:db8:2:2::" + std::to_string(i));
  CHECK(field(route("10.0.0.0/8", many)) == "nextHops");
  CHECK(field(route("10.0.0.0/8", {"2001:db8:2:2::1", "2001:db8:2:2::1"})) == "nextHops[1].underlay");
  CHECK(field(route("10.0.0.0/8", {"10.0.0.1"})) == "nextHops[0].underlay");
  CHECK(field(changed(route("10.0.0.0/8", {"2001:db8:2:2::1"}), [](auto& r) { r.next_hops[0].weight = 0; })) ==
        "nextHops[0].weight");
  CHECK(field(changed(route("10.0.0.0/8", {"2001:db8:2:2::1"}), [](auto& r) { r.vni = Vni(); })) == "vni");

  const auto with_rule = [&](auto change) { return changed(rule("a", "r"), change); };
  CHECK(field(rule("b", "r")) == "interface");
  CHECK(field(rule("a", "")) == "id");
  CHECK(field(with_rule([](auto& r) { r.destination = prefix("::/0"); })) == "destination");
  CHECK(field(with_rule([](auto& r) { r.source = prefix("10.0.0.1/8"); })) == "source");
  CHECK(field(with_rule([](auto& r) { r.source_ports = {1, 2}; })) == "sourcePorts");
  CHECK(field(with_rule([](auto& r) {
          r.protocol = protocol_tcp, r.destination_ports = {2, 1};
        })) == "destinationPorts");
  CHECK(field(with_rule([](auto& r) { r.protocol = protocol_icmpv6, r.icmp_type = 1; })) == "icmpType");
  CHECK(field(with_rule([](auto& r) { r.protocol = protocol_icmp, r.icmp_code = 1; })) == "icmpCode");
}

TEST_CASE("each wrong field of a virtual service is named, and so is what it would hide") {
  Host host;
  host.done({interface("a"), interface("b", "10.0.0.2"), nat("a", 1000, 2000), VirtualIp{"a", ip("192.0.2.2"), {}},
             virtual_service("dns"), virtual_service("time", "203.0.113.1", 123)});
  const auto fields = [&](auto change) {
    auto object = virtual_service("new", "169.254.1.54");
    change(object);
    return host.wrong({object});
  };
  const auto only = [](const char* field) { return std::vector<std::string>{"changes[0]." + std::string(field)}; };
  CHECK(fields([](auto& s) { s.id = "a b"; }) == only("id"));
  CHECK(fields([](auto& s) { s.protocol = protocol_icmp; }) == only("protocol"));
  for (const auto* address : {"fd00::1", "0.0.0.0", "127.0.0.1", "224.0.0.1", "169.254.0.1", "169.254.0.9",
                              "169.254.255.255", "192.0.2.1", "192.0.2.2"})
    CHECK(fields([&](auto& s) { s.address = ip(address); }) == only("address"));
  CHECK(fields([](auto& s) { s.port = 0; }) == only("port"));
  CHECK(fields([](auto& s) { s.address = ip("169.254.1.53"); }) == only("port"));  // of dns
  CHECK(fields([](auto& s) { s.service_port = 0; }) == only("servicePort"));
  for (const auto* address : {"10.0.0.1", "::1", "ff02::1", "fe80::1", "2001:db8:1:1::5"})
    CHECK(fields([&](auto& s) { s.service_address = ip(address); }) == only("serviceAddress"));
  CHECK(fields([](auto& s) { s.underlay = ip("2001:db8:1:1::5"); }) == only("underlay"));
  CHECK(fields([&](auto& s) {
          s.underlay = ip("2001:db8:1:1:d000:8000::5");
          host.done({InterfacePrefix{"a", prefix("10.1.0.0/24"), {}, s.underlay}});
        }) == only("underlay"));
  // The other way round.
  CHECK(host.wrong({VirtualIp{"b", ip("203.0.113.1"), {}}}) == only("address"));
  CHECK(host.wrong({nat("b", 1000, 2000, "203.0.113.1")}) == only("address"));
  // Another port, another protocol, and in one batch also its address from another one.
  host.done({virtual_service("a", "169.254.1.53", 54), virtual_service("b", "169.254.1.53", 53, protocol_tcp)});
  auto moved = virtual_service("new");
  host.done({VirtualServiceKey{"dns"}, moved});
  host.done({VirtualServiceKey{"time"}, VirtualIp{"b", ip("203.0.113.1"), {}}});
  CHECK(host.done({moved}).empty());
  std::vector<Change> many;
  for (std::size_t i = host.desired.virtual_services().size(); i <= Desired::max_virtual_services; ++i)
    many.emplace_back(virtual_service("s" + std::to_string(i), "10.9.9.9", static_cast<std::uint16_t>(1 + i)));
  CHECK(host.wrong(many) == std::vector<std::string>{"changes"});
  many.pop_back();
  CHECK(host.done(many).virtual_services.size() == many.size());
}

TEST_CASE("everything that is wrong is named at once, by the number of its change") {
  Host host;
  const auto fields = host.wrong({interface("a"), interface("b", "0.0.0.0"), rule("", "r")});
  CHECK(fields == std::vector<std::string>{"changes[1].ipv4", "changes[2].interface"});
}

TEST_CASE("limits are told, and nothing beyond them is kept") {
  Host host;
  std::vector<Change> rules = {interface("a")};
  for (std::size_t i = 0; i < Desired::max_rules; ++i) rules.emplace_back(rule("a", "r" + std::to_string(i)));
  host.done(rules);
  CHECK(host.wrong({rule("a", "one-more")}) == std::vector<std::string>{"changes"});
  std::vector<Change> interfaces;
  for (std::uint32_t i = 1; i < Desired::max_interfaces; ++i)
    interfaces.emplace_back(interface("i" + std::to_string(i), IpAddress::v4(0x0a000001 + i).to_text()));
  host.done(interfaces);
  CHECK(host.wrong({interface("one-more", "10.200.0.1")}) == std::vector<std::string>{"changes"});
}

TEST_CASE("many routes to few next hops share them, and the last one to leave takes them along") {
  Host host;
  std::vector<Change> routes;
  for (std::uint32_t i = 0; i < 1000; ++i)
    routes.emplace_back(route(IpAddress::v4(0x0a000000 + i * 256).to_text() + "/24",
                              {"2001:db8:2:2::" + std::to_string(i % 10 + 1), "2001:db8:2:2::99"}));
  const auto dirty = host.done(routes);
  CHECK(dirty.routes.at(vni(100)).size() == 1000);
  CHECK(host.desired.next_hops().size() == 10);
  std::vector<Change> removal;
  for (const auto& change : routes) removal.emplace_back(key_of(std::get<Route>(change)));
  host.done(removal);
  CHECK(host.desired.next_hops().size() == 0);
  CHECK(host.desired.routes().empty());
}

TEST_CASE("a batch that fails leaves no trace, whatever was in it") {
  RandomBatches batches(11);
  Host host;
  const auto empty = host.text();
  int applied = 0;
  int refused = 0;
  for (int round = 0; round < 20'000; ++round) {
    const auto batch = batches.next();
    const auto before = host.text();
    if (host.apply(batch).has_value()) {
      ++applied;
      CHECK(host.done(batch).empty());
    } else {
      ++refused;
      REQUIRE(host.text() == before);
    }
  }
  CHECK(applied > 1000);
  CHECK(refused > 1000);
  // If an index had kept something, it would still be in the way.
  std::vector<Change> removal;
  for (const auto* name : {"a", "b", "c", "d", "e"}) {
    removal.emplace_back(InterfaceKey{name});
    removal.emplace_back(LoadBalancerKey{name});
    removal.emplace_back(VirtualServiceKey{name});
  }
  for (const auto& [key, object] : host.desired.neighbour_nats()) removal.emplace_back(key);
  for (int i = 0; i < 3; ++i) removal.emplace_back(RouteKey{vni(100), prefix("10." + std::to_string(i) + ".0.0/16")});
  host.done(removal);
  CHECK(host.text() == empty);
  std::vector<Change> all;
  for (std::uint32_t i = 0; i < 6; ++i) {
    auto one = interface("n" + std::to_string(i), IpAddress::v4(0x0a000001 + i).to_text(), 100 + i % 2);
    one.port = "port" + std::to_string(i);
    all.emplace_back(one);
  }
  for (std::uint32_t i = 0; i < 3; ++i) {
    const auto owner = "n" + std::to_string(i);
    all.emplace_back(nat(owner, 1, 65'535, "192.0.2." + std::to_string(i)));
    all.emplace_back(InterfacePrefix{owner, prefix("10.1." + std::to_string(i) + ".0/24"), {}, {}});
    all.emplace_back(balancer(owner, "192.0.2." + std::to_string(100 + i)));
  }
  host.done(all);
}
