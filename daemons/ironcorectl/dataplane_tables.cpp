// SPDX-License-Identifier: Apache-2.0
// One row for each object, with what a person looks for.
#include "ironcorectl/dataplane_tables.hpp"

#include <algorithm>
#include <array>
#include <boost/json.hpp>
#include <ostream>
#include <utility>
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
/// `512 ns`, `65.5 us`, `16.7 ms`.
std::string time_text(std::uint64_t ns) {
  if (ns < 10'000) return std::to_string(ns) + " ns";
  const bool is_micro = ns < 10'000'000;
  const std::uint64_t tenths = ns / (is_micro ? 100 : 100'000);
  return std::to_string(tenths / 10) + "." + std::to_string(tenths % 10) + (is_micro ? " us" : " ms");
}
std::string percent(std::uint64_t part, std::uint64_t whole) {
  return whole == 0 ? "0 %" : std::to_string(part * 100 / whole) + " %";
}
void join(std::string& list, const std::string& word) {
  list += (list.empty() ? "" : ",") + word;
}
std::string offload_text(const std::optional<OffloadCounters>& counters) {
  if (!counters) return "none";
  std::uint64_t refused = 0;
  for (const auto count : counters->refused) refused += count;
  return std::to_string(counters->connections) + " connections, " + std::to_string(counters->packets) +
         " packets forwarded, " + std::to_string(refused) + " flows refused";
}
boost::json::value to_json(const std::optional<OffloadCounters>& counters) {
  if (!counters) return {{"isThere", false}};
  boost::json::object refused;
  for (std::size_t i = 1; i < flow_refusals; ++i) {
    const auto why = name(static_cast<FlowEvent::Refusal>(i));
    refused[boost::json::string_view(why.data(), why.size())] = counters->refused[i];
  }
  return {{"isThere", true},
          {"connections", counters->connections},
          {"installed", counters->installed},
          {"refused", std::move(refused)},
          {"packets", counters->packets},
          {"resets", counters->resets}};
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

std::string sink_text(const CaptureSpec& spec) {
  if (const auto* file = std::get_if<CaptureFile>(&spec.sink)) return file->name;
  if (const auto* udp = std::get_if<CaptureUdp>(&spec.sink)) {
    const auto address = udp->address.to_text();
    return std::string(name(udp->encapsulation)) + ":" + (udp->address.is_v4() ? address : "[" + address + "]") + ":" +
           std::to_string(udp->port);
  }
  return "-";
}

// ---- how full it is --------------------------------------------------------------------------------------------------

/// The one of which a worker is fullest; null = there is none.
const ResourceUse* fullest_of(const DataplaneUsage& usage, Resource what) {
  const ResourceUse* found = nullptr;
  for (const auto& one : usage.resources) {
    if (one.what != what) continue;
    if (found == nullptr) found = &one;
    const auto now = one.fullest(), before = found->fullest();
    if (now.used * before.room > before.used * now.room) found = &one;
  }
  return found;
}

const char* words_of(Resource what) {
  switch (what) {
    case Resource::connections:
      return "connections";
    case Resource::fragments:
      return "datagrams in pieces";
    case Resource::nat_tcp:
      return "fullest NAT, TCP ports";
    case Resource::nat_udp:
      return "fullest NAT, UDP ports";
    case Resource::nat_icmp:
      return "fullest NAT, echoes";
    case Resource::nat_sctp:
      return "fullest NAT, SCTP ports";
    case Resource::nat_flows:
      return "fullest NAT with shared ports, flows";
    case Resource::nat_peers:
      return "fullest NAT, known addresses";
    case Resource::service_ports:
      return "fullest virtual service, ports";
  }
  return "";
}

/// `web-1: 3 of 1024 (0 %; fullest worker 1 %)`.
std::string use_text(const ResourceUse& use) {
  const auto all = use.sum(), most = use.fullest();
  return (use.of.empty() ? "" : printable(use.of) + ": ") + std::to_string(all.used) + " of " +
         std::to_string(all.room) + " (" + percent(all.used, all.room) + "; fullest worker " +
         percent(most.used, most.room) + ")";
}

constexpr std::array<std::pair<const char*, MeterCounters InterfaceMeterCounters::*>, 4> meter_words{
    {{"egress", &InterfaceMeterCounters::total_egress},
     {"ingress", &InterfaceMeterCounters::total_ingress},
     {"public egress", &InterfaceMeterCounters::public_egress},
     {"public ingress", &InterfaceMeterCounters::public_ingress}}};

void print_usage(Session& session, const DataplaneUsage& usage) {
  const auto print = [&](Table& table) {
    if (table.is_empty()) return;
    session.out() << '\n';
    table.print(session.out(), session.terminal());
  };
  Table fullness({"Resource", "Of", "Used", "Room", "Fullest worker"});
  for (const auto& use : usage.resources) {
    const auto all = use.sum(), most = use.fullest();
    fullness.add({std::string(name(use.what)), use.of.empty() ? "all" : printable(use.of), std::to_string(all.used),
                  std::to_string(all.room), percent(most.used, most.room)});
  }
  print(fullness);
  Table objects({"Objects", "Number"});
  for (const auto& one : usage.objects)
    if (one.count != 0) objects.add({printable(one.kind), std::to_string(one.count)});
  print(objects);
  Table meters({"Interface", "Meter", "Green", "Yellow", "Red", "Red bytes"});
  for (const auto& one : usage.meters) {
    for (const auto& [word, member] : meter_words) {
      const auto& said = one.*member;
      if (said == MeterCounters()) continue;
      meters.add({printable(one.interface), word, std::to_string(said.packets[0]), std::to_string(said.packets[1]),
                  std::to_string(said.packets[2]), std::to_string(said.bytes[2])});
    }
  }
  print(meters);
}

boost::json::array resources_json(const DataplaneUsage& usage) {
  boost::json::array out;
  for (const auto& use : usage.resources) {
    boost::json::array workers;
    for (const auto& part : use.workers) workers.push_back({{"used", part.used}, {"room", part.room}});
    boost::json::object one{{"resource", boost::json::string(name(use.what).data(), name(use.what).size())},
                            {"workers", workers}};
    if (!use.of.empty()) one["of"] = use.of;
    out.push_back(std::move(one));
  }
  return out;
}

boost::json::object objects_json(const DataplaneUsage& usage) {
  boost::json::object out;
  for (const auto& one : usage.objects) out[one.kind] = one.count;
  return out;
}

boost::json::array meters_json(const DataplaneUsage& usage) {
  constexpr std::array<const char*, 4> names{"egress", "ingress", "publicEgress", "publicIngress"};
  boost::json::array out;
  for (const auto& one : usage.meters) {
    boost::json::object of_interface{{"interface", one.interface}};
    for (std::size_t i = 0; i < names.size(); ++i) {
      const auto& said = one.*meter_words[i].second;
      boost::json::object by_color;
      for (std::size_t j = 0; j < colors; ++j) {
        const auto color = name(static_cast<Color>(j));
        by_color[boost::json::string_view(color.data(), color.size())] = {{"packets", said.packets[j]},
                                                                          {"bytes", said.bytes[j]}};
      }
      of_interface[names[i]] = std::move(by_color);
    }
    out.push_back(std::move(of_interface));
  }
  return out;
}

}  // namespace

std::string line_of(const Change& object) {
  return std::visit(
      [](const auto& one) -> std::string {
        std::string line;
        if constexpr (requires { headers(one); }) {
          const auto names = headers(one);
          const auto cells = row(one);
          for (std::size_t i = 0; i < cells.size(); ++i)
            if (cells[i] != "-") line += (line.empty() ? "" : ", ") + names[i] + " " + cells[i];
        }
        return line;
      },
      object);
}

void print_table(Session& session, std::span<const Change> objects, const LiveInterfaces& live) {
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
  for (const auto& object : objects) {
    visit(object, [&](const auto& one) {
      auto cells = row(one);
      if constexpr (std::is_same_v<std::remove_cvref_t<decltype(one)>, Interface>) {
        const auto found = live.find(one.id);
        if (found != live.end()) {
          if (!found->second.has_port) cells[1] += " (port not there)";
          if (found->second.heard_mac) cells[5] = found->second.heard_mac->to_text() + " (heard)";
        }
      }
      table.add(std::move(cells));
    });
  }
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

void print_table(Session& session, const DataplaneReport& report) {
  const auto& counters = report.counters;
  const auto& all = counters.dataplane;
  Table totals({"Counter", "Value"});
  totals.add({"forwarded", std::to_string(all.packets[0])});
  for (std::size_t i = 1; i < all.packets.size(); ++i) {
    if (all.packets[i] != 0 && static_cast<Drop>(i) != Drop::elsewhere)
      totals.add({"dropped: " + std::string(name(static_cast<Drop>(i))), std::to_string(all.packets[i])});
  }
  for (std::size_t i = 0; i < gateway_services; ++i) {
    if (all.answers_by_service[i] != 0)
      totals.add(
          {"answers: " + std::string(name(static_cast<GatewayService>(i))), std::to_string(all.answers_by_service[i])});
  }
  totals.add({"ICMP errors", std::to_string(all.icmp_errors)});
  totals.add({"fast path", std::to_string(all.fast_path)});
  totals.add({"slow path", std::to_string(all.slow_path)});
  totals.add({"looked at again: kept", std::to_string(all.rechecks_kept)});
  totals.add({"looked at again: ended", std::to_string(all.rechecks_ended)});
  totals.add({"connections", std::to_string(all.connections) + " of " + std::to_string(all.connection_room)});
  totals.add({"connections: opened", std::to_string(all.connections_opened)});
  totals.add({"connections: expired", std::to_string(all.connections_expired)});
  if (all.offload) {
    totals.add({"offloaded: connections", std::to_string(all.offload->connections)});
    totals.add({"offloaded: installed", std::to_string(all.offload->installed)});
    for (std::size_t i = 1; i < flow_refusals; ++i) {
      if (all.offload->refused[i] != 0)
        totals.add({"offload refused: " + std::string(name(static_cast<FlowEvent::Refusal>(i))),
                    std::to_string(all.offload->refused[i])});
    }
    totals.add({"offloaded: packets", std::to_string(all.offload->packets)});
    totals.add({"offload: resets", std::to_string(all.offload->resets)});
  }
  totals.print(session.out(), session.terminal());
  Table by_stage({"Stage", "Reached", "Refused"});
  for (std::size_t i = 0; i < stages; ++i) {
    const auto& one = all.by_stage[i];
    if (one.reached != 0)
      by_stage.add(
          {std::string(name(static_cast<Stage>(i))), std::to_string(one.reached), std::to_string(one.refused)});
  }
  if (!by_stage.is_empty()) {
    session.out() << '\n';
    by_stage.print(session.out(), session.terminal());
  }
  Table times({"Bursts that took", "Number"});
  for (std::size_t i = 0; i < BurstTimes::buckets; ++i) {
    const bool has_bound = i + 1 < BurstTimes::buckets;
    if (all.bursts.count[i] != 0)
      times.add({has_bound ? "less than " + time_text(BurstTimes::bound_ns(i))
                           : time_text(BurstTimes::bound_ns(i - 1)) + " and more",
                 std::to_string(all.bursts.count[i])});
  }
  if (!times.is_empty()) {
    session.out() << '\n';
    times.print(session.out(), session.terminal());
  }
  print_usage(session, report.usage);
  if (counters.interfaces.empty()) return;
  session.out() << '\n';
  Table table({"Interface", "Sent", "Bytes", "Received", "Bytes", "Dropped", "ICMP errors"});
  for (const auto& one : counters.interfaces) {
    table.add({one.id, std::to_string(one.sent_packets), std::to_string(one.sent_bytes),
               std::to_string(one.received_packets), std::to_string(one.received_bytes), std::to_string(one.dropped),
               std::to_string(one.icmp_errors)});
  }
  table.print(session.out(), session.terminal());
}

void print_table(Session& session, const DataplaneStatus& status) {
  const auto& all = status.counters.dataplane;
  Table table({"Dataplane", ""});
  table.add({"program", printable(status.facts.program)});
  table.add({"revision", std::to_string(status.facts.revision)});
  table.add({"workers", std::to_string(status.facts.workers)});
  std::string down;
  for (const auto& port : status.ports)
    if (!port.state.is_up) join(down, port.state.spec.name);
  table.add({"ports", std::to_string(status.ports.size()) + (down.empty() ? ", all up" : ", down: " + down)});
  constexpr std::size_t most_named = 10;
  std::string portless;
  std::size_t missing = 0;
  for (const auto& one : status.counters.interfaces)
    if (!one.has_port && ++missing <= most_named) join(portless, one.id);
  if (missing > most_named) portless += " … and " + std::to_string(missing - most_named) + " more";
  table.add({"interfaces", std::to_string(status.counters.interfaces.size()) +
                               (missing == 0 ? "" : ", port not there: " + portless)});
  const auto room = status.facts.workers == 0 ? 0 : all.connection_room / status.facts.workers;
  table.add({"connections", std::to_string(all.connections) + " of " + std::to_string(all.connection_room) + " (" +
                                percent(all.connections, all.connection_room) + "; fullest worker " +
                                percent(all.most_connections, room) + ")"});
  for (const auto what : {Resource::fragments, Resource::nat_tcp, Resource::nat_udp, Resource::nat_icmp,
                          Resource::nat_sctp, Resource::nat_flows, Resource::nat_peers, Resource::service_ports})
    if (const auto* use = fullest_of(status.usage, what)) table.add({words_of(what), use_text(*use)});
  std::string objects;
  for (const auto& one : status.usage.objects)
    if (one.count != 0)
      objects += (objects.empty() ? "" : ", ") + std::to_string(one.count) + " " + printable(one.kind);
  if (!objects.empty()) table.add({"objects", objects});
  table.add({"packets on the fast path", percent(all.fast_path, all.fast_path + all.slow_path)});
  std::uint64_t dropped = 0;
  std::size_t most = 0;
  for (std::size_t i = 1; i < all.packets.size(); ++i) {
    if (static_cast<Drop>(i) == Drop::elsewhere) continue;
    dropped += all.packets[i];
    if (most == 0 || all.packets[i] > all.packets[most]) most = i;
  }
  table.add({"dropped", std::to_string(dropped) +
                            (dropped == 0 ? "" : ", most of them: " + std::string(name(static_cast<Drop>(most))))});
  table.add({"flows in hardware", offload_text(all.offload)});
  if (all.bursts.bursts() != 0) {
    table.add({"bursts", "half of them below " + time_text(all.bursts.quantile_ns(0.5)) + ", 99 % below " +
                             time_text(all.bursts.quantile_ns(0.99))});
  }
  table.print(session.out(), session.terminal());
}

void print_table(Session& session, std::span<const CaptureState> captures) {
  Table table({"Capture", "Phase", "Ports", "Direction", "Filter", "To", "Seen", "Written", "Lost", "Bytes", "Reason"});
  for (const auto& [spec, phase, reason, seen, written, lost, bytes] : captures) {
    std::string ports;
    for (const auto& port : spec.ports) join(ports, port);
    table.add({spec.id, std::string(name(phase)), ports.empty() ? "all" : ports, std::string(name(spec.direction)),
               spec.filter.empty() ? "-" : spec.filter, sink_text(spec), std::to_string(seen), std::to_string(written),
               std::to_string(lost), std::to_string(bytes), reason.empty() ? "-" : reason});
  }
  table.print(session.out(), session.terminal());
}

std::string to_json(const DataplaneStatus& status) {
  const auto& all = status.counters.dataplane;
  std::size_t up = 0;
  for (const auto& port : status.ports) up += port.state.is_up ? 1 : 0;
  const auto& interfaces = status.counters.interfaces;
  const auto portless =
      std::count_if(interfaces.begin(), interfaces.end(), [](const auto& one) { return !one.has_port; });
  std::uint64_t dropped = 0;
  for (std::size_t i = 1; i < all.packets.size(); ++i)
    dropped += static_cast<Drop>(i) == Drop::elsewhere ? 0 : all.packets[i];
  const boost::json::object out{
      {"program", status.facts.program},
      {"revision", status.facts.revision},
      {"workers", status.facts.workers},
      {"ports", status.ports.size()},
      {"portsUp", up},
      {"interfaces", status.counters.interfaces.size()},
      {"interfacesWithoutPort", portless},
      {"connections", all.connections},
      {"connectionRoom", all.connection_room},
      {"mostConnections", all.most_connections},
      {"resources", resources_json(status.usage)},
      {"objects", objects_json(status.usage)},
      {"fastPath", all.fast_path},
      {"slowPath", all.slow_path},
      {"dropped", dropped},
      {"offload", to_json(all.offload)},
      {"burstNs", {{"half", all.bursts.quantile_ns(0.5)}, {"most", all.bursts.quantile_ns(0.99)}}}};
  return boost::json::serialize(out);
}

std::string to_json(std::span<const CaptureState> captures) {
  const auto text = [](std::string_view word) { return boost::json::string(word.data(), word.size()); };
  boost::json::array out;
  for (const auto& [spec, phase, reason, seen, written, lost, bytes] : captures) {
    boost::json::array ports;
    for (const auto& port : spec.ports) ports.emplace_back(text(port));
    out.push_back({{"id", spec.id},
                   {"phase", text(name(phase))},
                   {"reason", reason},
                   {"ports", ports},
                   {"direction", text(name(spec.direction))},
                   {"filter", spec.filter},
                   {"snapLength", spec.snap_length},
                   {"to", sink_text(spec)},
                   {"seen", seen},
                   {"written", written},
                   {"lost", lost},
                   {"bytes", bytes}});
  }
  return boost::json::serialize(out);
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

std::string to_json(const DataplaneReport& report) {
  const auto& counters = report.counters;
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
                          {"dropped", one.dropped},
                          {"icmpErrors", one.icmp_errors},
                          {"hasPort", one.has_port}});
    if (one.heard_mac) interfaces.back().as_object()["heardMac"] = one.heard_mac->to_text();
  }
  boost::json::object by_stage, services;
  for (std::size_t i = 0; i < stages; ++i) {
    const auto stage = name(static_cast<Stage>(i));
    by_stage[boost::json::string_view(stage.data(), stage.size())] = {{"reached", all.by_stage[i].reached},
                                                                      {"refused", all.by_stage[i].refused}};
  }
  for (std::size_t i = 0; i < gateway_services; ++i) {
    const auto service = name(static_cast<GatewayService>(i));
    services[boost::json::string_view(service.data(), service.size())] = all.answers_by_service[i];
  }
  boost::json::array bursts;
  for (std::size_t i = 0; i < BurstTimes::buckets; ++i) {
    boost::json::object one{{"count", all.bursts.count[i]}};
    if (i + 1 < BurstTimes::buckets) one["belowNs"] = BurstTimes::bound_ns(i);
    bursts.push_back(std::move(one));
  }
  const boost::json::object out{{"forwarded", all.packets[0]},
                                {"dropped", dropped},
                                {"answers", services},
                                {"icmpErrors", all.icmp_errors},
                                {"fastPath", all.fast_path},
                                {"slowPath", all.slow_path},
                                {"stages", by_stage},
                                {"rechecks", {{"kept", all.rechecks_kept}, {"ended", all.rechecks_ended}}},
                                {"connectionsOpened", all.connections_opened},
                                {"connectionsExpired", all.connections_expired},
                                {"connections", all.connections},
                                {"connectionRoom", all.connection_room},
                                {"mostConnections", all.most_connections},
                                {"offload", to_json(all.offload)},
                                {"bursts", {{"times", bursts}, {"sumNs", all.bursts.sum_ns}}},
                                {"resources", resources_json(report.usage)},
                                {"objects", objects_json(report.usage)},
                                {"meters", meters_json(report.usage)},
                                {"interfaces", interfaces}};
  return boost::json::serialize(out);
}

}  // namespace ironcore::ctl
