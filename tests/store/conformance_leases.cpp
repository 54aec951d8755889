// SPDX-License-Identifier: Apache-2.0
// Store conformance: leases.
#include "objects.hpp"
#include "store_conformance.hpp"

namespace ironcore::test {

using std::chrono::seconds;

void lease_conformance(StoreUnderTest& under_test) {
  auto& store = under_test.store();

  SUBCASE("one holds it, the others are told who") {
    const auto lease = store.acquire_lease("scheduler", "one", seconds(10)).value();
    CHECK(lease.name == "scheduler");
    CHECK(lease.holder == "one");
    CHECK(lease.token > 0);
    CHECK(lease.time_to_live == seconds(10));
    CHECK(lease.is_held);
    const auto refused = store.acquire_lease("scheduler", "two", seconds(10));
    REQUIRE(code_of(refused) == ErrorCode::conflict);
    CHECK(refused.error().message().find("one") != std::string::npos);
    CHECK(store.acquire_lease("other", "two", seconds(10)).has_value());
  }
  SUBCASE("a renewal keeps the token, costs no revision, and shows progress") {
    const auto lease = store.acquire_lease("scheduler", "one", seconds(10)).value();
    const auto before = store.revision().value();
    for (int i = 0; i < 3; ++i) {
      under_test.advance(seconds(8));
      const auto renewed = store.acquire_lease("scheduler", "one", seconds(10)).value();
      CHECK(renewed.token == lease.token);
      CHECK(renewed.renewals > lease.renewals);
    }
    CHECK(code_of(store.acquire_lease("scheduler", "two", seconds(10))) == ErrorCode::conflict);
    CHECK(store.revision().value() == before);
  }
  SUBCASE("an expired lease is free, and its next token is larger") {
    const auto first = store.acquire_lease("scheduler", "one", seconds(10)).value();
    under_test.advance(seconds(11));
    CHECK_FALSE(store.leases("scheduler").value().at(0).is_held);
    const auto second = store.acquire_lease("scheduler", "two", seconds(10)).value();
    CHECK(second.token > first.token);
    CHECK(code_of(store.acquire_lease("scheduler", "one", seconds(10))) == ErrorCode::conflict);
    CHECK(code_of(store.release_lease("scheduler", first.token)) == ErrorCode::forbidden);
    under_test.advance(seconds(11));
    CHECK(store.acquire_lease("scheduler", "one", seconds(10)).value().token > second.token);
  }
  SUBCASE("an expired lease that nobody took is renewed with its token") {
    const auto first = store.acquire_lease("scheduler", "one", seconds(10)).value();
    under_test.advance(seconds(11));
    CHECK(store.acquire_lease("scheduler", "one", seconds(10)).value().token == first.token);
  }
  SUBCASE("a released lease is free at once") {
    const auto first = store.acquire_lease("scheduler", "one", seconds(10)).value();
    REQUIRE(store.release_lease("scheduler", first.token).has_value());
    CHECK(store.release_lease("scheduler", first.token).has_value());
    CHECK_FALSE(store.leases("").value().at(0).is_held);
    CHECK(store.acquire_lease("scheduler", "one", seconds(10)).value().token > first.token);
    CHECK(code_of(store.release_lease("nothing", 1)) == ErrorCode::not_found);
  }
  SUBCASE("leases are listed by prefix, in order") {
    for (const auto* name : {"machinepool/b", "scheduler", "machinepool/a"})
      REQUIRE(store.acquire_lease(name, "one", seconds(10)).has_value());
    const auto all = store.leases("").value();
    const auto pools = store.leases("machinepool/").value();
    CHECK(all.size() == 3);
    REQUIRE(pools.size() == 2);
    CHECK(pools[0].name == "machinepool/a");
    CHECK(pools[1].name == "machinepool/b");
    CHECK(pools[0].holder == "one");
    CHECK(store.leases("x").value().empty());
  }
  SUBCASE("a lease needs a name, a holder and a time") {
    CHECK(code_of(store.acquire_lease("", "one", seconds(10))) == ErrorCode::invalid);
    CHECK(code_of(store.acquire_lease("scheduler", "", seconds(10))) == ErrorCode::invalid);
    CHECK(code_of(store.acquire_lease("scheduler", "one", seconds(0))) == ErrorCode::invalid);
    CHECK(code_of(store.acquire_lease("scheduler", "one", seconds(-1))) == ErrorCode::invalid);
    CHECK(code_of(store.acquire_lease(std::string(300, 'x'), "one", seconds(10))) == ErrorCode::invalid);
    CHECK(code_of(store.acquire_lease("two\nlines", "one", seconds(10))) == ErrorCode::invalid);
    CHECK(store.leases("").value().empty());
  }
  SUBCASE("leases are no objects, and disturb no watch") {
    auto watch = store.watch(query<api::Machine>(), store.revision().value()).value();
    REQUIRE(store.acquire_lease("scheduler", "one", seconds(10)).has_value());
    must(store, make(machine("a")));
    REQUIRE(store.acquire_lease("other", "one", seconds(10)).has_value());
    must(store, make(machine("b")));
    CHECK(read_texts(*watch, 2) == Texts{"added a", "added b"});
  }
}

void store_conformance(const MakeStore& make_store) {
  const auto under_test = make_store();
  auto& store = under_test->store();
  SUBCASE("writing") {
    writing_conformance(store);
  }
  SUBCASE("deleting") {
    deleting_conformance(store);
  }
  SUBCASE("committing") {
    transaction_conformance(*under_test);
  }
  SUBCASE("reading") {
    reading_conformance(store);
  }
  SUBCASE("watching") {
    watching_conformance(store);
  }
  SUBCASE("leasing") {
    lease_conformance(*under_test);
  }
}

}  // namespace ironcore::test
