// SPDX-License-Identifier: Apache-2.0
// ARP between a machine and its gateway.
#include "dataplane/arp.hpp"

#include <doctest/doctest.h>

#include "machine.hpp"

using namespace ironcore;
using namespace ironcore::network::dataplane;
using namespace ironcore::tests;

namespace {

const Bytes nobody(6);

Bytes arp(std::uint8_t operation, const Bytes& sender_mac, std::string_view sender, std::string_view target,
          const Bytes& target_mac = nobody) {
  return Bytes{0, 1, 8, 0, 6, 4, 0, operation} + sender_mac + raw(sender) + target_mac + raw(target);
}
Bytes request(std::string_view sender, std::string_view target) {
  return ethernet(0x0806, arp(1, machine_mac, sender, target));
}
Heard heard_arp(const Bytes& frame, const LocalServices& told = services()) {
  return heard(answer_arp, frame, told);
}

}  // namespace

TEST_CASE("ARP: a request for the gateway is answered with the port's MAC") {
  const auto got = heard_arp(request("10.1.2.3", "169.254.0.1"));
  CHECK(got.frame ==
        ethernet(0x0806, arp(2, gateway_mac, "169.254.0.1", "10.1.2.3", machine_mac), machine_mac, gateway_mac));
  CHECK(got.claim == Claim{mac_of(machine_mac), address("10.1.2.3")});
}

TEST_CASE("ARP: padding behind the packet is none of it") {
  CHECK(heard_arp(request("10.1.2.3", "169.254.0.1") + Bytes(18)).frame.size() == 42);
}

TEST_CASE("ARP: a probe for the gateway's address is told that it is taken (RFC 5227)") {
  const auto got = heard_arp(request("0.0.0.0", "169.254.0.1"));
  CHECK(got.frame ==
        ethernet(0x0806, arp(2, gateway_mac, "169.254.0.1", "0.0.0.0", machine_mac), machine_mac, gateway_mac));
  CHECK(got.claim == Claim{mac_of(machine_mac), std::nullopt});
}

TEST_CASE("ARP: a machine that probes or announces its own address hears nothing") {
  const auto probe = heard_arp(request("0.0.0.0", "10.1.2.3"));
  CHECK(probe.why == NoReply::other_target);
  CHECK(probe.claim == Claim{mac_of(machine_mac), std::nullopt});
  const auto announcement = heard_arp(request("10.1.2.3", "10.1.2.3"));
  CHECK(announcement.why == NoReply::other_target);
  CHECK(announcement.claim == Claim{mac_of(machine_mac), address("10.1.2.3")});
}

TEST_CASE("ARP: nobody else is there") {
  CHECK(heard_arp(request("10.1.2.3", "10.1.2.4")).why == NoReply::other_target);
  CHECK(heard_arp(request("10.1.2.3", "169.254.0.2")).why == NoReply::other_target);
}

TEST_CASE("ARP: a machine that announces the gateway's address learns of the conflict, and nothing is learned of it") {
  const auto got = heard_arp(request("169.254.0.1", "169.254.0.1"));
  CHECK(got.why == NoReply::none);
  CHECK(!got.claim);
}

TEST_CASE("ARP: a reply is learned from and not answered") {
  const auto got =
      heard_arp(ethernet(0x0806, arp(2, machine_mac, "10.1.2.3", "169.254.0.1", gateway_mac), gateway_mac));
  CHECK(got.why == NoReply::not_asked);
  CHECK(got.claim == Claim{mac_of(machine_mac), address("10.1.2.3")});
}

TEST_CASE("ARP: an address that no host has is not learned") {
  for (const auto sender : {"224.0.0.1", "127.0.0.1", "255.255.255.255", "0.1.2.3"})
    CHECK(heard_arp(request(sender, "169.254.0.1")).claim == Claim{mac_of(machine_mac), std::nullopt});
}

TEST_CASE("ARP: what is not IPv4 over Ethernet, or contradicts the frame, is refused") {
  const auto good = request("10.1.2.3", "169.254.0.1");
  const auto with = [&](std::size_t at, std::uint8_t value) {
    auto frame = good;
    frame[at] = value;
    return heard_arp(frame);
  };
  CHECK(with(14 + 1, 6).why == NoReply::malformed);   // hardware
  CHECK(with(14 + 2, 9).why == NoReply::malformed);   // protocol
  CHECK(with(14 + 4, 8).why == NoReply::malformed);   // lengths
  CHECK(with(14 + 5, 16).why == NoReply::malformed);  // likewise
  CHECK(with(14 + 7, 0).why == NoReply::malformed);   // operation
  CHECK(with(14 + 7, 3).why == NoReply::malformed);
  const auto stranger = with(14 + 13, 0x0b);
  CHECK(stranger.why == NoReply::malformed);
  CHECK(!stranger.claim);
  CHECK(heard_arp(ethernet(0x0806, arp(1, broadcast, "10.1.2.3", "169.254.0.1"), broadcast, broadcast)).why ==
        NoReply::malformed);
  CHECK(heard_arp(part(good, 0, 41)).why == NoReply::malformed);
  CHECK(heard_arp(ethernet(0x0800, from(good, 14))).why == NoReply::not_mine);
  CHECK(heard(answer_arp, good, services(), 41).why == NoReply::no_room);
  survives_damage(answer_arp, good, services());
}

TEST_CASE("ARP: the gateway asks for a machine that it does not know, and announces itself to one that it does") {
  auto told = services();
  Bytes frame(64);
  REQUIRE(announce_arp(told, frame) == 42);
  CHECK(part(frame, 0, 42) == ethernet(0x0806, arp(1, gateway_mac, "169.254.0.1", "10.1.2.3"), broadcast, gateway_mac));
  told.machine_mac = mac_of(machine_mac);
  REQUIRE(announce_arp(told, frame) == 42);
  CHECK(part(frame, 0, 42) ==
        ethernet(0x0806, arp(1, gateway_mac, "169.254.0.1", "169.254.0.1"), broadcast, gateway_mac));
  CHECK(announce_arp(told, std::span(frame).first(41)) == 0);
}
