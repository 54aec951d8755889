// SPDX-License-Identifier: Apache-2.0
// JSON text, appended to a string.
#pragma once

#include <charconv>
#include <cstdint>
#include <string>
#include <string_view>

#include "ironcore/base/clock.hpp"

namespace ironcore::api::json {

/// A quoted JSON string. Bytes that are not UTF-8 (a C++ caller may have put them there) become U+FFFD, so that whatever
/// is written can be read again.
void append_string(std::string& out, std::string_view text);

template <class Integer>
void append_integer(std::string& out, Integer value) {
  char digits[24];
  const auto end = std::to_chars(digits, digits + sizeof digits, value).ptr;
  out.append(digits, end);
}

/// Quoted, as `to_rfc3339`, but without an allocation.
void append_time(std::string& out, WallTime time);

/// Canonical JSON laid out for people, two blanks per level. Precondition: legal JSON.
std::string indented(std::string_view json);

}  // namespace ironcore::api::json
