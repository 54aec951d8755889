// SPDX-License-Identifier: Apache-2.0
// Reading headers: what is right, and every way to be wrong.
#include "dataplane/headers.hpp"

#include <doctest/doctest.h>

#include <memory>
#include <random>

#include "packets.hpp"

using namespace ironcore::network::dataplane;
using namespace ironcore::tests;

namespace {

/// From memory of exactly that size, so that a sanitizer sees a read beyond it.
Malformed parse_exact(const Bytes& packet, Headers& headers, Extent extent = Extent::whole) {
  const auto memory = std::make_unique<std::uint8_t[]>(packet.size());
  std::copy(packet.begin(), packet.end(), memory.get());
  return parse({memory.get(), packet.size()}, packet.size(), headers, extent);
}

Headers parsed(const Bytes& packet, Extent extent = Extent::whole) {
  Headers headers;
  REQUIRE(parse_exact(packet, headers, extent) == Malformed::none);
  return headers;
}

Malformed wrong(const Bytes& packet) {
  Headers headers;
  const auto why = parse_exact(packet, headers);
  if (why != Malformed::none) CHECK(headers.length == 0);  // left as it was
  return why;
}

/// With a right checksum again.
Bytes changed(Bytes packet, std::size_t at, std::uint8_t value) {
  packet[at] = value;
  if (packet[0] >> 4 != 4) return packet;
  put16(packet, 10, 0);
  const std::size_t header = std::min<std::size_t>(static_cast<std::size_t>(packet[0] & 15) * 4, packet.size());
  put16(packet, 10, checksum_of(Bytes(packet.begin(), packet.begin() + static_cast<std::ptrdiff_t>(header))));
  return packet;
}

}  // namespace

TEST_CASE("headers of both families are read up to the transport") {
  const auto four = parsed(v4(tcp(1234, 80, tcp_syn), {.protocol = protocol_tcp}));
  CHECK(!four.is_v6);
  CHECK(four.protocol == protocol_tcp);
  CHECK(four.transport == 20);
  CHECK(four.length == 40);
  CHECK(four.hop_limit == 64);
  CHECK(four.has_transport);
  CHECK(four.source_port == 1234);
  CHECK(four.destination_port == 80);
  CHECK(four.tcp_flags == tcp_syn);
  CHECK(!four.is_fragment);

  const auto six = parsed(v6(udp(53, 5353, {1, 2, 3})));
  CHECK(six.is_v6);
  CHECK(six.protocol == protocol_udp);
  CHECK(six.transport == 40);
  CHECK(six.length == 51);
  CHECK(six.source_port == 53);
  CHECK(six.destination_port == 5353);

  CHECK(parsed(v4(sctp(7, 8), {.protocol = protocol_sctp})).destination_port == 8);
}

TEST_CASE("an echo has its identifier for ports, other ICMP messages have none") {
  const auto echo = parsed(v4(icmp(8, 0, 77), {.protocol = protocol_icmp}));
  CHECK(is_echo(echo));
  CHECK(echo.source_port == 77);
  CHECK(echo.destination_port == 77);
  const auto exceeded = parsed(v4(icmp(11, 0, 77), {.protocol = protocol_icmp}));
  CHECK(is_icmp_error(exceeded));
  CHECK(exceeded.icmp_type == 11);
  CHECK(exceeded.source_port == 0);
  CHECK(is_icmp_error(parsed(v6(icmp(2, 0), {.next_header = protocol_icmpv6}))));
  CHECK(is_echo(parsed(v6(icmp(129, 0, 5), {.next_header = protocol_icmpv6}))));
  // The other family's ICMP is just a protocol.
  CHECK(!parsed(v4(icmp(128, 0), {.protocol = protocol_icmpv6})).has_transport);
  CHECK(!is_icmp_error(parsed(v4(icmp(3, 0), {.protocol = protocol_icmpv6}))));
}

TEST_CASE("other protocols pass without ports") {
  const auto gre = parsed(v4({0, 0, 8, 0}, {.protocol = 47}));
  CHECK(gre.protocol == 47);
  CHECK(!gre.has_transport);
  CHECK(parsed(v6({}, {.next_header = 59})).transport == 40);  // no next header
}

TEST_CASE("IPv4 options and IPv6 extension headers are walked") {
  const auto options = parsed(v4(udp(1, 2), {.options = {7, 4, 4, 0, 1, 1, 1, 0}}));
  CHECK(options.transport == 28);
  CHECK(options.source_port == 1);

  const auto chain = parsed(v6(extension(60) + extension(43) + extension(17, 4, 0) + udp(3, 4), {.next_header = 0}));
  CHECK(chain.transport == 64);
  CHECK(chain.protocol == protocol_udp);
  CHECK(chain.destination_port == 4);

  // Authentication counts in words of four bytes.
  const Bytes authentication{17, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0};
  CHECK(parsed(v6(authentication + udp(5, 6), {.next_header = 51})).transport == 64);
}

