// SPDX-License-Identifier: Apache-2.0
// Calls of SQLite, and the one place where its errors become ours.
#include "database.hpp"

#include <cerrno>
#include <system_error>

namespace ironcore::store::sqlite {

namespace {

/// Another program that looks into the file (a shell, a backup tool) may hold it for a moment.
constexpr int patience_in_ms = 5000;

Error translated(int code, int system_error, const char* text, const std::filesystem::path& file) {
  const auto where = "store file " + file.string() + ": ";
  std::string why = text != nullptr ? text : "unknown error";
  // SQLite's own errno is only fresh after these.
  const int primary = code & 0xff;
  if ((primary == SQLITE_IOERR || primary == SQLITE_CANTOPEN) && system_error != 0)
    why += " (" + std::generic_category().message(system_error) + ")";
  switch (primary) {
    case SQLITE_FULL:
      return Error(ErrorCode::exhausted,
                   where + "the disk is full: make room, then try again; what was written before is safe");
    case SQLITE_IOERR:
      if (system_error == ENOSPC || system_error == EDQUOT || system_error == EFBIG)
        return Error(ErrorCode::exhausted,
                     where + why + ": make room or raise the limit, then try again; what was written before is safe");
      return Error(ErrorCode::unavailable, where + why + ": check the disk and the kernel log, then restart");
    case SQLITE_CORRUPT:
      return Error(ErrorCode::corrupt, where + why + ": it is damaged; restore a backup");
    case SQLITE_NOTADB:
      return Error(
          ErrorCode::corrupt,
          where + "this is not a store, or its beginning is damaged: name the right file, or restore a backup");
    case SQLITE_CANTOPEN:
    case SQLITE_PERM:
    case SQLITE_AUTH:
      return Error(ErrorCode::forbidden, where + why +
                                             ": check that it can be read and written by the user that this "
                                             "program runs as, and its directory too");
    case SQLITE_READONLY:
      return Error(ErrorCode::forbidden,
                   where + "cannot be written: check the permissions of the file and of its directory");
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
      return Error(ErrorCode::unavailable, where + "another program keeps it locked: end that program, then try again");
    case SQLITE_NOMEM:
      return Error(ErrorCode::exhausted, where + "out of memory");
    case SQLITE_TOOBIG:
      return Error(ErrorCode::exhausted, where + "a record is too large");
    default:
      return Error(ErrorCode::internal, where + why);
  }
}

}  // namespace

void Statement::bind_text(int index, std::string_view value) noexcept {
  // A null pointer would be NULL instead of an empty text.
  sqlite3_bind_text64(statement_.get(), index, value.empty() ? "" : value.data(), value.size(), SQLITE_STATIC,
                      SQLITE_UTF8);
}

void Statement::bind_blob(int index, std::string_view value) noexcept {
  sqlite3_bind_blob64(statement_.get(), index, value.empty() ? "" : value.data(), value.size(), SQLITE_STATIC);
}

Result<bool> Statement::step() {
  const int code = sqlite3_step(statement_.get());
  if (code == SQLITE_ROW) return true;
  if (code == SQLITE_DONE) return false;
  return database_->error(code);
}

Result<void> Statement::run() {
  const int code = sqlite3_step(statement_.get());
  if (code == SQLITE_DONE || code == SQLITE_ROW) {
    sqlite3_reset(statement_.get());
    return {};
  }
  auto error = database_->error(code);
  sqlite3_reset(statement_.get());
  return error;
}

std::string_view Statement::text(int column) const noexcept {
  const void* data = sqlite3_column_blob(statement_.get(), column);
  if (data == nullptr) return {};
  return {static_cast<const char*>(data), static_cast<std::size_t>(sqlite3_column_bytes(statement_.get(), column))};
}

Result<Database> Database::open(const std::filesystem::path& file, Access access, const std::string& vfs) {
  sqlite3* raw = nullptr;
  const int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE |
                    (access == Access::create ? SQLITE_OPEN_CREATE : 0);
  const int code = sqlite3_open_v2(file.c_str(), &raw, flags, vfs.empty() ? nullptr : vfs.c_str());
  Database database(std::unique_ptr<sqlite3, Close>(raw), file);
  if (code != SQLITE_OK) return database.error(code);
  sqlite3_busy_timeout(raw, patience_in_ms);
  return database;
}

Result<void> Database::execute(const std::string& sql) {
  const int code = sqlite3_exec(handle_.get(), sql.c_str(), nullptr, nullptr, nullptr);
  if (code != SQLITE_OK) return error(code);
  return {};
}

Result<Statement> Database::prepare(std::string_view sql) {
  sqlite3_stmt* raw = nullptr;
  const int code = sqlite3_prepare_v3(handle_.get(), sql.data(), static_cast<int>(sql.size()),
                                      SQLITE_PREPARE_PERSISTENT, &raw, nullptr);
  if (code != SQLITE_OK) return error(code);
  return Statement(*this, raw);
}

Result<std::string> Database::text_of(const std::string& sql) {
  IRONCORE_TRY(auto statement, prepare(sql));
  IRONCORE_TRY(const bool is_there, statement.step());
  return is_there ? std::string(statement.text(0)) : std::string();
}

Result<std::int64_t> Database::integer_of(const std::string& sql) {
  IRONCORE_TRY(auto statement, prepare(sql));
  IRONCORE_TRY(const bool is_there, statement.step());
  return is_there ? statement.integer(0) : 0;
}

Error Database::error(int code) const {
  if (handle_ == nullptr) return translated(SQLITE_NOMEM, 0, nullptr, file_);
  return translated(code, sqlite3_system_errno(handle_.get()), sqlite3_errmsg(handle_.get()), file_);
}

}  // namespace ironcore::store::sqlite
