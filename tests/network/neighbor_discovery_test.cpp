// SPDX-License-Identifier: Apache-2.0
// Neighbor discovery between a machine and its gateway.
#include "dataplane/neighbor_discovery.hpp"

#include <doctest/doctest.h>

#include "machine.hpp"

using namespace ironcore;
using namespace ironcore::network::dataplane;
using namespace ironcore::tests;

namespace {

constexpr std::string_view solicited_gateway = "ff02::1:ff00:1";
const Bytes all_nodes_mac{0x33, 0x33, 0, 0, 0, 1};

struct From {
  std::string_view source = machine_v6_link;
  std::string_view destination = solicited_gateway;
  std::uint8_t hop_limit = 255;
};
Bytes framed(const Bytes& message, const From& ends = {}) {
  return ethernet(
      0x86dd,
      summed(v6(
          message,
          {.source = ends.source, .destination = ends.destination, .next_header = 58, .hop_limit = ends.hop_limit})));
}
Bytes mac_option(std::uint8_t option, const Bytes& mac = machine_mac) {
  return Bytes{option, 1} + mac;
}
Bytes solicitation(std::string_view target = "fe80::1", const Bytes& options = mac_option(1)) {
  return Bytes{135, 0, 0, 0, 0, 0, 0, 0} + raw(target) + options;
}
Bytes router_solicitation(const Bytes& options = mac_option(1)) {
  return Bytes{133, 0, 0, 0, 0, 0, 0, 0} + options;
}
constexpr From to_routers{.destination = "ff02::2"};

Heard heard_nd(const Bytes& frame, const LocalServices& told = services()) {
  return heard(answer_neighbor_discovery, frame, told);
}
/// Without the checksum, which `opened` checks.
Bytes message_in(const Heard& got, const Bytes& to_mac, std::string_view to) {
  REQUIRE(got.why == NoReply::none);
  auto message = opened(got.frame, to_mac, to, 58, 255);
  put16(message, 2, 0);
  return message;
}

}  // namespace

TEST_CASE("neighbor discovery: the gateway is found") {
  const auto got = heard_nd(framed(solicitation()));
  // From a router, solicited, overrides.
  CHECK(message_in(got, machine_mac, machine_v6_link) ==
        Bytes{136, 0, 0, 0, 0xe0, 0, 0, 0} + raw("fe80::1") + mac_option(2, gateway_mac));
  CHECK(got.claim == Claim{mac_of(machine_mac), address(machine_v6_link)});
  // Asked for at its address, and without the option: that is how reachability is tested.
  const auto again = heard_nd(framed(solicitation("fe80::1", {}), {.destination = "fe80::1"}));
  CHECK(message_in(again, machine_mac, machine_v6_link)[4] == 0xe0);
  CHECK(!again.claim);
}

TEST_CASE("neighbor discovery: who looks whether fe80::1 is free is told, with all nodes, that it is not") {
  const auto got = heard_nd(framed(solicitation("fe80::1", {}), {.source = "::"}));
  CHECK(message_in(got, all_nodes_mac, "ff02::1") ==
        Bytes{136, 0, 0, 0, 0xa0, 0, 0, 0} + raw("fe80::1") + mac_option(2, gateway_mac));
  CHECK(!got.claim);
}

TEST_CASE("neighbor discovery: a machine finds its own addresses free") {
  const auto got = heard_nd(framed(solicitation("fe80::a", {}), {.source = "::", .destination = "ff02::1:ff00:a"}));
  CHECK(got.why == NoReply::other_target);
  CHECK(heard_nd(framed(solicitation("2001:db8::3"))).why == NoReply::other_target);
}

