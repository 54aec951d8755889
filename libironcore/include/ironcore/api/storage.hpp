// SPDX-License-Identifier: Apache-2.0
// The kinds of storage.ironcore.dev: classes, pools, Volume, VolumeSnapshot, Bucket.
#pragma once

#include "ironcore/api/object.hpp"
#include "ironcore/api/references.hpp"

namespace ironcore::api {

/// How volumes of a class may change their size.
enum class ResizePolicy {
  static_,      ///< not at all
  expand_only,  ///< they may grow
};
BOOST_DESCRIBE_ENUM(ResizePolicy, static_, expand_only)

/// How fast volumes of this class are. `tps` (bytes each second) and `iops` are required and positive.
struct VolumeClass {
  static constexpr KindInfo info{"storage.ironcore.dev", "v1alpha1", "VolumeClass",
                                 "volumeclasses",        "",         Scope::cluster};
  Metadata metadata;
  ResourceList capabilities;  ///< immutable
  ResizePolicy resize_policy = ResizePolicy::static_;
  Unknown unknown;
  friend bool operator==(const VolumeClass&, const VolumeClass&) = default;
};
BOOST_DESCRIBE_STRUCT(VolumeClass, (), (metadata, capabilities, resize_policy))

enum class StoragePoolState { pending, available, unavailable };
BOOST_DESCRIBE_ENUM(StoragePoolState, pending, available, unavailable)

/// `capacity` is written by the provider: `class/volume.<class>` is how many bytes of volumes of a class the empty pool takes,
/// `storage` how many of all classes together; either may be left out. `allocatable` is what of it is there for volumes (reserves
/// taken off, volumes NOT taken off): only the scheduler subtracts volumes, and it does so once.
struct VolumePoolStatus {
  StoragePoolState state = StoragePoolState::pending;
  std::vector<Condition> conditions;  ///< `Ready`
  std::vector<LocalReference> available_volume_classes;
  ResourceList capacity;
  ResourceList allocatable;
  Unknown unknown;
  friend bool operator==(const VolumePoolStatus&, const VolumePoolStatus&) = default;
};
BOOST_DESCRIBE_STRUCT(VolumePoolStatus, (), (state, conditions, available_volume_classes, capacity, allocatable))

struct VolumePool {
  static constexpr KindInfo info{"storage.ironcore.dev", "v1alpha1", "VolumePool", "volumepools", "", Scope::cluster};
  Metadata metadata;
  PoolSpec spec;
  VolumePoolStatus status;
  Unknown unknown;
  friend bool operator==(const VolumePool&, const VolumePool&) = default;
};
BOOST_DESCRIBE_STRUCT(VolumePool, (), (metadata, spec, status))

enum class VolumeState { pending, available, error };
BOOST_DESCRIBE_ENUM(VolumeState, pending, available, error)

struct VolumeEncryption {
  /// A Secret with `encryptionKey`. Without a name (`encryption: {}`, which is not IronCore's) the provider generates the key.
  LocalReference secret_ref;
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
  std::optional<LocalUidReference> claim_ref;     ///< the machine that uses it; without a uid: that shall use it
  ResourceList resources;                         ///< `storage`; grows if the class says so, never less than it has
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

/// Who may use a volume now. Written by its provider before a machine gets what opens it.
struct VolumeUse {
  std::optional<LocalUidReference> machine;  ///< absent: nobody
  std::string machine_pool;                  ///< where that machine is; empty if nobody knows
  std::string credential;  ///< name of the credential in the Secret of `access`; empty where there is none
  std::optional<WallTime> credential_since;  ///< when the tenant first got it
  Unknown unknown;
  friend bool operator==(const VolumeUse&, const VolumeUse&) = default;
};
BOOST_DESCRIBE_STRUCT(VolumeUse, (), (machine, machine_pool, credential, credential_since))

/// `use` is not IronCore's.
struct VolumeStatus {
  std::string volume_id;
  VolumeState state = VolumeState::pending;
  std::optional<WallTime> last_state_transition_time;
  std::optional<VolumeAccess> access;
  std::vector<Condition> conditions;
  ResourceList resources;  ///< the effective size
  /// Absent: its provider does not decide who uses it, the claim alone does. Otherwise what opens it is complete, and good, only for the machine named there.
  std::optional<VolumeUse> use;
  Unknown unknown;
  friend bool operator==(const VolumeStatus&, const VolumeStatus&) = default;
};
BOOST_DESCRIBE_STRUCT(VolumeStatus, (),
                      (volume_id, state, last_state_transition_time, access, conditions, resources, use))

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

/// Without a source it stands for one that exists already, put there by somebody else.
struct VolumeSnapshotSpec {
  std::optional<LocalReference> volume_ref;  ///< immutable
  Unknown unknown;
  friend bool operator==(const VolumeSnapshotSpec&, const VolumeSnapshotSpec&) = default;
};
BOOST_DESCRIBE_STRUCT(VolumeSnapshotSpec, (), (volume_ref))

enum class VolumeSnapshotState { pending, ready, failed };
BOOST_DESCRIBE_ENUM(VolumeSnapshotState, pending, ready, failed)

struct VolumeSnapshotStatus {
  std::string snapshot_id;  ///< `TYPE://ID`
  VolumeSnapshotState state = VolumeSnapshotState::pending;
  std::optional<WallTime> last_state_transition_time;
  std::optional<Quantity> size;  ///< what a volume made from it needs at least
  Unknown unknown;
  friend bool operator==(const VolumeSnapshotStatus&, const VolumeSnapshotStatus&) = default;
};
BOOST_DESCRIBE_STRUCT(VolumeSnapshotStatus, (), (snapshot_id, state, last_state_transition_time, size))

/// What a volume held at one time. It has no pool of its own: the provider of the volume's pool makes it.
struct VolumeSnapshot {
  static constexpr KindInfo info{"storage.ironcore.dev", "v1alpha1", "VolumeSnapshot",
                                 "volumesnapshots",      "",         Scope::namespaced};
  Metadata metadata;
  VolumeSnapshotSpec spec;
  VolumeSnapshotStatus status;
  Unknown unknown;
  friend bool operator==(const VolumeSnapshot&, const VolumeSnapshot&) = default;
};
BOOST_DESCRIBE_STRUCT(VolumeSnapshot, (), (metadata, spec, status))

/// How fast buckets of this class are, reading and writing each: `tps` (bytes each second) and `iops` are required and positive. How much one holds at most:
/// `storage` (bytes) and `objects`, old versions included; without them as much as it likes.
struct BucketClass {
  static constexpr KindInfo info{"storage.ironcore.dev", "v1alpha1", "BucketClass",
                                 "bucketclasses",        "",         Scope::cluster};
  Metadata metadata;
  ResourceList capabilities;  ///< immutable
  Unknown unknown;
  friend bool operator==(const BucketClass&, const BucketClass&) = default;
};
BOOST_DESCRIBE_STRUCT(BucketClass, (), (metadata, capabilities))

struct BucketPoolStatus {
  StoragePoolState state = StoragePoolState::pending;
  std::vector<Condition> conditions;  ///< `Ready`
  std::vector<LocalReference> available_bucket_classes;
  Unknown unknown;
  friend bool operator==(const BucketPoolStatus&, const BucketPoolStatus&) = default;
};
BOOST_DESCRIBE_STRUCT(BucketPoolStatus, (), (state, conditions, available_bucket_classes))

struct BucketPool {
  static constexpr KindInfo info{"storage.ironcore.dev", "v1alpha1", "BucketPool", "bucketpools", "", Scope::cluster};
  Metadata metadata;
  PoolSpec spec;
  BucketPoolStatus status;
  Unknown unknown;
  friend bool operator==(const BucketPool&, const BucketPool&) = default;
};
BOOST_DESCRIBE_STRUCT(BucketPool, (), (metadata, spec, status))

/// What happens by itself to the objects whose name starts with `prefix`. 0 days = never; at least one of them is set.
struct BucketLifecycleRule {
  std::string id;  ///< unique in the bucket
  std::string prefix;
  std::int32_t expire_days = 0;       ///< the object is removed, or becomes an old version
  std::int32_t old_version_days = 0;  ///< an old version is removed
  std::int32_t upload_days = 0;       ///< an upload in parts that was never completed is given up
  Unknown unknown;
  friend bool operator==(const BucketLifecycleRule&, const BucketLifecycleRule&) = default;
};
BOOST_DESCRIBE_STRUCT(BucketLifecycleRule, (), (id, prefix, expire_days, old_version_days, upload_days))

/// What pages of other origins may do in a browser.
struct BucketCorsRule {
  std::vector<std::string> origins;
  std::vector<std::string> methods;  ///< GET, PUT, POST, DELETE, HEAD
  std::vector<std::string> headers;
  std::vector<std::string> exposed_headers;
  std::int32_t max_age_seconds = 0;  ///< 0 = not said
  Unknown unknown;
  friend bool operator==(const BucketCorsRule&, const BucketCorsRule&) = default;
};
BOOST_DESCRIBE_STRUCT(BucketCorsRule, (), (origins, methods, headers, exposed_headers, max_age_seconds))

enum class BucketRetentionMode {
  governance,  ///< who has the right may shorten it
  compliance,  ///< no user of the bucket may
};
BOOST_DESCRIBE_ENUM(BucketRetentionMode, governance, compliance)

/// How long a new object is locked.
struct BucketRetention {
  BucketRetentionMode mode = BucketRetentionMode::governance;
  std::int32_t days = 0;
  Unknown unknown;
  friend bool operator==(const BucketRetention&, const BucketRetention&) = default;
};
BOOST_DESCRIBE_STRUCT(BucketRetention, (), (mode, days))

/// All of them, as they shall be: what is left out is off.
struct BucketSettings {
  bool versioned = false;  ///< overwritten and removed objects stay as old versions; always so in a lockable bucket
  std::vector<BucketLifecycleRule> lifecycle;
  std::vector<BucketCorsRule> cors;
  /// JSON in S3's words; `${bucket}` becomes the bucket's name. Empty = only the bucket's own keys.
  std::string policy;
  std::optional<BucketRetention> retention;  ///< only in a lockable bucket
  Unknown unknown;
  friend bool operator==(const BucketSettings&, const BucketSettings&) = default;
};
BOOST_DESCRIBE_STRUCT(BucketSettings, (), (versioned, lifecycle, cors, policy, retention))

/// With a class a pool provides the bucket; without one somebody else does, and the rest must not be set. `lockable` and `settings` are not IronCore's.
struct BucketSpec {
  std::optional<LocalReference> bucket_class_ref;  ///< immutable
  std::map<std::string, std::string> bucket_pool_selector;
  std::optional<LocalReference> bucket_pool_ref;  ///< set once
  std::vector<Toleration> tolerations;
  bool lockable = false;                   ///< objects can be locked; immutable
  std::optional<BucketSettings> settings;  ///< absent: the provider leaves them to those who have a key
  Unknown unknown;
  friend bool operator==(const BucketSpec&, const BucketSpec&) = default;
};
BOOST_DESCRIBE_STRUCT(BucketSpec, (),
                      (bucket_class_ref, bucket_pool_selector, bucket_pool_ref, tolerations, lockable, settings))

/// Where the bucket is (`https://host:port/name`), and the Secret with the keys to it.
struct BucketAccess {
  std::optional<LocalReference> secret_ref;
  std::string endpoint;
  Unknown unknown;
  friend bool operator==(const BucketAccess&, const BucketAccess&) = default;
};
BOOST_DESCRIBE_STRUCT(BucketAccess, (), (secret_ref, endpoint))

enum class BucketState { pending, available, error };
BOOST_DESCRIBE_ENUM(BucketState, pending, available, error)

/// How far the replacement of a bucket's key is.
struct BucketKeyRotation {
  std::string request;           ///< the last value of `rotate_key_annotation` acted on
  std::string old_key;           ///< id of the key that is being replaced, until it opens nothing any more
  std::optional<WallTime> time;  ///< since when the present key is in the Secret; absent: the next one is not there yet
  Unknown unknown;
  friend bool operator==(const BucketKeyRotation&, const BucketKeyRotation&) = default;
};
BOOST_DESCRIBE_STRUCT(BucketKeyRotation, (), (request, old_key, time))

/// `usage` and `key_rotation` are not IronCore's.
struct BucketStatus {
  std::string bucket_id;
  BucketState state = BucketState::pending;
  std::optional<WallTime> last_state_transition_time;
  std::optional<BucketAccess> access;
  std::vector<Condition> conditions;
  ResourceList usage;  ///< `storage` (bytes) and `objects` that it holds, old versions included; some minutes old
  std::optional<BucketKeyRotation> key_rotation;
  Unknown unknown;
  friend bool operator==(const BucketStatus&, const BucketStatus&) = default;
};
BOOST_DESCRIBE_STRUCT(BucketStatus, (),
                      (bucket_id, state, last_state_transition_time, access, conditions, usage, key_rotation))

struct Bucket {
  static constexpr KindInfo info{"storage.ironcore.dev",   "v1alpha1", "Bucket", "buckets", "", Scope::namespaced,
                                 "spec.bucketPoolRef.name"};
  Metadata metadata;
  BucketSpec spec;
  BucketStatus status;
  Unknown unknown;
  friend bool operator==(const Bucket&, const Bucket&) = default;
};
BOOST_DESCRIBE_STRUCT(Bucket, (), (metadata, spec, status))

/// Types of Secrets: what opens a volume for a hypervisor, and a key (`encryptionKey`, 256 bits) for its data.
inline constexpr std::string_view volume_auth_secret_type = "storage.ironcore.dev/volume-auth";
inline constexpr std::string_view volume_encryption_secret_type = "storage.ironcore.dev/volume-encryption";
/// Type of a Secret with such a key that a KeyManagement has wrapped.
inline constexpr std::string_view volume_wrapped_key_secret_type = "storage.ironcore.dev/volume-wrapped-key";
/// Type of a Secret with what opens a bucket, in the words of S3 clients: `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY`, `AWS_ENDPOINT_URL`, and `BUCKET_NAME`.
inline constexpr std::string_view bucket_access_secret_type = "storage.ironcore.dev/bucket-access";
/// Annotation of a VolumeClass: `generated` = a volume of it that does not say how it is encrypted is encrypted with a key that its provider generates.
inline constexpr std::string_view class_encryption_annotation = "storage.ironcore.dev/encryption";
/// Annotation of a VolumePool: a time (RFC 3339). Every tenant's credential that is older gets a successor.
inline constexpr std::string_view rotate_credentials_annotation = "storage.ironcore.dev/rotate-credentials";
/// Annotation of a Bucket that is being deleted: `true` = its content is removed too.
inline constexpr std::string_view remove_content_annotation = "storage.ironcore.dev/remove-content";
/// Annotation of a Bucket whose new value asks for one new key.
inline constexpr std::string_view rotate_key_annotation = "storage.ironcore.dev/rotate-key";
/// Keep a class while something uses it.
inline constexpr std::string_view volume_class_finalizer = "storage.ironcore.dev/volumeclass";
inline constexpr std::string_view bucket_class_finalizer = "storage.ironcore.dev/bucketclass";
/// Keeps a volume while a machine uses it: there as long as `claimRef` has a uid, put on and taken off at admission.
inline constexpr std::string_view volume_claim_finalizer = "storage.ironcore.dev/volume-claim";
/// Keep an object until its provider has cleaned up.
inline constexpr std::string_view volume_finalizer = "volumepoollet.ironcore.dev/volume";
inline constexpr std::string_view volume_snapshot_finalizer = "volumepoollet.ironcore.dev/volume-snapshot";
inline constexpr std::string_view bucket_finalizer = "bucketpoollet.ironcore.dev/bucket";

template <>
const Kind& kind_of<VolumeClass>();
template <>
const Kind& kind_of<VolumePool>();
template <>
const Kind& kind_of<Volume>();
template <>
const Kind& kind_of<VolumeSnapshot>();
template <>
const Kind& kind_of<BucketClass>();
template <>
const Kind& kind_of<BucketPool>();
template <>
const Kind& kind_of<Bucket>();

}  // namespace ironcore::api
