// SPDX-License-Identifier: Apache-2.0
// The DHCPv6 server of one machine (RFC 8415, RFC 3646, RFC 5970).
#pragma once

#include <array>
#include <cstdint>
#include <span>

#include "local_services.hpp"

namespace ironcore::network::dataplane {

/// The server's DUID: a UUID (RFC 6355), the same on every host, so that a machine that moves keeps its server.
inline constexpr std::array<std::uint8_t, 18> server_duid = {0,    4,    0x5e, 0x1c, 0x8a, 0x37, 0x0d, 0x42, 0x4b,
                                                             0xb1, 0x9f, 0x66, 0x2c, 0xd0, 0x7e, 0x93, 0x51, 0xa8};

/// Serves what is sent to all servers or to fe80::1, port 547; what is sent to any other address is `not_mine`. The one address of the machine
/// is its lease for ever, in whichever IA_NA it asks: there is nothing to remember. Of several, the one that has it already gets it, or
/// else the first. A machine without IPv6 is told so, and gets the rest of the configuration.
Answer answer_dhcpv6(std::span<const std::uint8_t> frame, const LocalServices& services,
                     std::span<std::uint8_t> reply) noexcept;

}  // namespace ironcore::network::dataplane
