// SPDX-License-Identifier: Apache-2.0
// Quoting of foreign text.
#include "ironcore/base/text.hpp"

#include <algorithm>
#include <cstddef>

namespace ironcore {

namespace {

/// Bytes of the well-formed UTF-8 character at the start of `text` (RFC 3629), or 0.
std::size_t character_length(std::string_view text) {
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  const auto lead = byte(0);
  if (lead < 0x80) return 1;
  const std::size_t length = lead >= 0xf0 ? 4 : (lead >= 0xe0 ? 3 : 2);
  if (lead < 0xc2 || lead > 0xf4 || text.size() < length) return 0;
  for (std::size_t i = 1; i < length; ++i)
    if ((byte(i) & 0xc0U) != 0x80) return 0;
  const bool overlong = (lead == 0xe0 && byte(1) < 0xa0) || (lead == 0xf0 && byte(1) < 0x90);
  const bool outside = (lead == 0xed && byte(1) > 0x9f) || (lead == 0xf4 && byte(1) > 0x8f);
  return overlong || outside ? 0 : length;
}

}  // namespace

std::string in_one_line(std::string_view text, std::size_t most) {
  std::string out;
  std::size_t at = 0;
  while (at < text.size()) {
    const auto length = character_length(text.substr(at));
    const auto step = std::max<std::size_t>(length, 1);
    if (at + step > most) break;
    const auto first = static_cast<unsigned char>(text[at]);
    if (length == 0 || first < 0x20 || first == 0x7f)
      out += '?';
    else
      out += text.substr(at, length);
    at += step;
  }
  if (at < text.size()) out += "...";
  return out;
}

std::string in_quotes(std::string_view text, std::size_t most) {
  return '"' + in_one_line(text, most) + '"';
}

}  // namespace ironcore
