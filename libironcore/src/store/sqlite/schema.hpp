// SPDX-License-Identifier: Apache-2.0
// The schema of a store file, its versions, and how a file is recognised.
#pragma once

#include <cstdint>
#include <span>
#include <string>

#include "database.hpp"

namespace ironcore::store::sqlite {

/// "IrCS" in the header of the file.
inline constexpr std::int64_t application_id = 0x49724353;

/// SQL for each version: step i makes version i + 1 out of version i; version 0 is an empty file. There are as many
/// versions as steps.
using SchemaSteps = std::span<const char* const>;
/// Those of this program.
SchemaSteps released_steps() noexcept;

/// An empty file, or a store of one of these versions; changes nothing. Errors as below.
Result<void> check_origin(Database& database, SchemaSteps steps = released_steps());

/// Makes an empty file a store of this version, and lifts an older one to it; one transaction for each step.
/// Returns the epoch. `unsupported` for a newer one, `corrupt` for the file of another application or a
/// schema that is not ours.
Result<std::string> prepare_schema(Database& database, SchemaSteps steps = released_steps());

/// The same without changing anything: only a file of this version passes.
Result<std::string> check_schema(Database& database, SchemaSteps steps = released_steps());

}  // namespace ironcore::store::sqlite
