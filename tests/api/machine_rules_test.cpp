// SPDX-License-Identifier: Apache-2.0
// The rules of a Machine, on creation and on update.
#include <doctest/doctest.h>

#include "admission.hpp"

using namespace ironcore;
using namespace ironcore::api;

TEST_CASE("rules of a machine") {
  check_rows(
      small_machine(),
      {
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
          {"efi variables",
           R"({"spec":{"efiVars":[{"name":"Boot","uuid":"8be4df61-93ca-11d2-aa0d-00e098032b8c"},{"name":"Boot"},{"uuid":"x"}]}})",
           "spec.efiVars[1].name duplicate\nspec.efiVars[2].name required\nspec.efiVars[2].uuid invalid"},
      });
}

TEST_CASE("rules of a machine's volumes") {
  check_rows(
      small_machine(),
      {
          {"bad name", R"({"spec":{"volumes":[{"name":"foo*","emptyDisk":{}}]}})", "spec.volumes[0].name invalid"},
          {"no name", R"({"spec":{"volumes":[{"emptyDisk":{}}]}})", "spec.volumes[0].name required"},
          {"duplicate name", R"({"spec":{"volumes":[{"name":"foo","emptyDisk":{}},{"name":"foo","emptyDisk":{}}]}})",
           "spec.volumes[1].name duplicate"},
          {"duplicate device",
           R"({"spec":{"volumes":[{"name":"a","device":"vda","emptyDisk":{}},{"name":"b","device":"vda","emptyDisk":{}}]}})",
           "spec.volumes[1].device duplicate"},
          {"the same device spelled twice",
           R"({"spec":{"volumes":[{"name":"a","device":"oda","emptyDisk":{}},{"name":"b","device":"vda","emptyDisk":{}}]}})",
           "spec.volumes[1].device duplicate"},
          {"invalid device", R"({"spec":{"volumes":[{"name":"a","device":"foobar","emptyDisk":{}}]}})",
           "spec.volumes[0].device invalid"},
          {"bad volumeRef", R"({"spec":{"volumes":[{"name":"a","volumeRef":{"name":"foo*"}}]}})",
           "spec.volumes[0].volumeRef.name invalid"},
          {"empty volumeRef", R"({"spec":{"volumes":[{"name":"a","volumeRef":{}}]}})",
           "spec.volumes[0].volumeRef.name required"},
          {"negative emptyDisk", R"({"spec":{"volumes":[{"name":"a","emptyDisk":{"sizeLimit":"-1Gi"}}]}})",
           "spec.volumes[0].emptyDisk.sizeLimit invalid"},
          {"negative localDisk", R"({"spec":{"volumes":[{"name":"a","localDisk":{"sizeLimit":"-1Gi"}}]}})",
           "spec.volumes[0].localDisk.sizeLimit invalid"},
          {"zero is no limit", R"({"spec":{"volumes":[{"name":"a","localDisk":{"sizeLimit":0}}]}})", fine},
          {"image with a blank", R"({"spec":{"volumes":[{"name":"a","localDisk":{"image":"a b"}}]}})",
           "spec.volumes[0].localDisk.image invalid"},
          {"no source", R"({"spec":{"volumes":[{"name":"a"}]}})", "spec.volumes[0] required"},
          {"two sources", R"({"spec":{"volumes":[{"name":"a","emptyDisk":{},"volumeRef":{"name":"v"}}]}})",
           "spec.volumes[0].emptyDisk forbidden"},
          {"four sources",
           R"({"spec":{"volumes":[{"name":"a","emptyDisk":{},"localDisk":{},"volumeRef":{"name":"v"},"ephemeral":{}}]}})",
           "spec.volumes[0].emptyDisk forbidden\nspec.volumes[0].localDisk "
           "forbidden\nspec.volumes[0].ephemeral forbidden"},
          {"ephemeral without template", R"({"spec":{"volumes":[{"name":"a","ephemeral":{}}]}})",
           "spec.volumes[0].ephemeral.volumeTemplate required"},
          {"ephemeral",
           R"({"spec":{"volumes":[{"name":"a","ephemeral":{"volumeTemplate":{"metadata":{"labels":{"a":"b"}},)"
           R"("spec":{"volumeClassRef":{"name":"fast"},"resources":{"storage":"1Gi"}}}}}]}})",
           fine},
          {"ephemeral and named",
           R"({"spec":{"volumes":[{"name":"a","ephemeral":{"volumeTemplate":{"metadata":{"name":"a","generateName":"b","namespace":"c",)"
           R"("labels":{"-":""}},"spec":{"claimRef":{"name":"m"},"unclaimable":true}}}}]}})",
           "spec.volumes[0].ephemeral.volumeTemplate.metadata.name forbidden\n"
           "spec.volumes[0].ephemeral.volumeTemplate.metadata.generateName forbidden\n"
           "spec.volumes[0].ephemeral.volumeTemplate.metadata.namespace forbidden\n"
           "spec.volumes[0].ephemeral.volumeTemplate.metadata.labels[-] invalid\n"
           "spec.volumes[0].ephemeral.volumeTemplate.spec.claimRef forbidden\n"
           "spec.volumes[0].ephemeral.volumeTemplate.spec.claimRef forbidden\n"
           "spec.volumes[0].ephemeral.volumeTemplate.spec.unclaimable forbidden"},
          {"ephemeral without size",
           R"({"spec":{"volumes":[{"name":"a","ephemeral":{"volumeTemplate":{"spec":{"volumeClassRef":{"name":"fast"}}}}}]}})",
           "spec.volumes[0].ephemeral.volumeTemplate.spec.resources[storage] required"},
      });
}

