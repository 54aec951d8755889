// SPDX-License-Identifier: Apache-2.0
// Settings of a Bucket in the words of its store.
#pragma once

#include <string>

#include "ironcore/api/storage.hpp"
#include "ironcore/storage/bucket.hpp"

namespace ironcore::control {

/// Precondition: the object states settings. `name` is the bucket's in its store.
storage::BucketSettings settings_of(const api::BucketSpec& spec, const std::string& name);

}  // namespace ironcore::control
