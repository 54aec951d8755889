// SPDX-License-Identifier: Apache-2.0
// BlockStore on one pool; its functions are in several files by topic.
#pragma once

#include <atomic>
#include <functional>
#include <map>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "claim.hpp"
#include "cluster.hpp"
#include "data.hpp"
#include "handles.hpp"
#include "header.hpp"
#include "index.hpp"
#include "names.hpp"
#include "transfer.hpp"

namespace ironcore::storage::ceph {

class Store final : public BlockStore {
 public:
  Store(Cluster::Impl& cluster, StoreOptions options, bool may_encrypt, IoContext own, IoContext bases, Clock& clock,
        Log& log);

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
  Result<Access> access(const BlockId& id) override;
  Result<void> rotate_credential(const std::string& tenant) override;
  Result<std::vector<Credential>> credentials(const std::string& tenant) override;
  Result<void> revoke_credential(const std::string& tenant, const std::string& name) override;
  Result<std::vector<Client>> clients(const BlockId& id) override;
  Result<void> fence(std::span<const std::string> clients) override;
  Result<Maintenance> maintain(std::stop_token stop) override;
  Result<void> remove_unfinished(const BlockId& id) override;

 private:
  /// What there is of this name.
  struct Found {
    bool is_there = false;         ///< perhaps half made
    std::optional<Header> header;  ///< if it is whole
  };
  /// An entry of the index, and its text there.
  struct Listed {
    std::string text;
    Entry entry;
  };

  // --- store.cpp: what all topics need
  Result<IoContext> tenant_io(const std::string& tenant) const;
  Result<Claim> claim(const std::string& tenant, const std::string& image) const;
  Result<Claim> claim_to_make(const std::string& tenant, const std::string& image) const;
  /// Whether what lies there, and is not whole, was begun by one of our calls.
  Result<bool> is_begun(const std::string& tenant, const std::string& image) const;
  /// For what was not: it is left alone.
  Error foreign(ErrorCode code, const std::string& space, const std::string& image) const;
  /// None in a full pool, which takes no new one: nobody begins anything there, and removing can be repeated.
  Result<std::optional<Claim>> claim_to_remove(const std::string& tenant, const std::string& image) const;
  /// As the monitors see it: `,full,nearfull,`.
  Result<std::string> flags_of(const std::string& pool) const;
  static bool is_full(const std::string& flags);
  static Result<Found> look(const IoContext& io, const std::string& name);
  /// Nothing if it is not listed, or only begun.
  static Result<std::optional<Listed>> listed(const Table& table, const std::string& key);
  /// In place of whatever is there. `likely` is what that probably is: another text than the entry's, or empty.
  static Result<void> put(const Table& table, const std::string& key, const Entry& entry,
                          const std::string& likely = "");
  static Result<void> drop(const Table& table, const std::string& key);
  /// Makes the image by `call`. librbd enters the name first: of a call that was cut off right after, only the name is there, which is removed here.
  static Result<void> make_named(const IoContext& io, const std::string& name, const std::string& doing,
                                 const std::function<int()>& call);
  /// What was begun and not finished: with its snapshots.
  static Result<void> discard_image(const IoContext& io, const std::string& name);
  /// From where `maintain` gives its room back. No error if it is not there.
  static Result<void> move_to_trash(const IoContext& io, const std::string& name);
  /// Of the image: how many others it is read through.
  Result<std::uint32_t> depth_of(const IoContext& io, const std::string& name) const;
  /// A volume or a snapshot, which is only to read.
  struct Opened {
    std::string what;  ///< for errors
    Image image;
    ImageData::Use use;
    bool is_encrypted;
  };
  Result<Opened> open_image(const BlockId& id, Image::Mode mode) const;
  /// Between the pieces of a transfer: stops, keeps the claim, tells the progress.
  BetweenPieces keeper(const Claim& claim, const Progress& progress, std::stop_token stop) const;

