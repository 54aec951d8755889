// SPDX-License-Identifier: Apache-2.0
// Which addresses the ports of a NAT talk to.
#pragma once

#include <cstdint>
#include <vector>

#include "nat_ports.hpp"

namespace ironcore::network::dataplane {

/// For each port the addresses to which it has flows, whatever their ports there: who may send to it by address-dependent filtering (RFC 4787
/// §5). Adding, removing and asking take a constant time (a short chain of a hash table). What has no room is not known; so a filter may be too
/// narrow when a machine floods, but never too wide. Memory: 24 bytes for each of `capacity`, made at construction. Thread: one.
class NatPeers {
 public:
  NatPeers(std::uint32_t capacity, std::uint64_t secret);

  /// One flow more or less between them; the port of the outside does not matter.
  void add(std::uint16_t port, const Outside& outside) noexcept;
  void remove(std::uint16_t port, const Outside& outside) noexcept;
  bool has(std::uint16_t port, const Outside& outside) const noexcept;

  std::uint32_t used() const noexcept { return used_; }
  std::uint32_t capacity() const noexcept { return static_cast<std::uint32_t>(entries_.size()); }

 private:
  struct Entry {
    std::uint64_t peer = 0;  ///< address, space and port
    std::uint32_t flows = 0;
    std::uint32_t next = 0;  ///< of its chain, or of the free ones
  };
  static_assert(sizeof(Entry) == 16);

  static std::uint64_t peer_of(std::uint16_t port, const Outside& outside) noexcept;
  std::uint32_t chain(std::uint64_t peer) const noexcept;
  /// The place that holds the index of the peer's entry, or the end of its chain.
  std::uint32_t& find(std::uint64_t peer) noexcept;

  std::uint64_t secret_;
  std::uint32_t free_;
  std::uint32_t used_ = 0;
  std::vector<Entry> entries_;
  std::vector<std::uint32_t> chains_;  ///< first entries, by hash
};

}  // namespace ironcore::network::dataplane
