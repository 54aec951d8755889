// SPDX-License-Identifier: Apache-2.0
// What every Link must do: a reflector's end and the ends of two speakers, whatever they are made of.
#pragma once

#include <doctest/doctest.h>

#include <functional>
#include <memory>
#include <string>
#include <tuple>
#include <vector>

#include "ironcore/routing/link.hpp"

namespace ironcore::routing::testing {

/// Ends that are connected, or will be in a moment. What arrives is noted here.
class LinkFixture {
 public:
  virtual ~LinkFixture() = default;
  virtual Link& reflector() = 0;
  /// Of two.
  virtual Link& speaker(std::size_t number) = 0;
  /// Lets things arrive for a moment.
  virtual void turn() = 0;

  struct Arrival {
    PeerId peer = 0;
    Channel channel = Channel::control;
    std::string message;
  };
  std::vector<Arrival> at_reflector;
  std::vector<Arrival> at_speaker[2];
  std::vector<StreamName> subscribed;

  bool until(const std::function<bool()>& done) {
    for (int i = 0; i < 5'000; ++i) {
      if (done()) return true;
      turn();
    }
    return done();
  }
  void a_while() {
    for (int i = 0; i < 100; ++i) turn();
  }
};

inline void check_link(const std::function<std::unique_ptr<LinkFixture>()>& make) {
  const StreamName topic{7, View::direct};

  SUBCASE("messages of a channel arrive whole and in order, and can be answered") {
    const auto link = make();
    for (int i = 0; i < 20; ++i) {
      link->speaker(0).send(0, Channel::control, "c" + std::to_string(i));
      link->speaker(0).send(0, Channel::bulk, std::string(60'000, static_cast<char>('a' + i)));
    }
    REQUIRE(link->until([&] { return link->at_reflector.size() == 40; }));
    int control = 0, bulk = 0;
    for (const auto& arrival : link->at_reflector) {
      if (arrival.channel == Channel::control)
        CHECK(arrival.message == "c" + std::to_string(control++));
      else
        CHECK(arrival.message == std::string(60'000, static_cast<char>('a' + bulk++)));
    }
    CHECK(control == 20);
    for (const auto& arrival : link->at_reflector)
      link->reflector().send(arrival.peer, arrival.channel, "to " + arrival.message.substr(0, 3));
    REQUIRE(link->until([&] { return link->at_speaker[0].size() == 40; }));
    CHECK(link->at_speaker[0][0].peer == 0);
    CHECK(link->at_speaker[1].empty());
  }

  SUBCASE("two speakers are two peers") {
    const auto link = make();
    link->speaker(0).send(0, Channel::control, "zero");
    link->speaker(1).send(0, Channel::control, "one");
    REQUIRE(link->until([&] { return link->at_reflector.size() == 2; }));
    CHECK(link->at_reflector[0].peer != link->at_reflector[1].peer);
    for (const auto& arrival : link->at_reflector)
      link->reflector().send(arrival.peer, Channel::control, arrival.message);
    REQUIRE(link->until([&] { return !link->at_speaker[0].empty() && !link->at_speaker[1].empty(); }));
    CHECK(link->at_speaker[0][0].message == "zero");
    CHECK(link->at_speaker[1][0].message == "one");
  }

  SUBCASE("publications reach those that subscribe to the topic, in order, and nobody else") {
    const auto link = make();
    link->speaker(0).subscribe(0, topic);
    link->speaker(1).subscribe(0, {7, View::relayed});
    REQUIRE(link->until([&] { return link->subscribed.size() == 2; }));
    link->reflector().publish({8, View::direct}, "nobody's");
    for (int i = 0; i < 20; ++i) link->reflector().publish(topic, "p" + std::to_string(i));
    link->reflector().publish({7, View::relayed}, "other view");
    REQUIRE(link->until([&] { return link->at_speaker[0].size() == 20 && link->at_speaker[1].size() == 1; }));
    for (std::size_t i = 0; i < 20; ++i) CHECK(link->at_speaker[0][i].message == "p" + std::to_string(i));
    CHECK(link->at_speaker[1][0].message == "other view");
  }

  SUBCASE("each subscriber is told of; who leaves takes nothing from the others; twice is once") {
    const auto link = make();
    link->speaker(0).subscribe(0, topic);
    link->speaker(0).subscribe(0, topic);
    REQUIRE(link->until([&] { return !link->subscribed.empty(); }));
    link->speaker(1).subscribe(0, topic);
    link->a_while();
    const auto told = link->subscribed.size();
    CHECK(told >= 2);
    link->speaker(0).unsubscribe(0, topic);
    link->a_while();
    link->reflector().publish(topic, "for one");
    REQUIRE(link->until([&] { return !link->at_speaker[1].empty(); }));
    CHECK(link->at_speaker[0].empty());
    link->speaker(1).unsubscribe(0, topic);
    link->a_while();
    link->reflector().publish(topic, "for nobody");
    link->a_while();
    CHECK(link->at_speaker[1].size() == 1);
    link->speaker(0).subscribe(0, topic);
    REQUIRE(link->until([&] { return link->subscribed.size() > told; }));
  }

  SUBCASE("a subscription that is made again disturbs nobody") {
    const auto link = make();
    link->speaker(0).subscribe(0, topic);
    REQUIRE(link->until([&] { return link->subscribed.size() == 1; }));
    link->speaker(0).unsubscribe(0, topic);
    link->speaker(0).subscribe(0, topic);
    link->speaker(1).subscribe(0, topic);
    REQUIRE(link->until([&] { return link->subscribed.size() >= 3; }));
    link->reflector().publish(topic, "for both");
    REQUIRE(link->until([&] { return !link->at_speaker[0].empty() && !link->at_speaker[1].empty(); }));
    link->speaker(0).unsubscribe(0, topic);
    link->a_while();
    link->reflector().publish(topic, "for one");
    REQUIRE(link->until([&] { return link->at_speaker[1].size() == 2; }));
    CHECK(link->at_speaker[0].size() == 1);
  }

  SUBCASE("peers and topics that are not there cost nothing") {
    const auto link = make();
    link->reflector().send(99, Channel::control, "x");
    link->reflector().send(~PeerId{0}, Channel::bulk, "x");
    link->speaker(0).send(17, Channel::bulk, "x");
    link->speaker(0).subscribe(17, topic);
    link->speaker(0).unsubscribe(0, topic);
    link->a_while();
    CHECK(link->at_reflector.empty());
    CHECK(link->subscribed.empty());
  }
}

}  // namespace ironcore::routing::testing
