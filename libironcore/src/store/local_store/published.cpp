// SPDX-License-Identifier: Apache-2.0
// Publication of changes, and what readers take from it.
#include "published.hpp"

#include <algorithm>

namespace ironcore::store::local_store {

void History::push(HistoryEntry entry) {
  bytes_ += entry.held_bytes + sizeof(HistoryEntry);
  entries_.push_back(std::move(entry));
}

HistoryEntry History::pop() {
  auto entry = std::move(entries_.front());
  entries_.pop_front();
  ++first_.value;
  bytes_ -= entry.held_bytes + sizeof(HistoryEntry);
  return entry;
}

std::string placement_of(const Object& object) {
  return api::field_text(object, object.kind().info().placement).value_or("");
}

Published::Published() {
  for (const auto* kind : api::kinds()) tables.push_back({kind, kind->resource(), {}, {}});
}

KindTables* Published::tables_of(const api::Kind& kind) {
  const auto found =
      std::find_if(tables.begin(), tables.end(), [&](const KindTables& candidate) { return candidate.kind == &kind; });
  return found == tables.end() ? nullptr : &*found;
}

void Published::apply(HistoryEntry entry) {
  if (entry.object) {
    auto& of_kind = *tables_of(entry.object->kind());
    const bool is_placed = !of_kind.kind->info().placement.empty();
    if (entry.type == Change::Type::deleted) {
      of_kind.all.erase(name_of(*entry.object));
    } else {
      of_kind.all.put(*entry.object);
    }
    if (is_placed) {
      const auto place = placement_of(*entry.object);
      if (entry.previous) {
        const auto place_before = placement_of(*entry.previous);
        if (place_before != place || entry.type == Change::Type::deleted) {
          const auto table = of_kind.placed.find(place_before);
          table->second.erase(name_of(*entry.previous));
          if (table->second.is_empty()) of_kind.placed.erase(table);
        }
      }
      if (entry.type != Change::Type::deleted) of_kind.placed[place].put(*entry.object);
    }
  }
  const auto* kind = entry.object ? &entry.object->kind() : nullptr;
  for (auto* const sleeper : sleepers) {
    if (sleeper->is_due) continue;
    if (sleeper->kind == kind || entry.revision >= sleeper->wake_at)
      sleeper->is_due = true;
    else
      sleeper->at = entry.revision;
  }
  revision = entry.revision;
  history.push(std::move(entry));
}

void Published::wake_up() {
  for (auto* const sleeper : sleepers)
    if (sleeper->is_due) sleeper->due.notify_one();
}

void Published::close() {
  is_closed = true;
  for (auto* const sleeper : sleepers) sleeper->due.notify_one();
}

Result<Published::View> Published::view(const Query& query, const NameView* after, std::size_t enough) {
  IRONCORE_CHECK(query.check());
  const auto* place =
      query.kind->info().placement.empty() ? nullptr : query.fields.required(query.kind->info().placement);
  const std::lock_guard lock(mutex);
  auto* of_kind = tables_of(*query.kind);
  if (of_kind == nullptr)
    return Error(ErrorCode::unsupported, "this store does not know the kind " + query.kind->resource());
  auto* table = &of_kind->all;
  if (place != nullptr) {
    const auto found = of_kind->placed.find(*place);
    if (found == of_kind->placed.end()) return View{{}, revision};
    table = &found->second;
  }
  return View{table->snapshot(query.namespace_, after, enough), revision};
}

}  // namespace ironcore::store::local_store
