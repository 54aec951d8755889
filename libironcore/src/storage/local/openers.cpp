// SPDX-License-Identifier: Apache-2.0
// A look through /proc, which nobody needs to be told twice: only called when a file is known to be in use.
#include "openers.hpp"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <memory>
#include <string>

#include "ironcore/base/file.hpp"

namespace ironcore::storage::local {

namespace {

constexpr std::size_t most_details = 65536;

using Stream = std::unique_ptr<DIR, void (*)(DIR*)>;

Stream list(const std::string& path) {
  return {::opendir(path.c_str()), [](DIR* open) { ::closedir(open); }};
}

enum class Use { none, look, lock };

/// Whether the process has the file open, and whether with a lock, as whoever uses an image has.
Use use_of(const std::string& process, const struct stat& file, int except) {
  const Stream stream = list(process + "/fd");
  if (!stream) return Use::none;
  auto out = Use::none;
  while (const auto* entry = ::readdir(stream.get())) {
    const std::string descriptor = entry->d_name;
    struct stat status {};
    if (descriptor[0] == '.' || (except >= 0 && std::to_string(except) == descriptor)) continue;
    if (::fstatat(::dirfd(stream.get()), entry->d_name, &status, 0) != 0) continue;
    if (status.st_dev != file.st_dev || status.st_ino != file.st_ino) continue;
    const auto details = read_file(process + "/fdinfo/" + descriptor, most_details);
    if (details && details->find("\nlock:") != details->npos) return Use::lock;
    out = Use::look;
  }
  return out;
}

}  // namespace

std::vector<Client> openers_of(int fd) {
  std::vector<Client> locking, looking;
  struct stat file {};
  const Stream processes = list("/proc");
  if (::fstat(fd, &file) != 0 || !processes) return {};
  const auto own = std::to_string(::getpid());
  while (const auto* entry = ::readdir(processes.get())) {
    const std::string pid = entry->d_name;
    if (pid.find_first_not_of("0123456789") != pid.npos) continue;
    const auto use = use_of("/proc/" + pid, file, pid == own ? fd : -1);
    // This process looks at files of its own account all the time.
    if (use == Use::none || (use == Use::look && pid == own)) continue;
    const auto command = read_file("/proc/" + pid + "/comm", 256);
    std::string name = command ? command->substr(0, command->find('\n')) : "process";
    (use == Use::lock ? locking : looking).push_back({"pid:" + pid, std::move(name)});
  }
  auto& out = locking.empty() ? looking : locking;
  std::sort(out.begin(), out.end(), [](const Client& a, const Client& b) { return a.address < b.address; });
  return std::move(out);
}

}  // namespace ironcore::storage::local
