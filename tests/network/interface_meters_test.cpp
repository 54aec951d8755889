// SPDX-License-Identifier: Apache-2.0
// What an interface's rates let through, by colour.
#include "dataplane/interface_meters.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <string>

#include "hosts.hpp"

using namespace ironcore;
using namespace ironcore::network;
using namespace ironcore::network::tests;

namespace {

constexpr const char* outside = "198.51.100.7";
constexpr std::size_t packet_bytes = 1000;

/// Packets by colour.
using Packets = std::array<std::uint64_t, colors>;

/// Two machines and a way to the public; what they send to each other has 1,000 bytes.
struct MeteredHost : Host {
  MeteredHost() : Host(1) {
    add(1, "10.0.0.1");
    add(2, "10.0.0.2");
    change({route("0.0.0.0/0", {other_host().to_text()})});
  }
  void limit(const MeterRates& total, const MeterRates& of_public = {}) {
    auto limited = desired.interfaces().at({"m1"});
    limited.total = total;
    limited.public_traffic = of_public;
    change({limited});
  }
  /// How many pass of so many that come at once.
  std::size_t send_out(std::size_t count, std::string_view to = "10.0.0.2") {
    const auto packet = v4(udp(1, 2, Bytes(packet_bytes - 28)), {.source = "10.0.0.1", .destination = to});
    return passed(count, [&] { return from_machine(1, packet); });
  }
  std::size_t send_in(std::size_t count) {
    const auto packet = v4(udp(3, 4, Bytes(packet_bytes - 28)), {.source = "10.0.0.2", .destination = "10.0.0.1"});
    return passed(count, [&] { return from_machine(2, packet); });
  }
  std::size_t send_in_from_public(std::size_t count) {
    const auto packet = v4(udp(5, 6, Bytes(packet_bytes - 28)), {.source = outside, .destination = "10.0.0.1"});
    return passed(count, [&] { return from_wire(wire_frame(other_host(), underlay_of(1), packet)); });
  }
  MeterCounters said(Way way, bool is_public) const {
    const auto& view = *snapshots.newest().interfaces[compiler.interface_index("m1")];
    return view.meter_tally->get(way, is_public);
  }

 private:
  template <class Send>
  static std::size_t passed(std::size_t count, Send send) {
    std::size_t out = 0;
    for (std::size_t i = 0; i < count; ++i) {
      const auto drop = send().drop;
      CHECK((drop == Drop::none || drop == Drop::rate));
      out += drop == Drop::none ? 1 : 0;
    }
    return out;
  }
};

/// 1,000 packets a second committed, 500 beside them, and as many at once.
MeterRates two_rates() {
  MeterRates out;
  out.egress = out.ingress = 8'000'000;
  out.burst = {.egress = 100'000, .ingress = 100'000};
  out.excess = {.egress = 4'000'000, .ingress = 4'000'000};
  out.excess_burst = {.egress = 70'000, .ingress = 70'000};
  return out;
}

}  // namespace

