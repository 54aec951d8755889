// SPDX-License-Identifier: Apache-2.0
// From errors to reasons, from troubles to conditions.
#include "trouble.hpp"

namespace ironcore::control {

Trouble Trouble::named(const char* reason, const Error& error) {
  switch (error.code()) {
    case ErrorCode::invalid:
    case ErrorCode::unsupported:
    case ErrorCode::already_exists:
    case ErrorCode::forbidden:
      return {reason, error.message(), Kind::fault};
    default:
      return {reason, error.message(), Kind::failure};
  }
}

Trouble Trouble::of(const Error& error, const char* otherwise) {
  switch (error.code()) {
    case ErrorCode::exhausted:
      return named("OutOfCapacity", error);
    case ErrorCode::unavailable:
    case ErrorCode::timeout:
      return named("StoreUnavailable", error);
    default:
      return named(otherwise, error);
  }
}

bool set_condition(std::vector<api::Condition>& conditions, const char* type, const std::optional<Trouble>& trouble,
                   const char* fine, const char* message, WallTime now) {
  const auto* before = api::find_condition(conditions, type);
  api::Condition after{.type = type};
  after.status = trouble ? api::ConditionStatus::false_ : api::ConditionStatus::true_;
  after.reason = trouble ? trouble->reason : fine;
  after.message = trouble ? trouble->message : message;
  const bool is_news =
      trouble && (before == nullptr || before->reason != after.reason || before->message != after.message);
  api::set_condition(conditions, std::move(after), now);
  return is_news;
}

}  // namespace ironcore::control
