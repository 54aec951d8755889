// SPDX-License-Identifier: Apache-2.0
// All tables are ordered, so that a key says where one was.
#include "object_walk.hpp"

#include <array>
#include <iterator>
#include <type_traits>
#include <variant>

namespace ironcore::network::dataplane {

namespace {

IpAddress address_of(PrefixBits bits, bool is_v6) {
  if (!is_v6) return IpAddress::v4(static_cast<std::uint32_t>(bits.high >> 32));
  std::array<std::uint8_t, 16> bytes{};
  for (std::size_t i = 0; i < 8; ++i) {
    bytes[i] = static_cast<std::uint8_t>(bits.high >> (56 - 8 * i));
    bytes[8 + i] = static_cast<std::uint8_t>(bits.low >> (56 - 8 * i));
  }
  return IpAddress::v6(bytes);
}

}  // namespace

bool each_route(const Desired& desired, const std::optional<RouteKey>& after,
                const std::function<bool(const RouteKey& key, std::uint32_t next_hops)>& take) {
  const auto& networks = desired.routes();
  for (auto it = after ? networks.lower_bound(after->vni) : networks.begin(); it != networks.end(); ++it) {
    const bool is_within = after && after->vni == it->first;
    for (const bool is_v6 : {false, true}) {
      if (is_within && !is_v6 && !after->prefix.is_v4()) continue;  // all of IPv4 is before it
      std::optional<PrefixMap::Place> behind;
      if (is_within && is_v6 != after->prefix.is_v4())
        behind = {bits_of(after->prefix.address()), after->prefix.length()};
      const bool is_all = it->second.of(is_v6).visit(behind, [&](PrefixBits bits, unsigned length, std::uint32_t set) {
        return take(RouteKey{it->first, Prefix::make(address_of(bits, is_v6), length).value()}, set);
      });
      if (!is_all) return false;
    }
  }
  return true;
}

bool ObjectWalk::go_on(const Desired& desired, const TakeObject& take) {
  const auto table = [&](const auto& objects) {
    using Key = typename std::remove_cvref_t<decltype(objects)>::key_type;
    auto it = last_ ? objects.upper_bound(std::get<Key>(*last_)) : objects.begin();
    for (; it != objects.end(); ++it) {
      if (take(it->second)) continue;
      last_ = it->first;
      return false;
    }
    return true;
  };
  const auto routes = [&] {
    const auto after = last_ ? std::optional(std::get<RouteKey>(*last_)) : std::nullopt;
    return each_route(desired, after, [&](const RouteKey& key, std::uint32_t set) {
      if (take(Route{key.vni, key.prefix, desired.next_hops()[set]})) return true;
      last_ = key;
      return false;
    });
  };
  const std::function<bool()> kinds[] = {
      [&] { return table(desired.interfaces()); },       [&] { return table(desired.prefixes()); },
      [&] { return table(desired.virtual_ips()); },      [&] { return table(desired.nats()); },
      [&] { return table(desired.neighbour_nats()); },   [&] { return table(desired.load_balancers()); },
      [&] { return table(desired.targets()); },          [&] { return table(desired.rules()); },
      [&] { return table(desired.virtual_services()); }, routes};
  for (; kind_ < std::size(kinds); ++kind_) {
    if (!kinds[kind_]()) return false;
    last_.reset();
  }
  return true;
}

}  // namespace ironcore::network::dataplane
