// SPDX-License-Identifier: Apache-2.0
// VolumeProvider: the volumes and volume snapshots of one pool, from the store to BlockStores and back.
#pragma once

#include <map>
#include <memory>
#include <stop_token>
#include <string>
#include <string_view>
#include <vector>

#include "ironcore/api/storage.hpp"
#include "ironcore/base/clock.hpp"
#include "ironcore/base/log.hpp"
#include "ironcore/base/result.hpp"
#include "ironcore/control/provider_counts.hpp"
#include "ironcore/crypto/key_management.hpp"
#include "ironcore/image/cache.hpp"
#include "ironcore/storage/block_store.hpp"
#include "ironcore/store/store.hpp"

namespace ironcore::control {

/// Annotation of a VolumePool: `NAMESPACE/UID` of what the event OrphanedVolume named, with commas between several. It is removed, data and all, unless an
/// object has that uid; what cannot be removed yet is tried again for as long as the annotation is there.
inline constexpr std::string_view remove_orphans_annotation = "storage.ironcore.dev/remove-orphans";
/// Annotation of a VolumePool, written by its provider: `CLASS=STORE` with commas between several: the id (`storage::StoreMark`) of the store where the volumes of each class
/// are. Another store in that place, or none, is not used: taking a class out is how an operator begins anew.
inline constexpr std::string_view stores_annotation = "storage.ironcore.dev/stores";

struct VolumeProviderOptions {
  std::string pool;         ///< name of the VolumePool; made when absent
  std::string provider_id;  ///< `ceph://cluster-1`: identity of this place, the same after every restart
  /// Who holds the pool's lease: the same after a restart, so that volumes are taken over at once; another one for another copy of
  /// this provider, which then waits. Empty = `provider_id`.
  std::string holder;
  std::string type = "ceph";                  ///< the TYPE of `status.volumeID`
  std::map<std::string, std::string> labels;  ///< put on the pool and kept there: `topology.ironcore.dev/zone` …
  /// Volume classes offered, and where their volumes are kept; several may name the same store. A store belongs to one pool.
  std::map<std::string, storage::BlockStore*> classes;
  storage::Burst burst;
  /// How many bytes of volumes are promised for each byte that a store has: more than 1 trusts that volumes are not filled.
  double thin_provision_ratio = 1;
  std::size_t workers = 8;  ///< volumes that are worked on at the same time, and snapshots
  Duration heartbeat_every = std::chrono::seconds(10);
  Duration lease_time_to_live = std::chrono::seconds(40);  ///< more than twice `heartbeat_every`
  Duration look_again = std::chrono::seconds(5);           ///< for a Secret that is missing, for somebody who lets go
  Duration maintain_every = std::chrono::minutes(1);       ///< and how often orphans are looked for
  Duration base_image_grace = std::chrono::hours(1);       ///< a base image that nobody needs is kept so long
  /// Wraps the keys of encrypted volumes and snapshots. Null = keys lie as they are in the Secrets of volumes and snapshots, and none is generated. Must
  /// outlive the provider. Once given, give it always: what it wrapped opens with nothing else.
  crypto::KeyManagement* keys = nullptr;
  Duration look_at_keys_every = std::chrono::hours(
      1);  ///< whether all are wrapped with the newest version; a new one is seen with `maintain_every`
  /// The age at which a tenant's credential of a store gets a successor. Zero = only when `api::rotate_credentials_annotation` asks for it.
  Duration rotate_credentials_every{};
  /// All workers at a standstill for longer (`VolumeProvider::standstill`) are told in the pool's condition Working. Much longer than any store takes for an answer.
  Duration patience_with_workers = std::chrono::minutes(10);
};

/// Announces its VolumePool, renews lease `volumepool/<pool>`, and makes the stores match the Volumes bound to the pool and the snapshots of them:
/// adds the finalizer, resolves class, source and key, creates, enlarges, sets limits, writes access into a Secret that the volume owns, writes the status,
/// and tells events. A volume is handed to the machine that claims it (`status.use`) when nobody else has it open any more; clients of a host that is dead are
/// fenced before. Wraps keys, replaces old credentials (docs/storage-keys.md). What is made is named by the object's uid, so every step can be repeated. A volume that was there and is not any more is never
/// made anew. What is deleted goes when nobody has claimed it or has it open. While another process holds the lease, nothing is touched. What lies in
/// a store without an object is reported, and removed only on request (`remove_orphans_annotation`). A store is marked as the pool's, and its id noted (`stores_annotation`):
/// with each heartbeat the mark is looked at, and while it is another pool's, or not the one that was noted, the store counts as not answering, and the pool's condition
/// Ready says so. A pool that was made anew under the same name takes its store over if that is empty or holds volumes that have objects here. Thread: any.
class VolumeProvider {
 public:
  /// Everything given by reference or pointer must outlive it. `images` is this provider's own: what it does not need is removed there; null = no volumes
  /// from OS images. `invalid` lists what is wrong with the options.
  static Result<std::unique_ptr<VolumeProvider>> create(store::Store& store, image::Cache* images,
                                                        VolumeProviderOptions options, Clock& clock, Log& log);
  ~VolumeProvider();

  /// Works until a stop is requested, then returns. Makes threads (one for each watch, the heartbeat, the events, maintenance and each worker) and
  /// joins them before it returns.
  void run(std::stop_token stop);
  /// Does what is due now; false if that was nothing. For those who own the loop: tests, simulations.
  bool step();
  /// What it counts: objects by state, failures by kind, what waits, capacity, orphans. Thread: any, also while it runs.
  std::vector<ProviderCount> counts() const;
  /// For how long all workers have been at one volume each without an answer of a store or progress of a copy; zero while one is free or something moves. A library that
  /// hangs (librbd 16.2 can) lets no worker go again: then only a new process helps, which takes up all that was begun. Workers of snapshots are not counted: a snapshot may
  /// copy for long, and tells nothing meanwhile. Thread: any, also while it runs.
  Duration standstill() const;

 private:
  class Body;
  explicit VolumeProvider(std::unique_ptr<Body> body);
  std::unique_ptr<Body> body_;
};

}  // namespace ironcore::control
