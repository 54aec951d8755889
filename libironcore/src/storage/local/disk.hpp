// SPDX-License-Identifier: Apache-2.0
// An image file that is open, with the files that it is based on; and BlockData over it.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <shared_mutex>
#include <span>
#include <string>
#include <vector>

#include "ironcore/base/unique_fd.hpp"
#include "ironcore/image/disk_file.hpp"
#include "ironcore/storage/block_store.hpp"
#include "qcow2_file.hpp"

namespace ironcore::storage::local {

/// Thread: any.
class Disk {
 public:
  struct File {
    UniqueFd fd;
    image::DiskFormat format;
    std::string name;
  };
  /// From the top to the bottom; the first one is open for writing if `is_writable`.
  static Result<std::shared_ptr<Disk>> open(std::vector<File> files, std::uint64_t size_bytes, bool is_writable);
  /// Writes the tables, without waiting for the disk.
  ~Disk();

  /// Of a raw file that of the file: another store may have enlarged it.
  std::uint64_t size() const;
  Result<void> read(std::uint64_t offset, std::span<std::byte> into);
  Result<void> write(std::uint64_t offset, BytesView bytes);
  Result<void> discard(std::uint64_t offset, std::uint64_t size);
  Result<void> flush();
  Result<void> grow(std::uint64_t size_bytes);

  const File& top() const { return layers_.front().file; }

  /// While it lives nobody reads or writes, and the file holds everything that was written.
  class [[nodiscard]] Pause {
    friend class Disk;
    std::unique_lock<std::mutex> entrance_;
    std::unique_lock<std::shared_mutex> users_;
  };
  Result<Pause> pause();

 private:
  struct Layer {
    File file;
    std::unique_ptr<Qcow2File> qcow2;  ///< if it is one
  };
  Disk(std::vector<Layer> layers, std::uint64_t size_bytes, bool is_writable)
      : layers_(std::move(layers)), size_(size_bytes), is_writable_(is_writable) {}
  Result<void> read_layer(std::size_t layer, std::uint64_t offset, std::span<std::byte> into);
  Result<void> check(std::uint64_t offset, std::uint64_t size, std::string_view doing) const;
  std::shared_lock<std::shared_mutex> use();
  Qcow2File::Below below_top();

  std::vector<Layer> layers_;
  std::atomic<std::uint64_t> size_;
  bool is_writable_;
  /// Whoever pauses holds the entrance, so that new users cannot starve it.
  std::mutex entrance_;
  std::shared_mutex users_;
};

/// The volumes that one store has open. A Disk is released only under `mutex`, so that the next to open the file finds it either open or free.
struct OpenDisks {
  std::mutex mutex;
  std::map<BlockId, std::weak_ptr<Disk>> disks;
};

/// A share of a Disk. Thread: one.
class OpenDisk {
 public:
  OpenDisk(std::shared_ptr<OpenDisks> all, std::shared_ptr<Disk> disk) : all_(std::move(all)), disk_(std::move(disk)) {}
  OpenDisk(OpenDisk&&) noexcept = default;
  OpenDisk& operator=(OpenDisk&&) = delete;
  ~OpenDisk() {
    if (!disk_) return;
    const std::lock_guard lock(all_->mutex);
    disk_.reset();
  }
  Disk* operator->() const { return disk_.get(); }
  explicit operator bool() const { return disk_ != nullptr; }

 private:
  std::shared_ptr<OpenDisks> all_;
  std::shared_ptr<Disk> disk_;
};

/// Whether an image file that is open, and that errors call `name`, still has everything that its own tables name; `corrupt` if not.
Result<void> check_length(int fd, const std::string& name, image::DiskFormat format);

using Executor = std::function<void(std::function<void()>)>;

std::unique_ptr<BlockData> block_data(OpenDisk disk, Executor executor);

}  // namespace ironcore::storage::local
