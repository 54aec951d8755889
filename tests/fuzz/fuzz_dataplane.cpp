// SPDX-License-Identifier: Apache-2.0
// Two hosts on one wire: any configuration, any bursts, any time between them. Whatever goes out is a right packet for whom it is, nothing is
// written beside a packet, and at the end nothing is held.
#include <sanitizer/asan_interface.h>
#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <vector>

#include "checked_packets.hpp"
#include "configuration_objects.hpp"
#include "dataplane/bytes.hpp"
#include "dataplane/checksum.hpp"
#include "dataplane/compiler.hpp"
#include "dataplane/local_frames.hpp"
#include "dataplane/worker.hpp"

using namespace ironcore;
using namespace ironcore::network;
using namespace ironcore::network::dataplane;
using namespace ironcore::network::tests;
using namespace ironcore::tests;

namespace {

void require(bool holds) {
  if (!holds) std::abort();
}

class Input {
 public:
  explicit Input(std::span<const std::uint8_t> bytes) : left_(bytes) {}
  bool is_empty() const { return left_.empty(); }
  std::uint8_t byte() {
    if (left_.empty()) return 0;
    const auto out = left_.front();
    left_ = left_.subspan(1);
    return out;
  }
  std::uint16_t word() {
    const auto high = byte();
    return static_cast<std::uint16_t>(high << 8 | byte());
  }
  std::uint8_t below(std::uint32_t count) { return static_cast<std::uint8_t>(byte() % count); }
  template <class List>
  auto one_of(const List& list) {
    return list[below(static_cast<std::uint32_t>(std::size(list)))];
  }
  Bytes some(std::size_t count) {
    const auto taken = std::min(count, left_.size());
    const Bytes out(left_.begin(), left_.begin() + static_cast<std::ptrdiff_t>(taken));
    left_ = left_.subspan(taken);
    return out;
  }

 private:
  std::span<const std::uint8_t> left_;
};

// ---- the world -------------------------------------------------------------------------------------------------------

constexpr std::uint32_t interfaces = 8;
constexpr std::uint32_t connections = 200;
constexpr std::uint32_t first_machine_port = 10;
constexpr std::uint64_t second = 1'000'000'000;
constexpr std::string_view ids[] = {"a", "b", "c", "d", "e"};
constexpr std::string_view names[] = {"port-a", "port-b", "port-c", "port-d", "port-e", "port-f"};
constexpr std::string_view addresses_v4[] = {
    "10.0.0.1",     "10.0.0.2",  "10.0.0.3",        "10.0.1.1",   "10.0.1.2",   "10.1.0.5",  "198.51.100.7",
    "198.51.100.8", "192.0.2.1", "192.0.2.2",       "192.0.2.50", "192.0.2.51", "192.0.2.9", "10.9.0.1",
    "169.254.0.1",  "224.0.0.1", "255.255.255.255", "0.0.0.0",    "127.0.0.1",  "10.77.0.1", "169.254.1.53"};
constexpr std::string_view addresses_v6[] = {"fd00::1",
                                             "fd00::2",
                                             "fd00::3",
                                             "fd00:1::1",
                                             "2001:db8:9::9",
                                             "64:ff9b::c633:6407",
                                             "64:ff9b::c000:232",
                                             "64:ff9b::c000:201",
                                             "64:ff9b::a00:1",
                                             "2001:db8:50::1",
                                             "2001:db8:50::9",
                                             "fd00:9::1",
                                             "fe80::1",
                                             "ff02::1",
                                             "::",
                                             "::1"};
constexpr std::string_view router_underlay = "2001:db8:ff::1";

MacAddress mac(std::uint8_t kind, std::uint32_t number) {
  return MacAddress({2, 0, 0, 0, kind, static_cast<std::uint8_t>(number)});
}
Bytes raw(const MacAddress& address) {
  return {address.bytes().begin(), address.bytes().end()};
}
IpAddress load(const std::uint8_t* at, bool is_v6) {
  return is_v6 ? load_v6(at) : load_v4(at);
}

/// A packet that left by the wire: what an answer is made of.
struct Seen {
  Bytes inner;
  IpAddress from;         ///< outer
  bool is_plain = false;  ///< to a virtual service: there was no outer header
};

struct Host {
  explicit Host(std::uint32_t place)
      : underlay(prefix("2001:db8:0:" + std::to_string(place + 1) + "::/64")),
        number(place),
        desired(underlay, place),
        compiler(underlay, {.maglev_size = 31, .connections = connections}),
        snapshots(1, compiler.compile(desired, {}, generations)),
        worker(snapshots, 0, generations, learned, options()) {
    compiler.add_uplink({0, mac(3, 0), 1, true}, mac(2, 0));
  }
  static WorkerOptions options() {
    WorkerOptions out;
    out.connections = connections;
    out.fragments = 16;
    out.interfaces = interfaces;
    out.gateway.icmp_errors_at_once = 3;
    return out;
  }

