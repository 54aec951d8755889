// SPDX-License-Identifier: Apache-2.0
// A machine that asks for its IPv4 address.
#include "dataplane/dhcpv4.hpp"

#include <doctest/doctest.h>

#include <array>
#include <map>

#include "machine.hpp"

using namespace ironcore;
using namespace ironcore::network::dataplane;
using namespace ironcore::tests;

namespace {

constexpr std::uint8_t discover = 1, offer = 2, request = 3, decline = 4, ack = 5, nak = 6, release = 7, inform = 8;

Bytes option(std::uint8_t code, const Bytes& value) {
  return Bytes{code, static_cast<std::uint8_t>(value.size())} + value;
}

/// What a client says; `options` stand behind the message type.
struct Say {
  std::uint8_t type = discover;
  Bytes options;
  std::string_view ciaddr = "0.0.0.0";
  std::string_view source = "0.0.0.0";
  std::string_view destination = "255.255.255.255";
  bool wants_broadcast = false;
};
Bytes message(const Say& say) {
  Bytes bytes(240);
  bytes[0] = 1;
  bytes[1] = 1;
  bytes[2] = 6;
  bytes[4] = 0xde;
  bytes[5] = 0xad;
  bytes[6] = 0xbe;
  bytes[7] = 0xef;
  if (say.wants_broadcast) bytes[10] = 0x80;
  put_address(bytes, 12, say.ciaddr);
  std::copy(machine_mac.begin(), machine_mac.end(), bytes.begin() + 28);
  put16(bytes, 236, 0x6382);
  put16(bytes, 238, 0x5363);
  return bytes + option(53, {say.type}) + say.options + Bytes{255};
}
Bytes framed(const Bytes& bytes, const Say& say = {}) {
  return ethernet(0x0800, summed(v4(udp(68, 67, bytes), {.source = say.source, .destination = say.destination})));
}
Heard asked(const Say& say, const LocalServices& told = services()) {
  return heard(answer_dhcpv4, framed(message(say), say), told);
}

struct Told {
  Bytes bytes;
  std::map<std::uint8_t, Bytes> options;
  std::vector<std::uint8_t> order;
  std::uint8_t type() const { return options.at(53)[0]; }
  Bytes ciaddr() const { return part(bytes, 12, 4); }
  Bytes yiaddr() const { return part(bytes, 16, 4); }
  Bytes siaddr() const { return part(bytes, 20, 4); }
  std::string file() const { return reinterpret_cast<const char*>(bytes.data() + 108); }
  bool has(std::uint8_t code) const { return options.contains(code); }
};
Told told_in(const Heard& got, const Bytes& to_mac = machine_mac, std::string_view to = "10.1.2.3") {
  REQUIRE(got.why == NoReply::none);
  const auto datagram = opened(got.frame, to_mac, to, 17);
  CHECK(get16(datagram, 0) == 67);
  CHECK(get16(datagram, 2) == 68);
  CHECK(get16(datagram, 4) == datagram.size());
  CHECK(get16(datagram, 6) != 0);
  Told told;
  told.bytes = from(datagram, 8);
  CHECK(told.bytes.size() >= 300);
  CHECK(part(told.bytes, 0, 8) == Bytes{2, 1, 6, 0, 0xde, 0xad, 0xbe, 0xef});
  CHECK(part(told.bytes, 24, 4) == Bytes(4));  // no relay
  CHECK(part(told.bytes, 28, 16) == machine_mac + Bytes(10));
  CHECK(part(told.bytes, 236, 4) == Bytes{0x63, 0x82, 0x53, 0x63});
  std::size_t at = 240;
  while (told.bytes.at(at) != 255) {
    const auto code = told.bytes[at];
    CHECK(!told.has(code));
    told.options[code] = part(told.bytes, at + 2, told.bytes.at(at + 1));
    told.order.push_back(code);
    at += 2 + std::size_t{told.bytes[at + 1]};
  }
  CHECK(from(told.bytes, at + 1) == Bytes(told.bytes.size() - at - 1));
  CHECK(told.options[54] == raw("169.254.0.1"));
  return told;
}

const Bytes plain_routes = Bytes{16, 169, 254, 0, 0, 0, 0} + Bytes{0, 169, 254, 0, 1};
const Bytes asks_for_routes = option(55, {1, 3, 6, 121});

LocalServices with_boot() {
  auto told = services();
  told.boot = NetworkBoot{.server_v4 = address("10.0.0.9"), .server_v6 = address("2001:db8::9"), .path = "/boot/web"};
  return told;
}

}  // namespace

