// SPDX-License-Identifier: Apache-2.0
// Objects: merge patches, differences, fields as text, three-way merge.
#include <doctest/doctest.h>

#include "objects.hpp"

using namespace ironcore;
using namespace ironcore::api;

namespace {

Object running() {
  return Object::decode(running_machine).value();
}

Object patched(const Object& object, std::string_view patch) {
  return apply_merge_patch(object, patch).value();
}

}  // namespace

TEST_CASE("objects share their value and are equal by content") {
  const auto a = running();
  const auto b = a;  // NOLINT(performance-unnecessary-copy-initialization): that is what is tested
  CHECK(&a.as<Machine>() == &b.as<Machine>());
  CHECK(a == running());
  CHECK(a.is<Machine>());
  CHECK(!a.is<Secret>());
  CHECK(!(a == Object::of(small_machine())));
  const auto shared = a.share<Machine>();
  CHECK(shared->metadata.name == "web-1");
}

TEST_CASE("a merge patch changes what it names and nothing else") {
  const auto before = running();
  const auto after = patched(
      before,
      R"({"spec":{"power":"Off","machinePoolRef":null,"guestConfig":{"hostname":null}},"metadata":{"labels":{"app":null,"new":"x"}}})");
  const auto& machine = after.as<Machine>();
  CHECK(machine.spec.power == Power::off);
  CHECK(!machine.spec.machine_pool_ref);
  CHECK(machine.spec.guest_config->hostname.empty());
  CHECK(machine.metadata.labels == std::map<std::string, std::string>{{"new", "x"}, {"tier", "front"}});
  CHECK(machine.spec.volumes == before.as<Machine>().spec.volumes);
  CHECK(patched(before, "{}") == before);
}

TEST_CASE("null gives a member its default back") {
  auto off = patched(running(), R"({"spec":{"power":"Off"}})");
  CHECK(patched(off, R"({"spec":{"power":null}})").as<Machine>().spec.power == Power::on);
  CHECK(patched(off, R"({"spec":null})").as<Machine>().spec == MachineSpec());
  CHECK(patched(Object::of(Event{.count = 7}), R"({"count":null})").as<Event>().count == 1);
}

TEST_CASE("unknown members are patched too") {
  auto object = patched(running(), R"({"spec":{"later":{"a":1,"b":{"c":2}}}})");
  object = patched(object, R"({"spec":{"later":{"a":null,"b":{"d":[{"e":null}]}}}})");
  CHECK(object.as<Machine>().spec.unknown.members().at("later") == R"({"b":{"c":2,"d":[{}]}})");
  CHECK(patched(object, R"({"spec":{"later":null}})") == running());
}

TEST_CASE("a patch with wrong fields is refused as a whole") {
  const auto wrong = apply_merge_patch(running(), R"({"spec":{"power":"Of","volumes":5}})");
  CHECK(wrong_fields(wrong) == "spec.power not_supported\nspec.volumes invalid");
  CHECK(apply_merge_patch(running(), R"({"kind":"Secret"})").error().fields().at(0).field == "kind");
  CHECK(apply_merge_patch(running(), "[]").has_error());
  CHECK(apply_merge_patch(running(), "{").has_error());
  CHECK(apply_merge_patch(running(), R"({"metadata":{"labels":{"a":"1","a":"2"}}})").error().message().find("twice") !=
        std::string::npos);
  CHECK(apply_merge_patch(running(), std::string(2'000'000, ' ')).error().code() == ErrorCode::exhausted);
}

TEST_CASE("the patch between two objects is small and leaves resourceVersion out") {
  auto machine = running().as<Machine>();
  machine.metadata.resource_version.value = 9;
  CHECK(merge_patch(running(), Object::of(machine)) == "{}");
  machine.spec.machine_pool_ref.reset();
  machine.spec.ignition_ref->key = "other";
  machine.metadata.labels.erase("app");
  machine.metadata.labels["x"] = "y";
  machine.status.conditions.clear();
  machine.spec.unknown.set("later", "{}");
  CHECK(
      merge_patch(running(), Object::of(machine)) ==
      R"({"metadata":{"labels":{"app":null,"x":"y"}},"spec":{"machinePoolRef":null,"ignitionRef":{"key":"other"},"later":{}},"status":{"conditions":null}})");
  CHECK(patched(running(), merge_patch(running(), Object::of(machine))) ==
        patched(Object::of(machine), R"({"metadata":{"resourceVersion":"4711"}})"));
}

TEST_CASE("an empty struct in an optional is told from none by a patch") {
  auto with = small_machine(), without = small_machine();
  with.spec.guest_config.emplace();
  const auto a = Object::of(without), b = Object::of(with);
  CHECK(merge_patch(a, b) == R"({"spec":{"guestConfig":{}}})");
  CHECK(merge_patch(b, a) == R"({"spec":{"guestConfig":null}})");
  CHECK(patched(a, merge_patch(a, b)) == b);
  CHECK(patched(b, merge_patch(b, a)) == a);
}

