// SPDX-License-Identifier: Apache-2.0
// Which connections have to be checked again after a change of the configuration.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>

#include "hash.hpp"
#include "ironcore/base/vni.hpp"
#include "prefix_map.hpp"

namespace ironcore::network::dataplane {

/// For each slot the number of the configuration that last changed what the slot stands for. Several things may share one: then a connection is
/// checked once too often. Control notes a change before it publishes the configuration of that number; a worker that has the
/// number of the one it reads sees the change, and one that still reads an older one checks now and once more. Thread: one writes, any reads.
class Generations {
 public:
  using Slot = std::uint16_t;
  static constexpr Slot nothing = 0;   ///< never changes
  static constexpr Slot restored = 1;  ///< of connections from before a restart: changes once, behind it

  static Slot interface(std::uint32_t index) noexcept {
    return static_cast<Slot>(first_interface + index % interfaces);
  }
  /// Prefixes of the network that are too short for a slot of their own.
  static Slot network(Vni vni) noexcept { return hashed(vni.value(), 0, first_network, networks); }
  static Slot load_balancer(std::uint32_t index) noexcept {
    return hashed(index, 1, first_load_balancer, load_balancers);
  }
  /// Of a public address, of which neighbours have ports.
  static Slot nat(PrefixBits address) noexcept { return hashed(address.high, 2, first_nat, nats); }
  /// Routes and local addresses around an address.
  static Slot route(Vni vni, bool is_v6, PrefixBits address) noexcept {
    return hashed(first_bits(address, route_bits(is_v6)).high, vni.value() << 1 | (is_v6 ? 1U : 0U), first_route,
                  routes);
  }
  /// What changes with a prefix: everything in the network, or only what is near.
  static Slot prefix(Vni vni, bool is_v6, PrefixBits bits, unsigned length) noexcept {
    return length < route_bits(is_v6) ? network(vni) : route(vni, is_v6, bits);
  }

  void change(Slot slot, std::uint64_t number) noexcept { changed_[slot].store(number, std::memory_order_release); }
  /// Whether none of them changed after the configuration of this number.
  template <class Slots>
  bool is_unchanged(const Slots& slots, std::uint64_t number) const noexcept {
    std::uint64_t latest = 0;
    for (const Slot slot : slots) {
      const std::uint64_t changed = changed_[slot].load(std::memory_order_relaxed);
      latest = changed > latest ? changed : latest;
    }
    return latest <= number;
  }

 private:
  static constexpr std::uint32_t count = 65'536;
  static constexpr std::uint32_t interfaces = 4096;
  static constexpr std::uint32_t networks = 4096;
  static constexpr std::uint32_t load_balancers = 4096;
  static constexpr std::uint32_t nats = 4096;
  static constexpr std::uint32_t first_interface = 2;
  static constexpr std::uint32_t first_network = first_interface + interfaces;
  static constexpr std::uint32_t first_load_balancer = first_network + networks;
  static constexpr std::uint32_t first_nat = first_load_balancer + load_balancers;
  static constexpr std::uint32_t first_route = first_nat + nats;
  static constexpr std::uint32_t routes = count - first_route;

  static constexpr unsigned route_bits(bool is_v6) noexcept { return is_v6 ? 32 : 16; }
  static Slot hashed(std::uint64_t a, std::uint64_t b, std::uint32_t first, std::uint32_t slots) noexcept {
    return static_cast<Slot>(first + reduce(fold_product(a ^ hash_seeds[0], b ^ hash_seeds[1]), slots));
  }

  std::unique_ptr<std::atomic<std::uint64_t>[]> changed_ = std::make_unique<std::atomic<std::uint64_t>[]>(count);
};

}  // namespace ironcore::network::dataplane
