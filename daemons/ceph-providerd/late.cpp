// SPDX-License-Identifier: Apache-2.0
// Every call of both seams, passed on.
#include "ceph-providerd/late.hpp"

namespace ironcore::ceph_providerd {

using storage::BlockId;
using storage::BlockStore;
using storage::BucketStore;

namespace {

/// What `open` gave out, with the store that it needs.
class KeptData final : public storage::BlockData {
 public:
  KeptData(std::shared_ptr<BlockStore> store, std::unique_ptr<storage::BlockData> data)
      : store_(std::move(store)), data_(std::move(data)) {}
  std::uint64_t size() const override { return data_->size(); }
  void read(std::uint64_t offset, std::span<std::byte> into, Done done) override {
    data_->read(offset, into, std::move(done));
  }
  void write(std::uint64_t offset, BytesView bytes, Done done) override {
    data_->write(offset, bytes, std::move(done));
  }
  void discard(std::uint64_t offset, std::uint64_t size, Done done) override {
    data_->discard(offset, size, std::move(done));
  }
  void flush(Done done) override { data_->flush(std::move(done)); }

 private:
  const std::shared_ptr<BlockStore> store_;
  const std::unique_ptr<storage::BlockData> data_;  // goes first
};

}  // namespace

Result<storage::Capacity> LateBlockStore::capacity() {
  auto answer = pass(&BlockStore::capacity);
  note(answer ? std::nullopt : std::optional(answer.error().code()));
  return answer;
}
Result<storage::BaseImage> LateBlockStore::import_base(const storage::BaseSource& source, const Progress& progress,
                                                       std::stop_token stop) {
  return pass(&BlockStore::import_base, source, progress, std::move(stop));
}
Result<std::vector<storage::BaseImage>> LateBlockStore::bases() {
  return pass(&BlockStore::bases);
}
Result<void> LateBlockStore::remove_base(const crypto::Digest& digest) {
  return pass(&BlockStore::remove_base, digest);
}
Result<storage::Volume> LateBlockStore::create(const BlockId& id, const storage::VolumeSpec& spec,
                                               const Progress& progress, std::stop_token stop) {
  return pass(&BlockStore::create, id, spec, progress, std::move(stop));
}
Result<storage::Volume> LateBlockStore::volume(const BlockId& id) {
  return pass(&BlockStore::volume, id);
}
Result<std::vector<storage::Volume>> LateBlockStore::volumes() {
  return pass(&BlockStore::volumes);
}
Result<storage::Volume> LateBlockStore::expand(const BlockId& id, std::uint64_t size_bytes) {
  return pass(&BlockStore::expand, id, size_bytes);
}
Result<void> LateBlockStore::set_limits(const BlockId& id, const storage::Limits& limits) {
  return pass(&BlockStore::set_limits, id, limits);
}
Result<void> LateBlockStore::remove(const BlockId& id) {
  return pass(&BlockStore::remove, id);
}
Result<storage::Snapshot> LateBlockStore::take_snapshot(const BlockId& volume, const Uid& snapshot,
                                                        std::stop_token stop) {
  return pass(&BlockStore::take_snapshot, volume, snapshot, std::move(stop));
}
Result<storage::Snapshot> LateBlockStore::snapshot(const BlockId& id) {
  return pass(&BlockStore::snapshot, id);
}
Result<std::vector<storage::Snapshot>> LateBlockStore::snapshots() {
  return pass(&BlockStore::snapshots);
}
Result<void> LateBlockStore::remove_snapshot(const BlockId& id) {
  return pass(&BlockStore::remove_snapshot, id);
}
Result<std::unique_ptr<storage::BlockData>> LateBlockStore::open(const BlockId& id,
                                                                 const std::optional<storage::EncryptionKey>& key) {
  IRONCORE_TRY(auto kept, current());
  IRONCORE_TRY(auto data, kept->open(id, key));
  return std::unique_ptr<storage::BlockData>(std::make_unique<KeptData>(std::move(kept), std::move(data)));
}
Result<bool> LateBlockStore::is_key_of(const BlockId& id, const storage::EncryptionKey& key) {
  return pass(&BlockStore::is_key_of, id, key);
}
Result<storage::Access> LateBlockStore::access(const BlockId& id) {
  return pass(&BlockStore::access, id);
}
Result<void> LateBlockStore::rotate_credential(const std::string& tenant) {
  return pass(&BlockStore::rotate_credential, tenant);
}
Result<std::vector<storage::Credential>> LateBlockStore::credentials(const std::string& tenant) {
  return pass(&BlockStore::credentials, tenant);
}
Result<void> LateBlockStore::revoke_credential(const std::string& tenant, const std::string& name) {
  return pass(&BlockStore::revoke_credential, tenant, name);
}
Result<std::vector<storage::Client>> LateBlockStore::clients(const BlockId& id) {
  return pass(&BlockStore::clients, id);
}
Result<void> LateBlockStore::fence(std::span<const std::string> clients) {
  return pass(&BlockStore::fence, clients);
}
Result<storage::Maintenance> LateBlockStore::maintain(std::stop_token stop) {
  return pass(&BlockStore::maintain, std::move(stop));
}
Result<void> LateBlockStore::remove_unfinished(const BlockId& id) {
  return pass(&BlockStore::remove_unfinished, id);
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
