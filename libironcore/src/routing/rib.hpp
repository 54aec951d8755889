// SPDX-License-Identifier: Apache-2.0
// Rib: records by key, which know the order of their last changes. The one kind of table of this pillar (ADR 0011).
#pragma once

#include <algorithm>
#include <boost/unordered/unordered_flat_set.hpp>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <unordered_map>
#include <vector>

#include "../base/hash.hpp"
#include "record.hpp"

namespace ironcore::routing {

/// Most withdrawals that a table remembers: without them a reader from before gets the whole stream again.
struct RibLimits {
  std::size_t stream_tombstones = 4'000;   ///< of one stream, and half as many as it has routes
  std::size_t total_tombstones = 100'000;  ///< of all, and half as many as there are routes
};

/// A stream is the history of a VNI, or of the whole table. Each change gives it the next number, and the log holds
/// the entries in the order of these numbers, each once. What a key was before its last change is forgotten. Thread: one.
class Rib {
 public:
  enum class Streams { per_vni, one };
  using StreamId = std::uint32_t;

  /// `secret` keeps others from choosing keys that collide.
  Rib(Streams streams, std::uint64_t secret, RibLimits limits = {});
  Rib(const Rib&) = delete;
  Rib& operator=(const Rib&) = delete;

  /// What became of a key.
  enum class Change { none, changed };

  /// Sets the mark. Nothing new but the version: that is stored, and is no change.
  Change announce(const Record& record);
  /// Leaves a tombstone, also where nothing was; one of a higher version stays. Version 0 = no longer known here, which says nothing to others.
  Change withdraw(const Record& record);
  /// All of an origin in a VNI, as one change of the stream; its tombstones stay. Calls `removed(const Record&)` for each after it is gone.
  template <class F>
  Change remove_origin(std::uint32_t vni, OriginId origin, F removed);

  /// Likewise in all VNIs: one change of each in which it has something. Takes as long as what is removed.
  template <class F>
  void remove_origin(OriginId origin, F removed);

  /// Forgets all of a stream, withdrawals too, as if nothing had ever been said. Calls `forgotten(const Record&)` for each after all are gone.
  template <class F>
  void clear_stream(StreamId stream, F forgotten);

  /// Null if neither an announcement nor a tombstone is there. Until the next change.
  const Record* find(const Record& like) const;
  const Record* find_announcement(const Record& like) const {
    const auto* const record = find(like);
    return record != nullptr && record->operation() == Operation::announce ? record : nullptr;
  }

  /// The number of its latest change; 0 if it is not there.
  std::uint64_t sequence_of(const Record& like) const {
    const auto id = find_id(like);
    return id == nobody ? 0 : entry(id).sequence;
  }

  /// Nothing of a withdrawal stays.
  void forget_withdrawal(const Record& like);

  // Marks say what was confirmed since they were taken away: announcements, and withdrawals of a stream.
  void unmark_stream(StreamId stream);
  void unmark_origin(OriginId origin);
  bool is_marked(const Record& like) const;
  /// The announcements without a mark; `f(const Record&)` gets copies, and may change the table.
  template <class F>
  void for_unmarked_of_stream(StreamId stream, F f);
  template <class F>
  void for_unmarked_of_origin(OriginId origin, F f);
  /// Likewise the withdrawals, and ends of origins.
  template <class F>
  void for_unmarked_withdrawals(StreamId stream, F f);

  struct StreamState {
    std::uint64_t sequence = 0;  ///< of the latest change; 0 = none yet
    std::uint64_t complete_from =
        0;  ///< changes after this number, or a later one, are complete; before it withdrawals are forgotten
    std::uint64_t digest = 0;         ///< sum of `content_hash` of the announcements
    std::uint64_t marked_digest = 0;  ///< likewise, of those with a mark
    std::size_t routes = 0;
    std::size_t tombstones = 0;
  };
  /// All zero for a stream that never had anything; asking makes none.
  StreamState state(StreamId stream) const;
  struct OriginState {
    std::uint64_t digest = 0;
    std::size_t routes = 0;
  };
  OriginState origin(OriginId origin) const;

  struct Piece {
    std::uint64_t to = 0;  ///< changes through this number are in it
    bool is_last = true;   ///< there are none after it
  };
  /// The records that changed after `from`, in the order of their last changes, at most `limit` of them, and no more than `places` of the log are looked
  /// at. `f(const Record&)` must not change the table.
  template <class F>
  Piece changes(StreamId stream, std::uint64_t from, std::size_t limit, F f,
                std::size_t places = ~std::size_t{0}) const;
  /// All announcements of a stream, oldest change first.
  template <class F>
  void for_each(StreamId stream, F f) const;
  /// Streams that ever had anything, in no order.
  std::vector<StreamId> streams() const;
  std::vector<OriginId> origins() const;

  std::size_t routes() const noexcept { return routes_; }
  std::size_t tombstones() const noexcept { return tombstones_; }
  /// What the table takes in memory, about.
  std::size_t bytes() const;

