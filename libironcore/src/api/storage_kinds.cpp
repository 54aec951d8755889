// SPDX-License-Identifier: Apache-2.0
// Volume as a kind, with its table.
#include "kind_of.hpp"
#include "tables.hpp"

namespace ironcore::api {

namespace {

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

}  // namespace

template <>
const Kind& kind_of<Volume>() {
  static constexpr KindOf<Volume> kind(NameRule::dns_subdomain, {volume_columns, volume_cells});
  return kind;
}

}  // namespace ironcore::api
