// SPDX-License-Identifier: Apache-2.0
// HMAC-SHA256 (RFC 2104, FIPS 198-1).
#pragma once

#include <array>
#include <cstddef>

#include "ironcore/base/bytes.hpp"

namespace ironcore::crypto {

/// The tag of `message` under `key` (any length). Compare tags with `constant_time_equal`.
std::array<std::byte, 32> hmac_sha256(BytesView key, BytesView message);

}  // namespace ironcore::crypto
