// SPDX-License-Identifier: Apache-2.0
// Accounting of objects on pools, and the search for the pool with most room.
#include "ironcore/control/placement.hpp"

#include <algorithm>
#include <array>
#include <cassert>
#include <deque>
#include <limits>
#include <unordered_map>
#include <utility>

#include "ironcore/base/byte_text.hpp"
#include "pool_heap.hpp"

namespace ironcore::control {

namespace {

using PoolId = std::uint32_t;
using ClassId = std::uint32_t;
// Sums: whatever people write into classes and bind by hand, they do not overflow.
__extension__ typedef __int128 Wide;
constexpr auto limitless = std::numeric_limits<std::int64_t>::max();
constexpr std::size_t most_shapes = 64;      // heaps kept; one costs 16 bytes per pool
constexpr std::size_t narrow_selector = 64;  // so few pools are looked at one by one

std::int64_t clamped(Wide amount) {
  return amount > limitless ? limitless : static_cast<std::int64_t>(amount);
}

/// How many of `size` fit into what is left.
std::int64_t fitting(std::int64_t altogether, Wide used, std::int64_t size) {
  return used >= altogether ? 0 : (altogether - static_cast<std::int64_t>(used)) / size;
}

bool is_more(const std::optional<std::int64_t>& before, const std::optional<std::int64_t>& after) {
  return before.has_value() != after.has_value() || (after && *after > *before);
}

template <class T>
bool has_all(const std::vector<T>& all, const std::vector<T>& some) {
  return std::all_of(some.begin(), some.end(),
                     [&](const T& each) { return std::find(all.begin(), all.end(), each) != all.end(); });
}

/// Whether somebody for whom there was no room may find some now.
bool may_help(const PoolView& before, const PoolView& after) {
  if (!after.is_ready || after.is_deleting) return false;
  if (!before.is_ready || before.is_deleting) return true;
  if (!has_all(after.taints, before.taints)) return true;
  for (const auto& [key, value] : after.labels) {
    const auto known = before.labels.find(key);
    if (known == before.labels.end() || known->second != value) return true;
  }
  if (before.classes && (!after.classes || !has_all(*before.classes, *after.classes))) return true;
  if (is_more(before.cpu_milli, after.cpu_milli) || is_more(before.memory_bytes, after.memory_bytes) ||
      is_more(before.storage_bytes, after.storage_bytes))
    return true;
  for (const auto& [name, count] : after.class_limits) {
    const auto known = before.class_limits.find(name);
    if (known == before.class_limits.end() || count > known->second) return true;
  }
  return std::any_of(before.class_limits.begin(), before.class_limits.end(),
                     [&](const auto& count) { return !after.class_limits.contains(count.first); });
}

}  // namespace

/// How a class is used on one pool.
struct ClassUse {
  ClassId class_id = 0;
  Wide units = 0;                           // there
  std::optional<std::int64_t> published{};  // how many an empty pool takes
};

class Placement::Index {
 public:
  struct Pool {
    PoolView view;
    bool exists = false;  // false: just a name that objects refer to
    std::uint64_t rank = 0;
    std::size_t objects = 0;
    Wide used_cpu = 0;
    Wide used_memory = 0;
    Wide used_storage = 0;
    std::vector<ClassUse> uses;
  };
  struct Class {
    std::string name;
    bool exists = false;
    bool is_closed = false;
    ClassSize size{};
    std::size_t uses = 0;  // pools that have a ClassUse of it
  };
  struct Placed {
    PoolId pool;
    ClassId class_id;
    std::int64_t amount;
    bool is_assumed;
  };
  /// A demand that was asked for lately, with the pools that may take it, most room first.
  struct Shape {
    PoolHeap heap;
    std::uint64_t log_position = 0;
    std::uint64_t epoch = 0;
    std::uint64_t last_use = 0;
  };
  struct Room {
    std::int64_t units;
    Obstacle limit;  // what is short when `units` are too few
  };

  explicit Index(Subject what) : subject(what) {}

