// SPDX-License-Identifier: Apache-2.0
// What one processor core does with bursts of packets.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "crossing.hpp"
#include "decision.hpp"
#include "dispatch.hpp"
#include "flow_table.hpp"
#include "fragments.hpp"
#include "gateway.hpp"
#include "generations.hpp"
#include "ironcore/network/explanation.hpp"
#include "ironcore/network/packet.hpp"
#include "kept_flows.hpp"
#include "learned_macs.hpp"
#include "offloaded_flows.hpp"
#include "published.hpp"
#include "snapshot.hpp"
#include "tally.hpp"
#include "tracking.hpp"

namespace ironcore::network::dataplane {

struct WorkerOptions {
  std::uint32_t connections = 1'000'000;  ///< room for so many
  std::uint32_t fragments = 16'384;       ///< datagrams in pieces, likewise
  std::size_t interfaces = 4096;          ///< those with larger numbers have no connections
  std::uint64_t secret = 0;               ///< random
  KeptFlows* kept = nullptr;              ///< where connections outlive the process; null = nowhere
  Timeouts timeouts;
  bool has_firewall = true;
  GatewayOptions gateway;
  FlowOffload* flow_offload = nullptr;  ///< for busy connections, if there is one; the worker's queue is its number
  OffloadOptions offload;
};

/// A packet whose flow is known costs one search and one rewrite. The first one of a flow takes the slow path (`decide`), which leaves a connection
/// with an action for each direction; when the configuration changes what a connection depends on, its next packet takes it again. What this
/// host sends to itself is encapsulated, and then taken like a packet from the wire. Nothing here waits, allocates or throws. Thread: one.
class Worker {
 public:
  /// `number`: this worker's among those of `snapshots` and of NATs. What is passed in must outlive the worker.
  /// `crossing`: how packets get to the others; null = there are none.
  Worker(Published<Snapshot>& snapshots, std::size_t number, const Generations& generations, LearnedMacs& learned,
         const WorkerOptions& options, Crossing* crossing = nullptr);

  /// `now_ns`: of a clock that does not go back. Afterwards each packet has a port to go out of, or a reason to be dropped, or is `elsewhere`. Forgets a bounded
  /// number of dead connections on the way.
  void process(std::span<Packet> packets, std::uint64_t now_ns) noexcept;
  /// Of the connections that a process before has left: those whose interfaces are there, and that have their ports of NATs again, go on. With its
  /// next packet each is checked against the configuration behind the one of now. Before anything else; only with `kept`.
  void adopt(std::uint64_t now_ns) noexcept;
  /// What would happen to a packet, which is changed as it would be. Nothing else is, but that rates count it.
  Explanation explain(Packet& packet, std::uint64_t now_ns);
  /// Whether it is time for the gateway to speak to all machines: every 5 seconds in the first minute, then every 30.
  bool is_to_announce(std::uint64_t now_ns) const noexcept { return now_ns >= next_announcement_ns_; }
  /// The next thing to say, into an empty packet. False: all has been said.
  bool announce(Packet& packet, std::uint64_t now_ns) noexcept;
  /// The workers that got packets since the last time, a bit for each: they may sleep.
  std::uint64_t take_handed() noexcept { return std::exchange(handed_, 0); }
  /// Dead connections may be left, or some that a NAT that was told anew awaits; each `process`, also of nothing, takes up some.
  bool is_behind() const noexcept { return is_following_ || flows_.is_behind(now_); }
  /// Between bursts, before a pause: holds no snapshot while it sleeps.
  void rest() noexcept { snapshots_.leave(number_); }

