// SPDX-License-Identifier: Apache-2.0
// The finalizer of machine classes.
#include "ironcore/control/machine_class_protection.hpp"

#include "ironcore/control/finalizers.hpp"

namespace ironcore::control {

void add_machine_indexes(Informer<api::Machine>& machines) {
  machines.add_index(machines_by_class, [](const api::Machine& machine) -> std::vector<std::string> {
    return {machine.spec.machine_class_ref.name};
  });
  machines.add_index(machines_by_pool, [](const api::Machine& machine) -> std::vector<std::string> {
    if (!machine.spec.machine_pool_ref) return {};
    return {machine.spec.machine_pool_ref->name};
  });
}

MachineClassProtection::MachineClassProtection(store::Store& store, Informer<api::MachineClass>& classes,
                                               Informer<api::Machine>& machines, Clock& clock, Log& log)
    : store_(store),
      classes_(classes),
      machines_(machines),
      controller_(
          {.name = "machine-class-protection"},
          [this](const std::string& name, std::stop_token) { return reconcile(name); }, clock, log) {
  deactivate();
  classes_.on_change([this](const auto&, const auto& after) {
    if (after) controller_.queue().add(after->metadata.name);
  });
  machines_.on_change([this](const auto& before, const auto& after) {
    if (!after) controller_.queue().add(before->spec.machine_class_ref.name);
  });
}

Result<Requeue> MachineClassProtection::reconcile(const std::string& name) {
  const auto machine_class = classes_.get(name);
  if (!machine_class) return Requeue{};
  const auto object = store::Object(api::kind_of<api::MachineClass>(), machine_class);
  if (!machine_class->metadata.deletion_timestamp) {
    IRONCORE_CHECK(add_finalizer(store_, object, api::machine_class_finalizer));
    return Requeue{};
  }
  if (!has_finalizer(machine_class->metadata, api::machine_class_finalizer)) return Requeue{};
  if (machines_.count(machines_by_class, name) > 0) return Requeue{};  // the removal of the last one calls again
  // The cache may be behind a machine that was made a moment ago.
  store::Query query{.kind = &api::kind_of<api::Machine>()};
  IRONCORE_TRY(query.fields, store::FieldSelector::parse("spec.machineClassRef.name=" + name));
  IRONCORE_TRY(const auto page, store_.list(query, {.limit = 1}));
  if (!page.objects.empty()) return Requeue{.after = std::chrono::seconds(1)};
  IRONCORE_CHECK(drop_finalizer(store_, object, api::machine_class_finalizer));
  return Requeue{};
}

void MachineClassProtection::activate() {
  controller_.queue().open();
  for (const auto& machine_class : classes_.list()) controller_.queue().add(machine_class->metadata.name);
}

void MachineClassProtection::run(std::stop_token stop) {
  if (!(classes_.wait_until_synced(stop) && machines_.wait_until_synced(stop))) return;
  activate();
  controller_.run(stop);
  deactivate();
}

}  // namespace ironcore::control