TEST_CASE("DHCPv4: a discover is offered the machine's address, byte by byte") {
  auto told = services();
  const IpAddress dns[] = {address("10.0.0.53"), address("10.0.0.54")};
  told.dns_v4 = dns;
  told.hostname = "web-1";
  told.mtu = 1450;
  const auto got = asked({.options = asks_for_routes}, told);
  const auto options = Bytes{53, 1, 2, 54, 4, 169, 254, 0, 1, 51, 4, 0xff, 0xff, 0xff, 0xff, 1, 4, 255, 255, 255, 255} +
                       option(121, plain_routes) + Bytes{26, 2, 0x05, 0xaa} + Bytes{6, 8, 10, 0, 0, 53, 10, 0, 0, 54} +
                       option(12, text("web-1")) + Bytes{255};
  const auto expected = Bytes{2, 1, 6, 0, 0xde, 0xad, 0xbe, 0xef, 0, 0, 0, 0, 0, 0, 0, 0, 10, 1, 2, 3} + Bytes(8) +
                        machine_mac + Bytes(10 + 64 + 128) + Bytes{0x63, 0x82, 0x53, 0x63} + options;
  CHECK(told_in(got).bytes == expected + Bytes(300 > expected.size() ? 300 - expected.size() : 0));
  CHECK(!got.claim);
}

TEST_CASE("DHCPv4: a selecting client gets what it was offered") {
  const Say right{.type = request,
                  .options = option(50, raw("10.1.2.3")) + option(54, raw("169.254.0.1")) + asks_for_routes};
  const auto got = asked(right);
  const auto told = told_in(got);
  CHECK(told.type() == ack);
  CHECK(told.yiaddr() == raw("10.1.2.3"));
  CHECK(told.ciaddr() == Bytes(4));
  CHECK(told.options.at(51) == Bytes(4, 0xff));
  CHECK(told.options.at(121) == plain_routes);
  CHECK(got.claim == Claim{mac_of(machine_mac), address("10.1.2.3")});

  CHECK(asked({.type = request, .options = option(50, raw("10.1.2.3")) + option(54, raw("10.9.9.9"))}).why ==
        NoReply::other_server);
  CHECK(asked({.type = request, .options = option(54, raw("169.254.0.1"))}).why == NoReply::malformed);
}

TEST_CASE("DHCPv4: who names an address that is not its own is refused, for all to hear (RFC 2131 §4.3.2)") {
  const auto refused = [](const Say& say, const LocalServices& told = services()) {
    const auto got = asked(say, told);
    const auto answer = told_in(got, broadcast, "255.255.255.255");
    CHECK(answer.type() == nak);
    CHECK(answer.order == std::vector<std::uint8_t>{53, 54});
    CHECK(part(answer.bytes, 12, 16) == Bytes(16));
    CHECK(!got.claim);
  };
  refused({.type = request, .options = option(50, raw("10.1.2.4")) + option(54, raw("169.254.0.1"))});   // selecting
  refused({.type = request, .options = option(50, raw("192.168.0.7"))});                                 // init-reboot
  refused({.type = request, .ciaddr = "10.1.2.4", .source = "10.1.2.4", .destination = "169.254.0.1"});  // renewing
  refused({.type = request, .ciaddr = "10.1.2.4", .source = "10.1.2.4"});                                // rebinding
  refused({.type = request, .options = option(50, raw("10.1.2.4")), .ciaddr = "10.1.2.3"});
  auto without = services();
  without.ipv4.reset();
  refused({.type = request, .options = option(50, raw("10.1.2.3"))}, without);
}

