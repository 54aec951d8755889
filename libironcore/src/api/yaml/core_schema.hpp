// SPDX-License-Identifier: Apache-2.0
// What a plain scalar means in YAML 1.2 (core schema, §10.3.2), and what older YAML would make of it.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace ironcore::api {

enum class ScalarType { text, null, boolean, integer, number, no_json };

/// `no_json`: infinities, not-a-number, and integers in base 8 or 16 beyond 64 bits.
struct PlainScalar {
  ScalarType type = ScalarType::text;
  std::string json;  ///< for null, boolean, integer, number
};
PlainScalar resolve_plain(std::string_view text);

/// Whether the text must be quoted to stay a text: for us, for readers of YAML 1.1 (`On`, `yes`, `12:30`,
/// `1_000`, dates), and for the grammar of plain scalars.
bool needs_quotes(std::string_view text);

}  // namespace ironcore::api
