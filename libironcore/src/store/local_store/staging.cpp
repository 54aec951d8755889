// SPDX-License-Identifier: Apache-2.0
// Staging changes, taking them back, making them visible.
#include "staging.hpp"

#include <chrono>
#include <utility>

namespace ironcore::store::local_store {

namespace {
/// A mark of deletion and a longer revision fit in; what could not take it could never be deleted, nor loaded with it.
constexpr std::size_t deletion_room = 256;
constexpr std::size_t max_wanted_bytes = max_object_bytes - deletion_room;
}  // namespace

Staging::Staging(Workplace place, Revision last, Instant now, WallTime wall)
    : place_(place), first_(last), last_(last), now_(now), timestamp_(std::chrono::floor<std::chrono::seconds>(wall)) {
  place_.bodies.clear();
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
  // What is staged but not published. A key twice, or of an object that is gone by now, does no harm: it is
  // looked up again.
  for (const auto& entry : entries_)
    if (entry.object && !entry.previous && entry.object->metadata().namespace_ == namespace_)
      keys.push_back(key_of(*entry.object));
  return keys;
}

std::size_t Staging::write_body(const Object& object) {
  const auto before = place_.bodies.size();
  object.append_json(place_.bodies);
  return place_.bodies.size() - before;
}

void Staging::take_body_back(std::size_t size) {
  place_.bodies.resize(place_.bodies.size() - size);
}

void Staging::add(HistoryEntry entry) {
  entry.time = std::chrono::duration_cast<std::chrono::seconds>(timestamp_.time_since_epoch()).count();
  entry.revision = next();
  if (entry.previous) entry.previous_revision = entry.previous->metadata().resource_version;
  last_ = entry.revision;
  body_ends_.push_back(place_.bodies.size());
  entries_.push_back(std::move(entry));
}

Result<void> Staging::put(const Object& object) {
  const auto bytes = write_body(object);
  if (bytes > max_wanted_bytes) {
    take_body_back(bytes);
    return Error(ErrorCode::exhausted, "is " + std::to_string(bytes) + " bytes as JSON, the most is " +
                                           std::to_string(max_wanted_bytes) +
                                           ": split it or store large data elsewhere");
  }
  if (wanted_bytes_ + bytes > max_transaction_bytes) {
    take_body_back(bytes);
    return Error(ErrorCode::exhausted, "the transaction writes more than " + std::to_string(max_transaction_bytes) +
                                           " bytes of JSON: split it");
  }
  wanted_bytes_ += bytes;
  replace(object, bytes);
  return {};
}

Result<void> Staging::put_consequence(const Object& object) {
  const auto bytes = write_body(object);
  if (bytes > max_object_bytes) {
    take_body_back(bytes);
    return Error(ErrorCode::exhausted, key_of(object).to_text() + " is too large to be marked as being deleted");
  }
  replace(object, bytes);
  return {};
}

void Staging::replace(const Object& object, std::size_t bytes) {
  HistoryEntry entry;
  entry.object = object;
  entry.object_bytes = bytes;
  const auto* previous = place_.head.find(object.kind(), name_of(object));
  if (previous != nullptr) {
    entry.previous = *previous;
    entry.held_bytes = bytes_of(*previous);
  }
  entry.type = entry.previous ? Change::Type::modified : Change::Type::added;
  place_.head.change(entry.previous ? &*entry.previous : nullptr, &object);
  add(std::move(entry));
}

/// Of a state that exists now. It is written again, to be counted, only when the history has forgotten it.
std::size_t Staging::bytes_of(const Object& object) const {
  const auto revision = object.metadata().resource_version;
  if (revision > first_) return entries_[revision.value - first_.value - 1].object_bytes;
  const auto& history = place_.published.history;
  if (history.size() > 0 && revision >= history.first() && revision <= history.last())
    return history[revision].object_bytes;
  return object.json().size();
}

Result<void> Staging::remove(const Object& last_state) {
  const auto* current = place_.head.find(last_state.kind(), name_of(last_state));
  if (current == nullptr)
    return Error(ErrorCode::internal, "removal of " + key_of(last_state).to_text() + ", which is not there");
  HistoryEntry entry;
  entry.type = Change::Type::deleted;
  entry.previous = *current;
  entry.object = last_state;
  entry.object_bytes = bytes_of(*current);
  const auto bytes = current->value() == last_state.value() ? 0 : write_body(last_state);
  entry.held_bytes = entry.object_bytes + bytes;
  if (bytes > max_object_bytes) {
    take_body_back(bytes);
    return Error(ErrorCode::exhausted, "is " + std::to_string(bytes) + " bytes as JSON at its end, the most is " +
                                           std::to_string(max_object_bytes) + ": leave out what was added last");
  }
  place_.head.change(&*entry.previous, nullptr);
  add(std::move(entry));
  return {};
}

void Staging::add_lease(const std::string& name, Revision previous, LeaseTerms terms) {
  HistoryEntry entry;
  entry.previous_revision = previous;
  place_.bodies += terms.to_json();
  leases_.push_back({name, next(), std::move(terms)});
  add(std::move(entry));
}

Result<Lease> Staging::acquire(const std::string& name, const std::string& holder, Duration time_to_live) {
  IRONCORE_TRY(auto renewed, place_.leases.renew(name, holder, time_to_live, now_));
  if (renewed) return *std::move(renewed);
  IRONCORE_TRY(const auto previous, place_.leases.claim(name, holder, now_));
  add_lease(name, previous, {holder, time_to_live});
  return Lease{.name = name,
               .holder = holder,
               .token = last_.value,
               .time_to_live = time_to_live,
               .renewals = 0,
               .is_held = true};
}

Result<void> Staging::release(const std::string& name, std::uint64_t token) {
  IRONCORE_TRY(const auto previous, place_.leases.claim_release(name, token));
  if (previous) add_lease(name, *previous, {});
  return {};
}

std::size_t Staging::begin_transaction() {
  wanted_bytes_ = 0;
  return entries_.size();
}

void Staging::roll_back(std::size_t size) {
  while (entries_.size() > size) {
    const auto& entry = entries_.back();
    if (!entry.object) {
      place_.leases.abandon(leases_.back().name);
      leases_.pop_back();
    } else {
      place_.head.change(entry.type == Change::Type::deleted ? nullptr : &*entry.object,
                         entry.previous ? &*entry.previous : nullptr);
    }
    entries_.pop_back();
    body_ends_.pop_back();
  }
  place_.bodies.resize(size == 0 ? 0 : body_ends_.back());
  last_ = {first_.value + size};
}

std::vector<JournalRecord> Staging::records() const {
  std::vector<JournalRecord> records;
  records.reserve(entries_.size());
  const std::string_view bodies = place_.bodies;
  std::size_t body_begin = 0;
  auto lease = leases_.begin();
  for (std::size_t i = 0; i < entries_.size(); ++i) {
    const auto& entry = entries_[i];
    JournalRecord record;
    record.revision = entry.revision;
    record.previous = entry.previous_revision;
    record.time = entry.time;
    if (entry.object) {
      const auto& metadata = entry.object->metadata();
      record.type = entry.type == Change::Type::deleted ? JournalRecord::Type::removed : JournalRecord::Type::object;
      record.resource = place_.published.tables_of(entry.object->kind())->resource;
      record.namespace_ = metadata.namespace_;
      record.name = metadata.name;
    } else {
      record.type = JournalRecord::Type::lease;
      record.name = (lease++)->name;
    }
    record.body = bodies.substr(body_begin, body_ends_[i] - body_begin);
    body_begin = body_ends_[i];
    records.push_back(record);
  }
  return records;
}

std::vector<HistoryEntry> Staging::publish(const HistoryLimits& limits) {
  std::vector<HistoryEntry> outdated;
  {
    const std::lock_guard lock(place_.published.mutex);
    for (auto& entry : entries_) {
      place_.published.apply(std::move(entry));
      while (place_.published.history.is_over(limits)) outdated.push_back(place_.published.history.pop());
    }
    place_.published.wake_up();
  }
  for (auto& lease : leases_) place_.leases.settle(lease.name, lease.revision, std::move(lease.terms), now_);
  return outdated;
}

}  // namespace ironcore::store::local_store
