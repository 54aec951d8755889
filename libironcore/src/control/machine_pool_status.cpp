// SPDX-License-Identifier: Apache-2.0
// Capacity and classes of a host.
#include "machine_pool_status.hpp"

#include <algorithm>
#include <limits>

#include "machine_translation.hpp"

namespace ironcore::control {

api::MachinePoolStatus machine_pool_status(const api::MachinePool& pool, compute::Host& host,
                                           const Informer<api::MachineClass>& known_classes,
                                           const MachineProviderOptions& options, WallTime now) {
  auto status = pool.status;
  const auto capacity = host.capacity();
  api::Condition ready{.type = "Ready"};
  if (!capacity) {
    // What it takes altogether has not changed: only nothing new may come.
    ready.status = api::ConditionStatus::false_;
    ready.reason = "RuntimeUnreachable";
    ready.message = capacity.error().message();
    status.state = api::MachinePoolState::error;
    api::set_condition(status.conditions, std::move(ready), now);
    return status;
  }
  ready.status = api::ConditionStatus::true_;
  ready.reason = "HeartbeatReceived";
  ready.message = "the provider runs and reaches its hypervisor";
  status.state = api::MachinePoolState::ready;
  api::set_condition(status.conditions, std::move(ready), now);
  status.addresses = options.addresses;

  const auto memory = static_cast<std::int64_t>(
      std::min<std::uint64_t>(capacity->memory_bytes, std::numeric_limits<std::int64_t>::max()));
  status.capacity = {{"cpu", Quantity(static_cast<std::int64_t>(capacity->cpus))}, {"memory", Quantity::bytes(memory)}};
  status.available_machine_classes.clear();
  auto classes = known_classes.list();
  std::sort(classes.begin(), classes.end(),
            [](const auto& a, const auto& b) { return a->metadata.name < b->metadata.name; });
  for (const auto& machine_class : classes) {
    const auto& name = machine_class->metadata.name;
    const auto count = offered_count(*machine_class, options.classes, *capacity);
    if (!count) continue;
    status.available_machine_classes.push_back({.name = name});
    status.capacity.emplace("class/machine." + name, Quantity(*count));
  }
  status.allocatable = status.capacity;
  return status;
}

}  // namespace ironcore::control
