// SPDX-License-Identifier: Apache-2.0
// NATs that are told anew while their flows go on, against a model that knows who has which port; and how much of it a burst does.
#include <doctest/doctest.h>

#include <algorithm>
#include <map>
#include <optional>
#include <random>
#include <set>
#include <string>
#include <tuple>
#include <vector>

#include "hosts.hpp"

using namespace ironcore;
using namespace ironcore::network;
using namespace ironcore::network::dataplane;
using namespace ironcore::network::tests;
using namespace ironcore::tests;

namespace {

constexpr std::uint32_t most_with_packets = 32;
constexpr std::uint32_t most_when_idle = 128;

/// Machine 1 is behind the NAT; machines 2 and 3 have flows that a worker has to pass by.
struct NatHost : Host {
  explicit NatHost(std::uint32_t connections = 2000) : Host(1, options_for(connections)) {
    add(1, "10.0.0.1", 100, "fd00::1");
    add(2, "10.0.0.2");
    add(3, "10.0.0.3");
    change({route("0.0.0.0/0", {other_host().to_text()}), route("::/0", {other_host().to_text()})});
  }
  static WorkerOptions options_for(std::uint32_t connections) {
    WorkerOptions out;
    out.connections = connections;
    out.timeouts.tcp_transitory = 100'000;
    return out;
  }
  void add_flows(std::uint32_t count) {
    for (std::uint32_t i = 0; i < count; ++i) {
      const auto segment =
          tcp(static_cast<std::uint16_t>(1 + i % 60'000), static_cast<std::uint16_t>(1 + i / 60'000), tcp_syn, Bytes{});
      REQUIRE(from_machine(2, checksummed(v4(segment, {"10.0.0.2", "10.0.0.3", protocol_tcp}))).drop == Drop::none);
    }
  }
  void idle() { worker.process({}, std::uint64_t{now} * second); }
  std::uint64_t followed() const { return worker.slow_path_counts().followed.get(); }
};

std::string server_of(int number) {
  return "198.51.100." + std::to_string(number);
}

Bytes udp_packet(std::string_view from, std::uint16_t from_port, std::string_view to, std::uint16_t to_port) {
  return checksummed(v4(udp(from_port, to_port, Bytes{1, 2, 3}), {from, to}));
}

/// One flow of machine 1, as it sees it.
struct Flow {
  bool is_echo = false;
  bool is_v6 = false;  ///< by NAT64
  std::uint16_t socket = 0;
  int server = 0;
  std::uint16_t server_port = 0;  ///< of an echo 0
  friend auto operator<=>(const Flow&, const Flow&) = default;

  auto inside() const { return std::tuple(is_v6, socket); }
  auto outside() const { return std::tuple(server, server_port); }
  Tick timeout() const { return is_echo ? 60 : 120; }
};

struct Known {
  std::uint16_t port = 0;
  Tick seen = 0;
  bool is_sure = true;      ///< it must go on; else its port was not there for a while
  bool is_answered = true;  ///< the machine has said something, or else the filter decides anew
};

struct World {
  explicit World(std::uint32_t seed) : random(seed) { host.add_flows(300); }

  std::uint32_t pick(std::uint32_t count) { return static_cast<std::uint32_t>(random() % count); }
  const Nat* told() const {
    const auto found = host.desired.nats().find({"m1"});
    return found == host.desired.nats().end() ? nullptr : &found->second;
  }
  bool is_in_range(std::uint16_t port) const { return port >= told()->first_port && port <= told()->last_port; }
  bool is_live(const Flow& flow, const Known& known) const { return host.now - known.seen < flow.timeout(); }
  bool must_go_on(const Flow& flow) const {
    const auto known = flows.find(flow);
    return known != flows.end() && known->second.is_sure && is_live(flow, known->second);
  }

