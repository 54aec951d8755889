// SPDX-License-Identifier: Apache-2.0
// OS images in the stores of volumes: brought once, shared, collected.
#pragma once

#include <functional>
#include <map>
#include <mutex>
#include <optional>
#include <set>
#include <span>
#include <stop_token>
#include <string>
#include <utility>

#include "ironcore/api/storage.hpp"
#include "ironcore/base/clock.hpp"
#include "ironcore/base/log.hpp"
#include "ironcore/image/cache.hpp"
#include "ironcore/storage/block_store.hpp"

namespace ironcore::control {

/// Thread: any.
class BaseImages {
 public:
  /// `wake` is called with the key of who waited for an image that somebody else was bringing.
  BaseImages(image::Cache* cache, Duration grace, std::function<void(const std::string& key)> wake, Clock& clock,
             Log& log)
      : cache_(cache), grace_(grace), wake_(std::move(wake)), clock_(clock), log_(log) {}

  /// The image in that store; nullopt: another call is bringing it, and `key` is woken at its end. After a failure it is not tried again before a while, which
  /// grows; until then everybody gets the same error. `copying` is called while bytes are moved, on this thread.
  Result<std::optional<storage::BaseImage>> ensure(storage::BlockStore& store, const api::OsImage& image,
                                                   const std::string& key, const storage::BlockStore::Progress& copying,
                                                   std::stop_token stop);
  /// What `ensure` said does not hold any more.
  void forget(storage::BlockStore& store, const api::OsImage& image);
  /// Whether an image is being brought into that store now.
  bool is_busy(const storage::BlockStore& store) const;
  /// Removes images that no volume depends on and nobody has asked for during the grace period, in the stores and on this host.
  void collect(std::span<storage::BlockStore* const> stores);

 private:
  struct Entry {
    bool is_busy = false;
    std::set<std::string> waiting;
    std::optional<Result<storage::BaseImage>> last;  // good until then
    Instant until{};
    std::uint32_t failures = 0;
  };
  using Name = std::pair<const storage::BlockStore*, std::string>;
  static Name name_of(const storage::BlockStore& store, const api::OsImage& image);
  Result<storage::BaseImage> bring(storage::BlockStore& store, const api::OsImage& image,
                                   const storage::BlockStore::Progress& copying, std::stop_token stop);

  image::Cache* cache_;
  const Duration grace_;
  const std::function<void(const std::string&)> wake_;
  Clock& clock_;
  Log& log_;
  mutable std::mutex mutex_;
  std::map<Name, Entry> entries_;
  std::map<std::pair<const storage::BlockStore*, crypto::Digest>, Instant> used_;
};

}  // namespace ironcore::control
