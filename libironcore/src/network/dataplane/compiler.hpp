// SPDX-License-Identifier: Apache-2.0
// From what the dataplane was told to what workers read.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "desired.hpp"
#include "generations.hpp"
#include "snapshot.hpp"

namespace ironcore::network::dataplane {

/// Keeps the numbers by which snapshots call things: each thing keeps its own as long as it is there. Thread: one.
class Compiler {
 public:
  /// `host`: the underlay prefix, a /64. `maglev_size`: a prime.
  explicit Compiler(const Prefix& host, std::uint32_t maglev_size = Maglev::default_size);

  /// The next snapshot: what is dirty is made anew from `desired`, everything else is shared with the one before. Notes in `generations` what
  /// changed, so publish it soon.
  std::unique_ptr<const Snapshot> compile(const Desired& desired, const Dirty& dirty, Generations& generations);

  // What is not told but found out; in the next snapshot.

  /// A port has come, by whatever name the configuration calls it. Numbers are small.
  void add_port(const std::string& name, std::uint32_t number, const MacAddress& mac);
  void remove_port(const std::string& name);
  void add_uplink(const UplinkView& uplink, const MacAddress& mac);
  /// The link, the neighbour or the weight of one that was added.
  void change_uplink(const UplinkView& uplink);
  void remove_uplink(std::uint32_t port);
  /// A machine's address, unless it was told.
  void learn_mac(const std::string& interface, const MacAddress& mac);

  /// The number of an interface or load balancer that is there.
  std::uint32_t interface_index(const std::string& id) const { return interfaces_.at(id).index; }
  std::uint32_t load_balancer_index(const std::string& id) const { return load_balancers_.at(id).index; }

 private:
  /// What a thing put into the tables that it shares with others, so that it can be taken out again.
  struct Entries {
    std::uint32_t index = 0;
    Vni vni;
    std::string port;           ///< of an interface
    std::vector<Prefix> local;  ///< of an interface
    std::vector<IpAddress> underlays;
    std::optional<IpAddress> balanced;  ///< of a load balancer
  };

  void compile_interface(const Desired& desired, const std::string& id);
  void compile_load_balancer(const Desired& desired, const std::string& id);
  void compile_routes(const Desired& desired, Vni vni, const std::vector<Prefix>& prefixes);
  void compile_next_hops(const Desired& desired, std::uint32_t set);
  void compile_neighbours(const Desired& desired, const IpAddress& address);

  void connect(const std::string& port, std::uint32_t interface);
  void disconnect(const std::string& port, std::uint32_t interface);
  void take_out(const Entries& entries);
  void add_local(Entries& entries, const Prefix& prefix);
  void add_underlay(Entries& entries, const std::optional<IpAddress>& address, UnderlayUse use);
  NetworkView& network(Vni vni);
  void finish_networks();
  void change(Generations::Slot slot) { generations_->change(slot, next_.number); }

  const std::uint32_t maglev_size_;
  Snapshot next_;  ///< a copy of it is the snapshot
  Generations* generations_ = nullptr;

  Numbers interface_numbers_;
  Numbers load_balancer_numbers_;
  Numbers underlay_numbers_;
  Numbers network_numbers_;
  Numbers hop_numbers_;
  Numbers neighbour_numbers_;
  std::map<std::string, Entries> interfaces_;
  std::map<std::string, Entries> load_balancers_;
  std::map<std::string, std::string> port_users_;              ///< port → interface
  std::map<std::string, std::uint32_t> ports_;                 ///< those that are there
  std::map<std::string, MacAddress> learned_;                  ///< of interfaces
  std::map<Vni, std::shared_ptr<NetworkView>> open_networks_;  ///< those that this batch changes
  struct Hop {
    std::uint32_t number = 0;
    std::uint32_t users = 0;
  };
  std::map<IpAddress, Hop> hops_;
  std::map<std::uint32_t, NextHopSets::Set> sets_;  ///< what each number of a set stands for in the snapshot
};

}  // namespace ironcore::network::dataplane