  Flow any_flow() {
    Flow out;
    out.is_echo = pick(4) == 0;
    out.is_v6 = !out.is_echo && pick(5) == 0;
    out.socket = static_cast<std::uint16_t>(1 + pick(14));
    out.server = static_cast<int>(1 + pick(4));
    out.server_port = out.is_echo ? std::uint16_t{0} : static_cast<std::uint16_t>(50 + pick(2));
    return out;
  }

  static Bytes packet_of(const Flow& flow) {
    if (flow.is_echo)
      return checksummed(v4(icmp(8, 0, flow.socket, {1, 2}), {"10.0.0.1", server_of(flow.server), protocol_icmp}));
    if (flow.is_v6) {
      const auto to = ip("64:ff9b::c633:64" + std::string(flow.server < 10 ? "0" : "") + std::to_string(flow.server));
      return checksummed(v6(udp(flow.socket, flow.server_port, Bytes{1, 2, 3}), {"fd00::1", to.to_text()}));
    }
    return udp_packet("10.0.0.1", flow.socket, server_of(flow.server), flow.server_port);
  }
  static std::uint16_t port_in(const Bytes& packet, bool is_echo, bool is_source) {
    const auto at = place_of(packet).at;
    return get16(packet, at + (is_echo ? 4 : is_source ? 0 : 2));
  }

  /// A flow that has this port from now on: of those that must go on, none is in its way. One that has it again may share it with another socket,
  /// since when ports were shared.
  void has_port(const Flow& flow, std::uint16_t port, bool is_answered) {
    REQUIRE(is_in_range(port));
    const auto before = flows.find(flow);
    const bool has_it_again = before != flows.end() && before->second.port == port;
    for (const auto& [other, known] : flows) {
      if (other == flow || other.is_echo != flow.is_echo || known.port != port || !must_go_on(other)) continue;
      REQUIRE(other.outside() != flow.outside());
      if (told()->ports == Nat::Ports::own && !has_it_again) REQUIRE(other.inside() == flow.inside());
    }
    flows[flow] = {port, host.now, true, is_answered};
  }

  /// A packet from outside has come to the machine by this port.
  void heard(const Flow& flow, std::uint16_t port) {
    const auto known = flows.find(flow);
    if (must_go_on(flow)) {
      REQUIRE(known->second.port == port);
      known->second.seen = host.now;
      return;
    }
    has_port(flow, port, false);
  }

  void send(const Flow& flow) {
    const auto went = host.from_machine(1, packet_of(flow));
    if (told() == nullptr) return;
    CAPTURE(name(went.drop));
    if (went.drop != Drop::none) {
      REQUIRE(went.drop == Drop::nat_ports);
      REQUIRE_FALSE(must_go_on(flow));
      flows.erase(flow);
      ++refused;
      return;
    }
    REQUIRE(went.port == uplink_port);
    const auto out = slice(went.frame, 54);
    REQUIRE(is_right(out));
    REQUIRE(source_address(out) == told()->address.to_text());
    const auto port = port_in(out, flow.is_echo, true);
    if (must_go_on(flow)) {
      auto& known = flows[flow];
      REQUIRE(port == known.port);
      known.seen = host.now;
      known.is_answered = true;
      ++went_on;
    } else {
      has_port(flow, port, true);
    }
  }

  Went from_server(const std::string& server, std::uint16_t server_port, std::uint16_t port, bool is_echo) {
    const auto to = told()->address.to_text();
    const auto packet = is_echo ? checksummed(v4(icmp(0, 0, port, {1, 2}), {server, to, protocol_icmp}))
                                : udp_packet(server, server_port, to, port);
    return host.from_wire(wire_frame(other_host(), *told()->underlay, packet));
  }

  /// An answer to a flow, whether it must go on or not; it may be for who has its port now.
  void answer(Flow flow) {
    const auto known = flows.find(flow);
    if (known == flows.end() || told() == nullptr) return;
    const auto port = known->second.port;
    const auto went = from_server(server_of(flow.server), flow.server_port, port, flow.is_echo);
    const bool must_come = must_go_on(flow);
    if (must_come) REQUIRE(went.drop == Drop::none);
    if (went.drop != Drop::none) return;
    REQUIRE(went.port == first_machine_port + 1);
    const auto inside = flow.inside();
    flow.is_v6 = destination_address(went.ip()) == "fd00::1";
    flow.socket = port_in(went.ip(), flow.is_echo, false);
    if (must_come) REQUIRE(flow.inside() == inside);
    heard(flow, port);
  }

