// SPDX-License-Identifier: Apache-2.0
// The conditions of any object, as text.
#pragma once

#include <string>
#include <vector>

#include "ironcore/api/json.hpp"
#include "ironcore/api/object.hpp"

namespace ironcore::ctl {

/// What a condition says; a member that is not there is empty.
struct ConditionText {
  std::string type, status, reason, message, since;
};

/// `status.conditions`; nothing if there are none, or no objects.
std::vector<ConditionText> conditions_of(const api::json::Tree& object);
std::vector<ConditionText> conditions_of(const api::Object& object);

}  // namespace ironcore::ctl
