// SPDX-License-Identifier: Apache-2.0
// Accounting of machines on pools, and the search for the pool with most room.
#include "ironcore/control/placement.hpp"

#include <algorithm>
#include <array>
#include <cassert>
#include <deque>
#include <limits>
#include <unordered_map>
#include <utility>

#include "pool_heap.hpp"

namespace ironcore::control {

namespace {

using PoolId = std::uint32_t;
using ClassId = std::uint32_t;
constexpr auto limitless = std::numeric_limits<std::int64_t>::max();
constexpr std::size_t most_shapes = 64;      // heaps kept; one costs 16 bytes per pool
constexpr std::size_t narrow_selector = 64;  // so few pools are looked at one by one

std::int64_t clamped_milli(const Quantity& quantity) {
  const auto milli = quantity.milli_value();
  return milli ? *milli : (quantity.sign() < 0 ? -limitless : limitless);
}

}  // namespace

/// How a class is used on one pool.
struct ClassUse {
  ClassId machine_class = 0;
  std::int64_t count = 0;                   // machines there
  std::optional<std::int64_t> published{};  // how many an empty pool takes
};

class Placement::Index {
 public:
  struct Pool {
    PoolView view;
    bool exists = false;  // false: just a name that machines refer to
    std::uint64_t rank = 0;
    std::size_t machines = 0;
    std::int64_t used_cpu = 0;
    std::int64_t used_memory = 0;
    std::vector<ClassUse> uses;
  };
  struct Class {
    std::string name;
    bool exists = false;
    ClassSize size;
  };
  struct Placed {
    PoolId pool;
    ClassId machine_class;
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
    std::int64_t machines;
    Obstacle limit;  // what is short when `machines` is not positive
  };

  std::deque<Pool> pools;  // by PoolId; ids are never given to another name
  std::map<std::string, PoolId, std::less<>> pool_ids;
  std::size_t live_pools = 0;
  std::vector<Class> classes;
  std::unordered_map<std::string, ClassId> class_ids;
  std::unordered_map<std::string, Placed> placed;
  std::unordered_map<std::string, std::vector<PoolId>> pools_by_label;  // `key=value`
  const std::vector<PoolId> nobody;
  std::unordered_map<std::string, Shape> shapes;

  // Pools that may have more room than a heap believes, in the order in which that happened. A heap reads on from its own position; less
  // room needs no entry, because a heap checks its top before it believes it.
  std::vector<PoolId> log;
  std::uint64_t log_start = 0;
  std::uint64_t epoch = 1;  // grows when all heaps have to be made anew
  std::uint64_t uses = 0;
  std::uint64_t openings = 0;

