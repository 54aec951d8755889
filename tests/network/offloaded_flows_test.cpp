// SPDX-License-Identifier: Apache-2.0
// A worker with a card that forwards: which connections it gets, that it does with them what the worker would do, and what happens when anything changes.
#include "dataplane/offloaded_flows.hpp"

#include <doctest/doctest.h>

#include <optional>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "hosts.hpp"
#include "ironcore/network/dataplane.hpp"
#include "ironcore/sim/flow_offload.hpp"
#include "ironcore/sim/ports.hpp"
#include "ironcore/sim/virtual_clock.hpp"

using namespace ironcore;
using namespace ironcore::network;
using namespace ironcore::network::dataplane;
using namespace ironcore::network::tests;
using namespace ironcore::tests;

namespace {

constexpr const char* server = "198.51.100.7";
using Fault = sim::FlowOffload::Fault;

struct Card {
  explicit Card(sim::FlowOffload::Options options = {}) : offload(clock, options) {}
  sim::VirtualClock clock;
  sim::FlowOffload offload;
};

/// Two machines, and a way to elsewhere.
struct OffloadingHost : Card, Host {
  explicit OffloadingHost(sim::FlowOffload::Options options = {}) : Card(options), Host(1, with(offload)) {
    add(1, "10.0.0.1", 100, "fd00::1");
    add(2, "10.0.0.2", 100, "fd00::2");
    change({route("0.0.0.0/0", {other_host().to_text()}), route("::/0", {other_host().to_text()})});
  }
  static WorkerOptions with(FlowOffload& offload) {
    WorkerOptions options;
    options.flow_offload = &offload;
    options.offload.packets_per_second = 10;
    options.offload.idle_seconds = 5;
    return options;
  }
  /// Rounds without packets, enough to look at all.
  void idle(int rounds = 12) {
    for (int i = 0; i < rounds; ++i) worker.process({}, now * second + now_ns);
  }
  void next_second() {
    ++now;
    clock.advance(std::chrono::seconds(1));
  }
  /// So many packets in each of three seconds.
  template <class Send>
  void busy(Send send, int packets = 20) {
    for (int i = 0; i < 3; ++i) {
      next_second();
      for (int j = 0; j < packets; ++j) send();
      idle();
    }
  }
  const OffloadedFlows::Counters& counters() const { return worker.offloaded()->counters(); }
  std::vector<OffloadedFlow> flows() { return offload.flows(); }
  const Connection& connection(std::uint32_t place = 0) const { return worker.flows()[place]; }
};

Bytes udp_to(std::string_view from, std::string_view to, std::uint16_t from_port = 1000, std::uint16_t to_port = 53) {
  const auto payload = udp(from_port, to_port, {1, 2, 3});
  const bool is_v6 = ip(from).is_v6();
  return checksummed(is_v6 ? v6(payload, {.source = from, .destination = to})
                           : v4(payload, {.source = from, .destination = to}));
}
Bytes tcp_to(std::string_view from, std::string_view to, std::uint16_t from_port, std::uint16_t to_port,
             std::uint8_t flags) {
  return checksummed(v4(tcp(from_port, to_port, flags, {9, 8, 7}), {from, to, protocol_tcp}));
}

std::uint64_t refusals(const OffloadingHost& host) {
  std::uint64_t sum = 0;
  for (const auto count : host.counters().refused) sum += count;
  return sum;
}
/// What `explain` says of the card, in the first round.
std::string told(OffloadingHost& host, std::uint8_t machine, const Bytes& packet) {
  auto memory = Bytes(128);
  const auto frame = ethernet(port_mac(first_machine_port + machine), machine_mac(machine), packet);
  memory.insert(memory.end(), frame.begin(), frame.end());
  Packet explained;
  explained.frame = memory.data() + 128;
  explained.bytes = explained.frame_bytes = explained.room = static_cast<std::uint32_t>(frame.size());
  explained.headroom = 128;
  explained.port = first_machine_port + machine;
  for (const auto& step : host.worker.explain(explained, host.now * second + host.now_ns).steps)
    if (step.stage == "offload") return step.text;
  return "nothing";
}

/// One frame by the worker and by the card: the same comes out. The connection is offloaded by then.
void check_same(OffloadingHost& host, std::uint32_t port, const Bytes& frame) {
  const auto by_worker = host.send(port, frame);
  REQUIRE(by_worker.drop == Drop::none);
  const auto by_card = host.offload.pass(port, frame);
  REQUIRE(by_card.has_value());
  CHECK(by_card->port == by_worker.port);
  CHECK(by_card->frame == by_worker.frame);
}
Bytes from_machine(std::uint8_t number, const Bytes& packet) {
  return ethernet(port_mac(first_machine_port + number), machine_mac(number), packet);
}

}  // namespace