TEST_CASE("neighbor discovery: a router solicitation is told the gateway, and that addresses come by DHCPv6") {
  auto told = services();
  const Bytes head{134, 0, 0, 0, 64, 0xc0, 0xff, 0xff, 0, 0, 0, 0, 0, 0, 0, 0};
  const auto plain = heard_nd(framed(router_solicitation(), to_routers), told);
  CHECK(message_in(plain, machine_mac, machine_v6_link) ==
        head + mac_option(1, gateway_mac) + Bytes{5, 1, 0, 0, 0, 0, 0x05, 0xdc});
  CHECK(plain.claim == Claim{mac_of(machine_mac), address(machine_v6_link)});

  SUBCASE("with name servers (RFC 8106)") {
    const IpAddress dns[] = {address("2001:db8::53"), address("2001:db8::54")};
    told.dns_v6 = dns;
    told.mtu = 9000;
    CHECK(message_in(heard_nd(framed(router_solicitation(), to_routers), told), machine_mac, machine_v6_link) ==
          head + mac_option(1, gateway_mac) + Bytes{5, 1, 0, 0, 0, 0, 0x23, 0x28} +
              Bytes{25, 5, 0, 0, 0xff, 0xff, 0xff, 0xff} + raw("2001:db8::53") + raw("2001:db8::54"));
  }
  SUBCASE("without an MTU that IPv6 cannot have") {
    told.mtu = 1279;
    CHECK(message_in(heard_nd(framed(router_solicitation(), to_routers), told), machine_mac, machine_v6_link) ==
          head + mac_option(1, gateway_mac));
  }
  SUBCASE("who has no address yet is answered with all nodes") {
    const auto got = heard_nd(framed(router_solicitation({}), {.source = "::", .destination = "ff02::2"}), told);
    CHECK(message_in(got, all_nodes_mac, "ff02::1")[0] == 134);
  }
  SUBCASE("a machine without IPv6 has no router") {
    told.ipv6.reset();
    CHECK(heard_nd(framed(router_solicitation(), to_routers), told).why == NoReply::no_address);
    CHECK(heard_nd(framed(solicitation()), told).why == NoReply::none);
  }
  SUBCASE("as many name servers as the option can count") {
    const std::vector<IpAddress> many(300, address("2001:db8::53"));
    told.dns_v6 = many;
    const auto frame = framed(router_solicitation(), to_routers);
    CHECK(heard(answer_neighbor_discovery, frame, told, 4096).frame.size() == 14 + 40 + 32 + 8 + 127 * 16);
    CHECK(heard_nd(frame, told).why == NoReply::no_room);
  }
}

TEST_CASE("neighbor discovery: RFC 4861 §6.1.1 and §7.1: what is not valid is not answered") {
  struct Kind {
    Bytes message;
    From ends;
    std::size_t fixed;
  };
  for (const auto& [message, ends, fixed] :
       {Kind{solicitation(), {}, 24}, Kind{router_solicitation(), to_routers, 8}}) {
    REQUIRE(heard_nd(framed(message, ends)).why == NoReply::none);

    auto far = ends;
    far.hop_limit = 254;
    CHECK(heard_nd(framed(message, far)).why == NoReply::not_on_link);

    auto bad = framed(message, ends);
    bad[14 + 40 + 3] ^= 1;
    CHECK(heard_nd(bad).why == NoReply::checksum);

    auto code = message;
    code[1] = 1;
    CHECK(heard_nd(framed(code, ends)).why == NoReply::malformed);

    const auto bare = part(message, 0, fixed);
    CHECK(heard_nd(framed(bare, ends)).why == NoReply::none);
    CHECK(heard_nd(framed(part(bare, 0, fixed - 1), ends)).why == NoReply::malformed);
    CHECK(heard_nd(framed(bare + Bytes{1, 0} + machine_mac, ends)).why == NoReply::malformed);  // length 0
    CHECK(heard_nd(framed(bare + Bytes{1, 2} + machine_mac, ends)).why == NoReply::malformed);  // beyond the end
    CHECK(heard_nd(framed(bare + Bytes{1}, ends)).why == NoReply::malformed);
    CHECK(heard_nd(framed(bare + Bytes{99, 1, 0, 0, 0, 0, 0, 0}, ends)).why == NoReply::none);  // unknown

    auto unspecified = ends;
    unspecified.source = "::";
    CHECK(heard_nd(framed(bare, unspecified)).why == NoReply::none);
    CHECK(heard_nd(framed(message, unspecified)).why == NoReply::malformed);  // with a MAC
    auto group = ends;
    group.source = "ff02::5";
    CHECK(heard_nd(framed(message, group)).why == NoReply::malformed);
    survives_damage(answer_neighbor_discovery, framed(message, ends), services());
  }
  CHECK(heard_nd(framed(solicitation("ff02::1"))).why == NoReply::malformed);
  CHECK(heard_nd(framed(solicitation("fe80::1", {}), {.source = "::", .destination = "ff02::1"})).why ==
        NoReply::malformed);
  CHECK(heard_nd(framed(solicitation(), {.destination = "2001:db8::9"})).why == NoReply::other_target);
}

