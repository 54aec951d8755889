// SPDX-License-Identifier: Apache-2.0
// What went wrong, in words for the operator and a code for the caller.
#pragma once

#include <boost/assert/source_location.hpp>
#include <iosfwd>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

namespace ironcore {

/// A code exists only where a caller could react differently to it.
enum class ErrorCode {
  invalid,         ///< the input is wrong; the same call will fail again
  not_found,       ///< the named thing does not exist
  already_exists,  ///< something of that name exists
  conflict,        ///< somebody else changed it first: read again, then retry
  wrong_state,     ///< not possible now; possible after a state change
  exhausted,       ///< a limit is reached: room, quota, size
  forbidden,       ///< the caller may not do this
  unavailable,     ///< the other side cannot be reached now: retry later
  timeout,         ///< no answer in time; the call may have taken effect
  cancelled,       ///< the caller asked to stop
  unsupported,     ///< this body or this version cannot do it
  corrupt,         ///< stored or received data is damaged
  gone,            ///< the history asked for is no longer kept: list again
  internal,        ///< a bug of ours, or a reply that makes no sense
};

/// `not_found` → "not_found"; the same words in logs, JSON and Python.
std::string_view name(ErrorCode code) noexcept;

/// One wrong field of an object: the JSON path (`spec.volumes[1].device`), and what is wrong with it.
struct FieldError {
  enum class Reason { required, invalid, forbidden, duplicate, not_supported, too_long, unknown };
  std::string field;
  Reason reason = Reason::invalid;
  std::string message;
  friend bool operator==(const FieldError&, const FieldError&) = default;
};
std::string_view name(FieldError::Reason reason) noexcept;

/// A failure for a reason outside the caller. The message is one line, starts in lower case, and tells what to do.
/// Outer levels prepend what only they know with `within`, so that the text reads from the outside in:
/// `start machine web-1: open boot disk: pool ssd: not found`.
class Error {
 public:
  /// What `Result::error()` gives when there is no error (Boost.System asks for it): `internal`, no message.
  Error() = default;
  Error(ErrorCode code, std::string message) : code_(code), message_(std::move(message)) {}
  /// An `invalid` error that lists every wrong field; the message names all of them.
  explicit Error(std::vector<FieldError> fields);

  ErrorCode code() const noexcept { return code_; }
  const std::string& message() const noexcept { return message_; }
  const std::vector<FieldError>& fields() const noexcept { return fields_; }

  /// Prepends `context: ` to the message.
  Error within(std::string_view context) const&;
  Error within(std::string_view context) &&;

  friend bool operator==(const Error&, const Error&) = default;

 private:
  ErrorCode code_ = ErrorCode::internal;
  std::string message_;
  std::vector<FieldError> fields_;
};

/// The message; also what doctest and Boost print for a failed Result.
std::ostream& operator<<(std::ostream& out, const Error& error);

/// The exception that `Result::value()` throws, for those who like exceptions (Python included).
class Failure : public std::runtime_error {
 public:
  explicit Failure(Error error) : std::runtime_error(error.message()), error_(std::move(error)) {}
  const Error& error() const noexcept { return error_; }

 private:
  Error error_;
};

/// Found by Boost.System through argument-dependent lookup when `value()` is called on a failed result.
[[noreturn]] void throw_exception_from_error(const Error& error, const boost::source_location&);

}  // namespace ironcore
