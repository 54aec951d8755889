// SPDX-License-Identifier: Apache-2.0
// Class, finalizer, store, quota, limits, settings, keys, status: the steps of one bucket.
#include "bucket_reconciler.hpp"

#include <algorithm>
#include <limits>

#include "bucket_settings.hpp"
#include "status_draft.hpp"
#include "volume_secrets.hpp"

namespace ironcore::control {

namespace {

std::uint64_t capability(const api::BucketClass& bucket_class, const char* name) {
  const auto found = bucket_class.capabilities.find(name);
  return found == bucket_class.capabilities.end()
             ? 0
             : static_cast<std::uint64_t>(std::max<std::int64_t>(0, found->second.value()));
}

api::ResourceList usage_of(const storage::Bucket& seen) {
  constexpr std::uint64_t most = std::numeric_limits<std::int64_t>::max();
  return {{"storage", Quantity::bytes(static_cast<std::int64_t>(std::min(seen.bytes, most)))},
          {"objects", Quantity(static_cast<std::int64_t>(std::min(seen.objects, most)))}};
}

std::string annotation_of(const api::Metadata& metadata, std::string_view name) {
  const auto found = metadata.annotations.find(std::string(name));
  return found == metadata.annotations.end() ? "" : found->second;
}

}  // namespace

storage::BucketQuota quota_of(const api::BucketClass& bucket_class) {
  const auto bytes = capability(bucket_class, "storage");
  return {.bytes = bytes + (1024 - bytes % 1024) % 1024, .objects = capability(bucket_class, "objects")};
}

void BucketReconciler::tell(const api::Bucket& bucket, api::EventType type, std::string reason, std::string message,
                            std::string action) {
  parts_.events.record(reference_to(bucket), type, std::move(reason), std::move(message), std::move(action));
}

// ---- the store ----------------------------------------------------------------------------------------------------

Result<void> BucketReconciler::look(const api::Bucket& bucket, const Uid& id, storage::BucketStore& store,
                                    Findings& findings, const std::stop_token& stop) {
  if (bucket.status.bucket_id.empty()) {
    auto made = store.create(
        id, {.name = storage::bucket_name(bucket.metadata.name, id), .is_lockable = bucket.spec.lockable}, stop);
    if (!made) {
      const auto& error = made.error();
      findings.trouble = Trouble::of(error, "BucketCreationFailed");
      if (error.code() == ErrorCode::already_exists)
        findings.trouble = {"NameTaken",
                            error.message() + ". Delete this object and make it again: it gets another name",
                            Trouble::Kind::fault};
      return error;
    }
    tell(bucket, api::EventType::normal, "BucketCreationSucceeded", "bucket " + made->name + " was made",
         "CreateBucket");
    findings.seen = std::move(*made);
    return {};
  }
  auto seen = store.bucket(id, stop);
  const auto name = storage::bucket_name(bucket.metadata.name, id);
  // Whoever has its keys may remove it and make another one.
  if (seen && seen->name != name)
    seen = Error(ErrorCode::not_found, "bucket " + name + " is gone, and its user has bucket " + seen->name);
  if (seen) {
    findings.seen = std::move(*seen);
    return {};
  }
  findings.trouble = Trouble::of(seen.error(), "StoreFailed");
  if (seen.error().code() == ErrorCode::not_found) {
    // A new one in its place would be empty, and nobody would notice.
    findings.is_lost = true;
    findings.trouble = {"BucketLost",
                        "the bucket was there and is not in its store any more (" + seen.error().message() +
                            "); bring its content back, or delete the bucket",
                        Trouble::Kind::fault};
  }
  return seen.error();
}

Result<void> BucketReconciler::set_limits(const Offer& offer, Findings& findings, const std::stop_token& stop) {
  const auto rate = capability(*offer.of_class, "iops");
  const auto bytes = capability(*offer.of_class, "tps");
  auto set = offer.store->set_limits(
      findings.seen->id, {.reads = rate, .writes = rate, .read_bytes = bytes, .written_bytes = bytes}, stop);
  const bool is_unsupported = !set && set.error().code() == ErrorCode::unsupported;
  findings.are_limits_known = set || is_unsupported;
  if (is_unsupported) {
    findings.unlimited = {"Unsupported", set.error().message(), Trouble::Kind::fault};
    return {};
  }
  if (!set) findings.trouble = Trouble::of(set.error(), "SetLimitsFailed");
  return set;
}

Result<void> BucketReconciler::configure(const api::Bucket& bucket, storage::BucketStore& store, Findings& findings,
                                         const std::stop_token& stop) {
  if (!bucket.spec.settings) return {};
  const auto settings = settings_of(bucket.spec, findings.seen->name);
  if (const auto checked = storage::check(settings); !checked) {
    findings.trouble = Trouble::named("InvalidSettings", checked.error());
    return {};  // trying again would help nothing: somebody changes the object
  }
  auto configured = store.configure(findings.seen->id, settings, stop);
  if (!configured) findings.trouble = Trouble::of(configured.error(), "ConfigureFailed");
  return configured;
}

/// Each as far as it goes: what one of them cannot do is no reason to leave the others.
Result<void> BucketReconciler::adjust(const api::Bucket& bucket, const Offer& offer, Findings& findings,
                                      const std::stop_token& stop) {
  auto limited = set_limits(offer, findings, stop);
  auto configured = configure(bucket, *offer.store, findings, stop);
  const auto quota = quota_of(*offer.of_class);
  if (quota != findings.seen->quota) {
    if (const auto set = offer.store->set_quota(findings.seen->id, quota, stop); !set) {
      findings.trouble = Trouble::of(set.error(), "SetQuotaFailed");
      return set.error();
    }
    findings.seen->quota = quota;
    tell(bucket, api::EventType::normal, "SetQuotaSucceeded", "the quota of the class is set", "SetQuota");
  }
  return configured ? limited : configured;
}

// ---- keys ---------------------------------------------------------------------------------------------------------
//
//                     due                   the new one is in the Secret            grace is over
//   old_key empty ──────────► old_key, no time ──────────────────────► old_key, time ─────────────► old_key empty
//
// Each state is in the status before the next step is done, so that whoever was cut off comes back to it.

/// `findings.rotation` says which key is to be replaced; the next turn does it.
Result<void> BucketReconciler::begin_rotation(const api::Bucket& bucket, storage::BucketStore& store,
                                              Findings& findings, const std::stop_token& stop) {
  auto& rotation = findings.rotation.emplace(bucket.status.key_rotation.value_or(api::BucketKeyRotation{}));
  const auto request = annotation_of(bucket.metadata, api::rotate_key_annotation);
  if (!bucket.status.key_rotation) rotation.request = request;  // its first key is new
  if (!rotation.old_key.empty() || !rotation.time) return {};
  const bool is_requested = !request.empty() && request != rotation.request;
  const auto every = parts_.options.rotate_keys_every;
  const bool is_old = every > Duration::zero() && parts_.clock.wall() >= *rotation.time + every;
  if (!is_requested && !is_old) return {};
  IRONCORE_TRY(const auto keys, store.keys(findings.seen->id, stop));
  // One of before, if there are two: that one goes first, and what was asked for is done after that.
  if (keys.size() < 2) rotation.request = request;
  if (keys.empty()) return {};  // to hand out access makes one
  rotation.old_key = keys.front().id;
  rotation.time.reset();
  findings.look_again = Duration::zero();
  return {};
}

/// Endpoint and key: in the status, and what is secret in the bucket's own Secret.
Result<void> BucketReconciler::publish(const api::Bucket& bucket, storage::BucketStore& store, Findings& findings,
                                       const std::stop_token& stop) {
  auto& rotation = *findings.rotation;
  const bool is_begun = bucket.status.key_rotation == rotation;
  if (is_begun && !rotation.old_key.empty() && !rotation.time)
    IRONCORE_CHECK(store.rotate_key(findings.seen->id, rotation.old_key, stop));
  IRONCORE_TRY(const auto access, store.access(findings.seen->id, stop));
  const auto own = owned_secret_of(bucket);
  IRONCORE_CHECK(write_secret(parts_.store, own,
                              {{"AWS_ACCESS_KEY_ID", access.key_id},
                               {"AWS_SECRET_ACCESS_KEY", access.secret},
                               {"AWS_ENDPOINT_URL", access.endpoint},
                               {"BUCKET_NAME", access.bucket}}));
  findings.access.emplace();
  findings.access->endpoint = access.endpoint + "/" + access.bucket;
  findings.access->secret_ref = api::LocalReference{.name = own.name};
  if (!rotation.old_key.empty() && access.key_id == rotation.old_key) {
    rotation.time.reset();  // not replaced yet; or somebody has removed the new one
  } else if (!rotation.time) {
    rotation.time = parts_.clock.wall();
    if (!rotation.old_key.empty())
      tell(bucket, api::EventType::normal, "KeyRotated",
           "secret " + own.name + " has a new key; the old one, " + rotation.old_key + ", is revoked after a while",
           "RotateKey");
  }
  return {};
}

Result<void> BucketReconciler::end_rotation(const api::Bucket& bucket, storage::BucketStore& store, Findings& findings,
                                            const std::stop_token& stop) {
  auto& rotation = *findings.rotation;
  if (!rotation.time) {
    findings.look_again = Duration::zero();
    return {};
  }
  const auto now = parts_.clock.wall();
  const auto end = *rotation.time + parts_.options.key_grace;
  if (!rotation.old_key.empty() && now < end) {
    findings.look_again = end - now;
    return {};
  }
  if (!rotation.old_key.empty()) {
    IRONCORE_CHECK(store.revoke_key(findings.seen->id, rotation.old_key, stop));
    tell(bucket, api::EventType::normal, "OldKeyRevoked", "the old key, " + rotation.old_key + ", opens nothing now",
         "RevokeKey");
    rotation.old_key.clear();
    findings.look_again = Duration::zero();  // another one may have been asked for meanwhile
    return {};
  }
  if (const auto every = parts_.options.rotate_keys_every; every > Duration::zero())
    findings.look_again = std::max<Duration>(Duration::zero(), *rotation.time + every - now);
  return {};
}

// ---- all together -------------------------------------------------------------------------------------------------

Result<void> BucketReconciler::make(const api::Bucket& bucket, Findings& findings, const std::stop_token& stop) {
  const auto offer = offer_for(bucket, parts_.options, parts_.classes, findings.trouble);
  if (!offer) return {};
  findings.trouble = parts_.reach.silence(offer->store);
  if (findings.trouble) return {};  // when it answers, all are brought back
  IRONCORE_TRY(const auto id, Uid::parse(bucket.metadata.uid));
  auto& store = *offer->store;
  IRONCORE_CHECK(look(bucket, id, store, findings, stop));
  auto adjusted = adjust(bucket, *offer, findings, stop);
  const auto fail = [&](const Error& error, const char* reason) {
    findings.trouble = Trouble::of(error, reason);
    return error;
  };
  if (const auto begun = begin_rotation(bucket, store, findings, stop); !begun)
    return fail(begun.error(), "KeyRotationFailed");
  if (const auto published = publish(bucket, store, findings, stop); !published)
    return fail(published.error(), "AccessNotReady");
  if (const auto ended = end_rotation(bucket, store, findings, stop); !ended)
    return fail(ended.error(), "KeyRotationFailed");
  return adjusted;
}

Result<Requeue> BucketReconciler::bring_up(const api::Bucket& bucket, std::stop_token stop) {
  Findings findings;
  const auto made = make(bucket, findings, stop);
  if (!made && (stop.stop_requested() || made.error().code() == ErrorCode::conflict)) return made.error();
  if (!made && !findings.trouble) findings.trouble = Trouble::named("ReconcileFailed", made.error());
  return end_turn(made, write_status(bucket, findings), findings.look_again);
}

/// `findings.kept`: it has content, or not all of that is removed yet.
Result<void> BucketReconciler::remove_data(const api::Bucket& bucket, Findings& findings, const std::stop_token& stop) {
  IRONCORE_TRY(const auto id, Uid::parse(bucket.metadata.uid));
  const bool is_whole = annotation_of(bucket.metadata, api::remove_content_annotation) == "true";
  for (auto* store : stores_of(parts_.options, bucket.spec.bucket_class_ref->name)) {
    findings.kept = parts_.reach.silence(store);
    if (findings.kept) return {};
    const auto removed = store->remove(id, is_whole ? storage::Content::remove : storage::Content::refuse, stop);
    if (removed) continue;
    const auto& error = removed.error();
    if (!is_whole && error.code() == ErrorCode::wrong_state) {
      findings.kept = {"HasContent",
                       error.message() + " with the annotation " + std::string(api::remove_content_annotation) +
                           ": \"true\" (ironcorectl edit bucket " + bucket.metadata.name + " -n " +
                           bucket.metadata.namespace_ + ")",
                       Trouble::Kind::fault};
      return {};
    }
    if (is_whole && error.code() == ErrorCode::timeout) {
      findings.kept = {"RemovingContent", "the content of the bucket is being removed: " + error.message()};
      return {};
    }
    findings.kept = Trouble::of(error, "BucketDeletionFailed");
    return error;
  }
  return {};
}

Result<Requeue> BucketReconciler::tear_down(const api::Bucket& bucket, std::stop_token stop) {
  if (!has_finalizer(bucket.metadata, api::bucket_finalizer)) return Requeue{};
  Findings findings;
  const auto removed = remove_data(bucket, findings, stop);
  if (!removed && stop.stop_requested()) return removed.error();
  if (!removed || findings.kept) return end_turn(removed, write_status(bucket, findings), parts_.options.look_again);
  tell(bucket, api::EventType::normal, "BucketDeletionSucceeded", "the bucket and its keys are gone", "DeleteBucket");
  IRONCORE_CHECK(remove_secret(parts_.store, owned_secret_of(bucket)));
  IRONCORE_CHECK(writes_.let_go(bucket, api::bucket_finalizer));
  return Requeue{};
}

// ---- what is told -------------------------------------------------------------------------------------------------

Result<void> BucketReconciler::write_status(const api::Bucket& bucket, const Findings& findings) {
  const auto current = writes_.newest_of(bucket);
  if (!current) return {};
  StatusDraft<api::Bucket> draft(*current, parts_.events, parts_.clock.wall());
  auto& status = draft.object.status;
  if (findings.seen) {
    status.bucket_id = parts_.options.type + "://" + bucket.metadata.uid;
    status.usage = usage_of(*findings.seen);
  }
  if (findings.access) status.access = findings.access;
  if (findings.rotation) status.key_rotation = findings.rotation;
  const bool is_usable = status.access && !status.bucket_id.empty() && !findings.is_lost;
  if (findings.kept) {
    draft.condition("Removable", findings.kept, "", "");
    return writes_.write_status(*current, std::move(draft.object));
  }
  if (is_usable) {
    draft.condition("Ready", std::nullopt, "Available", "the bucket can be used");
    draft.condition("UpToDate", findings.trouble, "UpToDate", "quota, settings and keys are as they are wanted");
    if (findings.are_limits_known)
      draft.condition("Limited", findings.unlimited, "Limited", "the limits of the class are set");
  } else if (findings.trouble) {
    draft.condition("Ready", findings.trouble, "", "");
  }
  draft.state(is_usable, findings.trouble);
  return writes_.write_status(*current, std::move(draft.object));
}

Result<void> BucketReconciler::tell_usage(const api::Bucket& bucket, const storage::Bucket& seen) {
  const auto current = writes_.newest_of(bucket);
  if (!current || current->status.bucket_id.empty()) return {};
  auto changed = *current;
  changed.status.usage = usage_of(seen);
  return writes_.write_status(*current, std::move(changed));
}

Result<Requeue> BucketReconciler::reconcile(const std::string& key, std::stop_token stop) {
  auto bucket = writes_.newest(key);
  if (!bucket || !is_provided_here(*bucket, api::bucket_finalizer)) return Requeue{};
  if (bucket->metadata.deletion_timestamp) return tear_down(*bucket, std::move(stop));
  if (parts_.options.classes.contains(bucket->spec.bucket_class_ref->name)) {
    IRONCORE_TRY(bucket, writes_.keep(bucket, api::bucket_finalizer));
  }
  return bring_up(*bucket, std::move(stop));
}

}  // namespace ironcore::control
