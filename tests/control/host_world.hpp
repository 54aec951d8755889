// SPDX-License-Identifier: Apache-2.0
// A VolumeWorld with hosts that live and die: pools of machines, their leases, and the controller that notices.
#pragma once

#include <functional>
#include <set>
#include <string>

#include "ironcore/control/pool_health.hpp"
#include "volume_world.hpp"

namespace ironcore::control::test {

struct HostWorld : VolumeWorld {
  std::set<std::string> alive{"host-1", "host-2"};  ///< their providers renew their leases
  bool is_watching_pools = true;                    ///< otherwise nobody notices that they do not
  Informer<api::MachinePool> machine_pools{*real, clock, log};
  std::function<void()> on_step;  ///< called after every step of time
  MachinePoolHealth health{*real, machine_pools, {}, clock, log};

  HostWorld() {
    options.keys = &keys;
    create(machine_class("small"));
    for (const auto& name : alive) create_pool(name, {});
  }
  void create_machine(const std::string& name, const std::string& pool) {
    auto made = machine(name);
    made.spec.machine_pool_ref = api::LocalReference{.name = pool};
    create(std::move(made));
  }
  void mark(const std::string& pool, api::ConditionStatus status) {
    change<api::MachinePool>(
        pool,
        [&](api::MachinePool& p) {
          api::set_condition(p.status.conditions, {.type = "Ready", .status = status, .reason = "Test"}, clock.wall());
        },
        store::Part::status);
  }
  void beat() {
    for (const auto& name : alive)
      REQUIRE(real->acquire_lease(pool_lease<api::Machine>(name), name, std::chrono::seconds(40)));
  }
  /// Like `run_for` of a VolumeWorld, and the hosts live.
  void run_for(Duration span, Duration step = std::chrono::milliseconds(250)) {
    auto all = parts();
    all.push_back([this] { return machine_pools.step(); });
    all.push_back([this] { return is_watching_pools && health.step(); });
    beat();
    settle(all);
    for (Duration passed{}; passed < span; passed += step) {
      clock.advance(std::min(step, span - passed));
      beat();
      settle(all);
      if (on_step) on_step();
    }
  }
};

}  // namespace ironcore::control::test
