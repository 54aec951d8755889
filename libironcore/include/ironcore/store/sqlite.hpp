// SPDX-License-Identifier: Apache-2.0
// The durable Journal on one SQLite file, and what an operator does with that file.
#pragma once

#include <filesystem>
#include <functional>
#include <memory>

#include "ironcore/store/local_store.hpp"

namespace ironcore::store::sqlite {

struct JournalOptions {
  /// Name of an SQLite VFS; empty = the operating system's. Tests give one that loses unsynced writes.
  std::string vfs;
  /// Pages (8 KiB) in the write-ahead log after which it is copied into the file. More = seldomer, and a
  /// longer log to read after a crash.
  int checkpoint_pages = 1024;
};

/// Opens or creates `file` (mode 0600): WAL, synchronous=FULL, one writer; a second process gets
/// `wrong_state` naming the holder. Checks header, application id and schema version; migrates older ones;
/// refuses newer ones and damaged files with `corrupt` or `unsupported` and what to do.
Result<std::unique_ptr<Journal>> open_journal(const std::filesystem::path& file, JournalOptions options = {});

/// A LocalStore on `open_journal`.
Result<std::unique_ptr<LocalStore>> open(const std::filesystem::path& file, Clock& clock, Log& log,
                                         LocalStoreOptions options = {});

/// Every page and every record is read and decoded; `corrupt` lists what is wrong. The store may be in use.
Result<void> check(const std::filesystem::path& file, const std::function<void(std::string_view)>& progress = {});

/// Copies a store that may be in use to `target` (must not exist, appears complete or not at all).
Result<void> backup(const std::filesystem::path& file, const std::filesystem::path& target);

/// Makes `file` a copy of a checked backup, with a new epoch so that clients list again, and with revisions and lease
/// tokens far beyond all that were given out before; nobody holds a lease. `file` must not be in use; what it was is kept
/// as `<file>.before-restore`.
Result<void> restore(const std::filesystem::path& backup, const std::filesystem::path& file);

}  // namespace ironcore::store::sqlite
