// SPDX-License-Identifier: Apache-2.0
// Field by field.
#include "object_checks.hpp"

#include <algorithm>

#include "desired.hpp"
#include "ironcore/base/names.hpp"
#include "meter.hpp"

namespace ironcore::network::dataplane {

namespace {

using Reason = FieldError::Reason;

constexpr std::size_t longest_id = 63;
constexpr std::size_t longest_port_name = 63;
constexpr std::size_t longest_pxe_path = 127;
/// Of a meter: what is still to be cut into many is one packet, and has to fit.
constexpr std::uint64_t least_burst = 65'536;

void check_id(std::string_view id, std::string_view field, FieldErrors& errors) {
  const auto is_legal = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_';
  };
  if (id.empty()) return errors.add(field, "must not be empty", Reason::required);
  if (id.size() > longest_id) return errors.add(field, "must not be longer than 63 characters", Reason::too_long);
  if (!std::all_of(id.begin(), id.end(), is_legal)) errors.add(field, "must be made of letters, digits, - and _");
}

void check_vni(Vni vni, FieldErrors& errors) {
  if (vni.value() == 0) errors.add("vni", "must be 1 to 16777215", Reason::required);
}

/// An address that one machine can have.
void check_unicast(const IpAddress& address, std::string_view field, FieldErrors& errors) {
  const bool is_broadcast = address.is_v4() && address.v4_value() == 0xffff'ffff;
  if (address.is_unspecified() || address.is_multicast() || address.is_loopback() || address.is_link_local() ||
      is_broadcast)
    errors.add(field, "must be an address that one host can have, and " + address.to_text() + " is none");
}

void check_own_underlay(const std::optional<IpAddress>& address, const Underlay& underlay, FieldErrors& errors) {
  if (!address) return;
  if (auto reason = underlay.why_not(*address)) errors.add("underlay", std::move(*reason));
}

/// Of another host, or of this one: a target or a next hop may be either.
void check_underlay(const IpAddress& address, std::string_view field, FieldErrors& errors) {
  if (address.is_v4()) return errors.add(field, "must be an IPv6 address");
  check_unicast(address, field, errors);
}

void check_no_host_bits(const Prefix& prefix, std::string_view field, FieldErrors& errors) {
  if (prefix != prefix.network())
    errors.add(field, "has bits behind its length; did you mean " + prefix.network().to_text() + "?");
}

void check_ports(std::uint16_t first, std::uint16_t last, FieldErrors& errors) {
  if (first == 0) errors.add("firstPort", "must be 1 to 65535");
  if (last < first) errors.add("lastPort", "must not be smaller than the first port");
}

bool has_ports(std::uint8_t protocol) {
  return protocol == protocol_tcp || protocol == protocol_udp || protocol == protocol_sctp;
}

void check_bursts(const MeterRates& rates, const std::string& meter, FieldErrors& errors) {
  const auto check = [&](std::uint64_t committed, const BothWays& ways, std::uint64_t value, const char* name,
                         const char* way) {
    const auto field = meter + "." + name + "." + way;
    const bool is_burst = &ways != &rates.excess;
    if (value == 0) return;
    if (committed == 0)
      errors.add(field, "has a meaning only beside a committed rate: give " + meter + "." + way + " too");
    else if (is_burst && (value < least_burst || value > Meter::max_burst))
      errors.add(field,
                 "must be " + std::to_string(least_burst) + " to " + std::to_string(Meter::max_burst) + " bytes");
  };
  const auto check_ways = [&](const BothWays& ways, const char* name) {
    check(rates.egress, ways, ways.egress, name, "egress");
    check(rates.ingress, ways, ways.ingress, name, "ingress");
  };
  check_ways(rates.burst, "burst");
  check_ways(rates.excess, "excess");
  check_ways(rates.excess_burst, "excessBurst");
}

void check_rates(const Interface& object, FieldErrors& errors) {
  check_bursts(object.total, "total", errors);
  check_bursts(object.public_traffic, "publicTraffic", errors);
  const auto check = [&](std::uint64_t total, std::uint64_t excess, std::uint64_t part, std::uint64_t part_excess,
                         const std::string& way) {
    const auto sum = [](std::uint64_t a, std::uint64_t b) { return a > UINT64_MAX - b ? UINT64_MAX : a + b; };
    if (total == 0) return;
    if (part > total)
      errors.add("publicTraffic." + way, "must not be more than the interface has in total");
    else if (sum(part, part_excess) > sum(total, excess))
      errors.add("publicTraffic.excess." + way,
                 "must not, with publicTraffic." + way + ", be more than the interface has in total with its excess");
  };
  const auto& total = object.total;
  const auto& part = object.public_traffic;
  check(total.egress, total.excess.egress, part.egress, part.excess.egress, "egress");
  check(total.ingress, total.excess.ingress, part.ingress, part.excess.ingress, "ingress");
}

void check_pxe(const Pxe& pxe, FieldErrors& errors) {
  check_unicast(pxe.server, "pxe.server", errors);
  const auto is_legal = [](char c) { return c > ' ' && c < '\x7f'; };
  if (pxe.path.empty() || pxe.path.front() != '/') errors.add("pxe.path", "must begin with a slash");
  if (pxe.path.size() > longest_pxe_path) errors.add("pxe.path", "must not be longer than 127 bytes", Reason::too_long);
  if (!std::all_of(pxe.path.begin(), pxe.path.end(), is_legal))
    errors.add("pxe.path", "must be made of printable ASCII characters without blanks");
}

}  // namespace

