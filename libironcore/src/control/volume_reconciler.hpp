// SPDX-License-Identifier: Apache-2.0
// One volume of a pool: from what is wanted to what is in its store, one step at a time.
#pragma once

#include <functional>
#include <optional>
#include <string>

#include "base_images.hpp"
#include "ironcore/control/controller.hpp"
#include "ironcore/control/event_recorder.hpp"
#include "ironcore/control/informer.hpp"
#include "ironcore/control/volume_provider.hpp"
#include "pool_provider.hpp"
#include "volume_handover.hpp"
#include "volume_keys.hpp"
#include "volume_room.hpp"

namespace ironcore::control {

/// Thread: any, one at a time for each key.
class VolumeReconciler {
 public:
  struct Parts {
    store::Store& store;
    Informer<api::Volume>& volumes;
    Informer<api::VolumeClass>& classes;
    Informer<api::VolumeSnapshot>& snapshots;
    BaseImages& images;
    VolumeKeys& keys;
    EventRecorder& events;
    const VolumeProviderOptions& options;
    OwnWrites<api::Volume>::Changed wake;  ///< for changes that others made during a turn
    std::function<void()> note_progress;   ///< of a copy, which may take as long as it likes
    Clock& clock;
  };
  explicit VolumeReconciler(Parts parts)
      : parts_(parts),
        writes_(parts.store, parts.volumes),
        handover_({parts.store, parts.volumes, writes_, parts.keys, parts.events, parts.options, parts.clock}),
        growth_(parts.volumes, parts.options) {}

  Result<Requeue> reconcile(const std::string& key, std::stop_token stop);
  /// The volume is gone from the store of objects.
  void forget(const std::string& uid) {
    writes_.forget(uid);
    parts_.keys.forget(uid);
    handover_.forget(uid);
  }
  /// Whether a change that the cache tells needs no turn.
  bool is_expected(const store::Shared<api::Volume>& before, const store::Shared<api::Volume>& after) {
    return writes_.is_expected(before, after);
  }
  VolumeHandover& handover() noexcept { return handover_; }

 private:
  /// What one turn found out.
  struct Findings {
    std::optional<storage::Volume> seen;
    std::optional<api::VolumeAccess> access;
    std::optional<Trouble> trouble;
    std::optional<Trouble> in_the_way;  ///< why its claimer may not use it yet
    std::optional<Trouble> kept;        ///< why it is not removed although it was deleted
    /// Whether the data that was made can be had.
    enum class Use {
      unknown,  ///< the turn did not come so far
      good,
      none,  ///< `trouble` says why, and what to do
    };
    Use use = Use::unknown;
    std::optional<Duration> look_again;

    void take(const VolumeHandover::Outcome& outcome);
  };
  using Offer = ClassOffer<api::Volume, VolumeProviderOptions>;

  storage::Limits limits_for(const api::VolumeClass& volume_class) const;
  Result<void> make(const api::Volume& volume, Findings& findings, std::stop_token stop);
  Result<bool> find_room(const api::Volume& volume, const Offer& offer, std::uint64_t size, Findings& findings);
  Result<void> create(const api::Volume& volume, const Offer& offer, storage::VolumeSpec spec, Findings& findings,
                      std::stop_token stop);
  /// False: it waits, or cannot be; `findings` say why.
  Result<bool> add_source(const api::Volume& volume, const Offer& offer, storage::VolumeSpec& spec, Findings& findings,
                          std::stop_token stop);
  Result<bool> add_image(const api::Volume& volume, const Offer& offer, storage::VolumeSpec& spec, Findings& findings,
                         std::stop_token stop);
  Result<bool> add_snapshot(const api::Volume& volume, const Offer& offer, storage::VolumeSpec& spec,
                            Findings& findings);
  Result<std::optional<storage::EncryptionKey>> users_key(const api::Volume& volume, Findings& findings);
  Result<bool> add_key(const api::Volume& volume, const api::VolumeClass& volume_class, storage::VolumeSpec& spec,
                       Findings& findings);
  Result<void> grow(const api::Volume& volume, const Offer& offer, std::uint64_t size, Findings& findings);
  Result<void> adjust(const api::Volume& volume, const Offer& offer, const storage::VolumeSpec& wanted,
                      Findings& findings);
  Result<void> publish(const api::Volume& volume, const Offer& offer, Findings& findings);
  Result<Requeue> bring_up(const api::Volume& volume, std::stop_token stop);
  Result<void> hand_over_last(const api::Volume& volume, Findings& findings);
  Result<Requeue> tear_down(const api::Volume& volume);
  Result<void> remove_data(const api::Volume& volume, const storage::BlockId& id, Findings& findings);
  /// Of `current`, as it shall be. Trouble that is news is told as an event too.
  api::VolumeStatus status_of(const api::Volume& current, const Findings& findings);
  Result<void> write_status(const api::Volume& volume, const Findings& findings);
  void tell(const api::Volume& volume, api::EventType type, std::string reason, std::string message,
            std::string action);

  Parts parts_;
  OwnWrites<api::Volume> writes_;
  VolumeHandover handover_;
  GrowthRoom growth_;
};

/// What a volume or snapshot is called in its store.
Result<storage::BlockId> block_id(const api::Metadata& metadata);

/// Written to a VolumeSnapshot when it is begun, because it outlives its volume: where its data is.
inline constexpr const char* snapshot_pool_annotation = "volumepoollet.ironcore.dev/volume-pool";
inline constexpr const char* snapshot_class_annotation = "volumepoollet.ironcore.dev/volume-class";
inline constexpr const char* snapshot_volume_annotation = "volumepoollet.ironcore.dev/volume-uid";
/// Empty without one.
std::string annotation_of(const api::Metadata& metadata, std::string_view name);

}  // namespace ironcore::control
