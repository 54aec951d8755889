// SPDX-License-Identifier: Apache-2.0
// A directory that is open: files in it by name, never by a path that somebody could bend; and locks between calls.
#pragma once

#include <sys/stat.h>
#include <sys/types.h>

#include <filesystem>
#include <stop_token>
#include <string>
#include <string_view>
#include <vector>

#include "ironcore/base/clock.hpp"
#include "ironcore/base/result.hpp"
#include "ironcore/base/unique_fd.hpp"

namespace ironcore::storage::local {

/// Names have no slash; symbolic links are not followed. Thread: any.
class Directory {
 public:
  static Result<Directory> open(const std::filesystem::path& path);
  /// `not_found` if there is none.
  Result<Directory> enter(const std::string& name) const;
  /// Made (0711) and synced when absent.
  Result<Directory> make(const std::string& name) const;

  Result<UniqueFd> file(const std::string& name, int flags) const;
  /// A new file, 0600, instead of what may be there.
  Result<UniqueFd> create(const std::string& name) const;
  Result<std::string> read(const std::string& name, std::size_t limit) const;
  /// After a crash there is the old content or the new one. `<name>.new` may stay.
  Result<void> replace(const std::string& name, std::string_view content) const;
  Result<void> rename(const std::string& from, const std::string& to) const;
  /// Succeeds also if there is none.
  Result<void> remove(const std::string& name) const;
  bool has(const std::string& name) const;
  /// Of the name itself, where it is a link. `not_found` if there is none.
  Result<struct stat> status(const std::string& name) const;
  /// Sorted.
  Result<std::vector<std::string>> names() const;
  Result<void> sync() const;

  int fd() const noexcept { return fd_.get(); }
  std::filesystem::path path(const std::string& name) const { return path_ / name; }

 private:
  Directory(UniqueFd fd, std::filesystem::path path) : fd_(std::move(fd)), path_(std::move(path)) {}
  UniqueFd fd_;
  std::filesystem::path path_;
};

enum class LockMode { shared, exclusive };
/// How long to wait for a lock, and until when.
struct Wait {
  Clock& clock;
  Duration patience;
  std::stop_token stop;
};

/// The lock on `what`, a byte of the file `lock` in `root`; given back when it is closed, also by a crash. Works between threads and between processes. `conflict`
/// when the patience is over, `cancelled` on a stop.
Result<UniqueFd> lock(const Directory& root, std::string_view what, LockMode mode, const Wait& wait);

/// Keeps QEMU and other stores from opening an image file, as long as the descriptor is open; false if somebody has it. Needs a descriptor that may write.
Result<bool> lock_image(int fd, const std::filesystem::path& shown);
/// Lets other stores open it too, but no QEMU; also after `lock_image`. False if somebody has it who wants nobody else to write.
Result<bool> share_image(int fd, const std::filesystem::path& shown);
/// Whether somebody else has it; disturbs nobody.
Result<bool> is_image_locked(int fd, const std::filesystem::path& shown);

}  // namespace ironcore::storage::local
