// SPDX-License-Identifier: Apache-2.0
// Small shapes that several kinds use: references, taints, tolerations, resource lists, conditions.
#pragma once

#include <boost/describe.hpp>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "ironcore/api/metadata.hpp"
#include "ironcore/base/quantity.hpp"

namespace ironcore::api {

struct LocalReference {
  std::string name;
  Unknown unknown;
  friend bool operator==(const LocalReference&, const LocalReference&) = default;
};
BOOST_DESCRIBE_STRUCT(LocalReference, (), (name))

struct LocalUidReference {
  std::string name;
  std::string uid;
  Unknown unknown;
  friend bool operator==(const LocalUidReference&, const LocalUidReference&) = default;
};
BOOST_DESCRIBE_STRUCT(LocalUidReference, (), (name, uid))

struct SecretKeySelector {
  std::string name;
  std::string key;
  Unknown unknown;
  friend bool operator==(const SecretKeySelector&, const SecretKeySelector&) = default;
};
BOOST_DESCRIBE_STRUCT(SecretKeySelector, (), (name, key))

enum class IpFamily { ipv4, ipv6 };
BOOST_DESCRIBE_ENUM(IpFamily, ipv4, ipv6)

enum class LabelSelectorOperator { in, not_in, exists, does_not_exist };
BOOST_DESCRIBE_ENUM(LabelSelectorOperator, in, not_in, exists, does_not_exist)

struct LabelSelectorRequirement {
  std::string key;
  std::optional<LabelSelectorOperator> operator_;  ///< required
  std::vector<std::string> values;                 ///< for `In` and `NotIn`, and only for them
  Unknown unknown;
  friend bool operator==(const LabelSelectorRequirement&, const LabelSelectorRequirement&) = default;
};
BOOST_DESCRIBE_STRUCT(LabelSelectorRequirement, (), (key, operator_, values))

/// Chooses what has all the labels and meets all the expressions.
struct LabelSelector {
  std::map<std::string, std::string> match_labels;
  std::vector<LabelSelectorRequirement> match_expressions;
  Unknown unknown;
  friend bool operator==(const LabelSelector&, const LabelSelector&) = default;
};
BOOST_DESCRIBE_STRUCT(LabelSelector, (), (match_labels, match_expressions))

/// `cpu`, `memory`, `storage`, `class/machine.<class>` … → amount.
using ResourceList = std::map<std::string, Quantity>;

enum class TaintEffect {
  no_schedule,  ///< nothing new is placed
  no_execute,   ///< and what is there is evicted
};
BOOST_DESCRIBE_ENUM(TaintEffect, no_schedule, no_execute)

struct Taint {
  std::string key;
  std::string value;
  TaintEffect effect = TaintEffect::no_schedule;
  Unknown unknown;
  friend bool operator==(const Taint&, const Taint&) = default;
};
BOOST_DESCRIBE_STRUCT(Taint, (), (key, value, effect))

enum class TolerationOperator { equal, exists };
BOOST_DESCRIBE_ENUM(TolerationOperator, equal, exists)

/// An absent key or effect matches every key or effect.
struct Toleration {
  std::string key;
  std::optional<TolerationOperator> operator_;  ///< absent = equal
  std::string value;
  std::optional<TaintEffect> effect;
  Unknown unknown;
  friend bool operator==(const Toleration&, const Toleration&) = default;
};
BOOST_DESCRIBE_STRUCT(Toleration, (), (key, operator_, value, effect))

/// What a pool of any kind is told.
struct PoolSpec {
  std::string provider_id;  ///< `TYPE://ID`; set once
  std::vector<Taint> taints;
  Unknown unknown;
  friend bool operator==(const PoolSpec&, const PoolSpec&) = default;
};
BOOST_DESCRIBE_STRUCT(PoolSpec, (), (provider_id, taints))

bool is_tolerated(const Taint& taint, std::span<const Toleration> tolerations);
/// Every taint is tolerated.
bool are_tolerated(std::span<const Taint> taints, std::span<const Toleration> tolerations);

enum class ConditionStatus { true_, false_, unknown };
BOOST_DESCRIBE_ENUM(ConditionStatus, true_, false_, unknown)

struct Condition {
  std::string type;
  ConditionStatus status = ConditionStatus::unknown;
  std::string reason;
  std::string message;
  std::optional<std::int64_t> observed_generation;
  std::optional<WallTime> last_update_time;
  std::optional<WallTime> last_transition_time;
  Unknown unknown;
  friend bool operator==(const Condition&, const Condition&) = default;
};
BOOST_DESCRIBE_STRUCT(Condition, (),
                      (type, status, reason, message, observed_generation, last_update_time, last_transition_time))

const Condition* find_condition(std::span<const Condition> conditions, std::string_view type);
/// Replaces or appends by type. `last_transition_time` moves only when the status changes; nothing changes,
/// timestamps included, when status, reason, message and observed generation are the same. Returns whether
/// something changed.
bool set_condition(std::vector<Condition>& conditions, Condition condition, WallTime now);

}  // namespace ironcore::api
