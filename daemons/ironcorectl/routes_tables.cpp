// SPDX-License-Identifier: Apache-2.0
// Numbers and routes to cells and members.
#include "ironcorectl/routes_tables.hpp"

#include <algorithm>
#include <boost/json.hpp>
#include <cstdio>
#include <ostream>

#include "ironcorectl/table.hpp"

namespace ironcore::ctl {

using namespace routing;

namespace {

namespace json = boost::json;

std::string text(std::uint64_t number) {
  return std::to_string(number);
}
/// `1.2 s`: as exact as a person wants it.
std::string seconds_text(Duration span) {
  const auto tenths = span / std::chrono::milliseconds(100);
  return std::to_string(tenths / 10) + '.' + std::to_string(tenths % 10) + " s";
}
std::string plural(std::uint64_t count, const std::string& word) {
  return std::to_string(count) + ' ' + word + (count == 1 ? "" : "s");
}
json::string string_of(std::string_view text) {
  return json::string(text.data(), text.size());
}
std::string_view name_of(View view) {
  return view == View::relayed ? "peers" : "here";
}
std::string ports_text(const Route& route) {
  return route.nat_ports == PortRange{} ? "-" : text(route.nat_ports.from) + '-' + text(route.nat_ports.to);
}

/// 0 for what the reflector does not count.
std::uint64_t count_of(const zmq::OperatorStatus& status, std::string_view name) {
  const auto found =
      std::ranges::find(status.counts, name, [](const auto& count) -> std::string_view { return count.first; });
  return found == status.counts.end() ? 0 : found->second;
}

json::object object_of(const KnownRoute& known) {
  const auto& route = known.route;
  json::object out{{"vni", route.vni.value()},
                   {"prefix", route.destination.to_text()},
                   {"nextHop", route.next_hop.to_text()},
                   {"type", string_of(name(route.type))},
                   {"weight", route.weight},
                   {"mobility", route.mobility}};
  if (route.nat_ports != PortRange{}) out["natPorts"] = {{"from", route.nat_ports.from}, {"to", route.nat_ports.to}};
  if (route.target_vni != Vni()) out["targetVni"] = route.target_vni.value();
  if (!known.node.empty()) out["node"] = known.node;
  out["origin"] = hex_text(static_cast<std::uint64_t>(known.origin));
  out["version"] = known.version;
  out["sequence"] = known.sequence;
  return out;
}

json::object object_of(const NodeStatus& node) {
  return {{"name", node.name},
          {"origin", hex_text(static_cast<std::uint64_t>(node.origin))},
          {"instance", node.instance},
          {"isConnected", node.is_connected},
          {"silentMs", node.silent / std::chrono::milliseconds(1)},
          {"routes", node.routes},
          {"announced", node.announced},
          {"refused", node.refused},
          {"streams", node.streams},
          {"behind", node.behind}};
}

}  // namespace

std::string hex_text(std::uint64_t number) {
  char text[24];
  std::snprintf(text, sizeof text, "0x%016llx", static_cast<unsigned long long>(number));
  return text;
}

std::string announcer_of(const KnownRoute& known) {
  return known.node.empty() ? hex_text(static_cast<std::uint64_t>(known.origin)) : known.node;
}

void print_table(Session& session, const RoutesStatus& status, Detail detail) {
  const auto& reflector = status.reflector;
  const auto count = [&](std::string_view name) { return count_of(reflector, name); };
  Table table({"Reflector", ""});
  table.add({"name", printable(reflector.name)});
  table.add({"program", printable(reflector.program)});
  table.add({"epoch", hex_text(reflector.epoch)});
  table.add({"ready", reflector.is_ready ? "yes" : "no: nodes still have time to announce themselves"});
  table.add({"routes", text(count("routes")) + " of nodes in " + plural(count("vnis"), "VNI") + ", " +
                           text(count("relayed_routes")) + " of peers"});
  std::size_t away = 0, readers = 0;
  std::uint64_t refused = 0;
  const NodeStatus *most_silent = nullptr, *last = nullptr;
  for (const auto& node : status.nodes) {
    refused += node.refused;
    readers += node.streams > 0 ? 1 : 0;
    if (!node.is_connected) {
      ++away;
      continue;
    }
    if (most_silent == nullptr || node.silent > most_silent->silent) most_silent = &node;
    if (node.behind > 0 && (last == nullptr || node.behind > last->behind)) last = &node;
  }
  table.add({"nodes", text(status.nodes.size()) + (away == 0 ? "" : ", " + text(away) + " said they come back")});
  if (most_silent != nullptr)
    table.add({"oldest lease", printable(most_silent->name) + ": heard " + seconds_text(most_silent->silent) +
                                   " ago, dead after " + seconds_text(reflector.lease)});
  table.add({"readers", text(readers) + (last == nullptr ? ", none is behind"
                                                         : ", most behind: " + printable(last->name) + " by " +
                                                               plural(last->behind, "change"))});
  table.add({"gaps", text(count("gaps")) + " in what nodes said, " + text(count("peer_gaps")) +
                         " in what peers said; all are repaired"});
  const auto snapshots = count("snapshots");
  table.add({"snapshots", text(snapshots) + (snapshots == 0 ? ""
                                                            : ", of " + text(count("snapshot_us") / snapshots / 1000) +
                                                                  " ms each on average")});
  table.add({"resyncs", text(count("rereadings")) + " of readers, " + text(count("peer_resyncs")) +
                            " of peers' tables, " + text(count("restarts")) + " of nodes"});
  table.add({"refused", plural(refused, "announcement") + " of present nodes, " + plural(count("refused_vnis"), "VNI") +
                            " that they asked for"});
  table.add({"refused in all", text(count("forbidden")) + " for want of a right, " + text(count("unknown_keys")) +
                                   " unknown keys, " + text(count("exhausted")) + " above a limit, " +
                                   text(count("malformed")) + " malformed, " + text(count("foreign_version")) +
                                   " of another version"});
  table.add(
      {"deaths", text(count("deaths")) + " of nodes, " + plural(count("stalls"), "stall") + " of this reflector"});
  table.print(session.out(), session.terminal());
  if (!reflector.peers.empty()) {
    session.out() << '\n';
    Table peers({"Peer", "Name", "Phase", "Ready", "Epoch", "Reason"});
    for (const auto& [endpoint, peer] : reflector.peers)
      peers.add({endpoint, peer.name.empty() ? "-" : peer.name, std::string(name(peer.phase)),
                 peer.is_ready ? "yes" : "no", peer.epoch == 0 ? "-" : hex_text(peer.epoch),
                 peer.refusal.empty() ? "-" : peer.refusal});
    peers.print(session.out(), session.terminal());
  }
  if (detail == Detail::usual) return;
  session.out() << '\n';
  Table all({"Count", "Value"});
  for (const auto& [name, value] : reflector.counts) all.add({name, text(value)});
  all.print(session.out(), session.terminal());
}

void print_table(Session& session, std::span<const NodeStatus> nodes) {
  Table table({"Node", "State", "Heard", "Routes", "Refused", "Reads", "Behind", "Origin"});
  for (const auto& node : nodes)
    table.add({node.name, node.is_connected ? "connected" : "comes back", seconds_text(node.silent) + " ago",
               text(node.routes), text(node.refused), text(node.streams), text(node.behind),
               hex_text(static_cast<std::uint64_t>(node.origin))});
  table.print(session.out(), session.terminal());
}

void print_table(Session& session, std::span<const VniStatus> vnis) {
  Table table({"VNI", "From", "Routes", "Withdrawals", "Sequence", "Digest", "Read"});
  for (const auto& one : vnis)
    table.add({one.vni.to_text(), std::string(name_of(one.view)), text(one.routes), text(one.tombstones),
               text(one.sequence), hex_text(one.digest), one.is_subscribed ? "yes" : "no"});
  table.print(session.out(), session.terminal());
}

namespace {

std::string where(const ListedRoute& one) {
  return one.is_here && one.is_relayed ? "here, peers"
                                       : std::string(name_of(one.is_here ? View::direct : View::relayed));
}

}  // namespace

void print_table(Session& session, std::span<const ListedRoute> routes, RouteColumns columns) {
  std::vector<std::string> headers{"Prefix", "Next hop", "Type", "Ports", "Target",
                                   "Weight", "Mobility", "Node", "From"};
  if (columns == RouteColumns::with_use) headers.emplace_back("Used");
  Table table(std::move(headers));
  for (const auto& one : routes) {
    const auto& route = one.known.route;
    std::vector<std::string> cells{route.destination.to_text(),
                                   route.next_hop.to_text(),
                                   std::string(name(route.type)),
                                   ports_text(route),
                                   route.target_vni == Vni() ? "-" : route.target_vni.to_text(),
                                   text(route.weight),
                                   text(route.mobility),
                                   announcer_of(one.known),
                                   where(one)};
    if (columns == RouteColumns::with_use) cells.push_back(one.unused.empty() ? "yes" : "no: " + one.unused);
    table.add(std::move(cells));
  }
  table.print(session.out(), session.terminal());
}

std::string to_json(const RoutesStatus& status) {
  const auto& reflector = status.reflector;
  json::object counts;
  for (const auto& [name, value] : reflector.counts) counts[name] = value;
  json::array peers, nodes;
  for (const auto& [endpoint, peer] : reflector.peers) {
    auto& out = peers
                    .emplace_back(json::object{
                        {"endpoint", endpoint}, {"phase", string_of(name(peer.phase))}, {"isReady", peer.is_ready}})
                    .as_object();
    if (!peer.name.empty()) out["name"] = peer.name;
    if (peer.epoch != 0) out["epoch"] = hex_text(peer.epoch);
    if (!peer.refusal.empty()) out["refusal"] = peer.refusal;
  }
  for (const auto& node : status.nodes) nodes.emplace_back(object_of(node));
  return json::serialize(json::object{{"name", reflector.name},
                                      {"program", reflector.program},
                                      {"epoch", hex_text(reflector.epoch)},
                                      {"isReady", reflector.is_ready},
                                      {"heartbeatMs", reflector.heartbeat / std::chrono::milliseconds(1)},
                                      {"leaseMs", reflector.lease / std::chrono::milliseconds(1)},
                                      {"counts", counts},
                                      {"peers", peers},
                                      {"nodes", nodes}});
}

std::string to_json(std::span<const NodeStatus> nodes) {
  json::array out;
  for (const auto& node : nodes) out.emplace_back(object_of(node));
  return json::serialize(out);
}

std::string to_json(std::span<const VniStatus> vnis) {
  json::array out;
  for (const auto& one : vnis)
    out.push_back({{"vni", one.vni.value()},
                   {"from", string_of(name_of(one.view))},
                   {"routes", one.routes},
                   {"withdrawals", one.tombstones},
                   {"sequence", one.sequence},
                   {"digest", hex_text(one.digest)},
                   {"isSubscribed", one.is_subscribed}});
  return json::serialize(out);
}

std::string to_json(std::span<const ListedRoute> routes, RouteColumns columns) {
  json::array out;
  for (const auto& one : routes) {
    auto object = object_of(one.known);
    json::array from;
    if (one.is_here) from.push_back("here");
    if (one.is_relayed) from.push_back("peers");
    object["from"] = std::move(from);
    if (columns == RouteColumns::with_use) {
      object["isUsed"] = one.unused.empty();
      if (!one.unused.empty()) object["reason"] = one.unused;
    }
    out.emplace_back(std::move(object));
  }
  return json::serialize(out);
}

std::string to_json(const KnownRoute& known, View view) {
  auto object = object_of(known);
  object["what"] = known.what == LearnedRoute::What::announced ? "announced" : "withdrawn";
  object["from"] = string_of(name_of(view));
  return json::serialize(object);
}

}  // namespace ironcore::ctl
