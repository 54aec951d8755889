// SPDX-License-Identifier: Apache-2.0
// Buffers to packets and back.
#include "frames.hpp"

#include <algorithm>
#include <cstring>

namespace ironcore::network::dpdk {

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

void cut_off(rte_mbuf& frame, std::uint32_t behind) noexcept {
  rte_mbuf* last = &frame;
  while (behind != 0) {
    last = last->next;
    last->data_len = static_cast<std::uint16_t>(std::min<std::uint32_t>(last->data_len, behind));
    behind -= last->data_len;
  }
  if (last->next == nullptr) return;
  rte_pktmbuf_free(last->next);
  last->next = nullptr;
  frame.nb_segs = 1;
  for (const rte_mbuf* piece = frame.next; piece != nullptr; piece = piece->next) ++frame.nb_segs;
}

}  // namespace ironcore::network::dpdk
