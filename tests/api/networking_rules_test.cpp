// SPDX-License-Identifier: Apache-2.0
// The rules of a NetworkInterface, alone and inside a machine, on creation and on update.
#include <doctest/doctest.h>

#include "admission.hpp"

using namespace ironcore;
using namespace ironcore::api;

namespace {

/// The wrong fields of an interface with this spec.
std::string spec_errors(std::string_view spec) {
  return created(in_shop<NetworkInterface>("n"), R"({"spec":)" + std::string(spec) + "}");
}

/// In a network, with this family and this template of its only address.
std::string template_errors(std::string_view family, std::string_view prefix) {
  return spec_errors(R"({"networkRef":{"name":"net"},"ipFamilies":[")" + std::string(family) +
                     R"("],"ips":[{"ephemeral":{"prefixTemplate":{"spec":)" + std::string(prefix) + "}}}]}");
}

/// The spec after admission.
NetworkInterfaceSpec completed(std::string_view spec) {
  const auto object =
      apply_merge_patch(Object::of(in_shop<NetworkInterface>("n")), R"({"spec":)" + std::string(spec) + "}");
  return object.value().kind().admit_create(*object).value().as<NetworkInterface>().spec;
}

}  // namespace

TEST_CASE("rules of a network interface") {
  check_rows(
      in_shop<NetworkInterface>("n"),
      {
          {"user-mode network", "{}", fine},
          {"bad network", R"({"spec":{"networkRef":{"name":"foo*"},"ips":[{"value":"10.0.0.1"}]}})",
           "spec.networkRef.name invalid"},
          {"bad machine", R"({"spec":{"machineRef":{"name":"foo*"}}})", "spec.machineRef.name invalid"},
          {"attribute without a name", R"({"spec":{"attributes":{"":"x"}}})", "spec.attributes[] required"},
          {"no families in a network", R"({"spec":{"networkRef":{"name":"net"}}})", "spec.ipFamilies required"},
          {"both families",
           R"({"spec":{"ipFamilies":["IPv4","IPv6"],"ips":[{"value":"10.0.0.1"},{"value":"fd00::1"}]}})", fine},
          {"a family twice",
           R"({"spec":{"ipFamilies":["IPv4","IPv4"],"ips":[{"value":"10.0.0.1"},{"value":"10.0.0.2"}]}})",
           "spec.ipFamilies[1] duplicate"},
          {"more than one IP", R"({"spec":{"ipFamilies":["IPv4"],"ips":[{"value":"10.0.0.1"},{"value":"10.0.0.2"}]}})",
           "spec.ips invalid"},
          {"no IP", R"({"spec":{"ipFamilies":["IPv4"]}})", "spec.ips invalid"},
          {"an IP of the other family", R"({"spec":{"ipFamilies":["IPv6"],"ips":[{"value":"10.0.0.1"}]}})",
           "spec.ips[0].value invalid"},
          {"an IP without a source", R"({"spec":{"ipFamilies":["IPv4"],"ips":[{}]}})", "spec.ips[0] required"},
          {"an IP with two sources", R"({"spec":{"ipFamilies":["IPv4"],"ips":[{"value":"10.0.0.1","ephemeral":{}}]}})",
           "spec.ips[0].ephemeral forbidden"},
          {"an IP without a template", R"({"spec":{"ipFamilies":["IPv4"],"ips":[{"ephemeral":{}}]}})",
           "spec.ips[0].ephemeral.prefixTemplate required"},
          {"prefixes",
           R"({"spec":{"prefixes":[{"value":"10.1.0.0/16"},{"ephemeral":{"prefixTemplate":{"spec":{"ipFamily":"IPv4","prefixLength":24,"parentRef":{"name":"p"}}}}}]}})",
           fine},
          {"bad prefixes", R"({"spec":{"prefixes":[{},{"value":"10.1.0.0/16","ephemeral":{}},{"ephemeral":{}}]}})",
           "spec.prefixes[0] required\nspec.prefixes[1].ephemeral forbidden\n"
           "spec.prefixes[2].ephemeral.prefixTemplate required"},
          {"a virtual IP", R"({"spec":{"virtualIP":{"virtualIPRef":{"name":"v"}}}})", fine},
          {"an ephemeral virtual IP",
           R"({"spec":{"virtualIP":{"ephemeral":{"virtualIPTemplate":{"spec":{"type":"Public","ipFamily":"IPv4","reclaimPolicy":"Retain"}}}}}})",
           fine},
          {"bad virtual IP", R"({"spec":{"virtualIP":{"virtualIPRef":{"name":"foo*"}}}})",
           "spec.virtualIP.virtualIPRef.name invalid"},
          {"virtual IP without a source", R"({"spec":{"virtualIP":{}}})", "spec.virtualIP required"},
          {"virtual IP with two sources", R"({"spec":{"virtualIP":{"virtualIPRef":{"name":"v"},"ephemeral":{}}}})",
           "spec.virtualIP.ephemeral forbidden"},
          {"virtual IP without a template", R"({"spec":{"virtualIP":{"ephemeral":{}}}})",
           "spec.virtualIP.ephemeral.virtualIPTemplate required"},
          {"virtual IP without type and family",
           R"({"spec":{"virtualIP":{"ephemeral":{"virtualIPTemplate":{"metadata":{"name":"x"},"spec":{"type":"","targetRef":{}}}}}}})",
           "spec.virtualIP.ephemeral.virtualIPTemplate.metadata.name forbidden\n"
           "spec.virtualIP.ephemeral.virtualIPTemplate.spec.type required\n"
           "spec.virtualIP.ephemeral.virtualIPTemplate.spec.ipFamily required\n"
           "spec.virtualIP.ephemeral.virtualIPTemplate.spec.targetRef.name required"},
      });
  const auto unknown = Object::decode(
      R"({"apiVersion":"networking.ironcore.dev/v1alpha1","kind":"NetworkInterface","spec":{"ipFamilies":["IPv9",""],"ips":[{"value":"10.0.0"}]}})");
  CHECK(wrong_fields(unknown) ==
        "spec.ipFamilies[0] not_supported\nspec.ipFamilies[1] not_supported\nspec.ips[0].value invalid");
}

