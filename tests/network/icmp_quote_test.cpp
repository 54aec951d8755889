// SPDX-License-Identifier: Apache-2.0
// Errors that pass a NAT: what they quote is what the sender sent, with all checksums right.
#include "dataplane/icmp_quote.hpp"

#include <doctest/doctest.h>

#include "checked_packets.hpp"
#include "dataplane/headers.hpp"

using namespace ironcore::network::dataplane;
using namespace ironcore::tests;

namespace {

Bytes error_about(const Bytes& quote, std::uint8_t type_v4 = 3, std::uint8_t type_v6 = 1) {
  if (quote[0] >> 4 == 4) return checksummed(v4(icmp_error(type_v4, 1, 0, quote), {.protocol = 1}));
  return checksummed(v6(icmp_error(type_v6, 1, 0, quote), {.next_header = 58}));
}

struct Rewritten {
  QuoteResult result;
  Bytes error;
};
Rewritten rewrite(const Bytes& error, const QuotedChange& change) {
  Exact memory(error);
  const auto result = rewrite_icmp_quote(memory.span(), error.size(), change);
  if (result != QuoteResult::done) CHECK(memory.bytes() == error);
  return {result, memory.bytes()};
}

/// The packet as a NAT would have sent it, all sums made anew.
Bytes natted(Bytes packet, const QuotedChange& change) {
  const bool is_v6 = packet[0] >> 4 == 6;
  const std::size_t source = is_v6 ? 8 : 12;
  std::ranges::copy(change.source.address, packet.begin() + static_cast<std::ptrdiff_t>(source));
  std::ranges::copy(change.destination.address, packet.begin() + static_cast<std::ptrdiff_t>(is_v6 ? 24 : 16));
  const auto place = place_of(packet);
  bool is_plain_udp = false;
  if (place.protocol == 1 || place.protocol == 58) {
    const auto id = change.source.port ? change.source.port : change.destination.port;
    if (id) put16(packet, place.at + 4, *id);
  } else if (place.protocol == 6 || place.protocol == 17) {
    is_plain_udp = place.protocol == 17 && get16(packet, place.at + 6) == 0;
    if (change.source.port) put16(packet, place.at, *change.source.port);
    if (change.destination.port) put16(packet, place.at + 2, *change.destination.port);
  }
  packet = checksummed(packet);
  if (is_plain_udp) put16(packet, place.at + 6, 0);
  return packet;
}

}  // namespace

TEST_CASE("what is quoted is the packet before the NAT, byte for byte, however much of it is there") {
  RandomPackets random(11);
  for (int round = 0; round < 8'000; ++round) {
    const bool is_v6 = random.below(2) == 0;
    const auto inside = random.whole(is_v6);
    const auto source = random.bytes(is_v6 ? 16 : 4), destination = random.bytes(is_v6 ? 16 : 4);
    QuotedChange change;
    if (random.below(4) != 0) change.source.address = source;
    if (random.below(2) != 0) change.destination.address = destination;
    if (random.below(4) != 0) change.source.port = random.word();
    if (random.below(2) != 0) change.destination.port = random.word();
    const auto outside = natted(inside, change);

    // From the packet that was sent to the other one, cut anywhere behind the first eight bytes of the transport.
    const auto least = std::min(place_of(inside).at + 8, inside.size());
    const auto size = least + random.below(static_cast<std::uint32_t>(inside.size() - least + 1));
    const auto [result, error] = rewrite(error_about(slice(inside, 0, size)), change);
    REQUIRE(result == QuoteResult::done);
    // The first half of a checksum cannot be mended alone.
    const bool is_halved = place_of(inside).protocol == 6 && size == place_of(inside).at + 17;
    const auto compared = is_halved ? size - 1 : size;
    CHECK(slice(quote_of(error), 0, compared) == slice(outside, 0, compared));
    CHECK(is_right(error));
  }
}

