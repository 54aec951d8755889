// SPDX-License-Identifier: Apache-2.0
// Heartbeats, capacity, classes.
#include "machine_pool_announcer.hpp"

#include <algorithm>
#include <limits>

#include "ironcore/control/pool_health.hpp"
#include "machine_translation.hpp"

namespace ironcore::control {

MachinePoolAnnouncer::MachinePoolAnnouncer(store::Store& store, compute::Host& host, Informer<api::MachinePool>& pools,
                                           Informer<api::MachineClass>& classes, const MachineProviderOptions& options,
                                           Clock& clock, Log& log)
    : store_(store), host_(host), pools_(pools), classes_(classes), options_(options), clock_(clock), log_(log) {}

void MachinePoolAnnouncer::hurry() {
  const std::lock_guard lock(mutex_);
  is_hurried_ = true;
  changed_.notify_all();
}

Instant MachinePoolAnnouncer::next_step() const {
  const std::lock_guard lock(mutex_);
  return is_hurried_ ? std::max(next_announcement_, Instant{}) : next_beat_;
}

Result<void> MachinePoolAnnouncer::check_owner(const api::MachinePool& pool) const {
  const auto& owner = pool.spec.provider_id;
  if (owner.empty() || owner == options_.provider_id) return {};
  return Error(ErrorCode::wrong_state, "machine pool " + options_.pool + " belongs to provider " + owner +
                                           ", this is " + options_.provider_id +
                                           "; give this one another pool, or delete the pool first");
}

Result<void> MachinePoolAnnouncer::renew_lease() {
  const auto lease = store_.acquire_lease(pool_lease<api::Machine>(options_.pool),
                                          options_.holder.empty() ? options_.provider_id : options_.holder,
                                          options_.lease_time_to_live);
  if (!lease) return lease.error();
  lease_token_ = lease->token;
  return {};
}

/// A lease that is kept by somebody who may not use it would keep the right one from working.
void MachinePoolAnnouncer::give_lease_back() {
  if (!lease_token_) return;
  const auto released = store_.release_lease(pool_lease<api::Machine>(options_.pool), *lease_token_);
  if (released || released.error().code() != ErrorCode::unavailable) lease_token_.reset();
}

api::MachinePoolStatus MachinePoolAnnouncer::status_for(const api::MachinePool& pool) {
  auto status = pool.status;
  const auto capacity = host_.capacity();
  api::Condition ready{.type = "Ready"};
  if (!capacity) {
    // What it takes altogether has not changed: only nothing new may come.
    ready.status = api::ConditionStatus::false_;
    ready.reason = "RuntimeUnreachable";
    ready.message = capacity.error().message();
    status.state = api::MachinePoolState::error;
    api::set_condition(status.conditions, std::move(ready), clock_.wall());
    return status;
  }
  ready.status = api::ConditionStatus::true_;
  ready.reason = "HeartbeatReceived";
  ready.message = "the provider runs and reaches its hypervisor";
  status.state = api::MachinePoolState::ready;
  api::set_condition(status.conditions, std::move(ready), clock_.wall());
  status.addresses = options_.addresses;

  const auto memory = static_cast<std::int64_t>(
      std::min<std::uint64_t>(capacity->memory_bytes, std::numeric_limits<std::int64_t>::max()));
  status.capacity = {{"cpu", Quantity(static_cast<std::int64_t>(capacity->cpus))}, {"memory", Quantity::bytes(memory)}};
  status.available_machine_classes.clear();
  auto classes = classes_.list();
  std::sort(classes.begin(), classes.end(),
            [](const auto& a, const auto& b) { return a->metadata.name < b->metadata.name; });
  for (const auto& machine_class : classes) {
    const auto& name = machine_class->metadata.name;
    const auto count = offered_count(*machine_class, options_.classes, *capacity);
    if (!count) continue;
    status.available_machine_classes.push_back({.name = name});
    status.capacity.emplace("class/machine." + name, Quantity(*count));
  }
  status.allocatable = status.capacity;
  return status;
}

Result<void> MachinePoolAnnouncer::announce() {
  auto pool = pools_.get(options_.pool);
  if (!pool) {
    api::MachinePool fresh;
    fresh.metadata.name = options_.pool;
    fresh.metadata.labels = options_.labels;
    fresh.spec.provider_id = options_.provider_id;
    auto created = store::create(store_, std::move(fresh));
    if (!created && created.error().code() == ErrorCode::already_exists)
      created = store::get<api::MachinePool>(store_, "", options_.pool);
    IRONCORE_TRY(pool, std::move(created));
  }
  IRONCORE_CHECK(check_owner(*pool));
  auto wanted = *pool;
  wanted.spec.provider_id = options_.provider_id;
  for (const auto& [key, value] : options_.labels) wanted.metadata.labels[key] = value;
  if (wanted != *pool) {
    IRONCORE_TRY(pool, store::patch(store_, *pool, std::move(wanted)));
  }
  auto told = *pool;
  told.status = status_for(*pool);
  if (told.status != pool->status) {
    IRONCORE_CHECK(store::patch(store_, *pool, std::move(told), store::Part::status));
  }
  return {};
}

Result<void> MachinePoolAnnouncer::beat() {
  if (const auto pool = pools_.get(options_.pool)) IRONCORE_CHECK(check_owner(*pool));
  IRONCORE_CHECK(within(renew_lease(), "renew the lease of the machine pool"));
  return within(announce(), "announce the machine pool");
}

bool MachinePoolAnnouncer::step() {
  const auto now = clock_.now();
  {
    const std::lock_guard lock(mutex_);
    const bool is_due = now >= next_beat_ || (is_hurried_ && now >= next_announcement_);
    if (!is_due || !pools_.has_synced() || !classes_.has_synced()) return false;
    is_hurried_ = false;
    next_beat_ = now + options_.heartbeat_every;
    next_announcement_ = now + std::chrono::milliseconds(100);  // many classes that come at once are told at once
  }
  const bool was_ours = is_ours_;
  const auto beaten = beat();
  if (beaten) {
    last_trouble_.clear();
    is_ours_ = true;
  } else {
    const auto code = beaten.error().code();
    // Not being able to ask is no reason to leave guests alone: what was ours stays ours.
    if (code == ErrorCode::conflict || code == ErrorCode::wrong_state) is_ours_ = false;
    if (code == ErrorCode::wrong_state) give_lease_back();
    if (last_trouble_ != beaten.error().message())
      log_.error("this provider does not serve its machine pool",
                 {{"pool", options_.pool}, {"error", beaten.error().message()}});
    last_trouble_ = beaten.error().message();
  }
  if (is_ours_ && !was_ours && on_ours_) on_ours_();
  return true;
}

void MachinePoolAnnouncer::run(std::stop_token stop) {
  if (!pools_.wait_until_synced(stop) || !classes_.wait_until_synced(stop)) return;
  while (!stop.stop_requested()) {
    step();
    std::unique_lock lock(mutex_);
    if (!clock_.wait(lock, changed_, stop, next_beat_, [this] { return is_hurried_; })) continue;
    const auto at = next_announcement_;
    lock.unlock();
    sleep_until(clock_, at, stop);
  }
}

}  // namespace ironcore::control
