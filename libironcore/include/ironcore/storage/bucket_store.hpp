// SPDX-License-Identifier: Apache-2.0
// BucketStore: the seam towards a RADOS gateway or a simulation. It knows buckets by uid, not the objects that ask for them, and no policy.
#pragma once

#include <stop_token>
#include <string>
#include <vector>

#include "ironcore/base/result.hpp"
#include "ironcore/storage/bucket.hpp"

namespace ironcore::storage {

enum class Content { refuse, remove };

/// The buckets of one object store; each has a user of its own, who can do nothing outside it. All calls are idempotent: making what is there and removing what is not
/// succeed, and a call that was cut off anywhere (crash, lost answer) is completed by repeating it; what is half made is never listed. Calls for the same bucket at the
/// same time, also by several processes, leave it whole; one of them may fail with `conflict`. Errors: `invalid` (a value that the caller chose), `not_found`,
/// `already_exists` (there, but another; or the name is somebody else's), `wrong_state` (has content: says how many objects; two keys already), `forbidden` (the store's
/// own credentials, or a bucket whose policy shuts out its own keys), `exhausted` (the store is full), `unavailable` (it does not answer; repeat later), `timeout`,
/// `cancelled` (a stop was requested: at once, also while the store does not answer; what was begun may go on there), `unsupported` (says what can do it), `corrupt`. With a
/// stop requested before, nothing is done. No error has a secret in it. Calls block. Thread: any.
class BucketStore {
 public:
  virtual ~BucketStore() = default;

  virtual Result<BucketCapabilities> capabilities(std::stop_token stop = {}) = 0;

  virtual Result<Bucket> create(const Uid& id, const BucketSpec& spec, std::stop_token stop = {}) = 0;
  virtual Result<Bucket> bucket(const Uid& id, std::stop_token stop = {}) = 0;
  virtual Result<std::vector<Bucket>> buckets(std::stop_token stop = {}) = 0;
  /// With its user and all keys. `wrong_state` if it has content, unless that is to be removed; then also what is locked: the lock binds those who use the bucket.
  /// Removing much takes long: after `timeout` it may go on in the store, and the call is repeated.
  virtual Result<void> remove(const Uid& id, Content content, std::stop_token stop) = 0;

  /// What is more than the quota stays; writes are refused.
  virtual Result<void> set_quota(const Uid& id, const BucketQuota& quota, std::stop_token stop = {}) = 0;
  virtual Result<void> set_limits(const Uid& id, const BucketLimits& limits, std::stop_token stop = {}) = 0;
  /// Users with a key of the bucket may have changed them; `unsupported` if they did so in a way that `BucketSettings` has no words for.
  virtual Result<BucketSettings> settings(const Uid& id, std::stop_token stop = {}) = 0;
  /// Makes them so, changing only what differs. `wrong_state` for a retention in a bucket that is not lockable, and for one without versions that is.
  virtual Result<void> configure(const Uid& id, const BucketSettings& settings, std::stop_token stop = {}) = 0;

  /// With the bucket's current key, which is made when there is none.
  virtual Result<BucketAccess> access(const Uid& id, std::stop_token stop = {}) = 0;
  virtual Result<std::vector<BucketKey>> keys(const Uid& id, std::stop_token stop = {}) = 0;
  /// A new key for the next `access`, if `current` is still the current one. It is good together with `current` until that is revoked: first `access` hands out the
  /// new one, then the old one goes, and no client is ever shut out. `wrong_state` while an older one is there: revoke it first.
  virtual Result<void> rotate_key(const Uid& id, const std::string& current, std::stop_token stop = {}) = 0;
  /// From its return on the key opens nothing. After the current one an older one is current again, if it is still there; else the next `access` makes one.
  virtual Result<void> revoke_key(const Uid& id, const std::string& key, std::stop_token stop = {}) = 0;
};

}  // namespace ironcore::storage
