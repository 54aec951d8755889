// SPDX-License-Identifier: Apache-2.0
// Whether the stores of a BucketPool answer, and what the pool tells about them.
#pragma once

#include <map>
#include <mutex>
#include <stop_token>
#include <string>

#include "ironcore/control/bucket_provider.hpp"
#include "ironcore/control/informer.hpp"

namespace ironcore::control {

/// What the stores said when they were asked last, so that one that hangs holds up no heartbeat. Thread: any.
class BucketStoreReach {
 public:
  enum class News {
    none,
    reach,      ///< it answers, or does not, and did not say so before
    abilities,  ///< it can do something else than before
  };
  /// Asks `store`; blocks as long as that does, or until a stop is requested, which says nothing about the store.
  News ask(storage::BucketStore& store, const std::stop_token& stop);

  /// Of a pool whose stores were all asked; else as it is. Classes of a store that does not answer are not offered meanwhile.
  api::BucketPoolStatus pool_status(const api::BucketPool& pool, const Informer<api::BucketClass>& classes,
                                    const BucketProviderOptions& options, WallTime now) const;

 private:
  struct Answer {
    std::string trouble;  // empty = it answers
    storage::BucketCapabilities abilities;
  };
  mutable std::mutex mutex_;
  std::map<const storage::BucketStore*, Answer> answers_;
};

}  // namespace ironcore::control
