// SPDX-License-Identifier: Apache-2.0
// Settings of ironcored: defaults, names, and what fits together.
#include "ironcored/options.hpp"

#include "ironcored/commands.hpp"
#include "program/daemon.hpp"

namespace ironcore::ironcored {
namespace {

Error wrong(const std::string& what) {
  return {ErrorCode::invalid, what};
}

program::Setting count_of(std::string name, std::size_t& target, std::string help) {
  static_assert(sizeof(std::size_t) == sizeof(std::uint64_t));
  return program::count(std::move(name), target, std::move(help));
}

}  // namespace

Options default_options(const program::Environment& environment) {
  Options options;
  options.state_directory = program::default_state_directory(environment) / "ironcored";
  options.serving.listen = {program::default_endpoint(environment)};
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
          count_of("retention-changes", o.retention.history_changes, "changes kept for watches, at most"),
          count_of("retention-bytes", o.retention.history_bytes, "and not more than this much old JSON in memory"),
          duration("retention-age", o.retention.history_age, "and not longer than this"),
          count_of("retention-events", o.retention.events_limit, "Event objects kept, at most"),
          duration("retention-events-age", o.retention.events_age, "and not longer than this"),
          duration("retention-every", o.collect_every, "how often they are looked at"),
          duration("pool-grace", o.health.grace, "a pool that shows no progress for so long is not ready any more"),
          duration("pool-look-every", o.health.look_every, "how often pools are looked at")}};
  add_settings(program.settings, o.serving,
               "ipc:///path (mode 0600) or tcp://address:port (with keys; uses the two ports above too)");
  program.commands = {{.name = "check",
                       .summary = "Read every page and record of the store; it may be in use.",
                       .examples = "ironcored check --state-directory /var/lib/ironcore/ironcored",
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
  IRONCORE_CHECK(server_options(options));  // reads keys and identities
  if (options.retention.history_changes == 0) return wrong("retention-changes: watches need at least 1");
  if (options.retention.history_age < std::chrono::seconds(1) || options.retention.events_age < std::chrono::seconds(1))
    return wrong("retention-age and retention-events-age: at least 1s, or nobody sees a change");
  // What is looked at more often than this only costs.
  if (options.collect_every < std::chrono::milliseconds(100)) return wrong("retention-every: at least 100ms");
  if (options.health.look_every < std::chrono::milliseconds(100)) return wrong("pool-look-every: at least 100ms");
  if (options.health.grace < options.health.look_every)
    return wrong("pool-grace: must not be shorter than pool-look-every");
  return {};
}

Result<store::zmq::ServerOptions> server_options(const Options& options) {
  IRONCORE_TRY(auto server, program::server_options<store::zmq::ServerOptions>(
                                options.serving, store::zmq::load_identities, &store::zmq::TcpOptions::identities));
  server.program = "ironcored " + std::string(program::version());
  return server;
}

}  // namespace ironcore::ironcored
