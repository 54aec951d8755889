// SPDX-License-Identifier: Apache-2.0
// Random announcements, faults and restarts against a plain model of what must be installed.
#include <array>
#include <cstdlib>
#include <optional>

#include "applier_site.hpp"

using namespace ironcore;
using namespace ironcore::routing;
using namespace ironcore::routing::testing;
using namespace std::chrono_literals;

namespace {

const std::array<Vni, 3> nets{*Vni::make(1), *Vni::make(2), *Vni::make(3)};

/// All that is announced, by host, so that what must be installed can be said in a few lines.
Installed model(const std::vector<std::set<Route>>& announced, const std::set<Vni>& subscribed) {
  Installed expected;
  std::map<std::tuple<Vni, Prefix, RouteType, PortRange>, std::uint32_t> highest;
  for (const auto& routes : announced)
    for (const auto& of : routes) {
      auto& mobility = highest[{of.vni, of.destination, of.type, of.nat_ports}];
      mobility = std::max(mobility, of.mobility);
    }
  for (const auto& routes : announced)
    for (const auto& of : routes) {
      if (!subscribed.contains(of.vni) || of.mobility != highest.at({of.vni, of.destination, of.type, of.nat_ports}))
        continue;
      expected[of.vni.to_text() + "#" + of.destination.to_text()].insert(
          to_text(ForwardingHop{of.next_hop, of.type, of.nat_ports, of.target_vni, of.weight}));
    }
  return expected;
}

bool is_same_route(const Route& a, const Route& b) {
  return a.vni == b.vni && a.destination == b.destination && a.type == b.type && a.next_hop == b.next_hop &&
         a.nat_ports == b.nat_ports;
}

struct Run {
  explicit Run(std::uint64_t seed)
      : dice(seed),
        site(seed,
             {.reads_per_call = 1 + dice.below(40), .changes_per_call = 1 + dice.below(10), .leftover_time = 5s}) {
    for (std::size_t i = 0; i < announced.size(); ++i) hosts[i] = site.add_speaker("host-" + std::to_string(i), {0});
    site.table.on_change([this](const auto& place, const auto&, const auto& after) { changed(place, after); });
    site.before_advance = [this] {
      const auto& reader = site.speaker(site.reader);
      for (const auto vni : subscribed) {
        if (reader.is_complete(vni) && !reader.is_stale(vni)) complete.insert(vni);
      }
    };
    for (const auto vni : nets) subscribe(vni);
  }

  bool chance(std::uint32_t in) { return dice.below(in) == 0; }

  void subscribe(Vni vni) {
    subscribed.insert(vni);
    site.speaker(site.reader).subscribe(vni);
    // What is still there of an earlier subscription was to leave already.
    std::erase_if(left, [&](const auto& place) { return place.first == vni; });
  }

  /// A prefix leaves only when nobody is known to have it; one of before only when all that exists is or was known.
  void changed(const sim::ForwardingTable::Place& place, const sim::ForwardingTable::Hops& after) {
    if (!after.empty()) return;
    ++removals;
    if (!subscribed.contains(place.first)) return;
    const bool may_leave = complete.contains(place.first) || !left.contains(place);
    CHECK_MESSAGE(may_leave, place.second.to_text() << " left before its VNI was known");
    for (const auto& learned : site.speaker(site.reader).routes(place.first))
      CHECK_MESSAGE(learned.route.destination != place.second, to_text(learned.route) << " is known");
  }

  Route random_route() {
    Route made{.vni = nets[dice.below(nets.size())],
               .destination = Prefix::host(IpAddress::v4(0x0a000000 + dice.below(12))),
               .next_hop = IpAddress::parse("fd00::" + std::to_string(1 + dice.below(5))).value()};
    if (chance(4)) made.type = RouteType::load_balancer_target;
    if (chance(4)) {
      made.type = RouteType::nat;
      made.nat_ports = chance(2) ? PortRange{1024, 2047} : PortRange{2048, 4095};
    }
    // What several hosts say of the same hop is the same, so that the model need not know which of them counts.
    made.weight = static_cast<std::uint8_t>(1 + made.next_hop.bytes().back() % 3);
    made.mobility = dice.below(3);
    return made;
  }

