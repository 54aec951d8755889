// SPDX-License-Identifier: Apache-2.0
// Between the buffers of DPDK and the packets of the seam.
#pragma once

#include <rte_mbuf.h>

#include "ironcore/network/packet.hpp"

namespace ironcore::network::dpdk {

/// So many bytes are in the first piece, if the frame has them: all headers that the engine reads.
constexpr std::uint32_t most_header_bytes = 512;
constexpr std::uint32_t shortest_frame = 14;  ///< an Ethernet header

inline rte_mbuf* buffer_of(const Packet& packet) noexcept {
  return static_cast<rte_mbuf*>(packet.buffer);
}

/// Fills the first piece from those behind it.
void pull(rte_mbuf& frame) noexcept;
/// Frees what is more than `behind` bytes after the first piece.
void cut_off(rte_mbuf& frame, std::uint32_t behind) noexcept;

/// All fields but the port. False if it is no frame.
inline bool describe(rte_mbuf& frame, Packet& packet) noexcept {
  if (frame.nb_segs > 1 && frame.data_len < most_header_bytes) [[unlikely]]
    pull(frame);
  if (frame.data_len < shortest_frame) return false;
  const auto flags = frame.ol_flags;
  packet.frame = rte_pktmbuf_mtod(&frame, std::uint8_t*);
  packet.bytes = frame.data_len;
  packet.frame_bytes = frame.pkt_len;
  packet.headroom = frame.data_off;
  packet.room = std::uint32_t{frame.buf_len} - frame.data_off;
  const auto sum = flags & RTE_MBUF_F_RX_L4_CKSUM_MASK;
  packet.offload.needs_checksum = sum == RTE_MBUF_F_RX_L4_CKSUM_NONE;
  packet.offload.is_checksum_right = sum == RTE_MBUF_F_RX_L4_CKSUM_GOOD;
  packet.offload.segment_bytes = (flags & RTE_MBUF_F_RX_LRO) != 0 ? frame.tso_segsz : std::uint16_t{0};
  packet.drop = Drop::none;
  packet.is_from_here = packet.is_placed = false;
  packet.buffer = &frame;
  return true;
}

/// Makes the buffer what the packet says: where it begins and ends. False if it cannot be so.
inline bool restore(const Packet& packet) noexcept {
  auto& frame = *buffer_of(packet);
  const auto* begin = static_cast<const std::uint8_t*>(frame.buf_addr);
  const std::uint32_t behind = packet.frame_bytes - packet.bytes;
  if (packet.frame < begin || packet.frame + packet.bytes > begin + frame.buf_len || packet.bytes < shortest_frame ||
      packet.frame_bytes < packet.bytes || behind > frame.pkt_len - frame.data_len)
    return false;
  frame.data_off = static_cast<std::uint16_t>(packet.frame - begin);
  frame.data_len = static_cast<std::uint16_t>(packet.bytes);
  frame.pkt_len = packet.frame_bytes;
  frame.ol_flags = 0;
  if (frame.nb_segs > 1) [[unlikely]]
    cut_off(frame, behind);
  return true;
}

}  // namespace ironcore::network::dpdk
