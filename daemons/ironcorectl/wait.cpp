// SPDX-License-Identifier: Apache-2.0
// Conditions of `wait`.
#include "ironcorectl/wait.hpp"

#include <ostream>

#include "ironcorectl/conditions.hpp"
#include "ironcorectl/follow.hpp"
#include "ironcorectl/progress.hpp"
#include "ironcorectl/target.hpp"

namespace ironcore::ctl {
namespace {

struct Condition {
  enum class Type { exists, deleted, condition, field } type;
  std::string name;   ///< of the condition, or the field's path
  std::string value;  ///< that it must have
};

Result<Condition> parse_condition(const std::string& text) {
  if (text == "exists" || text == "create") return Condition{Condition::Type::exists, "", ""};
  if (text == "delete") return Condition{Condition::Type::deleted, "", ""};
  const auto equals = text.find('=');
  if (equals == std::string::npos || equals == 0) {
    return Error(ErrorCode::invalid,
                 "--for: expected condition=NAME, state=STATE, FIELD=VALUE, exists or delete, not \"" + text + '"');
  }
  const std::string left = text.substr(0, equals), right = text.substr(equals + 1);
  if (left == "condition") {
    const auto second = right.find('=');
    return Condition{Condition::Type::condition, right.substr(0, second),
                     second == std::string::npos ? "True" : right.substr(second + 1)};
  }
  if (left == "state") return Condition{Condition::Type::field, "status.state", right};
  std::string path = left;
  // kubectl's spelling of the same: jsonpath={.status.state}=Running
  if (left == "jsonpath" && right.starts_with("{.")) {
    const auto close = right.find("}=");
    if (close == std::string::npos) return Error(ErrorCode::invalid, "--for: expected jsonpath={.FIELD}=VALUE");
    return Condition{Condition::Type::field, right.substr(2, close - 2), right.substr(close + 2)};
  }
  return Condition{Condition::Type::field, path, right};
}

/// The status of a condition in the object; empty if there is none.
std::string condition_status(const api::Object& object, const std::string& type) {
  for (const auto& condition : conditions_of(object))
    if (condition.type == type) return condition.status;
  return "";
}

bool holds(const Condition& condition, const api::Object* object) {
  switch (condition.type) {
    case Condition::Type::exists:
      return object != nullptr;
    case Condition::Type::deleted:
      return object == nullptr;
    case Condition::Type::condition:
      return object && condition_status(*object, condition.name) == condition.value;
    case Condition::Type::field:
      return object && api::field_text(*object, condition.name) == condition.value;
  }
  return false;
}

/// What the last state was, for progress and for the message of a timeout.
std::string present(const Condition& condition, const api::Object* object) {
  if (!object) return "not there";
  std::string text = state_text(*object);
  if (text.empty() && condition.type == Condition::Type::field) {
    text = condition.name + " is \"" + api::field_text(*object, condition.name).value_or("") + '"';
  }
  if (text.empty() && condition.type == Condition::Type::condition) {
    const std::string status = condition_status(*object, condition.name);
    text = "condition " + condition.name + (status.empty() ? " is not there" : " is " + status);
  }
  if (text.empty()) text = "there";
  if (object->metadata().deletion_timestamp) text = "being deleted: " + text;
  return text;
}

Result<void> wait_one(Session& session, const store::Key& key, const Condition& condition, const std::string& words,
                      Instant deadline) {
  Progress progress(session);
  std::string last;
  std::string uid;
  const Look look = [&](const api::Object* object) -> Result<bool> {
    if (holds(condition, object)) return true;
    const bool was_deleted =
        condition.type == Condition::Type::deleted && object && !uid.empty() && object->metadata().uid != uid;
    if (was_deleted) return true;  // another object of the same name
    if (object) uid = object->metadata().uid;
    if (!object && condition.type != Condition::Type::exists) {
      return Error(ErrorCode::not_found, key.to_text() + ": not found" + (uid.empty() ? "" : " any more"));
    }
    last = present(condition, object);
    progress.show(text_of(key) + ": " + last);
    return false;
  };
  IRONCORE_TRY(const bool is_done, follow(session, key, deadline, look));
  if (is_done) return {};
  return Error(ErrorCode::timeout, text_of(key) + " did not reach " + words + " in time; it is: " + last);
}

}  // namespace

Result<void> wait(Session& session, const WaitOptions& options) {
  IRONCORE_TRY(const auto condition, parse_condition(options.condition));
  IRONCORE_TRY(const auto keys, parse_keys(session, options.words));
  const Instant deadline = session.clock().now() + options.timeout;
  for (const store::Key& key : keys) {
    IRONCORE_CHECK(wait_one(session, key, condition, options.condition, deadline));
    session.out() << text_of(key) << ' ' << (options.condition == "delete" ? "deleted" : options.condition)
                  << std::endl;
  }
  return {};
}

Result<void> wait_for(Session& session, const store::Key& key, const std::string& condition, Duration timeout) {
  IRONCORE_TRY(const auto parsed, parse_condition(condition));
  return wait_one(session, key, parsed, condition, session.clock().now() + timeout);
}

}  // namespace ironcore::ctl
