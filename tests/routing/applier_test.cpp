// SPDX-License-Identifier: Apache-2.0
// What an applier installs, leaves alone and takes away, one situation each.
#include "applier_site.hpp"

using namespace ironcore;
using namespace ironcore::routing;
using namespace ironcore::routing::testing;
using namespace std::chrono_literals;

namespace {

Prefix prefix(std::string_view text) {
  return Prefix::parse(text).value();
}
sim::ForwardingTable::Hops hops(std::initializer_list<std::string_view> addresses) {
  sim::ForwardingTable::Hops made;
  for (const auto address : addresses) made.push_back({.address = IpAddress::parse(address).value()});
  return made;
}

/// Two hosts that announce, and a reader of the VNI.
struct Hosts : ApplierSite {
  explicit Hosts(ApplierOptions with = {}) : ApplierSite(1, with) {
    a = add_speaker("a", {0});
    b = add_speaker("b", {0});
    speaker(reader).subscribe(net);
  }
  void announce(std::size_t who, std::initializer_list<std::string_view> routes) {
    for (const auto text : routes) REQUIRE(speaker(who).announce(route(text)));
  }
  void withdraw(std::size_t who, std::string_view text) { speaker(who).withdraw(route(text)); }
  /// Becomes true, and stays so.
  bool becomes(const Installed& expected, Duration limit = 10s) {
    if (!pass_until([&] { return installed() == expected; }, limit)) return false;
    pass(3s);
    return installed() == expected;
  }
  std::size_t a = 0;
  std::size_t b = 0;
};

}  // namespace

TEST_CASE("a prefix gets all next hops that are announced, equal ones once, until the last host withdraws it") {
  Hosts site;
  site.announce(site.a, {"100#10.0.0.1/32#fd00::a", "100#10.0.0.1/32#fd00::9", "100#10.0.0.2/32#fd00::a,target=100",
                         "100#10.0.0.3/32#fd00::a,target=200,weight=7", "100#192.0.2.1/32#fd00::a#LB"});
  site.announce(site.b, {"100#10.0.0.1/32#fd00::b", "100#10.0.0.1/32#fd00::9,weight=3", "100#192.0.2.1/32#fd00::b#LB"});
  CHECK(site.becomes({{"100#10.0.0.1/32", {"fd00::a", "fd00::b", "fd00::9,weight=3"}},
                      {"100#10.0.0.2/32", {"fd00::a"}},
                      {"100#10.0.0.3/32", {"fd00::a,target=200,weight=7"}},
                      {"100#192.0.2.1/32", {"fd00::a#load-balancer-target", "fd00::b#load-balancer-target"}}}));
  site.withdraw(site.b, "100#10.0.0.1/32#fd00::9");
  site.withdraw(site.a, "100#10.0.0.3/32#fd00::a");
  site.withdraw(site.a, "100#192.0.2.1/32#fd00::a#LB");
  site.withdraw(site.b, "100#192.0.2.1/32#fd00::b#LB");
  CHECK(site.becomes({{"100#10.0.0.1/32", {"fd00::a", "fd00::b", "fd00::9"}}, {"100#10.0.0.2/32", {"fd00::a"}}}));
  const auto status = site.applier->status();
  CHECK(status.wanted == 2);
  CHECK(status.installed == 2);
  CHECK(status.refusals == 0);
  CHECK(status.removed == 2);
  REQUIRE(status.vnis.size() == 1);
  CHECK(status.vnis[0].is_settled);
}