  void apply(const std::vector<Change>& changes) {
    learned.take([&](std::uint32_t index, std::uint16_t, const MacAddress& address) {
      for (const auto& [key, object] : desired.interfaces())
        if (compiler.interface_index(key.id) == index) compiler.learn_mac(key.id, address);
    });
    const auto dirty = desired.apply(changes);
    snapshots.publish(compiler.compile(desired, dirty ? *dirty : Dirty(), generations));
  }
  std::vector<IpAddress> underlays() const {
    std::vector<IpAddress> out;
    const auto all = [&](const auto& table) {
      for (const auto& [key, object] : table) out.push_back(*object.underlay);
    };
    all(desired.interfaces());
    all(desired.prefixes());
    all(desired.virtual_ips());
    all(desired.nats());
    all(desired.load_balancers());
    all(desired.virtual_services());
    return out;
  }
  /// Where the outside sends what is for this address.
  std::optional<IpAddress> public_underlay(const IpAddress& address) const {
    for (const auto& [key, object] : desired.nats())
      if (object.address == address) return object.underlay;
    for (const auto& [key, object] : desired.virtual_ips())
      if (object.address == address) return object.underlay;
    return std::nullopt;
  }

  Prefix underlay;
  std::uint32_t number;
  Desired desired;
  Generations generations;
  Compiler compiler;
  Published<Snapshot> snapshots;
  LearnedMacs learned{interfaces};
  Worker worker;
  std::vector<Seen> seen;
};

// ---- configuration ---------------------------------------------------------------------------------------------------

struct World {
  std::array<std::unique_ptr<Host>, 2> hosts{std::make_unique<Host>(0), std::make_unique<Host>(1)};
  std::uint64_t now = 1000 * second;

  IpAddress any_underlay(Input& in) {
    const auto of = hosts[in.below(2)]->underlays();
    if (of.empty() || in.below(4) == 0) return ip(router_underlay);
    return in.one_of(of);
  }

  Change change(Input& in) {
    const std::string id(in.one_of(ids));
    const auto network = vni(100 + 100 * in.below(2));
    switch (in.below(20)) {
      case 0:
      case 1: {
        const auto which = in.byte();
        auto out = interface(id, addresses_v4[which % 5], network.value());
        if ((which & 32) != 0) out.ipv4.reset();
        if ((which & 64) != 0 || !out.ipv4) out.ipv6 = ip(addresses_v6[which % 4]);
        if ((which & 128) != 0) out.mac = mac(1, static_cast<std::uint8_t>(id[0]));
        if (const auto rate = in.below(8); rate < 2) out.total.egress = out.total.ingress = 1'000'000U * rate;
        return out;
      }
      case 2:
        return InterfaceKey{id};
      case 3:
        return InterfacePrefix{id,
                               prefix(in.one_of(std::array{"10.1.0.0/24", "192.0.2.9/32", "2001:db8:50::9/128"})),
                               in.below(2) == 0 ? InterfacePrefix::Use::alias : InterfacePrefix::Use::load_balancer,
                               {}};
      case 4:
        return InterfacePrefixKey{id, prefix("10.1.0.0/24"), InterfacePrefix::Use::alias};
      case 5:
        return VirtualIp{id, ip(in.one_of(std::array{"192.0.2.50", "192.0.2.51", "2001:db8:50::1"})), {}};
      case 6:
        return VirtualIpKey{id, in.below(2) == 0};
      case 7: {
        const auto how = in.byte();
        const auto first = static_cast<std::uint16_t>(1000 + 10 * (how & 3));
        auto out =
            nat(id, first, static_cast<std::uint16_t>(first + (how >> 5)), (how & 4) == 0 ? "192.0.2.1" : "192.0.2.2");
        if ((how & 8) != 0) out.ports = Nat::Ports::shared;
        if ((how & 16) != 0)
          out.filtering = in.below(2) == 0 ? Nat::Filtering::endpoint_independent : Nat::Filtering::address_dependent;
        return out;
      }
      case 8:
        return NatKey{id};
      case 9: {
        const auto first = static_cast<std::uint16_t>(1000 + 10 * in.below(5));
        return NeighbourNat{network, ip("192.0.2.1"), first, static_cast<std::uint16_t>(first + 5), any_underlay(in)};
      }
      case 10:
        return NeighbourNatKey{network, ip("192.0.2.1"), static_cast<std::uint16_t>(1000 + 10 * in.below(5))};
      case 11: {
        auto out = balancer(id, in.one_of(std::array{"192.0.2.9", "2001:db8:50::9"}));
        out.vni = network;
        if (in.below(2) == 0) out.services.push_back({protocol_udp, 0, 0xffff});
        return out;
      }
      case 12:
        return LoadBalancerTarget{id, any_underlay(in), static_cast<std::uint16_t>(in.below(3))};
      case 13:
        return in.below(2) == 0 ? Change{LoadBalancerKey{id}} : Change{LoadBalancerTargetKey{id, any_underlay(in)}};
      case 14: {
        auto out = rule(id, id);
        const auto how = in.byte();
        if ((how & 1) != 0) out.direction = FirewallRule::Direction::egress;
        if ((how & 2) != 0) out.action = FirewallRule::Action::deny;
        if ((how & 4) != 0) out.source = out.destination = prefix("::/0");
        if ((how & 8) != 0) out.protocol = protocol_udp;
        return out;
      }
      case 15:
        return FirewallRuleKey{id, id};
      case 16:
        return RouteKey{network, prefix(in.one_of(std::array{"0.0.0.0/0", "::/0", "10.9.0.0/16"}))};
      case 18: {
        const auto how = in.byte();
        auto out =
            virtual_service(id, in.one_of(std::array{"169.254.1.53", "198.51.100.7", "192.0.2.77"}),
                            (how & 1) != 0 ? 53 : 80, in.one_of(std::array{protocol_udp, protocol_tcp, protocol_sctp}));
        if ((how & 2) != 0) out.service_port = 53;
        if ((how & 4) != 0) out.service_address = ip("2001:db8:9::9");
        return out;
      }
      case 19:
        return VirtualServiceKey{id};
      default: {
        Route out{network,
                  prefix(in.one_of(std::array{"0.0.0.0/0", "::/0", "10.9.0.0/16", "10.0.1.0/24", "192.0.2.9/32"})),
                  {{any_underlay(in), 1}}};
        if (in.below(4) == 0) out.next_hops.push_back({any_underlay(in), 2});
        return out;
      }
    }
  }

