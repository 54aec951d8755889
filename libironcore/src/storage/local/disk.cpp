// SPDX-License-Identifier: Apache-2.0
// Raw and qcow2 files on top of each other.
#include "disk.hpp"

#include <sys/stat.h>

#include <algorithm>
#include <condition_variable>

#include "positional.hpp"

namespace ironcore::storage::local {

Result<std::shared_ptr<Disk>> Disk::open(std::vector<File> files, std::uint64_t size_bytes, bool is_writable) {
  std::vector<Layer> layers;
  for (auto& file : files) {
    Layer layer{std::move(file), nullptr};
    if (layer.file.format == image::DiskFormat::qcow2) {
      IRONCORE_CHECK(check_length(layer.file.fd.get(), layer.file.name, layer.file.format));
      IRONCORE_TRY(layer.qcow2, Qcow2File::open(layer.file.fd.get(), layer.file.name, is_writable && layers.empty()));
    }
    layers.push_back(std::move(layer));
  }
  return std::shared_ptr<Disk>(new Disk(std::move(layers), size_bytes, is_writable));
}

Disk::~Disk() {
  // What fails here was not flushed, and may be lost.
  if (is_writable_ && layers_.front().qcow2) (void)layers_.front().qcow2->settle();
}

std::uint64_t Disk::size() const {
  struct stat status {};
  if (layers_.front().qcow2 || ::fstat(top().fd.get(), &status) != 0) return size_;
  return static_cast<std::uint64_t>(status.st_size);
}

Result<void> Disk::check(std::uint64_t offset, std::uint64_t size, std::string_view doing) const {
  const auto end = this->size();
  if (offset <= end && size <= end - offset) return {};
  return Error(ErrorCode::invalid, std::string(doing) + " of " + std::to_string(size) + " bytes at " +
                                       std::to_string(offset) + " is not within the " + std::to_string(end) +
                                       " bytes of the disk");
}

std::shared_lock<std::shared_mutex> Disk::use() {
  const std::lock_guard entrance(entrance_);
  return std::shared_lock(users_);
}

Result<void> Disk::read_layer(std::size_t layer, std::uint64_t offset, std::span<std::byte> into) {
  if (layer == layers_.size()) {
    std::fill(into.begin(), into.end(), std::byte{0});
    return {};
  }
  auto& [file, qcow2] = layers_[layer];
  if (!qcow2) return read_at(file.fd.get(), file.name, offset, into);
  return qcow2->read(
      offset, into, [&](std::uint64_t from, std::span<std::byte> piece) { return read_layer(layer + 1, from, piece); });
}

Qcow2File::Below Disk::below_top() {
  return [this](std::uint64_t offset, std::span<std::byte> into) { return read_layer(1, offset, into); };
}

Result<void> Disk::read(std::uint64_t offset, std::span<std::byte> into) {
  IRONCORE_CHECK(check(offset, into.size(), "a read"));
  const auto used = use();
  return read_layer(0, offset, into);
}

Result<void> Disk::write(std::uint64_t offset, BytesView bytes) {
  if (!is_writable_) return Error(ErrorCode::invalid, "a snapshot cannot be written: make a volume from it");
  IRONCORE_CHECK(check(offset, bytes.size(), "a write"));
  const auto used = use();
  auto& [file, qcow2] = layers_.front();
  return qcow2 ? qcow2->write(offset, bytes, below_top()) : write_at(file.fd.get(), file.name, offset, bytes);
}

Result<void> Disk::discard(std::uint64_t offset, std::uint64_t size) {
  if (!is_writable_) return Error(ErrorCode::invalid, "a snapshot cannot be written: make a volume from it");
  IRONCORE_CHECK(check(offset, size, "a discard"));
  const auto used = use();
  auto& [file, qcow2] = layers_.front();
  return qcow2 ? qcow2->zero(offset, size, below_top()) : zero_at(file.fd.get(), file.name, offset, size);
}

Result<void> Disk::flush() {
  if (!is_writable_) return {};
  const auto used = use();
  auto& [file, qcow2] = layers_.front();
  return qcow2 ? qcow2->flush() : sync_data(file.fd.get(), file.name);
}

Result<void> Disk::grow(std::uint64_t size_bytes) {
  const auto& file = top();
  IRONCORE_CHECK(image::grow_disk(file.fd.get(), file.name, file.format, size_bytes));
  size_ = size_bytes;
  return {};
}

Result<Disk::Pause> Disk::pause() {
  Pause pause;
  pause.entrance_ = std::unique_lock(entrance_);
  pause.users_ = std::unique_lock(users_);
  if (layers_.front().qcow2) IRONCORE_CHECK(layers_.front().qcow2->settle());
  return pause;
}

namespace {

class LocalData final : public BlockData {
 public:
  LocalData(OpenDisk disk, Executor executor) : disk_(std::move(disk)), executor_(std::move(executor)) {}
  ~LocalData() override {
    std::unique_lock lock(mutex_);
    idle_.wait(lock, [&] { return under_way_ == 0; });
    if (has_written_) (void)disk_->flush();  // nobody is left to be told
  }

  std::uint64_t size() const override { return disk_->size(); }
  void read(std::uint64_t offset, std::span<std::byte> into, Done done) override {
    submit([this, offset, into] { return disk_->read(offset, into); }, std::move(done));
  }
  void write(std::uint64_t offset, BytesView bytes, Done done) override {
    has_written_ = true;
    submit([this, offset, bytes] { return disk_->write(offset, bytes); }, std::move(done));
  }
  void discard(std::uint64_t offset, std::uint64_t size, Done done) override {
    has_written_ = true;
    submit([this, offset, size] { return disk_->discard(offset, size); }, std::move(done));
  }
  void flush(Done done) override {
    submit([this] { return disk_->flush(); }, std::move(done));
  }

 private:
  void submit(std::function<Result<void>()> work, Done done) {
    {
      const std::lock_guard lock(mutex_);
      ++under_way_;
    }
    executor_([this, work = std::move(work), done = std::move(done)] {
      done(work());
      // Told under the lock: whoever waits destroys this object.
      const std::lock_guard lock(mutex_);
      if (--under_way_ == 0) idle_.notify_all();
    });
  }

  OpenDisk disk_;
  Executor executor_;
  std::mutex mutex_;
  std::condition_variable idle_;
  std::uint64_t under_way_ = 0;
  std::atomic<bool> has_written_ = false;
};

}  // namespace

Result<void> check_length(int fd, const std::string& name, image::DiskFormat format) {
  if (format == image::DiskFormat::raw) return {};
  IRONCORE_TRY(const auto file, Qcow2File::open(fd, name, false));
  return file->check_length();
}

std::unique_ptr<BlockData> block_data(OpenDisk disk, Executor executor) {
  return std::make_unique<LocalData>(std::move(disk), std::move(executor));
}

}  // namespace ironcore::storage::local
