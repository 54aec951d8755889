// SPDX-License-Identifier: Apache-2.0
// Buckets in memory.
#include "ironcore/sim/bucket_store.hpp"

#include <algorithm>
#include <utility>

#include "ironcore/base/text.hpp"
#include "ironcore/crypto/digest.hpp"
#include "ironcore/crypto/secret.hpp"

namespace ironcore::sim {

using storage::Bucket;
using storage::BucketAccess;
using storage::BucketCapabilities;
using storage::BucketKey;
using storage::BucketLimits;
using storage::BucketQuota;
using storage::BucketSettings;
using storage::BucketSpec;
using storage::Content;

template <class Call>
auto BucketStore::with_faults(const std::stop_token& stop, Call&& call) -> decltype(call()) {
  std::unique_lock lock(mutex_);
  if (is_hanging_ && !stop.stop_requested()) {
    ++held_;
    never_.wait(lock, stop, [this] { return !is_hanging_; });
    --held_;
  }
  if (stop.stop_requested()) return Error(ErrorCode::cancelled, "a stop was requested: repeat the call");
  ++operations_;
  const auto fault = faults_ ? faults_() : std::nullopt;
  if (!fault) return call();
  if (*fault == ErrorCode::timeout) static_cast<void>(call());
  return Error(*fault, "the simulated store does not answer: repeat the call");
}

Result<BucketStore::Entry*> BucketStore::find(const Uid& id) {
  const auto at = entries_.find(id);
  if (at == entries_.end()) return Error(ErrorCode::not_found, "there is no bucket of " + id.to_text());
  return &at->second;
}

void BucketStore::add_key(Entry& entry) {
  ++entry.keys_made;
  entry.keys.push_back({"SIM" + entry.bucket.id.to_text().substr(0, 8) + std::to_string(entry.keys_made),
                        crypto::hex(crypto::random_bytes(20))});
}

Result<BucketCapabilities> BucketStore::capabilities(std::stop_token stop) {
  return with_faults(stop, [&]() -> Result<BucketCapabilities> { return BucketCapabilities{.limits = no_limits_}; });
}

Result<Bucket> BucketStore::create(const Uid& id, const BucketSpec& spec, std::stop_token stop) {
  return with_faults(stop, [&]() -> Result<Bucket> {
    if (const auto why = storage::check_bucket_name(spec.name))
      return Error(ErrorCode::invalid, "the bucket's name " + in_quotes(spec.name) + " " + *why);
    if (const auto at = entries_.find(id); at != entries_.end()) {
      const Entry& entry = at->second;
      if (entry.bucket.name != spec.name || entry.is_lockable != spec.is_lockable)
        return Error(ErrorCode::already_exists, "the bucket is there as " + entry.bucket.name +
                                                    (entry.is_lockable ? ", lockable" : ", not lockable") +
                                                    ": remove it first, or ask for it as it is");
      return entry.bucket;
    }
    for (const auto& [other, entry] : entries_)
      if (entry.bucket.name == spec.name)
        return Error(ErrorCode::already_exists, "somebody else has a bucket " + spec.name + ": choose another name");
    Entry entry;
    entry.bucket.id = id;
    entry.bucket.name = spec.name;
    entry.is_lockable = spec.is_lockable;
    entry.settings.is_versioned = spec.is_lockable;
    add_key(entry);
    return entries_.emplace(id, std::move(entry)).first->second.bucket;
  });
}

Result<Bucket> BucketStore::bucket(const Uid& id, std::stop_token stop) {
  return with_faults(stop, [&]() -> Result<Bucket> {
    IRONCORE_TRY(const Entry* entry, find(id));
    return entry->bucket;
  });
}

Result<std::vector<Bucket>> BucketStore::buckets(std::stop_token stop) {
  return with_faults(stop, [&]() -> Result<std::vector<Bucket>> {
    std::vector<Bucket> out;
    for (const auto& [id, entry] : entries_) out.push_back(entry.bucket);
    return out;
  });
}

Result<void> BucketStore::remove(const Uid& id, Content content, std::stop_token stop) {
  const Error stopped(ErrorCode::cancelled, "a stop was requested while a bucket was removed: repeat the call");
  if (content == Content::remove) {
    std::unique_lock lock(mutex_);
    ++held_;
    const bool is_free = never_.wait(lock, stop, [this] { return !is_holding_; });
    --held_;
    if (!is_free) return stopped;
  }
  return with_faults(stop, [&]() -> Result<void> {
    const auto at = entries_.find(id);
    if (at == entries_.end()) return {};
    const Bucket& bucket = at->second.bucket;
    if (bucket.objects > 0 && content == Content::refuse) return has_content(bucket);
    entries_.erase(at);
    return {};
  });
}

Result<void> BucketStore::set_quota(const Uid& id, const BucketQuota& quota, std::stop_token stop) {
  return with_faults(stop, [&]() -> Result<void> {
    IRONCORE_TRY(Entry * entry, find(id));
    entry->bucket.quota = quota;
    return {};
  });
}

Result<void> BucketStore::set_limits(const Uid& id, const BucketLimits& limits, std::stop_token stop) {
  return with_faults(stop, [&]() -> Result<void> {
    IRONCORE_TRY(Entry * entry, find(id));
    if (!no_limits_.empty()) {
      if (limits == BucketLimits()) return {};
      return Error(ErrorCode::unsupported, no_limits_);
    }
    entry->limits = limits;
    return {};
  });
}

Result<BucketSettings> BucketStore::settings(const Uid& id, std::stop_token stop) {
  return with_faults(stop, [&]() -> Result<BucketSettings> {
    IRONCORE_TRY(const Entry* entry, find(id));
    return entry->settings;
  });
}

Result<void> BucketStore::configure(const Uid& id, const BucketSettings& settings, std::stop_token stop) {
  return with_faults(stop, [&]() -> Result<void> {
    IRONCORE_CHECK(check(settings));
    IRONCORE_TRY(Entry * entry, find(id));
    if (settings.retention && !entry->is_lockable)
      return Error(ErrorCode::wrong_state, "bucket " + entry->bucket.name +
                                               " is not lockable and cannot become it: create another one that is");
    if (!settings.is_versioned && entry->is_lockable)
      return Error(ErrorCode::wrong_state,
                   "bucket " + entry->bucket.name + " is lockable, so that it always keeps versions");
    entry->settings = settings;
    return {};
  });
}

Result<BucketAccess> BucketStore::access(const Uid& id, std::stop_token stop) {
  return with_faults(stop, [&]() -> Result<BucketAccess> {
    IRONCORE_TRY(Entry * entry, find(id));
    if (entry->keys.empty()) add_key(*entry);
    const Key& key = entry->keys.back();
    return BucketAccess{.endpoint = "http://sim", .bucket = entry->bucket.name, .key_id = key.id, .secret = key.secret};
  });
}

Result<std::vector<BucketKey>> BucketStore::keys(const Uid& id, std::stop_token stop) {
  return with_faults(stop, [&]() -> Result<std::vector<BucketKey>> {
    IRONCORE_TRY(const Entry* entry, find(id));
    std::vector<BucketKey> out;
    for (const Key& key : entry->keys) out.push_back({.id = key.id, .is_current = &key == &entry->keys.back()});
    return out;
  });
}

Result<void> BucketStore::rotate_key(const Uid& id, const std::string& current, std::stop_token stop) {
  return with_faults(stop, [&]() -> Result<void> {
    IRONCORE_TRY(Entry * entry, find(id));
    if (entry->keys.empty() || entry->keys.back().id != current) return {};
    if (entry->keys.size() > 1)
      return Error(ErrorCode::wrong_state,
                   "the older key " + entry->keys.front().id + " is still there: revoke it first");
    add_key(*entry);
    return {};
  });
}

Result<void> BucketStore::revoke_key(const Uid& id, const std::string& key, std::stop_token stop) {
  return with_faults(stop, [&]() -> Result<void> {
    IRONCORE_TRY(Entry * entry, find(id));
    std::erase_if(entry->keys, [&](const Key& there) { return there.id == key; });
    return {};
  });
}

Result<const BucketStore::Entry*> BucketStore::open(const BucketAccess& access) const {
  for (const auto& [id, entry] : entries_) {
    if (entry.bucket.name != access.bucket) continue;
    for (const Key& key : entry.keys)
      if (key.id == access.key_id && key.secret == access.secret) return &entry;
    return Error(ErrorCode::forbidden, "the key does not open bucket " + access.bucket);
  }
  return Error(ErrorCode::not_found, "there is no bucket " + in_quotes(access.bucket));
}

Result<void> BucketStore::put(const BucketAccess& access, const std::string& object, std::string_view content) {
  const std::lock_guard lock(mutex_);
  IRONCORE_TRY(const Entry* opened, open(access));
  Entry& entry = entries_.at(opened->bucket.id);
  const Bucket& bucket = entry.bucket;
  const auto there = entry.objects.find(object);
  const bool replaces = there != entry.objects.end() && !entry.settings.is_versioned;
  const std::uint64_t objects = bucket.objects + (replaces ? 0 : 1);
  const std::uint64_t bytes = bucket.bytes - (replaces ? there->second.back().size() : 0) + content.size();
  if ((bucket.quota.objects > 0 && objects > bucket.quota.objects) ||
      (bucket.quota.bytes > 0 && bytes > bucket.quota.bytes))
    return Error(ErrorCode::forbidden, "the quota of bucket " + bucket.name + " is reached: remove objects first");
  auto& versions = entry.objects[object];
  if (replaces) versions.pop_back();
  versions.emplace_back(content);
  entry.bucket.objects = objects;
  entry.bucket.bytes = bytes;
  return {};
}

Result<std::string> BucketStore::get(const BucketAccess& access, const std::string& object) const {
  const std::lock_guard lock(mutex_);
  IRONCORE_TRY(const Entry* entry, open(access));
  const auto at = entry->objects.find(object);
  if (at == entry->objects.end()) return Error(ErrorCode::not_found, "there is no object " + in_quotes(object));
  return at->second.back();
}

void BucketStore::set_faults(Faults faults) {
  const std::lock_guard lock(mutex_);
  faults_ = std::move(faults);
}

void BucketStore::hold_removals() {
  const std::lock_guard lock(mutex_);
  is_holding_ = true;
}

void BucketStore::hang() {
  const std::lock_guard lock(mutex_);
  is_hanging_ = true;
}

std::uint64_t BucketStore::held() const {
  const std::lock_guard lock(mutex_);
  return held_;
}

void BucketStore::replace(const Uid& id, const std::string& name) {
  const std::lock_guard lock(mutex_);
  auto& entry = entries_.at(id);
  entry.bucket = {.id = id, .name = name};
  entry.objects.clear();
}

void BucketStore::fail(std::size_t calls, ErrorCode code) {
  set_faults([calls, code]() mutable -> std::optional<ErrorCode> {
    if (calls == 0) return std::nullopt;
    --calls;
    return code;
  });
}

void BucketStore::set_no_limits(std::string why) {
  const std::lock_guard lock(mutex_);
  no_limits_ = std::move(why);
}

BucketLimits BucketStore::limits(const Uid& id) const {
  const std::lock_guard lock(mutex_);
  const auto at = entries_.find(id);
  return at == entries_.end() ? BucketLimits() : at->second.limits;
}

std::uint64_t BucketStore::operations() const {
  const std::lock_guard lock(mutex_);
  return operations_;
}

}  // namespace ironcore::sim
