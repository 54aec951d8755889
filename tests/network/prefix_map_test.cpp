// SPDX-License-Identifier: Apache-2.0
// The longest prefix, against looking at all of them.
#include "dataplane/prefix_map.hpp"

#include <doctest/doctest.h>

#include <iterator>
#include <map>
#include <random>
#include <utility>
#include <vector>

using namespace ironcore::network::dataplane;

namespace {

using Model = std::map<std::pair<PrefixBits, unsigned>, std::uint32_t>;

std::optional<PrefixMap::Match> longest(const Model& model, PrefixBits address) {
  for (unsigned length = 129; length-- > 0;) {
    const auto found = model.find({first_bits(address, length), length});
    if (found != model.end()) return PrefixMap::Match{found->second, length};
  }
  return std::nullopt;
}

Model contents(const PrefixMap& map) {
  Model result;
  std::pair<PrefixBits, unsigned> last{{}, 0};
  bool is_ordered = true;
  map.for_each([&](PrefixBits prefix, unsigned length, std::uint32_t value) {
    is_ordered = is_ordered && (result.empty() || last < std::pair(prefix, length));
    last = {prefix, length};
    result[last] = value;
  });
  CHECK(is_ordered);
  return result;
}

/// What is behind each place, there or not, and that a visit ends when it is told so.
void check_visits(const PrefixMap& map, const Model& model, std::mt19937_64& random) {
  for (int i = 0; i < 20; ++i) {
    PrefixMap::Place place{{random() & random(), random() & random()}, static_cast<unsigned>(random() % 129)};
    if (i % 2 == 0 && !model.empty()) {
      const auto one = std::next(model.begin(), static_cast<std::ptrdiff_t>(random() % model.size()));
      place = {one->first.first, one->first.second};
    }
    place.prefix = first_bits(place.prefix, place.length);
    auto expected = model.upper_bound({place.prefix, place.length});
    std::size_t left = 1 + random() % 50;
    const bool is_all = map.visit(place, [&](PrefixBits prefix, unsigned length, std::uint32_t value) {
      REQUIRE(expected != model.end());
      CHECK(expected->first == std::pair(prefix, length));
      CHECK(expected->second == value);
      ++expected;
      return --left > 0;
    });
    if (left > 0) CHECK(expected == model.end());
    CHECK(is_all == (left > 0));
  }
}

PrefixBits v4(std::uint32_t address) {
  return {static_cast<std::uint64_t>(address) << 32, 0};
}

}  // namespace

TEST_CASE("the longest prefix wins, and an address without one has none") {
  PrefixMap map;
  CHECK(!map.find(v4(0x0a000001)));
  map.set(v4(0x0a000000), 8, 1);
  map.set(v4(0x0a010000), 16, 2);
  map.set(v4(0x0a010203), 32, 3);
  CHECK(map.find(v4(0x0a010203)) == PrefixMap::Match{3, 32});
  CHECK(map.find(v4(0x0a010204)) == PrefixMap::Match{2, 16});
  CHECK(map.find(v4(0x0aff0000)) == PrefixMap::Match{1, 8});
  CHECK(!map.find(v4(0x0b000000)));
  map.set({}, 0, 9);
  CHECK(map.find(v4(0x0b000000)) == PrefixMap::Match{9, 0});
  CHECK(map.size() == 4);
  CHECK(map.erase(v4(0x0a010000), 16));
  CHECK(!map.erase(v4(0x0a010000), 16));
  CHECK(map.find(v4(0x0a010204)) == PrefixMap::Match{1, 8});
}

TEST_CASE("bits behind the prefix do not count") {
  PrefixMap map;
  map.set(v4(0x0a0000ff), 24, 1);
  CHECK(map.get(v4(0x0a000001), 24) == 1);
  map.set(v4(0x0a000001), 24, 2);
  CHECK(map.size() == 1);
  CHECK(map.find(v4(0x0a0000aa)) == PrefixMap::Match{2, 24});
}

TEST_CASE("prefixes of every length can be there at once") {
  PrefixMap map;
  const PrefixBits address{0x20010db8deadbeef, 0x0123456789abcdef};
  for (unsigned length = 0; length <= 128; ++length) map.set(address, length, length);
  CHECK(map.size() == 129);
  for (unsigned length = 128;; --length) {
    CHECK(map.find(address) == PrefixMap::Match{length, length});
    CHECK(map.erase(address, length));
    if (length == 0) break;
  }
  CHECK(map.size() == 0);
  CHECK(map.bytes() == 0);
}

TEST_CASE("random changes are those of the model, and a copy keeps what it had") {
  for (const unsigned seed : {1U, 2U, 3U}) {
    std::mt19937_64 random(seed);  // NOLINT: the same in every run
    const unsigned longest_prefix = seed == 1 ? 32 : 128;
    PrefixMap map;
    Model model;
    std::vector<std::pair<PrefixMap, Model>> copies;
    // Few different bits, so that prefixes contain each other and are met again.
    const auto any = [&] {
      PrefixBits bits{
          random() & random(),
          random() & random() & random()};  // NOLINT(misc-redundant-expression): each call is another number
      if (random() % 2 == 0) bits.high &= 0xf0f0'0000'0000'0000;
      return first_bits(bits, longest_prefix);
    };
    for (int round = 0; round < 30'000; ++round) {
      const auto length = static_cast<unsigned>(random() % (longest_prefix + 1));
      const auto prefix = any();
      if (random() % 3 != 0) {
        const auto value = static_cast<std::uint32_t>(random());
        map.set(prefix, length, value);
        model[{first_bits(prefix, length), length}] = value;
      } else if (!model.empty()) {
        auto victim = model.lower_bound({prefix, length});
        if (victim == model.end()) victim = model.begin();
        REQUIRE(map.erase(victim->first.first, victim->first.second));
        model.erase(victim);
      }
      REQUIRE(map.size() == model.size());
      const auto address = any();
      REQUIRE(map.find(address) == longest(model, address));
      if (round % 500 == 0) check_visits(map, model, random);
      if (round % 1000 == 0) copies.emplace_back(map, model);
      if (round % 3000 == 2999) std::swap(copies.front(), copies.back());
      if (copies.size() > 5) copies.erase(copies.begin());
    }
    CHECK(contents(map) == model);
    for (auto& [copy, expected] : copies) {
      CHECK(contents(copy) == expected);
      // Emptying a copy leaves the others as they are.
      for (const auto& [key, value] : expected) CHECK(copy.erase(key.first, key.second));
      CHECK(copy.bytes() == 0);
    }
    CHECK(contents(map) == model);
  }
}

TEST_CASE("maps can be moved, assigned and destroyed in any order") {
  PrefixMap a;
  a.set(v4(1), 32, 1);
  PrefixMap b = a;
  PrefixMap c = std::move(a);
  b.set(v4(2), 32, 2);
  a = b;
  b = PrefixMap();
  CHECK(a.size() == 2);
  CHECK(c.size() == 1);
  CHECK(b.size() == 0);
  CHECK(!b.find(v4(1)));
}
