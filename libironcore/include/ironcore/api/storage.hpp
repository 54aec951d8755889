// SPDX-License-Identifier: Apache-2.0
// storage.ironcore.dev, as far as machines need it: Volume as something to refer to.
#pragma once

#include "ironcore/api/object.hpp"
#include "ironcore/api/references.hpp"

namespace ironcore::api {

enum class VolumeState { pending, available, error };
BOOST_DESCRIBE_ENUM(VolumeState, pending, available, error)

struct VolumeSpec {
  std::optional<LocalReference> volume_class_ref;  ///< immutable
  std::optional<LocalReference> volume_pool_ref;   ///< set once
  std::optional<LocalUidReference> claim_ref;      ///< the machine that uses it
  ResourceList resources;
  std::optional<bool> unclaimable;  ///< nobody may claim it; excludes `claim_ref`
  Unknown unknown;
  friend bool operator==(const VolumeSpec&, const VolumeSpec&) = default;
};
BOOST_DESCRIBE_STRUCT(VolumeSpec, (), (volume_class_ref, volume_pool_ref, claim_ref, resources, unclaimable))

/// How a hypervisor reaches the data.
struct VolumeAccess {
  std::optional<LocalReference> secret_ref;
  std::string driver;
  std::string handle;
  std::map<std::string, std::string> volume_attributes;
  Unknown unknown;
  friend bool operator==(const VolumeAccess&, const VolumeAccess&) = default;
};
BOOST_DESCRIBE_STRUCT(VolumeAccess, (), (secret_ref, driver, handle, volume_attributes))

struct VolumeStatus {
  std::string volume_id;
  VolumeState state = VolumeState::pending;
  std::optional<WallTime> last_state_transition_time;
  std::optional<VolumeAccess> access;
  ResourceList resources;
  Unknown unknown;
  friend bool operator==(const VolumeStatus&, const VolumeStatus&) = default;
};
BOOST_DESCRIBE_STRUCT(VolumeStatus, (), (volume_id, state, last_state_transition_time, access, resources))

/// Further members of the spec are kept as unknown until the storage pillar reads them.
struct Volume {
  static constexpr KindInfo info{"storage.ironcore.dev",   "v1alpha1", "Volume", "volumes", "vol", Scope::namespaced,
                                 "spec.volumePoolRef.name"};
  Metadata metadata;
  VolumeSpec spec;
  VolumeStatus status;
  Unknown unknown;
  friend bool operator==(const Volume&, const Volume&) = default;
};
BOOST_DESCRIBE_STRUCT(Volume, (), (metadata, spec, status))

template <>
const Kind& kind_of<Volume>();

}  // namespace ironcore::api
