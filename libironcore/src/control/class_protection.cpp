// SPDX-License-Identifier: Apache-2.0
// The finalizers of classes.
#include "ironcore/control/class_protection.hpp"

#include "ironcore/control/finalizers.hpp"

namespace ironcore::control {

namespace {
constexpr const char* by_class = "class";
}  // namespace

template <class User>
ClassProtection<User>::ClassProtection(store::Store& store, Informer<Class>& classes, Informer<User>& users,
                                       Clock& clock, Log& log)
    : store_(store),
      classes_(classes),
      users_(users),
      controller_(
          {.name = std::string(PlacedKind<User>::subject.word) + "-class-protection"},
          [this](const std::string& name, std::stop_token) { return reconcile(name); }, clock, log) {
  deactivate();
  users_.add_index(by_class, [](const User& user) -> std::vector<std::string> {
    const auto* name = PlacedKind<User>::class_of(user);
    if (name == nullptr) return {};
    return {*name};
  });
  classes_.on_change([this](const auto&, const auto& after) {
    if (after) controller_.queue().add(after->metadata.name);
  });
  users_.on_change([this](const auto& before, const auto& after) {
    if (after) return;
    if (const auto* name = PlacedKind<User>::class_of(*before)) controller_.queue().add(*name);
  });
}

template <class User>
Result<Requeue> ClassProtection<User>::reconcile(const std::string& name) {
  constexpr auto finalizer = PlacedKind<User>::class_finalizer;
  const auto found = classes_.get(name);
  if (!found) return Requeue{};
  const auto object = store::Object(api::kind_of<Class>(), found);
  if (!found->metadata.deletion_timestamp) {
    IRONCORE_CHECK(add_finalizer(store_, object, finalizer));
    return Requeue{};
  }
  if (!has_finalizer(found->metadata, finalizer)) return Requeue{};
  if (users_.count(by_class, name) > 0) return Requeue{};  // the removal of the last one calls again
  // The cache may be behind a user that was made a moment ago.
  store::Query query{.kind = &api::kind_of<User>()};
  IRONCORE_TRY(query.fields,
               store::FieldSelector::parse("spec." + std::string(PlacedKind<User>::class_field) + ".name=" + name));
  IRONCORE_TRY(const auto page, store_.list(query, {.limit = 1}));
  if (!page.objects.empty()) return Requeue{.after = std::chrono::seconds(1)};
  IRONCORE_CHECK(drop_finalizer(store_, object, finalizer));
  return Requeue{};
}

template <class User>
void ClassProtection<User>::activate() {
  controller_.queue().open();
  for (const auto& each : classes_.list()) controller_.queue().add(each->metadata.name);
}

template <class User>
void ClassProtection<User>::run(std::stop_token stop) {
  if (!(classes_.wait_until_synced(stop) && users_.wait_until_synced(stop))) return;
  activate();
  controller_.run(stop);
  deactivate();
}

template class ClassProtection<api::Machine>;
template class ClassProtection<api::Volume>;
template class ClassProtection<api::Bucket>;

}  // namespace ironcore::control
