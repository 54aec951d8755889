// SPDX-License-Identifier: Apache-2.0
// Staging: the changes of one group commit, before they are durable.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "head.hpp"
#include "leases.hpp"
#include "published.hpp"

namespace ironcore::store::local_store {

/// What staging works on; all of it outlives the staging. Used by the committing thread only, except for
/// `published` and `leases`.
struct Workplace {
  Head& head;
  Leases& leases;
  Published& published;
  Random& random;
  std::string& bodies;  ///< room for the JSON of one batch, kept from one to the next
};

/// One revision for each change, in order.
/// Thread: one.
class Staging {
 public:
  Staging(Workplace place, Revision last, Instant now, WallTime wall);

  const Object* find(const Key& key) const { return place_.head.find(key); }
  const Head& head() const noexcept { return place_.head; }
  Random& random() noexcept { return place_.random; }
  Instant now() const noexcept { return now_; }
  /// Whole seconds, as in Kubernetes.
  WallTime timestamp() const noexcept { return timestamp_; }
  /// Everything in the namespace, in order.
  std::vector<Key> keys_in(const std::string& namespace_) const;

  Revision last() const noexcept { return last_; }
  /// Of the next change: what its object must carry.
  Revision next() const noexcept { return {last_.value + 1}; }
  /// Adds or replaces what a writer wants. `exhausted` when it, or all that the transaction wants, is too large.
  Result<void> put(const Object& object);
  /// Replaces what a delete changes. Counts against no limit: however much is there, it must be possible to delete it.
  Result<void> put_consequence(const Object& object);
  /// Removes; `last_state` differs from the current one when the same write also changed it.
  Result<void> remove(const Object& last_state);

  Result<void> check_holder(const HoldsLease& precondition) const { return place_.leases.check_holder(precondition); }
  /// Takes a lease, or renews it after all. The result is complete only after `publish`.
  Result<Lease> acquire(const std::string& name, const std::string& holder, Duration time_to_live);
  Result<void> release(const std::string& name, std::uint64_t token);

  /// Returns how many changes were made so far.
  std::size_t begin_transaction();
  std::size_t size() const noexcept { return entries_.size(); }
  /// Takes all but the first `size` changes back.
  void roll_back(std::size_t size);

  /// For the journal; valid until the next change.
  std::vector<JournalRecord> records() const;
  /// Makes everything visible; it is durable now. Returns history that became too old, to be destroyed
  /// without a lock.
  std::vector<HistoryEntry> publish(const HistoryLimits& limits);

 private:
  /// The changes below find the JSON of their body at the end of `bodies` already. Its size:
  std::size_t write_body(const Object& object);
  void take_body_back(std::size_t size);
  void replace(const Object& object, std::size_t bytes);
  std::size_t bytes_of(const Object& object) const;
  void add(HistoryEntry entry);
  void add_lease(const std::string& name, Revision previous, LeaseTerms terms);

  struct StagedLease {
    std::string name;
    Revision revision;
    LeaseTerms terms;
  };

  Workplace place_;
  Revision first_;  ///< before anything was staged
  Revision last_;
  Instant now_;
  WallTime timestamp_;
  std::size_t wanted_bytes_ = 0;        ///< of this transaction's `put`s
  std::vector<HistoryEntry> entries_;   ///< one for each revision
  std::vector<std::size_t> body_ends_;  ///< in `bodies`, one for each revision
  std::vector<StagedLease> leases_;
};

}  // namespace ironcore::store::local_store
