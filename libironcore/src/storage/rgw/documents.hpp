// SPDX-License-Identifier: Apache-2.0
// What a RADOS gateway answers and is told: JSON of its Admin Ops, XML of S3. Answers are hostile until they went through here.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "ironcore/base/result.hpp"
#include "ironcore/storage/bucket.hpp"
#include "sigv4.hpp"

namespace ironcore::storage::rgw {

/// All parsers fail with `corrupt`, and no message of theirs has anything of the answer in it: there may be secrets.

struct UserKeys {
  std::string user;
  std::vector<Credentials> keys;  ///< unordered
};
/// As `/admin/user` shows them.
Result<UserKeys> parse_user_keys(std::string_view json);

/// Some of all users, in no order.
struct UserPage {
  std::vector<std::string> users;
  std::string marker;  ///< where the next page begins; empty = this is the last one
};
/// As `/admin/user?list` shows it.
Result<UserPage> parse_user_page(std::string_view json);

struct BucketStats {
  std::string name;
  std::string owner;
  BucketQuota quota;
  std::uint64_t bytes = 0;
  std::uint64_t objects = 0;
};
/// As `/admin/bucket?stats=true` lists them.
Result<std::vector<BucketStats>> parse_bucket_list(std::string_view json);

/// `Code` and `Message` of an error, as JSON or XML, fit for one line; empty if there are none.
struct Refusal {
  std::string code;
  std::string message;
};
Refusal parse_refusal(std::string_view body);

Result<bool> parse_versioning(std::string_view xml);
/// `unsupported` for rules that somebody else made, a user of the bucket with its key, and that we have no words for.
Result<std::vector<LifecycleRule>> parse_lifecycle(std::string_view xml);
Result<std::vector<CorsRule>> parse_cors(std::string_view xml);
Result<std::optional<Retention>> parse_object_lock(std::string_view xml);

/// Settings that went through `check`.
std::string versioning_xml(const BucketSettings& settings);
std::string lifecycle_xml(const std::vector<LifecycleRule>& rules);
std::string cors_xml(const std::vector<CorsRule>& rules);
std::string object_lock_xml(const std::optional<Retention>& retention);

}  // namespace ironcore::storage::rgw
