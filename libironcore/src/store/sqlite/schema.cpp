// SPDX-License-Identifier: Apache-2.0
// Steps from one schema version to the next.
#include "schema.hpp"

#include <array>

#include "ironcore/base/uid.hpp"

namespace ironcore::store::sqlite {

namespace {

/// Steps that were released are never changed.
constexpr std::array<const char*, 1> our_steps{{
    "CREATE TABLE meta(key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID;"
    "CREATE TABLE journal(revision INTEGER PRIMARY KEY, previous INTEGER NOT NULL, type INTEGER NOT NULL, "
    "resource TEXT NOT NULL,"
    " namespace TEXT NOT NULL, name TEXT NOT NULL, time INTEGER NOT NULL, digest INTEGER NOT NULL, body BLOB "
    "NOT NULL) STRICT;",
}};

/// What must be in a file of this version.
constexpr std::array<const char*, 2> tables{{"journal", "meta"}};

Error not_ours(const Database& database, std::string_view why) {
  return Error(ErrorCode::corrupt, "store file " + database.file().string() + ": " + std::string(why) +
                                       ": name the right file, or restore a backup");
}

Result<std::int64_t> recognised_version(Database& database, SchemaSteps steps) {
  const auto schema_version = static_cast<std::int64_t>(steps.size());
  IRONCORE_TRY(const auto application, database.integer_of("PRAGMA application_id"));
  IRONCORE_TRY(const auto version, database.integer_of("PRAGMA user_version"));
  IRONCORE_TRY(const auto objects, database.integer_of("SELECT count(*) FROM sqlite_schema"));
  if (application == 0 && version == 0 && objects == 0) return 0;
  if (application != application_id) return not_ours(database, "this is a database of another application");
  if (version > schema_version)
    return Error(ErrorCode::unsupported, "store file " + database.file().string() + " has schema version " +
                                             std::to_string(version) + ", this program knows up to " +
                                             std::to_string(schema_version) + ": use the newer program that wrote it");
  if (version < 1)
    return not_ours(database, "it has schema version " + std::to_string(version) + ", which never existed");
  return version;
}

Result<std::string> epoch_of(Database& database) {
  for (const auto* table : tables) {
    IRONCORE_TRY(const auto count,
                 database.integer_of("SELECT count(*) FROM sqlite_schema WHERE type = 'table' AND name = '" +
                                     std::string(table) + "'"));
    if (count != 1) return not_ours(database, "the table " + std::string(table) + " is missing");
  }
  IRONCORE_TRY(auto epoch, database.text_of("SELECT value FROM meta WHERE key = 'epoch'"));
  if (!Uid::parse(epoch)) return not_ours(database, "the epoch is missing");
  return epoch;
}

}  // namespace

SchemaSteps released_steps() noexcept {
  return our_steps;
}

Result<void> check_origin(Database& database, SchemaSteps steps) {
  IRONCORE_CHECK(recognised_version(database, steps));
  return {};
}

Result<std::string> prepare_schema(Database& database, SchemaSteps steps) {
  IRONCORE_TRY(auto version, recognised_version(database, steps));
  for (; version < static_cast<std::int64_t>(steps.size()); ++version) {
    std::string sql = "BEGIN IMMEDIATE;";
    sql += steps[static_cast<std::size_t>(version)];
    if (version == 0)
      sql += "PRAGMA application_id = " + std::to_string(application_id) + ";INSERT INTO meta VALUES('epoch', '" +
             Uid::random().to_text() + "');";
    sql += "PRAGMA user_version = " + std::to_string(version + 1) + ";COMMIT;";
    if (auto done = database.execute(sql); !done) {
      if (sqlite3_get_autocommit(database.handle()) == 0) (void)database.execute("ROLLBACK");
      return std::move(done).error();
    }
  }
  return epoch_of(database);
}

Result<std::string> check_schema(Database& database, SchemaSteps steps) {
  IRONCORE_TRY(const auto version, recognised_version(database, steps));
  if (version == 0) return not_ours(database, "it is empty");
  if (version < static_cast<std::int64_t>(steps.size()))
    return Error(ErrorCode::wrong_state, "store file " + database.file().string() + " has the older schema version " +
                                             std::to_string(version) +
                                             ": open it once with this program, which converts it");
  return epoch_of(database);
}

}  // namespace ironcore::store::sqlite
