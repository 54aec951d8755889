// SPDX-License-Identifier: Apache-2.0
// What the control plane is made of.
#include "ironcore/control/control_plane.hpp"

#include <functional>
#include <optional>
#include <utility>
#include <vector>

#include "fenced_store.hpp"
#include "ironcore/control/claim_release.hpp"
#include "ironcore/control/class_protection.hpp"
#include "ironcore/control/controller.hpp"
#include "ironcore/control/leader.hpp"
#include "ironcore/control/machine_ephemerals.hpp"
#include "ironcore/control/machine_eviction.hpp"

namespace ironcore::control {

namespace {

using Parts = std::vector<std::function<void(std::stop_token)>>;

/// What is done for a kind that is placed on pools.
template <class T>
struct Placing {
  Informer<T> objects;
  Informer<typename PlacedKind<T>::Pool> pools;
  Informer<typename PlacedKind<T>::Class> classes;
  EventRecorder events;
  Scheduler<T> scheduler;
  ClassProtection<T> protection;
  PoolHealth<T> health;

  Placing(store::Store& store, FencedStore& fenced, const ControlPlaneOptions& options, Clock& clock, Log& log)
      : objects(store, clock, log),
        pools(store, clock, log),
        classes(store, clock, log),
        events(store, {.component = std::string(PlacedKind<T>::subject.word) + "-scheduler"}, clock, log),
        scheduler(store, objects, pools, classes, events, options.scheduler, clock, log),
        protection(fenced, classes, objects, clock, log),
        health(fenced, pools, options.health, clock, log) {}

  void add_caches(Parts& parts) {
    parts.emplace_back([this](std::stop_token stop) { objects.run(stop); });
    parts.emplace_back([this](std::stop_token stop) { pools.run(stop); });
    parts.emplace_back([this](std::stop_token stop) { classes.run(stop); });
    parts.emplace_back([this](std::stop_token stop) { events.run(stop); });
  }
  void add_work(Parts& parts, const store::HoldsLease& lease) {
    parts.emplace_back([this, lease](std::stop_token stop) { scheduler.run(stop, lease); });
    parts.emplace_back([this](std::stop_token stop) { protection.run(stop); });
    parts.emplace_back([this](std::stop_token stop) { health.run(stop); });
  }

  bool step_caches() {
    bool did = objects.step();
    did = pools.step() || did;
    return classes.step() || did;
  }
  bool step_work() {
    bool did = scheduler.step();
    did = protection.step() || did;
    return health.step() || did;
  }
  void activate(const store::HoldsLease& lease) {
    scheduler.activate(lease);
    protection.activate();
    health.forget();
  }
  void deactivate() {
    scheduler.deactivate();
    protection.deactivate();
  }
};

}  // namespace

class ControlPlane::Body {
 public:
  Body(store::Store& store, ControlPlaneOptions options, Clock& clock, Log& log)
      : store_(store),
        fenced_(store),
        options_(std::move(options)),
        leader_{.lease = "control-plane",
                .holder = options_.holder,
                .time_to_live = options_.lease_time_to_live,
                .renew_every = options_.renew_every},
        clock_(clock),
        log_(log),
        machines_(store, fenced_, options_, clock, log),
        volumes_(store, fenced_, options_, clock, log),
        buckets_(store, fenced_, options_, clock, log),
        interfaces_(store, clock, log),
        eviction_events_(store, {.component = "machine-eviction"}, clock, log),
        ephemeral_events_(store, {.component = "machine-ephemerals"}, clock, log),
        release_events_(store, {.component = "claim-release"}, clock, log),
        eviction_(fenced_, machines_.pools, machines_.objects, eviction_events_, clock, log),
        ephemerals_(fenced_, machines_.objects, interfaces_, volumes_.objects, ephemeral_events_, clock, log),
        release_(fenced_, machines_.objects, interfaces_, volumes_.objects, release_events_, clock, log),
        leadership_(store, leader_, clock, log) {}

