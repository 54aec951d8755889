// SPDX-License-Identifier: Apache-2.0
// Short ways to write objects of the configuration, and random batches of them.
#pragma once

#include <random>
#include <string>
#include <string_view>
#include <vector>

#include "ironcore/network/configuration.hpp"

namespace ironcore::network::tests {

inline IpAddress ip(std::string_view text) {
  return IpAddress::parse(text).value();
}
inline Prefix prefix(std::string_view text) {
  return Prefix::parse(text).value();
}
inline Vni vni(std::uint32_t value) {
  return Vni::make(value).value();
}

inline Interface interface(const std::string& id, std::string_view ipv4 = "10.0.0.1", std::uint32_t network = 100) {
  Interface out;
  out.id = id;
  out.port = "port-" + id;
  out.vni = vni(network);
  out.ipv4 = ip(ipv4);
  return out;
}
inline Route route(std::string_view to, std::vector<std::string> hops, std::uint32_t network = 100) {
  Route out{vni(network), prefix(to), {}};
  for (const auto& hop : hops) out.next_hops.push_back({ip(hop), 1});
  return out;
}
inline Nat nat(const std::string& id, std::uint16_t first, std::uint16_t last, std::string_view address = "192.0.2.1") {
  return {id, ip(address), first, last, Nat::Ports::own, {}};
}
inline LoadBalancer balancer(const std::string& id, std::string_view address = "192.0.2.9") {
  return {id, vni(100), ip(address), {{protocol_tcp, 80, 80}}, {}};
}
inline VirtualService virtual_service(const std::string& id, std::string_view address = "169.254.1.53",
                                      std::uint16_t port = 53, std::uint8_t protocol = protocol_udp) {
  return {id, protocol, ip(address), port, ip("2001:db8:5::53"), 5353, {}};
}
inline FirewallRule rule(const std::string& id, const std::string& name) {
  FirewallRule out;
  out.interface = id;
  out.id = name;
  out.source = prefix("0.0.0.0/0");
  out.destination = prefix("0.0.0.0/0");
  return out;
}

/// Batches of a small world, so that most of what they say has to do with something else; about half of them contradict it.
class RandomBatches {
 public:
  explicit RandomBatches(std::uint32_t seed) : random_(seed) {}

  std::vector<Change> next() {
    std::vector<Change> batch;
    for (std::uint32_t i = 1 + pick(5); i > 0; --i) batch.push_back(change());
    return batch;
  }

  std::uint32_t pick(std::uint32_t count) { return static_cast<std::uint32_t>(random_() % count); }

 private:
  std::string id() { return std::string(1, static_cast<char>('a' + pick(5))); }
  std::string underlay() { return "2001:db8:2:2::" + std::to_string(pick(3) + 1); }

  Change change() {
    switch (pick(17)) {
      case 0:
      case 1: {
        auto out = interface(id(), IpAddress::v4(0x0a000001 + pick(6)).to_text(), 100 + pick(2));
        out.port = "port" + std::to_string(pick(7));
        return out;
      }
      case 2:
        return InterfaceKey{id()};
      case 3:
        return InterfacePrefix{id(),
                               prefix("10.1." + std::to_string(pick(3)) + ".0/24"),
                               pick(2) == 0 ? InterfacePrefix::Use::alias : InterfacePrefix::Use::load_balancer,
                               {}};
      case 4:
        return VirtualIp{id(), IpAddress::v4(0xc0000200 + pick(3)), {}};
      case 5: {
        const auto first = static_cast<std::uint16_t>(1 + pick(100));
        return nat(id(), first, static_cast<std::uint16_t>(first + pick(30)), "192.0.2." + std::to_string(pick(3)));
      }
      case 6: {
        const auto first = static_cast<std::uint16_t>(1 + pick(100));
        return NeighbourNat{vni(100), IpAddress::v4(0xc0000200 + pick(3)), first,
                            static_cast<std::uint16_t>(first + pick(30)), ip("2001:db8:2:2::1")};
      }
      case 7:
        return NatKey{id()};
      case 8:
        return balancer(id(), "192.0.2." + std::to_string(100 + pick(3)));
      case 9:
        return LoadBalancerTarget{id(), ip(underlay()), 1};
      case 10:
        return LoadBalancerKey{id()};
      case 11:
        return rule(id(), id());
      case 12:
        return VirtualIpKey{id(), false};
      case 13: {
        const auto protocol = pick(2) == 0 ? protocol_tcp : protocol_udp;
        return virtual_service(id(), "192.0.2." + std::to_string(pick(3)), static_cast<std::uint16_t>(53 + pick(2)),
                               protocol);
      }
      case 14:
        return VirtualServiceKey{id()};
      case 15:
        return RouteKey{vni(100), prefix("10." + std::to_string(pick(3)) + ".0.0/16")};
      default:
        return route(
            "10." + std::to_string(pick(3)) + ".0.0/16",
            pick(2) == 0 ? std::vector{underlay()} : std::vector<std::string>{"2001:db8:2:2::8", "2001:db8:2:2::9"});
    }
  }

  std::mt19937 random_;
};

}  // namespace ironcore::network::tests
