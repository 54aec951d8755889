// SPDX-License-Identifier: Apache-2.0
// The life of a TCP connection, seen from between.
#include "dataplane/tracking.hpp"

#include <doctest/doctest.h>

#include <utility>
#include <vector>

using namespace ironcore::network::dataplane;

namespace {

using Phase = TcpTracking::Phase;
constexpr auto there = Direction::forward;
constexpr auto back = Direction::reverse;
constexpr std::uint8_t syn_ack = tcp_syn | tcp_ack;
constexpr std::uint8_t fin_ack = tcp_fin | tcp_ack;
constexpr std::uint8_t ece_cwr = 0xc0;

Phase after(const std::vector<std::pair<Direction, std::uint8_t>>& segments) {
  TcpTracking tracking;
  for (const auto& [direction, flags] : segments) tracking.see(direction, flags);
  CHECK(TcpTracking(tracking.state()).phase() == tracking.phase());
  return tracking.phase();
}

const std::vector<std::pair<Direction, std::uint8_t>> handshake = {{there, tcp_syn}, {back, syn_ack}, {there, tcp_ack}};
auto after_handshake(std::vector<std::pair<Direction, std::uint8_t>> more) {
  more.insert(more.begin(), handshake.begin(), handshake.end());
  return after(more);
}

}  // namespace

TEST_CASE("a connection is established when both sides have acknowledged") {
  CHECK(after({{there, tcp_syn}}) == Phase::opening);
  CHECK(after({{there, tcp_syn}, {there, tcp_syn}}) == Phase::opening);
  CHECK(after({{there, tcp_syn}, {back, syn_ack}}) == Phase::opening);
  CHECK(after(handshake) == Phase::established);
  // With ECN (RFC 3168 §6.1.1), and when both open at once (RFC 9293 §3.5).
  CHECK(after({{there, tcp_syn | ece_cwr}, {back, syn_ack | 0x40}, {there, tcp_ack}}) == Phase::established);
  CHECK(after({{there, tcp_syn}, {back, tcp_syn}, {there, syn_ack}, {back, tcp_ack}}) == Phase::established);
}

TEST_CASE("one whose beginning nobody saw is open when both sides have spoken") {
  CHECK(after({{there, tcp_ack}}) == Phase::opening);
  CHECK(after({{there, tcp_ack}, {there, tcp_ack}}) == Phase::opening);
  CHECK(after({{there, tcp_ack}, {back, tcp_ack}}) == Phase::established);
}

TEST_CASE("it is closed when both sides are through, and not before") {
  CHECK(after_handshake({{there, fin_ack}}) == Phase::closing);
  CHECK(after_handshake({{there, fin_ack}, {there, fin_ack}, {back, tcp_ack}}) == Phase::closing);
  CHECK(after_handshake({{there, fin_ack}, {back, fin_ack}}) == Phase::closed);
  CHECK(after_handshake({{back, fin_ack}, {there, fin_ack}, {back, tcp_ack}}) == Phase::closed);
}

TEST_CASE("a reset ends it, unless it goes on") {
  CHECK(after({{there, tcp_syn}, {back, tcp_rst | tcp_ack}}) == Phase::reset);
  CHECK(after_handshake({{back, tcp_rst}}) == Phase::reset);
  CHECK(after_handshake({{back, tcp_rst}, {there, tcp_ack}}) == Phase::established);
  CHECK(after_handshake({{there, fin_ack}, {back, tcp_rst}, {back, tcp_ack}}) == Phase::closing);
}

TEST_CASE("the same ports may be used anew") {
  CHECK(after_handshake({{there, fin_ack}, {back, fin_ack}, {there, tcp_syn}}) == Phase::opening);
  CHECK(after_handshake({{back, tcp_rst}, {back, tcp_syn}}) == Phase::opening);
  CHECK(after_handshake({{back, tcp_rst}, {there, tcp_syn}, {back, syn_ack}, {there, tcp_ack}}) == Phase::established);
  CHECK(after_handshake({{there, tcp_syn}}) == Phase::established);  // somebody else's guess ends nothing
}

TEST_CASE("how long it may be silent") {
  const Timeouts timeouts{
      .tcp_established = 1, .tcp_transitory = 2, .tcp_closed = 3, .tcp_reset = 4, .udp = 5, .icmp = 6, .other = 7};
  TcpTracking tcp;
  CHECK(tcp.timeout(timeouts) == 2);
  for (const auto& [direction, flags] : handshake) tcp.see(direction, flags);
  CHECK(tcp.timeout(timeouts) == 1);
  tcp.see(there, fin_ack);
  CHECK(tcp.timeout(timeouts) == 2);
  tcp.see(back, fin_ack);
  CHECK(tcp.timeout(timeouts) == 3);
  tcp.see(back, tcp_rst);
  CHECK(tcp.timeout(timeouts) == 4);
  CHECK(timeout_of(protocol_udp, timeouts) == 5);
  CHECK(timeout_of(protocol_icmp, timeouts) == 6);
  CHECK(timeout_of(protocol_icmpv6, timeouts) == 6);
  CHECK(timeout_of(protocol_sctp, timeouts) == 7);
  CHECK(timeout_of(47, timeouts) == 7);
}