TEST_CASE("bytes behind the packet are padding") {
  const auto padded = parsed(v4(udp(1, 2)) + Bytes(18));
  CHECK(padded.length == 28);
}

TEST_CASE("headers in the first segment are enough") {
  const auto packet = v4(udp(1, 2, Bytes(1000)));
  Headers headers;
  CHECK(parse(std::span(packet).first(28), packet.size(), headers) == Malformed::none);
  CHECK(headers.length == 1028);
  CHECK(parse(std::span(packet).first(27), packet.size(), headers) == Malformed::header_cut);
}

TEST_CASE("fragments") {
  SUBCASE("the first one has the ports") {
    const auto first = parsed(v4(udp(1, 2, Bytes(8)), {.fragment = 0x2000}));
    CHECK(first.is_fragment);
    CHECK(first.is_first);
    CHECK(first.has_more);
    CHECK(first.fragment_id == 0x1234);
    CHECK(first.source_port == 1);
  }
  SUBCASE("later ones have none, whatever stands there") {
    const auto later = parsed(v4(udp(1, 2, Bytes(8)), {.fragment = 0x2000 | 2}));
    CHECK(later.fragment_offset == 16);
    CHECK(!later.is_first);
    CHECK(!later.has_transport);
    CHECK(later.source_port == 0);
    CHECK(!parsed(v4({1}, {.fragment = 100})).has_transport);
  }
  SUBCASE("of IPv6") {
    const auto first = parsed(v6(v6_fragment(17, 0, true) + udp(1, 2, Bytes(8)), {.next_header = 44}));
    CHECK(first.is_fragment);
    CHECK(first.fragment_header == 40);
    CHECK(first.fragment_id == 0xcafebabe);
    CHECK(first.destination_port == 2);
    // What follows a later fragment header is data, even if it says to be another extension header.
    const auto later = parsed(v6(v6_fragment(60, 1480, false) + Bytes(5), {.next_header = 44}));
    CHECK(later.protocol == 60);
    CHECK(!later.has_transport);
    CHECK(later.transport == 48);
  }
  SUBCASE("a lone one is a whole packet (RFC 6946)") {
    const auto lone = parsed(v6(v6_fragment(17, 0, false) + udp(1, 2), {.next_header = 44}));
    CHECK(!lone.is_fragment);
    CHECK(lone.has_transport);
  }
  SUBCASE("that are refused") {
    // The transport header must be in the first one.
    CHECK(wrong(v4(Bytes(8), {.protocol = protocol_tcp, .fragment = 0x2000})) == Malformed::fragment);
    CHECK(wrong(v6(v6_fragment(6, 0, true) + Bytes(16), {.next_header = 44})) == Malformed::fragment);
    // The next eight bytes would replace the flags.
    CHECK(wrong(v4(Bytes(16), {.protocol = protocol_tcp, .fragment = 1})) == Malformed::fragment);
    // Longer than a packet can be.
    CHECK(wrong(v4(Bytes(16), {.fragment = 0x1fff})) == Malformed::fragment);
    CHECK(wrong(v4(Bytes(7), {.fragment = 0x2000 | 8})) == Malformed::fragment);
    CHECK(wrong(v6(v6_fragment(44, 0, true) + v6_fragment(17, 0, true) + udp(1, 2), {.next_header = 44})) ==
          Malformed::extension_header);
  }
}

TEST_CASE("contradictions are told apart") {
  const auto good = v4(udp(1, 2, {1, 2, 3, 4}));
  CHECK(wrong({}) == Malformed::header_cut);
  CHECK(wrong(Bytes(64)) == Malformed::version);
  CHECK(wrong(changed(good, 0, 0x44)) == Malformed::length);  // a header of 16 bytes
  CHECK(wrong(changed(good, 3, 19)) == Malformed::length);    // a packet shorter than its header
  CHECK(wrong(changed(good, 3, 200)) == Malformed::length);   // longer than the frame
  CHECK(wrong(v4(Bytes(7), {.protocol = 17})) == Malformed::header_cut);
  auto bad_checksum = good;
  bad_checksum[11] ^= 1;
  CHECK(wrong(bad_checksum) == Malformed::header_checksum);
  CHECK(wrong(changed(good, 25, 7)) == Malformed::transport);   // UDP of seven bytes
  CHECK(wrong(changed(good, 25, 13)) == Malformed::transport);  // one more than there are
  const auto segment = v4(tcp(1, 2, 0), {.protocol = protocol_tcp});
  CHECK(wrong(changed(segment, 32, 0x40)) == Malformed::transport);
  CHECK(wrong(changed(segment, 32, 0x60)) == Malformed::transport);

  const auto six = v6(udp(1, 2));
  CHECK(wrong(changed(six, 5, 9)) == Malformed::length);
  CHECK(wrong(v6(extension(17, 0, 1) + udp(1, 2), {.next_header = 43})) == Malformed::extension_header);
  CHECK(wrong(v6(extension(0) + extension(17) + udp(1, 2), {.next_header = 60})) == Malformed::extension_header);
  Bytes many;
  for (int i = 0; i < 8; ++i) many = many + extension(60);
  CHECK(wrong(v6(many + extension(17) + udp(1, 2), {.next_header = 60})) == Malformed::extension_header);
  auto long_extension = extension(17);
  long_extension[1] = 200;
  CHECK(wrong(v6(long_extension + udp(1, 2), {.next_header = 60})) == Malformed::header_cut);
}

