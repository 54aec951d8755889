// SPDX-License-Identifier: Apache-2.0
// What the dataplane was told, in a file: every batch is on disk before anybody hears that it was applied.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "ironcore/base/log.hpp"
#include "ironcore/base/prefix.hpp"
#include "ironcore/base/result.hpp"
#include "ironcore/base/unique_fd.hpp"
#include "ironcore/network/configuration.hpp"
#include "object_walk.hpp"

namespace ironcore::network::dataplane {

/// Nobody else gets it while this is open; the lock ends with the process, however that ends. `wrong_state`: another one has it.
Result<UniqueFd> lock_directory(const std::filesystem::path& directory);

/// The file `configuration` of a directory: lines of JSON, each behind a checksum, appended batch by batch. From time to time it is replaced by one
/// batch that says everything: written beside it, some objects at a time, and then whatever was added meanwhile, as part of the same batch, whose last word on each
/// object counts. An end that is not whole is of a batch that nobody was told of: it is cut off. Thread: one.
class ConfigurationLog {
 public:
  using Batch = std::vector<Change>;

  struct Sizes {
    std::uint64_t spare_bytes = 4ULL * 1024 * 1024;  ///< that the file may be longer than twice what it must be
    std::size_t some_bytes = 128 * 1024;             ///< that `compact_some` writes, about
  };

  /// Makes the file if it is not there. `corrupt`: it is broken elsewhere than at its end; `invalid`: it is of another underlay prefix.
  static Result<std::unique_ptr<ConfigurationLog>> open(const std::filesystem::path& directory, const Prefix& underlay,
                                                        Log& log, const Sizes& sizes);
  static Result<std::unique_ptr<ConfigurationLog>> open(const std::filesystem::path& directory, const Prefix& underlay,
                                                        Log& log) {
    return open(directory, underlay, log, Sizes());
  }
  ~ConfigurationLog();

  /// What was in the file, oldest first; once.
  std::vector<Batch> take_batches() { return std::exchange(batches_, {}); }
  const std::filesystem::path& file() const noexcept { return file_; }

  /// It is on disk when this returns without an error, and as good as never said otherwise. An empty batch is nothing.
  Result<void> add(std::span<const Change> batch);

  /// Since something could not be written nobody knows what is in the file: until it is compacted nothing can be added.
  bool is_suspect() const noexcept { return is_suspect_; }
  /// Gives the next objects to its argument, until that has enough; true = that were all.
  using Source = std::function<bool(const TakeObject&)>;
  /// If the file is much longer than it must be, a bit of what makes it shorter: some objects, and twice what was added since; all of them if it is suspect.
  /// `all` makes a source of the objects that the batches up to now say, as they are when it is asked. After an error the file is as it was, and the next
  /// try begins anew when it has grown.
  Result<void> compact_some(const std::function<Source()>& all);

 private:
  /// The file that will take the place of this one.
  struct Rewriting {
    UniqueFd fd;
    Source source;
    std::string text;          ///< to be written
    std::uint64_t size = 0;    ///< that is written
    std::uint64_t needed = 0;  ///< of them: objects, without what was added meanwhile
    std::size_t owed = 0;      ///< bytes to be written beside the usual ones, so that it ends though much is added
  };
  ConfigurationLog(std::filesystem::path file, const Prefix& underlay, UniqueFd lock, const Sizes& sizes);
  Result<void> read(Log& log);
  std::filesystem::path temporary() const { return file_.string() + ".new"; }
  bool is_to_compact() const noexcept {
    return is_suspect_ || (size_ > 2 * compact_size_ + sizes_.spare_bytes && size_ >= next_try_);
  }
  Result<void> begin(Source source);
  /// True: it has taken the place.
  Result<bool> go_on();
  Result<void> finish();
  Error broken(std::size_t line, const std::string& why) const;

  const std::filesystem::path file_;
  const std::string header_;
  const UniqueFd lock_;
  const Sizes sizes_;
  UniqueFd fd_;
  std::uint64_t size_ = 0;          ///< of what is whole
  std::uint64_t compact_size_ = 0;  ///< of what it must say, about
  std::uint64_t next_try_ = 0;      ///< size, after a try that failed
  bool is_suspect_ = false;
  std::optional<Rewriting> rewriting_;
  std::vector<Batch> batches_;
};

}  // namespace ironcore::network::dataplane
