// SPDX-License-Identifier: Apache-2.0
// The connections of one worker, found by the key of either direction.
#pragma once

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

#include <array>
#include <atomic>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <span>

#include "connection.hpp"
#include "pages.hpp"

namespace ironcore::network::dataplane {

/// A hash table of fixed size whose buckets are one cache line: eight tags of 16 bits and eight references. A search reads one bucket, and the
/// one line of the connection that a tag promises; a second bucket only if the first one is too small for its keys. Connections are not moved:
/// pointers stay valid until `erase` or `expire`. A burst is found in three passes, so that no packet waits for memory: hash all and
/// `prefetch`; `candidate` all; `find` all.
/// Dead connections are found by a timing wheel (Varghese and Lauck, SOSP 1987) of 256 slots. Thread: one.
class FlowTable {
 public:
  /// Names one direction of one connection.
  class Reference {
   public:
    Reference() noexcept = default;
    Reference(std::uint32_t connection, Direction direction) noexcept
        : value_(connection << 1 | static_cast<std::uint32_t>(direction)) {}
    std::uint32_t connection() const noexcept { return value_ >> 1; }
    Direction direction() const noexcept { return static_cast<Direction>(value_ & 1); }
    explicit operator bool() const noexcept { return value_ != nothing; }
    friend bool operator==(Reference, Reference) = default;

   private:
    friend class FlowTable;
    explicit Reference(std::uint32_t value) noexcept : value_(value) {}
    static constexpr std::uint32_t nothing = 0xffff'ffff;
    std::uint32_t value_ = nothing;
  };

  static constexpr std::uint32_t largest_capacity = 1U << 30;

  /// Room for so many connections, all of it allocated here: 214 bytes for each. `secret` is random, so that nobody can choose keys that
  /// collide. `kept`: where the connections themselves are instead; call `adopt` then. Throws std::bad_alloc.
  FlowTable(std::uint32_t capacity, std::uint64_t secret, Connection* kept = nullptr);
  FlowTable(const FlowTable&) = delete;
  FlowTable& operator=(const FlowTable&) = delete;

  std::uint32_t capacity() const noexcept { return capacity_; }
  std::uint32_t size() const noexcept { return size_; }
  std::size_t bytes() const noexcept { return pages_.size(); }

  std::uint64_t hash(const FlowKey& key) const noexcept { return key.hash(secret_); }
  void prefetch(std::uint64_t hash) const noexcept { __builtin_prefetch(&buckets_[first_bucket(hash)]); }
  /// Who may have the key, seen from its tag alone. Begins to fetch it.
  Reference candidate(std::uint64_t hash) const noexcept {
    const std::uint16_t tag = tag_of(hash);
    const Bucket* bucket = &buckets_[first_bucket(hash)];
    std::uint32_t places = matches(*bucket, tag);
    if (places == 0 && bucket->overflowed != 0) {
      bucket = &buckets_[second_bucket(hash)];
      places = matches(*bucket, tag);
    }
    if (places == 0) return {};
    const Reference reference(bucket->references[static_cast<std::size_t>(std::countr_zero(places))]);
    const Connection& connection = connections_[reference.connection()];
    __builtin_prefetch(&connection.side(reference.direction()));
    __builtin_prefetch(&connection.state, 1);
    return reference;
  }
  /// `guess` is the `candidate`, or nothing.
  Reference find(const FlowKey& key, std::uint64_t hash, Reference guess) const noexcept {
    if (guess) [[likely]] {
      // Meanwhile it may have been erased; its key is still there.
      const Connection& guessed = connections_[guess.connection()];
      if (guessed.side(guess.direction()).key == key && is_used(guessed)) [[likely]]
        return guess;
    }
    return search(key, hash);
  }
  Reference find(const FlowKey& key, std::uint64_t hash) const noexcept { return find(key, hash, Reference()); }

  Connection& operator[](std::uint32_t connection) noexcept { return connections_[connection]; }
  const Connection& operator[](std::uint32_t connection) const noexcept { return connections_[connection]; }

  enum class Refusal : std::uint8_t {
    none,
    full,   ///< no connection is free, or, which hardly ever happens before, no place for a key
    taken,  ///< another connection has one of the keys
  };
  struct Inserted {
    Connection* connection = nullptr;  ///< with its keys, `seen` and `timeout`; everything else is as in a new object
    Refusal refusal = Refusal::none;
  };
  /// Both keys, or neither. They may be equal; then the forward direction is found.
  Inserted insert(const FlowKey& forward, const FlowKey& reverse, Tick now, Tick timeout) noexcept;
  void erase(Connection& connection) noexcept;
  /// Of what somebody left in `kept`: those that `keeps(connection)` wants, unless another one has one of their keys, are as if they had been
  /// inserted here. Before anything else.
  template <class Keeps>
  void adopt(Keeps keeps) noexcept {
    for (std::uint32_t i = 0; i < capacity_; ++i) {
      Connection& connection = connections_[i];
      if (!is_used(connection)) continue;
      if (!enlist(connection) || !keeps(connection)) {
        delist(connection);
        release(connection);
        continue;
      }
      ++size_;
      untouched_ = i + 1;
      link(connection);
    }
    for (std::uint32_t i = untouched_; i-- > 0;) {
      if (is_used(connections_[i])) continue;
      connections_[i].state.next = free_;
      free_ = i;
    }
  }
  /// The connection is complete, and so may outlive the process.
  static void complete(Connection& connection, std::uint64_t valid_at) noexcept {
    std::atomic_ref(connection.state.valid_at).store(valid_at, std::memory_order_release);
  }
  /// Not 0.
  void set_timeout(Connection& connection, Tick timeout) noexcept;

