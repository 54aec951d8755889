// SPDX-License-Identifier: Apache-2.0
// Device names: their grammar, and how admission gives them out.
#include <doctest/doctest.h>

#include "objects.hpp"

using namespace ironcore;
using namespace ironcore::api;

namespace {

MachineVolume disk(std::string name, std::string device = {}) {
  return {.name = std::move(name), .device = std::move(device), .empty_disk = EmptyDisk()};
}

std::string devices(const Result<Object>& object) {
  if (!object) return wrong_fields(object);
  std::string text;
  for (const auto& volume : object->as<Machine>().spec.volumes) text += volume.name + "=" + volume.device + " ";
  return text;
}

Object with(std::vector<MachineVolume> volumes) {
  auto machine = small_machine();
  machine.spec.volumes = std::move(volumes);
  return Object::of(machine);
}

std::string created(std::vector<MachineVolume> volumes) {
  return devices(kind_of<Machine>().admit_create(with(std::move(volumes))));
}

}  // namespace

TEST_CASE("indices become names and back") {
  CHECK(device_name(0).value() == "oda");
  CHECK(device_name(22).value() == "odw");
  CHECK(device_name(25).value() == "odz");
  CHECK(device_name(26).value() == "odaa");
  CHECK(device_name(53).value() == "odbb");
  CHECK(device_name(701).value() == "odzz");
  CHECK(device_name(702).error().code() == ErrorCode::exhausted);
  for (std::size_t i = 0; i < 702; ++i) CHECK(device_index(device_name(i).value()).value() == i);
}

TEST_CASE("names have two letters of prefix and one or two more") {
  CHECK(device_index("sda").value() == 0);
  CHECK(device_index("fda").value() == 0);
  CHECK(device_index("sdb").value() == 1);
  CHECK(device_index("sdbb").value() == 53);
  CHECK(device_index("sdzz").value() == 701);
  for (const char* name : {"", "o", "od", "sdaaa", "f_aa", "ODA", "od1", "od-", "oda ", "\xC3\xA4\xC3\xA4"}) {
    CAPTURE(name);
    CHECK(device_index(name).error().code() == ErrorCode::invalid);
  }
}

TEST_CASE("volumes without a device get the lowest that is free") {
  CHECK(created({disk("a"), disk("b")}) == "a=oda b=odb ");
  CHECK(created({disk("a"), disk("b", "oda"), disk("c")}) == "a=odb b=oda c=odc ");
  CHECK(created({disk("a", "vda"), disk("b")}) == "a=vda b=odb ");
  CHECK(created({disk("a", "odz"), disk("b")}) == "a=odz b=oda ");
}

TEST_CASE("a device that is wrong or taken is reported beside the ones given out") {
  CHECK(created({disk("a", "nonsense"), disk("b")}) == "spec.volumes[0].device invalid");
  CHECK(created({disk("a", "oda"), disk("b", "oda")}) == "spec.volumes[1].device duplicate");
}

TEST_CASE("after the last device there is none") {
  std::vector<MachineVolume> volumes;
  for (int i = 0; i < 702; ++i) volumes.push_back(disk("v" + std::to_string(i)));
  CHECK(created(volumes).ends_with("v701=odzz "));
  volumes.push_back(disk("one-more"));
  CHECK(created(volumes).starts_with("spec.volumes too_long"));
}

TEST_CASE("removing the first volume leaves the second where it is") {
  const auto current = kind_of<Machine>().admit_create(with({disk("a"), disk("b")})).value();
  const auto update = [&](std::vector<MachineVolume> volumes) {
    return devices(kind_of<Machine>().admit_update(current, with(std::move(volumes))));
  };
  CHECK(update({disk("b", "odb")}) == "b=odb ");
  CHECK(update({disk("b")}) == "b=odb ");
  CHECK(update({disk("c"), disk("b")}) == "c=oda b=odb ");
  CHECK(update({disk("b"), disk("c", "odb")}) == "b=oda c=odb ");
}

TEST_CASE("other kinds get no devices") {
  MachinePool pool;
  pool.metadata.name = "p";
  CHECK(kind_of<MachinePool>().admit_create(Object::of(pool)).value() == Object::of(pool));
}
