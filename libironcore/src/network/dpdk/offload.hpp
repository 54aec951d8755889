// SPDX-License-Identifier: Apache-2.0
// Checksums and segmentation, as devices ask for them, and in software.
#pragma once

#include <rte_mbuf.h>

#include <cstdint>

namespace ironcore::network::dpdk {

/// Before each frame of a tap or a guest (virtio 1.2 §5.1.6, in the byte order of this machine).
struct VirtioHeader {
  std::uint8_t flags = 0;
  std::uint8_t gso_type = 0;
  std::uint16_t header_bytes = 0;
  std::uint16_t segment_bytes = 0;
  std::uint16_t checksum_start = 0;
  std::uint16_t checksum_offset = 0;
};
static_assert(sizeof(VirtioHeader) == 10);
inline constexpr std::uint8_t virtio_needs_checksum = 1;
inline constexpr std::uint8_t virtio_data_valid = 2;
inline constexpr std::uint8_t virtio_gso_none = 0;
inline constexpr std::uint8_t virtio_gso_tcp4 = 1;
inline constexpr std::uint8_t virtio_gso_tcp6 = 4;
inline constexpr std::uint8_t virtio_gso_ecn = 0x80;

/// What a virtio header says about a frame, noted in its buffer. A checksum that is not TCP's or UDP's of the innermost packet is finished at once, that of
/// SCTP as a CRC32c. False if the header contradicts the frame.
bool note_offload(rte_mbuf& frame, const VirtioHeader& header) noexcept;
/// The header for what a buffer asks for on its way out.
VirtioHeader wanted_offload(const rte_mbuf& frame) noexcept;

/// Where the innermost IP packet of a frame is, and its TCP or UDP header; from the first byte of the frame.
struct Transport {
  std::uint32_t ip = 0;
  std::uint32_t start = 0;
  std::uint32_t header_bytes = 0;  ///< of TCP or UDP
  std::uint32_t end = 0;           ///< of the IP packet; padding comes behind it
  std::uint32_t tunnel_ip = 0;     ///< the outermost IP header; 0 = there is none around this one
  bool is_tunnel_v6 = false;
  bool has_more_tunnels = false;
  bool is_v6 = false;
  bool is_tcp = false;  ///< else UDP
  std::uint32_t checksum() const noexcept { return start + (is_tcp ? 16U : 6U); }
};

/// False if there is no whole TCP or UDP packet, with all its headers in the first piece.
bool find_transport(const rte_mbuf& frame, Transport& transport) noexcept;

/// The field holds the sum of the pseudo header.
void finish_checksum(rte_mbuf& frame, const Transport& transport) noexcept;

/// So many packets a frame may become: more would let small segments hold up everybody.
constexpr std::uint32_t most_segments = 1024;

/// Cuts a frame into packets of `segment_bytes` of payload, one after the other.
class Segmenter {
 public:
  Segmenter(const rte_mbuf& frame, const Transport& transport, std::uint32_t segment_bytes) noexcept;
  bool is_possible() const noexcept { return count_ >= 1 && count_ <= most_segments; }
  std::uint32_t count() const noexcept { return count_; }
  /// The next one, with all checksums right; null if there is no buffer.
  rte_mbuf* next(rte_mempool* pool) noexcept;

 private:
  const rte_mbuf& frame_;
  const Transport transport_;
  const std::uint32_t segment_bytes_;
  const std::uint32_t headers_;  ///< all of them
  std::uint32_t payload_;
  std::uint32_t count_ = 0;
  std::uint32_t done_ = 0;
  const rte_mbuf* piece_;   ///< where the payload goes on
  std::uint32_t piece_at_;  ///< and how far in it
};

}  // namespace ironcore::network::dpdk