TEST_CASE("rules of a machine's network interfaces") {
  check_rows(
      small_machine(),
      {
          {"user-mode network",
           R"({"spec":{"networkInterfaces":[{"name":"a","ephemeral":{"networkInterfaceTemplate":{}}}]}})", fine},
          {"bad name", R"({"spec":{"networkInterfaces":[{"name":"bar*","networkInterfaceRef":{"name":"n"}}]}})",
           "spec.networkInterfaces[0].name invalid"},
          {"no name", R"({"spec":{"networkInterfaces":[{"networkInterfaceRef":{"name":"n"}}]}})",
           "spec.networkInterfaces[0].name required"},
          {"duplicate name",
           R"({"spec":{"networkInterfaces":[{"name":"a","networkInterfaceRef":{"name":"n"}},{"name":"a","networkInterfaceRef":{"name":"m"}}]}})",
           "spec.networkInterfaces[1].name duplicate"},
          {"bad reference", R"({"spec":{"networkInterfaces":[{"name":"a","networkInterfaceRef":{"name":"foo*"}}]}})",
           "spec.networkInterfaces[0].networkInterfaceRef.name invalid"},
          {"no source", R"({"spec":{"networkInterfaces":[{"name":"a"}]}})", "spec.networkInterfaces[0] required"},
          {"two sources",
           R"({"spec":{"networkInterfaces":[{"name":"a","networkInterfaceRef":{"name":"n"},"ephemeral":{}}]}})",
           "spec.networkInterfaces[0].ephemeral forbidden"},
          {"no template", R"({"spec":{"networkInterfaces":[{"name":"a","ephemeral":{}}]}})",
           "spec.networkInterfaces[0].ephemeral.networkInterfaceTemplate required"},
          {"the template is a whole spec",
           R"({"spec":{"networkInterfaces":[{"name":"a","ephemeral":{"networkInterfaceTemplate":{"metadata":{"name":"x"},)"
           R"("spec":{"networkRef":{"name":"n*"},"ips":[{"value":"10.0.0.1"}],"machineRef":{}}}}}]}})",
           "spec.networkInterfaces[0].ephemeral.networkInterfaceTemplate.metadata.name forbidden\n"
           "spec.networkInterfaces[0].ephemeral.networkInterfaceTemplate.spec.networkRef.name invalid\n"
           "spec.networkInterfaces[0].ephemeral.networkInterfaceTemplate.spec.machineRef.name required"},
      });
}

TEST_CASE("what a machine makes from a template has a name that fits") {
  auto long_name = small_machine();
  long_name.metadata.name = std::string(63, 'm');
  for (const auto* const entry :
       {R"("networkInterfaces":[{"name":"NAME","ephemeral":{"networkInterfaceTemplate":{}}}])",
        R"("volumes":[{"name":"NAME","ephemeral":{"volumeTemplate":{}}}])"}) {
    std::string name;
    for (int i = 0; i < 4; ++i) name += std::string(48, 'n') + ".";
    std::string text = entry;
    text.replace(text.find("NAME"), 4, name + "n");
    const auto list = text.substr(1, text.find('"', 1) - 1);
    CHECK(created(long_name, R"({"spec":{)" + text + "}}") == "spec." + list + "[0].name invalid");
    CHECK(created(small_machine(), R"({"spec":{)" + text + "}}") == fine);
  }
}

