// SPDX-License-Identifier: Apache-2.0
// A hash table of chains over entries of a fixed number.
#include "nat_peers.hpp"

#include "hash.hpp"

namespace ironcore::network::dataplane {

namespace {

constexpr std::uint32_t nil = 0xffff'ffff;

}  // namespace

NatPeers::NatPeers(std::uint32_t capacity, std::uint64_t secret)
    : secret_(secret), free_(capacity == 0 ? nil : 0), entries_(capacity), chains_(std::size_t{capacity} * 2, nil) {
  for (std::uint32_t i = 0; i < capacity; ++i) entries_[i].next = i + 1 == capacity ? nil : i + 1;
}

std::uint64_t NatPeers::peer_of(std::uint16_t port, const Outside& outside) noexcept {
  // Outside a NAT all addresses are of 32 bits.
  return outside.address.high | static_cast<std::uint64_t>(outside.space) << 16 | port;
}

std::uint32_t NatPeers::chain(std::uint64_t peer) const noexcept {
  return reduce(fold_product(peer ^ secret_ ^ hash_seeds[0], hash_seeds[1]),
                static_cast<std::uint32_t>(chains_.size()));
}

std::uint32_t& NatPeers::find(std::uint64_t peer) noexcept {
  auto* link = &chains_[chain(peer)];
  while (*link != nil && entries_[*link].peer != peer) link = &entries_[*link].next;
  return *link;
}

void NatPeers::add(std::uint16_t port, const Outside& outside) noexcept {
  if (entries_.empty()) return;
  const auto peer = peer_of(port, outside);
  auto& link = find(peer);
  if (link != nil) {
    ++entries_[link].flows;
    return;
  }
  if (free_ == nil) return;
  const auto taken = free_;
  free_ = entries_[taken].next;
  entries_[taken] = {peer, 1, nil};
  link = taken;
  ++used_;
}

void NatPeers::remove(std::uint16_t port, const Outside& outside) noexcept {
  if (entries_.empty()) return;
  auto& link = find(peer_of(port, outside));
  if (link == nil || --entries_[link].flows > 0) return;
  const auto freed = link;
  link = entries_[freed].next;
  entries_[freed].next = free_;
  free_ = freed;
  --used_;
}

bool NatPeers::has(std::uint16_t port, const Outside& outside) const noexcept {
  if (entries_.empty()) return false;
  const auto peer = peer_of(port, outside);
  auto at = chains_[chain(peer)];
  while (at != nil && entries_[at].peer != peer) at = entries_[at].next;
  return at != nil;
}

}  // namespace ironcore::network::dataplane