  PoolId pool_id(const std::string& name);
  ClassId class_id(const std::string& name);
  ClassUse& use_of(Pool& pool, ClassId machine_class);
  static const ClassUse* find_use(const Pool& pool, ClassId machine_class);
  void note_more_room(PoolId id);
  void count(PoolId id, ClassId machine_class, std::int64_t sign);
  Obstacle fixed_obstacle(const Pool& pool, const Demand& demand, std::string* detail = nullptr) const;
  Room room(const Pool& pool, ClassId machine_class) const;
  std::int64_t bound(PoolId id, const Demand& demand, ClassId machine_class) const;
  std::optional<PoolId> decide(const Demand& demand, const std::string& text);
  Shape& shape_of(const Demand& demand, const std::string& text, ClassId machine_class);
  void label(PoolId id, const std::map<std::string, std::string>& labels, std::int64_t sign);
  const Pool* find(std::string_view name) const;
};

// ---- values -------------------------------------------------------------------------------------------------------

ClassSize size_of(const api::MachineClass& machine_class) {
  ClassSize size;
  if (const auto cpu = machine_class.capabilities.find("cpu"); cpu != machine_class.capabilities.end())
    size.cpu_milli = std::max<std::int64_t>(0, clamped_milli(cpu->second));
  if (const auto memory = machine_class.capabilities.find("memory"); memory != machine_class.capabilities.end())
    size.memory_bytes = std::max<std::int64_t>(0, memory->second.value());
  return size;
}

PoolView view_of(const api::MachinePool& pool) {
  PoolView view;
  view.name = pool.metadata.name;
  view.labels = pool.metadata.labels;
  view.taints = pool.spec.taints;
  const auto* ready = api::find_condition(pool.status.conditions, "Ready");
  view.is_ready = ready != nullptr && ready->status == api::ConditionStatus::true_;
  view.is_deleting = pool.metadata.deletion_timestamp.has_value();
  for (const auto& machine_class : pool.status.available_machine_classes) view.classes.push_back(machine_class.name);
  constexpr std::string_view class_prefix = "class/machine.";
  for (const auto& [resource, amount] : pool.status.allocatable) {
    if (resource == "cpu") view.cpu_milli = clamped_milli(amount);
    if (resource == "memory") view.memory_bytes = amount.value();
    if (resource.starts_with(class_prefix)) view.class_counts[resource.substr(class_prefix.size())] = amount.value();
  }
  return view;
}

Demand Demand::of(const api::Machine& machine) {
  return {machine.spec.machine_class_ref.name, machine.spec.machine_pool_selector, machine.spec.tolerations};
}

std::string Demand::text() const {
  // Lengths instead of separators: no value can imitate another demand.
  std::string text;
  const auto append = [&text](std::string_view word) {
    text += std::to_string(word.size());
    text += ':';
    text += word;
  };
  append(machine_class);
  for (const auto& [key, value] : selector) {
    append(key);
    append(value);
  }
  for (const auto& toleration : tolerations) {
    text += '|';
    text += toleration.operator_ == api::TolerationOperator::exists ? 'x' : '=';
    text += toleration.effect ? (*toleration.effect == api::TaintEffect::no_execute ? 'e' : 's') : '*';
    append(toleration.key);
    append(toleration.value);
  }
  return text;
}

std::string_view words(Obstacle obstacle) {
  switch (obstacle) {
    case Obstacle::none:
      return "fits";
    case Obstacle::class_unknown:
      return "unknown machine class";
    case Obstacle::being_deleted:
      return "being deleted";
    case Obstacle::not_ready:
      return "not ready";
    case Obstacle::tainted:
      return "taint not tolerated";
    case Obstacle::selector:
      return "labels do not match";
    case Obstacle::class_not_offered:
      return "class not offered";
    case Obstacle::no_capacity:
      return "no capacity published";
    case Obstacle::class_count:
      return "no room (class count)";
    case Obstacle::cpu:
      return "no room (cpu)";
    case Obstacle::memory:
      return "no room (memory)";
  }
  return "unknown";
}

// ---- pools and classes --------------------------------------------------------------------------------------------

PoolId Placement::Index::pool_id(const std::string& name) {
  const auto [entry, is_new] = pool_ids.try_emplace(name, static_cast<PoolId>(pools.size()));
  if (!is_new) return entry->second;
  pools.emplace_back().view.name = name;
  // The rank orders pools by name in one comparison. A new one gets the middle between its neighbours; when there is none left,
  // all are numbered again, which does not change their order, so no heap notices.
  const auto before = entry == pool_ids.begin() ? 0 : pools[std::prev(entry)->second].rank;
  const auto next = std::next(entry);
  const auto after = next == pool_ids.end() ? std::numeric_limits<std::uint64_t>::max() : pools[next->second].rank;
  if (next == pool_ids.end() && after - before > (std::uint64_t{1} << 32)) {
    pools.back().rank = before + (std::uint64_t{1} << 32);  // names that come in order leave room behind them
  } else if (after - before >= 2) {
    pools.back().rank = before + (after - before) / 2;
  } else {
    const auto gap = std::numeric_limits<std::uint64_t>::max() / (pools.size() + 2);
    std::uint64_t rank = 0;
    for (const auto& [other, id] : pool_ids) pools[id].rank = rank += gap;
  }
  return entry->second;
}

ClassId Placement::Index::class_id(const std::string& name) {
  const auto [entry, is_new] = class_ids.try_emplace(name, static_cast<ClassId>(classes.size()));
  if (is_new) classes.push_back({name, false, {}});
  return entry->second;
}

const ClassUse* Placement::Index::find_use(const Pool& pool, ClassId machine_class) {
  for (const auto& use : pool.uses)
    if (use.machine_class == machine_class) return &use;
  return nullptr;
}

ClassUse& Placement::Index::use_of(Pool& pool, ClassId machine_class) {
  for (auto& use : pool.uses)
    if (use.machine_class == machine_class) return use;
  return pool.uses.emplace_back(ClassUse{machine_class});
}

auto Placement::Index::find(std::string_view name) const -> const Pool* {
  const auto entry = pool_ids.find(name);
  return entry == pool_ids.end() ? nullptr : &pools[entry->second];
}

void Placement::Index::note_more_room(PoolId id) {
  ++openings;
  // Whoever has not read the older half rebuilds its heap, which is cheaper than reading so much.
  if (log.size() >= std::max<std::size_t>(1024, 2 * pools.size())) {
    const auto half = log.size() / 2;
    log.erase(log.begin(), log.begin() + static_cast<std::ptrdiff_t>(half));
    log_start += half;
  }
  log.push_back(id);
}

void Placement::Index::count(PoolId id, ClassId machine_class, std::int64_t sign) {
  auto& pool = pools[id];
  auto& use = use_of(pool, machine_class);
  use.count += sign;
  pool.machines += static_cast<std::size_t>(sign);
  pool.used_cpu += sign * classes[machine_class].size.cpu_milli;
  pool.used_memory += sign * classes[machine_class].size.memory_bytes;
  if (sign < 0) note_more_room(id);
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
    say("the machine asks for label ", key, "=", value, ", the pool has ",
        label == view.labels.end() ? std::string("none of that name") : label->second);
    return Obstacle::selector;
  }
  if (!view.classes.empty() &&
      std::find(view.classes.begin(), view.classes.end(), demand.machine_class) == view.classes.end()) {
    say("it does not offer machine class ", demand.machine_class);
    return Obstacle::class_not_offered;
  }
  return Obstacle::none;
}

