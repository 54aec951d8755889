// SPDX-License-Identifier: Apache-2.0
// Prints the verdicts of the scheduler.
#include "ironcorectl/explain.hpp"

#include <algorithm>
#include <ostream>
#include <string>

#include "ironcore/api/compute.hpp"
#include "ironcore/base/byte_text.hpp"
#include "ironcore/control/scheduler.hpp"
#include "ironcorectl/table.hpp"
#include "ironcorectl/target.hpp"

namespace ironcore::ctl {

namespace {

/// Of volumes in bytes.
std::string room_text(const api::Kind& kind, std::int64_t room) {
  if (&kind == &api::kind_of<api::Bucket>()) return "-";  // has no size
  return &kind == &api::kind_of<api::Volume>() ? byte_text(room) : std::to_string(room);
}

/// How the program that provides such a pool is given its name.
const char* provider_option(const api::Kind& kind) {
  if (&kind == &api::kind_of<api::Volume>()) return "ceph-providerd with --volume-pool ";
  if (&kind == &api::kind_of<api::Bucket>()) return "ceph-providerd with --bucket-pool ";
  return "libvirt-providerd with --pool-name ";
}

Result<control::Explanation> ask(store::Store& store, const store::Key& key) {
  if (key.kind == &api::kind_of<api::Machine>())
    return control::explain_placement<api::Machine>(store, key.namespace_, key.name);
  if (key.kind == &api::kind_of<api::Volume>())
    return control::explain_placement<api::Volume>(store, key.namespace_, key.name);
  if (key.kind == &api::kind_of<api::Bucket>())
    return control::explain_placement<api::Bucket>(store, key.namespace_, key.name);
  return Error(ErrorCode::invalid, "explain takes a machine, a volume or a bucket: `explain machine NAME`");
}

}  // namespace

Result<void> explain(Session& session, const ExplainOptions& options) {
  IRONCORE_TRY(const auto keys, parse_keys(session, options.words));
  if (keys.size() != 1) return Error(ErrorCode::invalid, "explain takes one object: `explain machine NAME`");
  IRONCORE_TRY(store::Store* const store, session.store());
  IRONCORE_TRY(const auto explanation, ask(*store, keys.front()));
  const std::string name = text_of(keys.front());
  if (explanation.pool.empty()) {
    session.out() << name << " is not placed: " << explanation.summary << '\n';
  } else {
    const auto is_it = [&](const auto& verdict) { return verdict.pool == explanation.pool; };
    const bool exists = std::any_of(explanation.pools.begin(), explanation.pools.end(), is_it);
    session.out() << name << " is placed on pool " << explanation.pool
                  << (exists
                          ? ""
                          : ", which does not exist: start " + (provider_option(*keys.front().kind) + explanation.pool))
                  << '\n';
  }
  if (explanation.pools.empty()) return {};
  session.out() << '\n';
  Table table({"Pool", "Fits", "Room", "Why"});
  for (const auto& verdict : explanation.pools) {
    const bool fits = verdict.obstacle == control::Obstacle::none;
    table.add({verdict.pool, fits ? "yes" : "no", room_text(*keys.front().kind, verdict.room), verdict.detail});
  }
  table.print(session.out(), session.terminal());
  return {};
}

}  // namespace ironcore::ctl
