// SPDX-License-Identifier: Apache-2.0
// Translation between the families, against packets that are built for the other one.
#include "dataplane/nat64.hpp"

#include <doctest/doctest.h>

#include <map>
#include <string>
#include <utility>

#include "checked_packets.hpp"
#include "dataplane/headers.hpp"

using namespace ironcore::network::dataplane;
using namespace ironcore::tests;

namespace {

template <class Address>
Address address(std::string_view text) {
  Address made{};
  std::ranges::copy(address_bytes(text), made.begin());
  return made;
}
V4Address four(std::string_view text) {
  return address<V4Address>(text);
}
V6Address six(std::string_view text) {
  return address<V6Address>(text);
}

ToV4 to_v4() {
  return {.packet = {.source = four("203.0.113.1"), .destination = four("192.0.2.7")},
          .quoted = {.source = four("192.0.2.7"), .destination = four("203.0.113.1")},
          .identification = 0x4321};
}
ToV6 to_v6() {
  return {.packet = {.source = six("64:ff9b::192.0.2.7"), .destination = six("2001:db8::5")},
          .quoted = {.source = six("2001:db8::5"), .destination = six("64:ff9b::192.0.2.7")}};
}

struct Run {
  Translation result;
  Bytes packet;
  std::uint32_t pointer;
};

/// In memory that begins and ends with the headroom and the packet; nothing may change but on success.
template <class To>
Run run(const Bytes& packet, const To& to, std::size_t headroom = most_growth) {
  Exact memory(Bytes(headroom, 0xee) + packet);
  const auto all = memory.span();
  PacketBytes view{all.data() + headroom, packet.size(), headroom};
  const auto translated = translate(view, to);
  if (translated.result != Translation::done) {
    CHECK(memory.bytes() == Bytes(headroom, 0xee) + packet);
    CHECK(view.begin == all.data() + headroom);
    CHECK(view.length == packet.size());
    CHECK(view.headroom == headroom);
    return {translated.result, {}, translated.pointer};
  }
  REQUIRE(view.begin == all.data() + view.headroom);
  REQUIRE(view.headroom + view.length <= all.size());
  return {translated.result, {view.begin, view.begin + view.length}, 0};
}

template <class To>
Bytes done(const Bytes& packet, const To& to) {
  const auto made = run(packet, to);
  CHECK(made.result == Translation::done);
  return made.packet;
}
template <class To>
Translation why(const Bytes& packet, const To& to) {
  return run(packet, to).result;
}

/// The transport of the other family, all sums made anew by `checksummed`.
template <class Address>
Bytes other_transport(const Bytes& packet, const NewEnds<Address>& ends) {
  const auto place = place_of(packet);
  auto transport = slice(packet, place.at, length_of(packet));
  if (place.protocol == 6 || place.protocol == 17) {
    if (ends.source_port) put16(transport, 0, *ends.source_port);
    if (ends.destination_port) put16(transport, 2, *ends.destination_port);
  }
  if (place.protocol == 1 || place.protocol == 58) {
    const std::map<int, std::uint8_t> types{{8, 128}, {0, 129}, {128, 8}, {129, 0}};
    transport[0] = types.at(transport[0]);
    const auto id = ends.source_port ? ends.source_port : ends.destination_port;
    if (id) put16(transport, 4, *id);
  }
  return transport;
}
std::string text_of(std::span<const std::uint8_t> bytes) {
  return ironcore::IpAddress::from_bytes(bytes).value().to_text();
}
Bytes expected_v4(const Bytes& packet, const NewEnds<V4Address>& ends, std::uint16_t identification) {
  const auto transport = other_transport(packet, ends);
  const auto place = place_of(packet);
  const auto source = text_of(ends.source), destination = text_of(ends.destination);
  auto made = v4(transport, {.source = source,
                             .destination = destination,
                             .protocol = place.protocol == 58 ? std::uint8_t{1} : place.protocol,
                             .ttl = packet[7]});
  made[1] = static_cast<std::uint8_t>(packet[0] << 4 | packet[1] >> 4);
  put16(made, 4, identification);
  put16(made, 6, made.size() > 1260 ? 0x4000 : 0);
  return checksummed(made);
}
Bytes expected_v6(const Bytes& packet, const NewEnds<V6Address>& ends) {
  const auto transport = other_transport(packet, ends);
  const auto place = place_of(packet);
  const auto source = text_of(ends.source), destination = text_of(ends.destination);
  auto made = v6(transport, {.source = source,
                             .destination = destination,
                             .next_header = place.protocol == 1 ? std::uint8_t{58} : place.protocol,
                             .hop_limit = packet[8]});
  made[0] = static_cast<std::uint8_t>(0x60 | packet[1] >> 4);
  made[1] = static_cast<std::uint8_t>(packet[1] << 4);
  return checksummed(made);
}

template <class Address>
NewEnds<Address> random_ends(RandomPackets& random) {
  NewEnds<Address> ends;
  std::ranges::copy(random.bytes(ends.source.size()), ends.source.begin());
  std::ranges::copy(random.bytes(ends.destination.size()), ends.destination.begin());
  if (random.below(3) != 0) ends.source_port = random.word();
  if (random.below(3) != 0) ends.destination_port = random.word();
  return ends;
}

Bytes error_v4(std::uint8_t type, std::uint8_t code, std::uint32_t rest, const Bytes& quote) {
  return checksummed(v4(icmp_error(type, code, rest, quote), {.source = "198.51.100.1", .protocol = 1}));
}
Bytes error_v6(std::uint8_t type, std::uint8_t code, std::uint32_t rest, const Bytes& quote) {
  return checksummed(v6(icmp_error(type, code, rest, quote), {.source = "2001:db8::99", .next_header = 58}));
}
const Bytes inside_v4 = checksummed(v4(udp(4000, 53, {1, 2, 3, 4, 5})));
const Bytes inside_v6 = checksummed(v6(udp(4000, 53, {1, 2, 3, 4, 5})));

}  // namespace

