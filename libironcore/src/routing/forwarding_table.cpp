// SPDX-License-Identifier: Apache-2.0
// Hops in order and as text.
#include "ironcore/routing/forwarding_table.hpp"

#include <algorithm>
#include <tuple>

namespace ironcore::routing {

std::vector<ForwardingHop> merged(std::vector<ForwardingHop> hops) {
  if (hops.size() < 2) return hops;
  const auto what = [](const ForwardingHop& hop) {
    return std::tie(hop.address, hop.type, hop.nat_ports, hop.target_vni);
  };
  std::ranges::sort(hops, [&](const ForwardingHop& a, const ForwardingHop& b) {
    return what(a) != what(b) ? what(a) < what(b) : a.weight > b.weight;
  });
  hops.erase(std::unique(hops.begin(), hops.end(),
                         [&](const ForwardingHop& a, const ForwardingHop& b) { return what(a) == what(b); }),
             hops.end());
  return hops;
}

std::string to_text(const ForwardingHop& hop) {
  auto text = hop.address.to_text();
  if (hop.type != RouteType::standard) text += "#" + std::string(name(hop.type));
  if (hop.type == RouteType::nat)
    text += "#" + std::to_string(hop.nat_ports.from) + "#" + std::to_string(hop.nat_ports.to);
  if (hop.target_vni.value() != 0) text += ",target=" + hop.target_vni.to_text();
  if (hop.weight != 1) text += ",weight=" + std::to_string(hop.weight);
  return text;
}

std::vector<ForwardingHop> ForwardingTable::as_listed(const ForwardingEntry& entry) const {
  return entry.hops;
}

}  // namespace ironcore::routing