  const FlowTable& flows() const noexcept { return flows_; }
  /// By reason; those that went on count as `none`, and so do those that were answered.
  const std::array<std::uint64_t, drop_reasons>& packets() const noexcept { return packets_; }
  std::uint64_t slow_path() const noexcept { return slow_path_; }
  /// Thread: any.
  const SlowPathCounts& slow_path_counts() const noexcept { return counts_; }
  const Gateway& gateway() const noexcept { return gateway_; }
  /// How full it is. Thread: any.
  ResourceUse::Part fragments() const noexcept { return {fragments_.used(), fragments_.capacity()}; }
  /// Null if there is no hardware for it.
  const OffloadedFlows* offloaded() const noexcept { return offloaded_ ? &*offloaded_ : nullptr; }
  /// Connections that an interface pays for.
  std::uint32_t connections_of(std::uint32_t interface) const noexcept { return owned_[interface]; }

 private:
  /// A packet of the burst, once it is read.
  struct Work {
    Packet* packet = nullptr;
    std::uint32_t ip = 0;  ///< where the inner header begins in the frame
    bool is_from_machine = false;
    bool is_plain = false;     ///< see `parse_plain`
    bool is_answered = false;  ///< by the gateway, or by an error about it
    bool goes_round = false;   ///< to this host
    Headers headers;
    FlowKey key;
    std::uint64_t hash = 0;
    FlowTable::Reference guess;
    std::array<std::optional<Color>, 2> colors;  ///< by `Way`, if there are rates; only of a packet that is explained
  };
  static constexpr std::size_t most_at_once = 32;  ///< what is fetched for so many stays in the cache until it is used
  using Burst = std::array<Packet*, most_at_once>;
  /// From machine to load balancer to target, and one more; what goes on then goes in circles.
  static constexpr int most_rounds = 4;

  const Snapshot& begin(std::uint64_t now_ns) noexcept;
  void process_some(const Snapshot& snapshot, std::span<Packet*> packets, Burst& again,
                    std::size_t& again_count) noexcept;
  /// Whether it may be another worker's.
  bool may_cross(const Packet& packet) const noexcept {
    return crossing_ != nullptr && !packet.is_placed && !is_explaining_;
  }
  Drop hand_over(const Snapshot& snapshot, Work& work) noexcept;
  void settle(const Snapshot& snapshot, Packet& packet, Drop drop, std::uint32_t from) noexcept;
  void finish(const Snapshot& snapshot, Packet& packet, Drop drop, std::uint32_t from) noexcept;
  Drop read(const Snapshot& snapshot, Packet& packet, Work& work) noexcept;
  Drop read_machine(const Snapshot& snapshot, std::uint32_t interface, Packet& packet, Work& work) noexcept;
  Drop read_wire(const Snapshot& snapshot, Packet& packet, Work& work) noexcept;
  Drop read_service(const Snapshot& snapshot, const Packet& packet, Work& work) noexcept;
  /// `most`: bytes that the packet may have.
  Drop read_inner(const Snapshot& snapshot, FlowScope scope, bool is_v6, std::uint32_t length, std::uint32_t most,
                  Work& work) noexcept;
  Drop answer(const Snapshot& snapshot, std::uint32_t interface, Packet& packet, Work& work) noexcept;

  Drop explain_one(const Snapshot& snapshot, Packet& packet, Work& work, Trace& trace);
  Drop explain_flow(const Snapshot& snapshot, Work& work, Trace& trace);
  void note_offload(const Snapshot& snapshot, const FlowKey& key, const Decision& decision, FlowTable::Reference found,
                    Trace& trace) const;

