// SPDX-License-Identifier: Apache-2.0
// Ceph's error numbers as ours.
#pragma once

#include <string_view>

#include "ironcore/base/error.hpp"
#include "ironcore/base/result.hpp"

namespace ironcore::storage::ceph {

/// What a call that returned `code` (below zero) means: `create image img_1: no room: ...`. `doing` must hold no secret.
Error ceph_error(int code, std::string_view doing);

/// Success unless `code` is below zero.
Result<void> checked(int code, std::string_view doing);

}  // namespace ironcore::storage::ceph
