// SPDX-License-Identifier: Apache-2.0
// Directories and files of machines.
#include "machine_files.hpp"

#include <fcntl.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <system_error>

#include "device_name.hpp"
#include "ironcore/base/file.hpp"
#include "ironcore/base/unique_fd.hpp"

namespace ironcore::compute {

namespace {

namespace fs = std::filesystem;

constexpr std::size_t kRecordLimit = 1 << 20;
/// While QEMU opens an image its guest stands still: better no disk than that for the five minutes of the default. An image that is open
/// waits for its cluster as long as it takes.
constexpr std::string_view kRbdSettings =
    "# Written by libironcore: what QEMU's client of Ceph is told besides monitors, user and key.\n"
    "[client]\n"
    "client_mount_timeout = 8\n";

Result<void> make_directory(const fs::path& path) {
  if (::mkdir(path.c_str(), 0711) != 0) {
    if (errno == EEXIST) return {};
    return system_error(errno, "create directory " + path.string());
  }
  if (::chmod(path.c_str(), 0711) != 0) return system_error(errno, "set the mode of " + path.string());
  return {};
}

Result<void> remove_file(const fs::path& path) {
  if (::unlink(path.c_str()) != 0 && errno != ENOENT && errno != ENOTDIR)
    return system_error(errno, "remove " + path.string());
  return {};
}

Result<void> remove_tree(const fs::path& path) {
  std::error_code wrong;
  fs::remove_all(path, wrong);
  if (wrong) return system_error(wrong.value(), "remove " + path.string());
  return {};
}

Result<std::vector<std::string>> entries(const fs::path& directory) {
  std::vector<std::string> out;
  std::error_code wrong;
  fs::directory_iterator it(directory, wrong);
  if (wrong == std::errc::no_such_file_or_directory) return out;
  for (; !wrong && it != fs::directory_iterator(); it.increment(wrong)) out.push_back(it->path().filename().string());
  if (wrong) return system_error(wrong.value(), "list " + directory.string());
  std::sort(out.begin(), out.end());
  return out;
}

/// The last `limit` bytes; nothing if the file does not exist.
Result<std::string> tail(const fs::path& path, std::size_t limit) {
  const UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW));
  if (!fd) {
    if (errno == ENOENT) return std::string();
    return system_error(errno, "open " + path.string());
  }
  struct stat status {};
  if (::fstat(fd.get(), &status) != 0) return system_error(errno, "measure " + path.string());
  const auto size = static_cast<std::uint64_t>(status.st_size);
  std::string out(static_cast<std::size_t>(std::min<std::uint64_t>(size, limit)), '\0');
  std::size_t have = 0;
  while (have < out.size()) {
    const ssize_t n =
        ::pread(fd.get(), out.data() + have, out.size() - have, static_cast<off_t>(size - out.size() + have));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return system_error(errno, "read " + path.string());
    if (n == 0) break;  // rotated meanwhile
    have += static_cast<std::size_t>(n);
  }
  out.resize(have);
  return out;
}

bool may_enter(const struct stat& directory, const Hypervisor::FileOwner& owner) {
  if (owner.user == 0) return true;
  if (directory.st_uid == owner.user) return (directory.st_mode & S_IXUSR) != 0;
  if (directory.st_gid == owner.group) return (directory.st_mode & S_IXGRP) != 0;
  return (directory.st_mode & S_IXOTH) != 0;
}

}  // namespace

MachineFiles::MachineFiles(const fs::path& root, const Uid& uid)
    : directory_(root / "machines" / uid.to_text()), secrets_(root / "secrets" / uid.to_text()) {}

