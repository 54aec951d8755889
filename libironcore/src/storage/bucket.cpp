// SPDX-License-Identifier: Apache-2.0
// Names of buckets, and which settings make sense.
#include "ironcore/storage/bucket.hpp"

#include <algorithm>
#include <array>
#include <boost/json.hpp>
#include <set>
#include <utility>

#include "ironcore/base/names.hpp"
#include "ironcore/base/text.hpp"

namespace ironcore::storage {

namespace {

constexpr std::size_t most_rules = 1000;
constexpr std::size_t most_policy_bytes = 20'480;
constexpr std::array<std::string_view, 5> methods{"GET", "PUT", "POST", "DELETE", "HEAD"};

bool is_letter_or_digit(char c) {
  return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
}

/// What XML cannot carry, or nobody can read.
bool is_clean(std::string_view text) {
  return in_one_line(text, text.size()) == text;
}

class Checker {
 public:
  void expect(bool holds, std::string field, std::string message) {
    if (!holds) errors_.push_back({std::move(field), FieldError::Reason::invalid, std::move(message)});
  }
  void expect_texts(const std::vector<std::string>& texts, const std::string& field) {
    for (const std::string& text : texts)
      expect(!text.empty() && is_clean(text), field, "must have no empty entry and no control character");
  }
  Result<void> result() {
    if (errors_.empty()) return {};
    return Error(std::move(errors_));
  }

 private:
  std::vector<FieldError> errors_;
};

}  // namespace

std::string bucket_name(std::string_view name, const Uid& uid) {
  constexpr std::size_t digits = 8;
  constexpr std::size_t most = 63 - digits - 1;
  std::string out;
  for (char c : name) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
    if (!is_letter_or_digit(c)) c = '-';
    if (out.size() < most && (c != '-' || (!out.empty() && out.back() != '-'))) out += c;
  }
  if (out.empty() || out.back() != '-') out += '-';
  if (out == "-") out = "bucket-";
  const std::string text = uid.to_text();
  return out + text.substr(text.size() - digits);
}

std::optional<std::string> check_bucket_name(std::string_view name) {
  if (name.size() < 3) return "must have at least 3 characters";
  return check_dns_label(name);
}

Result<void> check(const BucketSettings& settings) {
  Checker checker;
  checker.expect(settings.lifecycle.size() <= most_rules, "lifecycle", "must have at most 1000 rules");
  std::set<std::string_view> ids;
  for (std::size_t i = 0; i < settings.lifecycle.size(); ++i) {
    const LifecycleRule& rule = settings.lifecycle[i];
    const std::string field = "lifecycle[" + std::to_string(i) + "]";
    checker.expect(!rule.id.empty() && rule.id.size() <= 255 && is_clean(rule.id), field + ".id",
                   "must have 1 to 255 bytes and no control character");
    checker.expect(ids.insert(rule.id).second, field + ".id", "must be unique in the bucket");
    checker.expect(rule.prefix.size() <= 1024 && is_clean(rule.prefix), field + ".prefix",
                   "must have at most 1024 bytes and no control character");
    checker.expect(rule.expire_days + std::uint64_t{rule.old_version_days} + rule.upload_days > 0, field,
                   "must say after how many days something happens");
    for (const std::uint32_t days : {rule.expire_days, rule.old_version_days, rule.upload_days})
      checker.expect(days <= 36'500, field, "must have at most 36500 days");
  }
  checker.expect(settings.cors.size() <= 100, "cors", "must have at most 100 rules");
  for (std::size_t i = 0; i < settings.cors.size(); ++i) {
    const CorsRule& rule = settings.cors[i];
    const std::string field = "cors[" + std::to_string(i) + "]";
    checker.expect(!rule.origins.empty(), field + ".origins", "must name an origin, as https://example.com or *");
    checker.expect(!rule.methods.empty(), field + ".methods", "must name a method: GET, PUT, POST, DELETE or HEAD");
    checker.expect_texts(rule.origins, field + ".origins");
    checker.expect_texts(rule.headers, field + ".headers");
    checker.expect_texts(rule.exposed_headers, field + ".exposed_headers");
    std::set<std::string_view> seen;
    for (const std::string& method : rule.methods) {
      checker.expect(std::ranges::find(methods, method) != methods.end(), field + ".methods",
                     "must be of GET, PUT, POST, DELETE and HEAD, is " + in_quotes(method));
      checker.expect(seen.insert(method).second, field + ".methods", "must name each method once");
    }
    checker.expect(rule.max_age_seconds <= 86'400 * 365, field + ".max_age_seconds", "must be at most a year");
  }
  if (!settings.policy.empty()) {
    checker.expect(settings.policy.size() <= most_policy_bytes, "policy", "must have at most 20480 bytes");
    boost::system::error_code bad;
    const boost::json::value policy = boost::json::parse(settings.policy, bad);
    checker.expect(!bad && policy.is_object(), "policy", "must be a JSON object in the words of S3's policies");
  }
  if (settings.retention)
    checker.expect(settings.retention->days >= 1 && settings.retention->days <= 36'500, "retention.days",
                   "must be 1 to 36500");
  return checker.result();
}

BucketSettings normalized(BucketSettings settings) {
  std::ranges::sort(settings.lifecycle, {}, &LifecycleRule::id);
  for (CorsRule& rule : settings.cors)
    for (auto* texts : {&rule.origins, &rule.methods, &rule.headers, &rule.exposed_headers}) {
      std::ranges::sort(*texts);
      texts->erase(std::unique(texts->begin(), texts->end()), texts->end());
    }
  return settings;
}

Error has_content(const Bucket& bucket) {
  return {ErrorCode::wrong_state,
          "bucket " + bucket.name + " holds " + std::to_string(bucket.objects) +
              (bucket.objects == 1 ? " object" : " objects") +
              " (old versions, delete markers and parts of unfinished uploads count): remove its content "
              "first, or ask to remove it too"};
}

}  // namespace ironcore::storage
