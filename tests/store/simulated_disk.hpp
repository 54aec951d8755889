// SPDX-License-Identifier: Apache-2.0
// A disk in memory under SQLite: writes that were not synced can be lost, torn and reordered; syncs can fail;
// the disk can be full.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <random>
#include <string>
#include <vector>

#include <sqlite3.h>

namespace ironcore::test {

/// An SQLite VFS of its own name. Must outlive every database that was opened on it. Only for one connection
/// at a time (locks are not kept). Thread: any.
class SimulatedDisk {
 public:
  explicit SimulatedDisk(std::uint64_t seed);
  ~SimulatedDisk();
  SimulatedDisk(const SimulatedDisk&) = delete;
  SimulatedDisk& operator=(const SimulatedDisk&) = delete;

  /// For JournalOptions::vfs.
  const std::string& name() const noexcept { return name_; }

  /// The power goes at the `operations`-th operation from now on: everything fails until `power_on`.
  void cut_power_after(std::uint64_t operations);
  bool has_power() const;
  /// What was synced is there; of what was not, a random part, in random order, in pieces. Then the disk
  /// works again.
  void power_on();

  /// The next sync of a file whose name ends with `suffix` fails. Its writes stay unsynced, or reach the disk
  /// all the same.
  void fail_next_sync(std::string suffix);
  /// Most bytes of all files together; writes beyond fail as on a full disk.
  void set_capacity(std::optional<std::uint64_t> bytes);

  std::uint64_t syncs() const;
  std::uint64_t operations() const;
  std::uint64_t bytes() const;

 private:
  friend struct VfsCalls;

  struct Pending {
    bool is_truncation;
    std::size_t offset;
    std::string data;
  };
  struct File {
    std::string content;      ///< as the program sees it
    std::string durable;      ///< as of the last sync
    bool is_durable = false;  ///< the name survives
    std::vector<Pending> pending;
    std::vector<std::unique_ptr<char[]>> shared_memory;
  };

  /// False when there is no power; counts otherwise.
  bool operate();
  void sync(File& file);
  std::uint64_t total_bytes() const;

  mutable std::mutex mutex_;
  std::string name_;
  std::mt19937_64 random_;
  std::map<std::string, std::shared_ptr<File>> files_;
  bool has_power_ = true;
  std::uint64_t operations_ = 0;
  std::uint64_t cut_at_ = ~std::uint64_t{0};
  std::uint64_t syncs_ = 0;
  std::string failing_sync_;
  std::optional<std::uint64_t> capacity_;
  sqlite3_vfs vfs_{};
};

}  // namespace ironcore::test
