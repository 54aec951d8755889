// SPDX-License-Identifier: Apache-2.0
// Claims without a claimer.
#include "ironcore/control/claim_release.hpp"

#include "ironcore/control/pool_health.hpp"

namespace ironcore::control {

namespace {

constexpr const char* by_claimer = "claimer-uid";
// Keys of both kinds share one queue.
constexpr char interface_mark = 'i';
constexpr char volume_mark = 'v';
/// While a machine goes: whether its host has died.
constexpr auto look_again = std::chrono::seconds(10);

bool has_claim(const std::optional<api::LocalUidReference>& claim) {
  return claim && !claim->uid.empty();
}

template <class T>
std::string marked(char mark, const T& object) {
  return mark + cache_key(object.metadata.namespace_, object.metadata.name);
}

template <class T>
Result<Requeue> write(store::Store& store, const T& before, T after) {
  const auto known = store::Object::of(before);
  store::Transaction transaction;
  transaction.operations.emplace_back(
      store::Patch{store::key_of(known), api::merge_patch(known, store::Object::of(std::move(after)))});
  transaction.preconditions.emplace_back(store::Unchanged{store::key_of(known), before.metadata.resource_version});
  IRONCORE_CHECK(store.commit(transaction));
  return Requeue{};
}

}  // namespace

ClaimRelease::ClaimRelease(store::Store& store, Informer<api::Machine>& machines,
                           Informer<api::NetworkInterface>& interfaces, Informer<api::Volume>& volumes,
                           EventRecorder& events, Clock& clock, Log& log)
    : store_(store),
      machines_(machines),
      interfaces_(interfaces),
      volumes_(volumes),
      events_(events),
      controller_(
          {.name = "claim-release"},
          [this](const std::string& key, std::stop_token) {
            return key.front() == interface_mark ? release_interface(key.substr(1)) : release_volume(key.substr(1));
          },
          clock, log) {
  deactivate();
  interfaces_.add_index(by_claimer, [](const api::NetworkInterface& interface) -> std::vector<std::string> {
    if (!interface.spec.machine_ref) return {};
    return {interface.spec.machine_ref->uid};
  });
  volumes_.add_index(by_claimer, [](const api::Volume& volume) -> std::vector<std::string> {
    if (!volume.spec.claim_ref) return {};
    return {volume.spec.claim_ref->uid};
  });
  interfaces_.on_change([this](const auto&, const auto& after) {
    if (after && after->spec.machine_ref) controller_.queue().add(marked(interface_mark, *after));
  });
  volumes_.on_change([this](const auto&, const auto& after) {
    if (after && after->spec.claim_ref) controller_.queue().add(marked(volume_mark, *after));
  });
  machines_.on_change([this](const auto& before, const auto& after) {
    if (after && !after->metadata.deletion_timestamp) return;
    const auto& uid = (after ? after : before)->metadata.uid;
    if (!after)
      for (const auto& each : interfaces_.by_index(by_claimer, uid))
        controller_.queue().add(marked(interface_mark, *each));
    for (const auto& each : volumes_.by_index(by_claimer, uid)) controller_.queue().add(marked(volume_mark, *each));
  });
}

Result<store::Shared<api::Machine>> ClaimRelease::claimer(const std::string& namespace_,
                                                          const api::LocalUidReference& claim) {
  const auto cached = machines_.get(cache_key(namespace_, claim.name));
  if (cached && cached->metadata.uid == claim.uid) return cached;
  const auto machine = store::get<api::Machine>(store_, namespace_, claim.name);
  if (machine) return (*machine)->metadata.uid == claim.uid ? *machine : nullptr;
  if (machine.error().code() == ErrorCode::not_found) return store::Shared<api::Machine>();
  return machine.error();
}

Result<Requeue> ClaimRelease::release_interface(const std::string& key) {
  const auto interface = interfaces_.get(key);
  if (!interface || !has_claim(interface->spec.machine_ref)) return Requeue{};
  IRONCORE_TRY(const auto machine, claimer(interface->metadata.namespace_, *interface->spec.machine_ref));
  if (machine) return Requeue{};
  auto released = *interface;
  released.spec.machine_ref.reset();
  released.spec.provider_id.clear();
  return write(store_, *interface, std::move(released));
}

Result<Requeue> ClaimRelease::release_volume(const std::string& key) {
  const auto volume = volumes_.get(key);
  if (!volume || !has_claim(volume->spec.claim_ref)) return Requeue{};
  IRONCORE_TRY(const auto machine, claimer(volume->metadata.namespace_, *volume->spec.claim_ref));
  if (machine) {
    if (!machine->metadata.deletion_timestamp || !machine->spec.machine_pool_ref) return Requeue{};
    IRONCORE_TRY(const bool is_dead, is_host_dead(store_, machine->spec.machine_pool_ref->name));
    if (!is_dead) return Requeue{.after = look_again};
  }
  auto released = *volume;
  released.spec.claim_ref.reset();
  IRONCORE_TRY(const auto done, write(store_, *volume, std::move(released)));
  if (machine)
    events_.record(
        reference_to(*machine), api::EventType::warning, "VolumeReleased",
        "volume " + volume->metadata.name + " is free for others: the machine is being deleted, and machine pool " +
            machine->spec.machine_pool_ref->name +
            " shows no sign of life; the machine goes when its host is back, or when somebody who knows that it does "
            "not run any more takes off its finalizers",
        "Release");
  return done;
}

bool ClaimRelease::step() {
  return machines_.has_synced() && interfaces_.has_synced() && volumes_.has_synced() && controller_.step();
}

void ClaimRelease::activate() {
  controller_.queue().open();
  for (const auto& each : interfaces_.list())
    if (each->spec.machine_ref) controller_.queue().add(marked(interface_mark, *each));
  for (const auto& each : volumes_.list())
    if (each->spec.claim_ref) controller_.queue().add(marked(volume_mark, *each));
}

void ClaimRelease::run(std::stop_token stop) {
  if (!(machines_.wait_until_synced(stop) && interfaces_.wait_until_synced(stop) && volumes_.wait_until_synced(stop)))
    return;
  activate();
  controller_.run(stop);
  deactivate();
}

}  // namespace ironcore::control
