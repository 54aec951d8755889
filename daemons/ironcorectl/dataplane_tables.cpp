// SPDX-License-Identifier: Apache-2.0
// One row for each object, with what a person looks for.
#include "ironcorectl/dataplane_tables.hpp"

#include <boost/json.hpp>
#include <ostream>
#include <variant>

#include "ironcorectl/table.hpp"

namespace ironcore::ctl {
namespace {

using namespace network;
using Cells = std::vector<std::string>;

template <class T>
std::string text(const std::optional<T>& value) {
  return value ? value->to_text() : "-";
}
std::string range(unsigned first, unsigned last) {
  return first == last ? std::to_string(first) : std::to_string(first) + "-" + std::to_string(last);
}
void join(std::string& list, const std::string& word) {
  list += (list.empty() ? "" : ",") + word;
}

Cells headers(const Interface&) {
  return {"Interface", "Port", "VNI", "IPv4", "IPv6", "MAC", "Underlay"};
}
Cells row(const Interface& o) {
  return {o.id, o.port, o.vni.to_text(), text(o.ipv4), text(o.ipv6), text(o.mac), text(o.underlay)};
}
Cells headers(const InterfacePrefix&) {
  return {"Interface", "Prefix", "Use", "Underlay"};
}
Cells row(const InterfacePrefix& o) {
  return {o.interface, o.prefix.to_text(), o.use == InterfacePrefix::Use::alias ? "Alias" : "LoadBalancer",
          text(o.underlay)};
}
Cells headers(const VirtualIp&) {
  return {"Interface", "Address", "Underlay"};
}
Cells row(const VirtualIp& o) {
  return {o.interface, o.address.to_text(), text(o.underlay)};
}
Cells headers(const Nat&) {
  return {"Interface", "Address", "Ports", "Underlay"};
}
Cells row(const Nat& o) {
  return {o.interface, o.address.to_text(), range(o.first_port, o.last_port), text(o.underlay)};
}
Cells headers(const NeighbourNat&) {
  return {"VNI", "Address", "Ports", "Underlay"};
}
Cells row(const NeighbourNat& o) {
  return {o.vni.to_text(), o.address.to_text(), range(o.first_port, o.last_port), o.underlay.to_text()};
}
Cells headers(const LoadBalancer&) {
  return {"Load balancer", "VNI", "Address", "Services", "Underlay"};
}
Cells row(const LoadBalancer& o) {
  std::string services;
  for (const auto& service : o.services)
    join(services, network::protocol_text(service.protocol) + "/" + range(service.first_port, service.last_port));
  return {o.id, o.vni.to_text(), o.address.to_text(), services, text(o.underlay)};
}
Cells headers(const LoadBalancerTarget&) {
  return {"Load balancer", "Underlay", "Weight"};
}
Cells row(const LoadBalancerTarget& o) {
  return {o.load_balancer, o.underlay.to_text(), std::to_string(o.weight)};
}
Cells headers(const Route&) {
  return {"VNI", "Prefix", "Next hops"};
}
Cells row(const Route& o) {
  std::string hops;
  for (const auto& hop : o.next_hops)
    join(hops, hop.underlay.to_text() + (hop.weight == 1 ? "" : "*" + std::to_string(hop.weight)));
  return {o.vni.to_text(), o.prefix.to_text(), hops};
}
Cells headers(const VirtualService&) {
  return {"Virtual service", "Protocol", "Address", "Port", "Service", "Port", "Underlay"};
}
Cells row(const VirtualService& o) {
  return {o.id,
          network::protocol_text(o.protocol),
          o.address.to_text(),
          std::to_string(o.port),
          o.service_address.to_text(),
          std::to_string(o.service_port),
          text(o.underlay)};
}
Cells headers(const FirewallRule&) {
  return {"Interface", "Rule", "Direction", "Action", "Priority", "Protocol", "From", "To", "Ports"};
}
Cells row(const FirewallRule& o) {
  const auto ports = [](const FirewallRule::Ports& some) {
    return some == FirewallRule::Ports() ? std::string("any") : range(some.first, some.last);
  };
  return {o.interface,
          o.id,
          o.direction == FirewallRule::Direction::ingress ? "Ingress" : "Egress",
          o.action == FirewallRule::Action::allow ? "Allow" : "Deny",
          std::to_string(o.priority),
          o.protocol ? network::protocol_text(*o.protocol) : "any",
          o.source.to_text(),
          o.destination.to_text(),
          ports(o.source_ports) + " to " + ports(o.destination_ports)};
}

}  // namespace

void print_table(Session& session, std::span<const Change> objects) {
  if (objects.empty()) return;
  const auto visit = [](const Change& change, auto f) {
    std::visit(
        [&](const auto& object) {
          if constexpr (requires { headers(object); }) f(object);
        },
        change);
  };
  Cells head;
  visit(objects.front(), [&](const auto& object) { head = headers(object); });
  Table table(head);
  for (const auto& object : objects) visit(object, [&](const auto& one) { table.add(row(one)); });
  table.print(session.out(), session.terminal());
}

void print_table(Session& session, std::span<const network::zmq::PortReport> ports) {
  Table table({"Port", "Device", "Link", "MTU", "MAC", "Received", "Sent", "Missed", "Unsent", "Errors"});
  for (const auto& [state, counters] : ports) {
    table.add({state.spec.name, state.spec.device, state.is_up ? "up" : "down", std::to_string(state.spec.mtu),
               state.mac.to_text(), std::to_string(counters.received_packets), std::to_string(counters.sent_packets),
               std::to_string(counters.missed), std::to_string(counters.unsent), std::to_string(counters.errors)});
  }
  table.print(session.out(), session.terminal());
}

void print_table(Session& session, const network::zmq::AllCounters& counters) {
  const auto& all = counters.dataplane;
  Table totals({"Counter", "Value"});
  totals.add({"forwarded", std::to_string(all.packets[0])});
  for (std::size_t i = 1; i < all.packets.size(); ++i) {
    if (all.packets[i] != 0 && static_cast<Drop>(i) != Drop::elsewhere)
      totals.add({"dropped: " + std::string(name(static_cast<Drop>(i))), std::to_string(all.packets[i])});
  }
  totals.add({"answers of the gateway", std::to_string(all.answers)});
  totals.add({"ICMP errors", std::to_string(all.icmp_errors)});
  totals.add({"slow path", std::to_string(all.slow_path)});
  totals.add({"connections", std::to_string(all.connections) + " of " + std::to_string(all.connection_room)});
  totals.print(session.out(), session.terminal());
  if (counters.interfaces.empty()) return;
  session.out() << '\n';
  Table table({"Interface", "Sent", "Bytes", "Received", "Bytes", "Dropped"});
  for (const auto& one : counters.interfaces) {
    table.add({one.id, std::to_string(one.sent_packets), std::to_string(one.sent_bytes),
               std::to_string(one.received_packets), std::to_string(one.received_bytes), std::to_string(one.dropped)});
  }
  table.print(session.out(), session.terminal());
}

std::string to_json(std::span<const network::zmq::PortReport> ports) {
  boost::json::array out;
  for (const auto& [state, counters] : ports) {
    out.push_back({{"name", state.spec.name},
                   {"device", state.spec.device},
                   {"mtu", state.spec.mtu},
                   {"mac", state.mac.to_text()},
                   {"isUp", state.is_up},
                   {"receivedPackets", counters.received_packets},
                   {"receivedBytes", counters.received_bytes},
                   {"sentPackets", counters.sent_packets},
                   {"sentBytes", counters.sent_bytes},
                   {"missed", counters.missed},
                   {"unsent", counters.unsent},
                   {"errors", counters.errors}});
  }
  return boost::json::serialize(out);
}

std::string to_json(const network::zmq::AllCounters& counters) {
  const auto& all = counters.dataplane;
  boost::json::object dropped;
  for (std::size_t i = 1; i < all.packets.size(); ++i) {
    const auto reason = name(static_cast<Drop>(i));
    dropped[boost::json::string_view(reason.data(), reason.size())] = all.packets[i];
  }
  boost::json::array interfaces;
  for (const auto& one : counters.interfaces) {
    interfaces.push_back({{"id", one.id},
                          {"sentPackets", one.sent_packets},
                          {"sentBytes", one.sent_bytes},
                          {"receivedPackets", one.received_packets},
                          {"receivedBytes", one.received_bytes},
                          {"dropped", one.dropped}});
  }
  const boost::json::object out{{"forwarded", all.packets[0]},
                                {"dropped", dropped},
                                {"answers", all.answers},
                                {"icmpErrors", all.icmp_errors},
                                {"slowPath", all.slow_path},
                                {"connections", all.connections},
                                {"connectionRoom", all.connection_room},
                                {"mostConnections", all.most_connections},
                                {"interfaces", interfaces}};
  return boost::json::serialize(out);
}

}  // namespace ironcore::ctl
