// SPDX-License-Identifier: Apache-2.0
// dataplane watch: what changes, line by line, until somebody has seen enough.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <vector>

#include "ironcorectl/output.hpp"
#include "ironcorectl/session.hpp"

namespace ironcore::ctl {

struct WatchWishes {
  std::uint64_t count = 0;  ///< lines after which it ends; 0 = no limit
  Duration timeout{0};      ///< 0 = no limit
  bool has_counters = false;
  Duration every = std::chrono::seconds(1);  ///< how often counters are looked at
};

/// Prints changes of the kinds that `words` name (none = all) from now on; with `interface` only those of that one; perhaps also how counters grow. Ends when
/// interrupted, when nobody reads any more, or by its limits; `timeout` if there are fewer than `count` lines by then.
Result<void> watch_dataplane(Session& session, const std::vector<std::string>& words, const WatchWishes& wishes,
                             const std::string& interface, OutputFormat format);

}  // namespace ironcore::ctl
