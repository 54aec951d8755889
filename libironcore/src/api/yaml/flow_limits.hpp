// SPDX-License-Identifier: Apache-2.0
// Bounds what yaml-cpp has to hold in memory.
#pragma once

#include <cstddef>
#include <string_view>

#include "ironcore/base/result.hpp"

namespace ironcore::api {

/// yaml-cpp holds all of a [list] or {object} in one line before it reports the first value of it, two hundred bytes
/// for each bracket and comma: so depth and number of values are looked at first. `invalid` or `exhausted`, with line
/// and column. Finds brackets as a reader of YAML would, but for a bare text of several lines: there a line that starts
/// with a bracket counts.
Result<> check_flow_limits(std::string_view text, std::size_t most_values);

}  // namespace ironcore::api