TEST_CASE("only the highest mobility counts, for each type and each range of NAT ports") {
  Hosts site;
  site.announce(site.a, {"100#10.0.0.1/32#fd00::a,mobility=1", "100#10.0.0.1/32#fd00::9,mobility=2",
                         "100#192.0.2.1/32#fd00::a#nat#1024#2047,mobility=5", "100#192.0.2.1/32#fd00::a#nat#2048#4095",
                         "100#192.0.2.1/32#fd00::a"});
  site.announce(site.b, {"100#10.0.0.1/32#fd00::b,mobility=2", "100#192.0.2.1/32#fd00::b#nat#1024#2047,mobility=4",
                         "100#192.0.2.1/32#fd00::b#nat#2048#4095"});
  CHECK(site.becomes(
      {{"100#10.0.0.1/32", {"fd00::b", "fd00::9"}},
       {"100#192.0.2.1/32", {"fd00::a", "fd00::a#nat#1024#2047", "fd00::a#nat#2048#4095", "fd00::b#nat#2048#4095"}}}));
  // The one that moved away comes back into its own when the other one goes.
  site.withdraw(site.b, "100#10.0.0.1/32#fd00::b");
  site.withdraw(site.a, "100#10.0.0.1/32#fd00::9");
  site.withdraw(site.a, "100#192.0.2.1/32#fd00::a#nat#1024#2047");
  CHECK(site.becomes(
      {{"100#10.0.0.1/32", {"fd00::a"}},
       {"100#192.0.2.1/32", {"fd00::a", "fd00::b#nat#1024#2047", "fd00::a#nat#2048#4095", "fd00::b#nat#2048#4095"}}}));
}

TEST_CASE("what a host announces itself hides nothing of others") {
  Hosts site;
  site.announce(site.reader, {"100#10.0.0.1/32#fd00::1,mobility=9", "100#192.0.2.1/32#fd00::1#nat#1024#2047"});
  site.announce(site.a, {"100#10.0.0.1/32#fd00::a", "100#192.0.2.1/32#fd00::a#nat#2048#4095"});
  CHECK(site.becomes({{"100#10.0.0.1/32", {"fd00::a"}}, {"100#192.0.2.1/32", {"fd00::a#nat#2048#4095"}}}));
}

TEST_CASE("the routes of a host that dies leave, and no others") {
  Hosts site;
  site.announce(site.a, {"100#10.0.0.1/32#fd00::a", "100#10.0.0.2/32#fd00::a", "100#10.0.0.2/32#fd00::9"});
  site.announce(site.b, {"100#10.0.0.2/32#fd00::b", "100#10.0.0.2/32#fd00::9", "100#10.0.0.3/32#fd00::b"});
  CHECK(site.pass_until([&] { return site.installed().size() == 3; }));
  site.kill_speaker(site.a);
  CHECK(site.becomes({{"100#10.0.0.2/32", {"fd00::b", "fd00::9"}}, {"100#10.0.0.3/32", {"fd00::b"}}}));
}

TEST_CASE("a prefix whose network is not there yet is parked, and installed as soon as somebody says so") {
  Hosts site({.first_retry = 10s, .longest_retry = 1h});
  site.table.set_missing(net, prefix("10.0.0.1/32"));
  site.announce(site.a, {"100#10.0.0.1/32#fd00::a", "100#10.0.0.2/32#fd00::a"});
  CHECK(site.becomes({{"100#10.0.0.2/32", {"fd00::a"}}}));
  auto status = site.applier->status();
  CHECK(status.parked == 1);
  CHECK(status.failing == 0);
  REQUIRE(status.error);
  CHECK(status.error->message() == "VNI 100, 10.0.0.1/32: nothing has the prefix yet");
  const auto troubles = site.applier->troubles(10);
  REQUIRE(troubles.size() == 1);
  CHECK(troubles[0].destination == prefix("10.0.0.1/32"));
  CHECK(troubles[0].is_parked);
  CHECK(troubles[0].attempts == 1);
  CHECK(site.applier->troubles(0).empty());
  site.table.set_there(net, prefix("10.0.0.1/32"));
  site.applier->retry(*Vni::make(99));
  site.pass(10ms);
  CHECK(site.installed().size() == 1);
  site.applier->retry(net);
  site.pass(10ms);
  CHECK(site.installed().size() == 2);
  status = site.applier->status();
  CHECK(status.parked == 0);
  CHECK_FALSE(status.error);

  // One that is withdrawn while it waits is forgotten.
  site.table.set_missing(net, prefix("10.0.0.3/32"));
  site.announce(site.a, {"100#10.0.0.3/32#fd00::a"});
  CHECK(site.pass_until([&] { return site.applier->status().parked == 1; }));
  site.withdraw(site.a, "100#10.0.0.3/32#fd00::a");
  CHECK(site.pass_until([&] { return site.applier->status().parked == 0; }, 1s));
  CHECK(site.applier->status().wanted == 2);
}

