// SPDX-License-Identifier: Apache-2.0
// Blobs from file to file: reflink first, else read, hash and write without the zeros.
#include "ironcore/image/copy.hpp"

#include <fcntl.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "ironcore/base/bytes.hpp"
#include "ironcore/base/file.hpp"
#include "ironcore/base/unique_fd.hpp"

namespace ironcore::image {

namespace {

constexpr std::size_t chunk_bytes = 1 << 20;

Error stopped() {
  return Error(ErrorCode::cancelled, "stopped while copying the image");
}

/// Reads `into` full from `offset`; false at the end of the file.
Result<bool> read_full(int fd, const std::string& name, std::span<std::byte> into, std::uint64_t offset) {
  while (!into.empty()) {
    const auto count = ::pread(fd, into.data(), into.size(), static_cast<off_t>(offset));
    if (count < 0) {
      if (errno == EINTR) continue;
      return system_error(errno, "read " + name);
    }
    if (count == 0) return false;
    into = into.subspan(static_cast<std::size_t>(count));
    offset += static_cast<std::uint64_t>(count);
  }
  return true;
}

Result<> write_full(int fd, const std::filesystem::path& path, BytesView from, std::uint64_t offset) {
  while (!from.empty()) {
    const auto count = ::pwrite(fd, from.data(), from.size(), static_cast<off_t>(offset));
    if (count < 0) {
      if (errno == EINTR) continue;
      return system_error(errno, "write " + path.string());
    }
    from = from.subspan(static_cast<std::size_t>(count));
    offset += static_cast<std::uint64_t>(count);
  }
  return {};
}

bool is_zero(BytesView bytes) {
  return bytes.empty() ||
         (bytes[0] == std::byte{0} && std::memcmp(bytes.data(), bytes.data() + 1, bytes.size() - 1) == 0);
}

/// Hands every chunk of a file to `take`, in order, with its offset.
template <class Take>
Result<> each_chunk(int fd, const std::string& name, std::uint64_t size, const Advance& advance,
                    const std::stop_token& stop, Take take) {
  Bytes buffer(static_cast<std::size_t>(std::min<std::uint64_t>(size, chunk_bytes)));
  for (std::uint64_t offset = 0; offset < size;) {
    if (stop.stop_requested()) return stopped();
    const auto chunk =
        std::span(buffer).first(static_cast<std::size_t>(std::min<std::uint64_t>(size - offset, chunk_bytes)));
    IRONCORE_TRY(const bool complete, read_full(fd, name, chunk, offset));
    if (!complete) return Error(ErrorCode::corrupt, name + " ends before its " + std::to_string(size) + " bytes");
    IRONCORE_CHECK(take(BytesView(chunk), offset));
    offset += chunk.size();
    if (advance) advance(chunk.size());
  }
  return {};
}

}  // namespace

Result<crypto::Digest> digest_of(int fd, std::uint64_t size, crypto::HashAlgorithm algorithm, const Advance& advance,
                                 const std::stop_token& stop) {
  crypto::Hasher hasher(algorithm);
  IRONCORE_CHECK(
      each_chunk(fd, "a file of the image cache", size, advance, stop, [&](BytesView chunk, std::uint64_t) -> Result<> {
        hasher.update(chunk);
        return {};
      }));
  return hasher.finish();
}

Result<> copy_blob(const std::filesystem::path& from, int to, const std::filesystem::path& to_path,
                   const Descriptor& blob, const Advance& advance, const std::stop_token& stop) {
  const UniqueFd source(::open(from.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY));
  if (!source) return system_error(errno, "open " + from.string());
  struct stat status {};
  if (::fstat(source.get(), &status) != 0) return system_error(errno, "look at " + from.string());
  if (!S_ISREG(status.st_mode)) return Error(ErrorCode::invalid, from.string() + " is not a regular file");
  const auto size = static_cast<std::uint64_t>(status.st_size);
  if (size != blob.size)
    return Error(ErrorCode::corrupt, from.string() + " has " + std::to_string(size) + " bytes instead of the " +
                                         std::to_string(blob.size) + " in the manifest; copy the image again");

  crypto::Digest digest;
  if (::ioctl(to, FICLONE, source.get()) == 0) {
    // Shared extents: what we own now cannot change any more, so it is what must be hashed.
    // The source may have grown since it was measured.
    if (::ftruncate(to, static_cast<off_t>(size)) != 0) return system_error(errno, "cut " + to_path.string());
    IRONCORE_TRY(digest, digest_of(to, size, blob.digest.algorithm(), advance, stop));
  } else {
    // Another file system, or one that shares nothing. Zeros become holes: root disks are mostly empty.
    if (::ftruncate(to, static_cast<off_t>(size)) != 0) return system_error(errno, "make room in " + to_path.string());
    ::posix_fadvise(source.get(), 0, 0, POSIX_FADV_SEQUENTIAL);
    crypto::Hasher hasher(blob.digest.algorithm());
    IRONCORE_CHECK(each_chunk(source.get(), from.string(), size, advance, stop,
                              [&](BytesView chunk, std::uint64_t offset) -> Result<> {
                                hasher.update(chunk);
                                if (is_zero(chunk)) return {};
                                return write_full(to, to_path, chunk, offset);
                              }));
    digest = hasher.finish();
  }
  if (digest != blob.digest)
    return Error(ErrorCode::corrupt, from.string() + " does not match its digest; copy the image again");
  return {};
}

}  // namespace ironcore::image
