// SPDX-License-Identifier: Apache-2.0
// Errors that are sent, errors that must not be, and how many.
#include "dataplane/icmp_errors.hpp"

#include <doctest/doctest.h>

#include "checked_packets.hpp"
#include "dataplane/headers.hpp"

using namespace ironcore::network::dataplane;
using namespace ironcore::tests;

namespace {

const Bytes router_v4 = address_bytes("10.0.0.254");
const Bytes router_v6 = address_bytes("2001:db8::fe");

struct Made {
  Unsent unsent;
  Bytes error;
};
Made make(const Bytes& packet, IcmpError error, std::uint32_t value = 0, std::size_t room = 1280) {
  Exact bytes(packet);
  Exact out{Bytes(room, 0xee)};
  const bool is_v6 = !packet.empty() && packet[0] >> 4 == 6;
  const auto built =
      build_icmp_error(bytes.span(), packet.size(), error, value, is_v6 ? router_v6 : router_v4, out.span());
  CHECK((built.unsent == Unsent::none) == (built.bytes != 0));
  CHECK(bytes.bytes() == packet);
  return {built.unsent, slice(out.bytes(), 0, built.bytes)};
}

Unsent why(const Bytes& packet, IcmpError error = IcmpError::hop_limit) {
  return make(packet, error).unsent;
}

}  // namespace

