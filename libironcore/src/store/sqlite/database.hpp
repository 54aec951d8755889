// SPDX-License-Identifier: Apache-2.0
// One SQLite connection and its statements, with errors that say what to do.
#pragma once

#include <sqlite3.h>

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>

#include "ironcore/base/result.hpp"

namespace ironcore::store::sqlite {

class Database;

/// A prepared statement. Bound text must live until the statement is reset. Thread: one.
class Statement {
 public:
  void bind(int index, std::int64_t value) noexcept { sqlite3_bind_int64(statement_.get(), index, value); }
  void bind_text(int index, std::string_view value) noexcept;
  void bind_blob(int index, std::string_view value) noexcept;

  /// True while there is a row.
  Result<bool> step();
  /// One step, no row expected; then ready to be bound again.
  Result<void> run();
  void reset() noexcept { sqlite3_reset(statement_.get()); }

  std::int64_t integer(int column) const noexcept { return sqlite3_column_int64(statement_.get(), column); }
  std::string_view text(int column) const noexcept;

 private:
  friend class Database;
  struct Finalize {
    void operator()(sqlite3_stmt* statement) const noexcept { sqlite3_finalize(statement); }
  };
  Statement(Database& database, sqlite3_stmt* statement) : database_(&database), statement_(statement) {}
  Database* database_;
  std::unique_ptr<sqlite3_stmt, Finalize> statement_;
};

/// Must outlive its statements. Thread: one.
class Database {
 public:
  enum class Access {
    create,  ///< made if it is not there
    write,   ///< must be there
  };
  static Result<Database> open(const std::filesystem::path& file, Access access, const std::string& vfs = {});
  Database(Database&&) = default;
  Database& operator=(Database&&) = default;

  /// One or more statements without parameters.
  Result<void> execute(const std::string& sql);
  Result<Statement> prepare(std::string_view sql);
  /// The first column of the first row; empty if there is no row.
  Result<std::string> text_of(const std::string& sql);
  Result<std::int64_t> integer_of(const std::string& sql);

  /// The last failed call as an Error.
  Error error(int code) const;
  sqlite3* handle() const noexcept { return handle_.get(); }
  const std::filesystem::path& file() const noexcept { return file_; }

 private:
  struct Close {
    void operator()(sqlite3* handle) const noexcept { sqlite3_close_v2(handle); }
  };
  Database(std::unique_ptr<sqlite3, Close> handle, std::filesystem::path file)
      : handle_(std::move(handle)), file_(std::move(file)) {}
  std::unique_ptr<sqlite3, Close> handle_;
  std::filesystem::path file_;
};

}  // namespace ironcore::store::sqlite
