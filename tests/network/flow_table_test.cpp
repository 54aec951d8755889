// SPDX-License-Identifier: Apache-2.0
// The flow table, against a map.
#include "dataplane/flow_table.hpp"

#include <doctest/doctest.h>

#include <map>
#include <random>
#include <set>
#include <vector>

using namespace ironcore::network::dataplane;

namespace {

using Reference = FlowTable::Reference;
using Refusal = FlowTable::Refusal;

/// A TCP or UDP key whose addresses and ports say which it is.
FlowKey key_of(std::uint32_t number, bool is_v6 = false, FlowScope scope = FlowScope::machine(1)) {
  std::uint8_t ip[40] = {};
  Headers headers;
  headers.is_v6 = is_v6;
  headers.protocol = protocol_udp;
  headers.source_port = static_cast<std::uint16_t>(number);
  headers.destination_port = 53;
  std::memcpy(ip + (is_v6 ? 20 : 12), &number, 4);
  return FlowKey(scope, ip, headers);
}
FlowKey answer_to(const FlowKey& key) {
  return key.reversed(FlowScope::machine(2));
}
Reference find(const FlowTable& table, const FlowKey& key) {
  const auto hash = table.hash(key);
  const auto found = table.find(key, hash);
  CHECK(table.find(key, hash, table.candidate(hash)) == found);  // a guess never changes the answer
  return found;
}

struct Expired {
  std::vector<std::uint32_t> owners;
  static void note(void* context, Connection& connection) noexcept {
    static_cast<Expired*>(context)->owners.push_back(connection.state.owner);
  }
};

}  // namespace

TEST_CASE("a key holds what the packet holds, and its reverse is that of the answer") {
  for (const bool is_v6 : {false, true}) {
    std::uint8_t ip[40];
    for (std::size_t i = 0; i < sizeof ip; ++i) ip[i] = static_cast<std::uint8_t>(i + 1);
    Headers headers;
    headers.is_v6 = is_v6;
    headers.protocol = protocol_tcp;
    headers.source_port = 0xabcd;
    headers.destination_port = 443;
    const std::array<std::uint8_t, 8> suffix = {0xd0, 1, 2, 3, 4, 5, 6, 7};
    const FlowKey key(FlowScope::wire(suffix.data()), ip, headers);
    CHECK(key.is_v6() == is_v6);
    CHECK(key.protocol() == protocol_tcp);
    CHECK(key.source_port() == 0xabcd);
    CHECK(key.destination_port() == 443);
    CHECK(key.scope().is_wire());
    CHECK(key.scope().underlay_suffix() == suffix);
    CHECK(key.source()[0] == (is_v6 ? 9 : 13));
    CHECK(key.destination()[0] == (is_v6 ? 25 : 17));
    const FlowKey back = key.reversed(FlowScope::machine(3));
    CHECK(back.source_port() == 443);
    CHECK(back.destination_port() == 0xabcd);
    CHECK(std::memcmp(back.source(), key.destination(), key.address_bytes()) == 0);
    CHECK(std::memcmp(back.destination(), key.source(), key.address_bytes()) == 0);
    CHECK_FALSE(back.scope().is_wire());
    CHECK(back.reversed(key.scope()) == key);
    for (auto other : {key.reversed(key.scope()), key}) {
      other.set_scope(FlowScope::machine(7));
      CHECK_FALSE(other == key);
      CHECK(other.scope().interface() == 7);
    }
  }
}

TEST_CASE("both directions of a connection are found, and neither is when it is gone") {
  FlowTable table(4, 1);
  const auto key = key_of(1);
  CHECK_FALSE(find(table, key));
  const auto inserted = table.insert(key, answer_to(key), 0, 30);
  REQUIRE(inserted.refusal == Refusal::none);
  CHECK(find(table, key).direction() == Direction::forward);
  CHECK(find(table, answer_to(key)).direction() == Direction::reverse);
  CHECK(&table[find(table, answer_to(key)).connection()] == inserted.connection);
  CHECK(table.size() == 1);
  table.erase(*inserted.connection);
  CHECK(table.size() == 0);
  CHECK_FALSE(find(table, key));
  CHECK_FALSE(find(table, answer_to(key)));
}

TEST_CASE("who has a key that is there already gets no connection, and changes nothing") {
  FlowTable table(4, 1);
  const auto key = key_of(1);
  REQUIRE(table.insert(key, answer_to(key), 0, 30).connection != nullptr);
  CHECK(table.insert(key, key_of(9), 0, 30).refusal == Refusal::taken);
  CHECK(table.insert(key_of(9), answer_to(key), 0, 30).refusal == Refusal::taken);
  CHECK(table.insert(answer_to(key), key, 0, 30).refusal == Refusal::taken);
  CHECK_FALSE(find(table, key_of(9)));
  CHECK(table.size() == 1);
}

TEST_CASE("a connection whose directions look alike is found as the forward one, and leaves nothing") {
  FlowTable table(4, 1);
  const auto key = key_of(1);
  const auto inserted = table.insert(key, key, 0, 30);
  REQUIRE(inserted.connection != nullptr);
  CHECK(find(table, key).direction() == Direction::forward);
  table.erase(*inserted.connection);
  CHECK_FALSE(find(table, key));
  for (std::uint32_t i = 0; i < 100; ++i) {
    const auto again = table.insert(key, key, 0, 30);
    REQUIRE(again.connection != nullptr);
    table.erase(*again.connection);
  }
}