  /// So that something works without luck.
  void begin(Input& in) {
    for (auto& host : hosts) {
      const auto how = in.byte();
      if (how == 0) continue;
      const bool is_first = host->number == 0;
      auto a = interface("a", is_first ? "10.0.0.1" : "10.0.1.1");
      a.ipv6 = ip(is_first ? "fd00::1" : "fd00:1::1");
      auto b = interface("b", is_first ? "10.0.0.2" : "10.0.1.2");
      auto c = interface("c", "10.0.0.1", 200);
      a.mac = mac(1, 'a');
      b.mac = mac(1, 'b');
      c.mac = mac(1, 'c');
      auto all_v6 = rule("a", "all-v6");
      all_v6.source = all_v6.destination = prefix("::/0");
      const std::string to(router_underlay);
      std::vector<Change> batch = {a,
                                   b,
                                   c,
                                   rule("a", "all"),
                                   rule("b", "all"),
                                   rule("c", "all"),
                                   all_v6,
                                   route("0.0.0.0/0", {to}),
                                   route("::/0", {to}),
                                   route("0.0.0.0/0", {to}, 200)};
      const auto first = static_cast<std::uint16_t>(is_first ? 1000 : 1010);
      auto of_a = nat("a", first, static_cast<std::uint16_t>(first + 7));
      if ((how & 2) != 0) of_a.ports = Nat::Ports::shared;
      if ((how & 4) != 0) of_a.filtering = Nat::Filtering::endpoint_independent;
      if ((how & 1) != 0) batch.emplace_back(of_a);
      if ((how & 8) != 0) batch.emplace_back(VirtualIp{"b", ip(is_first ? "192.0.2.50" : "192.0.2.51"), {}});
      if ((how & 32) != 0) batch.emplace_back(nat("c", 1030, 1035));
      if ((how & 16) != 0) {
        auto all_ports = balancer("lb");
        all_ports.services.push_back({protocol_udp, 0, 0xffff});
        // With the address that the target's packets are sent to; ours, so that it can be told before it is made.
        const auto target = ip(is_first ? "2001:db8:0:1:d005:8000::1" : "2001:db8:0:2:d005:8000::1");
        batch.emplace_back(all_ports);
        batch.emplace_back(InterfacePrefix{"b", prefix("192.0.2.9/32"), InterfacePrefix::Use::load_balancer, target});
        batch.emplace_back(LoadBalancerTarget{"lb", target, 1});
      }
      if ((how & 64) != 0) {
        batch.emplace_back(virtual_service("dns"));
        batch.emplace_back(virtual_service("web", "169.254.1.53", 80, protocol_tcp));
      }
      for (const auto name : {"port-a", "port-b", "port-c"}) add_port(*host, name);
      host->apply(batch);
    }
    for (auto& host : hosts) {
      const auto& other = hosts[1 - host->number]->desired.interfaces();
      if (!other.empty())
        host->apply(
            {route(host->number == 0 ? "10.0.1.1/32" : "10.0.0.1/32", {other.begin()->second.underlay->to_text()})});
    }
  }

  static void add_port(Host& host, std::string_view name) {
    const auto port = first_machine_port + static_cast<std::uint32_t>(name.back() - 'a');
    host.compiler.add_port(std::string(name), port, mac(2, port));
  }

