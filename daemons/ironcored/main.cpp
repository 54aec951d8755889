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

Result<void> serve(const ironcored::Options& options, program::Daemon& daemon) {
  IRONCORE_CHECK(program::make_directory(options.state_directory, 0700, ironcored::Options::database_name));
  IRONCORE_CHECK(program::make_directories(options.serving));
  IRONCORE_TRY(auto server_options, ironcored::server_options(options));
  IRONCORE_TRY(const auto store, store::sqlite::open(options.database(), daemon.clock, daemon.log, options.retention));
  IRONCORE_TRY(const auto context, store::zmq::Context::create());
  IRONCORE_TRY(const auto server,
               store::zmq::Server::create(*context, *store, std::move(server_options), daemon.clock, daemon.log));
  const auto reload =
      program::reload_identities(daemon, options.serving, store::zmq::load_identities,
                                 [&](auto identities) { server->replace_identities(std::move(identities)); });

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
  return program::run_together(
      daemon.signals,
      {{"server", [&](std::stop_token stop) { return server->run(std::move(stop)); }},
       program::endless("control plane", [&](std::stop_token stop) { control_plane.run(std::move(stop)); }),
       {"retention", collect}},
      [&] { return program::tell_ready(daemon, *server); });
}

}  // namespace

int main(int argc, char** argv) {
  const auto environment = program::Environment::read();
  auto options = ironcored::default_options(environment);
  return program::run_daemon(
      ironcored::grammar(options), argc, argv, environment, [&] { return ironcored::check(options); },
      [&](program::Daemon& daemon) { return serve(options, daemon); });
}
