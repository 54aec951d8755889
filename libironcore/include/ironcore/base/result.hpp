// SPDX-License-Identifier: Apache-2.0
// Result: a value, or the Error that says why there is none.
#pragma once

#include <boost/system/result.hpp>
#include <string_view>
#include <utility>

#include "ironcore/base/error.hpp"

namespace ironcore {

/// Everything that can fail for reasons outside the caller returns one of these.
/// `if (!r) … r.error()`, `*r`, or `r.value()`, which throws `Failure`.
template <class T = void>
using Result = boost::system::result<T, Error>;

/// Adds context to the error, if there is one: `return within(open(path), "open boot disk");`
template <class T>
Result<T> within(Result<T> result, std::string_view context) {
  if (result.has_error()) return std::move(result).error().within(context);
  return result;
}

}  // namespace ironcore

// `IRONCORE_TRY(auto page, store.list(query));` declares `page`, or returns the error to the caller.
// `IRONCORE_CHECK(store.remove(key));` returns the error, if there is one.
#define IRONCORE_JOIN_2(a, b) a##b
#define IRONCORE_JOIN(a, b) IRONCORE_JOIN_2(a, b)
#define IRONCORE_TRY_2(temporary, declaration, ...)               \
  auto&& temporary = (__VA_ARGS__);                               \
  if (temporary.has_error()) return std::move(temporary).error(); \
  declaration = std::move(*temporary)
#define IRONCORE_TRY(declaration, ...) IRONCORE_TRY_2(IRONCORE_JOIN(ironcore_try_, __LINE__), declaration, __VA_ARGS__)
#define IRONCORE_CHECK(...)                                                  \
  do {                                                                       \
    if (auto&& ironcore_check_ = (__VA_ARGS__); ironcore_check_.has_error()) \
      return std::move(ironcore_check_).error();                             \
  } while (false)
