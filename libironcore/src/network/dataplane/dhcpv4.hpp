// SPDX-License-Identifier: Apache-2.0
// The DHCP server of one machine (RFC 2131, RFC 2132).
#pragma once

#include <cstdint>
#include <span>

#include "local_services.hpp"

namespace ironcore::network::dataplane {

/// Serves what is sent to 169.254.0.1 or to all, port 67; what is sent to any other address is `not_mine`. The one address of the machine is
/// its lease for ever, so there is nothing to remember: DISCOVER is offered it, REQUEST is granted it and refused any other, INFORM is told the
/// rest, DECLINE and RELEASE change nothing. Options, as far as they fit into what the client takes: mask, routes (classless; also a router for
/// who does not ask for those, RFC 3442), MTU, name servers, host name, lease, and where to boot from. `claim`: who was granted the lease.
Answer answer_dhcpv4(std::span<const std::uint8_t> frame, const LocalServices& services,
                     std::span<std::uint8_t> reply) noexcept;

}  // namespace ironcore::network::dataplane
