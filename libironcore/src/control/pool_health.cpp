// SPDX-License-Identifier: Apache-2.0
// Watching leases and Ready conditions for progress.
#include "ironcore/control/pool_health.hpp"

#include <string_view>
#include <unordered_map>

namespace ironcore::control {

namespace {

/// Reason of a Ready condition that this controller has written.
template <class Pool>
std::string unknown_reason() {
  return std::string(Pool::info.kind) + "StatusUnknown";
}

template <class Pool>
bool is_marked(const api::Condition* ready) {
  return ready != nullptr && ready->status == api::ConditionStatus::unknown && ready->reason == unknown_reason<Pool>();
}

void put_out_of_service(api::MachinePoolState& state) {
  state = api::MachinePoolState::offline;
}
void put_out_of_service(api::StoragePoolState& state) {
  state = api::StoragePoolState::unavailable;
}

/// `machine pool`, for messages.
template <class T>
std::string pool_word() {
  return std::string(PlacedKind<T>::subject.word) + " pool";
}

}  // namespace

Result<bool> is_host_dead(store::Store& store, const std::string& machine_pool) {
  if (machine_pool.empty()) return false;
  const auto name = pool_lease<api::Machine>(machine_pool);
  IRONCORE_TRY(const auto leases, store.leases(name));
  for (const auto& lease : leases)
    if (lease.name == name && lease.is_held) return false;
  const auto pool = store::get<api::MachinePool>(store, "", machine_pool);
  if (!pool && pool.error().code() == ErrorCode::not_found) return true;
  if (!pool) return pool.error();
  const auto* ready = api::find_condition((*pool)->status.conditions, "Ready");
  return ready != nullptr && ready->status == api::ConditionStatus::unknown;
}

template <class T>
PoolHealth<T>::PoolHealth(store::Store& store, Informer<Pool>& pools, PoolHealthOptions options, Clock& clock, Log& log)
    : store_(store), pools_(pools), options_(options), clock_(clock), log_(log) {}

template <class T>
Result<void> PoolHealth<T>::mark_unknown(const Pool& pool) {
  auto changed = pool;
  api::set_condition(changed.status.conditions,
                     {.type = "Ready",
                      .status = api::ConditionStatus::unknown,
                      .reason = unknown_reason<Pool>(),
                      .message = "the provider of this pool has shown no sign of life for " + to_text(options_.grace) +
                                 "; check that it runs and reaches the store"},
                     clock_.wall());
  put_out_of_service(changed.status.state);
  const auto before = store::Object::of(pool);
  store::Transaction transaction;
  transaction.operations.emplace_back(store::Patch{
      store::key_of(before), api::merge_patch(before, store::Object::of(std::move(changed))), store::Part::status});
  // The list of conditions is written whole: never over a condition that the provider has just written.
  transaction.preconditions.emplace_back(store::Unchanged{store::key_of(before), pool.metadata.resource_version});
  IRONCORE_CHECK(store_.commit(transaction));
  log_.warning(pool_word<T>() + " shows no progress",
               {{"pool", pool.metadata.name}, {"grace", to_text(options_.grace)}});
  return {};
}

template <class T>
bool PoolHealth<T>::step() {
  const auto now = clock_.now();
  if (now < next_look_ || !pools_.has_synced()) return false;
  next_look_ = now + options_.look_every;
  const auto prefix = pool_lease<T>("");
  const auto leases = store_.leases(prefix);
  if (!leases) {
    // What cannot be seen is no evidence: every pool keeps the time it had.
    log_.warning("cannot look at the leases of " + pool_word<T>() + "s", {{"error", leases.error().message()}});
    return true;
  }
  // Nor is what nobody looked at: this process, or the whole host, may have been stopped.
  const auto unseen = looked_at_ ? now - *looked_at_ : Duration::zero();
  if (unseen >= 2 * options_.look_every)
    for (auto& [uid, seen] : seen_) seen.progress_at += unseen;
  looked_at_ = now;
  std::unordered_map<std::string_view, const store::Lease*> by_pool;
  for (const auto& lease : *leases) by_pool.emplace(std::string_view(lease.name).substr(prefix.size()), &lease);

  std::map<std::string, Seen> current;
  for (const auto& pool : pools_.list()) {
    auto known = seen_.extract(pool->metadata.uid);
    const bool is_new = known.empty();
    auto& seen = current[pool->metadata.uid];
    if (!is_new) seen = std::move(known.mapped());

    bool has_progress = is_new;
    if (const auto lease = by_pool.find(pool->metadata.name); lease != by_pool.end()) {
      has_progress =
          has_progress || lease->second->renewals != seen.renewals || lease->second->token != seen.lease_token;
      seen.renewals = lease->second->renewals;
      seen.lease_token = lease->second->token;
    }
    const auto* ready = api::find_condition(pool->status.conditions, "Ready");
    const auto marked = is_marked<Pool>(ready);
    if (ready != nullptr && !marked) {
      has_progress = has_progress || seen.ready != *ready;
      seen.ready = *ready;
    }
    if (marked) seen.ready.reset();  // whatever the provider writes next is progress
    if (has_progress) seen.progress_at = now;
    if (marked || now - seen.progress_at < options_.grace) continue;
    const auto written = mark_unknown(*pool);
    if (!written && written.error().code() != ErrorCode::conflict && written.error().code() != ErrorCode::not_found)
      log_.warning("cannot mark a " + pool_word<T>() + " as unknown",
                   {{"pool", pool->metadata.name}, {"error", written.error().message()}});
  }
  seen_ = std::move(current);
  return true;
}

template <class T>
void PoolHealth<T>::run(std::stop_token stop) {
  forget();
  if (!pools_.wait_until_synced(stop)) return;
  while (!stop.stop_requested()) {
    step();
    sleep_until(clock_, next_look_, stop);
  }
}

template class PoolHealth<api::Machine>;
template class PoolHealth<api::Volume>;
template class PoolHealth<api::Bucket>;

}  // namespace ironcore::control
