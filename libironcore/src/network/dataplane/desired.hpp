// SPDX-License-Identifier: Apache-2.0
// The configuration that the dataplane was told: checked, complete, and changed by whole batches.
#pragma once

#include <functional>
#include <map>
#include <set>
#include <span>
#include <string>
#include <tuple>
#include <unordered_map>
#include <vector>

#include "chunked_array.hpp"
#include "ironcore/base/result.hpp"
#include "ironcore/network/configuration.hpp"
#include "prefix_map.hpp"
#include "underlay.hpp"

namespace ironcore::network::dataplane {

/// The next hops that some routes share; each set has a number as long as a route uses it.
class NextHopSets {
 public:
  using Set = std::vector<Route::NextHop>;  ///< in the order of their addresses
  std::uint32_t use(const Set& set);
  void release(std::uint32_t number);
  const Set& operator[](std::uint32_t number) const { return *entries_[number].set; }
  std::size_t size() const noexcept { return known_.size(); }

 private:
  struct Less {
    bool operator()(const Set& a, const Set& b) const;
  };
  struct Entry {
    const Set* set = nullptr;  ///< the key in `known_`
    std::uint32_t users = 0;
  };
  std::map<Set, std::uint32_t, Less> known_;
  std::vector<Entry> entries_;
  Numbers numbers_;
};

/// What a batch made different: whatever is compiled from one of these must be compiled again.
struct Dirty {
  std::set<std::string> interfaces;  ///< or something that belongs to them; also those that are gone
  std::set<std::string> load_balancers;
  std::set<NeighbourNatKey> neighbours;
  std::map<Vni, std::vector<Prefix>> routes;
  std::set<std::string> virtual_services;

  /// What became different, complete and in an order in which it can be repeated: objects as they are now, keys of those that are gone.
  std::vector<Change> changes;

  bool empty() const noexcept {
    return interfaces.empty() && load_balancers.empty() && neighbours.empty() && routes.empty() &&
           virtual_services.empty();
  }
  /// Of a later batch; without its `changes`.
  void add(const Dirty& later);
};

/// Thread: one.
class Desired {
 public:
  static constexpr std::size_t max_interfaces = 4096;
  static constexpr std::size_t max_vnis = 65'536;
  static constexpr std::size_t max_routes = 1'000'000;  ///< of one VNI and family
  static constexpr std::size_t max_next_hops = 64;      ///< of one route
  static constexpr std::size_t max_rules = 4096;        ///< of one interface
  static constexpr std::size_t max_services = 64;       ///< of one load balancer
  static constexpr std::size_t max_targets = 4096;      ///< of one load balancer
  static constexpr std::size_t max_virtual_services = 256;

  /// `underlay` is the host's /64; `seed` is random.
  Desired(const Prefix& underlay, std::uint64_t seed) : underlay_(underlay, seed) {}
  Desired(const Desired&) = delete;
  Desired& operator=(const Desired&) = delete;

  /// All of the batch or nothing. What is there already, or is gone already, is no change. An object that is told again without an underlay
  /// address keeps the one that it has. `invalid` with a field error for each thing that is wrong (`changes[3].prefix`), whether in an
  /// object itself or in how it fits to the others, as they are after the whole batch.
  /// `keep`, if given, gets what becomes different and has the last word: if it fails, nothing does.
  using Keep = std::function<Result<void>(std::span<const Change>)>;
  Result<Dirty> apply(std::span<const Change> batch, const Keep& keep = {});
  /// The same with what an `apply` has made different: underlay addresses are those that were made then.
  Result<Dirty> restore(std::span<const Change> batch);

  template <class Object>
  using Table = std::map<decltype(key_of(std::declval<Object>())), Object>;

  /// As told, with underlay addresses filled in.
  const Table<Interface>& interfaces() const noexcept { return interfaces_; }
  const Table<InterfacePrefix>& prefixes() const noexcept { return prefixes_; }
  const Table<VirtualIp>& virtual_ips() const noexcept { return virtual_ips_; }
  const Table<Nat>& nats() const noexcept { return nats_; }
  const Table<NeighbourNat>& neighbour_nats() const noexcept { return neighbour_nats_; }
  const Table<LoadBalancer>& load_balancers() const noexcept { return load_balancers_; }
  const Table<LoadBalancerTarget>& targets() const noexcept { return targets_; }
  const Table<FirewallRule>& rules() const noexcept { return rules_; }
  const Table<VirtualService>& virtual_services() const noexcept { return virtual_services_; }
  /// To numbers of next-hop sets.
  const std::map<Vni, PrefixMaps>& routes() const noexcept { return routes_; }
  const NextHopSets& next_hops() const noexcept { return next_hops_; }

 private:
  class Batch;

  Underlay underlay_;
  Table<Interface> interfaces_;
  Table<InterfacePrefix> prefixes_;
  Table<VirtualIp> virtual_ips_;
  Table<Nat> nats_;
  Table<NeighbourNat> neighbour_nats_;
  Table<LoadBalancer> load_balancers_;
  Table<LoadBalancerTarget> targets_;
  Table<FirewallRule> rules_;
  Table<VirtualService> virtual_services_;
  std::map<Vni, PrefixMaps> routes_;
  NextHopSets next_hops_;

  // Who has what may be had once.
  std::map<std::string, std::string> ports_;                                ///< → interface
  std::map<std::pair<Vni, IpAddress>, std::string> addresses_;              ///< of interfaces → interface
  std::map<std::pair<Vni, Prefix>, std::string> alias_prefixes_;            ///< → interface
  std::map<std::pair<Vni, IpAddress>, std::string> balanced_;               ///< → load balancer
  std::map<IpAddress, std::string> virtual_addresses_;                      ///< → interface
  std::map<std::pair<IpAddress, std::uint16_t>, std::uint16_t> nat_ports_;  ///< first → last, own and neighbours'
  std::map<std::tuple<IpAddress, std::uint8_t, std::uint16_t>, std::string>
      served_;                     ///< address, protocol and port → virtual service
  std::set<IpAddress> underlays_;  ///< of this host
};

}  // namespace ironcore::network::dataplane
