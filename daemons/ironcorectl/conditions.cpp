// SPDX-License-Identifier: Apache-2.0
// Reads conditions from JSON: every kind may have them.
#include "ironcorectl/conditions.hpp"

namespace ironcore::ctl {

std::vector<ConditionText> conditions_of(const api::json::Tree& object) {
  std::vector<ConditionText> all;
  const auto* const status = object.find("status");
  const auto* const conditions = status ? status->find("conditions") : nullptr;
  if (!conditions) return all;
  for (const auto& condition : conditions->items) {
    if (!condition.is_object()) continue;
    const auto text = [&](std::string_view name) {
      const auto* const member = condition.find(name);
      return member ? member->text() : std::string();
    };
    all.push_back({text("type"), text("status"), text("reason"), text("message"), text("lastTransitionTime")});
  }
  return all;
}

std::vector<ConditionText> conditions_of(const api::Object& object) {
  const auto tree = api::json::parse_tree(object.json(), api::json::Nulls::drop);
  return tree ? conditions_of(*tree) : std::vector<ConditionText>();
}

}  // namespace ironcore::ctl
