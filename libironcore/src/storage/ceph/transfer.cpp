// SPDX-License-Identifier: Apache-2.0
// Copying data with bounded memory.
#include "transfer.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <condition_variable>
#include <cstring>
#include <memory>
#include <mutex>
#include <vector>

#include "errors.hpp"
#include "ironcore/base/file.hpp"
#include "ironcore/base/unique_fd.hpp"
#include "luks.hpp"

namespace ironcore::storage::ceph {

namespace {

/// As many objects are written at the same time; so much memory a transfer takes.
constexpr std::size_t kPieces = 8;

bool is_zero(BytesView bytes) {
  return bytes.empty() ||
         (bytes.front() == std::byte{0} && std::memcmp(bytes.data(), bytes.data() + 1, bytes.size() - 1) == 0);
}

/// Buffers whose writes are under way. Its destructor waits for them.
class Writes {
 public:
  explicit Writes(const Image& into) : into_(into) {
    for (Piece& piece : pieces_) piece.owner = this;
  }
  ~Writes() { wait_until_idle(); }
  Writes(const Writes&) = delete;
  Writes& operator=(const Writes&) = delete;

  /// A buffer that nothing uses; waits for one. The first error of a write before comes out here.
  Result<std::span<std::byte>> buffer() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return under_way_ < kPieces; });
    if (code_ < 0) return ceph_error(code_, "write");
    Piece& piece = *std::find_if(pieces_.begin(), pieces_.end(), [](const Piece& one) { return one.writes == 0; });
    if (piece.bytes == nullptr) piece.bytes = std::make_unique_for_overwrite<std::byte[]>(object_size);
    current_ = &piece;
    return std::span(piece.bytes.get(), object_size);
  }

  /// Writes the part of the buffer that was given out last; it stays readable until the next is asked for. Several parts may be written.
  Result<void> write(std::uint64_t offset, BytesView part) {
    Piece& piece = *current_;
    {
      const std::lock_guard lock(mutex_);
      if (piece.writes++ == 0) ++under_way_;
    }
    rbd_completion_t completion = nullptr;
    int code = rbd_aio_create_completion(&piece, &Writes::finished, &completion);
    if (code >= 0) {
      code = rbd_aio_write(into_.get(), offset, part.size(), reinterpret_cast<const char*>(part.data()), completion);
      if (code >= 0) return {};
      rbd_aio_release(completion);
    }
    ended(piece, code);
    return ceph_error(code, "write");
  }

  Result<void> finish() {
    wait_until_idle();
    IRONCORE_CHECK(checked(code_, "write"));
    return checked(rbd_flush(into_.get()), "write");
  }

 private:
  struct Piece {
    Writes* owner = nullptr;
    std::unique_ptr<std::byte[]> bytes;
    std::size_t writes = 0;  ///< of it, under way
  };

  static void finished(rbd_completion_t completion, void* argument) {
    auto& piece = *static_cast<Piece*>(argument);
    const auto code = static_cast<int>(rbd_aio_get_return_value(completion));
    rbd_aio_release(completion);
    piece.owner->ended(piece, code);
  }

  void ended(Piece& piece, int code) {
    const std::lock_guard lock(mutex_);
    if (code < 0 && code_ >= 0) code_ = code;
    if (--piece.writes > 0) return;
    --under_way_;
    changed_.notify_all();
  }

  void wait_until_idle() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return under_way_ == 0; });
  }

  const Image& into_;
  std::array<Piece, kPieces> pieces_;
  Piece* current_ = nullptr;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::size_t under_way_ = 0;  ///< pieces
  int code_ = 0;
};

Error differs(const BaseSource& source, const std::string& how) {
  return {ErrorCode::corrupt,
          source.path.string() + " is not the image " + source.digest.to_text() + ": " + how + "; fetch it again"};
}

Result<UniqueFd> open_source(const BaseSource& source) {
  UniqueFd file(::open(source.path.c_str(), O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK));
  if (!file) return system_error(errno, "open " + source.path.string());
  struct stat state {};
  if (::fstat(file.get(), &state) != 0) return system_error(errno, "look at " + source.path.string());
  if (!S_ISREG(state.st_mode)) return Error(ErrorCode::invalid, source.path.string() + " is not a regular file");
  if (static_cast<std::uint64_t>(state.st_size) != source.size_bytes) {
    return differs(
        source, "it has " + std::to_string(state.st_size) + " bytes instead of " + std::to_string(source.size_bytes));
  }
  return file;
}

/// How many bytes were read; fewer at the end of the file.
Result<std::size_t> read_at(int file, std::uint64_t offset, std::span<std::byte> into) {
  std::size_t done = 0;
  while (done < into.size()) {
    const ssize_t size = ::pread(file, into.data() + done, into.size() - done, static_cast<off_t>(offset + done));
    if (size < 0 && errno == EINTR) continue;
    if (size < 0) return system_error(errno, "read the image's file");
    if (size == 0) break;
    done += static_cast<std::size_t>(size);
  }
  return done;
}

/// Where the next data is, at `offset` or after it; the end of the file if there is none.
std::uint64_t next_data(int file, std::uint64_t offset, std::uint64_t end) {
  const off_t found = ::lseek(file, static_cast<off_t>(offset), SEEK_DATA);
  if (found >= 0) return static_cast<std::uint64_t>(found);
  return errno == ENXIO ? end : offset;  // a file system that does not know: everything is data
}