TEST_CASE("the template of an address yields a single address") {
  constexpr std::string_view spec = "spec.ips[0].ephemeral.prefixTemplate.spec.";
  const auto at = [&](std::string_view rest) { return std::string(spec) + std::string(rest); };
  const auto errors = template_errors;
  CHECK(errors("IPv4", R"({"parentRef":{"name":"p"}})") == fine);
  CHECK(errors("IPv4", R"({"prefixLength":32,"parentRef":{"name":"p"}})") == fine);
  CHECK(errors("IPv6", R"({"prefixLength":128,"parentSelector":{"matchLabels":{"a":"b"}}})") == fine);
  CHECK(errors("IPv4", R"({"prefix":"10.0.0.1/32"})") == fine);
  CHECK(errors("IPv6", R"({"prefix":"fd00::1/128"})") == fine);
  // A length that is asked of a parent, then a prefix of its own.
  CHECK(errors("IPv4", R"({"prefixLength":31,"parentRef":{"name":"p"}})") == at("prefixLength forbidden"));
  CHECK(errors("IPv6", R"({"prefixLength":64,"parentRef":{"name":"p"}})") == at("prefixLength forbidden"));
  CHECK(errors("IPv4", R"({"prefixLength":128,"parentRef":{"name":"p"}})") ==
        at("prefixLength invalid\n") + at("prefixLength forbidden"));
  CHECK(errors("IPv4", R"({"prefix":"10.0.0.0/24"})") == at("prefix forbidden"));
  CHECK(errors("IPv6", R"({"prefix":"fd00::/64"})") == at("prefix forbidden"));

  CHECK(errors("IPv4", R"({"ipFamily":"IPv6","parentRef":{"name":"p"}})") == at("ipFamily forbidden"));
  CHECK(errors("IPv4", R"({"prefix":"fd00::1/128"})") == at("ipFamily forbidden"));
  CHECK(errors("IPv4", R"({"ipFamily":"IPv4","prefix":"fd00::1/128"})") == at("prefix invalid"));
  CHECK(errors("IPv4", "{}") == at("prefixLength invalid\n") + at("prefix required"));
  CHECK(errors("IPv4", R"({"prefixLength":-1,"parentRef":{"name":"p"}})") ==
        at("prefixLength invalid\n") + at("prefixLength forbidden"));
  CHECK(errors("IPv4", R"({"prefix":"10.0.0.1/32","prefixLength":32,"parentRef":{"name":"p"}})") == fine);
  CHECK(errors("IPv4", R"({"prefix":"10.0.0.1/31","prefixLength":32,"parentRef":{"name":"p"}})") ==
        at("prefixLength invalid\n") + at("prefix forbidden"));
  CHECK(errors("IPv4", R"({"parentRef":{"name":"foo*"}})") == at("parentRef.name invalid"));
  CHECK(errors("IPv4", R"({"parentRef":{}})") == at("parentRef.name required"));
  CHECK(
      errors(
          "IPv4",
          R"({"parentSelector":{"matchLabels":{"a b":""},"matchExpressions":[{"key":"a","operator":"In"},{"key":"a","operator":"Exists","values":["x"]},{"key":"a","operator":"NotIn","values":["x y"]},{"key":"b"},{"operator":"DoesNotExist"}]}})") ==
      at("parentSelector.matchLabels[a b] invalid\n") + at("parentSelector.matchExpressions[0].values required\n") +
          at("parentSelector.matchExpressions[1].values forbidden\n") +
          at("parentSelector.matchExpressions[2].values[0] invalid\n") +
          at("parentSelector.matchExpressions[3].operator required\n") +
          at("parentSelector.matchExpressions[4].key required"));
}

