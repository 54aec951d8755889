// SPDX-License-Identifier: Apache-2.0
// The rules of the kinds on creation and on update: each row names the wrong fields and why they are wrong.
#include <doctest/doctest.h>

#include <functional>

#include "objects.hpp"

using namespace ironcore;
using namespace ironcore::api;

namespace {

/// `FIELD REASON` lines of admission, for an object changed by a merge patch.
template <class T>
std::string created(const T& base, std::string_view patch) {
  const auto object = apply_merge_patch(Object::of(base), patch).value();
  return wrong_fields(object.kind().admit_create(object));
}

/// The same for the step from one patch of `base` to another.
template <class T>
std::string updated(const T& base, std::string_view from, std::string_view to) {
  const auto current = apply_merge_patch(Object::of(base), from).value();
  const auto wanted = apply_merge_patch(Object::of(base), to).value();
  return wrong_fields(current.kind().admit_update(current, wanted));
}

struct Row {
  const char* what;
  const char* patch;
  const char* wrong;
};
struct Step {
  const char* what;
  const char* from;
  const char* to;
  const char* wrong;
};
constexpr const char* fine = "nothing is wrong";

template <class T>
void check_rows(const T& base, std::initializer_list<Row> rows) {
  for (const auto& row : rows) {
    CAPTURE(row.what);
    CHECK(created(base, row.patch) == row.wrong);
  }
}
template <class T>
void check_steps(const T& base, std::initializer_list<Step> steps) {
  for (const auto& step : steps) {
    CAPTURE(step.what);
    CHECK(updated(base, step.from, step.to) == step.wrong);
  }
}

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
template <class T>
T in_shop(std::string name) {
  T object;
  object.metadata.name = std::move(name);
  object.metadata.namespace_ = "shop";
  return object;
}
Event an_event() {
  auto object = in_shop<Event>("e");
  object.involved_object.kind = "Machine";
  object.involved_object.name = "web-1";
  object.reason = "Started";
  return object;
}

const std::string long_label(64, 'a');

}  // namespace

