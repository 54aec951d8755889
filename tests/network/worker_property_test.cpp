// SPDX-License-Identifier: Apache-2.0
// Three hosts on one wire with random machines and random traffic: answers find back, networks stay apart, sums stay right.
#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <memory>
#include <optional>
#include <random>
#include <string>
#include <vector>

#include "hosts.hpp"

using namespace ironcore;
using namespace ironcore::network;
using namespace ironcore::network::dataplane;
using namespace ironcore::network::tests;
using namespace ironcore::tests;

namespace {

constexpr int outside = -1;
constexpr const char* balanced = "203.0.113.9";
constexpr std::uint32_t first_network = 100;

struct Machine {
  int host = 0;
  std::uint8_t number = 0;
  std::uint32_t network = first_network;
  std::string ipv4;
  std::string ipv6;
  bool has_nat = false;
  std::string virtual_ip;  ///< may be empty
  std::string virtual_ipv6;
  bool is_target = false;
  bool is_open = true;  ///< anybody may talk to it
};

struct Arrived {
  Drop drop = Drop::none;
  int host = outside;
  std::uint8_t machine = 0;
  Bytes packet;
};

/// What a packet says about its flow.
struct Ends {
  std::string source;
  std::string destination;
  std::uint16_t source_port = 0;
  std::uint16_t destination_port = 0;
  std::uint8_t protocol = 0;
  friend bool operator==(const Ends&, const Ends&) = default;
};
Ends ends_of(const Bytes& packet) {
  Headers headers;
  REQUIRE(parse(packet, packet.size(), headers) == Malformed::none);
  return {source_address(packet), destination_address(packet), headers.source_port, headers.destination_port,
          headers.protocol};
}
Ends turned(const Ends& ends) {
  return {ends.destination, ends.source, ends.destination_port, ends.source_port, ends.protocol};
}

/// ICMP may say zero in both ways.
bool sums_up(const Bytes& packet) {
  if (!is_header_right(packet) || length_of(packet) != packet.size()) return false;
  const auto place = place_of(packet);
  const auto wanted = transport_checksum(packet);
  const auto is = get16(packet, place.at + checksum_place(place.protocol));
  return is == wanted || (is == 0xffff && wanted == 0);
}

bool is_private(const std::string& address) {
  return address.starts_with("10.") || address.starts_with("fd00:");
}

struct World {
  explicit World(std::uint32_t seed) : random(seed) {
    for (std::uint8_t i = 0; i < hosts.size(); ++i) hosts[i] = std::make_unique<Host>(static_cast<std::uint8_t>(i + 1));
    for (int host = 0; host < 3; ++host)
      for (std::uint8_t number = 1; number <= 4; ++number) add(host, number);
    connect();
  }

  std::uint32_t pick(std::uint32_t count) { return static_cast<std::uint32_t>(random() % count); }

  void add(int host, std::uint8_t number) {
    Machine made;
    made.host = host;
    made.number = number;
    // Networks use the same addresses.
    made.network = first_network + 100 * (number % 2U);
    const auto at = std::to_string(host) + "." + std::to_string((number + 1) / 2);
    made.ipv4 = "10.0." + at;
    made.ipv6 = "fd00::" + std::to_string(host + 1) + ":" + std::to_string((number + 1) / 2);
    Host& on = *hosts[static_cast<std::size_t>(host)];
    on.add(number, made.ipv4, made.network, made.ipv6);
    const auto id = "m" + std::to_string(number);
    const auto serial = static_cast<std::uint16_t>(host * 4 + number);
    if (pick(2) == 0) {
      auto of_it = nat(id, static_cast<std::uint16_t>(1000 * serial), static_cast<std::uint16_t>(1000 * serial + 299));
      if (pick(2) == 0) of_it.ports = Nat::Ports::shared;
      if (pick(2) == 0) of_it.filtering = Nat::Filtering::endpoint_independent;
      on.change({of_it});
      made.has_nat = true;
    } else if (pick(3) != 0) {
      made.virtual_ip = "192.0.2." + std::to_string(50 + serial);
      on.change({VirtualIp{id, ip(made.virtual_ip), {}}});
    }
    if (pick(3) == 0) {
      made.virtual_ipv6 = "2001:db8:50::" + std::to_string(serial);
      on.change({VirtualIp{id, ip(made.virtual_ipv6), {}}});
    }
    if (made.network == first_network && pick(2) == 0) {
      made.is_target = true;
      on.change({InterfacePrefix{id, prefix("203.0.113.9/32"), InterfacePrefix::Use::load_balancer, {}}});
    }
    if (!made.is_target && pick(3) == 0) {
      on.change({FirewallRuleKey{id, "all-v4"}, FirewallRuleKey{id, "all-v6"}});
      made.is_open = false;
    }
    machines.push_back(made);
  }

