// SPDX-License-Identifier: Apache-2.0
// explain: for each pool, why a machine, volume or bucket can or cannot be placed on it.
#pragma once

#include <string>
#include <vector>

#include "ironcorectl/session.hpp"

namespace ironcore::ctl {

struct ExplainOptions {
  std::vector<std::string> words;  ///< `machine NAME`, `volume NAME`, `bucket NAME`
};

/// The scheduler's own rules and accounting, on what the store says now.
Result<void> explain(Session& session, const ExplainOptions& options);

}  // namespace ironcore::ctl
