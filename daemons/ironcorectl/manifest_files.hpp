// SPDX-License-Identifier: Apache-2.0
// Manifest files: the objects of -f arguments, each with the text that the person wrote.
#pragma once

#include <string>
#include <vector>

#include "ironcorectl/session.hpp"

namespace ironcore::ctl {

/// One document.
struct Manifest {
  api::Object object;
  /// What was written, as JSON, with the namespace filled in: only the fields that the person set.
  std::string json;
  std::string where;  ///< `web.yaml:12:1`
};

/// Files, directories (their `.yaml`, `.yml` and `.json` files, sorted by name) or `-` for standard input. Nothing is returned unless everything can be
/// read and every field is known: `invalid` with `file:line:column` and the nearest name. A Secret's `stringData` becomes `data`.
Result<std::vector<Manifest>> read_manifests(Session& session, const std::vector<std::string>& files);

}  // namespace ironcore::ctl
