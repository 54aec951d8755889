// SPDX-License-Identifier: Apache-2.0
// Sums over many bytes.
#include "checksum.hpp"

#include "bytes.hpp"

namespace ironcore::network::dataplane {

void ChecksumSum::add(std::span<const std::uint8_t> bytes) noexcept {
  const auto* at = bytes.data();
  auto left = bytes.size();
  // 32 bits at a time: a sum of their upper and lower halves folds to the same 16 bits.
  for (; left >= 4; at += 4, left -= 4) sum_ += load32(at);
  if (left >= 2) {
    sum_ += load16(at);
    at += 2;
    left -= 2;
  }
  if (left == 1) sum_ += static_cast<std::uint32_t>(*at) << 8;
}

void ChecksumDelta::add(std::span<const std::uint8_t> bytes) noexcept {
  for (std::size_t i = 0; i + 1 < bytes.size(); i += 2) sum_ += load16(bytes.data() + i);
}

void ChecksumDelta::remove(std::span<const std::uint8_t> bytes) noexcept {
  for (std::size_t i = 0; i + 1 < bytes.size(); i += 2) sum_ += static_cast<std::uint16_t>(~load16(bytes.data() + i));
}

void ChecksumDelta::replace(std::span<const std::uint8_t> before, std::span<const std::uint8_t> after) noexcept {
  remove(before);
  add(after);
}

}  // namespace ironcore::network::dataplane