TEST_CASE("a busy connection goes to the card in both directions, a quiet one does not") {
  OffloadingHost host;
  const auto packet = udp_to("10.0.0.1", "10.0.0.2");
  host.busy([&] { host.from_machine(1, packet); }, 5);
  host.busy([&] { host.from_machine(1, packet); }, 9);
  CHECK(host.flows().empty());
  host.busy([&] { host.from_machine(1, packet); }, 10);
  REQUIRE(host.flows().size() == 2);
  host.idle();
  CHECK(host.counters().connections == 1);
  CHECK(host.counters().installed == 1);
  // What is not of one connection is not there.
  CHECK_FALSE(host.offload.pass(first_machine_port + 1, from_machine(1, udp_to("10.0.0.1", "10.0.0.2", 1001))));
}

TEST_CASE("the card does with packets what the worker does") {
  struct Case {
    std::string_view name;
    std::string_view local, remote;
    bool is_wire;
  };
  for (const auto& [name, local, remote, is_wire] :
       {Case{"machines", "10.0.0.1", "10.0.0.2", false}, Case{"machines, IPv6", "fd00::1", "fd00::2", false},
        Case{"elsewhere", "10.0.0.1", server, true}, Case{"elsewhere, IPv6", "fd00::1", "2001:db8:7::7", true}}) {
    const std::string title(name);
    INFO(title);
    OffloadingHost host;
    const auto there = from_machine(1, udp_to(local, remote));
    const auto back_ip = udp_to(remote, local, 53, 1000);
    const auto back = is_wire ? wire_frame(other_host(), host.underlay_of(1), back_ip) : from_machine(2, back_ip);
    const std::uint32_t back_port = is_wire ? uplink_port : first_machine_port + 2;
    host.busy([&] { host.send(first_machine_port + 1, there); });
    REQUIRE(host.flows().size() == 2);
    check_same(host, first_machine_port + 1, there);
    check_same(host, back_port, back);
  }
}

TEST_CASE("the card translates addresses and ports as the worker does") {
  for (const bool is_nat : {true, false}) {
    OffloadingHost host;
    if (is_nat)
      host.change({nat("m1", 1024, 2047)});
    else
      host.change({VirtualIp{"m1", ip("192.0.2.50"), {}}});
    const auto there = from_machine(1, udp_to("10.0.0.1", server));
    const auto went = host.send(first_machine_port + 1, there);
    REQUIRE(went.drop == Drop::none);
    const auto inner = slice(went.frame, 54);
    const auto public_port = get16(inner, 20);
    const auto underlay =
        is_nat ? *host.desired.nats().at({"m1"}).underlay : *host.desired.virtual_ips().at({"m1", false}).underlay;
    const auto back =
        wire_frame(other_host(), underlay, udp_to(server, is_nat ? "192.0.2.1" : "192.0.2.50", 53, public_port));
    host.busy([&] { host.send(first_machine_port + 1, there); });
    REQUIRE(host.flows().size() == 2);
    check_same(host, first_machine_port + 1, there);
    check_same(host, uplink_port, back);
  }
}