TEST_CASE("DHCPv4: a client that boots again or renews keeps its address") {
  const auto reboot = told_in(asked({.type = request, .options = option(50, raw("10.1.2.3"))}));
  CHECK(reboot.type() == ack);
  CHECK(reboot.ciaddr() == Bytes(4));
  for (const auto to : {"169.254.0.1", "255.255.255.255"}) {  // renewing, rebinding
    const auto renewed = told_in(asked({.type = request,
                                        .ciaddr = "10.1.2.3",
                                        .source = "10.1.2.3",
                                        .destination = to,
                                        .wants_broadcast = true}));  // of no effect: it has an address
    CHECK(renewed.type() == ack);
    CHECK(renewed.ciaddr() == raw("10.1.2.3"));
    CHECK(renewed.yiaddr() == raw("10.1.2.3"));
    CHECK(renewed.has(51));
  }
  CHECK(asked({.type = request}).why == NoReply::malformed);
}

TEST_CASE("DHCPv4: who cannot hear its own address yet is answered by broadcast, and told so back") {
  for (const auto& say : {Say{.wants_broadcast = true},
                          Say{.type = request, .options = option(50, raw("10.1.2.3")), .wants_broadcast = true}}) {
    const auto told = told_in(asked(say), broadcast, "255.255.255.255");
    CHECK(get16(told.bytes, 10) == 0x8000);
    CHECK(told.yiaddr() == raw("10.1.2.3"));
  }
}

TEST_CASE("DHCPv4: INFORM is told all but a lease (RFC 2131 §4.3.5)") {
  auto told = services();
  const IpAddress dns[] = {address("10.0.0.53")};
  told.dns_v4 = dns;
  const Say say{.type = inform, .options = asks_for_routes, .ciaddr = "10.1.2.3", .source = "10.1.2.3"};
  const auto answer = told_in(asked(say, told));
  CHECK(answer.type() == ack);
  CHECK(answer.yiaddr() == Bytes(4));
  CHECK(answer.ciaddr() == raw("10.1.2.3"));
  CHECK(answer.order == std::vector<std::uint8_t>{53, 54, 1, 121, 26, 6});
  // At the address that it has, wherever that is from.
  CHECK(told_in(asked({.type = inform, .ciaddr = "10.7.7.7"}), machine_mac, "10.7.7.7").type() == ack);
  CHECK(asked({.type = inform}).why == NoReply::malformed);
  CHECK(asked({.type = inform, .ciaddr = "255.255.255.255"}).why == NoReply::malformed);
}

TEST_CASE("DHCPv4: DECLINE and RELEASE change nothing") {
  CHECK(asked({.type = decline, .options = option(50, raw("10.1.2.3")) + option(54, raw("169.254.0.1"))}).why ==
        NoReply::not_asked);
  CHECK(asked({.type = release, .ciaddr = "10.1.2.3", .destination = "169.254.0.1"}).why == NoReply::not_asked);
}

TEST_CASE("DHCPv4: a machine without IPv4 is offered nothing") {
  auto told = services();
  told.ipv4.reset();
  CHECK(asked({}, told).why == NoReply::no_address);
  CHECK(asked({.type = inform, .ciaddr = "10.1.2.3"}, told).why == NoReply::no_address);
}

TEST_CASE("DHCPv4: a lease that ends says when to renew it") {
  auto told = services();
  told.lease_seconds = 0xfffffffe;
  const auto answer = told_in(asked({}, told));
  CHECK(answer.options.at(51) == Bytes{0xff, 0xff, 0xff, 0xfe});
  CHECK(answer.options.at(58) == Bytes{0x7f, 0xff, 0xff, 0xff});
  CHECK(answer.options.at(59) == Bytes{0xdf, 0xff, 0xff, 0xfe});
  CHECK(!told_in(asked({})).has(58));
}

TEST_CASE("DHCPv4: routes come classless, and as a router only for who does not ask for them so (RFC 3442)") {
  const auto modern = told_in(asked({.options = asks_for_routes}));
  CHECK(modern.has(121));
  CHECK(!modern.has(3));
  for (const auto& options : {Bytes(), option(55, {1, 3, 6})}) {
    const auto old = told_in(asked({.options = options}));
    CHECK(old.has(121));
    CHECK(old.options.at(3) == raw("169.254.0.1"));
  }
  auto told = services();
  const Prefix routes[] = {Prefix::parse("169.254.1.5/24").value(), Prefix::parse("10.128.0.0/9").value()};
  told.routes_v4 = routes;
  CHECK(told_in(asked({}, told)).options.at(121) == Bytes{16, 169, 254, 0, 0, 0, 0} +
                                                        Bytes{24, 169, 254, 1, 169, 254, 0, 1} +
                                                        Bytes{9, 10, 128, 169, 254, 0, 1} + Bytes{0, 169, 254, 0, 1});
  const std::vector<Prefix> many(100, routes[0]);
  told.routes_v4 = many;
  CHECK(told_in(asked({}, told)).options.at(121).size() == 12 + 30 * 8);
}

