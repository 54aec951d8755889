// SPDX-License-Identifier: Apache-2.0
// Words for error codes, and how errors of several fields become one line.
#include "ironcore/base/error.hpp"

#include <ostream>

namespace ironcore {

std::string_view name(ErrorCode code) noexcept {
  switch (code) {
    case ErrorCode::invalid:
      return "invalid";
    case ErrorCode::not_found:
      return "not_found";
    case ErrorCode::already_exists:
      return "already_exists";
    case ErrorCode::conflict:
      return "conflict";
    case ErrorCode::wrong_state:
      return "wrong_state";
    case ErrorCode::exhausted:
      return "exhausted";
    case ErrorCode::forbidden:
      return "forbidden";
    case ErrorCode::unavailable:
      return "unavailable";
    case ErrorCode::timeout:
      return "timeout";
    case ErrorCode::cancelled:
      return "cancelled";
    case ErrorCode::unsupported:
      return "unsupported";
    case ErrorCode::corrupt:
      return "corrupt";
    case ErrorCode::gone:
      return "gone";
    case ErrorCode::internal:
      return "internal";
  }
  return "internal";
}

std::string_view name(FieldError::Reason reason) noexcept {
  switch (reason) {
    case FieldError::Reason::required:
      return "required";
    case FieldError::Reason::invalid:
      return "invalid";
    case FieldError::Reason::forbidden:
      return "forbidden";
    case FieldError::Reason::duplicate:
      return "duplicate";
    case FieldError::Reason::not_supported:
      return "not_supported";
    case FieldError::Reason::too_long:
      return "too_long";
    case FieldError::Reason::unknown:
      return "unknown";
  }
  return "invalid";
}

static std::string joined(const std::vector<FieldError>& fields) {
  std::string text;
  for (const auto& field : fields) {
    if (!text.empty()) text += "; ";
    if (!field.field.empty()) text += field.field + ": ";
    text += field.message;
  }
  return text;
}

Error::Error(std::vector<FieldError> fields)
    : code_(ErrorCode::invalid), message_(joined(fields)), fields_(std::move(fields)) {}

Error Error::within(std::string_view context) const& {
  return Error(*this).within(context);
}

Error Error::within(std::string_view context) && {
  std::string text;
  text.reserve(context.size() + 2 + message_.size());
  text.append(context).append(": ").append(message_);
  message_ = std::move(text);
  return std::move(*this);
}

std::ostream& operator<<(std::ostream& out, const Error& error) {
  return out << error.message();
}

void throw_exception_from_error(const Error& error, const boost::source_location&) {
  throw Failure(error);
}

}  // namespace ironcore
