// SPDX-License-Identifier: Apache-2.0
// A small cache with four places for each hash.
#include "fragments.hpp"

#include <algorithm>
#include <cstring>

#include "hash.hpp"

namespace ironcore::network::dataplane {

namespace {

bool is_icmp(const Headers& headers) noexcept {
  return headers.protocol == (headers.is_v6 ? protocol_icmpv6 : protocol_icmp);
}

}  // namespace

Fragments::Fragments(std::uint32_t capacity, std::uint64_t secret)
    : secret_(secret), sets_(std::max<std::size_t>(capacity / ways, 1)) {
  noted_.room = static_cast<std::uint32_t>(sets_.size() * ways);
}

void Fragments::sweep_some(Tick now, std::size_t sets) noexcept {
  for (sets = std::min(sets, sets_.size()); sets > 0; --sets) {
    for (auto& entry : sets_[swept_].entries) {
      if (entry.seen == 0 || is_fresh(entry, now)) continue;
      entry.seen = 0;
      --used_;
    }
    swept_ = swept_ + 1 == sets_.size() ? 0 : swept_ + 1;
  }
  noted_.used.store(used_, std::memory_order_relaxed);
}

std::uint8_t Fragments::owner_of(FlowScope scope) const noexcept {
  std::uint64_t word = 0;
  const auto suffix = scope.underlay_suffix();
  std::memcpy(&word, suffix.data(), sizeof word);
  return static_cast<std::uint8_t>(fold_product(word ^ secret_, hash_seeds[scope.is_wire() ? 0 : 1]) >> 56);
}

/// For a newcomer, which counts among those of its owner.
Fragments::Entry& Fragments::place_in(Set& set, std::uint8_t owner, Tick now) noexcept {
  Entry* found = nullptr;
  std::uint32_t most = 0;
  for (auto& entry : set.entries) {
    if (!is_fresh(entry, now)) return entry;
    const bool is_its = entry.owner == owner;
    const auto count = static_cast<std::uint32_t>(std::count_if(
        set.entries.begin(), set.entries.end(), [&](const Entry& other) { return other.owner == entry.owner; }));
    // Among equals the newcomer's own gives way, then the oldest.
    const auto rank = ((count + (is_its ? 1U : 0U)) * 2 + (is_its ? 1U : 0U)) * lifetime + age(entry, now);
    if (found != nullptr && rank <= most) continue;
    found = &entry;
    most = rank;
  }
  return *found;
}

std::uint64_t Fragments::datagram_of(FlowScope scope, const std::uint8_t* ip, const Headers& headers) const noexcept {
  Headers shared;
  shared.is_v6 = headers.is_v6;
  // In IPv6 the protocol of a later fragment may be an extension header in front of that of the first one.
  if (!headers.is_v6) shared.protocol = headers.protocol;
  const std::uint64_t words[] = {FlowKey(scope, ip, shared).hash(secret_), headers.fragment_id};
  return hash_words(words, secret_);
}

bool Fragments::track(FlowScope scope, const std::uint8_t* ip, Headers& headers, Tick now) noexcept {
  const std::uint64_t datagram = datagram_of(scope, ip, headers);
  auto& set = sets_[reduce(datagram, static_cast<std::uint32_t>(sets_.size()))];
  auto& entries = set.entries;
  const auto known = std::find_if(entries.begin(), entries.end(), [&](const Entry& entry) {
    return entry.datagram == datagram && is_fresh(entry, now);
  });
  if (!headers.is_first) {
    if (known == entries.end()) return false;
    headers.protocol = known->protocol;
    headers.source_port = known->source_port;
    headers.destination_port = known->destination_port;
    if (is_icmp(headers)) {
      headers.icmp_type = static_cast<std::uint8_t>(known->destination_port >> 8);
      headers.icmp_code = static_cast<std::uint8_t>(known->destination_port);
      headers.destination_port = known->source_port;
    }
    return true;
  }
  const auto owner = owner_of(scope);
  auto& place = known != entries.end() ? *known : place_in(set, owner, now);
  if (place.seen == 0) noted_.used.store(++used_, std::memory_order_relaxed);
  // An echo has one identifier, and all ICMP has a type.
  const auto second = is_icmp(headers) ? static_cast<std::uint16_t>(headers.icmp_type << 8 | headers.icmp_code)
                                       : headers.destination_port;
  place = {datagram, headers.source_port, second, stamp(now), owner, headers.protocol};
  return true;
}

}  // namespace ironcore::network::dataplane