TEST_CASE("a change may have the unknown members that the stored object has at the same place") {
  const auto stored = Object::decode(
      R"({"apiVersion":"compute.ironcore.dev/v1alpha1","kind":"Machine","metadata":{"name":"m","namespace":"n"},"spec":{"machineClassRef":{"name":"small"},)"
      R"("volumes":[{"name":"a","localDisk":{"cache":"none"}}],"later":{"n":1.50}}})");
  int asked = 0;
  const auto change = [&](std::string_view spec) {
    const auto object = decode_change(
        R"({"apiVersion":"compute.ironcore.dev/v1alpha1","kind":"Machine","metadata":{"name":"m","namespace":"n"},"spec":)" +
            std::string(spec) + "}",
        [&](const Object& meant) {
          CHECK(meant.name() == "m");
          ++asked;
          return Result<Object>(stored);
        });
    return object ? object->json() : wrong_fields(object);
  };
  CHECK(change(R"({"power":"Off"})").find("Off") != std::string::npos);
  CHECK(asked == 0);
  CHECK(decode_change(stored.value().json(), [&](const Object&) { return Result<Object>(stored); }).value() == *stored);
  CHECK(change(R"({"later":{"n":2.50,"more":[]}})").find(R"("later":{"more":[],"n":2.50})") != std::string::npos);
  CHECK(asked == 1);
  // In any element of the list: somebody may have put one before it.
  CHECK(change(R"({"volumes":[{"name":"b"},{"name":"a","localDisk":{"cache":"x"}}]})").find("cache") !=
        std::string::npos);
  CHECK(change(R"({"latr":1,"volumes":[{"cache":"none"}],"later":1})") ==
        "spec.latr unknown\nspec.volumes[0].cache unknown");
  CHECK(change(R"({"later":1,"power":"x"})").find("spec.power not_supported") != std::string::npos);
  const auto absent = decode_change(R"({"apiVersion":"v1","kind":"Secret","later":1})", [](const Object&) {
    return Result<Object>(Error(ErrorCode::not_found, "no such secret"));
  });
  CHECK(wrong_fields(absent) == "later unknown");
}

TEST_CASE("a field is found by its path") {
  const auto object =
      patched(running(), R"({"spec":{"later":{"deep":[{"x":"y"},17]}},"metadata":{"labels":{"example.com/a.b":"c"}}})");
  const auto at = [&](std::string_view path) { return field_text(object, path).value_or("(none)"); };
  CHECK(at("metadata.name") == "web-1");
  CHECK(at("metadata.namespace") == "shop");
  CHECK(at("spec.machinePoolRef.name") == "host-17");
  CHECK(at("spec.machineClassRef.name") == "small");
  CHECK(at("spec.power") == "On");
  CHECK(at("spec.volumes[1].device") == "odb");
  CHECK(at("spec.volumes[0].localDisk.sizeLimit") == "10Gi");
  CHECK(at("status.state") == "Running");
  CHECK(at("metadata.generation") == "2");
  CHECK(at("metadata.resourceVersion") == "4711");
  CHECK(at("metadata.creationTimestamp") == "2026-11-23T01:45:08Z");
  CHECK(at("metadata.labels.app") == "web");
  CHECK(at("metadata.labels.example.com/a.b") == "c");
  CHECK(at("metadata.labels[example.com/a.b]") == "c");
  CHECK(at("spec.later.deep[0].x") == "y");
  CHECK(at("spec.later.deep[1]") == "17");
  CHECK(at("apiVersion") == "compute.ironcore.dev/v1alpha1");
  CHECK(at("kind") == "Machine");
  for (const char* path : {"",
                           ".",
                           "spec",
                           "spec.",
                           "spec.nothing",
                           "spec.volumes",
                           "spec.volumes[9].name",
                           "spec.volumes[x].name",
                           "spec.volumes[",
                           "spec.volumes[]",
                           "spec.power.more",
                           "metadata.labels",
                           "metadata.labels.none",
                           "metadata.labels[app].x",
                           "spec.later",
                           "spec.later.deep[9]",
                           "metadata.generateName",
                           "[0]",
                           "spec[power]",
                           "..",
                           "spec..power"}) {
    CAPTURE(path);
    CHECK(at(path) == "(none)");
  }
  CHECK(!field_text(Object::of(small_machine()), "spec.machinePoolRef.name"));
}

TEST_CASE("bytes of a secret are no text") {
  Secret secret;
  secret.data["k"].value = "v";
  CHECK(!field_text(Object::of(secret), "data.k"));
}

