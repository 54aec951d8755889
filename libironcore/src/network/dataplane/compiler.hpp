// SPDX-License-Identifier: Apache-2.0
// From what the dataplane was told to what workers read.
#pragma once

#include <map>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "desired.hpp"
#include "generations.hpp"
#include "kept_flows.hpp"
#include "snapshot.hpp"

namespace ironcore::network::dataplane {

struct CompilerOptions {
  std::uint32_t maglev_size = Maglev::default_size;  ///< a prime
  std::size_t workers = 1;
  std::uint32_t connections = 1'000'000;  ///< of each worker
  std::uint64_t secret = 0;               ///< random
  KeptFlows* kept = nullptr;  ///< where numbers are noted; who was noted there before has the same ones again
};

/// Keeps the numbers by which snapshots call things: each thing keeps its own as long as it is there. Thread: one.
class Compiler {
 public:
  /// `host`: the underlay prefix, a /64.
  explicit Compiler(const Prefix& host, const CompilerOptions& options = {});

  /// The next snapshot: what is dirty is made anew from `desired`, everything else is shared with the one before. Notes in `generations` what
  /// changed, so publish it soon.
  std::unique_ptr<const Snapshot> compile(const Desired& desired, const Dirty& dirty, Generations& generations);
  /// Once what was there before a restart has been compiled, and flows have claimed their ports: who has not come back loses its number, and the
  /// restored flows are checked against the next snapshot.
  std::unique_ptr<const Snapshot> finish_restoring(Generations& generations);

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

  /// Those whose flows have all gone over to the pools that took their place. Each `compile` does it too.
  void let_go_of_nats();

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
    std::vector<std::pair<IpAddress, std::uint16_t>> publics;  ///< of an interface: the first port of each range
    std::optional<IpAddress> balanced;                         ///< of a load balancer
    std::vector<IpAddress> targets;                            ///< underlay addresses whose numbers it uses
  };

  void remember(const KeptFlows& kept);
  std::uint32_t interface_number(const std::string& id);
  std::uint32_t hop_number(const IpAddress& underlay);
  void note_service(const VirtualServiceView& view, std::uint32_t index);
  std::uint32_t home_of(std::uint32_t interface, std::uint32_t port);
  void next_number();
  void compile_interface(const Desired& desired, const std::string& id);
  void compile_nat(InterfaceView& view, std::uint32_t index, const InterfaceView* before);
  void compile_load_balancer(const Desired& desired, const std::string& id);
  void compile_virtual_service(const Desired& desired, const std::string& id);
  void compile_routes(const Desired& desired, Vni vni, const std::vector<Prefix>& prefixes);
  void compile_next_hops(const Desired& desired, std::uint32_t set);
  void compile_neighbour(const Desired& desired, const NeighbourNatKey& key);

  void attach(std::uint32_t interface, std::uint32_t port);
  void connect(const std::string& port, std::uint32_t interface);
  void disconnect(const std::string& port, std::uint32_t interface);
  void take_out(const Entries& entries);
  void take_out_service(const Entries& entries);
  void add_local(Entries& entries, const Prefix& prefix);
  void add_underlay(Entries& entries, const std::optional<IpAddress>& address, UnderlayUse use);
  void add_public(Entries& entries, const IpAddress& address, PublicRange range, const IpAddress& underlay);
  void set_public(const IpAddress& address, PublicRange range, const IpAddress& underlay);
  void remove_public(const IpAddress& address, std::uint16_t first_port);
  NetworkView& network(Vni vni);
  void finish_networks();
  void finish_link_routes(const Desired& desired);
  void finish_publics();
  void finish_hops();
  std::uint32_t use_hop(const IpAddress& underlay);
  void release_hop(const IpAddress& underlay);
  void change(Generations::Slot slot) { generations_->change(slot, next_.number); }

  const CompilerOptions options_;
  Snapshot next_;  ///< a copy of it is the snapshot
  Generations* generations_ = nullptr;

  Numbers interface_numbers_;
  Numbers load_balancer_numbers_;
  Numbers virtual_service_numbers_;
  Numbers underlay_numbers_;
  Numbers network_numbers_;
  Numbers hop_numbers_;
  Numbers public_numbers_;
  std::map<std::string, Entries> interfaces_;
  std::map<std::string, Entries> load_balancers_;
  std::map<std::string, Entries> virtual_services_;
  std::map<std::string, std::string> port_users_;              ///< port → interface
  std::map<std::string, std::uint32_t> ports_;                 ///< those that are there
  std::map<std::string, MacAddress> learned_;                  ///< of interfaces
  std::map<Vni, std::shared_ptr<NetworkView>> open_networks_;  ///< those that this batch changes
  struct Hop {
    std::uint32_t number = 0;
    std::uint32_t users = 0;
  };
  std::map<IpAddress, Hop> hops_;
  std::vector<IpAddress> released_hops_;  ///< by this batch
  struct Public {
    PublicRange range;
    IpAddress underlay;
  };
  std::map<IpAddress, std::map<std::uint16_t, Public>> publics_;  ///< by the first port
  std::set<IpAddress> changed_publics_;                           ///< by this batch
  bool is_restoring_ = false;
  std::map<std::string, std::uint32_t> remembered_interfaces_;  ///< who has not come back yet
  struct RememberedService {
    std::uint32_t index = 0;
    std::uint64_t born = 0;
  };
  std::map<std::uint64_t, RememberedService> remembered_services_;  ///< by what their underlay addresses end with
  std::map<IpAddress, std::uint32_t> remembered_hops_;
  std::vector<std::uint32_t> renewed_nats_;         ///< interfaces whose pools have a former one
  std::map<std::uint32_t, NextHopSets::Set> sets_;  ///< what each number of a set stands for in the snapshot
};

}  // namespace ironcore::network::dataplane