TEST_CASE("neighbor discovery: fragments are ignored (RFC 6980)") {
  // A lone fragment is a whole packet elsewhere; here it is not.
  const Bytes message = from(framed(solicitation()), 14 + 40);
  const auto packet =
      v6(v6_fragment(58, 0, false) + message,
         {.source = machine_v6_link, .destination = solicited_gateway, .next_header = 44, .hop_limit = 255});
  CHECK(heard_nd(ethernet(0x86dd, packet)).why == NoReply::fragment);
}

TEST_CASE("neighbor discovery: advertisements are learned from, and those of routers and redirects end here") {
  const Bytes advertisement = Bytes{136, 0, 0, 0, 0x60, 0, 0, 0} + raw("2001:db8::3");
  const From to_gateway{.destination = "fe80::1"};
  const auto got = heard_nd(framed(advertisement + mac_option(2), to_gateway));
  CHECK(got.why == NoReply::not_asked);
  CHECK(got.claim == Claim{mac_of(machine_mac), address("2001:db8::3")});
  CHECK(heard_nd(framed(advertisement, to_gateway)).claim == got.claim);
  CHECK(!heard_nd(framed(advertisement + mac_option(2, gateway_mac), to_gateway)).claim);
  CHECK(!heard_nd(framed(Bytes{136, 0, 0, 0, 0x60, 0, 0, 0} + raw("fe80::1") + mac_option(2), to_gateway)).claim);

  CHECK(heard_nd(framed(Bytes{134, 0, 0, 0, 64, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0, 0})).why == NoReply::not_asked);
  CHECK(heard_nd(framed(Bytes{137, 0, 0, 0, 0, 0, 0, 0} + raw("fe80::9") + raw("2001:db8::9"))).why ==
        NoReply::not_asked);
}

TEST_CASE("neighbor discovery: a claim that contradicts the frame is none") {
  const Bytes other{2, 0, 0, 0, 0, 0x0b};
  CHECK(!heard_nd(framed(solicitation("fe80::1", mac_option(1, other)))).claim);
  CHECK(!heard_nd(framed(solicitation(), {.source = "fe80::1"})).claim);
}

TEST_CASE("neighbor discovery: other messages go on their way") {
  CHECK(heard_nd(framed(icmp(128, 0))).why == NoReply::not_mine);
  CHECK(heard_nd(framed(icmp(143, 0))).why == NoReply::not_mine);
  CHECK(heard_nd(ethernet(0x86dd, summed(v6(udp(1, 2))))).why == NoReply::not_mine);
  CHECK(heard_nd(ethernet(0x0800, summed(v4(udp(1, 2))))).why == NoReply::not_mine);
}

TEST_CASE("neighbor discovery: what the gateway says by itself") {
  const auto told = services();
  Bytes frame(200);
  const auto written = [&](std::size_t length) { return Heard{NoReply::none, part(frame, 0, length), {}}; };
  CHECK(message_in(written(advertise_neighbor(told, frame)), all_nodes_mac, "ff02::1") ==
        Bytes{136, 0, 0, 0, 0xa0, 0, 0, 0} + raw("fe80::1") + mac_option(2, gateway_mac));
  const auto router = written(advertise_router(told, frame));
  CHECK(message_in(router, all_nodes_mac, "ff02::1")[0] == 134);
  CHECK(advertise_router(told, std::span(frame).first(router.frame.size() - 1)) == 0);
}
