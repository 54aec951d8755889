// SPDX-License-Identifier: Apache-2.0
// Files by openat and friends; locks that belong to an open file (OFD), so that threads exclude each other too.
#include "directory.hpp"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <memory>

#include "ironcore/base/file.hpp"

namespace ironcore::storage::local {

namespace fs = std::filesystem;

namespace {

/// Where QEMU's block/file-posix.c has its locks: from byte 100 on one for each thing that an opener does, from 200 on one for each that others must
/// not do.
constexpr off_t image_locks_start = 100;
constexpr off_t image_locks_size = 200;

/// FNV-1a. Two things with the same byte would only wait for each other without need.
off_t byte_of(std::string_view what) {
  std::uint64_t hash = 0xcbf29ce484222325;
  for (const char c : what) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3;
  return static_cast<off_t>(hash >> 2);
}

struct Range {
  off_t start;
  off_t size;
};
constexpr Range all_image_locks{image_locks_start, image_locks_size};
constexpr Range i_read_and_write{image_locks_start, 2};
constexpr Range rest_of_image_locks{image_locks_start + 2, image_locks_size - 2};
constexpr Range nobody_else_writes{image_locks_start + 101, 1};

struct flock request(short type, Range range) {
  struct flock out {};
  out.l_type = type;
  out.l_whence = SEEK_SET;
  out.l_start = range.start;
  out.l_len = range.size;
  return out;
}

/// False if somebody else's lock is in the way.
Result<bool> set_lock(int fd, short type, Range range, const fs::path& shown) {
  auto wanted = request(type, range);
  while (::fcntl(fd, F_OFD_SETLK, &wanted) != 0) {
    if (errno == EAGAIN || errno == EACCES) return false;
    if (errno != EINTR) return system_error(errno, "lock " + shown.string());
  }
  return true;
}

Result<bool> has_others(int fd, Range range, const fs::path& shown) {
  auto wanted = request(F_WRLCK, range);
  if (::fcntl(fd, F_OFD_GETLK, &wanted) != 0) return system_error(errno, "look for locks of " + shown.string());
  return wanted.l_type != F_UNLCK;
}

}  // namespace

Result<Directory> Directory::open(const fs::path& path) {
  UniqueFd fd(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!fd) return system_error(errno, "open directory " + path.string());
  return Directory(std::move(fd), path);
}

Result<Directory> Directory::enter(const std::string& name) const {
  UniqueFd fd(::openat(fd_.get(), name.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  if (!fd) return system_error(errno, "open directory " + path(name).string());
  return Directory(std::move(fd), path(name));
}

Result<Directory> Directory::make(const std::string& name) const {
  if (::mkdirat(fd_.get(), name.c_str(), 0711) != 0) {
    if (errno != EEXIST) return system_error(errno, "create directory " + path(name).string());
    return enter(name);
  }
  IRONCORE_TRY(Directory made, enter(name));
  if (::fchmod(made.fd(), 0711) != 0) return system_error(errno, "set the mode of " + path(name).string());
  IRONCORE_CHECK(sync());
  return made;
}

Result<UniqueFd> Directory::file(const std::string& name, int flags) const {
  UniqueFd fd(::openat(fd_.get(), name.c_str(), flags | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC, 0600));
  if (!fd) return system_error(errno, "open " + path(name).string());
  struct stat status {};
  if (::fstat(fd.get(), &status) != 0) return system_error(errno, "look at " + path(name).string());
  if (!S_ISREG(status.st_mode)) {
    return Error(ErrorCode::corrupt, path(name).string() + " is not a regular file: remove it");
  }
  return fd;
}

Result<UniqueFd> Directory::create(const std::string& name) const {
  IRONCORE_CHECK(remove(name));
  IRONCORE_TRY(UniqueFd fd, file(name, O_CREAT | O_EXCL | O_RDWR));
  if (::fchmod(fd.get(), 0600) != 0) return system_error(errno, "set the mode of " + path(name).string());
  return fd;
}

Result<std::string> Directory::read(const std::string& name, std::size_t limit) const {
  IRONCORE_TRY(const UniqueFd fd, file(name, O_RDONLY));
  std::string content(limit + 1, '\0');
  std::size_t have = 0;
  while (have < content.size()) {
    const auto count = ::read(fd.get(), content.data() + have, content.size() - have);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return system_error(errno, "read " + path(name).string());
    if (count == 0) break;
    have += static_cast<std::size_t>(count);
  }
  if (have > limit) return Error(ErrorCode::corrupt, path(name).string() + " is too large");
  content.resize(have);
  return content;
}

Result<void> Directory::replace(const std::string& name, std::string_view content) const {
  const auto temporary = name + ".new";
  const auto filled = [&]() -> Result<void> {
    IRONCORE_TRY(const UniqueFd fd, create(temporary));
    while (!content.empty()) {
      const auto count = ::write(fd.get(), content.data(), content.size());
      if (count < 0 && errno == EINTR) continue;
      if (count < 0) return system_error(errno, "write " + path(temporary).string());
      content.remove_prefix(static_cast<std::size_t>(count));
    }
    if (::fsync(fd.get()) != 0) return system_error(errno, "sync " + path(temporary).string());
    return rename(temporary, name);
  }();
  if (!filled) {
    ::unlinkat(fd_.get(), temporary.c_str(), 0);
    return filled;
  }
  return sync();
}

Result<void> Directory::rename(const std::string& from, const std::string& to) const {
  if (::renameat(fd_.get(), from.c_str(), fd_.get(), to.c_str()) != 0) {
    return system_error(errno, "rename " + path(from).string() + " to " + to);
  }
  return {};
}

Result<void> Directory::remove(const std::string& name) const {
  if (::unlinkat(fd_.get(), name.c_str(), 0) != 0 && errno != ENOENT) {
    return system_error(errno, "remove " + path(name).string());
  }
  return {};
}

bool Directory::has(const std::string& name) const {
  return ::faccessat(fd_.get(), name.c_str(), F_OK, AT_SYMLINK_NOFOLLOW) == 0;
}

Result<struct stat> Directory::status(const std::string& name) const {
  struct stat out {};
  if (::fstatat(fd_.get(), name.c_str(), &out, AT_SYMLINK_NOFOLLOW) != 0) {
    return system_error(errno, "look at " + path(name).string());
  }
  return out;
}

Result<std::vector<std::string>> Directory::names() const {
  // Another description of the directory: the position of reading belongs to it.
  UniqueFd fd(::openat(fd_.get(), ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!fd) return system_error(errno, "open directory " + path_.string());
  const auto done = [](DIR* open) { ::closedir(open); };
  const std::unique_ptr<DIR, decltype(done)> stream(::fdopendir(fd.get()), done);
  if (!stream) return system_error(errno, "list " + path_.string());
  (void)fd.release();
  std::vector<std::string> out;
  for (;;) {
    errno = 0;
    const auto* entry = ::readdir(stream.get());
    if (entry == nullptr) break;
    const std::string_view name = entry->d_name;
    if (name != "." && name != "..") out.emplace_back(name);
  }
  if (errno != 0) return system_error(errno, "list " + path_.string());
  std::sort(out.begin(), out.end());
  return out;
}

Result<void> Directory::sync() const {
  if (::fsync(fd_.get()) != 0) return system_error(errno, "sync directory " + path_.string());
  return {};
}

Result<UniqueFd> lock(const Directory& root, std::string_view what, LockMode mode, const Wait& wait) {
  IRONCORE_TRY(UniqueFd fd, root.file("lock", O_CREAT | O_RDWR));
  const short type = mode == LockMode::shared ? F_RDLCK : F_WRLCK;
  const auto deadline = wait.clock.now() + wait.patience;
  // Nobody tells when a lock is free without losing sight of a stop; most waits are for a call of a few milliseconds.
  Duration pause = std::chrono::milliseconds(1);
  for (;;) {
    IRONCORE_TRY(const bool is_ours, set_lock(fd.get(), type, {byte_of(what), 1}, root.path("lock")));
    if (is_ours) return fd;
    if (wait.clock.now() >= deadline) {
      return Error(ErrorCode::conflict, "somebody else is working on " + std::string(what) + ": repeat it later");
    }
    if (!sleep_for(wait.clock, pause, wait.stop)) {
      return Error(ErrorCode::cancelled, "stopped while waiting for " + std::string(what));
    }
    pause = std::min<Duration>(2 * pause, std::chrono::milliseconds(20));
  }
}

Result<bool> lock_image(int fd, const fs::path& shown) {
  return set_lock(fd, F_WRLCK, all_image_locks, shown);
}

Result<bool> share_image(int fd, const fs::path& shown) {
  IRONCORE_TRY(const bool is_ours, set_lock(fd, F_RDLCK, i_read_and_write, shown));
  IRONCORE_CHECK(set_lock(fd, F_UNLCK, rest_of_image_locks, shown));
  if (!is_ours) return false;
  // In the order that QEMU has: say what one does, then look whether that disturbs somebody.
  IRONCORE_TRY(const bool is_unwanted, has_others(fd, nobody_else_writes, shown));
  if (is_unwanted) IRONCORE_CHECK(set_lock(fd, F_UNLCK, all_image_locks, shown));
  return !is_unwanted;
}

Result<bool> is_image_locked(int fd, const fs::path& shown) {
  return has_others(fd, all_image_locks, shown);
}

}  // namespace ironcore::storage::local
