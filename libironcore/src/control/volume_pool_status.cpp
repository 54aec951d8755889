// SPDX-License-Identifier: Apache-2.0
// Capacity of stores in the words of the scheduler, counted once.
#include "volume_pool_status.hpp"

#include <algorithm>
#include <bit>
#include <limits>
#include <map>

#include "pool_provider.hpp"

namespace ironcore::control {

namespace {

constexpr double most = 9e18;  // fits into 63 bits

std::int64_t times(std::uint64_t bytes, double ratio) {
  return static_cast<std::int64_t>(std::min(most, static_cast<double>(bytes) * ratio));
}

std::int64_t sum(std::int64_t a, std::int64_t b) {
  std::int64_t result = 0;
  return __builtin_add_overflow(a, b, &result) ? std::numeric_limits<std::int64_t>::max() : result;
}

struct Promises {
  std::int64_t all = 0;                                         // also of classes that are not offered here
  std::map<std::string, std::int64_t> by_class;                 // as the scheduler counts them
  std::map<const storage::BlockStore*, std::int64_t> by_store;  // as they are made: rounded
};

Promises promises_of(const Informer<api::Volume>& volumes, const VolumeProviderOptions& options) {
  Promises promises;
  for (const auto& volume : volumes.list()) {
    const auto* name = PlacedKind<api::Volume>::class_of(*volume);
    if (name == nullptr) continue;
    const auto asked = PlacedKind<api::Volume>::amount_of(*volume);
    promises.all = sum(promises.all, asked);
    const auto offer = options.classes.find(*name);
    if (offer == options.classes.end()) continue;
    const auto rounded = storage::rounded_size(static_cast<std::uint64_t>(asked));
    auto& by_class = promises.by_class[*name];
    by_class = sum(by_class, asked);
    auto& by_store = promises.by_store[offer->second];
    by_store = sum(by_store, rounded ? static_cast<std::int64_t>(*rounded) : asked);
  }
  return promises;
}

/// What may still be promised: not more than is left of all that the store holds, and not more than can really be written now. Rounded down a little, so
/// that not every byte that a guest writes is told.
std::int64_t room_in(const storage::Capacity& capacity, std::int64_t promised, double ratio) {
  if (capacity.is_full) return 0;
  const auto all = times(capacity.used_bytes + capacity.available_bytes, ratio);
  const auto room = std::max<std::int64_t>(0, std::min(all - promised, times(capacity.available_bytes, ratio)));
  const auto step = static_cast<std::int64_t>(std::bit_floor(std::max<std::uint64_t>(1, capacity.total_bytes / 4096)));
  return room / step * step;
}

}  // namespace

api::VolumePoolStatus volume_pool_status(const api::VolumePool& pool, const Informer<api::Volume>& volumes,
                                         const Informer<api::VolumeClass>& classes,
                                         const VolumeProviderOptions& options, WallTime now) {
  auto status = pool.status;
  status.available_volume_classes.clear();
  status.capacity.clear();
  status.allocatable.clear();
  const auto promises = promises_of(volumes, options);
  std::int64_t capacity_of_all = 0;
  std::int64_t allocatable_of_all = promises.all;
  std::size_t answering = 0;
  std::string silent;  // what the stores say that do not answer
  std::string full;
  bool is_any_full = false;
  const auto stores = stores_of(options);
  for (auto* store : stores) {
    const auto capacity = store->capacity();
    const auto names = class_names(options, store);
    if (!capacity) {
      silent += (silent.empty() ? "" : "; ") + names + ": " + capacity.error().message();
      continue;
    }
    ++answering;
    is_any_full = is_any_full || capacity->is_full;
    if (capacity->is_full || capacity->is_near_full)
      full += (full.empty() ? "" : "; ") + names +
              (capacity->is_full ? ": the store is full" : ": the store is nearly full");
    const auto found = promises.by_store.find(store);
    const auto promised = found == promises.by_store.end() ? 0 : found->second;
    const auto room = room_in(*capacity, promised, options.thin_provision_ratio);
    const auto total = times(capacity->total_bytes, options.thin_provision_ratio);
    for (const auto& [name, of_class] : options.classes) {
      if (of_class != store) continue;
      if (!classes.get(name)) continue;
      const auto by_class = promises.by_class.find(name);
      const auto subtracted = by_class == promises.by_class.end() ? 0 : by_class->second;
      status.available_volume_classes.push_back({.name = name});
      status.capacity["class/volume." + name] = Quantity::bytes(total);
      status.allocatable["class/volume." + name] = Quantity::bytes(sum(room, subtracted));
    }
    capacity_of_all = sum(capacity_of_all, total);
    allocatable_of_all = sum(allocatable_of_all, room);
  }
  std::sort(status.available_volume_classes.begin(), status.available_volume_classes.end(),
            [](const auto& a, const auto& b) { return a.name < b.name; });
  status.capacity["storage"] = Quantity::bytes(capacity_of_all);
  status.allocatable["storage"] = Quantity::bytes(allocatable_of_all);

  set_reach(status, answering > 0, silent, now);
  api::Condition room{.type = "HasRoom"};
  room.status = full.empty() ? api::ConditionStatus::true_ : api::ConditionStatus::false_;
  room.reason = full.empty() ? "HasRoom" : is_any_full ? "Full" : "NearlyFull";
  room.message = full.empty() ? "no store is nearly full" : full + "; add storage or delete volumes and snapshots";
  api::set_condition(status.conditions, std::move(room), now);
  return status;
}

}  // namespace ironcore::control
