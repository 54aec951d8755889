// SPDX-License-Identifier: Apache-2.0
// Whole sites of speakers and reflectors on wires that lose, double, delay and cut, with parts that crash and stall, checked against invariants.
//
// routing_sim [SEEDS [FIRST]]   runs SEEDS seeds from FIRST on (200 from 1; IRONCORE_SIM_SEEDS gives another number)
#include <cstdio>
#include <cstdlib>
#include <map>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "../routing/site.hpp"

using namespace ironcore;
using namespace ironcore::routing;
using namespace std::chrono_literals;
using ironcore::routing::testing::Site;

namespace {

struct Broken {
  std::string what;
};
void require(bool holds, const std::string& what) {
  if (!holds) throw Broken{what};
}

constexpr std::uint32_t first_vni = 100;
constexpr Duration heartbeat = 1s;

/// A route, and who announces it.
using Known = std::set<std::pair<std::string, OriginId>>;

class Chaos {
 public:
  explicit Chaos(std::uint64_t seed) : random_(seed), site_(seed) {
    is_calm_ = pick(4) == 0;
    vnis_ = static_cast<std::uint32_t>(1 + pick(3));
    lay_out();
    const auto hosts = 3 + pick(3);
    for (std::size_t i = 0; i < hosts; ++i) {
      home_.push_back(pick(reflectors_.size()));
      const auto number = site_.add_speaker("host-" + std::to_string(i), reflectors_[home_.back()]);
      wanted_.emplace_back();
      for (std::uint32_t vni = 0; vni < vnis_; ++vni) {
        if (pick(4) > 0) subscribe(number, vni);
      }
    }
  }

