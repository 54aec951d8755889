// SPDX-License-Identifier: Apache-2.0
// Addresses that move between hosts: where they end, and what readers know meanwhile.
#include <doctest/doctest.h>

#include <limits>
#include <map>
#include <random>

#include "site.hpp"

using namespace ironcore;
using namespace ironcore::routing;
using namespace ironcore::routing::testing;
using namespace std::chrono_literals;

namespace {

constexpr std::string_view address = "100#192.0.2.1/32#fd00::";

/// The address at host `host`, after so many moves.
Route place(std::size_t host, std::uint32_t moves) {
  return route(std::string(address) + std::to_string(host + 1) + ",mobility=" + std::to_string(moves));
}

/// What one speaker knows of the address, followed as one does that installs it.
class Reader {
 public:
  Reader(Site& site, std::size_t number) : site_(site), number_(number) { site.speaker(number).subscribe(net); }

  void look() {
    const auto& speaker = site_.speaker(number_);
    const auto next = speaker.changes(net, after_, std::numeric_limits<std::size_t>::max(),
                                      [this](const LearnedRoute& learned) { take(learned); });
    if (next) {
      after_ = *next;
      return;
    }
    known_.clear();
    for (const auto& learned : speaker.routes(net)) take(learned);
    after_ = speaker.sequence(net);
  }
  bool has_nothing() const { return known_.empty(); }
  bool knows(std::uint32_t move) const {
    return std::ranges::any_of(known_, [&](const auto& one) { return one.second == move; });
  }
  /// The latest move that it ever knew.
  std::uint32_t latest() const { return latest_; }
  std::size_t number() const { return number_; }

 private:
  void take(const LearnedRoute& learned) {
    REQUIRE(learned.what != LearnedRoute::What::origin_gone);
    if (learned.route.destination != *Prefix::parse("192.0.2.1/32")) return;
    if (learned.what == LearnedRoute::What::withdrawn) {
      known_.erase(learned.route.next_hop);
      return;
    }
    known_[learned.route.next_hop] = learned.route.mobility;
    latest_ = std::max(latest_, learned.route.mobility);
  }