  void step() {
    switch (dice.below(16)) {
      case 0:
        site.table.fail(1 + dice.below(20), chance(3)   ? ErrorCode::timeout
                                            : chance(2) ? ErrorCode::exhausted
                                                        : ErrorCode::unavailable);
        break;
      case 1: {
        const auto like = random_route();
        site.table.set_missing(like.vni, like.destination);
        break;
      }
      case 2:
        site.table.set_most_per_call(dice.below(4));
        break;
      case 3:
        site.table.fail_listing(dice.below(3));
        site.applier->relist();
        break;
      case 4:
        if (chance(2)) site.table.heal();
        break;
      case 5:
        if (chance(3)) restart();
        break;
      case 6: {
        const auto vni = nets[dice.below(nets.size())];
        if (subscribed.erase(vni) != 0) {
          site.speaker(site.reader).unsubscribe(vni);
        } else {
          subscribe(vni);
        }
        break;
      }
      case 7:
        if (chance(4)) {
          site.kill_reflector(0);
          site.pass(std::chrono::milliseconds(dice.below(3000)));
          site.start_reflector(0);
        }
        break;
      default:
        change(dice.below(static_cast<std::uint32_t>(announced.size())));
    }
    site.pass(std::chrono::milliseconds(dice.below(120)));
  }

  void change(std::size_t host) {
    auto& routes = announced[host];
    for (auto i = dice.below(chance(6) ? 80 : 8); i > 0; --i) {
      if (!routes.empty() && chance(2)) {
        const auto which = std::next(routes.begin(), dice.below(static_cast<std::uint32_t>(routes.size())));
        site.speaker(hosts[host]).withdraw(*which);
        routes.erase(which);
        continue;
      }
      const auto made = random_route();
      std::erase_if(routes, [&](const Route& other) { return is_same_route(made, other); });
      routes.insert(made);
      REQUIRE(site.speaker(hosts[host]).announce(made));
    }
  }

  /// Of the applier alone, or of all that the host runs.
  void restart() {
    if (chance(2)) {
      site.start_applier();
    } else {
      site.kill_reader();
      site.pass(std::chrono::milliseconds(dice.below(500)));
      site.start_reader({subscribed.begin(), subscribed.end()});
    }
    // What is there now stays until its VNI is known completely.
    complete.clear();
    left.clear();
    for (const auto& [place, hops] : site.table.entries()) left.insert(place);
  }

  SeededRandom dice;
  ApplierSite site;
  std::vector<std::set<Route>> announced{4};
  std::array<std::size_t, 4> hosts{};
  std::set<Vni> subscribed;
  std::set<Vni> complete;                      ///< that were, since the applier was started
  std::set<sim::ForwardingTable::Place> left;  ///< that were there then, of VNIs that stay subscribed
  std::size_t removals = 0;
};

}  // namespace

TEST_CASE(
    "after any changes, faults and restarts the table is what is announced, and no prefix was without a hop that it "
    "had") {
  std::size_t removals = 0;
  for (std::uint64_t seed = 1; seed <= 60; ++seed) {
    CAPTURE(seed);
    Run run(seed);
    for (int i = 0; i < 150; ++i) run.step();
    run.site.table.heal();
    const auto expected = model(run.announced, run.subscribed);
    const auto is_as_expected = run.site.pass_until([&] { return run.site.installed() == expected; }, 2min);
    CHECK(is_as_expected);
    if (!is_as_expected) CHECK(run.site.installed() == expected);
    run.site.pass(1min);
    CHECK(run.site.installed() == expected);
    const auto status = run.site.applier->status();
    CHECK(status.wanted == expected.size());
    CHECK(status.installed == expected.size());
    CHECK(status.parked + status.failing + status.pending == 0);
    CHECK_FALSE(status.error);
    removals += run.removals;
  }
  CHECK(removals > 1000);
}
