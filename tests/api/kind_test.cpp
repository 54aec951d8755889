// SPDX-License-Identifier: Apache-2.0
// The table of kinds, and what one Kind derives from its struct.
#include <doctest/doctest.h>

#include <algorithm>

#include "objects.hpp"

using namespace ironcore;
using namespace ironcore::api;

TEST_CASE("the kinds are sorted by group and name") {
  const auto all = kinds();
  CHECK(all.size() == 14);
  CHECK(std::is_sorted(all.begin(), all.end(), [](const Kind* a, const Kind* b) {
    return std::pair(a->info().group, a->info().kind) < std::pair(b->info().group, b->info().kind);
  }));
}

TEST_CASE("a kind is found by any of its words") {
  for (const char* word : {"machines", "Machine", "machine", "MACHINES", "m", "machines.compute.ironcore.dev"}) {
    CAPTURE(word);
    CHECK(find_kind(word).value() == &kind_of<Machine>());
  }
  CHECK(find_kind("nic").value() == &kind_of<NetworkInterface>());
  CHECK(find_kind("ns").value() == &kind_of<Namespace>());
  CHECK(find_kind("volumesnapshot").value() == &kind_of<VolumeSnapshot>());
  CHECK(find_kind("buckets.storage.ironcore.dev").value() == &kind_of<Bucket>());
  CHECK(find_kind("VolumeClasses").value() == &kind_of<VolumeClass>());
  CHECK(find_kind("secrets").value() == &kind_of<Secret>());
}

TEST_CASE("an unknown word is answered with the nearest kind and the list of kinds") {
  const auto kind = find_kind("machinez");
  CHECK(kind.error().code() == ErrorCode::not_found);
  CHECK(kind.error().message().starts_with(
      "there is no kind \"machinez\" (did you mean \"machines\"?); there are events, namespaces"));
  CHECK(find_kind("").error().code() == ErrorCode::not_found);
  CHECK(find_kind(std::string(100'000, 'x')).error().message().size() < 400);
}

TEST_CASE("names of a kind as the outside writes them") {
  CHECK(kind_of<Machine>().api_version() == "compute.ironcore.dev/v1alpha1");
  CHECK(kind_of<Machine>().resource() == "machines.compute.ironcore.dev");
  CHECK(kind_of<Secret>().api_version() == "v1");
  CHECK(kind_of<Secret>().resource() == "secrets");
}

TEST_CASE("status comes from one object, everything else from the other") {
  auto machine = small_machine();
  machine.spec.power = Power::off;
  machine.unknown.set("extra", "1");
  auto running = small_machine();
  running.status.state = MachineState::running;
  const auto& kind = kind_of<Machine>();
  const auto both = kind.combine(Object::of(machine), Object::of(running)).as<Machine>();
  CHECK(both.spec.power == Power::off);
  CHECK(both.status.state == MachineState::running);
  CHECK(both.unknown.members().contains("extra"));
  CHECK(kind.has_status());
  CHECK(!kind_of<Secret>().has_status());
  CHECK(!kind_of<MachineClass>().has_status());
}

TEST_CASE("only a change outside metadata and status is a change of the spec") {
  const auto& kind = kind_of<Machine>();
  const auto base = Object::of(small_machine());
  auto machine = small_machine();
  machine.metadata.labels["a"] = "b";
  machine.status.state = MachineState::running;
  CHECK(kind.is_same_spec(base, Object::of(machine)));
  machine.spec.unknown.set("later", "1");
  CHECK(!kind.is_same_spec(base, Object::of(machine)));
  Secret a, b;
  b.data["k"].value = "v";
  CHECK(!kind_of<Secret>().is_same_spec(Object::of(a), Object::of(b)));
}

TEST_CASE("metadata is replaced as a whole") {
  Metadata metadata;
  metadata.name = "other";
  const auto object = kind_of<Machine>().with_metadata(Object::of(small_machine()), metadata);
  CHECK(object.name() == "other");
  CHECK(object.as<Machine>().spec.machine_class_ref.name == "small");
}
