// SPDX-License-Identifier: Apache-2.0
// Reading and replacing whole files, and errno as errors.
#include "ironcore/base/file.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <system_error>

#include "ironcore/base/random.hpp"
#include "ironcore/base/unique_fd.hpp"

namespace ironcore {

void UniqueFd::reset(int fd) noexcept {
  // close() is not repeated on EINTR: on Linux the descriptor is gone either way, and may be somebody else's by then.
  if (fd_ >= 0 && fd_ != fd) ::close(fd_);
  fd_ = fd;
}

ErrorCode errno_code(int number) noexcept {
  switch (number) {
    case ENOENT:
    case ENOTDIR:
      return ErrorCode::not_found;
    case EEXIST:
    case ENOTEMPTY:
      return ErrorCode::already_exists;
    case EADDRINUSE:
      return ErrorCode::wrong_state;
    case EACCES:
    case EPERM:
    case EROFS:
      return ErrorCode::forbidden;
    case ENOSPC:
    case EDQUOT:
    case EFBIG:
    case EMFILE:
    case ENFILE:
    case ENOMEM:
      return ErrorCode::exhausted;
    case EINVAL:
    case ENAMETOOLONG:
    case ELOOP:
    case EISDIR:
    case EPROTONOSUPPORT:
      return ErrorCode::invalid;
    case ETIMEDOUT:
      return ErrorCode::timeout;
    case ECANCELED:
      return ErrorCode::cancelled;
    case ENOSYS:
    case EOPNOTSUPP:
      return ErrorCode::unsupported;
    default:
      return ErrorCode::unavailable;
  }
}

Error system_error(int number, std::string_view doing) {
  auto why = std::generic_category().message(number);
  if (!why.empty() && why.front() >= 'A' && why.front() <= 'Z')
    why.front() = static_cast<char>(why.front() - 'A' + 'a');
  if (number == ENOSPC) why += ": make room";
  return Error(errno_code(number), std::string(doing) + ": " + why);
}

namespace {

enum class Secrecy { none, owner_only };

Result<void> check_private(const std::filesystem::path& path, const struct stat& status) {
  if (status.st_uid != ::geteuid() && status.st_uid != 0)
    return Error(ErrorCode::forbidden, path.string() + " belongs to another user: chown it to the one who runs this");
  if ((status.st_mode & (S_IRWXG | S_IRWXO)) != 0)
    return Error(ErrorCode::forbidden, path.string() + " holds secrets, and others may open it: chmod 600 it");
  return {};
}

Result<std::string> read_whole(const std::filesystem::path& path, std::size_t max_bytes, Secrecy secrecy) {
  // Not blocking: opening a FIFO must not hang before it is refused below.
  const UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY));
  if (!fd) return system_error(errno, "open " + path.string());
  struct stat status {};
  if (::fstat(fd.get(), &status) != 0) return system_error(errno, "look at " + path.string());
  if (!S_ISREG(status.st_mode)) return Error(ErrorCode::invalid, path.string() + " is not a regular file");
  if (secrecy == Secrecy::owner_only) IRONCORE_CHECK(check_private(path, status));
  const auto too_large = [&] {
    return Error(ErrorCode::exhausted,
                 path.string() + " is larger than the " + std::to_string(max_bytes) + " bytes allowed");
  };
  if (status.st_size > 0 && static_cast<std::uint64_t>(status.st_size) > max_bytes) return too_large();

  // Files of /proc and /sys claim size 0, and any file may grow meanwhile: read until the end, not for the size.
  std::string content;
  content.reserve(static_cast<std::size_t>(status.st_size));
  std::array<char, 65536> buffer;
  for (;;) {
    const auto count = ::read(fd.get(), buffer.data(), buffer.size());
    if (count < 0) {
      if (errno == EINTR) continue;
      return system_error(errno, "read " + path.string());
    }
    if (count == 0) return content;
    if (static_cast<std::size_t>(count) > max_bytes - content.size()) return too_large();
    content.append(buffer.data(), static_cast<std::size_t>(count));
  }
}

}  // namespace

Result<std::string> read_file(const std::filesystem::path& path, std::size_t max_bytes) {
  return read_whole(path, max_bytes, Secrecy::none);
}
Result<std::string> read_private_file(const std::filesystem::path& path, std::size_t max_bytes) {
  return read_whole(path, max_bytes, Secrecy::owner_only);
}

Result<> sync_directory(const std::filesystem::path& directory) {
  const UniqueFd fd(::open(directory.empty() ? "." : directory.c_str(), O_RDONLY | O_CLOEXEC | O_DIRECTORY));
  if (!fd) return system_error(errno, "open directory " + directory.string());
  if (::fsync(fd.get()) != 0) return system_error(errno, "sync directory " + directory.string());
  return {};
}

namespace {

Result<> write_and_sync(int fd, const std::filesystem::path& path, BytesView content, mode_t mode) {
  while (!content.empty()) {
    const auto count = ::write(fd, content.data(), content.size());
    if (count < 0) {
      if (errno == EINTR) continue;
      return system_error(errno, "write " + path.string());
    }
    content = content.subspan(static_cast<std::size_t>(count));
  }
  if (::fchmod(fd, mode) != 0) return system_error(errno, "set the mode of " + path.string());
  if (::fsync(fd) != 0) return system_error(errno, "sync " + path.string());
  return {};
}

}  // namespace

Result<> atomic_write_file(const std::filesystem::path& path, BytesView content, mode_t mode) {
  if (!path.has_filename()) return Error(ErrorCode::invalid, "\"" + path.string() + "\" does not name a file");
  const auto directory = path.parent_path();
  const auto temporary = directory / ("." + path.filename().string() + "." + random_suffix(8) + ".tmp");
  {
    // Private until complete, whatever `mode` allows later.
    const UniqueFd fd(::open(temporary.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600));
    if (!fd) return system_error(errno, "create " + temporary.string());
    if (auto written = write_and_sync(fd.get(), temporary, content, mode); !written) {
      ::unlink(temporary.c_str());
      return written;
    }
  }
  if (::rename(temporary.c_str(), path.c_str()) != 0) {
    const int number = errno;
    ::unlink(temporary.c_str());
    return system_error(number, "replace " + path.string());
  }
  return sync_directory(directory);
}

}  // namespace ironcore
