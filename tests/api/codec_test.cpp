// SPDX-License-Identifier: Apache-2.0
// JSON ⇄ structs: names, what is left out, unknown members, errors with their field paths.
#include <doctest/doctest.h>

#include "json_encode.hpp"
#include "objects.hpp"

using namespace ironcore;
using namespace ironcore::api;

namespace {

std::string decoded_errors(std::string_view json, UnknownFields unknown = UnknownFields::keep) {
  const auto object = Object::decode(json, unknown);
  if (object) return "nothing is wrong";
  const Error error = object.error();
  std::string text = error.fields().empty() ? error.message() : "";
  for (const auto& field : error.fields()) text += field.field + ": " + field.message + "\n";
  return text;
}

/// A Machine with this as its spec.
std::string machine_with(std::string_view spec) {
  return R"({"apiVersion":"compute.ironcore.dev/v1alpha1","kind":"Machine","metadata":{"name":"m"},"spec":)" +
         std::string(spec) + "}";
}

}  // namespace

TEST_CASE("C++ names become JSON names") {
  using json::json_spelling;
  CHECK(json_spelling("provider_id", json::FirstWord::lower).view() == "providerID");
  CHECK(json_spelling("id", json::FirstWord::lower).view() == "id");
  CHECK(json_spelling("ip_families", json::FirstWord::lower).view() == "ipFamilies");
  CHECK(json_spelling("virtual_ip", json::FirstWord::lower).view() == "virtualIP");
  CHECK(json_spelling("namespace_", json::FirstWord::lower).view() == "namespace");
  CHECK(json_spelling("no_schedule", json::FirstWord::upper).view() == "NoSchedule");
  CHECK(json_spelling("ipv4", json::FirstWord::upper).view() == "IPv4");
  CHECK(json_spelling("virtual_ip_ref", json::FirstWord::lower).view() == "virtualIPRef");
  CHECK(json_spelling("delete_", json::FirstWord::upper).view() == "Delete");
  CHECK(json_spelling("internal_ip", json::FirstWord::upper).view() == "InternalIP");
  CHECK(json_spelling("external_dns", json::FirstWord::upper).view() == "ExternalDNS");
  CHECK(json_spelling("true_", json::FirstWord::upper).view() == "True");
}

TEST_CASE("a machine comes back byte for byte") {
  const auto object = Object::decode(running_machine).value();
  CHECK(object.json() == running_machine);
  const auto& machine = object.as<Machine>();
  CHECK(machine.metadata.resource_version.value == 4711);
  CHECK(machine.spec.volumes[0].local_disk->size_limit == Quantity::parse("10Gi").value());
  CHECK(machine.status.conditions[0].status == ConditionStatus::true_);
  CHECK(machine.status.state == MachineState::running);
}

TEST_CASE("what is empty is left out; enumerators and structs in an optional are written") {
  CHECK(
      Object::of(Machine()).json() ==
      R"({"apiVersion":"compute.ironcore.dev/v1alpha1","kind":"Machine","spec":{"power":"On"},"status":{"state":"Pending"}})");
  Machine machine;
  machine.spec.guest_config.emplace();
  machine.spec.machine_pool_ref.emplace();
  const auto object = Object::of(machine);
  CHECK(object.json().find(R"("guestConfig":{})") != std::string::npos);
  CHECK(Object::decode(object.json()).value() == object);
  CHECK(Object::of(Event()).json() == R"({"apiVersion":"v1","kind":"Event","type":"Normal","count":1})");
  Event event;
  event.count = 0;
  CHECK(Object::decode(Object::of(event).json()).value().as<Event>().count == 0);
}

TEST_CASE("null means absent") {
  const auto object = Object::decode(machine_with(
      R"({"power":null,"volumes":null,"machinePoolRef":null,"machinePoolSelector":{"a":null,"b":"c"},"later":null})"));
  const auto& spec = object.value().as<Machine>().spec;
  CHECK(spec.power == Power::on);
  CHECK(!spec.machine_pool_ref);
  CHECK(spec.machine_pool_selector == std::map<std::string, std::string>{{"b", "c"}});
  CHECK(spec.unknown.is_empty());
}

TEST_CASE("unknown members survive at every depth, sorted behind the known ones") {
  const auto json = machine_with(
      R"({"zeta":{"a":[1.50,{"b":"\u00e4"}]},"machineClassRef":{"name":"small","alpha":true},"power":"Off","beta":123456789012345678901,)"
      R"("volumes":[{"name":"root","device":"oda","localDisk":{"image":"x","cache":"none"},"order":1}]})");
  const auto object = Object::decode(json).value();
  CHECK(
      object.json() ==
      R"({"apiVersion":"compute.ironcore.dev/v1alpha1","kind":"Machine","metadata":{"name":"m"},"spec":{"machineClassRef":)"
      R"({"name":"small","alpha":true},"power":"Off","volumes":[{"name":"root","device":"oda","localDisk":{"image":"x","cache":"none"},)"
      "\"order\":1}],\"beta\":123456789012345678901,\"zeta\":{\"a\":[1.50,{\"b\":\"\xC3\xA4\"}]}},\"status\":"
      "{\"state\":\"Pending\"}}");
  auto machine = object.as<Machine>();
  machine.spec.power = Power::on;
  const auto changed = Object::decode(Object::of(machine).json()).value();
  CHECK(merge_patch(object, changed) == R"({"spec":{"power":"On"}})");
}

