// SPDX-License-Identifier: Apache-2.0
// ClaimRelease: interfaces and volumes that name a machine which is gone are free again.
#pragma once

#include <string>

#include "ironcore/api/compute.hpp"
#include "ironcore/control/controller.hpp"
#include "ironcore/control/event_recorder.hpp"
#include "ironcore/control/informer.hpp"

namespace ironcore::control {

/// Takes a claim off once no machine with the claim's uid exists, whatever its name: one that was made anew is another machine. A provider
/// releases what it claimed; this is for what slipped through (a write that arrived late, a finalizer removed by hand). Claims without a uid are
/// somebody's plan and stay.
///
/// The volumes of a machine that is being deleted are free too as soon as its host is dead (`is_host_dead`), whose provider cannot release them: event
/// `VolumeReleased` of the machine. Who gets them waits until the clients of that host are fenced. Its interfaces stay claimed, for nobody fences those, and so
/// does the machine itself, until its host is back or somebody takes off its finalizer. Thread: any.
class ClaimRelease {
 public:
  /// Listens to the informers, so make it before they run.
  ClaimRelease(store::Store& store, Informer<api::Machine>& machines, Informer<api::NetworkInterface>& interfaces,
               Informer<api::Volume>& volumes, EventRecorder& events, Clock& clock, Log& log);

  /// Until a stop is requested. Before and afterwards it remembers nothing of what the informers tell: at its start it looks at everything.
  void run(std::stop_token stop);
  /// The same by hand, for those who own the loop: `activate`, then `step` (false if there was nothing to do), `deactivate`.
  void activate();
  void deactivate() { controller_.queue().close(); }
  bool step();

 private:
  /// Null if it is gone; asked of the store, because the cache may not have seen it yet.
  Result<store::Shared<api::Machine>> claimer(const std::string& namespace_, const api::LocalUidReference& claim);
  Result<Requeue> release_interface(const std::string& key);
  Result<Requeue> release_volume(const std::string& key);

  store::Store& store_;
  Informer<api::Machine>& machines_;
  Informer<api::NetworkInterface>& interfaces_;
  Informer<api::Volume>& volumes_;
  EventRecorder& events_;
  Controller controller_;
};

}  // namespace ironcore::control
