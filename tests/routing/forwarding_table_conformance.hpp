// SPDX-License-Identifier: Apache-2.0
// What every body of the seam ForwardingTable does.
#pragma once

#include <doctest/doctest.h>

#include <algorithm>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "ironcore/routing/forwarding_table.hpp"

namespace ironcore::routing::testing {

/// A table with nothing of ours in it.
class ForwardingTableBody {
 public:
  virtual ~ForwardingTableBody() = default;
  virtual ForwardingTable& table() = 0;
  /// As a later process sees it.
  virtual void reopen() = 0;
  /// Of this VNI new hops are refused, as what they are for is not there.
  virtual Vni absent() = 0;
  virtual void bring_absent() = 0;
};

namespace forwarding {

inline const Vni one = *Vni::make(100);
inline const Vni two = *Vni::make(200);

inline Prefix prefix(std::string_view text) {
  return Prefix::parse(text).value();
}
inline ForwardingHop hop(std::string_view address, unsigned weight = 1) {
  return {.address = IpAddress::parse(address).value(), .weight = static_cast<std::uint8_t>(weight)};
}
inline ForwardingEntry entry(Vni vni, std::string_view destination, std::vector<ForwardingHop> hops = {}) {
  return {vni, prefix(destination), merged(std::move(hops))};
}

/// What is listed, in an order.
inline std::vector<std::string> listed(ForwardingTable& table) {
  const auto entries = table.list();
  REQUIRE_MESSAGE(entries.has_value(), entries.error().message());
  std::vector<std::string> texts;
  for (const auto& entry : *entries) {
    CHECK(entry.hops == merged(entry.hops));
    auto text = entry.vni.to_text() + "#" + entry.destination.to_text();
    for (const auto& way : entry.hops) text += " " + to_text(way);
    texts.push_back(text);
  }
  std::ranges::sort(texts);
  return texts;
}
using Texts = std::vector<std::string>;

inline void replace(ForwardingTable& table, const std::vector<ForwardingEntry>& entries) {
  for (const auto& refusal : table.replace(entries))
    FAIL_CHECK(std::to_string(refusal.index) << ": " << refusal.error.message());
}

template <class Body>
void installs_and_removes() {
  Body body;
  auto& table = body.table();
  CHECK(listed(table).empty());
  replace(table, {entry(one, "10.0.0.1/32", {hop("fd00::a")}), entry(one, "fd01::/64", {hop("fd00::b")}),
                  entry(two, "10.0.0.1/32", {hop("fd00::c")}), entry(two, "0.0.0.0/0", {hop("fd00::d")}),
                  entry(two, "::/0", {hop("fd00::d")})});
  CHECK(listed(table) == Texts{"100#10.0.0.1/32 fd00::a", "100#fd01::/64 fd00::b", "200#0.0.0.0/0 fd00::d",
                               "200#10.0.0.1/32 fd00::c", "200#::/0 fd00::d"});
  replace(table, {entry(one, "10.0.0.1/32"), entry(two, "::/0"), entry(two, "10.9.9.9/32"), entry(two, "0.0.0.0/0")});
  CHECK(listed(table) == Texts{"100#fd01::/64 fd00::b", "200#10.0.0.1/32 fd00::c"});
  replace(table, {entry(one, "10.0.0.1/32")});
  CHECK(listed(table).size() == 2);
}

template <class Body>
void replaces_sets_of_hops() {
  Body body;
  auto& table = body.table();
  for (const auto* const destination : {"10.0.0.0/24", "fd01::1/128"}) {
    const auto text = "100#" + std::string(destination);
    const auto set = [&](std::vector<ForwardingHop> hops) {
      replace(table, {entry(one, destination, std::move(hops))});
    };
    set({hop("fd00::a")});
    CHECK(listed(table) == Texts{text + " fd00::a"});
    set({hop("fd00::a"), hop("fd00::b"), hop("fd00::c")});
    CHECK(listed(table) == Texts{text + " fd00::a fd00::b fd00::c"});
    set({hop("fd00::a"), hop("fd00::b"), hop("fd00::c")});
    CHECK(listed(table) == Texts{text + " fd00::a fd00::b fd00::c"});
    set({hop("fd00::b", 3), hop("fd00::d", 200)});
    CHECK(listed(table) == Texts{text + " fd00::b,weight=3 fd00::d,weight=200"});
    set({hop("fd00::e")});
    CHECK(listed(table) == Texts{text + " fd00::e"});
    set({});
    CHECK(listed(table).empty());
  }
}

/// Whatever a body cannot express, it says so before, and then once more the same.
template <class Body>
void lists_as_it_says() {
  Body body;
  auto& table = body.table();
  auto balanced = hop("fd00::a");
  balanced.type = RouteType::load_balancer_target;
  auto low = hop("fd00::b", 2);
  low.type = RouteType::nat;
  low.nat_ports = {1024, 2047};
  auto high = low;
  high.nat_ports = {2048, 4095};
  auto elsewhere = hop("fd00::c", 7);
  elsewhere.target_vni = two;
  const std::vector entries{entry(one, "192.0.2.1/32", {hop("fd00::a"), balanced, hop("fd00::b")}),
                            entry(one, "192.0.2.2/32", {low, high}), entry(one, "192.0.2.3/32", {elsewhere}),
                            entry(one, "fd01::3/128", {elsewhere, hop("fd00::d")})};
  replace(table, entries);
  Texts expected;
  for (const auto& wanted : entries) {
    auto said = wanted;
    said.hops = table.as_listed(wanted);
    CHECK_FALSE(said.hops.empty());
    CHECK(table.as_listed(said) == said.hops);
    auto text = said.vni.to_text() + "#" + said.destination.to_text();
    for (const auto& way : said.hops) text += " " + to_text(way);
    expected.push_back(text);
  }
  CHECK(listed(table) == expected);
}

template <class Body>
void takes_many_in_their_order() {
  Body body;
  auto& table = body.table();
  std::vector<ForwardingEntry> entries;
  for (std::uint32_t i = 0; i < 3000; ++i)
    entries.push_back({one, Prefix::host(IpAddress::v4(0x0a010000 + i)), {hop(i % 2 == 0 ? "fd00::a" : "fd00::b")}});
  replace(table, entries);
  CHECK(listed(table).size() == entries.size());
  for (auto& changed : entries) changed.hops = {hop("fd00::c")};
  entries.push_back(entry(one, "10.9.0.0/16", {hop("fd00::a")}));
  entries.push_back(entry(one, "10.9.0.0/16"));
  entries.push_back(entry(one, "10.9.0.0/16", {hop("fd00::b")}));
  entries.front().hops.clear();
  replace(table, entries);
  const auto texts = listed(table);
  CHECK(texts.size() == 3000);
  CHECK(std::ranges::count_if(texts, [](const auto& text) { return text.ends_with(" fd00::c"); }) == 2999);
  CHECK(std::ranges::count(texts, "100#10.9.0.0/16 fd00::b") == 1);
  for (auto& removed : entries) removed.hops.clear();
  replace(table, entries);
  CHECK(listed(table).empty());
}

template <class Body>
void refuses_one_by_one() {
  Body body;
  auto& table = body.table();
  const std::vector entries{entry(one, "10.0.0.1/32", {hop("fd00::a")}),
                            entry(body.absent(), "10.0.0.2/32", {hop("fd00::a")}),
                            entry(two, "10.0.0.3/32", {hop("fd00::a")}), entry(body.absent(), "10.0.0.2/32")};
  const auto refusals = table.replace(entries);
  REQUIRE(refusals.size() == 1);
  CHECK(refusals.front().index == 1);
  CHECK_MESSAGE((refusals.front().error.code() == ErrorCode::not_found ||
                 refusals.front().error.code() == ErrorCode::wrong_state),
                refusals.front().error.message());
  CHECK(listed(table) == Texts{"100#10.0.0.1/32 fd00::a", "200#10.0.0.3/32 fd00::a"});
  const auto text = body.absent().to_text() + "#10.0.0.2/32 fd00::a";
  body.bring_absent();
  replace(body.table(), {entries[1]});
  CHECK(std::ranges::count(listed(body.table()), text) == 1);
}

template <class Body>
void outlives_who_installed() {
  Body body;
  replace(body.table(),
          {entry(one, "10.0.0.1/32", {hop("fd00::a"), hop("fd00::b")}), entry(two, "fd01::/64", {hop("fd00::c")})});
  body.reopen();
  CHECK(listed(body.table()) == Texts{"100#10.0.0.1/32 fd00::a fd00::b", "200#fd01::/64 fd00::c"});
  body.reopen();  // changes without having listed
  replace(body.table(), {entry(one, "10.0.0.1/32", {hop("fd00::d")}), entry(two, "fd01::/64")});
  CHECK(listed(body.table()) == Texts{"100#10.0.0.1/32 fd00::d"});
}

}  // namespace forwarding

#define IRONCORE_FORWARDING_TABLE_CONFORMANCE(Body)                                                         \
  TEST_CASE_TEMPLATE("prefixes of several VNIs and both families come and go", T, Body) {                   \
    forwarding::installs_and_removes<T>();                                                                  \
  }                                                                                                         \
  TEST_CASE_TEMPLATE("the next hops of a prefix are replaced as a set, with weights", T, Body) {            \
    forwarding::replaces_sets_of_hops<T>();                                                                 \
  }                                                                                                         \
  TEST_CASE_TEMPLATE("a table lists what it says that it will list", T, Body) {                             \
    forwarding::lists_as_it_says<T>();                                                                      \
  }                                                                                                         \
  TEST_CASE_TEMPLATE("many entries of one call are taken in their order", T, Body) {                        \
    forwarding::takes_many_in_their_order<T>();                                                             \
  }                                                                                                         \
  TEST_CASE_TEMPLATE("an entry that is refused stops no other one, and is taken when it can be", T, Body) { \
    forwarding::refuses_one_by_one<T>();                                                                    \
  }                                                                                                         \
  TEST_CASE_TEMPLATE("what is installed outlives the process, and the next one may change it", T, Body) {   \
    forwarding::outlives_who_installed<T>();                                                                \
  }

}  // namespace ironcore::routing::testing
