// SPDX-License-Identifier: Apache-2.0
// UUIDs derived from another one and a name, so that a repeated step finds what the first one made.
#pragma once

#include <string_view>

#include "ironcore/base/uid.hpp"

namespace ironcore::crypto {

/// Version 5 (RFC 9562 §5.5, over SHA-1): the same for the same input everywhere and for ever, as `uuidgen --sha1`
/// and Python's `uuid.uuid5` compute it. It names things; it proves nothing.
Uid derived_uid(const Uid& space, std::string_view name);

}  // namespace ironcore::crypto
