// SPDX-License-Identifier: Apache-2.0
// A machine that pings its gateway.
#include "dataplane/gateway_ping.hpp"

#include <doctest/doctest.h>

#include "machine.hpp"

using namespace ironcore;
using namespace ironcore::network::dataplane;
using namespace ironcore::tests;

namespace {

Bytes ping_v4(const V4& with, const Bytes& message = icmp(8, 0, 77, {1, 2, 3})) {
  return ethernet(0x0800, summed(v4(message, with)));
}
Bytes ping_v6(std::string_view to, std::string_view source = machine_v6_link) {
  return ethernet(0x86dd,
                  summed(v6(icmp(128, 0, 77, {1, 2, 3}), {.source = source, .destination = to, .next_header = 58})));
}
V4 to_gateway() {
  return {.source = "10.1.2.3", .destination = "169.254.0.1", .protocol = 1};
}
Heard heard_ping(const Bytes& frame) {
  return heard(answer_ping, frame, services());
}

}  // namespace

TEST_CASE("ping: the gateway answers with what it was sent") {
  const auto four = opened(heard_ping(ping_v4(to_gateway())).frame, machine_mac, "10.1.2.3", 1);
  CHECK(part(four, 0, 2) == Bytes{0, 0});
  CHECK(from(four, 4) == Bytes{0, 77, 0, 0, 1, 2, 3});

  for (const auto to : {"fe80::1", "ff02::1", "ff02::2"}) {
    const auto six = opened(heard_ping(ping_v6(to)).frame, machine_mac, machine_v6_link, 58);
    CHECK(part(six, 0, 2) == Bytes{129, 0});
    CHECK(from(six, 4) == Bytes{0, 77, 0, 0, 1, 2, 3});
  }
  CHECK(heard_ping(ping_v6("fe80::1", "2001:db8::3")).why == NoReply::none);
}

TEST_CASE("ping: padding and IPv4 options are not sent back") {
  auto with = to_gateway();
  with.options = {7, 4, 4, 0};
  const auto got = heard_ping(ping_v4(with) + Bytes(20));
  CHECK(from(opened(got.frame, machine_mac, "10.1.2.3", 1), 4) == Bytes{0, 77, 0, 0, 1, 2, 3});
}

TEST_CASE("ping: everybody else's goes on its way") {
  auto other = to_gateway();
  other.destination = "10.9.9.9";
  CHECK(heard_ping(ping_v4(other)).why == NoReply::not_mine);
  CHECK(heard_ping(ping_v6("2001:db8::9")).why == NoReply::not_mine);
  CHECK(heard_ping(ping_v4(to_gateway(), icmp(0, 0, 77))).why == NoReply::not_mine);
  CHECK(heard_ping(ethernet(0x0800, summed(v4(udp(1, 2), {.destination = "169.254.0.1"})))).why == NoReply::not_mine);
  // ICMP of the wrong family is no ping.
  CHECK(heard_ping(ethernet(0x86dd, v6(icmp(8, 0), {.destination = "fe80::1", .next_header = 1}))).why ==
        NoReply::not_mine);
}

TEST_CASE("ping: what cannot be answered rightly is not answered") {
  auto bad = ping_v4(to_gateway());
  bad.back() ^= 1;
  CHECK(heard_ping(bad).why == NoReply::checksum);
  auto bad6 = ping_v6("fe80::1");
  bad6.back() ^= 1;
  CHECK(heard_ping(bad6).why == NoReply::checksum);

  auto piece = to_gateway();
  piece.fragment = 0x2000;
  CHECK(heard_ping(ping_v4(piece, icmp(8, 0, 77, Bytes(8)))).why == NoReply::fragment);
  piece.fragment = 2;
  CHECK(heard_ping(ping_v4(piece, icmp(8, 0, 77, Bytes(8)))).why == NoReply::fragment);

  CHECK(heard_ping(ping_v4(to_gateway(), icmp(8, 9, 77))).why == NoReply::malformed);
  for (const auto source : {"0.0.0.0", "224.0.0.1", "255.255.255.255", "127.0.0.1"}) {
    auto from_nowhere = to_gateway();
    from_nowhere.source = source;
    CHECK(heard_ping(ping_v4(from_nowhere)).why == NoReply::malformed);
  }
  CHECK(heard_ping(ping_v6("fe80::1", "::")).why == NoReply::malformed);
  CHECK(heard_ping(ping_v6("fe80::1", "ff02::1")).why == NoReply::malformed);

  // A frame from a group would have its answer sent to all of it.
  auto from_group = ping_v4(to_gateway());
  from_group[6] |= 1;
  CHECK(heard_ping(from_group).why == NoReply::malformed);
  // The Ethertype says another family than the packet.
  auto crossed = ping_v4(to_gateway());
  put16(crossed, 12, 0x86dd);
  CHECK(heard_ping(crossed).why == NoReply::malformed);

  CHECK(heard(answer_ping, ping_v4(to_gateway()), services(), 44).why == NoReply::no_room);
  survives_damage(answer_ping, ping_v4(to_gateway()), services());
  survives_damage(answer_ping, ping_v6("fe80::1"), services());
}

TEST_CASE("ping: as long as the caller has room for") {
  const auto frame = ping_v4(to_gateway(), icmp(8, 0, 77, Bytes(8972, 0xa5)));
  CHECK(heard(answer_ping, frame, services(), 9014).frame.size() == 9014);
  CHECK(heard(answer_ping, frame, services(), 9013).why == NoReply::no_room);
}
