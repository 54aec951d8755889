// SPDX-License-Identifier: Apache-2.0
// The addresses under which other hosts reach what is on this one.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "ironcore/base/ip_address.hpp"
#include "ironcore/base/prefix.hpp"

namespace ironcore::network::dataplane {

/// What the address is for; the numbers are on the wire.
enum class UnderlayUse : std::uint8_t {
  interface = 1,
  virtual_ip = 2,
  nat = 3,
  load_balancer = 4,
  load_balancer_target = 5,
  prefix = 6,
  virtual_service = 0xff,
};

/// The layout of the original, so that both understand each other: the host's 8 bytes, then `0xd0`, the use, flags, a random byte, and a
/// counter of 4 bytes.
class Underlay {
 public:
  /// `host` is a /64. The counter starts at a number that differs from start to start, so that who still sends to an address of before
  /// does not reach something else.
  Underlay(const Prefix& host, std::uint64_t seed);

  const Prefix& host() const noexcept { return host_; }
  /// A new one at each call; 2^32 of them.
  IpAddress next(UnderlayUse use) noexcept;
  /// What is wrong with an address that somebody else chose: it must lie in the host's prefix, carry the mark of our addresses (its next half
  /// byte is `d`, by which NICs steer), and the flag `0x80`, which says that we did not make it.
  std::optional<std::string> why_not(const IpAddress& address) const;

 private:
  Prefix host_;
  std::uint8_t random_;
  std::uint32_t counter_;
};

}  // namespace ironcore::network::dataplane
