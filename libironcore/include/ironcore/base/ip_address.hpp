// SPDX-License-Identifier: Apache-2.0
// An IPv4 or IPv6 address.
#pragma once

#include <array>
#include <compare>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>

#include "ironcore/base/result.hpp"

namespace ironcore {

/// An address without a zone. Ordered by family (v4 first), then by value. The default is `0.0.0.0`.
class IpAddress {
 public:
  constexpr IpAddress() noexcept = default;

  /// From a number in host byte order: `v4(0x0a000001)` is 10.0.0.1.
  static constexpr IpAddress v4(std::uint32_t value) noexcept {
    IpAddress address;
    for (int i = 0; i < 4; ++i)
      address.bytes_[static_cast<std::size_t>(i)] = static_cast<std::uint8_t>(value >> (24 - 8 * i));
    return address;
  }
  /// From bytes in network byte order.
  static constexpr IpAddress v6(const std::array<std::uint8_t, 16>& bytes) noexcept {
    IpAddress address;
    address.bytes_ = bytes;
    address.is_v6_ = true;
    return address;
  }
  /// From 4 or 16 bytes in network byte order; anything else is `invalid`.
  static Result<IpAddress> from_bytes(std::span<const std::uint8_t> bytes);

  /// Strict: dotted decimal without leading zeros, or the forms of RFC 4291 §2.2. No zone, no blanks.
  static Result<IpAddress> parse(std::string_view text);

  constexpr bool is_v4() const noexcept { return !is_v6_; }
  constexpr bool is_v6() const noexcept { return is_v6_; }
  /// 32 or 128.
  constexpr unsigned bits() const noexcept { return is_v6_ ? 128 : 32; }
  /// 4 or 16 bytes in network byte order.
  constexpr std::span<const std::uint8_t> bytes() const noexcept { return {bytes_.data(), is_v6_ ? 16U : 4U}; }
  /// The IPv4 address as a number in host byte order; 0 for IPv6.
  constexpr std::uint32_t v4_value() const noexcept {
    if (is_v6_) return 0;
    return static_cast<std::uint32_t>(bytes_[0]) << 24 | static_cast<std::uint32_t>(bytes_[1]) << 16 |
           static_cast<std::uint32_t>(bytes_[2]) << 8 | bytes_[3];
  }

  bool is_unspecified() const noexcept;
  bool is_loopback() const noexcept;
  bool is_multicast() const noexcept;
  bool is_link_local() const noexcept;

  /// RFC 5952: lower case, the longest run of zeros shortened, mapped IPv4 addresses with dots.
  std::string to_text() const;

  friend constexpr bool operator==(const IpAddress&, const IpAddress&) noexcept = default;
  friend constexpr auto operator<=>(const IpAddress&, const IpAddress&) noexcept = default;

 private:
  bool is_v6_ = false;
  std::array<std::uint8_t, 16> bytes_{};  // an IPv4 address fills the first four
};

}  // namespace ironcore

template <>
struct std::hash<ironcore::IpAddress> {
  std::size_t operator()(const ironcore::IpAddress& address) const noexcept;
};
