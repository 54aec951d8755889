// SPDX-License-Identifier: Apache-2.0
// Entries, their index, and the logs.
#include "rib.hpp"

#include <algorithm>

namespace ironcore::routing {

Rib::Rib(Streams streams, std::uint64_t secret, RibLimits limits)
    : streams_mode_(streams), secret_(secret), limits_(limits), index_(0, TagHash{}, SameKey{this}) {}

Rib::Change Rib::announce(const Record& record) {
  const auto [id, is_new] = find_or_add(record);
  auto& of = entry(id);
  auto& stream_of_it = stream(stream_of(record));
  if (is_new) {
    add_to_origin(origin_entry(record.origin), id);
  } else if (of.is_announcement()) {
    if (is_same_content(of.record, record)) {
      of.record.version = record.version;
      mark(stream_of_it, of);
      return Change::none;
    }
    count_out(stream_of_it, id);
    of.record = record;
  } else {
    take_tombstone(stream_of_it, id);
    of.record = record;
    add_to_origin(origin_entry(record.origin), id);
  }
  count_in(stream_of_it, id);
  mark(stream_of_it, of);
  append(stream_of_it, id);
  return Change::changed;
}

Rib::Change Rib::withdraw(const Record& record) {
  if (record.version == 0 && find_announcement(record) == nullptr) return Change::none;
  const auto [id, is_new] = find_or_add(record);
  auto& of = entry(id);
  const auto name = stream_of(record);
  auto& stream_of_it = stream(name);
  if (!is_new && !of.is_announcement()) {
    of.is_marked = 1;
    if (of.record.version >= record.version) return Change::none;
    of.record.version = record.version;
    take_tombstone(stream_of_it, id);
    add_tombstone(stream_of_it, id);
    append(stream_of_it, id);
    return Change::changed;
  }
  if (!is_new) {
    count_out(stream_of_it, id);
    take_from_origin(id);
    drop_if_empty(record.origin);
    of.record = record;
  }
  add_tombstone(stream_of_it, id);
  append(stream_of_it, id);
  bound_tombstones(stream_of_it, name);
  return Change::changed;
}

const Record* Rib::find(const Record& like) const {
  const auto id = find_id(like);
  return id == nobody ? nullptr : &entry(id).record;
}

bool Rib::is_marked(const Record& like) const {
  const auto id = find_id(like);
  return id != nobody && entry(id).is_marked != 0;
}

void Rib::unmark_stream(StreamId id) {
  const auto found = streams_.find(id);
  if (found == streams_.end()) return;
  for (const auto& place : found->second.log) {
    if (counts(place, id)) unmark(found->second, entry(place.id));
  }
}

void Rib::unmark_origin(OriginId origin) {
  const auto found = origins_.find(static_cast<std::uint64_t>(origin));
  if (found == origins_.end()) return;
  for (Id id = found->second.first; id != nobody; id = entry(id).next_of_origin)
    unmark(stream(stream_of(entry(id).record)), entry(id));
}

Rib::StreamState Rib::state(StreamId stream) const {
  const auto found = streams_.find(stream);
  return found == streams_.end() ? StreamState{} : found->second.state;
}

Rib::OriginState Rib::origin(OriginId origin) const {
  const auto found = origins_.find(static_cast<std::uint64_t>(origin));
  return found == origins_.end() ? OriginState{} : found->second.state;
}

std::vector<Rib::StreamId> Rib::streams() const {
  std::vector<StreamId> ids;
  ids.reserve(streams_.size());
  for (const auto& [id, stream] : streams_) ids.push_back(id);
  return ids;
}

std::vector<OriginId> Rib::origins() const {
  std::vector<OriginId> ids;
  ids.reserve(origins_.size());
  for (const auto& [id, origin] : origins_) ids.push_back(OriginId{id});
  return ids;
}

std::size_t Rib::bytes() const {
  std::size_t bytes = chunks_.size() * (sizeof(Entry) * chunk_entries + sizeof(chunks_[0]));
  bytes += static_cast<std::size_t>(static_cast<double>(index_.bucket_count()) * (sizeof(Tagged) + 1));
  for (const auto& [id, stream] : streams_) bytes += sizeof(stream) + 32 + stream.log.capacity() * sizeof(Place);
  return bytes + origins_.size() * (sizeof(Origin) + 32);
}

// ---- entries ----------------------------------------------------------------------------------------------------

Rib::Id Rib::allocate() {
  if (free_ == nobody) {
    const auto first = static_cast<Id>(chunks_.size() * chunk_entries);
    chunks_.push_back(std::make_unique<Entry[]>(chunk_entries));
    for (std::size_t i = chunk_entries; i-- > 0;) release(first + static_cast<Id>(i));
  }
  return std::exchange(free_, entry(free_).next_of_origin);
}

void Rib::release(Id id) noexcept {
  auto& of = entry(id);
  of.sequence = 0;
  of.is_marked = 0;
  of.next_of_origin = std::exchange(free_, id);
  of.previous_of_origin = nobody;
}

std::pair<Rib::Id, bool> Rib::find_or_add(const Record& record) {
  const auto id = allocate();
  auto& of = entry(id);
  of.record = record;
  of.next_of_origin = nobody;
  const auto [place, is_new] = index_.insert(tagged(tag_of(record), id));
  if (!is_new) release(id);
  return {id_of(*place), is_new};
}

Rib::Id Rib::find_id(const Record& like) const {
  if (index_.empty()) return nobody;
  const auto place = index_.find(Wanted{&like, tag_of(like)});
  return place == index_.end() ? nobody : id_of(*place);
}

void Rib::forget(Id id) {
  index_.erase(tagged(tag_of(entry(id).record), id));
  release(id);
}

Rib::Stream& Rib::stream(StreamId id) {
  if (last_stream_.second == nullptr || last_stream_.first != id) last_stream_ = {id, &streams_[id]};
  return *last_stream_.second;
}

Rib::Origin& Rib::origin_entry(std::uint64_t id) {
  if (last_origin_.second == nullptr || last_origin_.first != id) last_origin_ = {id, &origins_[id]};
  return *last_origin_.second;
}

void Rib::add_to_origin(Origin& origin, Id id) {
  auto& of = entry(id);
  of.previous_of_origin = nobody;
  of.next_of_origin = origin.first;
  if (origin.first != nobody) entry(origin.first).previous_of_origin = id;
  origin.first = id;
}

void Rib::take_from_origin(Id id) {
  auto& of = entry(id);
  if (of.next_of_origin != nobody) entry(of.next_of_origin).previous_of_origin = of.previous_of_origin;
  if (of.previous_of_origin != nobody)
    entry(of.previous_of_origin).next_of_origin = of.next_of_origin;
  else
    origin_entry(of.record.origin).first = of.next_of_origin;
  of.next_of_origin = of.previous_of_origin = nobody;
}

void Rib::drop_if_empty(std::uint64_t origin) {
  const auto found = origins_.find(origin);
  if (found == origins_.end() || found->second.first != nobody) return;
  origins_.erase(found);
  last_origin_ = {0, nullptr};
}

void Rib::count_in(Stream& stream, Id id) {
  const auto& record = entry(id).record;
  const auto hash = content_hash(record);
  stream.state.digest += hash;
  ++stream.state.routes;
  auto& origin = origin_entry(record.origin).state;
  origin.digest += hash;
  ++origin.routes;
  ++routes_;
}

void Rib::count_out(Stream& stream, Id id) {
  auto& of = entry(id);
  unmark(stream, of);
  const auto hash = content_hash(of.record);
  stream.state.digest -= hash;
  --stream.state.routes;
  auto& origin = origin_entry(of.record.origin).state;
  origin.digest -= hash;
  --origin.routes;
  --routes_;
}

void Rib::mark(Stream& stream, Entry& of) {
  if (of.is_marked) return;
  of.is_marked = 1;
  stream.state.marked_digest += content_hash(of.record);
}

void Rib::unmark(Stream& stream, Entry& of) {
  if (!of.is_marked) return;
  of.is_marked = 0;
  if (of.is_announcement()) stream.state.marked_digest -= content_hash(of.record);
}

// ---- logs -------------------------------------------------------------------------------------------------------

void Rib::append(Stream& stream, Id id) {
  const auto sequence = ++stream.state.sequence;
  entry(id).sequence = sequence & ~(std::uint64_t{1} << 63);
  const auto live = stream.state.routes + stream.state.tombstones;
  if (stream.log.size() > 2 * live + 64) compact(stream, stream_of(entry(id).record));
  stream.log.push_back({static_cast<std::uint32_t>(sequence), static_cast<std::uint32_t>(sequence >> 32), id});
}

void Rib::compact(Stream& stream, StreamId id) {
  std::erase_if(stream.log, [&](const Place& place) { return !counts(place, id); });
  stream.first_tombstone = 0;
}

void Rib::bound_tombstones(Stream& stream, StreamId id) {
  auto& state = stream.state;
  while (state.tombstones > 0 && state.tombstones > limits_.stream_tombstones + state.routes / 2) {
    const auto place = stream.log[stream.first_tombstone++];
    if (counts(place, id) && !entry(place.id).is_announcement()) forget_tombstone(stream, place.id);
  }
  // The oldest of all, so that one stream with very many does not cost the others theirs.
  while (oldest_tombstone_ != nobody && tombstones_ > limits_.total_tombstones + routes_ / 2) {
    const auto oldest = oldest_tombstone_;
    forget_tombstone(streams_.at(stream_of(entry(oldest).record)), oldest);
  }
}

void Rib::add_tombstone(Stream& stream, Id id) {
  ++stream.state.tombstones;
  ++tombstones_;
  auto& of = entry(id);
  of.is_marked = 1;
  of.next_of_origin = nobody;
  of.previous_of_origin = std::exchange(youngest_tombstone_, id);
  if (of.previous_of_origin != nobody)
    entry(of.previous_of_origin).next_of_origin = id;
  else
    oldest_tombstone_ = id;
}

void Rib::take_tombstone(Stream& stream, Id id) {
  --stream.state.tombstones;
  --tombstones_;
  auto& of = entry(id);
  of.is_marked = 0;
  (of.previous_of_origin != nobody ? entry(of.previous_of_origin).next_of_origin : oldest_tombstone_) =
      of.next_of_origin;
  (of.next_of_origin != nobody ? entry(of.next_of_origin).previous_of_origin : youngest_tombstone_) =
      of.previous_of_origin;
}

void Rib::forget_withdrawal(const Record& like) {
  const auto id = find_id(like);
  if (id != nobody && !entry(id).is_announcement()) forget_tombstone(stream(stream_of(like)), id);
}

void Rib::forget_tombstone(Stream& stream, Id id) {
  stream.state.complete_from = std::max<std::uint64_t>(stream.state.complete_from, entry(id).sequence);
  take_tombstone(stream, id);
  forget(id);
}

void Rib::bury(std::uint32_t vni, OriginId origin) {
  const auto record = gone(vni, origin);
  const auto [id, is_new] = find_or_add(record);
  auto& of = stream(stream_of(record));
  if (!is_new) take_tombstone(of, id);
  add_tombstone(of, id);
  append(of, id);
  bound_tombstones(of, stream_of(record));
}

std::size_t Rib::place_after(const Stream& stream, std::uint64_t from) const {
  const auto place = std::ranges::upper_bound(stream.log, from, {}, &Place::sequence);
  return static_cast<std::size_t>(place - stream.log.begin());
}

}  // namespace ironcore::routing
