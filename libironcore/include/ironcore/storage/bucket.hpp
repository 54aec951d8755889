// SPDX-License-Identifier: Apache-2.0
// What buckets, their settings and their keys are, for every BucketStore.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "ironcore/base/result.hpp"
#include "ironcore/base/uid.hpp"

namespace ironcore::storage {

/// A readable name that no other bucket has: `<name>-<the last 8 digits of the uid>`, without characters that a bucket may not have, cut to 63.
std::string bucket_name(std::string_view name, const Uid& uid);
/// Nothing if it is fine, else the end of a sentence as in `names.hpp`: 3 to 63 of `a-z 0-9 -`, a letter or digit at both ends; so it is a
/// DNS label too.
std::optional<std::string> check_bucket_name(std::string_view name);

struct BucketSpec {
  std::string name;          ///< in the whole store nobody else's
  bool is_lockable = false;  ///< objects can be locked; implies versions, and cannot be changed later
};

/// What a bucket may hold, old versions included; 0 = as much as it likes.
struct BucketQuota {
  std::uint64_t bytes = 0;
  std::uint64_t objects = 0;
  friend bool operator==(const BucketQuota&, const BucketQuota&) = default;
};

/// What all clients of a bucket together may do in a second; 0 = as much as they like.
struct BucketLimits {
  std::uint64_t reads = 0;
  std::uint64_t writes = 0;
  std::uint64_t read_bytes = 0;
  std::uint64_t written_bytes = 0;
  friend bool operator==(const BucketLimits&, const BucketLimits&) = default;
};

/// What happens by itself to the objects whose name starts with `prefix`. 0 days = never; at least one of them is set.
struct LifecycleRule {
  std::string id;  ///< unique in the bucket
  std::string prefix;
  std::uint32_t expire_days = 0;       ///< the object is removed, or becomes an old version
  std::uint32_t old_version_days = 0;  ///< an old version is removed
  std::uint32_t upload_days = 0;       ///< an upload in parts that was never completed is given up
  friend bool operator==(const LifecycleRule&, const LifecycleRule&) = default;
};

/// What pages of other origins may do in a browser.
struct CorsRule {
  std::vector<std::string> origins;
  std::vector<std::string> methods;  ///< GET, PUT, POST, DELETE, HEAD
  std::vector<std::string> headers;
  std::vector<std::string> exposed_headers;
  std::uint32_t max_age_seconds = 0;  ///< 0 = not said
  friend bool operator==(const CorsRule&, const CorsRule&) = default;
};

enum class RetentionMode {
  governance,  ///< who has the right may shorten it
  compliance,  ///< no user of the bucket may
};
/// How long a new object is locked.
struct Retention {
  RetentionMode mode = RetentionMode::governance;
  std::uint32_t days = 1;
  friend bool operator==(const Retention&, const Retention&) = default;
};

/// All settings of a bucket; the default is a new one's.
struct BucketSettings {
  /// Overwritten and removed objects stay as old versions. Off again, those that there are stay. Always on in a lockable bucket.
  bool is_versioned = false;
  std::vector<LifecycleRule> lifecycle;
  std::vector<CorsRule> cors;
  std::string policy;                  ///< JSON in S3's words; empty = only the bucket's own keys
  std::optional<Retention> retention;  ///< only in a lockable bucket
  friend bool operator==(const BucketSettings&, const BucketSettings&) = default;
};
/// `invalid` (with every wrong field) for what no body can take.
Result<void> check(const BucketSettings& settings);
/// In the one order of what has none, so that settings that mean the same are equal: rules of lifecycle by id, what a rule of CORS lists by the alphabet and once. Rules of
/// CORS stay in their order: the first that fits counts.
BucketSettings normalized(BucketSettings settings);

struct Bucket {
  Uid id;
  std::string name;
  BucketQuota quota;
  std::uint64_t bytes = 0;    ///< that it holds
  std::uint64_t objects = 0;  ///< old versions count
  friend bool operator==(const Bucket&, const Bucket&) = default;
};

/// Why a bucket that holds something is not removed: `wrong_state`.
Error has_content(const Bucket& bucket);

/// How somebody reaches a bucket. `secret` goes to them through a Secret, and nowhere else.
struct BucketAccess {
  std::string endpoint;  ///< `https://host:port`; the bucket's name follows in the path
  std::string bucket;
  std::string key_id;
  std::string secret;
};

struct BucketKey {
  std::string id;
  bool is_current = false;  ///< what `access` gives out now
  friend bool operator==(const BucketKey&, const BucketKey&) = default;
};

/// What this server can do; empty = yes, else why not and what can.
struct BucketCapabilities {
  std::string limits;
  friend bool operator==(const BucketCapabilities&, const BucketCapabilities&) = default;
};

}  // namespace ironcore::storage