  /// From a port of the server that nobody has talked to.
  void stranger() {
    if (told() == nullptr) return;
    const auto size = static_cast<std::uint32_t>(told()->last_port - told()->first_port + 1);
    const auto port = static_cast<std::uint16_t>(told()->first_port + pick(size));
    const int server = static_cast<int>(1 + pick(6));
    const auto server_port = static_cast<std::uint16_t>(900 + pick(3));
    const auto went = from_server(server_of(server), server_port, port, false);
    if (went.drop != Drop::none) return;
    REQUIRE(went.port == first_machine_port + 1);
    Flow flow;
    flow.is_v6 = destination_address(went.ip()) == "fd00::1";
    flow.socket = port_in(went.ip(), false, false);
    flow.server = server;
    flow.server_port = server_port;
    const auto is_its = [&](const auto& entry) {
      return entry.first.inside() == flow.inside() && !entry.first.is_echo && entry.second.port == port;
    };
    REQUIRE(std::any_of(flows.begin(), flows.end(), is_its));
    heard(flow, port);
    ++strangers;
  }

  void change() {
    const auto* before = told();
    if (before != nullptr && pick(12) == 0) {
      host.change({NatKey{"m1"}});
      history += " none;";
      flows.clear();
      return;
    }
    const auto first = static_cast<std::uint16_t>(1000 + pick(24));
    auto next = nat("m1", first, static_cast<std::uint16_t>(first + 4 + pick(30)));
    if (before != nullptr) {
      next = *before;
      if (pick(4) != 0) {
        next.first_port = first;
        next.last_port = static_cast<std::uint16_t>(first + 4 + pick(30));
      }
    }
    if (pick(3) == 0) next.ports = pick(2) == 0 ? Nat::Ports::own : Nat::Ports::shared;
    if (pick(3) == 0) next.filtering = static_cast<Nat::Filtering>(pick(3));
    if (pick(10) == 0) next.address = ip(pick(2) == 0 ? "192.0.2.1" : "192.0.2.2");
    if (pick(10) == 0) next.underlay = ip("2001:db8:0:1:d000:8000::" + std::to_string(70 + pick(9)));
    const bool is_other_address = before != nullptr && before->address != next.address;
    // Answers find a flow there once the machine has said something.
    const bool is_other_underlay = before != nullptr && before->underlay != next.underlay;
    host.change({next});
    ++changes;
    history += " " + std::to_string(next.first_port) + "-" + std::to_string(next.last_port) +
               (next.ports == Nat::Ports::own ? " own " : " shared ") +
               std::to_string(static_cast<int>(next.filtering)) + (is_other_underlay ? " underlay" : "") +
               (is_other_address ? " address;" : ";");
    if (is_other_address) flows.clear();
    for (auto& [flow, known] : flows)
      if (!is_in_range(known.port) || !known.is_answered || is_other_underlay) known.is_sure = false;
  }

  void step() {
    const auto what = pick(100);
    if (what < 45) {
      send(any_flow());
    } else if (what < 70) {
      if (flows.empty()) return;
      auto some = flows.begin();
      std::advance(some, pick(static_cast<std::uint32_t>(flows.size())));
      const auto flow = some->first;
      pick(2) == 0 ? answer(flow) : send(flow);
    } else if (what < 82) {
      stranger();
    } else if (what < 92) {
      host.idle();
    } else if (what < 95) {
      host.now += pick(20);
    } else {
      change();
      while (pick(3) == 0) change();
    }
  }

