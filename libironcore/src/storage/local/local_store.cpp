// SPDX-License-Identifier: Apache-2.0
// The body of BlockStore on local files.
//
// Locks: each call that changes a thing holds the lock of that thing; a volume's comes before a snapshot's or a base's. Who bases a new thing on another one
// holds `bases_key` from reading the record of the latter to writing the record of the former, and who removes a file that something may be based on holds it alone.
#include "ironcore/storage/local.hpp"

#include <fcntl.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <mutex>
#include <system_error>

#include "directory.hpp"
#include "disk.hpp"
#include "ironcore/base/file.hpp"
#include "ironcore/base/names.hpp"
#include "ironcore/image/copy.hpp"
#include "ironcore/storage/passing_block_store.hpp"
#include "openers.hpp"
#include "positional.hpp"
#include "record.hpp"
#include "tree.hpp"

namespace ironcore::storage {

namespace {

namespace fs = std::filesystem;
using namespace local;
using image::DiskFormat;

constexpr std::uint64_t largest_volume = std::uint64_t{16} << 40;
/// From so many files on top of each other on a new one is a copy. Each of them costs a look-up per read.
constexpr std::uint32_t most_layers = 8;
constexpr const char* mark_file = "owner";
constexpr std::size_t most_mark_bytes = 1024;
constexpr std::string_view bases_key = "base images and snapshots";

bool is_zero(BytesView bytes) {
  return bytes.empty() ||
         (bytes[0] == std::byte{0} && std::memcmp(bytes.data(), bytes.data() + 1, bytes.size() - 1) == 0);
}

std::string list_names(const std::vector<Client>& clients) {
  std::string out;
  for (const auto& client : clients) out += (out.empty() ? "" : ", ") + client.name + " (" + client.address + ")";
  return out;
}

/// Who has the open file `fd`, which is locked.
std::vector<Client> users_of(int fd) {
  auto clients = openers_of(fd);
  if (clients.empty()) clients.push_back({"unknown", "a process of another user"});
  return clients;
}

Result<void> check_size(std::uint64_t size) {
  if (size == 0 || size % size_step != 0) {
    return Error(ErrorCode::invalid, "the size must be a multiple of 1 MiB, not " + std::to_string(size) + " bytes");
  }
  if (size > largest_volume) return Error(ErrorCode::invalid, "a volume of local files can have at most 16 TiB");
  return {};
}

Result<void> check_tenant(const std::string& tenant) {
  const auto wrong = check_dns_label(tenant);
  if (wrong) return Error(ErrorCode::invalid, "the name of a tenant " + *wrong);
  return {};
}

Result<void> check_id(const BlockId& id) {
  IRONCORE_CHECK(check_tenant(id.tenant));
  if (id.uid.is_nil()) return Error(ErrorCode::invalid, "the uid must not be nil");
  return {};
}

Result<void> check_limits(const Limits& limits) {
  if (limits.burst.count() < 0) return Error(ErrorCode::invalid, "the span of a burst must not be negative");
  return {};
}

Result<std::optional<StoreMark>> read_mark(const Directory& root) {
  const auto text = root.read(mark_file, most_mark_bytes);
  if (!text && text.error().code() == ErrorCode::not_found) return std::optional<StoreMark>();
  IRONCORE_CHECK(text);
  IRONCORE_TRY(auto mark, within(StoreMark::parse(*text), root.path(mark_file).string()));
  return std::optional(std::move(mark));
}

/// The store in a directory that is open.
class Body final : public BlockStore {
 public:
  Body(LocalOptions options, Clock& clock, Tree tree)
      : options_(std::move(options)), clock_(clock), tree_(std::move(tree)) {}

  Result<std::optional<StoreMark>> mark() override { return read_mark(tree_.root); }

  Result<void> set_mark(const std::optional<StoreMark>& before, const StoreMark& mark) override {
    IRONCORE_TRY(const UniqueFd held, hold(mark_file));
    IRONCORE_TRY(const auto now, read_mark(tree_.root));
    if (now != before) return Error(ErrorCode::conflict, "somebody else has marked " + options_.directory.string());
    return tree_.root.replace(mark_file, mark.to_text());
  }

