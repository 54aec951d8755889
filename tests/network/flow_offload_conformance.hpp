// SPDX-License-Identifier: Apache-2.0
// What every body of the FlowOffload seam must do, as one suite: each body's test program instantiates it.
#pragma once

#include <doctest/doctest.h>

#include <array>
#include <chrono>
#include <initializer_list>
#include <optional>
#include <set>
#include <vector>

#include "checked_packets.hpp"
#include "ironcore/network/flow_offload.hpp"
#include "ironcore/network/protocols.hpp"

namespace ironcore::tests {

/// What the suite needs to know about a body. One object per test case; its destructor leaves nothing behind.
class FlowOffloadBody {
 public:
  struct Out {
    std::uint32_t port = 0;
    Bytes frame;
  };
  virtual ~FlowOffloadBody() = default;
  /// With two queues and nothing in them.
  virtual network::FlowOffload& offload() = 0;
  /// Two ports of it.
  virtual std::uint32_t port(std::size_t which) = 0;
  /// A frame comes to a port: what the hardware sent out, or nothing if it was left to software.
  virtual std::optional<Out> pass(std::uint32_t port, const Bytes& frame) = 0;
  /// So much time goes by, for commands in flight and for idle flows.
  virtual void wait(std::chrono::milliseconds time) = 0;
  /// How many flows it has room for.
  virtual std::size_t capacity() const = 0;
  /// False for a body whose device cannot be made to lose everything.
  virtual bool reset() = 0;
};

namespace offload {

using network::FlowChange;
using network::FlowEvent;
using network::FlowHits;
using network::OffloadedFlow;
using Kind = FlowEvent::Kind;
using Refusal = FlowEvent::Refusal;

inline MacAddress mac(std::uint8_t number) {
  return MacAddress({2, 0, 0, 0, 9, number});
}
inline IpAddress address(std::string_view text) {
  return IpAddress::parse(text).value();
}
inline Bytes frame_of(const MacAddress& to, const MacAddress& from, const Bytes& ip) {
  Bytes out(to.bytes().begin(), to.bytes().end());
  out.insert(out.end(), from.bytes().begin(), from.bytes().end());
  return out + (ip[0] >> 4 == 6 ? Bytes{0x86, 0xdd} : Bytes{0x08, 0x00}) + ip;
}
inline Bytes outer(std::string_view from, std::string_view to, std::uint32_t label, const Bytes& ip) {
  Bytes header(40);
  put32(header, 0, 0x6000'0000 | label);
  put16(header, 4, static_cast<std::uint16_t>(ip.size()));
  header[6] = ip[0] >> 4 == 6 ? 41 : 4;
  header[7] = 64;
  put_address(header, 8, from);
  put_address(header, 24, to);
  return header + ip;
}
inline Bytes datagram(std::string_view from, std::uint16_t from_port, std::string_view to, std::uint16_t to_port,
                      std::uint8_t hop_limit = 64) {
  const auto payload = udp(from_port, to_port, {1, 2, 3});
  const bool is_v6 = address(from).is_v6();
  return checksummed(is_v6 ? v6(payload, {.source = from, .destination = to, .hop_limit = hop_limit})
                           : v4(payload, {.source = from, .destination = to, .ttl = hop_limit}));
}

/// From a machine at the first port to one at the second, unchanged.
inline OffloadedFlow flow(FlowOffloadBody& body, std::uint64_t id, std::uint16_t source_port = 1000) {
  OffloadedFlow out;
  out.id = id;
  out.match = {.port = body.port(0),
               .source_mac = mac(1),
               .source = address("10.0.0.1"),
               .destination = address("10.0.0.2"),
               .protocol = network::protocol_udp,
               .source_port = source_port,
               .destination_port = 53};
  out.change.port = body.port(1);
  out.change.source_mac = mac(8);
  out.change.destination_mac = mac(2);
  out.change.source = out.match.source;
  out.change.destination = out.match.destination;
  out.change.source_port = source_port;
  out.change.destination_port = 53;
  out.change.counts_down = true;
  return out;
}
inline Bytes sent(std::uint16_t source_port = 1000, std::uint8_t hop_limit = 64) {
  return frame_of(mac(7), mac(1), datagram("10.0.0.1", source_port, "10.0.0.2", 53, hop_limit));
}

/// Everything that a queue tells, until it has told so much or much time has gone.
inline std::vector<FlowEvent> events(FlowOffloadBody& body, std::size_t count, std::size_t queue = 0) {
  std::vector<FlowEvent> out;
  for (int i = 0; i < 1000 && out.size() < count; ++i) {
    std::array<FlowEvent, 7> some;
    const auto came = body.offload().poll(queue, some);
    out.insert(out.end(), some.begin(), some.begin() + static_cast<std::ptrdiff_t>(came));
    if (came == 0) body.wait(std::chrono::milliseconds(10));
  }
  REQUIRE(out.size() == count);
  return out;
}
inline void install(FlowOffloadBody& body, const OffloadedFlow& flow, std::size_t queue = 0) {
  REQUIRE(body.offload().install(queue, flow));
  const auto event = events(body, 1, queue).front();
  CHECK(event.kind == Kind::installed);
  CHECK(event.id == flow.id);
}
inline Refusal refusal(FlowOffloadBody& body, const OffloadedFlow& flow) {
  REQUIRE(body.offload().install(0, flow));
  const auto event = events(body, 1).front();
  CHECK(event.kind == Kind::refused);
  CHECK(event.id == flow.id);
  return event.refusal;
}
inline FlowHits remove(FlowOffloadBody& body, std::uint64_t id, std::size_t queue = 0) {
  REQUIRE(body.offload().remove(queue, id));
  const auto event = events(body, 1, queue).front();
  CHECK(event.kind == Kind::removed);
  CHECK(event.id == id);
  return event.hits;
}
inline FlowHits hits(FlowOffloadBody& body, std::uint64_t id, std::size_t queue = 0) {
  body.wait(std::chrono::milliseconds(1100));
  FlowHits out;
  body.offload().hits(queue, {&id, 1}, {&out, 1});
  return out;
}

template <class Body>
void forwards_and_counts() {
  Body body;
  CHECK(body.offload().queues() == 2);
  CHECK_FALSE(body.pass(body.port(0), sent()));
  install(body, flow(body, 7));
  const auto out = body.pass(body.port(0), sent());
  REQUIRE(out);
  CHECK(out->port == body.port(1));
  CHECK(out->frame == frame_of(mac(2), mac(8), datagram("10.0.0.1", 1000, "10.0.0.2", 53, 63)));
  const auto bytes = sent().size() - 14;
  CHECK(hits(body, 7) == FlowHits{1, bytes});
  CHECK(hits(body, 8) == FlowHits{});
  CHECK(hits(body, 7, 1) == FlowHits{});
  REQUIRE(body.pass(body.port(0), sent()));
  CHECK(remove(body, 7) == FlowHits{2, 2 * bytes});
  CHECK_FALSE(body.pass(body.port(0), sent()));
  CHECK(remove(body, 7) == FlowHits{});
  // The id is free again.
  install(body, flow(body, 7, 1001));
  CHECK(hits(body, 7) == FlowHits{});
}

/// Each of them differs from a hit in one thing.
template <class Body>
void leaves_the_rest_to_software() {
  Body body;
  install(body, flow(body, 1));
  auto tcp_flow = flow(body, 2);
  tcp_flow.match.protocol = network::protocol_tcp;
  install(body, tcp_flow);
  const auto is_hit = [&](const Bytes& frame, std::size_t port = 0) {
    return body.pass(body.port(port), frame).has_value();
  };
  CHECK(is_hit(sent()));
  CHECK_FALSE(is_hit(sent(), 1));
  CHECK_FALSE(is_hit(sent(1001)));
  CHECK_FALSE(is_hit(sent(1000, 1)));
  CHECK(is_hit(sent(1000, 2)));
  CHECK_FALSE(is_hit(frame_of(mac(7), mac(3), datagram("10.0.0.1", 1000, "10.0.0.2", 53))));
  CHECK_FALSE(is_hit(frame_of(mac(7), mac(1), datagram("10.0.0.1", 1000, "10.0.0.3", 53))));
  CHECK_FALSE(is_hit(frame_of(mac(7), mac(1), datagram("10.0.0.1", 1000, "10.0.0.2", 54))));
  const auto with = [&](V4 header, const Bytes& payload) {
    return is_hit(frame_of(mac(7), mac(1), checksummed(v4(payload, header))));
  };
  const auto payload = udp(1000, 53, {1, 2, 3});
  CHECK_FALSE(with({.fragment = 0x2000}, payload));
  CHECK_FALSE(with({.fragment = 0x0001}, payload));
  CHECK(with({.fragment = 0x4000}, payload));  // it only must not become one
  CHECK_FALSE(with({.options = {1, 1, 1, 1}}, payload));
  for (const auto flags : std::initializer_list<std::uint8_t>{0x10, 0x18, 0x30})
    CHECK(with({.protocol = 6}, tcp(1000, 53, flags)));
  for (const auto flags : std::initializer_list<std::uint8_t>{0x02, 0x12, 0x11, 0x01, 0x04, 0x14})
    CHECK_FALSE(with({.protocol = 6}, tcp(1000, 53, flags)));
  CHECK_FALSE(with({.protocol = 1}, icmp(8, 0, 1000)));
}

template <class Body>
void encapsulates_and_takes_off() {
  Body body;
  const char* const here = "2001:db8:0:1::5";
  const char* const there = "2001:db8:0:2::6";
  for (const bool is_v6 : {false, true}) {
    const char* const a = is_v6 ? "fd00::1" : "10.0.0.1";
    const char* const b = is_v6 ? "fd00::2" : "10.0.0.2";
    const char* const is_public = is_v6 ? "2001:db8:99::1" : "192.0.2.1";
    // Out with another source, and back.
    auto out_flow = flow(body, is_v6 ? 10 : 20);
    out_flow.match.source = address(a);
    out_flow.match.destination = out_flow.change.destination = address(b);
    out_flow.change.source = address(is_public);
    out_flow.change.source_port = 4000;
    out_flow.change.encapsulation = FlowChange::Encapsulation{address(here), address(there), 0xabcde};
    auto back_flow = flow(body, is_v6 ? 11 : 21);
    back_flow.match = {.port = body.port(1),
                       .underlay = address(here),
                       .source = address(b),
                       .destination = address(is_public),
                       .protocol = network::protocol_udp,
                       .source_port = 53,
                       .destination_port = 4000};
    back_flow.change = {.port = body.port(0),
                        .source_mac = mac(7),
                        .destination_mac = mac(1),
                        .source = address(b),
                        .destination = address(a),
                        .source_port = 53,
                        .destination_port = 1000};
    install(body, out_flow);
    install(body, back_flow);

    const auto ip = datagram(a, 1000, b, 53);
    const auto out = body.pass(body.port(0), frame_of(mac(7), mac(1), ip));
    REQUIRE(out);
    CHECK(out->port == body.port(1));
    CHECK(out->frame == frame_of(mac(2), mac(8), outer(here, there, 0xabcde, datagram(is_public, 4000, b, 53, 63))));
    CHECK(hits(body, out_flow.id) == FlowHits{1, ip.size()});

    // Padding goes, and the hop limit is the other host's affair.
    const auto answer = outer(there, here, 5, datagram(b, 53, is_public, 4000, 1));
    const auto back = body.pass(body.port(1), frame_of(mac(8), mac(2), answer) + Bytes(20));
    REQUIRE(back);
    CHECK(back->port == body.port(0));
    CHECK(back->frame == frame_of(mac(1), mac(7), datagram(b, 53, a, 1000, 1)));
    CHECK(hits(body, back_flow.id) == FlowHits{1, ip.size()});
    const auto elsewhere = outer(there, "2001:db8:0:1::9", 5, datagram(b, 53, is_public, 4000));
    CHECK_FALSE(body.pass(body.port(1), frame_of(mac(8), mac(2), elsewhere)));
  }
}

template <class Body>
void refuses() {
  Body body;
  install(body, flow(body, 1));
  CHECK(refusal(body, flow(body, 2)) == Refusal::taken);
  auto other = flow(body, 3, 2000);
  other.match.protocol = 132;
  CHECK(refusal(body, other) == Refusal::unsupported);
  other = flow(body, 4, 2000);
  other.change.source = address("fd00::1");
  CHECK(refusal(body, other) == Refusal::unsupported);
  // One that was refused leaves nothing behind.
  install(body, flow(body, 3, 2000));
  CHECK(remove(body, 1) == FlowHits{});
  install(body, flow(body, 2));
}

template <class Body>
void says_when_it_is_full() {
  Body body;
  std::uint64_t id = 0;
  for (; id < body.capacity(); ++id) install(body, flow(body, id, static_cast<std::uint16_t>(5000 + id)));
  CHECK(refusal(body, flow(body, id, 4000)) == Refusal::full);
  remove(body, 0);
  install(body, flow(body, id, 4000));
  CHECK(body.pass(body.port(0), sent(4000)).has_value());
}

template <class Body>
void tells_of_silence_once() {
  Body body;
  auto quick = flow(body, 1);
  quick.idle = std::chrono::seconds(2);
  install(body, quick);
  install(body, flow(body, 2, 1001));
  body.wait(std::chrono::seconds(1));
  REQUIRE(body.pass(body.port(0), sent()));
  std::array<FlowEvent, 4> some;
  body.wait(std::chrono::milliseconds(1200));
  CHECK(body.offload().poll(0, some) == 0);
  body.wait(std::chrono::seconds(3));
  const auto told = events(body, 1).front();
  CHECK(told.kind == Kind::idle);
  CHECK(told.id == 1);
  body.wait(std::chrono::seconds(5));
  CHECK(body.offload().poll(0, some) == 0);
  // It is still there; another silence is another one.
  REQUIRE(body.pass(body.port(0), sent()));
  body.wait(std::chrono::seconds(5));
  CHECK(events(body, 1).front().kind == Kind::idle);
  CHECK(remove(body, 1).packets == 2);
}

/// Commands are carried out in their order, queues do not know each other's ids, and a queue that takes no more says so.
template <class Body>
void keeps_order() {
  Body body;
  REQUIRE(body.offload().install(0, flow(body, 1)));
  REQUIRE(body.offload().remove(0, 1));
  REQUIRE(body.offload().install(0, flow(body, 1, 1001)));
  REQUIRE(body.offload().install(1, flow(body, 1, 1002)));
  const auto told = events(body, 3);
  CHECK(told[0].kind == Kind::installed);
  CHECK(told[1].kind == Kind::removed);
  CHECK(told[2].kind == Kind::installed);
  CHECK(events(body, 1, 1).front().kind == Kind::installed);
  CHECK_FALSE(body.pass(body.port(0), sent(1000)));
  CHECK(body.pass(body.port(0), sent(1001)).has_value());
  CHECK(remove(body, 1, 1) == FlowHits{});
  CHECK(body.pass(body.port(0), sent(1001)).has_value());

  std::set<std::uint64_t> taken;
  std::uint64_t id = 100;
  while (id < 100'000 && body.offload().remove(0, id)) taken.insert(id++);
  REQUIRE(id < 100'000);
  CHECK_FALSE(body.offload().install(0, flow(body, id, 1003)));
  for (const auto& event : events(body, taken.size())) CHECK(taken.erase(event.id) == 1);
  CHECK(taken.empty());
  install(body, flow(body, id, 1003));
}

template <class Body>
void survives_a_reset() {
  Body body;
  install(body, flow(body, 1));
  install(body, flow(body, 1, 1001), 1);
  REQUIRE(body.offload().install(0, flow(body, 2, 1002)));
  if (!body.reset()) return;
  for (const std::size_t queue : {0U, 1U}) {
    const auto told = events(body, 1, queue);
    CHECK(told.back().kind == Kind::reset);
  }
  for (const auto port : std::initializer_list<std::uint16_t>{1000, 1001, 1002})
    CHECK_FALSE(body.pass(body.port(0), sent(port)));
  CHECK(hits(body, 1) == FlowHits{});
  // All ids are free, and it works as before.
  install(body, flow(body, 1));
  install(body, flow(body, 2, 1002));
  CHECK(body.pass(body.port(0), sent()).has_value());
}

}  // namespace offload

#define IRONCORE_FLOW_OFFLOAD_CONFORMANCE(Body)                                                     \
  TEST_CASE_TEMPLATE("an installed flow is forwarded and counted, a removed one is not", T, Body) { \
    offload::forwards_and_counts<T>();                                                              \
  }                                                                                                 \
  TEST_CASE_TEMPLATE("what is not a plain packet of the flow is left to software", T, Body) {       \
    offload::leaves_the_rest_to_software<T>();                                                      \
  }                                                                                                 \
  TEST_CASE_TEMPLATE("addresses change, and outer headers come and go", T, Body) {                  \
    offload::encapsulates_and_takes_off<T>();                                                       \
  }                                                                                                 \
  TEST_CASE_TEMPLATE("a flow that cannot be is refused with the reason", T, Body) {                 \
    offload::refuses<T>();                                                                          \
  }                                                                                                 \
  TEST_CASE_TEMPLATE("a full device says so, and has room again after a removal", T, Body) {        \
    offload::says_when_it_is_full<T>();                                                             \
  }                                                                                                 \
  TEST_CASE_TEMPLATE("silence is told once, and again after the next packet", T, Body) {            \
    offload::tells_of_silence_once<T>();                                                            \
  }                                                                                                 \
  TEST_CASE_TEMPLATE("commands keep their order, and queues are their own", T, Body) {              \
    offload::keeps_order<T>();                                                                      \
  }                                                                                                 \
  TEST_CASE_TEMPLATE("a reset is told, and everything may be installed anew", T, Body) {            \
    offload::survives_a_reset<T>();                                                                 \
  }

}  // namespace ironcore::tests
