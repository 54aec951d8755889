// SPDX-License-Identifier: Apache-2.0
// What the dataplane was told, in a file: every batch is on disk before anybody hears that it was applied.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "ironcore/base/log.hpp"
#include "ironcore/base/prefix.hpp"
#include "ironcore/base/result.hpp"
#include "ironcore/base/unique_fd.hpp"
#include "ironcore/network/configuration.hpp"

namespace ironcore::network::dataplane {

/// Nobody else gets it while this is open; the lock ends with the process, however that ends. `wrong_state`: another one has it.
Result<UniqueFd> lock_directory(const std::filesystem::path& directory);

/// The file `configuration` of a directory: lines of JSON, each behind a checksum, appended batch by batch. From time to time it is replaced by one
/// batch that says everything. An end that is not whole is of a batch that nobody was told of: it is cut off. Thread: one.
class ConfigurationLog {
 public:
  using Batch = std::vector<Change>;

  /// Makes the file if it is not there. `corrupt`: it is broken elsewhere than at its end; `invalid`: it is of another underlay prefix.
  static Result<std::unique_ptr<ConfigurationLog>> open(const std::filesystem::path& directory, const Prefix& underlay,
                                                        Log& log);

  /// What was in the file, oldest first; once.
  std::vector<Batch> take_batches() { return std::exchange(batches_, {}); }
  const std::filesystem::path& file() const noexcept { return file_; }

  /// It is on disk when this returns without an error, and as good as never said otherwise. An empty batch is nothing.
  Result<void> add(std::span<const Change> batch);

  /// The file is much longer than it must be, or nobody knows what is in it since something could not be written.
  bool is_to_compact() const noexcept { return is_suspect_ || size_ > 2 * compact_size_ + spare_bytes; }
  /// Until it is compacted nothing can be added.
  bool is_suspect() const noexcept { return is_suspect_; }
  using Each = std::function<void(const Change&)>;
  /// `all` calls its argument with every object there is.
  Result<void> compact(const std::function<void(const Each&)>& all);

 private:
  ConfigurationLog(std::filesystem::path file, const Prefix& underlay, UniqueFd lock);
  Result<void> read(Log& log);
  Result<void> replace(const std::function<void(const Each&)>& all);
  Error broken(std::size_t line, const std::string& why) const;

  static constexpr std::uint64_t spare_bytes = 4ULL * 1024 * 1024;

  const std::filesystem::path file_;
  const std::string header_;
  const UniqueFd lock_;
  UniqueFd fd_;
  std::uint64_t size_ = 0;          ///< of what is whole
  std::uint64_t compact_size_ = 0;  ///< of the header and the first batch
  bool is_suspect_ = false;
  std::vector<Batch> batches_;
};

}  // namespace ironcore::network::dataplane