TEST_CASE("every error type of both families, and behind options and extension headers") {
  const auto inside = checksummed(v4(udp(1000, 53, {1, 2, 3}), {.source = "10.0.0.5", .options = {7, 4, 4, 0}}));
  const auto address = address_bytes("203.0.113.9");
  const QuotedChange change{.source = {address, 4000}};
  const std::uint8_t types_v4[] = {3, 4, 5, 11, 12}, types_v6[] = {1, 2, 3, 4, 100};
  for (const auto type : types_v4) {
    const auto error =
        checksummed(v4(icmp_error(type, 0, 0, inside), {.protocol = 1, .options = {1, 1, 1, 0, 7, 4, 4, 0}}));
    const auto [result, after] = rewrite(error, change);
    CHECK(result == QuoteResult::done);
    CHECK(quote_of(after) == natted(inside, change));
    CHECK(is_right(after));
  }
  const auto inside_v6 = checksummed(v6(extension(17) + udp(1000, 53), {.next_header = 60}));
  const auto address_v6 = address_bytes("2001:db8:9::9");
  const QuotedChange change_v6{.destination = {address_v6, 4000}};
  for (const auto type : types_v6) {
    const auto error = checksummed(v6(extension(58) + icmp_error(type, 0, 0, inside_v6), {.next_header = 60}));
    const auto [result, after] = rewrite(error, change_v6);
    CHECK(result == QuoteResult::done);
    CHECK(quote_of(after) == natted(inside_v6, change_v6));
    CHECK(is_right(after));
  }
}

TEST_CASE("of a quoted later fragment only the addresses change, of a first one all") {
  const auto address = address_bytes("203.0.113.9");
  const QuotedChange change{.source = {address, 4000}, .destination = {{}, 4001}};
  const auto later = v4(Bytes(24, 0x55), {.fragment = 0x0002});
  const auto made_later = rewrite(error_about(later), change);
  CHECK(made_later.result == QuoteResult::done);
  CHECK(is_right(made_later.error));
  CHECK(is_header_right(quote_of(made_later.error)));
  CHECK(slice(quote_of(made_later.error), 12, 16) == address);
  CHECK(slice(quote_of(made_later.error), 16) == slice(later, 16));

  auto first = v4(udp(7, 8, Bytes(8, 0x55)), {.fragment = 0x2000});
  put16(first, 26, 0x1111);
  const auto made_first = rewrite(error_about(first), change);
  CHECK(made_first.result == QuoteResult::done);
  CHECK(is_right(made_first.error));
  CHECK(get16(quote_of(made_first.error), 20) == 4000);
  CHECK(get16(quote_of(made_first.error), 22) == 4001);
  // What the checksum lacked for this part alone, it lacks still.
  const auto lack = [](const Bytes& packet) {
    auto whole = packet;
    put16(whole, 6, 0);
    return (transport_checksum(whole) + 0xffffU - get16(packet, 26)) % 0xffffU;
  };
  CHECK(lack(quote_of(made_first.error)) == lack(first));

  const auto address_v6 = address_bytes("2001:db8:9::9");
  const auto later_v6 = v6(v6_fragment(17, 16, false) + Bytes(9, 0x55), {.next_header = 44});
  const auto made = rewrite(error_about(later_v6), {.source = {address_v6, 4000}});
  CHECK(made.result == QuoteResult::done);
  CHECK(is_right(made.error));
  CHECK(slice(quote_of(made.error), 24) == slice(later_v6, 24));
}

TEST_CASE("an echo has one identifier, other ICMP messages and protocols none") {
  const auto address = address_bytes("203.0.113.9");
  const auto echo = checksummed(v4(icmp(8, 0, 77), {.protocol = 1}));
  CHECK(get16(quote_of(rewrite(error_about(echo), {.source = {{}, 78}}).error), 24) == 78);
  CHECK(get16(quote_of(rewrite(error_about(echo), {.destination = {{}, 79}}).error), 24) == 79);
  CHECK(get16(quote_of(rewrite(error_about(echo), {{{}, 78}, {{}, 79}}).error), 24) == 78);
  const auto timestamp = checksummed(v4(icmp(13, 0, 77, Bytes(12)), {.protocol = 1}));
  CHECK(quote_of(rewrite(error_about(timestamp), {.source = {{}, 78}}).error) == timestamp);
  const auto gre = v4({0, 0, 8, 0, 1, 2, 3, 4}, {.protocol = 47});
  const auto after = rewrite(error_about(gre), {.source = {address, 78}});
  CHECK(is_right(after.error));
  CHECK(slice(quote_of(after.error), 16) == slice(gre, 16));
  const auto stream = v4(sctp(5, 6), {.protocol = 132});
  const auto ports = quote_of(rewrite(error_about(stream), {{{}, 50}, {{}, 60}}).error);
  CHECK(slice(ports, 20) == sctp(50, 60));
}