  /// Called for each connection that is about to be erased because it is dead.
  using OnExpired = void (*)(void* context, Connection& connection) noexcept;
  /// Looks at no more than `budget` connections that may be dead by now. Call it often: with each burst. Returns how many it looked at.
  std::uint32_t expire(Tick now, std::uint32_t budget, OnExpired on_expired, void* context) noexcept;

  /// Some that may be dead by now have not been looked at.
  bool is_behind(Tick now) const noexcept { return wheel_now_ < now || wheel_[wheel_now_ % wheel_slots] != nobody; }

  /// No connection is at this place or behind it.
  std::uint32_t places() const noexcept { return untouched_; }
  /// For listings and for when many may have to go: those among `count` places from `place` on that are in use.
  template <class Each>
  void visit(std::uint32_t place, std::uint32_t count, Each each) {
    for (std::uint32_t i = place; i < untouched_ && i - place < count; ++i)
      if (is_used(connections_[i])) each(connections_[i]);
  }

 private:
  static constexpr std::uint32_t bucket_slots = 8;
  static constexpr std::uint32_t wheel_slots = 256;
  static constexpr std::uint32_t nobody = 0xffff'ffff;

  struct alignas(64) Bucket {
    std::array<std::uint16_t, bucket_slots> tags{};
    std::array<std::uint32_t, bucket_slots> references{};  ///< of tags that are not 0
    std::uint32_t overflowed = 0;                          ///< keys of this bucket that are in their second one
  };
  static_assert(sizeof(Bucket) == 64);

  static std::uint16_t tag_of(std::uint64_t hash) noexcept {
    const auto tag = static_cast<std::uint16_t>(hash);
    return tag == 0 ? 1 : tag;
  }
  std::uint32_t first_bucket(std::uint64_t hash) const noexcept { return reduce(hash, bucket_count_); }
  std::uint32_t second_bucket(std::uint64_t hash) const noexcept {
    return reduce(fold_product(hash, hash_seeds[2]), bucket_count_);
  }
  /// One bit for each place whose tag this is.
  static std::uint32_t matches(const Bucket& bucket, std::uint16_t tag) noexcept {
#if defined(__SSE2__)
    const __m128i tags = _mm_load_si128(reinterpret_cast<const __m128i*>(bucket.tags.data()));
    const __m128i same = _mm_cmpeq_epi16(tags, _mm_set1_epi16(static_cast<short>(tag)));
    return static_cast<std::uint32_t>(_mm_movemask_epi8(_mm_packs_epi16(same, _mm_setzero_si128())));
#else
    std::uint32_t bits = 0;
    for (std::uint32_t i = 0; i < bucket_slots; ++i) bits |= std::uint32_t{bucket.tags[i] == tag} << i;
    return bits;
#endif
  }
  Reference search(const FlowKey& key, std::uint64_t hash) const noexcept;
  Reference find_in(const Bucket& bucket, const FlowKey& key, std::uint16_t tag) const noexcept;
  static void put(Bucket& bucket, std::uint32_t place, std::uint16_t tag, Reference reference) noexcept;
  bool make_room(Bucket& bucket) noexcept;
  bool add(std::uint64_t hash, Reference reference) noexcept;
  void remove(std::uint64_t hash, Reference reference) noexcept;
  bool enlist(const Connection& connection) noexcept;
  void delist(const Connection& connection) noexcept;
  /// After everything that it was written with, and before anything that takes its place.
  static void release(Connection& connection) noexcept {
    std::atomic_ref(connection.state.timeout).store(0, std::memory_order_release);
  }
  static bool is_used(const Connection& connection) noexcept {
    return connection.state.timeout != 0;
  }
  std::uint32_t index_of(const Connection& connection) const noexcept {
    return static_cast<std::uint32_t>(&connection - connections_);
  }
  void link(Connection& connection) noexcept;
  void unlink(Connection& connection) noexcept;

  std::uint32_t capacity_;
  std::uint32_t bucket_count_;
  std::uint64_t secret_;
  std::uint32_t size_ = 0;
  std::uint32_t free_ = nobody;  ///< the first free connection that was used before
  std::uint32_t untouched_ = 0;  ///< from here on none was ever used
  Tick wheel_now_ = 0;           ///< whose slot is being looked at; what is linked goes into later ones
  std::array<std::uint32_t, wheel_slots> wheel_;
  Pages pages_;
  Bucket* buckets_;
  Connection* connections_;
};

}  // namespace ironcore::network::dataplane
