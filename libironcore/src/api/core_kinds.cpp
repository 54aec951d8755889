// SPDX-License-Identifier: Apache-2.0
// Namespace, Secret and Event as kinds, with their tables.
#include "kind_of.hpp"
#include "tables.hpp"

namespace ironcore::api {

namespace {

constexpr Column namespace_columns[] = {{"NAME", false}, {"STATUS", false}, {"AGE", false}};

std::vector<std::string> namespace_cells(const Namespace& object, WallTime now) {
  return {object.metadata.name, state_or_terminating(object.metadata, json::enumerator_name(object.status.phase)),
          age(object.metadata, now)};
}

constexpr Column secret_columns[] = {{"NAME", false}, {"TYPE", false}, {"DATA", false}, {"AGE", false}};

std::vector<std::string> secret_cells(const Secret& object, WallTime now) {
  return {object.metadata.name, or_none(object.type), std::to_string(object.data.size()), age(object.metadata, now)};
}

constexpr Column event_columns[] = {{"LAST SEEN", false}, {"TYPE", false},    {"REASON", false},
                                    {"OBJECT", false},    {"MESSAGE", false}, {"SOURCE", true},
                                    {"FIRST SEEN", true}, {"COUNT", true},    {"NAME", true}};

std::vector<std::string> event_cells(const Event& object, WallTime now) {
  std::string involved;
  for (const char c : object.involved_object.kind)
    involved += c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  involved += '/';
  involved += object.involved_object.name;
  auto source = object.source.component;
  if (!object.source.host.empty()) source += (source.empty() ? "" : ", ") + object.source.host;
  const auto& created = object.metadata.creation_timestamp;
  return {age(object.last_timestamp ? object.last_timestamp : created, now),
          std::string(json::enumerator_name(object.type)),
          or_none(object.reason),
          involved,
          object.message,
          or_none(source),
          age(object.first_timestamp ? object.first_timestamp : created, now),
          std::to_string(object.count),
          object.metadata.name};
}

}  // namespace

template <>
const Kind& kind_of<Namespace>() {
  static constexpr KindOf<Namespace> kind(NameRule::dns_label, {namespace_columns, namespace_cells});
  return kind;
}

template <>
const Kind& kind_of<Secret>() {
  static constexpr KindOf<Secret> kind(NameRule::dns_subdomain, {secret_columns, secret_cells});
  return kind;
}

template <>
const Kind& kind_of<Event>() {
  static constexpr KindOf<Event> kind(NameRule::dns_subdomain, {event_columns, event_cells});
  return kind;
}

}  // namespace ironcore::api
