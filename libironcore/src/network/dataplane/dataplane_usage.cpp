// SPDX-License-Identifier: Apache-2.0
// How full the dataplane is. No worker is asked: they note it where it is read.
#include <map>

#include "dataplane_state.hpp"
#include "ironcore/network/configuration_json.hpp"

namespace ironcore::network {

namespace {

using dataplane::Desired;
using dataplane::NatPool;
using dataplane::Way;

void add(std::vector<ResourceUse>& out, const NatPool& pool, std::size_t workers, const std::string& of, Resource what,
         Resource shown) {
  ResourceUse use{shown, of, {}};
  for (std::size_t i = 0; i < workers; ++i) use.workers.push_back(pool.use(i, what));
  if (use.sum().room != 0) out.push_back(std::move(use));
}

std::vector<ObjectCount> count(const Desired& desired) {
  std::uint64_t routes = 0;
  for (const auto& [vni, of_network] : desired.routes()) routes += of_network.v4.size() + of_network.v6.size();
  const std::uint64_t counts[] = {desired.interfaces().size(),     desired.prefixes().size(),
                                  desired.virtual_ips().size(),    desired.nats().size(),
                                  desired.neighbour_nats().size(), desired.load_balancers().size(),
                                  desired.targets().size(),        routes,
                                  desired.rules().size(),          desired.virtual_services().size()};
  static_assert(std::size(counts) * 2 == std::variant_size_v<Change>);
  std::vector<ObjectCount> out;
  for (const auto kind : configuration_kinds()) out.push_back({std::string(kind), counts[out.size()]});
  return out;
}

}  // namespace

DataplaneUsage Dataplane::usage() const {
  const auto& state = *state_;
  std::lock_guard guard(state.mutex);
  DataplaneUsage out;
  ResourceUse connections{Resource::connections, {}, {}};
  ResourceUse fragments{Resource::fragments, {}, {}};
  for (const auto& lane : state.lanes) {
    connections.workers.push_back({lane->tallies.connections.get(), state.options.connections});
    fragments.workers.push_back(lane->worker.fragments());
  }
  out.resources.push_back(std::move(connections));
  out.resources.push_back(std::move(fragments));

  const auto workers = state.lanes.size();
  const auto& snapshot = state.snapshots.newest();
  for (const auto& [key, told] : state.desired.interfaces()) {
    const auto& view = *snapshot.interfaces[state.compiler.interface_index(key.id)];
    if (view.nat_pool)
      for (const auto what : NatPool::resources) add(out.resources, *view.nat_pool, workers, key.id, what, what);
    if (!view.meters) continue;
    const auto said = [&](Way way, bool is_public) { return view.meter_tally->get(way, is_public); };
    out.meters.push_back({key.id, said(Way::egress, false), said(Way::ingress, false), said(Way::egress, true),
                          said(Way::ingress, true)});
  }
  std::map<std::string, const NatPool*> services;
  for (std::size_t i = 0; i < snapshot.virtual_services.size(); ++i)
    if (const auto& view = snapshot.virtual_services[i]) services.emplace(view->told.id, view->pool.get());
  // All its flows are towards one outside, so that each has a port of its own.
  for (const auto& [id, pool] : services)
    add(out.resources, *pool, workers, id, Resource::nat_flows, Resource::service_ports);
  out.objects = count(state.desired);
  return out;
}

}  // namespace ironcore::network