TEST_CASE("an interface with two rates lets its committed and its excess bursts through, and then its rates") {
  MeteredHost host;
  host.limit(two_rates());
  const auto check = [&](Way way, auto send) {
    CHECK(send(300) == 170);
    CHECK(host.said(way, false).packets == Packets{100, 70, 130});
    CHECK(host.said(way, false).bytes == Packets{100'000, 70'000, 130'000});
    // A tenth of a second brings 100,000 and 50,000 bytes: each bucket has its own rate (RFC 4115).
    host.now_ns += second / 20;
    CHECK(send(100) == 75);
    CHECK(host.said(way, false).packets == Packets{150, 95, 155});
  };
  SUBCASE("egress") {
    check(Way::egress, [&](std::size_t count) { return host.send_out(count); });
    CHECK(host.said(Way::ingress, false) == MeterCounters());
  }
  SUBCASE("ingress") {
    check(Way::ingress, [&](std::size_t count) { return host.send_in(count); });
    CHECK(host.said(Way::egress, false) == MeterCounters());
  }
}

TEST_CASE("without an excess rate, what the committed rate leaves unused fills the excess burst") {
  MeteredHost host;
  auto rates = two_rates();
  rates.excess = {};
  host.limit(rates);
  CHECK(host.send_out(300) == 170);
  // 120 packets' worth: 100 for the one bucket, 20 for the other.
  host.now_ns += 120 * second / 1000;
  CHECK(host.send_out(200) == 120);
  CHECK(host.said(Way::egress, false).packets == Packets{200, 90, 210});
}

TEST_CASE("public traffic has rates of its own within those of all traffic, both ways") {
  MeteredHost host;
  auto of_public = two_rates();
  of_public.burst = {.egress = 80'000, .ingress = 80'000};
  MeterRates total = two_rates();
  total.egress = total.ingress = 16'000'000;
  total.burst = {.egress = 100'000, .ingress = 100'000};
  total.excess_burst = {.egress = 100'000, .ingress = 100'000};
  host.limit(total, of_public);
  SUBCASE("egress") {
    CHECK(host.send_out(200, outside) == 150);
    CHECK(host.said(Way::egress, true).packets == Packets{80, 70, 50});
    CHECK(host.said(Way::egress, false).packets == Packets{100, 50, 0});
    // The rest of the total is left to others.
    CHECK(host.send_out(100) == 50);
    CHECK(host.said(Way::egress, true).packets == Packets{80, 70, 50});
    CHECK(host.said(Way::egress, false).packets == Packets{100, 100, 50});
  }
  SUBCASE("ingress") {
    CHECK(host.send_in_from_public(200) == 150);
    CHECK(host.said(Way::ingress, true).packets == Packets{80, 70, 50});
    CHECK(host.send_in(100) == 50);
    CHECK(host.said(Way::ingress, false).packets == Packets{100, 100, 50});
  }
}

TEST_CASE("one number for a direction means what it always did") {
  MeteredHost host;
  host.limit({.egress = 8000});
  CHECK(host.send_out(300) == 262);  // twice 128 KiB
  CHECK(host.send_in(300) == 300);
  CHECK(host.said(Way::egress, false).packets == Packets{131, 131, 38});
  host.now_ns += second;
  CHECK(host.send_out(3) == 1);
}

TEST_CASE("colours are counted over a change of the rates, and until the interface goes") {
  MeteredHost host;
  host.limit(two_rates());
  CHECK(host.send_out(10) == 10);
  auto more = two_rates();
  more.egress *= 2;
  host.limit(more);
  CHECK(host.send_out(10) == 10);
  CHECK(host.said(Way::egress, false).packets == Packets{20, 0, 0});
  host.limit({});
  CHECK(host.send_out(1000) == 1000);
  CHECK(host.said(Way::egress, false).packets == Packets{20, 0, 0});
}

TEST_CASE("a packet's colour is explained") {
  MeteredHost host;
  host.limit(two_rates());
  const auto explain = [&] {
    const std::uint32_t port = first_machine_port + 1;
    const auto frame =
        ethernet(port_mac(port), machine_mac(1),
                 v4(udp(1, 2, Bytes(packet_bytes - 28)), {.source = "10.0.0.1", .destination = "10.0.0.2"}));
    Bytes memory = Bytes(128) + frame + Bytes(100);
    Packet packet;
    packet.frame = memory.data() + 128;
    packet.bytes = packet.frame_bytes = static_cast<std::uint32_t>(frame.size());
    packet.headroom = 128;
    packet.room = static_cast<std::uint32_t>(memory.size() - 128);
    packet.port = port;
    const auto told = host.worker.explain(packet, host.now * second + host.now_ns);
    const auto step =
        std::find_if(told.steps.begin(), told.steps.end(), [](const auto& one) { return one.stage == "rates"; });
    REQUIRE(step != told.steps.end());
    CHECK((told.drop == Drop::rate) == (step->text.find("red") != std::string::npos));
    return step->text;
  };
  CHECK(explain() == "egress of the sender is green: the committed rate has room for it");
  host.send_out(99);
  CHECK(explain() == "egress of the sender is yellow: beyond the committed rate, but the excess has room for it");
  host.send_out(100);
  CHECK(explain() == "egress of the sender is red: beyond its rates");
}
