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

using Stream = std::unique_ptr<DIR, void (*)(DIR*)>;

Stream list(const std::string& path) {
  return {::opendir(path.c_str()), [](DIR* open) { ::closedir(open); }};
}

bool has_open(const std::string& descriptors, const struct stat& file, int except) {
  const Stream stream = list(descriptors);
  if (!stream) return false;
  while (const auto* entry = ::readdir(stream.get())) {
    struct stat status {};
    if (entry->d_name[0] == '.' || (except >= 0 && std::to_string(except) == entry->d_name)) continue;
    if (::fstatat(::dirfd(stream.get()), entry->d_name, &status, 0) != 0) continue;
    if (status.st_dev == file.st_dev && status.st_ino == file.st_ino) return true;
  }
  return false;
}

}  // namespace

std::vector<Client> openers_of(int fd) {
  std::vector<Client> out;
  struct stat file {};
  const Stream processes = list("/proc");
  if (::fstat(fd, &file) != 0 || !processes) return out;
  const auto own = std::to_string(::getpid());
  while (const auto* entry = ::readdir(processes.get())) {
    const std::string pid = entry->d_name;
    if (pid.find_first_not_of("0123456789") != pid.npos) continue;
    if (!has_open("/proc/" + pid + "/fd", file, pid == own ? fd : -1)) continue;
    const auto command = read_file("/proc/" + pid + "/comm", 256);
    std::string name = command ? command->substr(0, command->find('\n')) : "process";
    out.push_back({"pid:" + pid, std::move(name)});
  }
  std::sort(out.begin(), out.end(), [](const Client& a, const Client& b) { return a.address < b.address; });
  return out;
}

}  // namespace ironcore::storage::local
