// SPDX-License-Identifier: Apache-2.0
// A machine that asks for its IPv6 address.
#include "dataplane/dhcpv6.hpp"

#include <doctest/doctest.h>

#include "machine.hpp"

using namespace ironcore;
using namespace ironcore::network::dataplane;
using namespace ironcore::tests;

namespace {

constexpr std::uint8_t solicit = 1, advertise = 2, request = 3, confirm = 4, renew = 5, rebind = 6, reply = 7,
                       release = 8, decline = 9, reconfigure = 10, information_request = 11, relay_forward = 12,
                       relay_reply = 13;
constexpr std::uint16_t success = 0, no_addresses = 2, no_binding = 3, not_on_link = 4, use_multicast = 5,
                        no_prefixes = 6;

Bytes option(std::uint16_t code, const Bytes& value) {
  Bytes head(4);
  put16(head, 0, code);
  put16(head, 2, static_cast<std::uint16_t>(value.size()));
  return head + value;
}
const Bytes duid = Bytes{0, 3, 0, 1} + machine_mac;
const Bytes client = option(1, duid);
const Bytes server = option(2, {server_duid.begin(), server_duid.end()});
const Bytes both = client + server;
const Bytes rapid_commit = option(14, {});
const Bytes ours = raw("2001:db8::3");
const Bytes foreign = raw("2001:db8::4");
const Bytes for_ever(4, 0xff);

Bytes address_option(const Bytes& address, const Bytes& lifetime = Bytes(4)) {
  return option(5, address + lifetime + lifetime);
}
Bytes status(std::uint16_t code) {
  return option(13, {0, static_cast<std::uint8_t>(code)});
}
/// An IA_NA, as asked for or as answered.
Bytes ia(std::uint8_t id, const Bytes& options = {}, const Bytes& t1 = Bytes(4), const Bytes& t2 = Bytes(4)) {
  return option(3, Bytes{0, 0, 0, id} + t1 + t2 + options);
}
Bytes leased(std::uint8_t id, const Bytes& further = {}) {
  return ia(id, address_option(ours, for_ever) + further, for_ever, for_ever);
}
Bytes ia_ta(std::uint8_t id, const Bytes& options = {}) {
  return option(4, Bytes{0, 0, 0, id} + options);
}
Bytes ia_pd(std::uint8_t id, const Bytes& options = {}) {
  return option(25, Bytes{0, 0, 0, id} + Bytes(8) + options);
}

constexpr std::string_view all_servers = "ff02::1:2";
Bytes framed(const Bytes& message, std::string_view destination = all_servers,
             std::string_view source = machine_v6_link) {
  return ethernet(0x86dd, summed(v6(udp(546, 547, message), {.source = source, .destination = destination})));
}
Bytes message(std::uint8_t type, const Bytes& options) {
  return Bytes{type, 0xab, 0xcd, 0xef} + options;
}
Heard asked(std::uint8_t type, const Bytes& options, const LocalServices& told = services(),
            std::string_view destination = all_servers) {
  return heard(answer_dhcpv6, framed(message(type, options), destination), told);
}
Bytes message_in(const Heard& got) {
  REQUIRE(got.why == NoReply::none);
  const auto datagram = opened(got.frame, machine_mac, machine_v6_link, 17);
  CHECK(get16(datagram, 0) == 547);
  CHECK(get16(datagram, 2) == 546);
  CHECK(get16(datagram, 4) == datagram.size());
  return from(datagram, 8);
}
/// What the server says behind the two identifiers.
Bytes told_by(std::uint8_t type, const Heard& got) {
  const auto bytes = message_in(got);
  const auto head = message(type, server + client);
  CHECK(part(bytes, 0, head.size()) == head);
  return from(bytes, head.size());
}

LocalServices without_address() {
  auto told = services();
  told.ipv6.reset();
  return told;
}
const Bytes preference = option(7, {255});

}  // namespace

TEST_CASE("DHCPv6: a solicit is advertised the machine's address") {
  CHECK(told_by(advertise, asked(solicit, client + ia(7))) == preference + leased(7));
  // What it would like to have makes no difference.
  CHECK(told_by(advertise, asked(solicit, client + ia(7, address_option(foreign)))) == preference + leased(7));
  CHECK(told_by(advertise, asked(solicit, client)) == preference);
}

TEST_CASE("DHCPv6: with rapid commit it has it at once") {
  CHECK(told_by(reply, asked(solicit, client + rapid_commit + ia(7))) == rapid_commit + leased(7));
  // Nothing can be committed: an advertisement says why.
  CHECK(told_by(advertise, asked(solicit, client + rapid_commit + ia(7), without_address())) ==
        preference + ia(7, status(no_addresses)));
}

