// SPDX-License-Identifier: Apache-2.0
// The identity of an object: a UUID (RFC 9562).
#pragma once

#include <array>
#include <compare>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

#include "ironcore/base/random.hpp"
#include "ironcore/base/result.hpp"

namespace ironcore {

/// 16 bytes in the order of the text. The default is the nil UUID. Names derived from one: `crypto/derived_uid.hpp`.
class Uid {
 public:
  constexpr Uid() noexcept = default;
  constexpr explicit Uid(const std::array<std::uint8_t, 16>& bytes) noexcept : bytes_(bytes) {}
  /// Version 4, from the kernel's generator or from `random`.
  static Uid random();
  static Uid random(Random& random);
  /// 8-4-4-4-12 hexadecimal digits in either case; any version.
  static Result<Uid> parse(std::string_view text);

  constexpr const std::array<std::uint8_t, 16>& bytes() const noexcept { return bytes_; }
  constexpr bool is_nil() const noexcept { return *this == Uid(); }
  constexpr unsigned version() const noexcept { return bytes_[6] >> 4; }

  /// Lower case.
  std::string to_text() const;

  friend constexpr bool operator==(const Uid&, const Uid&) noexcept = default;
  friend constexpr auto operator<=>(const Uid&, const Uid&) noexcept = default;

 private:
  std::array<std::uint8_t, 16> bytes_{};
};

}  // namespace ironcore

template <>
struct std::hash<ironcore::Uid> {
  std::size_t operator()(const ironcore::Uid& uid) const noexcept;
};