 private:
  using Id = std::uint32_t;
  static constexpr Id nobody = ~Id{0};
  static constexpr std::size_t chunk_entries = 512;

  struct Entry {
    Record record;
    std::uint64_t sequence : 63 = 0;  ///< of the latest change in its stream; 0 = free
    std::uint64_t is_marked : 1 = 0;
    Id next_of_origin = nobody;  ///< of a tombstone: the next younger one of the table
    Id previous_of_origin = nobody;
    bool is_announcement() const noexcept { return record.operation() == Operation::announce; }
  };
  static_assert(sizeof(Entry) == 80);

  /// A place in the log. It counts as long as its entry has this number.
  struct Place {
    std::uint32_t sequence_low = 0;
    std::uint32_t sequence_high = 0;
    Id id = nobody;
    std::uint64_t sequence() const noexcept { return std::uint64_t{sequence_high} << 32 | sequence_low; }
  };
  static_assert(sizeof(Place) == 12);

  struct Stream {
    StreamState state;
    std::vector<Place> log;
    std::size_t first_tombstone = 0;  ///< none lies before this place of the log
  };
  struct Origin {
    Id first = nobody;
    OriginState state;
  };

  // The index holds ids with 32 bits of their keys' hashes, so that it grows without looking at entries.
  using Tagged = std::uint64_t;
  static Tagged tagged(std::uint32_t tag, Id id) noexcept { return std::uint64_t{tag} << 32 | id; }
  static Id id_of(Tagged tagged) noexcept { return static_cast<Id>(tagged); }
  /// A key that may not be in the table.
  struct Wanted {
    const Record* like;
    std::uint32_t tag;
  };
  struct TagHash {
    using is_transparent = void;
    std::size_t operator()(Tagged tagged) const noexcept { return tagged >> 32; }
    std::size_t operator()(const Wanted& wanted) const noexcept { return wanted.tag; }
  };
  struct SameKey {
    using is_transparent = void;
    const Rib* rib;
    bool operator()(Tagged a, Tagged b) const noexcept {
      return a == b || (a >> 32 == b >> 32 && is_same_key(rib->entry(id_of(a)).record, rib->entry(id_of(b)).record));
    }
    bool operator()(const Wanted& a, Tagged b) const noexcept {
      return a.tag == b >> 32 && is_same_key(*a.like, rib->entry(id_of(b)).record);
    }
    bool operator()(Tagged a, const Wanted& b) const noexcept { return (*this)(b, a); }
  };

  Entry& entry(Id id) noexcept { return chunks_[id / chunk_entries][id % chunk_entries]; }
  const Entry& entry(Id id) const noexcept { return chunks_[id / chunk_entries][id % chunk_entries]; }
  std::uint32_t tag_of(const Record& record) const noexcept {
    return static_cast<std::uint32_t>(hash_words(key_words(record), secret_) >> 32);
  }
  StreamId stream_of(const Record& record) const noexcept { return streams_mode_ == Streams::one ? 0 : record.vni(); }
  bool counts(const Place& place, StreamId stream) const noexcept {
    const auto& of = entry(place.id);
    return of.sequence == place.sequence() && stream_of(of.record) == stream;
  }

  Id allocate();
  void release(Id id) noexcept;
  Id find_id(const Record& like) const;
  /// The entry of the record's key, and whether it is new: then it holds the record, and nothing else is done with it.
  std::pair<Id, bool> find_or_add(const Record& record);
  Stream& stream(StreamId id);
  Origin& origin_entry(std::uint64_t id);
  void add_to_origin(Origin& origin, Id id);
  void take_from_origin(Id id);
  void drop_if_empty(std::uint64_t origin);
  void append(Stream& stream, Id id);
  void count_in(Stream& stream, Id id);
  void count_out(Stream& stream, Id id);
  void mark(Stream& stream, Entry& entry);
  void unmark(Stream& stream, Entry& entry);
  void forget(Id id);
  void add_tombstone(Stream& stream, Id id);
  void take_tombstone(Stream& stream, Id id);
  void forget_tombstone(Stream& stream, Id id);
  void bury(std::uint32_t vni, OriginId origin);
  void bound_tombstones(Stream& stream, StreamId id);
  void compact(Stream& stream, StreamId id);
  std::size_t place_after(const Stream& stream, std::uint64_t from) const;