TEST_CASE("a template has labels and annotations only") {
  const std::string at = "spec.ips[0].ephemeral.prefixTemplate.metadata.";
  const auto errors = [](std::string_view metadata) {
    return spec_errors(R"({"ipFamilies":["IPv4"],"ips":[{"ephemeral":{"prefixTemplate":{"metadata":)" +
                       std::string(metadata) + R"(,"spec":{"parentRef":{"name":"p"}}}}}]})");
  };
  CHECK(errors(R"({"labels":{"a":"b"},"annotations":{"c":"d"},"creationTimestamp":null})") == fine);
  CHECK(errors(R"({"name":"x","generateName":"y","namespace":"z"})") ==
        at + "name forbidden\n" + at + "generateName forbidden\n" + at + "namespace forbidden");
  CHECK(errors(R"({"finalizers":["x"],"managedFields":[],"ownerReferences":[],"uid":"u"})") ==
        at + "finalizers forbidden\n" + at + "managedFields forbidden\n" + at + "ownerReferences forbidden\n" + at +
            "uid forbidden");
  CHECK(errors(R"({"later":1})") == fine);
}

TEST_CASE("families and addresses of an interface complete each other") {
  CHECK(completed(R"({"ips":[{"value":"fd00::1"},{"value":"10.0.0.1"}]})").ip_families ==
        std::vector{IpFamily::ipv6, IpFamily::ipv4});
  const auto parented =
      completed(R"({"ips":[{"ephemeral":{"prefixTemplate":{"spec":{"ipFamily":"IPv6","parentRef":{"name":"p"}}}}}]})");
  CHECK(parented.ip_families == std::vector{IpFamily::ipv6});
  CHECK(parented.ips[0].ephemeral->prefix_template->spec.prefix_length == 128);
  const auto named = completed(
      R"({"ipFamilies":["IPv4"],"ips":[{"ephemeral":{"prefixTemplate":{"spec":{"parentRef":{"name":"p"}}}}}]})");
  CHECK(named.ips[0].ephemeral->prefix_template->spec.ip_family == IpFamily::ipv4);
  CHECK(named.ips[0].ephemeral->prefix_template->spec.prefix_length == 32);
  const auto fixed = completed(R"({"ips":[{"ephemeral":{"prefixTemplate":{"spec":{"prefix":"10.0.0.7/32"}}}}]})");
  CHECK(fixed.ip_families == std::vector{IpFamily::ipv4});
  CHECK(fixed.ips[0].ephemeral->prefix_template->spec.prefix_length == 0);
  CHECK(spec_errors(R"({"ips":[{"ephemeral":{"prefixTemplate":{"spec":{"parentRef":{"name":"p"}}}}}]})")
            .starts_with("spec.ipFamilies required"));
}

