// SPDX-License-Identifier: Apache-2.0
// PlacedKind: what controllers need to know of a kind whose objects are placed on pools.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "ironcore/api/compute.hpp"
#include "ironcore/api/storage.hpp"
#include "ironcore/control/placement.hpp"

namespace ironcore::control {

/// Of Machine, Volume and Bucket: kinds of their pools and classes, names of their fields, words for messages. `class_of` and `pool_of`
/// are null without one; what has no class is provided by somebody else, and no controller here cares for it. `amount_of` is in the units of
/// the subject, `weight_of` about how many bytes the store writes for one.
template <class T>
struct PlacedKind;

/// The name in a reference; null if there is none.
inline const std::string* name_in(const std::optional<api::LocalReference>& reference) {
  return reference && !reference->name.empty() ? &reference->name : nullptr;
}

inline std::size_t weight_of_metadata(const api::Metadata& metadata) {
  std::size_t bytes = 1024;
  for (const auto& [key, value] : metadata.annotations) bytes += key.size() + value.size();
  return bytes;
}

template <>
struct PlacedKind<api::Machine> {
  using Pool = api::MachinePool;
  using Class = api::MachineClass;
  static constexpr Subject subject{"machine", Subject::Unit::piece};
  static constexpr std::string_view class_field = "machineClassRef";
  static constexpr std::string_view pool_field = "machinePoolRef";
  static constexpr std::string_view no_room_reason = "OutOfCapacity";
  static constexpr std::string_view class_finalizer = api::machine_class_finalizer;
  static const std::string* class_of(const api::Machine& object) { return &object.spec.machine_class_ref.name; }
  static const std::string* pool_of(const api::Machine& object) { return name_in(object.spec.machine_pool_ref); }
  static std::int64_t amount_of(const api::Machine&) { return 1; }
  static std::size_t weight_of(const api::Machine& object) {
    std::size_t bytes = 512 * (object.spec.volumes.size() + object.spec.network_interfaces.size());
    for (const auto& variable : object.spec.efi_vars) bytes += variable.value.size();
    return bytes + weight_of_metadata(object.metadata);
  }
};

template <>
struct PlacedKind<api::Volume> {
  using Pool = api::VolumePool;
  using Class = api::VolumeClass;
  static constexpr Subject subject{"volume", Subject::Unit::byte};
  static constexpr std::string_view class_field = "volumeClassRef";
  static constexpr std::string_view pool_field = "volumePoolRef";
  static constexpr std::string_view no_room_reason = "OutOfCapacity";
  static constexpr std::string_view class_finalizer = api::volume_class_finalizer;
  static const std::string* class_of(const api::Volume& object) { return name_in(object.spec.volume_class_ref); }
  static const std::string* pool_of(const api::Volume& object) { return name_in(object.spec.volume_pool_ref); }
  static std::int64_t amount_asked(const api::Volume& object) {
    const auto asked = object.spec.resources.find("storage");
    return asked == object.spec.resources.end() ? 1 : std::max<std::int64_t>(1, asked->second.value());
  }
  static bool has_storage(const api::Volume& object) {
    const auto has = object.status.resources.find("storage");
    return has != object.status.resources.end() && has->second.sign() > 0;
  }
  /// It has nothing, and cannot be made as it is: nothing is promised to it.
  static bool is_refused(const api::Volume& object) {
    return object.status.state == api::VolumeState::error && !has_storage(object);
  }
  /// What it has, once it is there: to wish for more takes nothing from others. Before that what it asks for, unless it is refused.
  static std::int64_t amount_of(const api::Volume& object) {
    if (has_storage(object)) return object.status.resources.at("storage").value();
    return is_refused(object) ? 1 : amount_asked(object);
  }
  static std::size_t weight_of(const api::Volume& object) { return weight_of_metadata(object.metadata); }
};

template <>
struct PlacedKind<api::Bucket> {
  using Pool = api::BucketPool;
  using Class = api::BucketClass;
  static constexpr Subject subject{"bucket", Subject::Unit::none};
  static constexpr std::string_view class_field = "bucketClassRef";
  static constexpr std::string_view pool_field = "bucketPoolRef";
  static constexpr std::string_view no_room_reason = "CannotSchedule";
  static constexpr std::string_view class_finalizer = api::bucket_class_finalizer;
  static const std::string* class_of(const api::Bucket& object) { return name_in(object.spec.bucket_class_ref); }
  static const std::string* pool_of(const api::Bucket& object) { return name_in(object.spec.bucket_pool_ref); }
  static std::int64_t amount_of(const api::Bucket&) { return 1; }
  static std::size_t weight_of(const api::Bucket& object) {
    const auto& settings = object.spec.settings;
    const std::size_t bytes =
        settings ? settings->policy.size() + 256 * (settings->lifecycle.size() + settings->cors.size()) : 0;
    return bytes + weight_of_metadata(object.metadata);
  }
};

}  // namespace ironcore::control
