// SPDX-License-Identifier: Apache-2.0
// Sites in a ring, each a peer of its neighbours only: what is known where, that nothing goes round, and that nothing stays behind.
#include <doctest/doctest.h>

#include "site.hpp"

using namespace ironcore;
using namespace ironcore::routing;
using namespace ironcore::routing::testing;
using namespace std::chrono_literals;

namespace {

enum class Peers { both_neighbours, next_only };

/// So many sites of one reflector and one host each. Every host announces an address of its own and one that all share, and reads all.
struct Ring {
  explicit Ring(std::size_t count, Peers peers = Peers::both_neighbours) : size(count), reads(peers) {
    for (std::size_t i = 0; i < size; ++i) site.add_reflector({}, read_by(i));
    for (std::size_t i = 0; i < size; ++i) {
      hosts.push_back(site.add_speaker("host-" + std::to_string(i), {i}));
      site.speaker(hosts[i]).subscribe(net);
      announce(i, own(i));
      announce(i, shared(i));
    }
  }

  std::size_t next(std::size_t i) const { return (i + 1) % size; }
  std::size_t previous(std::size_t i) const { return (i + size - 1) % size; }
  std::vector<std::size_t> read_by(std::size_t i) const {
    if (reads == Peers::next_only) return {next(i)};
    return {previous(i), next(i)};
  }

  static std::string own(std::size_t i) {
    const auto number = std::to_string(i + 1);
    return "100#10.0.0." + number + "/32#fd00::" + number;
  }
  static std::string shared(std::size_t i) { return "100#192.0.2.1/32#fd00::" + std::to_string(i + 1); }

  void announce(std::size_t i, const std::string& text) {
    REQUIRE(site.speaker(hosts[i]).announce(route(text)).has_value());
    announced.insert({i, text});
  }
  void withdraw(std::size_t i, const std::string& text) {
    site.speaker(hosts[i]).withdraw(route(text));
    announced.erase({i, text});
  }

  /// What host i shall know now: of its neighbours, and no others.
  Texts expected(std::size_t i) const {
    Texts texts;
    for (const auto& [who, text] : announced) {
      if (std::ranges::count(read_by(i), who) != 0) texts.insert(text);
    }
    return texts;
  }
  bool is_right() {
    for (std::size_t i = 0; i < size; ++i) {
      if (site.speakers[hosts[i]]->speaker && table(site.speaker(hosts[i])) != expected(i)) return false;
    }
    return true;
  }
  /// What changed anywhere so far.
  std::vector<std::uint64_t> changes() {
    std::vector<std::uint64_t> numbers;
    for (std::size_t i = 0; i < size; ++i) {
      numbers.push_back(site.reflector(i).status().counters.changes);
      for (const auto& vni : site.reflector(i).vnis()) numbers.push_back(vni.sequence);
      numbers.push_back(site.speaker(hosts[i]).sequence(net));
    }
    return numbers;
  }

  Site site;
  std::size_t size;
  Peers reads;
  std::vector<std::size_t> hosts;
  std::set<std::pair<std::size_t, std::string>> announced;
};

}  // namespace

TEST_CASE("in a ring each site learns of its neighbours and no others, and nothing goes round") {
  for (const std::size_t size : {3, 4, 5, 8}) {
    for (const auto peers : {Peers::both_neighbours, Peers::next_only}) {
      CAPTURE(size);
      Ring ring(size, peers);
      REQUIRE(ring.site.run_until([&] { return ring.is_right(); }, 5s));
      ring.site.run(15s);
      CHECK(ring.is_right());
      for (std::size_t i = 0; i < size; ++i) {
        CHECK(ring.site.reflector(i).status().routes == 2);
        CHECK(ring.site.reflector(i).status().relayed_routes == 2 * ring.read_by(i).size());
        CHECK(ring.site.speaker(ring.hosts[i]).is_complete(net));
      }
      // Heartbeats of topics only: as many in each minute, and nothing changes.
      const auto before = ring.changes();
      const auto start = ring.site.wires.publications();
      ring.site.run(60s);
      const auto middle = ring.site.wires.publications();
      ring.site.run(60s);
      const auto of_a_minute = ring.site.wires.publications() - middle;
      CHECK(middle - start <= of_a_minute + size);
      CHECK(of_a_minute <= 60 * size * (2 + ring.read_by(0).size()) + size);
      CHECK(ring.changes() == before);
    }
  }
}

