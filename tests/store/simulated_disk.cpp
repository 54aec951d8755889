// SPDX-License-Identifier: Apache-2.0
// The VFS calls of the simulated disk (https://www.sqlite.org/vfs.html).
#include "simulated_disk.hpp"

#include <algorithm>
#include <atomic>
#include <cstring>
#include <utility>

namespace ironcore::test {

namespace {

constexpr std::size_t sector = 512;

sqlite3_vfs& system_vfs() {
  return *sqlite3_vfs_find(nullptr);
}

}  // namespace

struct VfsCalls {
  using File = SimulatedDisk::File;
  struct Handle {
    sqlite3_file base;
    SimulatedDisk* disk;
    std::shared_ptr<File>* file;
    char* name;
  };
  static SimulatedDisk& disk_of(sqlite3_vfs* vfs) { return *static_cast<SimulatedDisk*>(vfs->pAppData); }
  static Handle& handle_of(sqlite3_file* file) { return *reinterpret_cast<Handle*>(file); }

  static int open(sqlite3_vfs* vfs, const char* name, sqlite3_file* file, int flags, int* out_flags) {
    auto& disk = disk_of(vfs);
    auto& handle = handle_of(file);
    handle = {};
    const std::lock_guard lock(disk.mutex_);
    if (!disk.operate()) return SQLITE_CANTOPEN;
    std::shared_ptr<File> opened;
    if (name == nullptr) {
      opened = std::make_shared<File>();
    } else {
      const auto found = disk.files_.find(name);
      if (found == disk.files_.end() && (flags & SQLITE_OPEN_CREATE) == 0) return SQLITE_CANTOPEN;
      opened = found != disk.files_.end() ? found->second : (disk.files_[name] = std::make_shared<File>());
    }
    handle.disk = &disk;
    handle.file = new std::shared_ptr<File>(std::move(opened));
    handle.name = name == nullptr ? nullptr : ::strdup(name);
    handle.base.pMethods = &methods;
    if (out_flags != nullptr) *out_flags = flags;
    return SQLITE_OK;
  }

  static int close(sqlite3_file* file) {
    auto& handle = handle_of(file);
    delete handle.file;
    std::free(handle.name);
    handle = {};
    return SQLITE_OK;
  }

  static int read(sqlite3_file* file, void* out, int amount, sqlite3_int64 offset) {
    auto& handle = handle_of(file);
    const std::lock_guard lock(handle.disk->mutex_);
    if (!handle.disk->has_power_) return SQLITE_IOERR_READ;
    const auto& content = (*handle.file)->content;
    const auto begin = std::min(static_cast<std::size_t>(offset), content.size());
    const auto count = std::min(static_cast<std::size_t>(amount), content.size() - begin);
    std::memcpy(out, content.data() + begin, count);
    if (count == static_cast<std::size_t>(amount)) return SQLITE_OK;
    std::memset(static_cast<char*>(out) + count, 0, static_cast<std::size_t>(amount) - count);
    return SQLITE_IOERR_SHORT_READ;
  }

  static int write(sqlite3_file* file, const void* data, int amount, sqlite3_int64 offset) {
    auto& handle = handle_of(file);
    auto& disk = *handle.disk;
    const std::lock_guard lock(disk.mutex_);
    if (!disk.operate()) return SQLITE_IOERR_WRITE;
    auto& content = (*handle.file)->content;
    const auto begin = static_cast<std::size_t>(offset);
    const auto end = begin + static_cast<std::size_t>(amount);
    if (end > content.size()) {
      if (disk.capacity_ && disk.total_bytes() + (end - content.size()) > *disk.capacity_) return SQLITE_FULL;
      content.resize(end);
    }
    content.replace(begin, end - begin, static_cast<const char*>(data), end - begin);
    (*handle.file)->pending.push_back({false, begin, std::string(static_cast<const char*>(data), end - begin)});
    return SQLITE_OK;
  }

  static int truncate(sqlite3_file* file, sqlite3_int64 size) {
    auto& handle = handle_of(file);
    const std::lock_guard lock(handle.disk->mutex_);
    if (!handle.disk->operate()) return SQLITE_IOERR_TRUNCATE;
    (*handle.file)->content.resize(static_cast<std::size_t>(size));
    (*handle.file)->pending.push_back({true, static_cast<std::size_t>(size), {}});
    return SQLITE_OK;
  }

