// SPDX-License-Identifier: Apache-2.0
// networking.ironcore.dev, as far as machines need it: NetworkInterface.
#pragma once

#include "ironcore/api/ipam.hpp"
#include "ironcore/api/object.hpp"
#include "ironcore/api/references.hpp"
#include "ironcore/base/ip_address.hpp"

namespace ironcore::api {

/// Exactly one source. A template must yield a single address.
struct IpSource {
  std::optional<IpAddress> value;
  std::optional<EphemeralPrefix> ephemeral;
  Unknown unknown;
  friend bool operator==(const IpSource&, const IpSource&) = default;
};
BOOST_DESCRIBE_STRUCT(IpSource, (), (value, ephemeral))

/// Exactly one source.
struct PrefixSource {
  std::optional<Prefix> value;
  std::optional<EphemeralPrefix> ephemeral;
  Unknown unknown;
  friend bool operator==(const PrefixSource&, const PrefixSource&) = default;
};
BOOST_DESCRIBE_STRUCT(PrefixSource, (), (value, ephemeral))

enum class VirtualIpType { public_ };
BOOST_DESCRIBE_ENUM(VirtualIpType, public_)

/// What becomes of a virtual IP when the interface that it was made for goes.
enum class ReclaimPolicy { retain, delete_ };
BOOST_DESCRIBE_ENUM(ReclaimPolicy, retain, delete_)

struct VirtualIpTemplateSpec {
  std::optional<VirtualIpType> type;  ///< required
  std::optional<IpFamily> ip_family;  ///< required
  std::optional<LocalUidReference> target_ref;
  std::optional<ReclaimPolicy> reclaim_policy;  ///< absent = delete
  Unknown unknown;
  friend bool operator==(const VirtualIpTemplateSpec&, const VirtualIpTemplateSpec&) = default;
};
BOOST_DESCRIBE_STRUCT(VirtualIpTemplateSpec, (), (type, ip_family, target_ref, reclaim_policy))

struct VirtualIpTemplate {
  TemplateMetadata metadata;
  VirtualIpTemplateSpec spec;
  Unknown unknown;
  friend bool operator==(const VirtualIpTemplate&, const VirtualIpTemplate&) = default;
};
BOOST_DESCRIBE_STRUCT(VirtualIpTemplate, (), (metadata, spec))

struct EphemeralVirtualIp {
  std::optional<VirtualIpTemplate> virtual_ip_template;
  Unknown unknown;
  friend bool operator==(const EphemeralVirtualIp&, const EphemeralVirtualIp&) = default;
};
BOOST_DESCRIBE_STRUCT(EphemeralVirtualIp, (), (virtual_ip_template))

/// Exactly one source.
struct VirtualIpSource {
  std::optional<LocalReference> virtual_ip_ref;
  std::optional<EphemeralVirtualIp> ephemeral;
  Unknown unknown;
  friend bool operator==(const VirtualIpSource&, const VirtualIpSource&) = default;
};
BOOST_DESCRIBE_STRUCT(VirtualIpSource, (), (virtual_ip_ref, ephemeral))

struct NetworkInterfaceSpec {
  std::string provider_id;
  LocalReference network_ref;                    ///< immutable; empty name = the host's user-mode network
  std::optional<LocalUidReference> machine_ref;  ///< the machine that uses it
  std::vector<IpFamily> ip_families;             ///< immutable; required in a network; default: those of `ips`
  std::vector<IpSource> ips;                     ///< one for each of `ip_families`, in their order
  std::vector<PrefixSource> prefixes;            ///< routed to it besides
  std::optional<VirtualIpSource> virtual_ip;
  std::map<std::string, std::string> attributes;  ///< immutable
  Unknown unknown;
  friend bool operator==(const NetworkInterfaceSpec&, const NetworkInterfaceSpec&) = default;
};
BOOST_DESCRIBE_STRUCT(NetworkInterfaceSpec, (),
                      (provider_id, network_ref, machine_ref, ip_families, ips, prefixes, virtual_ip, attributes))

enum class NetworkInterfaceState { pending, available, error };
BOOST_DESCRIBE_ENUM(NetworkInterfaceState, pending, available, error)

struct NetworkInterfaceStatus {
  NetworkInterfaceState state = NetworkInterfaceState::pending;
  std::optional<WallTime> last_state_transition_time;
  std::vector<std::string> ips;
  std::vector<std::string> prefixes;
  std::string virtual_ip;
  Unknown unknown;
  friend bool operator==(const NetworkInterfaceStatus&, const NetworkInterfaceStatus&) = default;
};
BOOST_DESCRIBE_STRUCT(NetworkInterfaceStatus, (), (state, last_state_transition_time, ips, prefixes, virtual_ip))

/// Addresses, prefixes and virtual IPs are checked and kept; the network pillar will act on them.
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
