// SPDX-License-Identifier: Apache-2.0
// Base64 with the standard alphabet.
#include "ironcore/base/base64.hpp"

#include <array>
#include <cstdint>

namespace ironcore {

namespace {

constexpr std::string_view alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

constexpr auto values = [] {
  std::array<std::int8_t, 256> table{};
  table.fill(-1);
  for (std::size_t i = 0; i < alphabet.size(); ++i)
    table[static_cast<unsigned char>(alphabet[i])] = static_cast<std::int8_t>(i);
  return table;
}();

}  // namespace

std::string base64_encode(BytesView bytes) {
  std::string text;
  text.reserve((bytes.size() + 2) / 3 * 4);
  for (std::size_t i = 0; i < bytes.size(); i += 3) {
    const auto left = bytes.size() - i;
    auto group = std::to_integer<std::uint32_t>(bytes[i]) << 16;
    if (left > 1) group |= std::to_integer<std::uint32_t>(bytes[i + 1]) << 8;
    if (left > 2) group |= std::to_integer<std::uint32_t>(bytes[i + 2]);
    text += alphabet[group >> 18];
    text += alphabet[group >> 12 & 63U];
    text += left > 1 ? alphabet[group >> 6 & 63U] : '=';
    text += left > 2 ? alphabet[group & 63U] : '=';
  }
  return text;
}

Result<std::string> base64_decode(std::string_view text) {
  // The text may be a secret: messages tell where it is wrong, never what it says.
  if (text.size() % 4 != 0)
    return Error(ErrorCode::invalid, "not base64: the length must be a multiple of 4, padded with '='");
  std::string bytes;
  bytes.reserve(text.size() / 4 * 3);
  for (std::size_t i = 0; i < text.size(); i += 4) {
    const bool is_last = i + 4 == text.size();
    const std::size_t padding = !is_last || text[i + 3] != '=' ? 0 : (text[i + 2] != '=' ? 1 : 2);
    std::uint32_t group = 0;
    for (std::size_t k = 0; k < 4; ++k) {
      const auto value = k < 4 - padding ? values[static_cast<unsigned char>(text[i + k])] : std::int8_t{0};
      if (value < 0)
        return Error(ErrorCode::invalid,
                     "not base64: character " + std::to_string(i + k + 1) + " is not in the alphabet");
      group = group << 6 | static_cast<std::uint32_t>(value);
    }
    if ((padding == 1 && (group & 0xffU) != 0) || (padding == 2 && (group & 0xffffU) != 0))
      return Error(ErrorCode::invalid, "not base64: the last digit has bits left over");
    bytes += static_cast<char>(group >> 16);
    if (padding < 2) bytes += static_cast<char>(group >> 8 & 0xffU);
    if (padding < 1) bytes += static_cast<char>(group & 0xffU);
  }
  return bytes;
}

}  // namespace ironcore
