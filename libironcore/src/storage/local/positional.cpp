// SPDX-License-Identifier: Apache-2.0
// pread, pwrite, fallocate and copy_file_range until everything is done.
#include "positional.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "ironcore/base/file.hpp"

namespace ironcore::storage::local {

namespace {

constexpr std::size_t copy_piece = 16 << 20;

}  // namespace

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

Result<void> sync_file(int fd, const std::filesystem::path& path) {
  if (::fsync(fd) != 0) return system_error(errno, "sync " + path.string());
  return {};
}

Result<void> resize(int fd, const std::filesystem::path& path, std::uint64_t size) {
  if (::ftruncate(fd, static_cast<off_t>(size)) != 0) return system_error(errno, "resize " + path.string());
  return {};
}

Result<void> copy_sparse(int from, int to, const std::filesystem::path& path, const std::stop_token& stop) {
  struct stat status {};
  if (::fstat(from, &status) != 0) return system_error(errno, "look at the source of " + path.string());
  IRONCORE_CHECK(resize(to, path, static_cast<std::uint64_t>(status.st_size)));
  Bytes buffer;
  for (off_t data = 0; data < status.st_size;) {
    data = ::lseek(from, data, SEEK_DATA);
    if (data < 0 && errno == ENXIO) break;
    const off_t hole = data < 0 ? -1 : ::lseek(from, data, SEEK_HOLE);
    if (hole < 0) return system_error(errno, "look for the data of " + path.string());
    while (data < hole) {
      if (stop.stop_requested()) return Error(ErrorCode::cancelled, "stopped while copying to " + path.string());
      const auto piece = std::min(static_cast<std::size_t>(hole - data), copy_piece);
      off_t in = data, out = data;
      const auto count = ::copy_file_range(from, &in, to, &out, piece, 0);
      if (count > 0) {
        data += count;
        continue;
      }
      if (count < 0 && errno == EINTR) continue;
      if (count < 0 && errno != EXDEV && errno != EINVAL && errno != ENOSYS && errno != EOPNOTSUPP) {
        return system_error(errno, "copy to " + path.string());
      }
      // An unusual file system: by hand.
      buffer.resize(std::min(piece, std::size_t{1} << 20));
      IRONCORE_CHECK(read_at(from, "the source of " + path.string(), static_cast<std::uint64_t>(data), buffer));
      IRONCORE_CHECK(write_at(to, path.string(), static_cast<std::uint64_t>(data), buffer));
      data += static_cast<off_t>(buffer.size());
    }
  }
  return {};
}

}  // namespace ironcore::storage::local
