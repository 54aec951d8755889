// SPDX-License-Identifier: Apache-2.0
// Table: the objects of one kind in the order of their names, of which a reader takes a snapshot in
// microseconds.
#pragma once

#include <array>
#include <compare>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

#include "ironcore/api/object.hpp"

namespace ironcore::store::local_store {

/// Namespace and name; orders objects of one kind.
struct NameView {
  std::string_view namespace_;
  std::string_view name;
  friend auto operator<=>(const NameView&, const NameView&) = default;
};
inline NameView name_of(const api::Metadata& metadata) {
  return {metadata.namespace_, metadata.name};
}
inline NameView name_of(const api::Object& object) {
  return name_of(object.metadata());
}

/// The first bytes of namespace and name, in the order of names: a search compares these, and visits an object only where they are the same.
class Abbreviation {
 public:
  explicit Abbreviation(NameView name) noexcept;
  friend auto operator<=>(const Abbreviation&, const Abbreviation&) = default;

 private:
  std::array<std::uint64_t, 3> words_;  // big-endian
};

/// Sorted chunks. A snapshot shares the chunks; the next change of a shared chunk makes a copy of that chunk
/// (not of its objects). So a reader never keeps the lock for long, however much it reads. Thread: one at a
/// time; what a snapshot holds never changes.
class Table {
 public:
  static constexpr std::size_t chunk_capacity = 64;

  struct Entry {
    Abbreviation abbreviation;
    const api::Metadata* metadata;
    api::Object object;
    explicit Entry(const api::Object& from) : abbreviation(name_of(from)), metadata(&from.metadata()), object(from) {}
  };
  struct Chunk {
    std::vector<Entry> entries;  ///< sorted, never empty
    bool is_shared = false;      ///< a snapshot may hold it; read and written only by who may change the table
  };

  /// Consecutive chunks; `begin` and `end` cut off what is outside the range in the first and the last one.
  class Snapshot {
   public:
    /// Calls `each(object)` in order until it returns false.
    template <class F>
    void for_each(F&& each) const {
      for (std::size_t i = 0; i < chunks_.size(); ++i) {
        const auto& entries = chunks_[i]->entries;
        const std::size_t last = i + 1 == chunks_.size() ? end_ : entries.size();
        for (std::size_t at = i == 0 ? begin_ : 0; at < last; ++at)
          if (!each(entries[at].object)) return;
      }
    }
    std::size_t size() const;

   private:
    friend class Table;
    std::vector<std::shared_ptr<const Chunk>> chunks_;
    std::size_t begin_ = 0;
    std::size_t end_ = 0;
  };

  const api::Object* find(NameView name) const;
  /// Adds, or replaces the one of that name.
  void put(const api::Object& object);
  /// Nothing happens if there is none of that name.
  void erase(NameView name);
  /// Replaces everything. `sorted` is in order, without duplicates.
  void fill(std::span<const Entry> sorted);

  bool is_empty() const noexcept { return slots_.empty(); }
  std::size_t size() const noexcept { return size_; }

  /// What comes after `after`, if given, and lies in `namespace_`, unless that is empty; not necessarily more
  /// than `enough` objects.
  Snapshot snapshot(std::string_view namespace_ = {}, const NameView* after = nullptr,
                    std::size_t enough = static_cast<std::size_t>(-1));

 private:
  struct Slot {
    Abbreviation abbreviation;  ///< of the chunk's first entry
    const api::Metadata* metadata;
    std::shared_ptr<Chunk> chunk;
    explicit Slot(std::shared_ptr<Chunk> from)
        : abbreviation(from->entries.front().abbreviation),
          metadata(from->entries.front().metadata),
          chunk(std::move(from)) {}
    void name_first() {
      abbreviation = chunk->entries.front().abbreviation;
      metadata = chunk->entries.front().metadata;
    }
  };
  std::size_t slot_for(NameView name) const;
  static std::vector<Entry>& writable(Slot& slot);

  std::vector<Slot> slots_;
  std::size_t size_ = 0;
};

}  // namespace ironcore::store::local_store
