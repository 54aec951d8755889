// SPDX-License-Identifier: Apache-2.0
// A World with a scheduler and all that it listens to.
#pragma once

#include <string>

#include "ironcore/control/scheduler.hpp"
#include "world.hpp"

namespace ironcore::control::test {

inline api::ResourceList room_for(std::int64_t processors, std::int64_t memory = 1024 * gibibyte) {
  return {{"cpu", Quantity(processors)}, {"memory", Quantity::bytes(memory)}};
}

template <class T>
struct SchedulingOf : World {
  Informer<T> objects{store, clock, log};
  Informer<typename PlacedKind<T>::Pool> pools{store, clock, log};
  Informer<typename PlacedKind<T>::Class> classes{store, clock, log};
  EventRecorder events_written{store, {.component = "scheduler"}, clock, log};
  Scheduler<T> scheduler;

  explicit SchedulingOf(SchedulerOptions options = {})
      : scheduler(store, objects, pools, classes, events_written, options, clock, log) {
    scheduler.activate();
  }
  std::vector<std::function<bool()>> parts() {
    return {[&] { return objects.step(); }, [&] { return pools.step(); }, [&] { return classes.step(); },
            [&] { return scheduler.step(); }, [&] { return events_written.step(); }};
  }
  void run_to_rest() { settle(parts()); }
};

/// Of machines, with two classes.
struct Scheduling : SchedulingOf<api::Machine> {
  Informer<api::Machine>& machines = objects;

  explicit Scheduling(SchedulerOptions options = {}) : SchedulingOf(options) {
    create(machine_class("small"));
    create(machine_class("big", 4, 8 * gibibyte));
  }
};

inline bool is_binding(const store::Transaction& transaction) {
  const auto* patch = std::get_if<store::Patch>(&transaction.operations.front());
  return patch != nullptr && patch->merge_patch.find("PoolRef") != std::string::npos;
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
