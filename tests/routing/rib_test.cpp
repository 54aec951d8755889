// SPDX-License-Identifier: Apache-2.0
// The table against a plain model: what it holds, what it says has changed, and how much of it remains.
#include "rib.hpp"

#include <doctest/doctest.h>

#include <map>
#include <random>
#include <vector>

using namespace ironcore;
using namespace ironcore::routing;

namespace {

Record route(std::uint32_t vni, std::uint32_t address, OriginId origin, std::uint64_t version, unsigned weight = 1) {
  Route route;
  route.vni = *Vni::make(vni);
  route.destination = Prefix::host(IpAddress::v4(address));
  route.next_hop = *IpAddress::parse("fd00::1");
  route.weight = static_cast<std::uint8_t>(weight);
  return announcement(route, origin, version);
}

constexpr OriginId host_1{1};
constexpr OriginId host_2{2};

/// What a reader holds that was told changes.
class Reader {
 public:
  void take(const Record& record) {
    const auto key = key_words(record);
    switch (record.operation()) {
      case Operation::announce:
        routes_[key] = record;
        break;
      case Operation::withdraw:
        routes_.erase(key);
        break;
      case Operation::origin_gone:
        std::erase_if(routes_, [&](const auto& entry) { return entry.second.origin == record.origin; });
        break;
    }
  }
  std::uint64_t digest() const {
    std::uint64_t sum = 0;
    for (const auto& [key, record] : routes_) sum += content_hash(record);
    return sum;
  }
  std::size_t size() const { return routes_.size(); }

 private:
  std::map<std::array<std::uint64_t, 7>, Record> routes_;
};

}  // namespace

TEST_CASE("a table holds what was announced and tells it in the order of the last changes") {
  Rib rib(Rib::Streams::per_vni, 1);
  CHECK(rib.announce(route(7, 1, host_1, 10)) == Rib::Change::changed);
  CHECK(rib.announce(route(7, 2, host_1, 11)) == Rib::Change::changed);
  CHECK(rib.announce(route(8, 1, host_1, 12)) == Rib::Change::changed);
  CHECK(rib.announce(route(7, 1, host_1, 13)) == Rib::Change::none);  // only the version is new
  CHECK(rib.state(7).sequence == 2);
  CHECK(rib.find_announcement(route(7, 1, host_1, 0))->version == 13);
  CHECK(rib.announce(route(7, 1, host_1, 14, 5)) == Rib::Change::changed);
  CHECK(rib.state(7).sequence == 3);
  CHECK(rib.state(7).routes == 2);
  CHECK(rib.state(8).sequence == 1);
  CHECK(rib.state(9).sequence == 0);
  CHECK(rib.streams().size() == 2);  // asking for 9 made none
  CHECK(rib.origin(host_1).routes == 3);

  std::vector<std::uint64_t> versions;
  const auto piece = rib.changes(7, 0, 100, [&](const Record& record) { versions.push_back(record.version); });
  CHECK(piece.to == 3);
  CHECK(piece.is_last);
  CHECK(versions == std::vector<std::uint64_t>{11, 14});
  versions.clear();
  const auto first = rib.changes(7, 0, 1, [&](const Record& record) { versions.push_back(record.version); });
  CHECK(first.to == 2);
  CHECK(!first.is_last);
  CHECK(versions == std::vector<std::uint64_t>{11});
}

TEST_CASE("a withdrawal leaves a tombstone of its version, and one of version 0 says only that it is not known") {
  Rib rib(Rib::Streams::per_vni, 1);
  const auto one = route(7, 1, host_1, 10);
  rib.announce(one);
  CHECK(rib.withdraw(withdrawal(one, 20)) == Rib::Change::changed);
  CHECK(rib.find_announcement(one) == nullptr);
  CHECK(rib.find(one)->version == 20);
  CHECK(rib.withdraw(withdrawal(one, 19)) == Rib::Change::none);
  CHECK(rib.withdraw(withdrawal(one, 21)) == Rib::Change::changed);
  CHECK(rib.state(7).tombstones == 1);
  CHECK(rib.announce(one) == Rib::Change::changed);
  CHECK(rib.state(7).tombstones == 0);
  CHECK(rib.withdraw(withdrawal(one, 0)) == Rib::Change::changed);
  CHECK(rib.withdraw(withdrawal(one, 0)) == Rib::Change::none);
  const auto unknown = route(7, 2, host_1, 1);
  CHECK(rib.withdraw(withdrawal(unknown, 0)) == Rib::Change::none);
  CHECK(rib.find(unknown) == nullptr);
  CHECK(rib.withdraw(withdrawal(unknown, 5)) == Rib::Change::changed);  // a reader may know it from elsewhere
  CHECK(rib.routes() == 0);
  CHECK(rib.origins().empty());
  CHECK(rib.state(7).digest == 0);
}

