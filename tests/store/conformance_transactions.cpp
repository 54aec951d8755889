// SPDX-License-Identifier: Apache-2.0
// Store conformance: several operations as one, preconditions.
#include "objects.hpp"
#include "store_conformance.hpp"

namespace ironcore::test {

using store::Absent;
using store::HoldsLease;
using store::Unchanged;

namespace {

void together(Store& store) {
  SUBCASE("all operations or none") {
    must(store, make(machine("taken")));
    const auto before = store.revision().value();
    const auto result = store.commit(
        {.operations = {make(machine("a")), make(machine("b")), make(machine("taken"))}, .preconditions = {}});
    CHECK(code_of(result) == ErrorCode::already_exists);
    CHECK_MESSAGE(result.error().message().find("operation 3") != std::string::npos, result.error().message());
    CHECK(store.revision().value() == before);
    CHECK_FALSE(exists<api::Machine>(store, "a"));
    const auto committed =
        store.commit({.operations = {make(machine("a")), make(machine("b"))}, .preconditions = {}}).value();
    CHECK(committed.objects.size() == 2);
    CHECK(committed.revision == committed.objects[1].metadata().resource_version);
    CHECK(committed.objects[0].metadata().resource_version.value + 1 == committed.revision.value);
    CHECK(store.revision().value() == committed.revision);
  }
  SUBCASE("later operations see what earlier ones did") {
    const auto key_a = key<api::Machine>("default", "a");
    const auto committed =
        store
            .commit({.operations = {make(namespace_object("space")), make(machine("b", "space")), make(machine("a")),
                                    Patch{key_a, R"({"spec":{"power":"Off"}})"}, Delete{key_a}, make(machine("a"))},
                     .preconditions = {}})
            .value();
    CHECK(committed.objects[3].metadata().generation == 2);
    CHECK(committed.objects[4] == committed.objects[3]);
    CHECK(committed.objects[5].metadata().uid != committed.objects[2].metadata().uid);
    CHECK(store.get(key_a).value() == committed.objects[5]);
    CHECK(exists<api::Machine>(store, "b", "space"));
  }
  SUBCASE("a failed transaction leaves neither owners nor namespaces behind") {
    const auto owner = must(store, make(machine("owner")));
    auto owned = machine("owned");
    owned.metadata.owner_references = {owned_by(owner)};
    must(store, make(owned));
    const Transaction fails{
        .operations = {Delete{key<api::Machine>("default", "owner")}, make(namespace_object("space")),
                       make(machine("inside", "space")), Delete{key<api::Machine>("default", "nobody")}},
        .preconditions = {}};
    CHECK(code_of(store.commit(fails)) == ErrorCode::not_found);
    CHECK(exists<api::Machine>(store, "owned"));
    CHECK(code_of(store, make(machine("inside", "space"))) == ErrorCode::not_found);
    must(store, Delete{key<api::Machine>("default", "owner")});
    CHECK_FALSE(exists<api::Machine>(store, "owned"));
  }
  SUBCASE("a transaction without operations only checks") {
    const auto before = store.revision().value();
    CHECK(store.commit({}).value().revision == before);
    CHECK(store.revision().value() == before);
  }
  SUBCASE("there is a limit to the number of operations") {
    Transaction transaction;
    for (std::size_t i = 0; i <= store::max_operations; ++i)
      transaction.operations.push_back(Delete{key<api::Machine>("default", "nobody")});
    CHECK(code_of(store.commit(transaction)) == ErrorCode::exhausted);
  }
  SUBCASE("a namespace is deleted with what the same transaction put into it") {
    const auto committed = store.commit({.operations = {make(namespace_object("space")), make(machine("a", "space")),
                                                        Delete{key<api::Namespace>("", "space")}},
                                         .preconditions = {}});
    REQUIRE(committed.has_value());
    CHECK_FALSE(exists<api::Machine>(store, "a", "space"));
    CHECK_FALSE(exists<api::Namespace>(store, "space"));
  }
}

void preconditions(StoreUnderTest& under_test) {
  auto& store = under_test.store();
  const auto key_a = key<api::Machine>("default", "a");

  SUBCASE("something else must be unchanged") {
    const auto first = must(store, make(machine("a")));
    const auto revision = first.metadata().resource_version;
    CHECK(
        store.commit({.operations = {make(machine("b"))}, .preconditions = {Unchanged{key_a, revision}}}).has_value());
    must(store, Patch{key_a, R"({"metadata":{"labels":{"x":"1"}}})"});
    CHECK(code_of(store.commit({.operations = {make(machine("c"))}, .preconditions = {Unchanged{key_a, revision}}})) ==
          ErrorCode::conflict);
    must(store, Delete{key_a});
    CHECK(code_of(store.commit({.operations = {make(machine("c"))}, .preconditions = {Unchanged{key_a, revision}}})) ==
          ErrorCode::conflict);
    CHECK_FALSE(exists<api::Machine>(store, "c"));
  }
  SUBCASE("something else must not exist") {
    CHECK(store.commit({.operations = {make(machine("b"))}, .preconditions = {Absent{key_a}}}).has_value());
    must(store, make(machine("a")));
    CHECK(code_of(store.commit({.operations = {make(machine("c"))}, .preconditions = {Absent{key_a}}})) ==
          ErrorCode::conflict);
  }
  SUBCASE("preconditions are about the moment before the transaction") {
    CHECK(store.commit({.operations = {make(machine("a"))}, .preconditions = {Absent{key_a}}}).has_value());
  }
  SUBCASE("only the holder of a lease may write under it") {
    const auto first = store.acquire_lease("scheduler", "one", std::chrono::seconds(10)).value();
    CHECK(store.commit({.operations = {make(machine("a"))}, .preconditions = {HoldsLease{"scheduler", first.token}}})
              .has_value());
    CHECK(code_of(store.commit({.operations = {make(machine("b"))},
                                .preconditions = {HoldsLease{"scheduler", first.token + 1}}})) == ErrorCode::forbidden);
    CHECK(code_of(store.commit({.operations = {make(machine("b"))}, .preconditions = {HoldsLease{"nobody", 1}}})) ==
          ErrorCode::forbidden);
    under_test.advance(std::chrono::seconds(11));
    CHECK_MESSAGE(
        store.commit({.operations = {make(machine("b"))}, .preconditions = {HoldsLease{"scheduler", first.token}}})
            .has_value(),
        "expired, but nobody took it");
    const auto second = store.acquire_lease("scheduler", "two", std::chrono::seconds(10)).value();
    CHECK(code_of(store.commit({.operations = {make(machine("c"))},
                                .preconditions = {HoldsLease{"scheduler", first.token}}})) == ErrorCode::forbidden);
    REQUIRE(store.release_lease("scheduler", second.token).has_value());
    CHECK(code_of(store.commit({.operations = {make(machine("c"))},
                                .preconditions = {HoldsLease{"scheduler", second.token}}})) == ErrorCode::forbidden);
    CHECK_FALSE(exists<api::Machine>(store, "c"));
  }
}

}  // namespace

void transaction_conformance(StoreUnderTest& under_test) {
  SUBCASE("transactions") {
    together(under_test.store());
  }
  SUBCASE("preconditions") {
    preconditions(under_test);
  }
}

}  // namespace ironcore::test
