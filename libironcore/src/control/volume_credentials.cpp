// SPDX-License-Identifier: Apache-2.0
// Rotating and revoking, tenant by tenant.
#include "volume_credentials.hpp"

#include <algorithm>
#include <mutex>
#include <optional>

#include "pool_provider.hpp"
#include "trouble.hpp"
#include "volume_handover.hpp"
#include "volume_reconciler.hpp"
#include "volume_secrets.hpp"

namespace ironcore::control {

namespace {

/// Empty if it has none.
std::string_view credential_of(const api::Volume& volume) {
  return volume.status.use ? std::string_view(volume.status.use->credential) : std::string_view();
}

/// It may be told to use another one: nobody has it.
bool is_free(const api::Volume& volume) {
  return volume.status.use && !volume.status.use->machine;
}

/// The first few.
std::string names_of(const std::vector<store::Shared<api::Volume>>& volumes) {
  constexpr std::size_t most = 10;
  std::string names;
  for (std::size_t i = 0; i < std::min(most, volumes.size()); ++i)
    names += (names.empty() ? "" : ", ") + volumes[i]->metadata.name;
  if (volumes.size() > most) names += " and " + std::to_string(volumes.size() - most) + " more";
  return names;
}

constexpr const char* what_to_do = "; detach them, or stop their machines and release them";

storage::BlockStore* store_of(const api::Volume& volume, const VolumeProviderOptions& options) {
  const auto* name = PlacedKind<api::Volume>::class_of(volume);
  const auto offered = name == nullptr ? options.classes.end() : options.classes.find(*name);
  return offered == options.classes.end() ? nullptr : offered->second;
}

}  // namespace

void VolumeCredentials::tell(api::EventType type, const char* reason, std::string message) {
  if (const auto pool = parts_.pools.get(parts_.options.pool))
    parts_.events.record(reference_to(*pool), type, reason, std::move(message), "RotateCredentials");
}

auto VolumeCredentials::tenants() const -> std::map<Tenant, Volumes> {
  std::map<Tenant, Volumes> all;
  for (const auto& volume : parts_.volumes.list())
    if (auto* store = store_of(*volume, parts_.options); store != nullptr)
      all[{volume->metadata.namespace_, store}].push_back(volume);
  return all;
}

/// What is older gets a successor.
WallTime VolumeCredentials::due_before(const api::VolumePool& pool) {
  const auto now = parts_.clock.wall();
  const auto every = parts_.options.rotate_credentials_every;
  auto due = every > Duration::zero() ? now - every : WallTime::min();
  const auto text = annotation_of(pool.metadata, api::rotate_credentials_annotation);
  if (text.empty()) return due;
  const auto requested = parse_rfc3339(text);
  if (!requested) {
    if (text != refused_request_)
      tell(api::EventType::warning, "InvalidRequest",
           std::string(api::rotate_credentials_annotation) + " must be a time like " + to_rfc3339(now) + ": " +
               requested.error().message());
    refused_request_ = text;
    return due;
  }
  return *requested <= now ? std::max(due, *requested) : due;
}

/// Who uses it; empty if nobody did, and then it is revoked.
auto VolumeCredentials::revoke_unused(const Tenant& tenant, const std::string& name) -> Result<Volumes> {
  // What is handed out right now is not in any cache yet.
  const std::unique_lock lock(parts_.handing_out);
  IRONCORE_TRY(auto query, pool_queries<api::Volume>(parts_.options.pool));
  query.on_pool.namespace_ = tenant.first;
  IRONCORE_TRY(const auto volumes, store::list<api::Volume>(parts_.store, std::move(query.on_pool)));
  Volumes users;
  for (const auto& volume : volumes)
    // One of a class that is not offered any more may be in any store.
    if (auto* store = store_of(*volume, parts_.options);
        (store == nullptr || store == tenant.second) &&
        (credential_of(*volume) == name || has_unknown_credential(*volume)))
      users.push_back(volume);
  if (!users.empty()) return users;
  IRONCORE_CHECK(tenant.second->revoke_credential(tenant.first, name));
  tell(api::EventType::normal, "CredentialRevoked",
       "credential " + name + " of " + tenant.first + " is not used any more, and opens nothing now");
  return users;
}

/// Remembered for the condition, and told once.
void VolumeCredentials::note(const Tenant& tenant, const std::string& current, const std::string& old,
                             const Volumes& users, bool is_due) {
  Older now{.is_in_the_way = is_due};
  if (!users.empty()) now.users = old + " of " + tenant.first + " is still used by " + names_of(users);
  {
    const std::lock_guard lock(mutex_);
    const auto before = older_.extract(tenant);
    if (users.empty()) return;
    older_[tenant] = now;
    if (!is_due || (!before.empty() && before.mapped() == now)) return;
  }
  tell(api::EventType::warning, "CredentialInUse",
       "credential " + current + " of " + tenant.first +
           " is old, but cannot have a successor before the one before it is revoked: " + now.users + what_to_do);
  for (const auto& volume : users)
    parts_.events.record(reference_to(*volume), api::EventType::warning, "CredentialInUse",
                         "credential " + old +
                             ", with which the volume is attached, shall be revoked: detach the volume, or "
                             "stop its machine and release it; from the next attach on it has a newer one",
                         "RotateCredentials");
}

void VolumeCredentials::tell(api::VolumePoolStatus& status) {
  const std::lock_guard lock(mutex_);
  if (!has_looked_) return;
  if (older_.empty() && api::find_condition(status.conditions, "CredentialsCurrent") == nullptr) return;
  std::string all, in_the_way;
  for (const auto& [tenant, older] : older_) {
    all += (all.empty() ? "" : "; ") + older.users;
    if (older.is_in_the_way) in_the_way += (in_the_way.empty() ? "" : "; ") + older.users;
  }
  std::optional<Trouble> trouble;
  if (!in_the_way.empty())
    trouble = {"CredentialInUse", "no successor while an older credential is in use: " + in_the_way + what_to_do,
               Trouble::Kind::fault};
  const auto message = all.empty() ? std::string("no older credential is in use")
                                   : "older credentials are revoked when their volumes are released: " + all;
  (void)set_condition(status.conditions, "CredentialsCurrent", trouble, "CredentialsCurrent", message.c_str(),
                      parts_.clock.wall());
}

Result<void> VolumeCredentials::look_at(const Tenant& tenant, const Volumes& volumes, WallTime due_before) {
  std::set<std::string> names;
  bool is_due = false;
  for (const auto& volume : volumes) {
    if (credential_of(*volume).empty()) continue;
    names.emplace(credential_of(*volume));
    const auto& since = volume->status.use->credential_since;
    is_due = is_due || (since && *since < due_before);
  }
  if (settled_.contains(tenant) && names.size() < 2 && !is_due) return {};
  settled_.erase(tenant);
  auto& [name, store] = tenant;
  IRONCORE_TRY(const auto credentials, store->credentials(name));
  std::string current, old;
  Volumes users;  // of the old one
  for (const auto& credential : credentials) {
    if (credential.is_current) {
      current = credential.name;
      continue;
    }
    IRONCORE_TRY(auto found, revoke_unused(tenant, credential.name));
    if (found.empty()) continue;
    old = credential.name;
    users = std::move(found);
  }
  // The next one for those who have none yet; who has a volume gets it when the machine has let go.
  for (const auto& volume : volumes)
    if (is_free(*volume) && credential_of(*volume) != current) parts_.wake(key_of(*volume));
  if (current.empty()) {
    settled_.insert(tenant);
    return {};
  }
  const bool is_current_due = std::any_of(volumes.begin(), volumes.end(), [&](const auto& volume) {
    return credential_of(*volume) == current && volume->status.use->credential_since &&
           *volume->status.use->credential_since < due_before;
  });
  note(tenant, current, old, users, is_current_due);
  if (is_current_due && !users.empty()) return {};
  if (is_current_due) {
    IRONCORE_CHECK(store->rotate_credential(name));
    tell(api::EventType::normal, "CredentialRotated",
         "credential " + current + " of " + name + " has a successor, which is used from the next attach on");
    for (const auto& volume : volumes)
      if (is_free(*volume)) parts_.wake(key_of(*volume));
    return {};
  }
  if (users.empty()) settled_.insert(tenant);
  return {};
}

/// Whether the Secrets of a tenant have what opens its volumes. One that somebody revoked by hand opens nothing any more, and only the store knows.
Result<void> VolumeCredentials::compare(const Tenant& tenant, const Volumes& volumes) {
  auto& [name, store] = tenant;
  for (const auto& volume : volumes) {
    if (credential_of(*volume).empty()) continue;
    IRONCORE_TRY(const auto id, block_id(volume->metadata));
    const auto access = store->access(id);
    if (!access && access.error().code() == ErrorCode::not_found) continue;
    if (!access) return access.error();
    IRONCORE_TRY(const auto secret, read_secret(parts_.store, owned_secret_of(*volume)));
    const auto differs = [&](const auto& entry) { return secret->data.at(entry.first).value != entry.second; };
    const auto is_missing = [&](const auto& entry) { return !secret->data.contains(entry.first); };
    // Nobody finds anything there while a volume goes from one machine to the next.
    if (!secret || std::any_of(access->secrets.begin(), access->secrets.end(), is_missing)) continue;
    if (std::none_of(access->secrets.begin(), access->secrets.end(), differs)) return {};
    const auto what = "credential " + std::string(credential_of(*volume)) + " of " + name +
                      " opened nothing any more, because somebody removed it from the store; the Secrets of its "
                      "volumes get another one";
    tell(api::EventType::warning, "CredentialReplaced", what);
    for (const auto& each : volumes) {
      if (!is_free(*each))
        parts_.events.record(reference_to(*each), api::EventType::warning, "CredentialReplaced",
                             what + "; what has the volume open must attach it again", "ReplaceCredential");
      parts_.wake(key_of(*each));
    }
    return {};
  }
  return {};
}

/// A few each time, because each costs a question to the store.
void VolumeCredentials::compare_some(const std::map<Tenant, Volumes>& all) {
  constexpr std::size_t at_once = 100;
  auto next = compared_ ? all.upper_bound(*compared_) : all.begin();
  for (auto left = std::min(at_once, all.size()); left > 0; --left) {
    if (next == all.end()) next = all.begin();
    compared_ = next->first;
    // The Secrets of others change in these days.
    if (settled_.contains(next->first))
      if (const auto compared = compare(next->first, next->second); !compared)
        parts_.log.warning("whether the credential of a tenant opens its volumes is not known",
                           {{"tenant", next->first.first}, {"error", compared.error().message()}});
    ++next;
  }
}

void VolumeCredentials::look(std::stop_token stop) {
  const auto pool = parts_.pools.get(parts_.options.pool);
  if (!pool) return;
  const auto due = due_before(*pool);
  const auto all = tenants();
  std::erase_if(settled_, [&](const Tenant& tenant) { return !all.contains(tenant); });
  {
    const std::lock_guard lock(mutex_);
    std::erase_if(older_, [&](const auto& entry) { return !all.contains(entry.first); });
  }
  bool is_complete = true;
  for (const auto& [tenant, volumes] : all) {
    if (stop.stop_requested()) return;
    const auto looked = look_at(tenant, volumes, due);
    if (looked) continue;
    is_complete = false;
    parts_.log.warning("the credentials of a tenant are not looked after",
                       {{"tenant", tenant.first}, {"error", looked.error().message()}});
  }
  compare_some(all);
  const std::lock_guard lock(mutex_);
  has_looked_ = has_looked_ || is_complete;
}

}  // namespace ironcore::control
