// SPDX-License-Identifier: Apache-2.0
// One snapshot of a volume of a pool.
#pragma once

#include <string>

#include "ironcore/control/controller.hpp"
#include "ironcore/control/event_recorder.hpp"
#include "ironcore/control/informer.hpp"
#include "ironcore/control/volume_provider.hpp"
#include "own_writes.hpp"
#include "volume_keys.hpp"

namespace ironcore::control {

/// Thread: any, one at a time for each key.
class VolumeSnapshotReconciler {
 public:
  struct Parts {
    store::Store& store;
    Informer<api::Volume>& volumes;
    Informer<api::VolumeSnapshot>& snapshots;
    VolumeKeys& keys;
    EventRecorder& events;
    const VolumeProviderOptions& options;
    Clock& clock;
  };
  explicit VolumeSnapshotReconciler(Parts parts) : parts_(parts), writes_(parts.store, parts.snapshots) {}

  Result<Requeue> reconcile(const std::string& key, std::stop_token stop);
  /// The snapshot is gone from the store of objects.
  void forget(const std::string& uid) {
    writes_.forget(uid);
    parts_.keys.forget(uid);
  }

 private:
  store::Shared<api::Volume> source_of(const api::VolumeSnapshot& snapshot) const;
  /// Null: its class is not offered here any more.
  storage::BlockStore* store_of(const api::VolumeSnapshot& snapshot) const;
  /// Notes where it will be; null if it waits for its volume.
  Result<store::Shared<api::VolumeSnapshot>> begin(const store::Shared<api::VolumeSnapshot>& snapshot);
  Result<Requeue> bring_up(store::Shared<api::VolumeSnapshot> snapshot, std::stop_token stop);
  void tell_if_misplaced(const api::VolumeSnapshot& snapshot);
  Result<storage::Snapshot> take(const api::VolumeSnapshot& snapshot, storage::BlockStore& store,
                                 const storage::BlockId& id, std::stop_token stop);
  Result<Requeue> tear_down(const api::VolumeSnapshot& snapshot);
  Result<void> write_status(const api::VolumeSnapshot& snapshot, api::VolumeSnapshotStatus status);
  void tell(const api::VolumeSnapshot& snapshot, api::EventType type, std::string reason, std::string message);

  Parts parts_;
  OwnWrites<api::VolumeSnapshot> writes_;
};

}  // namespace ironcore::control