  void find_out(Input& in) {
    Host& host = *hosts[in.below(2)];
    const auto name = in.one_of(names);
    switch (in.below(6)) {
      case 0:
      case 1:
        add_port(host, name);
        break;
      case 2:
        host.compiler.remove_port(std::string(name));
        break;
      case 3:
        host.compiler.learn_mac(std::string(in.one_of(ids)), mac(1, in.below(3)));
        break;
      case 4:
        host.compiler.change_uplink(
            {0, mac(3, in.below(2)), static_cast<std::uint16_t>(in.below(2)), in.below(4) != 0});
        break;
      default:
        host.compiler.remove_uplink(1);
        host.compiler.add_uplink({1, mac(3, 1), 2, true}, mac(2, 1));
    }
    host.apply({});
  }
};

// ---- packets -----------------------------------------------------------------------------------------------------------

/// Lengths and checksums as they should be, whatever the rest is.
void repair(Bytes& packet) {
  if (packet.size() >= 20 && packet[0] >> 4 == 4) {
    const auto size = std::min<std::size_t>(packet.size(), (packet[0] & 15U) * 4);
    put16(packet, 10, 0);
    put16(packet, 10, checksum_of(slice(packet, 0, size)));
  }
  Headers headers;
  if (parse(packet, packet.size(), headers) != Malformed::none || !headers.has_transport || headers.is_fragment) return;
  const auto place = checksum_place(headers.protocol);
  if (headers.length != packet.size()) return;
  if (headers.protocol == protocol_sctp)
    std::ranges::copy(sctp_summed(slice(packet, headers.transport)), packet.begin() + headers.transport);
  if (place == 0) return;
  ChecksumSum sum;
  put16(packet, headers.transport + place, 0);
  if (headers.protocol != protocol_icmp) {
    sum.add(std::span(packet).subspan(headers.is_v6 ? 8 : 12, headers.is_v6 ? 32 : 8));
    sum.add32(headers.length - headers.transport);
    sum.add16(headers.protocol);
  }
  sum.add(std::span(packet).subspan(headers.transport, headers.length - headers.transport));
  const auto made = sum.finish();
  put16(packet, headers.transport + place, headers.protocol == protocol_udp && made == 0 ? 0xffff : made);
}

Bytes transport_of(Input& in, std::uint8_t& protocol, bool is_v6, const Host& host) {
  constexpr std::uint16_t ports[] = {1000, 1001, 53, 80, 1010, 1030, 0, 65535};
  constexpr std::size_t sizes[] = {0, 3, 8, 16, 40, 1400, 1472, 2000};
  const auto from = in.one_of(ports);
  const auto to = in.one_of(ports);
  const Bytes payload(in.one_of(sizes), 0x77);
  switch (in.below(10)) {
    case 0:
    case 1:
      protocol = protocol_udp;
      return udp(from, to, payload);
    case 2:
    case 3:
      protocol = protocol_tcp;
      return tcp(from, to, in.byte(), payload);
    case 4:
      protocol = protocol_sctp;
      return sctp(from, to) + payload;
    case 5:
    case 6:
      protocol = is_v6 ? protocol_icmpv6 : protocol_icmp;
      return icmp(static_cast<std::uint8_t>(in.below(2) == 0 ? (is_v6 ? 128 : 8) : (is_v6 ? 129 : 0)), 0, from,
                  payload);
    case 7:
      protocol = is_v6 ? protocol_icmp : protocol_icmpv6;
      return icmp(in.byte(), in.byte(), from, payload);
    case 8: {
      protocol = is_v6 ? protocol_icmpv6 : protocol_icmp;
      const Bytes quote = host.seen.empty() ? in.some(40) : slice(in.one_of(host.seen).inner, 0, 8 + 20 * in.below(30));
      return icmp_error(in.below(16), in.below(16), in.word(), quote);
    }
    default:
      protocol = in.byte();
      return payload;
  }
}

Bytes made_up(Input& in, const Host& host, const Interface* sender) {
  const bool is_v6 = in.below(2) == 1;
  std::uint8_t protocol = 0;
  const auto how = in.byte();
  const auto from = in.byte();
  auto source =
      std::string(is_v6 ? addresses_v6[from % std::size(addresses_v6)] : addresses_v4[from % std::size(addresses_v4)]);
  if (sender != nullptr && from < 200)
    if (const auto& own = is_v6 ? sender->ipv6 : sender->ipv4) source = own->to_text();
  const auto destination = is_v6 ? in.one_of(addresses_v6) : in.one_of(addresses_v4);
  auto transport = transport_of(in, protocol, is_v6, host);
  constexpr std::uint8_t limits[] = {64, 64, 64, 2, 1, 0, 255, 64};
  const auto limit = limits[how & 7];
  const bool is_first = (how & 48) == 16;
  const bool is_later = (how & 48) == 32;
  if (is_first || is_later) transport.resize(transport.size() / 8 * 8 + 8);
  if (is_v6) {
    Bytes extensions;
    auto next = protocol;
    if (is_first || is_later) {
      extensions = v6_fragment(next, is_later ? 16 : 0, is_first);
      next = 44;
    }
    if ((how & 64) != 0) {
      extensions = extension(next) + extensions;
      next = 60;
    }
    return v6(extensions + transport, {source, destination, next, limit});
  }
  const auto fragment = static_cast<std::uint16_t>(is_first ? 0x2000 : is_later ? 2 : 0);
  return v4(transport, {source, destination, protocol, limit, fragment, Bytes((how & 64) != 0 ? 8 : 0, 1)});
}

/// To one that was seen on the wire, by whom it was for.
Bytes answer_to(const Bytes& packet) {
  Headers headers;
  auto out = packet;
  if (parse(packet, packet.size(), headers) != Malformed::none) return out;
  const auto at = static_cast<std::ptrdiff_t>(headers.is_v6 ? 8 : 12);
  const auto size = static_cast<std::ptrdiff_t>(headers.is_v6 ? 16 : 4);
  std::swap_ranges(out.begin() + at, out.begin() + at + size, out.begin() + at + size);
  if (!headers.has_transport) return out;
  const auto transport = static_cast<std::ptrdiff_t>(headers.transport);
  if (headers.protocol == protocol_icmp || headers.protocol == protocol_icmpv6) {
    const auto type = headers.is_v6 ? 129 : 0;
    if (is_echo(headers)) out[headers.transport] = static_cast<std::uint8_t>(type);
  } else {
    std::swap_ranges(out.begin() + transport, out.begin() + transport + 2, out.begin() + transport + 2);
  }
  repair(out);
  return out;
}
Bytes error_about(Input& in, const Bytes& packet) {
  const bool is_v6 = packet[0] >> 4 == 6;
  const auto message = icmp_error(in.one_of(std::array<std::uint8_t, 5>{1, 2, 3, 4, 11}), in.below(5), in.word(),
                                  slice(packet, 0, 28 + in.byte()));
  const auto to = load(packet.data() + (is_v6 ? 8 : 12), is_v6).to_text();
  auto from = load(packet.data() + (is_v6 ? 24 : 16), is_v6).to_text();
  if (in.below(2) == 0) from = is_v6 ? "2001:db8:9::1" : "203.0.113.1";
  return is_v6 ? v6(message, {from, to, protocol_icmpv6})
               : v4(message, {.source = from, .destination = to, .protocol = protocol_icmp});
}
Bytes wrapped(const IpAddress& from, const IpAddress& to, const Bytes& inner) {
  Bytes outer(40);
  outer[0] = 0x60;
  put16(outer, 4, static_cast<std::uint16_t>(inner.size()));
  outer[6] = !inner.empty() && inner[0] >> 4 == 6 ? 41 : 4;
  outer[7] = 64;
  std::copy(from.bytes().begin(), from.bytes().end(), outer.begin() + 8);
  std::copy(to.bytes().begin(), to.bytes().end(), outer.begin() + 24);
  return outer + inner;
}
Bytes framed(const Bytes& ip) {
  const Bytes type = !ip.empty() && ip[0] >> 4 == 6 ? Bytes{0x86, 0xdd} : Bytes{8, 0};
  return raw(mac(2, 0)) + raw(mac(3, 0)) + type + ip;
}

/// In memory of which each byte beside is watched.
struct Frame {
  static constexpr std::size_t guard = 64;

