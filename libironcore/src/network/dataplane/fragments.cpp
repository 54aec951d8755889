// SPDX-License-Identifier: Apache-2.0
// A small cache with four places for each hash.
#include "fragments.hpp"

#include <algorithm>

#include "hash.hpp"

namespace ironcore::network::dataplane {

namespace {

bool is_icmp(const Headers& headers) noexcept {
  return headers.protocol == (headers.is_v6 ? protocol_icmpv6 : protocol_icmp);
}

}  // namespace

Fragments::Fragments(std::uint32_t capacity, std::uint64_t secret)
    : secret_(secret), sets_(std::max<std::size_t>(capacity / ways, 1)) {}

bool Fragments::is_fresh(const Entry& entry, Tick now) noexcept {
  const std::uint32_t age = (stamp(now) - (entry.seen_and_protocol >> 8)) & 0xff'ffff;
  return entry.seen_and_protocol != 0 && age < lifetime;
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
  auto& entries = sets_[reduce(datagram, static_cast<std::uint32_t>(sets_.size()))].entries;
  const auto known = std::find_if(entries.begin(), entries.end(), [&](const Entry& entry) {
    return entry.datagram == datagram && is_fresh(entry, now);
  });
  if (!headers.is_first) {
    if (known == entries.end()) return false;
    headers.protocol = static_cast<std::uint8_t>(known->seen_and_protocol);
    headers.source_port = known->source_port;
    headers.destination_port = known->destination_port;
    if (is_icmp(headers)) {
      headers.icmp_type = static_cast<std::uint8_t>(known->destination_port >> 8);
      headers.icmp_code = static_cast<std::uint8_t>(known->destination_port);
      headers.destination_port = known->source_port;
    }
    return true;
  }
  const auto age = [&](const Entry& entry) {
    return is_fresh(entry, now) ? (stamp(now) - (entry.seen_and_protocol >> 8)) & 0xff'ffff : lifetime;
  };
  const auto place = known != entries.end()
                         ? known
                         : std::max_element(entries.begin(), entries.end(),
                                            [&](const Entry& a, const Entry& b) { return age(a) < age(b); });
  // An echo has one identifier, and all ICMP has a type.
  const auto second = is_icmp(headers) ? static_cast<std::uint16_t>(headers.icmp_type << 8 | headers.icmp_code)
                                       : headers.destination_port;
  *place = {datagram, headers.source_port, second, stamp(now) << 8 | headers.protocol};
  return true;
}

}  // namespace ironcore::network::dataplane