TEST_CASE("answers are hits at every uplink") {
  OffloadingHost host;
  host.compiler.add_uplink({second_uplink_port, mac(3, 1), 1, true}, port_mac(second_uplink_port));
  host.change({});
  const auto there = from_machine(1, udp_to("10.0.0.1", server));
  host.busy([&] { host.send(first_machine_port + 1, there); });
  REQUIRE(host.flows().size() == 3);
  check_same(host, first_machine_port + 1, there);
  const auto back = wire_frame(other_host(), host.underlay_of(1), udp_to(server, "10.0.0.1", 53, 1000));
  check_same(host, uplink_port, back);
  check_same(host, second_uplink_port, back);
  // One that goes down takes its flows along.
  const auto port = host.offload.pass(first_machine_port + 1, there)->port;
  host.compiler.change_uplink({port, port == uplink_port ? router : mac(3, 1), 1, false});
  host.change({});
  host.idle();
  CHECK_FALSE(host.offload.pass(first_machine_port + 1, there));
}

TEST_CASE("hits count in the connection, and keep it alive") {
  OffloadingHost host;
  const auto packet = udp_to("10.0.0.1", "10.0.0.2");
  const auto there = from_machine(1, packet);
  host.busy([&] { host.send(first_machine_port + 1, there); });
  REQUIRE(host.flows().size() == 2);
  const auto before = host.connection().state;
  for (int i = 0; i < 300; ++i) {
    host.next_second();
    REQUIRE(host.offload.pass(first_machine_port + 1, there));
    host.idle();
  }
  CHECK(host.worker.flows().size() == 1);
  const auto& after = host.connection().state;
  CHECK(after.packets[0] == before.packets[0] + 300);
  CHECK(after.bytes[0] == before.bytes[0] + 300 * packet.size());
  CHECK(after.packets[1] == before.packets[1]);
  CHECK(after.seen == host.now);
  CHECK(host.counters().packets == 300);

  // Without hits it leaves the card, is forgotten in time, and is no leftover there.
  host.next_second();
  REQUIRE(host.offload.pass(first_machine_port + 1, there));
  for (int i = 0; i < 6; ++i) {
    host.next_second();
    host.idle();
  }
  CHECK(host.flows().empty());
  CHECK(host.connection().state.packets[0] == before.packets[0] + 301);
  CHECK(host.counters().connections == 0);
  for (int i = 0; i < 130; ++i) {
    host.next_second();
    host.idle();
  }
  CHECK(host.worker.flows().size() == 0);
}

TEST_CASE("TCP goes to the card once it is established, and comes back when it ends") {
  OffloadingHost host;
  const auto there = [&](std::uint8_t flags) { return tcp_to("10.0.0.1", "10.0.0.2", 1000, 80, flags); };
  const auto back = [&](std::uint8_t flags) { return tcp_to("10.0.0.2", "10.0.0.1", 80, 1000, flags); };
  host.busy([&] { host.from_machine(1, there(tcp_syn)); });
  CHECK(host.flows().empty());
  host.from_machine(2, back(tcp_syn | tcp_ack));
  host.busy([&] { host.from_machine(1, there(tcp_ack)); });
  REQUIRE(host.flows().size() == 2);
  check_same(host, first_machine_port + 1, from_machine(1, there(tcp_ack)));
  check_same(host, first_machine_port + 2, from_machine(2, back(tcp_ack)));
  const auto fin = from_machine(1, there(tcp_fin | tcp_ack));
  CHECK_FALSE(host.offload.pass(first_machine_port + 1, fin));
  host.send(first_machine_port + 1, fin);
  host.idle();
  CHECK(host.flows().empty());
}

