// SPDX-License-Identifier: Apache-2.0
// How much more the stores of a pool of volumes may promise, and who may grow into it.
#pragma once

#include <cstdint>
#include <map>
#include <mutex>
#include <string>

#include "ironcore/control/informer.hpp"
#include "ironcore/control/volume_provider.hpp"

namespace ironcore::control {

/// Times the thin provisioning ratio, and never more than 63 bits hold.
std::int64_t promisable(std::uint64_t bytes, const VolumeProviderOptions& options);
/// Of amounts that are not negative: the largest number instead of an overflow.
std::int64_t capped_sum(std::int64_t a, std::int64_t b);

/// What the volumes of the pool count for.
struct VolumePromises {
  std::int64_t all = 0;                                         ///< also of classes that are not offered here
  std::map<std::string, std::int64_t> by_class;                 ///< as the scheduler counts them
  std::map<const storage::BlockStore*, std::int64_t> by_store;  ///< as they are made: rounded
};
VolumePromises promises_of(const Informer<api::Volume>& volumes, const VolumeProviderOptions& options);

/// How much more may be promised: not more than is left of all that the store holds, and not more than can really be written now. Negative when more is
/// promised than it holds, as by volumes that were put there by hand. Rounded down a little, so that not every byte that a guest writes is told.
std::int64_t room_in(const storage::Capacity& capacity, std::int64_t promised, const VolumeProviderOptions& options);

/// A volume that grows, or that was refused and can be made now, takes room that no scheduler has given it. Thread: any.
class GrowthRoom {
 public:
  /// Both must outlive it.
  GrowthRoom(const Informer<api::Volume>& volumes, const VolumeProviderOptions& options)
      : volumes_(volumes), options_(options) {}

  /// Lets the volume grow to `wanted` bytes if there is room for what is new in them; that counts from now on, before its status shows it. Otherwise how
  /// much there is, and nothing counts. Fails as the store's `capacity`.
  struct Answer {
    bool is_granted = false;
    std::int64_t room = 0;
  };
  Result<Answer> ask(const api::Volume& volume, storage::BlockStore& store, std::uint64_t size, std::uint64_t wanted);
  /// It did not come to that.
  void take_back(const std::string& uid);

 private:
  struct Grant {
    const storage::BlockStore* store;
    std::int64_t size;  // that it may have
  };
  std::int64_t granted(const storage::BlockStore& store);  // with mutex_ held

  const Informer<api::Volume>& volumes_;
  const VolumeProviderOptions& options_;
  std::mutex mutex_;
  std::map<std::string, Grant> grants_;  // by uid, until the status of the volume shows them
};

}  // namespace ironcore::control
