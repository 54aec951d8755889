// SPDX-License-Identifier: Apache-2.0
// Two levels of tables, counts of references, clusters (QEMU's docs/interop/qcow2.txt, version 3).
#include "qcow2_file.hpp"

#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <cerrno>

#include "ironcore/base/file.hpp"
#include "positional.hpp"

namespace ironcore::storage::local {

namespace {

constexpr std::uint64_t cluster = Qcow2File::cluster_size;
constexpr std::uint64_t entries_per_table = cluster / 8;
constexpr std::uint64_t counts_per_block = cluster / 2;
constexpr std::uint64_t copied = std::uint64_t{1} << 63;  ///< used once: may be written in place
constexpr std::uint64_t compressed = std::uint64_t{1} << 62;
constexpr std::uint64_t zeros = 1;
constexpr std::uint64_t offset_mask = 0x00fffffffffffe00;
/// So much of the tables waits for a flush at most.
constexpr std::size_t most_changed = 65536;

std::uint64_t number_at(const std::byte* bytes, int size) {
  std::uint64_t value = 0;
  for (int i = 0; i < size; ++i) value = value << 8 | std::to_integer<std::uint64_t>(bytes[i]);
  return value;
}

void put_number(std::byte* bytes, std::uint64_t value, int size) {
  for (int i = size - 1; i >= 0; --i, value >>= 8) bytes[i] = static_cast<std::byte>(value & 0xff);
}

Result<std::vector<std::uint64_t>> read_table(int fd, const std::string& name, std::uint64_t offset,
                                              std::uint64_t entries) {
  Bytes bytes(static_cast<std::size_t>(entries * 8));
  IRONCORE_CHECK(read_at(fd, name, offset, bytes));
  std::vector<std::uint64_t> out(static_cast<std::size_t>(entries));
  for (std::size_t i = 0; i < out.size(); ++i) out[i] = number_at(&bytes[i * 8], 8);
  return out;
}

}  // namespace

Result<std::unique_ptr<Qcow2File>> Qcow2File::open(int fd, std::string name, bool is_writable) {
  std::array<std::byte, 104> header{};
  IRONCORE_CHECK(read_at(fd, name, 0, header));
  const auto field = [&](std::size_t at, int size) { return number_at(&header[at], size); };
  const auto refuse = [&](ErrorCode code, const std::string& why) {
    return Error(code, name + " " + why + ": look at it with qemu-img check");
  };
  if (field(0, 4) != 0x514649fb || field(4, 4) != 3) return refuse(ErrorCode::corrupt, "is no qcow2 file of version 3");
  if (field(20, 4) != 16 || field(96, 4) != 4 || field(32, 4) != 0 || field(60, 4) != 0 || field(72, 8) != 0) {
    return refuse(ErrorCode::unsupported, "has other features than the disks of this store (or is marked as damaged)");
  }
  std::unique_ptr<Qcow2File> file(new Qcow2File(fd, std::move(name)));
  const auto l1_entries = field(36, 4);
  const auto count_clusters = field(56, 4);
  file->l1_offset_ = field(40, 8);
  file->counts_offset_ = field(48, 8);
  struct stat status {};
  if (::fstat(fd, &status) != 0) return system_error(errno, "look at " + file->name_);
  const auto size = static_cast<std::uint64_t>(status.st_size);
  const auto fits = [&](std::uint64_t offset, std::uint64_t bytes) {
    return offset % cluster == 0 && offset != 0 && offset <= size && bytes <= size - offset + cluster;
  };
  if (l1_entries > entries_per_table * 16 || count_clusters > 64 || !fits(file->l1_offset_, l1_entries * 8) ||
      !fits(file->counts_offset_, count_clusters * cluster)) {
    return Error(ErrorCode::corrupt, file->name_ + " has a damaged qcow2 header: look at it with qemu-img check");
  }
  IRONCORE_TRY(file->l1_, read_table(fd, file->name_, file->l1_offset_, l1_entries));
  file->end_ = (size + cluster - 1) / cluster * cluster;
  if (is_writable) {
    IRONCORE_TRY(file->counts_, read_table(fd, file->name_, file->counts_offset_, count_clusters * entries_per_table));
    // Whoever writes and does not know what these features keep says so by clearing them.
    if (field(88, 8) != 0) IRONCORE_CHECK(file->write_number(88, 0));
  }
  return file;
}

Result<void> Qcow2File::check_length() const {
  const auto refuse = [&](const char* why) {
    return Error(ErrorCode::corrupt, name_ + why + ": bring it back from a backup");
  };
  constexpr const char* cut = " was cut: it holds less than its tables say";
  auto left = end_ / cluster;  // or a few tables that are named over and over would take for ever
  for (const auto table : l1_) {
    const auto at = table & offset_mask;
    if (at == 0) continue;
    if (at >= end_) return refuse(cut);
    if (left-- == 0) return refuse(" has a damaged table of level 1");
    IRONCORE_TRY(const auto entries, read_table(fd_, name_, at, entries_per_table));
    const bool is_cut = std::ranges::any_of(entries, [&](std::uint64_t entry) {
      return (entry & (zeros | compressed)) == 0 && (entry & offset_mask) >= end_;
    });
    if (is_cut) return refuse(cut);
  }
  return {};
}

Result<std::uint64_t> Qcow2File::read_number(std::uint64_t offset) const {
  std::array<std::byte, 8> bytes{};
  IRONCORE_CHECK(read_at(fd_, name_, offset, bytes));
  return number_at(bytes.data(), 8);
}

Result<void> Qcow2File::write_number(std::uint64_t offset, std::uint64_t value) const {
  std::array<std::byte, 8> bytes{};
  put_number(bytes.data(), value, 8);
  return write_at(fd_, name_, offset, bytes);
}

/// What level 2 says of a cluster of the guest; 0 = nothing is here.
Result<std::uint64_t> Qcow2File::entry(std::uint64_t number) {
  const auto table = number / entries_per_table;
  if (table >= l1_.size()) return std::uint64_t{0};
  const auto at = l1_[static_cast<std::size_t>(table)] & offset_mask;
  if (at == 0) return std::uint64_t{0};
  const auto place = at + number % entries_per_table * 8;
  if (const auto known = changed_.find(place); known != changed_.end()) return known->second;
  return read_number(place);
}

Result<void> Qcow2File::set_entry(std::uint64_t number, std::uint64_t value) {
  const auto table = number / entries_per_table;
  if (table >= l1_.size()) {
    return Error(ErrorCode::unsupported, name_ + " was made for a smaller disk: enlarge it with qemu-img resize");
  }
  auto& at = l1_[static_cast<std::size_t>(table)];
  if ((at & offset_mask) == 0) {
    IRONCORE_TRY(const std::uint64_t made, allocate());
    IRONCORE_CHECK(resize(fd_, name_, end_));  // `write_tables` fills it
    at = made | copied;
    changed_l1_[l1_offset_ + table * 8] = at;
  }
  changed_[(at & offset_mask) + number % entries_per_table * 8] = value;
  return changed_.size() < most_changed ? Result<void>() : write_tables();
}

/// A cluster at the end of the file, of zeros, counted once. Whoever gets it lengthens the file, before anything that a sync brings to the disk names it: the
/// next `open` takes what is free from the length, and would give it away again.
Result<std::uint64_t> Qcow2File::allocate() {
  for (;;) {
    const auto number = end_ / cluster;
    const auto block = number / counts_per_block;
    if (block >= counts_.size()) return Error(ErrorCode::exhausted, name_ + " is full: it has 16 TiB");
    auto& at = counts_[static_cast<std::size_t>(block)];
    const bool is_block = at == 0;  // this cluster becomes the block that counts it
    const auto counts = is_block ? end_ : at & offset_mask;
    std::array<std::byte, 2> one{};
    put_number(one.data(), 1, 2);
    IRONCORE_CHECK(write_at(fd_, name_, counts + number % counts_per_block * 2, one));
    if (is_block) {
      IRONCORE_CHECK(resize(fd_, name_, end_ + cluster));
      IRONCORE_CHECK(sync_data(fd_, name_));
      IRONCORE_CHECK(write_number(counts_offset_ + block * 8, end_));
      at = end_;
    }
    const auto made = end_;
    end_ += cluster;
    if (!is_block) return made;
  }
}

Result<void> Qcow2File::read(std::uint64_t offset, std::span<std::byte> into, const Below& below) {
  while (!into.empty()) {
    const auto within = offset % cluster;
    const auto piece = into.first(static_cast<std::size_t>(std::min<std::uint64_t>(into.size(), cluster - within)));
    std::uint64_t found = 0;
    {
      const std::lock_guard lock(mutex_);
      IRONCORE_TRY(found, entry(offset / cluster));
    }
    if ((found & compressed) != 0) {
      return Error(ErrorCode::unsupported, name_ + " has compressed clusters: copy it with qemu-img convert");
    }
    if ((found & zeros) != 0) {
      std::fill(piece.begin(), piece.end(), std::byte{0});
    } else if ((found & offset_mask) != 0) {
      IRONCORE_CHECK(read_at(fd_, name_, (found & offset_mask) + within, piece));
    } else {
      IRONCORE_CHECK(below(offset, piece));
    }
    into = into.subspan(piece.size());
    offset += piece.size();
  }
  return {};
}

Result<void> Qcow2File::write(std::uint64_t offset, BytesView bytes, const Below& below) {
  while (!bytes.empty()) {
    const auto number = offset / cluster;
    const auto within = offset % cluster;
    const auto piece = bytes.first(static_cast<std::size_t>(std::min<std::uint64_t>(bytes.size(), cluster - within)));
    std::unique_lock lock(mutex_);
    IRONCORE_TRY(const std::uint64_t found, entry(number));
    if ((found & copied) != 0 && (found & (zeros | compressed)) == 0) {
      lock.unlock();
      IRONCORE_CHECK(write_at(fd_, name_, (found & offset_mask) + within, piece));
    } else {
      IRONCORE_CHECK(write_new(number, found, within, piece, below));
    }
    bytes = bytes.subspan(piece.size());
    offset += piece.size();
  }
  return {};
}

/// Fills a cluster that cannot be written in place: the old content with `bytes` in it.
Result<void> Qcow2File::write_new(std::uint64_t number, std::uint64_t old, std::uint64_t at, BytesView bytes,
                                  const Below& below) {
  if ((old & compressed) != 0) {
    return Error(ErrorCode::unsupported, name_ + " has compressed clusters: copy it with qemu-img convert");
  }
  Bytes content(cluster);
  if (bytes.size() < cluster && (old & zeros) == 0) {
    if ((old & offset_mask) != 0) {
      IRONCORE_CHECK(read_at(fd_, name_, old & offset_mask, content));
    } else {
      IRONCORE_CHECK(below(number * cluster, content));
    }
  }
  std::copy(bytes.begin(), bytes.end(), content.begin() + static_cast<std::ptrdiff_t>(at));
  std::uint64_t place = old & offset_mask;
  if ((old & copied) == 0 || place == 0) {
    IRONCORE_TRY(place, allocate());
  }
  IRONCORE_CHECK(write_at(fd_, name_, place, content));
  return set_entry(number, place | copied);
}

Result<void> Qcow2File::zero(std::uint64_t offset, std::uint64_t size, const Below& below) {
  while (size > 0) {
    const auto within = offset % cluster;
    const auto piece = std::min(size, cluster - within);
    if (piece < cluster) {
      const Bytes nothing(static_cast<std::size_t>(piece));
      IRONCORE_CHECK(write(offset, nothing, below));
    } else {
      const std::lock_guard lock(mutex_);
      IRONCORE_TRY(const std::uint64_t found, entry(offset / cluster));
      // A cluster keeps its place, without taking room, and is filled again by the next write.
      const bool is_kept = (found & copied) != 0 && (found & compressed) == 0 && (found & offset_mask) != 0;
      if (is_kept) IRONCORE_CHECK(zero_at(fd_, name_, found & offset_mask, cluster));
      IRONCORE_CHECK(set_entry(offset / cluster, is_kept ? found | zeros : zeros));
    }
    offset += piece;
    size -= piece;
  }
  return {};
}

/// First the data, the counts and the length of the file reach the disk, then what points to them, in any order: a table of level 2 that has not been filled
/// says nothing wrong.
Result<void> Qcow2File::write_tables() {
  if (changed_.empty() && changed_l1_.empty()) return {};
  IRONCORE_CHECK(sync_data(fd_, name_));
  for (auto* changes : {&changed_, &changed_l1_}) {
    Bytes run;
    for (auto it = changes->begin(); it != changes->end();) {
      const auto start = it->first;
      run.clear();
      for (; it != changes->end() && it->first == start + run.size(); ++it) {
        run.resize(run.size() + 8);
        put_number(&run[run.size() - 8], it->second, 8);
      }
      IRONCORE_CHECK(write_at(fd_, name_, start, run));
    }
    changes->clear();
  }
  return {};
}

Result<void> Qcow2File::settle() {
  const std::lock_guard lock(mutex_);
  return write_tables();
}

Result<void> Qcow2File::flush() {
  const std::lock_guard lock(mutex_);
  IRONCORE_CHECK(write_tables());
  return sync_data(fd_, name_);
}

}  // namespace ironcore::storage::local