  const Streams streams_mode_;
  const std::uint64_t secret_;
  const RibLimits limits_;
  std::vector<std::unique_ptr<Entry[]>> chunks_;
  Id free_ = nobody;  ///< linked by next_of_origin
  Id oldest_tombstone_ = nobody;
  Id youngest_tombstone_ = nobody;
  boost::unordered_flat_set<Tagged, TagHash, SameKey> index_;
  std::unordered_map<StreamId, Stream> streams_;
  std::unordered_map<std::uint64_t, Origin> origins_;
  std::pair<StreamId, Stream*> last_stream_{0, nullptr};  ///< most changes come in runs
  std::pair<std::uint64_t, Origin*> last_origin_{0, nullptr};
  std::size_t routes_ = 0;
  std::size_t tombstones_ = 0;
};

template <class F>
Rib::Change Rib::remove_origin(std::uint32_t vni, OriginId origin, F removed) {
  const auto found = origins_.find(static_cast<std::uint64_t>(origin));
  if (found == origins_.end()) return Change::none;
  auto result = Change::none;
  for (Id id = found->second.first; id != nobody;) {
    const auto record = entry(id).record;
    const auto next = entry(id).next_of_origin;
    if (record.vni() == vni) {
      count_out(stream(stream_of(record)), id);
      take_from_origin(id);
      forget(id);
      result = Change::changed;
      removed(record);
    }
    id = next;
  }
  drop_if_empty(static_cast<std::uint64_t>(origin));
  if (result == Change::changed) bury(vni, origin);
  return result;
}

template <class F>
void Rib::remove_origin(OriginId origin, F removed) {
  const auto found = origins_.find(static_cast<std::uint64_t>(origin));
  if (found == origins_.end()) return;
  std::vector<std::uint32_t> vnis;
  for (Id id = found->second.first; id != nobody;) {
    const auto record = entry(id).record;
    const auto next = entry(id).next_of_origin;
    count_out(stream(stream_of(record)), id);
    take_from_origin(id);
    forget(id);
    if (vnis.empty() || vnis.back() != record.vni()) vnis.push_back(record.vni());
    removed(record);
    id = next;
  }
  drop_if_empty(static_cast<std::uint64_t>(origin));
  std::sort(vnis.begin(), vnis.end());
  vnis.erase(std::unique(vnis.begin(), vnis.end()), vnis.end());
  for (const auto vni : vnis) bury(vni, origin);
}

template <class F>
void Rib::clear_stream(StreamId stream, F forgotten) {
  const auto found = streams_.find(stream);
  if (found == streams_.end()) return;
  auto& of = found->second;
  std::vector<Record> records;
  for (const auto& place : of.log) {
    if (!counts(place, stream)) continue;
    const auto record = entry(place.id).record;
    if (record.operation() == Operation::announce) {
      count_out(of, place.id);
      take_from_origin(place.id);
      drop_if_empty(record.origin);
    } else {
      take_tombstone(of, place.id);
    }
    forget(place.id);
    records.push_back(record);
  }
  of.log.clear();
  of.first_tombstone = 0;
  of.state.complete_from = of.state.sequence;
  for (const auto& record : records) forgotten(record);
}

template <class F>
void Rib::for_unmarked_of_stream(StreamId stream, F f) {
  const auto found = streams_.find(stream);
  if (found == streams_.end()) return;
  std::vector<Record> unmarked;
  for (const auto& place : found->second.log) {
    if (!counts(place, stream)) continue;
    const auto& of = entry(place.id);
    if (of.is_announcement() && !of.is_marked) unmarked.push_back(of.record);
  }
  for (const auto& record : unmarked) f(record);
}

template <class F>
void Rib::for_unmarked_of_origin(OriginId origin, F f) {
  const auto found = origins_.find(static_cast<std::uint64_t>(origin));
  if (found == origins_.end()) return;
  std::vector<Record> unmarked;
  for (Id id = found->second.first; id != nobody; id = entry(id).next_of_origin) {
    if (!entry(id).is_marked) unmarked.push_back(entry(id).record);
  }
  for (const auto& record : unmarked) f(record);
}

template <class F>
void Rib::for_unmarked_withdrawals(StreamId stream, F f) {
  const auto found = streams_.find(stream);
  if (found == streams_.end()) return;
  std::vector<Record> unmarked;
  for (const auto& place : found->second.log) {
    if (!counts(place, stream)) continue;
    const auto& of = entry(place.id);
    if (!of.is_announcement() && !of.is_marked) unmarked.push_back(of.record);
  }
  for (const auto& record : unmarked) f(record);
}

template <class F>
Rib::Piece Rib::changes(StreamId stream, std::uint64_t from, std::size_t limit, F f, std::size_t places) const {
  const auto found = streams_.find(stream);
  if (found == streams_.end()) return {};
  const auto& of = found->second;
  Piece piece{.to = of.state.sequence, .is_last = true};
  std::uint64_t last = from;
  for (auto i = place_after(of, from); i < of.log.size(); ++i) {
    const auto& place = of.log[i];
    if (places-- == 0) return {.to = place.sequence() - 1, .is_last = false};
    if (!counts(place, stream)) continue;
    if (limit == 0) return {.to = last, .is_last = false};
    --limit;
    last = place.sequence();
    f(static_cast<const Record&>(entry(place.id).record));
  }
  return piece;
}

template <class F>
void Rib::for_each(StreamId stream, F f) const {
  const auto found = streams_.find(stream);
  if (found == streams_.end()) return;
  for (const auto& place : found->second.log) {
    if (counts(place, stream) && entry(place.id).is_announcement())
      f(static_cast<const Record&>(entry(place.id).record));
  }
}

}  // namespace ironcore::routing
