// SPDX-License-Identifier: Apache-2.0
// The schema of a store file, its versions, and how a file is recognised.
#pragma once

#include <cstdint>
#include <string>

#include "database.hpp"

namespace ironcore::store::sqlite {

/// "IrCS" in the header of the file.
inline constexpr std::int64_t application_id = 0x49724353;
/// The version that this program writes. Raised with each step that is added in schema.cpp.
inline constexpr std::int64_t schema_version = 1;

/// Makes an empty file a store of this version, and lifts an older one to it; one transaction for each step.
/// Returns the epoch. `unsupported` for a newer one, `corrupt` for the file of another application or a
/// schema that is not ours.
Result<std::string> prepare_schema(Database& database);

/// The same without changing anything: only a file of this version passes.
Result<std::string> check_schema(Database& database);

}  // namespace ironcore::store::sqlite