TEST_CASE("what is no error, is wrong already or of the other family is left as it is") {
  const auto address = address_bytes("203.0.113.9");
  const QuotedChange change{.source = {address, 1}};
  const auto inside = checksummed(v4(udp(1, 2)));
  CHECK(rewrite(checksummed(v4(udp(1, 2))), change).result == QuoteResult::no_error);
  CHECK(rewrite(checksummed(v4(icmp(8, 0, 1, inside), {.protocol = 1})), change).result == QuoteResult::no_error);
  CHECK(rewrite(v4(Bytes(40), {.protocol = 1, .fragment = 2}), change).result == QuoteResult::no_error);
  CHECK(rewrite(error_about(checksummed(v6(udp(1, 2)))), change).result == QuoteResult::family);
  // A packet of the other family inside.
  CHECK(rewrite(checksummed(v4(icmp_error(3, 0, 0, v6(udp(1, 2))), {.protocol = 1})), change).result ==
        QuoteResult::malformed);
  auto wrong = error_about(inside);
  wrong.back() ^= 1;
  CHECK(rewrite(wrong, change).result == QuoteResult::checksum);
  auto wrong_inside = inside;
  wrong_inside[8] -= 1;
  CHECK(rewrite(error_about(wrong_inside), change).result == QuoteResult::checksum);
}

TEST_CASE("the rest of an error may be elsewhere") {
  const auto address = address_bytes("203.0.113.9");
  const auto inside = checksummed(v4(udp(1, 2, Bytes(500, 3))));
  const auto error = error_about(inside);
  Exact first(slice(error, 0, 56));
  const QuotedChange change{.source = {address, 9}};
  CHECK(rewrite_icmp_quote(first.span(), error.size(), change) == QuoteResult::done);
  const auto after = first.bytes() + slice(error, 56);
  CHECK(is_right(after));
  CHECK(quote_of(after) == natted(inside, change));
}

TEST_CASE("an error in fragments is rewritten in its first one") {
  const auto address = address_bytes("203.0.113.9");
  const QuotedChange change{.source = {address, 9}};
  const auto inside = checksummed(v4(udp(1, 2, Bytes(100, 3))));
  const auto whole = error_about(inside);
  const auto first = v4(slice(whole, 20, 84), {.protocol = 1, .fragment = 0x2000});
  const auto [result, after] = rewrite(first, change);
  CHECK(result == QuoteResult::done);
  CHECK(is_right(v4(slice(after, 20) + slice(whole, 84), {.protocol = 1})));
  CHECK(quote_of(after) == slice(natted(inside, change), 0, 56));
}

TEST_CASE("every beginning of every error is read within its bounds") {
  RandomPackets random(13);
  const auto four = address_bytes("203.0.113.9"), six = address_bytes("2001:db8:9::9");
  for (int round = 0; round < 200; ++round) {
    const bool is_v6 = random.below(2) == 0;
    const QuotedChange change{{is_v6 ? six : four, 1}, {is_v6 ? six : four, 2}};
    const auto inside = random.whole(is_v6, 40);
    const auto error = error_about(inside);
    for (std::size_t size = 0; size < error.size(); ++size) {
      CHECK(rewrite(slice(error, 0, size), change).result == QuoteResult::malformed);
      // The same with lengths that fit.
      auto cut = slice(error, 0, size);
      const std::size_t header = is_v6 ? 40 : 20;
      if (size < header + 8) continue;
      put16(cut, is_v6 ? 4 : 2, static_cast<std::uint16_t>(is_v6 ? size - 40 : size));
      cut = checksummed(cut);
      const auto [result, after] = rewrite(cut, change);
      CHECK((result == QuoteResult::done || result == QuoteResult::malformed));
      CHECK(is_right(after));
    }
  }
}
