// SPDX-License-Identifier: Apache-2.0
// Placement: which pool takes which machine, volume or bucket, and how much room every pool has left. Pure: no store, no thread, no clock.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "ironcore/api/compute.hpp"
#include "ironcore/api/storage.hpp"

namespace ironcore::control {

/// What is placed, and in which units: each machine is one, of a volume each byte; buckets have no size.
struct Subject {
  std::string_view word = "machine";  ///< for messages
  enum class Unit {
    piece,
    byte,
    none,  ///< pools publish no amounts: the one with fewest objects has most room
  } unit = Unit::piece;
};

/// What one unit of a class takes from its pool: whole processors, because a guest gets no part of one.
struct ClassSize {
  std::int64_t cpu_milli = 0;
  std::int64_t memory_bytes = 0;
  std::int64_t storage_bytes = 0;
  friend bool operator==(const ClassSize&, const ClassSize&) = default;
};
ClassSize size_of(const api::MachineClass& machine_class);
ClassSize size_of(const api::VolumeClass& volume_class);
ClassSize size_of(const api::BucketClass& bucket_class);

/// What placement knows about a pool. Amounts are for all objects together, those that are there already included.
struct PoolView {
  std::string name;
  std::map<std::string, std::string> labels;
  std::vector<api::Taint> taints;
  bool is_ready = false;  ///< its condition `Ready` is there and true
  bool is_deleting = false;
  /// Classes it offers; absent = it does not say, so any. A pool that publishes cpu, memory or storage says, also by an empty list, and so
  /// does a pool of buckets.
  std::optional<std::vector<std::string>> classes;
  std::optional<std::int64_t> cpu_milli;     ///< absent = it does not say, so no limit
  std::optional<std::int64_t> memory_bytes;  ///< likewise
  std::optional<std::int64_t> storage_bytes;
  std::map<std::string, std::int64_t>
      class_limits;  ///< how many units of a class an empty pool takes; absent = no limit of this sort
  friend bool operator==(const PoolView&, const PoolView&) = default;
};
PoolView view_of(const api::MachinePool& pool);
PoolView view_of(const api::VolumePool& pool);
PoolView view_of(const api::BucketPool& pool);

/// What an object asks of its pool.
struct Demand {
  std::string class_name;
  std::map<std::string, std::string> selector;  ///< labels that the pool must have
  std::vector<api::Toleration> tolerations;
  std::int64_t amount = 1;  ///< units; at least one

  /// The object has a class.
  static Demand of(const api::Machine& machine);
  static Demand of(const api::Volume& volume);
  static Demand of(const api::Bucket& bucket);
  /// Equal texts, equal demands, but for the amount.
  std::string text() const;
};

/// Why a pool does not take an object; the first that applies.
enum class Obstacle {
  none,
  class_unknown,  ///< there is no such class, so nobody knows what it takes
  class_leaving,  ///< it is being deleted
  being_deleted,
  not_ready,
  tainted,   ///< a taint that is not tolerated, of either effect
  selector,  ///< a label that is asked for is missing
  class_not_offered,
  no_capacity,    ///< the pool publishes no amount at all
  class_count,    ///< as many of this class as the pool takes
  class_storage,  ///< likewise, in bytes
  cpu,
  memory,
  storage,
};

struct PoolVerdict {
  std::string pool;
  Obstacle obstacle = Obstacle::none;
  std::string detail;     ///< one sentence for people; says what is free when there is room
  std::int64_t room = 0;  ///< how many more units of this class fit; without units one if it fits
};

/// Authoritative accounting of objects of one kind on pools. Each counts exactly once, from `assume` or `observe` on until `forget` or `remove`;
/// pools publish without subtracting them. A decision takes about a microsecond, whatever the number of pools: for each demand that
/// was seen lately the pools are kept in a heap by room, corrected when looked at. Thread: one.
class Placement {
 public:
  explicit Placement(Subject subject = {});
  ~Placement();
  Placement(const Placement&) = delete;
  Placement& operator=(const Placement&) = delete;

  void set_class(const std::string& name, ClassSize size);
  /// It is being deleted: nothing more of it is placed, until `set_class`. What is of it stays counted.
  void close_class(const std::string& name);
  /// What is of it stays counted with the size that it had.
  void remove_class(const std::string& name);
  void set_pool(PoolView view);
  /// What is on it stays counted, should it come back.
  void remove_pool(const std::string& name);

  /// The pool with most room for this demand, the first by name of equals; nullopt if none fits. Reserves nothing.
  std::optional<std::string> decide(const Demand& demand);
  std::optional<std::string> decide(const Demand& demand, const std::string& text);  ///< with `demand.text()` at hand

  /// Counts what is about to be bound. False, and nothing changes, if it is counted already.
  bool assume(const std::string& uid, const std::string& class_name, const std::string& pool, std::int64_t amount = 1);
  /// Takes an assumption back. False if there was none (what was observed stays).
  bool forget(const std::string& uid);
  /// What the store says; replaces an assumption. The pool and the class need not exist.
  void observe(const std::string& uid, const std::string& class_name, const std::string& pool, std::int64_t amount = 1);
  /// It is gone from the store.
  void remove(const std::string& uid);

  /// Grows whenever something that did not fit may fit now. What only makes less room does not count.
  std::uint64_t openings() const;

  /// Every pool by name, with the reason why not or the room there is.
  std::vector<PoolVerdict> explain(const Demand& demand) const;
  /// `3 pools: 2 not ready, 1 no room (cpu)`, `1 pool: not ready`, `no machine pools`, `machine class "x" does not exist: create it`.
  std::string summary(const Demand& demand) const;

  struct Usage {
    std::size_t objects = 0;
    std::int64_t cpu_milli = 0;
    std::int64_t memory_bytes = 0;
    std::int64_t storage_bytes = 0;
    friend bool operator==(const Usage&, const Usage&) = default;
  };
  Usage usage(const std::string& pool) const;
  /// Where it is counted.
  std::optional<std::string> pool_of(const std::string& uid) const;
  std::size_t objects() const;
  std::size_t pools() const;

 private:
  class Index;
  std::unique_ptr<Index> index_;
};

/// `not ready`, `no room (cpu)` …: for summaries.
std::string_view words(Obstacle obstacle);

}  // namespace ironcore::control
