// SPDX-License-Identifier: Apache-2.0
// Ethernet addresses as text.
#include "ironcore/base/mac_address.hpp"

#include "digits.hpp"
#include "ironcore/base/text.hpp"

namespace ironcore {

Result<MacAddress> MacAddress::parse(std::string_view text) {
  const Error wrong(ErrorCode::invalid, in_quotes(text) + " is not a MAC address; write it like 52:54:00:12:34:56");
  if (text.size() != 17 || (text[2] != ':' && text[2] != '-')) return wrong;
  std::array<std::uint8_t, 6> bytes{};
  for (std::size_t i = 0; i < 6; ++i) {
    const int high = hex_digit(text[3 * i]), low = hex_digit(text[3 * i + 1]);
    if (high < 0 || low < 0 || (i < 5 && text[3 * i + 2] != text[2])) return wrong;
    bytes[i] = static_cast<std::uint8_t>(high << 4 | low);
  }
  return MacAddress(bytes);
}

std::string MacAddress::to_text() const {
  std::string text;
  for (const auto byte : bytes_) {
    if (!text.empty()) text += ':';
    append_hex(text, byte);
  }
  return text;
}

}  // namespace ironcore

std::size_t std::hash<ironcore::MacAddress>::operator()(const ironcore::MacAddress& address) const noexcept {
  return ironcore::hash_bytes(address.bytes());
}
