// SPDX-License-Identifier: Apache-2.0
// ARP of the gateway towards its machine (RFC 826, RFC 5227).
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "local_services.hpp"

namespace ironcore::network::dataplane {

/// A request or probe for 169.254.0.1 is answered; one for anything else is not, so that a machine that probes its own address finds it free.
/// `claim`: the sender, unless it contradicts the frame's or claims to be the gateway.
Answer answer_arp(std::span<const std::uint8_t> frame, const LocalServices& services,
                  std::span<std::uint8_t> reply) noexcept;

/// What the gateway says by itself: an announcement of its address, or, while the machine's MAC is not known, a request for the machine's
/// address, whose answer tells it. Of use only to a machine with IPv4. Returns the length; 0 = no room.
std::size_t announce_arp(const LocalServices& services, std::span<std::uint8_t> frame) noexcept;

}  // namespace ironcore::network::dataplane
