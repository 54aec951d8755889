// SPDX-License-Identifier: Apache-2.0
// The end of a restore: a jump over every revision and lease token that may have been given out since the backup.
#include <algorithm>
#include <vector>

#include "ironcore/api/core.hpp"
#include "ironcore/base/random.hpp"
#include "load.hpp"

namespace ironcore::store {

namespace {
/// More than any store writes between a backup and its restore.
constexpr std::uint64_t leap = std::uint64_t{1} << 32;
/// The length of the jump is a matter of chance too: a backup can be restored twice, the second time over a file that
/// does not tell any more how far the first life went.
constexpr std::uint64_t leaps = 1024;
}  // namespace

Result<void> leave_behind(Journal& journal, Revision beyond) {
  using namespace local_store;
  IRONCORE_TRY(const auto loaded, load(journal));
  std::uint16_t chance = 0;
  SystemRandom().fill(std::as_writable_bytes(std::span(&chance, 1)));
  Revision revision{std::max(loaded.revision, beyond).value + leap * (1 + chance % leaps)};
  const auto time = loaded.history.empty() ? 0 : loaded.history.back().time;

  std::vector<JournalRecord> records;
  // Its token is that of the record, so whoever held one before holds nothing now.
  const auto released = LeaseTerms{}.to_json();
  for (const auto& lease : loaded.leases) {
    ++revision.value;
    records.push_back({.revision = revision,
                       .previous = lease.revision,
                       .type = JournalRecord::Type::lease,
                       .resource = {},
                       .namespace_ = {},
                       .name = lease.name,
                       .body = released,
                       .time = time});
  }
  // The newest record tells which revision comes next. The one object that is always there gives it.
  const auto is_default = [](const Object& object) {
    return object.is<api::Namespace>() && object.name() == "default";
  };
  const auto found = std::find_if(loaded.objects.begin(), loaded.objects.end(), is_default);
  const auto resource = api::kind_of<api::Namespace>().resource();
  std::string body;
  if (found != loaded.objects.end()) {
    ++revision.value;
    auto metadata = found->metadata();
    metadata.resource_version = revision;
    body = found->kind().with_metadata(*found, std::move(metadata)).json();
    records.push_back({.revision = revision,
                       .previous = found->metadata().resource_version,
                       .type = JournalRecord::Type::object,
                       .resource = resource,
                       .namespace_ = {},
                       .name = "default",
                       .body = body,
                       .time = time});
  }
  // Without it the journal was never a store's: there is nothing to leave behind.
  if (records.empty()) return {};
  return journal.append(records);
}

}  // namespace ironcore::store
