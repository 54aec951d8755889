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

Result<storage::BucketCapabilities> LateBucketStore::capabilities(std::stop_token stop) {
  return pass(&BucketStore::capabilities, std::move(stop));
}
Result<storage::Bucket> LateBucketStore::create(const Uid& id, const storage::BucketSpec& spec, std::stop_token stop) {
  return pass(&BucketStore::create, id, spec, std::move(stop));
}
Result<storage::Bucket> LateBucketStore::bucket(const Uid& id, std::stop_token stop) {
  auto answer = pass(&BucketStore::bucket, id, std::move(stop));
  const bool is_answered = answer || answer.error().code() == ErrorCode::not_found;
  note(is_answered ? std::nullopt : std::optional(answer.error().code()));
  return answer;
}
Result<std::vector<storage::Bucket>> LateBucketStore::buckets(std::stop_token stop) {
  return pass(&BucketStore::buckets, std::move(stop));
}
Result<void> LateBucketStore::remove(const Uid& id, storage::Content content, std::stop_token stop) {
  return pass(&BucketStore::remove, id, content, std::move(stop));
}
Result<void> LateBucketStore::set_quota(const Uid& id, const storage::BucketQuota& quota, std::stop_token stop) {
  return pass(&BucketStore::set_quota, id, quota, std::move(stop));
}
Result<void> LateBucketStore::set_limits(const Uid& id, const storage::BucketLimits& limits, std::stop_token stop) {
  return pass(&BucketStore::set_limits, id, limits, std::move(stop));
}
Result<storage::BucketSettings> LateBucketStore::settings(const Uid& id, std::stop_token stop) {
  return pass(&BucketStore::settings, id, std::move(stop));
}
Result<void> LateBucketStore::configure(const Uid& id, const storage::BucketSettings& settings, std::stop_token stop) {
  return pass(&BucketStore::configure, id, settings, std::move(stop));
}
Result<storage::BucketAccess> LateBucketStore::access(const Uid& id, std::stop_token stop) {
  return pass(&BucketStore::access, id, std::move(stop));
}
Result<std::vector<storage::BucketKey>> LateBucketStore::keys(const Uid& id, std::stop_token stop) {
  return pass(&BucketStore::keys, id, std::move(stop));
}
Result<void> LateBucketStore::rotate_key(const Uid& id, const std::string& current, std::stop_token stop) {
  return pass(&BucketStore::rotate_key, id, current, std::move(stop));
}
Result<void> LateBucketStore::revoke_key(const Uid& id, const std::string& key, std::stop_token stop) {
  return pass(&BucketStore::revoke_key, id, key, std::move(stop));
}

}  // namespace ironcore::ceph_providerd