TEST_CASE("a change of the configuration takes flows out of the card") {
  const auto packet = udp_to("10.0.0.1", "10.0.0.2");
  const auto changed = [&](const std::vector<Change>& changes) {
    OffloadingHost host;
    host.busy([&] { host.from_machine(1, packet); });
    REQUIRE(host.flows().size() == 2);
    host.change(changes);
    host.idle();
    CHECK(host.flows().empty());
    return host.from_machine(1, packet).drop;
  };
  CHECK(changed({FirewallRuleKey{"m2", "all-v4"}}) == Drop::ingress_rule);
  CHECK(changed({InterfaceKey{"m1"}}) != Drop::none);
  CHECK(changed({InterfaceKey{"m2"}}) == Drop::none);  // it goes elsewhere
  auto other_mac = interface("m2", "10.0.0.2");
  other_mac.ipv6 = ip("fd00::2");
  other_mac.mac = machine_mac(77);
  CHECK(changed({other_mac}) == Drop::none);

  // What has nothing to do with it does not.
  OffloadingHost host;
  host.busy([&] { host.from_machine(1, packet); });
  host.add(3, "10.9.0.3", 300);
  host.idle();
  CHECK(host.flows().size() == 2);
  // A port that goes does.
  host.compiler.remove_port("port-m2");
  host.change({});
  host.idle();
  CHECK(host.flows().empty());
}

TEST_CASE("what only the worker can do stays with it") {
  OffloadingHost host;
  auto limited = interface("m2", "10.0.0.2");
  limited.ipv6 = ip("fd00::2");
  limited.mac = machine_mac(2);
  limited.total = {.egress = 1'000'000, .ingress = 1'000'000};
  host.change({limited});
  host.busy([&] {
    host.from_machine(1, udp_to("10.0.0.1", "10.0.0.2"));
    host.from_machine(2, udp_to("10.0.0.2", server));
    host.from_machine(1, checksummed(v4(icmp(8, 0, 5), {"10.0.0.1", server, protocol_icmp})));
    host.from_machine(1, checksummed(v4(sctp(1, 2), {"10.0.0.1", server, protocol_sctp})));
  });
  CHECK(host.worker.flows().size() >= 3);
  CHECK(host.flows().empty());
  CHECK(refusals(host) == 0);
}

TEST_CASE("an explanation says whether the card has the flow, would get it, and why not") {
  const auto packet = udp_to("10.0.0.1", "10.0.0.2");
  {
    OffloadingHost host;
    const std::string later = "not yet: it would be, from 10 packets a second on";
    CHECK(told(host, 1, packet) == later);
    host.from_machine(1, packet);
    CHECK(told(host, 1, packet) == later);
    host.busy([&] { host.from_machine(1, packet); });
    REQUIRE(host.flows().size() == 2);
    const auto frame = from_machine(1, packet);
    for (int i = 0; i < 3; ++i) REQUIRE(host.offload.pass(first_machine_port + 1, frame));
    host.next_second();
    host.idle();
    CHECK(told(host, 1, packet).starts_with("yes: the hardware forwards it, 3 packets so far"));
    CHECK(told(host, 2, udp_to("10.0.0.2", "10.0.0.1", 53, 1000)) == told(host, 1, packet));
    CHECK(told(host, 1, tcp_to("10.0.0.1", "10.0.0.2", 1, 2, tcp_syn)) ==
          "no: TCP goes there once it is established, and until it ends");
    CHECK(told(host, 1, checksummed(v4(icmp(8, 0, 5), {"10.0.0.1", server, protocol_icmp}))) ==
          "no: only TCP and UDP go there");
    host.compiler.remove_uplink(uplink_port);
    host.change({});
    CHECK(told(host, 1, udp_to("10.0.0.1", server)) == "no: there is no uplink for it");
  }
  {
    OffloadingHost host;
    auto limited = interface("m2", "10.0.0.2");
    limited.mac = machine_mac(2);
    limited.total = {.egress = 1'000'000, .ingress = 1'000'000};
    host.change({limited});
    CHECK(told(host, 1, packet) == "no: its receiver has rates, or has no port or MAC");
    CHECK(told(host, 2, udp_to("10.0.0.2", server)) == "no: its sender has rates, or has no port or MAC");
  }
  {
    OffloadingHost host;
    host.offload.set(Fault::fails);
    host.busy([&] { host.from_machine(1, packet); });
    CHECK(told(host, 1, packet).starts_with("no: the hardware has refused it, and is asked again in "));
    CHECK(host.counters().refused[static_cast<std::size_t>(FlowEvent::Refusal::failed)] == 2);
  }
  {
    OffloadingHost host;
    host.offload.set(Fault::stuck);
    host.busy([&] { host.from_machine(1, packet); });
    CHECK(told(host, 1, packet) == "nearly: the hardware has been told, and has not answered yet");
  }
}

