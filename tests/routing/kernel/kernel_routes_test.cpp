// SPDX-License-Identifier: Apache-2.0
// The kernel's tables keep the contract of the seam, and an Applier keeps them right over its own restarts.
#include "ironcore/routing/kernel_routes.hpp"

#include <cstdio>
#include <memory>
#include <set>

#include "../forwarding_table_conformance.hpp"
#include "../site.hpp"
#include "ironcore/routing/applier.hpp"

namespace ironcore::routing::testing {

namespace {

using namespace std::chrono_literals;
using Encapsulation = KernelRoutesOptions::Encapsulation;

void run(const std::string& command) {
  REQUIRE_MESSAGE(std::system(command.c_str()) == 0, command);
}
std::string output(const std::string& command) {
  const std::unique_ptr<std::FILE, int (*)(std::FILE*)> pipe(::popen(command.c_str(), "r"), ::pclose);
  REQUIRE(pipe);
  std::string text;
  for (int c = 0; (c = std::fgetc(pipe.get())) != EOF;) text += static_cast<char>(c);
  return text;
}
void flush_tables() {
  for (const auto* const table : {"1100", "1200", "1300"}) {
    for (const auto* const family : {"-4", "-6"})
      static_cast<void>(
          std::system(("ip " + std::string(family) + " route flush table " + table + " 2>/dev/null").c_str()));
  }
}

KernelRoutesOptions options(std::string device, Encapsulation encapsulation = Encapsulation::none) {
  return {.tables = {{forwarding::one, 1100}, {forwarding::two, 1200}},
          .device = std::move(device),
          .encapsulation = encapsulation};
}

class KernelBody : public ForwardingTableBody {
 public:
  explicit KernelBody(KernelRoutesOptions with) : options_(std::move(with)) {
    flush_tables();
    reopen();
  }
  ~KernelBody() override { flush_tables(); }
  ForwardingTable& table() override { return *table_; }
  void reopen() override {
    table_.reset();
    auto opened = KernelRoutes::open(options_);
    REQUIRE_MESSAGE(opened.has_value(), opened.error().message());
    table_ = *std::move(opened);
  }
  Vni absent() override { return *Vni::make(300); }
  void bring_absent() override {
    options_.tables.push_back({absent(), 1300});
    reopen();
  }

 private:
  KernelRoutesOptions options_;
  std::unique_ptr<KernelRoutes> table_;
};

struct PlainRoutes final : KernelBody {
  PlainRoutes() : KernelBody(options("up0")) {}
};

/// The kernel has no ip6tnl everywhere; an external vxlan takes the same encapsulation from routes.
struct Tunnel {
  Tunnel() { run("ip link add tunnel0 type vxlan external dstport 4789 && ip link set tunnel0 up"); }
  ~Tunnel() { static_cast<void>(std::system("ip link del tunnel0")); }
};
struct TunnelRoutes final : Tunnel, KernelBody {
  TunnelRoutes() : KernelBody(options("tunnel0", Encapsulation::ip6)) {}
};

}  // namespace
}  // namespace ironcore::routing::testing

TYPE_TO_STRING(ironcore::routing::testing::PlainRoutes);
TYPE_TO_STRING(ironcore::routing::testing::TunnelRoutes);

