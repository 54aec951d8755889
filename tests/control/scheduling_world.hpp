// SPDX-License-Identifier: Apache-2.0
// A World with a scheduler and all that it listens to.
#pragma once

#include <string>

#include "ironcore/control/machine_scheduler.hpp"
#include "world.hpp"

namespace ironcore::control::test {

inline api::ResourceList room_for(std::int64_t processors, std::int64_t memory = 1024 * gibibyte) {
  return {{"cpu", Quantity(processors)}, {"memory", Quantity::bytes(memory)}};
}

struct Scheduling : World {
  Informer<api::Machine> machines{store, clock, log};
  Informer<api::MachinePool> pools{store, clock, log};
  Informer<api::MachineClass> classes{store, clock, log};
  EventRecorder events_written{store, {.component = "machine-scheduler"}, clock, log};
  MachineScheduler scheduler;

  explicit Scheduling(MachineSchedulerOptions options = {})
      : scheduler(store, machines, pools, classes, events_written, options, clock, log) {
    create(machine_class("small"));
    create(machine_class("big", 4, 8 * gibibyte));
    scheduler.activate();
  }
  std::vector<std::function<bool()>> parts() {
    return {[&] { return machines.step(); }, [&] { return pools.step(); }, [&] { return classes.step(); },
            [&] { return scheduler.step(); }, [&] { return events_written.step(); }};
  }
  void run_to_rest() { settle(parts()); }
};

inline bool is_binding(const store::Transaction& transaction) {
  const auto* patch = std::get_if<store::Patch>(&transaction.operations.front());
  return patch != nullptr && patch->merge_patch.find("machinePoolRef") != std::string::npos;
}

/// Fails the n-th commit that binds something (counted from 0) with `error`.
inline FaultyStore::Faults fail_binding(int n, Error error,
                                        FaultyStore::Fault::When when = FaultyStore::Fault::When::before) {
  return
      [n, error, when, seen = 0](FaultyStore::Call call,
                                 const store::Transaction* transaction) mutable -> std::optional<FaultyStore::Fault> {
        if (call != FaultyStore::Call::commit) return std::nullopt;
        if (!is_binding(*transaction)) return std::nullopt;
        if (seen++ != n) return std::nullopt;
        return FaultyStore::Fault{error, when};
      };
}

}  // namespace ironcore::control::test
