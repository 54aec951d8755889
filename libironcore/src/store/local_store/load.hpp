// SPDX-License-Identifier: Apache-2.0
// Loading: from the journal to objects, leases and history.
#pragma once

#include <string>
#include <vector>

#include "leases.hpp"
#include "published.hpp"

namespace ironcore::store::local_store {

struct LoadedLease {
  std::string name;
  Revision revision;
  LeaseTerms terms;
};

struct Loaded {
  std::size_t records = 0;
  Revision revision;                  ///< of the newest record; 0 = the journal is empty
  std::vector<Object> objects;        ///< all that exist
  std::vector<LoadedLease> leases;    ///< the newest record of each
  std::vector<HistoryEntry> history;  ///< oldest first, without a gap, up to `revision`
  std::vector<Revision> outdated;     ///< superseded records that are older than the history
};

/// `corrupt` or `unsupported` names the record.
Result<Loaded> load(Journal& journal);

}  // namespace ironcore::store::local_store
