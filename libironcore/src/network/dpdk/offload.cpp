// SPDX-License-Identifier: Apache-2.0
// Checksums and segmentation in software, over frames in pieces.
#include "offload.hpp"

#include <rte_ip.h>

#include <algorithm>
#include <cstring>

#include "../dataplane/bytes.hpp"
#include "../dataplane/checksum.hpp"
#include "../dataplane/crc32c.hpp"
#include "../dataplane/headers.hpp"

namespace ironcore::network::dpdk {

namespace {

using dataplane::load16;
using dataplane::load32;
using dataplane::store16;
using dataplane::store32;

constexpr std::uint32_t ethernet_bytes = 14;
constexpr std::uint16_t ethertype_ipv4 = 0x0800;
constexpr std::uint16_t ethertype_ipv6 = 0x86dd;
constexpr std::uint8_t protocol_ipv4_inside = 4;
constexpr std::uint8_t protocol_ipv6_inside = 41;
constexpr int most_tunnels = 2;  // ours, and one of the guest's
constexpr std::uint32_t sctp_header_bytes = 12;
constexpr std::uint32_t sctp_checksum_at = 8;
constexpr std::uint8_t tcp_push = 0x08;
constexpr std::uint8_t tcp_cwr = 0x80;

std::uint8_t* start_of(const rte_mbuf& frame) noexcept {
  return rte_pktmbuf_mtod(&frame, std::uint8_t*);
}

/// The checksum over bytes that include the field with what it has so far.
bool finish(rte_mbuf& frame, std::uint32_t from, std::uint32_t to, std::uint32_t field, bool is_udp) noexcept {
  std::uint16_t sum = 0;
  if (rte_raw_cksum_mbuf(&frame, from, to - from, &sum) != 0) return false;
  auto value = static_cast<std::uint16_t>(~sum);
  if (is_udp && value == 0) value = 0xffff;
  std::memcpy(start_of(frame) + field, &value, sizeof value);
  return true;
}

/// Of SCTP (RFC 9260 appendix A), which is told like that of the Internet but is another one.
bool finish_sctp(rte_mbuf& frame, const Transport& transport) noexcept {
  const std::uint32_t field = transport.start + sctp_checksum_at;
  std::memset(start_of(frame) + field, 0, 4);
  std::uint32_t sum = 0;
  std::uint32_t at = transport.start;
  std::uint32_t left = transport.end - transport.start;
  for (const auto* piece = &frame; piece != nullptr && left != 0; piece = piece->next) {
    if (at >= piece->data_len) {
      at -= piece->data_len;
      continue;
    }
    const auto some = std::min<std::uint32_t>(left, piece->data_len - at);
    sum = dataplane::crc32c({start_of(*piece) + at, some}, sum);
    left -= some;
    at = 0;
  }
  store32(start_of(frame) + field, rte_bswap32(sum));
  return left == 0;
}

/// Up to the transport of the innermost IP packet, whatever it is. False if there is none, or not all headers before it are in the first piece.
bool find_innermost(const rte_mbuf& frame, Transport& transport, std::uint8_t& protocol) noexcept {
  if (frame.data_len < ethernet_bytes) return false;
  const auto* bytes = start_of(frame);
  const auto type = load16(bytes + 12);
  if (type != ethertype_ipv4 && type != ethertype_ipv6) return false;
  transport = {};
  transport.ip = ethernet_bytes;
  std::uint32_t end = frame.pkt_len;
  for (int tunnels = 0; tunnels <= most_tunnels; ++tunnels) {
    dataplane::Headers headers;
    const std::span there(bytes + transport.ip, std::min<std::uint32_t>(frame.data_len, end) - transport.ip);
    if (dataplane::parse(there, end - transport.ip, headers) != dataplane::Malformed::none) return false;
    if (headers.is_fragment) return false;
    end = transport.ip + headers.length;
    const auto next = transport.ip + headers.transport;
    transport.is_v6 = headers.is_v6;
    if (headers.protocol == protocol_ipv4_inside || headers.protocol == protocol_ipv6_inside) {
      if (next >= std::min<std::uint32_t>(frame.data_len, end)) return false;
      transport.has_more_tunnels = tunnels > 0;
      if (tunnels == 0) transport.tunnel_ip = transport.ip;
      if (tunnels == 0) transport.is_tunnel_v6 = headers.is_v6;
      transport.ip = next;
      continue;
    }
    if (!headers.has_transport) return false;
    transport.start = next;
    transport.end = end;
    protocol = headers.protocol;
    return true;
  }
  return false;
}

/// A sender's kernel leaves it to a veth (CHECKSUM_PARTIAL). `transport` is that of SCTP then.
bool is_open_sctp(const rte_mbuf& frame, const VirtioHeader& header, Transport& transport) noexcept {
  std::uint8_t protocol = 0;
  return find_innermost(frame, transport, protocol) && protocol == dataplane::protocol_sctp &&
         header.checksum_start == transport.start && header.checksum_offset == sctp_checksum_at &&
         transport.start + sctp_header_bytes <= std::min<std::uint32_t>(frame.data_len, transport.end);
}

}  // namespace

bool find_transport(const rte_mbuf& frame, Transport& transport) noexcept {
  std::uint8_t protocol = 0;
  if (!find_innermost(frame, transport, protocol)) return false;
  transport.is_tcp = protocol == dataplane::protocol_tcp;
  if (!transport.is_tcp && protocol != dataplane::protocol_udp) return false;
  const auto here = std::min<std::uint32_t>(frame.data_len, transport.end);
  const auto start = transport.start;
  if (start + (transport.is_tcp ? 20U : 8U) > here) return false;
  transport.header_bytes = transport.is_tcp ? (start_of(frame)[start + 12] >> 4) * 4U : 8U;
  return transport.header_bytes >= 8 && start + transport.header_bytes <= here;
}

void finish_checksum(rte_mbuf& frame, const Transport& transport) noexcept {
  finish(frame, transport.start, transport.end, transport.checksum(), !transport.is_tcp);
}

bool note_offload(rte_mbuf& frame, const VirtioHeader& header) noexcept {
  frame.ol_flags = 0;
  const auto gso = header.gso_type & ~virtio_gso_ecn;
  if (header.flags == 0 && gso == virtio_gso_none) return true;
  Transport transport;
  const bool has_transport = find_transport(frame, transport);
  if ((header.flags & virtio_needs_checksum) != 0) {
    const std::uint32_t field = std::uint32_t{header.checksum_start} + header.checksum_offset;
    if (has_transport && header.checksum_start == transport.start && field == transport.checksum()) {
      frame.ol_flags |= RTE_MBUF_F_RX_L4_CKSUM_NONE;
    } else if (is_open_sctp(frame, header, transport)) {
      if (!finish_sctp(frame, transport)) return false;
    } else if (field < header.checksum_start || field + 2 > frame.data_len || header.checksum_start >= frame.pkt_len ||
               !finish(frame, header.checksum_start, frame.pkt_len, field, false)) {
      return false;
    }
  } else if ((header.flags & virtio_data_valid) != 0) {
    frame.ol_flags |= RTE_MBUF_F_RX_L4_CKSUM_GOOD;
  }
  if (gso == virtio_gso_none) return true;
  const bool is_right = (gso == virtio_gso_tcp4 && !transport.is_v6) || (gso == virtio_gso_tcp6 && transport.is_v6);
  if (!has_transport || !transport.is_tcp || !is_right || header.segment_bytes == 0) return false;
  frame.ol_flags |= RTE_MBUF_F_RX_LRO;
  frame.tso_segsz = header.segment_bytes;
  return true;
}

VirtioHeader wanted_offload(const rte_mbuf& frame) noexcept {
  VirtioHeader header{};
  const auto flags = frame.ol_flags;
  const auto sum = flags & RTE_MBUF_F_TX_L4_MASK;
  if (sum != RTE_MBUF_F_TX_TCP_CKSUM && sum != RTE_MBUF_F_TX_UDP_CKSUM) return header;
  header.flags = virtio_needs_checksum;
  header.checksum_start = static_cast<std::uint16_t>(frame.l2_len + frame.l3_len);
  header.checksum_offset = sum == RTE_MBUF_F_TX_TCP_CKSUM ? 16 : 6;
  if ((flags & RTE_MBUF_F_TX_TCP_SEG) != 0) {
    header.gso_type = (flags & RTE_MBUF_F_TX_IPV6) != 0 ? virtio_gso_tcp6 : virtio_gso_tcp4;
    header.segment_bytes = frame.tso_segsz;
    header.header_bytes = static_cast<std::uint16_t>(header.checksum_start + frame.l4_len);
  }
  return header;
}

Segmenter::Segmenter(const rte_mbuf& frame, const Transport& transport, std::uint32_t segment_bytes) noexcept
    : frame_(frame),
      transport_(transport),
      segment_bytes_(segment_bytes),
      headers_(transport.start + transport.header_bytes),
      payload_(transport.end - headers_),
      piece_(&frame),
      piece_at_(headers_) {
  const bool is_known = transport.tunnel_ip == 0 || (transport.is_tunnel_v6 && !transport.has_more_tunnels);
  if (is_known && segment_bytes != 0) count_ = std::max(1U, (payload_ + segment_bytes - 1) / segment_bytes);
}

rte_mbuf* Segmenter::next(rte_mempool* pool) noexcept {
  const auto bytes = std::min(segment_bytes_, payload_ - done_ * segment_bytes_);
  rte_mbuf* first = rte_pktmbuf_alloc(pool);
  if (first == nullptr) return nullptr;
  if (headers_ > rte_pktmbuf_tailroom(first)) {
    rte_pktmbuf_free(first);
    return nullptr;
  }
  auto* at = start_of(*first);
  std::memcpy(at, start_of(frame_), headers_);
  first->data_len = static_cast<std::uint16_t>(headers_);
  first->pkt_len = headers_ + bytes;

  rte_mbuf* last = first;
  for (std::uint32_t left = bytes; left != 0;) {
    if (piece_at_ == piece_->data_len) {
      piece_ = piece_->next;
      piece_at_ = 0;
      continue;
    }
    if (rte_pktmbuf_tailroom(last) == 0) {
      last->next = rte_pktmbuf_alloc(pool);
      if (last->next == nullptr) {
        rte_pktmbuf_free(first);
        return nullptr;
      }
      last = last->next;
      ++first->nb_segs;
    }
    const auto some =
        std::min({left, std::uint32_t{piece_->data_len} - piece_at_, std::uint32_t{rte_pktmbuf_tailroom(last)}});
    std::memcpy(start_of(*last) + last->data_len, start_of(*piece_) + piece_at_, some);
    last->data_len = static_cast<std::uint16_t>(last->data_len + some);
    piece_at_ += some;
    left -= some;
  }

  Transport mine = transport_;
  mine.end = headers_ + bytes;
  if (mine.tunnel_ip != 0) store16(at + mine.tunnel_ip + 4, static_cast<std::uint16_t>(mine.end - mine.tunnel_ip - 40));
  auto* ip = at + mine.ip;
  dataplane::ChecksumSum pseudo;
  if (mine.is_v6) {
    store16(ip + 4, static_cast<std::uint16_t>(mine.end - mine.ip - 40));
    pseudo.add({ip + 8, 32});
  } else {
    store16(ip + 2, static_cast<std::uint16_t>(mine.end - mine.ip));
    store16(ip + 4, static_cast<std::uint16_t>(load16(ip + 4) + done_));
    store16(ip + 10, 0);
    dataplane::ChecksumSum header;
    header.add({ip, (ip[0] & 15U) * 4U});
    store16(ip + 10, header.finish());
    pseudo.add({ip + 12, 8});
  }
  auto* header = at + mine.start;
  const auto transport_bytes = mine.end - mine.start;
  if (mine.is_tcp) {
    store32(header + 4, load32(header + 4) + done_ * segment_bytes_);
    if (done_ + 1 < count_) header[13] = static_cast<std::uint8_t>(header[13] & ~(dataplane::tcp_fin | tcp_push));
    if (done_ != 0) header[13] = static_cast<std::uint8_t>(header[13] & ~tcp_cwr);
  } else {
    store16(header + 4, static_cast<std::uint16_t>(transport_bytes));
  }
  pseudo.add16(mine.is_tcp ? dataplane::protocol_tcp : dataplane::protocol_udp);
  pseudo.add32(transport_bytes);
  store16(at + mine.checksum(), pseudo.folded());
  finish_checksum(*first, mine);
  ++done_;
  return first;
}

}  // namespace ironcore::network::dpdk
