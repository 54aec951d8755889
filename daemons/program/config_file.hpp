// SPDX-License-Identifier: Apache-2.0
// Config file: the settings of a daemon as a YAML mapping, read and printed.
#pragma once

#include <filesystem>
#include <set>
#include <string>
#include <vector>

#include "program/setting.hpp"

namespace ironcore::program {

/// Sets every setting that the file names, except those in `already` (flags win). A nested mapping joins its
/// names with `-`: `retention: {age: 1h}` is `retention-age: 1h`. An unknown or repeated key and a wrong
/// value are `invalid`, with `file:line:column`.
Result<void> read_config_file(const std::filesystem::path& file, const std::vector<const Setting*>& settings,
                              const std::set<std::string>& already);

/// The present settings as a file that `read_config_file` takes, each with its help as a comment.
std::string config_text(const std::vector<const Setting*>& settings);

}  // namespace ironcore::program
