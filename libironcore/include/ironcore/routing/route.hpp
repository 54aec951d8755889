// SPDX-License-Identifier: Apache-2.0
// A route as hosts announce it: in which network an address lives, and where in the underlay it is reached.
#pragma once

#include <compare>
#include <cstdint>
#include <string>
#include <string_view>

#include "ironcore/base/ip_address.hpp"
#include "ironcore/base/prefix.hpp"
#include "ironcore/base/result.hpp"
#include "ironcore/base/vni.hpp"

namespace ironcore::routing {

/// Who announced a route: a number that follows from the node's name; 0 is nobody. Names are known to the reflectors that a node talks to.
enum class OriginId : std::uint64_t {};
OriginId origin_id(std::string_view name) noexcept;

/// What a route leads to.
enum class RouteType : std::uint8_t {
  standard = 1,              ///< machines that have addresses of the prefix
  nat = 2,                   ///< the host that translates `nat_ports` of the address
  load_balancer_target = 3,  ///< a host with targets of the load balancer that has the address
};
std::string_view name(RouteType type) noexcept;
/// `standard`, `nat`, `load-balancer-target`; also the original's STD, NAT, LB.
Result<RouteType> parse_route_type(std::string_view text);

/// A range of ports, both ends inside. 0-0 = none.
struct PortRange {
  std::uint16_t from = 0;
  std::uint16_t to = 0;
  friend constexpr bool operator==(const PortRange&, const PortRange&) noexcept = default;
  friend constexpr auto operator<=>(const PortRange&, const PortRange&) noexcept = default;
};

/// One way to one prefix. VNI, destination, type, next hop and ports together say which route it is: a host may announce several
/// next hops of a prefix, and several hosts the same ones. What else is in it may change.
struct Route {
  Vni vni;             ///< the network in which `destination` is looked up
  Prefix destination;  ///< host bits are 0
  IpAddress next_hop;  ///< in the underlay; IPv6 for our dataplane
  RouteType type = RouteType::standard;
  PortRange nat_ports;      ///< of `nat`: 1 to 65535; none for the others
  Vni target_vni;           ///< where the packet goes on behind the next hop; 0 = in `vni`
  std::uint8_t weight = 1;  ///< of this next hop among those of the prefix, from 1
  std::uint32_t mobility =
      0;  ///< of several hosts with the same prefix only those with the highest are used (RFC 7432 §15); below 2^24

  friend bool operator==(const Route&, const Route&) noexcept = default;
  friend auto operator<=>(const Route&, const Route&) noexcept = default;
};

inline constexpr std::uint32_t max_mobility = 0xff'ffff;

/// `invalid` names the field that is wrong.
Result<void> check(const Route& route);

/// `VNI#PREFIX#NEXT-HOP[#TYPE[#FROM#TO]][,target=VNI][,weight=N][,mobility=N]`: the original's notation, and what it has no place for.
/// Blanks are not allowed. The result passes `check`.
Result<Route> parse_route(std::string_view text);
std::string to_text(const Route& route);

}  // namespace ironcore::routing