std::uint64_t front_of(const Side& side) {
  return side.cipher == nullptr ? 0 : luks_header_size;
}

/// Runs of blocks that are not all zeros, enciphered if there is a cipher. What was never written must stay so, block by block: librbd takes zeros that were
/// written for ciphertext.
Result<void> write_blocks(Writes& writes, const Side& into, std::uint64_t offset, std::span<std::byte> bytes) {
  constexpr std::size_t kBlock = luks_sector_size;
  const auto is_hole = [&](std::size_t at) { return is_zero(bytes.subspan(at, std::min(kBlock, bytes.size() - at))); };
  for (std::size_t at = 0; at < bytes.size();) {
    if (is_hole(at)) {
      at += kBlock;
      continue;
    }
    const std::size_t begin = at;
    while (at < bytes.size() && !is_hole(at)) at += kBlock;
    const auto run = bytes.subspan(begin, std::min(at, bytes.size()) - begin);
    if (into.cipher != nullptr) into.cipher->encrypt(offset + begin, run);
    IRONCORE_CHECK(writes.write(front_of(into) + offset + begin, run));
  }
  return {};
}

struct Extent {
  std::uint64_t offset = 0;
  std::uint64_t size = 0;
};

int note_extent(std::uint64_t offset, std::size_t size, int exists, void* argument) {
  if (exists != 0) static_cast<std::vector<Extent>*>(argument)->push_back({offset, size});
  return 0;
}

}  // namespace

Result<void> fill_from_file(const Image& into, const BaseSource& source, const BetweenPieces& between) {
  IRONCORE_TRY(const UniqueFd file, open_source(source));
  const std::vector<std::byte> zeros(object_size);
  crypto::Hasher hasher(source.digest.algorithm());
  Writes writes(into);
  std::uint64_t data = 0;
  for (std::uint64_t offset = 0; offset < source.size_bytes;) {
    const auto size = static_cast<std::size_t>(std::min(object_size, source.size_bytes - offset));
    if (data <= offset) data = next_data(file.get(), offset, source.size_bytes);
    if (data >= offset + size) {
      hasher.update(BytesView(zeros).first(size));
    } else {
      IRONCORE_TRY(const std::span<std::byte> buffer, writes.buffer());
      IRONCORE_TRY(const std::size_t done, read_at(file.get(), offset, buffer.first(size)));
      if (done != size) return differs(source, "it became shorter while it was read");
      // First to the cluster, then to the processor: the one works while the other does. Nobody changes the bytes.
      if (!is_zero(buffer.first(size))) IRONCORE_CHECK(writes.write(offset, buffer.first(size)));
      hasher.update(buffer.first(size));
    }
    offset += size;
    IRONCORE_CHECK(between({.done_bytes = offset, .total_bytes = source.size_bytes}));
  }
  IRONCORE_CHECK(writes.finish());
  const crypto::Digest found = hasher.finish();
  if (found != source.digest) return differs(source, "its digest is " + found.to_text());
  return {};
}

Result<void> fill_from_image(const Side& into, const Side& from, const BetweenPieces& between) {
  const std::uint64_t front = front_of(from);
  IRONCORE_TRY(const std::uint64_t raw_bytes, from.image.size());
  if (raw_bytes < front) return Error(ErrorCode::corrupt, "an image is smaller than the header of its encryption");
  const std::uint64_t size_bytes = raw_bytes - front;
  std::vector<Extent> written;
  IRONCORE_CHECK(checked(rbd_diff_iterate2(from.image.get(), nullptr, 0, raw_bytes, 1, 1, &note_extent, &written),
                         "ask what is written in an image"));
  Writes writes(into.image);
  for (const Extent& extent : written) {
    const std::uint64_t begin = std::max(extent.offset, front) - front;
    const std::uint64_t end = std::min(std::max(extent.offset + extent.size, front) - front, size_bytes);
    for (std::uint64_t offset = begin; offset < end;) {
      const auto size = static_cast<std::size_t>(std::min(object_size, end - offset));
      IRONCORE_TRY(const std::span<std::byte> buffer, writes.buffer());
      const ssize_t done = rbd_read2(from.image.get(), front + offset, size, reinterpret_cast<char*>(buffer.data()),
                                     LIBRADOS_OP_FLAG_FADVISE_SEQUENTIAL);
      if (done < 0) return ceph_error(static_cast<int>(done), "read");
      if (static_cast<std::size_t>(done) != size) return Error(ErrorCode::internal, "read: an image became shorter");
      if (from.cipher != nullptr) decrypt_sectors(*from.cipher, offset, buffer.first(size));
      // The last sector of what does not end with one: what is behind it is zeros.
      const std::size_t whole =
          into.cipher == nullptr ? size : (size + luks_sector_size - 1) / luks_sector_size * luks_sector_size;
      std::ranges::fill(buffer.subspan(size, whole - size), std::byte{0});
      IRONCORE_CHECK(write_blocks(writes, into, offset, buffer.first(whole)));
      offset += size;
      IRONCORE_CHECK(between({.done_bytes = offset, .total_bytes = size_bytes}));
    }
  }
  IRONCORE_CHECK(writes.finish());
  return between({.done_bytes = size_bytes, .total_bytes = size_bytes});
}

}  // namespace ironcore::storage::ceph
