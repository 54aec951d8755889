// SPDX-License-Identifier: Apache-2.0
// Whether the stores of a BucketPool answer, and what the pool tells about them.
#pragma once

#include <map>
#include <mutex>
#include <optional>
#include <stop_token>
#include <string>

#include "ironcore/control/bucket_provider.hpp"
#include "ironcore/control/informer.hpp"
#include "trouble.hpp"

namespace ironcore::control {

/// What the stores said when they were asked last, so that one that hangs holds up no heartbeat. Thread: any.
class BucketStoreReach {
 public:
  enum class News {
    none,
    reach,  ///< it does not answer, and did before
    work,  ///< its buckets have something to do: it was asked for the first time, answers again, or can do something else
  };
  /// Asks `store`; blocks as long as that does, or until a stop is requested, which says nothing about the store.
  News ask(storage::BucketStore& store, const std::stop_token& stop);

  /// Whether it was asked at all.
  bool knows(const storage::BucketStore* store) const;
  /// What keeps its buckets waiting, if it did not answer when it was asked last: only who asks this calls it then. A refusal is an answer.
  std::optional<Trouble> silence(const storage::BucketStore* store) const;

  /// Of a pool whose stores were all asked; else as it is. Classes of a store that does not answer are not offered meanwhile.
  api::BucketPoolStatus pool_status(const api::BucketPool& pool, const Informer<api::BucketClass>& classes,
                                    const BucketProviderOptions& options, WallTime now) const;

 private:
  struct Answer {
    std::string trouble;  // empty = it answers
    bool is_silent = false;
    storage::BucketCapabilities abilities;
  };
  mutable std::mutex mutex_;
  std::map<const storage::BucketStore*, Answer> answers_;
};

}  // namespace ironcore::control
