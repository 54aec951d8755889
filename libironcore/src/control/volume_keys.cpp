// SPDX-License-Identifier: Apache-2.0
// Wrapping, unwrapping, rewrapping.
#include "volume_keys.hpp"

#include <algorithm>
#include <iterator>
#include <set>

#include "ironcore/crypto/secret.hpp"
#include "volume_reconciler.hpp"

namespace ironcore::control {

namespace {

/// Of a Secret with a wrapped key: the entry, a label that all have, and an annotation with the pool whose provider made it.
constexpr const char* wrapped_key_entry = "wrappedKey";
constexpr const char* wrapped_key_label = "storage.ironcore.dev/wrapped-key";
constexpr const char* pool_annotation = "storage.ironcore.dev/volume-pool";
constexpr const char* context_annotation = "storage.ironcore.dev/key-of";

/// What the KeyManagement says against it.
Trouble refusal(const Error& error) {
  switch (error.code()) {
    case ErrorCode::unavailable:
    case ErrorCode::timeout:
      return {"KeyManagementUnavailable", error.message(), Trouble::Kind::failure};
    case ErrorCode::forbidden:
      return {"KeyManagementForbidden", error.message(), Trouble::Kind::fault};
    case ErrorCode::not_found:
      return {"KeyEncryptionKeyMissing", error.message(), Trouble::Kind::fault};
    case ErrorCode::corrupt:
      return {"EncryptionKeyDamaged", error.message(), Trouble::Kind::fault};
    default:
      return Trouble::named("KeyManagementFailed", error);
  }
}

Error refused(const Error& error, std::string_view doing, std::optional<Trouble>& trouble) {
  auto told = error.within(doing);
  trouble = refusal(told);
  return told;
}

Result<crypto::WrappedKey> wrapped_in(const api::Secret& secret) {
  const auto entry = secret.data.find(wrapped_key_entry);
  if (entry == secret.data.end())
    return Error(ErrorCode::corrupt, "it has no entry " + std::string(wrapped_key_entry) + "; bring it back");
  return crypto::WrappedKey::parse(entry->second.value);
}

std::string pool_of(const api::Volume& volume) {
  return volume.spec.volume_pool_ref ? volume.spec.volume_pool_ref->name : "";
}
std::string pool_of(const api::VolumeSnapshot& snapshot) {
  return annotation_of(snapshot.metadata, snapshot_pool_annotation);
}

bool is_same(const storage::EncryptionKey& a, const storage::EncryptionKey& b) {
  return crypto::constant_time_equal(a.bytes(), b.bytes());
}

/// Only over what was read: another provider may be at work.
Result<void> replace(store::Store& store, const api::Secret& before, api::Secret after) {
  const auto known = store::Object::of(before);
  store::Transaction transaction;
  transaction.operations.emplace_back(
      store::Patch{store::key_of(known), api::merge_patch(known, store::Object::of(std::move(after)))});
  transaction.preconditions.emplace_back(store::Unchanged{store::key_of(known), before.metadata.resource_version});
  IRONCORE_CHECK(store.commit(transaction));
  return {};
}

/// What the Secret says about the key in it, for who looks at all of them.
bool is_marked(const api::Secret& secret, const std::string& pool, const std::string& context) {
  const auto says = [](const auto& notes, const char* name, const std::string& value) {
    const auto found = notes.find(name);
    return found != notes.end() && found->second == value;
  };
  const auto& metadata = secret.metadata;
  return says(metadata.labels, wrapped_key_label, "true") && says(metadata.annotations, pool_annotation, pool) &&
         says(metadata.annotations, context_annotation, context);
}
api::Secret marked(api::Secret secret, const std::string& pool, const std::string& context) {
  secret.metadata.labels[wrapped_key_label] = "true";
  secret.metadata.annotations[pool_annotation] = pool;
  secret.metadata.annotations[context_annotation] = context;
  return secret;
}

std::string list_of(const std::vector<crypto::KeyVersion>& versions) {
  std::string all;
  for (const auto& version : versions) all += (all.empty() ? "" : ", ") + version.to_text();
  return all;
}

}  // namespace

// ---- one key ------------------------------------------------------------------------------------------------------

auto VolumeKeys::place_of(const api::Volume& volume) -> Place {
  return {.name = "volume " + volume.metadata.name,
          .wrapped = wrapped_key_secret_of(volume),
          .plain = owned_secret_of(volume),
          .context = "volume " + volume.metadata.namespace_ + "/" + volume.metadata.uid};
}
auto VolumeKeys::place_of(const api::VolumeSnapshot& snapshot) -> Place {
  return {.name = "volume snapshot " + snapshot.metadata.name,
          .wrapped = wrapped_key_secret_of(snapshot),
          .plain = owned_secret_of(snapshot),
          .context = "volumesnapshot " + snapshot.metadata.namespace_ + "/" + snapshot.metadata.uid};
}

/// People edit Secrets, and bring them back without what was on them.
Result<void> VolumeKeys::mark(const Place& place, const api::Secret& secret) {
  if (is_marked(secret, options_.pool, place.context)) return {};
  const auto written = replace(store_, secret, marked(secret, options_.pool, place.context));
  // Gone, or changed by somebody: who looks next sees it.
  if (!written && written.error().code() != ErrorCode::conflict && written.error().code() != ErrorCode::not_found)
    return written.error().within("write secret " + place.wrapped.name);
  return {};
}

Result<std::optional<storage::EncryptionKey>> VolumeKeys::find_wrapped(const Place& place,
                                                                       std::optional<Trouble>& trouble) {
  IRONCORE_TRY(const auto found, read_secret(store_, place.wrapped));
  if (!found) return std::optional<storage::EncryptionKey>();
  IRONCORE_CHECK(mark(place, *found));
  const auto doing = "key of " + place.name + " in secret " + place.wrapped.name;
  const auto wrapped = wrapped_in(*found);
  if (!wrapped) return refused(wrapped.error(), doing, trouble);
  if (!is_wrapping())
    return refused(Error(ErrorCode::not_found,
                         "it is wrapped with " + wrapped->by.to_text() + "; give the provider the keys that it had"),
                   doing, trouble);
  const auto key = options_.keys->unwrap(*wrapped, as_bytes(place.context));
  if (!key) return refused(key.error(), doing, trouble);
  return std::optional(*key);
}

Result<std::optional<storage::EncryptionKey>> VolumeKeys::find(const Place& place, std::optional<Trouble>& trouble) {
  IRONCORE_TRY(const auto wrapped, find_wrapped(place, trouble));
  if (wrapped) return wrapped;
  const auto plain = read_secret(store_, place.plain);
  if (plain && (!*plain || !(*plain)->data.contains(encryption_key_entry)))
    return std::optional<storage::EncryptionKey>();
  const auto key = plain ? encryption_key_in(**plain) : Result<storage::EncryptionKey>(plain.error());
  if (key) return std::optional(*key);
  trouble = Trouble::named("VolumeEncryptionSecretNotReady", key.error());
  return key.error();
}

Result<void> VolumeKeys::write_wrapped(const Place& place, const store::Shared<api::Secret>& found,
                                       const storage::EncryptionKey& key, std::optional<Trouble>& trouble) {
  const auto wrapped = options_.keys->wrap(key, as_bytes(place.context));
  if (!wrapped) return refused(wrapped.error(), "wrap the key of " + place.name, trouble);
  auto fresh = marked(found ? *found : new_secret(place.wrapped), options_.pool, place.context);
  fresh.data[wrapped_key_entry].value = wrapped->to_text();
  if (found) return within(replace(store_, *found, std::move(fresh)), "write secret " + place.wrapped.name);
  // Never over another one: it would be the only way to the data.
  const auto made = store::create(store_, std::move(fresh));
  if (made) return {};
  if (made.error().code() == ErrorCode::already_exists)
    return Error(ErrorCode::conflict, "secret " + place.wrapped.name + " was made by somebody else just now");
  return made.error().within("write secret " + place.wrapped.name);
}

Result<storage::EncryptionKey> VolumeKeys::keep(const Place& place, const storage::EncryptionKey& key,
                                                std::optional<Trouble>& trouble) {
  IRONCORE_TRY(const auto kept, find(place, trouble));
  if (kept) return *kept;
  if (is_wrapping()) {
    IRONCORE_CHECK(write_wrapped(place, nullptr, key, trouble));
  } else {
    auto text = encryption_key_text(key);
    const auto written = write_secret(store_, place.plain, {{encryption_key_entry, text}});
    crypto::wipe(text);
    IRONCORE_CHECK(written);
  }
  return key;
}

// ---- one key, and data that is there ------------------------------------------------------------------------------

Result<bool> VolumeKeys::opens(const KeyedData& data, const storage::EncryptionKey& key,
                               std::optional<Trouble>& trouble) {
  {
    const std::lock_guard lock(mutex_);
    const auto known = proven_.find(data.id.uid);
    if (known != proven_.end() && known->second == crypto::sha256(key.bytes())) return true;
  }
  const auto is_it = data.store.is_key_of(data.id, key);
  if (!is_it) {
    trouble = Trouble::of(is_it.error(), "StoreFailed");
    if (is_it.error().code() == ErrorCode::corrupt)
      trouble = {"EncryptionHeaderDamaged", is_it.error().message(), Trouble::Kind::fault};
    return is_it.error();
  }
  if (*is_it) note(data.id, key);
  return *is_it;
}

void VolumeKeys::note(const storage::BlockId& id, const storage::EncryptionKey& key) {
  const std::lock_guard lock(mutex_);
  proven_[id.uid] = crypto::sha256(key.bytes());
}

void VolumeKeys::forget(const std::string& uid) {
  const auto parsed = Uid::parse(uid);
  const std::lock_guard lock(mutex_);
  if (parsed) proven_.erase(*parsed);
}

Result<store::Shared<api::Secret>> VolumeKeys::read_own(const Place& place) {
  auto found = read_secret(store_, place.plain);
  if (!found && found.error().code() == ErrorCode::already_exists) return store::Shared<api::Secret>();
  return found;
}

Result<std::optional<storage::EncryptionKey>> VolumeKeys::find_for(const KeyedData& data, const Place& place,
                                                                   const store::Shared<api::Secret>& plain,
                                                                   std::optional<Trouble>& trouble) {
  if (plain && plain->data.contains(encryption_key_entry))
    if (const auto key = encryption_key_in(*plain)) {
      IRONCORE_TRY(const bool is_it, opens(data, *key, trouble));
      if (is_it) return std::optional(*key);
    }
  IRONCORE_TRY(const auto wrapped, find_wrapped(place, trouble));
  if (wrapped) {
    IRONCORE_TRY(const bool is_it, opens(data, *wrapped, trouble));
    if (is_it) return wrapped;
  }
  return std::optional<storage::EncryptionKey>();
}

Trouble VolumeKeys::lost(const Place& place) const {
  return {key_is_lost,
          "no key that is kept opens the data of " + place.name + "; bring back secret " +
              (is_wrapping() ? place.wrapped : place.plain).name + " as it was, or put the key into " +
              encryption_key_entry + " of secret " + place.plain.name + ", owned by " + place.name +
              "; or bring back the header of the data, if that is what was replaced",
          Trouble::Kind::fault};
}

Result<void> VolumeKeys::bring_back(const Place& place, const storage::EncryptionKey& key,
                                    std::optional<Trouble>& trouble) {
  if (is_wrapping()) {
    IRONCORE_TRY(const auto found, read_secret(store_, place.wrapped));
    return write_wrapped(place, found, key, trouble);
  }
  IRONCORE_TRY(const auto found, read_secret(store_, place.plain));
  std::map<std::string, std::string> data;
  if (found)
    for (const auto& [name, value] : found->data) data[name] = value.value;
  data[encryption_key_entry] = encryption_key_text(key);
  const auto written = write_secret(store_, place.plain, data);
  for (auto& [name, value] : data) crypto::wipe(value);
  return written;
}

// What is wrapped was bound to its object when it was known to be right, so it wins. But only the data knows: without its word neither is thrown away.
Result<bool> VolumeKeys::secure(const KeyedData& data, const Place& place, const api::Secret& plain,
                                std::optional<Trouble>& trouble) {
  const auto key = encryption_key_in(plain);
  IRONCORE_TRY(const auto found, read_secret(store_, place.wrapped));
  std::optional<Error> refusal_of_wrapped;
  if (found) {
    const auto wrapped = wrapped_in(*found);
    const auto opened = wrapped ? options_.keys->unwrap(*wrapped, as_bytes(place.context))
                                : Result<storage::EncryptionKey>(wrapped.error());
    if (opened && key && is_same(*opened, *key)) return true;
    if (opened) {
      IRONCORE_TRY(const bool is_it, opens(data, *opened, trouble));
      if (is_it) return false;
    } else {
      refusal_of_wrapped = opened.error();
      if (opened.error().code() != ErrorCode::not_found && opened.error().code() != ErrorCode::corrupt)
        return refused(opened.error(), "key of " + place.name, trouble);
    }
  }
  if (key) {
    IRONCORE_TRY(const bool is_it, opens(data, *key, trouble));
    if (is_it) {
      // This is the last moment to replace what is wrapped.
      IRONCORE_CHECK(write_wrapped(place, found, *key, trouble));
      return true;
    }
  }
  if (refusal_of_wrapped) return refused(*refusal_of_wrapped, "key of " + place.name, trouble);
  trouble = lost(place);
  return Error(ErrorCode::not_found, trouble->message);
}

void VolumeKeys::tell_restored(api::ObjectReference about, const Place& place) {
  events_.record(std::move(about), api::EventType::warning, "EncryptionKeyRestored",
                 "entry " + std::string(encryption_key_entry) + " of secret " + place.plain.name +
                     " was changed or removed, which changes nothing: the key that opens the data is kept",
                 "ConfigureEncryption");
}

Result<void> VolumeKeys::wrap_old(const KeyedData& data, const api::VolumeSnapshot& snapshot,
                                  std::optional<Trouble>& trouble) {
  if (!is_wrapping()) return {};
  const auto place = place_of(snapshot);
  IRONCORE_TRY(const auto plain, read_own(place));
  if (!plain) return {};
  IRONCORE_TRY(const bool is_kept, secure(data, place, *plain, trouble));
  IRONCORE_CHECK(remove_secret(store_, place.plain));
  if (!is_kept) tell_restored(reference_to(snapshot), place);
  return {};
}

// ---- all keys -----------------------------------------------------------------------------------------------------

struct VolumeKeys::Round {
  std::vector<crypto::KeyVersion> versions;
  std::set<crypto::KeyVersion> needed;  ///< by what was there when the round looked
  std::size_t rewrapped = 0;
  std::size_t failed = 0;
  std::optional<Trouble> first_failure;
};

/// Nothing if it has no owner any more, or one of another pool.
template <class T>
auto VolumeKeys::place_for(const api::Secret& secret, const api::OwnerReference& owner)
    -> Result<std::optional<Place>> {
  const auto found = store::get<T>(store_, secret.metadata.namespace_, owner.name);
  if (!found && found.error().code() != ErrorCode::not_found) return found.error();
  if (!found || (*found)->metadata.uid != owner.uid) return std::optional<Place>();
  auto place = place_of(**found);
  if (place.wrapped.name != secret.metadata.name || pool_of(**found) != options_.pool) return std::optional<Place>();
  return std::optional(std::move(place));
}

auto VolumeKeys::place_of_owner(const api::Secret& secret) -> Result<std::optional<Place>> {
  for (const auto& owner : secret.metadata.owner_references) {
    if (owner.kind == api::Volume::info.kind) return place_for<api::Volume>(secret, owner);
    if (owner.kind == api::VolumeSnapshot::info.kind) return place_for<api::VolumeSnapshot>(secret, owner);
  }
  return std::optional<Place>();
}

Result<void> VolumeKeys::look_at(const api::Secret& secret, Round& round) {
  const auto& newest = round.versions.back();
  IRONCORE_TRY(const auto wrapped, wrapped_in(secret));
  round.needed.insert(wrapped.by);
  const auto& labels = secret.metadata.labels;
  const auto& notes = secret.metadata.annotations;
  const auto pool = notes.find(pool_annotation), context = notes.find(context_annotation);
  if (!labels.contains(wrapped_key_label) || pool == notes.end() || context == notes.end()) {
    IRONCORE_TRY(const auto place, place_of_owner(secret));
    if (!place) return {};
    ++round.rewrapped;  // with the next round
    return mark(*place, secret);
  }
  // Those of others are counted only: their provider may not have the newest version yet.
  if (wrapped.by == newest || pool->second != options_.pool) return {};
  IRONCORE_TRY(const auto key, options_.keys->unwrap(wrapped, as_bytes(context->second)));
  IRONCORE_TRY(const auto again, options_.keys->wrap(key, as_bytes(context->second)));
  if (again.by == wrapped.by) return {};
  auto after = secret;
  after.data[wrapped_key_entry].value = again.to_text();
  const auto written = replace(store_, secret, std::move(after));
  // Gone, or changed by somebody who knows better: the next round sees it.
  if (!written && written.error().code() != ErrorCode::conflict && written.error().code() != ErrorCode::not_found)
    return written.error();
  round.needed.insert(again.by);
  ++round.rewrapped;
  return {};
}

auto VolumeKeys::go_round(std::vector<crypto::KeyVersion> versions, std::stop_token stop) -> Result<Round> {
  Round round;
  round.versions = std::move(versions);
  // The type of a Secret never changes, but one that was brought back may have another one.
  store::Query of_type, labelled;
  IRONCORE_TRY(of_type.fields, store::FieldSelector::parse("type=" + std::string(api::volume_wrapped_key_secret_type)));
  IRONCORE_TRY(labelled.labels, store::LabelSelector::parse(wrapped_key_label));
  IRONCORE_TRY(auto secrets, store::list<api::Secret>(store_, std::move(of_type)));
  IRONCORE_TRY(const auto others, store::list<api::Secret>(store_, std::move(labelled)));
  std::ranges::copy_if(others, std::back_inserter(secrets),
                       [](const auto& one) { return one->type != api::volume_wrapped_key_secret_type; });
  for (const auto& secret : secrets) {
    if (stop.stop_requested()) return Error(ErrorCode::cancelled, "a stop was requested");
    const auto seen = look_at(*secret, round);
    if (seen) continue;
    ++round.failed;
    if (!round.first_failure)
      round.first_failure =
          refusal(seen.error().within("secret " + secret->metadata.namespace_ + "/" + secret->metadata.name));
  }
  return round;
}

void VolumeKeys::conclude(const Round& round) {
  const auto& newest = round.versions.back();
  std::vector<crypto::KeyVersion> unused;
  for (const auto& version : round.versions)
    if (version != newest && !round.needed.contains(version)) unused.push_back(version);
  const std::lock_guard lock(mutex_);
  if (round.first_failure) {
    trouble_ = round.first_failure;
    trouble_->message = std::to_string(round.failed) + " keys could not be wrapped with " + newest.to_text() +
                        ", and need the versions they have; the first one: " + trouble_->message;
  } else if (round.rewrapped > 0) {
    trouble_ = {"Rewrapping", "keys are being wrapped with " + newest.to_text()};
  } else if (clean_with_ == newest) {
    trouble_.reset();
    message_ = "all keys of the pool are wrapped with " + newest.to_text();
    if (!unused.empty()) message_ += "; no key in the store needs any more: " + list_of(unused);
  } else {
    return;
  }
  has_looked_ = true;
}

void VolumeKeys::look(std::stop_token stop) {
  if (!is_wrapping()) return;
  auto versions = options_.keys->versions();
  if (versions && versions->empty()) versions = Error(ErrorCode::not_found, "there is no key at all");
  if (!versions) {
    const std::lock_guard lock(mutex_);
    has_looked_ = true;
    trouble_ = refusal(versions.error().within("ask for versions of the key"));
    next_round_ = {};
    return;
  }
  const auto newest = versions->back();
  if (clean_with_ == newest && clock_.now() < next_round_) return;
  const auto round = go_round(std::move(*versions), stop);
  if (!round) {
    if (!stop.stop_requested()) log_.warning("wrapped keys are not looked at", {{"error", round.error().message()}});
    return;
  }
  conclude(*round);
  const bool is_clean = round->rewrapped == 0 && round->failed == 0;
  // A key that was wrapped with the version before may have been on its way while this round looked: only a second one that finds nothing says so.
  const bool is_sure = is_clean && clean_with_ == newest;
  clean_with_ = is_clean ? std::optional(newest) : std::nullopt;
  next_round_ = is_sure ? clock_.now() + options_.look_at_keys_every : Instant{};
}

void VolumeKeys::tell(const api::VolumePool& pool, api::VolumePoolStatus& status) {
  const std::lock_guard lock(mutex_);
  if (!has_looked_) return;
  if (set_condition(status.conditions, "KeysCurrent", trouble_, "KeysCurrent", message_.c_str(), clock_.wall()))
    events_.record(reference_to(pool), trouble_->event_type(), trouble_->reason, trouble_->message, "RewrapKeys");
}

}  // namespace ironcore::control