TEST_CASE("each error has its type, code and value in both families") {
  struct Row {
    IcmpError error;
    std::uint8_t v4_type, v4_code, v6_type, v6_code;
    std::uint32_t value, v4_rest, v6_rest;
  };
  const Row rows[] = {
      {IcmpError::hop_limit, 11, 0, 3, 0, 5, 0, 0},
      {IcmpError::no_route, 3, 0, 1, 0, 5, 0, 0},
      {IcmpError::host, 3, 1, 1, 3, 5, 0, 0},
      {IcmpError::port, 3, 3, 1, 4, 5, 0, 0},
      {IcmpError::prohibited, 3, 13, 1, 1, 5, 0, 0},
      {IcmpError::source_route, 3, 5, 1, 7, 5, 0, 0},
      {IcmpError::too_big, 3, 4, 2, 0, 1400, 1400, 1400},
      {IcmpError::too_big, 3, 4, 2, 0, 70'000, 65'535, 70'000},
      {IcmpError::header_field, 12, 0, 4, 0, 9, 0x0900'0000, 9},
  };
  for (const auto& row : rows) {
    CAPTURE(int(row.error));
    const auto four = make(v4(udp(1, 2, {1, 2, 3})), row.error, row.value);
    REQUIRE(four.unsent == Unsent::none);
    CHECK(is_right(four.error));
    CHECK(four.error[20] == row.v4_type);
    CHECK(four.error[21] == row.v4_code);
    CHECK(get32(four.error, 24) == row.v4_rest);
    CHECK(slice(four.error, 12, 16) == router_v4);
    CHECK(slice(four.error, 16, 20) == address_bytes("10.0.0.1"));
    CHECK(quote_of(four.error) == v4(udp(1, 2, {1, 2, 3})));

    const auto six = make(v6(udp(1, 2, {1, 2, 3})), row.error, row.value);
    REQUIRE(six.unsent == Unsent::none);
    CHECK(is_right(six.error));
    CHECK(six.error[40] == row.v6_type);
    CHECK(six.error[41] == row.v6_code);
    CHECK(get32(six.error, 44) == row.v6_rest);
    CHECK(slice(six.error, 8, 24) == router_v6);
    CHECK(slice(six.error, 24, 40) == address_bytes("2001:db8::1"));
    CHECK(quote_of(six.error) == v6(udp(1, 2, {1, 2, 3})));
  }
}

TEST_CASE("an error is one that parsing knows as one, with the precedence of control traffic") {
  auto packet = v4(udp(1, 2));
  packet[1] = 0xb9;
  const auto made = make(checksummed(packet), IcmpError::no_route);
  Headers headers;
  REQUIRE(parse(made.error, made.error.size(), headers) == Malformed::none);
  CHECK(is_icmp_error(headers));
  CHECK(headers.hop_limit == 64);
  CHECK(!headers.is_fragment);
  CHECK(made.error[1] == 0xd8);
}

TEST_CASE("a quote is as long as the packet or the RFC allows, without padding") {
  for (const std::size_t payload : {0U, 1U, 7U, 519U, 520U, 521U, 1'183U, 1'184U, 1'185U, 1'472U, 9'000U}) {
    CAPTURE(payload);
    const auto four = v4(udp(1, 2, Bytes(payload, 7)));
    const auto error_v4 = make(four + Bytes(3), IcmpError::hop_limit).error;
    CHECK(error_v4.size() == std::min<std::size_t>(576, 28 + four.size()));
    CHECK(is_right(error_v4));
    CHECK(quote_of(error_v4) == slice(four, 0, 548));
    const auto six = v6(udp(1, 2, Bytes(payload, 7)));
    const auto error_v6 = make(six + Bytes(3), IcmpError::hop_limit).error;
    CHECK(error_v6.size() == std::min<std::size_t>(1280, 48 + six.size()));
    CHECK(is_right(error_v6));
    CHECK(quote_of(error_v6) == slice(six, 0, 1232));
  }
  CHECK(make(v4(udp(1, 2)), IcmpError::port, 0, 56).unsent == Unsent::none);
  CHECK(make(v4(udp(1, 2)), IcmpError::port, 0, 55).unsent == Unsent::room);
  CHECK(make(v6(udp(1, 2)), IcmpError::port, 0, 95).unsent == Unsent::room);
}

TEST_CASE("what is not at hand is not quoted") {
  const auto packet = v4(udp(1, 2, Bytes(1'000)));
  Bytes out(576);
  const auto built =
      build_icmp_error(std::span(packet).first(100), packet.size(), IcmpError::hop_limit, 0, router_v4, out);
  CHECK(built.bytes == 128);
  CHECK(is_right(slice(out, 0, built.bytes)));
}

TEST_CASE("no error about an error or a redirect, but about any other ICMP message") {
  for (int type = 0; type < 256; ++type) {
    CAPTURE(type);
    const auto message = icmp(static_cast<std::uint8_t>(type), 0, 0, v4(udp(1, 2)));
    const bool is_error_v4 = type == 3 || type == 4 || type == 5 || type == 11 || type == 12;
    CHECK(why(v4(message, {.protocol = 1})) == (is_error_v4 ? Unsent::about_error : Unsent::none));
    const bool is_error_v6 = type < 128 || type == 137;
    CHECK(why(v6(message, {.next_header = 58})) == (is_error_v6 ? Unsent::about_error : Unsent::none));
    CHECK(why(v6(extension(60) + extension(58) + message, {.next_header = 0})) ==
          (is_error_v6 ? Unsent::about_error : Unsent::none));
  }
}

TEST_CASE("no error to whom is not one host, or about what was sent to many") {
  for (const auto* source :
       {"0.0.0.0", "0.1.2.3", "127.0.0.1", "224.0.0.1", "239.1.1.1", "240.0.0.1", "255.255.255.255"})
    CHECK(why(v4(udp(1, 2), {.source = source})) == Unsent::source);
  for (const auto* source : {"1.0.0.1", "126.255.255.255", "128.0.0.1", "223.255.255.255", "169.254.1.1"})
    CHECK(why(v4(udp(1, 2), {.source = source})) == Unsent::none);
  for (const auto* destination : {"224.0.0.251", "239.255.255.250", "255.255.255.255", "0.0.0.0"}) {
    CHECK(why(v4(udp(1, 2), {.destination = destination})) == Unsent::destination);
    CHECK(why(v4(udp(1, 2), {.destination = destination}), IcmpError::too_big) == Unsent::destination);
  }
  for (const auto* source : {"::", "::1", "ff02::1", "ff0e::5"})
    CHECK(why(v6(udp(1, 2), {.source = source})) == Unsent::source);
  for (const auto* source : {"fe80::1", "::2", "1::", "fd00::1"})
    CHECK(why(v6(udp(1, 2), {.source = source})) == Unsent::none);
  CHECK(why(v6(udp(1, 2), {.destination = "ff0e::1"})) == Unsent::destination);
  // Path MTU discovery is for multicast too, but never towards a group.
  CHECK(why(v6(udp(1, 2), {.destination = "ff0e::1"}), IcmpError::too_big) == Unsent::none);
  CHECK(why(v6(udp(1, 2), {.source = "ff0e::2", .destination = "ff0e::1"}), IcmpError::too_big) == Unsent::source);
}

TEST_CASE("of fragments only the first one gets an error") {
  CHECK(why(v4(udp(1, 2, Bytes(8)), {.fragment = 0x2000})) == Unsent::none);
  CHECK(why(v4(Bytes(16), {.fragment = 0x2002})) == Unsent::fragment);
  CHECK(why(v4(Bytes(5), {.fragment = 0x0002})) == Unsent::fragment);
  CHECK(why(v6(v6_fragment(17, 0, true) + udp(1, 2), {.next_header = 44})) == Unsent::none);
  CHECK(why(v6(v6_fragment(17, 16, false) + Bytes(3), {.next_header = 44})) == Unsent::fragment);
}

TEST_CASE("no error about what cannot be read, nor from an address of the other family") {
  for (const auto& packet : {v4(tcp(1, 2, tcp_syn, Bytes(20)), {.protocol = 6}), v6(udp(1, 2, Bytes(20)))})
    for (std::size_t size = 0; size < packet.size(); ++size) CHECK(why(slice(packet, 0, size)) == Unsent::malformed);
  Bytes out(1280);
  const auto four = v4(udp(1, 2));
  CHECK(build_icmp_error(four, four.size(), IcmpError::port, 0, router_v6, out).unsent == Unsent::family);
  const auto six = v6(udp(1, 2));
  CHECK(build_icmp_error(six, six.size(), IcmpError::port, 0, router_v4, out).unsent == Unsent::family);
  CHECK(build_icmp_error(six, six.size(), IcmpError::port, 0, {}, out).unsent == Unsent::family);
}

TEST_CASE("random packets get right errors or none") {
  RandomPackets random(7);
  for (int round = 0; round < 3'000; ++round) {
    auto packet = random.whole(random.below(2) == 0, 1'500);
    const auto made = make(packet, static_cast<IcmpError>(random.below(8)), random.word());
    REQUIRE(made.unsent == Unsent::none);
    CHECK(is_right(made.error));
    for (auto changes = random.below(4); changes > 0; --changes)
      packet[random.below(static_cast<std::uint32_t>(packet.size()))] = static_cast<std::uint8_t>(random.below(256));
    const auto again = make(packet, static_cast<IcmpError>(random.below(8)));
    if (again.unsent == Unsent::none) CHECK(is_right(again.error));
  }
}

TEST_CASE("a limit gives its burst, then its rate, whatever the clock does") {
  IcmpErrorLimit limit(10, 3, 1'000, 5'000);
  const auto taken = [&limit](std::uint64_t now) {
    int count = 0;
    while (limit.take(now)) ++count;
    return count;
  };
  CHECK(taken(5'000) == 3);
  CHECK(taken(5'099) == 0);
  CHECK(taken(5'100) == 1);
  CHECK(taken(5'350) == 2);
  CHECK(taken(5'399) == 0);
  CHECK(taken(5'400) == 1);  // what was over at 5,350 is not lost
  CHECK(taken(0) == 0);
  CHECK(taken(5'499) == 0);
  CHECK(taken(5'500) == 1);
  CHECK(taken(UINT64_MAX) == 3);
  CHECK(taken(UINT64_MAX) == 0);

  int sum = 0;
  IcmpErrorLimit steady(100, 10, 1'000'000'000, 0);
  for (std::uint64_t now = 0; now < 10'000'000'000; now += 777'777) sum += steady.take(now) ? 1 : 0;
  CHECK(sum >= 1'008);
  CHECK(sum <= 1'010);

  // A pause fills the bucket whole, also where the rate does not divide it.
  IcmpErrorLimit odd(7, 3, 1'000, 0);
  for (const std::uint64_t now : {std::uint64_t{0}, std::uint64_t{1'000'000}, UINT64_MAX}) {
    for (int i = 0; i < 3; ++i) CHECK(odd.take(now));
    CHECK(!odd.take(now));
  }

  IcmpErrorLimit none(0, 2, 1'000, 0);
  CHECK(none.take(0));
  CHECK(none.take(1'000'000));
  CHECK(!none.take(UINT64_MAX));
  IcmpErrorLimit extreme(UINT32_MAX, UINT16_MAX, UINT64_MAX, 0);
  CHECK(extreme.take(0));
  CHECK(extreme.take(UINT64_MAX));
  IcmpErrorLimit shut(UINT32_MAX, 0, 0, 0);
  CHECK(!shut.take(UINT64_MAX));
}
