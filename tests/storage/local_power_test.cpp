// SPDX-License-Identifier: Apache-2.0
// What a qcow2 file of the local store is after a power cut, whatever of the writes since the last sync has reached the disk.
#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <map>
#include <vector>

#include "ironcore/base/unique_fd.hpp"
#include "ironcore/image/disk_file.hpp"
#include "qcow2_file.hpp"

using namespace ironcore;
using storage::local::Qcow2File;

namespace {

/// What was asked of the file that is watched.
struct Step {
  enum class Kind { write, resize, sync } kind;
  std::uint64_t offset = 0;  ///< or the size
  Bytes bytes;
};
int watched = -1;
std::vector<Step> steps;

}  // namespace

extern "C" {
ssize_t pwrite64(int fd, const void* data, std::size_t size, off64_t offset) {
  if (fd == watched) {
    const auto* bytes = static_cast<const std::byte*>(data);
    steps.push_back({Step::Kind::write, static_cast<std::uint64_t>(offset), Bytes(bytes, bytes + size)});
  }
  return ::syscall(SYS_pwrite64, fd, data, size, offset);
}
int ftruncate64(int fd, off64_t size) noexcept {
  if (fd == watched) steps.push_back({Step::Kind::resize, static_cast<std::uint64_t>(size), {}});
  return static_cast<int>(::syscall(SYS_ftruncate, fd, size));
}
int fdatasync(int fd) {
  if (fd == watched) steps.push_back({Step::Kind::sync, 0, {}});
  return static_cast<int>(::syscall(SYS_fdatasync, fd));
}
}