Result<void> MachineFiles::make_root(const fs::path& root, std::optional<Hypervisor::FileOwner> owner) {
  if (!root.is_absolute()) {
    return Error(ErrorCode::invalid,
                 "the directory for machines must be an absolute path, not \"" + root.string() + "\"");
  }
  if (root.native().find(',') != std::string::npos) {
    return Error(
        ErrorCode::invalid,
        "the directory for machines must not contain a comma, which means something to QEMU: " + root.string());
  }
  std::error_code wrong;
  if (root.has_parent_path()) fs::create_directories(root.parent_path(), wrong);
  if (wrong) return system_error(wrong.value(), "create directory " + root.parent_path().string());
  for (const fs::path& path : {root, root / "machines", root / "images", root / "secrets"}) {
    IRONCORE_CHECK(make_directory(path));
  }
  const auto settings = rbd_settings(root);
  if (const auto known = read_file(settings, kRecordLimit); !known || *known != kRbdSettings)
    IRONCORE_CHECK(atomic_write_file(settings, kRbdSettings, 0644));
  if (!owner) return {};
  for (const fs::path& leaf : {root / "machines", root / "secrets", root / "images" / "blobs" / "sha256"}) {
    fs::path path;
    for (const auto& part : leaf) {
      path /= part;
      struct stat status {};
      if (::stat(path.c_str(), &status) != 0) {
        if (errno == ENOENT) break;  // made later, open to all
        return system_error(errno, "look at " + path.string());
      }
      if (may_enter(status, *owner)) continue;
      return Error(ErrorCode::forbidden, "QEMU runs as user " + std::to_string(owner->user) + ", which cannot enter " +
                                             path.string() + ": use another directory, or chmod o+x " + path.string());
    }
  }
  return {};
}

Result<std::vector<Uid>> MachineFiles::machines(const fs::path& root) {
  std::vector<Uid> out;
  for (const char* place : {"machines", "secrets"}) {
    IRONCORE_TRY(const std::vector<std::string> names, entries(root / place));
    for (const auto& name : names) {
      const auto uid = Uid::parse(name);
      if (uid && std::find(out.begin(), out.end(), *uid) == out.end()) out.push_back(*uid);
    }
  }
  return out;
}

