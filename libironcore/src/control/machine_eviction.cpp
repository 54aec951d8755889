// SPDX-License-Identifier: Apache-2.0
// Deleting what a NoExecute taint does not suffer.
#include "ironcore/control/machine_eviction.hpp"

#include <algorithm>

namespace ironcore::control {

namespace {

constexpr const char* by_pool = "pool";

const api::Taint* first_untolerated(const api::MachinePool& pool, const api::Machine& machine) {
  for (const auto& taint : pool.spec.taints)
    if (taint.effect == api::TaintEffect::no_execute && !api::is_tolerated(taint, machine.spec.tolerations))
      return &taint;
  return nullptr;
}

bool can_evict(const api::MachinePool& pool) {
  return std::any_of(pool.spec.taints.begin(), pool.spec.taints.end(),
                     [](const api::Taint& taint) { return taint.effect == api::TaintEffect::no_execute; });
}

}  // namespace

MachineEviction::MachineEviction(store::Store& store, Informer<api::MachinePool>& pools,
                                 Informer<api::Machine>& machines, EventRecorder& events, Clock& clock, Log& log)
    : store_(store),
      pools_(pools),
      machines_(machines),
      events_(events),
      controller_(
          {.name = "machine-eviction"}, [this](const std::string& key, std::stop_token) { return reconcile(key); },
          clock, log) {
  deactivate();
  machines_.add_index(by_pool, [](const api::Machine& machine) -> std::vector<std::string> {
    if (!machine.spec.machine_pool_ref) return {};
    return {machine.spec.machine_pool_ref->name};
  });
  pools_.on_change([this](const auto& before, const auto& after) {
    if (!after || !can_evict(*after) || (before && before->spec.taints == after->spec.taints)) return;
    add_machines_of(after->metadata.name);
  });
  machines_.on_change([this](const auto&, const auto& after) {
    if (!after || !after->spec.machine_pool_ref) return;
    // A pool that is not in the cache yet brings its machines when it comes.
    const auto pool = pools_.get(after->spec.machine_pool_ref->name);
    if (pool && can_evict(*pool)) controller_.queue().add(cache_key(after->metadata.namespace_, after->metadata.name));
  });
}

void MachineEviction::add_machines_of(const std::string& pool) {
  for (const auto& machine : machines_.by_index(by_pool, pool))
    controller_.queue().add(cache_key(machine->metadata.namespace_, machine->metadata.name));
}

Result<Requeue> MachineEviction::reconcile(const std::string& key) {
  const auto machine = machines_.get(key);
  if (!machine || machine->metadata.deletion_timestamp || !machine->spec.machine_pool_ref) return Requeue{};
  const auto pool = pools_.get(machine->spec.machine_pool_ref->name);
  if (!pool) return Requeue{};
  const auto* taint = first_untolerated(*pool, *machine);
  if (taint == nullptr) return Requeue{};
  store::Delete removal{store::key<api::Machine>(machine->metadata.namespace_, machine->metadata.name)};
  removal.revision = machine->metadata.resource_version;  // its tolerations may have changed
  removal.uid = machine->metadata.uid;
  store::Transaction transaction;
  transaction.operations.emplace_back(std::move(removal));
  // And the taint may have been taken off.
  transaction.preconditions.emplace_back(
      store::Unchanged{store::key<api::MachinePool>("", pool->metadata.name), pool->metadata.resource_version});
  const auto removed = store_.commit(transaction);
  if (!removed) {
    if (removed.error().code() == ErrorCode::not_found) return Requeue{};
    return removed.error();
  }
  events_.record(reference_to(*machine), api::EventType::normal, "Evicted",
                 "deleted: machine pool " + pool->metadata.name + " has taint " + taint->key +
                     (taint->value.empty() ? "" : "=") + taint->value +
                     ":NoExecute, which the machine does not tolerate",
                 "Evict");
  return Requeue{};
}

void MachineEviction::activate() {
  controller_.queue().open();
  for (const auto& pool : pools_.list())
    if (can_evict(*pool)) add_machines_of(pool->metadata.name);
}

void MachineEviction::run(std::stop_token stop) {
  if (!(pools_.wait_until_synced(stop) && machines_.wait_until_synced(stop))) return;
  activate();
  controller_.run(stop);
  deactivate();
}

}  // namespace ironcore::control
