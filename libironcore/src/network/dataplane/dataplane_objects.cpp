// SPDX-License-Identifier: Apache-2.0
// Reading what was told: object by object, and page by page.
#include "dataplane_state.hpp"
#include "object_walk.hpp"

namespace ironcore::network {

namespace {

using dataplane::Desired;

const auto& table_of(const Desired& desired, const Interface*) {
  return desired.interfaces();
}
const auto& table_of(const Desired& desired, const InterfacePrefix*) {
  return desired.prefixes();
}
const auto& table_of(const Desired& desired, const VirtualIp*) {
  return desired.virtual_ips();
}
const auto& table_of(const Desired& desired, const Nat*) {
  return desired.nats();
}
const auto& table_of(const Desired& desired, const NeighbourNat*) {
  return desired.neighbour_nats();
}
const auto& table_of(const Desired& desired, const LoadBalancer*) {
  return desired.load_balancers();
}
const auto& table_of(const Desired& desired, const LoadBalancerTarget*) {
  return desired.targets();
}
const auto& table_of(const Desired& desired, const FirewallRule*) {
  return desired.rules();
}
const auto& table_of(const Desired& desired, const VirtualService*) {
  return desired.virtual_services();
}

/// A prefix with host bits means its network, as in a batch.
const auto& normal(const auto& key) {
  return key;
}
InterfacePrefixKey normal(const InterfacePrefixKey& key) {
  return {key.interface, key.prefix.network(), key.use};
}

Error not_there(const char* what) {
  return {ErrorCode::not_found, std::string("there is no such ") + what};
}

}  // namespace

template <class Object, class Key>
ConfigurationPage<Object> Dataplane::list(std::size_t limit, const std::optional<Key>& after) const {
  std::lock_guard guard(state_->mutex);
  ConfigurationPage<Object> page;
  page.revision = state_->changes.revision();
  const auto& desired = state_->desired;
  if constexpr (std::is_same_v<Object, Route>) {
    page.has_more = !dataplane::each_route(desired, after, [&](const RouteKey& key, std::uint32_t set) {
      if (page.objects.size() == limit) return false;
      page.objects.push_back({key.vni, key.prefix, desired.next_hops()[set]});
      return true;
    });
  } else {
    const auto& table = table_of(desired, static_cast<const Object*>(nullptr));
    auto it = after ? table.upper_bound(normal(*after)) : table.begin();
    for (; it != table.end() && page.objects.size() < limit; ++it) page.objects.push_back(it->second);
    page.has_more = it != table.end();
  }
  return page;
}

template <class Object, class Key>
Result<Object> Dataplane::get(const Key& key) const {
  std::lock_guard guard(state_->mutex);
  const auto& desired = state_->desired;
  if constexpr (std::is_same_v<Object, Route>) {
    const auto network = desired.routes().find(key.vni);
    if (network == desired.routes().end()) return not_there("route");
    const auto prefix = key.prefix.network();
    const auto& address = prefix.address();
    const auto set = network->second.of(address.is_v6()).get(dataplane::bits_of(address), prefix.length());
    if (!set) return not_there("route");
    return Route{key.vni, prefix, desired.next_hops()[*set]};
  } else {
    const auto& table = table_of(desired, static_cast<const Object*>(nullptr));
    const auto found = table.find(normal(key));
    if (found == table.end()) return not_there("object");
    return found->second;
  }
}

#define IRONCORE_DATAPLANE_OBJECT(Object)                                                                   \
  template ConfigurationPage<Object> Dataplane::list(std::size_t, const std::optional<Object##Key>&) const; \
  template Result<Object> Dataplane::get(const Object##Key&) const
IRONCORE_DATAPLANE_OBJECT(Interface);
IRONCORE_DATAPLANE_OBJECT(InterfacePrefix);
IRONCORE_DATAPLANE_OBJECT(VirtualIp);
IRONCORE_DATAPLANE_OBJECT(Nat);
IRONCORE_DATAPLANE_OBJECT(NeighbourNat);
IRONCORE_DATAPLANE_OBJECT(LoadBalancer);
IRONCORE_DATAPLANE_OBJECT(LoadBalancerTarget);
IRONCORE_DATAPLANE_OBJECT(Route);
IRONCORE_DATAPLANE_OBJECT(FirewallRule);
IRONCORE_DATAPLANE_OBJECT(VirtualService);
#undef IRONCORE_DATAPLANE_OBJECT

}  // namespace ironcore::network
