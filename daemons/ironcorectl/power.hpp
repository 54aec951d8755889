// SPDX-License-Identifier: Apache-2.0
// power and reboot: what machines shall do.
#pragma once

#include <string>
#include <vector>

#include "ironcorectl/session.hpp"

namespace ironcore::ctl {

struct PowerOptions {
  std::string wish;  ///< `on` or `off`
  std::vector<std::string> names;
  bool is_wait = false;
  Duration timeout = std::chrono::minutes(6);  ///< longer than a guest may take to stop
};
Result<void> power(Session& session, const PowerOptions& options);

struct RebootOptions {
  std::vector<std::string> names;
  bool is_wait = false;
  Duration timeout = std::chrono::minutes(6);
};
Result<void> reboot(Session& session, const RebootOptions& options);

}  // namespace ironcore::ctl
