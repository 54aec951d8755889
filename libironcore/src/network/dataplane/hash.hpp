// SPDX-License-Identifier: Apache-2.0
// From hashes to places.
#pragma once

#include <cstdint>

#include "../../base/hash.hpp"

namespace ironcore::network::dataplane {

/// From 0 to `count` - 1, by the upper bits.
inline std::uint32_t reduce(std::uint64_t hash, std::uint32_t count) noexcept {
  return static_cast<std::uint32_t>(((hash >> 32) * count) >> 32);
}

}  // namespace ironcore::network::dataplane