  void run(std::stop_token stop) {
    Parts parts{
        [this](std::stop_token s) { interfaces_.run(s); }, [this](std::stop_token s) { eviction_events_.run(s); },
        [this](std::stop_token s) { ephemeral_events_.run(s); }, [this](std::stop_token s) { release_events_.run(s); },
        [this](std::stop_token s) {
          run_while_active(
              store_, leader_, clock_, log_, s,
              [this](std::stop_token active, const store::HoldsLease& lease) { run_active(std::move(active), lease); });
        }};
    for_each_kind([&](auto& placing) { placing.add_caches(parts); });
    run_together(std::move(stop), std::move(parts));
  }

  bool step() {
    bool did = interfaces_.step();
    for_each_kind([&](auto& placing) { did = placing.step_caches() || did; });
    if (active_ && !is_active()) resign();  // the store has refused the token: ask again at the next turn
    const auto lease = leadership_.step();
    const bool is_new = lease && (!active_ || active_->token != lease->token);
    if (active_ && (!lease || is_new)) deactivate();
    if (is_new) {
      activate(*lease);
      did = true;
    }
    active_ = lease;
    if (active_) {
      for_each_kind([&](auto& placing) { did = placing.step_work() || did; });
      did = eviction_.step() || did;
      did = ephemerals_.step() || did;
      did = release_.step() || did;
    }
    for_each_kind([&](auto& placing) { did = placing.events.step() || did; });
    did = eviction_events_.step() || did;
    did = ephemeral_events_.step() || did;
    did = release_events_.step() || did;
    return did;
  }

  void resign() {
    deactivate();
    leadership_.resign();
    active_.reset();
  }

  bool is_active() const {
    return machines_.scheduler.is_active() && volumes_.scheduler.is_active() && buckets_.scheduler.is_active();
  }
  const MachineScheduler& scheduler() const { return machines_.scheduler; }

 private:
  template <class Do>
  void for_each_kind(Do what) {
    what(machines_);
    what(volumes_);
    what(buckets_);
  }

  void run_active(std::stop_token stop, const store::HoldsLease& lease) {
    fenced_.set_lease(lease);
    Parts parts{[this](std::stop_token s) { eviction_.run(s); }, [this](std::stop_token s) { ephemerals_.run(s); },
                [this](std::stop_token s) { release_.run(s); }};
    for_each_kind([&](auto& placing) { placing.add_work(parts, lease); });
    run_together(std::move(stop), std::move(parts));
  }
  void activate(const store::HoldsLease& lease) {
    fenced_.set_lease(lease);
    for_each_kind([&](auto& placing) { placing.activate(lease); });
    eviction_.activate();
    ephemerals_.activate();
    release_.activate();
  }
  void deactivate() {
    for_each_kind([](auto& placing) { placing.deactivate(); });
    eviction_.deactivate();
    ephemerals_.deactivate();
    release_.deactivate();
    fenced_.set_lease(std::nullopt);
  }

  store::Store& store_;
  FencedStore fenced_;  // what the controllers write to
  const ControlPlaneOptions options_;
  const LeaderOptions leader_;
  Clock& clock_;
  Log& log_;
  Placing<api::Machine> machines_;
  Placing<api::Volume> volumes_;
  Placing<api::Bucket> buckets_;
  Informer<api::NetworkInterface> interfaces_;
  EventRecorder eviction_events_;
  EventRecorder ephemeral_events_;
  EventRecorder release_events_;
  MachineEviction eviction_;
  MachineEphemerals ephemerals_;
  ClaimRelease release_;
  Leadership leadership_;  // of step; run has its own
  std::optional<store::HoldsLease> active_;
};

ControlPlane::ControlPlane(store::Store& store, ControlPlaneOptions options, Clock& clock, Log& log)
    : body_(std::make_unique<Body>(store, std::move(options), clock, log)) {}
ControlPlane::~ControlPlane() = default;

void ControlPlane::run(std::stop_token stop) {
  body_->run(std::move(stop));
}
bool ControlPlane::step() {
  return body_->step();
}
void ControlPlane::resign() {
  body_->resign();
}
bool ControlPlane::is_active() const {
  return body_->is_active();
}
const MachineScheduler& ControlPlane::scheduler() const {
  return body_->scheduler();
}

}  // namespace ironcore::control
