// SPDX-License-Identifier: Apache-2.0
// Credentials of tenants: old ones get a successor, and go when nobody needs them any more.
#pragma once

#include <functional>
#include <map>
#include <mutex>
#include <optional>
#include <set>
#include <shared_mutex>
#include <stop_token>
#include <string>
#include <utility>
#include <vector>

#include "ironcore/control/event_recorder.hpp"
#include "ironcore/control/informer.hpp"
#include "ironcore/control/volume_provider.hpp"

namespace ironcore::control {

/// A tenant has one credential in each store, or two while the older one is still in use: which is so while a volume says it in `status.use.credential`. Nothing is
/// remembered but in the volumes and the stores. Thread: one.
class VolumeCredentials {
 public:
  struct Parts {
    store::Store& store;
    Informer<api::Volume>& volumes;
    Informer<api::VolumePool>& pools;
    EventRecorder& events;
    const VolumeProviderOptions& options;
    std::shared_mutex& handing_out;                    ///< of VolumeHandover
    std::function<void(const std::string& key)> wake;  ///< a volume shall get the new one
    Clock& clock;
    Log& log;
  };
  explicit VolumeCredentials(Parts parts) : parts_(std::move(parts)) {}

  /// One look at all tenants.
  void look(std::stop_token stop);

  /// Condition `CredentialsCurrent` of the pool: none before all were looked at and an older credential was found in use. Thread: any.
  void tell(api::VolumePoolStatus& status);

 private:
  using Tenant = std::pair<std::string, storage::BlockStore*>;
  using Volumes = std::vector<store::Shared<api::Volume>>;

  std::map<Tenant, Volumes> tenants() const;
  WallTime due_before(const api::VolumePool& pool);
  Result<void> look_at(const Tenant& tenant, const Volumes& volumes, WallTime due_before);
  void compare_some(const std::map<Tenant, Volumes>& all);
  Result<void> compare(const Tenant& tenant, const Volumes& volumes);
  Result<Volumes> revoke_unused(const Tenant& tenant, const std::string& name);
  void note(const Tenant& tenant, const std::string& current, const std::string& old, const Volumes& users,
            bool is_due);
  void tell(api::EventType type, const char* reason, std::string message);

  Parts parts_;
  std::set<Tenant> settled_;  ///< have one credential
  struct Older {
    std::string users;           ///< which credential, of whom, is used by which volumes
    bool is_in_the_way = false;  ///< of a successor that is due
    friend bool operator==(const Older&, const Older&) = default;
  };
  std::mutex mutex_;
  std::map<Tenant, Older> older_;   ///< that are still used
  bool has_looked_ = false;         ///< at all of them
  std::optional<Tenant> compared_;  ///< the last one
  std::string refused_request_;
};

}  // namespace ironcore::control