auto Placement::Index::room(const Pool& pool, ClassId machine_class) const -> Room {
  Room result{limitless, Obstacle::no_capacity};
  const auto limit = [&result](std::int64_t machines, Obstacle obstacle) {
    if (machines < result.machines) result = {machines, obstacle};
  };
  const auto& size = classes[machine_class].size;
  const auto* use = find_use(pool, machine_class);
  if (use != nullptr && use->published) limit(*use->published - use->count, Obstacle::class_count);
  if (pool.view.cpu_milli && size.cpu_milli > 0)
    limit(std::max<std::int64_t>(0, *pool.view.cpu_milli - pool.used_cpu) / size.cpu_milli, Obstacle::cpu);
  if (pool.view.memory_bytes && size.memory_bytes > 0)
    limit(std::max<std::int64_t>(0, *pool.view.memory_bytes - pool.used_memory) / size.memory_bytes, Obstacle::memory);
  if (result.limit == Obstacle::no_capacity) result.machines = 0;
  return result;
}

std::int64_t Placement::Index::bound(PoolId id, const Demand& demand, ClassId machine_class) const {
  const auto& pool = pools[id];
  if (!pool.exists || fixed_obstacle(pool, demand) != Obstacle::none) return PoolHeap::never;
  return std::max<std::int64_t>(0, room(pool, machine_class).machines);
}

auto Placement::Index::shape_of(const Demand& demand, const std::string& text, ClassId machine_class) -> Shape& {
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
    for (PoolId id = 0; id < pools.size(); ++id) bounds[id] = bound(id, demand, machine_class);
    shape.heap.fill(bounds, rank);
    shape.epoch = epoch;
  } else {
    for (auto at = shape.log_position; at < log_end; ++at) {
      const auto id = log[at - log_start];
      shape.heap.set(id, bound(id, demand, machine_class), rank);
    }
  }
  shape.log_position = log_end;
  return shape;
}

auto Placement::Index::decide(const Demand& demand, const std::string& text) -> std::optional<PoolId> {
  const auto machine_class = class_id(demand.machine_class);
  if (!classes[machine_class].exists || live_pools == 0) return std::nullopt;

  // A selector that names few pools needs no heap: machines with a selector of their own would each make one.
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
      const auto machines = bound(id, demand, machine_class);
      if (machines <= 0 || machines < best_room) continue;
      if (machines == best_room && pools[*best].rank < pools[id].rank) continue;
      best = id;
      best_room = machines;
    }
    return best;
  }

  auto& heap = shape_of(demand, text, machine_class).heap;
  const auto rank = [this](PoolId id) { return pools[id].rank; };
  // What stands in the heap is never too little. So a top whose number is right is the best of all.
  while (!heap.is_empty() && heap.top().room > 0) {
    const auto top = heap.top();
    const auto machines = std::max<std::int64_t>(0, room(pools[top.pool], machine_class).machines);
    if (machines == top.room) return top.pool;
    heap.set(top.pool, machines, rank);
  }
  return std::nullopt;
}

