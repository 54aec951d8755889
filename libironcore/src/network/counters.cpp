// SPDX-License-Identifier: Apache-2.0
// Names of what is counted, and times of bursts.
#include "ironcore/network/counters.hpp"

#include <algorithm>
#include <bit>
#include <numeric>

namespace ironcore::network {

std::string_view name(Stage stage) noexcept {
  constexpr std::array<std::string_view, stages> names = {"sender",   "underlay",     "egress_rules", "load_balancer",
                                                          "route",    "nat",          "virtual_ip",   "ingress_rules",
                                                          "delivery", "encapsulation"};
  static_assert(!names.back().empty());
  return names[static_cast<std::size_t>(stage)];
}

std::string_view name(GatewayService service) noexcept {
  constexpr std::array<std::string_view, gateway_services> names = {"arp", "neighbor_discovery", "dhcpv4", "dhcpv6",
                                                                    "ping"};
  static_assert(!names.back().empty());
  return names[static_cast<std::size_t>(service)];
}

std::size_t BurstTimes::bucket_of(std::uint64_t ns) noexcept {
  return std::min<std::size_t>(static_cast<std::size_t>(std::bit_width(ns / bound_ns(0))), buckets - 1);
}

std::uint64_t BurstTimes::bursts() const noexcept {
  return std::accumulate(count.begin(), count.end(), std::uint64_t{0});
}

std::uint64_t BurstTimes::quantile_ns(double share) const noexcept {
  const auto all = static_cast<double>(bursts());
  if (all == 0) return 0;
  std::uint64_t below = 0;
  for (std::size_t i = 0; i + 1 < buckets; ++i) {
    below += count[i];
    if (static_cast<double>(below) >= share * all) return bound_ns(i);
  }
  return bound_ns(buckets - 2);
}

std::string_view name(Color color) noexcept {
  constexpr std::array<std::string_view, colors> names = {"green", "yellow", "red"};
  static_assert(!names.back().empty());
  return names[static_cast<std::size_t>(color)];
}

std::string_view name(Resource resource) noexcept {
  constexpr std::array<std::string_view, resources> names = {"connections", "fragments", "nat_tcp",
                                                             "nat_udp",     "nat_icmp",  "nat_sctp",
                                                             "nat_flows",   "nat_peers", "service_ports"};
  static_assert(!names.back().empty());
  return names[static_cast<std::size_t>(resource)];
}

ResourceUse::Part ResourceUse::sum() const noexcept {
  Part out;
  for (const auto& part : workers) {
    out.used += part.used;
    out.room += part.room;
  }
  return out;
}

ResourceUse::Part ResourceUse::fullest() const noexcept {
  Part out;
  // Rooms are far below 2^32. A worker without any room comes first once it is asked for some, but has nothing to tell.
  for (const auto& part : workers)
    if (part.room != 0 && (out.room == 0 || part.used * out.room > out.used * part.room)) out = part;
  return out;
}

}  // namespace ironcore::network
