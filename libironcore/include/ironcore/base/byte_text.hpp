// SPDX-License-Identifier: Apache-2.0
// Amounts of bytes for people, who do not count digits.
#pragma once

#include <cstdint>
#include <string>

namespace ironcore {

/// `62.2Gi`: in the largest unit of which there is one, with at most one digit behind the point, rounded down; below 1024 the number itself. Quantity reads
/// it again, but it may be a little less than `bytes`: what must be exact is written with `Quantity::bytes`.
std::string byte_text(std::int64_t bytes);

}  // namespace ironcore