  static int sync(sqlite3_file* file, int) {
    auto& handle = handle_of(file);
    auto& disk = *handle.disk;
    const std::lock_guard lock(disk.mutex_);
    if (!disk.operate()) return SQLITE_IOERR_FSYNC;
    const std::string_view name = handle.name == nullptr ? "" : handle.name;
    if (!disk.failing_sync_.empty() && name.ends_with(disk.failing_sync_)) {
      disk.failing_sync_.clear();
      if (disk.random_() % 2 == 0) disk.sync(**handle.file);
      return SQLITE_IOERR_FSYNC;
    }
    disk.sync(**handle.file);
    return SQLITE_OK;
  }

  static int file_size(sqlite3_file* file, sqlite3_int64* size) {
    auto& handle = handle_of(file);
    const std::lock_guard lock(handle.disk->mutex_);
    if (!handle.disk->has_power_) return SQLITE_IOERR_FSTAT;
    *size = static_cast<sqlite3_int64>((*handle.file)->content.size());
    return SQLITE_OK;
  }

  static int lock(sqlite3_file*, int) { return SQLITE_OK; }
  static int is_reserved(sqlite3_file*, int* result) {
    *result = 0;
    return SQLITE_OK;
  }
  static int control(sqlite3_file*, int, void*) { return SQLITE_NOTFOUND; }
  static int sector_size(sqlite3_file*) { return static_cast<int>(sector); }
  static int characteristics(sqlite3_file*) { return SQLITE_IOCAP_POWERSAFE_OVERWRITE; }

  static int map_shared(sqlite3_file* file, int index, int size, int extend, void volatile** out) {
    auto& handle = handle_of(file);
    const std::lock_guard lock(handle.disk->mutex_);
    auto& regions = (*handle.file)->shared_memory;
    *out = nullptr;
    const auto wanted = static_cast<std::size_t>(index);
    if (wanted >= regions.size() && extend == 0) return SQLITE_OK;
    while (regions.size() <= wanted) regions.push_back(std::make_unique<char[]>(static_cast<std::size_t>(size)));
    *out = regions[wanted].get();
    return SQLITE_OK;
  }
  static int lock_shared(sqlite3_file*, int, int, int) { return SQLITE_OK; }
  static void barrier(sqlite3_file*) { std::atomic_thread_fence(std::memory_order_seq_cst); }
  static int unmap_shared(sqlite3_file* file, int) {
    auto& handle = handle_of(file);
    const std::lock_guard lock(handle.disk->mutex_);
    (*handle.file)->shared_memory.clear();
    return SQLITE_OK;
  }

  static int remove(sqlite3_vfs* vfs, const char* name, int) {
    auto& disk = disk_of(vfs);
    const std::lock_guard lock(disk.mutex_);
    if (!disk.operate()) return SQLITE_IOERR_DELETE;
    return disk.files_.erase(name) == 1 ? SQLITE_OK : SQLITE_IOERR_DELETE_NOENT;
  }
  static int access(sqlite3_vfs* vfs, const char* name, int, int* result) {
    auto& disk = disk_of(vfs);
    const std::lock_guard lock(disk.mutex_);
    *result = disk.files_.contains(name) ? 1 : 0;
    return SQLITE_OK;
  }
  static int full_name(sqlite3_vfs*, const char* name, int size, char* out) {
    if (std::strlen(name) >= static_cast<std::size_t>(size)) return SQLITE_CANTOPEN;
    std::memcpy(out, name, std::strlen(name) + 1);
    return SQLITE_OK;
  }
  static int randomness(sqlite3_vfs* vfs, int amount, char* out) {
    auto& disk = disk_of(vfs);
    const std::lock_guard lock(disk.mutex_);
    for (int i = 0; i < amount; ++i) out[i] = static_cast<char>(disk.random_());
    return amount;
  }
  static int sleep(sqlite3_vfs*, int) { return 0; }
  static int time(sqlite3_vfs*, double* out) { return system_vfs().xCurrentTime(&system_vfs(), out); }
  static int last_error(sqlite3_vfs*, int, char*) { return 0; }