  Frame(const Bytes& frame, std::uint32_t headroom, std::uint32_t spare) {
    memory = Bytes(guard, 0x5a) + Bytes(headroom, 0xee) + frame + Bytes(spare, 0xee) + Bytes(guard, 0x5a);
    packet.frame = memory.data() + guard + headroom;
    packet.bytes = packet.frame_bytes = static_cast<std::uint32_t>(frame.size());
    packet.headroom = headroom;
    packet.room = static_cast<std::uint32_t>(frame.size()) + spare;
    ASAN_POISON_MEMORY_REGION(memory.data(), guard);
    ASAN_POISON_MEMORY_REGION(memory.data() + memory.size() - guard, guard);
  }
  Frame(const Frame&) = delete;
  Frame& operator=(const Frame&) = delete;
  ~Frame() { ASAN_UNPOISON_MEMORY_REGION(memory.data(), memory.size()); }

  void check_memory() const {
    ASAN_UNPOISON_MEMORY_REGION(memory.data(), memory.size());
    for (std::size_t i = 0; i < guard; ++i) require(memory[i] == 0x5a && memory[memory.size() - 1 - i] == 0x5a);
    require(packet.frame - packet.headroom == memory.data() + guard);
    require(packet.frame + packet.room == memory.data() + memory.size() - guard);
    require(packet.bytes <= packet.room && packet.bytes <= packet.frame_bytes);
  }