  void connect() {
    auto service = balancer("lb", balanced);
    service.services.push_back({protocol_udp, 0, 0xffff});
    service.services[0] = {protocol_tcp, 0, 0xffff};
    hosts[0]->change({service});
    for (const auto& host : hosts) {
      for (const auto& [key, object] : host->desired.prefixes())
        hosts[0]->change({LoadBalancerTarget{"lb", *object.underlay, 1}});
      for (const std::uint32_t network : {100U, 200U}) {
        host->change(
            {route("0.0.0.0/0", {other_host().to_text()}, network), route("::/0", {other_host().to_text()}, network)});
      }
      if (host != hosts[0]) host->change({route("203.0.113.9/32", {balancer_underlay().to_text()})});
    }
    for (const auto& machine : machines) {
      const auto hop = hosts[static_cast<std::size_t>(machine.host)]->underlay_of(machine.number).to_text();
      for (int host = 0; host < 3; ++host) {
        if (host == machine.host) continue;
        hosts[static_cast<std::size_t>(host)]->change({route(machine.ipv4 + "/32", {hop}, machine.network),
                                                       route(machine.ipv6 + "/128", {hop}, machine.network)});
      }
    }
  }

  IpAddress balancer_underlay() const { return *hosts[0]->desired.load_balancers().at({"lb"}).underlay; }

  // ---- the way of a packet ----

  Arrived from_machine(const Machine& machine, const Bytes& packet) {
    return follow(machine.host, hosts[static_cast<std::size_t>(machine.host)]->from_machine(machine.number, packet));
  }

  Arrived follow(int host, Went went) {
    for (int hops = 0; hops < 6; ++hops) {
      if (went.drop != Drop::none) return {went.drop};
      if (went.port != uplink_port) {
        REQUIRE(sums_up(went.ip()));
        return {Drop::none, host, static_cast<std::uint8_t>(went.port - first_machine_port), went.ip()};
      }
      const auto inner = slice(went.frame, 54);
      REQUIRE(sums_up(inner));
      const auto to = load_v6(went.frame.data() + 38);
      if (to == other_host()) return from_public(inner);
      std::size_t next = 0;
      while (next < hosts.size() && !hosts[next]->underlay.contains(to)) ++next;
      REQUIRE(next < hosts.size());
      REQUIRE(static_cast<int>(next) != host);
      host = static_cast<int>(next);
      went = hosts[next]->from_wire(went.frame);
    }
    FAIL("it goes in circles");
    return {};
  }

  /// What the routers outside do.
  Arrived from_public(const Bytes& inner) {
    const auto ends = ends_of(inner);
    REQUIRE_FALSE(is_private(ends.destination));
    if (ends.destination == balanced) return into(0, balancer_underlay(), inner);
    for (const auto& machine : machines) {
      const auto& desired = hosts[static_cast<std::size_t>(machine.host)]->desired;
      const auto id = "m" + std::to_string(machine.number);
      for (const bool is_v6 : {false, true})
        if (ends.destination == (is_v6 ? machine.virtual_ipv6 : machine.virtual_ip))
          return into(machine.host, *desired.virtual_ips().at({id, is_v6}).underlay, inner);
      if (!machine.has_nat) continue;
      const auto& its = desired.nats().at({id});
      if (ends.destination == its.address.to_text() && its.first_port <= ends.destination_port &&
          ends.destination_port <= its.last_port)
        return into(machine.host, *its.underlay, inner);
    }
    return {Drop::none, outside, 0, inner};
  }
  Arrived into(int host, const IpAddress& underlay, const Bytes& inner) {
    return follow(host, hosts[static_cast<std::size_t>(host)]->from_wire(wire_frame(other_host(), underlay, inner)));
  }

