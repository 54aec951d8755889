// SPDX-License-Identifier: Apache-2.0
// The data of one image, through librbd's asynchronous calls.
#pragma once

#include <atomic>
#include <condition_variable>
#include <memory>
#include <mutex>

#include "handles.hpp"
#include "ironcore/storage/block_store.hpp"

namespace ironcore::storage::ceph {

/// Operations end on librbd's threads. librbd's cache answers writes before they are durable, as a disk's does.
class ImageData final : public BlockData {
 public:
  enum class Use { read_write, read_only };
  ImageData(Image image, Use use);
  ~ImageData() override;

  std::uint64_t size() const override;
  void read(std::uint64_t offset, std::span<std::byte> into, Done done) override;
  void write(std::uint64_t offset, BytesView bytes, Done done) override;
  void discard(std::uint64_t offset, std::uint64_t size, Done done) override;
  void flush(Done done) override;

 private:
  struct Operation;
  std::unique_ptr<Operation> begin(Done done, const char* doing);
  /// Hands the operation to librbd by `start`, or ends it if that refuses.
  template <class Start>
  void submit(std::unique_ptr<Operation> operation, Start start);
  /// Ends with the error on one of librbd's threads, as everything does.
  void refuse(Done done, Error error);
  /// What is wrong with the range, if anything is.
  Result<void> check(std::uint64_t offset, std::uint64_t size, bool is_change) const;
  void ended() noexcept;

  Image image_;
  Use use_;
  mutable std::atomic<std::uint64_t> known_size_{0};  ///< the last seen; volumes only grow
  std::mutex mutex_;
  std::condition_variable idle_;
  std::size_t under_way_ = 0;
};

}  // namespace ironcore::storage::ceph
