// SPDX-License-Identifier: Apache-2.0
// What the control plane is made of.
#include "ironcore/control/control_plane.hpp"

#include <optional>

#include "fenced_store.hpp"
#include "ironcore/control/claim_release.hpp"
#include "ironcore/control/controller.hpp"
#include "ironcore/control/leader.hpp"
#include "ironcore/control/machine_class_protection.hpp"
#include "ironcore/control/machine_ephemerals.hpp"
#include "ironcore/control/machine_eviction.hpp"

namespace ironcore::control {

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
        machines_(store, clock, log),
        pools_(store, clock, log),
        classes_(store, clock, log),
        interfaces_(store, clock, log),
        volumes_(store, clock, log),
        scheduler_events_(store, {.component = "machine-scheduler"}, clock, log),
        eviction_events_(store, {.component = "machine-eviction"}, clock, log),
        ephemeral_events_(store, {.component = "machine-ephemerals"}, clock, log),
        scheduler_(store, machines_, pools_, classes_, scheduler_events_, options_.scheduler, clock, log),
        protection_((add_machine_indexes(machines_), fenced_), classes_, machines_, clock, log),
        eviction_(fenced_, pools_, machines_, eviction_events_, clock, log),
        ephemerals_(fenced_, machines_, interfaces_, volumes_, ephemeral_events_, clock, log),
        release_(fenced_, machines_, interfaces_, volumes_, clock, log),
        health_(fenced_, pools_, options_.health, clock, log),
        leadership_(store, leader_, clock, log) {}

  void run(std::stop_token stop) {
    run_together(std::move(stop),
                 {
                     [this](std::stop_token s) { machines_.run(s); },
                     [this](std::stop_token s) { pools_.run(s); },
                     [this](std::stop_token s) { classes_.run(s); },
                     [this](std::stop_token s) { interfaces_.run(s); },
                     [this](std::stop_token s) { volumes_.run(s); },
                     [this](std::stop_token s) { scheduler_events_.run(s); },
                     [this](std::stop_token s) { eviction_events_.run(s); },
                     [this](std::stop_token s) { ephemeral_events_.run(s); },
                     [this](std::stop_token s) {
                       run_while_active(
                           store_, leader_, clock_, log_, s,
                           [this](std::stop_token active, const store::HoldsLease& lease) {
                             fenced_.set_lease(lease);
                             run_together(active, {
                                                      [this, &lease](std::stop_token t) { scheduler_.run(t, lease); },
                                                      [this](std::stop_token t) { protection_.run(t); },
                                                      [this](std::stop_token t) { eviction_.run(t); },
                                                      [this](std::stop_token t) { ephemerals_.run(t); },
                                                      [this](std::stop_token t) { release_.run(t); },
                                                      [this](std::stop_token t) { health_.run(t); },
                                                  });
                           });
                     },
                 });
  }

  bool step() {
    bool did = machines_.step();
    did = pools_.step() || did;
    did = classes_.step() || did;
    did = interfaces_.step() || did;
    did = volumes_.step() || did;
    if (active_ && !scheduler_.is_active()) resign();  // the store has refused the token: ask again at the next turn
    const auto lease = leadership_.step();
    const bool is_new = lease && (!active_ || active_->token != lease->token);
    if (active_ && (!lease || is_new)) deactivate();
    if (is_new) {
      activate(*lease);
      did = true;
    }
    active_ = lease;
    if (active_) {
      did = scheduler_.step() || did;
      did = protection_.step() || did;
      did = eviction_.step() || did;
      did = ephemerals_.step() || did;
      did = release_.step() || did;
      did = health_.step() || did;
    }
    did = scheduler_events_.step() || did;
    did = eviction_events_.step() || did;
    did = ephemeral_events_.step() || did;
    return did;
  }

  void resign() {
    deactivate();
    leadership_.resign();
    active_.reset();
  }

  const MachineScheduler& scheduler() const { return scheduler_; }

 private:
  void activate(const store::HoldsLease& lease) {
    fenced_.set_lease(lease);
    scheduler_.activate(lease);
    protection_.activate();
    eviction_.activate();
    ephemerals_.activate();
    release_.activate();
    health_.forget();
  }
  void deactivate() {
    scheduler_.deactivate();
    protection_.deactivate();
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
  Informer<api::Machine> machines_;
  Informer<api::MachinePool> pools_;
  Informer<api::MachineClass> classes_;
  Informer<api::NetworkInterface> interfaces_;
  Informer<api::Volume> volumes_;
  EventRecorder scheduler_events_;
  EventRecorder eviction_events_;
  EventRecorder ephemeral_events_;
  MachineScheduler scheduler_;
  MachineClassProtection protection_;
  MachineEviction eviction_;
  MachineEphemerals ephemerals_;
  ClaimRelease release_;
  MachinePoolHealth health_;
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
  return body_->scheduler().is_active();
}
const MachineScheduler& ControlPlane::scheduler() const {
  return body_->scheduler();
}

}  // namespace ironcore::control
