// SPDX-License-Identifier: Apache-2.0
// Speakers and reflectors on simulated wires and a virtual clock, for tests.
#pragma once

#include <algorithm>
#include <functional>
#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "ironcore/routing/reflector.hpp"
#include "ironcore/routing/speaker.hpp"
#include "ironcore/sim/virtual_clock.hpp"
#include "ironcore/sim/wires.hpp"

namespace ironcore::routing::testing {

/// Of most routes in tests.
inline const Vni net = *Vni::make(100);

inline Route route(std::string_view text) {
  return parse_route(text).value();
}
/// Routes like this one: to the host 10.0.0.0 + `first`, and so on.
inline std::vector<Route> numbered(std::string_view like, std::uint32_t count, std::uint32_t first = 0) {
  std::vector<Route> routes(count, route(like));
  for (std::uint32_t i = 0; i < count; ++i) routes[i].destination = Prefix::host(IpAddress::v4(0x0a000000 + first + i));
  return routes;
}

/// What a speaker has learned.
using Texts = std::set<std::string>;
inline Texts table(const Speaker& speaker, Vni vni = net) {
  Texts texts;
  for (const auto& learned : speaker.routes(vni)) texts.insert(to_text(learned.route));
  return texts;
}

/// A site is started part by part; `run` lets time pass.
class Site {
 public:
  explicit Site(std::uint64_t seed = 1, sim::WireFaults faults = {}) : random(seed), wires(clock, random, faults) {}

  struct Reflecting {
    ReflectorOptions options;
    sim::Wires::EndId end = 0;       ///< towards nodes
    sim::Wires::EndId peer_end = 0;  ///< towards peers
    std::unique_ptr<Reflector> reflector;
    Instant wake{};
    Instant stopped_until{};  ///< as by SIGSTOP
  };
  struct Speaking {
    SpeakerOptions options;
    sim::Wires::EndId end = 0;
    std::unique_ptr<Speaker> speaker;
    Instant wake{};
    Instant stopped_until{};
  };

  /// `peers` are numbers of reflectors that were added before or will be: their ends are fixed by `prepare`.
  std::size_t add_reflector(ReflectorOptions options = {}, const std::vector<std::size_t>& peers = {}) {
    const auto number = reflectors.size();
    auto& of = *reflectors.emplace_back(std::make_unique<Reflecting>());
    if (options.name.empty()) options.name = "reflector-" + std::to_string(number + 1);
    options.peers = peers.size();
    of.options = options;
    while (reflector_ends_.size() <= std::max(number, peers.empty() ? 0 : *std::ranges::max_element(peers)))
      reflector_ends_.push_back(wires.add_reflector());
    of.end = reflector_ends_[number];
    std::vector<sim::Wires::EndId> ends;
    for (const auto peer : peers) ends.push_back(reflector_ends_[peer]);
    of.peer_end = wires.add_speaker(ends.empty() ? std::vector{of.end} : ends);
    start_reflector(number);
    return number;
  }

  std::size_t add_speaker(std::string name, const std::vector<std::size_t>& of_reflectors,
                          SpeakerOptions options = {}) {
    const auto number = speakers.size();
    auto& of = *speakers.emplace_back(std::make_unique<Speaking>());
    options.name = std::move(name);
    options.reflectors = of_reflectors.size();
    of.options = options;
    std::vector<sim::Wires::EndId> ends;
    for (const auto reflector : of_reflectors) ends.push_back(reflector_ends_[reflector]);
    of.end = wires.add_speaker(ends);
    start_speaker(number);
    return number;
  }

  void start_reflector(std::size_t number) {
    auto& of = *reflectors[number];
    of.reflector =
        Reflector::create(of.options, wires.link(of.end), wires.link(of.peer_end), clock, random, log).value();
    of.wake = clock.now();
    wires.attach(of.end, {[&of](PeerId peer, Channel channel, std::string_view message) {
                            of.reflector->receive(peer, channel, message, nullptr);
                            of.wake = {};
                          },
                          [&of](StreamName topic) { of.reflector->subscribed(topic); }});
    wires.attach(of.peer_end, {[&of](PeerId peer, Channel channel, std::string_view message) {
                                 of.reflector->receive_from_peer(peer, channel, message);
                                 of.wake = {};
                               },
                               {}});
  }
  void kill_reflector(std::size_t number) {
    auto& of = *reflectors[number];
    wires.detach(of.end);
    wires.detach(of.peer_end);
    of.reflector.reset();
  }

  void start_speaker(std::size_t number) {
    auto& of = *speakers[number];
    of.speaker = Speaker::create(of.options, wires.link(of.end), clock, random, log).value();
    of.wake = clock.now();
    wires.attach(of.end, {[&of](PeerId peer, Channel channel, std::string_view message) {
                            of.speaker->receive(peer, channel, message);
                            of.wake = {};
                          },
                          {}});
  }
  void kill_speaker(std::size_t number) {
    auto& of = *speakers[number];
    wires.detach(of.end);
    of.speaker.reset();
  }

  /// Neither reads nor acts until then, like a process that was stopped.
  template <class Part>
  void stop(Part& part, Duration span) {
    part.stopped_until = clock.now() + span;
    wires.pause(part.end, part.stopped_until);
  }

  Speaker& speaker(std::size_t number) { return *speakers[number]->speaker; }
  Reflector& reflector(std::size_t number) { return *reflectors[number]->reflector; }

  void run(Duration span) {
    const auto end = clock.now() + span;
    for (const auto& of : speakers) of->wake = {};  // they may have been told something
    while (true) {
      act();
      auto next = std::min(end, wires.next());
      for (const auto& of : reflectors)
        next = std::min(next, of->reflector ? std::max(of->wake, of->stopped_until) : end);
      for (const auto& of : speakers) next = std::min(next, of->speaker ? std::max(of->wake, of->stopped_until) : end);
      if (next > clock.now()) clock.advance(next - clock.now());
      wires.deliver();
      if (clock.now() >= end) break;
    }
    act();
  }
  /// False if it does not come true within the limit.
  bool run_until(const std::function<bool()>& done, Duration limit = std::chrono::seconds(60)) {
    const auto end = clock.now() + limit;
    while (!done()) {
      if (clock.now() >= end) return false;
      run(std::chrono::milliseconds(10));
    }
    return true;
  }

  sim::VirtualClock clock;
  SeededRandom random;
  NullLog log;
  sim::Wires wires;
  std::vector<std::unique_ptr<Reflecting>> reflectors;
  std::vector<std::unique_ptr<Speaking>> speakers;

 private:
  void act() {
    const auto now = clock.now();
    for (const auto& of : reflectors) {
      if (of->reflector && now >= of->wake && now >= of->stopped_until) of->wake = of->reflector->advance();
    }
    for (const auto& of : speakers) {
      if (of->speaker && now >= of->wake && now >= of->stopped_until) of->wake = of->speaker->advance();
    }
  }
  std::vector<sim::Wires::EndId> reflector_ends_;
};

}  // namespace ironcore::routing::testing