  /// When all flows have ended all ports are there, each once.
  void end() {
    host.now += 200'000;
    for (int i = 0; i < 100; ++i) host.idle();
    REQUIRE(host.worker.flows().size() == 0);
    REQUIRE_FALSE(host.worker.is_behind());
    flows.clear();
    history.clear();
    if (told() != nullptr) {
      std::set<std::uint16_t> all;
      const auto size = static_cast<std::size_t>(told()->last_port - told()->first_port + 1);
      for (std::uint16_t socket = 100; all.size() < size; ++socket) {
        const auto went = host.from_machine(1, udp_packet("10.0.0.1", socket, server_of(1), 53));
        REQUIRE(went.drop == Drop::none);
        REQUIRE(all.insert(port_in(slice(went.frame, 54), false, true)).second);
      }
      REQUIRE(host.from_machine(1, udp_packet("10.0.0.1", 99, server_of(1), 53)).drop == Drop::nat_ports);
      host.now += 200'000;
      for (int i = 0; i < 100; ++i) host.idle();
      REQUIRE(host.worker.flows().size() == 0);
    }
    host.add_flows(300);
  }

  NatHost host;
  std::mt19937 random;
  std::map<Flow, Known> flows;
  std::string history;  ///< of the NAT, in this round
  std::size_t went_on = 0, refused = 0, strangers = 0, changes = 0;
};

}  // namespace

TEST_CASE("while a NAT changes at random no two flows have one port, none loses its own, and all come back") {
  for (const std::uint32_t seed : {1U, 2U, 3U, 4U, 5U, 6U, 7U, 8U}) {
    CAPTURE(seed);
    World world(seed);
    world.host.change({nat("m1", 1000, 1019)});
    for (int round = 0; round < 20; ++round) {
      CAPTURE(round);
      for (int i = 0; i < 500; ++i) {
        CAPTURE(i);
        CAPTURE(world.history);
        world.step();
      }
      world.end();
    }
    CHECK(world.changes > 400);
    CHECK(world.went_on > 800);
    CHECK(world.strangers > 20);
    CHECK(world.refused > 50);
  }
}

