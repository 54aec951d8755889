// SPDX-License-Identifier: Apache-2.0
// Reading the journal, newest record first.
#include "load.hpp"

#include <algorithm>
#include <deque>
#include <functional>
#include <unordered_map>
#include <unordered_set>
#include <utility>

// g++ 12 at -O1 takes the storage of an empty std::optional for uninitialised.
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#endif

namespace ironcore::store::local_store {

namespace {

/// What a record is about: its name, and its kind; null for a lease.
struct Subject {
  const api::Kind* kind;
  NameView name;
  friend bool operator==(const Subject&, const Subject&) = default;
};
struct SubjectHash {
  std::size_t operator()(const Subject& subject) const noexcept {
    const std::hash<std::string_view> hash;
    return (hash(subject.name.name) * 31 + hash(subject.name.namespace_)) ^ std::hash<const void*>()(subject.kind);
  }
};

struct Record {
  JournalRecord::Type type;
  Revision revision;
  Revision previous;
  std::int64_t time;
  std::size_t subject;           ///< number of the Subject
  std::optional<Object> object;  ///< none if the record has no body
  std::size_t bytes;             ///< of the body
};

std::string title(const JournalRecord& record) {
  return std::string(record.resource) + " " + std::string(record.namespace_) + "/" + std::string(record.name);
}

Error damaged(Revision revision, const std::string& title, std::string_view why) {
  return Error(ErrorCode::corrupt, "journal record " + std::to_string(revision.value) + " (" + title + "): " +
                                       std::string(why) + "; restore a backup, or ask for help and keep the file");
}

class Loader {
 public:
  Result<void> add(const JournalRecord& record) {
    const auto fail = [&](std::string_view why) { return damaged(record.revision, title(record), why); };
    if (!records_.empty() && record.revision >= records_.back().revision) return fail("is out of order");
    if (record.revision == Revision{} || record.previous >= record.revision) return fail("has an impossible revision");
    const NameView name{record.namespace_, record.name};
    Record entry{record.type, record.revision, record.previous, record.time, 0, std::nullopt, record.body.size()};
    const api::Kind* kind = nullptr;
    if (record.type != JournalRecord::Type::lease) {
      IRONCORE_TRY(kind, kind_of(record.resource));
      if (!record.body.empty()) {
        auto object = kind->decode(record.body);
        if (!object) return fail(object.error().message());
        if (name_of(*object) != name) return fail("holds another object");
        if (record.type == JournalRecord::Type::object && object->metadata().resource_version != record.revision)
          return fail("holds another revision");
        entry.object = *std::move(object);
      } else if (record.type == JournalRecord::Type::object) {
        return fail("is empty");
      }
    }
    // The name has to live as long as the table of subjects: in the object, or in a copy.
    const auto found = subjects_.find(Subject{kind, name});
    const bool is_newest = found == subjects_.end();
    entry.subject = is_newest ? subjects_.size() : found->second;
    if (is_newest) subjects_.emplace(Subject{kind, entry.object ? name_of(*entry.object) : keep(name)}, entry.subject);

    if (record.type == JournalRecord::Type::lease) {
      const auto terms = LeaseTerms::from_json(record.body);
      if (!terms) return fail(terms.error().message());
      if (is_newest) result_.leases.push_back({std::string(record.name), record.revision, *terms});
    }
    if (is_newest && record.type == JournalRecord::Type::object) result_.objects.push_back(*entry.object);
    if (!is_newest || record.type == JournalRecord::Type::removed) superseded_.push_back(record.revision);
    by_revision_.emplace(record.revision.value, records_.size());
    records_.push_back(std::move(entry));
    return {};
  }

  Result<Loaded> finish() {
    if (records_.empty()) return std::move(result_);
    result_.records = records_.size();
    result_.revision = records_.front().revision;
    IRONCORE_CHECK(build_history());
    const auto first =
        result_.history.empty() ? Revision{result_.revision.value + 1} : result_.history.front().revision;
    // A record is needed while the one that supersedes it is part of the history: it is the state before.
    std::unordered_set<std::uint64_t> needed;
    for (const auto& entry : result_.history) needed.insert(entry.previous_revision.value);
    for (const auto revision : superseded_)
      if (revision < first && !needed.contains(revision.value)) result_.outdated.push_back(revision);
    std::reverse(result_.outdated.begin(), result_.outdated.end());
    return std::move(result_);
  }

 private:
  Result<const api::Kind*> kind_of(std::string_view resource) {
    for (const auto& [known, kind] : kinds_)
      if (known == resource) return kind;
    return Error(ErrorCode::unsupported,
                 "the store holds objects of the kind " + std::string(resource) +
                     ", which this program does not know: use the newer program that wrote them");
  }

  NameView keep(NameView name) {
    const auto& namespace_ = names_.emplace_back(name.namespace_);
    return {namespace_, names_.emplace_back(name.name)};
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
          if (previous->subject != record.subject)
            return damaged(record.revision, "superseding " + std::to_string(record.previous.value),
                           "the superseded record is about something else");
          entry.previous = previous->object;
        }
        if (!record.object && !entry.previous) break;
        entry.object = record.object ? record.object : entry.previous;
        entry.object_bytes = record.object || previous == nullptr ? record.bytes : previous->bytes;
        entry.held_bytes = previous == nullptr ? 0 : previous->bytes;
        if (record.type == JournalRecord::Type::removed) entry.held_bytes += record.bytes;
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

  static std::vector<std::pair<std::string, const api::Kind*>> known_kinds() {
    std::vector<std::pair<std::string, const api::Kind*>> result;
    for (const auto* kind : api::kinds()) result.emplace_back(kind->resource(), kind);
    return result;
  }

  const std::vector<std::pair<std::string, const api::Kind*>> kinds_ = known_kinds();
  Loaded result_;
  std::vector<Record> records_;  ///< newest first
  std::unordered_map<std::uint64_t, std::size_t> by_revision_;
  std::unordered_map<Subject, std::size_t, SubjectHash> subjects_;
  std::deque<std::string> names_;
  std::vector<Revision> superseded_;
};

}  // namespace

Result<Loaded> load(Journal& journal) {
  Loader loader;
  IRONCORE_CHECK(journal.load([&](const JournalRecord& record) { return loader.add(record); }));
  return loader.finish();
}

}  // namespace ironcore::store::local_store
