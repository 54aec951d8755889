// SPDX-License-Identifier: Apache-2.0
// metalbondd: a reflector, where nodes and operators reach it, and who may do what there.
#include "ironcore/routing/prometheus.hpp"
#include "ironcore/routing/zmq.hpp"
#include "metalbondd/options.hpp"
#include "program/daemon.hpp"
#include "program/together.hpp"

namespace {

using namespace ironcore;

routing::ReflectorCount refused_connections(const program::DescriptorGuard& descriptors) {
  return {.name = "refused_connections",
          .help = "Connections that were closed because descriptors were few.",
          .kind = routing::ReflectorCount::Kind::counter,
          .value = descriptors.refused()};
}

Result<void> serve(const metalbondd::Options& options, program::Daemon& daemon) {
  auto& log = daemon.log;
  IRONCORE_CHECK(program::make_directories(options.serving));
  IRONCORE_TRY(auto server_options, metalbondd::server_options(options));
  IRONCORE_TRY(auto peers, metalbondd::peers(options));
  SystemRandom random;
  IRONCORE_TRY(const auto context, routing::zmq::Context::create());
  IRONCORE_TRY(const auto server,
               routing::zmq::ReflectorServer::create(*context, options.reflector, std::move(server_options),
                                                     std::move(peers), daemon.clock, random, log));
  std::unique_ptr<routing::prometheus::Exporter> exporter;
  if (!options.metrics.empty()) {
    const auto counts = [&] {
      auto all = server->counts();
      all.push_back(refused_connections(daemon.descriptors));
      return all;
    };
    IRONCORE_TRY(exporter, within(routing::prometheus::Exporter::create(
                                      options.metrics, {[&](const auto& f) { server->with(f); }, counts}),
                                  "metrics"));
    log.info("counters are served", {{"address", options.metrics}, {"port", std::to_string(exporter->port())}});
  }
  const auto reload = program::reload_identities(
      daemon, options.serving, routing::zmq::KeyRights::load,
      [&server](routing::zmq::KeyRights identities) { server->replace_identities(std::move(identities)); });
  return program::run_together(daemon.signals,
                               {{"reflector", [&](std::stop_token stop) { return server->run(std::move(stop)); }}},
                               [&]() -> Result<void> {
                                 program::tell_endpoints(daemon, *server);
                                 if (!server->wait_until_ready(daemon.stop())) return {};
                                 return daemon.readiness.ready();
                               });
}

}  // namespace

int main(int argc, char** argv) {
  const auto environment = program::Environment::read();
  auto options = metalbondd::default_options(environment);
  return program::run_daemon(
      metalbondd::grammar(options), argc, argv, environment, [&] { return metalbondd::check(options); },
      [&](program::Daemon& daemon) { return serve(options, daemon); });
}