// ---- Placement ----------------------------------------------------------------------------------------------------

Placement::Placement() : index_(std::make_unique<Index>()) {}
Placement::~Placement() = default;

void Placement::set_class(const std::string& name, ClassSize size) {
  auto& machine_class = index_->classes[index_->class_id(name)];
  if (machine_class.exists && machine_class.size == size) return;
  const auto id = index_->class_ids.at(name);
  for (auto& pool : index_->pools) {
    const auto* use = Index::find_use(pool, id);
    if (use == nullptr) continue;
    pool.used_cpu += use->count * (size.cpu_milli - machine_class.size.cpu_milli);
    pool.used_memory += use->count * (size.memory_bytes - machine_class.size.memory_bytes);
  }
  machine_class.size = size;
  machine_class.exists = true;
  ++index_->epoch;
  ++index_->openings;
}

void Placement::remove_class(const std::string& name) {
  const auto id = index_->class_ids.find(name);
  if (id != index_->class_ids.end()) index_->classes[id->second].exists = false;
}

void Placement::set_pool(PoolView view) {
  const auto id = index_->pool_id(view.name);
  auto& pool = index_->pools[id];
  if (pool.exists && pool.view == view) return;
  for (auto& use : pool.uses) use.published.reset();
  for (const auto& [name, amount] : view.class_counts) index_->use_of(pool, index_->class_id(name)).published = amount;
  std::erase_if(pool.uses, [](const ClassUse& use) { return use.count == 0 && !use.published; });
  if (!pool.exists || pool.view.labels != view.labels) {
    if (pool.exists) index_->label(id, pool.view.labels, -1);
    index_->label(id, view.labels, +1);
  }
  if (!pool.exists) ++index_->live_pools;
  pool.exists = true;
  pool.view = std::move(view);
  index_->note_more_room(id);
}

void Placement::remove_pool(const std::string& name) {
  const auto found = index_->pool_ids.find(name);
  if (found == index_->pool_ids.end()) return;
  auto& pool = index_->pools[found->second];
  if (!pool.exists) return;
  index_->label(found->second, pool.view.labels, -1);
  pool.exists = false;
  pool.view = PoolView{};
  pool.view.name = name;
  --index_->live_pools;
  for (auto& use : pool.uses) use.published.reset();
  std::erase_if(pool.uses, [](const ClassUse& use) { return use.count == 0; });
  index_->note_more_room(found->second);  // not more, but every heap must hear of it
}

std::optional<std::string> Placement::decide(const Demand& demand) {
  return decide(demand, demand.text());
}

std::optional<std::string> Placement::decide(const Demand& demand, const std::string& text) {
  const auto id = index_->decide(demand, text);
  if (!id) return std::nullopt;
  return index_->pools[*id].view.name;
}

bool Placement::assume(const std::string& uid, const std::string& machine_class, const std::string& pool) {
  const auto [entry, is_new] = index_->placed.try_emplace(uid);
  if (!is_new) return false;
  entry->second = {index_->pool_id(pool), index_->class_id(machine_class), true};
  index_->count(entry->second.pool, entry->second.machine_class, +1);
  return true;
}

bool Placement::forget(const std::string& uid) {
  const auto entry = index_->placed.find(uid);
  if (entry == index_->placed.end() || !entry->second.is_assumed) return false;
  remove(uid);
  return true;
}

void Placement::observe(const std::string& uid, const std::string& machine_class, const std::string& pool) {
  const Index::Placed seen{index_->pool_id(pool), index_->class_id(machine_class), false};
  const auto [entry, is_new] = index_->placed.try_emplace(uid, seen);
  if (!is_new) {
    auto& known = entry->second;
    known.is_assumed = false;
    if (known.pool == seen.pool && known.machine_class == seen.machine_class) return;
    index_->count(known.pool, known.machine_class, -1);
    known = seen;
  }
  index_->count(seen.pool, seen.machine_class, +1);
}

