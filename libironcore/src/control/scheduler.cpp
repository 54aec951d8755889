// SPDX-License-Identifier: Apache-2.0
// Queues of waiting objects, batches of bindings, and what becomes of them.
#include "ironcore/control/scheduler.hpp"

#include <algorithm>
#include <string_view>

namespace ironcore::control {

namespace {

template <class T>
bool is_bound(const T& object) {
  return PlacedKind<T>::pool_of(object) != nullptr;
}

/// With a class and a pool.
template <class T>
void observe(Placement& placement, const T& object, const std::string& pool) {
  placement.observe(object.metadata.uid, *PlacedKind<T>::class_of(object), pool, PlacedKind<T>::amount_of(object));
}

template <class C>
void set_class(Placement& placement, const C& of_class) {
  placement.set_class(of_class.metadata.name, size_of(of_class));
  if (of_class.metadata.deletion_timestamp) placement.close_class(of_class.metadata.name);
}

/// Equal texts, equal demands.
std::string group_of(const Demand& demand) {
  auto text = demand.text();
  if (demand.amount != 1) text += "#" + std::to_string(demand.amount);
  return text;
}

template <class T>
WallTime age_of(const T& object) {
  return object.metadata.creation_timestamp.value_or(WallTime{});
}

/// The commit may have been made although it failed: ask again, unchanged.
bool is_uncertain(ErrorCode code) {
  return code == ErrorCode::unavailable || code == ErrorCode::timeout || code == ErrorCode::cancelled;
}

/// Somebody else has written: normal life, and no fault of the object.
bool is_overtaken(ErrorCode code) {
  return code == ErrorCode::conflict || code == ErrorCode::not_found;
}

/// The condition is a reason to look at it: it says something else than that the object is placed.
template <class T>
bool is_said_to_wait(const T& object) {
  const auto* condition = api::find_condition(object.status.conditions, scheduled_condition);
  return condition != nullptr && condition->status != api::ConditionStatus::true_;
}

template <class T>
api::Condition placed_condition(const std::string& pool) {
  return {.type = scheduled_condition,
          .status = api::ConditionStatus::true_,
          .reason = "Scheduled",
          .message = "placed on " + std::string(PlacedKind<T>::subject.word) + " pool " + pool};
}

/// Nothing if the object has it.
template <class T>
std::optional<store::Operation> saying(const T& object, api::Condition condition, WallTime now) {
  auto after = object;
  if (!api::set_condition(after.status.conditions, std::move(condition), now)) return std::nullopt;
  const auto before = store::Object::of(object);
  return store::Patch{store::key_of(before), api::merge_patch(before, store::Object::of(std::move(after))),
                      store::Part::status};
}

constexpr std::size_t batch_bytes = store::max_transaction_bytes / 4;  // JSON adds escapes and what is not counted here
constexpr std::size_t looks_per_step = 100'000;                        // pools looked at for reasons, under the lock
constexpr auto recorder_pause = std::chrono::seconds(1);               // until the recorder may take more
constexpr auto say_pause = std::chrono::seconds(1);                    // until a condition is tried again
constexpr auto shortest_silence = std::chrono::seconds(1);             // between two reasons that one object is told
constexpr auto silence_each = std::chrono::milliseconds(20);           // and more for each that is told the same

}  // namespace

template <class T>
Scheduler<T>::Scheduler(store::Store& store, Informer<T>& objects, Informer<Pool>& pools, Informer<Class>& classes,
                        EventRecorder& events, SchedulerOptions options, Clock& clock, Log& log)
    : store_(store),
      objects_(objects),
      pools_(pools),
      classes_(classes),
      events_(events),
      options_(options),
      clock_(clock),
      log_(log),
      paused_(clock, options.retry) {
  objects_.on_change([this](const auto& before, const auto& after) { see_object(before, after); });
  pools_.on_change([this](const auto& before, const auto& after) { see_pool(before, after); });
  classes_.on_change([this](const auto& before, const auto& after) { see_class(before, after); });
}

// ---- what the informers tell --------------------------------------------------------------------------------------

template <class T>
void Scheduler<T>::see_object(const store::Shared<T>& before, const store::Shared<T>& after) {
  const std::lock_guard lock(mutex_);
  if (!after) {
    drop(before->metadata.uid);
    marks_.erase(before->metadata.uid);
    placement_.remove(before->metadata.uid);
  } else if (PlacedKind<T>::class_of(*after) == nullptr) {
    return;
  } else if (const auto* pool = PlacedKind<T>::pool_of(*after)) {
    drop(after->metadata.uid);
    observe(placement_, *after, *pool);
    marks_.erase(after->metadata.uid);
    if (is_active_ && (is_said_to_wait(*after) || !pool_revisions_.contains(*pool)))
      marks_.insert_or_assign(after->metadata.uid, Mark{after, {}});
  } else {
    admit(after);
  }
  wake();
}

template <class T>
void Scheduler<T>::see_pool(const store::Shared<Pool>& before, const store::Shared<Pool>& after) {
  const std::lock_guard lock(mutex_);
  if (!before || !after) has_other_pools_ = true;
  if (!after) {
    placement_.remove_pool(before->metadata.name);
    pool_revisions_.erase(before->metadata.name);
  } else {
    placement_.set_pool(view_of(*after));
    pool_revisions_[after->metadata.name] = after->metadata.resource_version;
  }
  look_at_blocked();
  wake();
}

template <class T>
void Scheduler<T>::see_class(const store::Shared<Class>& before, const store::Shared<Class>& after) {
  const std::lock_guard lock(mutex_);
  if (!after) {
    placement_.remove_class(before->metadata.name);
    class_revisions_.erase(before->metadata.name);
  } else {
    set_class(placement_, *after);
    class_revisions_[after->metadata.name] = after->metadata.resource_version;
  }
  look_at_blocked();
  wake();
}

template <class T>
void Scheduler<T>::wake() {
  is_woken_ = true;
  changed_.notify_all();
}

// ---- queues -------------------------------------------------------------------------------------------------------

template <class T>
void Scheduler<T>::admit(const store::Shared<T>& object) {
  const auto& uid = object->metadata.uid;
  const auto known = waiting_.find(uid);
  if (known != waiting_.end() && known->second.state == Waiting::State::binding) {
    known->second.object = object;  // the commit under way will fail, and then this is what counts
    return;
  }
  auto demand = Demand::of(*object);
  auto text = group_of(demand);
  if (known != waiting_.end() && known->second.state == Waiting::State::queued && !known->second.was_refused &&
      known->second.group->first == text && !object->metadata.deletion_timestamp) {
    known->second.object = object;  // nothing of what it asks for is new
    return;
  }
  const bool has_been_told = known != waiting_.end() && known->second.group->first == text &&
                             !known->second.group->second.newcomers.contains(uid);
  if (known != waiting_.end()) drop(uid);
  if (object->metadata.deletion_timestamp) return;
  const auto group = groups_.try_emplace(std::move(text)).first;
  if (group->second.members++ == 0) {
    group->second.shape = demand.text();
    group->second.demand = std::move(demand);
  }
  auto& waiting = waiting_.emplace(uid, Waiting{object, group, Waiting::State::queued}).first->second;
  if (!has_been_told) group->second.newcomers.insert(uid);
  enqueue(uid, waiting);
}

template <class T>
void Scheduler<T>::enqueue(const std::string& uid, Waiting& waiting) {
  auto& [text, group] = *waiting.group;
  waiting.state = Waiting::State::queued;
  const Turn turn{age_of(*waiting.object), uid};
  if (group.is_blocked) {
    group.queue.insert(turn);
    if (group.newcomers.contains(uid)) look_again(group, text, clock_.now());
    return;
  }
  if (!group.queue.empty()) heads_.erase({group.queue.begin()->first, group.queue.begin()->second, text});
  group.queue.insert(turn);
  heads_.emplace(group.queue.begin()->first, group.queue.begin()->second, text);
}

template <class T>
void Scheduler<T>::leave_queue(const std::string& uid, Waiting& waiting) {
  auto& [text, group] = *waiting.group;
  const Turn turn{age_of(*waiting.object), uid};
  if (!group.is_blocked && !group.queue.empty())
    heads_.erase({group.queue.begin()->first, group.queue.begin()->second, text});
  group.queue.erase(turn);
  if (!group.is_blocked && !group.queue.empty())
    heads_.emplace(group.queue.begin()->first, group.queue.begin()->second, text);
}

template <class T>
void Scheduler<T>::drop(const std::string& uid) {
  const auto known = waiting_.find(uid);
  if (known == waiting_.end()) return;
  if (known->second.state == Waiting::State::queued) leave_queue(uid, known->second);
  const auto group = known->second.group;
  waiting_.erase(known);
  paused_.forget(uid);
  group->second.newcomers.erase(uid);
  if (--group->second.members == 0) {
    if (group->second.look_at) announcements_.erase({*group->second.look_at, group->first});
    groups_.erase(group);
  }
}

template <class T>
void Scheduler<T>::unblock_groups() {
  if (placement_.openings() == openings_seen_) return;
  openings_seen_ = placement_.openings();
  for (auto& [text, group] : groups_) {
    if (!group.is_blocked) continue;
    group.is_blocked = false;
    if (!group.queue.empty()) heads_.emplace(group.queue.begin()->first, group.queue.begin()->second, text);
  }
}

template <class T>
void Scheduler<T>::wake_paused() {
  while (const auto uid = paused_.try_take()) {
    paused_.done(*uid);
    const auto known = waiting_.find(*uid);
    if (known != waiting_.end() && known->second.state == Waiting::State::pausing) enqueue(*uid, known->second);
  }
}

template <class T>
void Scheduler<T>::take_back(const std::string& uid) {
  placement_.forget(uid);
  const auto known = waiting_.find(uid);
  if (known == waiting_.end()) return;
  if (known->second.object->metadata.deletion_timestamp) return drop(uid);
  // What it asks for may have changed while it was away.
  const auto object = known->second.object;
  if (group_of(Demand::of(*object)) != known->second.group->first) {
    known->second.state = Waiting::State::pausing;
    return admit(object);
  }
  known->second.state = Waiting::State::pausing;
  paused_.retry(uid);
}

// ---- why objects wait ---------------------------------------------------------------------------------------------

template <class T>
void Scheduler<T>::look_again(Group& group, const std::string& text, Instant at) {
  if (group.look_at && *group.look_at <= at) return;
  if (group.look_at) announcements_.erase({*group.look_at, text});
  group.look_at = at;
  announcements_.emplace(at, text);
}

/// The reason may be another one now: those who were told shall hear it, but not too often.
template <class T>
void Scheduler<T>::look_at_blocked() {
  for (auto& [text, group] : groups_)
    if (group.is_blocked && !group.announced.empty()) look_again(group, text, next_announcement(group));
}

/// Pools change at any time, and each reason is written once for each object.
template <class T>
Instant Scheduler<T>::next_announcement(const Group& group) const {
  const auto many = silence_each * static_cast<std::int64_t>(std::min<std::size_t>(group.members, 1'000'000));
  return group.announced_at + std::min<Duration>(options_.announce_every, std::max<Duration>(shortest_silence, many));
}

template <class T>
void Scheduler<T>::announce(Group& group, const std::string& text) {
  if (!group.is_blocked || group.queue.empty()) return;
  const auto now = clock_.now();
  const bool is_due = group.announced.empty() || now >= next_announcement(group);
  if (!is_due && group.newcomers.empty()) return;
  const auto summary = placement_.summary(group.demand);
  if (is_due) {
    group.announced_at = now;
    if (summary != group.announced) {
      group.announced = summary;
      for (const auto& [age, uid] : group.queue) group.newcomers.insert(uid);
    }
  }
  const auto message = "no " + std::string(PlacedKind<T>::subject.word) + " pool can take it now: " + summary;
  for (auto uid = group.newcomers.begin(); uid != group.newcomers.end();) {
    const auto known = waiting_.find(*uid);
    if (known == waiting_.end() || known->second.state != Waiting::State::queued) {
      ++uid;  // hears it when it is back in the queue
      continue;
    }
    marks_.insert_or_assign(*uid, Mark{nullptr, message});
    if (!events_.record(reference_to(*known->second.object), api::EventType::normal,
                        std::string(PlacedKind<T>::no_room_reason), message, "Schedule"))
      return look_again(group, text, now + recorder_pause);
    uid = group.newcomers.erase(uid);
  }
}

template <class T>
void Scheduler<T>::announce_due() {
  auto groups = std::max<std::size_t>(1, looks_per_step / (placement_.pools() + 1));
  for (; groups > 0 && has_news(); --groups) {
    const auto text = announcements_.extract(announcements_.begin()).value().second;
    auto& group = groups_.at(text);
    group.look_at.reset();
    announce(group, text);
  }
}

template <class T>
bool Scheduler<T>::has_news() const {
  return !announcements_.empty() && announcements_.begin()->first <= clock_.now();
}

// ---- the condition Scheduled --------------------------------------------------------------------------------------

/// What is to be written, if the object does not say it already.
template <class T>
auto Scheduler<T>::saying_for(const std::string& uid, const Mark& mark) const -> std::optional<Saying> {
  const std::string word(PlacedKind<T>::subject.word);
  Saying saying{mark.object, {.type = scheduled_condition}, false};
  auto& condition = saying.condition;
  if (!mark.object) {
    const auto known = waiting_.find(uid);
    if (known == waiting_.end() || known->second.state != Waiting::State::queued) return std::nullopt;
    saying.object = known->second.object;
    condition.status = api::ConditionStatus::false_;
    condition.reason = PlacedKind<T>::no_room_reason;
    condition.message = mark.message;
  } else if (const auto& pool = *PlacedKind<T>::pool_of(*mark.object); !pool_revisions_.contains(pool)) {
    condition.status = api::ConditionStatus::false_;
    condition.reason = std::string(T::info.kind) + "PoolNotFound";
    condition.message = word + " pool " + pool + " does not exist: start its provider, or make the " + word +
                        " anew with another pool, or none";
    saying.is_event = true;
  } else if (is_said_to_wait(*mark.object)) {
    condition = placed_condition<T>(pool);
  } else {
    return std::nullopt;
  }
  if (saying.object->metadata.deletion_timestamp) return std::nullopt;
  const auto* said = api::find_condition(saying.object->status.conditions, scheduled_condition);
  if (said != nullptr && said->status == condition.status && said->reason == condition.reason &&
      said->message == condition.message)
    return std::nullopt;
  return saying;
}

template <class T>
auto Scheduler<T>::due_sayings() -> std::vector<Saying> {
  std::vector<Saying> due;
  if (clock_.now() < say_after_) return due;
  std::size_t bytes = 0;
  for (auto mark = marks_.begin(); mark != marks_.end() && due.size() < options_.batch;) {
    auto saying = saying_for(mark->first, mark->second);
    if (!saying) {
      mark = marks_.erase(mark);
      continue;
    }
    bytes += PlacedKind<T>::weight_of(*saying->object);
    if (!due.empty() && bytes > batch_bytes) break;
    due.push_back(std::move(*saying));
    ++mark;
  }
  return due;
}

/// Those who have a pool already: does it exist?
template <class T>
void Scheduler<T>::look_at_named_pools() {
  const auto all = objects_.list();
  const std::lock_guard lock(mutex_);
  for (const auto& object : all) {
    if (PlacedKind<T>::class_of(*object) == nullptr || !is_bound(*object)) continue;
    if (is_said_to_wait(*object) || !pool_revisions_.contains(*PlacedKind<T>::pool_of(*object)))
      marks_.try_emplace(object->metadata.uid, Mark{object, {}});
  }
}

/// Writes what is due. False if that is nothing.
template <class T>
bool Scheduler<T>::say(Open& open) {
  bool is_to_look = false;
  {
    const std::lock_guard lock(mutex_);
    is_to_look = std::exchange(has_other_pools_, false);
  }
  if (is_to_look) look_at_named_pools();
  std::vector<Saying> due;
  {
    const std::lock_guard lock(mutex_);
    due = due_sayings();
  }
  if (due.empty()) return false;
  say(due, open);
  return true;
}

template <class T>
void Scheduler<T>::say(std::span<const Saying> sayings, Open& open) {
  if (open.is_lease_lost) return;
  store::Transaction transaction;
  for (const auto& [object, condition, is_event] : sayings) {
    auto operation = saying(*object, condition, clock_.wall());
    if (!operation) continue;
    transaction.preconditions.emplace_back(
        store::Unchanged{store::key_of(store::Object::of(*object)), object->metadata.resource_version});
    transaction.operations.push_back(std::move(*operation));
  }
  if (lease_) transaction.preconditions.emplace_back(*lease_);
  const auto committed = store_.commit(transaction);
  if (!committed && committed.error().code() == ErrorCode::forbidden) {
    open.is_lease_lost = true;
    return;
  }
  if (!committed && sayings.size() > 1 && !is_uncertain(committed.error().code())) {
    say(sayings.first(sayings.size() / 2), open);
    return say(sayings.subspan(sayings.size() / 2), open);
  }
  const std::lock_guard lock(mutex_);
  if (!committed && (is_overtaken(committed.error().code()) || is_uncertain(committed.error().code()))) {
    say_after_ = clock_.now() + say_pause;  // with what the cache has then
    return;
  }
  for (const auto& [object, condition, is_event] : sayings) {
    marks_.erase(object->metadata.uid);
    if (committed && is_event)
      events_.record(reference_to(*object), api::EventType::warning, condition.reason, condition.message, "Schedule");
    if (!committed)
      log_.warning("a condition is not written",
                   {{PlacedKind<T>::subject.word, cache_key(object->metadata.namespace_, object->metadata.name)},
                    {"error", committed.error().message()}});
  }
  if (!committed) return;
  for (const auto& written : committed->objects) {
    const auto known = waiting_.find(written.metadata().uid);
    // The cache is told later: until then a binding would meet a conflict.
    if (known != waiting_.end() &&
        known->second.object->metadata.resource_version < written.metadata().resource_version)
      known->second.object = written.template share<T>();
  }
}

// ---- deciding -----------------------------------------------------------------------------------------------------

template <class T>
auto Scheduler<T>::decide_batch() -> std::vector<Binding> {
  wake_paused();
  unblock_groups();
  std::vector<Binding> batch;
  std::size_t bytes = 0;
  while (batch.size() < options_.batch && !heads_.empty()) {
    const auto [age, uid, text] = *heads_.begin();
    auto& group = groups_.at(text);
    auto pool = placement_.decide(group.demand, group.shape);
    if (!pool) {
      // Nobody else of this group fits either: one question answers for all of them.
      heads_.erase(heads_.begin());
      group.is_blocked = true;
      const bool is_new = group.announced.empty() || !group.newcomers.empty();
      look_again(group, text, is_new ? clock_.now() : next_announcement(group));
      continue;
    }
    auto& waiting = waiting_.at(uid);
    bytes += PlacedKind<T>::weight_of(*waiting.object);
    if (!batch.empty() && (bytes > batch_bytes || waiting.was_refused)) break;
    leave_queue(uid, waiting);
    waiting.state = Waiting::State::binding;
    placement_.assume(uid, group.demand.class_name, *pool, group.demand.amount);
    const auto revision = pool_revisions_.at(*pool);
    batch.push_back({waiting.object, std::move(*pool), revision, class_revisions_.at(group.demand.class_name)});
    if (waiting.was_refused) break;
  }
  announce_due();
  return batch;
}

// ---- binding ------------------------------------------------------------------------------------------------------

template <class T>
void Scheduler<T>::bind(std::span<const Binding> bindings, Open& open) {
  if (bindings.empty()) return;
  if (open.is_lease_lost) {
    open.uncertain.insert(open.uncertain.end(), bindings.begin(), bindings.end());
    return;
  }
  if (open.is_given_up()) {
    if (open.is_repeated)
      open.uncertain.insert(open.uncertain.end(), bindings.begin(), bindings.end());
    else
      put_off(bindings);
    return;
  }
  store::Transaction transaction;
  transaction.operations.reserve(bindings.size());
  transaction.preconditions.reserve(2 * bindings.size() + 1);
  std::unordered_set<std::string_view> pools, classes;
  for (const auto& binding : bindings) {
    const auto& metadata = binding.object->metadata;
    auto key = store::key<T>(metadata.namespace_, metadata.name);
    transaction.preconditions.emplace_back(store::Unchanged{key, metadata.resource_version});
    if (pools.insert(binding.pool).second)
      transaction.preconditions.emplace_back(
          store::Unchanged{store::key<Pool>("", binding.pool), binding.pool_revision});
    // A class that goes at this moment takes its size along: the object could not be accounted for.
    const auto& class_name = *PlacedKind<T>::class_of(*binding.object);
    if (classes.insert(class_name).second)
      transaction.preconditions.emplace_back(
          store::Unchanged{store::key<Class>("", class_name), binding.class_revision});
    // A pool's name is a DNS subdomain: nothing in it needs escaping.
    transaction.operations.emplace_back(store::Patch{
        std::move(key),
        R"({"spec":{")" + std::string(PlacedKind<T>::pool_field) + R"(":{"name":")" + binding.pool + R"("}}})"});
    if (is_said_to_wait(*binding.object))
      if (auto placed = saying(*binding.object, placed_condition<T>(binding.pool), clock_.wall()))
        transaction.operations.push_back(std::move(*placed));
  }
  if (lease_) transaction.preconditions.emplace_back(*lease_);

  const auto committed = store_.commit(transaction);
  if (committed) {
    open.has_bound = true;
    open.refused = 0;
    return settle(bindings);
  }
  const auto& error = committed.error();
  if (error.code() == ErrorCode::forbidden) {
    log_.warning("the scheduler may not bind any more", {{"error", error.message()}});
    open.is_lease_lost = true;
    open.uncertain.insert(open.uncertain.end(), bindings.begin(), bindings.end());
  } else if (is_uncertain(error.code())) {
    log_.warning("binding will be tried again", {{"kind", std::string(PlacedKind<T>::subject.word)},
                                                 {"objects", std::to_string(bindings.size())},
                                                 {"error", error.message()}});
    open.uncertain.insert(open.uncertain.end(), bindings.begin(), bindings.end());
  } else {
    bind_again(bindings, error, open);
  }
}

template <class T>
void Scheduler<T>::bind_again(std::span<const Binding> bindings, const Error& error, Open& open) {
  if (bindings.size() == 1) {
    if (!is_overtaken(error.code())) {
      ++open.refused;
      open.error = error;
    }
    return settle_failed(bindings.front(), error, open);
  }
  if (is_overtaken(error.code()) && !std::exchange(open.is_compared, true)) {
    // One pool that has changed concerns all that is bound to it: that is asked once, not found out by a commit for each of them.
    const auto rest = still_current(bindings, open);
    if (rest.size() < bindings.size()) return bind(rest, open);
  }
  // Halves until the one in trouble is alone: the others are not held up, and one conflict costs few commits.
  bind(bindings.first(bindings.size() / 2), open);
  bind(bindings.subspan(bindings.size() / 2), open);
}

/// Those whose pool and class are what they were when it was decided; the others are taken back.
template <class T>
auto Scheduler<T>::still_current(std::span<const Binding> bindings, Open& open) -> std::vector<Binding> {
  std::unordered_map<std::string, bool> pools, classes;
  const auto is_current = [&](auto& known, const store::Key& key, store::Revision revision) {
    const auto [entry, is_new] = known.try_emplace(key.name);
    if (is_new) {
      const auto now = store_.get(key);
      // An answer that did not come decides nothing: the commit will.
      entry->second = now ? now->metadata().resource_version == revision : now.error().code() != ErrorCode::not_found;
    }
    return entry->second;
  };
  std::vector<Binding> rest, stale;
  for (const auto& binding : bindings) {
    const bool is_good =
        is_current(pools, store::key<Pool>("", binding.pool), binding.pool_revision) &&
        is_current(classes, store::key<Class>("", *PlacedKind<T>::class_of(*binding.object)), binding.class_revision);
    (is_good ? rest : stale).push_back(binding);
  }
  if (open.is_repeated) {
    // Each may be bound already.
    const Error changed(ErrorCode::conflict, "its pool or class has changed");
    for (const auto& binding : stale) settle_failed(binding, changed, open);
  } else {
    const std::lock_guard lock(mutex_);
    for (const auto& binding : stale) take_back(binding.object->metadata.uid);
  }
  return rest;
}

/// Back into the queue as if nothing had been decided.
template <class T>
void Scheduler<T>::put_off(std::span<const Binding> bindings) {
  const std::lock_guard lock(mutex_);
  for (const auto& binding : bindings) {
    const auto& uid = binding.object->metadata.uid;
    const auto known = waiting_.find(uid);
    if (known == waiting_.end()) continue;
    placement_.forget(uid);
    const auto object = known->second.object;  // drop takes the entry away
    if (group_of(Demand::of(*object)) == known->second.group->first && !object->metadata.deletion_timestamp) {
      enqueue(uid, known->second);
    } else {
      known->second.state = Waiting::State::pausing;
      admit(object);
    }
  }
}

template <class T>
void Scheduler<T>::settle(std::span<const Binding> bindings) {
  const std::lock_guard lock(mutex_);
  for (const auto& binding : bindings) {
    const auto& object = *binding.object;
    const auto known = waiting_.find(object.metadata.uid);
    // If the informer was faster, the object is accounted for already, or gone again.
    if (known == waiting_.end()) continue;
    observe(placement_, object, binding.pool);
    drop(object.metadata.uid);
  }
  bound_ += bindings.size();
}

template <class T>
void Scheduler<T>::settle_failed(const Binding& binding, const Error& error, Open& open) {
  const auto& uid = binding.object->metadata.uid;
  const auto& name = binding.object->metadata;
  // The truth is in the store: perhaps an earlier attempt, or somebody else, has bound it.
  const auto now = store_.get(store::key<T>(name.namespace_, name.name));
  if (!now && now.error().code() != ErrorCode::not_found) {
    open.uncertain.push_back(binding);
    return;
  }
  const std::lock_guard lock(mutex_);
  const auto known = waiting_.find(uid);
  if (known == waiting_.end()) return;
  if (!now || now->metadata().uid != uid) {
    placement_.remove(uid);
    drop(uid);
    return;
  }
  const auto object = now->template share<T>();
  if (const auto* pool = PlacedKind<T>::pool_of(*object)) {
    observe(placement_, *object, *pool);
    drop(uid);
    return;
  }
  if (known->second.object->metadata.resource_version < object->metadata.resource_version)
    known->second.object = object;
  if (!is_overtaken(error.code())) {
    known->second.was_refused = true;
    events_.record(reference_to(*object), api::EventType::warning, "BindingFailed",
                   "cannot be bound to " + std::string(PlacedKind<T>::subject.word) + " pool " + binding.pool + ": " +
                       error.message(),
                   "Schedule");
  }
  const auto level = is_overtaken(error.code()) ? LogLevel::debug : LogLevel::warning;
  log_.write(level, "a binding failed, will try again",
             {{PlacedKind<T>::subject.word, cache_key(name.namespace_, name.name)},
              {"pool", binding.pool},
              {"error", error.message()}});
  take_back(uid);
}

// ---- the loop -----------------------------------------------------------------------------------------------------

template <class T>
void Scheduler<T>::activate(std::optional<store::HoldsLease> lease) {
  const std::lock_guard lock(mutex_);
  is_active_ = true;
  has_other_pools_ = true;
  lease_ = std::move(lease);
  objects_refresh_ = objects_.request_refresh();
  pools_refresh_ = pools_.request_refresh();
  classes_refresh_ = classes_.request_refresh();
}

template <class T>
void Scheduler<T>::deactivate() {
  const std::lock_guard lock(mutex_);
  is_active_ = false;
  lease_.reset();
  uncertain_.clear();
  say_after_ = {};
  failures_ = 0;
  wait_until_ = {};
  for (auto& [uid, waiting] : waiting_) {
    if (waiting.state == Waiting::State::binding) placement_.forget(uid);
    if (waiting.state != Waiting::State::queued) enqueue(uid, waiting);
  }
}

template <class T>
bool Scheduler<T>::is_active() const {
  const std::lock_guard lock(mutex_);
  return is_active_;
}

template <class T>
bool Scheduler<T>::is_fresh() const {
  return objects_.is_refreshed(objects_refresh_) && pools_.is_refreshed(pools_refresh_) &&
         classes_.is_refreshed(classes_refresh_);
}

template <class T>
bool Scheduler<T>::step() {
  std::vector<Binding> bindings;
  Open open;
  {
    const std::lock_guard lock(mutex_);
    if (!is_active_ || clock_.now() < wait_until_ || !is_fresh()) return false;
    open.is_repeated = !uncertain_.empty();
    bindings = open.is_repeated ? std::exchange(uncertain_, {}) : decide_batch();
  }
  bind(bindings, open);
  const bool has_said = say(open);
  if (open.is_lease_lost) {
    deactivate();
    return false;
  }
  const std::lock_guard lock(mutex_);
  if (bindings.empty()) return has_said || has_news();
  uncertain_ = std::move(open.uncertain);
  if (uncertain_.empty() && !open.is_given_up() && (open.has_bound || !open.error)) {
    failures_ = 0;
    wait_until_ = {};
  } else {
    if (open.is_given_up())
      log_.warning("the store takes no bindings, will go on later", {{"error", open.error->message()}});
    ++failures_;
    wait_until_ = clock_.now() + std::min<Duration>(std::chrono::milliseconds(50) * failures_, std::chrono::seconds(5));
  }
  return true;
}

template <class T>
void Scheduler<T>::run(std::stop_token stop, std::optional<store::HoldsLease> lease) {
  activate(std::move(lease));
  objects_.wait_until_refreshed(objects_refresh_, stop);
  pools_.wait_until_refreshed(pools_refresh_, stop);
  classes_.wait_until_refreshed(classes_refresh_, stop);
  while (!stop.stop_requested() && is_active()) {
    {
      const std::lock_guard lock(mutex_);
      is_woken_ = false;
    }
    while (!stop.stop_requested() && step()) {
    }
    std::unique_lock lock(mutex_);
    auto deadline = paused_.next_due().value_or(Instant::max());
    if (!marks_.empty()) deadline = std::min(deadline, say_after_);
    if (!announcements_.empty()) deadline = std::min(deadline, announcements_.begin()->first);
    if (wait_until_ > clock_.now()) deadline = wait_until_;  // whatever happens, nothing is done before
    if (is_active_) clock_.wait(lock, changed_, stop, deadline, [this] { return is_woken_; });
  }
  deactivate();
}

template <class T>
std::size_t Scheduler<T>::waiting() const {
  const std::lock_guard lock(mutex_);
  return waiting_.size();
}

template <class T>
std::uint64_t Scheduler<T>::bound() const {
  return bound_;
}

template <class T>
Placement::Usage Scheduler<T>::usage(const std::string& pool) const {
  const std::lock_guard lock(mutex_);
  return placement_.usage(pool);
}

// ---- explaining ---------------------------------------------------------------------------------------------------

template <class T>
Result<Explanation> explain_placement(store::Store& store, const std::string& namespace_, const std::string& name) {
  using Kind = PlacedKind<T>;
  IRONCORE_TRY(const auto object, store::get<T>(store, namespace_, name));
  if (Kind::class_of(*object) == nullptr)
    return Error(ErrorCode::wrong_state, "it has no class, so no pool: somebody else provides it");
  IRONCORE_TRY(const auto classes, store::list<typename Kind::Class>(store));
  IRONCORE_TRY(const auto pools, store::list<typename Kind::Pool>(store));
  IRONCORE_TRY(const auto others, store::list<T>(store));
  Placement placement(Kind::subject);
  for (const auto& each : classes) set_class(placement, *each);
  for (const auto& pool : pools) placement.set_pool(view_of(*pool));
  for (const auto& other : others)
    if (Kind::class_of(*other) != nullptr && is_bound(*other) && other->metadata.uid != object->metadata.uid)
      observe(placement, *other, *Kind::pool_of(*other));
  const auto demand = Demand::of(*object);
  return Explanation{is_bound(*object) ? *Kind::pool_of(*object) : "", placement.summary(demand),
                     placement.explain(demand)};
}

template class Scheduler<api::Machine>;
template class Scheduler<api::Volume>;
template class Scheduler<api::Bucket>;
template Result<Explanation> explain_placement<api::Machine>(store::Store&, const std::string&, const std::string&);
template Result<Explanation> explain_placement<api::Volume>(store::Store&, const std::string&, const std::string&);
template Result<Explanation> explain_placement<api::Bucket>(store::Store&, const std::string&, const std::string&);

}  // namespace ironcore::control
