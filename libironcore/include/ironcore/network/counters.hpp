// SPDX-License-Identifier: Apache-2.0
// What a dataplane counts beside packets: the stages of its slow path, its gateway's services, how long bursts take.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

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

}  // namespace ironcore::network
