// SPDX-License-Identifier: Apache-2.0
// Finds, sorts and prints events.
#include "ironcorectl/event_table.hpp"

#include <algorithm>
#include <ostream>

#include "ironcorectl/describe.hpp"
#include "ironcorectl/target.hpp"

namespace ironcore::ctl {
namespace {

WallTime time_of(const api::Event& event) {
  if (event.last_timestamp) return *event.last_timestamp;
  if (event.first_timestamp) return *event.first_timestamp;
  return event.metadata.creation_timestamp.value_or(WallTime());
}

std::string lower(std::string text) {
  std::transform(text.begin(), text.end(), text.begin(),
                 [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; });
  return text;
}

}  // namespace

void sort_by_time(Events& events) {
  std::stable_sort(events.begin(), events.end(),
                   [](const auto& a, const auto& b) { return time_of(*a) < time_of(*b); });
}

Result<Events> events_of(store::Store& store, const api::Object& object) {
  store::Query query{.namespace_ = object.metadata().namespace_};  // of cluster-scoped objects they lie anywhere
  IRONCORE_TRY(query.fields, store::FieldSelector::parse("involvedObject.uid=" + object.metadata().uid));
  IRONCORE_TRY(auto events, store::list<api::Event>(store, query));
  sort_by_time(events);
  return events;
}

std::string age_text(WallTime since, WallTime now) {
  using namespace std::chrono;
  // Seconds first: the nanoseconds between two times that can be written need more than 64 bits.
  const auto total = std::max<std::int64_t>(0, (floor<seconds>(now) - floor<seconds>(since)).count());
  if (total < 120) return std::to_string(total) + "s";
  if (total < 2 * 3600) return std::to_string(total / 60) + "m";
  if (total < 2 * 86400) return std::to_string(total / 3600) + "h";
  return std::to_string(total / 86400) + "d";
}

Table event_table(const Events& events, WallTime now, EventColumns columns) {
  const bool is_many = columns == EventColumns::of_many;
  Table table(is_many ? std::vector<std::string>{"Last seen", "Type", "Object", "Reason", "Message", "Count", "From"}
                      : std::vector<std::string>{"Last seen", "Type", "Reason", "Message", "Count", "From"});
  for (const auto& event : events) {
    std::vector<std::string> row{age_text(time_of(*event), now),
                                 event->type == api::EventType::warning ? "Warning" : "Normal"};
    if (is_many) row.push_back(lower(event->involved_object.kind) + '/' + event->involved_object.name);
    row.push_back(event->reason);
    row.push_back(event->message);
    row.push_back(std::to_string(event->count));
    row.push_back(event->source.component + (event->source.host.empty() ? "" : "@" + event->source.host));
    table.add(std::move(row));
  }
  return table;
}

Result<void> events(Session& session, const EventsOptions& options) {
  // A single word is a name of any kind; otherwise kind and name.
  std::optional<store::Key> key;
  std::string any_kind_name;
  if (options.words.size() == 1 && options.words.front().find('/') == std::string::npos) {
    any_kind_name = options.words.front();
  } else if (!options.words.empty()) {
    IRONCORE_TRY(const auto keys, parse_keys(session, options.words));
    if (keys.size() != 1) return Error(ErrorCode::invalid, "events takes one object or none");
    key = keys.front();
  }
  IRONCORE_TRY(store::Store* const store, session.store());
  store::Query query;
  const bool is_cluster = key && key->kind->info().scope == api::Scope::cluster;
  if (!options.is_all_namespaces && !is_cluster) query.namespace_ = session.namespace_();
  std::string fields;
  if (key) fields = "involvedObject.kind=" + std::string(key->kind->info().kind) + ",involvedObject.name=" + key->name;
  if (!any_kind_name.empty()) fields = "involvedObject.name=" + any_kind_name;
  IRONCORE_TRY(query.fields, store::FieldSelector::parse(fields));
  IRONCORE_TRY(auto found, store::list<api::Event>(*store, query));
  sort_by_time(found);
  if (found.empty()) {
    session.err() << "no events" << (query.namespace_.empty() ? "" : " in namespace " + query.namespace_) << '\n';
    return {};
  }
  event_table(found, session.clock().wall(), key ? EventColumns::of_one_object : EventColumns::of_many)
      .print(session.out(), session.terminal());
  return {};
}

}  // namespace ironcore::ctl
