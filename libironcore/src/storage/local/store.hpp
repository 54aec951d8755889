// SPDX-License-Identifier: Apache-2.0
// BlockStore on the files of a directory that is open; its functions are in several files by topic.
//
// Locks: each call that changes a thing holds the lock of that thing; a volume's comes before a snapshot's or a base's. Who bases a new thing on another one
// holds `bases_key` from reading the record of the latter to writing the record of the former, and who removes a file that something may be based on holds it alone.
#pragma once

#include <filesystem>
#include <memory>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "directory.hpp"
#include "disk.hpp"
#include "ironcore/base/clock.hpp"
#include "ironcore/base/unique_fd.hpp"
#include "ironcore/storage/local.hpp"
#include "place.hpp"
#include "tree.hpp"

namespace ironcore::storage::local {

constexpr std::string_view bases_key = "base images and snapshots";

Result<void> check_id(const BlockId& id);
/// Of the store in this directory.
Result<std::optional<StoreMark>> read_mark(const Directory& root);

class Store final : public BlockStore {
 public:
  Store(LocalOptions options, Clock& clock, Tree tree)
      : options_(std::move(options)), clock_(clock), tree_(std::move(tree)) {}

  Result<std::optional<StoreMark>> mark() override;
  Result<void> set_mark(const std::optional<StoreMark>& before, const StoreMark& mark) override;
  /// False when the directory was moved away, or something is mounted over it.
  bool is_at_its_path() const;
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
  Result<bool> is_key_of(const BlockId& id, const EncryptionKey&) override;
  Result<void> check_encryption() override;
  Result<Access> access(const BlockId& id) override;
  Result<void> rotate_credential(const std::string& tenant) override;
  Result<std::vector<Credential>> credentials(const std::string&) override;
  Result<void> revoke_credential(const std::string&, const std::string&) override;
  Result<std::vector<Client>> clients(const BlockId& id) override;
  Result<void> fence(std::span<const std::string> clients) override;
  Result<Maintenance> maintain(std::stop_token stop) override;
  Result<void> remove_unfinished(const BlockId& id) override;

 private:
  // --- store.cpp: what all topics need
  Result<UniqueFd> hold(std::string_view what, LockMode mode = LockMode::exclusive);
  Result<UniqueFd> try_hold(std::string_view what);
  /// Who has the open file `fd`, which is locked.
  static std::vector<Client> users_of(int fd);
  /// Of `users_of`, for people.
  static std::string list_users(int fd);
  /// `wrong_state` if a lock was refused because somebody has the image open.
  static Result<void> tell_users(const Result<bool>& is_free, int fd);
  /// Empty if this object does not have it open.
  OpenDisk find_open(const BlockId& id);
  bool is_open_here(const BlockId& id) { return static_cast<bool>(find_open(id)); }
  Result<OpenDisk> open_disk(const BlockId& id, bool has_key);

  // --- bases.cpp
  Result<BaseImage> import_checked(const std::string& what, const BaseSource& source, const Progress& progress,
                                   const std::stop_token& stop);

  // --- volumes.cpp
  Result<Volume> volume_of(const BlockId& id, const Record& record) const;
  /// With its file, and those that it is based on.
  Result<Found> whole_volume(const BlockId& id) const;
  /// What a new volume is made from.
  struct Source {
    Place place;
    Record record;
    Parent parent;
    std::string path;  ///< as seen from a volume
  };
  Result<Source> source_of(const std::string& tenant, const VolumeSource& source) const;
  Result<Volume> create_checked(const BlockId& id, const VolumeSpec& spec, const Progress& progress,
                                const std::stop_token& stop);
  /// Makes the file of a new volume from its source; says in the record what it became.
  Result<void> fill(const Place& place, Record& record, const std::string& tenant, const Source& source,
                    const Progress& progress, const std::stop_token& stop) const;
  /// Reads the source through all of its layers.
  Result<void> copy_whole(const Place& place, const Record& record, const std::string& tenant, const Source& source,
                          const Progress& progress, const std::stop_token& stop) const;
  Result<Volume> expand_checked(const BlockId& id, std::uint64_t size_bytes);
  /// Gives a qcow2 file the size that its record has, unless somebody has it open: QEMU keeps the header in its memory.
  Result<void> catch_up(const BlockId& id, const Found& found);
  Result<void> remove_checked(const BlockId& id);

  // --- snapshots.cpp
  Result<Snapshot> take_checked(const BlockId& volume, const BlockId& id, const std::stop_token& stop);
  /// Copies the file of a volume as it is at one moment.
  Result<void> copy_moment(const BlockId& volume, const Found& found, int to, const std::filesystem::path& path,
                           const std::stop_token& stop);
  enum class Collected { gone, needed, busy };
  /// Removes a snapshot if nothing is based on it.
  Result<Collected> collect(const Place& place, const BlockId& id);

  // --- maintenance.cpp
  Result<void> tidy(const Directory& kind, Maintenance& out, const std::stop_token& stop);
  Result<void> tidy_half(const Place& place, const BlockId& id, Maintenance& out);
  Result<void> tidy_all_removed(Place& place, const std::string& tenant, const std::set<std::string>& stems,
                                Maintenance& out, const std::stop_token& stop);

  LocalOptions options_;
  Clock& clock_;
  Tree tree_;
  std::shared_ptr<OpenDisks> open_ = std::make_shared<OpenDisks>();
};

}  // namespace ironcore::storage::local
