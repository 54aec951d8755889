// SPDX-License-Identifier: Apache-2.0
// Packets on their way from worker to worker.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "ironcore/network/packet.hpp"

namespace ironcore::network::dataplane {

/// One ring for each pair, so that each has one writer and one reader (Lamport, 1977); nobody waits. Thread: `push` that of `from`, `pop` that of `to`.
class Crossing {
 public:
  static constexpr std::uint32_t room = 512;  ///< of a ring; a power of two

  explicit Crossing(std::size_t workers) : workers_(workers) {
    for (std::size_t i = 0; i < workers * workers; ++i)
      rings_.push_back(i % (workers + 1) == 0 ? nullptr : std::make_unique<Ring>());
  }

  std::size_t workers() const noexcept { return workers_; }

  /// False if there is no room.
  bool push(std::size_t from, std::size_t to, const Packet& packet) noexcept {
    Ring& ring = *rings_[from * workers_ + to];
    const std::uint32_t end = ring.end.load(std::memory_order_relaxed);
    if (end - ring.begin.load(std::memory_order_acquire) == room) return false;
    ring.places[end % room] = packet;
    ring.end.store(end + 1, std::memory_order_release);
    return true;
  }

  /// As many as there are and fit, from all others in turn.
  std::size_t pop(std::size_t to, std::span<Packet> into) noexcept {
    std::size_t count = 0;
    for (std::size_t from = 0; from < workers_; ++from) {
      if (from == to) continue;
      Ring& ring = *rings_[from * workers_ + to];
      std::uint32_t begin = ring.begin.load(std::memory_order_relaxed);
      const std::uint32_t end = ring.end.load(std::memory_order_acquire);
      for (; begin != end && count < into.size(); ++begin) into[count++] = ring.places[begin % room];
      ring.begin.store(begin, std::memory_order_release);
    }
    return count;
  }

 private:
  struct Ring {
    alignas(64) std::atomic<std::uint32_t> begin = 0;
    alignas(64) std::atomic<std::uint32_t> end = 0;
    alignas(64) std::vector<Packet> places = std::vector<Packet>(room);
  };

  std::size_t workers_;
  std::vector<std::unique_ptr<Ring>> rings_;  ///< none from a worker to itself
};

}  // namespace ironcore::network::dataplane