TEST_CASE("addresses are embedded and extracted as in RFC 6052, section 2.4") {
  struct Row {
    const char* prefix;
    unsigned length;
    const char* address;
  };
  const Row rows[] = {
      {"2001:db8::", 32, "2001:db8:c000:221::"},
      {"2001:db8:100::", 40, "2001:db8:1c0:2:21::"},
      {"2001:db8:122::", 48, "2001:db8:122:c000:2:2100::"},
      {"2001:db8:122:300::", 56, "2001:db8:122:3c0:0:221::"},
      {"2001:db8:122:344::", 64, "2001:db8:122:344:c0:2:2100::"},
      {"2001:db8:122:344::", 96, "2001:db8:122:344::192.0.2.33"},
      {"64:ff9b::", 96, "64:ff9b::192.0.2.33"},
  };
  for (const auto& row : rows) {
    CAPTURE(row.address);
    CHECK(embed(six(row.prefix), row.length, four("192.0.2.33")) == six(row.address));
    CHECK(extract(six(row.address), row.length) == four("192.0.2.33"));
  }
  CHECK(well_known_prefix == six("64:ff9b::"));
  for (unsigned length = 0; length <= 130; ++length) {
    const bool is_one = length == 32 || length == 40 || length == 48 || length == 56 || length == 64 || length == 96;
    CHECK(embed(well_known_prefix, length, {}).has_value() == is_one);
    CHECK(extract(well_known_prefix, length).has_value() == is_one);
  }
  CHECK(!embed(six("2001:db8:122:344:100::"), 96, {}));
  // What is behind a shorter prefix does not count.
  CHECK(embed(six("2001:db8:ffff:ffff:ffff::1"), 32, four("192.0.2.33")) == six("2001:db8:c000:221::"));
}

TEST_CASE("a packet becomes the one that would have been sent in the other family") {
  RandomPackets random(17);
  for (int round = 0; round < 6'000; ++round) {
    const auto most = random.below(8) == 0 ? 1'500U : 200U;
    const auto packet_v6 = random.whole(true, most);
    auto down = to_v4();
    down.packet = random_ends<V4Address>(random);
    down.identification = random.word();
    const auto made_v4 = done(packet_v6 + Bytes(random.below(5)), down);
    REQUIRE(made_v4 == expected_v4(packet_v6, down.packet, down.identification));
    CHECK(is_right(made_v4));

    const auto packet_v4 = random.whole(false, most);
    auto up = to_v6();
    up.packet = random_ends<V6Address>(random);
    const auto made_v6 = done(packet_v4 + Bytes(random.below(5)), up);
    REQUIRE(made_v6 == expected_v6(packet_v4, up.packet));
    CHECK(is_right(made_v6));
  }
}

TEST_CASE("an echo reply of zeros alone has a checksum that a receiver accepts") {
  const auto zeros = icmp(0, 0, 0, Bytes(20));
  const auto packet_v6 = checksummed(v6(icmp(129, 0, 7, Bytes(20)), {.next_header = 58}));
  auto down = to_v4();
  down.packet.destination_port = 0;
  const auto made = done(packet_v6, down);
  CHECK(get16(made, 22) == 0xffff);
  CHECK(is_right(made));
  CHECK(slice(made, 24) == slice(zeros, 4));
  const auto up = done(checksummed(v4(zeros, {.protocol = 1})), to_v6());
  CHECK(is_right(up));
}