TEST_CASE("DHCPv6: a request is granted the machine's address and no other") {
  CHECK(told_by(reply, asked(request, both + ia(7, address_option(ours)))) == leased(7));
  CHECK(told_by(reply, asked(request, both + ia(7))) == leased(7));
  CHECK(told_by(reply, asked(request, both + ia(7, address_option(foreign)))) == ia(7, status(not_on_link)));
  CHECK(told_by(reply, asked(request, both + ia(7, address_option(ours) + address_option(foreign)))) ==
        ia(7, status(not_on_link)));
  CHECK(told_by(reply, asked(request, both + ia(7), without_address())) == ia(7, status(no_addresses)));
}

TEST_CASE("DHCPv6: of several associations, one has the address") {
  CHECK(told_by(advertise, asked(solicit, client + ia(1) + ia(2))) ==
        preference + leased(1) + ia(2, status(no_addresses)));
  CHECK(told_by(reply, asked(request, both + ia(1) + ia(2, address_option(ours)))) ==
        ia(1, status(no_addresses)) + leased(2));
  CHECK(told_by(reply, asked(renew, both + ia(1) + ia(2, address_option(ours)))) ==
        ia(1, status(no_binding)) + leased(2));
  const auto has_it = address_option(ours);
  CHECK(told_by(reply, asked(request, both + ia(1) + ia(2, has_it) + ia(3, has_it))) ==
        ia(1, status(no_addresses)) + leased(2) + ia(3, status(no_addresses)));
  // There are no temporary ones, and no prefixes.
  CHECK(told_by(advertise, asked(solicit, client + ia_ta(1) + ia_pd(2) + ia(3))) ==
        preference + ia_ta(1, status(no_addresses)) + ia_pd(2, status(no_prefixes)) + leased(3));
  CHECK(told_by(reply, asked(renew, both + ia_ta(1) + ia_pd(2) + ia(3))) ==
        ia_ta(1, status(no_binding)) + ia_pd(2, status(no_binding)) + leased(3));
}

TEST_CASE("DHCPv6: renew and rebind extend the machine's address and end any other") {
  for (const auto& [type, ids] : {std::pair(renew, both), std::pair(rebind, client)}) {
    CHECK(told_by(reply, asked(type, ids + ia(7, address_option(ours)))) == leased(7));
    CHECK(told_by(reply, asked(type, ids + ia(7, address_option(foreign)))) == leased(7, address_option(foreign)));
    CHECK(told_by(reply, asked(type, ids + ia(7, address_option(ours)), without_address())) ==
          ia(7, address_option(ours)));
    CHECK(told_by(reply, asked(type, ids + ia(7), without_address())) == ia(7, status(no_binding)));
  }
}

TEST_CASE("DHCPv6: a lease that ends says when to renew it") {
  auto told = services();
  told.lease_seconds = 0xfffffffe;
  const Bytes lifetime{0xff, 0xff, 0xff, 0xfe};
  CHECK(told_by(reply, asked(request, both + ia(7), told)) ==
        ia(7, address_option(ours, lifetime), {0x7f, 0xff, 0xff, 0xff}, {0xcc, 0xcc, 0xcc, 0xcb}));
}

TEST_CASE("DHCPv6: confirm tells whether the machine is still where it was") {
  CHECK(told_by(reply, asked(confirm, client + ia(7, address_option(ours)))) == status(success));
  CHECK(told_by(reply, asked(confirm, client + ia(7, address_option(foreign)))) == status(not_on_link));
  CHECK(told_by(reply, asked(confirm, client + ia(7, address_option(ours)) + ia_ta(8, address_option(foreign)))) ==
        status(not_on_link));
  CHECK(told_by(reply, asked(confirm, client + ia(7, address_option(ours)), without_address())) == status(not_on_link));
  CHECK(asked(confirm, client + ia(7)).why == NoReply::not_asked);
  CHECK(asked(confirm, client).why == NoReply::not_asked);
}

TEST_CASE("DHCPv6: release and decline succeed, and of what was never leased say so") {
  for (const auto type : {release, decline}) {
    CHECK(told_by(reply, asked(type, both + ia(7, address_option(ours)))) == status(success));
    CHECK(told_by(reply, asked(type, both + ia(7, address_option(foreign)) + ia_pd(8))) ==
          status(success) + ia(7, status(no_binding)) + ia_pd(8, status(no_binding)));
  }
}

