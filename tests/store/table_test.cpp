// SPDX-License-Identifier: Apache-2.0
// The table of objects: compared with a plain map, while snapshots are held.
#include "store/local_store/table.hpp"

#include <doctest/doctest.h>

#include <map>
#include <random>

#include "objects.hpp"

using namespace ironcore;
using namespace ironcore::test;
using ironcore::store::local_store::NameView;
using ironcore::store::local_store::Table;

namespace {

using Model = std::map<std::pair<std::string, std::string>, Object>;

std::vector<Object> objects_in(const Table::Snapshot& snapshot) {
  std::vector<Object> result;
  snapshot.for_each([&](const Object& object) {
    result.push_back(object);
    return true;
  });
  return result;
}

std::vector<Object> range(const Model& model, const std::string& namespace_, const NameView* after) {
  std::vector<Object> result;
  for (const auto& [name, object] : model)
    if ((namespace_.empty() || name.first == namespace_) &&
        (after == nullptr || *after < NameView{name.first, name.second}))
      result.push_back(object);
  return result;
}

}  // namespace

TEST_CASE("a table holds what a map would hold, and a snapshot what there was") {
  for (const std::uint64_t seed : {1U, 2U, 3U, 4U}) {
    CAPTURE(seed);
    std::mt19937_64 random(seed);
    const auto names = 20 + 2000 * (seed % 2);
    Table table;
    Model model;
    std::vector<std::pair<Table::Snapshot, std::vector<Object>>> snapshots;
    for (int step = 0; step < 12'000; ++step) {
      const auto namespace_ = std::string(1, static_cast<char>('a' + random() % 3));
      const auto name = "m-" + std::to_string(random() % names);
      // Growing and shrinking by turns.
      if (random() % 10 < (step / 3000 % 2 == 0 ? 7U : 3U)) {
        const auto object = Object::of(machine(name, namespace_));
        table.put(object);
        model.insert_or_assign({namespace_, name}, object);
      } else {
        table.erase({namespace_, name});
        model.erase({namespace_, name});
      }
      if (step % 97 == 0) {
        const auto wanted = random() % 4 == 0 ? std::string() : namespace_;
        const NameView position{namespace_, name};
        const auto* after = random() % 2 == 0 ? &position : nullptr;
        const auto enough = random() % 2 == 0 ? static_cast<std::size_t>(-1) : 1 + random() % 300;
        auto snapshot = table.snapshot(wanted, after, enough);
        auto expected = range(model, wanted, after);
        auto found = objects_in(snapshot);
        REQUIRE(found.size() == snapshot.size());
        REQUIRE(found.size() >= std::min(expected.size(), enough));
        REQUIRE(found.size() <= expected.size());
        expected.resize(found.size(), expected.empty() ? Object::of(machine("x")) : expected.front());
        REQUIRE(found == expected);
        if (snapshots.size() < 40) snapshots.emplace_back(std::move(snapshot), std::move(found));
      }
      if (step % 500 == 0) {
        REQUIRE(table.size() == model.size());
        REQUIRE(table.is_empty() == model.empty());
        REQUIRE(objects_in(table.snapshot()) == range(model, "", nullptr));
      }
      const auto* found = table.find({namespace_, name});
      const auto expected = model.find({namespace_, name});
      REQUIRE((found != nullptr) == (expected != model.end()));
      if (found != nullptr) REQUIRE(found->value() == expected->second.value());
    }
    for (const auto& [snapshot, objects] : snapshots) CHECK(objects_in(snapshot) == objects);
    for (const auto& [name, object] : model) table.erase({name.first, name.second});
    CHECK(table.is_empty());
  }
}

TEST_CASE("a namespace with a zero byte holds nothing") {
  Table table;
  for (const auto* name : {"a", "b", "bc", "c"}) table.put(Object::of(machine(name)));
  using namespace std::string_view_literals;
  CHECK(table.snapshot("default").size() == 4);
  CHECK(table.snapshot("default\0b"sv).size() == 0);
  CHECK(table.find({"default\0b"sv, ""}) == nullptr);
}

TEST_CASE("a table can be filled at once") {
  std::vector<Object> sorted;
  for (int i = 0; i < 1000; ++i) sorted.push_back(Object::of(machine("m-" + std::to_string(1000 + i))));
  Table table;
  const std::vector<Table::Entry> entries(sorted.begin(), sorted.end());
  table.fill(entries);
  CHECK(table.size() == 1000);
  CHECK(objects_in(table.snapshot()) == sorted);
  CHECK(table.find({"default", "m-1500"})->value() == sorted[500].value());
  table.fill({});
  CHECK(table.is_empty());
}
