// SPDX-License-Identifier: Apache-2.0
// An Ethernet address.
#pragma once

#include <array>
#include <compare>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

#include "ironcore/base/result.hpp"

namespace ironcore {

/// Six bytes in the order of the wire. The default is all zeros.
class MacAddress {
 public:
  constexpr MacAddress() noexcept = default;
  constexpr explicit MacAddress(const std::array<std::uint8_t, 6>& bytes) noexcept : bytes_(bytes) {}
  /// Six two-digit hexadecimal numbers, all separated by `:` or all by `-`.
  static Result<MacAddress> parse(std::string_view text);

  constexpr const std::array<std::uint8_t, 6>& bytes() const noexcept { return bytes_; }
  constexpr bool is_multicast() const noexcept { return (bytes_[0] & 1U) != 0; }
  /// Locally administered (IEEE 802, the second bit of the first byte).
  constexpr bool is_local() const noexcept { return (bytes_[0] & 2U) != 0; }

  /// Lower case with colons.
  std::string to_text() const;

  friend constexpr bool operator==(const MacAddress&, const MacAddress&) noexcept = default;
  friend constexpr auto operator<=>(const MacAddress&, const MacAddress&) noexcept = default;

 private:
  std::array<std::uint8_t, 6> bytes_{};
};

}  // namespace ironcore

template <>
struct std::hash<ironcore::MacAddress> {
  std::size_t operator()(const ironcore::MacAddress& address) const noexcept;
};
