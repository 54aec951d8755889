// SPDX-License-Identifier: Apache-2.0
// Reading the journal, newest record first.
#include "load.hpp"

#include <algorithm>
#include <unordered_map>
#include <unordered_set>
#include <utility>

// g++ 12 at -O1 takes the storage of an empty std::optional for uninitialised.
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#endif

namespace ironcore::store::local_store {

namespace {

struct Record {
  JournalRecord::Type type;
  Revision revision;
  Revision previous;
  std::int64_t time;
  std::string name;              ///< of all records of one thing the same
  std::optional<Object> object;  ///< filled in from the record before, if this one has no body
};

std::string full_name(const JournalRecord& record) { return record.resource + '/' + record.namespace_ + '/' + record.name; }

Error damaged(Revision revision, const std::string& name, std::string_view why) {
  return Error(ErrorCode::corrupt, "journal record " + std::to_string(revision.value) + " (" + name + "): " + std::string(why) +
                                       "; restore a backup, or ask for help and keep the file");
}

class Loader {
 public:
  Result<void> add(JournalRecord record) {
    const auto name = full_name(record);
    if (!records_.empty() && record.revision >= records_.back().revision) return damaged(record.revision, name, "is out of order");
    if (record.revision == Revision{} || record.previous >= record.revision) return damaged(record.revision, name, "has an impossible revision");
    const bool is_newest = seen_.insert(name).second;
    Record entry{record.type, record.revision, record.previous, record.time, name, std::nullopt};
    if (record.type == JournalRecord::Type::lease) {
      const auto terms = LeaseTerms::from_json(record.body);
      if (!terms) return damaged(record.revision, name, terms.error().message());
      if (is_newest) result_.leases.push_back({record.name, record.revision, *terms});
      if (!is_newest) superseded_.push_back(record.revision);
    } else {
      IRONCORE_TRY(const auto* kind, kind_of(record));
      if (!record.body.empty()) {
        auto object = kind->decode(record.body);
        if (!object) return damaged(record.revision, name, object.error().message());
        if (name_of(*object) != NameView{record.namespace_, record.name}) return damaged(record.revision, name, "holds another object");
        if (record.type == JournalRecord::Type::object && object->metadata().resource_version != record.revision)
          return damaged(record.revision, name, "holds another revision");
        entry.object = *std::move(object);
      } else if (record.type == JournalRecord::Type::object) {
        return damaged(record.revision, name, "is empty");
      }
      if (is_newest && record.type == JournalRecord::Type::object) result_.objects.push_back(*entry.object);
      if (!is_newest || record.type == JournalRecord::Type::removed) superseded_.push_back(record.revision);
    }
    by_revision_.emplace(record.revision.value, records_.size());
    records_.push_back(std::move(entry));
    return {};
  }

  Result<Loaded> finish() {
    if (records_.empty()) return std::move(result_);
    result_.records = records_.size();
    result_.revision = records_.front().revision;
    IRONCORE_CHECK(build_history());
    const auto first = result_.history.empty() ? Revision{result_.revision.value + 1} : result_.history.front().revision;
    // A record is needed while the one that supersedes it is part of the history: it is the state before.
    std::unordered_set<std::uint64_t> needed;
    for (const auto& entry : result_.history) needed.insert(entry.previous_revision.value);
    for (const auto revision : superseded_)
      if (revision < first && !needed.contains(revision.value)) result_.outdated.push_back(revision);
    std::reverse(result_.outdated.begin(), result_.outdated.end());
    return std::move(result_);
  }

 private:
  Result<const api::Kind*> kind_of(const JournalRecord& record) {
    auto& kind = kinds_[record.resource];
    if (kind != nullptr) return kind;
    for (const auto* candidate : api::kinds())
      if (candidate->resource() == record.resource) kind = candidate;
    if (kind == nullptr)
      return Error(ErrorCode::unsupported, "the store holds objects of the kind " + record.resource +
                                               ", which this program does not know: use the newer program that wrote them");
    return kind;
  }

  const Record* find(Revision revision) const {
    const auto found = by_revision_.find(revision.value);
    return found == by_revision_.end() ? nullptr : &records_[found->second];
  }

  /// Back from the newest, as long as no number is left out and the state before each change is known.
  Result<void> build_history() {
    auto expected = result_.revision;
    for (auto& record : records_) {
      if (record.revision != expected) break;
      HistoryEntry entry;
      entry.time = record.time;
      entry.revision = record.revision;
      entry.previous_revision = record.previous;
      if (record.type != JournalRecord::Type::lease) {
        const auto* previous = find(record.previous);
        if (record.previous != Revision{} && (previous == nullptr || !previous->object)) break;
        if (previous != nullptr) {
          if (previous->name != record.name) return damaged(record.revision, record.name, "supersedes a record of something else");
          entry.previous = previous->object;
        }
        if (!record.object && !entry.previous) break;
        entry.object = record.object ? record.object : entry.previous;
        entry.type = record.type == JournalRecord::Type::removed ? Change::Type::deleted
                     : entry.previous                            ? Change::Type::modified
                                                                 : Change::Type::added;
      }
      result_.history.push_back(std::move(entry));
      --expected.value;
    }
    std::reverse(result_.history.begin(), result_.history.end());
    return {};
  }

  Loaded result_;
  std::vector<Record> records_;  ///< newest first
  std::unordered_map<std::uint64_t, std::size_t> by_revision_;
  std::unordered_set<std::string> seen_;
  std::unordered_map<std::string, const api::Kind*> kinds_;
  std::vector<Revision> superseded_;
};

}  // namespace

Result<Loaded> load(Journal& journal) {
  Loader loader;
  IRONCORE_CHECK(journal.load([&](JournalRecord record) { return loader.add(std::move(record)); }));
  return loader.finish();
}

}  // namespace ironcore::store::local_store
