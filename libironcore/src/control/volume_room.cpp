// SPDX-License-Identifier: Apache-2.0
// Promises, room, and growth that was let go ahead.
#include "volume_room.hpp"

#include <algorithm>
#include <bit>
#include <limits>

#include "ironcore/control/placed_kinds.hpp"

namespace ironcore::control {

std::int64_t promisable(std::uint64_t bytes, const VolumeProviderOptions& options) {
  constexpr double most = 9e18;  // fits into 63 bits
  return static_cast<std::int64_t>(std::min(most, static_cast<double>(bytes) * options.thin_provision_ratio));
}

std::int64_t capped_sum(std::int64_t a, std::int64_t b) {
  std::int64_t result = 0;
  return __builtin_add_overflow(a, b, &result) ? std::numeric_limits<std::int64_t>::max() : result;
}

VolumePromises promises_of(const Informer<api::Volume>& volumes, const VolumeProviderOptions& options) {
  VolumePromises promises;
  for (const auto& volume : volumes.list()) {
    const auto* name = PlacedKind<api::Volume>::class_of(*volume);
    if (name == nullptr) continue;
    const auto counted = PlacedKind<api::Volume>::amount_of(*volume);
    promises.all = capped_sum(promises.all, counted);
    const auto offer = options.classes.find(*name);
    if (offer == options.classes.end()) continue;
    const auto rounded = storage::rounded_size(static_cast<std::uint64_t>(counted));
    auto& by_class = promises.by_class[*name];
    by_class = capped_sum(by_class, counted);
    auto& by_store = promises.by_store[offer->second];
    if (PlacedKind<api::Volume>::is_refused(*volume)) continue;
    by_store = capped_sum(by_store, rounded ? static_cast<std::int64_t>(*rounded) : counted);
  }
  return promises;
}

std::int64_t room_in(const storage::Capacity& capacity, std::int64_t promised, const VolumeProviderOptions& options) {
  const auto all = promisable(capacity.used_bytes + capacity.available_bytes, options);
  const auto writable = capacity.is_full ? 0 : promisable(capacity.available_bytes, options);
  const auto room = std::min(all - promised, writable);
  const auto step = static_cast<std::int64_t>(std::bit_floor(std::max<std::uint64_t>(1, capacity.total_bytes / 4096)));
  return (room < 0 ? room - (step - 1) : room) / step * step;
}

/// What may grow there and is not in the cache yet.
std::int64_t GrowthRoom::granted(const storage::BlockStore& store) {
  std::map<std::string, std::int64_t> counted;
  if (!grants_.empty())
    for (const auto& volume : volumes_.list())
      if (grants_.contains(volume->metadata.uid))
        counted[volume->metadata.uid] = PlacedKind<api::Volume>::amount_of(*volume);
  std::int64_t more = 0;
  std::erase_if(grants_, [&](const auto& entry) {
    const auto& [uid, grant] = entry;
    const auto known = counted.find(uid);
    if (known == counted.end() || known->second >= grant.size) return true;
    if (grant.store == &store) more = capped_sum(more, grant.size - known->second);
    return false;
  });
  return more;
}

auto GrowthRoom::ask(const api::Volume& volume, storage::BlockStore& store, std::uint64_t size, std::uint64_t wanted)
    -> Result<Answer> {
  IRONCORE_TRY(const auto capacity, store.capacity());
  const std::lock_guard lock(mutex_);
  grants_.erase(volume.metadata.uid);
  const auto promises = promises_of(volumes_, options_);
  const auto found = promises.by_store.find(&store);
  const auto promised = capped_sum(found == promises.by_store.end() ? 0 : found->second, granted(store));
  const auto room = std::max<std::int64_t>(0, room_in(capacity, promised, options_));
  if (wanted - size > static_cast<std::uint64_t>(room)) return Answer{.is_granted = false, .room = room};
  grants_[volume.metadata.uid] = {&store, static_cast<std::int64_t>(wanted)};
  return Answer{.is_granted = true, .room = room};
}

void GrowthRoom::take_back(const std::string& uid) {
  const std::lock_guard lock(mutex_);
  grants_.erase(uid);
}

}  // namespace ironcore::control