Result<void> MachineFiles::make() {
  for (const fs::path& path : {directory_, directory_ / "disks", directory_ / "logs", directory_ / "boot"}) {
    IRONCORE_CHECK(make_directory(path));
  }
  // Made here and not by whoever opens it first: that may be a log daemon of root, and the log would be unreadable for us.
  const UniqueFd log(::open(console_log().c_str(), O_CREAT | O_WRONLY | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (!log && errno != EACCES) return system_error(errno, "create " + console_log().string());
  return {};
}

bool MachineFiles::is_anything_left() const {
  return ::access(directory_.c_str(), F_OK) == 0 || ::access(secrets_.c_str(), F_OK) == 0;
}

Result<std::optional<MachineRecord>> MachineFiles::load() const {
  auto text = read_file(directory_ / "record.json", kRecordLimit);
  if (!text) {
    if (text.error().code() == ErrorCode::not_found) return std::optional<MachineRecord>();
    return text.error();
  }
  IRONCORE_TRY(MachineRecord record, MachineRecord::parse(*text));
  return std::optional(std::move(record));
}

Result<void> MachineFiles::save(const MachineRecord& record) const {
  return atomic_write_file(directory_ / "record.json", record.to_text(), 0600);
}

MachineFiles::DiskFile MachineFiles::new_disk(std::string_view name, image::DiskFormat format) const {
  return {directory_ / "disks" / (encode_device_name(name) + "." + std::string(image::name(format))), format};
}

std::optional<MachineFiles::DiskFile> MachineFiles::find_disk(std::string_view name) const {
  for (const image::DiskFormat format : {image::DiskFormat::qcow2, image::DiskFormat::raw}) {
    DiskFile file = new_disk(name, format);
    if (::access(file.path.c_str(), F_OK) == 0) return file;
  }
  return std::nullopt;
}

Result<std::vector<std::string>> MachineFiles::disks() const {
  IRONCORE_TRY(const std::vector<std::string> files, entries(directory_ / "disks"));
  std::vector<std::string> out;
  for (const auto& file : files) {
    const std::string_view text = file;
    auto name = decode_device_name(text.substr(0, text.find('.')));
    // Something that is not ours is left alone here; it goes with the directory.
    if (name && (out.empty() || out.back() != *name)) out.push_back(std::move(*name));
  }
  return out;
}

Result<void> MachineFiles::remove_disk(std::string_view name) const {
  for (const image::DiskFormat format : {image::DiskFormat::qcow2, image::DiskFormat::raw}) {
    DiskFile file = new_disk(name, format);
    IRONCORE_CHECK(remove_file(file.path));
    file.path += ".new";
    IRONCORE_CHECK(remove_file(file.path));
  }
  return {};
}

Result<void> MachineFiles::rotate_log(std::size_t limit) const {
  const fs::path log = console_log();
  struct stat status {};
  if (::stat(log.c_str(), &status) != 0 || static_cast<std::uint64_t>(status.st_size) <= limit) return {};
  IRONCORE_TRY(const std::string content, tail(log, limit));
  IRONCORE_CHECK(atomic_write_file(directory_ / "logs" / "console.log.0", content, 0600));
  if (::truncate(log.c_str(), 0) != 0) return system_error(errno, "empty " + log.string());
  return {};
}

Result<std::string> MachineFiles::read_log(std::size_t limit) const {
  std::string out;
  // From the newest to the oldest; a rotation in between makes a piece appear twice rather than not at all.
  for (const char* name : {"console.log", "console.log.0", "console.log.1", "console.log.2"}) {
    if (out.size() >= limit) break;
    IRONCORE_TRY(std::string older, tail(directory_ / "logs" / name, limit - out.size()));
    out.insert(0, older);
  }
  return out;
}

Result<void> MachineFiles::copy_boot_file(const fs::path& from, const fs::path& to) const {
  const UniqueFd in(::open(from.c_str(), O_RDONLY | O_CLOEXEC));
  if (!in) return system_error(errno, "open " + from.string());
  // Removed first: the old one may belong to QEMU's user, or be open in a QEMU that is just going away.
  IRONCORE_CHECK(remove_file(to));
  const UniqueFd out(::open(to.c_str(), O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0600));
  if (!out) return system_error(errno, "create " + to.string());
  if (::ioctl(out.get(), FICLONE, in.get()) == 0) return {};
  for (;;) {
    const ssize_t n = ::copy_file_range(in.get(), nullptr, out.get(), nullptr, std::size_t{1} << 30, 0);
    if (n == 0) return {};
    if (n > 0 || errno == EINTR) continue;
    if (errno != EXDEV && errno != EINVAL && errno != ENOSYS && errno != EOPNOTSUPP) {
      return system_error(errno, "copy " + from.string());
    }
    // An old kernel or an unusual pair of file systems: let the library copy by hand.
    std::error_code wrong;
    fs::copy_file(from, to, fs::copy_options::overwrite_existing, wrong);
    if (wrong) return system_error(wrong.value(), "copy " + from.string());
    return {};
  }
}

Result<void> MachineFiles::write_ignition(std::string_view content, std::optional<Hypervisor::FileOwner> owner) const {
  IRONCORE_CHECK(make_directory(secrets_));
  IRONCORE_CHECK(atomic_write_file(ignition(), content, 0400));
  if (!owner || owner->user == ::geteuid()) return {};
  if (::chown(ignition().c_str(), owner->user, owner->group) != 0) {
    return system_error(errno, "give " + ignition().string() + " to QEMU's user " + std::to_string(owner->user) +
                                   " (run as root, or use qemu:///session)");
  }
  return {};
}

Result<void> MachineFiles::remove_disks() const {
  return remove_tree(directory_ / "disks");
}

Result<void> MachineFiles::remove_directory() const {
  return remove_tree(directory_);
}

Result<void> MachineFiles::remove_secrets() const {
  return remove_tree(secrets_);
}

}  // namespace ironcore::compute
