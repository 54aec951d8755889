// SPDX-License-Identifier: Apache-2.0
// ironcored: the store on SQLite, served over ZeroMQ, with the scheduler and the controllers beside it.
#include "ironcore/control/control_plane.hpp"
#include "ironcore/store/sqlite.hpp"
#include "ironcore/store/zmq_server.hpp"
#include "ironcored/options.hpp"
#include "program/daemon.hpp"
#include "program/together.hpp"

namespace {

using namespace ironcore;

/// Reads the identities again when it is told to; a file that is wrong changes nothing.
void reload(const ironcored::Options& options, store::zmq::Server& server, Log& log) {
  if (options.identities_file.empty()) return;
  auto identities = store::zmq::load_identities(options.identities_file);
  if (!identities) return log.error("identities not reloaded", {{"error", identities.error().message()}});
  const std::string count = std::to_string(identities->size());
  server.replace_identities(std::move(*identities));
  log.info("identities reloaded", {{"identities", count}});
}

Result<void> serve(const ironcored::Options& options, program::Daemon& daemon) {
  IRONCORE_CHECK(program::make_directory(options.state_directory, 0700, ironcored::Options::database_name));
  for (const auto& endpoint : options.listen) IRONCORE_CHECK(program::make_endpoint_directory(endpoint));
  IRONCORE_TRY(auto server_options, ironcored::server_options(options));
  IRONCORE_TRY(const auto store, store::sqlite::open(options.database(), daemon.clock, daemon.log, options.retention));
  IRONCORE_TRY(const auto context, store::zmq::Context::create());
  IRONCORE_TRY(const auto server,
               store::zmq::Server::create(*context, *store, std::move(server_options), daemon.clock, daemon.log));
  daemon.signals.on_hangup([&] { reload(options, *server, daemon.log); });

  control::ControlPlaneOptions control_options{.health = options.health};
  // The store belongs to one process at a time, so the one that was killed is gone: its lease is ours without
  // waiting.
  control_options.holder = "ironcored";
  control::ControlPlane control_plane(*store, control_options, daemon.clock, daemon.log);

  const auto collect = [&](std::stop_token stop) -> Result<void> {
    while (sleep_for(daemon.clock, options.collect_every, stop)) {
      if (auto done = store->collect(); !done)
        daemon.log.warning("old history not removed", {{"error", done.error().message()}});
    }
    return {};
  };
  const auto control = [&](std::stop_token stop) -> Result<void> {
    control_plane.run(std::move(stop));
    return {};
  };
  const auto started = [&]() -> Result<void> {
    for (const auto& endpoint : {server->ipc_endpoint(), server->tcp_endpoint()}) {
      if (!endpoint.empty()) daemon.log.info("serving", {{"endpoint", endpoint}});
    }
    return daemon.readiness.ready();
  };
  auto done = program::run_together(daemon.signals,
                                    {{"server", [&](std::stop_token stop) { return server->run(std::move(stop)); }},
                                     {"control plane", control},
                                     {"retention", collect}},
                                    started);
  daemon.signals.on_hangup({});
  return done;
}

}  // namespace

int main(int argc, char** argv) {
  const auto environment = program::Environment::read();
  auto options = ironcored::default_options(environment);
  return program::run_daemon(
      ironcored::grammar(options), argc, argv, environment, [&] { return ironcored::check(options); },
      [&](program::Daemon& daemon) { return serve(options, daemon); });
}
