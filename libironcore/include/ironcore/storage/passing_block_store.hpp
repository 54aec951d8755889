// SPDX-License-Identifier: Apache-2.0
// PassingBlockStore: what stands before a store and decides whether calls come through.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "ironcore/storage/block_store.hpp"

namespace ironcore::storage {

/// Passes every call on to the store that `target` names, or answers with its error. A call under way ends with the store that it began with, and what `open`
/// gave out keeps that. Thread: any, if `target` is.
class PassingBlockStore : public BlockStore {
 public:
  Result<std::optional<StoreMark>> mark() override;
  Result<void> set_mark(const std::optional<StoreMark>& before, const StoreMark& mark) override;
  Result<Capacity> capacity() override;
  Result<BaseImage> import_base(const BaseSource& source, const Progress& progress, std::stop_token stop) override;
  Result<std::vector<BaseImage>> bases() override;
  Result<void> remove_base(const crypto::Digest& digest) override;
  Result<Volume> create(const BlockId& id, const VolumeSpec& spec, const Progress& progress,
                        std::stop_token stop) override;
  Result<Volume> volume(const BlockId& id) override;
  Result<std::vector<Volume>> volumes() override;
  Result<Volume> expand(const BlockId& id, std::uint64_t size_bytes) override;
  Result<void> set_limits(const BlockId& id, const Limits& limits) override;
  Result<void> remove(const BlockId& id) override;
  Result<Snapshot> take_snapshot(const BlockId& volume, const Uid& snapshot, std::stop_token stop) override;
  Result<Snapshot> snapshot(const BlockId& id) override;
  Result<std::vector<Snapshot>> snapshots() override;
  Result<void> remove_snapshot(const BlockId& id) override;
  Result<std::unique_ptr<BlockData>> open(const BlockId& id, const std::optional<EncryptionKey>& key) override;
  Result<bool> is_key_of(const BlockId& id, const EncryptionKey& key) override;
  Result<void> check_encryption() override;
  Result<Access> access(const BlockId& id) override;
  Result<void> rotate_credential(const std::string& tenant) override;
  Result<std::vector<Credential>> credentials(const std::string& tenant) override;
  Result<void> revoke_credential(const std::string& tenant, const std::string& name) override;
  Result<std::vector<Client>> clients(const BlockId& id) override;
  Result<void> fence(std::span<const std::string> clients) override;
  Result<Maintenance> maintain(std::stop_token stop) override;
  Result<void> remove_unfinished(const BlockId& id) override;

 private:
  virtual Result<std::shared_ptr<BlockStore>> target() = 0;
  template <class R, class... Parameters, class... Arguments>
  R pass(R (BlockStore::*call)(Parameters...), Arguments&&... arguments);
};

}  // namespace ironcore::storage
