// SPDX-License-Identifier: Apache-2.0
// Queues of waiting machines, batches of bindings, and what becomes of them.
#include "ironcore/control/machine_scheduler.hpp"

#include <algorithm>
#include <string_view>

namespace ironcore::control {

namespace {

bool is_bound(const api::Machine& machine) {
  return machine.spec.machine_pool_ref && !machine.spec.machine_pool_ref->name.empty();
}

WallTime age_of(const api::Machine& machine) {
  return machine.metadata.creation_timestamp.value_or(WallTime{});
}

/// The commit may have been made although it failed: ask again, unchanged.
bool is_uncertain(ErrorCode code) {
  return code == ErrorCode::unavailable || code == ErrorCode::timeout || code == ErrorCode::cancelled;
}

/// Somebody else has written: normal life, and no fault of the machine.
bool is_overtaken(ErrorCode code) {
  return code == ErrorCode::conflict || code == ErrorCode::not_found;
}

constexpr std::size_t batch_bytes = store::max_transaction_bytes / 4;  // JSON adds escapes and what is not counted here
constexpr std::size_t looks_per_step = 100'000;                        // pools looked at for reasons, under the lock
constexpr auto recorder_pause = std::chrono::seconds(1);               // until the recorder may take more

/// About what the store writes for a machine.
std::size_t weight(const api::Machine& machine) {
  std::size_t bytes = 1024 + 512 * (machine.spec.volumes.size() + machine.spec.network_interfaces.size());
  for (const auto& [key, value] : machine.metadata.annotations) bytes += key.size() + value.size();
  for (const auto& variable : machine.spec.efi_vars) bytes += variable.value.size();
  return bytes;
}

}  // namespace

MachineScheduler::MachineScheduler(store::Store& store, Informer<api::Machine>& machines,
                                   Informer<api::MachinePool>& pools, Informer<api::MachineClass>& classes,
                                   EventRecorder& events, MachineSchedulerOptions options, Clock& clock, Log& log)
    : store_(store),
      machines_(machines),
      pools_(pools),
      classes_(classes),
      events_(events),
      options_(options),
      clock_(clock),
      log_(log),
      paused_(clock, options.retry) {
  machines_.on_change([this](const auto& before, const auto& after) { see_machine(before, after); });
  pools_.on_change([this](const auto& before, const auto& after) { see_pool(before, after); });
  classes_.on_change([this](const auto& before, const auto& after) { see_class(before, after); });
}

// ---- what the informers tell --------------------------------------------------------------------------------------

void MachineScheduler::see_machine(const store::Shared<api::Machine>& before,
                                   const store::Shared<api::Machine>& after) {
  const std::lock_guard lock(mutex_);
  if (!after) {
    drop(before->metadata.uid);
    placement_.remove(before->metadata.uid);
  } else if (is_bound(*after)) {
    drop(after->metadata.uid);
    placement_.observe(after->metadata.uid, after->spec.machine_class_ref.name, after->spec.machine_pool_ref->name);
  } else {
    admit(after);
  }
  wake();
}

void MachineScheduler::see_pool(const store::Shared<api::MachinePool>& before,
                                const store::Shared<api::MachinePool>& after) {
  const std::lock_guard lock(mutex_);
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

void MachineScheduler::see_class(const store::Shared<api::MachineClass>& before,
                                 const store::Shared<api::MachineClass>& after) {
  const std::lock_guard lock(mutex_);
  if (!after) {
    placement_.remove_class(before->metadata.name);
    class_revisions_.erase(before->metadata.name);
  } else {
    placement_.set_class(after->metadata.name, size_of(*after));
    class_revisions_[after->metadata.name] = after->metadata.resource_version;
  }
  look_at_blocked();
  wake();
}

void MachineScheduler::wake() {
  is_woken_ = true;
  changed_.notify_all();
}

// ---- queues -------------------------------------------------------------------------------------------------------

void MachineScheduler::admit(const store::Shared<api::Machine>& machine) {
  const auto& uid = machine->metadata.uid;
  const auto known = waiting_.find(uid);
  if (known != waiting_.end() && known->second.state == Waiting::State::binding) {
    known->second.machine = machine;  // the commit under way will fail, and then this is what counts
    return;
  }
  auto demand = Demand::of(*machine);
  auto text = demand.text();
  const bool has_been_told = known != waiting_.end() && known->second.group->first == text &&
                             !known->second.group->second.newcomers.contains(uid);
  if (known != waiting_.end()) drop(uid);
  if (machine->metadata.deletion_timestamp) return;
  const auto group = groups_.try_emplace(std::move(text)).first;
  if (group->second.members++ == 0) group->second.demand = std::move(demand);
  auto& waiting = waiting_.emplace(uid, Waiting{machine, group, Waiting::State::queued}).first->second;
  if (!has_been_told) group->second.newcomers.insert(uid);
  enqueue(uid, waiting);
}

void MachineScheduler::enqueue(const std::string& uid, Waiting& waiting) {
  auto& [text, group] = *waiting.group;
  waiting.state = Waiting::State::queued;
  const Turn turn{age_of(*waiting.machine), uid};
  if (group.is_blocked) {
    group.queue.insert(turn);
    if (group.newcomers.contains(uid)) look_again(group, text, clock_.now());
    return;
  }
  if (!group.queue.empty()) heads_.erase({group.queue.begin()->first, group.queue.begin()->second, text});
  group.queue.insert(turn);
  heads_.emplace(group.queue.begin()->first, group.queue.begin()->second, text);
}

void MachineScheduler::leave_queue(const std::string& uid, Waiting& waiting) {
  auto& [text, group] = *waiting.group;
  const Turn turn{age_of(*waiting.machine), uid};
  if (!group.is_blocked && !group.queue.empty())
    heads_.erase({group.queue.begin()->first, group.queue.begin()->second, text});
  group.queue.erase(turn);
  if (!group.is_blocked && !group.queue.empty())
    heads_.emplace(group.queue.begin()->first, group.queue.begin()->second, text);
}

void MachineScheduler::drop(const std::string& uid) {
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

void MachineScheduler::unblock_groups() {
  if (placement_.openings() == openings_seen_) return;
  openings_seen_ = placement_.openings();
  for (auto& [text, group] : groups_) {
    if (!group.is_blocked) continue;
    group.is_blocked = false;
    if (!group.queue.empty()) heads_.emplace(group.queue.begin()->first, group.queue.begin()->second, text);
  }
}

void MachineScheduler::wake_paused() {
  while (const auto uid = paused_.try_take()) {
    paused_.done(*uid);
    const auto known = waiting_.find(*uid);
    if (known != waiting_.end() && known->second.state == Waiting::State::pausing) enqueue(*uid, known->second);
  }
}

void MachineScheduler::take_back(const std::string& uid) {
  placement_.forget(uid);
  const auto known = waiting_.find(uid);
  if (known == waiting_.end()) return;
  if (known->second.machine->metadata.deletion_timestamp) return drop(uid);
  // What it asks for may have changed while it was away.
  const auto machine = known->second.machine;
  if (Demand::of(*machine).text() != known->second.group->first) {
    known->second.state = Waiting::State::pausing;
    return admit(machine);
  }
  known->second.state = Waiting::State::pausing;
  paused_.retry(uid);
}

// ---- why machines wait --------------------------------------------------------------------------------------------

void MachineScheduler::look_again(Group& group, const std::string& text, Instant at) {
  if (group.look_at && *group.look_at <= at) return;
  if (group.look_at) announcements_.erase({*group.look_at, text});
  group.look_at = at;
  announcements_.emplace(at, text);
}

/// The reason may be another one now: those who were told shall hear it, but not too often.
void MachineScheduler::look_at_blocked() {
  for (auto& [text, group] : groups_)
    if (group.is_blocked && !group.announced.empty())
      look_again(group, text, group.announced_at + options_.announce_every);
}

void MachineScheduler::announce(Group& group, const std::string& text) {
  if (!group.is_blocked || group.queue.empty()) return;
  const auto now = clock_.now();
  const bool is_due = group.announced.empty() || now >= group.announced_at + options_.announce_every;
  if (!is_due && group.newcomers.empty()) return;
  const auto summary = placement_.summary(group.demand);
  if (is_due) {
    group.announced_at = now;
    if (summary != group.announced) {
      group.announced = summary;
      for (const auto& [age, uid] : group.queue) group.newcomers.insert(uid);
    }
  }
  for (auto uid = group.newcomers.begin(); uid != group.newcomers.end();) {
    const auto known = waiting_.find(*uid);
    if (known == waiting_.end() || known->second.state != Waiting::State::queued) {
      ++uid;  // hears it when it is back in the queue
      continue;
    }
    if (!events_.record(reference_to(*known->second.machine), api::EventType::normal, "OutOfCapacity",
                        "no machine pool can take it now: " + summary, "Schedule"))
      return look_again(group, text, now + recorder_pause);
    uid = group.newcomers.erase(uid);
  }
}

void MachineScheduler::announce_due() {
  auto groups = std::max<std::size_t>(1, looks_per_step / (placement_.pools() + 1));
  for (; groups > 0 && has_news(); --groups) {
    const auto text = announcements_.extract(announcements_.begin()).value().second;
    auto& group = groups_.at(text);
    group.look_at.reset();
    announce(group, text);
  }
}

bool MachineScheduler::has_news() const {
  return !announcements_.empty() && announcements_.begin()->first <= clock_.now();
}

// ---- deciding -----------------------------------------------------------------------------------------------------

auto MachineScheduler::decide_batch() -> std::vector<Binding> {
  wake_paused();
  unblock_groups();
  std::vector<Binding> batch;
  std::size_t bytes = 0;
  while (batch.size() < options_.batch && !heads_.empty()) {
    const auto [age, uid, text] = *heads_.begin();
    auto& group = groups_.at(text);
    auto pool = placement_.decide(group.demand, text);
    if (!pool) {
      // Nobody else of this group fits either: one question answers for all of them.
      heads_.erase(heads_.begin());
      group.is_blocked = true;
      const bool is_new = group.announced.empty() || !group.newcomers.empty();
      look_again(group, text, is_new ? clock_.now() : group.announced_at + options_.announce_every);
      continue;
    }
    auto& waiting = waiting_.at(uid);
    bytes += weight(*waiting.machine);
    if (!batch.empty() && (bytes > batch_bytes || waiting.was_refused)) break;
    leave_queue(uid, waiting);
    waiting.state = Waiting::State::binding;
    placement_.assume(uid, group.demand.machine_class, *pool);
    const auto revision = pool_revisions_.at(*pool);
    batch.push_back({waiting.machine, std::move(*pool), revision, class_revisions_.at(group.demand.machine_class)});
    if (waiting.was_refused) break;
  }
  announce_due();
  return batch;
}

// ---- binding ------------------------------------------------------------------------------------------------------

void MachineScheduler::bind(std::span<const Binding> bindings, Open& open) {
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
    const auto& metadata = binding.machine->metadata;
    auto key = store::key<api::Machine>(metadata.namespace_, metadata.name);
    transaction.preconditions.emplace_back(store::Unchanged{key, metadata.resource_version});
    if (pools.insert(binding.pool).second)
      transaction.preconditions.emplace_back(
          store::Unchanged{store::key<api::MachinePool>("", binding.pool), binding.pool_revision});
    // A class that goes at this moment takes its size along: the machine could not be accounted for.
    const auto& machine_class = binding.machine->spec.machine_class_ref.name;
    if (classes.insert(machine_class).second)
      transaction.preconditions.emplace_back(
          store::Unchanged{store::key<api::MachineClass>("", machine_class), binding.class_revision});
    // A pool's name is a DNS subdomain: nothing in it needs escaping.
    transaction.operations.emplace_back(
        store::Patch{std::move(key), R"({"spec":{"machinePoolRef":{"name":")" + binding.pool + R"("}}})"});
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
    log_.warning("binding will be tried again",
                 {{"machines", std::to_string(bindings.size())}, {"error", error.message()}});
    open.uncertain.insert(open.uncertain.end(), bindings.begin(), bindings.end());
  } else {
    bind_again(bindings, error, open);
  }
}

void MachineScheduler::bind_again(std::span<const Binding> bindings, const Error& error, Open& open) {
  if (bindings.size() == 1) {
    if (!is_overtaken(error.code())) {
      ++open.refused;
      open.error = error;
    }
    return settle_failed(bindings.front(), error, open);
  }
  if (is_overtaken(error.code()) && !std::exchange(open.is_compared, true)) {
    // One pool that has changed concerns all its machines: that is asked once, not found out by a commit for each of them.
    const auto rest = still_current(bindings, open);
    if (rest.size() < bindings.size()) return bind(rest, open);
  }
  // Halves until the one in trouble is alone: the others are not held up, and one conflict costs few commits.
  bind(bindings.first(bindings.size() / 2), open);
  bind(bindings.subspan(bindings.size() / 2), open);
}

/// Those whose pool and class are what they were when it was decided; the others are taken back.
auto MachineScheduler::still_current(std::span<const Binding> bindings, Open& open) -> std::vector<Binding> {
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
        is_current(pools, store::key<api::MachinePool>("", binding.pool), binding.pool_revision) &&
        is_current(classes, store::key<api::MachineClass>("", binding.machine->spec.machine_class_ref.name),
                   binding.class_revision);
    (is_good ? rest : stale).push_back(binding);
  }
  if (open.is_repeated) {
    // Each may be bound already.
    const Error changed(ErrorCode::conflict, "its machine pool or class has changed");
    for (const auto& binding : stale) settle_failed(binding, changed, open);
  } else {
    const std::lock_guard lock(mutex_);
    for (const auto& binding : stale) take_back(binding.machine->metadata.uid);
  }
  return rest;
}

/// Back into the queue as if nothing had been decided.
void MachineScheduler::put_off(std::span<const Binding> bindings) {
  const std::lock_guard lock(mutex_);
  for (const auto& binding : bindings) {
    const auto& uid = binding.machine->metadata.uid;
    const auto known = waiting_.find(uid);
    if (known == waiting_.end()) continue;
    placement_.forget(uid);
    const auto machine = known->second.machine;  // drop takes the entry away
    if (Demand::of(*machine).text() == known->second.group->first && !machine->metadata.deletion_timestamp) {
      enqueue(uid, known->second);
    } else {
      known->second.state = Waiting::State::pausing;
      admit(machine);
    }
  }
}

void MachineScheduler::settle(std::span<const Binding> bindings) {
  const std::lock_guard lock(mutex_);
  for (const auto& binding : bindings) {
    const auto& machine = *binding.machine;
    const auto known = waiting_.find(machine.metadata.uid);
    // If the informer was faster, the machine is accounted for already, or gone again.
    if (known == waiting_.end()) continue;
    placement_.observe(machine.metadata.uid, machine.spec.machine_class_ref.name, binding.pool);
    drop(machine.metadata.uid);
  }
  bound_ += bindings.size();
}

void MachineScheduler::settle_failed(const Binding& binding, const Error& error, Open& open) {
  const auto& uid = binding.machine->metadata.uid;
  const auto& name = binding.machine->metadata;
  // The truth is in the store: perhaps an earlier attempt, or somebody else, has bound it.
  const auto now = store_.get(store::key<api::Machine>(name.namespace_, name.name));
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
  const auto machine = now->share<api::Machine>();
  if (is_bound(*machine)) {
    placement_.observe(uid, machine->spec.machine_class_ref.name, machine->spec.machine_pool_ref->name);
    drop(uid);
    return;
  }
  if (known->second.machine->metadata.resource_version < machine->metadata.resource_version)
    known->second.machine = machine;
  if (!is_overtaken(error.code())) {
    known->second.was_refused = true;
    events_.record(reference_to(*machine), api::EventType::warning, "BindingFailed",
                   "cannot be bound to machine pool " + binding.pool + ": " + error.message(), "Schedule");
  }
  const auto level = is_overtaken(error.code()) ? LogLevel::debug : LogLevel::warning;
  log_.write(level, "a machine could not be bound, will try again",
             {{"machine", cache_key(name.namespace_, name.name)}, {"pool", binding.pool}, {"error", error.message()}});
  take_back(uid);
}

// ---- the loop -----------------------------------------------------------------------------------------------------

void MachineScheduler::activate(std::optional<store::HoldsLease> lease) {
  const std::lock_guard lock(mutex_);
  is_active_ = true;
  lease_ = std::move(lease);
  machines_refresh_ = machines_.request_refresh();
  pools_refresh_ = pools_.request_refresh();
  classes_refresh_ = classes_.request_refresh();
}

void MachineScheduler::deactivate() {
  const std::lock_guard lock(mutex_);
  is_active_ = false;
  lease_.reset();
  uncertain_.clear();
  failures_ = 0;
  wait_until_ = {};
  for (auto& [uid, waiting] : waiting_) {
    if (waiting.state == Waiting::State::binding) placement_.forget(uid);
    if (waiting.state != Waiting::State::queued) enqueue(uid, waiting);
  }
}

bool MachineScheduler::is_active() const {
  const std::lock_guard lock(mutex_);
  return is_active_;
}

bool MachineScheduler::is_fresh() const {
  return machines_.is_refreshed(machines_refresh_) && pools_.is_refreshed(pools_refresh_) &&
         classes_.is_refreshed(classes_refresh_);
}

bool MachineScheduler::step() {
  std::vector<Binding> bindings;
  Open open;
  {
    const std::lock_guard lock(mutex_);
    if (!is_active_ || clock_.now() < wait_until_ || !is_fresh()) return false;
    open.is_repeated = !uncertain_.empty();
    bindings = open.is_repeated ? std::exchange(uncertain_, {}) : decide_batch();
    if (bindings.empty()) return has_news();
  }
  bind(bindings, open);
  if (open.is_lease_lost) {
    deactivate();
    return false;
  }
  const std::lock_guard lock(mutex_);
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

void MachineScheduler::run(std::stop_token stop, std::optional<store::HoldsLease> lease) {
  activate(std::move(lease));
  machines_.wait_until_refreshed(machines_refresh_, stop);
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
    if (!announcements_.empty()) deadline = std::min(deadline, announcements_.begin()->first);
    if (wait_until_ > clock_.now()) deadline = wait_until_;  // whatever happens, nothing is done before
    if (is_active_) clock_.wait(lock, changed_, stop, deadline, [this] { return is_woken_; });
  }
  deactivate();
}

std::size_t MachineScheduler::waiting() const {
  const std::lock_guard lock(mutex_);
  return waiting_.size();
}

std::uint64_t MachineScheduler::bound() const {
  return bound_;
}

Placement::Usage MachineScheduler::usage(const std::string& pool) const {
  const std::lock_guard lock(mutex_);
  return placement_.usage(pool);
}

// ---- explaining ---------------------------------------------------------------------------------------------------

Result<Explanation> explain_machine(store::Store& store, const std::string& namespace_, const std::string& name) {
  IRONCORE_TRY(const auto machine, store::get<api::Machine>(store, namespace_, name));
  IRONCORE_TRY(const auto classes, store::list<api::MachineClass>(store));
  IRONCORE_TRY(const auto pools, store::list<api::MachinePool>(store));
  IRONCORE_TRY(const auto machines, store::list<api::Machine>(store));
  Placement placement;
  for (const auto& machine_class : classes) placement.set_class(machine_class->metadata.name, size_of(*machine_class));
  for (const auto& pool : pools) placement.set_pool(view_of(*pool));
  for (const auto& other : machines)
    if (is_bound(*other) && other->metadata.uid != machine->metadata.uid)
      placement.observe(other->metadata.uid, other->spec.machine_class_ref.name, other->spec.machine_pool_ref->name);
  const auto demand = Demand::of(*machine);
  return Explanation{is_bound(*machine) ? machine->spec.machine_pool_ref->name : "", placement.summary(demand),
                     placement.explain(demand)};
}

}  // namespace ironcore::control