  Drop forward(const Snapshot& snapshot, Work& work) noexcept;
  FlowTable::Reference find(const Snapshot& snapshot, const FlowKey& key, std::uint64_t hash,
                            FlowTable::Reference guess) noexcept;
  bool relate(const Snapshot& snapshot, Work& work, Drop& drop) noexcept;
  Drop open(const Snapshot& snapshot, Work& work, FlowTable::Reference& found) noexcept;
  Drop remember_refusal(const Snapshot& snapshot, const Work& work, Drop drop) noexcept;
  bool has_share(std::uint16_t owner) const noexcept;
  bool is_valid_still(const Snapshot& snapshot, Connection& connection) noexcept;
  bool check_again(const Snapshot& snapshot, Connection& connection) noexcept;
  void move(const Snapshot& snapshot, Connection& connection, const FlowKey& reverse) noexcept;
  void follow_nats(const Snapshot& snapshot, std::uint32_t most) noexcept;
  void follow_nat(const Snapshot& snapshot, Connection& connection) noexcept;
  static NatPool* pool_of(const Snapshot& snapshot, std::uint16_t owner, const FlowKey& public_side) noexcept;
  void give_back_port(const Snapshot& snapshot, std::uint16_t owner, std::uint64_t valid_at, const FlowKey& forward,
                      const FlowKey& reverse) noexcept;
  void forget(const Snapshot& snapshot, const Connection& connection) noexcept;
  bool keeps(const Snapshot& snapshot, Connection& connection) noexcept;
  bool claim_port(const Snapshot& snapshot, const Connection& connection) noexcept;
  void track(Connection& connection, Direction direction, const Work& work) noexcept;
  std::uint32_t& owned(std::uint16_t owner) noexcept;

  Drop execute(const Snapshot& snapshot, const Action& action, const FlowKey& opposite, std::uint32_t owner,
               Work& work) noexcept;
  Drop pass_on(const Snapshot& snapshot, const Action& action, std::uint32_t owner, Work& work) noexcept;
  Drop carry(const Snapshot& snapshot, const Action& action, std::uint32_t owner, Work& work) noexcept;
  Drop execute_translated(const Snapshot& snapshot, const Action& action, const FlowKey& opposite, std::uint32_t owner,
                          Work& work) noexcept;
  Drop refuse_length(const Snapshot& snapshot, Work& work) noexcept;
  Drop tell_too_big(const Snapshot& snapshot, std::uint32_t mtu, std::uint32_t owner, Work& work) noexcept;
  Drop translate_family(const FlowKey& opposite, Work& work) noexcept;
  static Drop answer_echo(Work& work) noexcept;
  bool is_within_rates(const InterfaceView& interface, Way way, const Action& action, Work& work) const noexcept;
  static Drop to_service(const Snapshot& snapshot, const Action& action, Work& work) noexcept;
  Drop to_machine(const Snapshot& snapshot, const Action& action, Work& work) const noexcept;
  static Drop to_underlay(const Snapshot& snapshot, const Action& action, std::uint32_t owner, Work& work) noexcept;

  Published<Snapshot>& snapshots_;
  const std::size_t number_;
  const Generations& generations_;
  const WorkerOptions options_;
  Crossing* const crossing_;
  std::uint64_t handed_ = 0;
  bool is_following_ = false;      ///< a pool of a NAT awaits flows
  std::uint64_t following_ = 0;    ///< the snapshot with which this pass over the flow table began
  std::uint32_t follow_next_ = 0;  ///< the place where it goes on; 0 = the next one is to begin
  FlowTable flows_;
  std::optional<OffloadedFlows> offloaded_;
  Fragments fragments_;
  Gateway gateway_;
  std::array<Work, most_at_once> works_;  ///< of `process_some`, so that it is not made anew each time
  std::vector<std::uint32_t> owned_;      ///< connections by interface; the last one is of those that nobody owns
  bool is_explaining_ = false;            ///< then nothing is remembered
  std::uint64_t next_announcement_ns_ = 0;
  std::uint32_t announced_ = 0;  ///< interfaces times kinds, of this time
  std::uint32_t announced_times_ = 0;
  Tick now_ = 0;
  std::uint64_t now_ns_ = 0;
  std::uint16_t identification_ = 0;
  std::array<std::uint64_t, drop_reasons> packets_{};
  std::uint64_t slow_path_ = 0;
  SlowPathCounts counts_;
};

}  // namespace ironcore::network::dataplane