  // --- volumes.cpp
  Result<void> ensure_tenant(const std::string& tenant);
  /// True if its namespace is not there any more: `maintain` of another process removed it.
  bool forget_lost(const std::string& tenant);
  Result<Volume> create_once(const BlockId& id, const VolumeSpec& spec, const Progress& progress, std::stop_token stop);
  Result<std::uint32_t> make(const IoContext& io, const std::string& name, const BlockId& id, const VolumeSpec& spec,
                             const BetweenPieces& between);
  /// `not_found` if there is no such base image, as far as this process knows: it may have been removed by another one.
  Result<std::uint64_t> base_bytes(const crypto::Digest& digest);
  Result<Image> make_image(const IoContext& io, const std::string& name, const VolumeSpec& spec) const;
  Result<void> make_empty(const IoContext& io, const std::string& name, const VolumeSpec& spec) const;
  Result<void> make_clone(const IoContext& from_io, const std::string& from, const IoContext& io,
                          const std::string& name, std::uint64_t from_bytes, const VolumeSpec& spec) const;
  Result<void> make_copy(const IoContext& from_io, const std::string& from,
                         const std::optional<EncryptionKey>& from_key, const IoContext& io, const std::string& name,
                         const VolumeSpec& spec, const BetweenPieces& between) const;
  bool is_simple(const VolumeSpec& spec) const;
  Result<void> check_same(const IoContext& io, const std::string& name, const Header& header,
                          const VolumeSpec& spec) const;

  // --- snapshots.cpp
  /// With the snapshot that it left on its volume.
  Result<void> discard_begun_snapshot(const IoContext& io, const BlockId& id);

  // --- credentials.cpp
  Result<std::string> credential_key(const std::string& name, const std::string& tenant) const;
  /// As the monitor said a second ago at most: asking it takes as long as making a volume, and a thousand new volumes of a tenant have the same user.
  /// Which user that is, is not remembered, and no name of a user is used twice.
  Result<std::string> recent_key(const std::string& name, const std::string& tenant);
  /// Of tenants without a namespace, which have no volume that a user could open. `spaces`: the namespaces that are there.
  Result<void> retire_users(const std::set<std::string>& spaces);

  // --- maintenance.cpp
  struct Turn;
  Result<void> compare_with_index(Turn& turn, const std::string& space);
  Result<void> remove_if_empty(Turn& turn, const std::string& space);
  Result<void> adopt(Turn& turn, const IoContext& io, const ImageName& image, const std::string& name,
                     const std::string& space);
  Result<void> purge(Turn& turn, const std::string& space);
  enum class Purge {
    foreign,  ///< somebody else put it into the trash
    later,
    now  ///< nothing needs it, and it has no snapshots any more
  };
  Result<Purge> prepare_purge(Turn& turn, const IoContext& io, const std::string& id, const std::string& name);
  /// An image that is not ours has a name like ours: told once.
  void note_foreign(Turn& turn, const std::string& space, const std::string& name);
  Result<void> separate(Turn& turn, const std::string& space, const std::string& name);
  bool give_task(const char* prefix, const char* key, const std::string& spec);
  void wait_for_tasks(const std::stop_token& stop);

  Cluster::Impl& cluster_;
  const StoreOptions options_;
  /// False for an erasure-coded data pool: hypervisors would read noise where nothing was written.
  const bool may_encrypt_;
  const IoContext own_;
  const IoContext bases_io_;
  const Table owner_{own_, "owner"};
  const Table volumes_{own_, "volumes"};
  const Table snapshots_{own_, "snapshots"};
  const Table bases_{own_, "bases"};
  const Table credentials_{own_, "credentials"};
  Clock& clock_;
  Log& log_;

  std::atomic<bool> has_made_image_ = false;
  std::mutex mutex_;
  std::set<std::string> tenants_;  ///< whose namespace is known to be there
  std::set<std::string> empty_;    ///< namespaces that the last `maintain` found so
  std::set<std::string> foreign_;  ///< images that the last `maintain` left alone
  std::map<std::string, std::uint64_t>
      base_bytes_;  ///< sizes of base images that were there, by digest: one never has another
  struct RecentKey {
    std::string key;
    Instant until;
  };
  std::map<std::string, RecentKey> recent_keys_;  ///< by user
  std::set<std::string> purging_, separating_;    ///< what the manager has to do, from earlier turns
};

}  // namespace ironcore::storage::ceph
