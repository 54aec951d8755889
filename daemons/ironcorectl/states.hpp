// SPDX-License-Identifier: Apache-2.0
// The words that a status can hold: whoever waits for one that never comes is told at once.
#pragma once

#include <string>

#include "ironcore/api/kind.hpp"
#include "ironcore/base/result.hpp"

namespace ironcore::ctl {

/// `invalid`, with the nearest one, for a `status.state` that objects of this kind never have.
Result<void> check_state(const api::Kind& kind, const std::string& state);
/// The same for the name of a condition, as far as the kind has a fixed set of them.
Result<void> check_condition(const api::Kind& kind, const std::string& name);

}  // namespace ironcore::ctl
