// SPDX-License-Identifier: Apache-2.0
// Errors gather context from the inside out, and results hand them on.
#include "ironcore/base/log.hpp"
#include "ironcore/base/result.hpp"

#include <doctest/doctest.h>

#include <memory>

using namespace ironcore;

namespace {

Result<int> open_pool(bool there) {
  if (!there) return Error(ErrorCode::not_found, "not found");
  return 5;
}

Result<int> open_disk(bool there) {
  IRONCORE_TRY(const int pool, within(open_pool(there), "pool ssd"));
  return pool + 1;
}

Result<> start(bool there) {
  IRONCORE_CHECK(within(open_disk(there), "open boot disk"));
  return {};
}

Result<std::unique_ptr<int>> make_owned() {
  return std::make_unique<int>(4);
}

Result<int> take_owned() {
  IRONCORE_TRY(auto owned, make_owned());
  return *owned;
}

}  // namespace

TEST_CASE("context reads from the outside in") {
  const auto result = within(start(false), "start machine web-1");
  REQUIRE(result.has_error());
  CHECK(result.error().code() == ErrorCode::not_found);
  CHECK(result.error().message() == "start machine web-1: open boot disk: pool ssd: not found");
  CHECK(start(true).has_value());
  CHECK(open_disk(true).value() == 6);
}

TEST_CASE("a value that can only be moved passes through IRONCORE_TRY") {
  CHECK(take_owned().value() == 4);
}

TEST_CASE("an error of several fields names them all and keeps them") {
  const Error error({{"spec.power", FieldError::Reason::not_supported, "must be On or Off"},
                     {"spec.volumes[1].device", FieldError::Reason::duplicate, "oda is taken"}});
  CHECK(error.code() == ErrorCode::invalid);
  CHECK(error.message() == "spec.power: must be On or Off; spec.volumes[1].device: oda is taken");
  const auto outer = error.within("machine web-1");
  CHECK(outer.fields() == error.fields());
  CHECK(outer.message().starts_with("machine web-1: spec.power"));
}

TEST_CASE("value() of a failed result throws the error") {
  try {
    (void)open_pool(false).value();
    FAIL("no exception");
  } catch (const Failure& failure) {
    CHECK(failure.error().code() == ErrorCode::not_found);
    CHECK(std::string_view(failure.what()) == "not found");
  }
}

TEST_CASE("codes, reasons and levels have their words") {
  CHECK(name(ErrorCode::already_exists) == "already_exists");
  CHECK(name(ErrorCode::internal) == "internal");
  CHECK(name(FieldError::Reason::too_long) == "too_long");
  CHECK(name(LogLevel::warning) == "warning");
}
