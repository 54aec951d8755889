// SPDX-License-Identifier: Apache-2.0
// Tolerations and conditions.
#include "ironcore/api/references.hpp"

#include <algorithm>

namespace ironcore::api {

bool is_tolerated(const Taint& taint, std::span<const Toleration> tolerations) {
  return std::any_of(tolerations.begin(), tolerations.end(), [&](const Toleration& toleration) {
    if (toleration.effect && *toleration.effect != taint.effect) return false;
    if (!toleration.key.empty() && toleration.key != taint.key) return false;
    return toleration.operator_ == TolerationOperator::exists || toleration.value == taint.value;
  });
}

bool are_tolerated(std::span<const Taint> taints, std::span<const Toleration> tolerations) {
  return std::all_of(taints.begin(), taints.end(),
                     [&](const Taint& taint) { return is_tolerated(taint, tolerations); });
}

const Condition* find_condition(std::span<const Condition> conditions, std::string_view type) {
  const auto found = std::find_if(conditions.begin(), conditions.end(), [&](const auto& c) { return c.type == type; });
  return found == conditions.end() ? nullptr : &*found;
}

bool set_condition(std::vector<Condition>& conditions, Condition condition, WallTime now) {
  condition.last_update_time = now;
  const auto found =
      std::find_if(conditions.begin(), conditions.end(), [&](const auto& c) { return c.type == condition.type; });
  if (found == conditions.end()) {
    condition.last_transition_time = now;
    conditions.push_back(std::move(condition));
    return true;
  }
  if (found->status == condition.status && found->reason == condition.reason && found->message == condition.message &&
      found->observed_generation == condition.observed_generation)
    return false;
  condition.last_transition_time = found->status == condition.status ? found->last_transition_time : now;
  if (condition.unknown.is_empty()) condition.unknown = std::move(found->unknown);
  *found = std::move(condition);
  return true;
}

}  // namespace ironcore::api