TEST_CASE("rules of metadata") {
  check_rows(small_machine(), {
    {"a complete machine", "{}", fine},
    {"missing name", R"({"metadata":{"name":null}})", "metadata.name required"},
    {"generateName instead", R"({"metadata":{"name":null,"generateName":"web-"}})", fine},
    {"bad generateName", R"({"metadata":{"name":null,"generateName":"Web-"}})", "metadata.generateName invalid"},
    {"missing namespace", R"({"metadata":{"namespace":null}})", "metadata.namespace required"},
    {"bad namespace", R"({"metadata":{"namespace":"a.b"}})", "metadata.namespace invalid"},
    {"bad name", R"({"metadata":{"name":"foo*"}})", "metadata.name invalid"},
    {"a machine's name is a label", R"({"metadata":{"name":"foo.bar"}})", "metadata.name invalid"},
    {"both are wrong", R"({"metadata":{"name":null,"namespace":null}})", "metadata.name required\nmetadata.namespace required"},
    {"bad label key", R"({"metadata":{"labels":{"a b":"c"}}})", "metadata.labels[a b] invalid"},
    {"bad label value", R"({"metadata":{"labels":{"a":"b c"}}})", "metadata.labels[a] invalid"},
    {"empty label value", R"({"metadata":{"labels":{"a":""}}})", fine},
    {"annotations hold any text", R"({"metadata":{"annotations":{"example.com/a":"any { text \n"}}})", fine},
    {"bad annotation key", R"({"metadata":{"annotations":{"-a":""}}})", "metadata.annotations[-a] invalid"},
    {"finalizers", R"({"metadata":{"finalizers":["example.com/x","plain"]}})", fine},
    {"bad finalizers", R"({"metadata":{"finalizers":["","a b","x","x"]}})",
     "metadata.finalizers[0] required\nmetadata.finalizers[1] invalid\nmetadata.finalizers[3] duplicate"},
    {"an owner", R"({"metadata":{"ownerReferences":[{"apiVersion":"v1","kind":"Namespace","name":"a","uid":"u","controller":true}]}})", fine},
    {"an empty owner", R"({"metadata":{"ownerReferences":[{}]}})",
     "metadata.ownerReferences[0].apiVersion required\nmetadata.ownerReferences[0].kind required\n"
     "metadata.ownerReferences[0].name required\nmetadata.ownerReferences[0].uid required"},
    {"two controllers", R"({"metadata":{"ownerReferences":[{"apiVersion":"v1","kind":"A","name":"a","uid":"u","controller":true},)"
                        R"({"apiVersion":"v1","kind":"A","name":"b","uid":"v","controller":true}]}})",
     "metadata.ownerReferences[1].controller invalid"},
  });
  auto large = small_machine();
  large.metadata.annotations["a"] = std::string(300'000, 'x');
  CHECK(created(large, "{}") == "metadata.annotations too_long");
  CHECK(created(small_class(), R"({"metadata":{"namespace":"shop"}})") == "metadata.namespace forbidden");
  CHECK(created(small_class(), R"({"metadata":{"name":"a.subdomain.is-fine"}})") == fine);
}

TEST_CASE("rules of changed metadata") {
  check_steps(small_machine(), {
    {"nothing", "{}", "{}", fine},
    {"labels", "{}", R"({"metadata":{"labels":{"a":"b"}}})", fine},
    {"name", "{}", R"({"metadata":{"name":"other"}})", "metadata.name forbidden"},
    {"namespace", "{}", R"({"metadata":{"namespace":"other"}})", "metadata.namespace forbidden"},
    {"a finalizer", "{}", R"({"metadata":{"finalizers":["a/b"]}})", fine},
    {"a finalizer while being deleted", R"({"metadata":{"deletionTimestamp":"2026-01-01T00:00:00Z","finalizers":["a/b"]}})",
     R"({"metadata":{"deletionTimestamp":"2026-01-01T00:00:00Z","finalizers":["a/b","c/d"]}})", "metadata.finalizers[1] forbidden"},
    {"one less while being deleted", R"({"metadata":{"deletionTimestamp":"2026-01-01T00:00:00Z","finalizers":["a/b"]}})",
     R"({"metadata":{"deletionTimestamp":"2026-01-01T00:00:00Z"}})", fine},
  });
}

TEST_CASE("rules of a machine") {
  check_rows(small_machine(), {
    {"no class", R"({"spec":{"machineClassRef":null}})", "spec.machineClassRef required"},
    {"bad class name", R"({"spec":{"machineClassRef":{"name":"foo*"}}})", "spec.machineClassRef.name invalid"},
    {"the class may be a subdomain", R"({"spec":{"machineClassRef":{"name":"foo.bar"}}})", fine},
    {"no image is fine", R"({"spec":{"volumes":[{"name":"root","localDisk":{}}]}})", fine},
    {"power", R"({"spec":{"power":"Off"}})", fine},
    {"pool names are subdomains", R"({"spec":{"machinePoolRef":{"name":"foo.bar.baz"}}})", fine},
    {"bad pool name", R"({"spec":{"machinePoolRef":{"name":"foo*"}}})", "spec.machinePoolRef.name invalid"},
    {"pool without a name", R"({"spec":{"machinePoolRef":{}}})", "spec.machinePoolRef.name required"},
    {"bad pool selector", R"({"spec":{"machinePoolSelector":{"a b":"c","d":"e f"}}})",
     "spec.machinePoolSelector[a b] invalid\nspec.machinePoolSelector[d] invalid"},
    {"bad ignition name", R"({"spec":{"ignitionRef":{"name":"foo*"}}})", "spec.ignitionRef.name invalid"},
    {"ignition without a name", R"({"spec":{"ignitionRef":{"key":"x"}}})", "spec.ignitionRef.name required"},
    {"hostname", R"({"spec":{"guestConfig":{"hostname":"web-1"}}})", fine},
    {"bad hostname", R"({"spec":{"guestConfig":{"hostname":"web.shop"}}})", "spec.guestConfig.hostname invalid"},
    {"efi variables", R"({"spec":{"efiVars":[{"name":"Boot","uuid":"8be4df61-93ca-11d2-aa0d-00e098032b8c"},{"name":"Boot"},{"uuid":"x"}]}})",
     "spec.efiVars[1].name duplicate\nspec.efiVars[2].name required\nspec.efiVars[2].uuid invalid"},
  });
}

TEST_CASE("rules of a machine's volumes") {
  check_rows(small_machine(), {
    {"bad name", R"({"spec":{"volumes":[{"name":"foo*","emptyDisk":{}}]}})", "spec.volumes[0].name invalid"},
    {"no name", R"({"spec":{"volumes":[{"emptyDisk":{}}]}})", "spec.volumes[0].name required"},
    {"duplicate name", R"({"spec":{"volumes":[{"name":"foo","emptyDisk":{}},{"name":"foo","emptyDisk":{}}]}})", "spec.volumes[1].name duplicate"},
    {"duplicate device", R"({"spec":{"volumes":[{"name":"a","device":"vda","emptyDisk":{}},{"name":"b","device":"vda","emptyDisk":{}}]}})",
     "spec.volumes[1].device duplicate"},
    {"the same device spelled twice", R"({"spec":{"volumes":[{"name":"a","device":"oda","emptyDisk":{}},{"name":"b","device":"vda","emptyDisk":{}}]}})",
     "spec.volumes[1].device duplicate"},
    {"invalid device", R"({"spec":{"volumes":[{"name":"a","device":"foobar","emptyDisk":{}}]}})", "spec.volumes[0].device invalid"},
    {"bad volumeRef", R"({"spec":{"volumes":[{"name":"a","volumeRef":{"name":"foo*"}}]}})", "spec.volumes[0].volumeRef.name invalid"},
    {"empty volumeRef", R"({"spec":{"volumes":[{"name":"a","volumeRef":{}}]}})", "spec.volumes[0].volumeRef.name required"},
    {"negative emptyDisk", R"({"spec":{"volumes":[{"name":"a","emptyDisk":{"sizeLimit":"-1Gi"}}]}})", "spec.volumes[0].emptyDisk.sizeLimit invalid"},
    {"negative localDisk", R"({"spec":{"volumes":[{"name":"a","localDisk":{"sizeLimit":"-1Gi"}}]}})", "spec.volumes[0].localDisk.sizeLimit invalid"},
    {"zero is no limit", R"({"spec":{"volumes":[{"name":"a","localDisk":{"sizeLimit":0}}]}})", fine},
    {"image with a blank", R"({"spec":{"volumes":[{"name":"a","localDisk":{"image":"a b"}}]}})", "spec.volumes[0].localDisk.image invalid"},
    {"no source", R"({"spec":{"volumes":[{"name":"a"}]}})", "spec.volumes[0] required"},
    {"two sources", R"({"spec":{"volumes":[{"name":"a","emptyDisk":{},"volumeRef":{"name":"v"}}]}})", "spec.volumes[0].emptyDisk forbidden"},
    {"four sources", R"({"spec":{"volumes":[{"name":"a","emptyDisk":{},"localDisk":{},"volumeRef":{"name":"v"},"ephemeral":{}}]}})",
     "spec.volumes[0].emptyDisk forbidden\nspec.volumes[0].localDisk forbidden\nspec.volumes[0].ephemeral forbidden"},
    {"ephemeral without template", R"({"spec":{"volumes":[{"name":"a","ephemeral":{}}]}})", "spec.volumes[0].ephemeral.volumeTemplate required"},
    {"ephemeral", R"({"spec":{"volumes":[{"name":"a","ephemeral":{"volumeTemplate":{"metadata":{"labels":{"a":"b"}},)"
                  R"("spec":{"volumeClassRef":{"name":"fast"},"resources":{"storage":"1Gi"}}}}}]}})", fine},
    {"ephemeral and named", R"({"spec":{"volumes":[{"name":"a","ephemeral":{"volumeTemplate":{"metadata":{"name":"a","generateName":"b","namespace":"c",)"
                            R"("labels":{"-":""}},"spec":{"claimRef":{"name":"m"},"unclaimable":true}}}}]}})",
     "spec.volumes[0].ephemeral.volumeTemplate.metadata.name forbidden\n"
     "spec.volumes[0].ephemeral.volumeTemplate.metadata.generateName forbidden\n"
     "spec.volumes[0].ephemeral.volumeTemplate.metadata.namespace forbidden\n"
     "spec.volumes[0].ephemeral.volumeTemplate.metadata.labels[-] invalid\n"
     "spec.volumes[0].ephemeral.volumeTemplate.spec.claimRef forbidden\n"
     "spec.volumes[0].ephemeral.volumeTemplate.spec.claimRef forbidden\n"
     "spec.volumes[0].ephemeral.volumeTemplate.spec.unclaimable forbidden"},
    {"ephemeral without size", R"({"spec":{"volumes":[{"name":"a","ephemeral":{"volumeTemplate":{"spec":{"volumeClassRef":{"name":"fast"}}}}}]}})",
     "spec.volumes[0].ephemeral.volumeTemplate.spec.resources[storage] required"},
  });
}

TEST_CASE("rules of a machine's network interfaces") {
  check_rows(small_machine(), {
    {"user-mode network", R"({"spec":{"networkInterfaces":[{"name":"a","ephemeral":{"networkInterfaceTemplate":{}}}]}})", fine},
    {"bad name", R"({"spec":{"networkInterfaces":[{"name":"bar*","networkInterfaceRef":{"name":"n"}}]}})", "spec.networkInterfaces[0].name invalid"},
    {"no name", R"({"spec":{"networkInterfaces":[{"networkInterfaceRef":{"name":"n"}}]}})", "spec.networkInterfaces[0].name required"},
    {"duplicate name", R"({"spec":{"networkInterfaces":[{"name":"a","networkInterfaceRef":{"name":"n"}},{"name":"a","networkInterfaceRef":{"name":"m"}}]}})",
     "spec.networkInterfaces[1].name duplicate"},
    {"bad reference", R"({"spec":{"networkInterfaces":[{"name":"a","networkInterfaceRef":{"name":"foo*"}}]}})",
     "spec.networkInterfaces[0].networkInterfaceRef.name invalid"},
    {"no source", R"({"spec":{"networkInterfaces":[{"name":"a"}]}})", "spec.networkInterfaces[0] required"},
    {"two sources", R"({"spec":{"networkInterfaces":[{"name":"a","networkInterfaceRef":{"name":"n"},"ephemeral":{}}]}})",
     "spec.networkInterfaces[0].ephemeral forbidden"},
    {"no template", R"({"spec":{"networkInterfaces":[{"name":"a","ephemeral":{}}]}})",
     "spec.networkInterfaces[0].ephemeral.networkInterfaceTemplate required"},
    {"the template is a whole spec", R"({"spec":{"networkInterfaces":[{"name":"a","ephemeral":{"networkInterfaceTemplate":{"metadata":{"name":"x"},)"
                                     R"("spec":{"networkRef":{"name":"n*"},"machineRef":{}}}}}]}})",
     "spec.networkInterfaces[0].ephemeral.networkInterfaceTemplate.metadata.name forbidden\n"
     "spec.networkInterfaces[0].ephemeral.networkInterfaceTemplate.spec.networkRef.name invalid\n"
     "spec.networkInterfaces[0].ephemeral.networkInterfaceTemplate.spec.machineRef.name required"},
  });
}

TEST_CASE("rules of a changed machine") {
  constexpr const char* imaged = R"({"spec":{"volumes":[{"name":"root","localDisk":{"image":"debian"}}]}})";
  constexpr const char* in_use = R"({"status":{"volumes":[{"name":"data","state":"Attached"}]}})";
  check_steps(small_machine(), {
    {"class", "{}", R"({"spec":{"machineClassRef":{"name":"large"}}})", "spec.machineClassRef forbidden"},
    {"pool set", "{}", R"({"spec":{"machinePoolRef":{"name":"a"}}})", fine},
    {"pool changed", R"({"spec":{"machinePoolRef":{"name":"a"}}})", R"({"spec":{"machinePoolRef":{"name":"b"}}})", "spec.machinePoolRef forbidden"},
    {"pool removed", R"({"spec":{"machinePoolRef":{"name":"a"}}})", "{}", "spec.machinePoolRef forbidden"},
    {"power", "{}", R"({"spec":{"power":"Off"}})", fine},
    {"selector", "{}", R"({"spec":{"machinePoolSelector":{"a":"b"}}})", fine},
    {"interfaces", "{}", R"({"spec":{"networkInterfaces":[{"name":"a","networkInterfaceRef":{"name":"n"}}]}})", fine},
    {"tolerations", "{}", R"({"spec":{"tolerations":[{"key":"a"}]}})", fine},
    {"ignition", "{}", R"({"spec":{"ignitionRef":{"name":"a"}}})", fine},
    {"image kept", imaged, imaged, fine},
    {"image changed", imaged, R"({"spec":{"volumes":[{"name":"root","localDisk":{"image":"arch"}}]}})", "spec.volumes[root].localDisk.image forbidden"},
    {"image cleared", imaged, R"({"spec":{"volumes":[{"name":"root","localDisk":{}}]}})", "spec.volumes[root].localDisk.image forbidden"},
    {"image replaced by a volume", imaged, R"({"spec":{"volumes":[{"name":"root","volumeRef":{"name":"v"}}]}})", "spec.volumes[root].localDisk.image forbidden"},
    {"image volume removed", imaged, "{}", "spec.volumes[root].localDisk.image forbidden"},
    {"image volume renamed", imaged, R"({"spec":{"volumes":[{"name":"boot","localDisk":{"image":"debian"}}]}})", "spec.volumes[root].localDisk.image forbidden"},
    {"image disk grown", imaged, R"({"spec":{"volumes":[{"name":"root","localDisk":{"image":"debian","sizeLimit":"9Gi"}}]}})", fine},
    {"disk without image removed", R"({"spec":{"volumes":[{"name":"a","localDisk":{}}]}})", "{}", fine},
    {"image given later to a disk without one", R"({"spec":{"volumes":[{"name":"a","localDisk":{}}]}})",
     R"({"spec":{"volumes":[{"name":"a","localDisk":{"image":"x"}}]}})", fine},
    {"a name that is still being detached", in_use,
     R"({"spec":{"volumes":[{"name":"other","emptyDisk":{}},{"name":"data","emptyDisk":{}}]},"status":{"volumes":[{"name":"data"}]}})",
     "spec.volumes[1].name duplicate"},
    {"a name that is gone from status", "{}", R"({"spec":{"volumes":[{"name":"data","emptyDisk":{}}]}})", fine},
    {"hostname set without guestConfig", "{}", R"({"spec":{"guestConfig":{"hostname":"a"}}})", "spec.guestConfig.hostname forbidden"},
    {"hostname set with guestConfig", R"({"spec":{"guestConfig":{}}})", R"({"spec":{"guestConfig":{"hostname":"a"}}})", "spec.guestConfig.hostname forbidden"},
    {"hostname removed", R"({"spec":{"guestConfig":{"hostname":"a"}}})", R"({"spec":{"guestConfig":{}}})", "spec.guestConfig.hostname forbidden"},
    {"guestConfig removed", R"({"spec":{"guestConfig":{"hostname":"a"}}})", "{}", "spec.guestConfig.hostname forbidden"},
    {"hostname changed", R"({"spec":{"guestConfig":{"hostname":"a"}}})", R"({"spec":{"guestConfig":{"hostname":"b"}}})", "spec.guestConfig.hostname forbidden"},
    {"empty guestConfig added", "{}", R"({"spec":{"guestConfig":{}}})", fine},
    {"an update is checked like a creation", "{}", R"({"spec":{"guestConfig":{},"ignitionRef":{"name":"foo*"}}})", "spec.ignitionRef.name invalid"},
  });
}

TEST_CASE("rules of taints and tolerations") {
  check_rows(a_pool(), {
    {"taints", R"({"spec":{"taints":[{"key":"a","value":"b","effect":"NoSchedule"},{"key":"a","value":"b","effect":"NoExecute"}]}})", fine},
    {"no key", R"({"spec":{"taints":[{"effect":"NoExecute"}]}})", "spec.taints[0].key required"},
    {"bad key", R"({"spec":{"taints":[{"key":"a b"}]}})", "spec.taints[0].key invalid"},
    {"bad value", R"({"spec":{"taints":[{"key":"a","value":"b c"}]}})", "spec.taints[0].value invalid"},
    {"twice", R"({"spec":{"taints":[{"key":"a"},{"key":"a","value":"x"}]}})", "spec.taints[1] duplicate"},
  });
  check_rows(small_machine(), {
    {"everything is tolerated", R"({"spec":{"tolerations":[{"operator":"Exists"}]}})", fine},
    {"by value", R"({"spec":{"tolerations":[{"key":"a","operator":"Equal","value":"b","effect":"NoExecute"}]}})", fine},
    {"bad key", R"({"spec":{"tolerations":[{"key":"a b"}]}})", "spec.tolerations[0].key invalid"},
    {"no key", R"({"spec":{"tolerations":[{"value":"a"}]}})", "spec.tolerations[0].operator invalid"},
    {"value beside Exists", R"({"spec":{"tolerations":[{"key":"a","operator":"Exists","value":"b"}]}})", "spec.tolerations[0].value invalid"},
    {"bad value", R"({"spec":{"tolerations":[{"key":"a","value":"b c"}]}})", "spec.tolerations[0].value invalid"},
  });
}

TEST_CASE("rules of a machine class") {
  check_rows(small_class(), {
    {"fine", "{}", fine},
    {"no capabilities", R"({"capabilities":null})", "capabilities[cpu] required\ncapabilities[memory] required"},
    {"no memory", R"({"capabilities":{"memory":null}})", "capabilities[memory] required"},
    {"zero", R"({"capabilities":{"cpu":0}})", "capabilities[cpu] invalid"},
    {"negative", R"({"capabilities":{"memory":-1}})", "capabilities[memory] invalid"},
    {"a vendor's resource", R"({"capabilities":{"type-a.vendor.com/gpu":"2"}})", fine},
    {"bad resource name", R"({"capabilities":{"a b":"2"}})", "capabilities[a b] invalid"},
    {"bad name", R"({"metadata":{"name":"foo*"}})", "metadata.name invalid"},
  });
  check_steps(small_class(), {
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
    {"changed", R"({"spec":{"providerID":"libvirt://a"}})", R"({"spec":{"providerID":"libvirt://b"}})", "spec.providerID forbidden"},
    {"removed", R"({"spec":{"providerID":"libvirt://a"}})", "{}", "spec.providerID forbidden"},
    {"taints", "{}", R"({"spec":{"taints":[{"key":"a"}]}})", fine},
  });
}

TEST_CASE("rules of a volume") {
  const auto base = in_shop<Volume>("v");
  constexpr const char* classful = R"({"spec":{"volumeClassRef":{"name":"fast"},"resources":{"storage":"1Gi"}}})";
  check_rows(base, {
    {"classless", "{}", fine},
    {"classful", classful, fine},
    {"bad class", R"({"spec":{"volumeClassRef":{"name":"foo*"},"resources":{"storage":"1Gi"}}})", "spec.volumeClassRef.name invalid"},
    {"classful needs storage", R"({"spec":{"volumeClassRef":{"name":"fast"}}})", "spec.resources[storage] required"},
    {"not negative", R"({"spec":{"volumeClassRef":{"name":"fast"},"resources":{"storage":-1}}})", "spec.resources[storage] invalid"},
    {"not zero", R"({"spec":{"volumeClassRef":{"name":"fast"},"resources":{"storage":0}}})", "spec.resources[storage] invalid"},
    {"pool subdomain", R"({"spec":{"volumeClassRef":{"name":"fast"},"resources":{"storage":"1Gi"},"volumePoolRef":{"name":"foo.bar.baz"}}})", fine},
    {"classless with a pool", R"({"spec":{"volumePoolRef":{"name":"p"}}})", "spec.volumePoolRef forbidden"},
    {"classless with resources", R"({"spec":{"resources":{"storage":"1Gi"}}})", "spec.resources forbidden"},
    {"classless with selector and tolerations", R"({"spec":{"volumePoolSelector":{},"tolerations":[]}})",
     "spec.volumePoolSelector forbidden\nspec.tolerations forbidden"},
    {"bad claim", R"({"spec":{"claimRef":{"name":"foo*"}}})", "spec.claimRef.name invalid"},
    {"claimed and unclaimable", R"({"spec":{"claimRef":{"name":"m"},"unclaimable":true}})", "spec.claimRef forbidden"},
    {"unclaimable", R"({"spec":{"unclaimable":true}})", fine},
    {"claimable", R"({"spec":{"claimRef":{"name":"m","uid":"u"},"unclaimable":false}})", fine},
  });
  constexpr const char* pooled = R"({"spec":{"volumeClassRef":{"name":"fast"},"resources":{"storage":"1Gi"},"volumePoolRef":{"name":"p"}}})";
  check_steps(base, {
    {"class", classful, R"({"spec":{"volumeClassRef":{"name":"slow"},"resources":{"storage":"1Gi"}}})", "spec.volumeClassRef forbidden"},
    {"class added", "{}", classful, "spec.volumeClassRef forbidden"},
    {"pool set", classful, pooled, fine},
    {"pool removed", pooled, classful, "spec.volumePoolRef forbidden"},
    {"claim", "{}", R"({"spec":{"claimRef":{"name":"m"}}})", fine},
    {"release", R"({"spec":{"claimRef":{"name":"m"}}})", "{}", fine},
    {"encryption added", "{}", R"({"spec":{"encryption":{"secretRef":{"name":"s"}}}})", "spec.encryption forbidden"},
    {"encryption removed", R"({"spec":{"encryption":{"secretRef":{"name":"s"}}}})", "{}", "spec.encryption forbidden"},
  });
}

TEST_CASE("rules of a network interface") {
  const auto base = in_shop<NetworkInterface>("n");
  check_rows(base, {
    {"user-mode network", "{}", fine},
    {"bad network", R"({"spec":{"networkRef":{"name":"foo*"}}})", "spec.networkRef.name invalid"},
    {"bad machine", R"({"spec":{"machineRef":{"name":"foo*"}}})", "spec.machineRef.name invalid"},
    {"attribute without a name", R"({"spec":{"attributes":{"":"x"}}})", "spec.attributes[] required"},
  });
  check_steps(base, {
    {"network", R"({"spec":{"networkRef":{"name":"a"}}})", R"({"spec":{"networkRef":{"name":"b"}}})", "spec.networkRef forbidden"},
    {"network added", "{}", R"({"spec":{"networkRef":{"name":"b"}}})", "spec.networkRef forbidden"},
    {"machine", R"({"spec":{"machineRef":{"name":"a"}}})", R"({"spec":{"machineRef":{"name":"b"}}})", fine},
    {"attributes", "{}", R"({"spec":{"attributes":{"a":"b"}}})", "spec.attributes forbidden"},
    {"provider", R"({"spec":{"providerID":"a"}})", R"({"spec":{"providerID":"b"}})", fine},
    {"what we do not know", "{}", R"({"spec":{"ips":[{"value":"10.0.0.1"}]}})", fine},
  });
}

TEST_CASE("rules of a secret") {
  const auto base = in_shop<Secret>("s");
  check_rows(base, {
    {"keys are file names", R"({"stringData":{"ignition.yaml":"x","tls_key-1":"y"}})", fine},
    {"bad keys", R"({"stringData":{"a/b":"","":"","..":""}})", "data[] invalid\ndata[..] invalid\ndata[a/b] invalid"},
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
    {"immutable and unchanged", R"({"immutable":true,"data":{"a":"MQ=="}})", R"({"immutable":true,"stringData":{"a":"1"}})", fine},
    {"immutable and changed", R"({"immutable":true,"data":{"a":"MQ=="}})", R"({"immutable":true,"data":{"a":"Mg=="}})", "data forbidden"},
    {"mutable again", R"({"immutable":true})", R"({"immutable":false})", "immutable forbidden"},
  });
}

TEST_CASE("rules of an event") {
  check_rows(an_event(), {
    {"fine", "{}", fine},
    {"about nothing", R"({"involvedObject":null,"reason":null})", "involvedObject.kind required\ninvolvedObject.name required\nreason required"},
    {"count", R"({"count":0})", "count invalid"},
  });
  auto event = an_event();
  event.reason = std::string(129, 'x');
  CHECK(created(event, "{}") == "reason too_long");
  check_steps(an_event(), {
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
  CHECK(kind_of<Machine>().admit_create(Object::of(machine)).value().as<Machine>().spec.ignition_ref->key == "ignition.yaml");
}

TEST_CASE("a machine starts with power on and everything pending") {
  const auto machine = kind_of<Machine>().decode(
      R"({"apiVersion":"compute.ironcore.dev/v1alpha1","kind":"Machine","metadata":{"name":"a","namespace":"b"},"spec":{"machineClassRef":{"name":"c"}},)"
      R"("status":{"volumes":[{"name":"x"}],"networkInterfaces":[{"name":"y"}]}})").value().as<Machine>();
  CHECK(machine.spec.power == Power::on);
  CHECK(machine.status.state == MachineState::pending);
  CHECK(machine.status.volumes[0].state == AttachmentState::pending);
  CHECK(machine.status.network_interfaces[0].state == AttachmentState::pending);
}
