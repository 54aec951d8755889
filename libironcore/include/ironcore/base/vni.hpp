// SPDX-License-Identifier: Apache-2.0
// A virtual network identifier.
#pragma once

#include <compare>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

#include "ironcore/base/result.hpp"

namespace ironcore {

/// The 24-bit number that tells overlay networks apart (RFC 7348). The default is 0.
class Vni {
 public:
  static constexpr std::uint32_t max = 0xff'ffff;

  constexpr Vni() noexcept = default;
  /// `invalid` above `max`.
  static Result<Vni> make(std::uint32_t value);
  /// Decimal without sign or leading zeros.
  static Result<Vni> parse(std::string_view text);

  constexpr std::uint32_t value() const noexcept { return value_; }
  std::string to_text() const { return std::to_string(value_); }

  friend constexpr bool operator==(const Vni&, const Vni&) noexcept = default;
  friend constexpr auto operator<=>(const Vni&, const Vni&) noexcept = default;

 private:
  constexpr explicit Vni(std::uint32_t value) noexcept : value_(value) {}
  std::uint32_t value_ = 0;
};

}  // namespace ironcore

template <>
struct std::hash<ironcore::Vni> {
  std::size_t operator()(const ironcore::Vni& vni) const noexcept { return std::hash<std::uint32_t>()(vni.value()); }
};