  void run() {
    // Host 0 of a calm run never fails, and what it announces first stays: nobody may ever lose it.
    for (std::uint32_t i = 0; i < 5; ++i) {
      const auto one = route(0, static_cast<std::uint32_t>(pick(vnis_)), 1000 + i, 1);
      require(site_.speaker(0).announce(one).has_value(), "a route was refused");
      announced_[0].insert(to_text(one));
      lasting_.insert({to_text(one), origin_id("host-0")});
    }
    for (std::size_t i = 0; i < 4; ++i) act();
    site_.run(2s);
    const auto steps = 20 + pick(60);
    for (std::size_t i = 0; i < steps; ++i) {
      act();
      if (pick(3) == 0) fail();
      site_.run(std::chrono::milliseconds(pick(pick(4) == 0 ? 4'000 : 200)));
      check();
    }
    mend();
    settle();
  }

 private:
  std::size_t pick(std::size_t below) { return random_() % below; }

  /// One site, some that are all peers of each other, or a ring in which each is a peer of its neighbours.
  void lay_out() {
    const auto shape = pick(8);
    const bool is_ring = shape == 7;
    const std::size_t sites = shape < 4 ? 1 : shape < 6 ? 2 : shape == 6 ? 3 : 4 + pick(2);
    reflectors_.resize(sites);
    reads_.resize(sites);
    std::size_t next = 0;
    for (auto& reflectors : reflectors_) {
      const auto count = sites > 2 ? 1 : 1 + pick(2);
      for (std::size_t i = 0; i < count; ++i) reflectors.push_back(next++);
    }
    for (std::size_t i = 0; i < sites; ++i) {
      std::vector<std::size_t> peers;
      for (std::size_t j = 0; j < sites; ++j) {
        const bool is_neighbour = j == (i + 1) % sites || i == (j + 1) % sites;
        if (j != i && is_ring && !is_neighbour) continue;
        reads_[i].insert(j);
        if (j != i) peers.insert(peers.end(), reflectors_[j].begin(), reflectors_[j].end());
      }
      for (std::size_t k = 0; k < reflectors_[i].size(); ++k) site_.add_reflector({}, peers);
    }
  }

  Route route(std::size_t host, std::uint32_t vni, std::uint32_t address, std::size_t variant) {
    Route route;
    route.vni = *Vni::make(first_vni + vni);
    route.destination = Prefix::host(IpAddress::v4(0x0a000000 + address));
    route.next_hop = *IpAddress::parse("fd00::" + std::to_string(host + 1) + (variant % 5 == 4 ? ":1" : ":0"));
    route.weight = static_cast<std::uint8_t>(1 + variant % 3);
    if (variant % 7 == 6) {
      route.type = RouteType::nat;
      route.nat_ports = {1024, static_cast<std::uint16_t>(2047 + variant % 2)};
    }
    return route;
  }

  void subscribe(std::size_t host, std::uint32_t vni) {
    wanted_[host].insert(vni);
    site_.speaker(host).subscribe(*Vni::make(first_vni + vni));
  }

  /// What people do.
  void act() {
    const auto host = pick(site_.speakers.size());
    if (!site_.speakers[host]->speaker) return;
    auto& speaker = site_.speaker(host);
    const auto what = pick(100);
    if (what < 60) {
      const auto count = pick(10) == 0 ? 200 : 1 + pick(4);
      std::vector<Route> routes;
      for (std::size_t i = 0; i < count; ++i)
        routes.push_back(
            route(host, static_cast<std::uint32_t>(pick(vnis_)), static_cast<std::uint32_t>(pick(40)), pick(100)));
      for (const auto& one : routes) ever_.insert({to_text(one), origin_id(site_.speakers[host]->options.name)});
      require(speaker.announce(routes).has_value(), "routes were refused");
    } else if (what < 85) {
      auto own = speaker.announced();
      std::erase_if(own, [&](const Route& one) { return is_lasting(one); });
      if (own.empty()) return;
      const auto count = 1 + pick(std::min<std::size_t>(own.size(), 5));
      for (std::size_t i = 0; i < count; ++i) speaker.withdraw(own[pick(own.size())]);
    } else {
      const auto vni = static_cast<std::uint32_t>(pick(vnis_));
      if (wanted_[host].contains(vni)) {
        wanted_[host].erase(vni);
        speaker.unsubscribe(*Vni::make(first_vni + vni));
      } else {
        subscribe(host, vni);
      }
    }
  }

  bool is_lasting(const Route& one) const { return lasting_.contains({to_text(one), origin_id("host-0")}); }

  /// What goes wrong.
  void fail() {
    const auto host = (is_calm_ ? 1 : 0) + pick(site_.speakers.size() - (is_calm_ ? 1 : 0));
    const auto reflector = pick(site_.reflectors.size());
    switch (pick(10)) {
      case 0:
        if (site_.speakers[host]->speaker) {
          if (pick(3) == 0) {
            site_.speaker(host).close(pick(2) == 0 ? Speaker::Leave::leaving : Speaker::Leave::coming_back);
            site_.run(std::chrono::milliseconds(pick(50)));
          }
          site_.kill_speaker(host);
        }
        break;
      case 1:
      case 2:
        if (!site_.speakers[host]->speaker) start_host(host);
        break;
      case 3:
        if (site_.reflectors[reflector]->reflector && (!is_calm_ || others_run(reflector)))
          site_.kill_reflector(reflector);
        break;
      case 4:
      case 5:
        if (!site_.reflectors[reflector]->reflector) site_.start_reflector(reflector);
        break;
      case 6:
        if (is_calm_) break;
        site_.wires.cut(site_.speakers[host]->end, site_.reflectors[reflector]->end);
        if (pick(2) == 0)
          site_.wires.cut(site_.reflectors[pick(site_.reflectors.size())]->peer_end, site_.reflectors[reflector]->end);
        break;
      case 7:
        site_.wires.mend_all();
        break;
      case 8:
        if (pick(2) == 0)
          site_.stop(*site_.speakers[host], std::chrono::milliseconds(pick(10'000)));
        else if (!is_calm_)
          site_.stop(*site_.reflectors[reflector], std::chrono::milliseconds(pick(10'000)));
        site_.clock.set_wall(std::chrono::seconds(static_cast<int>(pick(100)) - 50));
        break;
      default:
        if (is_calm_) break;
        site_.wires.set_faults({.least_delay = 50us,
                                .most_delay = std::chrono::microseconds(100 + pick(100'000)),
                                .lost = static_cast<std::uint32_t>(pick(100)),
                                .doubled = static_cast<std::uint32_t>(pick(50)),
                                .disordered = static_cast<std::uint32_t>(pick(50))});
    }
  }

  /// In a calm run every site keeps a reflector that host 0 and everybody else can reach: the one that runs the longest.
  bool others_run(std::size_t reflector) const {
    for (const auto& of_site : reflectors_) {
      if (std::ranges::count(of_site, reflector) == 0) continue;
      return std::ranges::any_of(
          of_site, [&](std::size_t other) { return other != reflector && site_.reflectors[other]->reflector; });
    }
    return false;
  }

  void start_host(std::size_t host) {
    site_.start_speaker(host);
    for (const auto vni : std::exchange(wanted_[host], {})) subscribe(host, vni);
    had_[host].clear();
    std::vector<Route> routes;
    for (std::size_t i = pick(4); i > 0; --i)
      routes.push_back(
          route(host, static_cast<std::uint32_t>(pick(vnis_)), static_cast<std::uint32_t>(pick(40)), pick(100)));
    if (host == 0) {
      for (const auto& text : announced_[0]) routes.push_back(parse_route(text).value());
    }
    for (const auto& one : routes) ever_.insert({to_text(one), origin_id(site_.speakers[host]->options.name)});
    require(site_.speaker(host).announce(routes).has_value(), "routes were refused");
  }

  Known table(std::size_t host) {
    Known known;
    for (const auto vni : wanted_[host]) {
      for (const auto& learned : site_.speaker(host).routes(*Vni::make(first_vni + vni)))
        known.insert({to_text(learned.route), learned.origin});
    }
    return known;
  }

  void check() {
    for (std::size_t host = 0; host < site_.speakers.size(); ++host) {
      if (!site_.speakers[host]->speaker) continue;
      const auto known = table(host);
      const auto self = origin_id(site_.speakers[host]->options.name);
      for (const auto& one : known) {
        require(ever_.contains(one) || lasting_.contains(one),
                "a table has a route that nobody ever announced: " + one.first);
        require(one.second != self, "a host learned its own route: " + one.first);
      }
      if (!is_calm_) continue;
      Known lasting;
      for (const auto& one : known) {
        if (lasting_.contains(one)) lasting.insert(one);
      }
      for (const auto& one : had_[host]) {
        const auto vni = parse_route(one.first).value().vni.value() - first_vni;
        require(lasting.contains(one) || !wanted_[host].contains(vni) || !subscribed_since_check(host, vni),
                "host " + std::to_string(host) + " lost a route that was always there: " + one.first);
      }
      had_[host] = lasting;
      checked_wishes_[host] = wanted_[host];
    }
  }
  /// Whether it was subscribed at the last check too, and not only again.
  bool subscribed_since_check(std::size_t host, std::uint32_t vni) const {
    const auto found = checked_wishes_.find(host);
    return found != checked_wishes_.end() && found->second.contains(vni);
  }

  void mend() {
    site_.wires.mend_all();
    site_.wires.set_faults({});
    for (std::size_t i = 0; i < site_.reflectors.size(); ++i) {
      site_.reflectors[i]->stopped_until = {};
      site_.wires.pause(site_.reflectors[i]->end, {});
      if (!site_.reflectors[i]->reflector) site_.start_reflector(i);
    }
    for (std::size_t i = 0; i < site_.speakers.size(); ++i) {
      site_.speakers[i]->stopped_until = {};
      site_.wires.pause(site_.speakers[i]->end, {});
      if (!site_.speakers[i]->speaker) start_host(i);
    }
    std::string missing;
    const auto is_up = [&] {
      for (const auto& of : site_.reflectors) {
        missing = of->options.name + " is not ready";
        if (!of->reflector->is_ready()) return false;
        missing = of->options.name + " is not connected to a peer";
        for (const auto& peer : of->reflector->status().peers.reflectors) {
          if (peer.phase != ReflectorSession::Phase::connected) return false;
        }
      }
      for (std::size_t i = 0; i < site_.speakers.size(); ++i) {
        if (dead_ == i) continue;
        missing = "host " + std::to_string(i) + " is not connected";
        for (const auto& session : site_.speaker(i).status().reflectors) {
          if (session.phase != ReflectorSession::Phase::connected) {
            missing += ": " + session.refusal;
            return false;
          }
        }
      }
      return true;
    };
    const bool all_up = site_.run_until(is_up, 20s);
    require(all_up, missing + ", 20 s after the faults stopped");
    site_.run(3s);  // what was late on the wires has come
    if (pick(3) == 0) {
      dead_ = 1 + pick(site_.speakers.size() - 1);
      site_.kill_speaker(*dead_);
    }
  }

  std::string difference(std::size_t host) {
    Known expected;
    for (std::size_t other = 0; other < site_.speakers.size(); ++other) {
      if (dead_ == other || other == host || !reads_[home_[host]].contains(home_[other])) continue;
      for (const auto& one : site_.speaker(other).announced()) {
        if (wanted_[host].contains(one.vni.value() - first_vni))
          expected.insert({to_text(one), origin_id(site_.speakers[other]->options.name)});
      }
    }
    const auto known = table(host);
    for (const auto& one : expected) {
      if (!known.contains(one)) return "host " + std::to_string(host) + " misses " + one.first;
    }
    for (const auto& one : known) {
      if (!expected.contains(one)) return "host " + std::to_string(host) + " still has " + one.first;
    }
    return {};
  }

  void settle() {
    std::string last;
    const auto is_equal = [&] {
      for (std::size_t host = 0; host < site_.speakers.size(); ++host) {
        if (dead_ == host) continue;
        last = difference(host);
        if (!last.empty()) return false;
      }
      return true;
    };
    // The lease of a host that died just now ends within three heartbeats, too.
    const bool was_equal = site_.run_until(is_equal, 3 * heartbeat + 500ms);
    require(was_equal, last + ", three heartbeats after all were connected");
    site_.run(15s);
    const bool stays_equal = is_equal();
    require(stays_equal, last + ", after it was right");
    std::vector<std::uint64_t> sequences;
    for (std::size_t host = 0; host < site_.speakers.size(); ++host) {
      if (dead_ == host) continue;
      for (const auto vni : wanted_[host]) {
        require(site_.speaker(host).is_complete(*Vni::make(first_vni + vni)), "a table is not complete in the end");
        require(!site_.speaker(host).is_stale(*Vni::make(first_vni + vni)), "a table is stale in the end");
        sequences.push_back(site_.speaker(host).sequence(*Vni::make(first_vni + vni)));
      }
    }
    // What was heard before the faults stopped may be read again now and then, but it ends.
    std::vector<std::uint64_t> resyncs;
    for (std::size_t i = 0; i < site_.speakers.size(); ++i)
      resyncs.push_back(dead_ == i ? 0 : site_.speaker(i).status().resyncs);
    site_.run(20s);
    std::size_t at = 0;
    for (std::size_t host = 0; host < site_.speakers.size(); ++host) {
      if (dead_ == host) continue;
      require(site_.speaker(host).status().resyncs == resyncs[host],
              "host " + std::to_string(host) + " reads again and again");
      for (const auto vni : wanted_[host])
        require(site_.speaker(host).sequence(*Vni::make(first_vni + vni)) == sequences[at++],
                "a table changes although nothing happens");
    }
  }

  std::mt19937_64 random_;
  Site site_;
  bool is_calm_ = false;
  std::uint32_t vnis_ = 1;
  std::vector<std::vector<std::size_t>> reflectors_;  // of each site
  std::vector<std::set<std::size_t>> reads_;          // sites whose hosts are known at this one
  std::vector<std::size_t> home_;                     // the site of each host
  std::vector<std::set<std::uint32_t>> wanted_;
  std::map<std::size_t, std::set<std::string>> announced_;
  Known ever_;
  Known lasting_;
  std::map<std::size_t, Known> had_;
  std::map<std::size_t, std::set<std::uint32_t>> checked_wishes_;
  std::optional<std::size_t> dead_;
};

}  // namespace

int main(int argc, char** argv) {
  const char* wanted = std::getenv("IRONCORE_SIM_SEEDS");
  const auto count = std::strtoull(argc > 1 ? argv[1] : wanted != nullptr ? wanted : "200", nullptr, 10);
  const auto first = std::strtoull(argc > 2 ? argv[2] : "1", nullptr, 10);
  for (auto seed = first; seed < first + count; ++seed) {
    try {
      Chaos(seed).run();
    } catch (const Broken& broken) {
      std::printf("seed %llu: %s\nalone: %s 1 %llu\n", seed, broken.what.c_str(), argv[0], seed);
      return 1;
    }
  }
  std::printf("%llu seeds from %llu: all invariants hold\n", count, first);
  return 0;
}
