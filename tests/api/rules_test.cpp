// SPDX-License-Identifier: Apache-2.0
// The rules of metadata and of all kinds but Machine, on creation and on update.
#include <doctest/doctest.h>

#include "admission.hpp"

using namespace ironcore;
using namespace ironcore::api;

namespace {

MachineClass small_class() {
  MachineClass object;
  object.metadata.name = "small";
  object.capabilities = {{"cpu", Quantity(1)}, {"memory", Quantity::bytes(1 << 30)}};
  return object;
}
MachinePool a_pool() {
  MachinePool object;
  object.metadata.name = "host-1.rack-2";
  return object;
}
Event an_event() {
  auto object = in_shop<Event>("e");
  object.involved_object.kind = "Machine";
  object.involved_object.name = "web-1";
  object.reason = "Started";
  return object;
}

}  // namespace

TEST_CASE("rules of metadata") {
  check_rows(
      small_machine(),
      {
          {"a complete machine", "{}", fine},
          {"missing name", R"({"metadata":{"name":null}})", "metadata.name required"},
          {"generateName instead", R"({"metadata":{"name":null,"generateName":"web-"}})", fine},
          {"bad generateName", R"({"metadata":{"name":null,"generateName":"Web-"}})", "metadata.generateName invalid"},
          {"missing namespace", R"({"metadata":{"namespace":null}})", "metadata.namespace required"},
          {"bad namespace", R"({"metadata":{"namespace":"a.b"}})", "metadata.namespace invalid"},
          {"bad name", R"({"metadata":{"name":"foo*"}})", "metadata.name invalid"},
          {"a machine's name is a label", R"({"metadata":{"name":"foo.bar"}})", "metadata.name invalid"},
          {"both are wrong", R"({"metadata":{"name":null,"namespace":null}})",
           "metadata.name required\nmetadata.namespace required"},
          {"bad label key", R"({"metadata":{"labels":{"a b":"c"}}})", "metadata.labels[a b] invalid"},
          {"bad label value", R"({"metadata":{"labels":{"a":"b c"}}})", "metadata.labels[a] invalid"},
          {"empty label value", R"({"metadata":{"labels":{"a":""}}})", fine},
          {"annotations hold any text", R"({"metadata":{"annotations":{"example.com/a":"any { text \n"}}})", fine},
          {"bad annotation key", R"({"metadata":{"annotations":{"-a":""}}})", "metadata.annotations[-a] invalid"},
          {"finalizers", R"({"metadata":{"finalizers":["example.com/x","plain"]}})", fine},
          {"bad finalizers", R"({"metadata":{"finalizers":["","a b","x","x"]}})",
           "metadata.finalizers[0] required\nmetadata.finalizers[1] invalid\nmetadata.finalizers[3] "
           "duplicate"},
          {"an owner",
           R"({"metadata":{"ownerReferences":[{"apiVersion":"v1","kind":"Namespace","name":"a","uid":"u","controller":true}]}})",
           fine},
          {"an empty owner", R"({"metadata":{"ownerReferences":[{}]}})",
           "metadata.ownerReferences[0].apiVersion required\nmetadata.ownerReferences[0].kind required\n"
           "metadata.ownerReferences[0].name required\nmetadata.ownerReferences[0].uid required"},
          {"two controllers",
           R"({"metadata":{"ownerReferences":[{"apiVersion":"v1","kind":"A","name":"a","uid":"u","controller":true},)"
           R"({"apiVersion":"v1","kind":"A","name":"b","uid":"v","controller":true}]}})",
           "metadata.ownerReferences[1].controller invalid"},
      });
  auto large = small_machine();
  large.metadata.annotations["a"] = std::string(300'000, 'x');
  CHECK(created(large, "{}") == "metadata.annotations too_long");
  CHECK(created(small_class(), R"({"metadata":{"namespace":"shop"}})") == "metadata.namespace forbidden");
  CHECK(created(small_class(), R"({"metadata":{"name":"a.subdomain.is-fine"}})") == fine);
}

TEST_CASE("rules of the names of every kind") {
  const auto check_names = [](const auto& base) {
    const bool is_namespaced = base.info.scope == Scope::namespaced;
    CAPTURE(base.info.kind);
    check_rows(base, {
                         {"fine", "{}", fine},
                         {"missing name", R"({"metadata":{"name":null}})", "metadata.name required"},
                         {"bad name", R"({"metadata":{"name":"foo*"}})", "metadata.name invalid"},
                         {"missing namespace", R"({"metadata":{"namespace":null}})",
                          is_namespaced ? "metadata.namespace required" : fine},
                         {"bad namespace", R"({"metadata":{"namespace":"foo*"}})",
                          is_namespaced ? "metadata.namespace invalid" : "metadata.namespace forbidden"},
                     });
    check_steps(base, {
                          {"another name", "{}", R"({"metadata":{"name":"other"}})", "metadata.name forbidden"},
                      });
  };
  Namespace space;
  space.metadata.name = "shop";
  check_names(space);
  check_names(in_shop<Secret>("s"));
  check_names(an_event());
  check_names(small_class());
  check_names(a_pool());
  VolumeClass fast;
  fast.metadata.name = "fast";
  fast.capabilities = {{"tps", Quantity(1)}, {"iops", Quantity(1)}};
  check_names(fast);
  check_names(BucketClass{.metadata = fast.metadata, .capabilities = fast.capabilities});
  check_names(VolumePool{.metadata = a_pool().metadata});
  check_names(BucketPool{.metadata = a_pool().metadata});
  check_names(small_machine());
  check_names(in_shop<NetworkInterface>("n"));
  check_names(in_shop<Bucket>("b"));
  check_names(in_shop<Volume>("v"));
  check_names(in_shop<VolumeSnapshot>("s"));
}

TEST_CASE("rules of changed metadata") {
  check_steps(small_machine(),
              {
                  {"nothing", "{}", "{}", fine},
                  {"labels", "{}", R"({"metadata":{"labels":{"a":"b"}}})", fine},
                  {"name", "{}", R"({"metadata":{"name":"other"}})", "metadata.name forbidden"},
                  {"namespace", "{}", R"({"metadata":{"namespace":"other"}})", "metadata.namespace forbidden"},
                  {"a finalizer", "{}", R"({"metadata":{"finalizers":["a/b"]}})", fine},
                  {"a finalizer while being deleted",
                   R"({"metadata":{"deletionTimestamp":"2026-01-01T00:00:00Z","finalizers":["a/b"]}})",
                   R"({"metadata":{"deletionTimestamp":"2026-01-01T00:00:00Z","finalizers":["a/b","c/d"]}})",
                   "metadata.finalizers[1] forbidden"},
                  {"one less while being deleted",
                   R"({"metadata":{"deletionTimestamp":"2026-01-01T00:00:00Z","finalizers":["a/b"]}})",
                   R"({"metadata":{"deletionTimestamp":"2026-01-01T00:00:00Z"}})", fine},
              });
}

TEST_CASE("rules of taints and tolerations") {
  check_rows(
      a_pool(),
      {
          {"taints",
           R"({"spec":{"taints":[{"key":"a","value":"b","effect":"NoSchedule"},{"key":"a","value":"b","effect":"NoExecute"}]}})",
           fine},
          {"no key", R"({"spec":{"taints":[{"effect":"NoExecute"}]}})", "spec.taints[0].key required"},
          {"bad key", R"({"spec":{"taints":[{"key":"a b"}]}})", "spec.taints[0].key invalid"},
          {"bad value", R"({"spec":{"taints":[{"key":"a","value":"b c"}]}})", "spec.taints[0].value invalid"},
          {"twice", R"({"spec":{"taints":[{"key":"a"},{"key":"a","value":"x"}]}})", "spec.taints[1] duplicate"},
      });
  check_rows(
      small_machine(),
      {
          {"everything is tolerated", R"({"spec":{"tolerations":[{"operator":"Exists"}]}})", fine},
          {"by value", R"({"spec":{"tolerations":[{"key":"a","operator":"Equal","value":"b","effect":"NoExecute"}]}})",
           fine},
          {"bad key", R"({"spec":{"tolerations":[{"key":"a b"}]}})", "spec.tolerations[0].key invalid"},
          {"no key", R"({"spec":{"tolerations":[{"value":"a"}]}})", "spec.tolerations[0].operator invalid"},
          {"value beside Exists", R"({"spec":{"tolerations":[{"key":"a","operator":"Exists","value":"b"}]}})",
           "spec.tolerations[0].value invalid"},
          {"bad value", R"({"spec":{"tolerations":[{"key":"a","value":"b c"}]}})", "spec.tolerations[0].value invalid"},
      });
}

TEST_CASE("rules of a machine class") {
  check_rows(small_class(), {
                                {"fine", "{}", fine},
                                {"no capabilities", R"({"capabilities":null})",
                                 "capabilities[cpu] required\ncapabilities[memory] required"},
                                {"no memory", R"({"capabilities":{"memory":null}})", "capabilities[memory] required"},
                                {"zero", R"({"capabilities":{"cpu":0}})", "capabilities[cpu] invalid"},
                                {"negative", R"({"capabilities":{"memory":-1}})", "capabilities[memory] invalid"},
                                {"a vendor's resource", R"({"capabilities":{"type-a.vendor.com/gpu":"2"}})", fine},
                                {"bad resource name", R"({"capabilities":{"a b":"2"}})", "capabilities[a b] invalid"},
                                {"bad name", R"({"metadata":{"name":"foo*"}})", "metadata.name invalid"},
                            });
  check_steps(small_class(),
              {
                  {"other words for the same", "{}", R"({"capabilities":{"cpu":"1000m","memory":"1024Mi"}})", fine},
                  {"changed", "{}", R"({"capabilities":{"cpu":"2"}})", "capabilities forbidden"},
                  {"one more", "{}", R"({"capabilities":{"gpu":"2"}})", "capabilities forbidden"},
                  {"labels", "{}", R"({"metadata":{"labels":{"a":"b"}}})", fine},
              });
}

TEST_CASE("rules of a machine pool") {
  check_rows(a_pool(), {
                           {"fine", "{}", fine},
                           {"missing name", R"({"metadata":{"name":null}})", "metadata.name required"},
                           {"bad name", R"({"metadata":{"name":"foo*"}})", "metadata.name invalid"},
                           {"subdomain", R"({"metadata":{"name":"foo.bar.baz"}})", fine},
                       });
  check_steps(a_pool(), {
                            {"set", "{}", R"({"spec":{"providerID":"libvirt://a"}})", fine},
                            {"changed", R"({"spec":{"providerID":"libvirt://a"}})",
                             R"({"spec":{"providerID":"libvirt://b"}})", "spec.providerID forbidden"},
                            {"removed", R"({"spec":{"providerID":"libvirt://a"}})", "{}", "spec.providerID forbidden"},
                            {"taints", "{}", R"({"spec":{"taints":[{"key":"a"}]}})", fine},
                        });
}

TEST_CASE("rules of a secret") {
  const auto base = in_shop<Secret>("s");
  check_rows(base, {
                       {"keys are file names", R"({"stringData":{"ignition.yaml":"x","tls_key-1":"y"}})", fine},
                       {"bad keys", R"({"stringData":{"a/b":"","":"","..":""}})",
                        "data[] invalid\ndata[..] invalid\ndata[a/b] invalid"},
                       {"bad data", R"({"data":{"a b":""}})", "data[a b] invalid"},
                   });
  auto large = base;
  large.data["a"].value = std::string(1024 * 1024, 'x');
  CHECK(created(large, "{}") == fine);
  large.string_data["b"] = "x";
  CHECK(created(large, "{}") == "data too_long");
  check_steps(base, {
                        {"type", R"({"type":"a"})", R"({"type":"b"})", "type forbidden"},
                        {"type left out", R"({"type":"a"})", "{}", fine},
                        {"data", R"({"stringData":{"a":"1"}})", R"({"stringData":{"a":"2"}})", fine},
                        {"made immutable", "{}", R"({"immutable":true})", fine},
                        {"immutable and unchanged", R"({"immutable":true,"data":{"a":"MQ=="}})",
                         R"({"immutable":true,"stringData":{"a":"1"}})", fine},
                        {"immutable and changed", R"({"immutable":true,"data":{"a":"MQ=="}})",
                         R"({"immutable":true,"data":{"a":"Mg=="}})", "data forbidden"},
                        {"mutable again", R"({"immutable":true})", R"({"immutable":false})", "immutable forbidden"},
                    });
}

TEST_CASE("rules of an event") {
  check_rows(an_event(), {
                             {"fine", "{}", fine},
                             {"about nothing", R"({"involvedObject":null,"reason":null})",
                              "involvedObject.kind required\ninvolvedObject.name required\nreason required"},
                             {"count", R"({"count":0})", "count invalid"},
                         });
  auto event = an_event();
  event.reason = std::string(129, 'x');
  CHECK(created(event, "{}") == "reason too_long");
  check_steps(an_event(),
              {
                  {"again", "{}", R"({"count":2,"message":"more"})", fine},
                  {"about another", "{}", R"({"involvedObject":{"name":"other"}})", "involvedObject forbidden"},
              });
}

TEST_CASE("rules of a namespace") {
  Namespace object;
  object.metadata.name = "shop";
  CHECK(created(object, "{}") == fine);
  CHECK(created(object, R"({"metadata":{"name":"a.b"}})") == "metadata.name invalid");
  CHECK(created(object, R"({"metadata":{"namespace":"x"}})") == "metadata.namespace forbidden");
}

TEST_CASE("a long event message is cut between characters") {
  auto event = an_event();
  event.message = std::string(1023, 'x') + "\xC3\xA4 and so on";
  const auto admitted = kind_of<Event>().admit_create(Object::of(event)).value();
  CHECK(admitted.as<Event>().message == std::string(1023, 'x'));
}

TEST_CASE("admission fills in type and texts of a secret, and the key of an ignition") {
  auto secret = in_shop<Secret>("s");
  secret.data["a"].value = "old";
  secret.string_data = {{"a", "new"}, {"b", "x"}};
  const auto admitted = kind_of<Secret>().admit_create(Object::of(secret)).value().as<Secret>();
  CHECK(admitted.type == "Opaque");
  CHECK(admitted.string_data.empty());
  CHECK(admitted.data.at("a").value == "new");
  CHECK(admitted.data.at("b").value == "x");

  auto machine = small_machine();
  machine.spec.ignition_ref = {.name = "web"};
  CHECK(kind_of<Machine>().admit_create(Object::of(machine)).value().as<Machine>().spec.ignition_ref->key ==
        "ignition.yaml");
}
