// SPDX-License-Identifier: Apache-2.0
// Words to questions, and answers to text.
#include "ironcorectl/routes.hpp"

#include <algorithm>
#include <map>
#include <ostream>
#include <span>
#include <tuple>
#include <utility>

#include "ironcore/api/yaml.hpp"
#include "ironcore/base/names.hpp"
#include "ironcore/base/text.hpp"
#include "ironcorectl/route_reading.hpp"
#include "ironcorectl/routes_tables.hpp"
#include "ironcorectl/table.hpp"

namespace ironcore::ctl {

using namespace routing;

namespace {

/// How often a reading that something disturbs is begun again.
constexpr int most_readings = 5;

Result<void> print_json(Session& session, const std::string& json, OutputFormat format) {
  IRONCORE_TRY(const auto text, format == OutputFormat::yaml ? api::to_yaml(json) : api::to_indented_json(json));
  session.out() << text;
  return {};
}
bool is_json(OutputFormat format) {
  return format == OutputFormat::json || format == OutputFormat::yaml;
}

bool is_enough(std::uint64_t limit, std::size_t count) {
  return limit != 0 && count >= limit;
}

Result<std::vector<NodeStatus>> all_nodes(zmq::OperatorClient& client, std::uint64_t limit = 0) {
  std::vector<NodeStatus> nodes;
  while (true) {
    IRONCORE_TRY(auto page, client.nodes(nodes.empty() ? std::string() : nodes.back().name));
    std::ranges::move(page.nodes, std::back_inserter(nodes));
    if (!page.has_more || page.nodes.empty() || is_enough(limit, nodes.size())) break;
  }
  if (is_enough(limit, nodes.size())) nodes.resize(limit);
  return nodes;
}

Result<std::vector<VniStatus>> all_vnis(zmq::OperatorClient& client, std::uint64_t limit) {
  std::vector<VniStatus> vnis;
  Vni from;
  while (true) {
    IRONCORE_TRY(auto page, client.vnis(from));
    std::ranges::move(page.vnis, std::back_inserter(vnis));
    if (!page.has_more || page.vnis.empty() || is_enough(limit, vnis.size())) break;
    IRONCORE_TRY(from, Vni::make(vnis.back().vni.value() + 1));
  }
  if (is_enough(limit, vnis.size())) vnis.resize(limit);
  return vnis;
}

Result<void> status(Session& session, const RoutesCommand& command) {
  IRONCORE_TRY(auto* const client, session.reflector());
  RoutesStatus status;
  IRONCORE_TRY(status.reflector, client->status());
  IRONCORE_TRY(status.nodes, all_nodes(*client));
  if (is_json(command.format)) return print_json(session, to_json(status), command.format);
  print_table(session, status, command.format == OutputFormat::wide ? Detail::everything : Detail::usual);
  return {};
}

Result<void> nodes(Session& session, const RoutesCommand& command) {
  IRONCORE_TRY(auto* const client, session.reflector());
  IRONCORE_TRY(const auto nodes, all_nodes(*client, command.limit));
  if (is_json(command.format)) return print_json(session, to_json(nodes), command.format);
  if (command.format == OutputFormat::name) {
    for (const auto& node : nodes) session.out() << printable(node.name) << '\n';
    return {};
  }
  if (nodes.empty())
    session.err() << "there are no nodes\n";
  else
    print_table(session, nodes);
  return {};
}

Result<void> vnis(Session& session, const RoutesCommand& command) {
  IRONCORE_TRY(auto* const client, session.reflector());
  IRONCORE_TRY(const auto vnis, all_vnis(*client, command.limit));
  if (is_json(command.format)) return print_json(session, to_json(vnis), command.format);
  if (command.format == OutputFormat::name) {
    Vni last;
    for (const auto& one : vnis) {
      if (&one == vnis.data() || one.vni != last) session.out() << one.vni.to_text() << '\n';
      last = one.vni;
    }
    return {};
  }
  if (vnis.empty())
    session.err() << "there are no VNIs with routes\n";
  else
    print_table(session, vnis);
  return {};
}

std::vector<RouteReading> readings(const RoutesQuery& query, RoutesFrom from) {
  std::vector<RouteReading> readings;
  auto one = query;
  for (const auto view : {View::direct, View::relayed}) {
    if (from == (view == View::direct ? RoutesFrom::peers : RoutesFrom::here)) continue;
    one.view = view;
    readings.emplace_back(one);
  }
  return readings;
}

/// All routes that a query means, each once: the same route of the same node may come from several sides.
Result<std::vector<ListedRoute>> list(zmq::OperatorClient& client, const RoutesQuery& query, RoutesFrom from) {
  std::map<RouteReading::Key, ListedRoute> found;
  for (auto& reading : readings(query, from)) {
    auto state = RouteReading::Reading::restarted;
    for (int i = 0; state == RouteReading::Reading::restarted; ++i) {
      if (i == most_readings)
        return Error(ErrorCode::unavailable, "the reflector is started anew again and again: see its log");
      reading.begin_anew();
      IRONCORE_TRY(state, reading.read(client, [](const KnownRoute&) {}));
    }
    const bool is_here = reading.view() == View::direct;
    for (const auto& [key, known] : reading.routes()) {
      auto& listed = found[key];
      if (listed.known.sequence == 0 || known.version > listed.known.version) {
        auto node = std::move(listed.known.node);
        listed.known = known;
        if (listed.known.node.empty()) listed.known.node = std::move(node);
      }
      (is_here ? listed.is_here : listed.is_relayed) = true;
    }
  }
  std::vector<ListedRoute> routes;
  routes.reserve(found.size());
  for (auto& [key, route] : found) routes.push_back(std::move(route));
  return routes;
}

Result<void> print_routes(Session& session, std::span<const ListedRoute> routes, RouteColumns columns,
                          OutputFormat format) {
  if (is_json(format)) return print_json(session, to_json(routes, columns), format);
  if (format == OutputFormat::name) {
    for (const auto& one : routes) session.out() << to_text(one.known.route) << '\n';
    return {};
  }
  if (!routes.empty()) print_table(session, routes, columns);
  return {};
}

Result<RoutesQuery> query_of(const RoutesCommand& command) {
  RoutesQuery query;
  IRONCORE_TRY(query.vni, within(Vni::parse(command.words.front()), "VNI"));
  if (!command.inside.empty()) {
    query.match = RoutesQuery::Match::inside;
    IRONCORE_TRY(query.prefix, within(Prefix::parse(command.inside), "--inside"));
  }
  return query;
}

bool is_of_node(const KnownRoute& known, const std::string& node) {
  return node.empty() || announcer_of(known) == node || origin_id(node) == known.origin;
}

Result<void> dump(Session& session, const RoutesCommand& command) {
  if (command.words.size() != 1) return Error(ErrorCode::invalid, "dump takes a VNI: `routes dump 100`");
  IRONCORE_TRY(const auto query, query_of(command));
  IRONCORE_TRY(auto* const client, session.reflector());
  IRONCORE_TRY(auto routes, list(*client, query, command.from));
  std::erase_if(routes, [&](const ListedRoute& one) { return !is_of_node(one.known, command.node); });
  std::ranges::sort(routes, {}, [](const ListedRoute& one) {
    const auto& route = one.known.route;
    return std::tuple(route.destination, route.type, route.nat_ports, route.next_hop, one.known.origin);
  });
  const auto count = routes.size();
  if (is_enough(command.limit, count)) routes.resize(command.limit);
  IRONCORE_CHECK(print_routes(session, routes, RouteColumns::plain, command.format));
  if (count == 0 && !is_json(command.format))
    session.err() << "there are no such routes in VNI " << query.vni.to_text() << '\n';
  if (count > routes.size()) session.err() << "… and " << count - routes.size() << " more: --limit 0 shows all\n";
  return {};
}

/// Those with the longest prefix of their type are used, and of several for one prefix those with the highest mobility.
void judge(std::vector<ListedRoute>& routes) {
  const auto group = [](const Route& route) { return std::tuple(route.destination, route.type, route.nat_ports); };
  std::map<RouteType, const ListedRoute*> longest;
  std::map<std::tuple<Prefix, RouteType, PortRange>, const ListedRoute*> highest;
  for (const auto& one : routes) {
    const auto& route = one.known.route;
    auto& longer = longest[route.type];
    if (longer == nullptr || route.destination.length() > longer->known.route.destination.length()) longer = &one;
    auto& higher = highest[group(route)];
    if (higher == nullptr || route.mobility > higher->known.route.mobility) higher = &one;
  }
  for (auto& one : routes) {
    const auto& route = one.known.route;
    const auto& longer = longest.at(route.type)->known.route.destination;
    const auto& higher = *highest.at(group(route));
    if (longer.length() > route.destination.length()) {
      one.unused = longer.to_text() + " is longer";
    } else if (higher.known.route.mobility > route.mobility) {
      one.unused = announcer_of(higher.known) + " announces mobility " + std::to_string(higher.known.route.mobility);
    }
  }
}

Result<void> trace(Session& session, const RoutesCommand& command) {
  if (command.words.size() != 2)
    return Error(ErrorCode::invalid, "trace takes a VNI and an address or a prefix: `routes trace 100 10.0.0.1`");
  const auto& what = command.words[1];
  RoutesQuery query{.match = RoutesQuery::Match::covering};
  IRONCORE_TRY(query.vni, within(Vni::parse(command.words.front()), "VNI"));
  if (what.find('/') != std::string::npos) {
    IRONCORE_TRY(query.prefix, Prefix::parse(what));
  } else {
    IRONCORE_TRY(const auto address, IpAddress::parse(what));
    query.prefix = Prefix::host(address);
  }
  IRONCORE_TRY(auto* const client, session.reflector());
  IRONCORE_TRY(auto routes, list(*client, query, command.from));
  std::ranges::sort(routes, {}, [](const ListedRoute& one) {
    const auto& route = one.known.route;
    return std::tuple(-static_cast<int>(route.destination.length()), route.type, route.nat_ports,
                      -static_cast<std::int64_t>(route.mobility), route.next_hop, one.known.origin);
  });
  judge(routes);
  IRONCORE_CHECK(print_routes(session, routes, RouteColumns::with_use, command.format));
  if (routes.empty() && !is_json(command.format))
    session.err() << "no route of VNI " << query.vni.to_text() << " covers " << printable(what) << '\n';
  return {};
}

class Watcher {
 public:
  Watcher(Session& session, zmq::OperatorClient& client, const RoutesCommand& command)
      : session_(session), client_(client), command_(command) {}

