// SPDX-License-Identifier: Apache-2.0
// Neighbor discovery of the gateway towards its machine (RFC 4861, RFC 8106).
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

#include "ironcore/base/mac_address.hpp"
#include "local_services.hpp"

namespace ironcore::network::dataplane {

/// Answers a solicitation of fe80::1 (also one that only looks whether the address is free) and of a router, the latter if the machine has
/// IPv6. All other messages of the protocol end here too. `claim`: the sender of a valid solicitation or advertisement, unless it contradicts
/// the frame's or claims to be the gateway.
Answer answer_neighbor_discovery(std::span<const std::uint8_t> frame, const LocalServices& services,
                                 std::span<std::uint8_t> reply) noexcept;

inline constexpr std::uint8_t neighbor_option_source_mac = 1;
inline constexpr std::uint8_t neighbor_option_target_mac = 2;
struct NeighborOptions {
  std::optional<MacAddress> source_mac;
  std::optional<MacAddress> target_mac;
};
/// False if one is cut or of length zero. An address of another length is none of Ethernet.
bool read_neighbor_options(std::span<const std::uint8_t> bytes, NeighborOptions& options) noexcept;

/// What the gateway says by itself, to all nodes. Both return the length; 0 = no room. The first is only for a machine with IPv6.
std::size_t advertise_router(const LocalServices& services, std::span<std::uint8_t> frame) noexcept;
std::size_t advertise_neighbor(const LocalServices& services, std::span<std::uint8_t> frame) noexcept;

}  // namespace ironcore::network::dataplane
