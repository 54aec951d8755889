// SPDX-License-Identifier: Apache-2.0
// Volumes: made from nothing, a base image or a snapshot, enlarged, limited, removed.
#include <fcntl.h>
#include <linux/fs.h>
#include <sys/ioctl.h>

#include <algorithm>
#include <cstring>

#include "ironcore/base/file.hpp"
#include "ironcore/image/copy.hpp"
#include "positional.hpp"
#include "store.hpp"

namespace ironcore::storage::local {

using image::DiskFormat;

namespace {

constexpr std::uint64_t largest_volume = std::uint64_t{16} << 40;
/// From so many files on top of each other on a new one is a copy. Each of them costs a look-up per read.
constexpr std::uint32_t most_layers = 8;

bool is_zero(BytesView bytes) {
  return bytes.empty() ||
         (bytes[0] == std::byte{0} && std::memcmp(bytes.data(), bytes.data() + 1, bytes.size() - 1) == 0);
}

Result<void> check_size(std::uint64_t size) {
  if (size == 0 || size % size_step != 0) {
    return Error(ErrorCode::invalid, "the size must be a multiple of 1 MiB, not " + std::to_string(size) + " bytes");
  }
  if (size > largest_volume) return Error(ErrorCode::invalid, "a volume of local files can have at most 16 TiB");
  return {};
}

Result<void> check_limits(const Limits& limits) {
  if (limits.burst.count() < 0) return Error(ErrorCode::invalid, "the span of a burst must not be negative");
  return {};
}

}  // namespace

Result<Volume> Store::create(const BlockId& id, const VolumeSpec& spec, const Progress& progress,
                             std::stop_token stop) {
  IRONCORE_CHECK(check_id(id));
  return within(create_checked(id, spec, progress, stop), "create volume " + words(id));
}

Result<Volume> Store::volume(const BlockId& id) {
  IRONCORE_CHECK(check_id(id));
  IRONCORE_TRY(const Found found, whole_volume(id));
  return volume_of(id, found.record);
}

Result<std::vector<Volume>> Store::volumes() {
  std::vector<Volume> out;
  IRONCORE_CHECK(each_record(tree_.volumes, [&](const BlockId& id, const Place& place, const Record& record) {
    if (!is_whole(place, record)) return;
    auto volume = volume_of(id, record);
    if (volume) out.push_back(std::move(*volume));
  }));
  return out;
}

Result<Volume> Store::expand(const BlockId& id, std::uint64_t size_bytes) {
  IRONCORE_CHECK(check_id(id));
  return within(expand_checked(id, size_bytes), "expand volume " + words(id));
}

Result<void> Store::set_limits(const BlockId& id, const Limits& limits) {
  IRONCORE_CHECK(check_id(id));
  IRONCORE_CHECK(check_limits(limits));
  IRONCORE_TRY(const UniqueFd held, hold(words(id)));
  IRONCORE_TRY(Found found, find(tree_.volumes, id, "volume"));
  if (found.record.limits == limits) return {};
  found.record.limits = limits;
  return within(save(found.place, found.record), "limit volume " + words(id));
}

Result<void> Store::remove(const BlockId& id) {
  IRONCORE_CHECK(check_id(id));
  return within(remove_checked(id), "remove volume " + words(id));
}

Result<Volume> Store::volume_of(const BlockId& id, const Record& record) const {
  IRONCORE_TRY(const std::uint32_t depth, tree_.depth_of(id.tenant, record.backing));
  return Volume{id, record.size_bytes, false, record.limits, depth};
}

Result<Found> Store::whole_volume(const BlockId& id) const {
  IRONCORE_TRY(Found found, find_whole(tree_.volumes, id, "volume"));
  const auto below = tree_.layers(id.tenant, found.record.backing);
  if (below) return found;
  // They may go as soon as the volume has gone.
  IRONCORE_CHECK(find(tree_.volumes, id, "volume"));
  return below.error().within("volume " + words(id));
}

Result<Store::Source> Store::source_of(const std::string& tenant, const VolumeSource& source) const {
  if (const auto* base = std::get_if<FromBase>(&source)) {
    IRONCORE_TRY(Place place, tree_.base_place(base->digest));
    IRONCORE_TRY(auto record, load(place));
    if (!record) {
      return Error(ErrorCode::not_found, "there is no base image " + base->digest.to_text() + ": import it first");
    }
    IRONCORE_CHECK(check_file(place, *record, "base image", base->digest.to_text()));
    auto path = "../../bases/" + place.data(DiskFormat::raw);
    return Source{std::move(place), std::move(*record), base->digest, std::move(path)};
  }
  const auto& from = std::get<FromSnapshot>(source);
  const BlockId id{tenant, from.snapshot};
  IRONCORE_TRY(Found found, find_whole(tree_.snapshots, id, "snapshot"));
  IRONCORE_CHECK(within(tree_.layers(tenant, found.record.backing), "snapshot " + words(id)));
  if (from.key) {
    return Error(ErrorCode::invalid, "snapshot " + words(id) + " is not encrypted: it is read without a key");
  }
  auto path = "../../snapshots/" + tenant + "/" + found.place.data(found.record.format);
  return Source{std::move(found.place), std::move(found.record), from.snapshot, std::move(path)};
}

Result<Volume> Store::create_checked(const BlockId& id, const VolumeSpec& spec, const Progress& progress,
                                     const std::stop_token& stop) {
  IRONCORE_CHECK(check_size(spec.size_bytes));
  IRONCORE_CHECK(check_limits(spec.limits));
  if (spec.key) IRONCORE_CHECK(check_encryption());
  Record record;
  record.size_bytes = spec.size_bytes;
  record.limits = spec.limits;
  if (const auto* base = std::get_if<FromBase>(&spec.source)) record.source = base->digest;
  if (const auto* from = std::get_if<FromSnapshot>(&spec.source)) record.source = from->snapshot;

  IRONCORE_TRY(const UniqueFd held, hold(words(id)));
  IRONCORE_TRY(const UniqueFd kept, hold(bases_key, LockMode::shared));
  IRONCORE_TRY(const Place place, make_place(tree_.volumes, id));
  IRONCORE_TRY(const auto existing, load(place));
  if (existing) {
    if (existing->size_bytes == record.size_bytes && existing->source == record.source) {
      // Another one in its place would be empty, and nobody would notice.
      const auto whole = whole_volume(id);
      if (!whole) return as_damage(whole.error());
      return volume_of(id, *existing);
    }
    return Error(ErrorCode::already_exists, "it is there with " + std::to_string(existing->size_bytes) +
                                                " bytes or from another source: use another uid");
  }
  IRONCORE_TRY(const bool is_snapshot, has(tree_.snapshots, id));
  if (is_snapshot) return Error(ErrorCode::already_exists, "a snapshot has this uid: use another one");
  std::optional<Source> source;
  if (!std::holds_alternative<Empty>(spec.source)) {
    IRONCORE_TRY(source, source_of(id.tenant, spec.source));
    if (spec.size_bytes < source->record.size_bytes) {
      return Error(ErrorCode::invalid, "the volume must have at least the " +
                                           std::to_string(source->record.size_bytes) + " bytes of its source");
    }
  }
  IRONCORE_CHECK(clear(place));
  const auto made = [&]() -> Result<void> {
    if (source) {
      IRONCORE_CHECK(fill(place, record, id.tenant, *source, progress, stop));
    } else {
      IRONCORE_TRY(const UniqueFd fd, place.directory.create(place.data(DiskFormat::raw)));
      IRONCORE_CHECK(resize(fd.get(), place.path(DiskFormat::raw), record.size_bytes));
      IRONCORE_CHECK(sync_file(fd.get(), place.path(DiskFormat::raw)));
    }
    return save(place, record);
  }();
  if (!made) return give_up(place, made.error());
  return volume_of(id, record);
}

Result<void> Store::fill(const Place& place, Record& record, const std::string& tenant, const Source& source,
                         const Progress& progress, const std::stop_token& stop) const {
  record.format = source.record.format;
  record.backing = source.record.backing;
  const auto path = place.path(record.format);
  IRONCORE_TRY(const UniqueFd from, source.place.directory.file(source.place.data(record.format), O_RDONLY));
  IRONCORE_CHECK(check_length(from.get(), source.place.path(record.format).string(), record.format));
  {
    IRONCORE_TRY(const UniqueFd fd, place.directory.create(place.data(record.format)));
    if (::ioctl(fd.get(), FICLONE, from.get()) == 0) {
      IRONCORE_CHECK(image::grow_disk(fd.get(), path, record.format, record.size_bytes));
      return sync_file(fd.get(), path);
    }
  }
  IRONCORE_CHECK(place.directory.remove(place.data(record.format)));

  IRONCORE_TRY(const std::uint32_t depth, tree_.depth_of(tenant, source.parent));
  if (depth < most_layers) {
    record.format = DiskFormat::qcow2;
    record.backing = source.parent;
    IRONCORE_TRY(const UniqueFd fd, place.directory.create(place.data(record.format)));
    const auto shown = place.path(record.format);
    IRONCORE_CHECK(image::fill_overlay_disk(fd.get(), shown, record.size_bytes, source.path, source.record.format));
    return sync_file(fd.get(), shown);
  }
  record.format = DiskFormat::raw;
  record.backing = {};
  return copy_whole(place, record, tenant, source, progress, stop);
}

Result<void> Store::copy_whole(const Place& place, const Record& record, const std::string& tenant,
                               const Source& source, const Progress& progress, const std::stop_token& stop) const {
  std::vector<Disk::File> files;
  IRONCORE_CHECK(tree_.add_layers(tenant, source.parent, files));
  IRONCORE_TRY(const auto from, Disk::open(std::move(files), source.record.size_bytes, false));
  IRONCORE_TRY(const UniqueFd fd, place.directory.create(place.data(DiskFormat::raw)));
  const auto path = place.path(DiskFormat::raw);
  IRONCORE_CHECK(resize(fd.get(), path, record.size_bytes));
  Bytes buffer(1 << 20);
  image::Progress now{0, source.record.size_bytes};
  while (now.done_bytes < now.total_bytes) {
    if (stop.stop_requested()) return Error(ErrorCode::cancelled, "stopped while copying to " + path.string());
    const auto piece = std::span(buffer).first(
        static_cast<std::size_t>(std::min<std::uint64_t>(buffer.size(), now.total_bytes - now.done_bytes)));
    IRONCORE_CHECK(from->read(now.done_bytes, piece));
    if (!is_zero(piece)) IRONCORE_CHECK(write_at(fd.get(), path.string(), now.done_bytes, piece));
    now.done_bytes += piece.size();
    if (progress) progress(now);
  }
  return sync_file(fd.get(), path);
}

Result<Volume> Store::expand_checked(const BlockId& id, std::uint64_t size_bytes) {
  IRONCORE_CHECK(check_size(size_bytes));
  IRONCORE_TRY(const UniqueFd held, hold(words(id)));
  IRONCORE_TRY(Found found, whole_volume(id));
  if (size_bytes < found.record.size_bytes) {
    return Error(ErrorCode::invalid,
                 "a volume cannot shrink: it has " + std::to_string(found.record.size_bytes) + " bytes already");
  }
  if (size_bytes == found.record.size_bytes) return volume_of(id, found.record);
  found.record.size_bytes = size_bytes;
  const auto disk = find_open(id);
  // The new length reaches the disk before the record that speaks of it, also where a call that was cut off had enlarged the file already.
  if (disk) {
    IRONCORE_CHECK(disk->grow(size_bytes));
    IRONCORE_CHECK(sync_file(disk->top().fd.get(), disk->top().name));
  } else if (found.record.format == DiskFormat::qcow2) {
    IRONCORE_CHECK(catch_up(id, found));
  } else {
    IRONCORE_TRY(const UniqueFd fd, found.place.directory.file(found.place.data(DiskFormat::raw), O_RDWR));
    const auto path = found.place.path(DiskFormat::raw);
    IRONCORE_CHECK(image::grow_disk(fd.get(), path, DiskFormat::raw, size_bytes));
    IRONCORE_CHECK(sync_file(fd.get(), path));
  }
  IRONCORE_CHECK(save(found.place, found.record));
  return volume_of(id, found.record);
}

Result<void> Store::catch_up(const BlockId& id, const Found& found) {
  if (found.record.format != DiskFormat::qcow2 || is_open_here(id)) return {};
  const auto path = found.place.path(found.record.format);
  {
    // A look first: whoever starts to use it now should not find it locked for nothing.
    IRONCORE_TRY(const UniqueFd fd, found.place.directory.file(found.place.data(found.record.format), O_RDONLY));
    IRONCORE_TRY(const std::uint64_t size, image::disk_size(fd.get(), path, found.record.format));
    if (size >= found.record.size_bytes) return {};
  }
  IRONCORE_TRY(const UniqueFd fd, found.place.directory.file(found.place.data(found.record.format), O_RDWR));
  IRONCORE_TRY(const bool is_free, lock_image(fd.get(), path));
  if (!is_free) return {};
  return image::grow_disk(fd.get(), path, found.record.format, found.record.size_bytes);
}

Result<void> Store::remove_checked(const BlockId& id) {
  IRONCORE_TRY(const UniqueFd held, hold(words(id)));
  IRONCORE_TRY(const auto place, place_of(tree_.volumes, id));
  if (!place) return {};
  if (!place->directory.has(place->record())) return clear(*place);
  if (is_open_here(id)) return Error(ErrorCode::wrong_state, "this process has it open: close its data first");
  // Locked until the files are gone, so that nobody starts to use them meanwhile. Whatever the record says: it may be damaged.
  std::vector<UniqueFd> locked;
  for (const auto format : {DiskFormat::raw, DiskFormat::qcow2}) {
    const auto status = place->directory.status(place->data(format));
    if (!status && status.error().code() != ErrorCode::not_found) return status.error();
    if (!status || !S_ISREG(status->st_mode)) continue;  // gone, or replaced by what nobody has as a disk
    IRONCORE_TRY(UniqueFd fd, place->directory.file(place->data(format), O_RDWR));
    IRONCORE_CHECK(tell_users(lock_image(fd.get(), place->path(format)), fd.get()));
    locked.push_back(std::move(fd));
  }
  return erase(*place);
}

}  // namespace ironcore::storage::local
