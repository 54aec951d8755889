// SPDX-License-Identifier: Apache-2.0
// Which connections of a worker the hardware forwards.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "flow_table.hpp"
#include "generations.hpp"
#include "ironcore/network/flow_offload.hpp"
#include "snapshot.hpp"

namespace ironcore::network::dataplane {

/// Why only the engine can forward one direction, as a sentence; empty = hardware can. Other protocols than TCP and UDP, TCP that is not established,
/// translation between families, interfaces with rates, what goes round or on to another host, ports or MACs that are not there.
std::string_view obstacle(const Snapshot& snapshot, const Connection& connection, Direction direction);

/// What the hardware shall do with the packets of one direction that come from `port`; nothing if there is an obstacle.
std::optional<OffloadedFlow> describe(const Snapshot& snapshot, const Connection& connection, Direction direction,
                                      std::uint32_t port);

struct OffloadOptions {
  std::uint32_t packets_per_second = 1000;  ///< of a connection, from which on it is worth it
  std::uint32_t connections = 16'384;       ///< at most
  std::uint32_t idle_seconds = 10;          ///< without a hit, after which the hardware forgets it
  std::uint32_t looks = 4;                  ///< connections that each `work` looks at whether they are busy
  std::uint32_t checks = 2;                 ///< offloaded ones that each `work` compares with what they should be
};

/// Picks busy connections, has both directions installed or neither, adds hits to the connections' counters and to `seen`, and takes out what is not
/// any more as the engine would do it now: gone, decided anew, ended, another MAC, port or uplink. It looks at the table by itself, so nobody has to
/// tell it of anything; what has changed in the configuration is taken out when its turn comes: after `connections offloaded / checks` calls at most, and far less of
/// those without packets: a worker whose connections are all in hardware sleeps most of the time.
/// What hits a flow between its last count and a `reset` is not counted. Thread: one, that of the worker.
class OffloadedFlows {
 public:
  /// 12 bytes for each place of the table. Throws std::bad_alloc. All must outlive it.
  OffloadedFlows(FlowOffload& device, std::size_t queue, const OffloadOptions& options, FlowTable& table,
                 const Generations& generations);

  /// Call it with each burst of so many packets, also with none. Does not allocate.
  void work(const Snapshot& snapshot, Tick now, std::size_t packets) noexcept;

  /// What `work` found that has hit since the time before, for counters of ports.
  struct Hit {
    std::uint32_t from = 0;  ///< port
    std::uint32_t to = 0;
    std::uint64_t packets = 0;
    std::uint64_t from_bytes = 0;  ///< of frames
    std::uint64_t to_bytes = 0;
  };
  std::span<const Hit> hits() const noexcept { return hits_; }

  struct Counters {
    std::uint32_t connections = 0;                       ///< now, also those that are just being installed or removed
    std::uint64_t installed = 0;                         ///< connections
    std::array<std::uint64_t, flow_refusals> refused{};  ///< flows, by why
    std::uint64_t resets = 0;
    std::uint64_t packets = 0;  ///< forwarded by the hardware
  };
  const Counters& counters() const noexcept { return counters_; }

  /// One sentence: whether the hardware forwards this connection, or would, and why not. `place`: where it is in the table; nothing = it is not there,
  /// but would be like this.
  std::string tell(const Snapshot& snapshot, const Connection& connection, std::optional<std::uint32_t> place,
                   Tick now) const;

 private:
  /// A connection takes one flow for each port that its packets may come from: forward, reverse, and one for a second uplink.
  static constexpr std::size_t most_flows = 4;
  static constexpr std::uint32_t nobody = 0xffff'ffff;
  struct Flow {
    enum class Phase : std::uint8_t { none, installing, installed, removing };
    Phase phase = Phase::none;
    Direction direction = Direction::forward;
    OffloadedFlow told;
    FlowHits counted;
  };
  struct Entry {
    std::uint32_t place = nobody;  ///< of the connection
    bool is_leaving = false;
    bool is_counted = false;  ///< as installed
    std::array<FlowKey, 2> keys;
    std::array<Flow, most_flows> flows;
    std::uint32_t next_free = nobody;
  };
  /// Of each place of the table.
  struct Look {
    std::uint32_t packets = 0;  ///< at the last look
    Tick at = 0;                ///< when that was; in the future = not to be tried before
    std::uint32_t entry = nobody;
  };

  std::uint32_t take_entry() noexcept;
  void free_if_done(std::uint32_t number) noexcept;
  void take_events(const Snapshot& snapshot, Tick now) noexcept;
  void reset(Tick now) noexcept;
  void check(const Snapshot& snapshot, std::uint32_t number, Tick now) noexcept;
  bool is_right(const Snapshot& snapshot, const Entry& entry, Tick now) const noexcept;
  /// Null if the connection has gone.
  Connection* connection_of(const Entry& entry) const noexcept;
  void add_hits(Entry& entry, Flow& flow, const FlowHits& hits, Tick now) noexcept;
  void let_go(Entry& entry) noexcept;
  void look(const Snapshot& snapshot, Connection& connection, Tick now) noexcept;
  std::string tell_entry(std::uint32_t number) const;
  bool offload(const Snapshot& snapshot, Connection& connection, std::uint32_t place) noexcept;
  std::uint32_t place_of(const Connection& connection) const noexcept;

  FlowOffload& device_;
  const std::size_t queue_;
  const OffloadOptions options_;
  FlowTable& table_;
  const Generations& generations_;
  std::vector<Entry> entries_;
  std::vector<Look> looks_;
  std::vector<Hit> hits_;
  std::uint32_t free_ = nobody;
  std::uint32_t used_ = 0;  ///< entries that were ever used
  std::uint32_t next_check_ = 0;
  std::uint32_t next_look_ = 0;
  Tick pause_until_ = 0;  ///< the device is full
  Counters counters_;
};

}  // namespace ironcore::network::dataplane
