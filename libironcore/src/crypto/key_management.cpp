// SPDX-License-Identifier: Apache-2.0
// Versions of keys and wrapped keys as text.
#include "ironcore/crypto/key_management.hpp"

#include <algorithm>
#include <charconv>

#include "ironcore/base/base64.hpp"

namespace ironcore::crypto {

namespace {

constexpr std::size_t longest_id = 64;
constexpr std::size_t largest_wrapped = 64 * 1024;

bool is_id(std::string_view text) {
  return !text.empty() && text.size() <= longest_id && std::all_of(text.begin(), text.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' || c == '_' ||
           c == '-';
  });
}

}  // namespace

std::string KeyVersion::to_text() const {
  return id + "/" + std::to_string(version);
}

Result<KeyVersion> KeyVersion::parse(std::string_view text) {
  const auto slash = text.find('/');
  KeyVersion found;
  if (slash != std::string_view::npos && is_id(text.substr(0, slash))) {
    const auto number = text.substr(slash + 1);
    const auto [end, code] = std::from_chars(number.data(), number.data() + number.size(), found.version);
    if (code == std::errc() && end == number.data() + number.size() && found.version != 0 && number.front() != '0') {
      found.id = text.substr(0, slash);
      return found;
    }
  }
  return Error(ErrorCode::invalid,
               "a version of a key is its id (letters, digits, '.', '_', '-'), a slash and a number: rack-1/3");
}

std::string WrappedKey::to_text() const {
  return by.to_text() + ":" + base64_encode(BytesView(bytes));
}

Result<WrappedKey> WrappedKey::parse(std::string_view text) {
  const auto colon = text.find(':');
  if (colon != std::string_view::npos && text.size() <= 2 * largest_wrapped) {
    auto by = KeyVersion::parse(text.substr(0, colon));
    auto decoded = base64_decode(text.substr(colon + 1));
    if (by && decoded && !decoded->empty() && decoded->size() <= largest_wrapped) {
      const auto bytes = as_bytes(*decoded);
      return WrappedKey{std::move(*by), Bytes(bytes.begin(), bytes.end())};
    }
  }
  return Error(ErrorCode::corrupt, "this is not a wrapped key, or a part of one");
}

}  // namespace ironcore::crypto
