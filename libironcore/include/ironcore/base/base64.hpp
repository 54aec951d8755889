// SPDX-License-Identifier: Apache-2.0
// Base64 as in RFC 4648 §4.
#pragma once

#include <string>
#include <string_view>

#include "ironcore/base/bytes.hpp"
#include "ironcore/base/result.hpp"

namespace ironcore {

/// With padding, without line breaks.
std::string base64_encode(BytesView bytes);
inline std::string base64_encode(std::string_view text) {
  return base64_encode(as_bytes(text));
}

/// Strict: padding is required; blanks, other alphabets and bits left over in the last digit are `invalid`.
Result<std::string> base64_decode(std::string_view text);

}  // namespace ironcore
