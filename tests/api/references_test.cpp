// SPDX-License-Identifier: Apache-2.0
// Taints and tolerations, conditions.
#include <doctest/doctest.h>

#include "ironcore/api/references.hpp"

using namespace ironcore;
using namespace ironcore::api;

namespace {
const Taint gpu{.key = "gpu", .value = "a", .effect = TaintEffect::no_schedule};
const Taint broken{.key = "broken", .value = "", .effect = TaintEffect::no_execute};
}  // namespace

TEST_CASE("taints are tolerated if each is matched by a toleration") {
  const Toleration by_value{.key = "gpu", .value = "a"};
  const Toleration by_key{.key = "broken", .operator_ = TolerationOperator::exists};
  const Toleration everything{.operator_ = TolerationOperator::exists};
  const std::vector<Taint> both{gpu, broken};
  const auto tolerated = [&](std::vector<Toleration> tolerations) { return are_tolerated(both, tolerations); };
  CHECK(are_tolerated({}, {}));
  CHECK(!tolerated({}));
  CHECK(!tolerated({by_value}));
  CHECK(!tolerated({by_key}));
  CHECK(tolerated({by_value, by_key}));
  CHECK(tolerated({everything}));
}

TEST_CASE("a toleration matches by key, value and effect") {
  const auto tolerated = [](Toleration toleration) { return is_tolerated(gpu, {&toleration, 1}); };
  CHECK(tolerated({.key = "gpu", .value = "a"}));
  CHECK(tolerated(
      {.key = "gpu", .operator_ = TolerationOperator::equal, .value = "a", .effect = TaintEffect::no_schedule}));
  CHECK(!tolerated({.key = "gpu", .value = "b"}));
  CHECK(!tolerated({.key = "gpu"}));
  CHECK(!tolerated({.key = "cpu", .value = "a"}));
  CHECK(!tolerated({.key = "gpu", .value = "a", .effect = TaintEffect::no_execute}));
  CHECK(tolerated({.key = "gpu", .operator_ = TolerationOperator::exists}));
  CHECK(tolerated({.value = "a"}));
}

TEST_CASE("a condition is found by its type") {
  const std::vector<Condition> conditions{{.type = "Ready"}, {.type = "VolumesReady"}};
  CHECK(find_condition(conditions, "VolumesReady") == &conditions[1]);
  CHECK(find_condition(conditions, "Other") == nullptr);
  CHECK(find_condition({}, "Ready") == nullptr);
}

TEST_CASE("setting a condition moves its transition time only when the status changes") {
  const WallTime first{std::chrono::seconds(100)}, second{std::chrono::seconds(200)}, third{std::chrono::seconds(300)};
  std::vector<Condition> conditions;
  Condition ready{.type = "Ready", .status = ConditionStatus::true_, .reason = "Heartbeat"};
  CHECK(set_condition(conditions, ready, first));
  CHECK(!set_condition(conditions, ready, second));
  CHECK(conditions.size() == 1);
  CHECK(conditions[0].last_transition_time == first);
  CHECK(conditions[0].last_update_time == first);

  ready.message = "still here";
  CHECK(set_condition(conditions, ready, second));
  CHECK(conditions[0].last_transition_time == first);
  CHECK(conditions[0].last_update_time == second);

  ready.status = ConditionStatus::unknown;
  CHECK(set_condition(conditions, ready, third));
  CHECK(conditions[0].last_transition_time == third);
  ready.observed_generation = 3;
  CHECK(set_condition(conditions, ready, third));
  CHECK(set_condition(conditions, {.type = "Other"}, third));
  CHECK(conditions.size() == 2);
}
