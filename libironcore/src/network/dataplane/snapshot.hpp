// SPDX-License-Identifier: Apache-2.0
// The configuration as workers read it: immutable, everything found by numbers.
#pragma once

#include <array>
#include <cstdint>
#include <cstring>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "chunked_array.hpp"
#include "classifier.hpp"
#include "interface_meters.hpp"
#include "ironcore/network/configuration.hpp"
#include "maglev.hpp"
#include "nat_pool.hpp"
#include "prefix_map.hpp"
#include "underlay.hpp"

namespace ironcore::network::dataplane {

using UnderlayBytes = std::array<std::uint8_t, 16>;

UnderlayBytes underlay_bytes(const IpAddress& address) noexcept;

/// The rules of one direction.
struct RuleSet {
  Classifier classifier;
  std::vector<FirewallRule::Action> actions;  ///< by the number that the classifier finds
  std::vector<std::string> ids;               ///< likewise
};

struct InterfaceView {
  Interface told;
  std::optional<MacAddress> mac;  ///< of the machine: told, or else learned
  std::uint64_t born = 0;         ///< number of the first snapshot in which it has its place
  UnderlayBytes underlay{};
  std::uint32_t next_hop = 0;  ///< number of `underlay`, for what goes round
  PrefixMaps own;              ///< what the machine may send from; the values mean nothing
  std::optional<VirtualIp> virtual_ipv4;
  std::optional<VirtualIp> virtual_ipv6;
  std::optional<Nat> nat;
  std::shared_ptr<InterfaceMeters> meters;  ///< null = nothing is limited
  std::shared_ptr<MeterTally> meter_tally;  ///< of all `meters` that it had; null = there were none
  std::shared_ptr<NatPool> nat_pool;        ///< of `nat`; each worker changes its own slice
  RuleSet ingress;
  RuleSet egress;
};

struct LoadBalancerView {
  LoadBalancer told;
  std::vector<std::uint32_t> targets;  ///< numbers of next hops, in the order of their addresses, drained ones included
  Maglev choice;                       ///< among `targets`
};

struct VirtualServiceView {
  VirtualService told;
  std::shared_ptr<NatPool> pool;  ///< ports of its underlay address; each worker changes its own slice
  std::uint64_t former_born = 0;  ///< after a restart: of the ports that flows of the former process may have
};

/// What somebody else's packets to an underlay address of ours are for.
struct UnderlayView {
  UnderlayUse use = UnderlayUse::interface;
  std::uint32_t index = 0;  ///< of the load balancer or virtual service, or else of the interface
};

inline constexpr std::uint32_t no_port = 0xffff'ffff;

struct PortView {
  enum class Kind : std::uint8_t { none, machine, uplink };
  Kind kind = Kind::none;
  std::uint32_t interface = 0;  ///< of a machine
  MacAddress mac;               ///< of our side
};

/// Of one interface: what every packet from its machine, or to it, needs; side by side, so that it is fetched at once.
struct alignas(64) Attachment {
  std::uint32_t port = no_port;              ///< `no_port` while it is not there
  std::uint32_t home = no_port;              ///< modulo how many there are, the worker that has its flows
  bool has_mac = false;                      ///< the machine's is known
  bool is_limited = false;                   ///< by `InterfaceView::meters`
  std::array<std::uint8_t, 12> addresses{};  ///< as a frame to the machine begins: its MAC, and that of our side
  UnderlayBytes underlay{};                  ///< of the interface
};

/// A port towards other hosts.
struct UplinkView {
  std::uint32_t port = no_port;
  MacAddress neighbour;  ///< the router's
  std::uint16_t weight = 1;
  bool is_up = false;               ///< the link is, and the router is known
  std::uint32_t number = 0;         ///< among those that were told
  std::optional<IpAddress> router;  ///< whose MAC is asked for; empty: `neighbour` was told
  friend bool operator==(const UplinkView&, const UplinkView&) = default;
};

struct NextHop {
  std::uint32_t address = 0;  ///< number of the underlay address
  std::uint16_t weight = 1;
};

struct NetworkView {
  PrefixMaps local;     ///< → interface; goes before routes
  PrefixMaps routes;    ///< → set of next hops
  PrefixMaps balanced;  ///< addresses of load balancers → load balancer
};

/// Ports of a public address, and where they are: an interface's here, or a neighbour's.
struct PublicRange {
  static constexpr std::uint32_t elsewhere = 0xffff'ffff;

