// SPDX-License-Identifier: Apache-2.0
// JSON of Admin Ops and XML of S3.
#include "documents.hpp"

#include <algorithm>
#include <array>
#include <boost/json.hpp>
#include <charconv>

#include "ironcore/base/text.hpp"
#include "xml.hpp"

namespace ironcore::storage::rgw {

namespace json = boost::json;

namespace {

Error corrupt(const std::string& what) {
  return {ErrorCode::corrupt,
          "an answer of the RADOS gateway: " + what + ": it may be of a version that this program does not know"};
}

Result<json::value> parse_json(std::string_view text) {
  boost::system::error_code bad;
  json::value value = json::parse(text, bad, {}, {.max_depth = 16});
  if (bad) return corrupt("it is no JSON");
  return value;
}

Result<std::string> text_in(const json::object& object, std::string_view key) {
  const json::value* value = object.if_contains(key);
  if (value == nullptr || !value->is_string()) return corrupt("it has no text \"" + std::string(key) + "\"");
  return std::string(value->get_string());
}

/// 0 if it is missing; negative numbers mean that there is no limit, and are 0 too.
Result<std::uint64_t> number_in(const json::object& object, std::string_view key) {
  const json::value* value = object.if_contains(key);
  if (value == nullptr) return std::uint64_t{0};
  if (value->is_uint64()) return value->get_uint64();
  if (value->is_int64()) return static_cast<std::uint64_t>(std::max<std::int64_t>(value->get_int64(), 0));
  return corrupt("\"" + std::string(key) + "\" is no whole number");
}

Result<BucketStats> parse_stats(const json::value& value) {
  if (!value.is_object()) return corrupt("a bucket in it is no object");
  const json::object& object = value.get_object();
  BucketStats out;
  IRONCORE_TRY(out.name, text_in(object, "bucket"));
  IRONCORE_TRY(out.owner, text_in(object, "owner"));
  if (const json::value* quota = object.if_contains("bucket_quota"); quota != nullptr && quota->is_object()) {
    const json::value* enabled = quota->get_object().if_contains("enabled");
    if (enabled != nullptr && enabled->is_bool() && enabled->get_bool()) {
      IRONCORE_TRY(out.quota.bytes, number_in(quota->get_object(), "max_size"));
      IRONCORE_TRY(out.quota.objects, number_in(quota->get_object(), "max_objects"));
    }
  }
  if (const json::value* usage = object.if_contains("usage"); usage != nullptr && usage->is_object()) {
    if (const json::value* main = usage->get_object().if_contains("rgw.main"); main != nullptr && main->is_object()) {
      IRONCORE_TRY(out.bytes, number_in(main->get_object(), "size"));
      IRONCORE_TRY(out.objects, number_in(main->get_object(), "num_objects"));
    }
  }
  return out;
}

constexpr std::array<std::string_view, 7> lifecycle_words{
    "ID", "Prefix", "Filter", "Status", "Expiration", "NoncurrentVersionExpiration", "AbortIncompleteMultipartUpload"};

Error foreign_rule() {
  return {ErrorCode::unsupported,
          "a rule of lifecycle, set by somebody else, says what this program has no words for: remove the rules from "
          "the bucket"};
}

Result<XmlElement> parse_root(std::string_view xml, std::string_view name) {
  IRONCORE_TRY(XmlElement root, parse_xml(xml));
  if (root.name != name) return corrupt("it is no <" + std::string(name) + ">");
  return root;
}

/// 0 if the element is missing.
Result<std::uint32_t> number_of(const XmlElement& element, std::string_view name) {
  const XmlElement* child = element.child(name);
  if (child == nullptr) return std::uint32_t{0};
  std::uint32_t out = 0;
  const char* end = child->text.data() + child->text.size();
  const auto [stop, bad] = std::from_chars(child->text.data(), end, out);
  if (bad != std::errc() || stop != end) return corrupt("<" + std::string(name) + "> is no number");
  return out;
}

std::vector<std::string> texts_of(const XmlElement& element, std::string_view name) {
  std::vector<std::string> out;
  for (const XmlElement& child : element.children)
    if (child.name == name) out.push_back(child.text);
  return out;
}

/// Days in `name` within `outer`; everything else that `outer` may say has no place in our rules.
Result<std::uint32_t> days_in(const XmlElement& rule, std::string_view outer, std::string_view name) {
  const XmlElement* element = rule.child(outer);
  if (element == nullptr) return std::uint32_t{0};
  if (element->children.size() != 1 || element->child(name) == nullptr) return foreign_rule();
  return number_of(*element, name);
}

std::string element_of_days(std::string_view outer, std::string_view name, std::uint32_t days) {
  if (days == 0) return {};
  std::string out = "<";
  out.append(outer).append(">").append(xml_element(name, std::to_string(days))).append("</").append(outer).append(">");
  return out;
}

}  // namespace

Result<UserKeys> parse_user_keys(std::string_view text) {
  IRONCORE_TRY(const json::value value, parse_json(text));
  const json::value* keys = value.is_object() ? value.get_object().if_contains("keys") : nullptr;
  if (keys == nullptr || !keys->is_array()) return corrupt("a user without a list of keys");
  UserKeys out;
  IRONCORE_TRY(out.user, text_in(value.get_object(), "user_id"));
  for (const json::value& key : keys->get_array()) {
    if (!key.is_object()) return corrupt("a key in it is no object");
    Credentials credentials;
    IRONCORE_TRY(credentials.key_id, text_in(key.get_object(), "access_key"));
    IRONCORE_TRY(credentials.secret, text_in(key.get_object(), "secret_key"));
    // Both go into headers and, in the end, to users.
    if (credentials.key_id.empty() || in_one_line(credentials.key_id, 128) != credentials.key_id)
      return corrupt("the id of a key is not fit to be one");
    out.keys.push_back(std::move(credentials));
  }
  return out;
}

Result<UserPage> parse_user_page(std::string_view text) {
  IRONCORE_TRY(const json::value value, parse_json(text));
  const json::value* names = value.is_object() ? value.get_object().if_contains("keys") : nullptr;
  if (names == nullptr || !names->is_array()) return corrupt("it is no list of users");
  UserPage out;
  for (const json::value& name : names->get_array()) {
    if (!name.is_string()) return corrupt("the name of a user in it is no text");
    out.users.emplace_back(name.get_string());
  }
  const json::value* more = value.get_object().if_contains("truncated");
  if (more == nullptr || !more->is_bool()) return corrupt("a list of users that does not say whether there are more");
  if (!more->get_bool()) return out;
  IRONCORE_TRY(out.marker, text_in(value.get_object(), "marker"));
  if (out.marker.empty()) return corrupt("a list of users that does not say where it goes on");
  return out;
}

Result<std::vector<BucketStats>> parse_bucket_list(std::string_view text) {
  IRONCORE_TRY(const json::value value, parse_json(text));
  if (!value.is_array()) return corrupt("it is no list of buckets");
  std::vector<BucketStats> out;
  for (const json::value& bucket : value.get_array()) {
    IRONCORE_TRY(BucketStats stats, parse_stats(bucket));
    out.push_back(std::move(stats));
  }
  return out;
}

Refusal parse_refusal(std::string_view body) {
  Refusal out;
  if (body.starts_with('{')) {
    const auto value = parse_json(body);
    if (value && value->is_object()) {
      if (auto code = text_in(value->get_object(), "Code")) out.code = *code;
      if (auto message = text_in(value->get_object(), "Message")) out.message = *message;
    }
  } else if (const auto root = parse_xml(body)) {
    out.code = root->text_of("Code");
    out.message = root->text_of("Message");
  }
  return {.code = in_one_line(out.code, 64), .message = in_one_line(out.message, 200)};
}

Result<bool> parse_versioning(std::string_view xml) {
  IRONCORE_TRY(const XmlElement root, parse_root(xml, "VersioningConfiguration"));
  return root.text_of("Status") == "Enabled";
}

Result<std::vector<LifecycleRule>> parse_lifecycle(std::string_view xml) {
  IRONCORE_TRY(const XmlElement root, parse_root(xml, "LifecycleConfiguration"));
  std::vector<LifecycleRule> out;
  for (const XmlElement& element : root.children) {
    if (element.name != "Rule") return corrupt("a lifecycle has more than rules");
    for (const XmlElement& child : element.children)
      if (std::ranges::find(lifecycle_words, child.name) == lifecycle_words.end()) return foreign_rule();
    if (element.text_of("Status") == "Disabled") return foreign_rule();
    LifecycleRule rule;
    rule.id = element.text_of("ID");
    const XmlElement* filter = element.child("Filter");
    if (filter != nullptr)
      for (const XmlElement& child : filter->children)
        if (child.name != "Prefix") return foreign_rule();
    rule.prefix = filter != nullptr ? filter->text_of("Prefix") : element.text_of("Prefix");
    IRONCORE_TRY(rule.expire_days, days_in(element, "Expiration", "Days"));
    IRONCORE_TRY(rule.old_version_days, days_in(element, "NoncurrentVersionExpiration", "NoncurrentDays"));
    IRONCORE_TRY(rule.upload_days, days_in(element, "AbortIncompleteMultipartUpload", "DaysAfterInitiation"));
    out.push_back(std::move(rule));
  }
  return out;
}

Result<std::vector<CorsRule>> parse_cors(std::string_view xml) {
  IRONCORE_TRY(const XmlElement root, parse_root(xml, "CORSConfiguration"));
  std::vector<CorsRule> out;
  for (const XmlElement& element : root.children) {
    if (element.name != "CORSRule") return corrupt("a configuration of CORS has more than rules");
    CorsRule rule{.origins = texts_of(element, "AllowedOrigin"),
                  .methods = texts_of(element, "AllowedMethod"),
                  .headers = texts_of(element, "AllowedHeader"),
                  .exposed_headers = texts_of(element, "ExposeHeader")};
    IRONCORE_TRY(rule.max_age_seconds, number_of(element, "MaxAgeSeconds"));
    out.push_back(std::move(rule));
  }
  return out;
}

Result<std::optional<Retention>> parse_object_lock(std::string_view xml) {
  IRONCORE_TRY(const XmlElement root, parse_root(xml, "ObjectLockConfiguration"));
  const XmlElement* rule = root.child("Rule");
  const XmlElement* retention = rule == nullptr ? nullptr : rule->child("DefaultRetention");
  if (retention == nullptr) return std::optional<Retention>();
  Retention out;
  const std::string_view mode = retention->text_of("Mode");
  if (mode == "COMPLIANCE") {
    out.mode = RetentionMode::compliance;
  } else if (mode != "GOVERNANCE") {
    return corrupt("a retention is neither GOVERNANCE nor COMPLIANCE");
  }
  IRONCORE_TRY(out.days, number_of(*retention, "Days"));
  IRONCORE_TRY(const std::uint32_t years, number_of(*retention, "Years"));
  if (years > 1000) return corrupt("a retention is longer than 1000 years");
  if (years > 0) out.days = years * 365;
  return std::optional(out);
}

std::string versioning_xml(const BucketSettings& settings) {
  return "<VersioningConfiguration>" + xml_element("Status", settings.is_versioned ? "Enabled" : "Suspended") +
         "</VersioningConfiguration>";
}

std::string lifecycle_xml(const std::vector<LifecycleRule>& rules) {
  std::string out = "<LifecycleConfiguration>";
  for (const LifecycleRule& rule : rules)
    out += "<Rule>" + xml_element("ID", rule.id) + "<Filter>" + xml_element("Prefix", rule.prefix) + "</Filter>" +
           xml_element("Status", "Enabled") + element_of_days("Expiration", "Days", rule.expire_days) +
           element_of_days("NoncurrentVersionExpiration", "NoncurrentDays", rule.old_version_days) +
           element_of_days("AbortIncompleteMultipartUpload", "DaysAfterInitiation", rule.upload_days) + "</Rule>";
  return out + "</LifecycleConfiguration>";
}

std::string cors_xml(const std::vector<CorsRule>& rules) {
  std::string out = "<CORSConfiguration>";
  const auto add = [&](std::string_view name, const std::vector<std::string>& texts) {
    for (const std::string& text : texts) out += xml_element(name, text);
  };
  for (const CorsRule& rule : rules) {
    out += "<CORSRule>";
    add("AllowedOrigin", rule.origins);
    add("AllowedMethod", rule.methods);
    add("AllowedHeader", rule.headers);
    add("ExposeHeader", rule.exposed_headers);
    if (rule.max_age_seconds > 0) out += xml_element("MaxAgeSeconds", std::to_string(rule.max_age_seconds));
    out += "</CORSRule>";
  }
  return out + "</CORSConfiguration>";
}

std::string object_lock_xml(const std::optional<Retention>& retention) {
  std::string out = "<ObjectLockConfiguration>" + xml_element("ObjectLockEnabled", "Enabled");
  if (retention)
    out += "<Rule><DefaultRetention>" +
           xml_element("Mode", retention->mode == RetentionMode::compliance ? "COMPLIANCE" : "GOVERNANCE") +
           xml_element("Days", std::to_string(retention->days)) + "</DefaultRetention></Rule>";
  return out + "</ObjectLockConfiguration>";
}

}  // namespace ironcore::storage::rgw