TEST_CASE("a quoted packet needs eight bytes of its transport") {
  const auto packet = v4(tcp(1234, 80, tcp_ack, Bytes(100)), {.protocol = protocol_tcp});
  const Bytes quoted(packet.begin(), packet.begin() + 28);
  const auto headers = parsed(quoted, Extent::quoted);
  CHECK(headers.source_port == 1234);
  CHECK(headers.destination_port == 80);
  CHECK(headers.length == 140);
  Headers cut;
  CHECK(parse_exact(Bytes(packet.begin(), packet.begin() + 27), cut, Extent::quoted) == Malformed::header_cut);
}

TEST_CASE("any bytes are read within their bounds") {
  std::mt19937 random(1);  // NOLINT: the same packets in every run
  const std::vector<Bytes> seeds{
      v4(tcp(1, 2, tcp_ack, Bytes(20)), {.protocol = protocol_tcp}),
      v4(udp(1, 2, Bytes(20)), {.fragment = 0x2000, .options = {1, 1, 1, 0}}),
      v4(icmp(3, 4, 0, v4(udp(1, 2))), {.protocol = protocol_icmp}),
      v6(extension(43) + extension(44, 4) + v6_fragment(17, 0, true) + udp(1, 2, Bytes(16)), {.next_header = 0}),
      v6(sctp(1, 2), {.next_header = protocol_sctp}),
  };
  std::size_t whole = 0;
  for (int round = 0; round < 200'000; ++round) {
    auto packet = seeds[random() % seeds.size()];
    for (auto changes = random() % 4; changes > 0; --changes)
      packet = changed(packet, random() % packet.size(), static_cast<std::uint8_t>(random()));
    packet.resize(random() % 3 == 0 ? random() % (packet.size() + 1) : packet.size());
    const auto extent = random() % 4 == 0 ? Extent::quoted : Extent::whole;
    Headers headers;
    if (parse_exact(packet, headers, extent) != Malformed::none) continue;
    ++whole;
    REQUIRE(headers.transport <= headers.length);
    REQUIRE(headers.transport >= (headers.is_v6 ? 40 : 20));
    if (extent == Extent::whole) REQUIRE(headers.length <= packet.size());
    if (headers.has_transport) REQUIRE(headers.transport + 8U <= packet.size());
    if (headers.has_transport) REQUIRE(headers.is_first);
  }
  CHECK(whole > 10'000);  // the rounds reach what they are meant for
}

TEST_CASE("what is read at once is what the walk would have read") {
  std::mt19937 random(5);
  int plain = 0;
  for (int i = 0; i < 200'000; ++i) {
    Bytes packet = random() % 2 == 0 ? v4(udp(1, 2, Bytes(random() % 40)))
                                     : v4(tcp(3, 4, static_cast<std::uint8_t>(random()), Bytes(random() % 40)),
                                          {.protocol = protocol_tcp});
    for (auto changes = random() % 3; changes > 0; --changes)
      packet[random() % packet.size()] = static_cast<std::uint8_t>(random());
    if (random() % 2 == 0) {
      put16(packet, 10, 0);
      put16(packet, 10, checksum_of({packet.begin(), packet.begin() + 20}));
    }
    packet.resize(packet.size() - random() % 4 * (random() % 10));
    const auto there = packet.size() - std::min<std::size_t>(random() % 3 * 7, packet.size());
    Headers quick;
    Headers slow;
    const std::span<const std::uint8_t> bytes(packet.data(), there);
    const auto wrong = parse(bytes, packet.size(), slow);
    if (!parse_plain(bytes, packet.size(), quick)) continue;
    ++plain;
    REQUIRE(wrong == Malformed::none);
    REQUIRE(quick == slow);
  }
  CHECK(plain > 30'000);
}
