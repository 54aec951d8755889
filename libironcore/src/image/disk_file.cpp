// SPDX-License-Identifier: Apache-2.0
// Raw and qcow2 files, written without qemu-img: an empty overlay is four small clusters, a process costs more.
#include "ironcore/image/disk_file.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cerrno>
#include <string>
#include <vector>

#include "ironcore/base/file.hpp"
#include "ironcore/base/unique_fd.hpp"

namespace ironcore::image {

namespace {

// Layout and field offsets of the qcow2 format, version 3 (QEMU's docs/interop/qcow2.txt).
constexpr std::uint32_t kMagic = 0x514649fb;
constexpr std::uint32_t kHeaderLength = 104;
constexpr std::uint32_t kBackingFormatExtension = 0xe2792aca;
constexpr std::uint32_t kClusterBits = 16;
constexpr std::uint64_t kCluster = std::uint64_t{1} << kClusterBits;
constexpr std::uint64_t kBytesPerL1Entry = kCluster * (kCluster / 8);  // 512 MiB
constexpr off_t kSizeOffset = 24;
constexpr off_t kL1SizeOffset = 36;
constexpr std::uint64_t kLargestDisk = std::uint64_t{16} << 40;
constexpr std::uint64_t kSector = 512;

void put32(std::string& out, std::size_t at, std::uint32_t value) {
  for (int i = 3; i >= 0; --i, value >>= 8) out[at + static_cast<std::size_t>(i)] = static_cast<char>(value & 0xff);
}
void put64(std::string& out, std::size_t at, std::uint64_t value) {
  put32(out, at, static_cast<std::uint32_t>(value >> 32));
  put32(out, at + 4, static_cast<std::uint32_t>(value));
}
std::uint32_t get32(const char* bytes) {
  std::uint32_t value = 0;
  for (int i = 0; i < 4; ++i) value = value << 8 | static_cast<unsigned char>(bytes[i]);
  return value;
}
std::uint64_t get64(const char* bytes) {
  return std::uint64_t{get32(bytes)} << 32 | get32(bytes + 4);
}

Result<std::uint64_t> whole_sectors(std::uint64_t size) {
  if (size == 0) return Error(ErrorCode::invalid, "a disk needs a size of at least one byte");
  if (size > kLargestDisk) return Error(ErrorCode::invalid, "a disk can have at most 16 TiB");
  return (size + kSector - 1) / kSector * kSector;
}

Result<UniqueFd> open_file(const std::filesystem::path& path, int flags) {
  UniqueFd fd(::open(path.c_str(), flags | O_CLOEXEC, 0600));
  if (!fd) return system_error(errno, "open " + path.string());
  return fd;
}

Result<void> write_at(int fd, std::string_view bytes, off_t offset, const std::filesystem::path& path) {
  while (!bytes.empty()) {
    const ssize_t n = ::pwrite(fd, bytes.data(), bytes.size(), offset);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return system_error(errno, "write " + path.string());
    bytes.remove_prefix(static_cast<std::size_t>(n));
    offset += n;
  }
  return {};
}

struct Header {
  std::uint64_t size;
  std::uint64_t l1_entries;
  std::uint32_t cluster_bits;
};

Result<Header> read_header(int fd, const std::filesystem::path& path) {
  std::array<char, 72> bytes{};
  const ssize_t n = ::pread(fd, bytes.data(), bytes.size(), 0);
  if (n < 0) return system_error(errno, "read " + path.string());
  if (n < static_cast<ssize_t>(bytes.size()) || get32(bytes.data()) != kMagic) {
    return Error(ErrorCode::corrupt, path.string() + " is not a qcow2 file: give its real format");
  }
  Header header{get64(&bytes[static_cast<std::size_t>(kSizeOffset)]),
                get32(&bytes[static_cast<std::size_t>(kL1SizeOffset)]), get32(&bytes[20])};
  if (header.cluster_bits < 9 || header.cluster_bits > 21) {
    return Error(ErrorCode::corrupt, path.string() + " has a damaged qcow2 header");
  }
  return header;
}

/// Creates `path` beside its place, lets `fill` write it, and renames it there. What a crash leaves is the temporary
/// file, and that is replaced by the next attempt.
template <class Fill>
Result<void> create_file(const std::filesystem::path& path, Fill fill) {
  std::filesystem::path temporary = path;
  temporary += ".new";
  auto fd = open_file(temporary, O_CREAT | O_TRUNC | O_WRONLY | O_NOFOLLOW);
  if (!fd) return fd.error();
  auto give_up = [&](Error error) {
    ::unlink(temporary.c_str());
    return error;
  };
  if (::fchmod(fd->get(), 0600) != 0) return give_up(system_error(errno, "chmod " + temporary.string()));
  if (Result<void> filled = fill(fd->get()); !filled) return give_up(filled.error());
  if (::fdatasync(fd->get()) != 0) return give_up(system_error(errno, "sync " + temporary.string()));
  if (::rename(temporary.c_str(), path.c_str()) != 0) return give_up(system_error(errno, "rename to " + path.string()));
  return sync_directory(path.parent_path());
}

}  // namespace

std::string_view name(DiskFormat format) noexcept {
  return format == DiskFormat::raw ? "raw" : "qcow2";
}

std::optional<DiskFormat> parse_disk_format(std::string_view text) noexcept {
  if (text == "raw") return DiskFormat::raw;
  if (text == "qcow2") return DiskFormat::qcow2;
  return std::nullopt;
}

Result<void> create_raw_disk(const std::filesystem::path& path, std::uint64_t size_bytes) {
  IRONCORE_TRY(const std::uint64_t size, whole_sectors(size_bytes));
  return create_file(path, [&](int fd) -> Result<void> {
    if (::ftruncate(fd, static_cast<off_t>(size)) != 0) return system_error(errno, "enlarge " + path.string());
    return {};
  });
}

Result<void> fill_overlay_disk(int fd, const std::filesystem::path& shown, std::uint64_t size_bytes,
                               const std::filesystem::path& backing, DiskFormat backing_format) {
  IRONCORE_TRY(const std::uint64_t size, whole_sectors(size_bytes));
  const std::string& parent = backing.native();
  if (parent.empty() || parent.size() > 1023) {
    return Error(ErrorCode::invalid, "the image's path must have 1 to 1023 bytes: " + parent);
  }
  // Clusters: header, refcount table, one refcount block, L1 table. The L1 table covers the largest disk, so that growing is
  // one write of the size; all its entries are zero, so it costs no space on this host.
  constexpr std::uint64_t kL1Entries = kLargestDisk / kBytesPerL1Entry;
  constexpr std::uint64_t kL1Clusters = (kL1Entries * 8 + kCluster - 1) / kCluster;
  constexpr std::uint64_t kClusters = 3 + kL1Clusters;

  std::string header(kHeaderLength, '\0');
  put32(header, 0, kMagic);
  put32(header, 4, 3);  // version
  put32(header, 16, static_cast<std::uint32_t>(parent.size()));
  put32(header, 20, kClusterBits);
  put64(header, static_cast<std::size_t>(kSizeOffset), size);
  put32(header, static_cast<std::size_t>(kL1SizeOffset), static_cast<std::uint32_t>(kL1Entries));
  put64(header, 40, 3 * kCluster);  // L1 table
  put64(header, 48, kCluster);      // refcount table
  put32(header, 56, 1);             // its clusters
  put32(header, 96, 4);             // 2^4 bits per refcount
  put32(header, 100, kHeaderLength);
  const std::string_view format = name(backing_format);
  std::string extension(16, '\0');
  put32(extension, 0, kBackingFormatExtension);
  put32(extension, 4, static_cast<std::uint32_t>(format.size()));
  extension.replace(8, format.size(), format);
  header += extension;
  header.append(8, '\0');  // end of extensions
  put64(header, 8, header.size());
  header += parent;

  std::string table(8, '\0');
  put64(table, 0, 2 * kCluster);  // the refcount block
  std::string counts;
  for (std::uint64_t i = 0; i < kClusters; ++i) counts.append({'\0', '\1'});

  IRONCORE_CHECK(write_at(fd, header, 0, shown));
  IRONCORE_CHECK(write_at(fd, table, static_cast<off_t>(kCluster), shown));
  IRONCORE_CHECK(write_at(fd, counts, static_cast<off_t>(2 * kCluster), shown));
  if (::ftruncate(fd, static_cast<off_t>(kClusters * kCluster)) != 0) {
    return system_error(errno, "enlarge " + shown.string());
  }
  return {};
}

Result<void> create_overlay_disk(const std::filesystem::path& path, std::uint64_t size_bytes,
                                 const std::filesystem::path& backing) {
  return create_file(path, [&](int fd) { return fill_overlay_disk(fd, path, size_bytes, backing, DiskFormat::raw); });
}

Result<std::uint64_t> disk_size(int fd, const std::filesystem::path& shown, DiskFormat format) {
  if (format == DiskFormat::qcow2) {
    IRONCORE_TRY(const Header header, read_header(fd, shown));
    return header.size;
  }
  // Seeking also tells the size of a block device.
  const off_t end = ::lseek(fd, 0, SEEK_END);
  if (end < 0) return system_error(errno, "measure " + shown.string());
  return static_cast<std::uint64_t>(end);
}

Result<std::uint64_t> disk_size(const std::filesystem::path& path, DiskFormat format) {
  auto fd = open_file(path, O_RDONLY);
  if (!fd) return fd.error();
  return disk_size(fd->get(), path, format);
}

Result<std::filesystem::path> disk_backing(const std::filesystem::path& path) {
  auto fd = open_file(path, O_RDONLY);
  if (!fd) return fd.error();
  IRONCORE_CHECK(read_header(fd->get(), path));
  std::array<char, 12> where{};
  if (::pread(fd->get(), where.data(), where.size(), 8) != static_cast<ssize_t>(where.size())) {
    return system_error(errno, "read " + path.string());
  }
  const std::uint64_t offset = get64(where.data());
  const std::uint32_t length = get32(&where[8]);
  if (offset == 0) return std::filesystem::path();
  std::string name(length <= 1023 ? length : 0, '\0');
  if (name.empty() || offset > kCluster ||
      ::pread(fd->get(), name.data(), length, static_cast<off_t>(offset)) != length) {
    return Error(ErrorCode::corrupt, path.string() + " has a damaged qcow2 header");
  }
  return std::filesystem::path(name);
}

Result<void> grow_disk(int fd, const std::filesystem::path& shown, DiskFormat format, std::uint64_t size_bytes) {
  IRONCORE_TRY(const std::uint64_t size, whole_sectors(size_bytes));
  if (format == DiskFormat::raw) {
    struct stat status {};
    if (::fstat(fd, &status) != 0) return system_error(errno, "measure " + shown.string());
    if (static_cast<std::uint64_t>(status.st_size) >= size) return {};
    if (::ftruncate(fd, static_cast<off_t>(size)) != 0) return system_error(errno, "enlarge " + shown.string());
  } else {
    IRONCORE_TRY(const Header header, read_header(fd, shown));
    if (header.size >= size) return {};
    const std::uint64_t per_entry = std::uint64_t{1} << (2 * header.cluster_bits - 3);
    if ((size + per_entry - 1) / per_entry > header.l1_entries) {
      return Error(ErrorCode::unsupported,
                   shown.string() + " was made for a smaller disk: enlarge it with qemu-img resize");
    }
    std::string bytes(8, '\0');
    put64(bytes, 0, size);
    IRONCORE_CHECK(write_at(fd, bytes, kSizeOffset, shown));
  }
  if (::fsync(fd) != 0) return system_error(errno, "sync " + shown.string());
  return {};
}

Result<void> grow_disk(const std::filesystem::path& path, DiskFormat format, std::uint64_t size_bytes) {
  auto fd = open_file(path, O_RDWR);
  if (!fd) return fd.error();
  return grow_disk(fd->get(), path, format, size_bytes);
}

Result<bool> looks_like_qcow2(const std::filesystem::path& path) {
  auto fd = open_file(path, O_RDONLY);
  if (!fd) return fd.error();
  std::array<char, 4> bytes{};
  const ssize_t n = ::pread(fd->get(), bytes.data(), bytes.size(), 0);
  if (n < 0) return system_error(errno, "read " + path.string());
  return n == 4 && get32(bytes.data()) == kMagic;
}

}  // namespace ironcore::image
