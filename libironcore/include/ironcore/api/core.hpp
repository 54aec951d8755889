// SPDX-License-Identifier: Apache-2.0
// The kinds of the core group: Namespace, Secret, Event.
#pragma once

#include "ironcore/api/object.hpp"
#include "ironcore/api/references.hpp"

namespace ironcore::api {

enum class NamespacePhase { active, terminating };
BOOST_DESCRIBE_ENUM(NamespacePhase, active, terminating)

struct NamespaceStatus {
  NamespacePhase phase = NamespacePhase::active;
  Unknown unknown;
  friend bool operator==(const NamespaceStatus&, const NamespaceStatus&) = default;
};
BOOST_DESCRIBE_STRUCT(NamespaceStatus, (), (phase))

/// Deleting one deletes everything in it first. `default` always exists.
struct Namespace {
  static constexpr KindInfo info{"", "v1", "Namespace", "namespaces", "ns", Scope::cluster};
  Metadata metadata;
  NamespaceStatus status;
  Unknown unknown;
  friend bool operator==(const Namespace&, const Namespace&) = default;
};
BOOST_DESCRIBE_STRUCT(Namespace, (), (metadata, status))

/// Bytes, base64 in JSON. Wiped when destroyed is not promised; never printed by tables, logs or errors.
struct Bytes {
  std::string value;
  friend bool operator==(const Bytes&, const Bytes&) = default;
};

struct Secret {
  static constexpr KindInfo info{"", "v1", "Secret", "secrets", "", Scope::namespaced};
  Metadata metadata;
  std::string type;                   ///< `Opaque` by default, `compute.ironcore.dev/ignition` …; immutable
  std::map<std::string, Bytes> data;  ///< together at most 1 MiB
  std::map<std::string, std::string> string_data;  ///< write-only: moved into `data` at admission
  std::optional<bool> immutable;                   ///< true = data may not change any more
  Unknown unknown;
  friend bool operator==(const Secret&, const Secret&) = default;
};
BOOST_DESCRIBE_STRUCT(Secret, (), (metadata, type, data, string_data, immutable))

namespace json {
struct Tree;
}
/// Moves `stringData` of a Secret as it was written into `data`, which is what it becomes at admission. Leaves a
/// Secret alone whose texts are none.
void move_string_data(json::Tree& secret);

struct ObjectReference {
  std::string api_version;
  std::string kind;
  std::string namespace_;
  std::string name;
  std::string uid;
  Unknown unknown;
  friend bool operator==(const ObjectReference&, const ObjectReference&) = default;
};
BOOST_DESCRIBE_STRUCT(ObjectReference, (), (api_version, kind, namespace_, name, uid))

enum class EventType { normal, warning };
BOOST_DESCRIBE_ENUM(EventType, normal, warning)

struct EventSource {
  std::string component;
  std::string host;
  Unknown unknown;
  friend bool operator==(const EventSource&, const EventSource&) = default;
};
BOOST_DESCRIBE_STRUCT(EventSource, (), (component, host))

/// Something that happened to an object. The same thing again raises `count` instead of adding an object.
/// Bounded by count and age.
struct Event {
  static constexpr KindInfo info{"", "v1", "Event", "events", "ev", Scope::namespaced};
  Metadata metadata;
  ObjectReference involved_object;
  std::string reason;
  std::string message;
  std::string action;
  EventType type = EventType::normal;
  EventSource source;
  std::int64_t count = 1;
  std::optional<WallTime> first_timestamp;
  std::optional<WallTime> last_timestamp;
  Unknown unknown;
  friend bool operator==(const Event&, const Event&) = default;
};
BOOST_DESCRIBE_STRUCT(Event, (),
                      (metadata, involved_object, reason, message, action, type, source, count, first_timestamp,
                       last_timestamp))

template <>
const Kind& kind_of<Namespace>();
template <>
const Kind& kind_of<Secret>();
template <>
const Kind& kind_of<Event>();

}  // namespace ironcore::api