  std::uint16_t first_port = 0;
  std::uint16_t last_port = 0;
  std::uint32_t next_hop = 0;           ///< number of the underlay address
  std::uint32_t interface = elsewhere;  ///< of this host
  Vni vni;
};

/// A copy shares nearly everything. Thread: as PrefixMap.
struct Snapshot {
  std::uint64_t number = 0;
  UnderlayBytes host{};                  ///< the underlay prefix, and zeros
  ChunkedArray<PortView> ports;          ///< by the numbers of the embedder
  ChunkedArray<Attachment> attachments;  ///< by the numbers of interfaces
  std::vector<UplinkView> uplinks;
  ChunkedArray<std::shared_ptr<const InterfaceView>> interfaces;             ///< null = there is none
  ChunkedArray<std::shared_ptr<const LoadBalancerView>> load_balancers;      ///< likewise
  ChunkedArray<std::shared_ptr<const VirtualServiceView>> virtual_services;  ///< likewise
  PrefixMap served;                 ///< address, port and protocol → virtual_services
  std::vector<Prefix> link_routes;  ///< where the gateway leads though it looks as if it were on the link
  std::uint64_t nats_renewed = 0;   ///< the last configuration in which a pool took the place of another one
  std::shared_ptr<FollowedNats> followed_nats;  ///< each worker's flows, up to there
  PrefixMap underlays;                          ///< the last 8 bytes of ours → underlay_views
  ChunkedArray<UnderlayView> underlay_views;
  PrefixMap networks;  ///< VNI, 24 bits → network_views
  ChunkedArray<std::shared_ptr<const NetworkView>> network_views;
  ChunkedArray<std::vector<NextHop>> next_hop_sets;
  ChunkedArray<UnderlayBytes> next_hops;                 ///< underlay addresses by number
  PrefixMap publics;                                     ///< public address → public_ranges
  ChunkedArray<std::vector<PublicRange>> public_ranges;  ///< in the order of their ports

  const NetworkView* network(Vni vni) const noexcept {
    const auto found = networks.get(vni_bits(vni), vni_length);
    return found ? network_views[*found].get() : nullptr;
  }
  const UnderlayView* underlay(const std::uint8_t* suffix) const noexcept;
  /// Who has this port of a public address; a virtual IP has all of them.
  const PublicRange* public_range(PrefixBits address, bool is_v6, std::uint16_t port) const noexcept;
  /// What a machine finds at an IPv4 address; null = nothing.
  const VirtualServiceView* virtual_service(PrefixBits address, std::uint8_t protocol,
                                            std::uint16_t port) const noexcept {
    const auto found = served.get(served_bits(address, protocol, port), served_length);
    return found ? virtual_services[*found].get() : nullptr;
  }
  /// By weight among those that are up; a flow keeps its own as long as these stay the same. Null: none is up.
  const UplinkView* uplink_for(std::uint32_t entropy) const noexcept {
    const UplinkView* uplink = nullptr;
    std::uint32_t sum = 0;
    for (const auto& one : uplinks) sum += one.is_up ? one.weight : 0U;
    std::uint32_t point = sum == 0 ? 0 : entropy % sum;
    for (const auto& one : uplinks) {
      if (!one.is_up || one.weight == 0) continue;
      uplink = &one;
      if (point < one.weight) break;
      point -= one.weight;
    }
    return uplink;
  }
  bool is_here(std::uint32_t next_hop) const noexcept {
    return std::memcmp(next_hops[next_hop].data(), host.data(), host.size() / 2) == 0;
  }

  static constexpr unsigned vni_length = 24;
  static PrefixBits vni_bits(Vni vni) noexcept { return {std::uint64_t{vni.value()} << 40, 0}; }
  static constexpr unsigned served_length = 56;
  static PrefixBits served_bits(PrefixBits address, std::uint8_t protocol, std::uint16_t port) noexcept {
    return {address.high | std::uint64_t{port} << 16 | std::uint64_t{protocol} << 8, 0};
  }
};

}  // namespace ironcore::network::dataplane