TEST_CASE("a refused prefix is tried again less and less often, and others go on") {
  Hosts site({.first_retry = 100ms, .longest_retry = 1s});
  site.announce(site.a, {"100#10.0.0.1/32#fd00::a"});
  CHECK(site.pass_until([&] { return site.installed().size() == 1; }));
  site.table.fail(1'000'000, ErrorCode::exhausted);
  const auto before = site.table.operations();
  site.announce(site.a, {"100#10.0.0.2/32#fd00::a"});
  site.pass(10s);
  // 100, 200, 400, 800 ms, and then each second.
  CHECK(site.table.operations() - before >= 10);
  CHECK(site.table.operations() - before <= 14);
  auto status = site.applier->status();
  CHECK(status.failing == 1);
  CHECK(status.parked == 0);
  CHECK(status.refusals == site.table.operations() - before);
  CHECK(site.wake > site.clock.now());
  site.table.heal();
  site.announce(site.a, {"100#10.0.0.3/32#fd00::a"});
  CHECK(site.becomes(
      {{"100#10.0.0.1/32", {"fd00::a"}}, {"100#10.0.0.2/32", {"fd00::a"}}, {"100#10.0.0.3/32", {"fd00::a"}}}));
  CHECK(site.applier->status().failing == 0);
}

TEST_CASE("a change of which nobody knows whether it took effect is made again, also if it is not wanted any more") {
  Hosts site;
  site.announce(site.a, {"100#10.0.0.1/32#fd00::a"});
  CHECK(site.pass_until([&] { return site.installed().size() == 1; }));
  site.table.fail(1, ErrorCode::timeout);
  site.announce(site.a, {"100#10.0.0.1/32#fd00::9"});
  CHECK(site.pass_until([&] { return site.applier->status().failing == 1; }));
  CHECK(site.installed().at("100#10.0.0.1/32").size() == 2);
  site.withdraw(site.a, "100#10.0.0.1/32#fd00::9");
  CHECK(site.becomes({{"100#10.0.0.1/32", {"fd00::a"}}}));
}

TEST_CASE("what an earlier process installed is adopted: no operation for what is right, and only then the rest goes") {
  Hosts site;
  site.announce(site.a, {"100#10.0.0.1/32#fd00::a", "100#10.0.0.2/32#fd00::a", "100#10.0.0.3/32#fd00::a"});
  CHECK(site.pass_until([&] { return site.installed().size() == 3; }));
  site.kill_reader();
  site.withdraw(site.a, "100#10.0.0.2/32#fd00::a");
  site.withdraw(site.a, "100#10.0.0.3/32#fd00::a");
  site.announce(site.a, {"100#10.0.0.3/32#fd00::9"});
  site.pass(1s);
  const auto before = site.table.operations();
  site.start_reader({net});
  CHECK(site.becomes({{"100#10.0.0.1/32", {"fd00::a"}}, {"100#10.0.0.3/32", {"fd00::9"}}}));
  CHECK(site.applier->status().adopted == 3);
  // One removal, and one or two for the one that changed: it may have had both hops for a while.
  CHECK(site.table.operations() - before >= 2);
  CHECK(site.table.operations() - before <= 3);
}

TEST_CASE("while no reflector has told everything, hops are added and none is taken away") {
  Hosts site;
  site.announce(site.a, {"100#10.0.0.1/32#fd00::a", "100#10.0.0.2/32#fd00::a"});
  CHECK(site.pass_until([&] { return site.installed().size() == 2; }));
  site.kill_reader();
  site.kill_reflector(0);
  site.pass(1s);
  site.start_reader({net});
  site.pass(2min);
  const Installed both{{"100#10.0.0.1/32", {"fd00::a"}}, {"100#10.0.0.2/32", {"fd00::a"}}};
  CHECK(site.installed() == both);
  CHECK_FALSE(site.applier->status().vnis.at(0).is_settled);

  // It comes back, but says that it does not know yet who lives; the other host is faster than the one before.
  site.kill_speaker(site.a);
  site.reflectors[0]->options.deferral = 30s;
  site.reflectors[0]->options.expected = {"a"};
  site.start_reflector(0);
  site.announce(site.b, {"100#10.0.0.1/32#fd00::b", "100#10.0.0.4/32#fd00::b"});
  CHECK(site.pass_until([&] { return site.installed().size() == 3; }, 20s));
  CHECK(site.installed() == Installed{{"100#10.0.0.1/32", {"fd00::a", "fd00::b"}},
                                      {"100#10.0.0.2/32", {"fd00::a"}},
                                      {"100#10.0.0.4/32", {"fd00::b"}}});
  CHECK_FALSE(site.applier->status().vnis.at(0).is_settled);
  CHECK(site.becomes({{"100#10.0.0.1/32", {"fd00::b"}}, {"100#10.0.0.4/32", {"fd00::b"}}}, 60s));
}