TEST_CASE("a card that is full, fails or is reset costs nothing but its help") {
  const auto packet = udp_to("10.0.0.1", "10.0.0.2");
  const auto send = [&](OffloadingHost& host) {
    host.busy([&] { CHECK(host.from_machine(1, packet).drop == Drop::none); });
  };
  {
    // Room for one of two directions: then for none.
    OffloadingHost host({.capacity = 1});
    send(host);
    host.idle();
    CHECK(host.flows().empty());
    CHECK(refusals(host) >= 1);
    CHECK(host.counters().connections == 0);
  }
  {
    OffloadingHost host;
    host.offload.set(Fault::fails);
    for (int i = 0; i < 10; ++i) send(host);
    CHECK(refusals(host) == 2);  // it is not asked again and again
    host.offload.set(Fault::none);
    for (int i = 0; i < 30; ++i) send(host);
    CHECK(host.flows().size() == 2);
  }
  {
    OffloadingHost host;
    host.offload.set(Fault::full);
    send(host);
    host.idle();
    host.offload.set(Fault::none);
    for (int i = 0; i < 4; ++i) send(host);
    CHECK(host.flows().size() == 2);
    host.offload.reset();
    host.idle();
    CHECK(host.counters().resets == 1);
    CHECK(host.counters().connections == 0);
    send(host);
    send(host);
    CHECK(host.flows().size() == 2);
    check_same(host, first_machine_port + 1, from_machine(1, packet));
  }
  {
    OffloadingHost host;
    host.offload.set(Fault::stuck);
    send(host);
    host.change({FirewallRuleKey{"m2", "all-v4"}});
    host.idle();
    CHECK(host.from_machine(1, packet).drop == Drop::ingress_rule);
    host.offload.set(Fault::none);
    host.idle();
    CHECK(host.flows().empty());
    CHECK(host.counters().connections == 0);
  }
  {
    // A queue of one command.
    OffloadingHost host({.room = 1});
    for (int i = 0; i < 5; ++i) send(host);
    CHECK(host.flows().empty());
    CHECK(host.counters().connections == 0);
  }
}

