// SPDX-License-Identifier: Apache-2.0
// LocalStore: all objects in this process's memory, every write made durable by a Journal before it is
// acknowledged.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "ironcore/base/log.hpp"
#include "ironcore/base/random.hpp"
#include "ironcore/store/store.hpp"

namespace ironcore::store {

/// One line of history: an object's new state, its removal, or a lease's new holder. The texts are borrowed
/// for the call that it is given to.
struct JournalRecord {
  enum class Type : std::uint8_t { object = 1, removed = 2, lease = 3 };
  Revision revision;  ///< every number is used once, none is left out
  Revision previous;  ///< the record that this one supersedes; 0 = there is none
  Type type = Type::object;
  std::string_view resource;  ///< `machines.compute.ironcore.dev`; empty for leases
  std::string_view namespace_;
  std::string_view name;  ///< of the object or the lease
  /// object: canonical JSON; removed: the last state, empty when it is that of `previous`; lease: holder and
  /// time to live as JSON
  std::string_view body;
  std::int64_t time = 0;  ///< wall clock, seconds since 1970: for retention by age
};

/// Where history is kept. The log is the database: an object's state is its newest record. Thread: one at a
/// time, except `epoch` (any).
class Journal {
 public:
  virtual ~Journal() = default;
  /// Hands every kept record to `each`, newest first, so that the first one seen of a name is its state.
  virtual Result<void> load(const std::function<Result<void>(const JournalRecord&)>& each) = 0;
  /// All records or none, durable when it returns. After an error nothing of them may ever appear.
  virtual Result<void> append(std::span<const JournalRecord> records) = 0;
  /// Forgets these records; they are superseded and older than the history that is kept. Need not be durable
  /// at once.
  virtual Result<void> forget(std::span<const Revision> revisions) = 0;
  /// As `LocalStore::epoch`.
  virtual const std::string& epoch() const = 0;
};

struct JournalContents {
  std::size_t records = 0;
  std::size_t objects = 0;
  std::size_t leases = 0;
  std::size_t changes = 0;  ///< of history, for watches
  Revision revision;        ///< of the newest record
};
/// Reads and decodes every record, as opening a store does; `corrupt` names the first one that is wrong.
Result<JournalContents> examine(Journal& journal);

/// What the restore of a backup ends with, on a journal that no store has open: every revision from now on is far
/// beyond `beyond` and everything in the journal, so that no revision, watch or lease token that was given out after
/// the backup was made is ever right again; and nobody holds a lease.
Result<void> leave_behind(Journal& journal, Revision beyond);

/// Keeps nothing: for tests, simulations and scratch stores.
std::unique_ptr<Journal> memory_journal();

struct LocalStoreOptions {
  std::size_t history_changes = 100'000;  ///< changes kept for watches, at most
  /// And not more than about this: what nothing but the history still holds, as JSON. A restart may count less.
  std::size_t history_bytes = 256 * 1024 * 1024;
  Duration history_age = std::chrono::hours(1);  ///< and not longer than this
  std::size_t events_limit = 10'000;             ///< Event objects kept, at most; the oldest go first
  Duration events_age = std::chrono::hours(24);  ///< and not longer than this
  /// Of uids and generated names; null = the kernel's. Must outlive the store; is used by one thread at a
  /// time.
  Random* random = nullptr;
};

/// The engine behind the `memory` and `sqlite` bodies. Concurrent commits share one Journal append (group
/// commit); readers see only what is durable and are never blocked by it. Objects are kept decoded. Thread:
/// any.
class LocalStore : public Store {
 public:
  /// Loads the journal. `corrupt` names what is damaged. `clock` and `log` must outlive the store.
  static Result<std::unique_ptr<LocalStore>> open(std::unique_ptr<Journal> journal, LocalStoreOptions options,
                                                  Clock& clock, Log& log);

  /// Independent transactions with one append for all of them: what a server does with the requests that it
  /// finds waiting. Objects to create are taken over without a copy when nobody else has them.
  virtual std::vector<Result<Committed>> commit_all(std::vector<Transaction> transactions) = 0;

  /// Calls `wake` after every publication of changes, on the committing thread; must not block. For servers
  /// that poll. There is one: another one replaces it, an empty one removes it. When this returns, the one
  /// before is not running and will not be called again.
  virtual void on_change(std::function<void()> wake) = 0;

  /// Applies the retention limits; call it now and then (a daemon: every minute). Between the calls, events
  /// and journal grow.
  virtual Result<void> collect() = 0;

  /// A random id made when the data was created, changed when a backup is restored: revisions of different
  /// epochs do not compare.
  virtual const std::string& epoch() const = 0;

  /// Raw changes of all kinds for publication: those after `from`, at most `limit`, with the object before,
  /// if there was one. `gone` as in watch. `type` is added, modified or deleted.
  struct RawChange {
    Change::Type type;
    Revision revision;
    Object object;  ///< new state, or the last one when deleted
    std::optional<Object> previous;
  };
  virtual Result<std::vector<RawChange>> changes(Revision from, std::size_t limit) = 0;
};

/// A LocalStore on `memory_journal`.
std::unique_ptr<LocalStore> memory_store(Clock& clock, Log& log, LocalStoreOptions options = {});

}  // namespace ironcore::store
