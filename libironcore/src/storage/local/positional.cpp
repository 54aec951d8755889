// SPDX-License-Identifier: Apache-2.0
// pread, pwrite and fallocate until everything is done.
#include "positional.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "ironcore/base/file.hpp"

namespace ironcore::storage::local {

Result<void> read_at(int fd, const std::string& name, std::uint64_t offset, std::span<std::byte> into) {
  while (!into.empty()) {
    const auto count = ::pread(fd, into.data(), into.size(), static_cast<off_t>(offset));
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return system_error(errno, "read " + name);
    if (count == 0) {
      std::fill(into.begin(), into.end(), std::byte{0});
      break;
    }
    into = into.subspan(static_cast<std::size_t>(count));
    offset += static_cast<std::uint64_t>(count);
  }
  return {};
}

Result<void> write_at(int fd, const std::string& name, std::uint64_t offset, BytesView bytes) {
  while (!bytes.empty()) {
    const auto count = ::pwrite(fd, bytes.data(), bytes.size(), static_cast<off_t>(offset));
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return system_error(errno, "write " + name);
    bytes = bytes.subspan(static_cast<std::size_t>(count));
    offset += static_cast<std::uint64_t>(count);
  }
  return {};
}

Result<void> zero_at(int fd, const std::string& name, std::uint64_t offset, std::uint64_t size) {
  if (size == 0) return {};
  while (::fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, static_cast<off_t>(offset),
                     static_cast<off_t>(size)) != 0) {
    if (errno == EINTR) continue;
    if (errno != EOPNOTSUPP && errno != ENOSYS) return system_error(errno, "discard in " + name);
    const Bytes zeros(static_cast<std::size_t>(std::min<std::uint64_t>(size, 1 << 20)));
    while (size > 0) {
      const auto piece = std::min<std::uint64_t>(size, zeros.size());
      IRONCORE_CHECK(write_at(fd, name, offset, BytesView(zeros).first(static_cast<std::size_t>(piece))));
      offset += piece;
      size -= piece;
    }
    break;
  }
  return {};
}

Result<void> sync_data(int fd, const std::string& name) {
  while (::fdatasync(fd) != 0) {
    if (errno != EINTR) return system_error(errno, "sync " + name);
  }
  return {};
}

}  // namespace ironcore::storage::local
