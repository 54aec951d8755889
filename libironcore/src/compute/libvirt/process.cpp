// SPDX-License-Identifier: Apache-2.0
// Looking for QEMU in /proc.
#include "process.hpp"

#include <dirent.h>
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "ironcore/base/unique_fd.hpp"

namespace ironcore::compute::libvirt {

namespace {

bool is_qemu_of(std::int64_t process, const std::string& uuid) {
  const std::string path = "/proc/" + std::to_string(process) + "/cmdline";
  const UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd) return false;
  std::array<char, 4096> bytes;  // the UUID is among the first options
  const ssize_t n = ::read(fd.get(), bytes.data(), bytes.size());
  if (n <= 0) return false;
  const std::string_view arguments(bytes.data(), static_cast<std::size_t>(n));
  std::string wanted = "-uuid";
  wanted += '\0';  // between two arguments
  wanted += uuid;
  return arguments.find(wanted) != std::string_view::npos;
}

}  // namespace

std::int64_t Processes::find(const Uid& uid) {
  const std::string uuid = uid.to_text();
  std::lock_guard guard(mutex_);
  const auto known = found_.find(uid);
  if (known != found_.end() && is_qemu_of(known->second, uuid)) return known->second;
  found_.erase(uid);

  const std::unique_ptr<DIR, int (*)(DIR*)> directory(::opendir("/proc"), ::closedir);
  if (!directory) return 0;
  std::vector<std::int64_t> processes;
  while (const dirent* entry = ::readdir(directory.get())) {
    std::int64_t process = 0;
    const char* end = entry->d_name + std::strlen(entry->d_name);
    if (const auto parsed = std::from_chars(entry->d_name, end, process);
        parsed.ec == std::errc() && parsed.ptr == end) {
      processes.push_back(process);
    }
  }
  // The newest first: most often somebody asks about what was just started.
  std::sort(processes.rbegin(), processes.rend());
  for (const std::int64_t process : processes) {
    if (!is_qemu_of(process, uuid)) continue;
    found_[uid] = process;
    return process;
  }
  return 0;
}

}  // namespace ironcore::compute::libvirt
