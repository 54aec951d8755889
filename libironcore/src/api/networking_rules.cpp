// SPDX-License-Identifier: Apache-2.0
// Defaults and rules of NetworkInterface.
#include "rules.hpp"

namespace ironcore::api {

void check_network_interface_spec(const FieldPath& at, const NetworkInterfaceSpec& spec, Checks& checks) {
  // Beyond the original: without a network the interface is on the user-mode network of its host.
  const FieldPath network(at, "networkRef");
  checks.dns_subdomain(FieldPath(network, "name"), spec.network_ref.name);
  checks.optional_reference(FieldPath(at, "machineRef"), spec.machine_ref);
  const FieldPath attributes(at, "attributes");
  for (const auto& [key, value] : spec.attributes)
    checks.required(FieldPath::entry(attributes, key), key, "an attribute has a name");
}

void complete(NetworkInterface&, const NetworkInterface*, Checks&) {}

void check(const NetworkInterface& object, Checks& checks) {
  const FieldPath root;
  check_network_interface_spec(FieldPath(root, "spec"), object.spec, checks);
}

void check_change(const NetworkInterface& current, const NetworkInterface& wanted, Checks& checks) {
  const FieldPath root;
  const FieldPath spec(root, "spec");
  checks.immutable(FieldPath(spec, "networkRef"), current.spec.network_ref, wanted.spec.network_ref);
  checks.immutable(FieldPath(spec, "attributes"), current.spec.attributes, wanted.spec.attributes);
}

}  // namespace ironcore::api