TEST_CASE("rules of a changed network interface") {
  constexpr const char* in_net =
      R"({"spec":{"networkRef":{"name":"a"},"ipFamilies":["IPv4"],"ips":[{"value":"10.0.0.1"}]}})";
  check_steps(
      in_shop<NetworkInterface>("n"),
      {
          {"nothing", in_net, in_net, fine},
          {"network", in_net,
           R"({"spec":{"networkRef":{"name":"b"},"ipFamilies":["IPv4"],"ips":[{"value":"10.0.0.1"}]}})",
           "spec.networkRef forbidden"},
          {"network added", R"({"spec":{"ipFamilies":["IPv4"],"ips":[{"value":"10.0.0.1"}]}})", in_net,
           "spec.networkRef forbidden"},
          {"families", in_net,
           R"({"spec":{"networkRef":{"name":"a"},"ipFamilies":["IPv6"],"ips":[{"value":"fd00::1"}]}})",
           "spec.ipFamilies forbidden"},
          {"addresses", in_net,
           R"({"spec":{"networkRef":{"name":"a"},"ipFamilies":["IPv4"],"ips":[{"value":"10.0.0.2"}]}})", fine},
          {"prefixes and virtual IP", "{}",
           R"({"spec":{"prefixes":[{"value":"10.0.0.0/24"}],"virtualIP":{"virtualIPRef":{"name":"v"}}}})", fine},
          {"machine", R"({"spec":{"machineRef":{"name":"a"}}})", R"({"spec":{"machineRef":{"name":"b"}}})", fine},
          {"attributes", "{}", R"({"spec":{"attributes":{"a":"b"}}})", "spec.attributes forbidden"},
          {"provider", R"({"spec":{"providerID":"a"}})", R"({"spec":{"providerID":"b"}})", fine},
          {"what we do not know", "{}", R"({"spec":{"later":[1]}})", fine},
      });
}

TEST_CASE("the interface template of a machine is completed and checked as an interface is") {
  const auto machine = [](std::string_view spec) {
    return R"({"spec":{"networkInterfaces":[{"name":"a","ephemeral":{"networkInterfaceTemplate":{"spec":)" +
           std::string(spec) + "}}}]}}";
  };
  constexpr std::string_view good =
      R"({"networkRef":{"name":"net"},"ips":[{"ephemeral":{"prefixTemplate":{"spec":{"ipFamily":"IPv4","parentRef":{"name":"p"}}}}}]})";
  const auto object = apply_merge_patch(Object::of(small_machine()), machine(good)).value();
  const auto admitted = kind_of<Machine>().admit_create(object).value().as<Machine>();
  const auto& made = admitted.spec.network_interfaces[0].ephemeral->network_interface_template->spec;
  CHECK(made.ip_families == std::vector{IpFamily::ipv4});
  CHECK(made.ips[0].ephemeral->prefix_template->spec.prefix_length == 32);
  const std::string at = "spec.networkInterfaces[0].ephemeral.networkInterfaceTemplate.spec.";
  CHECK(
      created(
          small_machine(),
          machine(
              R"({"ipFamilies":["IPv4","IPv6"],"ips":[{"ephemeral":{"prefixTemplate":{"spec":{"prefixLength":24,"parentRef":{"name":"p"}}}}},{"ephemeral":{"prefixTemplate":{"spec":{"prefix":"fd00::/64"}}}}]})")) ==
      at + "ips[0].ephemeral.prefixTemplate.spec.prefixLength forbidden\n" + at +
          "ips[1].ephemeral.prefixTemplate.spec.prefix forbidden");
}
