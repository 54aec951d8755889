// SPDX-License-Identifier: Apache-2.0
// What a dataplane counts beside packets: the stages of its slow path, its gateway's services, how long bursts take, how full it is.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace ironcore::network {

/// Where the first packet of a flow is decided, or a flow is looked at again; each asks one thing. Which of them a flow meets depends on where it
/// comes from and goes to.
enum class Stage : std::uint8_t {
  sender,         ///< may the machine have this source address?
  underlay,       ///< for whom is what came from the wire?
  egress_rules,   ///< the firewall of the sender
  load_balancer,  ///< which target?
  route,          ///< the way there, or the way back
  nat,            ///< which port of a NAT? NAT64 and virtual services too
  virtual_ip,     ///< which address of a virtual IP?
  ingress_rules,  ///< the firewall of the receiver
  delivery,       ///< to a machine of this host
  encapsulation,  ///< to another host, or to this one again
};
inline constexpr std::size_t stages = static_cast<std::size_t>(Stage::encapsulation) + 1;
/// As in counters: `egress_rules`.
std::string_view name(Stage stage) noexcept;

struct StageCounters {
  std::uint64_t reached = 0;
  std::uint64_t refused = 0;  ///< of those: it was the last one that they reached
  friend bool operator==(const StageCounters&, const StageCounters&) = default;
};

/// What machines ask of the gateway.
enum class GatewayService : std::uint8_t { arp, neighbor_discovery, dhcpv4, dhcpv6, ping };
inline constexpr std::size_t gateway_services = static_cast<std::size_t>(GatewayService::ping) + 1;
/// As in counters: `dhcpv4`.
std::string_view name(GatewayService service) noexcept;

/// How long bursts took: from when the worker began to look for packets until these were sent.
struct BurstTimes {
  static constexpr std::size_t buckets = 20;
  /// Each counts what took less than its bound and not less than the one before; the last one all that took longer.
  std::array<std::uint64_t, buckets> count{};
  std::uint64_t sum_ns = 0;

  /// 256 ns, 512 ns … 67 ms.
  static constexpr std::uint64_t bound_ns(std::size_t bucket) noexcept { return std::uint64_t{256} << bucket; }
  static std::size_t bucket_of(std::uint64_t ns) noexcept;
  std::uint64_t bursts() const noexcept;
  /// The bound below which this share of all bursts (0 to 1) stays; for those that took longest, the last bound. 0 = there were none.
  std::uint64_t quantile_ns(double share) const noexcept;
  friend bool operator==(const BurstTimes&, const BurstTimes&) = default;
};

/// What a meter says of a packet: within the committed rate, within what is granted beyond it, or neither.
enum class Color : std::uint8_t { green, yellow, red };
inline constexpr std::size_t colors = static_cast<std::size_t>(Color::red) + 1;
/// As in counters: `yellow`.
std::string_view name(Color color) noexcept;

/// By colour, as the meter said; red ones were dropped.
struct MeterCounters {
  std::array<std::uint64_t, colors> packets{};
  std::array<std::uint64_t, colors> bytes{};
  friend bool operator==(const MeterCounters&, const MeterCounters&) = default;
};

/// Of an interface that has rates, since it got them; the directions are seen from the machine. What the public meter refused is not asked of the
/// other one.
struct InterfaceMeterCounters {
  std::string interface;
  MeterCounters total_egress;
  MeterCounters total_ingress;
  MeterCounters public_egress;
  MeterCounters public_ingress;
  friend bool operator==(const InterfaceMeterCounters&, const InterfaceMeterCounters&) = default;
};

/// What there is only so much of, for each worker.
enum class Resource : std::uint8_t {
  connections,  ///< the flow table: when it is full, first packets of flows are dropped as `table_full`
  fragments,  ///< datagrams in pieces that are remembered; when it is full, the oldest ones of whoever has most give way
  nat_tcp,    ///< ports of a NAT whose ports are `own`; without a free one new flows are dropped as `nat_ports`
  nat_udp,    ///< likewise
  nat_icmp,   ///< likewise; identifiers of echoes
  nat_sctp,   ///< likewise
  nat_flows,      ///< of a NAT whose ports are `shared`, likewise
  nat_peers,      ///< addresses that a NAT with `address_dependent` filtering remembers; others get no answer through
  service_ports,  ///< of a virtual service: as many connections it can have
};
inline constexpr std::size_t resources = static_cast<std::size_t>(Resource::service_ports) + 1;
/// As in counters: `nat_tcp`.
std::string_view name(Resource resource) noexcept;

struct ResourceUse {
  struct Part {
    std::uint64_t used = 0;
    std::uint64_t room = 0;
    friend bool operator==(const Part&, const Part&) = default;
  };
  Resource what = Resource::connections;
  std::string of;             ///< the interface of a NAT, or the virtual service; empty = it is for all
  std::vector<Part> workers;  ///< by number
  /// Of all workers.
  Part sum() const noexcept;
  /// The worker that is fullest for its room; the first one to refuse.
  Part fullest() const noexcept;
  friend bool operator==(const ResourceUse&, const ResourceUse&) = default;
};

struct ObjectCount {
  std::string kind;  ///< `FirewallRule`
  std::uint64_t count = 0;
  friend bool operator==(const ObjectCount&, const ObjectCount&) = default;
};

/// How full a dataplane is, now. Workers are not asked: each notes it where it has nothing else.
struct DataplaneUsage {
  std::vector<ResourceUse>
      resources;  ///< first those that are for all, then NATs and virtual services in the order of their ids
  std::vector<InterfaceMeterCounters> meters;  ///< in the order of their ids
  std::vector<ObjectCount> objects;            ///< of the configuration, of every kind
  friend bool operator==(const DataplaneUsage&, const DataplaneUsage&) = default;
};

}  // namespace ironcore::network
