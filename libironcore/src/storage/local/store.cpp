// SPDX-License-Identifier: Apache-2.0
// The store itself, what all topics need, and who has a volume open.
#include "store.hpp"

#include <fcntl.h>
#include <sys/stat.h>

#include <mutex>
#include <system_error>

#include "ironcore/base/file.hpp"
#include "ironcore/base/names.hpp"
#include "openers.hpp"
#include "positional.hpp"

namespace ironcore::storage::local {

using image::DiskFormat;

namespace {

constexpr const char* mark_file = "owner";
constexpr std::size_t most_mark_bytes = 1024;

Result<void> check_tenant(const std::string& tenant) {
  const auto wrong = check_dns_label(tenant);
  if (wrong) return Error(ErrorCode::invalid, "the name of a tenant " + *wrong);
  return {};
}

std::string handle_of(const BlockId& id) {
  return crypto::sha256("local " + words(id)).hex().substr(0, 16);
}

}  // namespace

Result<void> check_id(const BlockId& id) {
  IRONCORE_CHECK(check_tenant(id.tenant));
  if (id.uid.is_nil()) return Error(ErrorCode::invalid, "the uid must not be nil");
  return {};
}

Result<std::optional<StoreMark>> read_mark(const Directory& root) {
  const auto text = root.read(mark_file, most_mark_bytes);
  if (!text && text.error().code() == ErrorCode::not_found) return std::optional<StoreMark>();
  IRONCORE_CHECK(text);
  IRONCORE_TRY(auto mark, within(StoreMark::parse(*text), root.path(mark_file).string()));
  return std::optional(std::move(mark));
}

Result<std::optional<StoreMark>> Store::mark() {
  return read_mark(tree_.root);
}

Result<void> Store::set_mark(const std::optional<StoreMark>& before, const StoreMark& mark) {
  IRONCORE_TRY(const UniqueFd held, hold(mark_file));
  IRONCORE_TRY(const auto now, read_mark(tree_.root));
  if (now != before) return Error(ErrorCode::conflict, "somebody else has marked " + options_.directory.string());
  return tree_.root.replace(mark_file, mark.to_text());
}

bool Store::is_at_its_path() const {
  struct stat ours {
  }, there{};
  return ::fstat(tree_.root.fd(), &ours) == 0 && ::stat(options_.directory.c_str(), &there) == 0 &&
         ours.st_dev == there.st_dev && ours.st_ino == there.st_ino;
}

Result<Capacity> Store::capacity() {
  std::error_code wrong;
  const auto space = std::filesystem::space(options_.directory, wrong);
  if (wrong) return system_error(wrong.value(), "measure " + options_.directory.string());
  // What is reserved for root counts as used: others cannot have it.
  return Capacity{.total_bytes = space.capacity,
                  .used_bytes = space.capacity - space.available,
                  .available_bytes = space.available,
                  .is_near_full = space.available < space.capacity / 100 * 15,
                  .is_full = space.available < size_step};
}

Result<std::unique_ptr<BlockData>> Store::open(const BlockId& id, const std::optional<EncryptionKey>& key) {
  IRONCORE_CHECK(check_id(id));
  IRONCORE_TRY(const UniqueFd held, hold(words(id)));
  IRONCORE_TRY(OpenDisk disk, open_disk(id, key.has_value()));
  return block_data(std::move(disk), options_.executor);
}

Result<void> Store::check_encryption() {
  return Error(ErrorCode::unsupported,
               "local files are not encrypted: use a class whose pool is on Ceph, or an encrypted file system");
}

Result<bool> Store::is_key_of(const BlockId& id, const EncryptionKey&) {
  IRONCORE_CHECK(check_id(id));
  IRONCORE_TRY(const UniqueFd held, hold(words(id)));
  IRONCORE_TRY(const bool is_volume, has(tree_.volumes, id));
  const auto found = find(is_volume ? tree_.volumes : tree_.snapshots, id, is_volume ? "volume" : "volume or snapshot");
  if (!found) return found.error();
  return false;
}

Result<Access> Store::access(const BlockId& id) {
  IRONCORE_CHECK(check_id(id));
  IRONCORE_TRY(const UniqueFd held, hold(words(id)));
  IRONCORE_TRY(const Found found, whole_volume(id));
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

Result<void> Store::rotate_credential(const std::string& tenant) {
  IRONCORE_CHECK(check_tenant(tenant));
  return Error(ErrorCode::unsupported,
               "local files have no credentials: whoever may open them is decided by their owner and mode");
}

Result<std::vector<Credential>> Store::credentials(const std::string&) {
  return std::vector<Credential>();
}

Result<void> Store::revoke_credential(const std::string&, const std::string&) {
  return {};
}

Result<std::vector<Client>> Store::clients(const BlockId& id) {
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

Result<void> Store::fence(std::span<const std::string> clients) {
  if (clients.empty()) return {};
  return Error(ErrorCode::unsupported,
               "local files cannot be closed to a process: end the process " + clients.front() + " instead");
}

Result<UniqueFd> Store::hold(std::string_view what, LockMode mode) {
  return lock(tree_.root, what, mode, {clock_, options_.patience, {}});
}

Result<UniqueFd> Store::try_hold(std::string_view what) {
  return lock(tree_.root, what, LockMode::exclusive, {clock_, Duration::zero(), {}});
}

Result<void> Store::tell_users(const Result<bool>& is_free, int fd) {
  if (!is_free) return is_free.error();
  if (*is_free) return {};
  return Error(ErrorCode::wrong_state, "in use by " + list_users(fd) + ": detach it, or stop the machine, and repeat");
}

OpenDisk Store::find_open(const BlockId& id) {
  const std::lock_guard lock(open_->mutex);
  const auto found = open_->disks.find(id);
  return {open_, found == open_->disks.end() ? nullptr : found->second.lock()};
}

Result<OpenDisk> Store::open_disk(const BlockId& id, bool has_key) {
  IRONCORE_TRY(const bool is_volume, has(tree_.volumes, id));
  const auto kind = is_volume ? "volume" : "snapshot";
  IRONCORE_TRY(const bool is_snapshot, has(tree_.snapshots, id));
  if (!is_volume && !is_snapshot) {
    return Error(ErrorCode::not_found, "there is no volume or snapshot " + words(id));
  }
  const auto found = find_whole(is_volume ? tree_.volumes : tree_.snapshots, id, kind);
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
    if (found->record.format == DiskFormat::qcow2) {
      IRONCORE_CHECK(within(image::grow_disk(fd, path, DiskFormat::qcow2, found->record.size_bytes), opening));
    }
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

std::vector<Client> Store::users_of(int fd) {
  auto clients = openers_of(fd);
  if (clients.empty()) clients.push_back({"unknown", "a process of another user"});
  return clients;
}

std::string Store::list_users(int fd) {
  std::string out;
  for (const auto& user : users_of(fd)) out += (out.empty() ? "" : ", ") + user.name + " (" + user.address + ")";
  return out;
}

}  // namespace ironcore::storage::local
