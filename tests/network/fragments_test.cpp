// SPDX-License-Identifier: Apache-2.0
// Later fragments follow their first one, and nobody else's.
#include "dataplane/fragments.hpp"

#include <doctest/doctest.h>

#include "packets.hpp"

using namespace ironcore::network::dataplane;
using namespace ironcore::tests;

namespace {

constexpr std::uint16_t more = 0x2000;

struct Fragment {
  Bytes bytes;
  Headers headers;
  explicit Fragment(Bytes packet) : bytes(std::move(packet)) {
    REQUIRE(parse(bytes, bytes.size(), headers) == Malformed::none);
    REQUIRE(headers.is_fragment);
  }
};

Bytes with_id(Bytes packet, std::uint16_t id) {
  put16(packet, 4, id);
  put16(packet, 10, 0);
  put16(packet, 10, checksum_of({packet.begin(), packet.begin() + 20}));
  return packet;
}
Fragment first_v4(std::uint16_t id, std::uint16_t port = 1000, V4 with = {}) {
  with.fragment = more;
  auto datagram = udp(port, 53, Bytes(8));
  put16(datagram, 4, 100);  // the length of all of it
  return Fragment(with_id(v4(datagram, with), id));
}
Fragment later_v4(std::uint16_t id, V4 with = {}) {
  with.fragment = 2;
  return Fragment(with_id(v4(Bytes(16), with), id));
}

struct Table {
  Fragments fragments{64, 7};
  bool track(Fragment& fragment, Tick now = 100, FlowScope scope = FlowScope::machine(1)) {
    return fragments.track(scope, fragment.bytes.data(), fragment.headers, now);
  }
};

}  // namespace

TEST_CASE("a later fragment gets protocol and ports of its first one") {
  Table table;
  auto later = later_v4(1);
  CHECK_FALSE(table.track(later));
  auto first = first_v4(1);
  CHECK(table.track(first));
  CHECK(first.headers.source_port == 1000);
  CHECK(table.track(later));
  CHECK(later.headers.source_port == 1000);
  CHECK(later.headers.destination_port == 53);
  CHECK(later.headers.protocol == protocol_udp);
}

TEST_CASE("one of another datagram, protocol, address, machine or wire does not") {
  Table table;
  auto first = first_v4(1);
  CHECK(table.track(first));
  auto same = later_v4(1);
  auto id = later_v4(2);
  auto protocol = later_v4(1, {.protocol = protocol_tcp});
  auto source = later_v4(1, {.source = "10.0.0.3"});
  auto destination = later_v4(1, {.destination = "10.0.0.3"});
  const std::array<std::uint8_t, 8> suffix = {1};
  CHECK_FALSE(table.track(id));
  CHECK_FALSE(table.track(protocol));
  CHECK_FALSE(table.track(source));
  CHECK_FALSE(table.track(destination));
  CHECK_FALSE(table.track(same, 100, FlowScope::machine(2)));
  CHECK_FALSE(table.track(same, 100, FlowScope::wire(suffix.data())));
  CHECK(table.track(same));
}

TEST_CASE("of two first fragments the newer one counts") {
  Table table;
  auto first = first_v4(1, 1000);
  auto again = first_v4(1, 2000);
  CHECK(table.track(first));
  CHECK(table.track(again));
  CHECK(again.headers.source_port == 2000);
  auto later = later_v4(1);
  CHECK(table.track(later));
  CHECK(later.headers.source_port == 2000);
}

TEST_CASE("a first fragment is forgotten after its lifetime, whatever the time is") {
  for (const Tick start : {Tick{0}, Tick{0xff'fff0}, Tick{0xffff'fff0}}) {
    Table table;
    auto first = first_v4(1);
    auto later = later_v4(1);
    CHECK_FALSE(table.track(later, start));
    CHECK(table.track(first, start));
    CHECK(table.track(later, start + Fragments::lifetime - 1));
    CHECK_FALSE(table.track(later, start + Fragments::lifetime));
    CHECK(table.track(first, start + Fragments::lifetime));
    CHECK(table.track(later, start + Fragments::lifetime + 1));
  }
}

TEST_CASE("in IPv6 a later fragment may name an extension header where the first one goes on behind it") {
  Table table;
  const auto first_bytes =
      v6(v6_fragment(60, 0, true) + extension(protocol_udp) + udp(1000, 53, Bytes(8)), {.next_header = 44});
  Fragment first(first_bytes);
  CHECK(first.headers.protocol == protocol_udp);
  Fragment later(v6(v6_fragment(60, 24, false) + Bytes(16), {.next_header = 44}));
  CHECK(table.track(first));
  CHECK(table.track(later));
  CHECK(later.headers.protocol == protocol_udp);
  CHECK(later.headers.source_port == 1000);
}

TEST_CASE("those who flood push out their own datagrams, not other senders'") {
  Table table;
  const std::array<std::uint8_t, 8> suffix = {1};
  const FlowScope quiet[] = {FlowScope::machine(2), FlowScope::machine(3), FlowScope::wire(suffix.data())};
  for (const auto& scope : quiet) {
    for (std::uint16_t id = 0; id < 3; ++id) {
      auto first = first_v4(id, static_cast<std::uint16_t>(id + 1));
      CHECK(table.track(first, 100, scope));
    }
  }
  for (std::uint16_t id = 0; id < 10'000; ++id) {
    auto first = first_v4(id);
    CHECK(table.track(first, 101, FlowScope::machine(4 + id % 2U)));
  }
  int known = 0;
  for (const auto& scope : quiet) {
    for (std::uint16_t id = 0; id < 3; ++id) {
      auto later = later_v4(id);
      if (!table.track(later, 102, scope)) continue;
      ++known;
      CHECK(later.headers.source_port == id + 1);
    }
  }
  CHECK(known == 9);
}

TEST_CASE("a flood of datagrams takes no more memory, and leaves the newest ones") {
  Table table;
  for (std::uint16_t id = 0; id < 10'000; ++id) {
    auto first = first_v4(id, static_cast<std::uint16_t>(id + 1));
    CHECK(table.track(first, 100 + id / 1000U));
    auto later = later_v4(id);
    REQUIRE(table.track(later, 100 + id / 1000U));
    REQUIRE(later.headers.source_port == id + 1);
  }
}