void check(const Interface& object, const Underlay& underlay, FieldErrors& errors) {
  check_id(object.id, "id", errors);
  if (object.port.empty()) errors.add("port", "must name a port", Reason::required);
  if (object.port.size() > longest_port_name) errors.add("port", "must not be longer than 63 bytes", Reason::too_long);
  check_vni(object.vni, errors);
  if (!object.ipv4 && !object.ipv6) errors.add("ipv4", "or ipv6 must be given", Reason::required);
  if (object.ipv4) {
    if (object.ipv4->is_v6()) errors.add("ipv4", "must be an IPv4 address");
    check_unicast(*object.ipv4, "ipv4", errors);
  }
  if (object.ipv6) {
    if (object.ipv6->is_v4()) errors.add("ipv6", "must be an IPv6 address");
    check_unicast(*object.ipv6, "ipv6", errors);
  }
  if (object.mac && (object.mac->is_multicast() || *object.mac == MacAddress()))
    errors.add("mac", "must be the address of one machine");
  if (!object.hostname.empty()) {
    if (const auto reason = check_dns_subdomain(object.hostname)) errors.add("hostname", *reason);
    if (object.hostname.size() > longest_id)
      errors.add("hostname", "must not be longer than 63 characters", Reason::too_long);
  }
  if (object.pxe) check_pxe(*object.pxe, errors);
  check_rates(object, errors);
  check_own_underlay(object.underlay, underlay, errors);
}

void check(const InterfacePrefix& object, const Underlay& underlay, FieldErrors& errors) {
  check_id(object.interface, "interface", errors);
  check_no_host_bits(object.prefix, "prefix", errors);
  if (object.prefix.length() == 0)
    errors.add("prefix", "must not be everything: a machine cannot be the default route of its network");
  check_own_underlay(object.underlay, underlay, errors);
}

void check(const VirtualIp& object, const Underlay& underlay, FieldErrors& errors) {
  check_id(object.interface, "interface", errors);
  check_unicast(object.address, "address", errors);
  check_own_underlay(object.underlay, underlay, errors);
}

void check(const Nat& object, const Underlay& underlay, FieldErrors& errors) {
  check_id(object.interface, "interface", errors);
  if (object.address.is_v6()) errors.add("address", "must be an IPv4 address");
  check_unicast(object.address, "address", errors);
  check_ports(object.first_port, object.last_port, errors);
  check_own_underlay(object.underlay, underlay, errors);
}

void check(const NeighbourNat& object, const Underlay& underlay, FieldErrors& errors) {
  check_vni(object.vni, errors);
  if (object.address.is_v6()) errors.add("address", "must be an IPv4 address");
  check_unicast(object.address, "address", errors);
  check_ports(object.first_port, object.last_port, errors);
  check_underlay(object.underlay, "underlay", errors);
  if (underlay.host().contains(object.underlay)) errors.add("underlay", "must be of another host");
}

