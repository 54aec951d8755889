// SPDX-License-Identifier: Apache-2.0
// libvirt-providerd: the machines of one pool, from the store to libvirt and back.
#include <thread>

#include "ironcore/compute/libvirt.hpp"
#include "ironcore/control/machine_provider.hpp"
#include "ironcore/store/zmq.hpp"
#include "ironcore/store/zmq_stream.hpp"
#include "libvirt-providerd/machine_streams.hpp"
#include "libvirt-providerd/options.hpp"
#include "program/daemon.hpp"
#include "program/store_client.hpp"
#include "program/together.hpp"

namespace {

using namespace ironcore;

Result<void> serve(const providerd::Options& options, program::Daemon& daemon) {
  auto& clock = daemon.clock;
  auto& log = daemon.log;
  IRONCORE_CHECK(program::make_directory(options.host.directory, 0711, program::claim_file));
  IRONCORE_TRY(const auto claimed, program::claim_directory(options.host.directory, clock, daemon.stop()));
  auto provider_options = options.provider;
  provider_options.holder = options.provider.provider_id + "#" + claimed.id;
  IRONCORE_TRY(const auto client, providerd::client_options(options));

  IRONCORE_TRY(const auto events, compute::libvirt::EventLoop::create());
  // Outlives everything that may call libvirt: it is what ends a call to a libvirtd that hangs.
  const std::jthread deliver([&loop = *events](std::stop_token stop) { loop.run(std::move(stop)); });
  IRONCORE_TRY(const auto hypervisor, program::when_available(daemon, "libvirt", [&] {
                 return compute::libvirt::connect(
                     *events, {.uri = options.libvirt_uri, .rbd_namespace_library = options.rbd_namespace_library},
                     clock, log, daemon.stop());
               }));
  IRONCORE_TRY(const auto host, compute::Host::create(*hypervisor, options.host, clock, log));

  IRONCORE_TRY(const auto context, store::zmq::Context::create());
  IRONCORE_TRY(const auto store, program::when_available(daemon, "ironcored", [&] {
                 return store::zmq::connect(*context, client, clock, log);
               }));
  IRONCORE_TRY(const auto provider, control::MachineProvider::create(*store, *host, provider_options, clock, log));

  providerd::MachineStreams streams(*provider, clock, log);
  IRONCORE_TRY(
      const auto worker,
      store::zmq::StreamWorker::create(
          *context, client, api::kind_of<api::Machine>(), options.provider.pool,
          [&](const auto& request, auto stream) { return streams.take(request, std::move(stream)); }, clock, log));

  auto done = program::run_together(
      daemon.signals,
      {program::endless("machine provider", [&](std::stop_token stop) { provider->run(std::move(stop)); }),
       {"streams", [&](std::stop_token stop) { return worker->run(std::move(stop)); }}},
      [&] { return daemon.readiness.ready(); });
  streams.stop();
  return done;
}

}  // namespace

int main(int argc, char** argv) {
  const auto environment = program::Environment::read();
  auto options = providerd::default_options(environment);
  return program::run_daemon(
      providerd::grammar(options), argc, argv, environment, [&] { return providerd::check(options); },
      [&](program::Daemon& daemon) { return serve(options, daemon); });
}
