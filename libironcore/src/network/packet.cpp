// SPDX-License-Identifier: Apache-2.0
// Names of the reasons.
#include "ironcore/network/packet.hpp"

namespace ironcore::network {

std::string_view name(Drop drop) noexcept {
  constexpr std::array<std::string_view, drop_reasons> names = {
      "none",    "port",      "ethertype",   "malformed",  "source_mac",  "source_address",
      "outer",   "underlay",  "destination", "fragment",   "egress_rule", "ingress_rule",
      "route",   "hop_limit", "too_big",     "table_full", "port_gone",   "neighbour",
      "uplink",  "headroom",  "local",       "nat_ports",  "nat_inside",  "translation",
      "service", "target",    "rate",        "busy",       "elsewhere"};
  static_assert(!names.back().empty());
  return names[static_cast<std::size_t>(drop)];
}

}  // namespace ironcore::network
