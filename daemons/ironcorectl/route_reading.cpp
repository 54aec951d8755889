// SPDX-License-Identifier: Apache-2.0
// Pages to a table.
#include "ironcorectl/route_reading.hpp"

namespace ironcore::ctl {

using namespace routing;

namespace {

/// Without what may change of the same route.
RouteReading::Key key_of(const KnownRoute& known) {
  auto route = known.route;
  route.weight = 1;
  route.target_vni = {};
  route.mobility = 0;
  return {known.origin, to_text(route)};
}

}  // namespace

RouteReading::RouteReading(RoutesQuery query) : query_(std::move(query)) {
  query_.after = 0;
  query_.limit = 1'000;
  query_.withdrawals = RoutesQuery::Withdrawals::included;
}

void RouteReading::begin_anew() {
  unconfirmed_ = routes_;
  is_comparing_ = true;
  query_.after = 0;
  epoch_ = 0;
}

void RouteReading::take(const KnownRoute& known, const Changed& changed) {
  using What = LearnedRoute::What;
  const auto withdraw = [&](std::map<Key, KnownRoute>::iterator it) {
    auto gone = it->second;
    gone.what = What::withdrawn;
    gone.sequence = known.sequence;
    unconfirmed_.erase(it->first);
    it = routes_.erase(it);
    changed(gone);
    return it;
  };
  switch (known.what) {
    case What::announced: {
      const auto key = key_of(known);
      auto& here = routes_[key];
      const bool is_new = here.sequence == 0 || here.route != known.route;
      here = known;
      unconfirmed_.erase(key);
      if (is_new) changed(known);
      return;
    }
    case What::withdrawn:
      if (const auto found = routes_.find(key_of(known)); found != routes_.end()) withdraw(found);
      return;
    case What::origin_gone:
      for (auto it = routes_.lower_bound({known.origin, {}}); it != routes_.end() && it->first.first == known.origin;)
        it = withdraw(it);
  }
}

Result<RouteReading::Reading> RouteReading::read(zmq::OperatorClient& client, const Changed& changed) {
  auto result = is_comparing_ ? Reading::forgotten : Reading::whole;
  while (true) {
    IRONCORE_TRY(const auto page, client.routes(query_));
    if (epoch_ != 0 && page.epoch != epoch_) return Reading::restarted;
    // From 0 nothing that is there can be missed.
    if (page.has_forgotten && query_.after != 0) {
      begin_anew();
      result = Reading::forgotten;
      continue;
    }
    epoch_ = page.epoch;
    for (const auto& route : page.routes) take(route, changed);
    query_.after = page.next;
    if (page.is_last) break;
  }
  if (std::exchange(is_comparing_, false)) {
    for (auto& [key, route] : std::exchange(unconfirmed_, {})) {
      routes_.erase(key);
      route.what = LearnedRoute::What::withdrawn;
      changed(route);
    }
  }
  return result;
}

}  // namespace ironcore::ctl
