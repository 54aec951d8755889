// SPDX-License-Identifier: Apache-2.0
// Snapshots: taken, listed, removed once nothing is based on them.
#include <fcntl.h>
#include <linux/fs.h>
#include <sys/ioctl.h>

#include "ironcore/base/file.hpp"
#include "positional.hpp"
#include "store.hpp"

namespace ironcore::storage::local {

using image::DiskFormat;

namespace {

/// The file of the volume may be longer than its record says, never shorter: what would be added here are zeros that nobody wrote.
Result<void> trim(int copy, const Found& volume, const std::filesystem::path& path) {
  IRONCORE_TRY(const std::uint64_t size, image::disk_size(copy, path, DiskFormat::raw));
  if (size >= volume.record.size_bytes) return resize(copy, path, volume.record.size_bytes);
  return Error(ErrorCode::corrupt, volume.place.path(DiskFormat::raw).string() +
                                       " was cut during the snapshot: it has " + std::to_string(size) +
                                       " bytes: bring it back from a backup");
}

Snapshot snapshot_of(const BlockId& id, const Record& record) {
  return {id, record.volume, record.size_bytes, false};
}

}  // namespace

Result<Snapshot> Store::take_snapshot(const BlockId& volume, const Uid& snapshot, std::stop_token stop) {
  const BlockId id{volume.tenant, snapshot};
  IRONCORE_CHECK(check_id(volume));
  IRONCORE_CHECK(check_id(id));
  return within(take_checked(volume, id, stop), "take snapshot " + words(id) + " of volume " + words(volume));
}

Result<Snapshot> Store::snapshot(const BlockId& id) {
  IRONCORE_CHECK(check_id(id));
  IRONCORE_TRY(const Found found, find_whole(tree_.snapshots, id, "snapshot"));
  IRONCORE_CHECK(within(tree_.layers(id.tenant, found.record.backing), "snapshot " + words(id)));
  return snapshot_of(id, found.record);
}

Result<std::vector<Snapshot>> Store::snapshots() {
  std::vector<Snapshot> out;
  IRONCORE_CHECK(each_record(tree_.snapshots, [&](const BlockId& id, const Place& place, const Record& record) {
    if (!record.is_removed && is_whole(place, record)) out.push_back(snapshot_of(id, record));
  }));
  return out;
}

Result<void> Store::remove_snapshot(const BlockId& id) {
  IRONCORE_CHECK(check_id(id));
  IRONCORE_TRY(const UniqueFd held, hold(words(id)));
  IRONCORE_TRY(const auto place, place_of(tree_.snapshots, id));
  if (!place) return {};
  IRONCORE_TRY(auto record, load(*place));
  if (!record) return clear(*place);
  if (record->is_removed) return {};
  IRONCORE_TRY(const Collected collected, collect(*place, id));
  if (collected == Collected::gone) return {};
  record->is_removed = true;
  return within(save(*place, *record), "remove snapshot " + words(id));
}

Result<Snapshot> Store::take_checked(const BlockId& volume, const BlockId& id, const std::stop_token& stop) {
  IRONCORE_TRY(const UniqueFd held_volume, hold(words(volume)));
  if (id == volume) return Error(ErrorCode::invalid, "a snapshot needs a uid of its own");
  IRONCORE_TRY(const UniqueFd held, hold(words(id)));
  IRONCORE_TRY(const UniqueFd kept, hold(bases_key, LockMode::shared));
  IRONCORE_TRY(const auto before, place_of(tree_.snapshots, id));
  if (before) {
    IRONCORE_TRY(const auto existing, load(*before));
    if (existing && existing->volume == volume.uid && !existing->is_removed) {
      IRONCORE_CHECK(check_file(*before, *existing, "snapshot", words(id)));
      return snapshot_of(id, *existing);
    }
    if (existing) return Error(ErrorCode::already_exists, "a snapshot has or had this uid: use another one");
  }
  IRONCORE_TRY(const bool is_volume, has(tree_.volumes, id));
  if (is_volume) return Error(ErrorCode::already_exists, "a volume has this uid: use another one");
  IRONCORE_TRY(const Found found, whole_volume(volume));
  IRONCORE_TRY(const Place place, make_place(tree_.snapshots, id));
  IRONCORE_CHECK(clear(place));
  Record record = found.record;
  record.volume = volume.uid;
  record.limits = {};
  const auto made = [&]() -> Result<void> {
    const auto path = place.path(record.format);
    IRONCORE_TRY(const UniqueFd fd, place.directory.create(place.data(record.format)));
    IRONCORE_CHECK(copy_moment(volume, found, fd.get(), path, stop));
    IRONCORE_CHECK(check_length(fd.get(), found.place.path(record.format).string(), record.format));
    if (record.format == DiskFormat::raw) IRONCORE_CHECK(trim(fd.get(), found, path));
    IRONCORE_CHECK(sync_file(fd.get(), path));
    return save(place, record);
  }();
  if (!made) return give_up(place, made.error());
  return snapshot_of(id, record);
}

Result<void> Store::copy_moment(const BlockId& volume, const Found& found, int to, const std::filesystem::path& path,
                                const std::stop_token& stop) {
  const auto disk = find_open(volume);
  std::optional<Disk::Pause> pause;
  if (disk) {
    IRONCORE_TRY(pause, disk->pause());
  }
  const auto source = found.place.path(found.record.format);
  IRONCORE_TRY(const UniqueFd from, found.place.directory.file(found.place.data(found.record.format), O_RDONLY));
  // The kernel lets nobody write while it shares the extents.
  if (::ioctl(to, FICLONE, from.get()) == 0) return {};
  UniqueFd fresh;
  if (!disk) {
    IRONCORE_TRY(fresh, found.place.directory.file(found.place.data(found.record.format), O_RDWR));
  }
  const int fd = disk ? disk->top().fd.get() : fresh.get();
  IRONCORE_TRY(const bool is_free, lock_image(fd, source));
  if (!is_free) {
    return Error(ErrorCode::wrong_state,
                 "in use by " + list_users(fd) +
                     ", and the file system cannot share extents: stop the machine, or put the pool on XFS or Btrfs");
  }
  auto copied = copy_sparse(from.get(), to, path, stop);
  // What others may do with it again depends on the format, as when it was opened.
  if (disk && found.record.format == DiskFormat::raw) IRONCORE_CHECK(share_image(fd, source));
  return copied;
}

Result<Store::Collected> Store::collect(const Place& place, const BlockId& id) {
  const auto alone = try_hold(bases_key);
  if (!alone) {
    if (alone.error().code() == ErrorCode::conflict) return Collected::busy;
    return alone.error();
  }
  const auto count = tree_.dependents(id.uid, id.tenant);
  if (!count || *count > 0) return Collected::needed;
  IRONCORE_CHECK(within(erase(place), "remove snapshot " + words(id)));
  return Collected::gone;
}

}  // namespace ironcore::storage::local
