// SPDX-License-Identifier: Apache-2.0
// From classes, pools and machines to what placement reckons with, and the words for its answers.
#include <algorithm>
#include <limits>

#include "ironcore/control/placement.hpp"

namespace ironcore::control {

namespace {

constexpr auto limitless = std::numeric_limits<std::int64_t>::max();

std::int64_t clamped_milli(const Quantity& quantity) {
  const auto milli = quantity.milli_value();
  return milli ? *milli : (quantity.sign() < 0 ? -limitless : limitless);
}

}  // namespace

ClassSize size_of(const api::MachineClass& machine_class) {
  ClassSize size;
  if (const auto cpu = machine_class.capabilities.find("cpu"); cpu != machine_class.capabilities.end()) {
    const auto milli = std::clamp<std::int64_t>(clamped_milli(cpu->second), 0, limitless / 1000 * 1000);
    size.cpu_milli = (milli / 1000 + (milli % 1000 != 0 ? 1 : 0)) * 1000;
  }
  if (const auto memory = machine_class.capabilities.find("memory"); memory != machine_class.capabilities.end())
    size.memory_bytes = std::max<std::int64_t>(0, memory->second.value());
  return size;
}

PoolView view_of(const api::MachinePool& pool) {
  PoolView view;
  view.name = pool.metadata.name;
  view.labels = pool.metadata.labels;
  view.taints = pool.spec.taints;
  const auto* ready = api::find_condition(pool.status.conditions, "Ready");
  view.is_ready = ready != nullptr && ready->status == api::ConditionStatus::true_;
  view.is_deleting = pool.metadata.deletion_timestamp.has_value();
  constexpr std::string_view class_prefix = "class/machine.";
  for (const auto& [resource, amount] : pool.status.allocatable) {
    if (resource == "cpu") view.cpu_milli = clamped_milli(amount);
    if (resource == "memory") view.memory_bytes = amount.value();
    if (resource.starts_with(class_prefix)) view.class_counts[resource.substr(class_prefix.size())] = amount.value();
  }
  const auto& offered = pool.status.available_machine_classes;
  if (!offered.empty() || view.cpu_milli || view.memory_bytes) {
    auto& classes = view.classes.emplace();
    for (const auto& machine_class : offered) classes.push_back(machine_class.name);
  }
  return view;
}

Demand Demand::of(const api::Machine& machine) {
  return {machine.spec.machine_class_ref.name, machine.spec.machine_pool_selector, machine.spec.tolerations};
}

std::string Demand::text() const {
  // Lengths instead of separators: no value can imitate another demand.
  std::string text;
  const auto append = [&text](std::string_view word) {
    text += std::to_string(word.size());
    text += ':';
    text += word;
  };
  append(machine_class);
  for (const auto& [key, value] : selector) {
    append(key);
    append(value);
  }
  for (const auto& toleration : tolerations) {
    text += '|';
    text += toleration.operator_ == api::TolerationOperator::exists ? 'x' : '=';
    text += toleration.effect ? (*toleration.effect == api::TaintEffect::no_execute ? 'e' : 's') : '*';
    append(toleration.key);
    append(toleration.value);
  }
  return text;
}

std::string_view words(Obstacle obstacle) {
  switch (obstacle) {
    case Obstacle::none:
      return "fits";
    case Obstacle::class_unknown:
      return "unknown machine class";
    case Obstacle::being_deleted:
      return "being deleted";
    case Obstacle::not_ready:
      return "not ready";
    case Obstacle::tainted:
      return "taint not tolerated";
    case Obstacle::selector:
      return "labels do not match";
    case Obstacle::class_not_offered:
      return "class not offered";
    case Obstacle::no_capacity:
      return "no capacity published";
    case Obstacle::class_count:
      return "no room (class count)";
    case Obstacle::cpu:
      return "no room (cpu)";
    case Obstacle::memory:
      return "no room (memory)";
  }
  return "unknown";
}

}  // namespace ironcore::control
