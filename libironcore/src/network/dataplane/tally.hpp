// SPDX-License-Identifier: Apache-2.0
// Counters that one worker writes and anybody reads.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>

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

  PortTally& operator+=(const PortTally& other) noexcept {
    from_packets += other.from_packets;
    from_bytes += other.from_bytes;
    to_packets += other.to_packets;
    to_bytes += other.to_bytes;
    dropped += other.dropped;
    return *this;
  }
  PortTally& operator-=(const PortTally& other) noexcept {
    from_packets -= other.from_packets;
    from_bytes -= other.from_bytes;
    to_packets -= other.to_packets;
    to_bytes -= other.to_bytes;
    dropped -= other.dropped;
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
    return {from.from_packets.get(), from.from_bytes.get(), from.to_packets.get(), from.to_bytes.get(),
            from.dropped.get()};
  }

  std::array<Counter, drop_reasons> packets;  ///< by reason
  Counter slow_path;
  Counter answers;
  Counter icmp_errors;
  Counter connections;
  Counter offloaded;
  Counter offload_refused;
  Counter offload_packets;

 private:
  std::unique_ptr<Port[]> ports_ = std::make_unique<Port[]>(most_ports);
};

}  // namespace ironcore::network::dataplane
