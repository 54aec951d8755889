// SPDX-License-Identifier: Apache-2.0
// The router of an uplink, found and watched by neighbor discovery (RFC 4861).
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>

#include "ironcore/base/ip_address.hpp"
#include "ironcore/base/mac_address.hpp"

namespace ironcore::network::dataplane {

/// What a router says of itself.
struct RouterTold {
  std::optional<MacAddress> mac;
  bool is_solicited = false;  ///< it answers us, so it is there
  bool overrides = false;
  friend bool operator==(const RouterTold&, const RouterTold&) = default;
};

/// What is to be asked now.
enum class RouterAsk : std::uint8_t { nothing, everybody, router };

/// What is known of one router. An uplink is always in use, so what is stale is asked for without waiting for a packet (§7.3.3).
///
///             every second, all ┌────────┐  says it is there   ┌───────────┐
///   start ─────────────────────►│ asking │────────────────────►│ reachable │◄─────────────┐
///             are asked         └────────┘                     └───────────┘              │ answers
///                                    ▲                               │ for 30 s, or says   │
///                                    │ no answer                     ▼ something else      │
///                                    └───────────────────────────┌─────────┐               │
///                                     thrice, a second apart, it │ probing │───────────────┘
///                                     alone is asked             └─────────┘
///
/// Thread: one.
class RouterNeighbor {
 public:
  enum class State : std::uint8_t { asking, reachable, probing };
  static constexpr std::uint64_t reachable_ns = 30'000'000'000;  ///< RFC 4861 §10
  static constexpr std::uint64_t retry_ns = 1'000'000'000;
  static constexpr unsigned probes = 3;

  /// As at the start: its link was away.
  void restart() noexcept { *this = RouterNeighbor(); }
  /// §7.2.5. `now_ns`: of a clock that does not go back.
  void hear(const RouterTold& told, std::uint64_t now_ns) noexcept;
  /// What is due now.
  RouterAsk tick(std::uint64_t now_ns) noexcept;

  State state() const noexcept { return state_; }
  /// Where packets go; empty: nowhere.
  const std::optional<MacAddress>& mac() const noexcept { return mac_; }

 private:
  State state_ = State::asking;
  std::optional<MacAddress> mac_;
  std::uint64_t next_ns_ = 0;  ///< when the state is looked at again
  unsigned asked_ = 0;         ///< in this state
};

/// What workers hear of routers, and what control wants asked; each mailbox holds one letter, and the newest one counts. Thread: any.
class RouterMail {
 public:
  explicit RouterMail(std::size_t uplinks)
      : heard_(std::make_unique<std::atomic<std::uint64_t>[]>(uplinks)),
        asks_(std::make_unique<std::atomic<std::uint64_t>[]>(uplinks)),
        uplinks_(uplinks) {}

  void tell(std::size_t uplink, const RouterTold& told) noexcept;
  std::optional<RouterTold> take_told(std::size_t uplink) noexcept;

  void ask(std::size_t uplink, RouterAsk ask, const MacAddress& mac) noexcept;
  /// Whether anything is to be asked: one load.
  bool has_asks() const noexcept { return has_asks_.load(std::memory_order_relaxed); }
  /// Calls `each(uplink, mac)`; without a MAC everybody is asked.
  template <class Each>
  void take_asks(Each each) {
    if (!has_asks_.exchange(false, std::memory_order_acquire)) return;
    for (std::size_t i = 0; i < uplinks_; ++i) {
      const auto word = asks_[i].exchange(0, std::memory_order_relaxed);
      if (word == 0) continue;
      each(i, (word & all) != 0 ? std::nullopt : std::optional(mac_in(word)));
    }
  }
  std::size_t uplinks() const noexcept { return uplinks_; }

 private:
  // A word is a MAC and bits above it; 0 is nothing.
  static constexpr std::uint64_t is_there = std::uint64_t{1} << 48;
  static constexpr std::uint64_t has_mac = std::uint64_t{1} << 49;
  static constexpr std::uint64_t solicited = std::uint64_t{1} << 50;
  static constexpr std::uint64_t overriding = std::uint64_t{1} << 51;
  static constexpr std::uint64_t all = std::uint64_t{1} << 52;
  static std::uint64_t word_of(const MacAddress& mac) noexcept;
  static MacAddress mac_in(std::uint64_t word) noexcept;

  std::unique_ptr<std::atomic<std::uint64_t>[]> heard_;
  std::unique_ptr<std::atomic<std::uint64_t>[]> asks_;
  std::size_t uplinks_;
  std::atomic<bool> has_asks_ = false;
};

/// fe80::/64 and the MAC as an interface identifier (RFC 4291 appendix A): our address on an uplink.
IpAddress link_local_of(const MacAddress& mac) noexcept;

/// A question for a router's MAC, to everybody or to the one that is known; gives the bytes of the frame, 0 if they do not fit.
std::size_t write_router_question(const MacAddress& own, const IpAddress& router,
                                  const std::optional<MacAddress>& known, std::span<std::uint8_t> frame) noexcept;

/// A frame that came from an uplink, as far as neighbor discovery goes.
struct UplinkFrame {
  enum class Kind : std::uint8_t { other, told, question };
  Kind kind = Kind::other;
  RouterTold told;        ///< by the router that was meant
  std::size_t reply = 0;  ///< bytes of the answer to a question for our MAC
};
/// `router`: whose word counts; null = nobody's. What is not sound by §7.1 is `other`. Questions for our address are answered into `reply`.
UplinkFrame read_uplink_frame(std::span<const std::uint8_t> frame, const MacAddress& own, const IpAddress* router,
                              std::span<std::uint8_t> reply) noexcept;

}  // namespace ironcore::network::dataplane
