// SPDX-License-Identifier: Apache-2.0
// Numbers of the protocols above IP: https://www.iana.org/assignments/protocol-numbers
#pragma once

#include <cstdint>

namespace ironcore::network {

inline constexpr std::uint8_t protocol_icmp = 1;
inline constexpr std::uint8_t protocol_tcp = 6;
inline constexpr std::uint8_t protocol_udp = 17;
inline constexpr std::uint8_t protocol_icmpv6 = 58;
inline constexpr std::uint8_t protocol_sctp = 132;

}  // namespace ironcore::network