void Placement::remove(const std::string& uid) {
  const auto entry = index_->placed.find(uid);
  if (entry == index_->placed.end()) return;
  index_->count(entry->second.pool, entry->second.machine_class, -1);
  index_->placed.erase(entry);
}

std::uint64_t Placement::openings() const {
  return index_->openings;
}

std::vector<PoolVerdict> Placement::explain(const Demand& demand) const {
  std::vector<PoolVerdict> verdicts;
  const auto id = index_->class_ids.find(demand.machine_class);
  const bool is_known = id != index_->class_ids.end() && index_->classes[id->second].exists;
  for (const auto& [name, pool_id] : index_->pool_ids) {
    const auto& pool = index_->pools[pool_id];
    if (!pool.exists) continue;
    auto& verdict = verdicts.emplace_back(PoolVerdict{.pool = name});
    verdict.obstacle = index_->fixed_obstacle(pool, demand, &verdict.detail);
    if (verdict.obstacle != Obstacle::none) continue;
    if (!is_known) {
      verdict.obstacle = Obstacle::class_unknown;
      verdict.detail = "there is no machine class " + demand.machine_class;
      continue;
    }
    const auto room = index_->room(pool, id->second);
    verdict.room = std::max<std::int64_t>(0, room.machines);
    if (room.machines > 0) {
      verdict.detail = "room for " + std::to_string(room.machines) + " of " + demand.machine_class;
      continue;
    }
    verdict.obstacle = room.limit;
    const auto& size = index_->classes[id->second].size;
    if (room.limit == Obstacle::cpu)
      verdict.detail = "cpu: " + std::to_string(*pool.view.cpu_milli) + "m altogether, " +
                       std::to_string(pool.used_cpu) + "m taken, the machine needs " + std::to_string(size.cpu_milli) +
                       "m";
    else if (room.limit == Obstacle::memory)
      verdict.detail = "memory: " + Quantity::bytes(*pool.view.memory_bytes).to_text() + " altogether, " +
                       Quantity::bytes(pool.used_memory).to_text() + " taken, the machine needs " +
                       Quantity::bytes(size.memory_bytes).to_text();
    else if (room.limit == Obstacle::class_count)
      verdict.detail = "it takes " + std::to_string(pool.view.class_counts.at(demand.machine_class)) + " of " +
                       demand.machine_class + " and has them";
    else
      verdict.detail = "it publishes neither cpu, memory nor a count of " + demand.machine_class;
  }
  return verdicts;
}

std::string Placement::summary(const Demand& demand) const {
  const auto id = index_->class_ids.find(demand.machine_class);
  if (id == index_->class_ids.end() || !index_->classes[id->second].exists)
    return "machine class \"" + demand.machine_class + "\" does not exist";
  if (index_->live_pools == 0) return "no machine pools";
  std::array<std::size_t, static_cast<std::size_t>(Obstacle::memory) + 1> counts{};
  for (const auto& pool : index_->pools) {
    if (!pool.exists) continue;
    auto obstacle = index_->fixed_obstacle(pool, demand);
    if (obstacle == Obstacle::none) {
      const auto room = index_->room(pool, id->second);
      if (room.machines <= 0) obstacle = room.limit;
    }
    ++counts[static_cast<std::size_t>(obstacle)];
  }
  std::string text = std::to_string(index_->live_pools) + (index_->live_pools == 1 ? " pool: " : " pools: ");
  bool is_first = true;
  for (std::size_t i = 0; i < counts.size(); ++i) {
    if (counts[i] == 0) continue;
    if (!is_first) text += ", ";
    is_first = false;
    text += std::to_string(counts[i]) + " " + std::string(words(static_cast<Obstacle>(i)));
  }
  return text;
}

auto Placement::usage(const std::string& pool) const -> Usage {
  const auto* found = index_->find(pool);
  if (found == nullptr) return {};
  return {found->machines, found->used_cpu, found->used_memory};
}

std::optional<std::string> Placement::pool_of(const std::string& uid) const {
  const auto entry = index_->placed.find(uid);
  if (entry == index_->placed.end()) return std::nullopt;
  return index_->pools[entry->second.pool].view.name;
}

std::size_t Placement::machines() const {
  return index_->placed.size();
}
std::size_t Placement::pools() const {
  return index_->live_pools;
}

}  // namespace ironcore::control
