// SPDX-License-Identifier: Apache-2.0
// Published: what readers see, which is what is durable: the objects, and the history of changes that watches
// read.
#pragma once

#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "ironcore/store/local_store.hpp"
#include "table.hpp"

namespace ironcore::store::local_store {

/// One revision. A change of a lease is one without objects.
struct HistoryEntry {
  Change::Type type = Change::Type::modified;
  std::int64_t time = 0;  ///< as in JournalRecord
  Revision revision;
  Revision previous_revision;  ///< as in JournalRecord
  std::optional<Object> object;
  std::optional<Object> previous;
  std::size_t object_bytes = 0;  ///< of `object`, as JSON
  /// Of what nothing but the history holds once this is history: the state before, and the last one of what is gone.
  std::size_t held_bytes = 0;
};

/// As in LocalStoreOptions.
struct HistoryLimits {
  std::size_t changes;
  std::size_t bytes;
};

/// The newest changes without a gap: entry i has revision `first + i`.
class History {
 public:
  /// Revision of the oldest entry; that of the next change when there is none.
  Revision first() const noexcept { return first_; }
  Revision last() const noexcept { return {first_.value + entries_.size() - 1}; }
  std::size_t size() const noexcept { return entries_.size(); }
  /// The newest change stays even if it is too large.
  bool is_over(const HistoryLimits& limits) const noexcept {
    return size() > limits.changes || (size() > 1 && bytes_ > limits.bytes);
  }
  /// Every change after `from` is here.
  bool reaches_back_to(Revision from) const noexcept { return from.value + 1 >= first_.value && from <= last(); }
  const HistoryEntry& operator[](Revision revision) const { return entries_[revision.value - first_.value]; }
  const HistoryEntry& front() const { return entries_.front(); }

  void start_at(Revision first) noexcept { first_ = first; }
  void push(HistoryEntry entry);
  HistoryEntry pop();

 private:
  Revision first_{1};
  std::deque<HistoryEntry> entries_;
  std::size_t bytes_ = 0;
};

/// All objects of one kind, and those of each placement (`KindInfo::placement`), if the kind has one.
struct KindTables {
  const api::Kind* kind;
  std::string resource;  ///< of the kind
  Table all;
  std::unordered_map<std::string, Table> placed;
};

/// A watch that has looked at everything and sleeps. Changes of no concern pass it by without waking it up.
struct Sleeper {
  const api::Kind* kind;
  Revision& at;      ///< moves on with what passes by
  Revision wake_at;  ///< whatever that one is
  bool is_due = false;
  std::condition_variable_any due;
};

/// The name of the value that the kind is placed by; an object that is not placed has an empty one.
std::string placement_of(const Object& object);

/// Shared by the store and its watches, which may live longer. Everything is guarded by `mutex`, except that
/// the committing thread, being the only one that writes, reads `tables` without it.
struct Published {
  std::mutex mutex;
  std::vector<Sleeper*> sleepers;
  bool is_closed = false;
  Revision revision;
  std::vector<KindTables> tables;
  History history;

  Published();
  KindTables* tables_of(const api::Kind& kind);
  /// Puts one change into the tables and the history.
  void apply(HistoryEntry entry);
  /// Those sleepers that the changes since the last time concern.
  void wake_up();
  /// Everybody, for ever.
  void close();

  /// The objects that can match, and the revision of the moment. The caller filters, without the lock.
  /// `unsupported` for a foreign kind.
  struct View {
    Table::Snapshot objects;
    Revision revision;
  };
  Result<View> view(const Query& query, const NameView* after, std::size_t enough);
};

/// A watch on `from`; see Store::watch.
Result<std::unique_ptr<Watch>> open_watch(std::shared_ptr<Published> published, Query query, Revision from,
                                          Clock& clock);

Error history_is_gone(Revision from, const History& history);

}  // namespace ironcore::store::local_store
