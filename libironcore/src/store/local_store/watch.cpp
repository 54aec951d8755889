// SPDX-License-Identifier: Apache-2.0
// LocalWatch: a place in the history, and the question which changes concern the query.
#include <algorithm>
#include <utility>

#include "published.hpp"

namespace ironcore::store::local_store {

namespace {

/// After this many changes of no concern the reader is told how far it is, so that it can continue from
/// there.
constexpr std::uint64_t bookmark_interval = 1000;
/// Looked at, and copied for filtering, in one go under the lock.
constexpr std::size_t changes_looked_at = 4096;
constexpr std::size_t changes_copied = 256;

class LocalWatch final : public Watch {
 public:
  LocalWatch(std::shared_ptr<Published> published, Query query, Revision at, Clock& clock)
      : published_(std::move(published)), query_(std::move(query)), at_(at), told_(at), clock_(clock) {}

  /// Delivers these first, then a bookmark.
  void begin_with(Table::Snapshot snapshot) {
    snapshot.for_each([&](const Object& object) {
      if (query_.matches(object)) initial_.push_back(object);
      return true;
    });
    is_initial_ = true;
  }

  Result<std::vector<Change>> next(Instant deadline, std::stop_token stop, std::size_t limit) override {
    std::vector<Change> changes;
    if (limit == 0) return changes;
    {
      const std::lock_guard lock(published_->mutex);
      if (published_->is_closed) return closed();
    }
    if (is_initial_) return next_initial(limit);
    std::vector<HistoryEntry> candidates;
    while (true) {
      {
        std::unique_lock lock(published_->mutex);
        // Not the clock of a store that is gone: it may be gone too.
        if (published_->is_closed) return closed();
        if (published_->revision <= at_) {
          if (!changes.empty()) return changes;
          sleep(lock, deadline, stop);
          if (published_->is_closed) return closed();
          if (published_->revision <= at_) return changes;
        }
        if (!published_->history.reaches_back_to(at_)) {
          if (!changes.empty()) return changes;  // the next call says gone
          return history_is_gone(at_, published_->history);
        }
        collect(limit - changes.size(), candidates);
      }
      for (auto& entry : candidates) filter(std::move(entry), changes);
      candidates.clear();
      if (!changes.empty()) told_ = changes.back().revision;
      if (changes.size() < limit && at_.value - told_.value >= bookmark_interval) {
        changes.push_back({Change::Type::bookmark, at_, std::nullopt});
        told_ = at_;
        return changes;
      }
      if (changes.size() == limit) return changes;
    }
  }

 private:
  void sleep(std::unique_lock<std::mutex>& lock, Instant deadline, std::stop_token stop) {
    self_.wake_at = {told_.value + bookmark_interval};
    self_.is_due = false;
    published_->sleepers.push_back(&self_);
    clock_.wait(lock, self_.due, std::move(stop), deadline,
                [&] { return published_->is_closed || published_->revision > at_; });
    std::erase(published_->sleepers, &self_);
  }

  static Error closed() { return Error(ErrorCode::cancelled, "the store was closed"); }

  Result<std::vector<Change>> next_initial(std::size_t limit) {
    std::vector<Change> changes;
    while (changes.size() < limit && delivered_ < initial_.size()) {
      auto& object = initial_[delivered_++];
      const auto revision = object.metadata().resource_version;
      changes.push_back({Change::Type::added, revision, std::move(object)});
    }
    if (changes.size() < limit) {
      changes.push_back({Change::Type::bookmark, at_, std::nullopt});
      initial_ = {};
      is_initial_ = false;
    }
    return changes;
  }

  /// Moves on over the history and copies what is of the kind.
  void collect(std::size_t limit, std::vector<HistoryEntry>& candidates) {
    const auto last = published_->revision;
    for (std::size_t looked_at = 0;
         at_ < last && looked_at < changes_looked_at && candidates.size() < std::min(limit, changes_copied);
         ++looked_at) {
      ++at_.value;
      const auto& entry = published_->history[at_];
      if (entry.object && &entry.object->kind() == query_.kind) candidates.push_back(entry);
    }
  }

  /// What a change of an object means to somebody who only sees what matches.
  void filter(HistoryEntry entry, std::vector<Change>& changes) const {
    const bool was_there = entry.previous && query_.matches(*entry.previous);
    const bool is_there = entry.type != Change::Type::deleted && query_.matches(*entry.object);
    if (is_there) {
      changes.push_back(
          {was_there ? Change::Type::modified : Change::Type::added, entry.revision, std::move(entry.object)});
    } else if (was_there) {
      changes.push_back({Change::Type::deleted, entry.revision, std::move(entry.object)});
    }
  }

  std::shared_ptr<Published> published_;
  Query query_;
  Revision at_;    ///< everything up to here was looked at
  Revision told_;  ///< up to here the reader knows that
  Sleeper self_{.kind = query_.kind, .at = at_, .wake_at = {}, .due = {}};
  Clock& clock_;
  bool is_initial_ = false;
  std::vector<Object> initial_;
  std::size_t delivered_ = 0;
};

}  // namespace

Error history_is_gone(Revision from, const History& history) {
  if (from > history.last())
    return Error(ErrorCode::gone, "revision " + std::to_string(from.value) + " is ahead of the store, which is at " +
                                      std::to_string(history.last().value) + " (was it restored?): list again");
  return Error(ErrorCode::gone, "changes after revision " + std::to_string(from.value) +
                                    " are no longer kept, the oldest kept one is " +
                                    std::to_string(history.first().value) + ": list again");
}

Result<std::unique_ptr<Watch>> open_watch(std::shared_ptr<Published> published, Query query, Revision from,
                                          Clock& clock) {
  if (from == Revision{}) {
    IRONCORE_TRY(auto view, published->view(query, nullptr, static_cast<std::size_t>(-1)));
    auto watch = std::make_unique<LocalWatch>(std::move(published), std::move(query), view.revision, clock);
    watch->begin_with(std::move(view.objects));
    return std::unique_ptr<Watch>(std::move(watch));
  }
  IRONCORE_CHECK(query.check());
  {
    const std::lock_guard lock(published->mutex);
    if (published->tables_of(*query.kind) == nullptr)
      return Error(ErrorCode::unsupported, "this store does not know the kind " + query.kind->resource());
    if (!published->history.reaches_back_to(from)) return history_is_gone(from, published->history);
  }
  return std::unique_ptr<Watch>(std::make_unique<LocalWatch>(std::move(published), std::move(query), from, clock));
}

}  // namespace ironcore::store::local_store