  const Subject subject;
  std::deque<Pool> pools;          // by PoolId
  std::vector<PoolId> free_pools;  // neither do they exist nor is anything on them
  std::map<std::string, PoolId, std::less<>> pool_ids;
  std::size_t live_pools = 0;
  std::vector<Class> classes;  // by ClassId
  std::vector<ClassId> free_classes;
  std::unordered_map<std::string, ClassId> class_ids;
  std::unordered_map<std::string, Placed> placed;
  std::unordered_map<std::string, std::vector<PoolId>> pools_by_label;  // `key=value`
  const std::vector<PoolId> nobody{};
  std::unordered_map<std::string, Shape> shapes;

  // Pools that have changed or may have more room than a heap believes, in the order in which that happened. A heap reads on from its own
  // position; objects that came need no entry, because a heap checks its top before it believes it.
  std::vector<PoolId> log;
  std::uint64_t log_start = 0;
  std::uint64_t epoch = 1;  // grows when all heaps have to be made anew
  std::uint64_t uses = 0;
  std::uint64_t openings = 0;

  PoolId pool_id(const std::string& name);
  ClassId class_id(const std::string& name);
  ClassUse& use_of(Pool& pool, ClassId of_class);
  static const ClassUse* find_use(const Pool& pool, ClassId of_class);
  void drop_idle_uses(Pool& pool);
  void drop_if_idle(PoolId id);
  void drop_class_if_idle(ClassId id);
  void note_change(PoolId id);
  enum class Step { come, go };
  void count(const Placed& what, Step step);
  Obstacle fixed_obstacle(const Pool& pool, const Demand& demand, std::string* detail = nullptr) const;
  Room room(const Pool& pool, ClassId of_class) const;
  std::int64_t bound(PoolId id, const Demand& demand, ClassId of_class) const;
  std::optional<PoolId> decide(const Demand& demand, const std::string& text);
  Shape& shape_of(const Demand& demand, const std::string& text, ClassId of_class);
  void label(PoolId id, const std::map<std::string, std::string>& labels, std::int64_t sign);
  const Pool* find(std::string_view name) const;
};

// ---- pools and classes --------------------------------------------------------------------------------------------

PoolId Placement::Index::pool_id(const std::string& name) {
  const auto [entry, is_new] = pool_ids.try_emplace(name, static_cast<PoolId>(pools.size()));
  if (!is_new) return entry->second;
  if (free_pools.empty()) {
    pools.emplace_back();
  } else {
    entry->second = free_pools.back();
    free_pools.pop_back();
    ++epoch;  // heaps have put the earlier pool where its name belongs
  }
  auto& pool = pools[entry->second];
  pool.view.name = name;
  // The rank orders pools by name in one comparison. A new one gets the middle between its neighbours; when there is none left,
  // all are numbered again, which does not change their order, so no heap notices.
  const auto before = entry == pool_ids.begin() ? 0 : pools[std::prev(entry)->second].rank;
  const auto next = std::next(entry);
  const auto after = next == pool_ids.end() ? std::numeric_limits<std::uint64_t>::max() : pools[next->second].rank;
  if (next == pool_ids.end() && after - before > (std::uint64_t{1} << 32)) {
    pool.rank = before + (std::uint64_t{1} << 32);  // names that come in order leave room behind them
  } else if (after - before >= 2) {
    pool.rank = before + (after - before) / 2;
  } else {
    const auto gap = std::numeric_limits<std::uint64_t>::max() / (pools.size() + 2);
    std::uint64_t rank = 0;
    for (const auto& [other, id] : pool_ids) pools[id].rank = rank += gap;
  }
  return entry->second;
}

ClassId Placement::Index::class_id(const std::string& name) {
  const auto [entry, is_new] = class_ids.try_emplace(name, static_cast<ClassId>(classes.size()));
  if (!is_new) return entry->second;
  if (free_classes.empty()) {
    classes.push_back({.name = name});
  } else {
    entry->second = free_classes.back();
    free_classes.pop_back();
    classes[entry->second].name = name;
  }
  return entry->second;
}

const ClassUse* Placement::Index::find_use(const Pool& pool, ClassId of_class) {
  for (const auto& use : pool.uses)
    if (use.class_id == of_class) return &use;
  return nullptr;
}

ClassUse& Placement::Index::use_of(Pool& pool, ClassId of_class) {
  for (auto& use : pool.uses)
    if (use.class_id == of_class) return use;
  ++classes[of_class].uses;
  return pool.uses.emplace_back(ClassUse{of_class});
}

void Placement::Index::drop_class_if_idle(ClassId id) {
  auto& known = classes[id];
  if (known.exists || known.uses > 0 || known.name.empty()) return;
  class_ids.erase(known.name);
  known = {};
  free_classes.push_back(id);
}

void Placement::Index::drop_idle_uses(Pool& pool) {
  std::vector<ClassId> dropped;
  std::erase_if(pool.uses, [&](const ClassUse& use) {
    const bool is_idle = use.units == 0 && !use.published;
    if (is_idle) dropped.push_back(use.class_id);
    return is_idle;
  });
  for (const auto id : dropped) {
    --classes[id].uses;
    drop_class_if_idle(id);
  }
}

/// A name that nothing stands behind any more.
void Placement::Index::drop_if_idle(PoolId id) {
  auto& pool = pools[id];
  if (pool.exists || pool.objects > 0 || pool.view.name.empty()) return;
  pool_ids.erase(pool.view.name);
  pool.view.name.clear();  // the rank stays: heaps still compare with it
  free_pools.push_back(id);
}

auto Placement::Index::find(std::string_view name) const -> const Pool* {
  const auto entry = pool_ids.find(name);
  return entry == pool_ids.end() ? nullptr : &pools[entry->second];
}

void Placement::Index::note_change(PoolId id) {
  // Whoever has not read the older half rebuilds its heap, which is cheaper than reading so much.
  if (log.size() >= std::max<std::size_t>(1024, 2 * pools.size())) {
    const auto half = log.size() / 2;
    log.erase(log.begin(), log.begin() + static_cast<std::ptrdiff_t>(half));
    log_start += half;
  }
  log.push_back(id);
}

void Placement::Index::count(const Placed& what, Step step) {
  auto& pool = pools[what.pool];
  auto& use = use_of(pool, what.class_id);
  const auto& size = classes[what.class_id].size;
  const Wide units = step == Step::come ? Wide{what.amount} : -Wide{what.amount};
  use.units += units;
  pool.used_cpu += units * size.cpu_milli;
  pool.used_memory += units * size.memory_bytes;
  pool.used_storage += units * size.storage_bytes;
  if (step == Step::come) {
    ++pool.objects;
    return;
  }
  --pool.objects;
  ++openings;
  note_change(what.pool);
  if (use.units == 0) drop_idle_uses(pool);
  drop_if_idle(what.pool);
}

void Placement::Index::label(PoolId id, const std::map<std::string, std::string>& labels, std::int64_t sign) {
  for (const auto& [key, value] : labels) {
    const auto word = key + "=" + value;
    auto& ids = pools_by_label[word];
    if (sign > 0) {
      ids.push_back(id);
    } else {
      ids.erase(std::remove(ids.begin(), ids.end(), id), ids.end());
      if (ids.empty()) pools_by_label.erase(word);
    }
  }
}

// ---- the question -------------------------------------------------------------------------------------------------

Obstacle Placement::Index::fixed_obstacle(const Pool& pool, const Demand& demand, std::string* detail) const {
  const auto say = [detail](auto... parts) {
    if (detail != nullptr) ((*detail += parts), ...);
  };
  const auto& view = pool.view;
  if (view.is_deleting) {
    say("the pool is being deleted");
    return Obstacle::being_deleted;
  }
  if (!view.is_ready) {
    say("its condition Ready is not True");
    return Obstacle::not_ready;
  }
  for (const auto& taint : view.taints) {
    if (api::is_tolerated(taint, demand.tolerations)) continue;
    say("taint ", taint.key, taint.value.empty() ? "" : "=", taint.value,
        taint.effect == api::TaintEffect::no_execute ? ":NoExecute" : ":NoSchedule", " is not tolerated");
    return Obstacle::tainted;
  }
  for (const auto& [key, value] : demand.selector) {
    const auto label = view.labels.find(key);
    if (label != view.labels.end() && label->second == value) continue;
    say("the ", subject.word, " asks for label ", key, "=", value, ", the pool has ",
        label == view.labels.end() ? std::string("none of that name") : label->second);
    return Obstacle::selector;
  }
  if (view.classes && std::find(view.classes->begin(), view.classes->end(), demand.class_name) == view.classes->end()) {
    say("it does not offer ", subject.word, " class ", demand.class_name);
    return Obstacle::class_not_offered;
  }
  return Obstacle::none;
}

auto Placement::Index::room(const Pool& pool, ClassId of_class) const -> Room {
  if (subject.unit == Subject::Unit::none) return {limitless - static_cast<std::int64_t>(pool.objects), Obstacle::none};
  Room result{limitless, Obstacle::no_capacity};
  const auto limit = [&result](std::int64_t units, Obstacle obstacle) {
    if (units < result.units) result = {units, obstacle};
  };
  const auto& size = classes[of_class].size;
  const auto* use = find_use(pool, of_class);
  if (use != nullptr && use->published)
    limit(fitting(*use->published, use->units, 1),
          subject.unit == Subject::Unit::piece ? Obstacle::class_count : Obstacle::class_storage);
  if (pool.view.cpu_milli && size.cpu_milli > 0)
    limit(fitting(*pool.view.cpu_milli, pool.used_cpu, size.cpu_milli), Obstacle::cpu);
  if (pool.view.memory_bytes && size.memory_bytes > 0)
    limit(fitting(*pool.view.memory_bytes, pool.used_memory, size.memory_bytes), Obstacle::memory);
  if (pool.view.storage_bytes && size.storage_bytes > 0)
    limit(fitting(*pool.view.storage_bytes, pool.used_storage, size.storage_bytes), Obstacle::storage);
  if (result.limit == Obstacle::no_capacity) result.units = 0;
  return result;
}

std::int64_t Placement::Index::bound(PoolId id, const Demand& demand, ClassId of_class) const {
  const auto& pool = pools[id];
  if (!pool.exists || fixed_obstacle(pool, demand) != Obstacle::none) return PoolHeap::never;
  return std::max<std::int64_t>(0, room(pool, of_class).units);
}

auto Placement::Index::shape_of(const Demand& demand, const std::string& text, ClassId of_class) -> Shape& {
  auto found = shapes.find(text);
  if (found == shapes.end()) {
    if (shapes.size() >= most_shapes) {
      shapes.erase(std::min_element(shapes.begin(), shapes.end(), [](const auto& a, const auto& b) {
        return a.second.last_use < b.second.last_use;
      }));
    }
    found = shapes.emplace(text, Shape{}).first;
  }
  auto& shape = found->second;
  shape.last_use = ++uses;
  const auto rank = [this](PoolId id) { return pools[id].rank; };
  const auto log_end = log_start + log.size();
  if (shape.epoch != epoch || shape.log_position < log_start) {
    std::vector<std::int64_t> bounds(pools.size());
    for (PoolId id = 0; id < pools.size(); ++id) bounds[id] = bound(id, demand, of_class);
    shape.heap.fill(bounds, rank);
    shape.epoch = epoch;
  } else {
    for (auto at = shape.log_position; at < log_end; ++at) {
      const auto id = log[at - log_start];
      shape.heap.set(id, bound(id, demand, of_class), rank);
    }
  }
  shape.log_position = log_end;
  return shape;
}

auto Placement::Index::decide(const Demand& demand, const std::string& text) -> std::optional<PoolId> {
  const auto known_class = class_ids.find(demand.class_name);
  if (known_class == class_ids.end() || !classes[known_class->second].exists ||
      classes[known_class->second].is_closed || live_pools == 0)
    return std::nullopt;
  const auto of_class = known_class->second;

  // A selector that names few pools needs no heap: objects with a selector of their own would each make one.
  const std::vector<PoolId>* narrowest = nullptr;
  for (const auto& [key, value] : demand.selector) {
    const auto ids = pools_by_label.find(key + "=" + value);
    const auto* candidates = ids == pools_by_label.end() ? &nobody : &ids->second;
    if (narrowest == nullptr || candidates->size() < narrowest->size()) narrowest = candidates;
  }
  if (narrowest != nullptr && narrowest->size() <= narrow_selector) {
    std::optional<PoolId> best;
    std::int64_t best_room = 0;
    for (const auto id : *narrowest) {
      const auto units = bound(id, demand, of_class);
      if (units < demand.amount || units < best_room) continue;
      if (units == best_room && pools[*best].rank < pools[id].rank) continue;
      best = id;
      best_room = units;
    }
    return best;
  }

  auto& heap = shape_of(demand, text, of_class).heap;
  const auto rank = [this](PoolId id) { return pools[id].rank; };
  // What stands in the heap is never too little. So a top whose number is right is the best of all.
  while (!heap.is_empty() && heap.top().room >= demand.amount) {
    const auto top = heap.top();
    const auto units = std::max<std::int64_t>(0, room(pools[top.pool], of_class).units);
    if (units == top.room) return top.pool;
    heap.set(top.pool, units, rank);
  }
  return std::nullopt;
}

// ---- Placement ----------------------------------------------------------------------------------------------------

Placement::Placement(Subject subject) : index_(std::make_unique<Index>(subject)) {}
Placement::~Placement() = default;

void Placement::set_class(const std::string& name, ClassSize size) {
  auto& known = index_->classes[index_->class_id(name)];
  if (known.exists && !known.is_closed && known.size == size) return;
  const auto id = index_->class_ids.at(name);
  for (auto& pool : index_->pools) {
    const auto* use = Index::find_use(pool, id);
    if (use == nullptr) continue;
    pool.used_cpu += use->units * size.cpu_milli - use->units * known.size.cpu_milli;
    pool.used_memory += use->units * size.memory_bytes - use->units * known.size.memory_bytes;
    pool.used_storage += use->units * size.storage_bytes - use->units * known.size.storage_bytes;
  }
  known.size = size;
  known.exists = true;
  known.is_closed = false;
  ++index_->epoch;
  ++index_->openings;
}

void Placement::close_class(const std::string& name) {
  const auto found = index_->class_ids.find(name);
  if (found != index_->class_ids.end()) index_->classes[found->second].is_closed = true;
}

void Placement::remove_class(const std::string& name) {
  const auto found = index_->class_ids.find(name);
  if (found == index_->class_ids.end()) return;
  const auto id = found->second;
  index_->classes[id].exists = false;
  index_->drop_class_if_idle(id);
}

void Placement::set_pool(PoolView view) {
  const auto id = index_->pool_id(view.name);
  auto& pool = index_->pools[id];
  if (pool.exists && pool.view == view) return;
  const bool is_helpful = pool.exists ? may_help(pool.view, view) : view.is_ready && !view.is_deleting;
  for (auto& use : pool.uses) use.published.reset();
  for (const auto& [name, amount] : view.class_limits) index_->use_of(pool, index_->class_id(name)).published = amount;
  index_->drop_idle_uses(pool);
  if (!pool.exists || pool.view.labels != view.labels) {
    if (pool.exists) index_->label(id, pool.view.labels, -1);
    index_->label(id, view.labels, +1);
  }
  if (!pool.exists) ++index_->live_pools;
  pool.exists = true;
  pool.view = std::move(view);
  if (is_helpful) ++index_->openings;
  index_->note_change(id);
}

void Placement::remove_pool(const std::string& name) {
  const auto found = index_->pool_ids.find(name);
  if (found == index_->pool_ids.end()) return;
  const auto id = found->second;
  auto& pool = index_->pools[id];
  if (!pool.exists) return;
  index_->label(id, pool.view.labels, -1);
  pool.exists = false;
  pool.view = PoolView{};
  pool.view.name = name;
  --index_->live_pools;
  for (auto& use : pool.uses) use.published.reset();
  index_->drop_idle_uses(pool);
  index_->note_change(id);
  index_->drop_if_idle(id);
}

std::optional<std::string> Placement::decide(const Demand& demand) {
  return decide(demand, demand.text());
}

std::optional<std::string> Placement::decide(const Demand& demand, const std::string& text) {
  const auto id = index_->decide(demand, text);
  if (!id) return std::nullopt;
  return index_->pools[*id].view.name;
}

bool Placement::assume(const std::string& uid, const std::string& class_name, const std::string& pool,
                       std::int64_t amount) {
  const auto [entry, is_new] = index_->placed.try_emplace(uid);
  if (!is_new) return false;
  entry->second = {index_->pool_id(pool), index_->class_id(class_name), amount, true};
  index_->count(entry->second, Index::Step::come);
  return true;
}

bool Placement::forget(const std::string& uid) {
  const auto entry = index_->placed.find(uid);
  if (entry == index_->placed.end() || !entry->second.is_assumed) return false;
  remove(uid);
  return true;
}

void Placement::observe(const std::string& uid, const std::string& class_name, const std::string& pool,
                        std::int64_t amount) {
  const Index::Placed seen{index_->pool_id(pool), index_->class_id(class_name), amount, false};
  const auto [entry, is_new] = index_->placed.try_emplace(uid, seen);
  if (is_new) return index_->count(seen, Index::Step::come);
  const auto known = std::exchange(entry->second, seen);
  if (known.pool == seen.pool && known.class_id == seen.class_id && known.amount == seen.amount) return;
  index_->count(seen, Index::Step::come);  // first, so that neither name is dropped in between
  index_->count(known, Index::Step::go);
}

void Placement::remove(const std::string& uid) {
  const auto entry = index_->placed.find(uid);
  if (entry == index_->placed.end()) return;
  index_->count(entry->second, Index::Step::go);
  index_->placed.erase(entry);
}

std::uint64_t Placement::openings() const {
  return index_->openings;
}

std::vector<PoolVerdict> Placement::explain(const Demand& demand) const {
  const auto& subject = index_->subject;
  const std::string word(subject.word);
  const auto text_of = [&](std::int64_t units) {
    return subject.unit == Subject::Unit::byte ? byte_text(units) : std::to_string(units);
  };
  std::vector<PoolVerdict> verdicts;
  const auto id = index_->class_ids.find(demand.class_name);
  const bool is_known = id != index_->class_ids.end() && index_->classes[id->second].exists;
  for (const auto& [name, pool_id] : index_->pool_ids) {
    const auto& pool = index_->pools[pool_id];
    if (!pool.exists) continue;
    auto& verdict = verdicts.emplace_back(PoolVerdict{.pool = name});
    verdict.obstacle = index_->fixed_obstacle(pool, demand, &verdict.detail);
    if (verdict.obstacle != Obstacle::none) continue;
    if (!is_known) {
      verdict.obstacle = Obstacle::class_unknown;
      verdict.detail = "there is no " + word + " class " + demand.class_name;
      continue;
    }
    if (index_->classes[id->second].is_closed) {
      verdict.obstacle = Obstacle::class_leaving;
      verdict.detail = word + " class " + demand.class_name + " is being deleted: use another one";
      continue;
    }
    const auto room = index_->room(pool, id->second);
    if (subject.unit == Subject::Unit::none) {
      verdict.room = 1;
      verdict.detail = "it has " + std::to_string(pool.objects) + " " + word + (pool.objects == 1 ? "" : "s");
      continue;
    }
    verdict.room = std::max<std::int64_t>(0, room.units);
    if (room.units >= demand.amount) {
      verdict.detail = "room for " + text_of(room.units) + " of " + demand.class_name;
      continue;
    }
    verdict.obstacle = room.limit;
    const auto& size = index_->classes[id->second].size;
    const auto in_bytes = [&](const std::string& what, std::int64_t altogether, Wide taken, std::int64_t needed) {
      return what + ": " + byte_text(altogether) + " altogether, " + byte_text(clamped(taken)) + " taken, the " + word +
             " needs " + Quantity::bytes(needed).to_text();
    };
    if (room.limit == Obstacle::cpu)
      verdict.detail = "cpu: " + std::to_string(*pool.view.cpu_milli) + "m altogether, " +
                       std::to_string(clamped(pool.used_cpu)) + "m taken, the " + word + " needs " +
                       std::to_string(size.cpu_milli) + "m";
    else if (room.limit == Obstacle::memory)
      verdict.detail = in_bytes("memory", *pool.view.memory_bytes, pool.used_memory, size.memory_bytes);
    else if (room.limit == Obstacle::storage)
      verdict.detail = in_bytes("storage", *pool.view.storage_bytes, pool.used_storage, demand.amount);
    else if (room.limit == Obstacle::class_storage)
      verdict.detail = in_bytes("storage of class " + demand.class_name, pool.view.class_limits.at(demand.class_name),
                                Index::find_use(pool, id->second)->units, demand.amount);
    else if (room.limit == Obstacle::class_count)
      verdict.detail = "it takes " + std::to_string(pool.view.class_limits.at(demand.class_name)) + " of " +
                       demand.class_name + " and has them";
    else
      verdict.detail = (subject.unit == Subject::Unit::byte ? "it publishes neither storage nor an amount of "
                                                            : "it publishes neither cpu, memory nor a count of ") +
                       demand.class_name;
  }
  return verdicts;
}

std::string Placement::summary(const Demand& demand) const {
  const std::string word(index_->subject.word);
  const auto id = index_->class_ids.find(demand.class_name);
  if (id == index_->class_ids.end() || !index_->classes[id->second].exists)
    return word + " class \"" + demand.class_name + "\" does not exist: create it";
  if (index_->classes[id->second].is_closed)
    return word + " class \"" + demand.class_name + "\" is being deleted: use another one";
  if (index_->live_pools == 0) return "no " + word + " pools";
  std::array<std::size_t, static_cast<std::size_t>(Obstacle::storage) + 1> counts{};
  for (const auto& pool : index_->pools) {
    if (!pool.exists) continue;
    auto obstacle = index_->fixed_obstacle(pool, demand);
    if (obstacle == Obstacle::none) {
      const auto room = index_->room(pool, id->second);
      if (room.units < demand.amount) obstacle = room.limit;
    }
    ++counts[static_cast<std::size_t>(obstacle)];
  }
  std::string text = std::to_string(index_->live_pools) + (index_->live_pools == 1 ? " pool: " : " pools: ");
  bool is_first = true;
  for (std::size_t i = 0; i < counts.size(); ++i) {
    if (counts[i] == 0) continue;
    if (!is_first) text += ", ";
    is_first = false;
    const auto obstacle = static_cast<Obstacle>(i);
    const bool is_selector = obstacle == Obstacle::selector;
    if (index_->live_pools == 1)
      text += is_selector ? "its " : "";
    else
      text += std::to_string(counts[i]) + (is_selector ? " whose " : " ");
    text += words(obstacle);
  }
  return text;
}

auto Placement::usage(const std::string& pool) const -> Usage {
  const auto* found = index_->find(pool);
  if (found == nullptr) return {};
  return {found->objects, clamped(found->used_cpu), clamped(found->used_memory), clamped(found->used_storage)};
}

std::optional<std::string> Placement::pool_of(const std::string& uid) const {
  const auto entry = index_->placed.find(uid);
  if (entry == index_->placed.end()) return std::nullopt;
  return index_->pools[entry->second.pool].view.name;
}

std::size_t Placement::objects() const {
  return index_->placed.size();
}
std::size_t Placement::pools() const {
  return index_->live_pools;
}

}  // namespace ironcore::control
