// SPDX-License-Identifier: Apache-2.0
// Store conformance: get and list.
#include <algorithm>

#include "objects.hpp"
#include "store_conformance.hpp"

namespace ironcore::test {

void reading_conformance(Store& store) {
  SUBCASE("what does not exist is not found, and the error names it") {
    const auto result = store.get(key<api::Machine>("default", "nobody"));
    REQUIRE(code_of(result) == ErrorCode::not_found);
    CHECK(result.error().message().find("machine default/nobody") != std::string::npos);
    CHECK(code_of(store.get(key<api::Machine>("nowhere", "nobody"))) == ErrorCode::not_found);
    CHECK(code_of(store.get(key<api::Machine>("", ""))) == ErrorCode::not_found);
  }
  SUBCASE("a list is sorted by namespace and name, and knows its revision") {
    must(store, make(namespace_object("a-space")));
    for (const auto* name : {"c", "a", "b"}) must(store, make(machine(name)));
    must(store, make(machine("z", "a-space")));
    must(store, make(secret("s")));
    const auto page = store.list(query<api::Machine>()).value();
    CHECK(names_of(page.objects) == Texts{"z", "a", "b", "c"});
    CHECK(page.revision == store.revision().value());
    CHECK(page.continue_at.empty());
    CHECK(names_of(store.list(query<api::Machine>({}, {}, "default")).value().objects) == Texts{"a", "b", "c"});
    CHECK(names_of(store.list(query<api::Machine>({}, {}, "a-space")).value().objects) == Texts{"z"});
    CHECK(names_of(store.list(query<api::Machine>({}, {}, "a")).value().objects).empty());
    CHECK(names_of(store.list(query<api::Machine>({}, {}, "zzz")).value().objects).empty());
    CHECK(names_of(store.list(query<api::MachinePool>()).value().objects).empty());
  }
  SUBCASE("labels select") {
    auto web = machine("web");
    web.metadata.labels = {{"app", "web"}, {"tier", "front"}};
    auto db = machine("db");
    db.metadata.labels = {{"app", "db"}};
    must(store, make(web));
    must(store, make(db));
    must(store, make(machine("bare")));
    const auto select = [&](std::string labels) {
      return names_of(store.list(query<api::Machine>(std::move(labels))).value().objects);
    };
    CHECK(select("app=web") == Texts{"web"});
    CHECK(select("app!=web") == Texts{"bare", "db"});
    CHECK(select("app in (db,web)") == Texts{"db", "web"});
    CHECK(select("app notin (db)") == Texts{"bare", "web"});
    CHECK(select("app") == Texts{"db", "web"});
    CHECK(select("!app") == Texts{"bare"});
    CHECK(select("app=web,tier=back").empty());
  }
  SUBCASE("fields select, the placement too") {
    must(store, make(machine_on("a", "pool-1")));
    must(store, make(machine_on("b", "pool-2")));
    must(store, make(machine("c")));
    auto off = machine_on("d", "pool-1");
    off.spec.power = api::Power::off;
    must(store, make(off));
    const auto select = [&](std::string fields) {
      return names_of(store.list(query<api::Machine>({}, std::move(fields))).value().objects);
    };
    CHECK(select("spec.machinePoolRef.name=pool-1") == Texts{"a", "d"});
    CHECK(select("spec.machinePoolRef.name=pool-3").empty());
    CHECK(select("spec.machinePoolRef.name=") == Texts{"c"});
    CHECK(select("spec.machinePoolRef.name!=") == Texts{"a", "b", "d"});
    CHECK(select("spec.power=Off") == Texts{"d"});
    CHECK(select("spec.machinePoolRef.name=pool-1,spec.power=On") == Texts{"a"});
    CHECK(select("metadata.name=b") == Texts{"b"});
    CHECK(select("metadata.name!=b,metadata.namespace=default") == Texts{"a", "c", "d"});
    must(store, Patch{key<api::Machine>("default", "c"), R"({"spec":{"machinePoolRef":{"name":"pool-2"}}})"});
    CHECK(select("spec.machinePoolRef.name=pool-2") == Texts{"b", "c"});
    CHECK(select("spec.machinePoolRef.name=").empty());
    must(store, Delete{key<api::Machine>("default", "a")});
    CHECK(select("spec.machinePoolRef.name=pool-1") == Texts{"d"});
  }
  SUBCASE("a field that the kind does not have is refused, and the nearest one named") {
    must(store, make(machine_on("a", "pool-1")));
    const auto mistyped = query<api::Machine>({}, "spec.machinePoolReff.name=pool-1");
    const auto listed = store.list(mistyped);
    REQUIRE(code_of(listed) == ErrorCode::invalid);
    CHECK(listed.error().message().find("spec.machinePoolReff") != std::string::npos);
    CHECK(listed.error().message().find("did you mean \"machinePoolRef\"?") != std::string::npos);
    CHECK(code_of(store.watch(mistyped, Revision{})) == ErrorCode::invalid);
    CHECK(code_of(store.watch(mistyped, store.revision().value())) == ErrorCode::invalid);
    CHECK(code_of(store.list(query<api::Machine>({}, "spec.machinePoolRef.nam!="))) == ErrorCode::invalid);
    CHECK(code_of(store.list(query<api::Machine>({}, "metadata.name=a,spec.powr=On"))) == ErrorCode::invalid);
    CHECK(code_of(store.list(query<api::Machine>({}, "spec.networkInterfaces[0].nam=x"))) == ErrorCode::invalid);
    for (const auto* fields : {"metadata.labels.test.dev/x=", "metadata.labels[test.dev/x]=", "status.state=",
                               "metadata.finalizers[0]=", "spec.networkInterfaces[0].name=", "metadata.generation=1"})
      CHECK_MESSAGE(store.list(query<api::Machine>({}, fields)).has_value(), fields);
  }
  SUBCASE("pages together are the list") {
    Transaction many;
    must(store, make(namespace_object("other")));
    for (int i = 0; i < 300; ++i) {
      auto one = machine("m-" + std::to_string(1000 + i), i % 3 == 0 ? "other" : "default");
      one.metadata.labels["odd"] = i % 2 == 0 ? "no" : "yes";
      many.operations.push_back(make(one));
    }
    REQUIRE(store.commit(many).has_value());
    for (const auto* labels : {"", "odd=yes"}) {
      CAPTURE(labels);
      const auto whole = names_of(store.list(query<api::Machine>(labels)).value().objects);
      REQUIRE(whole.size() == (labels[0] == 0 ? 300 : 150));
      for (const std::size_t limit : {1U, 7U, 150U, 299U, 300U, 301U}) {
        CAPTURE(limit);
        if (limit == 1 && labels[0] == 0) continue;  // slow, tells nothing new
        Texts pieces;
        store::ListOptions options{.limit = limit, .continue_at = {}};
        do {
          const auto page = store.list(query<api::Machine>(labels), options).value();
          CHECK(page.objects.size() <= limit);
          CHECK_FALSE(page.objects.empty());
          for (auto& name : names_of(page.objects)) pieces.push_back(std::move(name));
          options.continue_at = page.continue_at;
        } while (!options.continue_at.empty());
        CHECK(pieces == whole);
      }
    }
  }
  SUBCASE("a list goes on although the place that it stopped at has gone") {
    for (const auto* name : {"a", "b", "c", "d"}) must(store, make(machine(name)));
    const auto first = store.list(query<api::Machine>(), {.limit = 2, .continue_at = {}}).value();
    CHECK(names_of(first.objects) == Texts{"a", "b"});
    must(store, Delete{key<api::Machine>("default", "b")});
    must(store, Delete{key<api::Machine>("default", "c")});
    const auto second = store.list(query<api::Machine>(), {.limit = 2, .continue_at = first.continue_at}).value();
    CHECK(names_of(second.objects) == Texts{"d"});
    CHECK(second.revision > first.revision);
    CHECK(second.continue_at.empty());
  }
  SUBCASE("a place to continue at that nobody named is refused") {
    CHECK(code_of(store.list(query<api::Machine>(), {.limit = 2, .continue_at = "garbage"})) == ErrorCode::invalid);
  }
  SUBCASE("what was read does not change any more") {
    const auto created = must(store, make(machine("a")));
    const auto listed = store.list(query<api::Machine>()).value();
    must(store, Patch{key<api::Machine>("default", "a"), R"({"metadata":{"labels":{"x":"1"}}})"});
    must(store, Delete{key<api::Machine>("default", "a")});
    CHECK(listed.objects.at(0) == created);
    CHECK(created.metadata().labels.empty());
  }
}

}  // namespace ironcore::test
