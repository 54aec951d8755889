// SPDX-License-Identifier: Apache-2.0
// Holders, fencing, credentials and keys of one volume.
#include "volume_handover.hpp"

#include <algorithm>
#include <mutex>
#include <vector>

#include "ironcore/api/compute.hpp"
#include "ironcore/control/pool_health.hpp"
#include "ironcore/crypto/secret.hpp"

namespace ironcore::control {

namespace {

bool is_claimed(const api::Volume& volume) {
  return volume.spec.claim_ref && !volume.spec.claim_ref->uid.empty();
}

bool is_claimed_by(const api::Volume& volume, const api::LocalUidReference& machine) {
  return is_claimed(volume) && volume.spec.claim_ref->uid == machine.uid;
}

std::string names_of(const std::vector<storage::Client>& clients) {
  std::string names;
  for (const auto& client : clients) {
    names += (names.empty() ? "" : ", ") + client.name;
    if (!client.address.empty()) names += " at " + client.address;
  }
  return names;
}

/// Of the machine that had a volume, for people.
std::string holder_text(const api::VolumeUse& use) {
  return "machine " + use.machine->name + (use.machine_pool.empty() ? "" : " on machine pool " + use.machine_pool);
}

/// Texts of keys are wiped, however the turn ends.
void wipe_all(std::map<std::string, std::string>& data) {
  for (auto& [name, value] : data) crypto::wipe(value);
}

}  // namespace

/// What one turn knows.
struct VolumeHandover::Step {
  store::Shared<api::Volume> volume;  ///< the newest
  storage::BlockStore& store;
  const storage::Volume& seen;
  Outcome& outcome;
  api::VolumeUse use;       ///< as it shall be
  bool was_held = false;    ///< by the same machine before this turn
  bool is_held = false;     ///< by the machine that claims it
  bool is_blocked = false;  ///< by a holder that does not claim it any more
  OwnedSecret own;
  store::Shared<api::Secret> found;
  std::map<std::string, std::string> data;  ///< as it shall be in the Secret
  bool is_key_restored = false;             ///< what lay there was changed or removed
  std::optional<Error> later;               ///< what has to be tried again, after the rest is written

