// SPDX-License-Identifier: Apache-2.0
// The gateway answers its machine's ping (RFC 792, RFC 4443 §4.2).
#pragma once

#include <cstdint>
#include <span>

#include "local_services.hpp"

namespace ironcore::network::dataplane {

/// Answers echo requests to 169.254.0.1, fe80::1, and to all nodes or routers of IPv6. A request in fragments gets no answer. IPv4 options and
/// extension headers are not repeated.
Answer answer_ping(std::span<const std::uint8_t> frame, const LocalServices& services,
                   std::span<std::uint8_t> reply) noexcept;

}  // namespace ironcore::network::dataplane
