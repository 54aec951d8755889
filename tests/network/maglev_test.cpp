// SPDX-License-Identifier: Apache-2.0
// Shares, weights, and how little changes.
#include "dataplane/maglev.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <vector>

#include "dataplane/hash.hpp"

using namespace ironcore::network::dataplane;

namespace {

std::vector<Maglev::Target> targets(std::size_t count) {
  std::vector<Maglev::Target> result;
  for (std::size_t i = 0; i < count; ++i) {
    const std::uint64_t words[] = {0xfc00'0000'0000'0000, i};
    result.push_back({.id = ironcore::hash_words(words)});
  }
  return result;
}

std::vector<std::size_t> shares(const Maglev& table, std::size_t count) {
  std::vector<std::size_t> result(count);
  for (const auto target : table.places()) ++result.at(target);
  return result;
}

/// The part of the places of those who stay that has another target.
double moved(const Maglev& before, const Maglev& after, std::uint16_t left) {
  std::size_t changes = 0, kept = 0;
  for (std::size_t i = 0; i < before.places().size(); ++i) {
    if (before.places()[i] == left) continue;
    ++kept;
    if (before.places()[i] != after.places()[i]) ++changes;
  }
  return static_cast<double>(changes) / static_cast<double>(kept);
}

}  // namespace

TEST_CASE("targets of the same weight have the same share, but for one place") {
  for (const std::size_t count : {1U, 2U, 3U, 10U, 100U, 655U}) {
    const auto of = shares(Maglev(targets(count), Maglev::default_size), count);
    const auto [least, most] = std::minmax_element(of.begin(), of.end());
    CHECK(*most - *least <= 1);
  }
}

TEST_CASE("a weight is a share") {
  auto some = targets(5);
  some[0].weight = 1;
  some[1].weight = 2;
  some[2].weight = 7;
  some[3].weight = 10;
  some[4].weight = 0;
  const auto of = shares(Maglev(some, Maglev::default_size), 5);
  for (std::size_t i = 0; i < 5; ++i)
    CHECK(static_cast<double>(of[i]) == doctest::Approx(65'537.0 * some[i].weight / 20).epsilon(0.001));
}

TEST_CASE("nobody is chosen where nobody has a weight") {
  CHECK(Maglev().pick(5) == Maglev::nobody);
  CHECK(Maglev({}, 503).pick(5) == Maglev::nobody);
  auto draining = targets(2);
  draining[0].weight = draining[1].weight = 0;
  CHECK(Maglev(draining, 503).pick(5) == Maglev::nobody);
}

TEST_CASE("every place can be picked and no other") {
  const Maglev table(targets(7), 503);
  CHECK(table.pick(0) == table.places().front());
  CHECK(table.pick(~std::uint64_t{0}) == table.places().back());
}

TEST_CASE("the order of the targets makes no difference") {
  const auto some = targets(20);
  const std::vector<Maglev::Target> reversed(some.rbegin(), some.rend());
  const Maglev a(some, 5003), b(reversed, 5003);
  for (std::size_t i = 0; i < 5003; ++i) REQUIRE(a.places()[i] == 19 - b.places()[i]);
}

// The paper's figure 12: with a table of 65,537 places for 1,000 targets, few per cent of them failing change few per cent of the others.
TEST_CASE("one that leaves moves few of the others, and comes back to where it was") {
  const auto all = targets(100);
  const Maglev before(all, Maglev::default_size);
  for (const std::uint16_t left : std::vector<std::uint16_t>{0, 17, 99}) {
    auto fewer = all;
    fewer[left].weight = 0;
    const Maglev after(fewer, Maglev::default_size);
    CHECK(moved(before, after, left) < 0.02);
    CHECK(shares(after, 100)[left] == 0);
  }
  const Maglev again(all, Maglev::default_size);
  CHECK(std::equal(before.places().begin(), before.places().end(), again.places().begin()));
}

TEST_CASE("another weight moves places to or from that target, and few others") {
  auto all = targets(50);
  const Maglev before(all, Maglev::default_size);
  all[7].weight = 2;
  const Maglev after(all, Maglev::default_size);
  std::size_t others = 0;
  for (std::size_t i = 0; i < before.places().size(); ++i)
    if (before.places()[i] != after.places()[i] && after.places()[i] != 7) ++others;
  CHECK(others < Maglev::default_size / 20);
}

TEST_CASE("primes") {
  for (const std::uint32_t prime : {2U, 3U, 503U, 65'537U, 4'294'967'291U}) CHECK(is_prime(prime));
  for (const std::uint32_t other : {0U, 1U, 4U, 65'535U, 4'294'967'295U}) CHECK(!is_prime(other));
}
