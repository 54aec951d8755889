// SPDX-License-Identifier: Apache-2.0
// Networks are there as long as an object names them: found out when somebody asks.
#include <map>

#include "dataplane_state.hpp"

namespace ironcore::network {

ConfigurationPage<VniUse> Dataplane::vnis(std::size_t limit, std::optional<Vni> after) const {
  std::lock_guard guard(state_->mutex);
  const auto& desired = state_->desired;
  std::map<Vni, VniUse> all;
  for (const auto& [key, one] : desired.interfaces()) ++all[one.vni].interfaces;
  for (const auto& [vni, routes] : desired.routes()) {
    auto& use = all[vni];
    use.routes_v4 = routes.v4.size();
    use.routes_v6 = routes.v6.size();
  }
  for (const auto& [key, one] : desired.load_balancers()) ++all[one.vni].load_balancers;
  for (const auto& [key, one] : desired.nats()) ++all[desired.interfaces().at({key.interface}).vni].nats;
  for (const auto& [key, one] : desired.neighbour_nats()) ++all[one.vni].neighbour_nats;

  ConfigurationPage<VniUse> page;
  page.revision = state_->changes.revision();
  auto it = after ? all.upper_bound(*after) : all.begin();
  for (; it != all.end() && page.objects.size() < limit; ++it) {
    it->second.vni = it->first;
    page.objects.push_back(it->second);
  }
  page.has_more = it != all.end();
  return page;
}

}  // namespace ironcore::network