TEST_CASE("unknown members are refused for people, with the nearest name") {
  CHECK(
      decoded_errors(machine_with(R"({"powr":"On","volumes":[{"name":"a","devise":"oda"}]})"), UnknownFields::refuse) ==
      "spec.powr: unknown field (did you mean \"power\"?)\n"
      "spec.volumes[0].devise: unknown field (did you mean \"device\"?)\n");
  CHECK(decoded_errors(machine_with(R"({"wholly":{"different":[]}})"), UnknownFields::refuse) ==
        "spec.wholly: unknown field\n");
}

TEST_CASE("every wrong type is reported with its path") {
  CHECK(
      decoded_errors(machine_with(
          R"({"machineClassRef":"small","power":true,"volumes":[{"name":1},{"device":[]},7],"machinePoolSelector":{"a":5},"tolerations":{}})")) ==
      "spec.machineClassRef: must be an object\n"
      "spec.power: must be one of On, Off, in quotes\n"
      "spec.volumes[0].name: must be a string: put the number in quotes\n"
      "spec.volumes[1].device: must be a string\n"
      "spec.volumes[2]: must be an object\n"
      "spec.machinePoolSelector[a]: must be a string: put the number in quotes\n"
      "spec.tolerations: must be a list\n");
}

TEST_CASE("an empty enumerator is none") {
  const auto object = Object::decode(machine_with(
      R"({"power":"","tolerations":[{"key":"a","operator":"","effect":""},{"key":"b","effect":"NoExecute"}]})"));
  const auto& spec = object.value().as<Machine>().spec;
  CHECK(spec.power == Power::on);
  CHECK(!spec.tolerations[0].operator_);
  CHECK(!spec.tolerations[0].effect);
  CHECK(object->json().find(R"("tolerations":[{"key":"a"},{"key":"b","effect":"NoExecute"}])") != std::string::npos);
  const auto off = apply_merge_patch(*object, R"({"spec":{"power":"Off"}})").value();
  CHECK(apply_merge_patch(off, R"({"spec":{"power":""}})").value().as<Machine>().spec.power == Power::on);
  CHECK(decoded_errors(machine_with(R"({"power":" "})")).starts_with("spec.power: must be one of"));
}

TEST_CASE("enumerators are listed when another word is used") {
  CHECK(decoded_errors(machine_with(R"({"power":"on"})")) ==
        "spec.power: must be one of On, Off (did you mean \"On\"?)\n");
  const auto object = Object::decode(machine_with(R"({"power":"sleep"})"));
  CHECK(wrong_fields(object) == "spec.power not_supported");
}

