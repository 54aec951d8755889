// SPDX-License-Identifier: Apache-2.0
// edit: one object in the person's editor.
#pragma once

#include <string>
#include <vector>

#include "ironcorectl/session.hpp"

namespace ironcore::ctl {

struct EditOptions {
  std::vector<std::string> words;  ///< KIND NAME or KIND/NAME
};

/// Writes only what was changed in the editor. Changes that others made meanwhile are kept; where both
/// changed the same field, or the result is refused, the editor opens again with the reason on top. Leaving
/// it unchanged gives up; what was typed is kept in a file then.
Result<void> edit(Session& session, const EditOptions& options);

}  // namespace ironcore::ctl
