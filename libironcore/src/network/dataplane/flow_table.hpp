// SPDX-License-Identifier: Apache-2.0
// The connections of one worker, found by the key of either direction.
#pragma once

#include <array>
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
  /// collide. Throws std::bad_alloc.
  FlowTable(std::uint32_t capacity, std::uint64_t secret);
  FlowTable(const FlowTable&) = delete;
  FlowTable& operator=(const FlowTable&) = delete;

  std::uint32_t capacity() const noexcept { return capacity_; }
  std::uint32_t size() const noexcept { return size_; }
  std::size_t bytes() const noexcept { return pages_.size(); }

  std::uint64_t hash(const FlowKey& key) const noexcept { return key.hash(secret_); }
  void prefetch(std::uint64_t hash) const noexcept { __builtin_prefetch(&buckets_[first_bucket(hash)]); }
  /// Who may have the key, seen from its tag alone. Begins to fetch it.
  Reference candidate(std::uint64_t hash) const noexcept;
  /// `guess` is the `candidate`, or nothing.
  Reference find(const FlowKey& key, std::uint64_t hash, Reference guess) const noexcept;
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
  /// Not 0.
  void set_timeout(Connection& connection, Tick timeout) noexcept;

  /// Called for each connection that is about to be erased because it is dead.
  using OnExpired = void (*)(void* context, Connection& connection) noexcept;
  /// Looks at no more than `budget` connections that may be dead by now. Call it often: with each burst. Returns how many it looked at.
  std::uint32_t expire(Tick now, std::uint32_t budget, OnExpired on_expired, void* context) noexcept;

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
  static std::uint32_t matches(const Bucket& bucket, std::uint16_t tag) noexcept;
  Reference find_in(const Bucket& bucket, const FlowKey& key, std::uint16_t tag) const noexcept;
  static void put(Bucket& bucket, std::uint32_t place, std::uint16_t tag, Reference reference) noexcept;
  bool make_room(Bucket& bucket) noexcept;
  bool add(std::uint64_t hash, Reference reference) noexcept;
  void remove(std::uint64_t hash, Reference reference) noexcept;
  static bool is_used(const Connection& connection) noexcept { return connection.state.timeout != 0; }
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
