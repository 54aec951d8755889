// SPDX-License-Identifier: Apache-2.0
// Field by field; what makes sense is for the store to say.
#include "bucket_settings.hpp"

#include <string_view>

namespace ironcore::control {

namespace {

/// Policies name their bucket, and its name is known only when there is a uid.
std::string with_name(std::string policy, const std::string& name) {
  constexpr std::string_view placeholder = "${bucket}";
  for (auto at = policy.find(placeholder); at != std::string::npos; at = policy.find(placeholder, at + name.size()))
    policy.replace(at, placeholder.size(), name);
  return policy;
}

std::uint32_t count(std::int32_t value) {
  return static_cast<std::uint32_t>(value);  // admission lets nothing negative through
}

}  // namespace

storage::BucketSettings settings_of(const api::BucketSpec& spec, const std::string& name) {
  const auto& stated = *spec.settings;
  storage::BucketSettings settings;
  settings.is_versioned = stated.versioned || spec.lockable;
  for (const auto& rule : stated.lifecycle)
    settings.lifecycle.push_back({.id = rule.id,
                                  .prefix = rule.prefix,
                                  .expire_days = count(rule.expire_days),
                                  .old_version_days = count(rule.old_version_days),
                                  .upload_days = count(rule.upload_days)});
  for (const auto& rule : stated.cors)
    settings.cors.push_back({.origins = rule.origins,
                             .methods = rule.methods,
                             .headers = rule.headers,
                             .exposed_headers = rule.exposed_headers,
                             .max_age_seconds = count(rule.max_age_seconds)});
  settings.policy = with_name(stated.policy, name);
  if (stated.retention) {
    const bool is_strict = stated.retention->mode == api::BucketRetentionMode::compliance;
    settings.retention = {.mode = is_strict ? storage::RetentionMode::compliance : storage::RetentionMode::governance,
                          .days = count(stated.retention->days)};
  }
  return settings;
}

}  // namespace ironcore::control
