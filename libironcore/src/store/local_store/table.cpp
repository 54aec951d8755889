// SPDX-License-Identifier: Apache-2.0
// Finding, inserting and sharing chunks of sorted objects.
#include "table.hpp"

#include <algorithm>
#include <iterator>

namespace ironcore::store::local_store {

using api::Object;

namespace {

/// A name that is searched for.
struct Wanted {
  NameView name;
  Abbreviation abbreviation;
  explicit Wanted(NameView of) : name(of), abbreviation(of) {}
  /// Of an entry or a slot.
  template <class Place>
  std::strong_ordering compare(const Place& place) const {
    const auto order = abbreviation <=> place.abbreviation;
    return order != 0 ? order : name <=> name_of(*place.metadata);
  }
};

template <class Entries>
auto position(Entries& entries, NameView name) {
  return std::lower_bound(entries.begin(), entries.end(), Wanted(name),
                          [](const Table::Entry& entry, const Wanted& wanted) { return wanted.compare(entry) > 0; });
}

std::shared_ptr<Table::Chunk> new_chunk() {
  return std::make_shared<Table::Chunk>();
}

}  // namespace

/// A zero byte stands between the two and after them: no name has one, so that a shorter name comes before a longer one.
Abbreviation::Abbreviation(NameView name) noexcept {
  unsigned char bytes[24] = {};
  const auto end = name.namespace_.copy(reinterpret_cast<char*>(bytes), sizeof bytes) + 1;
  if (end < sizeof bytes) name.name.copy(reinterpret_cast<char*>(bytes) + end, sizeof bytes - end);
  for (std::size_t i = 0; i < words_.size(); ++i) {
    words_[i] = 0;
    for (std::size_t j = 0; j < 8; ++j) words_[i] = words_[i] << 8 | bytes[8 * i + j];
  }
}

std::size_t Table::Snapshot::size() const {
  std::size_t count = 0;
  for (const auto& chunk : chunks_) count += chunk->entries.size();
  if (!chunks_.empty()) count -= begin_ + (chunks_.back()->entries.size() - end_);
  return count;
}

/// The last slot that starts at or before `name`; 0 if there is none.
std::size_t Table::slot_for(NameView name) const {
  const auto after = std::upper_bound(slots_.begin(), slots_.end(), Wanted(name),
                                      [](const Wanted& wanted, const Slot& slot) { return wanted.compare(slot) < 0; });
  return after == slots_.begin() ? 0 : static_cast<std::size_t>(after - slots_.begin()) - 1;
}

std::vector<Table::Entry>& Table::writable(Slot& slot) {
  if (slot.chunk->is_shared) {
    auto copy = new_chunk();
    copy->entries.reserve(slot.chunk->entries.size() + 1);
    copy->entries = slot.chunk->entries;
    slot.chunk = std::move(copy);
  }
  return slot.chunk->entries;
}

const Object* Table::find(NameView name) const {
  if (slots_.empty()) return nullptr;
  const auto& entries = slots_[slot_for(name)].chunk->entries;
  const auto at = position(entries, name);
  return at != entries.end() && name_of(*at->metadata) == name ? &at->object : nullptr;
}

void Table::put(const Object& object) {
  const auto name = name_of(object);
  const auto start_chunk = [&] {
    auto chunk = new_chunk();
    chunk->entries.emplace_back(object);
    slots_.emplace_back(std::move(chunk));
    ++size_;
  };
  if (slots_.empty()) return start_chunk();
  auto index = slot_for(name);
  auto offset = position(slots_[index].chunk->entries, name) - slots_[index].chunk->entries.begin();
  const auto size = static_cast<std::ptrdiff_t>(slots_[index].chunk->entries.size());
  if (offset < size && name_of(*slots_[index].chunk->entries[static_cast<std::size_t>(offset)].metadata) == name) {
    writable(slots_[index])[static_cast<std::size_t>(offset)] = Entry(object);
    if (offset == 0) slots_[index].name_first();
    return;
  }
  if (size >= static_cast<std::ptrdiff_t>(chunk_capacity)) {
    // Names that grow (numbered ones do) fill their chunks to the end.
    if (index + 1 == slots_.size() && offset == size) return start_chunk();
    auto& lower = writable(slots_[index]);
    const auto middle = lower.begin() + size / 2;
    auto upper = new_chunk();
    upper->entries.reserve(chunk_capacity);
    upper->entries.assign(std::make_move_iterator(middle), std::make_move_iterator(lower.end()));
    lower.erase(middle, lower.end());
    slots_.insert(slots_.begin() + static_cast<std::ptrdiff_t>(index) + 1, Slot(std::move(upper)));
    if (offset > size / 2) {
      ++index;
      offset -= size / 2;
    }
  }
  ++size_;
  auto& entries = writable(slots_[index]);
  entries.insert(entries.begin() + offset, Entry(object));
  if (offset == 0) slots_[index].name_first();
}

void Table::erase(NameView name) {
  if (slots_.empty()) return;
  const auto index = slot_for(name);
  const auto& found_in = slots_[index].chunk->entries;
  const auto found = position(found_in, name);
  if (found == found_in.end() || name_of(*found->metadata) != name) return;
  const auto offset = found - found_in.begin();
  --size_;
  if (found_in.size() == 1) {
    slots_.erase(slots_.begin() + static_cast<std::ptrdiff_t>(index));
    return;
  }
  auto& entries = writable(slots_[index]);
  entries.erase(entries.begin() + offset);
  if (offset == 0) slots_[index].name_first();
  // Neighbours that became small are joined, so that deleting most of many objects leaves few chunks.
  if (entries.size() < chunk_capacity / 4 && index + 1 < slots_.size() &&
      entries.size() + slots_[index + 1].chunk->entries.size() <= chunk_capacity / 2) {
    const auto& next = slots_[index + 1].chunk->entries;
    entries.insert(entries.end(), next.begin(), next.end());
    slots_.erase(slots_.begin() + static_cast<std::ptrdiff_t>(index) + 1);
  }
}

void Table::fill(std::span<const Entry> sorted) {
  slots_.clear();
  size_ = sorted.size();
  for (std::size_t begin = 0; begin < sorted.size(); begin += chunk_capacity) {
    const auto end = std::min(begin + chunk_capacity, sorted.size());
    auto chunk = new_chunk();
    chunk->entries.assign(sorted.begin() + static_cast<std::ptrdiff_t>(begin),
                          sorted.begin() + static_cast<std::ptrdiff_t>(end));
    slots_.emplace_back(std::move(chunk));
  }
}

Table::Snapshot Table::snapshot(std::string_view namespace_, const NameView* after, std::size_t enough) {
  Snapshot result;
  if (slots_.empty()) return result;
  // Abbreviated, `a` and a zero and `b` would be the namespace `a`.
  if (namespace_.find('\0') != std::string_view::npos) return result;
  // The place to start at: the greater of the beginning of the namespace and what follows `after`.
  const NameView first{namespace_, {}};
  const bool is_after = after != nullptr && !(*after < first);
  const NameView start = is_after ? *after : first;
  std::size_t index = slot_for(start);
  {
    const auto& entries = slots_[index].chunk->entries;
    auto at = position(entries, start);
    if (is_after && at != entries.end() && name_of(*at->metadata) == start) ++at;
    result.begin_ = static_cast<std::size_t>(at - entries.begin());
    if (result.begin_ == entries.size()) {
      ++index;
      result.begin_ = 0;
    }
  }
  std::size_t count = 0;
  for (; index < slots_.size() && (count == 0 || count - result.begin_ < enough); ++index) {
    auto& chunk = slots_[index].chunk;
    const auto& entries = chunk->entries;
    const std::size_t begin = result.chunks_.empty() ? result.begin_ : 0;
    std::size_t end = entries.size();
    if (!namespace_.empty() && entries.back().metadata->namespace_ != namespace_) {
      const auto past = std::partition_point(
          entries.begin(), entries.end(), [&](const Entry& entry) { return entry.metadata->namespace_ <= namespace_; });
      end = static_cast<std::size_t>(past - entries.begin());
      if (end <= begin) break;
    }
    chunk->is_shared = true;
    result.chunks_.push_back(chunk);
    result.end_ = end;
    count += entries.size();
    if (end != entries.size()) break;
  }
  return result;
}

}  // namespace ironcore::store::local_store