namespace ironcore::routing::testing {

namespace plain {
IRONCORE_FORWARDING_TABLE_CONFORMANCE(PlainRoutes);
}
namespace encapsulated {
IRONCORE_FORWARDING_TABLE_CONFORMANCE(TunnelRoutes);
}

using forwarding::entry;
using forwarding::hop;
using forwarding::listed;
using forwarding::one;

TEST_CASE("routes look as they should to others") {
  PlainRoutes body;
  forwarding::replace(body.table(), {entry(one, "10.0.0.0/24", {hop("192.0.2.1", 3), hop("fd00::b")}),
                                     entry(one, "fd01::/64", {hop("fd00::c")})});
  const auto v4 = output("ip -4 route show table 1100");
  CHECK(v4.find("10.0.0.0/24 proto 254 metric 1024") != std::string::npos);
  CHECK(v4.find("nexthop via 192.0.2.1 dev up0 weight 3 onlink") != std::string::npos);
  CHECK(v4.find("nexthop via inet6 fd00::b dev up0 weight 1 onlink") != std::string::npos);
  CHECK(output("ip -6 route show table 1100").find("fd01::/64 via fd00::c dev up0 proto 254 metric 1024 onlink") !=
        std::string::npos);
}

TEST_CASE("packets are encapsulated to the next hop, in the VNI that they go on in") {
  TunnelRoutes body;
  auto elsewhere = hop("fd00::b", 2);
  elsewhere.target_vni = *Vni::make(77);
  forwarding::replace(body.table(), {entry(one, "10.0.0.0/24", {hop("fd00::a"), elsewhere}),
                                     entry(one, "fd01::/64", {hop("fd00::a"), elsewhere})});
  for (const auto* const family : {"-4", "-6"}) {
    const auto text = output("ip " + std::string(family) + " route show table 1100");
    CHECK_MESSAGE(text.find("encap ip6 id 100 src :: dst fd00::a") != std::string::npos, text);
    CHECK_MESSAGE(text.find("encap ip6 id 77 src :: dst fd00::b") != std::string::npos, text);
  }
  CHECK(listed(body.table()) == forwarding::Texts{"100#10.0.0.0/24 fd00::a fd00::b,target=77,weight=2",
                                                  "100#fd01::/64 fd00::a fd00::b,target=77,weight=2"});
}

TEST_CASE("what others have in the table is neither listed nor changed") {
  PlainRoutes body;
  run("ip route add 10.0.0.1/32 via 192.0.2.9 dev up0 onlink table 1100 proto static metric 1024");
  run("ip -6 route add fd01::1/128 via fd00::9 dev up0 onlink table 1100 proto static metric 1024");
  run("ip route add 10.0.0.2/32 via 192.0.2.9 dev up0 onlink table 1100 proto static metric 5");
  run("ip route add 10.0.0.3/32 via 192.0.2.9 dev up0 onlink table 1100 proto 254 metric 7");
  const auto before = output("ip -4 route show table 1100; ip -6 route show table 1100");
  CHECK(listed(body.table()).empty());
  const std::vector entries{entry(one, "10.0.0.1/32", {hop("fd00::a")}), entry(one, "fd01::1/128", {hop("fd00::a")})};
  for (int i = 0; i < 2; ++i) {
    const auto refusals = body.table().replace(entries);
    REQUIRE(refusals.size() == 2);
    for (const auto& refusal : refusals) CHECK(refusal.error.code() == ErrorCode::conflict);
  }
  forwarding::replace(body.table(), {entry(one, "10.0.0.1/32"), entry(one, "fd01::1/128"),
                                     entry(one, "10.0.0.2/32", {hop("fd00::a")})});
  CHECK(listed(body.table()) == forwarding::Texts{"100#10.0.0.2/32 fd00::a"});
  forwarding::replace(body.table(), {entry(one, "10.0.0.2/32")});
  CHECK(output("ip -4 route show table 1100; ip -6 route show table 1100") == before);
  // It goes, and ours can be.
  run("ip route del 10.0.0.1/32 table 1100 && ip -6 route del fd01::1/128 table 1100");
  forwarding::replace(body.table(), entries);
  CHECK(listed(body.table()).size() == 2);
}

TEST_CASE("a route that somebody took away is put back, one that went is removed all the same") {
  PlainRoutes body;
  forwarding::replace(body.table(),
                      {entry(one, "10.0.0.1/32", {hop("fd00::a")}), entry(one, "10.0.0.2/32", {hop("fd00::a")})});
  run("ip route flush table 1100");
  forwarding::replace(body.table(), {entry(one, "10.0.0.1/32", {hop("fd00::b")}), entry(one, "10.0.0.2/32")});
  CHECK(listed(body.table()) == forwarding::Texts{"100#10.0.0.1/32 fd00::b"});
}

TEST_CASE("what the kernel cannot have is refused with the reason") {
  const auto code = [](ForwardingTable& table, const ForwardingEntry& of) {
    const auto refusals = table.replace({&of, 1});
    REQUIRE(refusals.size() == 1);
    CHECK_FALSE(refusals.front().error.message().empty());
    return refusals.front().error.code();
  };
  const auto check_sizes = [](ForwardingTable& table) {
    const auto entries = table.list();
    REQUIRE_MESSAGE(entries.has_value(), entries.error().message());
    REQUIRE(entries->size() == 2);
    for (const auto& of : *entries) CHECK(of.hops.size() == 128);
  };
  std::vector<ForwardingHop> many;
  for (int i = 1; i <= 300; ++i) many.push_back(hop("fd00::1:" + std::to_string(i)));
  {
    PlainRoutes body;
    CHECK(code(body.table(), entry(one, "fd01::/64", {hop("192.0.2.1")})) == ErrorCode::unsupported);
    CHECK(code(body.table(), entry(one, "10.0.0.0/24", many)) == ErrorCode::exhausted);
    many.resize(128);
    forwarding::replace(body.table(), {entry(one, "10.0.0.0/24", many), entry(one, "fd01::/64", many)});
    check_sizes(body.table());
    check_sizes(*KernelRoutes::open(options("")).value());  // which has not read anything before
    run("ip link set up0 down");
    CHECK(code(body.table(), entry(one, "10.0.0.0/24", {hop("192.0.2.1")})) == ErrorCode::wrong_state);
    run("ip link set up0 up");
    forwarding::replace(body.table(), {entry(one, "10.0.0.0/24", {hop("192.0.2.1")}), entry(one, "fd01::/64")});
  }
  {
    TunnelRoutes body;
    forwarding::replace(body.table(), {entry(one, "10.0.0.0/24", many), entry(one, "fd01::/64", many)});
    check_sizes(body.table());
    body.reopen();
    check_sizes(body.table());
    forwarding::replace(body.table(), {entry(one, "10.0.0.0/24"), entry(one, "fd01::/64")});
    CHECK(code(body.table(), entry(one, "10.0.0.0/24", {hop("192.0.2.1")})) == ErrorCode::unsupported);
  }
  {
    auto table = KernelRoutes::open(options("")).value();
    CHECK(code(*table, entry(one, "10.0.0.0/24", {hop("192.0.2.1")})) == ErrorCode::wrong_state);
    CHECK(code(*table, entry(one, "fd01::/64", {hop("fd00:7::1")})) == ErrorCode::wrong_state);
    run("ip addr add 192.0.2.100/24 dev up0");
    forwarding::replace(*table, {entry(one, "10.0.0.0/24", {hop("192.0.2.1")})});
    CHECK(listed(*table) == forwarding::Texts{"100#10.0.0.0/24 192.0.2.1"});
    run("ip addr del 192.0.2.100/24 dev up0");
    flush_tables();
  }
}

TEST_CASE("options that cannot be are refused by name") {
  const auto error = [](const KernelRoutesOptions& of) {
    const auto opened = KernelRoutes::open(of);
    REQUIRE(opened.has_error());
    return std::string(name(opened.error().code())) + " " + opened.error().message();
  };
  CHECK(error({}).starts_with("invalid tables:"));
  CHECK(error({.tables = {{one, 0}}}).starts_with("invalid tables:"));
  CHECK(error({.tables = {{one, 255}}}).starts_with("invalid tables:"));
  CHECK(error({.tables = {{one, 1}, {one, 2}}}).starts_with("invalid tables: VNI 100"));
  CHECK(error({.tables = {{one, 1}, {forwarding::two, 1}}}).starts_with("invalid tables: table 1"));
  CHECK(error({.tables = {{one, 1}}, .device = "0123456789abcdef"}).starts_with("invalid device:"));
  CHECK(error({.tables = {{one, 1}}, .encapsulation = Encapsulation::ip6}).starts_with("invalid device:"));
  CHECK(error({.tables = {{one, 1}}, .protocol = 4}).starts_with("invalid protocol:"));
  CHECK(error({.tables = {{one, 1}}, .device = "nothing0"}).starts_with("not_found interface nothing0"));
  CHECK(error(options("up0", Encapsulation::ip6)).starts_with("unsupported interface up0 is no tunnel"));
}

TEST_CASE("routes of a process with other options are replaced or removed") {
  Tunnel tunnel;
  PlainRoutes body;
  forwarding::replace(body.table(),
                      {entry(one, "10.0.0.1/32", {hop("fd00::a")}), entry(one, "fd01::1/128", {hop("fd00::a")}),
                       entry(one, "10.0.0.2/32", {hop("fd00::a")})});
  const auto table = KernelRoutes::open(options("tunnel0", Encapsulation::ip6)).value();
  CHECK(listed(*table) ==
        forwarding::Texts{"100#10.0.0.1/32 0.0.0.0", "100#10.0.0.2/32 0.0.0.0", "100#fd01::1/128 0.0.0.0"});
  CHECK(table->as_listed(entry(one, "10.0.0.1/32", {{}, hop("fd00::b")})) == std::vector{hop("fd00::b")});
  forwarding::replace(*table, {entry(one, "10.0.0.1/32", {hop("fd00::b")}), entry(one, "fd01::1/128", {hop("fd00::b")}),
                               entry(one, "10.0.0.2/32")});
  CHECK(listed(*table) == forwarding::Texts{"100#10.0.0.1/32 fd00::b", "100#fd01::1/128 fd00::b"});
}

TEST_CASE("an applier installs 10,000 routes, changes and removes them, and its successor adopts them") {
  PlainRoutes body;
  run("ip route add 172.16.0.0/12 via 192.0.2.9 dev up0 onlink table 1100 proto static");
  Site site;
  site.add_reflector();
  const auto a = site.add_speaker("a", {0});
  const auto b = site.add_speaker("b", {0});
  const auto reader = site.add_speaker("reader", {0});
  site.speaker(reader).subscribe(one);
  constexpr std::uint32_t count = 10'000;
  const auto routes = [&](std::string_view next_hop, std::uint32_t from, std::uint32_t to) {
    std::vector<Route> made;
    for (auto i = from; i < to; ++i)
      made.push_back({.vni = one,
                      .destination = Prefix::host(IpAddress::v4(0x0a000000 + i)),
                      .next_hop = IpAddress::parse(next_hop).value()});
    return made;
  };
  auto applier = Applier::create({}, site.speaker(reader), body.table(), site.clock, site.log).value();
  const auto settle = [&](const auto& is_done) {
    return site.run_until([&] {
      for (int i = 0; i < 30; ++i) applier->advance();
      return is_done(applier->status());
    });
  };
  REQUIRE(site.speaker(a).announce(routes("fd00::a", 0, count)));
  REQUIRE(settle([&](const ApplierStatus& status) { return status.installed == count && status.vnis[0].is_settled; }));
  CHECK(listed(body.table()).size() == count);
  CHECK(applier->status().refusals == 0);

  // Half of them get a second next hop, some move, some go.
  REQUIRE(site.speaker(b).announce(routes("fd00::b", 0, count / 2)));
  site.speaker(a).withdraw(routes("fd00::a", 0, 1000));
  site.speaker(a).withdraw(routes("fd00::a", count - 1000, count));
  REQUIRE(settle([&](const ApplierStatus& status) { return status.installed == count - 1000 && status.pending == 0; }));
  std::map<std::string, std::size_t> kinds;
  const auto texts = listed(body.table());
  for (const auto& text : texts) ++kinds[text.substr(text.find(' ') + 1)];
  CHECK(kinds == std::map<std::string, std::size_t>{{"fd00::a", 4000}, {"fd00::a fd00::b", 4000}, {"fd00::b", 1000}});

  // The kernel drops all of them; they come back with the next listing.
  run("ip link set up0 down && ip link set up0 up");
  CHECK(listed(body.table()).empty());
  applier->relist();
  REQUIRE(settle([&](const ApplierStatus& status) {
    return status.repaired == count - 1000 && status.installed == count - 1000 && status.pending == 0;
  }));
  CHECK(listed(body.table()) == texts);
  run("ip route add 172.16.0.0/12 via 192.0.2.9 dev up0 onlink table 1100 proto static");

  // Both the speaker and the applier begin anew; the routes stay as they are.
  applier.reset();
  site.kill_speaker(reader);
  body.reopen();
  site.start_speaker(reader);
  site.speaker(reader).subscribe(one);
  applier = Applier::create({}, site.speaker(reader), body.table(), site.clock, site.log).value();
  applier->advance();
  CHECK(applier->status().adopted == count - 1000);
  REQUIRE(settle([&](const ApplierStatus& status) {
    return status.vnis[0].is_settled && status.wanted == count - 1000 && status.pending == 0;
  }));
  CHECK(applier->status().replaced == 0);
  CHECK(applier->status().removed == 0);
  CHECK(listed(body.table()) == texts);

  site.speaker(reader).unsubscribe(one);
  REQUIRE(settle([&](const ApplierStatus& status) { return status.installed == 0; }));
  CHECK(listed(body.table()).empty());
  CHECK(output("ip route show table 1100").find("172.16.0.0/12 via 192.0.2.9") == 0);
}

}  // namespace ironcore::routing::testing