  Result<void> run(const RoutesQuery& query) {
    auto& clock = session_.clock();
    const auto deadline = command_.timeout == Duration(0) ? Instant::max() : clock.now() + command_.timeout;
    auto readings = ctl::readings(query, command_.from);
    for (auto& reading : readings) IRONCORE_CHECK(reading.read(client_, [](const KnownRoute&) {}));
    session_.err() << "watching VNI " << query.vni.to_text() << std::endl;
    while (true) {
      const auto pause = std::min<Duration>(command_.every, deadline - clock.now());
      if (!sleep_for(clock, pause, session_.stop())) return {};
      IRONCORE_CHECK(look(readings));
      if (is_enough()) return {};
      // Whoever stopped reading has seen enough.
      if (const auto flushed = session_.flush(); !flushed) {
        if (flushed.error().code() == ErrorCode::cancelled) return {};
        return flushed;
      }
      if (clock.now() >= deadline) break;
    }
    if (command_.count == 0) return {};
    return Error(ErrorCode::timeout, std::to_string(lines_) + " of " + std::to_string(command_.count) +
                                         " lines came in " + ironcore::to_text(command_.timeout));
  }

 private:
  bool is_enough() const { return ctl::is_enough(command_.count, lines_); }

  Result<void> look(std::vector<RouteReading>& readings) {
    if (is_restarted_) {
      // What it does not know yet is not withdrawn.
      IRONCORE_TRY(const auto status, client_.status());
      if (!status.is_ready) return {};
      is_restarted_ = false;
      for (auto& reading : readings) reading.begin_anew();
    }
    for (auto& reading : readings) {
      IRONCORE_TRY(const auto state,
                   reading.read(client_, [&](const KnownRoute& known) { print(known, reading.view()); }));
      if (state == RouteReading::Reading::restarted) {
        is_restarted_ = true;
        warn(
            "the reflector was started anew: changes are shown again when it is ready, what came and went meanwhile is "
            "missed");
        return {};
      }
      if (state == RouteReading::Reading::forgotten)
        warn("routes changed faster than they were read: what came and went meanwhile is missed");
    }
    return {};
  }

