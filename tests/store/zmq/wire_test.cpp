// SPDX-License-Identifier: Apache-2.0
// The bytes of every message: as the golden files show them, there and back, and cut off at every place.
#include <doctest/doctest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iomanip>
#include <sstream>

#include "codec.hpp"
#include "messages.hpp"
#include "result_text.hpp"
#include "wire.hpp"

using namespace ironcore;
using namespace ironcore::store::zmq;

namespace {

/// Sixteen bytes in a line, as `xxd -p -c 16` prints them.
std::string to_hex(std::string_view bytes) {
  std::ostringstream text;
  text << std::hex << std::setfill('0');
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    text << std::setw(2) << static_cast<unsigned>(static_cast<unsigned char>(bytes[i]));
    if (i % 16 == 15 || i + 1 == bytes.size()) text << '\n';
  }
  return text.str();
}

std::string read_golden(const std::string& name) {
  std::ifstream file(std::filesystem::path(IRONCORE_GOLDEN) / (name + ".hex"));
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

}  // namespace

TEST_CASE("every message has the bytes of its golden file") {
  test::for_each_message([](const std::string& name, const std::string& bytes, const auto&) {
    INFO(name);
    // For a new message: IRONCORE_WRITE_GOLDEN=1 writes what is missing; an existing file is never changed.
    const auto path = std::filesystem::path(IRONCORE_GOLDEN) / (name + ".hex");
    if (std::getenv("IRONCORE_WRITE_GOLDEN") != nullptr && !std::filesystem::exists(path))
      std::ofstream(path) << to_hex(bytes);
    CHECK(to_hex(bytes) == read_golden(name));
  });
}

TEST_CASE("every message reads back as it was written") {
  test::for_each_message([](const std::string& name, const std::string& bytes, const auto& decode_and_encode) {
    INFO(name);
    Header header;
    REQUIRE(decode_header(bytes, header));
    CHECK(header.request_id == 0x1122334455667788);
    CHECK(header.deadline_ms == 10'000);
    const auto again = decode_and_encode(bytes);
    REQUIRE(again);
    CHECK(*again == bytes);
  });
}

TEST_CASE("a message that is cut off anywhere, or has one byte more, is refused") {
  test::for_each_message([](const std::string& name, const std::string& bytes, const auto& decode_and_encode) {
    INFO(name);
    for (std::size_t size = 0; size < bytes.size(); ++size) {
      Header header;
      CHECK_FALSE(decode_header(bytes.substr(0, size), header));
      // Also when the header says that this is all.
      if (size < header_bytes) continue;
      auto cut = bytes.substr(0, size);
      for (std::size_t at = 0; at < 4; ++at) cut[20 + at] = static_cast<char>((size - header_bytes) >> (8 * at));
      REQUIRE(decode_header(cut, header));
      CHECK_FALSE(decode_and_encode(cut));
    }
    auto longer = bytes + 'x';
    CHECK_FALSE(decode_and_encode(longer));
  });
}

TEST_CASE("any single damaged byte is refused or reads as another message, never worse") {
  test::for_each_message([](const std::string&, const std::string& bytes, const auto& decode_and_encode) {
    for (std::size_t at = header_bytes; at < bytes.size(); ++at) {
      for (const int change : {0x01, 0x80, 0xff}) {
        auto damaged = bytes;
        damaged[at] = static_cast<char>(damaged[at] ^ change);
        const auto again = decode_and_encode(damaged);
        if (again) CHECK(*again == damaged);
      }
    }
  });
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
