// SPDX-License-Identifier: Apache-2.0
// Defaults and rules of Volume.
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

}  // namespace

void check_volume_spec(const FieldPath& at, const VolumeSpec& spec, Checks& checks) {
  const FieldPath resources(at, "resources"), source(at, "dataSource");
  if (spec.volume_class_ref) {
    checks.optional_reference(FieldPath(at, "volumeClassRef"), spec.volume_class_ref);
    checks.labels(FieldPath(at, "volumePoolSelector"), spec.volume_pool_selector);
    checks.optional_reference(FieldPath(at, "volumePoolRef"), spec.volume_pool_ref);
    checks.resources(resources, spec.resources);
    checks.required_resource(resources, spec.resources, "storage");
    checks.tolerations(FieldPath(at, "tolerations"), spec.tolerations);
  } else {
    // Without a class somebody else provides the volume: nothing of it is ours to choose.
    constexpr std::string_view why = "the volume has no class";
    checks.forbidden(FieldPath(at, "volumePoolSelector"), !spec.volume_pool_selector.empty(), why);
    checks.forbidden(FieldPath(at, "volumePoolRef"), spec.volume_pool_ref.has_value(), why);
    checks.forbidden(resources, !spec.resources.empty(), why);
    checks.forbidden(FieldPath(at, "tolerations"), !spec.tolerations.empty(), why);
    checks.forbidden(FieldPath(source, "osImage"), spec.data_source && spec.data_source->os_image, why);
  }
  checks.optional_reference(FieldPath(at, "claimRef"), spec.claim_ref);
  checks.forbidden(FieldPath(at, "claimRef"), spec.claim_ref && spec.unclaimable.value_or(false),
                   "the volume is unclaimable");
  if (spec.encryption) {
    const FieldPath encryption(at, "encryption");
    const FieldPath secret(encryption, "secretRef");
    checks.required(FieldPath(secret, "name"), spec.encryption->secret_ref.name, "the Secret with the key");
    checks.dns_subdomain(FieldPath(secret, "name"), spec.encryption->secret_ref.name);
  }
  if (spec.data_source) check_data_source(source, *spec.data_source, checks);
}

void complete(Volume&, const Volume*, Checks&) {}

void check(const Volume& object, Checks& checks) {
  const FieldPath root;
  check_volume_spec(FieldPath(root, "spec"), object.spec, checks);
}

void check_change(const Volume& current, const Volume& wanted, Checks& checks) {
  const FieldPath root;
  const FieldPath spec(root, "spec");
  checks.immutable(FieldPath(spec, "volumeClassRef"), current.spec.volume_class_ref, wanted.spec.volume_class_ref);
  checks.set_once(FieldPath(spec, "volumePoolRef"), current.spec.volume_pool_ref, wanted.spec.volume_pool_ref);
  checks.immutable(FieldPath(spec, "encryption"), current.spec.encryption, wanted.spec.encryption);
}

}  // namespace ironcore::api
