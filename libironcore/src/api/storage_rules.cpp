// SPDX-License-Identifier: Apache-2.0
// Defaults and rules of Volume.
#include "rules.hpp"

namespace ironcore::api {

void check_volume_spec(const FieldPath& at, const VolumeSpec& spec, Checks& checks) {
  const FieldPath resources(at, "resources");
  if (spec.volume_class_ref) {
    checks.optional_reference(FieldPath(at, "volumeClassRef"), spec.volume_class_ref);
    checks.optional_reference(FieldPath(at, "volumePoolRef"), spec.volume_pool_ref);
    checks.resources(resources, spec.resources);
    checks.required_resource(resources, spec.resources, "storage");
  } else {
    // Without a class somebody else provides the volume: nothing of it is ours to choose.
    constexpr std::string_view why = "the volume has no class";
    checks.forbidden(FieldPath(at, "volumePoolRef"), spec.volume_pool_ref.has_value(), why);
    checks.forbidden(resources, !spec.resources.empty(), why);
    for (const std::string_view member : {"volumePoolSelector", "tolerations"})
      checks.forbidden(FieldPath(at, member), spec.unknown.members().contains(member), why);
  }
  checks.optional_reference(FieldPath(at, "claimRef"), spec.claim_ref);
  checks.forbidden(FieldPath(at, "claimRef"), spec.claim_ref && spec.unclaimable.value_or(false),
                   "the volume is unclaimable");
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
  // Not read yet, but what is kept must keep its promise: nobody re-encrypts a volume in place.
  const auto encryption = [](const Volume& volume) {
    const auto& members = volume.spec.unknown.members();
    const auto found = members.find("encryption");
    return found == members.end() ? std::string_view() : std::string_view(found->second);
  };
  checks.immutable(FieldPath(spec, "encryption"), encryption(current), encryption(wanted));
}

}  // namespace ironcore::api