  Bytes memory;
  Packet packet;
  std::uint32_t from = 0;
  bool was_right = false;
};

/// Whether the transport's checksum is right, or will be when the card has done its part. Of what has none to be checked, no.
bool is_sum_right(const Packet& packet, std::size_t ip) {
  if (packet.bytes < ip || packet.bytes != packet.frame_bytes) return false;
  const std::span<const std::uint8_t> bytes(packet.frame + ip, packet.bytes - ip);
  Headers headers;
  if (parse(bytes, bytes.size(), headers) != Malformed::none || !headers.has_transport || headers.is_fragment)
    return false;
  const auto place = checksum_place(headers.protocol);
  if (headers.protocol == protocol_sctp) {
    const auto whole = slice(Bytes(bytes.begin(), bytes.end()), headers.transport, headers.length);
    return sctp_summed(whole) == whole;
  }
  if (place == 0) return false;
  auto length = headers.length - headers.transport;
  if (headers.protocol == protocol_udp) {
    if (load16(bytes.data() + headers.transport + 6) == 0) return !headers.is_v6;
    // What is behind UDP's own length is nobody's.
    if (load16(bytes.data() + headers.transport + 4) != length) return false;
  }
  ChecksumSum sum;
  if (headers.protocol != protocol_icmp) {
    sum.add(bytes.subspan(headers.is_v6 ? 8 : 12, headers.is_v6 ? 32 : 8));
    sum.add32(length);
    sum.add16(headers.protocol);
  }
  const bool has_card = headers.protocol == protocol_tcp || headers.protocol == protocol_udp;
  const auto held = load16(bytes.data() + headers.transport + place);
  if (packet.offload.needs_checksum && has_card) return held % 0xffff == sum.folded() % 0xffff;
  sum.add(bytes.subspan(headers.transport, length));
  return sum.folded() == 0xffff;
}

// ---- bursts ------------------------------------------------------------------------------------------------------------

class Runner {
 public:
  explicit Runner(std::span<const std::uint8_t> bytes) : in_(bytes) {}

