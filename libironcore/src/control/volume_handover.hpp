// SPDX-License-Identifier: Apache-2.0
// Who may use a volume, and what opens it: written together, so that neither is ahead of the other.
#pragma once

#include <functional>
#include <map>
#include <mutex>
#include <optional>
#include <shared_mutex>
#include <string>
#include <unordered_map>

#include "ironcore/control/informer.hpp"
#include "own_writes.hpp"
#include "volume_keys.hpp"

namespace ironcore::control {

/// A volume has one holder (`status.use.machine`): the machine that has claimed it and that nobody who had it before stands in the way of. What opens it for the
/// holder is in the Secret before the holder is told, stays as it is until the holder has let go, and is not there for anybody between. Thread: any, one at
/// a time for each volume.
///
///     nobody ── claimed ──▶ held by the claimer ── released, or claimed by another ──▶ in the way ── has it open no more, or was fenced ──▶ nobody
///
class VolumeHandover {
 public:
  struct Parts {
    store::Store& store;
    Informer<api::Volume>& volumes;
    OwnWrites<api::Volume>& writes;
    VolumeKeys& keys;
    EventRecorder& events;
    const VolumeProviderOptions& options;
    Clock& clock;
  };
  explicit VolumeHandover(Parts parts) : parts_(parts) {}

  struct Outcome {
    std::optional<api::VolumeAccess> access;
    std::optional<Trouble> in_the_way;  ///< why the machine that has claimed it may not use it yet
    std::optional<Trouble> trouble;     ///< of the key
    std::optional<Duration> look_again;
  };
  /// What else there is to say about the volume, once `outcome` is known; written with the rest.
  using Amend = std::function<void(api::VolumeStatus&)>;
  /// One turn for a volume that is there. `outcome` is right as far as it came, also after an error. `amend` may be empty.
  Result<void> turn(const api::Volume& volume, storage::BlockStore& store, const storage::Volume& seen,
                    Outcome& outcome, const Amend& amend);

  /// Fences those who have a volume open that nobody claims, if the host of the last holder is dead. True if the volume is free now.
  Result<bool> clear_way(const api::Volume& volume, storage::BlockStore& store, const storage::BlockId& id);

  /// Whether this is what the last turn made of the volume's Secret: then it needs no other one. `uid`: the volume's.
  bool is_as_left(const std::string& uid, const std::string& content);
  /// The volume is gone from the store of objects.
  void forget(const std::string& uid);

  /// Held alone by who revokes a credential, and shared while one is handed out.
  std::shared_mutex& handing_out() noexcept { return handing_out_; }

 private:
  using Data = std::map<std::string, std::string>;
  struct Step;

  Result<std::string> pool_of(const std::string& namespace_, const api::LocalUidReference& machine);
  Result<bool> is_clear(const api::Volume& volume, storage::BlockStore& store, const storage::BlockId& id,
                        const api::VolumeUse& use, std::optional<Trouble>& in_the_way);
  Result<void> decide_holder(Step& step);
  Result<void> add_key(Step& step);
  Result<void> fill(Step& step, const storage::Access& access);
  Result<void> write(const Step& step, const Amend& amend);
  WallTime since(const Step& step, const std::string& credential);

  Parts parts_;
  std::shared_mutex handing_out_;
  std::mutex mutex_;
  std::unordered_map<std::string, std::string> left_;  ///< contents of Secrets, by the volume's uid
};

/// The tenant's volumes that have a credential, by `namespace/credential`: an index that the provider adds.
inline constexpr const char* by_credential = "credential";

/// What is in the Secret of the volume, or was, was never told: any credential of its tenant may be in use.
inline bool has_unknown_credential(const api::Volume& volume) {
  return !volume.status.use && volume.status.access && volume.status.access->secret_ref;
}

}  // namespace ironcore::control
