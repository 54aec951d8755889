// SPDX-License-Identifier: Apache-2.0
// Manifest files: the objects of -f arguments, each with the text that the person wrote.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "ironcore/api/yaml.hpp"
#include "ironcorectl/session.hpp"

namespace ironcore::ctl {

/// One object of a file.
struct Manifest {
  api::Object object;
  /// What was written, as JSON, with the namespace filled in and a Secret's `stringData` moved to `data`:
  /// only the fields that the person set.
  std::string json;
  std::string file;                               ///< `web.yaml`
  std::shared_ptr<const api::Manifest> document;  ///< where each field is
  std::string path;                               ///< of the object in the document: empty, or `items[2].` in a List

  /// The error with the place in the file: `web.yaml:12:5: spec.powr: …`, one line for each wrong field.
  Error located(const Error& error) const;
};

/// What becomes of members that this version does not know.
enum class UnknownMembers {
  refuse,
  as_stored,  ///< those that the stored object has at the same place are kept: somebody printed it
};

/// Files, directories (their `.yaml`, `.yml` and `.json` files, sorted by name) or `-` for standard input.
/// Nothing is returned unless everything can be read and every field is known: `invalid` with
/// `file:line:column` and the nearest name.
Result<std::vector<Manifest>> read_manifests(Session& session, const std::vector<std::string>& files,
                                             UnknownMembers unknown);

/// One document of a file, not read any further.
struct Document {
  std::string name;  ///< of the file
  api::Manifest document;
};
/// Likewise, for what is no object of the store.
Result<std::vector<Document>> read_documents(Session& session, const std::vector<std::string>& files,
                                             const api::ManifestLimits& limits);

}  // namespace ironcore::ctl
