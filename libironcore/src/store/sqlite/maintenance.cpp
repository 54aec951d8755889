// SPDX-License-Identifier: Apache-2.0
// Check, backup and restore of store files.
#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <system_error>

#include "database.hpp"
#include "file_lock.hpp"
#include "ironcore/base/file.hpp"
#include "ironcore/base/uid.hpp"
#include "ironcore/store/sqlite.hpp"
#include "journal.hpp"
#include "schema.hpp"

namespace ironcore::store::sqlite {

namespace {

namespace fs = std::filesystem;

/// The journal of a file that no store has open for writing; what it appends is durable only after `sync_file`.
class PlainJournal final : public Journal {
 public:
  PlainJournal(Database& database, std::string epoch) : database_(database), epoch_(std::move(epoch)) {}
  Result<void> load(const std::function<Result<void>(const JournalRecord&)>& each) override {
    return read_records(database_, each);
  }
  Result<void> append(std::span<const JournalRecord> records) override {
    IRONCORE_CHECK(database_.execute("BEGIN IMMEDIATE"));
    {
      IRONCORE_TRY(auto insert, prepare_insert(database_));
      for (const auto& record : records) IRONCORE_CHECK(insert_record(insert, record));
    }
    return database_.execute("COMMIT");
  }
  Result<void> forget(std::span<const Revision>) override {
    return Error(ErrorCode::unsupported, "history is forgotten by stores only");
  }
  const std::string& epoch() const override { return epoch_; }

