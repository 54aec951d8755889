// SPDX-License-Identifier: Apache-2.0
// Store conformance: delete, finalizers, owners, namespaces.
#include "objects.hpp"
#include "store_conformance.hpp"

namespace ironcore::test {

namespace {

const char* const clear_finalizers = R"({"metadata":{"finalizers":null}})";

api::Machine with_finalizers(std::string name, std::vector<std::string> finalizers) {
  auto result = machine(std::move(name));
  result.metadata.finalizers = std::move(finalizers);
  return result;
}

api::Machine dependent(std::string name, const std::vector<Object>& owners) {
  auto result = machine(std::move(name));
  for (const auto& owner : owners) result.metadata.owner_references.push_back(owned_by(owner));
  return result;
}

void finalizers(Store& store) {
  SUBCASE("a deleted object is gone, and its last state is returned") {
    const auto created = must(store, make(machine("a")));
    const auto before = store.revision().value();
    CHECK(must(store, Delete{key<api::Machine>("default", "a")}) == created);
    CHECK(code_of(store.get(key<api::Machine>("default", "a"))) == ErrorCode::not_found);
    CHECK(store.revision().value() > before);
    CHECK(code_of(store, Delete{key<api::Machine>("default", "a")}) == ErrorCode::not_found);
    const auto again = must(store, make(machine("a")));
    CHECK(again.metadata().uid != created.metadata().uid);
    CHECK(again.metadata().resource_version > created.metadata().resource_version);
  }
  SUBCASE("a delete can insist on a revision and on an incarnation") {
    const auto created = must(store, make(machine("a")));
    const auto key_a = key<api::Machine>("default", "a");
    must(store, Patch{key_a, R"({"metadata":{"labels":{"x":"1"}}})"});
    CHECK(code_of(store, Delete{.key = key_a, .revision = created.metadata().resource_version, .uid = {}}) ==
          ErrorCode::conflict);
    CHECK(code_of(store, Delete{.key = key_a, .revision = {}, .uid = "00000000-0000-4000-8000-000000000000"}) ==
          ErrorCode::conflict);
    CHECK(exists<api::Machine>(store, "a"));
    const auto current = store.get(key_a).value().metadata();
    must(store, Delete{.key = key_a, .revision = current.resource_version, .uid = current.uid});
    CHECK_FALSE(exists<api::Machine>(store, "a"));
  }
  SUBCASE("finalizers hold an object until the last one is gone") {
    must(store, make(with_finalizers("a", {"test.dev/one", "test.dev/two"})));
    const auto key_a = key<api::Machine>("default", "a");
    const auto marked = must(store, Delete{key_a});
    CHECK(marked.metadata().deletion_timestamp.has_value());
    CHECK(marked.metadata().generation == 1);
    const auto revision = store.revision().value();
    CHECK_MESSAGE(must(store, Delete{key_a}) == marked, "deleting it again changes nothing");
    CHECK(store.revision().value() == revision);
    must(store, Patch{key_a, R"({"metadata":{"finalizers":["test.dev/two"]}})"});
    CHECK(store.get(key_a).value().metadata().deletion_timestamp == marked.metadata().deletion_timestamp);
    const auto last = must(store, Patch{key_a, clear_finalizers});
    CHECK(last.metadata().finalizers.empty());
    CHECK_FALSE(exists<api::Machine>(store, "a"));
  }
  SUBCASE("what is being deleted gets no more finalizers, but can be changed otherwise") {
    must(store, make(with_finalizers("a", {"test.dev/one"})));
    const auto key_a = key<api::Machine>("default", "a");
    must(store, Delete{key_a});
    CHECK(code_of(store, Patch{key_a, R"({"metadata":{"finalizers":["test.dev/one","test.dev/two"]}})"}) ==
          ErrorCode::wrong_state);
    CHECK(code_of(store, Patch{key_a, R"({"metadata":{"finalizers":["test.dev/two"]}})"}) == ErrorCode::wrong_state);
    must(store, Patch{key_a, R"({"status":{"state":"Terminating"}})", Part::status});
    must(store, Patch{key_a, R"({"metadata":{"labels":{"x":"1"}}})"});
    CHECK(code_of(store, make(machine("a"))) == ErrorCode::already_exists);
    auto wanted = store.get(key_a).value().as<api::Machine>();
    CHECK(wanted.status.state == api::MachineState::terminating);
    wanted.metadata.finalizers.clear();
    wanted.metadata.deletion_timestamp.reset();  // no way back
    must(store, Update{Object::of(wanted)});
    CHECK_FALSE(exists<api::Machine>(store, "a"));
  }
  SUBCASE("finalizers of what is not being deleted come and go") {
    must(store, make(machine("a")));
    const auto key_a = key<api::Machine>("default", "a");
    must(store, Patch{key_a, R"({"metadata":{"finalizers":["test.dev/one"]}})"});
    must(store, Patch{key_a, clear_finalizers});
    CHECK(exists<api::Machine>(store, "a"));
  }
}

void owners(Store& store) {
  const auto key_of_owner = key<api::Machine>("default", "owner");

  SUBCASE("what an object owns goes with it, to any depth") {
    auto above = must(store, make(machine("owner")));
    for (int i = 0; i < 50; ++i) above = must(store, make(dependent("level-" + std::to_string(i), {above})));
    must(store, make(machine("bystander")));
    const auto before = store.revision().value();
    const auto committed = store.commit({.operations = {Delete{key_of_owner}}, .preconditions = {}}).value();
    CHECK(names_of(store.list(query<api::Machine>()).value().objects) == Texts{"bystander"});
    CHECK_MESSAGE(committed.revision.value == before.value + 51, "all of it in one commit");
  }
  SUBCASE("what has another owner stays and forgets the one that went") {
    const auto first = must(store, make(machine("owner")));
    const auto second = must(store, make(machine("second")));
    must(store, make(dependent("both", {first, second})));
    must(store, Delete{key_of_owner});
    const auto left = store.get(key<api::Machine>("default", "both")).value().metadata();
    REQUIRE(left.owner_references.size() == 1);
    CHECK(left.owner_references[0].uid == second.metadata().uid);
    must(store, Delete{key<api::Machine>("default", "second")});
    CHECK_FALSE(exists<api::Machine>(store, "both"));
  }
  SUBCASE("orphans stay without the reference") {
    const auto owner = must(store, make(machine("owner")));
    must(store, make(dependent("left", {owner})));
    must(store, Delete{.key = key_of_owner, .revision = {}, .uid = {}, .propagation = store::Propagation::orphan});
    CHECK(store.get(key<api::Machine>("default", "left")).value().metadata().owner_references.empty());
    CHECK_FALSE(exists<api::Machine>(store, "owner"));
  }
  SUBCASE("what is owned goes when the owner is really gone") {
    const auto owner = must(store, make(with_finalizers("owner", {"test.dev/one"})));
    must(store, make(dependent("owned", {owner})));
    must(store, Delete{key_of_owner});
    CHECK(exists<api::Machine>(store, "owned"));
    must(store, Patch{key_of_owner, clear_finalizers});
    CHECK_FALSE(exists<api::Machine>(store, "owner"));
    CHECK_FALSE(exists<api::Machine>(store, "owned"));
  }
  SUBCASE("owned objects with finalizers wait for them, and theirs wait for those") {
    const auto owner = must(store, make(machine("owner")));
    auto middle = dependent("middle", {owner});
    middle.metadata.finalizers = {"test.dev/one"};
    const auto kept = must(store, make(middle));
    must(store, make(dependent("bottom", {kept})));
    must(store, Delete{key_of_owner});
    CHECK(store.get(key<api::Machine>("default", "middle")).value().metadata().deletion_timestamp.has_value());
    CHECK_FALSE(store.get(key<api::Machine>("default", "bottom")).value().metadata().deletion_timestamp.has_value());
    must(store, Patch{key<api::Machine>("default", "middle"), clear_finalizers});
    CHECK(store.list(query<api::Machine>()).value().objects.empty());
  }
  SUBCASE("a circle of owners is taken down as a whole") {
    const auto first = must(store, make(machine("owner")));
    const auto second = must(store, make(dependent("second", {first})));
    auto closed = first.as<api::Machine>();
    closed.metadata.owner_references = {owned_by(second)};
    must(store, Update{Object::of(closed)});
    must(store, Delete{key_of_owner});
    CHECK(store.list(query<api::Machine>()).value().objects.empty());
  }
  SUBCASE("an object that lost its owner while it waits can still be written") {
    const auto owner = must(store, make(machine("owner")));
    auto owned = dependent("owned", {owner});
    owned.metadata.finalizers = {"test.dev/one"};
    must(store, make(owned));
    must(store, Delete{key_of_owner});
    must(store, Patch{key<api::Machine>("default", "owned"), R"({"metadata":{"labels":{"x":"1"}}})"});
    must(store, Patch{key<api::Machine>("default", "owned"), clear_finalizers});
    CHECK_FALSE(exists<api::Machine>(store, "owned"));
  }
  SUBCASE("an object without a namespace can own some in one") {
    const auto pool = must(store, make(machine_pool("p")));
    must(store, make(dependent("owned", {pool})));
    must(store, Delete{key<api::MachinePool>("", "p")});
    CHECK_FALSE(exists<api::Machine>(store, "owned"));
  }
  SUBCASE("an incarnation owns nothing of the one before") {
    must(store, make(machine("owner")));
    must(store, Delete{key_of_owner});
    const auto again = must(store, make(machine("owner")));
    must(store, make(dependent("owned", {again})));
    must(store, Delete{key_of_owner});
    CHECK_FALSE(exists<api::Machine>(store, "owned"));
  }
  SUBCASE("events about an object outlive it") {
    must(store, make(machine("owner")));
    api::Event event;
    event.metadata.generate_name = "owner-";
    event.metadata.namespace_ = "default";
    event.involved_object.kind = "Machine";
    event.involved_object.name = "owner";
    event.reason = "Tested";
    must(store, make(event));
    must(store, Delete{key_of_owner});
    CHECK(store.list(query<api::Event>()).value().objects.size() == 1);
  }
}

void namespaces(Store& store) {
  const auto key_of_space = key<api::Namespace>("", "space");

  SUBCASE("the namespace default is always there") {
    CHECK(exists<api::Namespace>(store, "default"));
    CHECK(code_of(store, Delete{key<api::Namespace>("", "default")}) == ErrorCode::forbidden);
    CHECK(exists<api::Namespace>(store, "default"));
  }
  SUBCASE("an empty namespace goes at once") {
    must(store, make(namespace_object("space")));
    must(store, Delete{key_of_space});
    CHECK_FALSE(exists<api::Namespace>(store, "space"));
    must(store, make(namespace_object("space")));
  }
  SUBCASE("a namespace takes what is in it with it") {
    must(store, make(namespace_object("space")));
    must(store, make(machine("a", "space")));
    auto key_secret = secret("s");
    key_secret.metadata.namespace_ = "space";
    must(store, make(key_secret));
    must(store, make(machine("a")));
    must(store, Delete{key_of_space});
    CHECK_FALSE(exists<api::Namespace>(store, "space"));
    CHECK_FALSE(exists<api::Machine>(store, "a", "space"));
    CHECK_FALSE(exists<api::Secret>(store, "s", "space"));
    CHECK(exists<api::Machine>(store, "a"));
  }
  SUBCASE("a namespace waits for finalizers inside it, and takes nothing new meanwhile") {
    must(store, make(namespace_object("space")));
    auto held = machine("held", "space");
    held.metadata.finalizers = {"test.dev/one"};
    must(store, make(held));
    must(store, make(machine("free", "space")));
    must(store, Delete{key_of_space});
    const auto space = store.get(key_of_space).value().as<api::Namespace>();
    CHECK(space.metadata.deletion_timestamp.has_value());
    CHECK(space.status.phase == api::NamespacePhase::terminating);
    CHECK_FALSE(exists<api::Machine>(store, "free", "space"));
    CHECK(store.get(key<api::Machine>("space", "held")).value().metadata().deletion_timestamp.has_value());
    CHECK(code_of(store, make(machine("late", "space"))) == ErrorCode::wrong_state);
    must(store, Delete{key_of_space});
    must(store, Patch{key<api::Machine>("space", "held"), clear_finalizers});
    CHECK_FALSE(exists<api::Machine>(store, "held", "space"));
    CHECK_FALSE(exists<api::Namespace>(store, "space"));
  }
  SUBCASE("a namespace has finalizers of its own, too") {
    auto wanted = namespace_object("space");
    wanted.metadata.finalizers = {"test.dev/one"};
    must(store, make(wanted));
    must(store, make(machine("a", "space")));
    must(store, Delete{key_of_space});
    CHECK_FALSE(exists<api::Machine>(store, "a", "space"));
    CHECK(exists<api::Namespace>(store, "space"));
    must(store, Patch{key_of_space, clear_finalizers});
    CHECK_FALSE(exists<api::Namespace>(store, "space"));
  }
}

}  // namespace

void deleting_conformance(Store& store) {
  SUBCASE("finalizers") {
    finalizers(store);
  }
  SUBCASE("owners") {
    owners(store);
  }
  SUBCASE("namespaces") {
    namespaces(store);
  }
}

}  // namespace ironcore::test
