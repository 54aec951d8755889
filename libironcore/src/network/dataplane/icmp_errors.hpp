// SPDX-License-Identifier: Apache-2.0
// ICMP and ICMPv6 errors: which packets deserve one, how it looks, and how many may be sent.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace ironcore::network::dataplane {

/// What is wrong with a packet, and the type and code that say so in ICMP (RFC 792, RFC 1191, RFC 1812) and ICMPv6 (RFC 4443).
enum class IcmpError : std::uint8_t {
  hop_limit,     ///< 11/0 and 3/0: it would become zero
  no_route,      ///< 3/0 and 1/0
  host,          ///< 3/1 and 1/3: the last link does not have it
  port,          ///< 3/3 and 1/4: nobody listens
  prohibited,    ///< 3/13 and 1/1: by a rule
  source_route,  ///< 3/5 and 1/7: it names its way, which is not granted
  too_big,       ///< 3/4 and 2/0: for the MTU that the value states
  header_field,  ///< 12/0 and 4/0: at the offset that the value states
};

/// Why a packet gets no error.
enum class Unsent : std::uint8_t {
  none,         ///< it gets one
  malformed,    ///< it cannot be read, so nobody knows who sent it
  family,       ///< `source` is an address of the other one
  about_error,  ///< it is an ICMP error itself, or a redirect
  fragment,     ///< not the first one: its sender is told by that
  destination,  ///< broadcast or multicast
  source,       ///< not the address of one host: unspecified, loopback, broadcast, multicast, reserved
  room,         ///< `out` is too small
};

inline constexpr std::size_t longest_icmp_error = 576;     ///< RFC 1812 §4.3.2.3, with the IP header
inline constexpr std::size_t longest_icmpv6_error = 1280;  ///< RFC 4443 §2.4 (c)

struct IcmpErrorBuilt {
  Unsent unsent = Unsent::none;
  std::size_t bytes = 0;  ///< in `out`, from the IP header on
};

/// Writes the error about a packet to its sender, unless RFC 1122 §3.2.2, RFC 1812 §4.3.2.7 or RFC 4443 §2.4 (e) forbid it. What they say of
/// frames to a broadcast or multicast MAC, and of the broadcast address of a subnet, is for the caller to see. `bytes` begins with the IP
/// header as it was received; it and `packet_bytes` are as for `parse`, and what is not in `bytes` is not quoted. `source` has 4 or 16 bytes.
/// `out` must not overlap them; `longest_icmp_error` or `longest_icmpv6_error` bytes are always enough. Thread: any.
IcmpErrorBuilt build_icmp_error(std::span<const std::uint8_t> bytes, std::size_t packet_bytes, IcmpError error,
                                std::uint32_t value, std::span<const std::uint8_t> source,
                                std::span<std::uint8_t> out) noexcept;

/// The token bucket of RFC 4443 §2.4 (f), one for each interface whose errors are not to be held up by those of others. Thread: one.
class IcmpErrorLimit {
 public:
  /// `rate` errors a second; after a pause `burst` of them at once. The clock counts 1 to 2^40 ticks a second.
  IcmpErrorLimit(std::uint32_t rate, std::uint16_t burst, std::uint64_t ticks_per_second, std::uint64_t now) noexcept;

  /// Whether one more may be sent. A clock that goes back refills nothing until it is where it was.
  bool take(std::uint64_t now) noexcept;

 private:
  std::uint64_t rate_;
  std::uint64_t ticks_;   ///< what one error costs
  std::uint64_t full_;    ///< in errors times ticks a second
  std::uint64_t credit_;  ///< likewise
  std::uint64_t last_;
};

}  // namespace ironcore::network::dataplane