  void warn(const char* what) { session_.err() << "warning: " << what << std::endl; }

  void print(const KnownRoute& known, View view) {
    if (is_enough() || !is_of_node(known, command_.node)) return;
    ++lines_;
    auto& out = session_.out();
    if (command_.format == OutputFormat::json) {
      out << to_json(known, view) << '\n';
      return;
    }
    out << (known.what == LearnedRoute::What::announced ? "announce  " : "withdraw  ") << to_text(known.route) << "  "
        << printable(announcer_of(known)) << (view == View::relayed ? " (of peers)" : "") << '\n';
  }

  Session& session_;
  zmq::OperatorClient& client_;
  const RoutesCommand& command_;
  bool is_restarted_ = false;
  std::uint64_t lines_ = 0;
};

Result<void> watch(Session& session, const RoutesCommand& command) {
  if (command.format != OutputFormat::table && command.format != OutputFormat::json)
    return Error(ErrorCode::invalid, "watch prints lines: -o table or -o json");
  if (command.every < std::chrono::milliseconds(100)) return Error(ErrorCode::invalid, "--every: at least 100ms");
  if (command.words.size() != 1) return Error(ErrorCode::invalid, "watch takes a VNI: `routes watch 100`");
  IRONCORE_TRY(const auto query, query_of(command));
  IRONCORE_TRY(auto* const client, session.reflector());
  return Watcher(session, *client, command).run(query);
}

}  // namespace

std::vector<std::string> routes_verbs() {
  return {"status", "nodes", "vnis", "dump", "trace", "watch"};
}

Result<void> routes(Session& session, const RoutesCommand& command) {
  const auto& verb = command.verb.front();
  if (verb == "dump") return dump(session, command);
  if (verb == "trace") return trace(session, command);
  if (verb == "watch") return watch(session, command);
  if (verb != "status" && verb != "nodes" && verb != "vnis") {
    const auto verbs = routes_verbs();
    return Error(ErrorCode::invalid,
                 "routes cannot " + in_quotes(verb) + did_you_mean(verb, std::span<const std::string>(verbs)));
  }
  if (!command.words.empty())
    return Error(ErrorCode::invalid, "one argument too many: " + in_quotes(command.words.front()));
  if (verb == "nodes") return nodes(session, command);
  if (verb == "vnis") return vnis(session, command);
  return status(session, command);
}

}  // namespace ironcore::ctl
