// SPDX-License-Identifier: Apache-2.0
// The data of a qcow2 overlay of ours, which QEMU may have written to: what is in it and what is below it.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <vector>

#include "ironcore/base/bytes.hpp"
#include "ironcore/base/result.hpp"

namespace ironcore::storage::local {

/// Nobody else may write to the file meanwhile. Tables are written by `settle` and `flush` only, data at once, so that after a crash each block is as it was at
/// the last flush or later, and at worst some room is lost that `qemu-img check -r leaks` finds. Thread: any.
class Qcow2File {
 public:
  static constexpr std::uint64_t cluster_size = std::uint64_t{1} << 16;
  /// Header, table of counts, counts, level 1.
  static constexpr std::uint64_t smallest_file = 4 * cluster_size;
  /// Reads what is below, as if nothing was in this file.
  using Below = std::function<Result<void>(std::uint64_t offset, std::span<std::byte> into)>;

  /// `fd` stays the caller's, errors call it `name`. `corrupt` or `unsupported` for a file that `create_overlay_disk` and QEMU's disks do not make.
  static Result<std::unique_ptr<Qcow2File>> open(int fd, std::string name, bool is_writable);

  /// `corrupt` if the tables name what lies behind the end of the file. No crash does that, neither ours nor QEMU's: a sync of the data, with the length, comes
  /// before whatever names it.
  Result<void> check_length() const;
  Result<void> read(std::uint64_t offset, std::span<std::byte> into, const Below& below);
  Result<void> write(std::uint64_t offset, BytesView bytes, const Below& below);
  Result<void> zero(std::uint64_t offset, std::uint64_t size, const Below& below);
  /// Writes the tables.
  Result<void> settle();
  Result<void> flush();

 private:
  Qcow2File(int fd, std::string name) : fd_(fd), name_(std::move(name)) {}
  Result<std::uint64_t> entry(std::uint64_t cluster);
  Result<void> set_entry(std::uint64_t cluster, std::uint64_t value);
  Result<std::uint64_t> allocate();
  Result<void> write_new(std::uint64_t cluster, std::uint64_t old, std::uint64_t at, BytesView bytes,
                         const Below& below);
  Result<void> write_tables();
  Result<std::uint64_t> read_number(std::uint64_t offset) const;
  Result<void> write_number(std::uint64_t offset, std::uint64_t value) const;

  int fd_;
  std::string name_;
  std::mutex
      mutex_;  ///< of everything below; data of clusters that exist is read and written without it, since they never move
  std::uint64_t l1_offset_ = 0;
  std::vector<std::uint64_t> l1_;
  std::uint64_t counts_offset_ = 0;  ///< the table of the refcount blocks
  std::vector<std::uint64_t> counts_;
  std::uint64_t end_ = 0;  ///< from here on the file is free
  std::map<std::uint64_t, std::uint64_t>
      changed_;  ///< by offset in the file: entries of level 2 that are not written yet
  std::map<std::uint64_t, std::uint64_t> changed_l1_;
};

}  // namespace ironcore::storage::local
