// SPDX-License-Identifier: Apache-2.0
// Source, place, finalizer, key, data, status: the steps of one volume snapshot.
#include "volume_snapshot_reconciler.hpp"

#include "ironcore/control/finalizers.hpp"
#include "ironcore/control/managed_by.hpp"
#include "volume_reconciler.hpp"
#include "volume_secrets.hpp"

namespace ironcore::control {

void VolumeSnapshotReconciler::tell(const api::VolumeSnapshot& snapshot, api::EventType type, std::string reason,
                                    std::string message) {
  parts_.events.record(reference_to(snapshot), type, std::move(reason), std::move(message), "CreateImageSnapshot");
}

store::Shared<api::Volume> VolumeSnapshotReconciler::source_of(const api::VolumeSnapshot& snapshot) const {
  return parts_.volumes.get(cache_key(snapshot.metadata.namespace_, snapshot.spec.volume_ref->name));
}

storage::BlockStore* VolumeSnapshotReconciler::store_of(const api::VolumeSnapshot& snapshot) const {
  const auto place = parts_.options.classes.find(annotation_of(snapshot.metadata, snapshot_class_annotation));
  return place == parts_.options.classes.end() ? nullptr : place->second;
}

Result<void> VolumeSnapshotReconciler::write_status(const api::VolumeSnapshot& snapshot,
                                                    api::VolumeSnapshotStatus status) {
  if (status.state != snapshot.status.state || !status.last_state_transition_time)
    status.last_state_transition_time = parts_.clock.wall();
  auto changed = snapshot;
  changed.status = std::move(status);
  return writes_.write_status(snapshot, std::move(changed));
}

Result<store::Shared<api::VolumeSnapshot>> VolumeSnapshotReconciler::begin(
    const store::Shared<api::VolumeSnapshot>& snapshot) {
  const store::Shared<api::VolumeSnapshot> waits;
  const auto& name = snapshot->spec.volume_ref->name;
  const auto volume = source_of(*snapshot);
  if (!volume) {
    // Most often it is in another pool, whose provider takes care of it.
    const auto elsewhere = store::get<api::Volume>(parts_.store, snapshot->metadata.namespace_, name);
    if (elsewhere) return waits;
    if (elsewhere.error().code() != ErrorCode::not_found) return elsewhere.error().within("volume " + name);
    tell(*snapshot, api::EventType::warning, "SourceVolumeNotFound",
         "volume " + name + " does not exist; the snapshot is taken when it is there");
    return waits;
  }
  if (!volume->spec.volume_class_ref) return waits;
  if (volume->metadata.deletion_timestamp || volume->status.state != api::VolumeState::available) {
    tell(*snapshot, api::EventType::normal, "SourceVolumeNotAvailable",
         "volume " + name +
             (volume->metadata.deletion_timestamp ? " is being deleted"
                                                  : " is not available yet; the snapshot is taken when it is"));
    return waits;
  }
  auto noted = *snapshot;
  noted.metadata.annotations[snapshot_pool_annotation] = parts_.options.pool;
  noted.metadata.annotations[snapshot_class_annotation] = volume->spec.volume_class_ref->name;
  noted.metadata.annotations[snapshot_volume_annotation] = volume->metadata.uid;
  IRONCORE_TRY(auto written, store::patch(parts_.store, *snapshot, std::move(noted)));
  writes_.remember(store::Object(api::kind_of<api::VolumeSnapshot>(), written));
  return written;
}

/// A provider notes the pool of the volume. Whoever has noted another one keeps the snapshot from being taken anywhere.
void VolumeSnapshotReconciler::tell_if_misplaced(const api::VolumeSnapshot& snapshot) {
  if (snapshot.metadata.deletion_timestamp || snapshot.status.state != api::VolumeSnapshotState::pending) return;
  const auto volume = source_of(snapshot);
  const auto noted = annotation_of(snapshot.metadata, snapshot_volume_annotation);
  if (!volume || (!noted.empty() && noted != volume->metadata.uid)) return;
  tell(snapshot, api::EventType::warning, "VolumeSnapshotElsewhere",
       std::string("annotation ") + snapshot_pool_annotation + " says pool " +
           annotation_of(snapshot.metadata, snapshot_pool_annotation) + ", but volume " + volume->metadata.name +
           " is in pool " + parts_.options.pool + ": remove the annotation, and the snapshot is taken here");
}

Result<storage::Snapshot> VolumeSnapshotReconciler::take(const api::VolumeSnapshot& snapshot,
                                                         storage::BlockStore& store, const storage::BlockId& id,
                                                         std::stop_token stop) {
  const auto volume = source_of(snapshot);
  const auto& uid = annotation_of(snapshot.metadata, snapshot_volume_annotation);
  if (!volume || volume->metadata.uid != uid)
    return Error(ErrorCode::not_found, "volume " + snapshot.spec.volume_ref->name + " with uid " + uid +
                                           " does not exist any more; delete the snapshot");
  IRONCORE_TRY(const auto source, block_id(volume->metadata));
  std::optional<Trouble> trouble;
  parts_.keys.forget(uid);  // its header may be another one by now
  const auto copied = [&]() -> Result<bool> {
    IRONCORE_TRY(const auto key, parts_.keys.find_for({store, source}, *volume, trouble));
    if (!key) return false;
    // Before the data: the volume, with its Secrets, may be gone right after.
    IRONCORE_CHECK(parts_.keys.keep(snapshot, *key, trouble));
    return true;
  }();
  if (!copied) {
    if (trouble) tell(snapshot, trouble->event_type(), trouble->reason, trouble->message);
    return copied.error();
  }
  IRONCORE_TRY(auto taken, store.take_snapshot(source, id.uid, std::move(stop)));
  if (taken.is_encrypted && !*copied)
    tell(snapshot, api::EventType::warning, "VolumeEncryptionSecretNotReady",
         "no key that is kept opens the data of volume " + volume->metadata.name + "; put the key into secret " +
             owned_secret_of(snapshot).name + ", owned by the snapshot, before a volume is made from it");
  return taken;
}

Result<Requeue> VolumeSnapshotReconciler::bring_up(store::Shared<api::VolumeSnapshot> snapshot, std::stop_token stop) {
  if (annotation_of(snapshot->metadata, snapshot_pool_annotation).empty()) {
    IRONCORE_TRY(snapshot, begin(snapshot));
    if (!snapshot) return Requeue{};
  }
  auto* store = store_of(*snapshot);
  if (store == nullptr) {
    tell(*snapshot, api::EventType::warning, "VolumeClassNotReady",
         "volume class " + annotation_of(snapshot->metadata, snapshot_class_annotation) + " is not offered by pool " +
             parts_.options.pool + " any more; offer it again");
    return Requeue{};
  }
  IRONCORE_TRY(const auto id, block_id(snapshot->metadata));
  IRONCORE_TRY(snapshot, writes_.keep(snapshot, api::volume_snapshot_finalizer));
  auto status = snapshot->status;
  auto seen = store->snapshot(id);
  if (!seen && seen.error().code() != ErrorCode::not_found) return seen.error();
  if (!seen && !status.snapshot_id.empty()) {
    tell(*snapshot, api::EventType::warning, "VolumeSnapshotLost",
         "the snapshot was there and is not in its store any more; delete it");
    status.state = api::VolumeSnapshotState::failed;
    IRONCORE_CHECK(write_status(*snapshot, std::move(status)));
    return Requeue{};
  }
  if (!seen) {
    seen = take(*snapshot, *store, id, stop);
    if (!seen) {
      const auto& error = seen.error();
      if (!stop.stop_requested() && error.code() != ErrorCode::conflict)
        tell(*snapshot, api::EventType::warning,
             error.code() == ErrorCode::not_found ? "SourceVolumeNotFound" : "CreateImageSnapshotFailed",
             error.message());
      return error;
    }
    tell(*snapshot, api::EventType::normal, "CreateImageSnapshotSucceeded",
         "the snapshot of volume " + snapshot->spec.volume_ref->name + " is there");
  } else if (seen->is_encrypted) {
    std::optional<Trouble> trouble;
    const auto wrapped = parts_.keys.wrap_old({*store, id}, *snapshot, trouble);
    if (trouble) tell(*snapshot, trouble->event_type(), trouble->reason, trouble->message);
    // Without a key it is ready all the same: a volume that is made from it needs the key, and says so.
    if (!wrapped && !(trouble && trouble->reason == key_is_lost)) return wrapped.error();
  }
  status.snapshot_id = parts_.options.type + "://" + snapshot->metadata.uid;
  status.state = api::VolumeSnapshotState::ready;
  status.size = Quantity::bytes(static_cast<std::int64_t>(seen->size_bytes));
  IRONCORE_CHECK(write_status(*snapshot, std::move(status)));
  return Requeue{};
}

Result<Requeue> VolumeSnapshotReconciler::tear_down(const api::VolumeSnapshot& snapshot) {
  if (!has_finalizer(snapshot.metadata, api::volume_snapshot_finalizer)) return Requeue{};
  IRONCORE_TRY(const auto id, block_id(snapshot.metadata));
  for (auto* store : stores_of(parts_.options, annotation_of(snapshot.metadata, snapshot_class_annotation))) {
    const auto removed = store->remove_snapshot(id);
    if (removed) continue;
    tell(snapshot, api::EventType::warning, "ImageDeletionFailed", removed.error().message());
    return removed.error();
  }
  IRONCORE_CHECK(parts_.keys.remove(snapshot));
  IRONCORE_CHECK(writes_.let_go(snapshot, api::volume_snapshot_finalizer));
  return Requeue{};
}

Result<Requeue> VolumeSnapshotReconciler::reconcile(const std::string& key, std::stop_token stop) {
  auto snapshot = writes_.newest(key);
  // Without a source it stands for something that somebody else has put there.
  if (!snapshot || !snapshot->spec.volume_ref) return Requeue{};
  const auto pool = annotation_of(snapshot->metadata, snapshot_pool_annotation);
  if (!pool.empty() && pool != parts_.options.pool) {
    tell_if_misplaced(*snapshot);
    return Requeue{};
  }
  if (is_managed_by_others(snapshot->metadata) && !has_finalizer(snapshot->metadata, api::volume_snapshot_finalizer))
    return Requeue{};
  if (!snapshot->metadata.deletion_timestamp) return bring_up(std::move(snapshot), std::move(stop));
  if (pool.empty() && !source_of(*snapshot)) return Requeue{};
  return tear_down(*snapshot);
}

}  // namespace ironcore::control
