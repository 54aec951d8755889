// SPDX-License-Identifier: Apache-2.0
// Every call of the seam, passed on.
#include "ironcore/storage/passing_block_store.hpp"

#include <utility>

namespace ironcore::storage {

namespace {

/// What `open` gave out, with the store that it needs.
class KeptData final : public BlockData {
 public:
  KeptData(std::shared_ptr<BlockStore> store, std::unique_ptr<BlockData> data)
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
  const std::unique_ptr<BlockData> data_;  // goes first
};

}  // namespace

template <class R, class... Parameters, class... Arguments>
R PassingBlockStore::pass(R (BlockStore::*call)(Parameters...), Arguments&&... arguments) {
  IRONCORE_TRY(const auto store, target());
  return (store.get()->*call)(std::forward<Arguments>(arguments)...);
}

Result<std::optional<StoreMark>> PassingBlockStore::mark() {
  return pass(&BlockStore::mark);
}
Result<void> PassingBlockStore::set_mark(const std::optional<StoreMark>& before, const StoreMark& mark) {
  return pass(&BlockStore::set_mark, before, mark);
}
Result<Capacity> PassingBlockStore::capacity() {
  return pass(&BlockStore::capacity);
}
Result<BaseImage> PassingBlockStore::import_base(const BaseSource& source, const Progress& progress,
                                                 std::stop_token stop) {
  return pass(&BlockStore::import_base, source, progress, std::move(stop));
}
Result<std::vector<BaseImage>> PassingBlockStore::bases() {
  return pass(&BlockStore::bases);
}
Result<void> PassingBlockStore::remove_base(const crypto::Digest& digest) {
  return pass(&BlockStore::remove_base, digest);
}
Result<Volume> PassingBlockStore::create(const BlockId& id, const VolumeSpec& spec, const Progress& progress,
                                         std::stop_token stop) {
  return pass(&BlockStore::create, id, spec, progress, std::move(stop));
}
Result<Volume> PassingBlockStore::volume(const BlockId& id) {
  return pass(&BlockStore::volume, id);
}
Result<std::vector<Volume>> PassingBlockStore::volumes() {
  return pass(&BlockStore::volumes);
}
Result<Volume> PassingBlockStore::expand(const BlockId& id, std::uint64_t size_bytes) {
  return pass(&BlockStore::expand, id, size_bytes);
}
Result<void> PassingBlockStore::set_limits(const BlockId& id, const Limits& limits) {
  return pass(&BlockStore::set_limits, id, limits);
}
Result<void> PassingBlockStore::remove(const BlockId& id) {
  return pass(&BlockStore::remove, id);
}
Result<Snapshot> PassingBlockStore::take_snapshot(const BlockId& volume, const Uid& snapshot, std::stop_token stop) {
  return pass(&BlockStore::take_snapshot, volume, snapshot, std::move(stop));
}
Result<Snapshot> PassingBlockStore::snapshot(const BlockId& id) {
  return pass(&BlockStore::snapshot, id);
}
Result<std::vector<Snapshot>> PassingBlockStore::snapshots() {
  return pass(&BlockStore::snapshots);
}
Result<void> PassingBlockStore::remove_snapshot(const BlockId& id) {
  return pass(&BlockStore::remove_snapshot, id);
}
Result<std::unique_ptr<BlockData>> PassingBlockStore::open(const BlockId& id, const std::optional<EncryptionKey>& key) {
  IRONCORE_TRY(auto kept, target());
  IRONCORE_TRY(auto data, kept->open(id, key));
  return std::unique_ptr<BlockData>(std::make_unique<KeptData>(std::move(kept), std::move(data)));
}
Result<bool> PassingBlockStore::is_key_of(const BlockId& id, const EncryptionKey& key) {
  return pass(&BlockStore::is_key_of, id, key);
}
Result<void> PassingBlockStore::check_encryption() {
  return pass(&BlockStore::check_encryption);
}
Result<Access> PassingBlockStore::access(const BlockId& id) {
  return pass(&BlockStore::access, id);
}
Result<void> PassingBlockStore::rotate_credential(const std::string& tenant) {
  return pass(&BlockStore::rotate_credential, tenant);
}
Result<std::vector<Credential>> PassingBlockStore::credentials(const std::string& tenant) {
  return pass(&BlockStore::credentials, tenant);
}
Result<void> PassingBlockStore::revoke_credential(const std::string& tenant, const std::string& name) {
  return pass(&BlockStore::revoke_credential, tenant, name);
}
Result<std::vector<Client>> PassingBlockStore::clients(const BlockId& id) {
  return pass(&BlockStore::clients, id);
}
Result<void> PassingBlockStore::fence(std::span<const std::string> clients) {
  return pass(&BlockStore::fence, clients);
}
Result<Maintenance> PassingBlockStore::maintain(std::stop_token stop) {
  return pass(&BlockStore::maintain, std::move(stop));
}
Result<void> PassingBlockStore::remove_unfinished(const BlockId& id) {
  return pass(&BlockStore::remove_unfinished, id);
}

}  // namespace ironcore::storage