TEST_CASE("a VNI that is not subscribed any more leaves; what was left of one that never was, after a while") {
  Hosts site({.leftover_time = 20s});
  site.speaker(site.reader).subscribe(*Vni::make(101));
  site.announce(site.a, {"100#10.0.0.1/32#fd00::a", "101#10.0.0.1/32#fd00::a"});
  CHECK(site.pass_until([&] { return site.installed().size() == 2; }));
  site.speaker(site.reader).unsubscribe(*Vni::make(101));
  CHECK(site.becomes({{"100#10.0.0.1/32", {"fd00::a"}}}));
  site.speaker(site.reader).subscribe(*Vni::make(101));
  CHECK(site.becomes({{"100#10.0.0.1/32", {"fd00::a"}}, {"101#10.0.0.1/32", {"fd00::a"}}}));
  site.kill_reader();
  site.start_reader({net});
  site.pass(15s);
  CHECK(site.installed().size() == 2);
  CHECK(site.becomes({{"100#10.0.0.1/32", {"fd00::a"}}}));
  CHECK(site.applier->status().vnis.size() == 1);
}

TEST_CASE("when withdrawals were missed the VNI is read anew") {
  Hosts site;
  std::vector<Route> routes;
  for (std::uint32_t i = 0; i < 12000; ++i)
    routes.push_back({.vni = net,
                      .destination = Prefix::host(IpAddress::v4(0x0a000000 + i)),
                      .next_hop = IpAddress::parse("fd00::a").value()});
  REQUIRE(site.speaker(site.a).announce(routes));
  CHECK(site.pass_until([&] { return site.installed().size() == 12000; }));
  // The applier sleeps meanwhile.
  site.speaker(site.a).withdraw(std::span(routes).first(11990));
  CHECK(site.run_until([&] { return site.speaker(site.reader).routes(net).size() == 10; }));
  CHECK(site.installed().size() == 12000);
  CHECK(site.pass_until([&] { return site.installed().size() == 10; }));
  CHECK(site.applier->status().rereadings == 1);
  CHECK(site.applier->status().wanted == 10);
}

TEST_CASE("nothing is changed before it is known what is there, and what others did to the table is repaired") {
  Hosts site({.listing_interval = 1min});
  site.kill_reader();
  site.table.fail_listing(3);
  site.start_reader({net});
  site.announce(site.a, {"100#10.0.0.1/32#fd00::a", "100#10.0.0.2/32#fd00::a"});
  site.applier->advance();
  auto status = site.applier->status();
  CHECK_FALSE(status.is_listed);
  REQUIRE(status.error);
  CHECK(status.error->code() == ErrorCode::unavailable);
  const Installed both{{"100#10.0.0.1/32", {"fd00::a"}}, {"100#10.0.0.2/32", {"fd00::a"}}};
  CHECK(site.becomes(both));
  CHECK_FALSE(site.applier->status().error);

  site.table.set(net, prefix("10.0.0.1/32"), {});
  site.table.set(net, prefix("10.0.0.2/32"), hops({"fd00::9"}));
  site.table.set(net, prefix("10.0.0.3/32"), hops({"fd00::9"}));
  site.table.set(*Vni::make(7), prefix("10.0.0.3/32"), hops({"fd00::9"}));
  site.applier->relist();
  site.pass(10ms);
  CHECK(site.applier->status().repaired == 4);
  CHECK(site.installed().at("100#10.0.0.2/32") == std::set<std::string>{"fd00::a"});
  CHECK(site.becomes(both, 2min));
  site.table.set(net, prefix("10.0.0.1/32"), {});
  CHECK(site.becomes(both, 2min));
  CHECK(site.applier->status().repaired == 5);
}