TEST_CASE("rules of a changed machine") {
  constexpr const char* imaged = R"({"spec":{"volumes":[{"name":"root","localDisk":{"image":"debian"}}]}})";
  constexpr const char* in_use = R"({"status":{"volumes":[{"name":"data","state":"Attached"}]}})";
  check_steps(
      small_machine(),
      {
          {"class", "{}", R"({"spec":{"machineClassRef":{"name":"large"}}})", "spec.machineClassRef forbidden"},
          {"pool set", "{}", R"({"spec":{"machinePoolRef":{"name":"a"}}})", fine},
          {"pool changed", R"({"spec":{"machinePoolRef":{"name":"a"}}})", R"({"spec":{"machinePoolRef":{"name":"b"}}})",
           "spec.machinePoolRef forbidden"},
          {"pool removed", R"({"spec":{"machinePoolRef":{"name":"a"}}})", "{}", "spec.machinePoolRef forbidden"},
          {"power", "{}", R"({"spec":{"power":"Off"}})", fine},
          {"selector", "{}", R"({"spec":{"machinePoolSelector":{"a":"b"}}})", fine},
          {"interfaces", "{}", R"({"spec":{"networkInterfaces":[{"name":"a","networkInterfaceRef":{"name":"n"}}]}})",
           fine},
          {"tolerations", "{}", R"({"spec":{"tolerations":[{"key":"a"}]}})", fine},
          {"ignition", "{}", R"({"spec":{"ignitionRef":{"name":"a"}}})", fine},
          {"image kept", imaged, imaged, fine},
          {"image changed", imaged, R"({"spec":{"volumes":[{"name":"root","localDisk":{"image":"arch"}}]}})",
           "spec.volumes[root].localDisk.image forbidden"},
          {"image cleared", imaged, R"({"spec":{"volumes":[{"name":"root","localDisk":{}}]}})",
           "spec.volumes[root].localDisk.image forbidden"},
          {"image replaced by a volume", imaged, R"({"spec":{"volumes":[{"name":"root","volumeRef":{"name":"v"}}]}})",
           "spec.volumes[root].localDisk.image forbidden"},
          {"image volume removed", imaged, "{}", "spec.volumes[root].localDisk.image forbidden"},
          {"image volume renamed", imaged, R"({"spec":{"volumes":[{"name":"boot","localDisk":{"image":"debian"}}]}})",
           "spec.volumes[root].localDisk.image forbidden"},
          {"image disk grown", imaged,
           R"({"spec":{"volumes":[{"name":"root","localDisk":{"image":"debian","sizeLimit":"9Gi"}}]}})", fine},
          {"disk without image removed", R"({"spec":{"volumes":[{"name":"a","localDisk":{}}]}})", "{}", fine},
          {"image given later to a disk without one", R"({"spec":{"volumes":[{"name":"a","localDisk":{}}]}})",
           R"({"spec":{"volumes":[{"name":"a","localDisk":{"image":"x"}}]}})", fine},
          {"a name that is still being detached", in_use,
           R"({"spec":{"volumes":[{"name":"other","emptyDisk":{}},{"name":"data","emptyDisk":{}}]},"status":{"volumes":[{"name":"data"}]}})",
           "spec.volumes[1].name duplicate"},
          {"a name that is gone from status", "{}", R"({"spec":{"volumes":[{"name":"data","emptyDisk":{}}]}})", fine},
          {"hostname set without guestConfig", "{}", R"({"spec":{"guestConfig":{"hostname":"a"}}})",
           "spec.guestConfig.hostname forbidden"},
          {"hostname set with guestConfig", R"({"spec":{"guestConfig":{}}})",
           R"({"spec":{"guestConfig":{"hostname":"a"}}})", "spec.guestConfig.hostname forbidden"},
          {"hostname removed", R"({"spec":{"guestConfig":{"hostname":"a"}}})", R"({"spec":{"guestConfig":{}}})",
           "spec.guestConfig.hostname forbidden"},
          {"guestConfig removed", R"({"spec":{"guestConfig":{"hostname":"a"}}})", "{}",
           "spec.guestConfig.hostname forbidden"},
          {"hostname changed", R"({"spec":{"guestConfig":{"hostname":"a"}}})",
           R"({"spec":{"guestConfig":{"hostname":"b"}}})", "spec.guestConfig.hostname forbidden"},
          {"empty guestConfig added", "{}", R"({"spec":{"guestConfig":{}}})", fine},
          {"an update is checked like a creation", "{}", R"({"spec":{"guestConfig":{},"ignitionRef":{"name":"foo*"}}})",
           "spec.ignitionRef.name invalid"},
      });
}

TEST_CASE("a machine starts with power on and everything pending") {
  const auto machine =
      kind_of<Machine>()
          .decode(
              R"({"apiVersion":"compute.ironcore.dev/v1alpha1","kind":"Machine","metadata":{"name":"a","namespace":"b"},"spec":{"machineClassRef":{"name":"c"}},)"
              R"("status":{"volumes":[{"name":"x"}],"networkInterfaces":[{"name":"y"}]}})")
          .value()
          .as<Machine>();
  CHECK(machine.spec.power == Power::on);
  CHECK(machine.status.state == MachineState::pending);
  CHECK(machine.status.volumes[0].state == AttachmentState::pending);
  CHECK(machine.status.network_interfaces[0].state == AttachmentState::pending);
}
