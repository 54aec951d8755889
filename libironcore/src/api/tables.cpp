// SPDX-License-Identifier: Apache-2.0
// Cells of tables as text.
#include "tables.hpp"

#include <algorithm>

#include "json_names.hpp"

namespace ironcore::api {

std::string age(const std::optional<WallTime>& since, WallTime now) {
  using namespace std::chrono;
  if (!since) return "<unknown>";
  // Seconds first: the nanoseconds between two times that can be written need more than 64 bits.
  const auto total = (floor<seconds>(now) - floor<seconds>(*since)).count();
  // A clock may be a little ahead of another one's.
  if (total < 0) return total < -1 ? "<invalid>" : "0s";
  const auto pair = [](std::int64_t large, const char* large_unit, std::int64_t small, const char* small_unit) {
    auto text = std::to_string(large) + large_unit;
    if (small != 0) text += std::to_string(small) + small_unit;
    return text;
  };
  const auto minute = total / 60, hour = total / 3600, day = total / 86400, year = day / 365;
  if (total < 120) return std::to_string(total) + "s";
  if (minute < 10) return pair(minute, "m", total % 60, "s");
  if (hour < 3) return std::to_string(minute) + "m";
  if (hour < 8) return pair(hour, "h", minute % 60, "m");
  if (day < 2) return std::to_string(hour) + "h";
  if (day < 8) return pair(day, "d", hour % 24, "h");
  if (year < 2) return std::to_string(day) + "d";
  if (year < 8) return pair(year, "y", day % 365, "d");
  return std::to_string(year) + "y";
}

std::string or_none(std::string_view text) {
  return text.empty() ? "<none>" : std::string(text);
}

std::string list_or_none(const std::vector<std::string>& items) {
  std::string text;
  for (const auto& item : items) {
    if (!text.empty()) text += ',';
    text += item;
  }
  return or_none(text);
}

std::string names_or_none(const std::vector<LocalReference>& references) {
  std::vector<std::string> names;
  for (const auto& reference : references) names.push_back(reference.name);
  std::sort(names.begin(), names.end());
  return list_or_none(names);
}

std::string taints_or_none(const std::vector<Taint>& taints) {
  std::vector<std::string> texts;
  for (const auto& taint : taints)
    texts.push_back(taint.key + (taint.value.empty() ? "" : "=" + taint.value) + ":" +
                    std::string(json::enumerator_name(taint.effect)));
  return list_or_none(texts);
}

std::string readiness(const std::vector<Condition>& conditions) {
  const auto* const ready = find_condition(conditions, "Ready");
  return or_none(ready == nullptr ? std::string_view() : json::enumerator_name(ready->status));
}

std::string amount_or_none(const ResourceList& resources, std::string_view name) {
  const auto found = resources.find(std::string(name));
  return found == resources.end() ? "<none>" : found->second.to_text();
}

std::string state_or_terminating(const Metadata& metadata, std::string_view state) {
  return std::string(metadata.deletion_timestamp ? std::string_view("Terminating") : state);
}

}  // namespace ironcore::api
