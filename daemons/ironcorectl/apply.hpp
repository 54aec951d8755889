// SPDX-License-Identifier: Apache-2.0
// apply and create: objects from manifests.
#pragma once

#include <string>
#include <vector>

#include "ironcore/api/json.hpp"
#include "ironcorectl/session.hpp"

namespace ironcore::ctl {

struct ManifestOptions {
  std::vector<std::string> files;
};

/// Three-way merge: what the manifest says is set, what an earlier apply said and this one does not is
/// removed, what others set stays. Says created, configured or unchanged for each object. Everything is checked first: what
/// is wrong with any of them is told, and nothing is changed. What fails all the same (a right that is missing) does not keep
/// the others from being written; the error has a line for each.
Result<void> apply(Session& session, const ManifestOptions& options);

/// Fails with `already_exists` instead of changing anything; checks everything first, as `apply` does. `generateName` works here.
Result<void> create(Session& session, const ManifestOptions& options);

/// The patch, if the object is still `current`: another writer in between makes it a `conflict`.
store::Patch patch_at(const api::Object& current, api::json::Tree patch);

/// Annotation with the manifest that was applied last.
inline constexpr std::string_view last_applied_annotation = "ironcore.dev/last-applied";

}  // namespace ironcore::ctl
