// SPDX-License-Identifier: Apache-2.0
// The bytes of every message: as the golden files show them, there and back, and cut off at every place.
#include <doctest/doctest.h>

#include "codec.hpp"
#include "messages.hpp"
#include "result_text.hpp"
#include "wire.hpp"

using namespace ironcore;
using namespace ironcore::store::zmq;

namespace {
constexpr auto messages = [](auto each) { test::for_each_message(each); };
}

TEST_CASE("every message has the bytes of its golden file") {
  test::check_golden_files(IRONCORE_GOLDEN, messages);
}

TEST_CASE("every message reads back as it was written") {
  test::check_there_and_back(messages);
}

TEST_CASE("a message that is cut off anywhere, or has one byte more, is refused") {
  test::check_cuts(messages);
}

TEST_CASE("any single damaged byte is refused or reads as another message, never worse") {
  test::check_damage(messages);
}

TEST_CASE("the least sizes that bound lists are the sizes of empty elements") {
  const auto body = [](const auto& record) { return encode(0, 0, record).size() - header_bytes; };
  const auto operations = [&](std::size_t count) {
    CommitRequest request;
    request.operations.resize(count);
    return body(request);
  };
  CHECK(operations(2) - operations(1) == OperationRecord::least_bytes);
  const auto preconditions = [&](std::size_t count) {
    CommitRequest request;
    request.preconditions.resize(count);
    return body(request);
  };
  CHECK(preconditions(2) - preconditions(1) == PreconditionRecord::least_bytes);
  const auto objects = [&](std::size_t count) {
    CommitReply reply;
    reply.objects.resize(count);
    return body(reply);
  };
  CHECK(objects(2) - objects(1) == ObjectRecord::least_bytes);
  const auto changes = [&](std::size_t count) {
    ChangesReply reply;
    reply.changes.resize(count);
    return body(reply);
  };
  CHECK(changes(2) - changes(1) == ChangeRecord::least_bytes);
  const auto leases = [&](std::size_t count) {
    LeasesReply reply;
    reply.leases.resize(count);
    return body(reply);
  };
  CHECK(leases(2) - leases(1) == LeaseRecord::least_bytes);
  const auto fields = [&](std::size_t count) {
    ErrorReply reply;
    reply.fields.resize(count);
    return body(reply);
  };
  CHECK(fields(2) - fields(1) == FieldRecord::least_bytes);
}

TEST_CASE("errors keep their code, message, fields and context on the way") {
  const auto there_and_back = [](const Error& error) {
    const auto bytes = encode(1, 0, to_record(error));
    return error_of(decode<ErrorReply>(bytes).value());
  };
  for (const auto code :
       {ErrorCode::invalid, ErrorCode::not_found, ErrorCode::already_exists, ErrorCode::conflict,
        ErrorCode::wrong_state, ErrorCode::exhausted, ErrorCode::forbidden, ErrorCode::unavailable, ErrorCode::timeout,
        ErrorCode::cancelled, ErrorCode::unsupported, ErrorCode::corrupt, ErrorCode::gone, ErrorCode::internal}) {
    const Error error(code, "what happened");
    CHECK(there_and_back(error) == error);
  }
  const Error fields({{"spec.a", FieldError::Reason::required, "is required"},
                      {"spec.b[1]", FieldError::Reason::too_long, "is too long"}});
  CHECK(there_and_back(fields) == fields);
  const auto nested = fields.within("operation 3");
  CHECK(there_and_back(nested) == nested);
  // Numbers that this version does not know.
  CHECK(error_of(ErrorReply{200, "later", {}}).code() == ErrorCode::internal);
  CHECK(error_of(ErrorReply{1, "", {{"f", 99, "m"}}}).fields().at(0).reason == FieldError::Reason::invalid);
}
