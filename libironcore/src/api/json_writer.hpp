// SPDX-License-Identifier: Apache-2.0
// JSON text, appended to a string.
#pragma once

#include <string>
#include <string_view>

#include "ironcore/base/clock.hpp"
#include "json_text.hpp"

namespace ironcore::api::json {

/// A quoted JSON string. Bytes that are not UTF-8 (a C++ caller may have put them there) become U+FFFD, so
/// that whatever is written can be read again.
void append_string(Text& out, std::string_view text);

/// Quoted, as `to_rfc3339`, but without an allocation.
void append_time(Text& out, WallTime time);

/// Canonical JSON laid out for people, two blanks per level. Precondition: canonical JSON.
std::string indented(std::string_view json);

}  // namespace ironcore::api::json
