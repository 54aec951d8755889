// SPDX-License-Identifier: Apache-2.0
// How far a connection has come, and how long it may be silent.
#pragma once

#include <cstdint>

#include "connection.hpp"

namespace ironcore::network::dataplane {

/// Seconds of silence after which a connection is forgotten.
struct Timeouts {
  Tick tcp_established = 86'400;  ///< as the original; RFC 5382 REQ-5 asks for 2 h 4 min at least
  Tick tcp_transitory = 240;      ///< while it is opened or closed (RFC 5382 REQ-5)
  Tick tcp_closed = 120;          ///< both sides have said that they are through (two segment lifetimes)
  Tick tcp_reset = 10;            ///< one side has reset it
  Tick tcp_one_sided = 7440;      ///< open as far as is seen, but the answers go another way (2 h 4 min)
  Tick udp = 120;                 ///< RFC 4787 REQ-5
  Tick icmp = 60;                 ///< RFC 5508 REQ-2
  Tick other = 120;
  friend bool operator==(const Timeouts&, const Timeouts&) = default;
};

/// What the flags of both directions have said so far (RFC 9293 §3.3.2). Sequence numbers are not looked at: a machine may move to this host in
/// the midst of a connection, so one whose beginning nobody saw counts as open once both sides have spoken. ECN's flags (RFC 3168) do not matter.
class TcpTracking {
 public:
  enum class Phase : std::uint8_t { opening, established, closing, closed, reset };

  TcpTracking() noexcept = default;
  explicit TcpTracking(std::uint8_t state) noexcept : state_(state) {}
  std::uint8_t state() const noexcept { return state_; }

  void see(Direction direction, std::uint8_t flags) noexcept {
    const unsigned shift = direction == Direction::forward ? 0 : 1;
    if ((flags & tcp_rst) != 0) {
      state_ |= is_reset;
      return;
    }
    const bool is_first_syn = (flags & (tcp_syn | tcp_ack)) == tcp_syn;
    // The same addresses and ports are used anew.
    if (is_first_syn && (phase() == Phase::closed || phase() == Phase::reset)) state_ = 0;
    // Whoever goes on has not taken the reset for real; nor do we (RFC 7857 §2.2).
    state_ = static_cast<std::uint8_t>(state_ & ~is_reset);
    if ((flags & tcp_ack) != 0) state_ = static_cast<std::uint8_t>(state_ | acknowledged << shift);
    if ((flags & tcp_fin) != 0) state_ = static_cast<std::uint8_t>(state_ | finished << shift);
  }

  Phase phase() const noexcept {
    if ((state_ & is_reset) != 0) return Phase::reset;
    const unsigned finished_by = state_ & finished_by_both;
    if (finished_by == finished_by_both) return Phase::closed;
    if (finished_by != 0) return Phase::closing;
    return (state_ & acknowledged_by_both) == acknowledged_by_both ? Phase::established : Phase::opening;
  }

  /// Of a connection of which only the forward direction is seen.
  Tick one_sided_timeout(const Timeouts& timeouts) const noexcept {
    const bool is_ending = (state_ & (is_reset | finished)) != 0;
    return (state_ & acknowledged) != 0 && !is_ending ? timeouts.tcp_one_sided : timeouts.tcp_transitory;
  }

  Tick timeout(const Timeouts& timeouts) const noexcept {
    switch (phase()) {
      case Phase::established:
        return timeouts.tcp_established;
      case Phase::closed:
        return timeouts.tcp_closed;
      case Phase::reset:
        return timeouts.tcp_reset;
      case Phase::opening:
      case Phase::closing:
        break;
    }
    return timeouts.tcp_transitory;
  }

 private:
  // Of the forward direction; the bit above is that of the reverse one.
  static constexpr std::uint8_t acknowledged = 1;
  static constexpr std::uint8_t finished = 4;
  static constexpr std::uint8_t acknowledged_by_both = 3;
  static constexpr std::uint8_t finished_by_both = 12;
  static constexpr std::uint8_t is_reset = 16;

  std::uint8_t state_ = 0;
};

/// Of a protocol without phases.
inline Tick timeout_of(std::uint8_t protocol, const Timeouts& timeouts) noexcept {
  if (protocol == protocol_udp) return timeouts.udp;
  if (protocol == protocol_icmp || protocol == protocol_icmpv6) return timeouts.icmp;
  return timeouts.other;
}

}  // namespace ironcore::network::dataplane
