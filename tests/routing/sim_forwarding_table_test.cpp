// SPDX-License-Identifier: Apache-2.0
// The table in memory keeps the contract of the seam, and has the faults that are asked for.
#include "ironcore/sim/forwarding_table.hpp"

#include "forwarding_table_conformance.hpp"

namespace ironcore::routing::testing {

namespace {

class SimTable final : public ForwardingTableBody {
 public:
  SimTable() { table_.set_missing(absent(), forwarding::prefix("10.0.0.2/32")); }
  sim::ForwardingTable& table() override { return table_; }
  void reopen() override {}
  Vni absent() override { return *Vni::make(300); }
  void bring_absent() override { table_.set_there(absent(), forwarding::prefix("10.0.0.2/32")); }

 private:
  sim::ForwardingTable table_;
};

}  // namespace
}  // namespace ironcore::routing::testing

TYPE_TO_STRING(ironcore::routing::testing::SimTable);

namespace ironcore::routing::testing {

IRONCORE_FORWARDING_TABLE_CONFORMANCE(SimTable);

TEST_CASE("a simulated table has the faults that are asked for") {
  using namespace forwarding;
  sim::ForwardingTable table;
  const std::vector entries{entry(one, "10.0.0.1/32", {hop("fd00::a")}), entry(one, "10.0.0.2/32", {hop("fd00::a")})};
  table.fail(1);
  REQUIRE(table.replace(entries).size() == 1);
  CHECK(listed(table) == Texts{"100#10.0.0.2/32 fd00::a"});
  table.fail(1, ErrorCode::timeout);
  CHECK(table.replace(entries).front().error.code() == ErrorCode::timeout);
  CHECK(listed(table).size() == 2);
  table.set_most_per_call(1);
  const auto refusals = table.replace(entries);
  REQUIRE(refusals.size() == 1);
  CHECK(refusals.front().index == 1);
  CHECK(refusals.front().error.code() == ErrorCode::unavailable);
  table.fail_listing(1);
  CHECK(table.list().error().code() == ErrorCode::unavailable);
  table.heal();
  CHECK(table.replace(entries).empty());
  CHECK(table.operations() == 8);
}

TEST_CASE("equal hops are one, the heaviest, and hops have a text") {
  using namespace forwarding;
  auto nat = hop("fd00::a", 2);
  nat.type = RouteType::nat;
  nat.nat_ports = {1024, 2047};
  nat.target_vni = two;
  CHECK(to_text(nat) == "fd00::a#nat#1024#2047,target=200,weight=2");
  CHECK(merged({hop("fd00::b"), nat, hop("fd00::a"), hop("fd00::b", 9)}) ==
        std::vector{hop("fd00::a"), nat, hop("fd00::b", 9)});
}

}  // namespace ironcore::routing::testing
