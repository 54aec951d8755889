// SPDX-License-Identifier: Apache-2.0
// Tables of changes and of the fields that admission must find wrong.
#pragma once

#include <doctest/doctest.h>

#include <initializer_list>

#include "objects.hpp"

namespace ironcore::api {

/// `FIELD REASON` lines of admission, for an object changed by a merge patch.
template <class T>
std::string created(const T& base, std::string_view patch) {
  const auto object = apply_merge_patch(Object::of(base), patch).value();
  return wrong_fields(object.kind().admit_create(object));
}

/// The same for the step from one patch of `base` to another.
template <class T>
std::string updated(const T& base, std::string_view from, std::string_view to) {
  const auto current = apply_merge_patch(Object::of(base), from).value();
  const auto wanted = apply_merge_patch(Object::of(base), to).value();
  return wrong_fields(current.kind().admit_update(current, wanted));
}

struct Row {
  const char* what;
  const char* patch;
  const char* wrong;
};
struct Step {
  const char* what;
  const char* from;
  const char* to;
  const char* wrong;
};
inline constexpr const char* fine = "nothing is wrong";

template <class T>
void check_rows(const T& base, std::initializer_list<Row> rows) {
  for (const auto& row : rows) {
    CAPTURE(row.what);
    CHECK(created(base, row.patch) == row.wrong);
  }
}
template <class T>
void check_steps(const T& base, std::initializer_list<Step> steps) {
  for (const auto& step : steps) {
    CAPTURE(step.what);
    CHECK(updated(base, step.from, step.to) == step.wrong);
  }
}

}  // namespace ironcore::api