TEST_CASE("applying a manifest again after binding and device naming changes nothing") {
  const std::string manifest =
      R"({"apiVersion":"compute.ironcore.dev/v1alpha1","kind":"Machine","metadata":{"name":"web-1","namespace":"shop","labels":{"app":"web"}},)"
      R"("spec":{"machineClassRef":{"name":"small"},"ignitionRef":{"name":"ign"},"volumes":[{"name":"root","localDisk":{"image":"debian","sizeLimit":"1024Mi"}}],)"
      R"("networkInterfaces":[{"name":"nic","ephemeral":{"networkInterfaceTemplate":{"spec":{}}}}]}})";
  auto stored = kind_of<Machine>().admit_create(Object::decode(manifest).value()).value();
  CHECK(three_way_patch(manifest, manifest, stored).value() == "{}");
  CHECK(three_way_patch("", manifest, stored).value() == "{}");
  stored = patched(
      stored,
      R"({"spec":{"machinePoolRef":{"name":"host-1"},"power":"Off"},"metadata":{"finalizers":["a/b"],"labels":{"theirs":"x"},"uid":"u"},"status":{"state":"Running"}})");
  CHECK(three_way_patch(manifest, manifest, stored).value() == "{}");
}

TEST_CASE("what left the manifest is removed, what others added stays") {
  const std::string before =
      R"({"apiVersion":"compute.ironcore.dev/v1alpha1","kind":"Machine","metadata":{"name":"web-1","namespace":"shop","labels":{"a":"1","b":"2"}},)"
      R"("spec":{"machineClassRef":{"name":"small"},"power":"Off","volumes":[{"name":"one","emptyDisk":{}},{"name":"two","emptyDisk":{}}]}})";
  const std::string after =
      R"({"apiVersion":"compute.ironcore.dev/v1alpha1","kind":"Machine","metadata":{"name":"web-1","namespace":"shop","labels":{"a":"9"}},)"
      R"("spec":{"machineClassRef":{"name":"small"},"volumes":[{"name":"three","emptyDisk":{}},{"name":"two","emptyDisk":{"sizeLimit":"1Gi"}}]}})";
  auto stored = kind_of<Machine>().admit_create(Object::decode(before).value()).value();
  stored = patched(stored, R"({"metadata":{"labels":{"theirs":"x"}}})");
  auto machine = stored.as<Machine>();
  machine.spec.volumes.push_back({.name = "added", .device = "odx", .empty_disk = EmptyDisk()});
  stored = Object::of(machine);
  const auto result = patched(stored, three_way_patch(before, after, stored).value()).as<Machine>();
  CHECK(result.metadata.labels == std::map<std::string, std::string>{{"a", "9"}, {"theirs", "x"}});
  CHECK(result.spec.power == Power::on);
  REQUIRE(result.spec.volumes.size() == 3);
  CHECK(result.spec.volumes[0].name == "three");
  CHECK(result.spec.volumes[0].device == "oda");
  CHECK(result.spec.volumes[1].name == "two");
  CHECK(result.spec.volumes[1].device == "odb");
  CHECK(result.spec.volumes[1].empty_disk->size_limit.has_value());
  CHECK(result.spec.volumes[2].name == "added");
  CHECK(three_way_patch(after, after, Object::of(result)).value() == "{}");
}

TEST_CASE("applying a manifest that was printed before does not fight over what the store writes") {
  const auto stored = running();
  auto text = stored.json();
  CHECK(three_way_patch("", text, stored).value() == "{}");
  const auto stale = patched(
      stored, R"({"status":{"state":"Pending"},"metadata":{"generation":1,"resourceVersion":"1","uid":"other"}})");
  CHECK(three_way_patch("", stale.json(), stored).value() == "{}");
}

TEST_CASE("a secret given as texts is the same on the second apply") {
  const std::string manifest =
      R"({"apiVersion":"v1","kind":"Secret","metadata":{"name":"s","namespace":"n"},"stringData":{"a":"\u00e4","b":"2"}})";
  const auto stored = kind_of<Secret>().admit_create(Object::decode(manifest).value()).value();
  CHECK(three_way_patch(manifest, manifest, stored).value() == "{}");
  const std::string less =
      R"({"apiVersion":"v1","kind":"Secret","metadata":{"name":"s","namespace":"n"},"stringData":{"a":"x"}})";
  CHECK(three_way_patch(manifest, less, stored).value() == R"({"data":{"b":null,"a":"eA=="}})");
}

TEST_CASE("a manifest that breaks a rule is refused before anything is sent") {
  const auto stored = running();
  const auto patch = three_way_patch(
      "",
      R"({"apiVersion":"compute.ironcore.dev/v1alpha1","kind":"Machine","metadata":{"name":"web-1","namespace":"shop"},"spec":{"machineClassRef":{"name":"large"}}})",
      stored);
  CHECK(wrong_fields(patch) == "spec.machineClassRef forbidden");
  CHECK(three_way_patch("", "[]", stored).has_error());
  CHECK(three_way_patch("{", "{}", stored).error().message().starts_with("read the manifest that was applied last: "));
}
