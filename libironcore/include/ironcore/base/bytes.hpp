// SPDX-License-Identifier: Apache-2.0
// Bytes and views of bytes, and the two ways between bytes and text.
#pragma once

#include <cstddef>
#include <span>
#include <string_view>
#include <vector>

namespace ironcore {

using Bytes = std::vector<std::byte>;
using BytesView = std::span<const std::byte>;

/// The bytes of a text, without a copy.
inline BytesView as_bytes(std::string_view text) noexcept {
  return std::as_bytes(std::span(text.data(), text.size()));
}

/// Bytes as characters, without a copy; whether they are printable is the caller's business.
inline std::string_view as_text(BytesView bytes) noexcept {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

}  // namespace ironcore