TEST_CASE("the end of an origin is one change of each VNI in which it had routes") {
  Rib rib(Rib::Streams::per_vni, 1);
  for (std::uint32_t i = 0; i < 100; ++i) rib.announce(route(7, i, host_1, i + 1));
  rib.announce(route(7, 1, host_2, 1));
  rib.announce(route(8, 1, host_1, 200));
  std::size_t removed = 0;
  CHECK(rib.remove_origin(7, host_1, [&](const Record&) { ++removed; }) == Rib::Change::changed);
  CHECK(removed == 100);
  CHECK(rib.state(7).sequence == 102);
  CHECK(rib.state(7).routes == 1);
  CHECK(rib.state(8).routes == 1);
  CHECK(rib.remove_origin(7, host_1, [](const Record&) {}) == Rib::Change::none);
  std::vector<Operation> operations;
  rib.changes(7, 100, 100, [&](const Record& record) { operations.push_back(record.operation()); });
  CHECK(operations == std::vector{Operation::announce, Operation::origin_gone});
  rib.announce(route(7, 3, host_1, 300));
  rib.remove_origin(7, host_1, [](const Record&) {});
  operations.clear();
  rib.changes(7, 0, 100, [&](const Record& record) { operations.push_back(record.operation()); });
  CHECK(operations == std::vector{Operation::announce, Operation::origin_gone});  // said once
  rib.announce(route(7, 3, host_1, 400));
  removed = 0;
  rib.remove_origin(host_1, [&](const Record&) { ++removed; });
  CHECK(removed == 2);
  CHECK(rib.routes() == 1);
  CHECK(rib.origins() == std::vector{host_2});
  CHECK(rib.tombstones() == 2);
  for (const std::uint32_t vni : {7U, 8U}) {
    operations.clear();
    rib.changes(vni, rib.state(vni).sequence - 1, 100,
                [&](const Record& record) { operations.push_back(record.operation()); });
    CHECK(operations == std::vector{Operation::origin_gone});
  }
}

TEST_CASE("with too many tombstones in all streams the oldest is forgotten, wherever it is") {
  Rib rib(Rib::Streams::per_vni, 1, {.stream_tombstones = 100, .total_tombstones = 10});
  for (std::uint32_t i = 0; i < 10; ++i) rib.withdraw(withdrawal(route(i, 1, host_1, 1), 1));
  rib.withdraw(withdrawal(route(0, 1, host_1, 1), 2));  // said again: now VNI 1 has the oldest
  rib.withdraw(withdrawal(route(50, 1, host_2, 1), 1));
  CHECK(rib.tombstones() == 10);
  CHECK(rib.state(0).tombstones == 1);
  CHECK(rib.state(0).complete_from == 0);
  CHECK(rib.state(1).tombstones == 0);
  CHECK(rib.state(1).complete_from == 1);
  CHECK(rib.state(50).tombstones == 1);
  // One that is announced again is none.
  rib.announce(route(2, 1, host_1, 3));
  rib.withdraw(withdrawal(route(51, 1, host_2, 1), 1));
  rib.withdraw(withdrawal(route(52, 1, host_2, 1), 1));
  CHECK(rib.state(2).routes == 1);
  CHECK(rib.state(2).complete_from == 0);
  CHECK(rib.state(3).tombstones == 0);
}

TEST_CASE("a stream that is cleared knows nothing any more, withdrawals neither, and readers begin again") {
  Rib rib(Rib::Streams::per_vni, 1);
  const auto one = route(7, 1, host_1, 1);
  const auto two = route(7, 2, host_1, 2);
  const auto other = route(8, 1, host_1, 3);
  for (const auto& record : {one, two, other}) rib.announce(record);
  rib.withdraw(withdrawal(two, 9));
  rib.announce(route(7, 3, host_2, 4));
  rib.remove_origin(host_2, [](const Record&) {});
  std::vector<Record> forgotten;
  rib.clear_stream(7, [&](const Record& record) {
    CHECK(rib.find(record) == nullptr);
    forgotten.push_back(record);
  });
  CHECK(forgotten == std::vector{one, withdrawal(two, 9), gone(7, host_2)});
  const auto state = rib.state(7);
  CHECK(state.routes == 0);
  CHECK(state.tombstones == 0);
  CHECK(state.digest == 0);
  CHECK(state.marked_digest == 0);
  CHECK(state.complete_from == state.sequence);
  CHECK(rib.tombstones() == 0);
  CHECK(rib.routes() == 1);
  CHECK(rib.origin(host_1).routes == 1);
  CHECK(rib.origins().size() == 1);
  rib.withdraw(withdrawal(one, 1));
  rib.announce(two);
  CHECK(rib.state(7).sequence == state.sequence + 2);
  CHECK(rib.state(7).digest == content_hash(two));
  std::size_t changes = 0;
  rib.changes(7, state.sequence, 100, [&](const Record&) { ++changes; });
  CHECK(changes == 2);
  rib.clear_stream(99, [](const Record&) { CHECK(false); });
}