TEST_CASE("it takes as many as it has room for, then says that it is full, and goes on when one leaves") {
  for (const std::uint32_t capacity : {1U, 2U, 1000U, 100'000U}) {
    FlowTable table(capacity, 42);
    for (std::uint32_t i = 0; i < capacity; ++i)
      REQUIRE(table.insert(key_of(i), answer_to(key_of(i)), 0, 30).refusal == Refusal::none);
    CHECK(table.insert(key_of(capacity), answer_to(key_of(capacity)), 0, 30).refusal == Refusal::full);
    CHECK(table.size() == capacity);
    table.erase(table[find(table, key_of(0)).connection()]);
    CHECK(table.insert(key_of(capacity), answer_to(key_of(capacity)), 0, 30).refusal == Refusal::none);
    for (std::uint32_t i = 1; i <= capacity; ++i) REQUIRE(find(table, key_of(i)));
  }
}

TEST_CASE("whatever comes and goes, it holds what a map holds") {
  std::mt19937 random(7);
  FlowTable table(3000, 99);
  std::map<std::uint32_t, bool> model;  // number → family
  const auto scope_of = [](std::uint32_t number) {
    const std::array<std::uint8_t, 8> suffix = {static_cast<std::uint8_t>(number % 5)};
    return number % 3 == 0 ? FlowScope::wire(suffix.data()) : FlowScope::machine(number % 5);
  };
  const auto forward = [&](std::uint32_t number) { return key_of(number, number % 2 == 0, scope_of(number)); };
  for (int step = 0; step < 200'000; ++step) {
    const auto number = static_cast<std::uint32_t>(random() % 6000);
    const auto key = forward(number);
    const auto found = find(table, key);
    CHECK(static_cast<bool>(found) == (model.count(number) == 1));
    if (found && random() % 2 == 0) {
      table.erase(table[found.connection()]);
      model.erase(number);
    } else if (!found) {
      const auto inserted = table.insert(key, answer_to(key), 0, 30);
      if (model.size() < 3000) {
        REQUIRE(inserted.refusal == Refusal::none);
        model[number] = true;
      } else {
        CHECK(inserted.refusal == Refusal::full);
      }
    }
    REQUIRE(table.size() == model.size());
  }
  std::size_t seen = 0;
  table.visit(0, table.capacity(), [&](const Connection&) { ++seen; });
  CHECK(seen == model.size());
}

TEST_CASE("a connection dies when nothing was seen for its timeout, and not before") {
  FlowTable table(100, 1);
  for (const Tick timeout : {1U, 2U, 30U, 255U, 256U, 257U, 300U, 1000U, 86'400U}) {
    for (const Tick start : {0U, 5U, 1000U, 200'000U}) {
      FlowTable fresh(10, 1);
      Expired expired;
      fresh.expire(start, 100, Expired::note, &expired);
      const auto inserted = fresh.insert(key_of(1), answer_to(key_of(1)), start, timeout);
      REQUIRE(inserted.connection != nullptr);
      const Tick again = start + timeout / 2;
      for (Tick now = start; now < start + 2 * timeout + 10 && fresh.size() == 1; ++now) {
        if (now == again) inserted.connection->state.seen = now;
        fresh.expire(now, 100, Expired::note, &expired);
        CHECK((fresh.size() == 0) == (now >= again + timeout));
      }
      CHECK(fresh.size() == 0);
      CHECK(expired.owners.size() == 1);
    }
  }
}

TEST_CASE("a shorter timeout takes effect at once, a longer one saves the connection") {
  FlowTable table(10, 1);
  Expired expired;
  auto* connection = table.insert(key_of(1), answer_to(key_of(1)), 0, 86'400).connection;
  table.set_timeout(*connection, 5);
  table.expire(4, 100, Expired::note, &expired);
  CHECK(table.size() == 1);
  table.set_timeout(*connection, 10);
  table.expire(9, 100, Expired::note, &expired);
  CHECK(table.size() == 1);
  table.expire(10, 100, Expired::note, &expired);
  CHECK(table.size() == 0);
}

TEST_CASE("a call looks at no more than its budget, and whatever is due is found in the end, also after a long pause") {
  constexpr std::uint32_t count = 1000;
  FlowTable table(count, 1);
  for (std::uint32_t i = 0; i < count; ++i)
    table.insert(key_of(i), answer_to(key_of(i)), 0, 1 + i % 300).connection->state.owner =
        static_cast<std::uint16_t>(i);
  Expired expired;
  std::uint32_t calls = 0;
  for (; table.size() > 0 && calls < 10 * count; ++calls) {
    const auto before = table.size();
    CHECK(table.expire(1'000'000, 7, Expired::note, &expired) <= 7);
    CHECK(before - table.size() <= 7);
  }
  CHECK(calls <= count / 7 + 1);
  CHECK(std::set(expired.owners.begin(), expired.owners.end()).size() == count);
}

TEST_CASE("a million connections take less than 256 MiB, and nothing before they are there") {
  FlowTable table(1'000'000, 1);
  CHECK(table.bytes() <= std::size_t{256} << 20);
}