 private:
  Database& database_;
  std::string epoch_;
};

Result<Database> open_existing(const fs::path& file) {
  std::error_code failed;
  const auto status = fs::status(file, failed);
  if (!fs::exists(status)) return Error(ErrorCode::not_found, "there is no store file " + file.string());
  if (!fs::is_regular_file(status)) return Error(ErrorCode::invalid, file.string() + " is not a file");
  IRONCORE_TRY(auto database, Database::open(file, Database::Access::write));
  IRONCORE_CHECK(prepare_connection(database));
  return database;
}

fs::path directory_of(const fs::path& file) {
  return file.has_parent_path() ? file.parent_path() : fs::path(".");
}

fs::path with_suffix(const fs::path& file, const char* suffix) {
  return file.string() + suffix;
}

Result<void> must_not_exist(const fs::path& file) {
  std::error_code failed;
  if (fs::exists(fs::symlink_status(file, failed)))
    return Error(ErrorCode::already_exists, file.string() + " exists: move it away, or use another name");
  return {};
}

/// Makes an empty file of mode 0600, which SQLite then fills. What an interrupted run left behind is
/// replaced.
Result<void> start_file(const fs::path& file) {
  (void)::unlink(file.c_str());
  const UniqueFd fd(::open(file.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
  if (!fd) return system_error(errno, "create " + file.string());
  return {};
}

Result<void> sync_file(const fs::path& file) {
  const UniqueFd fd(::open(file.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd || ::fsync(fd.get()) != 0) return system_error(errno, "sync " + file.string());
  return {};
}

/// Everything that is committed, as one compact file; not durable yet.
Result<void> copy_store(const fs::path& from, const fs::path& to) {
  IRONCORE_TRY(auto database, open_existing(from));
  IRONCORE_CHECK(check_schema(database));
  IRONCORE_CHECK(start_file(to));
  auto copied = [&]() -> Result<void> {
    IRONCORE_TRY(auto statement, database.prepare("VACUUM INTO ?1"));
    const auto target = to.string();
    statement.bind_text(1, target);
    return statement.run();
  }();
  if (!copied) (void)::unlink(to.c_str());
  return within(std::move(copied), "copy to " + to.string());
}

/// Of the newest record; 0 if the file is not there or cannot be read any more.
Revision newest_revision(const fs::path& file) {
  auto database = open_existing(file);
  if (!database || !check_schema(*database)) return {};
  const auto newest = database->integer_of("SELECT max(revision) FROM journal");
  return {newest ? static_cast<std::uint64_t>(*newest) : 0};
}

/// Makes the copy of a backup the beginning of another life: nothing that was given out in the one before, after the
/// backup, is right in it.
Result<void> begin_anew(const fs::path& fresh, Revision beyond) {
  IRONCORE_TRY(auto database, open_existing(fresh));
  const auto epoch = Uid::random().to_text();
  {
    IRONCORE_TRY(auto statement, database.prepare("UPDATE meta SET value = ?1 WHERE key = 'epoch'"));
    statement.bind_text(1, epoch);
    IRONCORE_CHECK(statement.run());
  }
  PlainJournal journal(database, epoch);
  return leave_behind(journal, beyond);
}

/// Renames unless `to` exists.
Result<void> publish_file(const fs::path& from, const fs::path& to) {
  if (::renameat2(AT_FDCWD, from.c_str(), AT_FDCWD, to.c_str(), RENAME_NOREPLACE) != 0) {
    if (errno == EEXIST) return must_not_exist(to);
    // Some file systems only know the plain rename.
    IRONCORE_CHECK(must_not_exist(to));
    if (::rename(from.c_str(), to.c_str()) != 0)
      return system_error(errno, "rename " + from.string() + " to " + to.string());
  }
  return sync_directory(directory_of(to));
}

}  // namespace

Result<void> check(const fs::path& file, const std::function<void(std::string_view)>& progress) {
  IRONCORE_TRY(auto database, open_existing(file));
  IRONCORE_TRY(auto epoch, check_schema(database));
  IRONCORE_CHECK(database.execute("BEGIN"));  // one moment of a store that may be in use
  if (progress) progress("checking every page");
  {
    std::string problems;
    IRONCORE_TRY(auto statement, database.prepare("PRAGMA integrity_check(10)"));
    while (true) {
      IRONCORE_TRY(const bool is_there, statement.step());
      if (!is_there) break;
      if (statement.text(0) != "ok") problems += (problems.empty() ? "" : "; ") + std::string(statement.text(0));
    }
    for (auto& c : problems)
      if (c == '\n') c = ' ';
    if (!problems.empty())
      return Error(ErrorCode::corrupt,
                   "store file " + file.string() + " is damaged: " + problems + ": restore a backup");
  }
  if (progress) progress("reading every record");
  PlainJournal journal(database, std::move(epoch));
  IRONCORE_TRY(const auto found, within(examine(journal), "store file " + file.string()));
  if (progress)
    progress(std::to_string(found.records) + " records: " + std::to_string(found.objects) + " objects, " +
             std::to_string(found.leases) + " leases, " + std::to_string(found.changes) +
             " changes of history, revision " + std::to_string(found.revision.value));
  return {};
}

Result<void> backup(const fs::path& file, const fs::path& target) {
  IRONCORE_CHECK(must_not_exist(target));
  const auto partial = with_suffix(target, ".partial");
  IRONCORE_CHECK(copy_store(file, partial));
  auto published = sync_file(partial);
  if (published) published = publish_file(partial, target);
  if (!published) (void)::unlink(partial.c_str());
  return published;
}

Result<void> restore(const fs::path& backup, const fs::path& file) {
  IRONCORE_CHECK(within(check(backup), "the backup cannot be used"));
  IRONCORE_TRY(const auto lock, FileLock::take(file));
  const auto kept = with_suffix(file, ".before-restore");
  const auto kept_log = with_suffix(file, ".before-restore-wal");
  IRONCORE_CHECK(must_not_exist(kept));
  IRONCORE_CHECK(must_not_exist(kept_log));
  const auto fresh = with_suffix(file, ".restoring");
  IRONCORE_CHECK(copy_store(backup, fresh));
  IRONCORE_CHECK(begin_anew(fresh, newest_revision(file)));
  IRONCORE_CHECK(sync_file(fresh));

  std::error_code failed;
  if (fs::exists(file, failed)) {
    // Whole files need no log: it is copied into the file now if that is possible, otherwise it is kept
    // beside it.
    if (auto old = open_existing(file)) (void)old->execute("PRAGMA wal_checkpoint(TRUNCATE)");
    const auto log = with_suffix(file, "-wal");
    if (fs::exists(log, failed) && ::rename(log.c_str(), kept_log.c_str()) != 0)
      return system_error(errno, "rename " + log.string());
    (void)::unlink(with_suffix(file, "-shm").c_str());
    // A second name first, then the replacement: at no moment is there no store, which would be taken for a
    // new one.
    if (::link(file.c_str(), kept.c_str()) != 0 && !fs::copy_file(file, kept, failed))
      return system_error(failed.value(), "keep " + file.string() + " as " + kept.string());
  }
  if (::rename(fresh.c_str(), file.c_str()) != 0)
    return system_error(errno, "rename " + fresh.string() + " to " + file.string());
  return sync_directory(directory_of(file));
}

}  // namespace ironcore::store::sqlite
