// SPDX-License-Identifier: Apache-2.0
// Taking the lock of a store file.
#include "file_lock.hpp"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <string>

#include "ironcore/base/file.hpp"

namespace ironcore::store::sqlite {

namespace {

/// `process 123 (ironcored)`, as far as it can be found out.
std::string holder_of(int fd) {
  std::array<char, 32> text{};
  const auto count = pread(fd, text.data(), text.size() - 1, 0);
  std::string pid(text.data(), count > 0 ? static_cast<std::size_t>(count) : 0);
  pid.erase(std::find_if(pid.begin(), pid.end(), [](char c) { return c < '0' || c > '9'; }), pid.end());
  if (pid.empty()) return "another process";
  const auto file = read_file("/proc/" + pid + "/comm", 64);
  auto name = file ? *file : std::string();
  while (!name.empty() && static_cast<unsigned char>(name.back()) <= ' ') name.pop_back();
  return "process " + pid + (name.empty() ? "" : " (" + name + ")");
}

}  // namespace

Result<FileLock> FileLock::take(const std::filesystem::path& file) {
  const auto path = file.string() + ".lock";
  UniqueFd fd(::open(path.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600));
  const bool is_new = static_cast<bool>(fd);
  if (!fd && errno == EEXIST) fd = UniqueFd(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (!fd) {
    const auto number = errno;
    auto error = system_error(number, "open " + path);
    return Error(error.code(),
                 error.message() +
                     ": the directory must exist, and the user that this program runs as must be able to write to it");
  }
  if (flock(fd.get(), LOCK_EX | LOCK_NB) != 0) {
    if (errno != EWOULDBLOCK) return system_error(errno, "lock " + path);
    return Error(ErrorCode::wrong_state, "store file " + file.string() + " is in use by " + holder_of(fd.get()) +
                                             ": end it first, or use another file");
  }
  const auto pid = std::to_string(getpid()) + "\n";
  if (ftruncate(fd.get(), 0) != 0 || pwrite(fd.get(), pid.data(), pid.size(), 0) < 0) {
    // Only for the message of the next one who comes; a full disk must not keep a store from being opened.
  }
  return FileLock(std::move(fd), is_new ? path : std::string());
}

void FileLock::undo() {
  if (!made_.empty()) ::unlink(made_.c_str());
}

}  // namespace ironcore::store::sqlite
