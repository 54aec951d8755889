// SPDX-License-Identifier: Apache-2.0
// Objects that the tests of the kinds start from.
#pragma once

#include <string>
#include <string_view>

#include "ironcore/api/compute.hpp"
#include "ironcore/api/core.hpp"
#include "ironcore/api/networking.hpp"
#include "ironcore/api/object.hpp"
#include "ironcore/api/storage.hpp"

namespace ironcore::api {

/// A machine as it looks in the middle of its life: about 1 KiB of JSON.
inline constexpr std::string_view running_machine =
    R"({"apiVersion":"compute.ironcore.dev/v1alpha1","kind":"Machine","metadata":{"name":"web-1","namespace":"shop",)"
    R"("uid":"6f1c1c5e-2a44-4b8f-9d0a-1f0e8d1c9b77","resourceVersion":"4711","generation":2,)"
    R"("creationTimestamp":"2026-11-23T01:45:08Z","labels":{"app":"web","tier":"front"},)"
    R"("finalizers":["machinepoollet.ironcore.dev/machine"]},"spec":{"machineClassRef":{"name":"small"},)"
    R"("machinePoolRef":{"name":"host-17"},"power":"On","networkInterfaces":[{"name":"nic","ephemeral":)"
    R"({"networkInterfaceTemplate":{"spec":{"networkRef":{"name":"front"},"ipFamilies":["IPv4"],"ips":[{"value":"10.0.0.1"}]}}}}],"volumes":[{"name":"root","device":"oda",)"
    R"("localDisk":{"sizeLimit":"10Gi","image":"registry.example/images/debian:12"}},{"name":"data","device":"odb",)"
    R"("volumeRef":{"name":"web-1-data"}}],"ignitionRef":{"name":"web-ignition","key":"ignition.yaml"},)"
    R"("guestConfig":{"hostname":"web-1"}},"status":{"machineID":"libvirt://6f1c1c5e","observedGeneration":2,)"
    R"("state":"Running","conditions":[{"type":"Ready","status":"True","reason":"Running","message":"the guest runs",)"
    R"("lastTransitionTime":"2026-11-23T01:45:10Z"}],"networkInterfaces":[{"name":"nic","handle":"tap0","state":"Attached"}],)"
    R"("volumes":[{"name":"root","handle":"vda","state":"Attached"}]}})";

/// A machine that admission accepts.
inline Machine small_machine() {
  Machine machine;
  machine.metadata.name = "web-1";
  machine.metadata.namespace_ = "shop";
  machine.spec.machine_class_ref.name = "small";
  return machine;
}

/// An object of the namespace `shop`.
template <class T>
T in_shop(std::string name) {
  T object;
  object.metadata.name = std::move(name);
  object.metadata.namespace_ = "shop";
  return object;
}

/// `FIELD REASON` of each wrong field, one per line; the message if there are none.
inline std::string wrong_fields(const Error& error) {
  if (error.fields().empty()) return error.message();
  std::string text;
  for (const auto& field : error.fields()) {
    if (!text.empty()) text += '\n';
    text += field.field + ' ' + std::string(name(field.reason));
  }
  return text;
}
template <class T>
std::string wrong_fields(const Result<T>& result) {
  return result ? "nothing is wrong" : wrong_fields(result.error());
}

}  // namespace ironcore::api