TEST_CASE(
    "in a ring a withdrawal, or a host's death, leaves no ghost at any site, nor what was cut off or down meanwhile") {
  for (const std::size_t size : {3, 4, 5}) {
    CAPTURE(size);
    Ring ring(size);
    auto& site = ring.site;
    REQUIRE(site.run_until([&] { return ring.is_right(); }, 5s));
    site.run(15s);

    ring.withdraw(0, Ring::shared(0));
    site.run(10ms);
    CHECK(ring.is_right());
    // It comes back, and flaps.
    for (int i = 0; i < 20; ++i) {
      ring.announce(0, Ring::shared(0));
      site.run(100us);
      ring.withdraw(0, Ring::shared(0));
      site.run(100us);
    }
    site.run(10ms);
    CHECK(ring.is_right());

    // A withdrawal that one neighbour cannot hear: it keeps the route as long as they are apart.
    site.wires.cut(site.reflectors[1]->peer_end, site.reflectors[2]->end);
    ring.withdraw(2, Ring::own(2));
    site.run(20s);
    CHECK(table(site.speaker(ring.hosts[1])).contains(Ring::own(2)));
    CHECK(!table(site.speaker(ring.hosts[(3) % size])).contains(Ring::own(2)));
    site.wires.mend_all();
    CHECK(site.run_until([&] { return ring.is_right(); }, 15s));

    // A withdrawal while the reflector of a neighbour is down.
    site.kill_reflector(0);
    ring.withdraw(1, Ring::own(1));
    site.run(5s);
    site.start_reflector(0);
    CHECK(site.run_until([&] { return ring.is_right(); }, 30s));

    // A host that dies.
    site.kill_speaker(ring.hosts[1]);
    ring.announced.erase({1, Ring::shared(1)});
    site.run(5s);
    CHECK(ring.is_right());

    for (const auto& [who, text] : std::set(ring.announced)) ring.withdraw(who, text);
    site.run(10ms);
    CHECK(ring.is_right());
    site.run(2min);
    CHECK(ring.is_right());
    for (std::size_t i = 0; i < size; ++i) {
      CHECK(site.reflector(i).status().routes == 0);
      CHECK(site.reflector(i).status().relayed_routes == 0);
    }
  }
}

TEST_CASE(
    "a route that two sites of a ring tell leaves by the newer word, and by one death only if the other site does not "
    "see the host") {
  Ring ring(4);
  auto& site = ring.site;
  const auto both = site.add_speaker("both", {0, 2});
  const std::string text = "100#10.0.9.9/32#fd00::99";
  const auto are_there = [&](bool at_1, bool at_3) {
    return table(site.speaker(ring.hosts[1])).contains(text) == at_1 &&
           table(site.speaker(ring.hosts[3])).contains(text) == at_3;
  };
  REQUIRE(site.speaker(both).announce(route(text)).has_value());
  REQUIRE(site.run_until([&] { return are_there(true, true); }, 5s));
  site.run(15s);
  const auto sequence = site.speaker(ring.hosts[1]).sequence(net);
  site.wires.cut(site.speakers[both]->end, site.reflectors[0]->end);
  site.run(10s);
  CHECK(site.reflector(0).status().counters.deaths == 1);
  CHECK(are_there(true, true));
  CHECK(site.speaker(ring.hosts[1]).sequence(net) == sequence);
  site.wires.mend_all();
  site.run(10s);
  CHECK(site.reflector(0).status().routes == 3);
  // Withdrawn towards one of them only: that is newer than what the other one has.
  site.wires.cut(site.speakers[both]->end, site.reflectors[0]->end);
  site.speaker(both).withdraw(route(text));
  site.run(10ms);
  CHECK(are_there(false, false));
  site.wires.mend_all();
  site.run(2min);
  CHECK(are_there(false, false));
  CHECK(site.reflector(0).status().routes == 2);
}
