// SPDX-License-Identifier: Apache-2.0
// EventRecorder: tells people what happened to an object, without ever holding up the one who tells.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <mutex>
#include <optional>
#include <stop_token>
#include <string>
#include <unordered_map>
#include <vector>

#include "ironcore/api/core.hpp"
#include "ironcore/base/clock.hpp"
#include "ironcore/base/log.hpp"
#include "ironcore/store/store.hpp"

namespace ironcore::control {

/// What an event is about.
api::ObjectReference reference_to(const store::Object& object);
template <class T>
api::ObjectReference reference_to(const T& object) {
  return {.api_version = api::kind_of<T>().api_version(),
          .kind = std::string(T::info.kind),
          .namespace_ = object.metadata.namespace_,
          .name = object.metadata.name,
          .uid = object.metadata.uid};
}

struct EventRecorderOptions {
  std::string component;  ///< who says so: `machine-scheduler`
  std::string host;       ///< and where; may be empty
  std::size_t waiting_limit =
      2000;  ///< different events that wait to be written; when full, further ones are dropped and counted
  std::size_t batch = 200;  ///< events per commit
};

/// The same event again (same object, type and reason, from the same component and host) raises `count` of the one there is and replaces its
/// message, across restarts too: its name is derived from these. So there are never more events than reasons, whatever numbers the
/// messages carry. Events about cluster-scoped objects live in namespace `default`. Thread: any.
class EventRecorder {
 public:
  /// `store`, `clock` and `log` must outlive it.
  EventRecorder(store::Store& store, EventRecorderOptions options, Clock& clock, Log& log);

  /// Never blocks. `reason` is one CamelCase word, `action` another one for what was being done; it may be empty. `when` it
  /// happened is now, unless said otherwise. False if too many wait and this one was dropped: for those who can tell it later.
  bool record(api::ObjectReference about, api::EventType type, std::string reason, std::string message,
              std::string action = "", std::optional<WallTime> when = std::nullopt);

  /// Writes until a stop is requested, and then once more what is waiting. Makes no thread.
  void run(std::stop_token stop);
  /// Writes one batch if something waits; false if not.
  bool step();

  std::uint64_t dropped() const;

 private:
  struct Waiting {
    api::Event event;  // count and both timestamps cover what was recorded since the last write
    std::string key;
  };
  std::vector<Waiting> take_batch();
  bool write(std::vector<Waiting> batch);
  Result<store::Operation> operation_for(const Waiting& waiting);

  store::Store& store_;
  EventRecorderOptions options_;
  Clock& clock_;
  Log& log_;
  mutable std::mutex mutex_;
  std::condition_variable_any changed_;
  std::deque<std::string> order_;
  std::unordered_map<std::string, api::Event> waiting_;
  std::uint64_t dropped_ = 0;
  std::uint32_t failures_ = 0;
  Instant retry_at_{};
};

}  // namespace ironcore::control
