// SPDX-License-Identifier: Apache-2.0
// Handling of secret bytes: comparing, making, forgetting.
#pragma once

#include <cstddef>
#include <span>
#include <string>

#include "ironcore/base/bytes.hpp"

namespace ironcore::crypto {

/// Takes the same time wherever the difference is. The lengths are no secret.
bool constant_time_equal(BytesView a, BytesView b) noexcept;

/// Fit for keys; from the kernel.
Bytes random_bytes(std::size_t count);

/// Overwrites with zeros in a way that the compiler does not leave out.
void wipe(std::span<std::byte> bytes) noexcept;
/// Overwrites and empties.
void wipe(std::string& text) noexcept;

}  // namespace ironcore::crypto
