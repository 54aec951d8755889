// SPDX-License-Identifier: Apache-2.0
// Follows one object until it is as wanted.
#pragma once

#include <functional>

#include "ironcorectl/session.hpp"

namespace ironcore::ctl {

/// Looks at one state of the object; null = it is not there. True = done. An error ends the wait.
using Look = std::function<Result<bool>(const api::Object* object)>;

/// Calls `look` with the present state and after every change until it says true. While nothing changes,
/// `look` is called again with the same state about once a second, for progress. Returns false when
/// `deadline` passed first; `cancelled` after an interrupt.
Result<bool> follow(Session& session, const store::Key& key, Instant deadline, const Look& look);

/// The state for people: `Running`, `Pending: disk root: image not found`. Empty for kinds without one.
std::string state_text(const api::Object& object);

}  // namespace ironcore::ctl