  /// False when the directory was moved away, or something is mounted over it.
  bool is_at_its_path() const {
    struct stat ours {
    }, there{};
    return ::fstat(tree_.root.fd(), &ours) == 0 && ::stat(options_.directory.c_str(), &there) == 0 &&
           ours.st_dev == there.st_dev && ours.st_ino == there.st_ino;
  }

  Result<Capacity> capacity() override {
    std::error_code wrong;
    const auto space = fs::space(options_.directory, wrong);
    if (wrong) return system_error(wrong.value(), "measure " + options_.directory.string());
    // What is reserved for root counts as used: others cannot have it.
    return Capacity{.total_bytes = space.capacity,
                    .used_bytes = space.capacity - space.available,
                    .available_bytes = space.available,
                    .is_near_full = space.available < space.capacity / 100 * 15,
                    .is_full = space.available < size_step};
  }

  // Bases

  Result<BaseImage> import_base(const BaseSource& source, const Progress& progress, std::stop_token stop) override {
    const auto what = "base image " + source.digest.to_text();
    return within(import_checked(what, source, progress, stop), what);
  }

  Result<std::vector<BaseImage>> bases() override {
    IRONCORE_TRY(const auto names, tree_.bases.names());
    IRONCORE_TRY(const auto children, tree_.count_children());
    std::vector<BaseImage> out;
    for (const auto& name : names) {
      if (!name.ends_with(".record")) continue;
      const auto digest = parse_stem(name.substr(0, name.find('.')));
      if (!digest) continue;
      IRONCORE_TRY(const Place place, tree_.base_place(*digest));
      const auto record = load(place);
      if (!record || !*record) continue;
      out.push_back(base_of(*digest, **record, children));
    }
    return out;
  }

  Result<void> remove_base(const crypto::Digest& digest) override {
    const auto what = "base image " + digest.to_text();
    IRONCORE_TRY(const UniqueFd held, hold(what));
    IRONCORE_TRY(const Place place, tree_.base_place(digest));
    if (!place.directory.has(place.record())) return clear(place);
    IRONCORE_TRY(const UniqueFd alone, hold(bases_key));
    IRONCORE_TRY(const auto children, tree_.dependents(digest, {}));
    if (children > 0) {
      return Error(ErrorCode::wrong_state,
                   what + " is the base of " + std::to_string(children) + " volumes or snapshots: remove them first");
    }
    return within(erase(place), what);
  }

  // Volumes

  Result<Volume> create(const BlockId& id, const VolumeSpec& spec, const Progress& progress,
                        std::stop_token stop) override {
    IRONCORE_CHECK(check_id(id));
    return within(create_checked(id, spec, progress, stop), "create volume " + words(id));
  }

  Result<Volume> volume(const BlockId& id) override {
    IRONCORE_CHECK(check_id(id));
    IRONCORE_TRY(const Found found, find(tree_.volumes, id, "volume"));
    return volume_of(id, found.record);
  }

  Result<std::vector<Volume>> volumes() override {
    std::vector<Volume> out;
    IRONCORE_CHECK(each_record(tree_.volumes, [&](const BlockId& id, const Record& record) {
      auto volume = volume_of(id, record);
      if (volume) out.push_back(std::move(*volume));
    }));
    return out;
  }

  Result<Volume> expand(const BlockId& id, std::uint64_t size_bytes) override {
    IRONCORE_CHECK(check_id(id));
    return within(expand_checked(id, size_bytes), "expand volume " + words(id));
  }

  Result<void> set_limits(const BlockId& id, const Limits& limits) override {
    IRONCORE_CHECK(check_id(id));
    IRONCORE_CHECK(check_limits(limits));
    IRONCORE_TRY(const UniqueFd held, hold(words(id)));
    IRONCORE_TRY(Found found, find(tree_.volumes, id, "volume"));
    if (found.record.limits == limits) return {};
    found.record.limits = limits;
    return within(save(found.place, found.record), "limit volume " + words(id));
  }

  Result<void> remove(const BlockId& id) override {
    IRONCORE_CHECK(check_id(id));
    return within(remove_checked(id), "remove volume " + words(id));
  }

  // Snapshots