TEST_CASE("withdrawals that were not confirmed can be forgotten") {
  Rib rib(Rib::Streams::per_vni, 1);
  for (std::uint32_t i = 1; i <= 4; ++i) rib.withdraw(withdrawal(route(7, i, host_1, 1), i));
  rib.announce(route(7, 5, host_1, 9));
  rib.unmark_stream(7);
  rib.withdraw(withdrawal(route(7, 1, host_1, 1), 1));  // said again
  rib.withdraw(withdrawal(route(7, 2, host_1, 1), 8));  // a later one
  rib.announce(route(7, 3, host_1, 8));
  CHECK(rib.state(7).marked_digest == content_hash(route(7, 3, host_1, 8)));
  std::vector<Record> forgotten;
  rib.for_unmarked_withdrawals(7, [&](const Record& record) {
    rib.forget_withdrawal(record);
    forgotten.push_back(record);
  });
  CHECK(forgotten == std::vector{withdrawal(route(7, 4, host_1, 1), 4)});
  CHECK(rib.find(route(7, 4, host_1, 1)) == nullptr);
  CHECK(rib.state(7).complete_from == 4);
  CHECK(rib.state(7).tombstones == 2);
  CHECK(rib.tombstones() == 2);
  rib.forget_withdrawal(route(7, 5, host_1, 9));
  CHECK(rib.state(7).routes == 2);
  rib.unmark_stream(7);
  CHECK(rib.state(7).marked_digest == 0);
}

TEST_CASE("marks tell what was confirmed") {
  Rib rib(Rib::Streams::per_vni, 1);
  const auto one = route(7, 1, host_1, 1);
  const auto two = route(7, 2, host_1, 2);
  const auto three = route(7, 3, host_2, 3);
  for (const auto& record : {one, two, three}) rib.announce(record);
  CHECK(rib.state(7).marked_digest == rib.state(7).digest);
  rib.unmark_stream(7);
  CHECK(rib.state(7).marked_digest == 0);
  rib.announce(two);
  CHECK(rib.state(7).marked_digest == content_hash(two));
  CHECK(rib.is_marked(two));
  std::size_t unmarked = 0;
  rib.for_unmarked_of_origin(host_1, [&](const Record& record) {
    ++unmarked;
    CHECK(record == one);
  });
  CHECK(unmarked == 1);
  rib.for_unmarked_of_stream(7, [&](const Record& record) { rib.withdraw(withdrawal(record, 0)); });
  CHECK(rib.routes() == 1);
  CHECK(rib.state(7).marked_digest == rib.state(7).digest);
  rib.unmark_origin(host_1);
  CHECK(rib.state(7).marked_digest == 0);
}

TEST_CASE("changes bring a reader of any age to the same table, as far back as the table says that it is complete") {
  for (std::uint64_t seed = 1; seed <= 40; ++seed) {
    CAPTURE(seed);
    std::mt19937_64 random(seed);
    Rib rib(seed % 2 == 0 ? Rib::Streams::one : Rib::Streams::per_vni, seed,
            {.stream_tombstones = 20, .total_tombstones = 30});
    const auto stream_of = [&](std::uint32_t vni) { return seed % 2 == 0 ? 0 : vni; };
    struct Late {
      Rib::StreamId stream;
      std::uint64_t sequence = 0;
      Reader reader;
    };
    std::vector<Late> readers;
    std::uint64_t version = 0;
    for (int step = 0; step < 3'000; ++step) {
      const auto vni = static_cast<std::uint32_t>(random() % 3);
      const OriginId origin{random() % 3 + 1};
      const auto record = route(vni, static_cast<std::uint32_t>(random() % 60), origin, ++version, 1 + random() % 2);
      const auto what = random() % 100;
      if (what < 60)
        rib.announce(record);
      else if (what < 98)
        rib.withdraw(withdrawal(record, random() % 4 == 0 ? 0 : version));
      else if (seed % 2 != 0)
        rib.remove_origin(vni, origin, [](const Record&) {});
      if (random() % 50 == 0) readers.push_back({stream_of(vni), 0, {}});
      if (readers.empty() || random() % 3 != 0) continue;
      auto& late = readers[random() % readers.size()];
      if (late.sequence < rib.state(late.stream).complete_from) late = {late.stream, 0, {}};
      // From 0 only what was withdrawn before is missing; so all pieces must be read at once.
      while (true) {
        const auto piece = rib.changes(late.stream, late.sequence, 1 + random() % 20,
                                       [&](const Record& change) { late.reader.take(change); });
        CHECK(piece.to >= late.sequence);
        late.sequence = piece.to;
        if (piece.is_last) break;
      }
      CHECK(late.sequence == rib.state(late.stream).sequence);
      CHECK(late.reader.digest() == rib.state(late.stream).digest);
      CHECK(late.reader.size() == rib.state(late.stream).routes);
    }
    std::size_t routes = 0;
    for (const auto stream : rib.streams()) {
      routes += rib.state(stream).routes;
      std::size_t seen = 0;
      rib.for_each(stream, [&](const Record&) { ++seen; });
      CHECK(seen == rib.state(stream).routes);
      CHECK(rib.state(stream).tombstones <= 20 + rib.state(stream).routes / 2 + 1);
    }
    CHECK(rib.routes() == routes);
    std::size_t of_origins = 0;
    for (const auto origin : rib.origins()) of_origins += rib.origin(origin).routes;
    CHECK(of_origins == routes);
  }
}