TEST_CASE("DHCPv4: the client's identifier is sent back (RFC 6842), also in a refusal") {
  const auto id = Bytes{1} + machine_mac;
  CHECK(told_in(asked({.options = option(61, id)})).options.at(61) == id);
  CHECK(told_in(asked({.type = request, .options = option(50, raw("10.1.2.4")) + option(61, id)}), broadcast,
                "255.255.255.255")
            .options.at(61) == id);
}

TEST_CASE("DHCPv4: the answer is no longer than the client takes") {
  auto told = services();
  const std::vector<IpAddress> dns(200, address("10.0.0.53"));
  told.dns_v4 = dns;
  const std::string name(63, 'x');
  told.hostname = name;
  const auto small = asked({.options = option(61, Bytes(200, 7))}, told);
  CHECK(small.frame.size() <= 14 + 576);
  CHECK(told_in(small).options.at(6).size() % 4 == 0);
  CHECK(!told_in(small).has(12));
  CHECK(told_in(asked({.options = option(57, {0x05, 0xdc})}, told)).options.at(12).size() == 63);
  CHECK(told_in(asked({.options = option(57, {0x05, 0xdc})}, told)).options.at(6).size() == 252);
  CHECK(told_in(asked({.options = option(57, {0, 10})}, told)).has(6));  // less than 576 is not allowed to be said
  told.mtu = 600;
  CHECK(asked({.options = option(57, {0xff, 0xff})}, told).frame.size() <= 14 + 600);
  told.dns_v4 = {};
  // Whatever is left of the room, it ends with an end.
  for (std::size_t length = 1; length <= 255; ++length)
    CHECK(told_in(asked({.options = option(61, Bytes(length, 7))}, told)).options.at(61).size() == length);
}

TEST_CASE("DHCPv4: firmware is told the loader, and the loader its URL") {
  const auto told = with_boot();
  const auto x64 = option(60, text("PXEClient:Arch:00007:UNDI:003016"));
  const auto firmware = told_in(asked({.options = x64}, told));
  CHECK(firmware.siaddr() == raw("10.0.0.9"));
  CHECK(firmware.file() == "ipxe/x86_64/ipxe.new");
  CHECK(firmware.has(3));
  CHECK(told_in(asked({.options = option(60, text("PXEClient")) + option(93, {0, 7})}, told)).file() ==
        "ipxe/x86_64/ipxe.new");

  for (const auto& user : {text("iPXE"), Bytes{4} + text("iPXE"), Bytes{3} + text("foo") + Bytes{4} + text("iPXE")}) {
    const auto loader = told_in(asked({.options = x64 + option(77, user)}, told));  // iPXE sends both
    CHECK(loader.siaddr() == raw("10.0.0.9"));
    CHECK(loader.file() == "http://10.0.0.9/boot/web");
  }
  auto slashless = told;
  slashless.boot->path = "boot";
  CHECK(told_in(asked({.options = option(77, text("iPXE"))}, slashless)).file() == "http://10.0.0.9/boot");
  const auto granted = asked({.type = request, .options = x64 + option(50, raw("10.1.2.3"))}, told);
  CHECK(told_in(granted).file() == "ipxe/x86_64/ipxe.new");
}

TEST_CASE("DHCPv4: nobody else is told to boot from the network") {
  const auto told = with_boot();
  for (const auto& options :
       {Bytes(), option(77, text("iPXE2")), option(77, text("ipxe")), option(77, Bytes{5} + text("iPXE")),
        option(77, Bytes{0} + text("iPXE")), option(60, text("PXEClient:Arch:00000")), option(93, {0, 0}),
        option(60, text("PXEClient:Arch:0000")), option(60, text("xPXEClient:Arch:00007")), option(93, {7})}) {
    const auto answer = told_in(asked({.options = options}, told));
    CHECK(answer.siaddr() == Bytes(4));
    CHECK(answer.file().empty());
  }
  // One client's boot is none of the next one's.
  CHECK(!told_in(asked({.options = option(77, text("iPXE"))}, told)).file().empty());
  CHECK(told_in(asked({}, told)).file().empty());
}

