// SPDX-License-Identifier: Apache-2.0
// Records and qcow2 files of the local store, damaged in any way: refused, or used within their bounds.
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "ironcore/base/unique_fd.hpp"
#include "qcow2_file.hpp"
#include "record.hpp"

using namespace ironcore;
using storage::local::Qcow2File;
using storage::local::Record;

static void require(bool holds) {
  if (!holds) std::abort();
}

/// An overlay of ours in which each four bytes of input have changed one byte: three for the place, one for what is there.
static void damage(int fd, const std::uint8_t* data, std::size_t size) {
  for (; size >= 4; data += 4, size -= 4) {
    const auto place = static_cast<off_t>(data[0]) << 16 | static_cast<off_t>(data[1]) << 8 | data[2];
    require(::pwrite(fd, &data[3], 1, place) == 1);
  }
}

static Result<void> below(std::uint64_t, std::span<std::byte> into) {
  std::fill(into.begin(), into.end(), std::byte{0xbb});
  return {};
}

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto record = Record::parse({reinterpret_cast<const char*>(data), size});
  if (record) {
    require(Record::parse(record->to_text()).value() == *record);
  } else {
    require(record.error().code() == ErrorCode::corrupt);
  }

  const UniqueFd fd(::memfd_create("disk", MFD_CLOEXEC));
  require(fd.get() >= 0);
  constexpr std::uint64_t disk_size = std::uint64_t{2} << 30;
  require(image::fill_overlay_disk(fd.get(), "disk", disk_size, "base", image::DiskFormat::raw).has_value());
  damage(fd.get(), data, std::min<std::size_t>(size, 4096));
  const auto file = Qcow2File::open(fd.get(), "disk", true);
  if (!file) return 0;
  std::array<std::byte, 700> bytes{};
  for (const std::uint64_t offset : {std::uint64_t{0}, Qcow2File::cluster_size - 100, disk_size - bytes.size()}) {
    (void)(*file)->read(offset, bytes, below);
    bytes.fill(std::byte{0x11});
    if ((*file)->write(offset, bytes, below)) {
      std::array<std::byte, 700> back{};
      const auto read = (*file)->read(offset, back, below);
      if (size < 4) require(read.has_value() && back == bytes);
    }
    (void)(*file)->zero(offset, bytes.size(), below);
  }
  (void)(*file)->zero(0, 3 * Qcow2File::cluster_size, below);
  (void)(*file)->flush();
  return 0;
}
