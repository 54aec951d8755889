// SPDX-License-Identifier: Apache-2.0
// Counters that one worker writes and anybody reads.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>

#include "ironcore/network/counters.hpp"
#include "ironcore/network/flow_offload.hpp"
#include "ironcore/network/packet.hpp"

namespace ironcore::network::dataplane {

/// An addition to memory, no more. Thread: one writes, any reads.
class Counter {
 public:
  void add(std::uint64_t count) noexcept { set(get() + count); }
  void set(std::uint64_t value) noexcept { value_.store(value, std::memory_order_relaxed); }
  std::uint64_t get() const noexcept { return value_.load(std::memory_order_relaxed); }

 private:
  std::atomic<std::uint64_t> value_ = 0;
};

/// What came from a port and went to it.
struct PortTally {
  std::uint64_t from_packets = 0;
  std::uint64_t from_bytes = 0;
  std::uint64_t to_packets = 0;
  std::uint64_t to_bytes = 0;
  std::uint64_t dropped = 0;
  std::uint64_t icmp_errors = 0;  ///< that answered what came

  PortTally& operator+=(const PortTally& other) noexcept {
    from_packets += other.from_packets;
    from_bytes += other.from_bytes;
    to_packets += other.to_packets;
    to_bytes += other.to_bytes;
    dropped += other.dropped;
    icmp_errors += other.icmp_errors;
    return *this;
  }
  PortTally& operator-=(const PortTally& other) noexcept {
    from_packets -= other.from_packets;
    from_bytes -= other.from_bytes;
    to_packets -= other.to_packets;
    to_bytes -= other.to_bytes;
    dropped -= other.dropped;
    icmp_errors -= other.icmp_errors;
    return *this;
  }
};

/// Of one worker. Thread: as Counter.
class Tallies {
 public:
  static constexpr std::size_t most_ports = 8192;  ///< what is of a port beyond it is not counted

  struct alignas(64) Port {
    Counter from_packets;
    Counter from_bytes;
    Counter to_packets;
    Counter to_bytes;
    Counter dropped;
  };

  Port* of(std::uint32_t port) noexcept { return port < most_ports ? &ports_[port] : nullptr; }
  PortTally get(std::uint32_t port) const noexcept {
    if (port >= most_ports) return {};
    const Port& from = ports_[port];
    return {from.from_packets.get(), from.from_bytes.get(), from.to_packets.get(),
            from.to_bytes.get(),     from.dropped.get(),    0};
  }

  std::array<Counter, drop_reasons> packets;  ///< by reason
  Counter slow_path;
  Counter answers;
  Counter icmp_errors;
  Counter connections;
  Counter offloaded;
  Counter offload_installed;
  std::array<Counter, flow_refusals> offload_refused;  ///< by why
  Counter offload_packets;
  Counter offload_resets;
  std::array<Counter, BurstTimes::buckets> bursts;
  Counter burst_ns;

  void add_burst(std::uint64_t ns) noexcept {
    bursts[BurstTimes::bucket_of(ns)].add(1);
    burst_ns.add(ns);
  }

 private:
  std::unique_ptr<Port[]> ports_ = std::make_unique<Port[]>(most_ports);
};

/// The stages that one decision has met.
struct StageMarks {
  std::uint16_t met = 0;  ///< a bit for each
  Stage last{};           ///< if there is one

  void meet(Stage stage) noexcept {
    met = static_cast<std::uint16_t>(met | 1U << static_cast<unsigned>(stage));
    last = stage;
  }
};

/// Of a worker's slow path, which counts where it is. Thread: as Counter.
struct SlowPathCounts {
  struct OfStage {
    Counter reached;
    Counter refused;
  };
  std::array<OfStage, stages> by_stage;
  Counter kept;      ///< after a second look
  Counter ended;     ///< likewise
  Counter opened;    ///< connections
  Counter expired;   ///< likewise
  Counter rounds;    ///< packets that came again because they were sent to this host
  Counter followed;  ///< places of the flow table that were looked at because NATs were told anew

  void add(const StageMarks& marks, Drop drop) noexcept {
    for (std::size_t i = 0; i < stages; ++i)
      if ((marks.met >> i & 1) != 0) by_stage[i].reached.add(1);
    if (drop != Drop::none && marks.met != 0) by_stage[static_cast<std::size_t>(marks.last)].refused.add(1);
  }
};

}  // namespace ironcore::network::dataplane
