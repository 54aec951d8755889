// SPDX-License-Identifier: Apache-2.0
// Polynomials over two elements, with the coefficient of the highest power in the lowest bit.
#include "crc32c.hpp"

#include <array>

namespace ironcore::network::dataplane {

namespace {

constexpr std::uint32_t polynomial = 0x82f63b78;
constexpr std::uint32_t one = 0x8000'0000;

constexpr std::uint32_t times_x(std::uint32_t a) noexcept {
  return (a & 1) != 0 ? (a >> 1) ^ polynomial : a >> 1;
}

/// The remainder of the product.
constexpr std::uint32_t product(std::uint32_t a, std::uint32_t b) noexcept {
  std::uint32_t out = 0;
  for (std::uint32_t bit = one; bit != 0; bit >>= 1) {
    if ((a & bit) != 0) out ^= b;
    b = times_x(b);
  }
  return out;
}

/// What a byte becomes when it is shifted out.
constexpr auto of_byte = [] {
  std::array<std::uint32_t, 256> out{};
  for (std::uint32_t byte = 0; byte < out.size(); ++byte) {
    out[byte] = byte;
    for (int bit = 0; bit < 8; ++bit) out[byte] = times_x(out[byte]);
  }
  return out;
}();

/// What 2^n bytes of zeros multiply by.
constexpr auto of_zeros = [] {
  std::array<std::uint32_t, 32> out{};
  std::uint32_t power = one;
  for (int bit = 0; bit < 8; ++bit) power = times_x(power);
  for (auto& each : out) {
    each = power;
    power = product(power, power);
  }
  return out;
}();

std::uint32_t add(std::uint32_t state, std::uint8_t byte) noexcept {
  return of_byte[(state ^ byte) & 0xff] ^ state >> 8;
}

}  // namespace

std::uint32_t crc32c(std::span<const std::uint8_t> bytes, std::uint32_t before) noexcept {
  std::uint32_t state = ~before;
  for (const auto byte : bytes) state = add(state, byte);
  return ~state;
}

std::uint32_t crc32c_change(std::uint32_t difference, std::size_t behind) noexcept {
  std::uint32_t out = 0;
  for (const unsigned shift : {24U, 16U, 8U, 0U}) out = add(out, static_cast<std::uint8_t>(difference >> shift));
  for (std::size_t n = 0; behind != 0; ++n, behind >>= 1)
    if ((behind & 1) != 0) out = product(of_zeros[n], out);
  return out;
}

}  // namespace ironcore::network::dataplane