TEST_CASE("prefixes leave only after all that comes was installed, however little is done at a time") {
  Hosts site({.reads_per_call = 1, .changes_per_call = 1});
  site.announce(site.a, {"100#10.0.1.0/24#fd00::a", "100#10.0.2.0/24#fd00::a", "100#10.0.3.0/24#fd00::a"});
  CHECK(site.pass_until([&] { return site.installed().size() == 3; }));
  std::vector<std::string> steps;
  site.table.on_change([&](const auto& place, const auto&, const auto& after) {
    steps.push_back((after.empty() ? "-" : "+") + place.second.to_text());
  });
  // Withdrawals come first in the log.
  for (const auto* const text : {"100#10.0.1.0/24#fd00::a", "100#10.0.2.0/24#fd00::a", "100#10.0.3.0/24#fd00::a"})
    site.withdraw(site.a, text);
  site.announce(site.a, {"100#10.0.2.0/24#fd00::9", "100#10.0.0.0/16#fd00::a"});
  CHECK(site.run_until([&] { return site.speaker(site.reader).routes(net).size() == 2; }));
  CHECK(site.becomes({{"100#10.0.2.0/24", {"fd00::9"}}, {"100#10.0.0.0/16", {"fd00::a"}}}));
  CHECK(steps == std::vector<std::string>{"+10.0.2.0/24", "+10.0.0.0/16", "-10.0.1.0/24", "-10.0.3.0/24"});
}

TEST_CASE("a prefix whose new next hop has not been read yet keeps the old ones") {
  Hosts site({.reads_per_call = 2});
  site.announce(site.a, {"100#10.0.0.1/32#fd00::a"});
  site.announce(site.b, {"100#10.0.0.1/32#fd00::b"});
  CHECK(site.becomes({{"100#10.0.0.1/32", {"fd00::a", "fd00::b"}}}));
  bool was_without = false;
  site.table.on_change([&](const auto&, const auto&, const auto& after) { was_without |= after.empty(); });
  // One call reads both withdrawals, and the next one what comes instead.
  site.withdraw(site.a, "100#10.0.0.1/32#fd00::a");
  site.withdraw(site.b, "100#10.0.0.1/32#fd00::b");
  CHECK(site.run_until([&] { return site.speaker(site.reader).routes(net).empty(); }));
  site.announce(site.a, {"100#10.0.0.1/32#fd00::9"});
  CHECK(site.run_until([&] { return site.speaker(site.reader).routes(net).size() == 1; }));
  CHECK(site.becomes({{"100#10.0.0.1/32", {"fd00::9"}}}));
  CHECK_FALSE(was_without);
}

TEST_CASE("options that cannot be are refused by name") {
  Hosts site;
  const auto error = [&](const ApplierOptions& options) {
    const auto made = Applier::create(options, site.speaker(site.reader), site.table, site.clock, site.log);
    REQUIRE(made.has_error());
    CHECK(made.error().code() == ErrorCode::invalid);
    return made.error().message();
  };
  CHECK(error({.reads_per_call = 0}).starts_with("reads_per_call:"));
  CHECK(error({.changes_per_call = 0}).starts_with("changes_per_call:"));
  CHECK(error({.first_retry = 0s}).starts_with("first_retry:"));
  CHECK(error({.longest_retry = 1ms}).starts_with("longest_retry:"));
  CHECK(error({.leftover_time = -1s}).starts_with("leftover_time:"));
  CHECK(error({.listing_interval = -1s}).starts_with("listing_interval:"));
}

TEST_CASE("what is installed stays while no reflector is there, for 6 h if nothing else is said") {
  Hosts site;
  site.announce(site.a, {"100#10.0.0.1/32#fd00::a"});
  const Installed all{{"100#10.0.0.1/32", {"fd00::a"}}};
  REQUIRE(site.becomes(all));
  site.kill_reflector(0);
  REQUIRE(site.pass_until([&] { return site.speaker(site.reader).is_stale(net); }, 5s));
  bool was_always_there = true;
  site.before_advance = [&] { was_always_there = was_always_there && site.table.entries().size() == 1; };
  site.pass(6h - 1s);
  site.before_advance = {};
  CHECK(was_always_there);
  CHECK(site.installed() == all);
  CHECK(site.speaker(site.reader).is_stale(net));
  CHECK(site.pass_until([&] { return site.installed().empty(); }, 3s));
}
