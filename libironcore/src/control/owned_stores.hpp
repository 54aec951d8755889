// SPDX-License-Identifier: Apache-2.0
// The stores of a VolumePool: used only while each is the one that the pool has always had, and no other pool's.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>

#include "ironcore/api/storage.hpp"
#include "ironcore/base/log.hpp"
#include "ironcore/control/volume_provider.hpp"
#include "ironcore/storage/passing_block_store.hpp"

namespace ironcore::control {

/// Lets calls through only while it is known whose the store is: otherwise they are `unavailable`, and say why. Thread: any.
class OwnedStore final : public storage::PassingBlockStore {
 public:
  /// `inner` must outlive it.
  explicit OwnedStore(storage::BlockStore& inner) : inner_(inner) {}

  /// Asks the store in any case, so that it notices itself whether it answers.
  Result<storage::Capacity> capacity() override;

  /// Whether what lies in the store belongs to objects of ours; nothing in it counts as ours.
  using HoldsOurs = std::function<Result<bool>(storage::BlockStore&)>;
  /// Looks at the mark, and makes it the pool's if it has none. `noted`: the ids that the pool has noted for the classes of this store. An error if the store must not
  /// be used; `unavailable` if it is not known, then what was known stays.
  Result<Uid> look(const api::Metadata& pool, const std::set<std::string>& noted, const HoldsOurs& holds_ours);
  /// From now on calls come through, unless something else is found. Whether they did not before.
  bool admit();
  void refuse(const Error& why);

 private:
  Result<std::shared_ptr<storage::BlockStore>> target() override;
  Result<void> take(const storage::StoreMark& mark);

  storage::BlockStore& inner_;
  std::optional<Uid> taken_;  ///< the one that `inner_` was told to be; of `look` alone
  std::mutex mutex_;
  std::optional<Error> refusal_ = Error(ErrorCode::unavailable, "nobody has looked yet whose store it is");
};

/// Thread: one.
class OwnedStores {
 public:
  explicit OwnedStores(Log& log) : log_(log) {}

  /// The same options, with these stores instead of those.
  VolumeProviderOptions in_place_of(VolumeProviderOptions options);
  /// Looks at all of them, and writes into the pool's annotation what was found.
  void look(api::VolumePool& pool, const OwnedStore::HoldsOurs& holds_ours);
  /// The pool was written: what it has noted may be used. Whether there is something that was not used before.
  bool admit(const api::VolumePool& pool);

 private:
  struct Store {
    std::unique_ptr<OwnedStore> store;
    std::set<std::string> classes;
    std::string found;  ///< its id; empty if it must not be used
    std::string told;   ///< why
  };
  Log& log_;
  std::map<storage::BlockStore*, Store> stores_;  ///< by the one inside
};

}  // namespace ironcore::control
