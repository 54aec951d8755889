// SPDX-License-Identifier: Apache-2.0
// What a reflector tells of its routes, nodes and VNIs, page by page.
#include <doctest/doctest.h>

#include <set>

#include "site.hpp"

using namespace ironcore;
using namespace ironcore::routing;
using namespace std::chrono_literals;
using namespace ironcore::routing::testing;

namespace {

std::vector<Route> numbered(std::uint32_t from, std::uint32_t to) {
  return testing::numbered("100#10.0.0.0/32#fd00::a", to - from, from);
}
Route numbered(std::uint32_t i) {
  return numbered(i, i + 1).front();
}

Texts texts(const RoutesPage& page) {
  Texts texts;
  for (const auto& known : page.routes) texts.insert(to_text(known.route));
  return texts;
}

}  // namespace

TEST_CASE("routes of a VNI are told in pages, each route once, with who announces it") {
  Site site;
  site.add_reflector();
  const auto a = site.add_speaker("a", {0});
  REQUIRE(site.speaker(a).announce(numbered(0, 2'500)));
  REQUIRE(site.run_until([&] { return site.reflector(0).status().routes == 2'500; }));
  std::set<std::string> all;
  RoutesQuery query{.vni = net, .limit = 1'000};
  std::size_t pages = 0;
  for (RoutesPage page; !page.is_last; ++pages) {
    page = site.reflector(0).routes(query);
    CHECK(page.routes.size() <= 1'000);
    CHECK(page.epoch == site.reflector(0).status().epoch);
    CHECK_FALSE(page.has_forgotten);
    for (const auto& known : page.routes) {
      CHECK(known.node == "a");
      CHECK(known.origin == origin_id("a"));
      CHECK(all.insert(to_text(known.route)).second);
    }
    query.after = page.next;
  }
  CHECK(all.size() == 2'500);
  CHECK(pages == 3);
  // From there on there is nothing, until there is.
  CHECK(site.reflector(0).routes(query).routes.empty());
  site.speaker(a).withdraw(numbered(7));
  site.run(1s);
  CHECK(site.reflector(0).routes(query).routes.empty());
  query.withdrawals = RoutesQuery::Withdrawals::included;
  const auto page = site.reflector(0).routes(query);
  REQUIRE(page.routes.size() == 1);
  CHECK(page.routes[0].what == LearnedRoute::What::withdrawn);
  CHECK(page.routes[0].route.destination == numbered(7).destination);
}

TEST_CASE("a query looks at a bounded number of changes, and says where to go on") {
  Site site;
  site.add_reflector();
  const auto a = site.add_speaker("a", {0});
  REQUIRE(site.speaker(a).announce(numbered(0, 30'000)));
  REQUIRE(site.speaker(a).announce(route("100#192.0.2.1/32#fd00::b")));
  REQUIRE(site.run_until([&] { return site.reflector(0).status().routes == 30'001; }));
  RoutesQuery query{
      .vni = net, .match = RoutesQuery::Match::covering, .prefix = Prefix::host(IpAddress::parse("192.0.2.1").value())};
  std::size_t pages = 0;
  std::set<std::string> found;
  for (RoutesPage page; !page.is_last; ++pages) {
    REQUIRE(pages < 10);
    page = site.reflector(0).routes(query);
    CHECK(page.next - query.after <= 10'000);
    found.merge(texts(page));
    query.after = page.next;
  }
  CHECK(pages == 4);
  CHECK(found == std::set<std::string>{"100#192.0.2.1/32#fd00::b"});
}

TEST_CASE("routes are picked by what they cover, or by what they lie inside of") {
  Site site;
  site.add_reflector();
  const auto a = site.add_speaker("a", {0});
  for (const auto* text : {"100#0.0.0.0/0#fd00::1", "100#10.0.0.0/8#fd00::2", "100#10.0.0.1/32#fd00::3",
                           "100#10.0.0.2/32#fd00::4", "100#::/0#fd00::5"})
    REQUIRE(site.speaker(a).announce(route(text)));
  REQUIRE(site.run_until([&] { return site.reflector(0).status().routes == 5; }));
  const auto query = [&](RoutesQuery::Match match, const char* prefix) {
    return texts(site.reflector(0).routes({.vni = net, .match = match, .prefix = Prefix::parse(prefix).value()}));
  };
  CHECK(query(RoutesQuery::Match::covering, "10.0.0.1/32") ==
        Texts{"100#0.0.0.0/0#fd00::1", "100#10.0.0.0/8#fd00::2", "100#10.0.0.1/32#fd00::3"});
  CHECK(query(RoutesQuery::Match::covering, "10.0.0.0/8") == Texts{"100#0.0.0.0/0#fd00::1", "100#10.0.0.0/8#fd00::2"});
  CHECK(query(RoutesQuery::Match::inside, "10.0.0.0/8") ==
        Texts{"100#10.0.0.0/8#fd00::2", "100#10.0.0.1/32#fd00::3", "100#10.0.0.2/32#fd00::4"});
  CHECK(query(RoutesQuery::Match::covering, "2001:db8::/32") == Texts{"100#::/0#fd00::5"});
  CHECK(query(RoutesQuery::Match::inside, "192.0.2.0/24").empty());
}

TEST_CASE("the death of a node is told as one change, and forgotten withdrawals are said to be") {
  Site site;
  site.add_reflector();
  const auto a = site.add_speaker("a", {0});
  const auto b = site.add_speaker("b", {0});
  REQUIRE(site.speaker(a).announce(numbered(0, 10)));
  REQUIRE(site.speaker(b).announce(numbered(100, 101)));
  REQUIRE(site.run_until([&] { return site.reflector(0).status().routes == 11; }));
  const auto before = site.reflector(0).routes({.vni = net});
  CHECK(before.is_last);
  site.kill_speaker(a);
  REQUIRE(site.run_until([&] { return site.reflector(0).status().routes == 1; }));
  RoutesQuery query{.vni = net, .after = before.next, .withdrawals = RoutesQuery::Withdrawals::included};
  const auto page = site.reflector(0).routes(query);
  REQUIRE(page.routes.size() == 1);
  CHECK(page.routes[0].what == LearnedRoute::What::origin_gone);
  CHECK(page.routes[0].origin == origin_id("a"));
  CHECK_FALSE(page.has_forgotten);
  CHECK(texts(site.reflector(0).routes({.vni = net})) == std::set{to_text(numbered(100))});

  // More withdrawals than a table remembers.
  REQUIRE(site.speaker(b).announce(numbered(1'000, 11'000)));
  REQUIRE(site.run_until([&] { return site.reflector(0).status().routes == 10'001; }));
  site.speaker(b).withdraw(numbered(1'000, 11'000));
  REQUIRE(site.run_until([&] { return site.reflector(0).status().routes == 1; }));
  CHECK(site.reflector(0).routes(query).has_forgotten);
}

TEST_CASE("nodes and VNIs are told in pages, in order") {
  Site site;
  site.add_reflector({.name = "r1"}, {1});
  site.add_reflector({.name = "r2"});
  std::vector<std::string> names;
  for (const auto* name : {"d", "b", "a", "c"}) {
    const auto number = site.add_speaker(name, {0});
    auto one = numbered(0);
    one.vni = *Vni::make(static_cast<std::uint32_t>(200 + number));
    REQUIRE(site.speaker(number).announce(one));
  }
  const auto far = site.add_speaker("far", {1});
  auto one = numbered(5);
  one.vni = *Vni::make(150);
  REQUIRE(site.speaker(far).announce(one));
  site.speaker(0).subscribe(one.vni);
  const auto& reflector = site.reflector(0);
  REQUIRE(site.run_until([&] { return reflector.status().routes == 4 && reflector.status().relayed_routes == 1; }));

  const auto first = reflector.nodes({}, 3);
  REQUIRE(first.size() == 3);
  CHECK(first[0].name == "a");
  CHECK(first[2].name == "c");
  CHECK(first[0].routes == 1);
  const auto second = reflector.nodes("c", 3);
  REQUIRE(second.size() == 1);
  CHECK(second[0].name == "d");

  const auto vnis = [&](std::uint32_t from, std::size_t limit) {
    std::vector<std::pair<std::uint32_t, View>> found;
    for (const auto& vni : reflector.vnis(*Vni::make(from), limit)) found.emplace_back(vni.vni.value(), vni.view);
    return found;
  };
  using Found = std::vector<std::pair<std::uint32_t, View>>;
  CHECK(vnis(0, 2) == Found{{150, View::relayed}, {200, View::direct}});
  CHECK(vnis(201, 2) == Found{{201, View::direct}, {202, View::direct}});
  CHECK(vnis(203, 9) == Found{{203, View::direct}});
}
