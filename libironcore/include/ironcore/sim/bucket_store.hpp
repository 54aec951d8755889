// SPDX-License-Identifier: Apache-2.0
// A BucketStore in memory, with a client for its objects and the faults that tests ask for.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <functional>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "ironcore/storage/bucket_store.hpp"

namespace ironcore::sim {

/// Outlives those who use it, like a cluster. Quota, versions and keys work; policies, rules of lifecycle, locks and limits are only kept. Thread: any.
class BucketStore final : public storage::BucketStore {
 public:
  Result<storage::BucketCapabilities> capabilities(std::stop_token stop = {}) override;
  Result<storage::Bucket> create(const Uid& id, const storage::BucketSpec& spec, std::stop_token stop = {}) override;
  Result<storage::Bucket> bucket(const Uid& id, std::stop_token stop = {}) override;
  Result<std::vector<storage::Bucket>> buckets(std::stop_token stop = {}) override;
  Result<void> remove(const Uid& id, storage::Content content, std::stop_token stop) override;
  Result<void> set_quota(const Uid& id, const storage::BucketQuota& quota, std::stop_token stop = {}) override;
  Result<void> set_limits(const Uid& id, const storage::BucketLimits& limits, std::stop_token stop = {}) override;
  Result<storage::BucketSettings> settings(const Uid& id, std::stop_token stop = {}) override;
  Result<void> configure(const Uid& id, const storage::BucketSettings& settings, std::stop_token stop = {}) override;
  Result<storage::BucketAccess> access(const Uid& id, std::stop_token stop = {}) override;
  Result<std::vector<storage::BucketKey>> keys(const Uid& id, std::stop_token stop = {}) override;
  Result<void> rotate_key(const Uid& id, const std::string& current, std::stop_token stop = {}) override;
  Result<void> revoke_key(const Uid& id, const std::string& key, std::stop_token stop = {}) override;

  // ---- what clients of a bucket do; `forbidden` without a key of the bucket, and when the quota is reached ----

  Result<void> put(const storage::BucketAccess& access, const std::string& object, std::string_view content);
  Result<std::string> get(const storage::BucketAccess& access, const std::string& object) const;

  // ---- what tests make happen ----

  /// Asked before every call of the seam, which then fails with that code. After `timeout` it has taken effect all the same. They must not call the store.
  using Faults = std::function<std::optional<ErrorCode>()>;
  void set_faults(Faults faults);
  /// From now on to remove content takes until a stop is requested; the bucket stays meanwhile.
  void hold_removals();
  /// From now on no call is answered until a stop is requested.
  void hang();
  /// Calls that take so long right now.
  std::uint64_t held() const;
  /// As if its user had removed the bucket and made another one. It must be there.
  void replace(const Uid& id, const std::string& name);
  /// The next `calls` fail with `code`.
  void fail(std::size_t calls, ErrorCode code = ErrorCode::unavailable);
  /// This server cannot limit rates, for this reason; empty = it can.
  void set_no_limits(std::string why);
  storage::BucketLimits limits(const Uid& id) const;
  /// Calls of the seam so far, failed ones too.
  std::uint64_t operations() const;

 private:
  struct Key {
    std::string id;
    std::string secret;
  };
  struct Entry {
    storage::Bucket bucket;
    bool is_lockable = false;
    storage::BucketSettings settings;
    storage::BucketLimits limits;
    std::uint64_t keys_made = 0;
    std::vector<Key> keys;                                    // at most two, the current one last
    std::map<std::string, std::vector<std::string>> objects;  // versions, the newest last
  };

  template <class Call>
  auto with_faults(const std::stop_token& stop, Call&& call) -> decltype(call());
  Result<Entry*> find(const Uid& id);
  Result<const Entry*> open(const storage::BucketAccess& access) const;
  static void add_key(Entry& entry);

  mutable std::mutex mutex_;
  std::map<Uid, Entry> entries_;
  Faults faults_;
  std::string no_limits_;
  bool is_holding_ = false;
  bool is_hanging_ = false;
  std::uint64_t held_ = 0;
  std::condition_variable_any never_;
  std::uint64_t operations_ = 0;
};

}  // namespace ironcore::sim
