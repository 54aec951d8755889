// SPDX-License-Identifier: Apache-2.0
// Children that machines describe inline.
#include "ironcore/control/machine_ephemerals.hpp"

namespace ironcore::control {

namespace {

constexpr const char* by_controller = "controller-uid";
constexpr const char* architecture_label = "common.ironcore.dev/architecture";

const api::OwnerReference* controller_of(const api::Metadata& metadata) {
  for (const auto& owner : metadata.owner_references)
    if (owner.controller.value_or(false)) return &owner;
  return nullptr;
}

template <class T>
std::vector<std::string> controller_uid(const T& object) {
  const auto* owner = controller_of(object.metadata);
  if (owner == nullptr) return {};
  return {owner->uid};
}

bool is_made_here(const api::Metadata& metadata) {
  const auto found = metadata.annotations.find(ephemeral_managed_by);
  return found != metadata.annotations.end() && found->second == ephemeral_manager;
}

std::string child_name(const api::Machine& machine, const std::string& entry) {
  return machine.metadata.name + "-" + entry;
}

}  // namespace

MachineEphemerals::MachineEphemerals(store::Store& store, Informer<api::Machine>& machines,
                                     Informer<api::NetworkInterface>& interfaces, Informer<api::Volume>& volumes,
                                     EventRecorder& events, Clock& clock, Log& log)
    : store_(store),
      machines_(machines),
      interfaces_(interfaces),
      volumes_(volumes),
      events_(events),
      log_(log),
      controller_(
          {.name = "machine-ephemerals"}, [this](const std::string& key, std::stop_token) { return reconcile(key); },
          clock, log) {
  deactivate();
  interfaces_.add_index(by_controller,
                        [](const api::NetworkInterface& interface) { return controller_uid(interface); });
  volumes_.add_index(by_controller, [](const api::Volume& volume) { return controller_uid(volume); });
  machines_.on_change([this](const auto&, const auto& after) {
    if (after) controller_.queue().add(cache_key(after->metadata.namespace_, after->metadata.name));
  });
  // A child that went away, also a foreign one in the way, is made anew.
  const auto child_gone = [this](const auto& before, const auto& after) {
    if (after) return;
    if (const auto* owner = controller_of(before->metadata))
      controller_.queue().add(cache_key(before->metadata.namespace_, owner->name));
    const auto& name = before->metadata.name;
    for (auto dash = name.find('-'); dash != std::string::npos; dash = name.find('-', dash + 1))
      controller_.queue().add(cache_key(before->metadata.namespace_, name.substr(0, dash)));
  };
  interfaces_.on_change(child_gone);
  volumes_.on_change(child_gone);
}

template <class T>
Result<void> MachineEphemerals::make(const api::Machine& machine, T wanted, const api::TemplateMetadata& metadata) {
  wanted.metadata.namespace_ = machine.metadata.namespace_;
  wanted.metadata.labels = metadata.labels;
  wanted.metadata.annotations = metadata.annotations;
  wanted.metadata.annotations[ephemeral_managed_by] = ephemeral_manager;
  wanted.metadata.owner_references = {{.api_version = api::kind_of<api::Machine>().api_version(),
                                       .kind = std::string(api::Machine::info.kind),
                                       .name = machine.metadata.name,
                                       .uid = machine.metadata.uid,
                                       .controller = true,
                                       .block_owner_deletion = true}};
  const auto name = wanted.metadata.name;
  const auto made = store::create(store_, std::move(wanted));
  if (made || made.error().code() != ErrorCode::already_exists) return made ? Result<void>() : made.error();
  IRONCORE_TRY(const auto present, store::get<T>(store_, machine.metadata.namespace_, name));
  const auto* owner = controller_of(present->metadata);
  if (owner == nullptr || owner->uid != machine.metadata.uid)
    log_.warning("an object that a machine describes inline exists already and is not the machine's",
                 {{"machine", cache_key(machine.metadata.namespace_, machine.metadata.name)},
                  {"kind", std::string(T::info.kind)},
                  {"name", name}});
  return {};
}

template <class T>
Result<void> MachineEphemerals::remove_unwanted(const api::Machine& machine, Informer<T>& informer,
                                                const std::set<std::string>& wanted) {
  for (const auto& child : informer.by_index(by_controller, machine.metadata.uid)) {
    if (wanted.contains(child->metadata.name) || !is_made_here(child->metadata) || child->metadata.deletion_timestamp)
      continue;
    store::Delete removal{.key = store::key<T>(child->metadata.namespace_, child->metadata.name)};
    removal.uid = child->metadata.uid;
    const auto removed = store::commit_one(store_, std::move(removal));
    if (!removed && removed.error().code() != ErrorCode::not_found) return removed.error();
  }
  return {};
}

Result<void> MachineEphemerals::fit_to_machine(const api::Machine& machine, api::VolumeSpec& spec) {
  for (const char* label : {"topology.ironcore.dev/region", "topology.ironcore.dev/zone"}) {
    const auto wanted = machine.spec.machine_pool_selector.find(label);
    // A volume without a class has no pool, so nothing to select.
    if (wanted != machine.spec.machine_pool_selector.end() && spec.volume_class_ref)
      spec.volume_pool_selector.try_emplace(label, wanted->second);
  }
  if (!spec.data_source || !spec.data_source->os_image || !spec.data_source->os_image->architecture.empty()) return {};
  const auto& name = machine.spec.machine_class_ref.name;
  IRONCORE_TRY(const auto machine_class,
               within(store::get<api::MachineClass>(store_, "", name), "architecture of machine class " + name));
  const auto architecture = machine_class->metadata.labels.find(architecture_label);
  if (architecture != machine_class->metadata.labels.end())
    spec.data_source->os_image->architecture = architecture->second;
  return {};
}

Result<Requeue> MachineEphemerals::reconcile(const std::string& key) {
  const auto machine = machines_.get(key);
  if (!machine || machine->metadata.deletion_timestamp) return Requeue{};
  std::set<std::string> wanted_interfaces;
  std::set<std::string> wanted_volumes;
  for (const auto& entry : machine->spec.network_interfaces) {
    if (!entry.ephemeral || !entry.ephemeral->network_interface_template) continue;
    const auto& from = *entry.ephemeral->network_interface_template;
    api::NetworkInterface wanted{.metadata = {.name = child_name(*machine, entry.name)}, .spec = from.spec};
    wanted.spec.machine_ref = {.name = machine->metadata.name, .uid = machine->metadata.uid};
    wanted_interfaces.insert(wanted.metadata.name);
    if (!interfaces_.get(cache_key(machine->metadata.namespace_, wanted.metadata.name))) {
      IRONCORE_CHECK(make(*machine, std::move(wanted), from.metadata));
    }
  }
  for (const auto& entry : machine->spec.volumes) {
    if (!entry.ephemeral || !entry.ephemeral->volume_template) continue;
    const auto& from = *entry.ephemeral->volume_template;
    api::Volume wanted{.metadata = {.name = child_name(*machine, entry.name)}, .spec = from.spec};
    wanted_volumes.insert(wanted.metadata.name);
    if (volumes_.get(cache_key(machine->metadata.namespace_, wanted.metadata.name))) continue;
    auto made = fit_to_machine(*machine, wanted.spec);
    if (made) made = make(*machine, std::move(wanted), from.metadata);
    if (made) continue;
    events_.record(reference_to(*machine), api::EventType::normal, "VolumeNotReady",
                   "volume " + child_name(*machine, entry.name) + " cannot be made: " + made.error().message());
    return made.error();
  }
  IRONCORE_CHECK(remove_unwanted(*machine, interfaces_, wanted_interfaces));
  IRONCORE_CHECK(remove_unwanted(*machine, volumes_, wanted_volumes));
  return Requeue{};
}

bool MachineEphemerals::step() {
  return machines_.has_synced() && interfaces_.has_synced() && volumes_.has_synced() && controller_.step();
}

void MachineEphemerals::activate() {
  controller_.queue().open();
  for (const auto& machine : machines_.list())
    controller_.queue().add(cache_key(machine->metadata.namespace_, machine->metadata.name));
}

void MachineEphemerals::run(std::stop_token stop) {
  if (!(machines_.wait_until_synced(stop) && interfaces_.wait_until_synced(stop) && volumes_.wait_until_synced(stop)))
    return;
  activate();
  controller_.run(stop);
  deactivate();
}

}  // namespace ironcore::control
