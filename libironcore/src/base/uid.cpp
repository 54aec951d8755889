// SPDX-License-Identifier: Apache-2.0
// UUIDs from randomness and text.
#include "ironcore/base/uid.hpp"

#include "digits.hpp"
#include "ironcore/base/text.hpp"

namespace ironcore {

namespace {

bool dash_before(std::size_t byte) {
  return byte == 4 || byte == 6 || byte == 8 || byte == 10;
}

}  // namespace

Uid Uid::random() {
  SystemRandom random;
  return Uid::random(random);
}

Uid Uid::random(Random& random) {
  std::array<std::uint8_t, 16> bytes{};
  random.fill(std::as_writable_bytes(std::span(bytes)));
  bytes[6] = static_cast<std::uint8_t>((bytes[6] & 0x0fU) | 0x40U);
  bytes[8] = static_cast<std::uint8_t>((bytes[8] & 0x3fU) | 0x80U);
  return Uid(bytes);
}

Result<Uid> Uid::parse(std::string_view text) {
  const Error wrong(ErrorCode::invalid,
                    in_quotes(text) + " is not a UUID; write it like 123e4567-e89b-42d3-a456-426614174000");
  if (text.size() != 36) return wrong;
  std::array<std::uint8_t, 16> bytes{};
  std::size_t at = 0;
  for (std::size_t i = 0; i < 16; ++i) {
    if (dash_before(i) && text[at++] != '-') return wrong;
    const int high = hex_digit(text[at]), low = hex_digit(text[at + 1]);
    if (high < 0 || low < 0) return wrong;
    bytes[i] = static_cast<std::uint8_t>(high << 4 | low);
    at += 2;
  }
  return Uid(bytes);
}

std::string Uid::to_text() const {
  std::string text;
  text.reserve(36);
  for (std::size_t i = 0; i < 16; ++i) {
    if (dash_before(i)) text += '-';
    append_hex(text, bytes_[i]);
  }
  return text;
}

}  // namespace ironcore

std::size_t std::hash<ironcore::Uid>::operator()(const ironcore::Uid& uid) const noexcept {
  return ironcore::hash_bytes(uid.bytes());
}
