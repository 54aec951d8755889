// SPDX-License-Identifier: Apache-2.0
// Writes the wish, and waits until the status says the same.
#include "ironcorectl/power.hpp"

#include <ostream>

#include "ironcore/api/compute.hpp"
#include "ironcore/api/json.hpp"
#include "ironcore/base/random.hpp"
#include "ironcore/store/typed.hpp"
#include "ironcorectl/target.hpp"
#include "ironcorectl/wait.hpp"

namespace ironcore::ctl {

namespace {

/// All of them, before any is changed: a name that is wrong changes nothing.
Result<std::vector<api::Object>> look_up(store::Store& store, const std::vector<store::Key>& keys) {
  std::vector<api::Object> machines;
  for (const store::Key& key : keys) {
    IRONCORE_TRY(auto machine, store.get(key));
    machines.push_back(std::move(machine));
  }
  return machines;
}

}  // namespace

Result<void> power(Session& session, const PowerOptions& options) {
  if (options.wish != "on" && options.wish != "off") {
    return Error(ErrorCode::invalid, "expected on or off, not \"" + options.wish + '"');
  }
  const bool is_on = options.wish == "on";
  IRONCORE_TRY(const auto keys, parse_machines(session, options.names));
  IRONCORE_TRY(store::Store* const store, session.store());
  IRONCORE_TRY(const auto machines, look_up(*store, keys));
  for (const api::Object& machine : machines) {
    // docs/adr/0010: who shuts down from within stays off until told otherwise.
    const auto& known = machine.as<api::Machine>();
    const bool is_off_by_itself =
        known.spec.power == api::Power::on && known.status.state == api::MachineState::shutdown;
    if (is_on && is_off_by_itself) {
      return Error(ErrorCode::wrong_state, text_of(machine) +
                                               " is switched on, but its guest has shut down by itself: `ironcorectl "
                                               "reboot " +
                                               machine.name() + "` starts it again");
    }
  }
  const std::string patch = is_on ? R"({"spec":{"power":"On"}})" : R"({"spec":{"power":"Off"}})";
  for (const store::Key& key : keys) IRONCORE_CHECK(store::commit_one(*store, store::Patch{key, patch}));
  const Instant deadline = session.clock().now() + options.timeout;
  for (const store::Key& key : keys) {
    if (options.is_wait) {
      IRONCORE_CHECK(
          wait_for(session, key, is_on ? "state=Running" : "state=Shutdown", deadline - session.clock().now()));
    }
    session.out() << text_of(key) << (options.is_wait ? (is_on ? " running" : " shut down") : " power ")
                  << (options.is_wait ? "" : options.wish) << std::endl;
  }
  return {};
}

Result<void> reboot(Session& session, const RebootOptions& options) {
  IRONCORE_TRY(const auto keys, parse_machines(session, options.names));
  IRONCORE_TRY(store::Store* const store, session.store());
  IRONCORE_TRY(const auto machines, look_up(*store, keys));
  for (const api::Object& machine : machines) {
    if (machine.as<api::Machine>().spec.power == api::Power::off) {
      return Error(ErrorCode::wrong_state,
                   text_of(machine) + " is off: `ironcorectl power on " + machine.name() + "` starts it");
    }
  }
  const std::string token = random_suffix(10);
  auto patch = api::json::Tree::object();
  patch.object_at("metadata").object_at("annotations").set(api::reboot_annotation, api::json::Tree::string(token));
  for (const store::Key& key : keys)
    IRONCORE_CHECK(store::commit_one(*store, store::Patch{key, api::json::to_text(patch)}));
  const Instant deadline = session.clock().now() + options.timeout;
  for (const store::Key& key : keys) {
    if (options.is_wait) {
      IRONCORE_CHECK(wait_for(session, key, "status.rebootToken=" + token, deadline - session.clock().now()));
      IRONCORE_CHECK(wait_for(session, key, "state=Running", deadline - session.clock().now()));
    }
    session.out() << text_of(key) << (options.is_wait ? " rebooted" : " reboot requested") << std::endl;
  }
  return {};
}

}  // namespace ironcore::ctl
