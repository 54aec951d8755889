// SPDX-License-Identifier: Apache-2.0
// storage.ironcore.dev, as far as machines need it: Volume.
#pragma once

#include "ironcore/api/object.hpp"
#include "ironcore/api/references.hpp"

namespace ironcore::api {

enum class VolumeState { pending, available, error };
BOOST_DESCRIBE_ENUM(VolumeState, pending, available, error)

struct VolumeEncryption {
  LocalReference secret_ref;  ///< a Secret with `encryptionKey`
  Unknown unknown;
  friend bool operator==(const VolumeEncryption&, const VolumeEncryption&) = default;
};
BOOST_DESCRIBE_STRUCT(VolumeEncryption, (), (secret_ref))

struct OsImage {
  std::string image;         ///< OCI reference
  std::string architecture;  ///< of the machine that will boot it; may be empty
  Unknown unknown;
  friend bool operator==(const OsImage&, const OsImage&) = default;
};
BOOST_DESCRIBE_STRUCT(OsImage, (), (image, architecture))

/// At most one of them.
struct VolumeDataSource {
  std::optional<LocalReference> volume_snapshot_ref;
  std::optional<OsImage> os_image;
  Unknown unknown;
  friend bool operator==(const VolumeDataSource&, const VolumeDataSource&) = default;
};
BOOST_DESCRIBE_STRUCT(VolumeDataSource, (), (volume_snapshot_ref, os_image))

/// With a class a pool provides the volume; without one somebody else does, and selector, pool, resources,
/// tolerations and image must not be set.
struct VolumeSpec {
  std::optional<LocalReference> volume_class_ref;  ///< immutable
  std::map<std::string, std::string> volume_pool_selector;
  std::optional<LocalReference> volume_pool_ref;  ///< set once
  std::optional<LocalUidReference> claim_ref;     ///< the machine that uses it
  ResourceList resources;                         ///< `storage`
  std::optional<bool> unclaimable;                ///< nobody may claim it; excludes `claim_ref`
  std::vector<Toleration> tolerations;
  std::optional<VolumeEncryption> encryption;  ///< immutable
  std::optional<VolumeDataSource> data_source;
  Unknown unknown;
  friend bool operator==(const VolumeSpec&, const VolumeSpec&) = default;
};
BOOST_DESCRIBE_STRUCT(VolumeSpec, (),
                      (volume_class_ref, volume_pool_selector, volume_pool_ref, claim_ref, resources, unclaimable,
                       tolerations, encryption, data_source))

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
  std::vector<Condition> conditions;
  ResourceList resources;  ///< the effective size
  Unknown unknown;
  friend bool operator==(const VolumeStatus&, const VolumeStatus&) = default;
};
BOOST_DESCRIBE_STRUCT(VolumeStatus, (), (volume_id, state, last_state_transition_time, access, conditions, resources))

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
