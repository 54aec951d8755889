// SPDX-License-Identifier: Apache-2.0
// The data of one encrypted image: enciphered here, and read and written as it lies there.
#pragma once

#include <deque>
#include <functional>
#include <list>
#include <memory>
#include <mutex>

#include "data.hpp"
#include "ironcore/crypto/xts.hpp"

namespace ironcore::storage::ceph {

/// Changes of the same sector wait for each other, because one that begins or ends within a sector reads it first. Operations end on librbd's threads.
class EncryptedData final : public BlockData {
 public:
  /// `image` is open without encryption; `cipher` is that of its header.
  EncryptedData(Image image, ImageData::Use use, crypto::XtsCipher cipher);

  std::uint64_t size() const override;
  void read(std::uint64_t offset, std::span<std::byte> into, Done done) override;
  void write(std::uint64_t offset, BytesView bytes, Done done) override;
  void discard(std::uint64_t offset, std::uint64_t size, Done done) override;
  void flush(Done done) override;

 private:
  struct Change;
  struct Parts;
  using ChangePtr = std::shared_ptr<Change>;

  /// What is wrong with the range, if anything is.
  Result<void> check(std::uint64_t offset, std::uint64_t size, bool is_change) const;
  /// Ends with the error on one of librbd's threads, as everything does.
  void refuse(Done done, Error error);

  /// Begins it when nothing else changes its sectors.
  void enter(ChangePtr change);
  /// Its sectors are free for those that wait.
  void leave(const Change& change);
  bool is_free(const Change& change) const;
  /// Reads the sectors that it changes only in part, then writes all.
  void run(const ChangePtr& change);
  /// What the sector at `at`, which it changes only in part, has now.
  void fetch(const ChangePtr& change, std::uint64_t at, std::function<void()> then);
  void put(const ChangePtr& change);
  void finish(const ChangePtr& change, Result<void> result);

  const ImageData::Use use_;
  const crypto::XtsCipher cipher_;
  std::mutex mutex_;
  std::list<ChangePtr> under_way_;  ///< no two of them share a sector
  std::deque<ChangePtr> waiting_;   ///< in the order that they came
  ImageData raw_;                   ///< last: its destructor waits for all operations, and what waits is begun by those
};

}  // namespace ironcore::storage::ceph
