// SPDX-License-Identifier: Apache-2.0
// What one processor core does with bursts of packets.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

#include "decision.hpp"
#include "flow_table.hpp"
#include "fragments.hpp"
#include "generations.hpp"
#include "ironcore/network/packet.hpp"
#include "published.hpp"
#include "snapshot.hpp"
#include "tracking.hpp"

namespace ironcore::network::dataplane {

struct WorkerOptions {
  std::uint32_t connections = 1'000'000;  ///< room for so many
  std::uint32_t fragments = 16'384;       ///< datagrams in pieces, likewise
  std::uint64_t secret = 0;               ///< random
  Timeouts timeouts;
  bool has_firewall = true;
  std::uint16_t mtu = 1500;  ///< of the overlay
};

/// A packet whose flow is known costs one search and one rewrite. The first one of a flow takes the slow path (`decide`), which leaves a connection
/// with an action for each direction; when the configuration changes what a connection depends on, its next packet takes it again. Nothing here
/// waits, allocates or throws. Thread: one.
class Worker {
 public:
  /// `reader`: this worker's number among those of `snapshots`. What is passed in must outlive the worker.
  Worker(Published<Snapshot>& snapshots, std::size_t reader, const Generations& generations,
         const WorkerOptions& options);

  /// `now_ns`: of a clock that does not go back. Afterwards each packet has a port to go out of, or a reason to be dropped. Forgets a bounded number of dead connections on the way.
  void process(std::span<Packet> packets, std::uint64_t now_ns) noexcept;
  /// Between bursts, before a pause: holds no snapshot while it sleeps.
  void rest() noexcept { snapshots_.leave(reader_); }

  const FlowTable& flows() const noexcept { return flows_; }
  /// By reason; those that went on count as `none`.
  const std::array<std::uint64_t, drop_reasons>& packets() const noexcept { return packets_; }
  std::uint64_t slow_path() const noexcept { return slow_path_; }

 private:
  /// A packet of the burst, once it is read.
  struct Work {
    Packet* packet = nullptr;
    std::uint32_t ip = 0;  ///< where the inner header begins in the frame
    Headers headers;
    FlowKey key;
    std::uint64_t hash = 0;
    FlowTable::Reference guess;
  };
  static constexpr std::size_t most_at_once = 32;  ///< what is fetched for so many stays in the cache until it is used

  void process_some(const Snapshot& snapshot, std::span<Packet> packets) noexcept;
  Drop read(const Snapshot& snapshot, Packet& packet, Work& work) noexcept;
  Drop read_machine(const Snapshot& snapshot, std::uint32_t interface, Packet& packet, Work& work) noexcept;
  Drop read_wire(const Snapshot& snapshot, Packet& packet, Work& work) noexcept;
  Drop read_inner(FlowScope scope, bool is_v6, std::uint32_t length, Work& work) noexcept;
  Drop forward(const Snapshot& snapshot, Work& work) noexcept;
  Drop open(const Snapshot& snapshot, Work& work, FlowTable::Reference& found) noexcept;
  bool check_again(const Snapshot& snapshot, Connection& connection) noexcept;
  void track(Connection& connection, Direction direction, const Work& work) noexcept;
  Drop execute(const Snapshot& snapshot, const Action& action, std::uint32_t owner, Work& work) noexcept;
  static Drop to_machine(const Snapshot& snapshot, std::uint32_t interface, Work& work) noexcept;
  static Drop to_underlay(const Snapshot& snapshot, const Action& action, std::uint32_t owner, Work& work) noexcept;

  Published<Snapshot>& snapshots_;
  const std::size_t reader_;
  const Generations& generations_;
  const WorkerOptions options_;
  FlowTable flows_;
  Fragments fragments_;
  Tick now_ = 0;
  std::array<std::uint64_t, drop_reasons> packets_{};
  std::uint64_t slow_path_ = 0;
};

}  // namespace ironcore::network::dataplane