  static const sqlite3_io_methods methods;
};

const sqlite3_io_methods VfsCalls::methods = {
    .iVersion = 2,
    .xClose = close,
    .xRead = read,
    .xWrite = write,
    .xTruncate = truncate,
    .xSync = sync,
    .xFileSize = file_size,
    .xLock = lock,
    .xUnlock = lock,
    .xCheckReservedLock = is_reserved,
    .xFileControl = control,
    .xSectorSize = sector_size,
    .xDeviceCharacteristics = characteristics,
    .xShmMap = map_shared,
    .xShmLock = lock_shared,
    .xShmBarrier = barrier,
    .xShmUnmap = unmap_shared,
    .xFetch = nullptr,
    .xUnfetch = nullptr,
};

SimulatedDisk::SimulatedDisk(std::uint64_t seed) : random_(seed) {
  static std::atomic<int> count{0};
  name_ = "simulated-" + std::to_string(++count);
  vfs_.iVersion = 1;
  vfs_.szOsFile = sizeof(VfsCalls::Handle);
  vfs_.mxPathname = 512;
  vfs_.zName = name_.c_str();
  vfs_.pAppData = this;
  vfs_.xOpen = VfsCalls::open;
  vfs_.xDelete = VfsCalls::remove;
  vfs_.xAccess = VfsCalls::access;
  vfs_.xFullPathname = VfsCalls::full_name;
  vfs_.xRandomness = VfsCalls::randomness;
  vfs_.xSleep = VfsCalls::sleep;
  vfs_.xCurrentTime = VfsCalls::time;
  vfs_.xGetLastError = VfsCalls::last_error;
  sqlite3_vfs_register(&vfs_, 0);
}

SimulatedDisk::~SimulatedDisk() {
  sqlite3_vfs_unregister(&vfs_);
}

bool SimulatedDisk::operate() {
  if (has_power_ && ++operations_ >= cut_at_) has_power_ = false;
  return has_power_;
}

void SimulatedDisk::sync(File& file) {
  file.durable = file.content;
  file.is_durable = true;
  file.pending.clear();
  ++syncs_;
}

std::uint64_t SimulatedDisk::total_bytes() const {
  std::uint64_t sum = 0;
  for (const auto& [name, file] : files_) sum += file->content.size();
  return sum;
}

void SimulatedDisk::cut_power_after(std::uint64_t operations) {
  const std::lock_guard lock(mutex_);
  cut_at_ = operations_ + operations;
}

bool SimulatedDisk::has_power() const {
  const std::lock_guard lock(mutex_);
  return has_power_;
}

void SimulatedDisk::power_on() {
  const std::lock_guard lock(mutex_);
  for (auto at = files_.begin(); at != files_.end();) {
    auto& file = *at->second;
    if (!file.is_durable && random_() % 2 == 0) {
      at = files_.erase(at);
      continue;
    }
    auto content = file.durable;
    // What was on its way: none, all, or any part of it; in the order of the writes, or not; in whole writes,
    // or in sectors.
    const auto chance = random_() % 4;
    if (random_() % 2 == 0) std::shuffle(file.pending.begin(), file.pending.end(), random_);
    const bool is_torn = random_() % 2 == 0;
    for (const auto& pending : file.pending) {
      const auto arrives = [&] { return chance == 3 || random_() % 4 < chance; };
      if (pending.is_truncation) {
        if (arrives()) content.resize(pending.offset);
        continue;
      }
      const auto step = is_torn ? sector : pending.data.size();
      for (std::size_t begin = 0; begin < pending.data.size(); begin += step) {
        if (!arrives()) continue;
        const auto count = std::min(step, pending.data.size() - begin);
        if (content.size() < pending.offset + begin + count) content.resize(pending.offset + begin + count);
        content.replace(pending.offset + begin, count, pending.data, begin, count);
      }
    }
    // A new File: a handle that somebody still has open writes nowhere.
    auto fresh = std::make_shared<File>();
    fresh->content = content;
    fresh->durable = std::move(content);
    fresh->is_durable = true;
    at->second = std::move(fresh);
    ++at;
  }
  has_power_ = true;
  cut_at_ = ~std::uint64_t{0};
  failing_sync_.clear();
}

void SimulatedDisk::fail_next_sync(std::string suffix) {
  const std::lock_guard lock(mutex_);
  failing_sync_ = std::move(suffix);
}

void SimulatedDisk::set_capacity(std::optional<std::uint64_t> bytes) {
  const std::lock_guard lock(mutex_);
  capacity_ = bytes;
}

std::uint64_t SimulatedDisk::syncs() const {
  const std::lock_guard lock(mutex_);
  return syncs_;
}

std::uint64_t SimulatedDisk::operations() const {
  const std::lock_guard lock(mutex_);
  return operations_;
}

std::uint64_t SimulatedDisk::bytes() const {
  const std::lock_guard lock(mutex_);
  return total_bytes();
}

}  // namespace ironcore::test
