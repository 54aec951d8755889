// SPDX-License-Identifier: Apache-2.0
// Sizes and limits of volumes.
#include "ironcore/storage/volume.hpp"

#include <limits>

namespace ironcore::storage {

namespace {

std::uint64_t product(std::uint64_t a, std::uint64_t b) noexcept {
  std::uint64_t result = 0;
  return __builtin_mul_overflow(a, b, &result) ? std::numeric_limits<std::uint64_t>::max() : result;
}

}  // namespace

Limits limits_of(std::uint64_t iops, std::uint64_t bytes_per_second, const Burst& burst) noexcept {
  return {.iops = iops,
          .bytes_per_second = bytes_per_second,
          .burst_iops = product(iops, burst.factor),
          .burst_bytes_per_second = product(bytes_per_second, burst.factor),
          .burst = burst.span};
}

std::optional<std::uint64_t> rounded_size(std::uint64_t bytes) noexcept {
  constexpr auto gib = std::uint64_t{1} << 30;
  if (bytes == 0 || bytes > max_size) return std::nullopt;
  const auto step = bytes < gib ? size_step : gib;
  return (bytes + step - 1) / step * step;
}

}  // namespace ironcore::storage
