// SPDX-License-Identifier: Apache-2.0
// What a former process left behind, and that a later one finds what this one has.
#include "dataplane_state.hpp"
#include "object_walk.hpp"

namespace ironcore::network {

Result<void> Dataplane::State::restore() {
  const auto began = clock.now();
  Dirty dirty;
  for (const auto& batch : configuration->take_batches()) {
    auto restored = desired.restore(batch);
    if (!restored)
      return Error(ErrorCode::corrupt, "what " + configuration->file().string() +
                                           " says does not fit together: put a copy of the file back, or move it away "
                                           "to begin without a configuration: " +
                                           restored.error().message());
    dirty.add(*restored);
  }
  publish(dirty);
  follow_interfaces(dirty.interfaces);
  std::uint64_t connections = 0;
  if (kept) {
    const auto now_ns = static_cast<std::uint64_t>(began.time_since_epoch().count());
    for (auto& lane : lanes) {
      lane->worker.adopt(now_ns);
      lane->tallies.connections.set(lane->worker.flows().size());
      connections += lane->worker.flows().size();
    }
    snapshots.publish(compiler.finish_restoring(generations));
  }
  if (!dirty.empty())
    log.info("what was there before goes on", {{"interfaces", std::to_string(desired.interfaces().size())},
                                               {"connections", std::to_string(connections)},
                                               {"took", to_text(clock.now() - began)}});
  return {};
}

Result<void> Dataplane::State::compact() {
  if (!configuration) return {};
  const auto done = configuration->compact_some([this]() -> ConfigurationLog::Source {
    return [this, walk = dataplane::ObjectWalk()](const dataplane::TakeObject& take) mutable {
      return walk.go_on(desired, take);
    };
  });
  if (done) return {};
  if (configuration->is_suspect()) return within(Result<void>(done.error()), "keep the configuration");
  log.warning("the kept configuration could not be written shorter", {{"why", done.error().message()}});
  return {};
}

}  // namespace ironcore::network
