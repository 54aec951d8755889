// SPDX-License-Identifier: Apache-2.0
// Staging changes, taking them back, making them visible.
#include "staging.hpp"

#include <chrono>
#include <utility>

namespace ironcore::store::local_store {

Staging::Staging(Workplace place, Revision last, Instant now, WallTime wall)
    : place_(place), first_(last), last_(last), now_(now), timestamp_(std::chrono::floor<std::chrono::seconds>(wall)) {}

const Object& Staging::blank(const api::Kind& kind) const {
  for (const auto& blank : place_.blanks)
    if (&blank.kind() == &kind) return blank;
  return place_.blanks.front();  // not reached: transactions on foreign kinds are refused before
}

std::vector<Key> Staging::keys_in(const std::string& namespace_) const {
  std::vector<Key> keys;
  {
    const std::lock_guard lock(place_.published.mutex);
    for (auto& of_kind : place_.published.tables) {
      if (of_kind.kind->info().scope != api::Scope::namespaced) continue;
      of_kind.all.snapshot(namespace_).for_each([&](const Object& object) {
        keys.push_back(key_of(object));
        return true;
      });
    }
  }
  // What is staged but not published. A key twice, or of an object that is gone by now, does no harm: it is looked up again.
  for (const auto& entry : entries_)
    if (entry.object && !entry.previous && entry.object->metadata().namespace_ == namespace_) keys.push_back(key_of(*entry.object));
  return keys;
}

JournalRecord Staging::record_of(JournalRecord::Type type, const Object& object) const {
  const auto& metadata = object.metadata();
  JournalRecord record;
  record.revision = next();
  record.type = type;
  record.resource = object.kind().resource();
  record.namespace_ = metadata.namespace_;
  record.name = metadata.name;
  record.time = std::chrono::duration_cast<std::chrono::seconds>(timestamp_.time_since_epoch()).count();
  return record;
}

void Staging::add(JournalRecord record, HistoryEntry entry) {
  entry.time = record.time;
  entry.revision = record.revision;
  if (entry.previous) record.previous = entry.previous->metadata().resource_version;
  entry.previous_revision = record.previous;
  last_ = record.revision;
  records_.push_back(std::move(record));
  entries_.push_back(std::move(entry));
}

Result<void> Staging::put(const Object& object) {
  auto record = record_of(JournalRecord::Type::object, object);
  record.body = object.json();
  if (record.body.size() > max_object_bytes)
    return Error(ErrorCode::exhausted, "is " + std::to_string(record.body.size()) + " bytes as JSON, the most is " +
                                           std::to_string(max_object_bytes) + ": split it or store large data elsewhere");
  HistoryEntry entry;
  entry.object = object;
  const auto* previous = place_.head.find(object.kind(), name_of(object));
  if (previous != nullptr) entry.previous = *previous;
  entry.type = entry.previous ? Change::Type::modified : Change::Type::added;
  place_.head.put(object);
  add(std::move(record), std::move(entry));
  return {};
}

Result<void> Staging::remove(const Object& last_state) {
  const auto* current = place_.head.find(last_state.kind(), name_of(last_state));
  if (current == nullptr) return Error(ErrorCode::internal, "removal of " + key_of(last_state).to_text() + ", which is not there");
  auto record = record_of(JournalRecord::Type::removed, last_state);
  HistoryEntry entry;
  entry.type = Change::Type::deleted;
  entry.previous = *current;
  entry.object = last_state;
  if (current->value() != last_state.value()) record.body = last_state.json();
  place_.head.erase(last_state);
  add(std::move(record), std::move(entry));
  return {};
}

void Staging::add_lease(const std::string& name, Revision previous, LeaseTerms terms) {
  JournalRecord record;
  record.revision = next();
  record.previous = previous;
  record.type = JournalRecord::Type::lease;
  record.name = name;
  record.body = terms.to_json();
  record.time = std::chrono::duration_cast<std::chrono::seconds>(timestamp_.time_since_epoch()).count();
  leases_.push_back({name, record.revision, std::move(terms)});
  add(std::move(record), {});
}

Result<Lease> Staging::acquire(const std::string& name, const std::string& holder, Duration time_to_live) {
  IRONCORE_TRY(auto renewed, place_.leases.renew(name, holder, time_to_live, now_));
  if (renewed) return *std::move(renewed);
  IRONCORE_TRY(const auto previous, place_.leases.claim(name, holder, now_));
  add_lease(name, previous, {holder, time_to_live});
  return Lease{.name = name, .holder = holder, .token = last_.value, .time_to_live = time_to_live, .renewals = 0, .is_held = true};
}

Result<void> Staging::release(const std::string& name, std::uint64_t token) {
  IRONCORE_TRY(const auto previous, place_.leases.claim_release(name, token));
  if (previous) add_lease(name, *previous, {});
  return {};
}

void Staging::roll_back(const Mark& mark) {
  place_.head.roll_back(mark.head);
  records_.resize(mark.records);
  entries_.resize(mark.records);
  last_ = {first_.value + mark.records};
  while (leases_.size() > mark.leases) {
    place_.leases.abandon(leases_.back().name);
    leases_.pop_back();
  }
}

std::vector<HistoryEntry> Staging::publish(std::size_t history_limit) {
  std::vector<HistoryEntry> outdated;
  {
    const std::lock_guard lock(place_.published.mutex);
    for (const auto& entry : entries_) {
      place_.published.apply(entry);
      if (place_.published.history.size() > history_limit) outdated.push_back(place_.published.history.pop());
    }
    place_.published.changed.notify_all();
  }
  for (auto& lease : leases_) place_.leases.settle(lease.name, lease.revision, std::move(lease.terms), now_);
  place_.head.keep();
  return outdated;
}

}  // namespace ironcore::store::local_store
