// SPDX-License-Identifier: Apache-2.0
// Settings of metalbondd: defaults, names, and what fits together.
#include "metalbondd/options.hpp"

#include <algorithm>
#include <filesystem>
#include <optional>
#include <set>
#include <string_view>
#include <system_error>

#include "ironcore/base/names.hpp"
#include "ironcore/base/text.hpp"
#include "program/daemon.hpp"
#include "program/endpoint.hpp"

namespace ironcore::metalbondd {
namespace {

/// Of the socket of sessions; two more lie beside it.
constexpr std::size_t longest_path = 91;
constexpr std::size_t public_key_bytes = 40;

Error wrong(const std::string& what) {
  return {ErrorCode::invalid, what};
}

struct Peer {
  std::string endpoint;
  std::string key;  ///< empty = none
};

Result<Peer> parse_peer(const std::string& text) {
  constexpr std::string_view key = ",key=";
  const auto comma = text.find(',');
  Peer peer{.endpoint = text.substr(0, comma), .key = {}};
  IRONCORE_TRY(const auto endpoint, program::parse_endpoint(peer.endpoint));
  if (comma != std::string::npos) {
    if (text.compare(comma, key.size(), key) != 0 || text.size() == comma + key.size())
      return wrong("expected ENDPOINT[,key=PUBLIC-KEY], not " + in_quotes(text));
    peer.key = text.substr(comma + key.size());
  }
  if (!endpoint.tcp) {
    if (!peer.key.empty()) return wrong(peer.endpoint + " takes no key: the mode of the socket decides");
    return peer;
  }
  if (endpoint.tcp->port == 0) return wrong(peer.endpoint + ": which port? metalbondd uses it and the two above it");
  if (peer.key.size() != public_key_bytes)
    return wrong(peer.endpoint + " needs the reflector's public key, 40 characters: " + peer.endpoint +
                 ",key=PUBLIC-KEY (`ironcored keygen` prints it)");
  return peer;
}

bool has_tcp_peers(const Options& options) {
  return std::ranges::any_of(options.peer_texts, [](const auto& text) { return text.starts_with("tcp://"); });
}

/// The key file may be there for the peers alone.
program::Serving serving_of(const Options& options) {
  auto serving = options.serving;
  const bool has_tcp =
      std::ranges::any_of(serving.listen, [](const auto& endpoint) { return endpoint.starts_with("tcp://"); });
  if (!has_tcp && has_tcp_peers(options)) serving.key_file.clear();
  return serving;
}

/// Whether the two are written differently at most.
bool is_same(const std::string& one, const std::string& other) {
  constexpr std::string_view ipc = "ipc://";
  if (one == other || !one.starts_with(ipc) || !other.starts_with(ipc)) return one == other;
  std::error_code failed;
  const auto path = [&](const std::string& endpoint) {
    return std::filesystem::weakly_canonical(endpoint.substr(ipc.size()), failed);
  };
  return path(one) == path(other) && !failed;
}

Result<void> check_peers(const Options& options) {
  std::set<std::string> seen;
  for (const auto& text : options.peer_texts) {
    IRONCORE_TRY(const auto peer, within(parse_peer(text), "peer"));
    if (std::ranges::any_of(options.serving.listen, [&](const auto& own) { return is_same(own, peer.endpoint); }))
      return wrong("peer: " + peer.endpoint + " is where this reflector itself listens");
    if (!seen.insert(peer.endpoint).second) return wrong("peer: " + peer.endpoint + " is named twice");
  }
  return {};
}

Result<void> check_numbers(const routing::ReflectorOptions& reflector) {
  if (const auto reason = check_dns_subdomain(reflector.name))
    return wrong("name: " + in_quotes(reflector.name) + ' ' + *reason);
  IRONCORE_CHECK(routing::check(reflector));
  if (reflector.restart_time < reflector.lease)
    return wrong("restart-time: " + to_text(reflector.restart_time) + " is less than the lease of " +
                 to_text(reflector.lease));
  if (reflector.deferral > std::chrono::hours(24)) return wrong("deferral: 24h at most");
  for (const auto& [name, value] : {std::pair("max-nodes", reflector.max_nodes),
                                    {"max-routes", reflector.max_routes},
                                    {"max-node-routes", reflector.max_node_routes},
                                    {"max-topics", reflector.max_topics}}) {
    if (value == 0) return wrong(std::string(name) + ": at least 1");
  }
  std::set<std::string_view> seen;
  for (const auto& name : reflector.expected)
    if (!seen.insert(name).second) return wrong("expected: " + in_quotes(name) + " is named twice");
  if (reflector.expected.size() > reflector.max_nodes) return wrong("expected: more nodes than max-nodes lets in");
  return {};
}

program::Setting count_of(std::string name, std::size_t& target, std::string help) {
  static_assert(sizeof(std::size_t) == sizeof(std::uint64_t));
  return program::count(std::move(name), target, std::move(help));
}

}  // namespace

Options default_options(const program::Environment& environment) {
  Options options;
  options.serving.listen = {program::default_reflector_endpoint(environment)};
  options.reflector.name = program::host_name();
  return options;
}

program::Command grammar(Options& o) {
  using namespace program;
  auto& r = o.reflector;
  Command program{
      .name = "metalbondd",
      .summary = "The route reflector: hears where addresses live, and tells it to the hosts that ask.",
      .examples =
          "metalbondd\n"
          "metalbondd --name reflector-1 --listen tcp://10.0.0.1:7420 --key-file reflector-1.key --identities-file "
          "identities.json\n"
          "metalbondd --name site-a --listen tcp://10.0.0.1:7420 --key-file site-a.key --identities-file "
          "identities.json --peer 'tcp://10.1.0.1:7420,key=PUBLIC-KEY'\n"
          "metalbondd --config /etc/ironcore/metalbondd.yaml --check-config",
      .settings = {
          text("name", r.name, "NAME", "of this reflector, unlike those of all others; this host's when not given"),
          texts("peer", o.peer_texts, "ENDPOINT[,key=PUBLIC-KEY]",
                "a reflector of another site, whose routes are told here; ours are told there if it names us"),
          duration("heartbeat", r.heartbeat, "how often nodes and reflectors say something"),
          duration("lease", r.lease, "a node that is silent for longer is dead; two heartbeats at least"),
          duration("restart-time", r.restart_time, "a node that said it comes back has this long"),
          duration("deferral", r.deferral,
                   "after a start nobody takes silence for absence until then, or until all expected are there"),
          texts("expected", r.expected, "NODE", "a node to wait for after a start"),
          duration("stale-time", r.stale_time, "how long routes of a lost peer are kept; 0s is for ever"),
          count_of("max-nodes", r.max_nodes, "that are served"),
          count_of("max-routes", r.max_routes, "of all nodes together; 160 bytes each, about"),
          count_of("max-node-routes", r.max_node_routes, "of one node"),
          count_of("max-topics", r.max_topics, "VNIs that are subscribed; changes of others are not published"),
          text("metrics", o.metrics, "ADDRESS:PORT", "where Prometheus fetches counters; nowhere when not given")}};
  add_settings(program.settings, o.serving,
               "ipc:///path (mode 0600) or tcp://address:port (with keys; uses the two ports above too)");
  return program;
}

Result<routing::zmq::ServerOptions> server_options(const Options& options) {
  IRONCORE_TRY(auto server,
               program::server_options<routing::zmq::ServerOptions>(serving_of(options), routing::zmq::KeyRights::load,
                                                                    &routing::zmq::TcpOptions::identities));
  server.program = "metalbondd " + std::string(program::version());
  return server;
}

Result<std::vector<routing::zmq::ReflectorEndpoint>> peers(const Options& options) {
  std::vector<routing::zmq::ReflectorEndpoint> endpoints;
  std::optional<wire::KeyPair> own;
  if (has_tcp_peers(options)) {
    if (options.serving.key_file.empty())
      return wrong("key-file: peers over tcp know this reflector by its key; make one with `ironcored keygen FILE`");
    IRONCORE_TRY(own, within(wire::load_key_pair(options.serving.key_file), "key-file"));
  }
  for (const auto& text : options.peer_texts) {
    IRONCORE_TRY(auto peer, within(parse_peer(text), "peer"));
    if (own && peer.key == own->public_key)
      return wrong("peer: the key of " + peer.endpoint +
                   " is this reflector's own: give each one a key of its own, and leave out the one that is itself");
    auto& endpoint = endpoints.emplace_back();
    endpoint.endpoint = std::move(peer.endpoint);
    if (!peer.key.empty()) endpoint.keys = wire::ClientKeys{*own, std::move(peer.key)};
  }
  return endpoints;
}

Result<void> check(const Options& options) {
  IRONCORE_CHECK(check_numbers(options.reflector));
  IRONCORE_CHECK(check_peers(options));
  IRONCORE_TRY(const auto listen, program::check_serving(serving_of(options)));
  if (listen.path.size() > longest_path)
    return wrong("listen: the path of a reflector's socket takes 91 bytes at most, because two more lie beside it");
  if (!options.metrics.empty()) IRONCORE_CHECK(within(program::parse_tcp_address(options.metrics), "metrics"));
  IRONCORE_CHECK(peers(options));           // reads our key
  IRONCORE_CHECK(server_options(options));  // and the identities
  return {};
}

}  // namespace ironcore::metalbondd
