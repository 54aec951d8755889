// SPDX-License-Identifier: Apache-2.0
// What a store says to the provider's regular question, and every call of buckets, passed on.
#include "ceph-providerd/late.hpp"

namespace ironcore::ceph_providerd {

using storage::BucketStore;

Result<storage::Capacity> LateBlockStore::capacity() {
  auto answer = ask("capacity", &storage::BlockStore::capacity);
  note(answer ? std::nullopt : std::optional(answer.error().code()));
  return answer;
}
Result<std::optional<storage::StoreMark>> LateBlockStore::mark() {
  return ask("mark", &storage::BlockStore::mark);
}

Result<storage::BucketCapabilities> LateBucketStore::capabilities() {
  return pass(&BucketStore::capabilities);
}
Result<storage::Bucket> LateBucketStore::create(const Uid& id, const storage::BucketSpec& spec) {
  return pass(&BucketStore::create, id, spec);
}
Result<storage::Bucket> LateBucketStore::bucket(const Uid& id) {
  auto answer = pass(&BucketStore::bucket, id);
  const bool is_answered = answer || answer.error().code() == ErrorCode::not_found;
  note(is_answered ? std::nullopt : std::optional(answer.error().code()));
  return answer;
}
Result<std::vector<storage::Bucket>> LateBucketStore::buckets() {
  return pass(&BucketStore::buckets);
}
Result<void> LateBucketStore::remove(const Uid& id, storage::Content content, std::stop_token stop) {
  return pass(&BucketStore::remove, id, content, std::move(stop));
}
Result<void> LateBucketStore::set_quota(const Uid& id, const storage::BucketQuota& quota) {
  return pass(&BucketStore::set_quota, id, quota);
}
Result<void> LateBucketStore::set_limits(const Uid& id, const storage::BucketLimits& limits) {
  return pass(&BucketStore::set_limits, id, limits);
}
Result<storage::BucketSettings> LateBucketStore::settings(const Uid& id) {
  return pass(&BucketStore::settings, id);
}
Result<void> LateBucketStore::configure(const Uid& id, const storage::BucketSettings& settings) {
  return pass(&BucketStore::configure, id, settings);
}
Result<storage::BucketAccess> LateBucketStore::access(const Uid& id) {
  return pass(&BucketStore::access, id);
}
Result<std::vector<storage::BucketKey>> LateBucketStore::keys(const Uid& id) {
  return pass(&BucketStore::keys, id);
}
Result<void> LateBucketStore::rotate_key(const Uid& id, const std::string& current) {
  return pass(&BucketStore::rotate_key, id, current);
}
Result<void> LateBucketStore::revoke_key(const Uid& id, const std::string& key) {
  return pass(&BucketStore::revoke_key, id, key);
}

}  // namespace ironcore::ceph_providerd
