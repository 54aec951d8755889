// SPDX-License-Identifier: Apache-2.0
// A store in memory, a virtual clock, and short words for the objects that control tests need.
#pragma once

#include <doctest/doctest.h>

#include <algorithm>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "faulty_store.hpp"
#include "ironcore/api/compute.hpp"
#include "ironcore/api/core.hpp"
#include "ironcore/sim/virtual_clock.hpp"
#include "ironcore/store/local_store.hpp"
#include "ironcore/store/typed.hpp"

/// A failed check of a Result shows the error.
template <class T>
struct doctest::StringMaker<ironcore::Result<T>> {
  static String convert(const ironcore::Result<T>& result) {
    return result ? "ok" : String(("error: " + result.error().message()).c_str());
  }
};

namespace ironcore::control::test {

using store::Shared;
using namespace std::chrono_literals;

constexpr std::int64_t gibibyte = std::int64_t{1} << 30;

inline api::MachineClass machine_class(const std::string& name, std::int64_t processors = 1,
                                       std::int64_t memory = 2 * gibibyte) {
  api::MachineClass made;
  made.metadata.name = name;
  made.capabilities = {{"cpu", Quantity(processors)}, {"memory", Quantity::bytes(memory)}};
  return made;
}

inline api::Machine machine(const std::string& name, const std::string& class_name = "small") {
  api::Machine made;
  made.metadata.namespace_ = "default";
  made.metadata.name = name;
  made.spec.machine_class_ref.name = class_name;
  return made;
}

/// Without a class, or with one and a size.
inline api::Volume volume(const std::string& name, const std::string& class_name = "", std::int64_t size = gibibyte) {
  api::Volume made;
  made.metadata.namespace_ = "default";
  made.metadata.name = name;
  if (class_name.empty()) return made;
  made.spec.volume_class_ref = {.name = class_name};
  made.spec.resources = {{"storage", Quantity::bytes(size)}};
  return made;
}

inline api::Bucket bucket(const std::string& name, const std::string& class_name) {
  api::Bucket made;
  made.metadata.namespace_ = "default";
  made.metadata.name = name;
  made.spec.bucket_class_ref = {.name = class_name};
  return made;
}

/// Time, a store, and a way to fail. Everything happens on one thread.
struct World {
  sim::VirtualClock clock;
  NullLog log;
  SeededRandom random{1};
  std::unique_ptr<store::LocalStore> real = store::memory_store(clock, log, {.random = &random});
  FaultyStore store{*real};

  /// Steps all parts until none has anything to do.
  void settle(const std::vector<std::function<bool()>>& parts) {
    for (int round = 0; round < 100'000; ++round) {
      bool did = false;
      for (const auto& part : parts) did = part() || did;
      if (!did) return;
    }
    FAIL("the parts never come to rest");
  }
  /// The same while time passes in small steps.
  void pass(Duration span, const std::vector<std::function<bool()>>& parts, Duration step = 100ms) {
    settle(parts);
    for (Duration passed{}; passed < span; passed += step) {
      clock.advance(std::min(step, span - passed));
      settle(parts);
    }
  }

  template <class T>
  Shared<T> create(T value) {
    auto made = store::create(*real, std::move(value));
    if (!made) FAIL(made.error().message());
    return *made;
  }
  template <class T>
  Shared<T> get(const std::string& name, const std::string& namespace_ = "") {
    const auto found = store::get<T>(*real, namespace_, name);
    return found ? *found : nullptr;
  }
  Shared<api::Machine> get_machine(const std::string& name) { return get<api::Machine>(name, "default"); }
  /// Of an object in namespace `default`.
  template <class T>
  api::Condition condition_of(const std::string& name, const std::string& type) {
    const auto found = get<T>(name, "default");
    REQUIRE(found);
    const auto* condition = api::find_condition(found->status.conditions, type);
    if (condition == nullptr) FAIL("no condition " << type);
    return *condition;
  }

  /// Changes the object (or its status) as somebody else would.
  template <class T>
  void change(const std::string& name, const std::function<void(T&)>& edit, store::Part part = store::Part::object,
              const std::string& namespace_ = T::info.scope == api::Scope::namespaced ? "default" : "") {
    const auto before = get<T>(name, namespace_);
    REQUIRE(before);
    auto after = *before;
    edit(after);
    const auto written = store::patch(*real, *before, std::move(after), part);
    if (!written) FAIL(written.error().message());
  }
  template <class T>
  void remove(const std::string& name) {
    const auto removed = store::remove<T>(*real, T::info.scope == api::Scope::namespaced ? "default" : "", name);
    if (!removed) FAIL(removed.error().message());
  }

  /// What a provider counts under a name and, if it has such a label, this value of it; -1 if that is not there.
  template <class Provider>
  static double count(const Provider& provider, const std::string& name, const std::string& label = "") {
    for (const auto& one : provider.counts())
      if (one.name == name &&
          (label.empty() || std::ranges::any_of(one.labels, [&](const auto& entry) { return entry.second == label; })))
        return one.value;
    return -1;
  }

  /// A ready pool that says what it has, and that it offers all classes of these tests.
  void create_pool(const std::string& name, api::ResourceList allocatable,
                   std::map<std::string, std::string> labels = {}, std::vector<api::Taint> taints = {}) {
    api::MachinePool pool;
    pool.metadata.name = name;
    pool.metadata.labels = std::move(labels);
    pool.spec.taints = std::move(taints);
    create(std::move(pool));
    change<api::MachinePool>(
        name,
        [&](api::MachinePool& made) {
          made.status.state = api::MachinePoolState::ready;
          made.status.allocatable = allocatable;
          made.status.capacity = allocatable;
          for (const auto* offered : {"small", "big", "late", "huge"})
            made.status.available_machine_classes.push_back({.name = offered});
          api::set_condition(made.status.conditions,
                             {.type = "Ready", .status = api::ConditionStatus::true_, .reason = "Test"}, clock.wall());
        },
        store::Part::status);
  }
  std::string pool_of(const std::string& machine_name) {
    const auto found = get_machine(machine_name);
    REQUIRE(found);
    return found->spec.machine_pool_ref ? found->spec.machine_pool_ref->name : "";
  }
  /// Events about an object, by reason.
  std::vector<Shared<api::Event>> events(const std::string& about, const std::string& reason) {
    std::vector<Shared<api::Event>> found;
    const auto all = store::list<api::Event>(*real);
    REQUIRE(all);
    for (const auto& event : *all)
      if (event->involved_object.name == about && event->reason == reason) found.push_back(event);
    return found;
  }
};

}  // namespace ironcore::control::test