  const Machine& at(const Arrived& arrived) const {
    return machines[static_cast<std::size_t>(arrived.host * 4 + arrived.machine - 1)];
  }

  // ---- flows ----

  /// Of the first packet, and how the one who got it saw it.
  struct Flow {
    const Machine* sender = nullptr;  ///< null: outside
    Bytes first;
    Arrived seen;
  };

  Bytes payload() {
    Bytes out(pick(40));
    for (auto& byte : out) byte = static_cast<std::uint8_t>(pick(3) == 0 ? 0xff * pick(2) : pick(256));
    return out;
  }
  Bytes request(const std::string& from, const std::string& to, bool may_echo) {
    const bool is_v6 = from.find(':') != std::string::npos;
    const auto port = ++last_port;
    const auto to_port = static_cast<std::uint16_t>(1 + pick(60'000));
    const auto kind = pick(may_echo ? 3 : 2);
    if (kind == 2) {
      const auto message = icmp(is_v6 ? 128 : 8, 0, port, payload());
      return checksummed(is_v6 ? v6(message, {from, to, protocol_icmpv6}) : v4(message, {from, to, protocol_icmp}));
    }
    const auto transport = kind == 0 ? udp(port, to_port, payload()) : tcp(port, to_port, tcp_syn, payload());
    const std::uint8_t protocol = kind == 0 ? protocol_udp : protocol_tcp;
    return checksummed(is_v6 ? v6(transport, {from, to, protocol}) : v4(transport, {from, to, protocol}));
  }
  Bytes reply(const Bytes& seen) {
    const auto ends = turned(ends_of(seen));
    const bool is_v6 = seen[0] >> 4 == 6;
    Bytes transport;
    if (ends.protocol == protocol_udp) transport = udp(ends.source_port, ends.destination_port, payload());
    if (ends.protocol == protocol_tcp)
      transport = tcp(ends.source_port, ends.destination_port, tcp_syn | tcp_ack, payload());
    if (ends.protocol == protocol_icmp) transport = icmp(0, 0, ends.source_port, payload());
    if (ends.protocol == protocol_icmpv6) transport = icmp(129, 0, ends.source_port, payload());
    return checksummed(is_v6 ? v6(transport, {ends.source, ends.destination, ends.protocol})
                             : v4(transport, {ends.source, ends.destination, ends.protocol}));
  }

  void check_answer(const Flow& flow) {
    const auto answer = reply(flow.seen.packet);
    const auto back = flow.seen.host == outside ? from_public(answer) : from_machine(at(flow.seen), answer);
    CAPTURE(source_address(flow.first));
    CAPTURE(destination_address(flow.first));
    CAPTURE(source_address(flow.seen.packet));
    CAPTURE(static_cast<int>(flow.first[flow.first[0] >> 4 == 6 ? 6 : 9]));
    REQUIRE(back.drop == Drop::none);
    REQUIRE(ends_of(back.packet) == turned(ends_of(flow.first)));
    if (flow.sender == nullptr) {
      REQUIRE(back.host == outside);
    } else {
      REQUIRE(back.host == flow.sender->host);
      REQUIRE(back.machine == flow.sender->number);
    }
  }

  /// A machine to one of its network.
  std::optional<Flow> inside(const Machine& sender) {
    const auto& receiver = machines[pick(static_cast<std::uint32_t>(machines.size()))];
    if (&receiver == &sender) return std::nullopt;
    const bool is_v6 = pick(2) == 0;
    const auto packet = request(is_v6 ? sender.ipv6 : sender.ipv4, is_v6 ? receiver.ipv6 : receiver.ipv4, true);
    const auto arrived = from_machine(sender, packet);
    if (sender.ipv4 == receiver.ipv4 && arrived.drop == Drop::none) REQUIRE(at(arrived).network == sender.network);
    if (arrived.drop != Drop::none) {
      REQUIRE(arrived.drop == Drop::ingress_rule);
      return std::nullopt;
    }
    REQUIRE(arrived.host != outside);
    REQUIRE(at(arrived).network == sender.network);
    REQUIRE(ends_of(arrived.packet) == ends_of(packet));
    REQUIRE((is_v6 ? at(arrived).ipv6 : at(arrived).ipv4) == destination_address(packet));
    return Flow{&sender, packet, arrived};
  }

  /// A machine to the public: to a server, or to a virtual IP wherever it is.
  std::optional<Flow> to_public(const Machine& sender) {
    const bool is_v6 = pick(2) == 0;
    std::string to = is_v6 ? "2001:db8:9::9" : "198.51.100.7";
    const auto& other = machines[pick(static_cast<std::uint32_t>(machines.size()))];
    if (const auto& its = is_v6 ? other.virtual_ipv6 : other.virtual_ip; pick(2) == 0 && !its.empty()) to = its;
    bool is_translated = is_v6 ? !sender.virtual_ipv6.empty() : sender.has_nat || !sender.virtual_ip.empty();
    if (is_v6 && sender.has_nat && pick(2) == 0) {
      to = pick(2) == 0 || other.virtual_ip.empty() ? "64:ff9b::c633:6407"
                                                    : "64:ff9b::c000:2" + last_byte(other.virtual_ip);
      is_translated = true;
    }
    const auto packet = request(is_v6 ? sender.ipv6 : sender.ipv4, to, true);
    if (!is_translated) return std::nullopt;
    const auto arrived = from_machine(sender, packet);
    if (arrived.drop != Drop::none) {
      REQUIRE((arrived.drop == Drop::ingress_rule || arrived.drop == Drop::nat_ports));
      return std::nullopt;
    }
    REQUIRE_FALSE(is_private(source_address(arrived.packet)));
    return Flow{&sender, packet, arrived};
  }
  static std::string last_byte(const std::string& address) {
    const auto value = std::stoi(address.substr(address.rfind('.') + 1));
    const char digits[] = {"0123456789abcdef"[value >> 4], "0123456789abcdef"[value & 15], 0};
    return digits;
  }

  std::optional<Flow> to_balancer(const Machine* sender) {
    if (sender != nullptr && (sender->network != first_network || sender->is_target)) return std::nullopt;
    const auto packet = request(sender == nullptr ? "198.51.100.8" : sender->ipv4, balanced, false);
    const auto arrived = sender == nullptr ? from_public(packet) : from_machine(*sender, packet);
    if (arrived.drop == Drop::target) return std::nullopt;  // there is none
    REQUIRE(arrived.drop == Drop::none);
    REQUIRE(at(arrived).is_target);
    REQUIRE(ends_of(arrived.packet) == ends_of(packet));
    return Flow{sender, packet, arrived};
  }

  std::optional<Flow> to_virtual_ip() {
    const auto& receiver = machines[pick(static_cast<std::uint32_t>(machines.size()))];
    const bool is_v6 = pick(2) == 0;
    const auto& to = is_v6 ? receiver.virtual_ipv6 : receiver.virtual_ip;
    if (to.empty()) return std::nullopt;
    const auto packet = request(is_v6 ? "2001:db8:9::9" : "198.51.100.8", to, true);
    const auto arrived = from_public(packet);
    REQUIRE((arrived.drop == Drop::none) == receiver.is_open);
    if (arrived.drop != Drop::none) return std::nullopt;
    REQUIRE(arrived.host == receiver.host);
    REQUIRE(arrived.machine == receiver.number);
    return Flow{nullptr, packet, arrived};
  }

  /// Changes that leave every flow what it has.
  void noise() {
    Host& host = *hosts[pick(3)];
    const auto number = 1 + pick(4);
    switch (pick(5)) {
      case 0:
        host.change(
            {route("10.77.0.0/16", {other_host(static_cast<int>(2 + pick(3))).to_text()}, 100 + 100 * pick(2))});
        break;
      case 1:
        host.change({rule("m" + std::to_string(number), "r" + std::to_string(pick(5)))});
        host.change(
            {FirewallRuleKey{"m" + std::to_string(number), "r0"}, FirewallRuleKey{"m" + std::to_string(number), "r1"},
             FirewallRuleKey{"m" + std::to_string(number), "r2"}, FirewallRuleKey{"m" + std::to_string(number), "r3"},
             FirewallRuleKey{"m" + std::to_string(number), "r4"}});
        break;
      case 2: {
        const auto known = host.desired.nats().find({"m" + std::to_string(number)});
        if (known == host.desired.nats().end()) break;
        auto told = known->second;
        // Never smaller, so that all ports are still in it.
        told.last_port = std::min(static_cast<std::uint16_t>(told.last_port + pick(40)),
                                  static_cast<std::uint16_t>(told.first_port + 899));
        told.ports = pick(2) == 0 ? Nat::Ports::own : Nat::Ports::shared;
        constexpr Nat::Filtering filters[] = {Nat::Filtering::address_and_port_dependent,
                                              Nat::Filtering::address_dependent, Nat::Filtering::endpoint_independent};
        told.filtering = filters[pick(3)];
        host.change({told});
        break;
      }
      case 3:
        host.change({host.desired.interfaces().at({"m" + std::to_string(number)})});
        break;
      default:
        host.change({interface("x", "10.7.7.7", 300)});
        host.change({InterfaceKey{"x"}});
    }
  }

  std::mt19937 random;
  std::array<std::unique_ptr<Host>, 3> hosts;
  std::vector<Machine> machines;
  std::uint16_t last_port = 2000;
};

}  // namespace

TEST_CASE("every answer comes back to who asked, with the addresses that it used, and networks stay apart") {
  int inside = 0;
  int translated = 0;
  int other_family = 0;
  int between_public = 0;  // both ends are machines
  int over_balancer = 0;
  for (std::uint32_t seed = 1; seed <= 100; ++seed) {
    CAPTURE(seed);
    World world(seed);
    std::vector<World::Flow> flows;
    for (int round = 0; round < 400; ++round) {
      const auto& sender = world.machines[world.pick(static_cast<std::uint32_t>(world.machines.size()))];
      std::optional<World::Flow> flow;
      switch (world.pick(6)) {
        case 0:
        case 1:
          flow = world.inside(sender);
          break;
        case 2:
        case 3:
          flow = world.to_public(sender);
          break;
        case 4:
          flow = world.to_balancer(world.pick(2) == 0 ? nullptr : &sender);
          break;
        default:
          flow = world.to_virtual_ip();
      }
      if (flow) {
        world.check_answer(*flow);
        const auto& packet = flow->seen.packet;
        const bool is_same = ends_of(packet) == ends_of(flow->first);
        inside += is_same ? 1 : 0;
        translated += is_same ? 0 : 1;
        other_family += packet[0] >> 4 != flow->first[0] >> 4 ? 1 : 0;
        between_public += !is_same && flow->sender != nullptr && flow->seen.host != outside ? 1 : 0;
        over_balancer += destination_address(packet) == balanced ? 1 : 0;
        flows.push_back(std::move(*flow));
      }
      if (world.pick(8) == 0) world.noise();
      if (!flows.empty()) world.check_answer(flows[world.pick(static_cast<std::uint32_t>(flows.size()))]);
    }
    for (const auto& host : world.hosts) {
      std::uint64_t owned = 0;
      for (std::uint32_t i = 0; i <= 64; ++i) owned += host->worker.connections_of(i);
      REQUIRE(owned == host->worker.flows().size());
    }
  }
  CHECK(inside > 5000);
  CHECK(translated > 5000);
  CHECK(other_family > 1000);
  CHECK(between_public > 1000);
  CHECK(over_balancer > 1000);
}
