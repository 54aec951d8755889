// SPDX-License-Identifier: Apache-2.0
// libvirt's errors as ours.
#pragma once

#include <string>
#include <string_view>

#include "ironcore/base/error.hpp"

namespace ironcore::compute::libvirt {

/// The error that the last libvirt call of this thread left. Call it before anything else can ask libvirt something.
Error last_error(std::string_view doing);

/// libvirt's words on one line, without the times and process names that make the same failure read differently each time; and what to do, where
/// they do not say so.
std::string tidy(std::string_view text);

}  // namespace ironcore::compute::libvirt
