// SPDX-License-Identifier: Apache-2.0
// console and logs: a machine's serial port, and what it wrote.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "ironcorectl/session.hpp"

namespace ironcore::ctl {

struct ConsoleOptions {
  std::vector<std::string> names;
  Duration linger =
      std::chrono::seconds(2);  ///< input that is no terminal ended: leave when the guest says nothing for this long
};

/// The terminal becomes raw until Ctrl-] or the end of the guest; it is put back in any case.
Result<void> console(Session& session, const ConsoleOptions& options);

struct LogsOptions {
  std::vector<std::string> names;
  std::uint64_t tail = 0;  ///< only so many lines from the end; 0 = everything that is kept
  bool is_follow = false;
};

Result<void> logs(Session& session, const LogsOptions& options);

}  // namespace ironcore::ctl
