// SPDX-License-Identifier: Apache-2.0
// Versions of the store file: from one to the next, a crash between them, and what a check says of an older one.
#include "schema.hpp"

#include <doctest/doctest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <vector>

#include "objects.hpp"
#include "temporary_directory.hpp"

using namespace ironcore;
using namespace ironcore::test;
using namespace ironcore::store::sqlite;

namespace {

/// This program's steps, and the one of a release to come.
std::vector<const char*> with_step(const char* next) {
  const auto steps = released_steps();
  std::vector<const char*> result(steps.begin(), steps.end());
  result.push_back(next);
  return result;
}

constexpr const char* next_step =
    "CREATE TABLE extra(x INTEGER) STRICT; INSERT INTO extra SELECT length(value) FROM meta WHERE key = 'epoch';";

Database opened(const std::filesystem::path& file) {
  return Database::open(file, Database::Access::create).value();
}

std::int64_t version_of(Database& database) {
  return database.integer_of("PRAGMA user_version").value();
}

}  // namespace

TEST_CASE("a file of an older version is lifted to the newer one, and keeps what it has") {
  const TemporaryDirectory directory;
  auto database = opened(directory.path() / "store.db");
  const auto epoch = prepare_schema(database).value();
  const auto released = version_of(database);
  const auto steps = with_step(next_step);
  CHECK(prepare_schema(database, steps).value() == epoch);
  CHECK(version_of(database) == released + 1);
  CHECK(database.integer_of("SELECT x FROM extra").value() == 36);
  CHECK_MESSAGE(prepare_schema(database, steps).value() == epoch, "once is enough");
  CHECK(check_schema(database, steps).value() == epoch);
  CHECK_MESSAGE(code_of(prepare_schema(database)) == ErrorCode::unsupported, "the older program refuses it");
  CHECK(code_of(check_schema(database)) == ErrorCode::unsupported);
}

TEST_CASE("a new file goes through all versions") {
  const TemporaryDirectory directory;
  auto database = opened(directory.path() / "store.db");
  const auto steps = with_step(next_step);
  CHECK(prepare_schema(database, steps).has_value());
  CHECK(version_of(database) == static_cast<std::int64_t>(steps.size()));
  CHECK(database.integer_of("SELECT count(*) FROM extra").value() == 1);
}

TEST_CASE("an older file is not checked but named as one that is converted by opening it") {
  const TemporaryDirectory directory;
  auto database = opened(directory.path() / "store.db");
  REQUIRE(prepare_schema(database).has_value());
  const auto steps = with_step(next_step);
  const auto checked = check_schema(database, steps);
  REQUIRE(code_of(checked) == ErrorCode::wrong_state);
  CHECK(checked.error().message().find("open it once") != std::string::npos);
  CHECK(version_of(database) == static_cast<std::int64_t>(released_steps().size()));
  CHECK(check_origin(database, steps).has_value());
}

TEST_CASE("a step that fails leaves the older version as it was") {
  const TemporaryDirectory directory;
  auto database = opened(directory.path() / "store.db");
  const auto epoch = prepare_schema(database).value();
  const auto released = version_of(database);
  CHECK(prepare_schema(database, with_step("CREATE TABLE extra(x); SELECT x FROM nowhere;")).has_error());
  CHECK(version_of(database) == released);
  CHECK(database.integer_of("SELECT count(*) FROM sqlite_schema WHERE name = 'extra'").value() == 0);
  CHECK(check_schema(database).value() == epoch);
  CHECK(prepare_schema(database, with_step(next_step)).value() == epoch);
}

TEST_CASE("a crash inside a step leaves the older version, which is lifted by the next start") {
  const TemporaryDirectory directory;
  const auto file = directory.path() / "store.db";
  std::string mode = "DELETE";
  SUBCASE("with a rollback journal") {}
  SUBCASE("with a write-ahead log") {
    mode = "WAL";
  }
  std::string epoch;
  {
    auto database = opened(file);
    REQUIRE(database.execute("PRAGMA journal_mode = " + mode).has_value());
    epoch = prepare_schema(database).value();
  }
  const auto child = fork();
  REQUIRE(child >= 0);
  if (child == 0) {
    auto database = opened(file);
    sqlite3_create_function(
        database.handle(), "crash", 0, SQLITE_UTF8, nullptr, [](sqlite3_context*, int, sqlite3_value**) { _exit(42); },
        nullptr, nullptr);
    (void)prepare_schema(database, with_step("CREATE TABLE extra(x INTEGER) STRICT; DROP TABLE journal;"
                                             "SELECT crash();"));
    _exit(1);
  }
  int status = 0;
  REQUIRE(waitpid(child, &status, 0) == child);
  REQUIRE(WIFEXITED(status));
  REQUIRE(WEXITSTATUS(status) == 42);
  auto database = opened(file);
  CHECK(check_schema(database).value() == epoch);
  CHECK(prepare_schema(database, with_step(next_step)).value() == epoch);
  CHECK(database.integer_of("SELECT x FROM extra").value() == 36);
}
