// SPDX-License-Identifier: Apache-2.0
// Store conformance: create, update, patch, status.
#include "objects.hpp"
#include "store_conformance.hpp"

namespace ironcore::test {

namespace {

void creating(Store& store) {
  SUBCASE("a created object has what the store gives it, and can be read") {
    auto wanted = machine("web-1");
    wanted.metadata.uid = "mine";
    wanted.metadata.generation = 17;
    wanted.metadata.resource_version = {99};
    wanted.metadata.deletion_timestamp = WallTime{};
    wanted.metadata.labels["app"] = "web";
    wanted.status.machine_id = "test://1";
    const auto before = store.revision().value();
    const auto created = must(store, make(wanted));
    const auto& metadata = created.metadata();
    CHECK(metadata.name == "web-1");
    CHECK(metadata.uid.size() == 36);
    CHECK(metadata.uid[14] == '4');
    CHECK(metadata.generation == 1);
    CHECK(metadata.resource_version > before);
    CHECK(metadata.resource_version == store.revision().value());
    CHECK(metadata.creation_timestamp.has_value());
    CHECK_FALSE(metadata.deletion_timestamp.has_value());
    CHECK(metadata.labels.at("app") == "web");
    CHECK_MESSAGE(created.as<api::Machine>().status == api::MachineStatus{}, "the status is cleared on create");
    CHECK(store.get(key<api::Machine>("default", "web-1")).value() == created);
  }
  SUBCASE("two objects have different uids") {
    CHECK(must(store, make(machine("a"))).metadata().uid != must(store, make(machine("b"))).metadata().uid);
  }
  SUBCASE("a name is taken once for each kind and namespace") {
    must(store, make(machine("a")));
    const auto before = store.revision().value();
    CHECK(code_of(store, make(machine("a"))) == ErrorCode::already_exists);
    CHECK(store.revision().value() == before);
    must(store, make(secret("a")));
    must(store, make(namespace_object("other")));
    must(store, make(machine("a", "other")));
  }
  SUBCASE("defaults are filled in") {
    auto wanted = machine("a");
    wanted.spec.ignition_ref = api::SecretKeySelector{.name = "ignition", .key = "", .unknown = {}};
    CHECK(must(store, make(wanted)).as<api::Machine>().spec.ignition_ref->key == "ignition.yaml");
  }
  SUBCASE("what is wrong is refused with every field named") {
    auto wanted = machine("Not_A_Name");
    wanted.spec.machine_class_ref.name = "";
    const auto result = store::commit_one(store, make(wanted));
    REQUIRE(code_of(result) == ErrorCode::invalid);
    CHECK(result.error().fields().size() >= 2);
    CHECK(result.error().message().find("metadata.name") != std::string::npos);
    CHECK(result.error().message().find("spec.machineClassRef") != std::string::npos);
    CHECK_FALSE(exists<api::Machine>(store, "Not_A_Name"));
  }
  SUBCASE("the namespace must be there, where the kind has one") {
    CHECK(code_of(store, make(machine("a", "nowhere"))) == ErrorCode::not_found);
    CHECK(code_of(store, make(machine("a", ""))) == ErrorCode::invalid);
    auto pool = machine_pool("p");
    pool.metadata.namespace_ = "default";
    CHECK(code_of(store, make(pool)) == ErrorCode::invalid);
  }
  SUBCASE("a name is generated from a prefix") {
    auto wanted = machine("");
    wanted.metadata.generate_name = "web-";
    const auto first = must(store, make(wanted));
    const auto second = must(store, make(wanted));
    CHECK(first.name().starts_with("web-"));
    CHECK(first.name().size() > 4);
    CHECK(first.name() != second.name());
    wanted.metadata.generate_name = std::string(60, 'x') + "-";
    CHECK(must(store, make(wanted)).name().size() <= 63);
    wanted.metadata.generate_name = "Web_";
    CHECK(code_of(store, make(wanted)) == ErrorCode::invalid);
  }
  SUBCASE("an object above the size limit is refused") {
    api::Machine large = machine("large");
    for (int i = 0; i < 15; ++i) {
      api::MachineVolume volume;
      volume.name = "v" + std::to_string(i);
      volume.local_disk = api::LocalDisk{};
      volume.unknown.set("note", '"' + std::string(128 * 1024, 'x') + '"');
      large.spec.volumes.push_back(volume);
    }
    CHECK(code_of(store, make(large)) == ErrorCode::exhausted);
    CHECK_FALSE(exists<api::Machine>(store, "large"));
    large.spec.volumes.resize(10);
    must(store, make(large));
  }
  SUBCASE("an owner that does not exist is refused") {
    const auto owner = must(store, make(machine("owner")));
    auto owned = machine("owned");
    owned.metadata.owner_references = {owned_by(owner)};
    owned.metadata.owner_references[0].uid = "00000000-0000-4000-8000-000000000000";
    CHECK(code_of(store, make(owned)) == ErrorCode::conflict);
    owned.metadata.owner_references = {owned_by(owner)};
    must(store, make(owned));
    auto elsewhere = machine("owned", "other");
    must(store, make(namespace_object("other")));
    elsewhere.metadata.owner_references = {owned_by(owner)};
    CHECK_MESSAGE(code_of(store, make(elsewhere)) == ErrorCode::conflict, "an owner lives in the same namespace");
    auto pool = machine_pool("p");
    pool.metadata.owner_references = {owned_by(owner)};
    CHECK_MESSAGE(code_of(store, make(pool)) == ErrorCode::invalid,
                  "what has no namespace cannot belong to something in one");
    owned.metadata.owner_references[0].kind = "Spaceship";
    owned.metadata.name = "lost";
    CHECK(code_of(store, make(owned)) == ErrorCode::invalid);
  }
  SUBCASE("unknown members survive") {
    const auto json =
        R"({"apiVersion":"compute.ironcore.dev/v1alpha1","kind":"Machine","metadata":{"name":"a","namespace":"default","novel":[1]},)"
        R"("spec":{"machineClassRef":{"name":"small","more":{"x":1}},"later":{"deep":[1,2]}},"extra":"kept"})";
    must(store, Create{Object::decode(json).value()});
    must(store, Patch{key<api::Machine>("default", "a"), R"({"metadata":{"labels":{"x":"y"}}})"});
    const auto text = store.get(key<api::Machine>("default", "a")).value().json();
    for (const auto* part : {R"("novel":[1])", R"("more":{"x":1})", R"("later":{"deep":[1,2]})", R"("extra":"kept")"})
      CHECK_MESSAGE(text.find(part) != std::string::npos, std::string(part) << " is not in " << text);
  }
}

void updating(Store& store) {
  const auto created = must(store, make(machine("a")));
  auto wanted = created.as<api::Machine>();

  SUBCASE("an update needs the current revision") {
    wanted.metadata.labels["x"] = "1";
    const auto updated = must(store, Update{Object::of(wanted)});
    CHECK(updated.metadata().resource_version > created.metadata().resource_version);
    CHECK(code_of(store, Update{Object::of(wanted)}) == ErrorCode::conflict);
    wanted.metadata.resource_version = {};
    CHECK(code_of(store, Update{Object::of(wanted)}) == ErrorCode::invalid);
    CHECK(store.get(key<api::Machine>("default", "a")).value() == updated);
  }
  SUBCASE("an update of what does not exist creates nothing") {
    wanted.metadata.name = "b";
    CHECK(code_of(store, Update{Object::of(wanted)}) == ErrorCode::not_found);
    CHECK_FALSE(exists<api::Machine>(store, "b"));
  }
  SUBCASE("an update of another incarnation is refused") {
    wanted.metadata.uid = "00000000-0000-4000-8000-000000000000";
    CHECK(code_of(store, Update{Object::of(wanted)}) == ErrorCode::conflict);
  }
  SUBCASE("the generation grows with the spec, and only with it") {
    wanted.metadata.labels["x"] = "1";
    auto updated = must(store, Update{Object::of(wanted)});
    CHECK(updated.metadata().generation == 1);
    wanted = updated.as<api::Machine>();
    wanted.spec.power = api::Power::off;
    updated = must(store, Update{Object::of(wanted)});
    CHECK(updated.metadata().generation == 2);
    wanted = updated.as<api::Machine>();
    wanted.status.machine_id = "test://1";
    updated = must(store, Update{Object::of(wanted), Part::status});
    CHECK(updated.metadata().generation == 2);
  }
  SUBCASE("an update that changes nothing makes no revision") {
    const auto before = store.revision().value();
    const auto result = store.commit({.operations = {Update{Object::of(wanted)}}, .preconditions = {}}).value();
    CHECK(result.revision == before);
    CHECK(result.objects.at(0) == created);
    CHECK(store.revision().value() == before);
    must(store, Patch{key<api::Machine>("default", "a"), "{}"});
    must(store, Patch{key<api::Machine>("default", "a"), R"({"spec":{"power":"On"}})"});
    CHECK(store.revision().value() == before);
  }
  SUBCASE("the object part keeps the status, the status part keeps everything else") {
    wanted.spec.power = api::Power::off;
    wanted.status.machine_id = "test://1";
    wanted.metadata.labels["x"] = "1";
    const auto with_status = must(store, Update{Object::of(wanted), Part::status}).as<api::Machine>();
    CHECK(with_status.status.machine_id == "test://1");
    CHECK(with_status.spec.power == api::Power::on);
    CHECK(with_status.metadata.labels.empty());
    wanted = with_status;
    wanted.spec.power = api::Power::off;
    wanted.status.machine_id = "test://2";
    const auto with_spec = must(store, Update{Object::of(wanted)}).as<api::Machine>();
    CHECK(with_spec.spec.power == api::Power::off);
    CHECK(with_spec.status.machine_id == "test://1");
    must(store, Patch{key<api::Machine>("default", "a"), R"({"spec":{"power":"On"},"status":{"machineID":"test://3"}})",
                      Part::status});
    const auto patched = store.get(key<api::Machine>("default", "a")).value().as<api::Machine>();
    CHECK(patched.spec.power == api::Power::off);
    CHECK(patched.status.machine_id == "test://3");
  }
  SUBCASE("a kind without status has none to write") {
    const auto kept = must(store, make(secret("s")));
    CHECK(code_of(store, Update{kept, Part::status}) == ErrorCode::invalid);
    CHECK(code_of(store, Patch{key<api::Secret>("default", "s"), "{}", Part::status}) == ErrorCode::invalid);
  }
  SUBCASE("what the store set cannot be changed") {
    wanted.metadata.creation_timestamp = WallTime{};
    wanted.metadata.deletion_timestamp = WallTime{};
    wanted.metadata.generation = 50;
    wanted.metadata.generate_name = "other-";
    wanted.metadata.labels["x"] = "1";
    const auto updated = must(store, Update{Object::of(wanted)}).metadata();
    CHECK(updated.creation_timestamp == created.metadata().creation_timestamp);
    CHECK_FALSE(updated.deletion_timestamp.has_value());
    CHECK(updated.generation == 1);
    CHECK(updated.generate_name.empty());
    CHECK(updated.uid == created.metadata().uid);
  }
  SUBCASE("the rules of the kind hold for updates") {
    wanted.spec.machine_class_ref.name = "large";
    const auto result = store::commit_one(store, Update{Object::of(wanted)});
    REQUIRE(code_of(result) == ErrorCode::invalid);
    CHECK(result.error().fields().at(0).field.starts_with("spec.machineClassRef"));
  }
  SUBCASE("a volume changes its size as its class allows it") {
    api::Volume volume;
    volume.metadata.name = "data";
    volume.metadata.namespace_ = "default";
    volume.spec.volume_class_ref = {.name = "fast"};
    volume.spec.resources = {{"storage", Quantity(100)}};
    must(store, make(volume));
    const auto resize = [&](std::int64_t size) {
      return store::commit_one(store, Patch{key<api::Volume>("default", "data"),
                                            R"({"spec":{"resources":{"storage":)" + std::to_string(size) + "}}}"});
    };
    CHECK_MESSAGE(resize(200).error().message().find("volume class fast does not exist") != std::string::npos,
                  "without its class nobody knows");
    api::VolumeClass fast;
    fast.metadata.name = "fast";
    fast.capabilities = {{"tps", Quantity(1)}, {"iops", Quantity(1)}};
    must(store, make(fast));
    CHECK(resize(100).has_value());
    CHECK(code_of(resize(200)) == ErrorCode::invalid);
    CHECK(resize(200).error().message().find("Static") != std::string::npos);
    must(store, Patch{key<api::VolumeClass>("", "fast"), R"({"resizePolicy":"ExpandOnly"})"});
    CHECK(resize(200).has_value());
    CHECK(code_of(resize(150)) == ErrorCode::invalid);
    CHECK(must(store, Patch{key<api::Volume>("default", "data"), R"({"metadata":{"labels":{"a":"b"}}})"})
              .as<api::Volume>()
              .spec.resources.at("storage") == Quantity(200));
  }
}

void patching(Store& store) {
  const auto created = must(store, make(machine("a")));
  const auto key_a = key<api::Machine>("default", "a");

  SUBCASE("a patch touches only what it names") {
    must(store, Patch{key_a, R"({"metadata":{"labels":{"one":"1","two":"2"}}})"});
    must(store, Patch{key_a, R"({"metadata":{"labels":{"one":null,"three":"3"}},"spec":{"power":"Off"}})"});
    const auto patched = store.get(key_a).value().as<api::Machine>();
    CHECK(patched.metadata.labels == std::map<std::string, std::string>{{"two", "2"}, {"three", "3"}});
    CHECK(patched.spec.power == api::Power::off);
    CHECK(patched.spec.machine_class_ref.name == "small");
    CHECK(patched.metadata.generation == 2);
  }
  SUBCASE("a revision or uid in a patch must be the current one") {
    const auto revision = std::to_string(created.metadata().resource_version.value);
    must(store, Patch{key_a, R"({"metadata":{"resourceVersion":")" + revision + R"(","labels":{"x":"1"}}})"});
    CHECK(code_of(store, Patch{key_a, R"({"metadata":{"resourceVersion":")" + revision +
                                          R"(","labels":{"x":"2"}}})"}) == ErrorCode::conflict);
    must(store, Patch{key_a, R"({"metadata":{"uid":")" + created.metadata().uid + R"(","labels":{"x":"3"}}})"});
    CHECK(code_of(store,
                  Patch{key_a, R"({"metadata":{"uid":"00000000-0000-4000-8000-000000000000","labels":{"x":"4"}}})"}) ==
          ErrorCode::conflict);
    CHECK(store.get(key_a).value().metadata().labels.at("x") == "3");
  }
  SUBCASE("a patch cannot rename") {
    CHECK(code_of(store, Patch{key_a, R"({"metadata":{"name":"b"}})"}) == ErrorCode::invalid);
    CHECK(code_of(store, Patch{key_a, R"({"metadata":{"namespace":"b"}})"}) == ErrorCode::invalid);
    CHECK(code_of(store, Patch{key_a, R"({"metadata":{"name":null}})"}) == ErrorCode::invalid);
  }
  SUBCASE("a patch that is none changes nothing") {
    const auto before = store.revision().value();
    for (const auto* text : {"", "{", "[]", "17", R"({"spec":{"power":17}})", R"({"spec":{"power":"Sideways"}})",
                             R"({"spec":null})", "{}}"}) {
      CAPTURE(text);
      CHECK(code_of(store, Patch{key_a, text}) == ErrorCode::invalid);
    }
    CHECK(code_of(store, Patch{key<api::Machine>("default", "nobody"), "{}"}) == ErrorCode::not_found);
    CHECK(store.revision().value() == before);
    CHECK(store.get(key_a).value() == created);
  }
  SUBCASE("an owner can be added when it exists") {
    const auto owner = must(store, make(machine("owner")));
    const auto with_owner = [&](const std::string& uid) {
      return R"({"metadata":{"ownerReferences":[{"apiVersion":"compute.ironcore.dev/v1alpha1","kind":"Machine","name":"owner","uid":")" +
             uid + R"("}]}})";
    };
    CHECK(code_of(store, Patch{key_a, with_owner("00000000-0000-4000-8000-000000000000")}) == ErrorCode::conflict);
    must(store, Patch{key_a, with_owner(owner.metadata().uid)});
    must(store, Delete{key<api::Machine>("default", "owner")});
    CHECK_FALSE(exists<api::Machine>(store, "a"));
  }
}

}  // namespace

void writing_conformance(Store& store) {
  SUBCASE("create") {
    creating(store);
  }
  SUBCASE("update") {
    updating(store);
  }
  SUBCASE("patch") {
    patching(store);
  }
}

}  // namespace ironcore::test