  void run() {
    world_.begin(in_);
    for (int step = 0; !in_.is_empty() && step < 24; ++step) {
      const auto what = in_.below(8);
      if (what == 0) {
        Host& host = *world_.hosts[in_.below(2)];
        std::vector<Change> batch;
        for (auto count = 1 + in_.below(4); count > 0; --count) batch.push_back(world_.change(in_));
        host.apply(batch);
      } else if (what == 1) {
        world_.find_out(in_);
      } else if (what == 2) {
        constexpr std::uint64_t seconds[] = {0, 1, 3, 20, 100, 300, 8000, 100'000};
        world_.now += in_.one_of(seconds) * second + in_.byte() * 1000U;
      } else {
        burst(*world_.hosts[in_.below(2)]);
      }
    }
    for (auto& host : world_.hosts) end(*host);
  }

 private:
  std::unique_ptr<Frame> frame(Host& host) {
    const auto how = in_.byte();
    const auto& machines = host.desired.interfaces();
    const Interface* sender = nullptr;
    std::uint32_t port = 0;
    Bytes out;
    if ((how & 1) != 0 && !machines.empty()) {
      sender = &std::next(machines.begin(), in_.below(static_cast<std::uint32_t>(machines.size())))->second;
      port = first_machine_port + static_cast<std::uint32_t>(sender->port.back() - 'a');
    }
    const auto kind = (how >> 1) & 7;
    Bytes inner;
    bool is_plain = false;
    std::optional<IpAddress> to;
    if (kind < 4 || host.seen.empty()) {
      inner = made_up(in_, host, sender);
    } else {
      const auto& seen = in_.one_of(host.seen);
      inner = kind == 7 ? seen.inner : kind == 6 ? error_about(in_, seen.inner) : answer_to(seen.inner);
      const bool is_v6 = seen.inner[0] >> 4 == 6;
      to = host.public_underlay(load(seen.inner.data() + (is_v6 ? 8 : 12), is_v6));
      if (!to) to = seen.from;
      is_plain = sender == nullptr && seen.is_plain;
    }
    const auto damage = in_.byte();
    if (sender == nullptr && (damage & 64) == 0) repair(inner);
    if ((damage & 3) == 1 && !inner.empty()) inner[in_.word() % inner.size()] = in_.byte();
    if ((damage & 3) == 2) inner.resize(in_.word() % (inner.size() + 1));
    if ((damage & 12) != 12) repair(inner);
    if (sender != nullptr) {
      out = framed(inner);
      const auto source = sender->mac ? *sender->mac : mac(1, in_.below(3));
      std::copy(source.bytes().begin(), source.bytes().end(), out.begin() + 6);
      if ((damage & 48) == 16 && out.size() > 13) out[13] = 6;  // ARP
    } else {
      const auto all = host.underlays();
      if (!to || (damage & 128) != 0) to = all.empty() ? host.underlay.first() : in_.one_of(all);
      out = is_plain ? framed(inner)
                     : framed(wrapped(in_.below(16) == 0 ? host.underlay.first() : ip(router_underlay), *to, inner));
    }
    if ((how & 0xf0) == 0xf0) out = in_.some(in_.byte());
    if ((damage & 48) == 32) out = out + Bytes(in_.below(32), 0x33);

    constexpr std::uint32_t heads[] = {128, 128, 0, 7, 8, 39, 40, 64};
    constexpr std::uint32_t spares[] = {1024, 0, 16, 512};
    const auto shape = in_.byte();
    auto made = std::make_unique<Frame>(out, heads[shape & 7], spares[(shape >> 3) & 3]);
    Packet& packet = made->packet;
    packet.port = in_.below(64) == 1 ? in_.byte() : port;
    made->from = packet.port;
    const auto ip = sender != nullptr || is_plain ? ethernet_bytes : ethernet_bytes + 40;
    if ((shape & 0xc0) == 0x40) offload(packet, ip);
    made->was_right = is_sum_right(packet, ip);
    // Further pieces hold the rest.
    if ((shape & 0xe0) == 0x80) packet.frame_bytes += in_.byte();
    if ((shape & 0xe0) == 0xa0) {
      const auto here = in_.byte() % (packet.bytes + 1);
      packet.frame_bytes = packet.bytes;
      packet.bytes = here;
    }
    if (packet.bytes != packet.frame_bytes) made->was_right = false;
    return made;
  }

  /// As a machine does it that leaves sums and cutting to the card.
  void offload(Packet& packet, std::size_t ip) {
    packet.offload.segment_bytes = static_cast<std::uint16_t>(in_.below(3) * 500);
    if (packet.bytes < ip) return;
    const std::span<const std::uint8_t> bytes(packet.frame + ip, packet.bytes - ip);
    Headers headers;
    if (parse(bytes, bytes.size(), headers) != Malformed::none || !headers.has_transport || headers.is_fragment) return;
    if (headers.protocol != protocol_tcp && headers.protocol != protocol_udp) return;
    packet.offload.needs_checksum = true;
    ChecksumSum sum;
    sum.add(bytes.subspan(headers.is_v6 ? 8 : 12, headers.is_v6 ? 32 : 8));
    sum.add32(headers.length - headers.transport);
    sum.add16(headers.protocol);
    store16(packet.frame + ip + headers.transport + checksum_place(headers.protocol), sum.folded());
  }

  void burst(Host& host) {
    std::vector<std::unique_ptr<Frame>> frames;
    for (auto count = 1 + in_.below(12); count > 0 && !in_.is_empty(); --count) frames.push_back(frame(host));
    process(host, frames, 0);
  }

  /// What is for the other host goes on there.
  void process(Host& host, std::vector<std::unique_ptr<Frame>>& frames, int hops) {
    std::vector<Packet> packets;
    for (const auto& one : frames) packets.push_back(one->packet);
    const auto count = [&] {
      std::uint64_t sum = 0;
      for (const auto number : host.worker.packets()) sum += number;
      return sum;
    };
    const auto before = count();
    host.worker.process(packets, world_.now);
    require(count() == before + packets.size());
    std::vector<std::unique_ptr<Frame>> further;
    Host& other = *world_.hosts[1 - host.number];
    for (std::size_t i = 0; i < frames.size(); ++i) {
      Frame& one = *frames[i];
      one.packet = packets[i];
      one.check_memory();
      require(static_cast<std::size_t>(one.packet.drop) < drop_reasons);
      if (one.packet.drop != Drop::none) continue;
      check(host, one);
      const auto& packet = one.packet;
      if (packet.port >= first_machine_port || packet.bytes != packet.frame_bytes) continue;
      const auto to = load_v6(packet.frame + 38);
      if (hops < 3 && other.underlay.contains(to)) {
        auto copy = std::make_unique<Frame>(Bytes(packet.frame, packet.frame + packet.bytes), 128U, 0U);
        copy->packet.offload = packet.offload;
        copy->was_right = is_sum_right(copy->packet, ethernet_bytes + 40);
        further.push_back(std::move(copy));
      }
      if (host.seen.size() >= 16) host.seen.erase(host.seen.begin());
      const bool is_plain = packet.frame[20] != 4 && packet.frame[20] != 41;
      auto* const inner = packet.frame + (is_plain ? 14 : 54);
      host.seen.push_back({Bytes(inner, packet.frame + packet.bytes), load_v6(packet.frame + 22), is_plain});
    }
    std::uint64_t owned = 0;
    for (std::uint32_t i = 0; i <= interfaces; ++i) owned += host.worker.connections_of(i);
    require(owned == host.worker.flows().size());
    if (!further.empty()) process(other, further, hops + 1);
  }

  void check(const Host& host, const Frame& frame) {
    const auto& snapshot = host.snapshots.newest();
    const Packet& packet = frame.packet;
    require(packet.port < snapshot.ports.size());
    const auto& port = snapshot.ports[packet.port];
    require(port.kind != PortView::Kind::none);
    require(packet.bytes >= ethernet_bytes);
    require(load_mac(packet.frame + 6) == port.mac);
    std::size_t ip = ethernet_bytes;
    auto type = load16(packet.frame + 12);
    auto length = packet.frame_bytes - ip;
    if (port.kind == PortView::Kind::uplink) {
      require(type == ethertype_ipv6 && packet.bytes >= 54);
      const auto* outer = packet.frame + ip;
      require(outer[0] >> 4 == 6 && outer[7] != 0);
      require(host.underlay.contains(load_v6(outer + 8)));
      require(!host.underlay.contains(load_v6(outer + 24)));
      const auto* underlay = snapshot.underlay(outer + 16);
      const bool is_plain = underlay != nullptr && underlay->use == UnderlayUse::virtual_service;
      require(is_plain || outer[6] == 4 || outer[6] == 41);
      if (!is_plain) {
        ip += 40;
        require(load16(outer + 4) <= packet.frame_bytes - ip);
        length = load16(outer + 4);
        type = outer[6] == 4 ? ethertype_ipv4 : ethertype_ipv6;
      }
    }
    const bool may_be_answer = packet.port == frame.from && port.kind == PortView::Kind::machine;
    if (type == ethertype_arp) {
      require(may_be_answer && packet.bytes == 42);
      return;
    }
    require(type == ethertype_ipv4 || type == ethertype_ipv6);
    const bool is_v6 = type == ethertype_ipv6;
    const auto* header = packet.frame + ip;
    const auto here = std::min<std::size_t>(packet.bytes - ip, length);
    Headers headers;
    require(parse({header, here}, length, headers) == Malformed::none && headers.is_v6 == is_v6);
    if (port.kind == PortView::Kind::uplink) require(headers.length <= length);
    if (frame.was_right && !headers.is_fragment && packet.bytes == packet.frame_bytes)
      require(is_sum_right(packet, ip));
    if (port.kind != PortView::Kind::machine) return;
    const auto source = load(header + (is_v6 ? 8 : 12), is_v6);
    if (may_be_answer && (source == gateway_v4 || source == gateway_v6)) return;
    const auto& view = *snapshot.interfaces[port.interface];
    require(view.mac && load_mac(packet.frame) == *view.mac);
    const auto destination = load(header + (is_v6 ? 24 : 16), is_v6);
    const bool is_its = view.own.of(is_v6).find(bits_of(destination)).has_value();
    require(is_its);
  }

  /// All flows end; then all ports are free.
  void end(Host& host) {
    for (int round = 0; round < 1000 && (round == 0 || host.worker.flows().size() != 0); ++round)
      host.worker.process({}, world_.now += 100'000 * second);
    require(host.worker.flows().size() == 0);
    for (std::uint32_t i = 0; i <= interfaces; ++i) require(host.worker.connections_of(i) == 0);
    const auto& snapshot = host.snapshots.newest();
    check_services(snapshot);
    for (std::uint32_t i = 0; i < snapshot.interfaces.size(); ++i) {
      if (!snapshot.interfaces[i] || !snapshot.interfaces[i]->nat) continue;
      NatPool& used = *snapshot.interfaces[i]->nat_pool;
      NatPool fresh(*snapshot.interfaces[i]->nat, 0, 1, connections, 0);
      for (const auto space : {PortSpace::tcp, PortSpace::udp, PortSpace::icmp, PortSpace::sctp}) {
        const Outside outside{{1, 0}, 1, space};
        std::set<std::uint16_t> ports;
        for (std::uint16_t inside = 1; inside < 64; ++inside) {
          const auto taken = used.take(0, {{2, 0}, 3, inside, space}, outside, Opener::inside);
          require(taken.has_value() == fresh.take(0, {{2, 0}, 3, inside, space}, outside, Opener::inside).has_value());
          if (taken) require(ports.insert(*taken).second);
        }
      }
    }
  }

  /// Likewise: as many flows as there may be get a port each.
  static void check_services(const Snapshot& snapshot) {
    for (std::uint32_t i = 0; i < snapshot.virtual_services.size(); ++i) {
      if (!snapshot.virtual_services[i]) continue;
      std::set<std::uint16_t> ports;
      for (std::uint16_t inside = 0; inside < connections; ++inside) {
        const auto taken = snapshot.virtual_services[i]->pool->take(0, {{2, 0}, 3, inside, PortSpace::udp},
                                                                    {{1, 0}, 1, PortSpace::udp}, Opener::inside);
        require(taken && *taken >= 1024 && ports.insert(*taken).second);
      }
    }
  }

  Input in_;
  World world_;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  Runner({data, size}).run();
  return 0;
}