TEST_CASE("there and back is the same packet where nothing is lost on the way") {
  RandomPackets random(19);
  int compared = 0;
  for (int round = 0; round < 4'000; ++round) {
    // Of IPv4: without options, DF as IPv6 would have it, UDP with its checksum.
    auto packet = random.whole(false, random.below(8) == 0 ? 1'500 : 200);
    if ((packet[0] & 15) != 5) continue;
    if (packet[9] == 17 && get16(packet, 26) == 0) continue;
    if (packet.size() > 1260) put16(packet, 6, 0x4000);
    packet = checksummed(packet);
    Headers headers;
    REQUIRE(parse(packet, packet.size(), headers) == Malformed::none);
    auto up = to_v6();
    up.packet = random_ends<V6Address>(random);
    const auto other = done(packet, up);
    auto down = to_v4();
    std::ranges::copy(slice(packet, 12, 16), down.packet.source.begin());
    std::ranges::copy(slice(packet, 16, 20), down.packet.destination.begin());
    down.packet.source_port = headers.source_port;
    down.packet.destination_port = headers.destination_port;
    down.identification = get16(packet, 4);
    CHECK(done(other, down) == packet);

    // Of IPv6: without a flow label, which no random packet has.
    const auto plain = done(done(other, down), up);
    CHECK(plain == other);
    ++compared;
  }
  CHECK(compared > 1'000);

  // Fragments: their identification has 16 bits in IPv4.
  for (const std::uint16_t fragment : std::initializer_list<std::uint16_t>{0x2000, 0x2003, 0x0007, 0x1fff}) {
    auto packet = v4(Bytes(16, 0x77), {.protocol = 17, .fragment = fragment});
    if (fragment == 0x2000) packet = v4(udp(1, 2, Bytes(8, 0x77)), {.protocol = 17, .fragment = fragment});
    if (fragment == 0x2000) put16(packet, 26, 0x1234);
    if (fragment == 0x1fff) packet = v4(Bytes(7, 0x77), {.protocol = 17, .fragment = fragment});
    auto down = to_v4();
    down.packet = {four("10.0.0.1"), four("10.0.0.2"), {}, {}};
    CHECK(done(done(packet, to_v6()), down) == packet);
  }
}

TEST_CASE("DF is set for what IPv6 would not have fragmented on its way") {
  for (const std::size_t size : {20U, 1'259U, 1'260U, 1'261U, 1'480U, 9'000U}) {
    const auto packet = checksummed(v6(udp(1, 2, Bytes(size > 28 ? size - 28 : 0))));
    const auto made = done(packet, to_v4());
    CHECK(get16(made, 6) == (made.size() > 1'260 ? 0x4000 : 0));
    CHECK(get16(made, 4) == 0x4321);
  }
  auto unfragmented = v4(udp(1, 2), {.fragment = 0x4000});
  CHECK(done(unfragmented, to_v6()).size() == unfragmented.size() + 20);
}

TEST_CASE("fragments keep their place, their order and the lower half of their identification") {
  const auto first_v6 = v6(v6_fragment(6, 0, true) + tcp(5, 6, tcp_ack, Bytes(1'236, 1)), {.next_header = 44});
  auto down = to_v4();
  down.packet.source_port = 50;
  const auto first_v4 = done(first_v6, down);
  CHECK(get16(first_v4, 4) == 0xbabe);
  CHECK(get16(first_v4, 6) == 0x2000);
  CHECK(get16(first_v4, 2) == 1'276);
  CHECK(first_v4[9] == 6);
  CHECK(is_header_right(first_v4));
  CHECK(get16(first_v4, 20) == 50);
  const auto later_v6 = v6(extension(44) + v6_fragment(6, 1'256, false) + Bytes(5, 9), {.next_header = 60});
  const auto later_v4 = done(later_v6, down);
  CHECK(get16(later_v4, 6) == 157);
  CHECK(slice(later_v4, 20) == Bytes(5, 9));
  CHECK(is_header_right(later_v4));

  // The parts that are summed together have the sum of the whole.
  const auto whole_v6 = checksummed(v6(tcp(5, 6, tcp_ack, Bytes(1'236, 1) + Bytes(5, 9)), {.next_header = 6}));
  const auto whole_v4 = done(whole_v6, down);
  auto summed = first_v6;
  put16(summed, 48 + 16, get16(whole_v6, 40 + 16));
  CHECK(get16(done(summed, down), 36) == get16(whole_v4, 36));

  // An atomic one is no fragment in IPv4, but may be made one (RFC 7915 §5.1.1).
  const auto atomic = v6(v6_fragment(17, 0, false) + slice(checksummed(v6(udp(1, 2))), 40), {.next_header = 44});
  const auto from_atomic = done(atomic, to_v4());
  CHECK(get16(from_atomic, 4) == 0xbabe);
  CHECK(get16(from_atomic, 6) == 0);
  CHECK(is_right(from_atomic));
  const auto echo = slice(checksummed(v6(icmp(128, 0, 9), {.next_header = 58})), 40);
  CHECK(is_right(done(v6(v6_fragment(58, 0, false) + echo, {.next_header = 44}), to_v4())));

  const auto upwards = done(v4(Bytes(16, 9), {.protocol = 6, .fragment = 0x6010}), to_v6());
  CHECK(slice(upwards, 40, 48) == Bytes{6, 0, 0, 0x81, 0, 0, 0x12, 0x34});
  CHECK(get16(upwards, 4) == 24);
  CHECK(upwards[6] == 44);
  CHECK(slice(upwards, 48) == Bytes(16, 9));
}

TEST_CASE("headers without meaning in IPv4 are left out, others are the payload") {
  const auto transport = slice(inside_v6, 40);
  const auto chain = v6(extension(43) + extension(60) + extension(17) + transport, {.next_header = 0});
  CHECK(done(chain, to_v4()) == done(inside_v6, to_v4()));
  // A routing header that has been used up.
  CHECK(why(v6(extension(17, 4, 0) + transport, {.next_header = 43}), to_v4()) == Translation::done);
  CHECK(done(v6({}, {.next_header = 59}), to_v4())[9] == 59);
  CHECK(done(v4(Bytes(9, 3), {.protocol = 50}), to_v6())[6] == 50);
  // Options of IPv4 too.
  const auto options = checksummed(v4(udp(1, 2, {7}), {.options = {7, 7, 4, 0, 0, 0, 0, 0}}));
  CHECK(done(options, to_v6()) == done(checksummed(v4(udp(1, 2, {7}))), to_v6()));
}

TEST_CASE("extension headers without end, or cut inside a quote, are not walked") {
  Bytes chain;
  for (int i = 0; i < 20; ++i) chain = chain + extension(60);
  CHECK(why(v6(chain + extension(17) + udp(1, 2), {.next_header = 60}), to_v4()) == Translation::malformed);
  const auto long_one = v6(Bytes{47, 5, 1, 4, 0, 0, 0, 0} + Bytes(44), {.next_header = 60});
  CHECK(why(long_one, to_v4()) == Translation::done);
  CHECK(why(error_v6(3, 0, 0, long_one), to_v4()) == Translation::done);
  CHECK(why(error_v6(3, 0, 0, slice(long_one, 0, 88)), to_v4()) == Translation::done);
  for (std::size_t size = 0; size < 88; ++size)
    CHECK(why(error_v6(3, 0, 0, slice(long_one, 0, size)), to_v4()) == Translation::malformed);
}

TEST_CASE("what names its way is refused, with the place that an error points at") {
  const auto routed = run(v6(extension(43) + extension(17, 2, 1) + udp(1, 2), {.next_header = 60}), to_v4());
  CHECK(routed.result == Translation::source_route);
  CHECK(routed.pointer == 51);
  CHECK(run(v6(extension(17, 0, 3) + udp(1, 2), {.next_header = 43}), to_v4()).pointer == 43);
  for (const std::uint8_t option : std::initializer_list<std::uint8_t>{131, 137}) {
    CHECK(why(v4(udp(1, 2), {.options = {option, 7, 4, 10, 0, 0, 9, 0}}), to_v6()) == Translation::source_route);
    CHECK(why(v4(udp(1, 2), {.options = {1, option, 7, 4, 10, 0, 0, 9}}), to_v6()) == Translation::source_route);
    CHECK(why(checksummed(v4(udp(1, 2), {.options = {option, 7, 8, 10, 0, 0, 9, 0}})), to_v6()) == Translation::done);
    CHECK(why(checksummed(v4(udp(1, 2), {.options = {0, option, 7, 4, 10, 0, 0, 9}})), to_v6()) == Translation::done);
  }
  // Options that end nowhere.
  for (const auto& options : {Bytes{131, 0, 0, 0}, Bytes{1, 1, 1, 131}, Bytes{1, 1, 131, 3}, Bytes{7, 0, 131, 3}})
    CHECK(why(checksummed(v4(udp(1, 2), {.options = options})), to_v6()) == Translation::done);
}

TEST_CASE("what has no counterpart is not translated") {
  for (const std::uint8_t header : std::initializer_list<std::uint8_t>{0, 43, 44, 51, 60})
    CHECK(why(v6(v6_fragment(header, 0, true) + Bytes(24), {.next_header = 44}), to_v4()) ==
          Translation::extension_header);
  CHECK(why(v6(v6_fragment(60, 16, false) + Bytes(24), {.next_header = 44}), to_v4()) == Translation::extension_header);
  // The other family's ICMP, IGMP, and extension headers that were none.
  for (const std::uint8_t protocol : std::initializer_list<std::uint8_t>{0, 2, 43, 44, 58, 60})
    CHECK(why(v4(Bytes(40), {.protocol = protocol}), to_v6()) == Translation::unsupported);
  for (const std::uint8_t protocol : std::initializer_list<std::uint8_t>{1, 2})
    CHECK(why(v6(Bytes(40), {.next_header = protocol}), to_v4()) == Translation::unsupported);
  // What covers the addresses.
  const Bytes authentication{17, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0};
  CHECK(why(v6(extension(51) + authentication + udp(1, 2), {.next_header = 60}), to_v4()) == Translation::unsupported);
  CHECK(why(v4(authentication + udp(1, 2), {.protocol = 51}), to_v6()) == Translation::unsupported);
  // Pieces of ICMP.
  CHECK(why(v4(icmp(8, 0), {.protocol = 1, .fragment = 0x2000}), to_v6()) == Translation::unsupported);
  CHECK(why(v4(Bytes(8), {.protocol = 1, .fragment = 0x0001}), to_v6()) == Translation::unsupported);
  CHECK(why(v6(v6_fragment(58, 0, true) + icmp(128, 0), {.next_header = 44}), to_v4()) == Translation::unsupported);
  // The wrong direction.
  CHECK(why(inside_v4, to_v4()) == Translation::malformed);
  CHECK(why(inside_v6, to_v6()) == Translation::malformed);
  CHECK(why(v6(Bytes(65'516), {.next_header = 50}), to_v4()) == Translation::too_big);
  CHECK(why(v6(Bytes(65'515), {.next_header = 50}), to_v4()) == Translation::done);
  CHECK(why(v4(Bytes(65'515), {.protocol = 50}), to_v6()) == Translation::done);
}

TEST_CASE("UDP without a checksum gets one or is refused") {
  const auto none = v4(udp(1, 2, {1, 2, 3}));
  const auto made = done(none, to_v6());
  CHECK(is_right(made));
  auto refusing = to_v6();
  refusing.udp = ZeroChecksum::refuse;
  CHECK(why(none, refusing) == Translation::udp_checksum);
  CHECK(why(checksummed(none), refusing) == Translation::done);
  CHECK(why(v4(udp(1, 2, Bytes(8)), {.fragment = 0x2000}), to_v6()) == Translation::udp_checksum);
  CHECK(why(v4(Bytes(8), {.fragment = 0x0002}), refusing) == Translation::done);
  // One that comes out as zero is written as ones.
  auto flipped = udp(1, 2, {1, 2, 3, 0});
  const auto sum = get16(done(v4(flipped), to_v6()), 46);
  std::uint32_t word = get16(flipped, 8) + sum;
  word = (word & 0xffff) + (word >> 16);
  put16(flipped, 8, static_cast<std::uint16_t>(word));
  CHECK(get16(done(v4(flipped), to_v6()), 46) == 0xffff);
  // In what an error quotes it cannot be made.
  const auto error = done(error_v4(3, 3, 0, none), to_v6());
  CHECK(get16(quote_of(error), 46) == 0);
  CHECK(is_right(error));
}

TEST_CASE("of TCP and UDP the headers are enough, and a sum that a card is to finish stays one") {
  const ToV4 to_v4{{{192, 0, 2, 1}, {198, 51, 100, 7}, 1234, 80}, {}, 7};
  ToV6 to_v6;
  to_v6.packet = {{0x20, 1}, {0x20, 2}, 1234, 80};
  RandomPackets random(6);
  const auto run = [&](Bytes memory, std::size_t here, std::size_t beyond, bool is_unfinished) {
    const auto packet = slice(memory, 64);
    PacketBytes bytes{memory.data() + 64, here, 64, beyond, is_unfinished};
    const auto result = packet[0] >> 4 == 6 ? translate(bytes, to_v4).result : translate(bytes, to_v6).result;
    CHECK(bytes.beyond == beyond);
    if (result != Translation::done) return std::pair(result, Bytes());
    return std::pair(result, Bytes(bytes.begin, bytes.begin + bytes.length));
  };
  const auto pseudo = [](Bytes packet) {
    const auto place = place_of(packet);
    const bool is_v4 = packet[0] >> 4 == 4;
    Bytes sum = (is_v4 ? slice(packet, 12, 20) : slice(packet, 8, 40)) + Bytes(4);
    put16(sum, sum.size() - 4, place.protocol);
    put16(sum, sum.size() - 2, static_cast<std::uint16_t>(length_of(packet) - place.at));
    put16(packet, place.at + checksum_place(place.protocol), static_cast<std::uint16_t>(~checksum_of(sum)));
    return packet;
  };
  int pieces = 0;
  for (int round = 0; round < 2000; ++round) {
    const auto packet = random.whole(round % 2 == 0);
    const auto place = place_of(packet);
    if (place.protocol != protocol_tcp && place.protocol != protocol_udp) continue;
    const auto headers = place.at + (place.protocol == protocol_tcp ? 20 : 8);
    const auto cut = headers + random.below(static_cast<std::uint32_t>(packet.size() - headers + 1));
    const bool has_checksum = get16(packet, place.at + checksum_place(place.protocol)) != 0;
    const auto [whole_result, whole] = run(Bytes(64) + packet, packet.size(), 0, false);
    REQUIRE(whole_result == Translation::done);
    const auto [result, piece] = run(Bytes(64) + slice(packet, 0, cut), cut, packet.size() - cut, false);
    if (place.protocol == protocol_udp && !has_checksum && packet[0] >> 4 == 4 && cut != packet.size()) {
      CHECK(result == Translation::udp_checksum);
    } else {
      REQUIRE(result == Translation::done);
      CHECK(piece == slice(whole, 0, piece.size()));
      CHECK(piece.size() + packet.size() - cut == whole.size());
      ++pieces;
    }
    const auto unfinished = pseudo(packet);
    const auto [open_result, open] = run(Bytes(64) + unfinished, packet.size(), 0, true);
    REQUIRE(open_result == Translation::done);
    auto wanted = pseudo(open);
    const auto field = place_of(open).at + checksum_place(place.protocol);
    // Zero is also said by ones.
    if (get16(open, field) % 0xffff == get16(wanted, field) % 0xffff) put16(wanted, field, get16(open, field));
    CHECK(open == wanted);
  }
  CHECK(pieces > 300);
  const auto echo = checksummed(v4(icmp(8, 0, 5, {1, 2, 3, 4}), {.protocol = protocol_icmp}));
  CHECK(run(Bytes(64) + slice(echo, 0, 30), 30, 2, false).first == Translation::unsupported);
}

TEST_CASE("a checksum that was wrong stays wrong") {
  auto wrong_v6 = inside_v6;
  wrong_v6.back() ^= 1;
  CHECK(!is_right(done(wrong_v6, to_v4())));
  auto wrong_v4 = inside_v4;
  wrong_v4.back() ^= 1;
  CHECK(!is_right(done(wrong_v4, to_v6())));
  auto error = error_v4(3, 3, 0, inside_v4);
  error.back() ^= 1;
  CHECK(why(error, to_v6()) == Translation::checksum);
  error = error_v6(1, 4, 0, inside_v6);
  error.back() ^= 1;
  CHECK(why(error, to_v4()) == Translation::checksum);
}

TEST_CASE("each ICMP type and code becomes what RFC 7915, section 4.2 says, or nothing") {
  using Key = std::pair<int, int>;
  std::map<Key, Key> table{{{8, 0}, {128, 0}}, {{0, 0}, {129, 0}}};
  for (int code : {0, 1, 5, 6, 7, 8, 11, 12}) table[{3, code}] = {1, 0};
  for (int code : {9, 10, 13, 15}) table[{3, code}] = {1, 1};
  table[{3, 2}] = {4, 1};
  table[{3, 3}] = {1, 4};
  table[{3, 4}] = {2, 0};
  for (int code = 0; code < 256; ++code) table[{11, code}] = {3, code};
  table[{12, 0}] = table[{12, 2}] = {4, 0};
  for (int code = 1; code < 256; ++code) {
    table[{8, code}] = {128, code};
    table[{0, code}] = {129, code};
  }
  for (int type = 0; type < 256; ++type) {
    for (int code = 0; code < 256; ++code) {
      CAPTURE(type);
      CAPTURE(code);
      const auto made =
          run(error_v4(static_cast<std::uint8_t>(type), static_cast<std::uint8_t>(code), 0, inside_v4), to_v6());
      const auto row = table.find({type, code});
      if (row == table.end()) {
        REQUIRE(made.result == Translation::unsupported);
        continue;
      }
      REQUIRE(made.result == Translation::done);
      REQUIRE(made.packet[6] == 58);
      REQUIRE(Key(made.packet[40], made.packet[41]) == row->second);
      REQUIRE(is_right(made.packet));
      if (type == 8 || type == 0) {
        CHECK(slice(made.packet, 44) == Bytes(4) + inside_v4);
        continue;
      }
      if (Key(type, code) == Key(3, 2)) CHECK(get32(made.packet, 44) == 6);
      REQUIRE(quote_of(made.packet) == expected_v6(inside_v4, to_v6().quoted));
    }
  }
}

TEST_CASE("each ICMPv6 type and code becomes what RFC 7915, section 5.2 says, or nothing") {
  using Key = std::pair<int, int>;
  std::map<Key, Key> table;
  table[{1, 0}] = table[{1, 2}] = table[{1, 3}] = {3, 1};
  table[{1, 1}] = {3, 10};
  table[{1, 4}] = {3, 3};
  table[{4, 0}] = {12, 0};
  table[{4, 1}] = {3, 2};
  for (int code = 0; code < 256; ++code) {
    table[{2, code}] = {3, 4};
    table[{3, code}] = {11, code};
    table[{128, code}] = {8, code};
    table[{129, code}] = {0, code};
  }
  for (int type = 0; type < 256; ++type) {
    for (int code = 0; code < 256; ++code) {
      CAPTURE(type);
      CAPTURE(code);
      const auto made =
          run(error_v6(static_cast<std::uint8_t>(type), static_cast<std::uint8_t>(code), 0, inside_v6), to_v4());
      const auto row = table.find({type, code});
      if (row == table.end()) {
        REQUIRE(made.result == Translation::unsupported);
        continue;
      }
      REQUIRE(made.result == Translation::done);
      REQUIRE(made.packet[9] == 1);
      REQUIRE(Key(made.packet[20], made.packet[21]) == row->second);
      REQUIRE(is_right(made.packet));
      if (type >= 128)
        CHECK(slice(made.packet, 24) == Bytes(4) + inside_v6);
      else
        REQUIRE(quote_of(made.packet) == expected_v4(inside_v6, to_v4().quoted, 0));
    }
  }
}

TEST_CASE("pointers point at the same field of the other header") {
  const std::map<unsigned, unsigned> up{{0, 0},  {1, 1},  {2, 4},  {3, 4},   {8, 7},   {9, 6},   {12, 8},
                                        {13, 8}, {14, 8}, {15, 8}, {16, 24}, {17, 24}, {18, 24}, {19, 24}};
  for (unsigned pointer = 0; pointer < 256; ++pointer) {
    for (const std::uint8_t code : std::initializer_list<std::uint8_t>{0, 2}) {
      const auto made = run(error_v4(12, code, pointer << 24, inside_v4), to_v6());
      REQUIRE((made.result == Translation::done) == up.contains(pointer));
      if (made.result == Translation::done) CHECK(get32(made.packet, 44) == up.at(pointer));
    }
  }
  std::map<unsigned, unsigned> down{{0, 0}, {1, 1}, {4, 2}, {5, 2}, {6, 9}, {7, 8}};
  for (unsigned byte = 8; byte < 24; ++byte) down[byte] = 12;
  for (unsigned byte = 24; byte < 40; ++byte) down[byte] = 16;
  for (unsigned pointer = 0; pointer < 300; ++pointer) {
    const auto made = run(error_v6(4, 0, pointer, inside_v6), to_v4());
    REQUIRE((made.result == Translation::done) == down.contains(pointer));
    if (made.result == Translation::done) CHECK(get32(made.packet, 24) == down.at(pointer) << 24);
  }
  CHECK(why(error_v6(4, 0, 0x8000'0000, inside_v6), to_v4()) == Translation::unsupported);
}

TEST_CASE("MTUs differ by the headers, and stay within what the next hops and the families allow") {
  struct Up {
    std::uint16_t mtu;
    std::uint32_t v4_mtu, v6_mtu, result;
  };
  const Up ups[] = {
      {1'400, 65'535, 65'535, 1'420},
      {1'261, 65'535, 65'535, 1'281},
      {1'260, 65'535, 65'535, 1'280},
      {1'259, 65'535, 65'535, 1'280},
      {68, 65'535, 65'535, 1'280},
      {9'000, 1'500, 65'535, 1'520},
      {9'000, 65'535, 1'500, 1'500},
      {9'000, 1'400, 1'500, 1'420},
      {65'535, 65'535, 65'535, 65'535},
      {1'500, 0, 0, 1'280},
      {1'500, UINT32_MAX, UINT32_MAX, 1'520},
  };
  for (const auto& row : ups) {
    auto up = to_v6();
    up.v4_mtu = row.v4_mtu;
    up.v6_mtu = row.v6_mtu;
    CHECK(get32(done(error_v4(3, 4, row.mtu, inside_v4), up), 44) == row.result);
  }
  // Without an MTU: the plateau of RFC 1191 below the quoted packet's length.
  const std::pair<std::uint16_t, std::uint32_t> plateaus[] = {
      {65'535, 32'020}, {32'001, 32'020}, {32'000, 17'934}, {17'914, 8'186}, {8'166, 4'372}, {4'352, 2'022},
      {2'003, 2'022},   {2'002, 1'512},   {1'493, 1'512},   {1'492, 1'300},  {600, 1'300},
  };
  for (const auto& [length, result] : plateaus) {
    auto quote = inside_v4;
    put16(quote, 2, length);
    CHECK(get32(done(error_v4(3, 4, 0, quote), to_v6()), 44) == result);
  }
  struct Down {
    std::uint32_t mtu, v4_mtu, v6_mtu, result;
  };
  const Down downs[] = {
      {1'280, 65'535, 65'535, 1'260}, {1'500, 65'535, 65'535, 1'480},
      {1'500, 1'400, 65'535, 1'400},  {1'500, 1'500, 1'400, 1'380},
      {0, 65'535, 65'535, 68},        {20, 65'535, 65'535, 68},
      {100, 65'535, 65'535, 80},      {UINT32_MAX, UINT32_MAX, UINT32_MAX, 65'535},
  };
  for (const auto& row : downs) {
    auto down = to_v4();
    down.v4_mtu = row.v4_mtu;
    down.v6_mtu = row.v6_mtu;
    CHECK(get32(done(error_v6(2, 0, row.mtu, inside_v6), down), 24) == row.result);
  }
}

TEST_CASE("errors quote the translated packet, however much of it is there") {
  RandomPackets random(29);
  for (int round = 0; round < 6'000; ++round) {
    const auto most = random.below(8) == 0 ? 1'200U : 100U;
    const bool is_v6 = random.below(2) == 0;
    const auto inside = random.whole(is_v6, most);
    const auto place = place_of(inside);
    const auto least = std::min(place.at + 8, inside.size());
    const auto size = least + random.below(static_cast<std::uint32_t>(inside.size() - least + 1));
    const auto quote = slice(inside, 0, size);
    Bytes made, expected;
    if (is_v6) {
      auto down = to_v4();
      down.quoted = random_ends<V4Address>(random);
      made = done(error_v6(3, 0, 0, quote), down);
      expected = slice(expected_v4(inside, down.quoted, 0), 0, size - place.at + 20);
    } else {
      auto up = to_v6();
      up.quoted = random_ends<V6Address>(random);
      made = done(error_v4(11, 0, 0, quote), up);
      auto whole = expected_v6(inside, up.quoted);
      // Where there was no checksum, none can be made from a part.
      if (place.protocol == 17 && get16(inside, place.at + 6) == 0) put16(whole, 46, 0);
      expected = slice(slice(whole, 0, size - place.at + 40), 0, 1'232);
    }
    const bool is_halved = place.protocol == 6 && size == place.at + 17;
    if (is_halved) expected.pop_back();
    CHECK(slice(quote_of(made), 0, expected.size()) == expected);
    CHECK(quote_of(made).size() == expected.size() + (is_halved ? 1 : 0));
    CHECK(is_right(made));
  }
}

TEST_CASE("an error of IPv6 is never longer than 1280 bytes") {
  for (const std::size_t payload : {1'183U, 1'184U, 1'185U, 1'400U, 1'444U}) {
    const auto inside = checksummed(v4(udp(1, 2, Bytes(payload, 5))));
    const auto made = done(error_v4(3, 3, 0, inside), to_v6());
    CHECK(made.size() == std::min<std::size_t>(1'280, 48 + 48 + payload));
    CHECK(is_right(made));
    CHECK(get16(quote_of(made), 4) == 8 + payload);
  }
}

TEST_CASE("quoted fragments stay fragments") {
  const auto later = v4(Bytes(16, 7), {.fragment = 0x2002});
  const auto up = done(error_v4(11, 1, 0, later), to_v6());
  CHECK(is_right(up));
  CHECK(quote_of(up) == done(later, [] {
          auto to = to_v6();
          to.packet = to.quoted;
          return to;
        }()));
  const auto later_v6 = v6(v6_fragment(17, 16, true) + Bytes(16, 7), {.next_header = 44});
  const auto down = done(error_v6(3, 1, 0, later_v6), to_v4());
  CHECK(is_right(down));
  CHECK(get16(quote_of(down), 6) == 0x2002);
  CHECK(get16(quote_of(down), 4) == 0xbabe);
}

TEST_CASE("what a quote has behind its packet is none of its transport") {
  auto short_v4 = slice(v4(tcp(1, 2, tcp_ack), {.protocol = 6}), 0, 28);
  put16(short_v4, 2, 28);
  const Bytes behind{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12};
  CHECK(slice(quote_of(done(error_v4(11, 0, 0, short_v4 + behind), to_v6())), 48) == behind);
  auto short_v6 = slice(v6(tcp(1, 2, tcp_ack), {.next_header = 6}), 0, 48);
  put16(short_v6, 4, 8);
  CHECK(slice(quote_of(done(error_v6(3, 0, 0, short_v6 + behind), to_v4())), 28) == behind);
}

TEST_CASE("errors about what was never translated are not either") {
  const auto nested_v4 = error_v4(3, 3, 0, inside_v4), nested_v6 = error_v6(1, 4, 0, inside_v6);
  CHECK(why(error_v4(3, 3, 0, nested_v4), to_v6()) == Translation::unsupported);
  CHECK(why(error_v6(1, 4, 0, nested_v6), to_v4()) == Translation::unsupported);
  CHECK(why(error_v4(3, 3, 0, v4(icmp(13, 0, 1, Bytes(12)), {.protocol = 1})), to_v6()) == Translation::unsupported);
  CHECK(why(error_v6(1, 4, 0, v6(icmp(135, 0, 1, Bytes(16)), {.next_header = 58})), to_v4()) ==
        Translation::unsupported);
  CHECK(why(error_v4(3, 3, 0, v4(Bytes(16), {.protocol = 1, .fragment = 0x0002})), to_v6()) ==
        Translation::unsupported);
  CHECK(why(error_v4(3, 3, 0, v4(Bytes(16), {.protocol = 44})), to_v6()) == Translation::unsupported);
  CHECK(why(error_v6(1, 4, 0, v6(extension(17, 2, 1) + udp(1, 2), {.next_header = 43})), to_v4()) ==
        Translation::unsupported);
  CHECK(why(error_v4(3, 3, 0, inside_v6), to_v6()) == Translation::malformed);
  CHECK(why(error_v6(1, 4, 0, inside_v4), to_v4()) == Translation::malformed);
}

TEST_CASE("extensions move with their length attribute") {
  const Bytes extension_object{0x20, 0, 0xd1, 0xff, 0, 8, 1, 1, 0x12, 0x34, 0x51, 0x01};
  for (const std::size_t padded : {128U, 132U, 136U, 256U, 1'000U, 1'020U}) {
    CAPTURE(padded);
    auto quote = checksummed(v4(udp(1, 2, Bytes(padded - 28, 6))));
    const auto words = static_cast<std::uint32_t>(padded / 4);
    const auto up = done(error_v4(11, 0, words << 16, quote + extension_object), to_v6());
    CHECK(is_right(up));
    const std::size_t units = up[44];
    CHECK(units == (padded + 20) / 8);
    CHECK(quote_of(up).size() == units * 8 + extension_object.size());
    CHECK(slice(quote_of(up), units * 8) == extension_object);
    CHECK(slice(quote_of(up), 48, units * 8) == slice(quote, 28, 28 + units * 8 - 48));

    // Not for those that have no attribute in IPv6.
    const auto too_big = done(error_v4(3, 4, words << 16 | 1'400, quote + extension_object), to_v6());
    CHECK(get32(too_big, 44) == 1'420);
    CHECK(quote_of(too_big).size() == padded + 20);
    CHECK(is_right(too_big));
  }
  for (const std::size_t padded : {128U, 136U, 256U, 1'040U, 1'048U, 1'200U}) {
    CAPTURE(padded);
    auto quote = checksummed(v6(extension(17) + udp(1, 2, Bytes(padded - 56, 6)), {.next_header = 60}));
    const auto words = static_cast<std::uint32_t>(padded / 8);
    const auto down = done(error_v6(1, 4, words << 24, quote + extension_object), to_v4());
    CHECK(is_right(down));
    const std::size_t units = down[25];
    CHECK(units * 4 == std::clamp<std::size_t>(padded - 28, 128, 1'020));
    CHECK(slice(quote_of(down), units * 4) == extension_object);
    const auto rest = std::min(units * 4 - 28, padded - 56);
    CHECK(slice(quote_of(down), 28, 28 + rest) == Bytes(rest, 6));
    CHECK(slice(quote_of(down), 28 + rest, units * 4) == Bytes(units * 4 - 28 - rest));
  }
  // One that would make the error too long is left out; an attribute that is wrong means nothing.
  const auto longest = checksummed(v4(udp(1, 2, Bytes(972, 6))));
  const auto cut = done(error_v4(11, 0, 250U << 16, longest + Bytes(300, 0x20)), to_v6());
  CHECK(cut.size() == 48 + 1'020);
  CHECK(cut[44] == 0);
  CHECK(is_right(cut));
  for (const std::uint32_t words : {1U, 31U, 200U, 255U}) {
    const auto odd = done(error_v4(11, 0, words << 16, inside_v4), to_v6());
    CHECK(odd[44] == 0);
    CHECK(quote_of(odd) == expected_v6(inside_v4, to_v6().quoted));
  }
}

TEST_CASE("headroom is used as far as needed and never beyond") {
  const auto packets = {inside_v4, v4(Bytes(16), {.fragment = 0x0002}), error_v4(3, 3, 0, inside_v4),
                        error_v4(3, 3, 0, v4(Bytes(16), {.fragment = 0x0002}))};
  const std::size_t needs[] = {20, 28, 40, 48};
  std::size_t i = 0;
  for (const auto& packet : packets) {
    const auto need = needs[i++];
    CHECK(need <= most_growth);
    for (std::size_t headroom = 0; headroom <= most_growth; ++headroom)
      CHECK(run(packet, to_v6(), headroom).result == (headroom < need ? Translation::headroom : Translation::done));
  }
  CHECK(run(inside_v6, to_v4(), 0).result == Translation::done);
  CHECK(run(error_v6(1, 4, 0, inside_v6), to_v4(), 0).result == Translation::done);
}

TEST_CASE("every beginning of every packet is read within its bounds") {
  RandomPackets random(31);
  for (int round = 0; round < 300; ++round) {
    const bool is_v6 = random.below(2) == 0;
    auto packet = random.whole(is_v6, 60);
    if (random.below(2) == 0) packet = is_v6 ? error_v6(3, 0, 0, packet) : error_v4(11, 0, 0, packet);
    for (std::size_t size = 0; size < packet.size(); ++size) {
      const auto cut = slice(packet, 0, size);
      CHECK(why(cut, to_v4()) == Translation::malformed);
      CHECK(why(cut, to_v6()) == Translation::malformed);
      // The same with lengths that fit.
      const auto at = place_of(packet).at;
      if (size < at + 18) continue;
      auto fitting = cut;
      put16(fitting, is_v6 ? 4 : 2, static_cast<std::uint16_t>(is_v6 ? size - 40 : size));
      if (place_of(packet).protocol == 17) put16(fitting, at + 4, static_cast<std::uint16_t>(size - at));
      fitting = checksummed(fitting);
      const auto made = is_v6 ? run(fitting, to_v4()) : run(fitting, to_v6());
      if (made.result == Translation::done) CHECK(is_right(made.packet));
    }
  }
}

TEST_CASE("whatever is in a packet, what comes out has right headers") {
  RandomPackets random(37);
  int translated = 0;
  for (int round = 0; round < 20'000; ++round) {
    const bool is_v6 = random.below(2) == 0;
    auto packet = random.whole(is_v6, 200);
    if (random.below(2) == 0) packet = is_v6 ? error_v6(3, 0, 0, packet) : error_v4(11, 0, 0, packet);
    for (auto changes = random.below(4); changes > 0; --changes)
      packet[random.below(std::min<std::uint32_t>(100, static_cast<std::uint32_t>(packet.size())))] =
          static_cast<std::uint8_t>(random.below(256));
    if (!is_v6 && (packet[0] & 15) >= 5 && packet.size() > static_cast<std::size_t>(packet[0] & 15) * 4) {
      put16(packet, 10, 0);
      put16(packet, 10, checksum_of(slice(packet, 0, static_cast<std::size_t>(packet[0] & 15) * 4)));
    }
    const auto made = is_v6 ? run(packet, to_v4()) : run(packet, to_v6());
    if (made.result != Translation::done) continue;
    ++translated;
    Headers headers;
    CHECK(parse(made.packet, made.packet.size(), headers) == Malformed::none);
    CHECK(headers.length == made.packet.size());
  }
  CHECK(translated > 5'000);
}
