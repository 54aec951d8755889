// SPDX-License-Identifier: Apache-2.0
// Which MACs the machines have, as workers hear of it.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>

#include "ironcore/base/mac_address.hpp"

namespace ironcore::network::dataplane {

/// From workers to control; the last one that was heard counts. A worker may still hear the one that had an interface's number before: what is heard
/// is marked with when the number was given. Thread: `hear` any, `take` one.
class LearnedMacs {
 public:
  explicit LearnedMacs(std::size_t interfaces)
      : heard_(std::make_unique<std::atomic<std::uint64_t>[]>(interfaces)), interfaces_(interfaces) {}

  /// `born`: the number of the configuration with which the interface got its number.
  void hear(std::uint32_t interface, std::uint64_t born, const MacAddress& mac) noexcept {
    if (interface >= interfaces_) return;
    std::uint64_t word = mark_of(born);
    for (const auto byte : mac.bytes()) word = word << 8 | byte;
    heard_[interface].store(word, std::memory_order_relaxed);
    has_news_.store(true, std::memory_order_release);
  }

  /// Of two that follow one another at a number, never the same; not 0.
  static std::uint16_t mark_of(std::uint64_t born) noexcept { return static_cast<std::uint16_t>(1 + born % 0xffff); }

  /// Calls `each(interface, mark, mac)` for what was heard since the last time.
  template <class Each>
  void take(Each each) {
    if (!has_news_.exchange(false, std::memory_order_acquire)) return;
    for (std::uint32_t i = 0; i < interfaces_; ++i) {
      std::uint64_t word = heard_[i].exchange(0, std::memory_order_relaxed);
      if (word == 0) continue;
      std::array<std::uint8_t, 6> bytes{};
      for (auto at = bytes.rbegin(); at != bytes.rend(); ++at, word >>= 8) *at = static_cast<std::uint8_t>(word);
      each(i, static_cast<std::uint16_t>(word), MacAddress(bytes));
    }
  }

 private:
  std::unique_ptr<std::atomic<std::uint64_t>[]> heard_;
  std::size_t interfaces_;
  std::atomic<bool> has_news_ = false;
};

}  // namespace ironcore::network::dataplane
