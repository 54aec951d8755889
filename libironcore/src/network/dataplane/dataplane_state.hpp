// SPDX-License-Identifier: Apache-2.0
// What the files of `Dataplane` share. One lock for all of control; workers meet it only in what is published for them and what they count.
#pragma once

#include <atomic>
#include <condition_variable>
#include <map>
#include <mutex>
#include <set>

#include "captures.hpp"
#include "change_log.hpp"
#include "compiler.hpp"
#include "configuration_log.hpp"
#include "crossing.hpp"
#include "desired.hpp"
#include "generations.hpp"
#include "ironcore/network/dataplane.hpp"
#include "kept_flows.hpp"
#include "learned_macs.hpp"
#include "published.hpp"
#include "router_neighbor.hpp"
#include "tally.hpp"
#include "worker.hpp"

namespace ironcore::network {

struct Dataplane::State {
  using Captures = dataplane::Captures;
  using ChangeLog = dataplane::ChangeLog;
  using Compiler = dataplane::Compiler;
  using ConfigurationLog = dataplane::ConfigurationLog;
  using Crossing = dataplane::Crossing;
  using Desired = dataplane::Desired;
  using Dirty = dataplane::Dirty;
  using Generations = dataplane::Generations;
  using KeptFlows = dataplane::KeptFlows;
  using LearnedMacs = dataplane::LearnedMacs;
  using PortTally = dataplane::PortTally;
  using RouterMail = dataplane::RouterMail;
  using RouterNeighbor = dataplane::RouterNeighbor;
  using Snapshot = dataplane::Snapshot;
  using Tallies = dataplane::Tallies;
  using UplinkView = dataplane::UplinkView;
  using Worker = dataplane::Worker;
  using WorkerOptions = dataplane::WorkerOptions;
  using Snapshots = dataplane::Published<Snapshot>;

  static constexpr std::size_t burst = 32;

  /// What a worker is asked to do between two bursts.
  struct Request {
    Packet packet;
    std::optional<Explanation> answer;
    bool is_done = false;
  };

  /// A worker and what is of its thread.
  struct Lane {
    Lane(Snapshots& snapshots, std::size_t number, const Generations& generations, LearnedMacs& learned,
         const WorkerOptions& options, Crossing* crossing)
        : worker(snapshots, number, generations, learned, options, crossing) {}
    Worker worker;
    Tallies tallies;
    const Captures::Taps* taps = nullptr;     ///< in a round: what is captured, if anything is
    std::atomic<Request*> request = nullptr;  ///< of somebody who waits for it
    std::array<Packet, burst> packets;
    std::array<Packet, burst> dropped;
  };

  /// How much of a port's counters is an interface's.
  struct InterfaceTally {
    std::string port;
    std::optional<std::uint32_t> number;
    PortTally base;    ///< of the port when the interface got it
    PortTally before;  ///< at ports that it had before
  };

  State(DataplaneOptions with, Ports& its_ports, Clock& its_clock, Log& its_log, std::uint64_t seed,
        std::unique_ptr<ConfigurationLog> its_configuration, std::unique_ptr<KeptFlows> its_flows);

  /// What is between workers goes back to where it came from.
  ~State();
  State(const State&) = delete;
  State& operator=(const State&) = delete;

  // ---- control, with the mutex ----

  Result<void> check_ports(std::span<const Change> batch) const;
  void publish(const Dirty& dirty) { snapshots.publish(compiler.compile(desired, dirty, generations)); }
  void tend();

  /// What a former process left, to everybody.
  Result<void> restore();
  /// Some of it, when it is time. An error: nothing can be kept until it is done.
  Result<void> compact();

  /// Null: it is no uplink.
  const Uplink* uplink_of(const std::string& port) const;
  UplinkView view_of(const PortState& port, const Uplink& uplink) const;
  std::size_t number_of(const Uplink& uplink) const;
  /// What routers have said, and what is to be asked of them. True: the workers are to know something else.
  bool watch_routers();
  /// The link is another one, perhaps with another router.
  void forget_router(const Uplink& uplink);
  void port_goes(const PortState& port);
  void port_comes(const PortState& port);
  /// What the ports are now, to the workers.
  void sync_ports();

  /// What all workers have counted there.
  PortTally total(std::uint32_t port) const;
  PortTally sum_of(const InterfaceTally& tally) const;
  std::optional<MacAddress> heard_mac(const std::string& id) const;
  /// From now on what is counted at this port is the interface's.
  void count_at(const std::string& interface, const std::string& port);
  /// Those that were told anew, or are gone.
  void follow_interfaces(const std::set<std::string>& ids);

  // ---- workers ----

  std::size_t round(std::size_t queue) noexcept;
  void announce(Lane& lane, std::size_t queue, std::uint64_t now_ns) noexcept;
  void send(Lane& lane, std::size_t queue, std::span<const Packet> packets, std::uint64_t now_ns) noexcept;
  void ask_routers(Lane& lane, std::size_t queue, std::uint64_t now_ns) noexcept;
  void serve(Lane& lane, std::uint64_t now_ns) noexcept;
  void finish(Lane& lane, std::size_t queue, std::size_t count, std::uint64_t now_ns) noexcept;
  static void count_offloaded(Tallies& tallies, const dataplane::OffloadedFlows& offloaded) noexcept;

  const DataplaneOptions options;
  const std::unique_ptr<ConfigurationLog> configuration;  ///< null = what is told is not kept
  const std::unique_ptr<KeptFlows> kept;                  ///< null = connections are not
  Ports& ports;
  Clock& clock;
  Log& log;
  std::vector<RouterNeighbor> routers;  ///< of the uplinks as they were told; where a MAC was told, nothing is asked
  RouterMail router_mail{options.uplinks.size()};

  mutable std::mutex mutex;
  mutable std::condition_variable_any applied;
  Generations generations;
  LearnedMacs learned{Desired::max_interfaces};
  Desired desired;
  Compiler compiler;
  Snapshots snapshots;
  ChangeLog changes;
  std::vector<PortState> known_ports;  ///< by their numbers
  std::map<std::string, std::uint32_t> port_numbers;
  std::map<std::string, InterfaceTally> interface_tallies;
  std::map<std::string, std::string> port_users;  ///< port → interface

  Captures captures;
  Crossing crossing{ports.queues()};
  std::vector<std::unique_ptr<Lane>> lanes;
  std::mutex asking_mutex;   ///< one asks at a time
  std::mutex request_mutex;  ///< of the request that a worker has taken
  std::condition_variable_any answered;
};

}  // namespace ironcore::network
