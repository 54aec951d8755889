// SPDX-License-Identifier: Apache-2.0
// Conditions of `wait`.
#include "ironcorectl/wait.hpp"

#include <algorithm>
#include <ostream>

#include "ironcore/api/compute.hpp"
#include "ironcore/base/names.hpp"
#include "ironcore/control/placed_kinds.hpp"
#include "ironcore/store/selector.hpp"
#include "ironcorectl/conditions.hpp"
#include "ironcorectl/follow.hpp"
#include "ironcorectl/progress.hpp"
#include "ironcorectl/states.hpp"
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
  // kubectl's spelling of the same: jsonpath={.status.state}=Running
  if (left == "jsonpath" && right.starts_with("{.")) {
    const auto close = right.find("}=");
    if (close == std::string::npos) return Error(ErrorCode::invalid, "--for: expected jsonpath={.FIELD}=VALUE");
    return Condition{Condition::Type::field, right.substr(2, close - 2), right.substr(close + 2)};
  }
  return Condition{Condition::Type::field, left, right};
}

/// A word that objects of this kind never have would be waited for in vain.
Result<void> check_words(const api::Kind& kind, const Condition& condition) {
  if (condition.type == Condition::Type::field && condition.name == "status.state")
    return within(check_state(kind, condition.value), "--for");
  if (condition.type == Condition::Type::field) {
    IRONCORE_TRY(const auto selector, within(store::FieldSelector::parse(condition.name + "="), "--for"));
    return within(selector.check(kind), "--for");
  }
  if (condition.type != Condition::Type::condition) return {};
  IRONCORE_CHECK(within(check_condition(kind, condition.name), "--for"));
  static const std::vector<std::string> known{"True", "False", "Unknown"};
  if (std::find(known.begin(), known.end(), condition.value) != known.end()) return {};
  return Error(ErrorCode::invalid, "--for: a condition is True, False or Unknown, not \"" + condition.value + '"' +
                                       did_you_mean(condition.value, known));
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

/// `machine/web-1 in namespace default, …`: what names an object of this kind as its class.
template <class User>
Result<std::string> users_of(Session& session, const std::string& class_name) {
  constexpr std::size_t most = 5;
  IRONCORE_TRY(store::Store* const store, session.store());
  store::Query query{.kind = &api::kind_of<User>()};
  IRONCORE_TRY(query.fields, store::FieldSelector::parse("spec." + std::string(control::PlacedKind<User>::class_field) +
                                                         ".name=" + class_name));
  IRONCORE_TRY(const auto page, store->list(query, {.limit = most + 1}));
  std::string text;
  for (std::size_t i = 0; i < page.objects.size() && i < most; ++i) {
    const api::Object& user = page.objects[i];
    text += (i > 0 ? ", " : "") + text_of(user) + " in namespace " + user.metadata().namespace_;
  }
  return page.objects.size() > most ? text + " and more" : text;
}

Result<std::string> users_of(Session& session, const api::Object& object) {
  if (object.is<api::MachineClass>()) return users_of<api::Machine>(session, object.name());
  if (object.is<api::VolumeClass>()) return users_of<api::Volume>(session, object.name());
  if (object.is<api::BucketClass>()) return users_of<api::Bucket>(session, object.name());
  if (!object.is<api::Volume>()) return std::string();
  const auto& claim = object.as<api::Volume>().spec.claim_ref;
  return claim ? "machine/" + claim->name : std::string();
}

/// What keeps an object that is being deleted: its finalizers, and what uses it.
Result<std::string> what_holds(Session& session, const api::Object& object) {
  std::string text;
  for (const std::string& finalizer : object.metadata().finalizers)
    text += (text.empty() ? "held by finalizer " : ", ") + finalizer;
  IRONCORE_TRY(const auto users, users_of(session, object));
  if (users.empty()) return text;
  return text + (text.empty() ? "used by " : "; used by ") + users;
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
  if (object->metadata().deletion_timestamp) return text.empty() ? "being deleted" : "being deleted: " + text;
  return text.empty() ? "there" : text;
}

/// Until all of them hold at the same time.
Result<void> wait_one(Session& session, const store::Key& key, const std::vector<Condition>& conditions,
                      const std::string& words, Instant deadline) {
  const auto has = [&](Condition::Type type) {
    return std::any_of(conditions.begin(), conditions.end(), [&](const Condition& c) { return c.type == type; });
  };
  Progress progress(session);
  std::string last;
  std::string uid;
  const Look look = [&](const api::Object* object) -> Result<bool> {
    const auto open = std::find_if_not(conditions.begin(), conditions.end(),
                                       [&](const Condition& condition) { return holds(condition, object); });
    if (open == conditions.end()) return true;
    const bool was_deleted = has(Condition::Type::deleted) && object && !uid.empty() && object->metadata().uid != uid;
    if (was_deleted) return true;  // another object of the same name
    if (object) uid = object->metadata().uid;
    if (!object && !has(Condition::Type::exists)) {
      return Error(ErrorCode::not_found, key.to_text() + ": not found" + (uid.empty() ? "" : " any more"));
    }
    last = present(*open, object);
    // A state tells more, but of a volume not who uses it.
    if (last == "being deleted" || (last.starts_with("being deleted") && object->is<api::Volume>())) {
      // Only for the text: who may not list its users is still told the rest.
      const auto holder = what_holds(session, *object);
      if (holder && !holder->empty()) last += ": " + *holder;
    }
    progress.show(text_of(key) + ": " + last);
    return false;
  };
  IRONCORE_TRY(const bool is_done, follow(session, key, deadline, look));
  if (is_done) return {};
  return Error(ErrorCode::timeout, text_of(key) + " did not reach " + words + " in time; it is: " + last);
}

}  // namespace

Result<void> wait(Session& session, const WaitOptions& options) {
  if (options.conditions.empty()) return Error(ErrorCode::invalid, "--for WHAT is missing");
  std::vector<Condition> conditions;
  std::string words;
  for (const std::string& text : options.conditions) {
    IRONCORE_TRY(Condition condition, parse_condition(text));
    conditions.push_back(std::move(condition));
    words += (words.empty() ? "" : " and ") + text;
  }
  const bool is_delete = conditions.front().type == Condition::Type::deleted;
  const bool has_delete = std::any_of(conditions.begin(), conditions.end(),
                                      [](const Condition& c) { return c.type == Condition::Type::deleted; });
  if (has_delete && conditions.size() > 1)
    return Error(ErrorCode::invalid, "--for delete stands alone: what is gone has no state");
  IRONCORE_TRY(const auto keys, parse_keys(session, options.words));
  for (const store::Key& key : keys) {
    for (const Condition& condition : conditions) IRONCORE_CHECK(check_words(*key.kind, condition));
  }
  const Instant deadline = session.clock().now() + options.timeout;
  for (const store::Key& key : keys) {
    IRONCORE_CHECK(wait_one(session, key, conditions, words, deadline));
    session.out() << text_of(key) << ' ' << (is_delete ? "deleted" : words) << std::endl;
  }
  return {};
}

Result<void> wait_for(Session& session, const store::Key& key, const std::string& condition, Duration timeout) {
  IRONCORE_TRY(const auto parsed, parse_condition(condition));
  return wait_one(session, key, {parsed}, condition, session.clock().now() + timeout);
}

}  // namespace ironcore::ctl
