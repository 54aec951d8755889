// SPDX-License-Identifier: Apache-2.0
// Buffers to packets and back.
#include "frames.hpp"

#include <algorithm>
#include <cstring>

namespace ironcore::network::dpdk {

namespace {

/// Fills the first piece from those behind it.
void pull(rte_mbuf& frame) noexcept {
  while (frame.data_len < most_header_bytes && frame.next != nullptr) {
    rte_mbuf* next = frame.next;
    const auto some =
        std::min<std::uint32_t>({most_header_bytes - frame.data_len, next->data_len, rte_pktmbuf_tailroom(&frame)});
    if (some == 0 && next->data_len != 0) return;
    std::memcpy(rte_pktmbuf_mtod_offset(&frame, char*, frame.data_len), rte_pktmbuf_mtod(next, char*), some);
    frame.data_len = static_cast<std::uint16_t>(frame.data_len + some);
    next->data_off = static_cast<std::uint16_t>(next->data_off + some);
    next->data_len = static_cast<std::uint16_t>(next->data_len - some);
    if (next->data_len != 0) return;
    frame.next = next->next;
    --frame.nb_segs;
    rte_pktmbuf_free_seg(next);
  }
}

}  // namespace

bool describe(rte_mbuf& frame, Packet& packet) noexcept {
  if (frame.next != nullptr && frame.data_len < most_header_bytes) pull(frame);
  if (frame.data_len < shortest_frame) return false;
  const auto flags = frame.ol_flags;
  packet = {};  // the engine left marks on the one that was here before
  packet.frame = rte_pktmbuf_mtod(&frame, std::uint8_t*);
  packet.bytes = frame.data_len;
  packet.frame_bytes = frame.pkt_len;
  packet.headroom = frame.data_off;
  packet.room = std::uint32_t{frame.buf_len} - frame.data_off;
  const auto sum = flags & RTE_MBUF_F_RX_L4_CKSUM_MASK;
  packet.offload.needs_checksum = sum == RTE_MBUF_F_RX_L4_CKSUM_NONE;
  packet.offload.is_checksum_right = sum == RTE_MBUF_F_RX_L4_CKSUM_GOOD;
  packet.offload.segment_bytes = (flags & RTE_MBUF_F_RX_LRO) != 0 ? frame.tso_segsz : std::uint16_t{0};
  packet.buffer = &frame;
  return true;
}

bool restore(const Packet& packet) noexcept {
  auto& frame = *buffer_of(packet);
  const auto* begin = static_cast<const std::uint8_t*>(frame.buf_addr);
  std::uint32_t behind = packet.frame_bytes - packet.bytes;
  if (packet.frame < begin || packet.frame + packet.bytes > begin + frame.buf_len || packet.bytes < shortest_frame ||
      packet.frame_bytes < packet.bytes || behind > frame.pkt_len - frame.data_len)
    return false;
  frame.data_off = static_cast<std::uint16_t>(packet.frame - begin);
  frame.data_len = static_cast<std::uint16_t>(packet.bytes);
  frame.pkt_len = packet.frame_bytes;
  frame.ol_flags = 0;
  rte_mbuf* last = &frame;
  while (behind != 0) {
    last = last->next;
    last->data_len = static_cast<std::uint16_t>(std::min<std::uint32_t>(last->data_len, behind));
    behind -= last->data_len;
  }
  if (last->next == nullptr) return true;
  rte_pktmbuf_free(last->next);
  last->next = nullptr;
  frame.nb_segs = 1;
  for (const rte_mbuf* piece = frame.next; piece != nullptr; piece = piece->next) ++frame.nb_segs;
  return true;
}

}  // namespace ironcore::network::dpdk