namespace {

constexpr std::uint64_t cluster = Qcow2File::cluster_size;
constexpr std::uint64_t per_table = cluster / 8;

UniqueFd new_file(std::uint64_t clusters) {
  UniqueFd fd(::memfd_create("disk", MFD_CLOEXEC));
  REQUIRE(fd);
  REQUIRE(image::fill_overlay_disk(fd.get(), "disk", std::uint64_t{1} << 40, "base.raw", image::DiskFormat::raw));
  struct stat status {};
  REQUIRE(::fstat(fd.get(), &status) == 0);
  // As if so much had been written already.
  const auto size = static_cast<std::uint64_t>(status.st_size);
  REQUIRE(::ftruncate(fd.get(), static_cast<off_t>(std::max(size, clusters * cluster))) == 0);
  return fd;
}

Result<void> below(std::uint64_t, std::span<std::byte> into) {
  std::fill(into.begin(), into.end(), std::byte{0});
  return {};
}

void fill(Qcow2File& file, std::uint64_t number) {
  const Bytes bytes(cluster, std::byte{0xaa});
  REQUIRE(file.write(number * cluster, bytes, below));
}

std::vector<std::uint64_t> table_at(int fd, std::uint64_t offset, std::uint64_t entries) {
  Bytes bytes(entries * 8);
  REQUIRE(::pread(fd, bytes.data(), bytes.size(), static_cast<off_t>(offset)) >= 0);
  std::vector<std::uint64_t> out(entries);
  for (std::size_t i = 0; i < bytes.size(); ++i)
    out[i / 8] = out[i / 8] << 8 | std::to_integer<std::uint64_t>(bytes[i]);
  return out;
}

/// Who has which cluster of the file; false if two have one.
bool has_each_cluster_once(int fd) {
  constexpr std::uint64_t mask = 0x00fffffffffffe00;
  std::map<std::uint64_t, int> users{{0, 1}};
  const auto header = table_at(fd, 40, 2);  // where level 1 and the table of the counts are
  const auto l1_entries = table_at(fd, 32, 1)[0] & 0xffffffff;
  for (std::uint64_t at = 0; at < l1_entries * 8; at += cluster) ++users[header[0] + at];
  ++users[header[1]];
  for (const auto block : table_at(fd, header[1], per_table))
    if (block != 0) ++users[block & mask];
  for (const auto table : table_at(fd, header[0], l1_entries)) {
    if ((table & mask) == 0) continue;
    ++users[table & mask];
    for (const auto data : table_at(fd, table & mask, per_table))
      if ((data & mask) != 0) ++users[data & mask];
  }
  return std::ranges::all_of(users, [](const auto& entry) { return entry.second == 1; });
}

void apply(int fd, const Step& step) {
  if (step.kind == Step::Kind::resize) REQUIRE(::syscall(SYS_ftruncate, fd, step.offset) == 0);
  if (step.kind == Step::Kind::write)
    REQUIRE(::syscall(SYS_pwrite64, fd, step.bytes.data(), step.bytes.size(), step.offset) ==
            static_cast<ssize_t>(step.bytes.size()));
}

/// The same, with the length that the file has: of what lies beyond it nothing is seen.
void apply_without_growth(int fd, Step step) {
  struct stat status {};
  REQUIRE(::fstat(fd, &status) == 0);
  const auto size = static_cast<std::uint64_t>(status.st_size);
  if (step.kind != Step::Kind::write || step.offset >= size) return;
  step.bytes.resize(std::min<std::uint64_t>(step.bytes.size(), size - step.offset));
  apply(fd, step);
}

/// The machine is on again, and the guest writes where it has not written before.
void go_on_with(int fd) {
  const auto file = Qcow2File::open(fd, "disk", true).value();
  CHECK(file->check_length());  // it was not cut
  for (const std::uint64_t number : {500U, 501U, 7U * 8192U, 9U * 8192U}) fill(*file, number);
  REQUIRE(file->flush());
  CHECK(has_each_cluster_once(fd));
}

/// `clusters`: how long the file is before. Cuts the power after each step of `work`.
void cut_power_in(std::uint64_t clusters, const std::function<void(Qcow2File&)>& work) {
  {
    const auto fd = new_file(clusters);
    steps.clear();
    watched = fd.get();
    const auto file = Qcow2File::open(fd.get(), "disk", true).value();
    work(*file);
    watched = -1;
    CHECK(has_each_cluster_once(fd.get()));
  }
  REQUIRE(std::ranges::any_of(steps, [](const Step& step) { return step.kind == Step::Kind::sync; }));
  for (std::size_t safe = 0; safe <= steps.size(); ++safe) {
    if (safe != 0 && steps[safe - 1].kind != Step::Kind::sync) continue;
    const auto disk_after = [&](const auto& rest) {
      const auto fd = new_file(clusters);
      for (std::size_t i = 0; i < safe; ++i) apply(fd.get(), steps[i]);
      rest(fd.get());
      go_on_with(fd.get());
    };
    std::size_t next = safe;
    while (next < steps.size() && steps[next].kind != Step::Kind::sync) ++next;
    disk_after([&](int fd) {
      for (std::size_t i = safe; i < next; ++i) apply_without_growth(fd, steps[i]);
    });
    for (std::size_t only = safe; only < next; ++only) {
      disk_after([&](int fd) { apply(fd, steps[only]); });
      disk_after([&](int fd) { apply_without_growth(fd, steps[only]); });
    }
  }
}

void write_here_and_there(Qcow2File& file) {
  fill(file, 0);
  fill(file, 1);
  fill(file, 3 * per_table);
  REQUIRE(file.flush());
  fill(file, 2);
  fill(file, 5 * per_table);
}

}  // namespace

TEST_CASE("local: after a power cut during a flush no cluster of a qcow2 file is used twice") {
  cut_power_in(0, [](Qcow2File& file) {
    write_here_and_there(file);
    REQUIRE(file.flush());
  });
}

TEST_CASE("local: nor after one while a snapshot was taken") {
  cut_power_in(0, [](Qcow2File& file) {
    write_here_and_there(file);
    REQUIRE(file.settle());
    fill(file, 6 * per_table);
    REQUIRE(file.settle());
    REQUIRE(file.flush());
  });
}

TEST_CASE("local: nor after one while a block of counts was added") {
  constexpr std::uint64_t counted_by_one_block = cluster / 2;
  for (const std::uint64_t left : {0U, 1U, 2U})
    cut_power_in(counted_by_one_block - left, [](Qcow2File& file) {
      write_here_and_there(file);
      REQUIRE(file.flush());
    });
}
