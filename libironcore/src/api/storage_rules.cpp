// SPDX-License-Identifier: Apache-2.0
// Defaults and rules of classes of storage, Volume, VolumeSnapshot and Bucket.
#include <algorithm>

#include "rules.hpp"

namespace ironcore::api {

namespace {

void check_data_source(const FieldPath& at, const VolumeDataSource& source, Checks& checks) {
  checks.optional_reference(FieldPath(at, "volumeSnapshotRef"), source.volume_snapshot_ref);
  if (!source.os_image) return;
  const FieldPath image(at, "osImage");
  checks.forbidden(image, source.volume_snapshot_ref.has_value(), "there is another source, volumeSnapshotRef");
  checks.required(FieldPath(image, "image"), source.os_image->image, "the reference of the image");
  checks.image(FieldPath(image, "image"), source.os_image->image);
}

/// What only something with a class can ask for, by the names of its fields.
struct Placing {
  std::string_view class_name;
  const std::optional<LocalReference>& class_ref;
  std::string_view selector_name;
  const std::map<std::string, std::string>& selector;
  std::string_view pool_name;
  const std::optional<LocalReference>& pool_ref;
  const std::vector<Toleration>& tolerations;
};
Placing placing_of(const VolumeSpec& spec) {
  return {"volumeClassRef", spec.volume_class_ref, "volumePoolSelector", spec.volume_pool_selector,
          "volumePoolRef",  spec.volume_pool_ref,  spec.tolerations};
}
Placing placing_of(const BucketSpec& spec) {
  return {"bucketClassRef", spec.bucket_class_ref, "bucketPoolSelector", spec.bucket_pool_selector,
          "bucketPoolRef",  spec.bucket_pool_ref,  spec.tolerations};
}

/// Without a class somebody else provides it: nothing of it is ours to choose.
constexpr std::string_view has_no_class = "it has no class";

void check_placing(const FieldPath& at, const Placing& placing, Checks& checks) {
  const FieldPath selector(at, placing.selector_name), pool(at, placing.pool_name), tolerations(at, "tolerations");
  if (placing.class_ref) {
    checks.optional_reference(FieldPath(at, placing.class_name), placing.class_ref);
    checks.labels(selector, placing.selector);
    checks.optional_reference(pool, placing.pool_ref);
    checks.tolerations(tolerations, placing.tolerations);
  } else {
    checks.forbidden(selector, !placing.selector.empty(), has_no_class);
    checks.forbidden(pool, placing.pool_ref.has_value(), has_no_class);
    checks.forbidden(tolerations, !placing.tolerations.empty(), has_no_class);
  }
}

void check_placing_change(const FieldPath& at, const Placing& current, const Placing& wanted, Checks& checks) {
  checks.immutable(FieldPath(at, current.class_name), current.class_ref, wanted.class_ref);
  checks.set_once(FieldPath(at, current.pool_name), current.pool_ref, wanted.pool_ref);
}

/// Only what every object store has to take; the provider asks the one it has.
void check_settings(const FieldPath& at, const BucketSpec& spec, Checks& checks) {
  const auto not_negative = [&](const FieldPath& where, const char* name, std::int32_t value) {
    checks.not_negative(FieldPath(where, name), Quantity(value));
  };
  const auto& settings = *spec.settings;
  const FieldPath lifecycle(at, "lifecycle"), cors(at, "cors"), retention(at, "retention");
  std::set<std::string, std::less<>> ids;
  for (std::size_t i = 0; i < settings.lifecycle.size(); ++i) {
    const auto& rule = settings.lifecycle[i];
    const FieldPath where(lifecycle, i);
    checks.required(FieldPath(where, "id"), rule.id, "the name of the rule");
    checks.unique(FieldPath(where, "id"), rule.id, ids);
    not_negative(where, "expireDays", rule.expire_days);
    not_negative(where, "oldVersionDays", rule.old_version_days);
    not_negative(where, "uploadDays", rule.upload_days);
  }
  for (std::size_t i = 0; i < settings.cors.size(); ++i)
    not_negative(FieldPath(cors, i), "maxAgeSeconds", settings.cors[i].max_age_seconds);
  if (!settings.retention) return;
  checks.positive(FieldPath(retention, "days"), Quantity(settings.retention->days));
  checks.forbidden(retention, !spec.lockable, "the bucket is not lockable");
}

template <class Class>
void check_class(const Class& object, Checks& checks) {
  const FieldPath root;
  checks.capabilities(FieldPath(root, "capabilities"), object.capabilities, {"tps", "iops"});
}

template <class Class>
void check_class_change(const Class& current, const Class& wanted, Checks& checks) {
  const FieldPath root;
  checks.immutable(FieldPath(root, "capabilities"), current.capabilities, wanted.capabilities);
}

/// Null if there is none.
const Quantity* size_in(const ResourceList& resources) {
  const auto found = resources.find("storage");
  return found == resources.end() ? nullptr : &found->second;
}

}  // namespace

void complete(VolumeClass&, const VolumeClass*, Checks&) {}
void check(const VolumeClass& object, Checks& checks) {
  check_class(object, checks);
}
void check_change(const VolumeClass& current, const VolumeClass& wanted, Checks& checks) {
  check_class_change(current, wanted, checks);
}

void complete(BucketClass&, const BucketClass*, Checks&) {}
void check(const BucketClass& object, Checks& checks) {
  check_class(object, checks);
}
void check_change(const BucketClass& current, const BucketClass& wanted, Checks& checks) {
  check_class_change(current, wanted, checks);
}

void check_volume_spec(const FieldPath& at, const VolumeSpec& spec, Checks& checks) {
  const FieldPath resources(at, "resources"), source(at, "dataSource");
  check_placing(at, placing_of(spec), checks);
  if (spec.volume_class_ref) {
    checks.resources(resources, spec.resources);
    checks.required_resource(resources, spec.resources, "storage");
  } else {
    checks.forbidden(resources, !spec.resources.empty(), has_no_class);
    checks.forbidden(FieldPath(source, "osImage"), spec.data_source && spec.data_source->os_image, has_no_class);
  }
  checks.optional_reference(FieldPath(at, "claimRef"), spec.claim_ref);
  checks.forbidden(FieldPath(at, "claimRef"), spec.claim_ref && spec.unclaimable.value_or(false),
                   "the volume is unclaimable");
  if (spec.encryption) {
    const FieldPath encryption(at, "encryption");
    const FieldPath secret(encryption, "secretRef");
    // Without a Secret the key is generated; only a pool has somebody who does that.
    if (!spec.volume_class_ref)
      checks.required(FieldPath(secret, "name"), spec.encryption->secret_ref.name, "the Secret with the key");
    checks.dns_subdomain(FieldPath(secret, "name"), spec.encryption->secret_ref.name);
  }
  if (spec.data_source) check_data_source(source, *spec.data_source, checks);
}

void complete(Volume& object, const Volume* current, Checks&) {
  const auto& claim = object.spec.claim_ref;
  const bool is_used = claim && !claim->uid.empty();
  auto& finalizers = object.metadata.finalizers;
  const auto place = std::find(finalizers.begin(), finalizers.end(), volume_claim_finalizer);
  if (!is_used && place != finalizers.end()) finalizers.erase(place);
  if (!is_used || place != finalizers.end()) return;
  // It is too late for one that is being deleted, unless somebody has just tried to take it off.
  const auto had_it = [](const Metadata& metadata) {
    return std::find(metadata.finalizers.begin(), metadata.finalizers.end(), volume_claim_finalizer) !=
           metadata.finalizers.end();
  };
  if (current == nullptr || !current->metadata.deletion_timestamp || had_it(current->metadata))
    finalizers.emplace_back(volume_claim_finalizer);
}

void check(const Volume& object, Checks& checks) {
  const FieldPath root;
  check_volume_spec(FieldPath(root, "spec"), object.spec, checks);
}

void check_change(const Volume& current, const Volume& wanted, Checks& checks) {
  const FieldPath root;
  const FieldPath spec(root, "spec");
  check_placing_change(spec, placing_of(current.spec), placing_of(wanted.spec), checks);
  checks.immutable(FieldPath(spec, "encryption"), current.spec.encryption, wanted.spec.encryption);
  const auto *before = size_in(current.spec.resources), *after = size_in(wanted.spec.resources);
  if (before == nullptr || after == nullptr || *after >= *before) return;
  // A wish to grow that did not come true can be taken back.
  const auto* has = size_in(current.status.resources);
  if (has != nullptr && *after >= *has) return;
  const FieldPath resources(spec, "resources");
  const bool is_larger = has != nullptr && *has < *before;
  checks.add(FieldPath::entry(resources, "storage"), Checks::Reason::forbidden,
             "cannot shrink from " + (is_larger ? *has : *before).to_text() + " to " + after->to_text() +
                 ": data would be lost; create a smaller volume and copy what is needed" +
                 (is_larger ? ", or ask for " + has->to_text() + ", which it has" : ""));
}

void check_change_among(const Volume& current, const Volume& wanted, const Others& others, Checks& checks) {
  const auto *before = size_in(current.spec.resources), *after = size_in(wanted.spec.resources);
  if (before == nullptr || after == nullptr || *after <= *before) return;  // of what shrinks, check_change knows enough
  const auto& name = wanted.spec.volume_class_ref->name;
  const auto* const found = others.find(kind_of<VolumeClass>(), "", name);
  if (found != nullptr && found->as<VolumeClass>().resize_policy == ResizePolicy::expand_only) return;
  const FieldPath root;
  const FieldPath spec(root, "spec");
  const FieldPath resources(spec, "resources");
  checks.add(FieldPath::entry(resources, "storage"), Checks::Reason::forbidden,
             "cannot be changed: volume class " + name +
                 (found == nullptr ? " does not exist, so nobody says whether its volumes may grow"
                                   : " has the resizePolicy Static; its volumes may grow if it is ExpandOnly"));
}

void complete(VolumeSnapshot&, const VolumeSnapshot*, Checks&) {}

void check(const VolumeSnapshot& object, Checks& checks) {
  const FieldPath root;
  const FieldPath spec(root, "spec");
  checks.optional_reference(FieldPath(spec, "volumeRef"), object.spec.volume_ref);
}

void check_change(const VolumeSnapshot& current, const VolumeSnapshot& wanted, Checks& checks) {
  const FieldPath root;
  const FieldPath spec(root, "spec");
  checks.immutable(FieldPath(spec, "volumeRef"), current.spec.volume_ref, wanted.spec.volume_ref);
}

void complete(Bucket&, const Bucket*, Checks&) {}

void check(const Bucket& object, Checks& checks) {
  const FieldPath root;
  const FieldPath spec(root, "spec");
  check_placing(spec, placing_of(object.spec), checks);
  if (!object.spec.bucket_class_ref) {
    checks.forbidden(FieldPath(spec, "lockable"), object.spec.lockable, has_no_class);
    checks.forbidden(FieldPath(spec, "settings"), object.spec.settings.has_value(), has_no_class);
  }
  if (object.spec.settings) check_settings(FieldPath(spec, "settings"), object.spec, checks);
}

void check_change(const Bucket& current, const Bucket& wanted, Checks& checks) {
  const FieldPath root;
  const FieldPath spec(root, "spec");
  check_placing_change(spec, placing_of(current.spec), placing_of(wanted.spec), checks);
  checks.immutable(FieldPath(spec, "lockable"), current.spec.lockable, wanted.spec.lockable);
}

}  // namespace ironcore::api
