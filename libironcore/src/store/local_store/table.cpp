// SPDX-License-Identifier: Apache-2.0
// Finding, inserting and sharing chunks of sorted objects.
#include "table.hpp"

#include <algorithm>
#include <iterator>

namespace ironcore::store::local_store {

using api::Object;

namespace {

using Objects = std::vector<Object>;

Objects::const_iterator position(const Objects& objects, NameView name) {
  return std::lower_bound(objects.begin(), objects.end(), name, [](const Object& object, NameView wanted) { return name_of(object) < wanted; });
}

}  // namespace

std::size_t Table::Snapshot::size() const {
  std::size_t count = 0;
  for (const auto& chunk : chunks_) count += chunk->objects.size();
  if (!chunks_.empty()) count -= begin_ + (chunks_.back()->objects.size() - end_);
  return count;
}

/// The last chunk that starts at or before `name`; 0 if there is none.
std::size_t Table::chunk_for(NameView name) const {
  const auto after = std::upper_bound(chunks_.begin(), chunks_.end(), name, [](NameView wanted, const std::shared_ptr<Chunk>& chunk) {
    return wanted < name_of(chunk->objects.front());
  });
  return after == chunks_.begin() ? 0 : static_cast<std::size_t>(after - chunks_.begin()) - 1;
}

Table::Chunk& Table::writable(std::size_t index) {
  auto& chunk = chunks_[index];
  if (chunk->is_shared) {
    auto copy = std::make_shared<Chunk>();
    copy->objects.reserve(chunk->objects.size() + 1);
    copy->objects = chunk->objects;
    chunk = std::move(copy);
  }
  return *chunk;
}

const Object* Table::find(NameView name) const {
  if (chunks_.empty()) return nullptr;
  const auto& objects = chunks_[chunk_for(name)]->objects;
  const auto at = position(objects, name);
  return at != objects.end() && name_of(*at) == name ? &*at : nullptr;
}

void Table::put(const Object& object) {
  const auto name = name_of(object);
  if (chunks_.empty()) {
    chunks_.push_back(std::make_shared<Chunk>());
    chunks_.front()->objects.push_back(object);
    size_ = 1;
    return;
  }
  auto index = chunk_for(name);
  {
    const auto& objects = chunks_[index]->objects;
    const auto at = position(objects, name);
    if (at != objects.end() && name_of(*at) == name) {
      writable(index).objects[static_cast<std::size_t>(at - objects.begin())] = object;
      return;
    }
  }
  ++size_;
  if (chunks_[index]->objects.size() >= chunk_capacity) {
    auto upper = std::make_shared<Chunk>();
    upper->objects.reserve(chunk_capacity);
    if (index + 1 == chunks_.size() && name_of(chunks_[index]->objects.back()) < name) {
      // Names that grow (numbered ones do) fill their chunks to the end.
      upper->objects.push_back(object);
      chunks_.push_back(std::move(upper));
      return;
    }
    auto& lower = writable(index).objects;
    const auto middle = lower.begin() + static_cast<std::ptrdiff_t>(lower.size() / 2);
    upper->objects.assign(std::make_move_iterator(middle), std::make_move_iterator(lower.end()));
    lower.erase(middle, lower.end());
    const bool is_upper = name_of(upper->objects.front()) < name;
    chunks_.insert(chunks_.begin() + static_cast<std::ptrdiff_t>(index) + 1, std::move(upper));
    if (is_upper) ++index;
  }
  auto& objects = writable(index).objects;
  objects.insert(position(objects, name), object);
}

void Table::erase(NameView name) {
  if (chunks_.empty()) return;
  const auto index = chunk_for(name);
  const auto at = position(chunks_[index]->objects, name);
  if (at == chunks_[index]->objects.end() || name_of(*at) != name) return;
  const auto offset = at - chunks_[index]->objects.begin();
  --size_;
  if (chunks_[index]->objects.size() == 1) {
    chunks_.erase(chunks_.begin() + static_cast<std::ptrdiff_t>(index));
    return;
  }
  auto& objects = writable(index).objects;
  objects.erase(objects.begin() + offset);
  // Neighbours that became small are joined, so that deleting most of many objects leaves few chunks.
  if (objects.size() < chunk_capacity / 4 && index + 1 < chunks_.size() &&
      objects.size() + chunks_[index + 1]->objects.size() <= chunk_capacity / 2) {
    const auto& next = chunks_[index + 1]->objects;
    objects.insert(objects.end(), next.begin(), next.end());
    chunks_.erase(chunks_.begin() + static_cast<std::ptrdiff_t>(index) + 1);
  }
}

void Table::fill(const std::vector<Object>& sorted) {
  chunks_.clear();
  size_ = sorted.size();
  for (std::size_t begin = 0; begin < sorted.size(); begin += chunk_capacity) {
    const auto end = std::min(begin + chunk_capacity, sorted.size());
    auto chunk = std::make_shared<Chunk>();
    chunk->objects.assign(sorted.begin() + static_cast<std::ptrdiff_t>(begin), sorted.begin() + static_cast<std::ptrdiff_t>(end));
    chunks_.push_back(std::move(chunk));
  }
}

Table::Snapshot Table::snapshot(std::string_view namespace_, const NameView* after, std::size_t enough) {
  Snapshot result;
  if (chunks_.empty()) return result;
  // The place to start at: the greater of the beginning of the namespace and what follows `after`.
  const NameView first{namespace_, {}};
  const bool is_after = after != nullptr && !(*after < first);
  const NameView start = is_after ? *after : first;
  std::size_t index = chunk_for(start);
  {
    const auto& objects = chunks_[index]->objects;
    auto at = position(objects, start);
    if (is_after && at != objects.end() && name_of(*at) == start) ++at;
    result.begin_ = static_cast<std::size_t>(at - objects.begin());
    if (result.begin_ == objects.size()) {
      ++index;
      result.begin_ = 0;
    }
  }
  std::size_t count = 0;
  for (; index < chunks_.size() && (count == 0 || count - result.begin_ < enough); ++index) {
    const auto& objects = chunks_[index]->objects;
    const std::size_t begin = result.chunks_.empty() ? result.begin_ : 0;
    std::size_t end = objects.size();
    if (!namespace_.empty() && name_of(objects.back()).namespace_ != namespace_) {
      end = static_cast<std::size_t>(std::partition_point(objects.begin(), objects.end(),
                                                          [&](const Object& object) { return name_of(object).namespace_ <= namespace_; }) -
                                     objects.begin());
      if (end <= begin) break;
    }
    chunks_[index]->is_shared = true;
    result.chunks_.push_back(chunks_[index]);
    result.end_ = end;
    count += objects.size();
    if (end != objects.size()) break;
  }
  return result;
}

}  // namespace ironcore::store::local_store