TEST_CASE("a changed NAT costs each burst a few connections, and each connection one look") {
  constexpr std::uint32_t flows = 10'000;
  NatHost host(20'000);
  host.change({nat("m1", 1000, 1999)});
  const auto port_of = [&](std::uint16_t socket) {
    const auto went = host.from_machine(1, udp_packet("10.0.0.1", socket, server_of(1), 53));
    REQUIRE(went.drop == Drop::none);
    return get16(slice(went.frame, 54), 20);
  };
  std::map<std::uint16_t, std::uint16_t> ports;
  for (std::uint16_t socket = 1; socket <= 100; ++socket) ports[socket] = port_of(socket);
  host.add_flows(flows);
  CHECK(host.followed() == 0);
  CHECK_FALSE(host.worker.is_behind());

  host.change({nat("m1", 1000, 2999)});
  CHECK(host.followed() == 0);  // `apply` makes no worker do anything
  std::uint64_t before = 0;
  std::uint32_t bursts = 0;
  std::set<std::uint16_t> taken;
  for (const auto& [socket, port] : ports) taken.insert(port);
  const auto looked = [&](std::uint32_t most) {
    REQUIRE(host.followed() - before <= most);
    before = host.followed();
    ++bursts;
  };
  // Old and new flows go all the while.
  for (std::uint16_t socket = 1; host.worker.is_behind() || bursts == 0; socket = socket % 100 + 1) {
    CHECK(port_of(socket) == ports[socket]);
    looked(most_with_packets);
    if (!host.worker.is_behind()) break;
    const auto other = static_cast<std::uint16_t>(1000 + bursts);
    REQUIRE(taken.insert(port_of(other)).second);
    looked(most_with_packets);
    host.idle();
    looked(most_when_idle);
  }
  CHECK(bursts >= flows / most_when_idle);
  CHECK(host.followed() >= flows + 100);
  CHECK(host.followed() <= host.worker.flows().places());
  for (int i = 0; i < 10; ++i) host.idle();
  CHECK(host.followed() == before);

  // What comes during a pass waits for the next one, however often something changes.
  for (std::uint16_t last = 3000; last < 3200; ++last) {
    host.change({nat("m1", 1000, last)});
    host.idle();
    looked(most_when_idle);
  }
  const auto passes = host.followed();
  while (host.worker.is_behind()) {
    host.idle();
    looked(most_when_idle);
  }
  CHECK(host.followed() - passes <= 2 * std::uint64_t{host.worker.flows().places()});
  for (const auto& [socket, port] : ports) CHECK(port_of(socket) == port);
}

TEST_CASE("a flow whose port was not there for a while has it again, or none, whatever the worker has seen of it") {
  for (int seen = 0; seen <= 20; ++seen) {
    CAPTURE(seen);
    NatHost host;
    host.change({nat("m1", 1000, 1003)});
    const auto port_of = [&](std::uint16_t socket) -> std::optional<std::uint16_t> {
      const auto went = host.from_machine(1, udp_packet("10.0.0.1", socket, server_of(1), 53));
      if (went.drop != Drop::none) return std::nullopt;
      return get16(slice(went.frame, 54), 20);
    };
    std::map<std::uint16_t, std::uint16_t> sockets;  // by port
    for (std::uint16_t socket = 1; socket <= 4; ++socket) {
      if (socket == 3) host.add_flows(200);
      sockets[*port_of(socket)] = socket;
    }
    REQUIRE(sockets.size() == 4);
    host.change({nat("m1", 1002, 1003)});
    for (int i = 0; i < seen; ++i) host.idle();
    const bool is_over = seen > 0 && !host.worker.is_behind();
    host.change({nat("m1", 1000, 1003)});
    std::set<std::uint16_t> given;
    for (std::uint16_t socket = 10; socket < 30; ++socket)
      if (const auto port = port_of(socket)) REQUIRE(given.insert(*port).second);
    CHECK(given.count(1002) + given.count(1003) == 0);
    for (const auto port : {std::uint16_t{1002}, std::uint16_t{1003}}) CHECK(port_of(sockets[port]) == port);
    for (const auto port : {std::uint16_t{1000}, std::uint16_t{1001}}) {
      const auto now = port_of(sockets[port]);
      if (is_over) CHECK(given.count(port) == 1);
      if (now) CHECK(given.count(*now) == 0);
    }
  }
}

TEST_CASE("a NAT that goes and comes back with its address is another one, and its former flows hold nothing of it") {
  for (const bool is_one_batch : {false, true}) {
    NatHost host;
    host.change({nat("m1", 1000, 1003)});
    host.add_flows(200);
    std::map<std::uint16_t, std::uint16_t> sockets;
    const auto port_of = [&](std::uint16_t socket) -> std::optional<std::uint16_t> {
      const auto went = host.from_machine(1, udp_packet("10.0.0.1", socket, server_of(1), 53));
      if (went.drop != Drop::none) return std::nullopt;
      return get16(slice(went.frame, 54), 20);
    };
    for (std::uint16_t socket = 1; socket <= 4; ++socket) sockets[*port_of(socket)] = socket;
    host.change({nat("m1", 1000, 1002)});
    host.idle();
    if (is_one_batch) {
      // As if it had been told anew.
      host.change({NatKey{"m1"}, nat("m1", 1000, 1003)});
      for (std::uint16_t port = 1000; port <= 1002; ++port) CHECK(port_of(sockets[port]) == port);
    } else {
      host.change({NatKey{"m1"}});
      host.change({nat("m1", 1000, 1003)});
      std::set<std::uint16_t> given;
      for (std::uint16_t socket = 10; socket < 14; ++socket) given.insert(port_of(socket).value_or(0));
      CHECK(given == std::set<std::uint16_t>{1000, 1001, 1002, 1003});
      CHECK_FALSE(port_of(1));
    }
  }
}
