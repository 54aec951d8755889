// SPDX-License-Identifier: Apache-2.0
// Rights, looked up.
#include "ironcore/routing/rights.hpp"

#include <algorithm>

namespace ironcore::routing {

namespace {

bool holds(const VniRange& range, std::uint32_t vni) {
  return range.from <= vni && vni <= range.to;
}

}  // namespace

bool NodeRights::may_announce(std::uint32_t vni, const Prefix& prefix) const {
  return std::ranges::any_of(announcements, [&](const Announcements& right) {
    return holds(right.vnis, vni) &&
           std::ranges::any_of(right.prefixes, [&](const Prefix& allowed) { return allowed.contains(prefix); });
  });
}

bool NodeRights::may_subscribe(std::uint32_t vni) const {
  return may_peer || std::ranges::any_of(subscriptions, [&](const VniRange& range) { return holds(range, vni); });
}

}  // namespace ironcore::routing
