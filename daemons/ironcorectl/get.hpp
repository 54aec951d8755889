// SPDX-License-Identifier: Apache-2.0
// get: objects as tables, JSON, YAML or names, once or as they change.
#pragma once

#include "ironcorectl/output.hpp"

namespace ironcore::ctl {

struct GetOptions {
  std::vector<std::string> words;  ///< KIND [NAME…] or KIND/NAME…
  std::string labels;              ///< label selector
  std::string fields;              ///< field selector
  OutputFormat format = OutputFormat::table;
  bool is_all_namespaces = false;
  bool is_watch = false;
};

/// Names that do not exist are reported after those that do; the error of the first one is returned.
Result<void> get(Session& session, const GetOptions& options);

}  // namespace ironcore::ctl