TEST_CASE("DHCPv6: the configuration is told, also without an address") {
  auto told = without_address();
  const IpAddress dns[] = {address("2001:db8::53"), address("2001:db8::54")};
  told.dns_v6 = dns;
  const auto servers = option(23, raw("2001:db8::53") + raw("2001:db8::54"));
  CHECK(told_by(reply, asked(information_request, client, told)) == servers);
  CHECK(told_by(reply, asked(information_request, both, told)) == servers);
  CHECK(message_in(asked(information_request, {}, told)) == message(reply, server + servers));  // needs no identifier
  CHECK(told_by(advertise, asked(solicit, client + ia(7), told)) == preference + ia(7, status(no_addresses)) + servers);
  told.ipv6 = address("2001:db8::3");
  CHECK(told_by(reply, asked(request, both + ia(7), told)) == leased(7) + servers);
  CHECK(told_by(reply, asked(renew, both + ia(7), told)) == leased(7) + servers);
  // An empty list would be malformed (RFC 3646 §3).
  CHECK(told_by(reply, asked(information_request, client)).empty());
  // As many as a packet holds.
  const std::vector<IpAddress> many(300, dns[0]);
  told.dns_v6 = many;
  const auto got = asked(information_request, client, told);
  CHECK(got.frame.size() <= 14 + 1500);
  CHECK(told_by(reply, got).size() % 16 == 4);
}

TEST_CASE("DHCPv6: firmware is told the loader, and the loader its URL (RFC 5970)") {
  auto told = services();
  told.boot = NetworkBoot{.server_v4 = {}, .server_v6 = address("2001:db8::900"), .path = "/boot"};
  const auto with = [&](const Bytes& options) { return told_by(advertise, asked(solicit, client + options, told)); };
  const auto class_of = [](std::string_view letters) {
    return Bytes{0, static_cast<std::uint8_t>(letters.size())} + text(letters);
  };
  const auto url = [](std::string_view where) { return preference + option(59, text(where)); };
  const auto loader = url("tftp://[2001:db8:0:0:0:0:0:900]/ipxe/x86_64/ipxe.new");
  const auto path = url("http://[2001:db8:0:0:0:0:0:900]/boot");
  const Bytes enterprise{0, 0, 1, 0x57};
  const auto x64 = option(16, enterprise + class_of("PXEClient:Arch:00007:UNDI:003016"));
  CHECK(with(x64) == loader);
  CHECK(with(option(61, {0, 7})) == loader);
  CHECK(with(option(61, {0, 0, 0, 9})) == loader);
  CHECK(with(option(15, class_of("iPXE")) + x64) == path);
  CHECK(with(x64 + option(15, class_of("other") + class_of("iPXE"))) == path);
  CHECK(told_by(reply, asked(information_request, client + x64, told)) == from(loader, 5));
  told.boot->path = "boot";
  CHECK(with(option(15, class_of("iPXE"))) == path);

  for (const auto& options : {option(15, text("iPXE")), option(15, class_of("iPXE2")), option(15, {0, 9, 'i'}),
                              option(16, enterprise + class_of("PXEClient:Arch:00000")), option(16, enterprise),
                              option(16, {1}), option(61, {0, 0}), option(61, {7}), Bytes()})
    CHECK(with(options) == preference);
  const std::string endless(600, 'p');
  told.boot->path = endless;
  CHECK(with(option(15, class_of("iPXE"))) == preference);

  // A boot server of the other family only, or none at all.
  told.boot->server_v6.reset();
  CHECK(with(x64) == preference);
  told.boot.reset();
  CHECK(with(x64) == preference);
}

TEST_CASE("DHCPv6: RFC 8415 §16: messages with the wrong identifiers are dropped") {
  for (const auto type : {solicit, confirm, rebind}) {
    CHECK(asked(type, ia(7, address_option(ours))).why == NoReply::malformed);
    CHECK(asked(type, both + ia(7, address_option(ours))).why == NoReply::malformed);
  }
  const auto other = option(2, duid);
  for (const auto type : {request, renew, release, decline}) {
    CHECK(asked(type, client + ia(7)).why == NoReply::malformed);
    CHECK(asked(type, server + ia(7)).why == NoReply::malformed);
    CHECK(asked(type, client + other + ia(7)).why == NoReply::other_server);
    CHECK(asked(type, client + option(2, Bytes(server_duid.begin(), server_duid.end() - 1))).why ==
          NoReply::other_server);
  }
  CHECK(asked(information_request, client + other).why == NoReply::other_server);
  CHECK(asked(information_request, client + ia(7)).why == NoReply::malformed);
  for (const int type : {0, 2, 7, 10, 14, 255})
    CHECK(asked(static_cast<std::uint8_t>(type), both).why == NoReply::not_asked);
  CHECK(asked(reconfigure, both).why == NoReply::not_asked);
}