  Site& site_;
  std::size_t number_;
  std::uint64_t after_ = 0;
  std::map<IpAddress, std::uint32_t> known_;
  std::uint32_t latest_ = 0;
};

/// Two sites, the first one with two reflectors; hosts of both that have the address in turn, readers of both, and hosts that announce and withdraw other
/// routes all the time.
struct Moving {
  explicit Moving(std::uint64_t seed, sim::WireFaults faults) : random(seed), site(seed, faults) {
    site.add_reflector({}, {2});
    site.add_reflector({}, {2});
    site.add_reflector({}, {0, 1});
    const std::vector<std::size_t> near{0, 1};
    const std::vector<std::size_t> far{2};
    for (const auto& reflectors : {near, near, far, far})
      hosts.push_back(site.add_speaker("host-" + std::to_string(hosts.size()), reflectors));
    for (const auto& reflectors : {near, far})
      others.push_back(site.add_speaker("other-" + std::to_string(others.size()), reflectors));
    for (const auto& reflectors : {near, near, far})
      readers.emplace_back(site, site.add_speaker("reader-" + std::to_string(readers.size()), reflectors));
    for (const auto host : hosts) site.speaker(host).subscribe(net);
    for (std::size_t i = 0; i < others.size(); ++i)
      traffic.push_back(numbered("100#10.0.0.1/32#fd00::77:" + std::to_string(i + 1), 4'000));
    REQUIRE(site.speaker(hosts[0]).announce(place(0, 1)).has_value());
    REQUIRE(site.run_until(
        [&] {
          return std::ranges::all_of(readers, [](auto& reader) {
            reader.look();
            return reader.knows(1);
          });
        },
        10s));
  }

  std::size_t pick(std::size_t below) { return random() % below; }
  std::size_t another(std::size_t host) { return (host + 1 + pick(hosts.size() - 1)) % hosts.size(); }

  /// Time passes in which others announce and withdraw, mostly little.
  void step(Duration span) {
    for (std::size_t i = 0; i < others.size(); ++i) {
      auto& speaker = site.speaker(others[i]);
      const auto count = pick(1'000) == 0 ? 2'000 : 1 + pick(4);
      const auto from = pick(traffic[i].size() - count);
      const std::span some(traffic[i].data() + from, count);
      if (pick(2) == 0)
        speaker.withdraw(some);
      else
        REQUIRE(speaker.announce(some).has_value());
    }
    site.run(span);
    for (auto& reader : readers) reader.look();
  }

  /// Everybody knows where it is, and nothing else, also of the other traffic.
  void require_the_end(std::size_t host, std::uint32_t move) {
    Texts all{to_text(place(host, move))};
    for (const auto other : others) {
      for (const auto& one : site.speaker(other).announced()) all.insert(to_text(one));
    }
    CHECK(all.size() > 1'000);
    for (auto& reader : readers) {
      const bool is_there = site.run_until([&] { return table(site.speaker(reader.number())) == all; }, 10s);
      CHECK(is_there);
    }
  }

  std::mt19937_64 random;
  Site site;
  std::vector<std::size_t> hosts;
  std::vector<std::size_t> others;
  std::vector<std::vector<Route>> traffic;
  std::vector<Reader> readers;
};

}  // namespace

TEST_CASE("an address that moves 1,000 times while others announce is never without a next hop if it leaves later") {
  Moving moving(1, {.least_delay = 50us, .most_delay = 500us});
  std::size_t at = 0;
  std::uint32_t move = 1;
  while (move <= 1'000) {
    const auto to = moving.another(at);
    REQUIRE(moving.site.speaker(moving.hosts[to]).take_over(place(to, 0)).has_value());
    ++move;
    // Longer than the way to the reader that is farthest, then the old host comes to it.
    const auto steps = 10 + moving.pick(5);
    for (std::size_t i = 0; i < 2 * steps; ++i) {
      if (i == steps) moving.site.speaker(moving.hosts[at]).withdraw(place(at, 0));
      moving.step(300us);
      for (const auto& reader : moving.readers) {
        REQUIRE(!reader.has_nothing());
        REQUIRE((reader.latest() < move || reader.knows(move)));
        REQUIRE((i < steps || reader.knows(move)));
      }
    }
    for (const auto& reader : moving.readers) REQUIRE(!reader.knows(move - 1));
    at = to;
  }
  moving.require_the_end(at, move);
  for (const auto& reader : moving.readers) CHECK(moving.site.speaker(reader.number()).status().resyncs == 0);
}

TEST_CASE(
    "an address that moves 1,000 times, in any order and with faults, is known where it was once seen, and ends "
    "there") {
  Moving moving(2, {.least_delay = 50us, .most_delay = 2ms, .lost = 10, .doubled = 10, .disordered = 50});
  std::size_t at = 0;
  std::uint32_t move = 1;
  std::set<std::uint32_t> standing{1};  // moves whose host announces the address yet
  std::size_t checks = 0;
  while (move <= 1'000) {
    const auto to = moving.another(at);
    const auto steps = 6 + moving.pick(20);
    const auto arrives = moving.pick(6);
    const auto leaves = moving.pick(6);
    const auto reader_stops = moving.pick(20) == 0;
    for (std::size_t i = 0; i < steps; ++i) {
      if (i == leaves) {
        moving.site.speaker(moving.hosts[at]).withdraw(place(at, move));
        standing.erase(move);
      }
      if (i == arrives) {
        REQUIRE(moving.site.speaker(moving.hosts[to]).announce(place(to, move + 1)).has_value());
        standing.insert(move + 1);
      }
      if (i == 0 && reader_stops) {
        const auto number = moving.readers[moving.pick(moving.readers.size())].number();
        moving.site.stop(*moving.site.speakers[number], std::chrono::milliseconds(moving.pick(100)));
      }
      if (i == 0 && move % 250 == 0) {
        moving.site.kill_reflector(move % 3);
        moving.site.start_reflector(move % 3);
      }
      moving.step(1ms);
      for (const auto& reader : moving.readers) {
        if (!standing.contains(reader.latest())) continue;
        ++checks;
        REQUIRE(reader.knows(reader.latest()));
      }
    }
    ++move;
    at = to;
  }
  CHECK(checks > 10'000);
  moving.site.wires.set_faults({});
  moving.require_the_end(at, move);
}