TEST_CASE("amounts are texts or numbers") {
  const auto with = [](std::string_view cpu) {
    return R"({"apiVersion":"compute.ironcore.dev/v1alpha1","kind":"MachineClass","metadata":{"name":"c"},"capabilities":{"cpu":)" +
           std::string(cpu) + "}}";
  };
  const auto cpu = [&](std::string_view text) {
    return Object::decode(with(text)).value().as<MachineClass>().capabilities.at("cpu").to_text();
  };
  CHECK(cpu("2") == "2");
  CHECK(cpu("\"500m\"") == "500m");
  CHECK(cpu("0.5") == "500m");
  CHECK(cpu("1e3") == "1e3");
  CHECK(cpu("\"0.5Gi\"") == "512Mi");
  CHECK(decoded_errors(with("\"two\"")).starts_with("capabilities[cpu]: "));
  CHECK(decoded_errors(with("true")) == "capabilities[cpu]: must be an amount such as 2, 500m or 10Gi\n");
  CHECK(decoded_errors(with("\"" + std::string(100'000, '1') + "\"")).size() < 200);
  CHECK(decoded_errors(with("1e999")).starts_with("capabilities[cpu]: "));
}

TEST_CASE("whole numbers are checked for their range") {
  const auto with = [](std::string_view port) {
    return R"({"apiVersion":"compute.ironcore.dev/v1alpha1","kind":"MachinePool","metadata":{"name":"p"},"status":{"daemonEndpoints":{"machinepoolletEndpoint":{"port":)" +
           std::string(port) + "}}}}";
  };
  constexpr std::string_view path = "status.daemonEndpoints.machinepoolletEndpoint.port: ";
  CHECK(decoded_errors(with("12319")) == "nothing is wrong");
  for (const char* text : {"2147483648", "-2147483649", "99999999999999999999"}) {
    CHECK(decoded_errors(with(text)) == std::string(path) + "must be between -2147483648 and 2147483647\n");
  }
  for (const char* text : {"1.5", "1e3", "1.0", "\"1\"", "true", "[]"}) {
    CHECK(decoded_errors(with(text)) == std::string(path) + "must be a whole number\n");
  }
}

TEST_CASE("apiVersion and kind choose the kind and must fit it") {
  CHECK(decoded_errors("{}") == "apiVersion: is required\nkind: is required\n");
  CHECK(decoded_errors(R"({"apiversion":"v1","Kind":"Secret"})") ==
        "apiversion: unknown field (did you mean \"apiVersion\"?)\nKind: unknown field (did you mean \"kind\"?)\n");
  CHECK(decoded_errors(R"({"apiVersion":"v1","knid":"Secret","metadata":{"name":"s"}})") ==
        "knid: unknown field (did you mean \"kind\"?)\n");
  CHECK(decoded_errors(R"({"apiVersion":"v1","kind":"Secret","apiversion":"v1"})", UnknownFields::refuse) ==
        "apiversion: unknown field (did you mean \"apiVersion\"?)\n");
  CHECK(decoded_errors("[]") == "a manifest is an object with apiVersion, kind and metadata");
  CHECK(decoded_errors(R"({"apiVersion":"v1","kind":"Machin"})") ==
        "kind: there is no kind \"Machin\" (did you mean \"Machine\"?)\n");
  CHECK(decoded_errors(R"({"apiVersion":"v1","kind":"Machine"})") ==
        "kind: the apiVersion of kind Machine is compute.ironcore.dev/v1alpha1, not \"v1\"\n");
  CHECK(decoded_errors(R"({"apiVersion":1,"kind":"Machine"})") == "apiVersion: must be a string\n");
  CHECK(decoded_errors(R"({"kind":"Namespace","apiVersion":"v1","kind":"Namespace"})").find("twice") !=
        std::string::npos);
  const auto wrong = kind_of<Secret>().decode(R"({"apiVersion":"v1","kind":"Namespace"})");
  CHECK(wrong_fields(wrong) == "kind invalid");
  CHECK(wrong_fields(kind_of<Secret>().decode("{}")) == "apiVersion required\nkind required");
}

TEST_CASE("a member that comes twice is refused everywhere") {
  for (const char* spec :
       {R"({"power":"On","power":"On"})", R"({"x":1,"x":1})", R"({"machinePoolSelector":{"a":"1","a":"2"}})",
        R"({"machinePoolSelector":{"a":null,"a":"2"}})", R"({"machinePoolSelector":{"a":"1","a":null}})",
        R"({"x":null,"x":1})", R"({"x":1,"x":null})", R"({"power":null,"power":"On"})",
        R"({"volumes":[{"name":"a","name":"b"}]})", R"({"x":{"y":1,"y":2}})"}) {
    CAPTURE(spec);
    CHECK(decoded_errors(machine_with(spec)).find("twice") != std::string::npos);
  }
}

TEST_CASE("bytes are base64, with or without line breaks, and never quoted in an error") {
  const auto with = [](std::string_view value) {
    return R"({"apiVersion":"v1","kind":"Secret","metadata":{"name":"s"},"data":{"k":)" + std::string(value) + "}}";
  };
  const auto secret = Object::decode(with(R"("aGVs\nbG8=\n")")).value();
  CHECK(secret.as<Secret>().data.at("k").value == "hello");
  CHECK(secret.json().find(R"("k":"aGVsbG8=")") != std::string::npos);
  CHECK(decoded_errors(with("\"hunter2!\"")) == "data[k]: must be base64\n");
  CHECK(decoded_errors(with("12345")) == "data[k]: must be a string of base64\n");
}

TEST_CASE("times and revisions are read strictly") {
  const auto with = [](std::string_view metadata) {
    return R"({"apiVersion":"v1","kind":"Namespace","metadata":)" + std::string(metadata) + "}";
  };
  CHECK(decoded_errors(with(R"({"creationTimestamp":"yesterday","resourceVersion":"4x"})"))
            .find("metadata.resourceVersion: must be the decimal") != std::string::npos);
  CHECK(decoded_errors(with(R"({"resourceVersion":17})")) ==
        "metadata.resourceVersion: must be a string: put the number in quotes\n");
  CHECK(Object::decode(with(R"({"creationTimestamp":"2026-11-23T03:45:08+02:00"})"))
            .value()
            .json()
            .find("2026-11-23T01:45:08Z") != std::string::npos);
}

TEST_CASE("an object has a largest size, a list a largest length, a report a largest number of errors") {
  const std::string large(1'600'000, ' ');
  const auto object = Object::decode(large);
  CHECK(object.error().code() == ErrorCode::exhausted);
  CHECK(object.error().message().find("1.5 MiB") != std::string::npos);

  std::string volumes = "[{}";
  for (int i = 0; i < 10'000; ++i) volumes += ",{}";
  CHECK(decoded_errors(machine_with(R"({"volumes":)" + volumes + "]}")).find("more than 10000 elements") !=
        std::string::npos);

  std::string numbers = "[1";
  for (int i = 0; i < 100; ++i) numbers += ",1";
  CHECK(decoded_errors(machine_with(R"({"volumes":)" + numbers + "]}"))
            .find("more than 32 wrong fields; the first is spec.volumes[0]") != std::string::npos);
}
