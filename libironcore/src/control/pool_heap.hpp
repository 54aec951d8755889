// SPDX-License-Identifier: Apache-2.0
// A binary heap of pools by room, in which every pool can be found and moved.
#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>
#include <utility>
#include <vector>

namespace ironcore::control {

/// Most room on top; of equals the one with the lowest rank. `rank` is a function from pool to number that must order the same
/// pools the same way in all calls. Thread: one.
class PoolHeap {
 public:
  /// The room of a pool that is not eligible at all.
  static constexpr std::int64_t never = std::numeric_limits<std::int64_t>::min();
  struct Entry {
    std::int64_t room;
    std::uint32_t pool;
  };

  bool is_empty() const noexcept { return heap_.empty(); }
  const Entry& top() const noexcept { return heap_.front(); }

  /// All pools 0 … n-1 at once.
  template <class Rank>
  void fill(const std::vector<std::int64_t>& rooms, const Rank& rank) {
    heap_.resize(rooms.size());
    place_.resize(rooms.size());
    for (std::uint32_t pool = 0; pool < rooms.size(); ++pool) put(pool, {rooms[pool], pool});
    for (std::size_t at = heap_.size() / 2; at-- > 0;) sink(at, rank);
  }

  /// Inserts or moves one.
  template <class Rank>
  void set(std::uint32_t pool, std::int64_t room, const Rank& rank) {
    // A pool that was never set stands nowhere; those between are filled up as not eligible.
    while (place_.size() <= pool) {
      const auto added = static_cast<std::uint32_t>(place_.size());
      place_.push_back(heap_.size());
      heap_.push_back({never, added});
      rise(heap_.size() - 1, rank);
    }
    const auto at = place_[pool];
    heap_[at].room = room;
    if (!rise(at, rank)) sink(at, rank);
  }

 private:
  void put(std::size_t at, Entry entry) {
    heap_[at] = entry;
    place_[entry.pool] = at;
  }
  template <class Rank>
  static bool is_before(const Entry& a, const Entry& b, const Rank& rank) {
    return a.room != b.room ? a.room > b.room : rank(a.pool) < rank(b.pool);
  }
  template <class Rank>
  bool rise(std::size_t at, const Rank& rank) {
    const auto entry = heap_[at];
    const auto start = at;
    while (at > 0) {
      const auto parent = (at - 1) / 2;
      if (!is_before(entry, heap_[parent], rank)) break;
      put(at, heap_[parent]);
      at = parent;
    }
    put(at, entry);
    return at != start;
  }
  template <class Rank>
  void sink(std::size_t at, const Rank& rank) {
    const auto entry = heap_[at];
    for (;;) {
      auto child = 2 * at + 1;
      if (child >= heap_.size()) break;
      if (child + 1 < heap_.size() && is_before(heap_[child + 1], heap_[child], rank)) ++child;
      if (!is_before(heap_[child], entry, rank)) break;
      put(at, heap_[child]);
      at = child;
    }
    put(at, entry);
  }

  std::vector<Entry> heap_;
  std::vector<std::size_t> place_;  // by pool
};

}  // namespace ironcore::control
