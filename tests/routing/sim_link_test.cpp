// SPDX-License-Identifier: Apache-2.0
// The suite of Link on simulated wires, and what only they can do.
#include "link_suite.hpp"

#include "ironcore/sim/virtual_clock.hpp"
#include "ironcore/sim/wires.hpp"

using namespace ironcore;
using namespace ironcore::routing;
using namespace ironcore::routing::testing;
using namespace std::chrono_literals;

namespace {

class SimFixture final : public LinkFixture {
 public:
  explicit SimFixture(sim::WireFaults faults = {}) : random_(1), wires(clock, random_, faults) {
    end = wires.add_reflector();
    wires.attach(end, {[this](PeerId peer, Channel channel, std::string_view message) {
                         at_reflector.push_back({peer, channel, std::string(message)});
                       },
                       [this](StreamName topic) { subscribed.push_back(topic); }});
    for (std::size_t i = 0; i < 2; ++i) {
      ends[i] = wires.add_speaker({end});
      wires.attach(ends[i], {[this, i](PeerId peer, Channel channel, std::string_view message) {
                               at_speaker[i].push_back({peer, channel, std::string(message)});
                             },
                             {}});
    }
  }
  Link& reflector() override { return wires.link(end); }
  Link& speaker(std::size_t number) override { return wires.link(ends[number]); }
  void turn() override {
    clock.advance(100us);
    wires.deliver();
  }

  sim::VirtualClock clock;
  SeededRandom random_;
  sim::Wires wires;
  sim::Wires::EndId end = 0;
  sim::Wires::EndId ends[2] = {};
};

}  // namespace

TEST_CASE("simulated wires are a link") {
  check_link([] { return std::make_unique<SimFixture>(); });
}

TEST_CASE("simulated wires lose, double and cut as they are told") {
  SimFixture link({.lost = 500});
  for (int i = 0; i < 1'000; ++i) link.speaker(0).send(0, Channel::control, "x");
  link.a_while();
  CHECK(link.at_reflector.size() > 400);
  CHECK(link.at_reflector.size() < 600);
  link.wires.set_faults({.doubled = 1'000});
  link.at_reflector.clear();
  link.speaker(0).send(0, Channel::control, "x");
  link.a_while();
  CHECK(link.at_reflector.size() == 2);
  link.wires.set_faults({});
  link.wires.cut(link.end, link.ends[0]);
  link.speaker(0).send(0, Channel::control, "lost");
  link.speaker(0).subscribe(0, {7, View::direct});
  link.a_while();
  CHECK(link.at_reflector.size() == 2);
  CHECK(link.subscribed.empty());
  // A subscription is repeated when the wire is whole again, as sockets do.
  link.wires.mend_all();
  CHECK(link.until([&] { return link.subscribed.size() == 1; }));
  // So is it when the reflector is another one.
  link.wires.detach(link.end);
  link.wires.attach(link.end, {{}, [&](StreamName topic) { link.subscribed.push_back(topic); }});
  CHECK(link.until([&] { return link.subscribed.size() == 2; }));
}
