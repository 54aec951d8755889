// SPDX-License-Identifier: Apache-2.0
// Objects as text: pretty JSON, YAML, names, tables.
#pragma once

#include <optional>
#include <span>
#include <string>

#include "ironcorectl/session.hpp"

namespace ironcore::ctl {

enum class OutputFormat { table, wide, json, yaml, name };

/// One object in any format but tables. A Secret's data comes out as base64: who asks for JSON or YAML wants
/// to apply it again.
std::string text_of(const api::Object& object, OutputFormat format);

/// What was asked for, however much of it was found: scripts rely on the shape.
enum class Asked { one_by_name, list };

/// As YAML documents separated by `---`; as JSON: a list is an object of kind List, even of one or none; a name for each line.
/// `apply -f` takes the first two.
void print(Session& session, std::span<const api::Object> objects, Asked asked, OutputFormat format);

}  // namespace ironcore::ctl
