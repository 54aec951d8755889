// SPDX-License-Identifier: Apache-2.0
// delete: objects by name, label or manifest; waits until they are gone.
#pragma once

#include <string>
#include <vector>

#include "ironcorectl/session.hpp"

namespace ironcore::ctl {

struct DeleteOptions {
  std::vector<std::string> words;  ///< KIND NAME…, KIND/NAME…, or KIND with `labels` or `is_all`
  std::vector<std::string> files;  ///< manifests whose objects shall go
  std::string labels;
  bool is_all = false;           ///< every object of the kind in the namespace
  bool is_now = false;           ///< does not wait
  bool is_orphan = false;        ///< what it owns stays
  bool is_missing_fine = false;  ///< what is not there is no error
  Duration timeout = std::chrono::minutes(10);
};

/// Marks all of them first, then waits for each, with progress.
Result<void> remove(Session& session, const DeleteOptions& options);

}  // namespace ironcore::ctl
