// SPDX-License-Identifier: Apache-2.0
// What a host's dataplane is told: plain values. `Dataplane::apply` takes them.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "ironcore/base/ip_address.hpp"
#include "ironcore/base/mac_address.hpp"
#include "ironcore/base/prefix.hpp"
#include "ironcore/base/vni.hpp"
#include "ironcore/network/protocols.hpp"

namespace ironcore::network {

// Ids are 1 to 63 letters, digits, `-` and `_`. Where `underlay` may be left out, the dataplane derives an address of its own
// (`Underlay`) and tells it; one that is given must lie in the host's underlay prefix. What was told by a
// list may be told back.

/// Both directions are seen from the machine: egress leaves it.
struct BothWays {
  std::uint64_t egress = 0;
  std::uint64_t ingress = 0;
  friend bool operator==(const BothWays&, const BothWays&) = default;
};

/// What a meter grants, of the inner packets. A packet that the committed rate has room for is green, one that only the excess has room for is
/// yellow; both pass. The others are red and dropped. Rates are bits per second; bursts are bytes, 65,536 to 1 GiB, and 0 = as said.
struct MeterRates {
  std::uint64_t egress = 0;  ///< committed; 0 = unlimited, and then none of the others is given
  std::uint64_t ingress = 0;
  BothWays burst;  ///< of the committed rate; 0 = what it brings in a tenth of a second, but 128 KiB at least
  BothWays
      excess;  ///< beside the committed rate (RFC 4115); 0 = what that leaves unused fills the excess burst (RFC 2697)
  BothWays excess_burst;  ///< 0 = likewise, of the excess rate; if there is none, as much as `burst`
  friend bool operator==(const MeterRates&, const MeterRates&) = default;
};

/// Boot over the network (RFC 4578, RFC 5970).
struct Pxe {
  IpAddress server;
  std::string path;  ///< of the file that iPXE is told to fetch; begins with a slash; less than 128 bytes
  friend bool operator==(const Pxe&, const Pxe&) = default;
};

/// A machine's place in a virtual network. It owns its prefixes, virtual IPs, NAT and firewall rules: they go with it.
struct Interface {
  std::string id;
  std::string port;               ///< name of the port; each carries one interface
  Vni vni;                        ///< not 0
  std::optional<IpAddress> ipv4;  ///< one of both at least; unique within the VNI
  std::optional<IpAddress> ipv6;
  std::optional<MacAddress> mac;  ///< of the machine; learned from what it sends if it is not given
  std::string hostname;           ///< told by DHCP; may be empty
  std::optional<Pxe> pxe;
  MeterRates total;
  MeterRates public_traffic;  ///< of what takes a default route
  std::optional<IpAddress> underlay;
  friend bool operator==(const Interface&, const Interface&) = default;
};

/// Further addresses of a machine.
struct InterfacePrefix {
  enum class Use : std::uint8_t {
    alias,  ///< routed to the machine
    load_balancer,  ///< what is sent to the underlay address is for the machine; nothing is routed: it is a target (direct server return)
  };
  std::string interface;
  Prefix prefix;
  Use use = Use::alias;
  std::optional<IpAddress> underlay;
  friend bool operator==(const InterfacePrefix&, const InterfacePrefix&) = default;
};

/// A public address that stands for an interface's own one of the same family, one to one.
struct VirtualIp {
  std::string interface;
  IpAddress address;
  std::optional<IpAddress> underlay;
  friend bool operator==(const VirtualIp&, const VirtualIp&) = default;
};

/// A public IPv4 address of which an interface has some ports, for its IPv4 traffic and, by NAT64, its IPv6 traffic: TCP, UDP, SCTP and echoes.
/// When it is told anew, flows keep their ports as far as these are still of the same address and within the range.
struct Nat {
  enum class Ports : std::uint8_t {
    own,     ///< endpoint-independent mapping (RFC 4787 REQ-1): one port for each address and port of the machine
    shared,  ///< one port for several of them while their destinations differ
  };
  /// Who may send to a port that the machine uses (RFC 4787 §5). Shared ports cannot be sent to by others.
  enum class Filtering : std::uint8_t {
    address_and_port_dependent,  ///< only whom it talks to
    address_dependent,     ///< whom it has begun to talk to, from any of their ports, as far as the firewall allows it
    endpoint_independent,  ///< anybody, likewise
  };
  std::string interface;
  IpAddress address;
  std::uint16_t first_port = 0;  ///< both ends belong to it; not 0
  std::uint16_t last_port = 0;
  Ports ports = Ports::own;
  Filtering filtering = Filtering::address_and_port_dependent;
  std::optional<IpAddress> underlay;
  friend bool operator==(const Nat&, const Nat&) = default;
};

/// Ports of a public address that another host has.
struct NeighbourNat {
  Vni vni;
  IpAddress address;
  std::uint16_t first_port = 0;
  std::uint16_t last_port = 0;
  IpAddress underlay;
  friend bool operator==(const NeighbourNat&, const NeighbourNat&) = default;
};

struct LoadBalancer {
  struct Service {
    std::uint8_t protocol = protocol_tcp;  ///< TCP, UDP or SCTP
    std::uint16_t first_port = 0;          ///< both ends belong to it; 0 to 65535 is all ports
    std::uint16_t last_port = 0;
    friend bool operator==(const Service&, const Service&) = default;
  };
  std::string id;
  Vni vni;
  IpAddress address;  ///< unique within the VNI
  std::vector<Service> services;
  std::optional<IpAddress> underlay;
  friend bool operator==(const LoadBalancer&, const LoadBalancer&) = default;
};

struct LoadBalancerTarget {
  std::string load_balancer;
  IpAddress underlay;
  std::uint16_t weight = 1;  ///< 0 = draining: keeps its flows and gets no new ones
  friend bool operator==(const LoadBalancerTarget&, const LoadBalancerTarget&) = default;
};

/// Traffic of the VNI to addresses that other hosts have. A prefix of length 0 leads to the public.
struct Route {
  struct NextHop {
    IpAddress underlay;
    std::uint16_t weight = 1;  ///< of the flows it gets; not 0
    friend bool operator==(const NextHop&, const NextHop&) = default;
  };
  Vni vni;
  Prefix prefix;                   ///< no host bits
  std::vector<NextHop> next_hops;  ///< at least one; a flow keeps the one it has (RFC 2992)
  friend bool operator==(const Route&, const Route&) = default;
};

/// Without rules nothing may come in and everything may go out; with one for egress, only what the rules allow may. Answers are always let
/// through. The addresses are those that the machine sees: before its source is translated, after its destination was.
struct FirewallRule {
  enum class Direction : std::uint8_t { ingress, egress };
  enum class Action : std::uint8_t { allow, deny };
  struct Ports {
    std::uint16_t first = 0;
    std::uint16_t last = 0xffff;
    friend bool operator==(const Ports&, const Ports&) = default;
  };
  std::string interface;
  std::string id;
  Direction direction = Direction::ingress;
  Action action = Action::allow;
  std::uint32_t priority = 1000;  ///< the lower one wins; among equals a deny does
  Prefix source;                  ///< both of the same family
  Prefix destination;
  std::optional<std::uint8_t> protocol;  ///< none = any
  Ports source_ports;                    ///< of TCP, UDP and SCTP
  Ports destination_ports;
  std::optional<std::uint8_t> icmp_type;  ///< of ICMP and ICMPv6
  std::optional<std::uint8_t> icmp_code;
  friend bool operator==(const FirewallRule&, const FirewallRule&) = default;
};

/// An IPv6 service of the underlay that machines of all networks reach by an IPv4 address and a port. Their packets leave as IPv6, without an
/// outer header, from `underlay`, which has ports 1024 to 65535 for them: so many connections it can have. The virtual address and port go before
/// whatever a machine's network has there; of its firewall the rules for egress hold.
struct VirtualService {
  std::string id;
  std::uint8_t protocol = protocol_tcp;  ///< TCP, UDP or SCTP
  IpAddress address;                     ///< IPv4; one of 169.254.1.0 to 169.254.255.255 is told to machines by DHCP
  std::uint16_t port = 0;                ///< not 0; unique for the address and protocol
  IpAddress service_address;             ///< IPv6, of another host
  std::uint16_t service_port = 0;        ///< not 0
  std::optional<IpAddress> underlay;
  friend bool operator==(const VirtualService&, const VirtualService&) = default;
};

// What names each of them.

struct InterfaceKey {
  std::string id;
  friend auto operator<=>(const InterfaceKey&, const InterfaceKey&) = default;
};
struct InterfacePrefixKey {
  std::string interface;
  Prefix prefix;
  InterfacePrefix::Use use = InterfacePrefix::Use::alias;
  friend auto operator<=>(const InterfacePrefixKey&, const InterfacePrefixKey&) = default;
};
struct VirtualIpKey {
  std::string interface;
  bool is_v6 = false;
  friend auto operator<=>(const VirtualIpKey&, const VirtualIpKey&) = default;
};
struct NatKey {
  std::string interface;
  friend auto operator<=>(const NatKey&, const NatKey&) = default;
};
struct NeighbourNatKey {
  Vni vni;
  IpAddress address;
  std::uint16_t first_port = 0;
  friend auto operator<=>(const NeighbourNatKey&, const NeighbourNatKey&) = default;
};
struct LoadBalancerKey {
  std::string id;
  friend auto operator<=>(const LoadBalancerKey&, const LoadBalancerKey&) = default;
};
struct LoadBalancerTargetKey {
  std::string load_balancer;
  IpAddress underlay;
  friend auto operator<=>(const LoadBalancerTargetKey&, const LoadBalancerTargetKey&) = default;
};
struct RouteKey {
  Vni vni;
  Prefix prefix;
  friend auto operator<=>(const RouteKey&, const RouteKey&) = default;
};
struct FirewallRuleKey {
  std::string interface;
  std::string id;
  friend auto operator<=>(const FirewallRuleKey&, const FirewallRuleKey&) = default;
};

struct VirtualServiceKey {
  std::string id;
  friend auto operator<=>(const VirtualServiceKey&, const VirtualServiceKey&) = default;
};

inline InterfaceKey key_of(const Interface& object) {
  return {object.id};
}
inline InterfacePrefixKey key_of(const InterfacePrefix& object) {
  return {object.interface, object.prefix.network(), object.use};
}
inline VirtualIpKey key_of(const VirtualIp& object) {
  return {object.interface, object.address.is_v6()};
}
inline NatKey key_of(const Nat& object) {
  return {object.interface};
}
inline NeighbourNatKey key_of(const NeighbourNat& object) {
  return {object.vni, object.address, object.first_port};
}
inline LoadBalancerKey key_of(const LoadBalancer& object) {
  return {object.id};
}
inline LoadBalancerTargetKey key_of(const LoadBalancerTarget& object) {
  return {object.load_balancer, object.underlay};
}
inline RouteKey key_of(const Route& object) {
  return {object.vni, object.prefix};
}
inline FirewallRuleKey key_of(const FirewallRule& object) {
  return {object.interface, object.id};
}

inline VirtualServiceKey key_of(const VirtualService& object) {
  return {object.id};
}

/// One step of a batch: an object that shall be there, or the key of one that shall not.
using Change =
    std::variant<Interface, InterfacePrefix, VirtualIp, Nat, NeighbourNat, LoadBalancer, LoadBalancerTarget, Route,
                 FirewallRule, VirtualService, InterfaceKey, InterfacePrefixKey, VirtualIpKey, NatKey, NeighbourNatKey,
                 LoadBalancerKey, LoadBalancerTargetKey, RouteKey, FirewallRuleKey, VirtualServiceKey>;

}  // namespace ironcore::network
