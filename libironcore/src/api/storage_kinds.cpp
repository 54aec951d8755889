// SPDX-License-Identifier: Apache-2.0
// Classes, pools, Volume, VolumeSnapshot and Bucket as kinds, with their tables.
#include "kind_of.hpp"
#include "tables.hpp"

namespace ironcore::api {

namespace {

constexpr Column volume_class_columns[] = {
    {"NAME", false}, {"TPS", false}, {"IOPS", false}, {"AGE", false}, {"RESIZEPOLICY", true}};

std::vector<std::string> volume_class_cells(const VolumeClass& object, WallTime now) {
  return {object.metadata.name, amount_or_none(object.capabilities, "tps"), amount_or_none(object.capabilities, "iops"),
          age(object.metadata, now), std::string(json::enumerator_name(object.resize_policy))};
}

constexpr Column volume_pool_columns[] = {{"NAME", false},     {"VOLUMECLASSES", false}, {"AGE", false},
                                          {"READY", true},     {"STORAGE", true},        {"TAINTS", true},
                                          {"PROVIDERID", true}};

std::vector<std::string> volume_pool_cells(const VolumePool& object, WallTime now) {
  return {object.metadata.name,
          names_or_none(object.status.available_volume_classes),
          age(object.metadata, now),
          readiness(object.status.conditions),
          amount_or_none(object.status.allocatable, "storage"),
          taints_or_none(object.spec.taints),
          or_none(object.spec.provider_id)};
}

constexpr Column volume_columns[] = {{"NAME", false},        {"VOLUMEPOOLREF", false}, {"IMAGE", false},
                                     {"VOLUMECLASS", false}, {"STATE", false},         {"AGE", false},
                                     {"SIZE", true},         {"CLAIMREF", true}};

std::vector<std::string> volume_cells(const Volume& object, WallTime now) {
  const auto& size = object.status.resources.contains("storage") ? object.status.resources : object.spec.resources;
  const auto& source = object.spec.data_source;
  const std::string_view image = source && source->os_image ? source->os_image->image : std::string_view();
  return {object.metadata.name,
          name_or_none(object.spec.volume_pool_ref),
          or_none(image),
          name_or_none(object.spec.volume_class_ref),
          state_or_terminating(object.metadata, json::enumerator_name(object.status.state)),
          age(object.metadata, now),
          amount_or_none(size, "storage"),
          name_or_none(object.spec.claim_ref)};
}

constexpr Column snapshot_columns[] = {{"NAME", false}, {"VOLUMEREF", false}, {"STATE", false},
                                       {"AGE", false},  {"SIZE", true},       {"SNAPSHOTID", true}};

std::vector<std::string> snapshot_cells(const VolumeSnapshot& object, WallTime now) {
  const auto& size = object.status.size;
  return {object.metadata.name,
          name_or_none(object.spec.volume_ref),
          state_or_terminating(object.metadata, json::enumerator_name(object.status.state)),
          age(object.metadata, now),
          or_none(size ? size->to_text() : std::string()),
          or_none(object.status.snapshot_id)};
}

constexpr Column bucket_class_columns[] = {{"NAME", false}, {"TPS", false}, {"IOPS", false}, {"AGE", false}};

std::vector<std::string> bucket_class_cells(const BucketClass& object, WallTime now) {
  return {object.metadata.name, amount_or_none(object.capabilities, "tps"), amount_or_none(object.capabilities, "iops"),
          age(object.metadata, now)};
}

constexpr Column bucket_pool_columns[] = {{"NAME", false}, {"BUCKETCLASSES", false}, {"AGE", false},
                                          {"READY", true}, {"TAINTS", true},         {"PROVIDERID", true}};

std::vector<std::string> bucket_pool_cells(const BucketPool& object, WallTime now) {
  return {object.metadata.name,
          names_or_none(object.status.available_bucket_classes),
          age(object.metadata, now),
          readiness(object.status.conditions),
          taints_or_none(object.spec.taints),
          or_none(object.spec.provider_id)};
}

constexpr Column bucket_columns[] = {{"NAME", false},   {"BUCKETPOOLREF", false}, {"BUCKETCLASS", false},
                                     {"STATE", false},  {"AGE", false},           {"SIZE", true},
                                     {"OBJECTS", true}, {"ENDPOINT", true},       {"BUCKETID", true}};

std::vector<std::string> bucket_cells(const Bucket& object, WallTime now) {
  const auto& access = object.status.access;
  return {object.metadata.name,
          name_or_none(object.spec.bucket_pool_ref),
          name_or_none(object.spec.bucket_class_ref),
          state_or_terminating(object.metadata, json::enumerator_name(object.status.state)),
          age(object.metadata, now),
          amount_or_none(object.status.usage, "storage"),
          amount_or_none(object.status.usage, "objects"),
          or_none(access ? std::string_view(access->endpoint) : std::string_view()),
          or_none(object.status.bucket_id)};
}

}  // namespace

template <>
const Kind& kind_of<VolumeClass>() {
  static constexpr KindOf<VolumeClass> kind(NameRule::dns_subdomain, {volume_class_columns, volume_class_cells});
  return kind;
}

template <>
const Kind& kind_of<VolumePool>() {
  static constexpr KindOf<VolumePool> kind(NameRule::dns_subdomain, {volume_pool_columns, volume_pool_cells});
  return kind;
}

template <>
const Kind& kind_of<Volume>() {
  static constexpr KindOf<Volume> kind(NameRule::dns_subdomain, {volume_columns, volume_cells});
  return kind;
}

template <>
const Kind& kind_of<VolumeSnapshot>() {
  static constexpr KindOf<VolumeSnapshot> kind(NameRule::dns_subdomain, {snapshot_columns, snapshot_cells});
  return kind;
}

template <>
const Kind& kind_of<BucketClass>() {
  static constexpr KindOf<BucketClass> kind(NameRule::dns_subdomain, {bucket_class_columns, bucket_class_cells});
  return kind;
}

template <>
const Kind& kind_of<BucketPool>() {
  static constexpr KindOf<BucketPool> kind(NameRule::dns_subdomain, {bucket_pool_columns, bucket_pool_cells});
  return kind;
}

template <>
const Kind& kind_of<Bucket>() {
  static constexpr KindOf<Bucket> kind(NameRule::dns_subdomain, {bucket_columns, bucket_cells});
  return kind;
}

}  // namespace ironcore::api
