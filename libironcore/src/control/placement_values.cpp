// SPDX-License-Identifier: Apache-2.0
// From classes, pools and objects to what placement reckons with, and the words for its answers.
#include <algorithm>
#include <limits>

#include "ironcore/control/placed_kinds.hpp"
#include "ironcore/control/placement.hpp"

namespace ironcore::control {

namespace {

constexpr auto limitless = std::numeric_limits<std::int64_t>::max();

std::int64_t clamped_milli(const Quantity& quantity) {
  const auto milli = quantity.milli_value();
  return milli ? *milli : (quantity.sign() < 0 ? -limitless : limitless);
}

const Quantity* find(const api::ResourceList& resources, const std::string& name) {
  const auto found = resources.find(name);
  return found == resources.end() ? nullptr : &found->second;
}

template <class Pool>
PoolView common_view(const Pool& pool) {
  PoolView view;
  view.name = pool.metadata.name;
  view.labels = pool.metadata.labels;
  view.taints = pool.spec.taints;
  const auto* ready = api::find_condition(pool.status.conditions, "Ready");
  view.is_ready = ready != nullptr && ready->status == api::ConditionStatus::true_;
  view.is_deleting = pool.metadata.deletion_timestamp.has_value();
  return view;
}

std::map<std::string, std::int64_t> class_limits(const api::ResourceList& allocatable, std::string_view prefix) {
  std::map<std::string, std::int64_t> limits;
  for (const auto& [resource, amount] : allocatable)
    if (resource.starts_with(prefix)) limits[resource.substr(prefix.size())] = amount.value();
  return limits;
}

std::vector<std::string> names_of(const std::vector<api::LocalReference>& references) {
  std::vector<std::string> names;
  for (const auto& reference : references) names.push_back(reference.name);
  return names;
}

/// Nothing from a pool that says nothing: neither which classes it offers nor what it has.
std::optional<std::vector<std::string>> offered(const std::vector<api::LocalReference>& classes, bool has_amounts) {
  if (classes.empty() && !has_amounts) return std::nullopt;
  return names_of(classes);
}

}  // namespace

ClassSize size_of(const api::MachineClass& machine_class) {
  ClassSize size;
  if (const auto* cpu = find(machine_class.capabilities, "cpu")) {
    const auto milli = std::clamp<std::int64_t>(clamped_milli(*cpu), 0, limitless / 1000 * 1000);
    size.cpu_milli = (milli / 1000 + (milli % 1000 != 0 ? 1 : 0)) * 1000;
  }
  if (const auto* memory = find(machine_class.capabilities, "memory"))
    size.memory_bytes = std::max<std::int64_t>(0, memory->value());
  return size;
}

ClassSize size_of(const api::VolumeClass&) {
  return {.storage_bytes = 1};
}

ClassSize size_of(const api::BucketClass&) {
  return {};
}

PoolView view_of(const api::MachinePool& pool) {
  auto view = common_view(pool);
  if (const auto* cpu = find(pool.status.allocatable, "cpu")) view.cpu_milli = clamped_milli(*cpu);
  if (const auto* memory = find(pool.status.allocatable, "memory")) view.memory_bytes = memory->value();
  view.class_limits = class_limits(pool.status.allocatable, "class/machine.");
  view.classes = offered(pool.status.available_machine_classes, view.cpu_milli || view.memory_bytes);
  return view;
}

PoolView view_of(const api::VolumePool& pool) {
  auto view = common_view(pool);
  if (const auto* storage = find(pool.status.allocatable, "storage")) view.storage_bytes = storage->value();
  view.class_limits = class_limits(pool.status.allocatable, "class/volume.");
  view.classes = offered(pool.status.available_volume_classes, view.storage_bytes.has_value());
  return view;
}

PoolView view_of(const api::BucketPool& pool) {
  auto view = common_view(pool);
  view.classes = names_of(pool.status.available_bucket_classes);
  return view;
}

Demand Demand::of(const api::Machine& machine) {
  return {machine.spec.machine_class_ref.name, machine.spec.machine_pool_selector, machine.spec.tolerations};
}

Demand Demand::of(const api::Volume& volume) {
  return {volume.spec.volume_class_ref->name, volume.spec.volume_pool_selector, volume.spec.tolerations,
          PlacedKind<api::Volume>::amount_asked(volume)};
}

Demand Demand::of(const api::Bucket& bucket) {
  return {bucket.spec.bucket_class_ref->name, bucket.spec.bucket_pool_selector, bucket.spec.tolerations};
}

std::string Demand::text() const {
  // Lengths instead of separators: no value can imitate another demand.
  std::string text;
  const auto append = [&text](std::string_view word) {
    text += std::to_string(word.size());
    text += ':';
    text += word;
  };
  append(class_name);
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
      return "unknown class";
    case Obstacle::class_leaving:
      return "class being deleted";
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
    case Obstacle::class_storage:
      return "no room (storage of the class)";
    case Obstacle::cpu:
      return "no room (cpu)";
    case Obstacle::memory:
      return "no room (memory)";
    case Obstacle::storage:
      return "no room (storage)";
  }
  return "unknown";
}

}  // namespace ironcore::control
