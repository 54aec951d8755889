// SPDX-License-Identifier: Apache-2.0
// Prints the verdicts of the scheduler.
#include "ironcorectl/explain.hpp"

#include <algorithm>
#include <ostream>
#include <string>

#include "ironcore/api/compute.hpp"
#include "ironcore/control/machine_scheduler.hpp"
#include "ironcorectl/table.hpp"
#include "ironcorectl/target.hpp"

namespace ironcore::ctl {

Result<void> explain(Session& session, const ExplainOptions& options) {
  IRONCORE_TRY(const auto keys, parse_keys(session, options.words));
  if (keys.size() != 1 || keys.front().kind != &api::kind_of<api::Machine>()) {
    return Error(ErrorCode::invalid, "explain takes one machine: `explain machine NAME`");
  }
  IRONCORE_TRY(store::Store* const store, session.store());
  IRONCORE_TRY(const auto explanation, control::explain_machine(*store, keys.front().namespace_, keys.front().name));
  const std::string name = text_of(keys.front());
  if (explanation.pool.empty()) {
    session.out() << name << " is not placed: " << explanation.summary << '\n';
  } else {
    const auto is_it = [&](const auto& verdict) { return verdict.pool == explanation.pool; };
    const bool exists = std::any_of(explanation.pools.begin(), explanation.pools.end(), is_it);
    session.out() << name << " is placed on pool " << explanation.pool
                  << (exists ? "" : ", which does not exist: start a provider with --pool-name " + explanation.pool)
                  << '\n';
  }
  if (explanation.pools.empty()) return {};
  session.out() << '\n';
  Table table({"Pool", "Fits", "Room", "Why"});
  for (const auto& verdict : explanation.pools) {
    const bool fits = verdict.obstacle == control::Obstacle::none;
    table.add({verdict.pool, fits ? "yes" : "no", std::to_string(verdict.room), verdict.detail});
  }
  table.print(session.out(), session.terminal());
  return {};
}

}  // namespace ironcore::ctl
