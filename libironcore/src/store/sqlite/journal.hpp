// SPDX-License-Identifier: Apache-2.0
// SqliteJournal: the table `journal` of a store file.
#pragma once

#include <array>
#include <cstddef>
#include <optional>
#include <string>
#include <utility>

#include "database.hpp"
#include "file_lock.hpp"
#include "ironcore/store/local_store.hpp"

namespace ironcore::store::sqlite {

/// Settings of every connection that reads a store file.
Result<void> prepare_connection(Database& database);

/// Calls `each` for every record, newest first; `corrupt` for one whose digest is wrong.
Result<void> read_records(Database& database, const std::function<Result<void>(const JournalRecord&)>& each);

/// A statement for `insert_record`.
Result<Statement> prepare_insert(Database& database);
Result<void> insert_record(Statement& statement, const JournalRecord& record);

/// Thread: one at a time.
class SqliteJournal final : public Journal {
 public:
  /// The connection is set up, its schema is that of this version.
  static Result<std::unique_ptr<Journal>> create(Database database, std::optional<FileLock> lock, std::string epoch,
                                                 int checkpoint_pages);
  ~SqliteJournal() override;

  Result<void> load(const std::function<Result<void>(const JournalRecord&)>& each) override {
    return read_records(database_, each);
  }
  Result<void> append(std::span<const JournalRecord> records) override;
  Result<void> forget(std::span<const Revision> revisions) override;
  const std::string& epoch() const override { return epoch_; }

 private:
  SqliteJournal(Database database, std::optional<FileLock> lock, std::string epoch, int checkpoint_pages)
      : lock_(std::move(lock)),
        database_(std::move(database)),
        epoch_(std::move(epoch)),
        checkpoint_pages_(checkpoint_pages) {}
  Result<void> prepare_statements();
  /// Runs `statements` as one transaction.
  template <class F>
  Result<void> transact(F&& statements);
  sqlite3_file* log_file() const;
  Result<int> frames_in_index() const;
  void make_room_in_log();
  using LogHeader = std::array<char, 32>;
  Result<LogHeader> log_header() const;
  Result<void> cut_log(const LogHeader& header_before);
  void checkpoint_if_due();

  std::optional<FileLock> lock_;  ///< given up last
  Database database_;
  std::string epoch_;
  struct Statements {
    Statement begin, commit, roll_back, insert, forget;
  };
  std::optional<Statements> statements_;
  std::optional<Error> broken_;  ///< why nothing can be written any more

  int log_frames_ = 0;  ///< of the write-ahead log after the last commit that succeeded
  const int checkpoint_pages_;
  int checkpoint_at_ = 0;  ///< frames
};

}  // namespace ironcore::store::sqlite
