// SPDX-License-Identifier: Apache-2.0
// Cells of the tables that `ironcorectl get` prints.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "ironcore/api/metadata.hpp"
#include "ironcore/api/references.hpp"

namespace ironcore::api {

/// How long ago, as kubectl says it: `5s`, `3m20s`, `4h`, `2d`; `<unknown>` without a time.
std::string age(const std::optional<WallTime>& since, WallTime now);
inline std::string age(const Metadata& metadata, WallTime now) {
  return age(metadata.creation_timestamp, now);
}

/// The text, or `<none>`.
std::string or_none(std::string_view text);
/// Joined by commas, or `<none>`.
std::string list_or_none(const std::vector<std::string>& items);
/// The names in references, sorted and joined by commas, or `<none>`.
std::string names_or_none(const std::vector<LocalReference>& references);
/// `key=value:NoSchedule` of each, or `<none>`.
std::string taints_or_none(const std::vector<Taint>& taints);
/// The status of the condition `Ready`, or `<none>`.
std::string readiness(const std::vector<Condition>& conditions);
/// The amount of that name, or `<none>`.
std::string amount_or_none(const ResourceList& resources, std::string_view name);
/// The name in a reference, or `<none>`.
template <class Reference>
std::string name_or_none(const std::optional<Reference>& reference) {
  return or_none(reference ? std::string_view(reference->name) : std::string_view());
}
/// `Terminating` as soon as somebody asked for the deletion.
std::string state_or_terminating(const Metadata& metadata, std::string_view state);

}  // namespace ironcore::api
