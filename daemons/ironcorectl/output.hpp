// SPDX-License-Identifier: Apache-2.0
// Objects as text: pretty JSON, YAML, names, tables.
#pragma once

#include <optional>
#include <span>
#include <string>

#include "ironcorectl/session.hpp"

namespace ironcore::ctl {

enum class OutputFormat { table, wide, json, yaml, name };

/// Two blanks a level, members in the order of the object.
std::string pretty_json(std::string_view json);
/// Block style; what a manifest parser reads back as the same.
std::string yaml_text(std::string_view json);

/// One object in any format but tables. A Secret's data comes out as base64: who asks for JSON or YAML wants to apply it again.
std::string text_of(const api::Object& object, OutputFormat format);

/// Several: YAML documents separated by `---`; a JSON object with `items`; a name for each line.
void print(Session& session, std::span<const api::Object> objects, OutputFormat format);

}  // namespace ironcore::ctl
