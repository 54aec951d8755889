// SPDX-License-Identifier: Apache-2.0
// FileLock: one writer for each store file, also across processes.
#pragma once

#include <filesystem>

#include "ironcore/base/result.hpp"
#include "ironcore/base/unique_fd.hpp"

namespace ironcore::store::sqlite {

/// Holds `<file>.lock` until destroyed or until the process dies, however it dies. A file beside the store,
/// because closing any descriptor of the store file itself would drop the locks that SQLite has on it in this
/// process. Thread: one.
class FileLock {
 public:
  /// `wrong_state` names the process that has it.
  static Result<FileLock> take(const std::filesystem::path& file);

  /// Removes the file again, if this made it.
  void undo();

 private:
  FileLock(UniqueFd fd, std::string made) : fd_(std::move(fd)), made_(std::move(made)) {}
  UniqueFd fd_;
  std::string made_;
};

}  // namespace ironcore::store::sqlite
