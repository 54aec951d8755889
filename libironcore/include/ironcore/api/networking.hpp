// SPDX-License-Identifier: Apache-2.0
// networking.ironcore.dev, as far as machines need it: NetworkInterface as something to refer to.
#pragma once

#include "ironcore/api/object.hpp"
#include "ironcore/api/references.hpp"

namespace ironcore::api {

enum class NetworkInterfaceState { pending, available, error };
BOOST_DESCRIBE_ENUM(NetworkInterfaceState, pending, available, error)

struct NetworkInterfaceSpec {
  std::string provider_id;
  LocalReference network_ref;                    ///< immutable; empty name = the host's user-mode network
  std::optional<LocalUidReference> machine_ref;  ///< the machine that uses it
  std::map<std::string, std::string> attributes;
  Unknown unknown;
  friend bool operator==(const NetworkInterfaceSpec&, const NetworkInterfaceSpec&) = default;
};
BOOST_DESCRIBE_STRUCT(NetworkInterfaceSpec, (), (provider_id, network_ref, machine_ref, attributes))

struct NetworkInterfaceStatus {
  NetworkInterfaceState state = NetworkInterfaceState::pending;
  std::optional<WallTime> last_state_transition_time;
  std::vector<std::string> ips;
  Unknown unknown;
  friend bool operator==(const NetworkInterfaceStatus&, const NetworkInterfaceStatus&) = default;
};
BOOST_DESCRIBE_STRUCT(NetworkInterfaceStatus, (), (state, last_state_transition_time, ips))

/// Further members of the spec (`ips`, `prefixes`, `virtualIP`, …) are kept as unknown until the network
/// pillar reads them.
struct NetworkInterface {
  static constexpr KindInfo info{"networking.ironcore.dev", "v1alpha1", "NetworkInterface",
                                 "networkinterfaces",       "nic",      Scope::namespaced};
  Metadata metadata;
  NetworkInterfaceSpec spec;
  NetworkInterfaceStatus status;
  Unknown unknown;
  friend bool operator==(const NetworkInterface&, const NetworkInterface&) = default;
};
BOOST_DESCRIBE_STRUCT(NetworkInterface, (), (metadata, spec, status))

template <>
const Kind& kind_of<NetworkInterface>();

}  // namespace ironcore::api
