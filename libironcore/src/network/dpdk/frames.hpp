// SPDX-License-Identifier: Apache-2.0
// Between the buffers of DPDK and the packets of the seam.
#pragma once

#include <rte_mbuf.h>

#include "ironcore/network/packet.hpp"

namespace ironcore::network::dpdk {

/// So many bytes are in the first piece, if the frame has them: all headers that the engine reads.
constexpr std::uint32_t most_header_bytes = 512;
constexpr std::uint32_t shortest_frame = 14;  ///< an Ethernet header

/// All fields but the port. False if it is no frame.
bool describe(rte_mbuf& frame, Packet& packet) noexcept;

/// Makes the buffer what the packet says: where it begins and ends. False if it cannot be so.
bool restore(const Packet& packet) noexcept;

inline rte_mbuf* buffer_of(const Packet& packet) noexcept {
  return static_cast<rte_mbuf*>(packet.buffer);
}

}  // namespace ironcore::network::dpdk
