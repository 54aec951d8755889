// SPDX-License-Identifier: Apache-2.0
// An address with a prefix length, as in CIDR notation.
#pragma once

#include <compare>
#include <functional>
#include <string>
#include <string_view>

#include "ironcore/base/ip_address.hpp"

namespace ironcore {

/// Host bits are kept as given: `10.0.0.1/24` prints as such and differs from `10.0.0.0/24`; `network()` clears them.
/// The default is `0.0.0.0/0`.
class Prefix {
 public:
  constexpr Prefix() noexcept = default;
  /// `invalid` if the length exceeds the bits of the address.
  static Result<Prefix> make(const IpAddress& address, unsigned length);
  /// The prefix that holds this one address: /32 or /128.
  static Prefix host(const IpAddress& address) noexcept { return Prefix(address, address.bits()); }
  /// `ADDRESS/LENGTH`; the length is decimal without leading zeros and may not be left out.
  static Result<Prefix> parse(std::string_view text);

  constexpr const IpAddress& address() const noexcept { return address_; }
  constexpr unsigned length() const noexcept { return length_; }
  constexpr bool is_v4() const noexcept { return address_.is_v4(); }
  constexpr bool is_host() const noexcept { return length_ == address_.bits(); }

  Prefix network() const noexcept { return Prefix(first(), length_); }
  /// The lowest and the highest address inside.
  IpAddress first() const noexcept;
  IpAddress last() const noexcept;
  /// False across families. Host bits of either side do not matter.
  bool contains(const IpAddress& address) const noexcept;
  bool contains(const Prefix& other) const noexcept;
  bool overlaps(const Prefix& other) const noexcept { return contains(other) || other.contains(*this); }

  std::string to_text() const;

  friend constexpr bool operator==(const Prefix&, const Prefix&) noexcept = default;
  friend constexpr auto operator<=>(const Prefix&, const Prefix&) noexcept = default;

 private:
  constexpr Prefix(const IpAddress& address, unsigned length) noexcept : address_(address), length_(length) {}
  IpAddress address_;
  unsigned length_ = 0;
};

}  // namespace ironcore

template <>
struct std::hash<ironcore::Prefix> {
  std::size_t operator()(const ironcore::Prefix& prefix) const noexcept;
};
