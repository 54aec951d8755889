// SPDX-License-Identifier: Apache-2.0
// Store conformance: watch.
#include <thread>

#include "objects.hpp"
#include "store_conformance.hpp"

namespace ironcore::test {

namespace {

std::unique_ptr<store::Watch> open(Store& store, const Query& query, Revision from) {
  auto watch = store.watch(query, from);
  if (!watch) FAIL(watch.error().message());
  return *std::move(watch);
}

const auto key_a = [] { return key<api::Machine>("default", "a"); };

void following(Store& store) {
  SUBCASE("every change after the revision, in order") {
    must(store, make(machine("before")));
    const auto from = store.revision().value();
    auto early = open(store, query<api::Machine>(), from);
    const auto created = must(store, make(machine("a")));
    must(store, make(secret("a")));
    const auto patched = must(store, Patch{key_a(), R"({"metadata":{"labels":{"x":"1"}}})"});
    must(store, make(machine("b")));
    must(store, Delete{key_a()});
    auto late = open(store, query<api::Machine>(), from);
    for (auto* watch : {early.get(), late.get()}) {
      const auto changes = read(*watch, 4);
      CHECK(texts_of(changes) == Texts{"added a", "modified a", "added b", "deleted a"});
      CHECK(*changes[0].object == created);
      CHECK(*changes[1].object == patched);
      CHECK(changes[0].revision == created.metadata().resource_version);
      CHECK(changes[1].revision == patched.metadata().resource_version);
      CHECK(changes[3].revision == store.revision().value());
      CHECK(changes[3].object->metadata().labels.at("x") == "1");
      for (std::size_t i = 1; i < changes.size(); ++i) CHECK(changes[i - 1].revision < changes[i].revision);
    }
    // From the middle.
    auto middle = open(store, query<api::Machine>(), patched.metadata().resource_version);
    CHECK(read_texts(*middle, 2) == Texts{"added b", "deleted a"});
  }
  SUBCASE("a watch waits for what comes") {
    auto watch = open(store, query<api::Machine>(), store.revision().value());
    std::jthread writer([&] { must(store, make(machine("a"))); });
    CHECK(read_texts(*watch, 1) == Texts{"added a"});
    writer.join();
    std::jthread deleter([&] { must(store, Delete{key_a()}); });
    CHECK(read_texts(*watch, 1) == Texts{"deleted a"});
  }
  SUBCASE("a watch ends waiting when it is stopped or its time is up") {
    auto watch = open(store, query<api::Machine>(), store.revision().value());
    CHECK(watch->next(Instant{}).value().empty());
    std::stop_source stop;
    std::jthread stopper([&] { stop.request_stop(); });
    CHECK(watch->next(bound(), stop.get_token()).value().empty());
    must(store, make(machine("a")));
    CHECK_MESSAGE(read_texts(*watch, 1) == Texts{"added a"}, "it goes on afterwards");
  }
  SUBCASE("no more at a time than was asked for") {
    auto watch = open(store, query<api::Machine>(), store.revision().value());
    for (const auto* name : {"a", "b", "c", "d", "e"}) must(store, make(machine(name)));
    CHECK(watch->next(bound(), {}, 2).value().size() <= 2);
    auto again = open(store, query<api::Machine>(), Revision{store.revision().value().value - 5});
    CHECK(texts_of(read(*again, 5, 2)) == Texts{"added a", "added b", "added c", "added d", "added e"});
  }
  SUBCASE("the changes of a transaction arrive together and in the order of its operations") {
    auto watch = open(store, query<api::Machine>(), store.revision().value());
    REQUIRE(
        store
            .commit({.operations = {make(machine("b")), make(machine("a")), Delete{key<api::Machine>("default", "b")}},
                     .preconditions = {}})
            .has_value());
    CHECK(read_texts(*watch, 3) == Texts{"added b", "added a", "deleted b"});
  }
  SUBCASE("soft deletion is a change, the removal another") {
    auto held = machine("a");
    held.metadata.finalizers = {"test.dev/one"};
    must(store, make(held));
    auto watch = open(store, query<api::Machine>(), store.revision().value());
    must(store, Delete{key_a()});
    must(store, Patch{key_a(), R"({"metadata":{"finalizers":null}})"});
    const auto changes = read(*watch, 2);
    CHECK(texts_of(changes) == Texts{"modified a", "deleted a"});
    CHECK(changes[0].object->metadata().deletion_timestamp.has_value());
    CHECK(changes[1].object->metadata().finalizers.empty());
  }
  SUBCASE("what goes with its owner is announced") {
    const auto owner = must(store, make(machine("a")));
    auto owned = machine("b");
    owned.metadata.owner_references = {owned_by(owner)};
    must(store, make(owned));
    auto watch = open(store, query<api::Machine>(), store.revision().value());
    must(store, Delete{key_a()});
    CHECK(read_texts(*watch, 2) == Texts{"deleted a", "deleted b"});
  }
}

void selecting(Store& store) {
  const auto from = store.revision().value();

  SUBCASE("an object that enters the selection is added, one that leaves it is deleted") {
    auto by_label = open(store, query<api::Machine>("app=web"), from);
    auto by_place = open(store, query<api::Machine>({}, "spec.machinePoolRef.name=pool-1"), from);
    auto unplaced = open(store, query<api::Machine>({}, "spec.machinePoolRef.name="), from);
    must(store, make(machine("a")));
    must(store, make(machine_on("b", "pool-1")));
    must(store, Patch{key_a(), R"({"metadata":{"labels":{"app":"web"}}})"});
    must(store, Patch{key_a(), R"({"spec":{"machinePoolRef":{"name":"pool-1"}}})"});
    must(store, Patch{key_a(), R"({"metadata":{"labels":{"app":"db"}}})"});
    must(store, Delete{key_a()});
    CHECK(read_texts(*by_label, 3) == Texts{"added a", "modified a", "deleted a"});
    CHECK(read_texts(*by_place, 4) == Texts{"added b", "added a", "modified a", "deleted a"});
    CHECK(read_texts(*unplaced, 3) == Texts{"added a", "modified a", "deleted a"});
  }
  SUBCASE("the write that ends an object may take it out of the selection: it is deleted all the same") {
    auto by_label = open(store, query<api::Machine>("app=web"), from);
    auto by_field = open(store, query<api::Machine>({}, "spec.power=On"), from);
    auto unplaced = open(store, query<api::Machine>({}, "spec.machinePoolRef.name="), from);
    auto placed = open(store, query<api::Machine>({}, "spec.machinePoolRef.name=pool-1"), from);
    // Several, because a remote watch has to be under way before it hears of changes directly.
    for (const std::string name : {"a", "b", "c", "d"}) {
      auto held = machine(name);
      held.metadata.labels["app"] = "web";
      held.metadata.finalizers = {"test.dev/one"};
      must(store, make(held));
      must(store, Delete{key<api::Machine>("default", name)});
      must(store,
           Patch{key<api::Machine>("default", name), R"({"metadata":{"finalizers":null,"labels":{"app":"old"}},)"
                                                     R"("spec":{"power":"Off","machinePoolRef":{"name":"pool-1"}}})"});
      for (auto* watch : {by_label.get(), by_field.get(), unplaced.get()})
        CHECK(read_texts(*watch, 3) == Texts{"added " + name, "modified " + name, "deleted " + name});
      must(store, make(machine_on("there-" + name, "pool-1")));
      CHECK(read_texts(*placed, 1) == Texts{"added there-" + name});
      CHECK(read_texts(*by_field, 1) == Texts{"added there-" + name});
    }
  }
  SUBCASE("namespaces select") {
    must(store, make(namespace_object("space")));
    auto watch = open(store, query<api::Machine>({}, {}, "space"), from);
    must(store, make(machine("a")));
    must(store, make(machine("b", "space")));
    must(store, make(machine("c")));
    must(store, make(machine("d", "space")));
    CHECK(read_texts(*watch, 2) == Texts{"added b", "added d"});
  }
  SUBCASE("many changes of no concern do not hold up the position of the reader") {
    auto watch = open(store, query<api::Machine>("app=web"), from);
    for (int round = 0; round < 4; ++round) {
      Transaction many;
      for (int i = 0; i < 1000; ++i) many.operations.push_back(make(secret("s-" + std::to_string(round * 1000 + i))));
      REQUIRE(store.commit(many).has_value());
    }
    Revision position{};
    while (position < Revision{from.value + 1000}) {
      const auto changes = watch->next(bound()).value();
      REQUIRE_FALSE(changes.empty());
      for (const auto& change : changes) {
        CHECK(change.type == Change::Type::bookmark);
        CHECK_FALSE(change.object.has_value());
        CHECK(change.revision > position);
        position = change.revision;
      }
    }
    auto labelled = machine("a");
    labelled.metadata.labels["app"] = "web";
    must(store, make(labelled));
    auto resumed = open(store, query<api::Machine>("app=web"), position);
    CHECK(read_texts(*resumed, 1) == Texts{"added a"});
    CHECK(read_texts(*watch, 1) == Texts{"added a"});
  }
}

void beginning(Store& store) {
  SUBCASE("from the beginning: what exists, a bookmark, then what follows") {
    must(store, make(machine("b")));
    must(store, make(machine("gone")));
    must(store, make(machine("a")));
    must(store, Delete{key<api::Machine>("default", "gone")});
    const auto snapshot = store.revision().value();
    auto watch = open(store, query<api::Machine>(), Revision{});
    must(store, make(machine("c")));
    Texts texts;
    std::vector<Change> all;
    while (all.empty() || all.back().type == Change::Type::bookmark || all.back().object->name() != "c")
      for (auto& change : watch->next(bound()).value()) {
        if (change.type != Change::Type::bookmark) CHECK(change.revision == change.object->metadata().resource_version);
        all.push_back(std::move(change));
      }
    REQUIRE(all.size() == 4);
    CHECK(texts_of(all) == Texts{"added a", "added b", "bookmark", "added c"});
    CHECK(all[2].revision == snapshot);
  }
  SUBCASE("from the beginning of nothing") {
    auto watch = open(store, query<api::Machine>(), Revision{});
    const auto changes = watch->next(bound()).value();
    REQUIRE(changes.size() == 1);
    CHECK(changes[0].type == Change::Type::bookmark);
    CHECK(changes[0].revision == store.revision().value());
  }
  SUBCASE("a beginning larger than what is read at a time") {
    for (const auto* name : {"a", "b", "c", "d", "e"}) must(store, make(machine(name)));
    auto watch = open(store, query<api::Machine>(), Revision{});
    CHECK(texts_of(read(*watch, 5, 2)) == Texts{"added a", "added b", "added c", "added d", "added e"});
  }
  SUBCASE("a revision ahead of the store is gone") {
    CHECK(code_of(store.watch(query<api::Machine>(), Revision{store.revision().value().value + 1})) == ErrorCode::gone);
  }
  SUBCASE("watches end one by one") {
    auto first = open(store, query<api::Machine>(), store.revision().value());
    auto second = open(store, query<api::Machine>(), store.revision().value());
    first.reset();
    must(store, make(machine("a")));
    CHECK(read_texts(*second, 1) == Texts{"added a"});
  }
}

}  // namespace

void watching_conformance(Store& store) {
  SUBCASE("following") {
    following(store);
  }
  SUBCASE("selecting") {
    selecting(store);
  }
  SUBCASE("beginning") {
    beginning(store);
  }
}

}  // namespace ironcore::test