  Result<Snapshot> take_snapshot(const BlockId& volume, const Uid& snapshot, std::stop_token stop) override {
    const BlockId id{volume.tenant, snapshot};
    IRONCORE_CHECK(check_id(volume));
    IRONCORE_CHECK(check_id(id));
    return within(take_checked(volume, id, stop), "take snapshot " + words(id) + " of volume " + words(volume));
  }

  Result<Snapshot> snapshot(const BlockId& id) override {
    IRONCORE_CHECK(check_id(id));
    IRONCORE_TRY(const Found found, find(tree_.snapshots, id, "snapshot"));
    return snapshot_of(id, found.record);
  }

  Result<std::vector<Snapshot>> snapshots() override {
    std::vector<Snapshot> out;
    IRONCORE_CHECK(each_record(tree_.snapshots, [&](const BlockId& id, const Record& record) {
      if (!record.is_removed) out.push_back(snapshot_of(id, record));
    }));
    return out;
  }

  Result<void> remove_snapshot(const BlockId& id) override {
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

  Result<std::unique_ptr<BlockData>> open(const BlockId& id, const std::optional<EncryptionKey>& key) override {
    IRONCORE_CHECK(check_id(id));
    IRONCORE_TRY(const UniqueFd held, hold(words(id)));
    IRONCORE_TRY(OpenDisk disk, open_disk(id, key.has_value()));
    return block_data(std::move(disk), options_.executor);
  }

  Result<bool> is_key_of(const BlockId& id, const EncryptionKey&) override {
    IRONCORE_CHECK(check_id(id));
    IRONCORE_TRY(const UniqueFd held, hold(words(id)));
    IRONCORE_TRY(const bool is_volume, has(tree_.volumes, id));
    const auto found =
        find(is_volume ? tree_.volumes : tree_.snapshots, id, is_volume ? "volume" : "volume or snapshot");
    if (!found) return found.error();
    return false;
  }

  Result<Access> access(const BlockId& id) override {
    IRONCORE_CHECK(check_id(id));
    IRONCORE_TRY(const UniqueFd held, hold(words(id)));
    IRONCORE_TRY(const Found found, find(tree_.volumes, id, "volume"));
    IRONCORE_CHECK(within(catch_up(id, found), "prepare volume " + words(id)));
    Access out{.driver = "local", .handle = handle_of(id), .attributes = {}, .secrets = {}};
    out.attributes["path"] = found.place.path(found.record.format).string();
    out.attributes["format"] = image::name(found.record.format);
    const auto& limits = found.record.limits;
    const auto tell = [&](const char* name, std::uint64_t value) {
      if (value != 0) out.attributes[name] = std::to_string(value);
    };
    tell("iops", limits.iops);
    tell("bytesPerSecond", limits.bytes_per_second);
    tell("burstIops", limits.burst_iops);
    tell("burstBytesPerSecond", limits.burst_bytes_per_second);
    tell("burstSeconds", static_cast<std::uint64_t>(limits.burst.count()));
    return out;
  }

  Result<void> rotate_credential(const std::string& tenant) override {
    IRONCORE_CHECK(check_tenant(tenant));
    return Error(ErrorCode::unsupported,
                 "local files have no credentials: whoever may open them is decided by their owner and mode");
  }
  Result<std::vector<Credential>> credentials(const std::string&) override { return std::vector<Credential>(); }
  Result<void> revoke_credential(const std::string&, const std::string&) override { return {}; }

  Result<std::vector<Client>> clients(const BlockId& id) override {
    IRONCORE_CHECK(check_id(id));
    IRONCORE_TRY(const Found found, find(tree_.volumes, id, "volume"));
    // Asked through the descriptor that has our own locks, these do not count.
    const auto disk = find_open(id);
    UniqueFd fresh;
    if (!disk) {
      IRONCORE_TRY(fresh, found.place.directory.file(found.place.data(found.record.format), O_RDONLY));
    }
    const int fd = disk ? disk->top().fd.get() : fresh.get();
    IRONCORE_TRY(const bool is_used, is_image_locked(fd, found.place.path(found.record.format)));
    return is_used ? users_of(fd) : std::vector<Client>();
  }

  Result<void> fence(std::span<const std::string> clients) override {
    if (clients.empty()) return {};
    return Error(ErrorCode::unsupported,
                 "local files cannot be closed to a process: end the process " + clients.front() + " instead");
  }

  Result<Maintenance> maintain(std::stop_token stop) override {
    Maintenance out;
    IRONCORE_CHECK(tidy(tree_.volumes, out, stop));
    IRONCORE_CHECK(tidy(tree_.snapshots, out, stop));
    // Half a base is in nobody's way and nobody's loss: who still wants it imports it again.
    IRONCORE_TRY(const auto stems, stems_in(tree_.bases));
    for (const auto& stem : stems.without_record) {
      const auto digest = parse_stem(stem);
      if (!digest) continue;
      const auto held = try_hold("base image " + digest->to_text());
      if (!held) continue;  // somebody works on it
      IRONCORE_TRY(const Place place, tree_.base_place(*digest));
      if (place.directory.has(place.record())) continue;
      IRONCORE_CHECK(clear(place));
      ++out.removed;
    }
    return out;
  }

  Result<void> remove_unfinished(const BlockId& id) override {
    IRONCORE_CHECK(check_id(id));
    const auto held = try_hold(words(id));
    if (!held && held.error().code() == ErrorCode::conflict) {
      return Error(ErrorCode::wrong_state, words(id) + " is being worked on: repeat it later");
    }
    IRONCORE_CHECK(held);
    for (const auto* kind : {&tree_.volumes, &tree_.snapshots}) {
      IRONCORE_TRY(const auto place, place_of(*kind, id));
      if (!place) continue;
      if (place->directory.has(place->record())) {
        return Error(ErrorCode::wrong_state, words(id) + " is finished: remove it as what it is");
      }
      IRONCORE_CHECK(clear(*place));
    }
    return {};
  }

 private:
  // Locks and places

  Result<UniqueFd> hold(std::string_view what, LockMode mode = LockMode::exclusive) {
    return lock(tree_.root, what, mode, {clock_, options_.patience, {}});
  }
  Result<UniqueFd> try_hold(std::string_view what) {
    return lock(tree_.root, what, LockMode::exclusive, {clock_, Duration::zero(), {}});
  }

  // Values

  static BaseImage base_of(const crypto::Digest& digest, const Record& record, const Tree::Children& children) {
    const auto found = children.find(digest);
    return {digest, record.size_bytes, found == children.end() ? 0 : found->second};
  }
  Result<Volume> volume_of(const BlockId& id, const Record& record) const {
    IRONCORE_TRY(const std::uint32_t depth, tree_.depth_of(id.tenant, record.backing));
    return Volume{id, record.size_bytes, false, record.limits, depth};
  }
  static Snapshot snapshot_of(const BlockId& id, const Record& record) {
    return {id, record.volume, record.size_bytes, false};
  }

  static std::string handle_of(const BlockId& id) { return crypto::sha256("local " + words(id)).hex().substr(0, 16); }

  // The steps of the calls; the caller has checked the ids

  Result<BaseImage> import_checked(const std::string& what, const BaseSource& source, const Progress& progress,
                                   const std::stop_token& stop) {
    if (source.size_bytes == 0) return Error(ErrorCode::invalid, "an image needs at least one byte");
    // A second caller waits for the first one's copy, however long it takes.
    IRONCORE_TRY(const UniqueFd held,
                 lock(tree_.root, what, LockMode::exclusive, {clock_, std::chrono::hours(24 * 365), stop}));
    IRONCORE_TRY(const Place place, tree_.base_place(source.digest));
    IRONCORE_TRY(const auto existing, load(place));
    if (existing) {
      IRONCORE_TRY(const auto children, tree_.count_children());
      return base_of(source.digest, *existing, children);
    }
    IRONCORE_CHECK(clear(place));
    Record record;
    record.size_bytes = source.size_bytes;
    const auto made = [&]() -> Result<void> {
      const auto path = place.path(DiskFormat::raw);
      IRONCORE_TRY(const UniqueFd fd, place.directory.create(place.data(DiskFormat::raw)));
      image::Progress now{0, source.size_bytes};
      const image::Descriptor blob{
          .media_type = {}, .digest = source.digest, .size = source.size_bytes, .platform = {}, .reference_name = {}};
      IRONCORE_CHECK(image::copy_blob(
          source.path, fd.get(), path, blob,
          [&](std::uint64_t bytes) {
            now.done_bytes += bytes;
            if (progress) progress(now);
          },
          stop));
      if (::fchmod(fd.get(), 0444) != 0) return system_error(errno, "set the mode of " + path.string());
      IRONCORE_CHECK(sync_file(fd.get(), path));
      return save(place, record);
    }();
    if (!made) return give_up(place, made.error());
    return base_of(source.digest, record, {});
  }

  /// What a new volume is made from.
  struct Source {
    Place place;
    Record record;
    Parent parent;
    std::string path;  ///< as seen from a volume
  };
  Result<Source> source_of(const std::string& tenant, const VolumeSource& source) const {
    if (const auto* base = std::get_if<FromBase>(&source)) {
      IRONCORE_TRY(Place place, tree_.base_place(base->digest));
      IRONCORE_TRY(auto record, load(place));
      if (!record) {
        return Error(ErrorCode::not_found, "there is no base image " + base->digest.to_text() + ": import it first");
      }
      auto path = "../../bases/" + place.data(DiskFormat::raw);
      return Source{std::move(place), std::move(*record), base->digest, std::move(path)};
    }
    const auto& from = std::get<FromSnapshot>(source);
    const BlockId id{tenant, from.snapshot};
    IRONCORE_TRY(Found found, find(tree_.snapshots, id, "snapshot"));
    if (from.key) {
      return Error(ErrorCode::invalid, "snapshot " + words(id) + " is not encrypted: it is read without a key");
    }
    auto path = "../../snapshots/" + tenant + "/" + found.place.data(found.record.format);
    return Source{std::move(found.place), std::move(found.record), from.snapshot, std::move(path)};
  }

  Result<Volume> create_checked(const BlockId& id, const VolumeSpec& spec, const Progress& progress,
                                const std::stop_token& stop) {
    IRONCORE_CHECK(check_size(spec.size_bytes));
    IRONCORE_CHECK(check_limits(spec.limits));
    if (spec.key) {
      return Error(ErrorCode::unsupported,
                   "local files are not encrypted: use a class whose pool is on Ceph, or an encrypted file system");
    }
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

  /// Makes the file of a new volume from its source; says in the record what it became.
  Result<void> fill(const Place& place, Record& record, const std::string& tenant, const Source& source,
                    const Progress& progress, const std::stop_token& stop) const {
    record.format = source.record.format;
    record.backing = source.record.backing;
    const auto path = place.path(record.format);
    IRONCORE_TRY(const UniqueFd from, source.place.directory.file(source.place.data(record.format), O_RDONLY));
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

  /// Reads the source through all of its layers.
  Result<void> copy_whole(const Place& place, const Record& record, const std::string& tenant, const Source& source,
                          const Progress& progress, const std::stop_token& stop) const {
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

  Result<Volume> expand_checked(const BlockId& id, std::uint64_t size_bytes) {
    IRONCORE_CHECK(check_size(size_bytes));
    IRONCORE_TRY(const UniqueFd held, hold(words(id)));
    IRONCORE_TRY(Found found, find(tree_.volumes, id, "volume"));
    if (size_bytes < found.record.size_bytes) {
      return Error(ErrorCode::invalid,
                   "a volume cannot shrink: it has " + std::to_string(found.record.size_bytes) + " bytes already");
    }
    if (size_bytes == found.record.size_bytes) return volume_of(id, found.record);
    found.record.size_bytes = size_bytes;
    const auto disk = find_open(id);
    if (disk) {
      IRONCORE_CHECK(disk->grow(size_bytes));
    } else if (found.record.format == DiskFormat::qcow2) {
      IRONCORE_CHECK(catch_up(id, found));
    } else {
      IRONCORE_TRY(const UniqueFd fd, found.place.directory.file(found.place.data(DiskFormat::raw), O_RDWR));
      IRONCORE_CHECK(image::grow_disk(fd.get(), found.place.path(DiskFormat::raw), DiskFormat::raw, size_bytes));
    }
    IRONCORE_CHECK(save(found.place, found.record));
    return volume_of(id, found.record);
  }

  /// Gives a qcow2 file the size that its record has, unless somebody has it open: QEMU keeps the header in its memory.
  Result<void> catch_up(const BlockId& id, const Found& found) {
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

  Result<void> remove_checked(const BlockId& id) {
    IRONCORE_TRY(const UniqueFd held, hold(words(id)));
    IRONCORE_TRY(const auto place, place_of(tree_.volumes, id));
    if (!place) return {};
    if (!place->directory.has(place->record())) return clear(*place);
    if (is_open_here(id)) return Error(ErrorCode::wrong_state, "this process has it open: close its data first");
    // Locked until the files are gone, so that nobody starts to use them meanwhile. Whatever the record says: it may be damaged.
    std::vector<UniqueFd> locked;
    for (const auto format : {DiskFormat::raw, DiskFormat::qcow2}) {
      if (!place->directory.has(place->data(format))) continue;
      IRONCORE_TRY(UniqueFd fd, place->directory.file(place->data(format), O_RDWR));
      IRONCORE_CHECK(tell_users(lock_image(fd.get(), place->path(format)), fd.get()));
      locked.push_back(std::move(fd));
    }
    return erase(*place);
  }

  /// `wrong_state` if a lock was refused because somebody has the image open.
  static Result<void> tell_users(const Result<bool>& is_free, int fd) {
    if (!is_free) return is_free.error();
    if (*is_free) return {};
    return Error(ErrorCode::wrong_state,
                 "in use by " + list_names(users_of(fd)) + ": detach it, or stop the machine, and repeat");
  }

  Result<Snapshot> take_checked(const BlockId& volume, const BlockId& id, const std::stop_token& stop) {
    IRONCORE_TRY(const UniqueFd held_volume, hold(words(volume)));
    if (id == volume) return Error(ErrorCode::invalid, "a snapshot needs a uid of its own");
    IRONCORE_TRY(const UniqueFd held, hold(words(id)));
    IRONCORE_TRY(const UniqueFd kept, hold(bases_key, LockMode::shared));
    IRONCORE_TRY(const auto before, place_of(tree_.snapshots, id));
    if (before) {
      IRONCORE_TRY(const auto existing, load(*before));
      if (existing && existing->volume == volume.uid && !existing->is_removed) return snapshot_of(id, *existing);
      if (existing) return Error(ErrorCode::already_exists, "a snapshot has or had this uid: use another one");
    }
    IRONCORE_TRY(const bool is_volume, has(tree_.volumes, id));
    if (is_volume) return Error(ErrorCode::already_exists, "a volume has this uid: use another one");
    IRONCORE_TRY(const Found found, find(tree_.volumes, volume, "volume"));
    IRONCORE_TRY(const Place place, make_place(tree_.snapshots, id));
    IRONCORE_CHECK(clear(place));
    Record record = found.record;
    record.volume = volume.uid;
    record.limits = {};
    const auto made = [&]() -> Result<void> {
      const auto path = place.path(record.format);
      IRONCORE_TRY(const UniqueFd fd, place.directory.create(place.data(record.format)));
      IRONCORE_CHECK(copy_moment(volume, found, fd.get(), path, stop));
      if (record.format == DiskFormat::raw) IRONCORE_CHECK(resize(fd.get(), path, record.size_bytes));
      IRONCORE_CHECK(sync_file(fd.get(), path));
      return save(place, record);
    }();
    if (!made) return give_up(place, made.error());
    return snapshot_of(id, record);
  }

  /// Copies the file of a volume as it is at one moment.
  Result<void> copy_moment(const BlockId& volume, const Found& found, int to, const fs::path& path,
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
                   "in use by " + list_names(users_of(fd)) +
                       ", and the file system cannot share extents: stop the machine, or put the pool on XFS or Btrfs");
    }
    auto copied = copy_sparse(from.get(), to, path, stop);
    // What others may do with it again depends on the format, as when it was opened.
    if (disk && found.record.format == DiskFormat::raw) IRONCORE_CHECK(share_image(fd, source));
    return copied;
  }

  enum class Collected { gone, needed, busy };
  /// Removes a snapshot if nothing is based on it.
  Result<Collected> collect(const Place& place, const BlockId& id) {
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

  // Open disks

  /// Empty if this object does not have it open.
  OpenDisk find_open(const BlockId& id) {
    const std::lock_guard lock(open_->mutex);
    const auto found = open_->disks.find(id);
    return {open_, found == open_->disks.end() ? nullptr : found->second.lock()};
  }
  bool is_open_here(const BlockId& id) { return static_cast<bool>(find_open(id)); }

  Result<OpenDisk> open_disk(const BlockId& id, bool has_key) {
    IRONCORE_TRY(const bool is_volume, has(tree_.volumes, id));
    const auto kind = is_volume ? "volume" : "snapshot";
    auto found = find(is_volume ? tree_.volumes : tree_.snapshots, id, is_volume ? "volume" : "volume or snapshot");
    if (!found) return found.error();
    const auto opening = std::string("open ") + kind + " " + words(id);
    if (has_key) return Error(ErrorCode::invalid, opening + ": it is not encrypted: open it without a key");
    if (is_volume) {
      if (auto disk = find_open(id)) return Result<OpenDisk>(std::move(disk));
    }
    std::vector<Disk::File> files;
    IRONCORE_CHECK(within(add_file(found->place, found->record.format, is_volume ? O_RDWR : O_RDONLY, files), opening));
    if (is_volume) {
      const auto path = found->place.path(found->record.format);
      const int fd = files[0].fd.get();
      // Two who write the tables of a qcow2 file would damage it.
      IRONCORE_CHECK(
          within(tell_users(found->record.format == DiskFormat::raw ? share_image(fd, path) : lock_image(fd, path), fd),
                 opening));
      IRONCORE_CHECK(
          within(image::grow_disk(files[0].fd.get(), path, found->record.format, found->record.size_bytes), opening));
    }
    IRONCORE_CHECK(within(tree_.add_layers(id.tenant, found->record.backing, files), opening));
    auto disk = Disk::open(std::move(files), found->record.size_bytes, is_volume);
    if (!disk) return disk.error().within(opening);
    if (is_volume) {
      const std::lock_guard lock(open_->mutex);
      std::erase_if(open_->disks, [](const auto& entry) { return entry.second.expired(); });
      open_->disks[id] = *disk;
    }
    return OpenDisk(open_, std::move(*disk));
  }

  // Leftovers

  Result<void> tidy(const Directory& kind, Maintenance& out, const std::stop_token& stop) {
    IRONCORE_TRY(const auto all, tenants(kind));
    for (const auto& tenant : all) {
      IRONCORE_TRY(Directory directory, kind.enter(tenant));
      IRONCORE_TRY(const Stems stems, stems_in(directory));
      Place place{std::move(directory), {}};
      for (const auto& stem : stems.without_record) {
        if (stop.stop_requested()) return Error(ErrorCode::cancelled, "stopped while tidying up");
        const auto uid = Uid::parse(stem);
        if (!uid) continue;  // not ours
        place.stem = stem;
        IRONCORE_CHECK(tidy_half(place, {tenant, *uid}, out));
      }
      for (const auto& stem : stems.with_new_record) {
        const auto uid = Uid::parse(stem);
        if (!uid) continue;
        const auto held = try_hold(words({tenant, *uid}));
        if (held) IRONCORE_CHECK(place.directory.remove(stem + ".record.new"));
      }
      if (&kind != &tree_.snapshots) continue;
      IRONCORE_CHECK(tidy_all_removed(place, tenant, stems.with_record, out, stop));
    }
    return {};
  }

  Result<void> tidy_half(const Place& place, const BlockId& id, Maintenance& out) {
    const auto held = try_hold(words(id));
    if (!held || place.directory.has(place.record())) return {};  // somebody works, or has worked, on it
    const bool has_data =
        place.directory.has(place.data(DiskFormat::raw)) || place.directory.has(place.data(DiskFormat::qcow2));
    if (has_data && !place.directory.has(place.removed())) {
      out.unfinished.push_back(id);
      return {};
    }
    IRONCORE_CHECK(clear(place));
    ++out.removed;
    return {};
  }

  Result<void> tidy_all_removed(Place& place, const std::string& tenant, const std::set<std::string>& stems,
                                Maintenance& out, const std::stop_token& stop) {
    std::uint64_t busy = 0;
    // One that goes may be the last that another one was kept for.
    for (bool has_removed = true; has_removed;) {
      has_removed = false;
      busy = 0;
      for (const auto& stem : stems) {
        if (stop.stop_requested()) return Error(ErrorCode::cancelled, "stopped while tidying up");
        const auto uid = Uid::parse(stem);
        place.stem = stem;
        const auto seen = load(place);
        if (!uid || !seen || !*seen || !(*seen)->is_removed) continue;
        const BlockId id{tenant, *uid};
        const auto held = try_hold(words(id));
        IRONCORE_TRY(const Collected collected, held ? collect(place, id) : Result<Collected>(Collected::busy));
        if (collected == Collected::busy) ++busy;
        if (collected != Collected::gone) continue;
        has_removed = true;
        ++out.removed;
      }
    }
    out.waiting += busy;
    return {};
  }

  LocalOptions options_;
  Clock& clock_;
  Tree tree_;
  std::shared_ptr<OpenDisks> open_ = std::make_shared<OpenDisks>();
};

/// The store at a path, where its file system may come later, or go: then nothing answers, and nothing is made at another place.
class AtPath final : public PassingBlockStore {
 public:
  AtPath(LocalOptions options, Clock& clock) : options_(std::move(options)), clock_(clock) {}

  Result<std::optional<StoreMark>> mark() override {
    const auto root = Directory::open(options_.directory);
    if (!root && root.error().code() == ErrorCode::not_found) return std::optional<StoreMark>();
    IRONCORE_CHECK(root);
    return read_mark(*root);
  }

  /// Comes last, so that what has a mark is whole.
  Result<void> set_mark(const std::optional<StoreMark>& before, const StoreMark& mark) override {
    const std::lock_guard lock(mutex_);
    if (!before) IRONCORE_CHECK(make_directory());
    if (!body_ || !body_->is_at_its_path()) {
      IRONCORE_TRY(body_, open_body());
    }
    IRONCORE_CHECK(body_->set_mark(before, mark));
    id_ = mark.store;
    return {};
  }

 private:
  Result<std::shared_ptr<BlockStore>> target() override {
    const std::lock_guard lock(mutex_);
    if (id_ && body_->is_at_its_path()) return std::shared_ptr<BlockStore>(body_);
    IRONCORE_TRY(const auto found, mark());
    const auto& path = options_.directory.string();
    if (!found) return Error(ErrorCode::unavailable, "there is no store in " + path + ": is its file system mounted?");
    if (id_ && found->store != *id_)
      return Error(ErrorCode::unavailable, "in " + path + " is store " + found->store.to_text() + ", and store " +
                                               id_->to_text() + " was: is the right file system mounted?");
    IRONCORE_TRY(body_, open_body());
    id_ = found->store;
    return std::shared_ptr<BlockStore>(body_);
  }

  Result<void> make_directory() const {
    const auto& path = options_.directory;
    if (::mkdir(path.c_str(), 0711) == 0) {
      if (::chmod(path.c_str(), 0711) != 0) return system_error(errno, "set the mode of " + path.string());
      return sync_directory(path.parent_path());
    }
    if (errno != EEXIST) return system_error(errno, "create directory " + path.string());
    return {};
  }
  Result<std::shared_ptr<Body>> open_body() const {
    IRONCORE_TRY(Tree tree, Tree::open(options_.directory));
    return std::make_shared<Body>(options_, clock_, std::move(tree));
  }

  const LocalOptions options_;
  Clock& clock_;
  std::mutex mutex_;
  std::shared_ptr<Body> body_;
  std::optional<Uid> id_;  ///< of the store in `body_`, once it has a mark
};

}  // namespace

Result<std::unique_ptr<BlockStore>> LocalStore::open(LocalOptions options, Clock& clock) {
  const auto& path = options.directory;
  if (!path.is_absolute() || path.native().find(',') != std::string::npos) {
    return Error(ErrorCode::invalid,
                 "the directory of volumes must be an absolute path without a comma, not \"" + path.string() + "\"");
  }
  if (!options.executor) return Error(ErrorCode::invalid, "a store of local files needs an executor");
  return std::unique_ptr<BlockStore>(std::make_unique<AtPath>(std::move(options), clock));
}

}  // namespace ironcore::storage
