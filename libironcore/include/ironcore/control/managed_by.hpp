// SPDX-License-Identifier: Apache-2.0
// The mark of objects that somebody else takes care of.
#pragma once

#include "ironcore/api/metadata.hpp"

namespace ironcore::control {

/// Label or annotation of an object that somebody else takes care of. An object that got it after its provider had begun with it stays
/// with the provider, which alone can end it.
inline constexpr const char* managed_by = "common.ironcore.dev/managed-by";

inline bool is_managed_by_others(const api::Metadata& metadata) {
  return metadata.labels.contains(managed_by) || metadata.annotations.contains(managed_by);
}

}  // namespace ironcore::control
