// SPDX-License-Identifier: Apache-2.0
// What the files of the worker know of a packet.
#pragma once

#include <algorithm>
#include <cstdint>

#include "headers.hpp"
#include "ironcore/network/packet.hpp"

namespace ironcore::network::dataplane {

inline constexpr std::uint32_t outer_bytes = 40;
inline constexpr std::uint8_t outer_hop_limit = 64;

inline std::uint8_t* inner_of(const Packet& packet, std::uint32_t ip) noexcept {
  return packet.frame + ip;
}

/// Of the packet, or of those into which it is cut on its way out.
inline std::uint32_t length_on_the_way(const Packet& packet, const Headers& headers, const std::uint8_t* ip) noexcept {
  if (packet.offload.segment_bytes == 0 || !headers.has_transport) return headers.length;
  constexpr std::uint32_t udp_header = 8;
  const std::uint32_t transport =
      headers.protocol == protocol_tcp ? (ip[headers.transport + 12] >> 4) * 4U : udp_header;
  return std::min(headers.length, headers.transport + transport + packet.offload.segment_bytes);
}

}  // namespace ironcore::network::dataplane