TEST_CASE("DHCPv4: a machine whose boot server is IPv6, or that has none, is offered its address without a boot") {
  auto only_v6 = with_boot();
  only_v6.boot->server_v4.reset();
  for (const auto& told : {only_v6, services()}) {
    for (const auto& options : {option(60, text("PXEClient:Arch:00007")), option(77, text("iPXE"))}) {
      const auto answer = told_in(asked({.options = options}, told));
      CHECK(answer.file().empty());
      CHECK(answer.yiaddr() == raw("10.1.2.3"));
    }
  }
}

TEST_CASE("DHCPv4: a URL that the field does not hold is an option, and one that no option holds is left out") {
  auto told = with_boot();
  const std::string fits(127 - 16, 'p'), longer(128 - 16, 'p'), longest(400, 'p');
  const Say say{.options = option(77, text("iPXE"))};
  told.boot->path = fits;
  CHECK(told_in(asked(say, told)).file() == "http://10.0.0.9/" + fits);
  told.boot->path = longer;
  const auto answer = told_in(asked(say, told));
  CHECK(answer.file().empty());
  CHECK(answer.options.at(67) == text("http://10.0.0.9/" + longer));
  told.boot->path = longest;
  CHECK(told_in(asked(say, told)).file().empty());
}

TEST_CASE("DHCPv4: options may go on in the file and name fields (RFC 2132 §9.3) and come in parts (RFC 3396)") {
  auto bytes = message({.options = option(52, {3}) + option(60, text("PXEClient:Ar"))});
  const auto in_file = option(60, text("ch:00007")) + Bytes{0, 0, 255};
  const auto in_name = option(61, {1, 2, 3}) + Bytes{255};
  std::copy(in_file.begin(), in_file.end(), bytes.begin() + 108);
  std::copy(in_name.begin(), in_name.end(), bytes.begin() + 44);
  const auto answer = told_in(heard(answer_dhcpv4, framed(bytes), with_boot()));
  CHECK(answer.file() == "ipxe/x86_64/ipxe.new");
  CHECK(answer.options.at(61) == Bytes{1, 2, 3});
  // Without an end the field is the end.
  std::fill(bytes.begin() + 44, bytes.begin() + 108, std::uint8_t{0});
  CHECK(heard(answer_dhcpv4, framed(bytes), with_boot()).why == NoReply::none);
  bytes[107] = 61;  // an option without a length
  CHECK(heard(answer_dhcpv4, framed(bytes), with_boot()).why == NoReply::malformed);
  bytes[106] = 61;  // one that would reach into the file
  bytes[107] = 5;
  CHECK(heard(answer_dhcpv4, framed(bytes), with_boot()).why == NoReply::malformed);
  CHECK(asked({.options = option(52, {4})}).why == NoReply::malformed);
  // One of the fields alone; the other one is text.
  auto one = message({.options = option(52, {1})});
  std::copy(in_name.begin(), in_name.end(), one.begin() + 44);
  CHECK(!told_in(heard(answer_dhcpv4, framed(one), services())).has(61));
  std::copy(in_name.begin(), in_name.end(), one.begin() + 108);
  CHECK(told_in(heard(answer_dhcpv4, framed(one), services())).options.at(61) == Bytes{1, 2, 3});
  one[242 + 3] = 2;
  CHECK(told_in(heard(answer_dhcpv4, framed(one), services())).options.at(61) == Bytes{1, 2, 3});
  one[44] = 0;
  one[45] = 255;
  CHECK(!told_in(heard(answer_dhcpv4, framed(one), services())).has(61));
}

TEST_CASE("DHCPv4: a missing end, or what stands behind it, does no harm") {
  auto endless = message({});
  endless.pop_back();
  CHECK(heard(answer_dhcpv4, framed(endless), services()).why == NoReply::none);
  CHECK(heard(answer_dhcpv4, framed(message({}) + Bytes{53, 200}), services()).why == NoReply::none);
}