TEST_CASE("whatever happens, a flow in the card is one that the worker would forward in the same way") {
  for (std::uint32_t seed = 1; seed <= 20; ++seed) {
    CAPTURE(seed);
    std::mt19937 random(seed);
    const auto below = [&](std::uint32_t count) { return random() % count; };
    OffloadingHost host({.capacity = 12, .room = 6, .delay = std::chrono::milliseconds(below(3) * 400)});
    for (int step = 0; step < 150; ++step) {
      switch (below(9)) {
        case 0:
          host.change({FirewallRuleKey{"m2", "all-v4"}});
          break;
        case 1:
          host.change({rule("m2", "all-v4")});
          break;
        case 2:
          host.change({nat("m1", 1024, 1033)});
          break;
        case 3:
          host.change({NatKey{"m1"}});
          break;
        case 4: {
          auto machine = interface("m2", "10.0.0.2");
          machine.mac = machine_mac(below(2) == 0 ? 2 : 77);
          host.change({machine});
          break;
        }
        case 5:
          host.offload.set(static_cast<Fault>(below(4)));
          break;
        case 6:
          if (below(4) == 0) host.offload.reset();
          break;
        default: {
          const auto from_port = static_cast<std::uint16_t>(1000 + below(6));
          const auto packet = udp_to("10.0.0.1", below(2) == 0 ? "10.0.0.2" : server, from_port);
          host.busy([&] { host.from_machine(1, packet); });
          break;
        }
      }
      // Calm down: no command is in flight, and all has been compared.
      host.offload.set(Fault::none);
      for (int i = 0; i < 8; ++i) {
        host.idle();
        host.clock.advance(std::chrono::seconds(1));
      }
      host.idle();
      for (const auto& flow : host.flows()) {
        if (flow.match.underlay) continue;
        const auto number = static_cast<std::uint8_t>(flow.match.port - first_machine_port);
        const auto packet = udp_to(flow.match.source.to_text(), flow.match.destination.to_text(),
                                   flow.match.source_port, flow.match.destination_port);
        const auto frame = ethernet(port_mac(flow.match.port), *flow.match.source_mac, packet);
        REQUIRE((number == 1 || number == 2));
        check_same(host, flow.match.port, frame);
      }
    }
  }
}

TEST_CASE("a dataplane with a card counts its packets at interfaces, and refuses one with too few queues") {
  SystemClock clock;
  NullLog log;
  sim::Ports ports(clock, {.queues = 1});
  sim::VirtualClock card_clock;
  sim::FlowOffload card(card_clock);
  DataplaneOptions options;
  options.underlay = prefix("2001:db8:0:1::/64");
  options.connections = 1000;
  options.maglev_size = 251;
  options.seed = 1;
  options.announces = false;
  options.flow_offload = &card;
  options.offload_packets_per_second = 1;
  const auto made = Dataplane::create(options, ports, clock, log);
  REQUIRE(made.has_value());
  const auto& dataplane = *made;
  for (const std::string id : {"a", "b"}) {
    auto machine = interface(id, id == "a" ? "10.0.0.1" : "10.0.0.2");
    machine.mac = machine_mac(id == "a" ? 1 : 2);
    const std::vector<Change> batch{machine, rule(id, "all")};
    REQUIRE(dataplane->apply(batch).has_value());
    REQUIRE(ports.open({"port-" + id, "memory:" + id, 1500, std::nullopt}).has_value());
  }
  const auto gateway = ports.list().front();
  const auto frame = ethernet(gateway.mac, machine_mac(1), udp_to("10.0.0.1", "10.0.0.2"));
  const auto end = clock.now() + std::chrono::seconds(20);
  std::uint64_t sent = 0;
  while (card.flows().size() < 2 && clock.now() < end) {
    sent += ports.inject("port-a", frame) ? 1 : 0;
    dataplane->step(0);
    ports.take("port-b");
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  REQUIRE(card.flows().size() == 2);
  for (int i = 0; i < 10; ++i) REQUIRE(card.pass(gateway.number, frame));
  for (int i = 0; i < 10; ++i) dataplane->step(0);
  const auto counters = dataplane->counters();
  REQUIRE(counters.offload.has_value());
  CHECK(*counters.offload == OffloadCounters{.connections = 1, .installed = 1, .packets = 10});
  const auto interfaces = dataplane->interface_counters();
  CHECK(interfaces[0].sent_packets == sent + 10);
  CHECK(interfaces[0].sent_bytes == (sent + 10) * frame.size());
  CHECK(interfaces[1].received_packets == sent + 10);
  CHECK(interfaces[1].received_bytes == (sent + 10) * frame.size());

  sim::Ports two(clock, {.queues = 2});
  const auto refused = Dataplane::create(options, two, clock, log);
  REQUIRE_FALSE(refused.has_value());
  CHECK(refused.error().message().find("flow_offload") != std::string::npos);
}
