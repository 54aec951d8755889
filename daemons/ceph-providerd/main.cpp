// SPDX-License-Identifier: Apache-2.0
// ceph-providerd: the volumes and buckets of one pool each, from the store to where they are kept and back.
#include <algorithm>
#include <iterator>

#ifdef IRONCORE_HAS_PROMETHEUS
#include "ironcore/control/prometheus.hpp"
#endif
#include "ceph-providerd/options.hpp"
#include "ceph-providerd/places.hpp"
#include "program/daemon.hpp"
#include "program/standstill.hpp"
#include "program/store_client.hpp"
#include "program/together.hpp"

namespace {

using namespace ironcore;

Result<void> serve(const ceph_providerd::Options& options, program::Daemon& daemon) {
  auto& clock = daemon.clock;
  auto& log = daemon.log;
  IRONCORE_CHECK(program::make_directory(options.directory, 0711, program::claim_file));
  IRONCORE_TRY(const auto claimed, program::claim_directory(options.directory, clock, daemon.stop()));
  IRONCORE_TRY(const auto client, program::client_options(options.client, "ceph-providerd"));
  IRONCORE_TRY(const auto places, ceph_providerd::Places::open(options, daemon));

  image::CacheOptions cache{.directory = options.directory / "images", .layout_roots = {}};
  for (const auto& root : options.image_roots) cache.layout_roots.emplace_back(root);
  IRONCORE_TRY(const auto images, image::Cache::open(std::move(cache), clock, log));

  IRONCORE_TRY(const auto context, store::zmq::Context::create());
  IRONCORE_TRY(const auto store, program::when_available(daemon, "ironcored", [&] {
                 return store::zmq::connect(*context, client, clock, log);
               }));
  std::unique_ptr<control::VolumeProvider> volumes;
  std::unique_ptr<control::BucketProvider> buckets;
  std::vector<program::Part> parts;
  if (!options.volumes.pool.empty()) {
    auto provider = options.volumes;
    provider.holder = provider.provider_id + "#" + claimed.id;
    provider.classes = places->volume_classes;
    provider.keys = places->keys.get();
    IRONCORE_TRY(volumes, control::VolumeProvider::create(*store, images.get(), std::move(provider), clock, log));
    parts.push_back(program::endless("volumes", [&](std::stop_token stop) {
      places->wait_for_clusters(stop);
      volumes->run(std::move(stop));
    }));
    parts.push_back(program::endless("watchdog", [&](std::stop_token stop) {
      const program::Standstill standstill{.length = [&] { return volumes->standstill(); },
                                           .patience = options.volumes.patience_with_workers,
                                           .pause = 2 * options.heartbeat};  // so that the pool can say it
      program::watch(standstill, clock, log, std::move(stop));
    }));
  }
  if (!options.buckets.pool.empty()) {
    auto provider = options.buckets;
    provider.holder = provider.provider_id + "#" + claimed.id;
    provider.classes = places->bucket_classes;
    IRONCORE_TRY(buckets, control::BucketProvider::create(*store, std::move(provider), clock, log));
    parts.push_back(program::endless("buckets", [&](std::stop_token stop) { buckets->run(std::move(stop)); }));
  }
#ifdef IRONCORE_HAS_PROMETHEUS
  std::unique_ptr<control::prometheus::Exporter> exporter;
  if (!options.metrics.empty()) {
    const auto counts = [&] {
      auto all = places->counts();
      if (volumes) std::ranges::move(volumes->counts(), std::back_inserter(all));
      if (buckets) std::ranges::move(buckets->counts(), std::back_inserter(all));
      return all;
    };
    IRONCORE_TRY(exporter, within(control::prometheus::Exporter::create(options.metrics, counts), "metrics"));
    log.info("counters are served", {{"address", options.metrics}, {"port", std::to_string(exporter->port())}});
  }
#else
  if (!options.metrics.empty())
    return Error(ErrorCode::unsupported,
                 "metrics: this program was built without Prometheus: install prometheus-cpp-dev, and build again");
#endif
  const program::OnHangup reload(daemon.signals, [&] { places->reload(); });
  return program::run_together(daemon.signals, std::move(parts), [&] { return daemon.readiness.ready(); });
}

}  // namespace

int main(int argc, char** argv) {
  const auto environment = program::Environment::read();
  auto options = ceph_providerd::default_options(environment);
  return program::run_daemon(
      ceph_providerd::grammar(options), argc, argv, environment, [&] { return ceph_providerd::check(options); },
      [&](program::Daemon& daemon) { return serve(options, daemon); });
}