TEST_CASE("DHCPv4: what is malformed is not answered") {
  const auto bad = [](const Bytes& bytes) { return heard(answer_dhcpv4, framed(bytes), services()).why; };
  const auto with = [&](std::size_t at, std::uint8_t value) {
    auto bytes = message({});
    bytes[at] = value;
    return bad(bytes);
  };
  CHECK(with(0, 2) == NoReply::malformed);    // of a server
  CHECK(with(1, 6) == NoReply::malformed);    // not Ethernet
  CHECK(with(2, 16) == NoReply::malformed);   // likewise
  CHECK(with(28, 1) == NoReply::malformed);   // a group asks
  CHECK(with(239, 0) == NoReply::malformed);  // BOOTP
  CHECK(with(242, 9) == NoReply::malformed);  // no such message
  CHECK(with(242, offer) == NoReply::malformed);
  CHECK(with(27, 1) == NoReply::relayed);
  CHECK(bad(part(message({}), 0, 239)) == NoReply::malformed);
  CHECK(bad(part(message({}), 0, 240)) == NoReply::malformed);  // no type
  for (const auto& options :
       {Bytes{50, 4, 1, 2}, Bytes{50}, option(50, {1, 2, 3}), option(54, Bytes(5)), option(57, {1}), option(52, {}),
        option(53, {1}), option(53, {}), option(50, raw("10.1.2.3")) + option(50, raw("10.1.2.3"))})
    CHECK(asked({.options = options}).why == NoReply::malformed);
  CHECK(heard(answer_dhcpv4, framed(message({})), services(), 300).why == NoReply::no_room);
  survives_damage(answer_dhcpv4,
                  framed(message({.type = request,
                                  .options = option(50, raw("10.1.2.3")) + option(52, {3}) + option(61, {1, 2}) +
                                             option(77, Bytes{4} + text("iPXE"))})),
                  with_boot());
}

TEST_CASE("DHCPv4: an answer whose checksum comes out as 0 says so otherwise (RFC 768)") {
  int turned = 0;
  auto bytes = message({});
  for (unsigned transaction = 0; transaction <= 0xffff; ++transaction) {
    put16(bytes, 4, static_cast<std::uint16_t>(transaction));
    auto frame = ethernet(0x0800, v4(udp(68, 67, bytes), {.source = "0.0.0.0", .destination = "255.255.255.255"}));
    std::array<std::uint8_t, 2048> reply;
    REQUIRE(answer_dhcpv4(frame, services(), reply).length != 0);
    const auto checksum = reply[14 + 20 + 6] << 8 | reply[14 + 20 + 7];
    REQUIRE(checksum != 0);
    turned += checksum == 0xffff ? 1 : 0;
  }
  CHECK(turned != 0);
}

TEST_CASE("DHCPv4: checksums, fragments and other destinations") {
  auto wrong = framed(message({}));
  wrong.back() ^= 1;
  CHECK(heard(answer_dhcpv4, wrong, services()).why == NoReply::checksum);
  auto none = framed(message({}));
  put16(none, 14 + 20 + 6, 0);
  CHECK(heard(answer_dhcpv4, none, services()).why == NoReply::none);

  const V4 piece{.source = "0.0.0.0", .destination = "255.255.255.255", .fragment = 0x2000};
  CHECK(heard(answer_dhcpv4, ethernet(0x0800, v4(udp(68, 67, message({})) + Bytes(4), piece)), services()).why ==
        NoReply::fragment);
  // A server that the machine reaches through the network is none of ours.
  CHECK(asked({.destination = "10.9.9.9"}).why == NoReply::not_mine);
  CHECK(
      heard(answer_dhcpv4, ethernet(0x0800, summed(v4(udp(67, 68), {.destination = "169.254.0.1"}))), services()).why ==
      NoReply::not_mine);
  CHECK(heard(answer_dhcpv4,
              ethernet(0x0800, summed(v4(tcp(68, 67, 2), {.destination = "169.254.0.1", .protocol = 6}))), services())
            .why == NoReply::not_mine);
  // What the IP packet holds behind the datagram is none of it.
  const V4 ends{.source = "0.0.0.0", .destination = "255.255.255.255"};
  const auto datagram = from(summed(v4(udp(68, 67, message({})), ends)), 20);
  CHECK(heard(answer_dhcpv4, ethernet(0x0800, v4(datagram + Bytes{1, 2, 3, 4}, ends)), services()).why ==
        NoReply::none);
}
