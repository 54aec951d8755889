// SPDX-License-Identifier: Apache-2.0
// Leases: who holds what. Changes of holder come from the journal, renewals stay here.
#pragma once

#include <cstdint>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "ironcore/store/store.hpp"

namespace ironcore::store::local_store {

/// What is durable of a lease: the body of its journal record.
struct LeaseTerms {
  std::string holder;  ///< empty = released
  Duration time_to_live{};
  std::string to_json() const;
  static Result<LeaseTerms> from_json(std::string_view json);
  friend bool operator==(const LeaseTerms&, const LeaseTerms&) = default;
};

/// A change of holder goes `claim` → (journal) → `settle` or `abandon`; while it is under way nobody can
/// renew. Thread: any.
class Leases {
 public:
  /// The lease if it is held by `holder` or could be made so without a write; nothing if a claim is needed;
  /// `conflict` if another holds it.
  Result<std::optional<Lease>> renew(const std::string& name, const std::string& holder, Duration time_to_live,
                                     Instant now);

  /// Begins a change of holder. `conflict` if another holds it or is about to. Returns the revision of the
  /// lease's record before, or 0.
  Result<Revision> claim(const std::string& name, const std::string& holder, Instant now);
  /// Begins a release. Nothing if it is released already; `forbidden` if `token` is not the current one.
  Result<std::optional<Revision>> claim_release(const std::string& name, std::uint64_t token);
  Lease settle(const std::string& name, Revision revision, LeaseTerms terms, Instant now);
  void abandon(const std::string& name);

  Result<void> check_holder(const HoldsLease& precondition) const;
  std::vector<Lease> list(const std::string& prefix, Instant now) const;

 private:
  struct Entry {
    LeaseTerms terms;
    std::uint64_t token = 0;  ///< the revision of its record: larger than every one before
    Instant expires{};
    std::uint64_t renewals = 0;
    bool is_changing = false;
  };
  static Lease lease_of(const std::string& name, const Entry& entry, Instant now);

  mutable std::mutex mutex_;
  std::map<std::string, Entry> entries_;
};

}  // namespace ironcore::store::local_store
