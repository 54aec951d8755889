// SPDX-License-Identifier: Apache-2.0
// Settings of ironcored: defaults, names, and what fits together.
#include "ironcored/options.hpp"

#include <charconv>

#include "ironcored/commands.hpp"

namespace ironcore::ironcored {
namespace {

constexpr std::string_view ipc_scheme = "ipc://";
constexpr std::string_view tcp_scheme = "tcp://";

Error wrong_endpoint(const std::string& endpoint) {
  return {ErrorCode::invalid, "listen: expected ipc:///path or tcp://address:port, not \"" + endpoint + '"'};
}

struct TcpAddress {
  std::string address;
  std::uint16_t port = 0;
};

Result<TcpAddress> parse_tcp(const std::string& endpoint) {
  const std::string rest = endpoint.substr(tcp_scheme.size());
  const auto colon = rest.rfind(':');
  if (colon == std::string::npos || colon == 0) return wrong_endpoint(endpoint);
  TcpAddress parsed{.address = rest.substr(0, colon)};
  const std::string port = rest.substr(colon + 1);
  const auto [end, error] = std::from_chars(port.data(), port.data() + port.size(), parsed.port);
  if (error != std::errc() || end != port.data() + port.size()) return wrong_endpoint(endpoint);
  return parsed;
}

/// The one endpoint of a scheme; `invalid` if there are two.
Result<std::optional<std::string>> the_endpoint(const Options& options, std::string_view scheme) {
  std::optional<std::string> found;
  for (const std::string& endpoint : options.listen) {
    if (!endpoint.starts_with(scheme)) continue;
    if (found)
      return Error(ErrorCode::invalid, "listen: two endpoints of " + std::string(scheme) + " are one too many");
    found = endpoint;
  }
  return found;
}

program::Setting count_of(std::string name, std::size_t& target, std::string help) {
  static_assert(sizeof(std::size_t) == sizeof(std::uint64_t));
  return program::count(std::move(name), target, std::move(help));
}

}  // namespace

Options default_options(const program::Environment& environment) {
  Options options;
  options.state_directory = program::default_state_directory(environment);
  options.listen = {program::default_endpoint(environment)};
  return options;
}

program::Command grammar(Options& o) {
  using namespace program;
  Command program{
      .name = "ironcored",
      .summary = "The control plane: keeps the objects, serves them, schedules machines.",
      .examples =
          "ironcored\n"
          "ironcored --state-directory ./state --listen ipc:///tmp/ironcore/api.sock\n"
          "ironcored --listen tcp://10.0.0.1:7400 --key-file server.key --identities-file identities.json\n"
          "ironcored --config /etc/ironcore/ironcored.yaml --check-config",
      .settings = {
          path("state-directory", o.state_directory, "where the objects are kept; made with mode 0700"),
          texts("listen", o.listen, "ENDPOINT",
                "ipc:///path (mode 0600) or tcp://address:port (with keys; uses the two ports above too)"),
          path("key-file", o.key_file, "the server's key pair, for tcp; `ironcored keygen` makes one"),
          path("identities-file", o.identities_file, "whose keys may do what, for tcp; read again on SIGHUP"),
          count_of("retention-changes", o.retention.history_changes, "changes kept for watches, at most"),
          count_of("retention-bytes", o.retention.history_bytes, "and not more than this much old JSON in memory"),
          duration("retention-age", o.retention.history_age, "and not longer than this"),
          count_of("retention-events", o.retention.events_limit, "Event objects kept, at most"),
          duration("retention-events-age", o.retention.events_age, "and not longer than this"),
          duration("retention-every", o.collect_every, "how often they are looked at"),
          duration("pool-grace", o.health.grace, "a pool that shows no progress for so long is not ready any more"),
          duration("pool-look-every", o.health.look_every, "how often pools are looked at")}};
  program.commands = {{.name = "check",
                       .summary = "Read every page and record of the store; it may be in use.",
                       .examples = "ironcored check --state-directory /var/lib/ironcore",
                       .run = [&o] { return run_check(o); }},
                      {.name = "backup",
                       .summary = "Copy the store, which may be in use, to a new file.",
                       .examples = "ironcored backup /backup/ironcore-monday.db",
                       .arguments = {{.name = "TARGET", .help = "the file to make", .target = &o.words}},
                       .run = [&o] { return run_backup(o); }},
                      {.name = "restore",
                       .summary = "Replace the store, which must not be in use, by a backup.",
                       .examples = "ironcored restore /backup/ironcore-monday.db",
                       .arguments = {{.name = "BACKUP", .help = "what `backup` made", .target = &o.words}},
                       .run = [&o] { return run_restore(o); }},
                      {.name = "keygen",
                       .summary = "Make a key pair for tcp and print its public key.",
                       .examples = "ironcored keygen server.key",
                       .arguments = {{.name = "FILE", .help = "the file to make, mode 0600", .target = &o.words}},
                       .run = [&o] { return run_keygen(o); }}};
  return program;
}

Result<void> check(const Options& options) {
  if (options.listen.empty()) return Error(ErrorCode::invalid, "listen: at least one endpoint is needed");
  for (const std::string& endpoint : options.listen) {
    if (!endpoint.starts_with(ipc_scheme) && !endpoint.starts_with(tcp_scheme)) return wrong_endpoint(endpoint);
  }
  IRONCORE_CHECK(the_endpoint(options, ipc_scheme));
  IRONCORE_TRY(const auto tcp, the_endpoint(options, tcp_scheme));
  const bool has_keys = !options.key_file.empty(), has_identities = !options.identities_file.empty();
  if (tcp) {
    IRONCORE_CHECK(parse_tcp(*tcp));
    if (!has_keys)
      return Error(ErrorCode::invalid,
                   "key-file: tcp is offered only with keys; make them with `ironcored keygen FILE`");
    if (!has_identities)
      return Error(ErrorCode::invalid, "identities-file: tcp is offered only to known keys; say which in a file");
  } else if (has_keys || has_identities) {
    return Error(ErrorCode::invalid, "key-file and identities-file are for tcp; add --listen tcp://address:port");
  }
  if (options.retention.history_changes == 0)
    return Error(ErrorCode::invalid, "retention-changes: watches need at least 1");
  if (options.collect_every <= Duration::zero())
    return Error(ErrorCode::invalid, "retention-every: must be longer than 0");
  if (options.health.look_every <= Duration::zero() || options.health.grace < options.health.look_every) {
    return Error(ErrorCode::invalid,
                 "pool-grace: must not be shorter than pool-look-every, which must be longer than 0");
  }
  return {};
}

Result<store::zmq::ServerOptions> server_options(const Options& options) {
  store::zmq::ServerOptions server{.program = "ironcored"};
  IRONCORE_TRY(const auto ipc, the_endpoint(options, ipc_scheme));
  if (ipc) server.path = ipc->substr(ipc_scheme.size());
  IRONCORE_TRY(const auto tcp, the_endpoint(options, tcp_scheme));
  if (tcp) {
    IRONCORE_TRY(auto address, parse_tcp(*tcp));
    IRONCORE_TRY(auto keys, store::zmq::load_key_pair(options.key_file));
    IRONCORE_TRY(auto identities, store::zmq::Identities::load(options.identities_file));
    server.tcp = store::zmq::TcpOptions{.address = std::move(address.address),
                                        .port = address.port,
                                        .keys = std::move(keys),
                                        .identities = std::move(identities)};
  }
  return server;
}

}  // namespace ironcore::ironcored
