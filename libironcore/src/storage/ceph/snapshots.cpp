// SPDX-License-Identifier: Apache-2.0
// Snapshots: images of their own.
#include <cerrno>

#include "errors.hpp"
#include "luks.hpp"
#include "store.hpp"

namespace ironcore::storage::ceph {

namespace {

constexpr std::string_view kVolume = "volume ";

std::string source_text(const Uid& volume) {
  return std::string(kVolume) + volume.to_text();
}

Snapshot snapshot_of(const BlockId& id, const Entry& entry) {
  Snapshot out{.id = id, .volume = {}, .size_bytes = entry.size_bytes, .is_encrypted = entry.is_encrypted};
  if (entry.source.starts_with(kVolume)) {
    if (const auto uid = Uid::parse(std::string_view(entry.source).substr(kVolume.size())); uid.has_value()) {
      out.volume = *uid;
    }
  }
  return out;
}

Result<Snapshot> checked_snapshot(const BlockId& id, const Entry& entry, const Uid& volume) {
  Snapshot out = snapshot_of(id, entry);
  if (out.volume != volume) {
    return Error(ErrorCode::already_exists,
                 words(Kind::snapshot, id) + " is there already, of volume " + out.volume.to_text());
  }
  return out;
}

Error absent(const BlockId& id) {
  return {ErrorCode::not_found, words(Kind::snapshot, id) + ": not found"};
}

}  // namespace

// In order, each step of which may have been done by a call that was cut off:
//   the index says that it is begun; a snapshot on the volume; a clone of it; a snapshot of the clone, which others are cloned
//   from; the volume's snapshot goes (Ceph hides it while the clone needs it); the clone says that it is whole; the index lists it.
Result<Snapshot> Store::take_snapshot(const BlockId& volume, const Uid& snapshot, std::stop_token stop) {
  const BlockId id{volume.tenant, snapshot};
  IRONCORE_CHECK(check(volume));
  IRONCORE_CHECK(check(id));
  const std::string doing = "take " + words(Kind::snapshot, id) + " of volume " + volume.uid.to_text();
  const std::string name = snapshot_image(snapshot), key = index_key(id), moment = snapshot.to_text();
  IRONCORE_TRY(const IoContext io, tenant_io(id.tenant));
  IRONCORE_TRY(const Claim claimed, within(claim(id.tenant, name), doing));
  IRONCORE_TRY(const Found found, look(io, name));
  if (found.header) {
    IRONCORE_TRY(const auto known, listed(snapshots_, key));
    if (known) return checked_snapshot(id, known->entry, volume.uid);
    IRONCORE_TRY(const std::uint32_t depth, depth_of(io, name));
    const Entry entry = entry_of(*found.header, depth);
    IRONCORE_TRY(const Snapshot out, checked_snapshot(id, entry, volume.uid));
    IRONCORE_CHECK(put(snapshots_, key, entry));
    return out;
  }
  IRONCORE_TRY(const auto from, listed(volumes_, index_key(volume)));
  if (!from) return Error(ErrorCode::not_found, doing + ": the volume: not found");
  if (stop.stop_requested()) return Error(ErrorCode::cancelled, doing + ": stopped");
  if (found.is_there) {
    IRONCORE_TRY(const std::string begun, snapshots_.get(key));
    if (begun.empty()) return foreign(ErrorCode::already_exists, id.tenant, name).within(doing);
    IRONCORE_CHECK(within(discard_image(io, name), doing));
  }

  Entry entry{.size_bytes = 0,
              .is_encrypted = from->entry.is_encrypted,
              .limits = {},
              .source = source_text(volume.uid),
              .depth = from->entry.depth + 1,
              .is_pending = true};
  IRONCORE_CHECK(within(put(snapshots_, key, entry), doing));
  const std::string pending = to_text(entry), origin = volume_image(volume.uid);
  std::string number;
  {
    auto image = Image::open(io, origin, Image::Mode::read_write);
    if (image.has_error()) {
      IRONCORE_CHECK(drop(snapshots_, key));
      return image.error().within(doing);
    }
    const int made = rbd_snap_create2(image->get(), moment.c_str(), RBD_SNAP_CREATE_SKIP_QUIESCE, nullptr, nullptr);
    if (made != -EEXIST) IRONCORE_CHECK(checked(made, doing + ": snapshot of the volume"));
    const ImageOptions options(options_.data_pool);
    const auto cloned = make_named(io, name, doing + ": clone", [&] {
      return rbd_clone3(io.get(), origin.c_str(), moment.c_str(), io.get(), name.c_str(), options.get());
    });
    if (made == -EEXIST && cloned.has_error() && cloned.error().code() == ErrorCode::not_found) {
      // A call was cut off after librbd had entered it and before it had its object map: nothing can ever be cloned from it.
      IRONCORE_CHECK(checked(rbd_snap_remove(image->get(), moment.c_str()), doing + ": remove half a snapshot"));
      return Error(ErrorCode::conflict, doing + ": an earlier call left half of it, which was removed: repeat it");
    }
    IRONCORE_CHECK(cloned);
    {
      IRONCORE_TRY(const Image clone, Image::open(io, name, Image::Mode::read_write));
      IRONCORE_CHECK(
          checked(rbd_snap_create2(clone.get(), clone_snapshot, RBD_SNAP_CREATE_SKIP_QUIESCE, nullptr, nullptr),
                  doing + ": snapshot of the clone"));
      IRONCORE_TRY(entry.size_bytes, clone.size());
      IRONCORE_TRY(number, clone.id());
    }
    IRONCORE_CHECK(
        checked(rbd_snap_remove(image->get(), moment.c_str()), doing + ": remove the snapshot of the volume"));
  }
  const auto encryption = entry.is_encrypted ? Encryption::luks2 : Encryption::none;
  if (entry.is_encrypted) entry.size_bytes -= luks_header_size;
  auto metadata = whole_metadata(name, entry.source, encryption);
  metadata.merge(limit_metadata({}));  // a clone starts with its volume's
  const auto written = write_metadata(io, number, metadata);
  if (written.has_error() && written.error().code() == ErrorCode::not_found)
    return Error(ErrorCode::conflict, doing + ": somebody removed it at once: repeat it");
  IRONCORE_CHECK(within(written, doing));
  entry.is_pending = false;
  IRONCORE_CHECK(within(put(snapshots_, key, entry, pending), doing));
  return snapshot_of(id, entry);
}

Result<Snapshot> Store::snapshot(const BlockId& id) {
  IRONCORE_CHECK(check(id));
  IRONCORE_TRY(const auto found, listed(snapshots_, index_key(id)));
  if (!found) return absent(id);
  IRONCORE_TRY(const IoContext io, tenant_io(id.tenant));
  IRONCORE_TRY(const auto number, image_id(io, snapshot_image(id.uid)));
  if (!number) return absent(id);
  return snapshot_of(id, found->entry);
}

Result<std::vector<Snapshot>> Store::snapshots() {
  IRONCORE_TRY(const auto lines, snapshots_.list());
  std::vector<Snapshot> out;
  out.reserve(lines.size());
  for (const auto& [key, text] : lines) {
    const auto id = parse_index_key(key);
    const auto entry = parse_entry(text);
    if (id && entry.has_value() && !entry->is_pending) out.push_back(snapshot_of(*id, *entry));
  }
  return out;
}

Result<void> Store::remove_snapshot(const BlockId& id) {
  IRONCORE_CHECK(check(id));
  const std::string doing = "remove " + words(Kind::snapshot, id);
  const std::string name = snapshot_image(id.uid);
  IRONCORE_TRY(const IoContext io, tenant_io(id.tenant));
  IRONCORE_TRY(const auto claimed, within(claim_to_remove(id.tenant, name), doing));
  IRONCORE_TRY(const Found found, look(io, name));
  if (found.header) {
    IRONCORE_CHECK(within(move_to_trash(io, name), doing));
  } else {
    IRONCORE_CHECK(within(discard_begun_snapshot(io, id), doing));
  }
  return within(drop(snapshots_, index_key(id)), doing);
}

Result<void> Store::discard_begun_snapshot(const IoContext& io, const BlockId& id) {
  IRONCORE_TRY(const std::string text, snapshots_.get(index_key(id)));
  const std::string name = snapshot_image(id.uid);
  if (text.empty()) {
    IRONCORE_TRY(const auto number, image_id(io, name));
    return number ? Result<void>(foreign(ErrorCode::wrong_state, id.tenant, name)) : Result<void>();
  }
  IRONCORE_CHECK(discard_image(io, name));
  IRONCORE_TRY(const Entry entry, parse_entry(text));
  const Uid volume = snapshot_of(id, entry).volume;
  const auto image = Image::open(io, volume_image(volume), Image::Mode::read_write);
  if (image.has_error()) {
    return image.error().code() == ErrorCode::not_found ? Result<void>() : Result<void>(image.error());
  }
  const int code = rbd_snap_remove(image->get(), id.uid.to_text().c_str());
  return code == -ENOENT ? Result<void>() : checked(code, "remove a snapshot of a volume");
}

}  // namespace ironcore::storage::ceph