void check(const LoadBalancer& object, const Underlay& underlay, FieldErrors& errors) {
  check_id(object.id, "id", errors);
  check_vni(object.vni, errors);
  check_unicast(object.address, "address", errors);
  check_own_underlay(object.underlay, underlay, errors);
  const auto& services = object.services;
  if (services.empty()) errors.add("services", "must name a protocol and its ports", Reason::required);
  if (services.size() > Desired::max_services) errors.add("services", "must not be more than 64", Reason::too_long);
  for (std::size_t i = 0; i < services.size() && i < Desired::max_services; ++i) {
    const auto field = [&](std::string_view name) {
      return "services[" + std::to_string(i) + "]." + std::string(name);
    };
    if (!has_ports(services[i].protocol))
      errors.add(field("protocol"), "must be 6 (TCP), 17 (UDP) or 132 (SCTP)", Reason::not_supported);
    if (services[i].last_port < services[i].first_port)
      errors.add(field("lastPort"), "must not be smaller than the first port");
    const auto overlaps = [&](const LoadBalancer::Service& other) {
      return other.protocol == services[i].protocol && other.first_port <= services[i].last_port &&
             services[i].first_port <= other.last_port;
    };
    const auto end = services.begin() + static_cast<std::ptrdiff_t>(i);
    if (std::any_of(services.begin(), end, overlaps))
      errors.add(field("firstPort"), "overlaps with an earlier service", Reason::duplicate);
  }
}

void check(const LoadBalancerTarget& object, const Underlay&, FieldErrors& errors) {
  check_id(object.load_balancer, "loadBalancer", errors);
  check_underlay(object.underlay, "underlay", errors);
}

void check(const Route& object, const Underlay&, FieldErrors& errors) {
  check_vni(object.vni, errors);
  check_no_host_bits(object.prefix, "prefix", errors);
  const auto& hops = object.next_hops;
  if (hops.empty()) errors.add("nextHops", "must name a next hop; to remove the route, send its key", Reason::required);
  if (hops.size() > Desired::max_next_hops) errors.add("nextHops", "must not be more than 64", Reason::too_long);
  for (std::size_t i = 0; i < hops.size() && i < Desired::max_next_hops; ++i) {
    const auto field = [&](std::string_view name) {
      return "nextHops[" + std::to_string(i) + "]." + std::string(name);
    };
    check_underlay(hops[i].underlay, field("underlay"), errors);
    if (hops[i].weight == 0) errors.add(field("weight"), "must not be 0; leave the next hop out");
    const auto is_same = [&](const Route::NextHop& other) { return other.underlay == hops[i].underlay; };
    if (std::any_of(hops.begin(), hops.begin() + static_cast<std::ptrdiff_t>(i), is_same))
      errors.add(field("underlay"), "is named twice", Reason::duplicate);
  }
}

void check(const FirewallRule& object, const Underlay&, FieldErrors& errors) {
  check_id(object.interface, "interface", errors);
  check_id(object.id, "id", errors);
  if (object.source.is_v4() != object.destination.is_v4())
    errors.add("destination", "must be of the same family as the source");
  check_no_host_bits(object.source, "source", errors);
  check_no_host_bits(object.destination, "destination", errors);
  const auto check_range = [&](const FirewallRule::Ports& ports, std::string_view field) {
    if (ports.last < ports.first) errors.add(field, "must not end before it begins");
    const bool is_named = ports != FirewallRule::Ports();
    if (is_named && (!object.protocol || !has_ports(*object.protocol)))
      errors.add(field, "has a meaning only with protocol 6 (TCP), 17 (UDP) or 132 (SCTP)");
  };
  check_range(object.source_ports, "sourcePorts");
  check_range(object.destination_ports, "destinationPorts");
  const std::uint8_t icmp = object.source.is_v4() ? protocol_icmp : protocol_icmpv6;
  if (object.icmp_type && object.protocol != icmp)
    errors.add("icmpType", "has a meaning only with protocol " + std::to_string(icmp));
  if (object.icmp_code && !object.icmp_type) errors.add("icmpCode", "has a meaning only with a type");
}

void check(const VirtualService& object, const Underlay& underlay, FieldErrors& errors) {
  check_id(object.id, "id", errors);
  if (!has_ports(object.protocol))
    errors.add("protocol", "must be 6 (TCP), 17 (UDP) or 132 (SCTP)", Reason::not_supported);
  if (object.address.is_v6()) {
    errors.add("address", "must be an IPv4 address");
  } else if (!object.address.is_link_local()) {
    check_unicast(object.address, "address", errors);
  } else if (const auto last = object.address.v4_value() & 0xffff; last < 0x100 || last == 0xffff) {
    errors.add("address", "must not be in 169.254.0.0/24, where the gateway of the machines is, nor 169.254.255.255");
  }
  if (object.port == 0) errors.add("port", "must be 1 to 65535");
  check_underlay(object.service_address, "serviceAddress", errors);
  if (underlay.host().contains(object.service_address)) errors.add("serviceAddress", "must be of another host");
  if (object.service_port == 0) errors.add("servicePort", "must be 1 to 65535");
  check_own_underlay(object.underlay, underlay, errors);
}

}  // namespace ironcore::network::dataplane
