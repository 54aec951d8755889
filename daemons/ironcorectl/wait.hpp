// SPDX-License-Identifier: Apache-2.0
// wait: until objects are as wanted.
#pragma once

#include "ironcorectl/session.hpp"

namespace ironcore::ctl {

struct WaitOptions {
  std::vector<std::string> words;  ///< KIND/NAME… or KIND NAME…
  /// `condition=Ready[=True]`, `state=Running`, `spec.power=On`, `exists`, `delete`; all of them at the same time.
  std::vector<std::string> conditions;
  Duration timeout = std::chrono::seconds(30);
};

Result<void> wait(Session& session, const WaitOptions& options);

/// The same for one object and a condition that is known to be right, with progress.
Result<void> wait_for(Session& session, const store::Key& key, const std::string& condition, Duration timeout);

}  // namespace ironcore::ctl
