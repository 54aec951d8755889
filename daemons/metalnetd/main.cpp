// SPDX-License-Identifier: Apache-2.0
// metalnetd: the dataplane of this host, its ports, and who may tell it what shall be.
#include "ironcore/network/kept_ports.hpp"
#include "ironcore/network/prometheus.hpp"
#include "ironcore/network/zmq.hpp"
#include "metalnetd/options.hpp"
#include "program/daemon.hpp"
#include "program/together.hpp"

namespace {

using namespace ironcore;

Result<void> serve(const metalnetd::Options& options, program::Daemon& daemon) {
  auto& clock = daemon.clock;
  auto& log = daemon.log;
  IRONCORE_CHECK(program::make_directories(options.serving));
  IRONCORE_TRY(auto server_options, metalnetd::server_options(options));
  const auto& state_directory = options.dataplane.configuration_directory;
  const auto& flow_directory = options.dataplane.flow_directory;
  program::ClaimedDirectory claimed;
  if (!state_directory.empty()) {
    IRONCORE_CHECK(program::make_directory(state_directory, 0700, program::claim_file));
    IRONCORE_TRY(claimed, program::claim_directory(state_directory, clock, daemon.stop()));
  }
  if (!flow_directory.empty()) IRONCORE_CHECK(program::make_directory(flow_directory, 0700, "flows"));

  if (options.eal.memory == network::dpdk::Memory::ordinary)
    log.info("ordinary pages",
             {{"cost", "each buffer that is touched may miss the TLB, and network cards need an IOMMU"},
              {"instead", "--pages huge, with vm.nr_hugepages set before"}});
  IRONCORE_TRY(const auto eal, network::dpdk::Eal::create(options.eal, log));
  IRONCORE_TRY(const auto ports, network::dpdk::create_ports(*eal, options.ports_options, log));
  for (const auto& spec : options.ports) {
    IRONCORE_TRY(const auto opened, within(ports->open(spec), "open port " + spec.name));
    log.info("port opened", {{"port", spec.name}, {"device", spec.device}, {"mac", opened.mac.to_text()}});
  }
  std::unique_ptr<network::KeptPorts> kept_ports;
  if (!state_directory.empty()) {
    IRONCORE_TRY(kept_ports, within(network::KeptPorts::create(*ports, state_directory, log), "kept ports"));
  }
  network::Ports& asked_ports = kept_ports ? *kept_ports : *ports;
  IRONCORE_TRY(const auto dataplane, network::Dataplane::create(options.dataplane, *ports, clock, log));

  IRONCORE_TRY(const auto context, network::zmq::Context::create());
  IRONCORE_TRY(const auto server,
               network::zmq::Server::create(*context, *dataplane, asked_ports, std::move(server_options), clock, log));
  std::unique_ptr<network::prometheus::Exporter> exporter;
  if (!options.metrics.empty()) {
    IRONCORE_TRY(exporter, network::prometheus::Exporter::create(options.metrics, *dataplane, *ports));
    log.info("counters are served", {{"address", options.metrics}, {"port", std::to_string(exporter->port())}});
  }

  std::vector<program::Part> parts{
      {"service", [&](std::stop_token stop) { return server->run(std::move(stop)); }},
      program::endless("control", [&](std::stop_token stop) { dataplane->run_control(std::move(stop)); }),
      program::endless("captures", [&](std::stop_token stop) { dataplane->run_captures(std::move(stop)); })};
  for (std::size_t i = 0; i < dataplane->workers(); ++i) {
    parts.push_back(program::endless("worker " + std::to_string(i),
                                     [&dataplane, i](std::stop_token stop) { dataplane->run(i, std::move(stop)); }));
  }
  const auto reload =
      program::reload_identities(daemon, options.serving, network::zmq::load_identities,
                                 [&](auto identities) { server->replace_identities(std::move(identities)); });
  return program::run_together(daemon.signals, std::move(parts), [&] { return program::tell_ready(daemon, *server); });
}

}  // namespace

int main(int argc, char** argv) {
  const auto environment = program::Environment::read();
  auto options = metalnetd::default_options(environment);
  return program::run_daemon(
      metalnetd::grammar(options), argc, argv, environment, [&] { return metalnetd::check(options); },
      [&](program::Daemon& daemon) { return serve(options, daemon); });
}