  ~Step() { wipe_all(data); }
};

// ---- who --------------------------------------------------------------------------------------------------------

/// Empty if nobody knows.
Result<std::string> VolumeHandover::pool_of(const std::string& namespace_, const api::LocalUidReference& machine) {
  const auto found = store::get<api::Machine>(parts_.store, namespace_, machine.name);
  if (!found && found.error().code() != ErrorCode::not_found) return found.error();
  if (!found || (*found)->metadata.uid != machine.uid || !(*found)->spec.machine_pool_ref) return std::string();
  return (*found)->spec.machine_pool_ref->name;
}

Result<bool> VolumeHandover::is_clear(const api::Volume& volume, storage::BlockStore& store, const storage::BlockId& id,
                                      const api::VolumeUse& use, std::optional<Trouble>& in_the_way) {
  const auto fail = [&](const Error& error) {
    in_the_way = Trouble::of(error, "FencingFailed");
    return error;
  };
  const auto clients = store.clients(id);
  if (!clients) return fail(clients.error());
  if (clients->empty()) return true;
  const auto names = names_of(*clients);
  in_the_way = {"InUse", "the volume is still open, by " + names + "; " + holder_text(use) +
                             " had it last, and must let go of it"};
  // Nobody wants it: whoever has it open does no harm.
  if (!is_claimed(volume) && !volume.metadata.deletion_timestamp) return false;
  const auto dead = is_host_dead(parts_.store, use.machine_pool);
  if (!dead) return fail(dead.error());
  if (!*dead) return false;
  std::vector<std::string> addresses;
  for (const auto& client : *clients) addresses.push_back(client.address);
  const auto fenced = store.fence(addresses);
  if (!fenced)
    return fail(fenced.error().within(names + " cannot be shut out, who had the volume open for " + holder_text(use) +
                                      ", which shows no sign of life"));
  parts_.events.record(reference_to(volume), api::EventType::warning, "ClientsFenced",
                       names + " had the volume open for " + holder_text(use) +
                           ", which shows no sign of life: they were shut out, and nothing they still write arrives",
                       "Fence");
  // Somebody may have come in the meantime.
  const auto after = store.clients(id);
  if (!after) return fail(after.error());
  if (!std::all_of(after->begin(), after->end(), [&](const auto& client) {
        return std::find(addresses.begin(), addresses.end(), client.address) != addresses.end();
      }))
    return false;
  in_the_way.reset();
  return true;
}

Result<bool> VolumeHandover::clear_way(const api::Volume& volume, storage::BlockStore& store,
                                       const storage::BlockId& id) {
  if (!volume.status.use || !volume.status.use->machine || is_claimed(volume)) return false;
  std::optional<Trouble> ignored;
  return is_clear(volume, store, id, *volume.status.use, ignored);
}

Result<void> VolumeHandover::decide_holder(Step& step) {
  const auto& volume = *step.volume;
  auto& use = step.use;
  if (use.machine && !is_claimed_by(volume, *use.machine)) {
    IRONCORE_TRY(const bool is_free, is_clear(volume, step.store, step.seen.id, use, step.outcome.in_the_way));
    step.is_blocked = !is_free;
    if (is_free) {
      use.machine.reset();
      use.machine_pool.clear();
    } else {
      step.outcome.look_again = parts_.options.look_again;
    }
  }
  if (!is_claimed(volume)) step.outcome.in_the_way.reset();  // in nobody's way
  if (step.is_blocked) return {};
  step.was_held = use.machine.has_value();
  if (is_claimed(volume) && !use.machine)
    use.machine = api::LocalUidReference{.name = volume.spec.claim_ref->name, .uid = volume.spec.claim_ref->uid};
  step.is_held = use.machine.has_value();
  if (step.is_held && use.machine_pool.empty()) {
    IRONCORE_TRY(use.machine_pool, pool_of(volume.metadata.namespace_, *use.machine));
  }
  return {};
}

// ---- with what --------------------------------------------------------------------------------------------------

/// Since when the tenant has had a credential: as its other volumes say.
WallTime VolumeHandover::since(const Step& step, const std::string& credential) {
  auto earliest = parts_.clock.wall();
  for (const auto& other :
       parts_.volumes.by_index(by_credential, step.volume->metadata.namespace_ + "/" + credential)) {
    const auto offered = parts_.options.classes.find(other->spec.volume_class_ref->name);
    if (offered == parts_.options.classes.end() || offered->second != &step.store) continue;
    if (other->status.use->credential_since) earliest = std::min(earliest, *other->status.use->credential_since);
  }
  return earliest;
}

/// The key, where the Secret shall have it. What is there may have been changed: only a key that opens the data is handed on.
Result<void> VolumeHandover::add_key(Step& step) {
  const KeyedData data{step.store, step.seen.id};
  auto& trouble = step.outcome.trouble;
  const bool is_there = step.found && step.found->data.contains(encryption_key_entry);
  const auto leave = [&] { step.data[encryption_key_entry] = step.found->data.at(encryption_key_entry).value; };
  // The header may be another one since somebody got the volume, or had it.
  const auto& use = step.volume->status.use;
  if (step.use.machine != (use ? use->machine : std::nullopt)) parts_.keys.forget(step.volume->metadata.uid);
  if (step.is_held || !parts_.keys.is_wrapping()) {
    IRONCORE_TRY(const auto key, parts_.keys.find_for(data, *step.volume, step.found, trouble));
    if (!key) {
      trouble = parts_.keys.lost(*step.volume);
      return Error(ErrorCode::not_found, trouble->message);
    }
    const auto before = is_there ? encryption_key_in(*step.found) : Result<storage::EncryptionKey>(*key);
    const bool is_same = before && crypto::constant_time_equal(before->bytes(), key->bytes());
    step.is_key_restored = !is_same || (step.was_held && !is_there);
    if (is_there && is_same) {
      leave();
    } else {
      step.data[encryption_key_entry] = encryption_key_text(*key);
    }
    return {};
  }
  if (!is_there) {
    // Nobody has it now: whoever wants it next is told before.
    const auto key = parts_.keys.find_for(data, *step.volume, step.found, trouble);
    if (key && *key) return {};
    if (key) trouble = parts_.keys.lost(*step.volume);
    step.later = key ? Error(ErrorCode::not_found, trouble->message) : key.error();
    return {};
  }
  // Nobody needs it there any more; it goes when it can be had again.
  const auto is_kept = parts_.keys.secure(data, *step.volume, *step.found, trouble);
  if (is_kept) {
    step.is_key_restored = !*is_kept;
    return {};
  }
  leave();
  step.later = is_kept.error();
  return {};
}

/// What shall be in the Secret.
Result<void> VolumeHandover::fill(Step& step, const storage::Access& access) {
  auto& use = step.use;
  const bool is_complete =
      step.found && std::all_of(access.secrets.begin(), access.secrets.end(),
                                [&](const auto& entry) { return step.found->data.contains(entry.first); });
  if (step.is_blocked) {
    // Until the way is clear nobody finds anything to open it with. The key stays where it is as long as it is the only copy.
    if (step.seen.is_encrypted) IRONCORE_CHECK(add_key(step));
    return {};
  }
  // Whoever has it attached did so with an older credential, unless that was revoked by hand and opens nothing any more.
  bool is_older = step.was_held && !use.credential.empty() && use.credential != access.credential;
  if (is_older) {
    IRONCORE_TRY(const auto known, step.store.credentials(step.volume->metadata.namespace_));
    is_older = std::any_of(known.begin(), known.end(), [&](const auto& one) { return one.name == use.credential; });
  }
  for (const auto& [name, value] : access.secrets)
    step.data[name] = is_older && is_complete ? step.found->data.at(name).value : value;
  // Without what was in the Secret the next attach has the new one, and the older one counts until it lets go.
  if (!is_older && use.credential != access.credential) {
    use.credential = access.credential;
    use.credential_since.reset();
  }
  if (!use.credential.empty() && !use.credential_since) use.credential_since = since(step, use.credential);
  if (step.seen.is_encrypted) IRONCORE_CHECK(add_key(step));
  return {};
}

Result<void> VolumeHandover::write(const Step& step, const Amend& amend) {
  const auto& volume = *step.volume;
  store::Transaction transaction;
  if (step.found || !step.data.empty()) {
    if (auto operation = secret_operation(step.own, step.found, step.data))
      transaction.operations.push_back(std::move(*operation));
    const std::lock_guard lock(mutex_);
    left_[volume.metadata.uid] = content_of(filled(step.own, step.found, step.data));
  }
  auto after = volume;
  after.status.use = step.use;
  if (amend) amend(after.status);
  const bool is_told = volume.status != after.status;
  const auto before = store::Object::of(volume);
  if (is_told) {
    transaction.operations.emplace_back(store::Patch{
        store::key_of(before), api::merge_patch(before, store::Object::of(std::move(after))), store::Part::status});
  }
  if (transaction.operations.empty()) return {};
  // A claim that came in the meantime comes first.
  transaction.preconditions.emplace_back(store::Unchanged{store::key_of(before), volume.metadata.resource_version});
  IRONCORE_TRY(const auto committed,
               within(parts_.store.commit(transaction), "hand over volume " + volume.metadata.name));
  if (is_told) parts_.writes.remember(committed.objects.back());
  return {};
}

bool VolumeHandover::is_as_left(const std::string& uid, const std::string& content) {
  const std::lock_guard lock(mutex_);
  const auto left = left_.find(uid);
  return left != left_.end() && left->second == content;
}

void VolumeHandover::forget(const std::string& uid) {
  const std::lock_guard lock(mutex_);
  left_.erase(uid);
}

Result<void> VolumeHandover::turn(const api::Volume& volume, storage::BlockStore& store, const storage::Volume& seen,
                                  Outcome& outcome, const Amend& amend) {
  auto newest = parts_.writes.newest_of(volume);
  if (!newest) return {};
  Step step{.volume = std::move(newest),
            .store = store,
            .seen = seen,
            .outcome = outcome,
            .use = {},
            .own = {},
            .found = {},
            .data = {},
            .is_key_restored = false,
            .later = {}};
  if (step.volume->status.use) step.use = *step.volume->status.use;
  step.own = owned_secret_of(*step.volume);
  IRONCORE_CHECK(decide_holder(step));
  const std::shared_lock lock(handing_out_);
  const auto access = store.access(seen.id);
  if (!access) {
    outcome.trouble = Trouble::of(access.error(), "AccessNotReady");
    return access.error();
  }
  IRONCORE_TRY(step.found, read_secret(parts_.store, step.own));
  IRONCORE_CHECK(fill(step, *access));
  api::VolumeAccess told;
  told.driver = access->driver;
  told.handle = access->handle;
  told.volume_attributes = access->attributes;
  if (!access->secrets.empty() || step.seen.is_encrypted) told.secret_ref = api::LocalReference{.name = step.own.name};
  outcome.access = std::move(told);
  if (const auto written = write(step, amend); !written) {
    outcome.access.reset();
    return written.error();
  }
  if (step.is_key_restored) parts_.keys.tell_restored(*step.volume);
  if (step.later) return *step.later;
  return {};
}

}  // namespace ironcore::control
