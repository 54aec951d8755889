// SPDX-License-Identifier: Apache-2.0
// completion: a script that teaches a shell the commands, flags, kinds and names.
#pragma once

#include <string>

#include "program/command_line.hpp"

namespace ironcore::ctl {

/// For `bash`, `zsh` or `fish`.
Result<std::string> completion_script(const program::Command& program, const std::string& shell);

}  // namespace ironcore::ctl