TEST_CASE("DHCPv6: relayed messages are refused") {
  for (const auto type : {relay_forward, relay_reply})
    CHECK(heard(answer_dhcpv6,
                framed(Bytes{type, 0} + raw("::") + raw("fe80::a") + option(9, message(solicit, client))), services())
              .why == NoReply::relayed);
}

TEST_CASE("DHCPv6: who speaks to the server alone is told not to, or nothing (RFC 8415 §18.4)") {
  for (const auto type : {request, renew, release, decline})
    CHECK(told_by(reply, asked(type, both + ia(7), services(), "fe80::1")) == status(use_multicast));
  for (const auto type : {solicit, confirm, rebind, information_request})
    CHECK(asked(type, client, services(), "fe80::1").why == NoReply::malformed);
}

TEST_CASE("DHCPv6: identifiers may be as long as RFC 8415 lets them, and no longer") {
  CHECK(asked(solicit, option(1, Bytes(130, 1))).why == NoReply::none);
  CHECK(asked(solicit, option(1, Bytes(131, 1))).why == NoReply::malformed);
  CHECK(asked(solicit, option(1, {})).why == NoReply::malformed);
  CHECK(asked(solicit, client + client).why == NoReply::malformed);
}

TEST_CASE("DHCPv6: options that are cut are not read") {
  for (const auto& options : {Bytes{0}, Bytes{0, 14, 0}, Bytes{0, 14, 0, 1}, Bytes{0, 3, 0, 0}, option(3, Bytes(11)),
                              option(4, Bytes(3)), option(25, Bytes(11)), ia(7, {0, 5, 0}), ia(7, option(5, Bytes(23))),
                              ia(7, {0, 5, 0, 24}), ia_ta(7, option(5, Bytes(8))), ia_pd(7, option(26, Bytes(24)))}) {
    CAPTURE(options);
    CHECK(asked(solicit, client + options).why == NoReply::malformed);
    CHECK(asked(solicit, options + client).why != NoReply::not_mine);
  }
  CHECK(asked(solicit, {}).why == NoReply::malformed);
  CHECK(heard(answer_dhcpv6, framed({1, 2, 3}), services()).why == NoReply::malformed);
  survives_damage(
      answer_dhcpv6,
      framed(message(renew, both + ia(1, address_option(foreign)) + ia(7, address_option(ours)) + ia_pd(3))),
      services());
  CHECK(asked(solicit, client + ia(7)).frame.size() < 300);
  CHECK(heard(answer_dhcpv6, framed(message(solicit, client + ia(7))), services(), 100).why == NoReply::no_room);
}

TEST_CASE("DHCPv6: an answer that no packet holds is not given") {
  Bytes many;
  for (int i = 0; i < 60; ++i) many = many + address_option(foreign);
  CHECK(asked(renew, both + ia(7, many)).why == NoReply::no_room);
}

TEST_CASE("DHCPv6: checksums, fragments and other destinations") {
  const auto good = message(solicit, client + ia(7));
  auto wrong = framed(good);
  wrong.back() ^= 1;
  CHECK(heard(answer_dhcpv6, wrong, services()).why == NoReply::checksum);
  auto none = framed(good);
  put16(none, 14 + 40 + 6, 0);
  CHECK(heard(answer_dhcpv6, none, services()).why == NoReply::checksum);  // of IPv6 there is no going without
  const V6 ends{.source = machine_v6_link, .destination = all_servers, .next_header = 44};
  CHECK(heard(answer_dhcpv6, ethernet(0x86dd, v6(v6_fragment(17, 0, true) + udp(546, 547, Bytes(8)), ends)), services())
            .why == NoReply::fragment);
  CHECK(heard(answer_dhcpv6, framed(good, "2001:db8::547"), services()).why == NoReply::not_mine);
  CHECK(heard(answer_dhcpv6, framed(good, "ff05::1:3"), services()).why == NoReply::not_mine);
  CHECK(heard(answer_dhcpv6, framed(good, all_servers, "::"), services()).why == NoReply::malformed);
  CHECK(heard(answer_dhcpv6, framed(good, all_servers, "ff02::1"), services()).why == NoReply::malformed);
}
