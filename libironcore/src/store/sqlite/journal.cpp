// SPDX-License-Identifier: Apache-2.0
// Appending to, reading and thinning out the journal table.
#include "journal.hpp"

#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <vector>

#include "digest.hpp"
#include "ironcore/base/file.hpp"
#include "ironcore/store/sqlite.hpp"
#include "schema.hpp"

namespace ironcore::store::sqlite {

namespace {

std::int64_t digest_of(const JournalRecord& record) {
  Digest digest;
  digest.add(record.revision.value);
  digest.add(record.previous.value);
  digest.add(static_cast<std::uint64_t>(record.type));
  digest.add(record.resource);
  digest.add(record.namespace_);
  digest.add(record.name);
  digest.add(static_cast<std::uint64_t>(record.time));
  digest.add(record.body);
  return digest.value();
}

}  // namespace

Result<void> prepare_connection(Database& database) {
  // The cache is small because hardly anything is read twice, and pages are not mapped: an I/O error would be
  // a signal instead of an error.
  return database.execute(
      "PRAGMA trusted_schema = OFF; PRAGMA cell_size_check = ON; PRAGMA mmap_size = 0; PRAGMA cache_size = "
      "-1024; PRAGMA temp_store = MEMORY;");
}

Result<void> read_records(Database& database, const std::function<Result<void>(const JournalRecord&)>& each) {
  IRONCORE_TRY(auto statement, database.prepare("SELECT revision, previous, type, resource, namespace, name, "
                                                "time, digest, body FROM journal ORDER BY revision DESC"));
  while (true) {
    IRONCORE_TRY(const bool is_there, statement.step());
    if (!is_there) return {};
    JournalRecord record;
    record.revision = {static_cast<std::uint64_t>(statement.integer(0))};
    record.previous = {static_cast<std::uint64_t>(statement.integer(1))};
    const auto type = statement.integer(2);
    record.resource = statement.text(3);
    record.namespace_ = statement.text(4);
    record.name = statement.text(5);
    record.time = statement.integer(6);
    record.body = statement.text(8);
    const bool is_type_known = type >= 1 && type <= 3;
    record.type = is_type_known ? static_cast<JournalRecord::Type>(type) : JournalRecord::Type::object;
    if (!is_type_known || statement.integer(7) != digest_of(record))
      return Error(ErrorCode::corrupt, "store file " + database.file().string() + ": record " +
                                           std::to_string(record.revision.value) +
                                           " is damaged (its checksum is wrong): restore a backup");
    IRONCORE_CHECK(each(record));
  }
}

Result<std::unique_ptr<Journal>> SqliteJournal::create(Database database, std::optional<FileLock> lock,
                                                       std::string epoch, int checkpoint_pages) {
  std::unique_ptr<SqliteJournal> journal(
      new SqliteJournal(std::move(database), std::move(lock), std::move(epoch), checkpoint_pages));
  IRONCORE_CHECK(journal->prepare_statements());
  return std::unique_ptr<Journal>(std::move(journal));
}

SqliteJournal::~SqliteJournal() {
  statements_.reset();
}

Result<void> SqliteJournal::prepare_statements() {
  IRONCORE_TRY(auto begin, database_.prepare("BEGIN IMMEDIATE"));
  IRONCORE_TRY(auto commit, database_.prepare("COMMIT"));
  IRONCORE_TRY(auto roll_back, database_.prepare("ROLLBACK"));
  IRONCORE_TRY(auto insert, prepare_insert(database_));
  IRONCORE_TRY(auto forget, database_.prepare("DELETE FROM journal WHERE revision = ?1"));
  statements_.emplace(
      Statements{std::move(begin), std::move(commit), std::move(roll_back), std::move(insert), std::move(forget)});
  // A hook of our own also switches SQLite's own checkpoints off, which come at the end of a commit whatever
  // the situation.
  sqlite3_wal_hook(
      database_.handle(),
      [](void* self, sqlite3*, const char*, int frames) {
        static_cast<SqliteJournal*>(self)->log_frames_ = frames;
        return SQLITE_OK;
      },
      this);
  // What a crash left in the log goes into the file, so that the log is empty; unless somebody else reads it just now,
  // or there is no room: then it stays a while longer, and what is in it can be read at least.
  int done = 0;
  const int code =
      sqlite3_wal_checkpoint_v2(database_.handle(), nullptr, SQLITE_CHECKPOINT_TRUNCATE, &log_frames_, &done);
  if (code == SQLITE_OK && log_frames_ == 0) {
    make_room_in_log();
  } else if (code != SQLITE_OK) {
    const auto why = database_.error(code);
    if (code != SQLITE_BUSY && why.code() != ErrorCode::exhausted) return why;
    IRONCORE_TRY(log_frames_, frames_in_index());
  }
  checkpoint_at_ = checkpoint_pages_;
  return {};
}

Result<Statement> prepare_insert(Database& database) {
  return database.prepare(
      "INSERT INTO journal(revision, previous, type, resource, namespace, name, time, digest, body)"
      " VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)");
}

Result<void> insert_record(Statement& statement, const JournalRecord& record) {
  statement.bind(1, static_cast<std::int64_t>(record.revision.value));
  statement.bind(2, static_cast<std::int64_t>(record.previous.value));
  statement.bind(3, static_cast<std::int64_t>(record.type));
  statement.bind_text(4, record.resource);
  statement.bind_text(5, record.namespace_);
  statement.bind_text(6, record.name);
  statement.bind(7, record.time);
  statement.bind(8, digest_of(record));
  statement.bind_blob(9, record.body);
  return statement.run();
}

/// A commit that fails may have written everything and only failed to sync it: SQLite would find it in the
/// log after a crash, although its writer was told that it failed. So it is cut off.
template <class F>
Result<void> SqliteJournal::transact(F&& statements) {
  if (broken_) return *broken_;
  IRONCORE_TRY(const auto header, log_header());
  IRONCORE_CHECK(statements_->begin.run());
  Result<void> result = statements();
  if (result) result = statements_->commit.run();
  if (result) {
    checkpoint_if_due();
    return {};
  }
  // Some errors have rolled back already.
  if (sqlite3_get_autocommit(database_.handle()) == 0) (void)statements_->roll_back.run();
  if (auto cut = cut_log(header); !cut) {
    broken_ = Error(ErrorCode::unavailable, result.error().message() + "; then the log could not be repaired (" +
                                                cut.error().message() + "): nothing can be written before a restart");
    return Error(ErrorCode::timeout, broken_->message() + ", which will show whether the last write happened");
  }
  return result;
}

Result<void> SqliteJournal::append(std::span<const JournalRecord> records) {
  return transact([&]() -> Result<void> {
    for (const auto& record : records) IRONCORE_CHECK(insert_record(statements_->insert, record));
    return {};
  });
}

Result<void> SqliteJournal::forget(std::span<const Revision> revisions) {
  // Not synced: what is lost of it by a crash is forgotten again.
  IRONCORE_CHECK(database_.execute("PRAGMA synchronous = NORMAL"));
  auto result = transact([&]() -> Result<void> {
    for (const auto revision : revisions) {
      statements_->forget.bind(1, static_cast<std::int64_t>(revision.value));
      IRONCORE_CHECK(statements_->forget.run());
    }
    return {};
  });
  if (auto restored = database_.execute("PRAGMA synchronous = FULL"); !restored) {
    broken_ = restored.error();
    return restored;
  }
  return result;
}

/// Null when nothing was ever written to the log.
sqlite3_file* SqliteJournal::log_file() const {
  sqlite3_file* log = nullptr;
  const int code =
      sqlite3_file_control(database_.handle(), "main", SQLITE_FCNTL_JOURNAL_POINTER, static_cast<void*>(&log));
  return code == SQLITE_OK && log != nullptr && log->pMethods != nullptr ? log : nullptr;
}

/// Frames of the log that count, as its index says, in the byte order of this machine: for when a checkpoint failed, which
/// tells nothing then (https://www.sqlite.org/walformat.html#the_wal_index_file_format).
Result<int> SqliteJournal::frames_in_index() const {
  constexpr int region_size = 32 * 1024;
  constexpr std::size_t at = 16;
  sqlite3_file* file = nullptr;
  volatile void* index = nullptr;
  int code = sqlite3_file_control(database_.handle(), "main", SQLITE_FCNTL_FILE_POINTER, static_cast<void*>(&file));
  if (code == SQLITE_OK) code = file->pMethods->xShmMap(file, 0, region_size, 0, &index);
  if (code != SQLITE_OK) return database_.error(code);
  if (index == nullptr) return 0;
  std::uint32_t frames = 0;
  // Only we write it, and not now.
  std::memcpy(&frames, static_cast<const char*>(const_cast<const void*>(index)) + at, sizeof frames);
  return static_cast<int>(frames);
}

/// Writing into a file costs half the time of extending it, so the log gets its usual size now, of zeros,
/// which SQLite takes for an empty log; later it is overwritten from the beginning again and again. It is
/// also some room to go on with when the disk is full. Without success nothing is lost but time.
void SqliteJournal::make_room_in_log() {
  auto* log = log_file();
  const auto page_size = database_.integer_of("PRAGMA page_size");
  if (log == nullptr || !page_size) return;
  // The emptiness must be on the disk before the zeros: those alone could leave the beginning of the old log, which would
  // count again although the main file is newer.
  if (log->pMethods->xSync(log, SQLITE_SYNC_NORMAL) != SQLITE_OK) return;
  // SQLite's own VFS writes less than 128 KiB at a time, and of more only the remainder.
  const std::vector<char> zeros(64 * 1024);
  const auto size = 32 + static_cast<std::int64_t>(checkpoint_pages_) * (24 + *page_size);
  for (std::int64_t at = 0; at < size; at += static_cast<std::int64_t>(zeros.size())) {
    const auto count = std::min(static_cast<std::int64_t>(zeros.size()), size - at);
    if (log->pMethods->xWrite(log, zeros.data(), static_cast<int>(count), at) != SQLITE_OK) return;
  }
  (void)log->pMethods->xSync(log, SQLITE_SYNC_NORMAL);
}

/// Changes when the log starts anew.
auto SqliteJournal::log_header() const -> Result<LogHeader> {
  LogHeader header{};
  if (auto* log = log_file(); log != nullptr) {
    const int code = log->pMethods->xRead(log, header.data(), static_cast<int>(header.size()), 0);
    if (code != SQLITE_OK && code != SQLITE_IOERR_SHORT_READ) return database_.error(code);
  }
  return header;
}

/// Ends the write-ahead log after the last commit that succeeded. Format: a header of 32 bytes, then for each
/// page 24 bytes and the page (https://www.sqlite.org/fileformat2.html#walformat). If the failed commit has
/// started the log anew, nothing in it counts: everything before is in the main file, or SQLite would not
/// have started it anew.
Result<void> SqliteJournal::cut_log(const LogHeader& header_before) {
  auto* log = log_file();
  if (log == nullptr) return {};
  IRONCORE_TRY(const auto page_size, database_.integer_of("PRAGMA page_size"));
  IRONCORE_TRY(const auto header, log_header());
  if (header != header_before) log_frames_ = 0;
  const auto end = log_frames_ == 0 ? 0
                                    : static_cast<std::int64_t>(header.size()) +
                                          static_cast<std::int64_t>(log_frames_) * (24 + page_size);
  sqlite3_int64 size = 0;
  int code = log->pMethods->xFileSize(log, &size);
  if (code == SQLITE_OK && size > end) code = log->pMethods->xTruncate(log, end);
  if (code == SQLITE_OK) code = log->pMethods->xSync(log, SQLITE_SYNC_NORMAL);
  if (code != SQLITE_OK) return database_.error(code);
  return {};
}

/// Seldom enough that it does not show among single writes (one in hundreds waits for it), and soon enough
/// that opening after a crash takes no time. A failure changes nothing: the log goes on growing, and it is
/// tried again later.
void SqliteJournal::checkpoint_if_due() {
  if (log_frames_ < checkpoint_at_) return;
  int all = 0;
  int done = 0;
  const int code = sqlite3_wal_checkpoint_v2(database_.handle(), nullptr, SQLITE_CHECKPOINT_PASSIVE, &all, &done);
  // When everything is copied, the next commit starts the log anew. When a reader (a backup) stands in the
  // way, it grows meanwhile.
  checkpoint_at_ = code == SQLITE_OK && all == done ? checkpoint_pages_ : log_frames_ + checkpoint_pages_;
}

// ---- opening
// ------------------------------------------------------------------------------------------------------

namespace {

/// SQLite would make it with the permissions of the umask. Its log and index follow it.
Result<void> create_file(const std::filesystem::path& file) {
  const UniqueFd fd(::open(file.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
  if (!fd) {
    if (errno == EEXIST) return {};
    return system_error(errno, "create " + file.string());
  }
  return sync_directory(file.has_parent_path() ? file.parent_path() : std::filesystem::path("."));
}

}  // namespace

namespace {

Result<std::unique_ptr<Journal>> open_locked(const std::filesystem::path& file, const JournalOptions& options,
                                             std::optional<FileLock>& lock) {
  if (lock) IRONCORE_CHECK(create_file(file));
  IRONCORE_TRY(auto database, Database::open(file, Database::Access::create, options.vfs));
  IRONCORE_CHECK(prepare_connection(database));
  // Before anything is set that would change a file which is none of ours.
  IRONCORE_CHECK(check_origin(database));
  // Before the first table: it cannot be changed later. Objects have about a kibibyte, and one commit of many
  // should not be many pages.
  IRONCORE_CHECK(database.execute("PRAGMA page_size = 8192"));
  IRONCORE_TRY(const auto mode, database.text_of("PRAGMA journal_mode = WAL"));
  if (mode != "wal")
    return Error(
        ErrorCode::unsupported,
        "store file " + file.string() + ": this file system cannot share memory between processes: use a local one");
  IRONCORE_CHECK(database.execute(
      "PRAGMA synchronous = FULL; PRAGMA wal_autocheckpoint = 0; PRAGMA journal_size_limit = 67108864;"));
  IRONCORE_TRY(auto epoch, prepare_schema(database));
  return SqliteJournal::create(std::move(database), std::move(lock), std::move(epoch), options.checkpoint_pages);
}

}  // namespace

Result<std::unique_ptr<Journal>> open_journal(const std::filesystem::path& file, JournalOptions options) {
  std::optional<FileLock> lock;
  if (options.vfs.empty()) {
    IRONCORE_TRY(lock, FileLock::take(file));
  }
  auto journal = open_locked(file, options, lock);
  // Nothing of ours stays beside a file that is none of ours.
  if (!journal && lock) lock->undo();
  return journal;
}

Result<std::unique_ptr<LocalStore>> open(const std::filesystem::path& file, Clock& clock, Log& log,
                                         LocalStoreOptions options) {
  IRONCORE_TRY(auto journal, open_journal(file));
  return LocalStore::open(std::move(journal), options, clock, log);
}

}  // namespace ironcore::store::sqlite
