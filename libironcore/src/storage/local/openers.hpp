// SPDX-License-Identifier: Apache-2.0
// Which processes have a file open.
#pragma once

#include <vector>

#include "ironcore/storage/volume.hpp"

namespace ironcore::storage::local {

/// Those that have a lock on it, or, when nobody is seen with one, all others than this process. Only those that this user may look at, and never this process's
/// descriptor `fd`, which is of the file in question.
std::vector<Client> openers_of(int fd);

}  // namespace ironcore::storage::local
