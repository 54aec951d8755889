// SPDX-License-Identifier: Apache-2.0
// A reflector and a thousand subscribers in one process, on simulated wires: what grows with what.
#include <memory>
#include <vector>

#include "../routing/site.hpp"
#include "figures.hpp"

using namespace ironcore;
using namespace ironcore::routing;
using namespace std::chrono_literals;

namespace {

constexpr std::uint32_t vnis = 100;
constexpr std::uint32_t routes_per_vni = 1'000;
constexpr std::uint32_t vnis_per_subscriber = 10;

double run(std::size_t subscribers) {
  testing::Site site;
  site.add_reflector();
  const auto origin = site.add_speaker("origin", {0});
  std::vector<std::size_t> readers;
  for (std::size_t i = 0; i < subscribers; ++i) {
    readers.push_back(site.add_speaker("reader-" + std::to_string(i), {0}));
    for (std::uint32_t j = 0; j < vnis_per_subscriber; ++j)
      site.speaker(readers.back())
          .subscribe(*Vni::make(static_cast<std::uint32_t>((i * vnis_per_subscriber + j) % vnis)));
  }
  site.run(2s);
  std::vector<Route> routes;
  for (std::uint32_t i = 0; i < vnis * routes_per_vni; ++i) {
    Route route;
    route.vni = *Vni::make(i % vnis);
    route.destination = Prefix::host(IpAddress::v4(0x0a000000 + i));
    std::array<std::uint8_t, 16> hop{0xfd};
    std::copy_n(reinterpret_cast<const std::uint8_t*>(&i), sizeof i, hop.begin() + 8);
    route.next_hop = IpAddress::v6(hop);
    routes.push_back(route);
  }
  const SystemClock clock;
  const auto start = clock.now();
  bench::must(site.speaker(origin).announce(routes));
  const auto is_done = [&] {
    for (const auto reader : readers) {
      if (site.speaker(reader).learned_routes() != vnis_per_subscriber * routes_per_vni) return false;
    }
    return true;
  };
  if (!site.run_until(is_done, 60s)) bench::fail("not everybody has learned everything after a minute of virtual time");
  return static_cast<double>((clock.now() - start).count()) / 1e9;
}

}  // namespace

int main() {
  const double half = run(500);
  const double whole = run(1'000);
  bench::print("routing/scale/1000sub.s", whole, "s",
               R"("deliveries":10000000,"us_per_delivery":)" + std::to_string(whole / 10) + R"(,"500sub_s":)" +
                   std::to_string(half) + R"(,"rss_mb":)" + std::to_string(bench::resident_mb()));
  return 0;
}
