// SPDX-License-Identifier: Apache-2.0
// Capacity of stores in the words of the scheduler, counted once.
#include "volume_pool_status.hpp"

#include <algorithm>

#include "pool_provider.hpp"
#include "volume_room.hpp"

namespace ironcore::control {

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
    const auto room = room_in(*capacity, promised, options);
    const auto total = promisable(capacity->total_bytes, options);
    for (const auto& [name, of_class] : options.classes) {
      if (of_class != store) continue;
      const auto known = classes.get(name);
      if (!known || known->metadata.deletion_timestamp) continue;
      const auto by_class = promises.by_class.find(name);
      const auto subtracted = by_class == promises.by_class.end() ? 0 : by_class->second;
      status.available_volume_classes.push_back({.name = name});
      status.capacity["class/volume." + name] = Quantity::bytes(total);
      // With what is missing, too: the scheduler finds no room before the volumes that were too much are gone, and not the moment one of them goes.
      const auto allocatable = std::max<std::int64_t>(0, capped_sum(room, subtracted));
      status.allocatable["class/volume." + name] = Quantity::bytes(allocatable);
    }
    capacity_of_all = capped_sum(capacity_of_all, total);
    allocatable_of_all = capped_sum(allocatable_of_all, std::max<std::int64_t>(0, room));
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
