// SPDX-License-Identifier: Apache-2.0
// MachineClass, MachinePool and Machine as kinds, with their tables.
#include <algorithm>

#include "kind_of.hpp"
#include "tables.hpp"

namespace ironcore::api {

namespace {

constexpr Column class_columns[] = {{"NAME", false}, {"CPU", false}, {"MEMORY", false}, {"AGE", false}};

std::vector<std::string> class_cells(const MachineClass& object, WallTime now) {
  return {object.metadata.name, amount_or_none(object.capabilities, "cpu"),
          amount_or_none(object.capabilities, "memory"), age(object.metadata, now)};
}

constexpr Column pool_columns[] = {{"NAME", false}, {"MACHINECLASSES", false}, {"AGE", false},   {"READY", true},
                                   {"CPU", true},   {"MEMORY", true},          {"TAINTS", true}, {"PROVIDERID", true}};

std::vector<std::string> pool_cells(const MachinePool& object, WallTime now) {
  return {object.metadata.name,
          names_or_none(object.status.available_machine_classes),
          age(object.metadata, now),
          readiness(object.status.conditions),
          amount_or_none(object.status.allocatable, "cpu"),
          amount_or_none(object.status.allocatable, "memory"),
          taints_or_none(object.spec.taints),
          or_none(object.spec.provider_id)};
}

constexpr Column machine_columns[] = {{"NAME", false},           {"MACHINECLASSREF", false}, {"IMAGE", false},
                                      {"MACHINEPOOLREF", false}, {"STATE", false},           {"AGE", false},
                                      {"POWER", true},           {"VOLUMES", true},          {"NICS", true},
                                      {"MACHINEID", true}};

/// `1/2`: attached of wanted.
template <class Wanted, class Status>
std::string attached(const std::vector<Wanted>& wanted, const std::vector<Status>& status) {
  const auto count = std::count_if(wanted.begin(), wanted.end(), [&](const auto& entry) {
    return std::any_of(status.begin(), status.end(), [&](const auto& seen) {
      return seen.name == entry.name && seen.state == AttachmentState::attached;
    });
  });
  return std::to_string(count) + "/" + std::to_string(wanted.size());
}

std::vector<std::string> machine_cells(const Machine& object, WallTime now) {
  std::string_view image;
  for (const auto& volume : object.spec.volumes) {
    if (!volume.local_disk || volume.local_disk->image.empty()) continue;
    image = volume.local_disk->image;
    break;
  }
  const bool is_over = object.status.state == MachineState::terminated;
  const auto state = json::enumerator_name(object.status.state);
  return {object.metadata.name,
          or_none(object.spec.machine_class_ref.name),
          or_none(image),
          name_or_none(object.spec.machine_pool_ref),
          is_over ? std::string(state) : state_or_terminating(object.metadata, state),
          age(object.metadata, now),
          std::string(json::enumerator_name(object.spec.power)),
          attached(object.spec.volumes, object.status.volumes),
          attached(object.spec.network_interfaces, object.status.network_interfaces),
          or_none(object.status.machine_id)};
}

}  // namespace

template <>
const Kind& kind_of<MachineClass>() {
  static constexpr KindOf<MachineClass> kind(NameRule::dns_subdomain, {class_columns, class_cells});
  return kind;
}

template <>
const Kind& kind_of<MachinePool>() {
  static constexpr KindOf<MachinePool> kind(NameRule::dns_subdomain, {pool_columns, pool_cells});
  return kind;
}

template <>
const Kind& kind_of<Machine>() {
  static constexpr KindOf<Machine> kind(NameRule::dns_label, {machine_columns, machine_cells});
  return kind;
}

}  // namespace ironcore::api
