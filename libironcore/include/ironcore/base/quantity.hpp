// SPDX-License-Identifier: Apache-2.0
// An amount of a resource, as Kubernetes writes it: 500m, 10Gi, 1.5, 1e3.
#pragma once

#include <compare>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

#include "ironcore/base/result.hpp"

namespace ironcore {

/// A number with nine exact decimal places between −(2^63−1) and 2^63−1. Finer input is rounded away from zero, as
/// Kubernetes does; larger input is refused (Kubernetes caps it). Compared by value: `1Gi == 1024Mi`. The family only
/// decides how it is printed. The default is 0.
class Quantity {
 public:
  enum class Family {
    decimal,   ///< n u m k M G T P E
    exponent,  ///< e3, e-3
    binary,    ///< Ki Mi Gi Ti Pi Ei
  };

  constexpr Quantity() noexcept = default;
  /// A whole number; the one value out of range, the lowest of 64 bits, becomes the lowest in range.
  constexpr explicit Quantity(std::int64_t whole, Family family = Family::decimal) noexcept
      : whole_(whole == INT64_MIN ? -INT64_MAX : whole), family_(family) {}
  /// A whole number of bytes, printed with Ki, Mi, Gi …
  static constexpr Quantity bytes(std::int64_t count) noexcept { return Quantity(count, Family::binary); }
  /// Thousandths.
  static Quantity milli(std::int64_t thousandths) noexcept;
  /// The grammar of Kubernetes' resource.Quantity: sign, digits with an optional point, then a suffix of one family.
  static Result<Quantity> parse(std::string_view text);

  /// Rounded away from zero to a whole number.
  std::int64_t value() const noexcept;
  /// In thousandths, rounded away from zero; `invalid` if that leaves 64 bits.
  Result<std::int64_t> milli_value() const;
  constexpr Family family() const noexcept { return family_; }
  constexpr bool is_zero() const noexcept { return whole_ == 0 && nanos_ == 0; }
  /// -1, 0 or 1.
  constexpr int sign() const noexcept { return whole_ < 0 ? -1 : (is_zero() ? 0 : 1); }

  /// Canonical as in Kubernetes: no precision lost, no fraction, the largest suffix that allows this. Binary amounts
  /// below 1024 or with a fraction are printed in the decimal family.
  std::string to_text() const;

  /// The family of the result is that of `a`, or of `b` if `a` is zero. `invalid` if the sum is out of range.
  static Result<Quantity> add(const Quantity& a, const Quantity& b);
  static Result<Quantity> subtract(const Quantity& a, const Quantity& b);

  friend constexpr bool operator==(const Quantity& a, const Quantity& b) noexcept {
    return a.whole_ == b.whole_ && a.nanos_ == b.nanos_;
  }
  friend constexpr std::strong_ordering operator<=>(const Quantity& a, const Quantity& b) noexcept {
    if (const auto order = a.whole_ <=> b.whole_; order != 0) return order;
    return a.nanos_ <=> b.nanos_;
  }

 private:
  friend struct std::hash<Quantity>;
  struct Parts;
  std::int64_t whole_ = 0;   // rounded down, so that nanos_ is never negative
  std::uint32_t nanos_ = 0;  // below 10^9
  Family family_ = Family::decimal;
};

}  // namespace ironcore

template <>
struct std::hash<ironcore::Quantity> {
  std::size_t operator()(const ironcore::Quantity& quantity) const noexcept {
    return std::hash<std::int64_t>()(quantity.whole_) * 31 + quantity.nanos_;
  }
};
