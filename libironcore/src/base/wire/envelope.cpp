// SPDX-License-Identifier: Apache-2.0
// Headers and errors on the wire.
#include "envelope.hpp"

#include <array>
#include <utility>

#include "records.hpp"

namespace ironcore::wire {

namespace {

// Position + 1 is the number on the wire: append only.
constexpr std::array codes{
    ErrorCode::invalid,     ErrorCode::not_found, ErrorCode::already_exists, ErrorCode::conflict,
    ErrorCode::wrong_state, ErrorCode::exhausted, ErrorCode::forbidden,      ErrorCode::unavailable,
    ErrorCode::timeout,     ErrorCode::cancelled, ErrorCode::unsupported,    ErrorCode::corrupt,
    ErrorCode::gone,        ErrorCode::internal,
};
constexpr std::array reasons{
    FieldError::Reason::required,  FieldError::Reason::invalid,       FieldError::Reason::forbidden,
    FieldError::Reason::duplicate, FieldError::Reason::not_supported, FieldError::Reason::too_long,
    FieldError::Reason::unknown,
};

template <class T, std::size_t N>
std::uint8_t number_of(const std::array<T, N>& values, T value) noexcept {
  for (std::size_t i = 0; i < N; ++i)
    if (values[i] == value) return static_cast<std::uint8_t>(i + 1);
  return 0;
}
template <class T, std::size_t N>
T value_of(const std::array<T, N>& values, std::uint8_t number, T otherwise) noexcept {
  return number >= 1 && number <= N ? values[number - 1u] : otherwise;
}

}  // namespace

ErrorReply to_record(const Error& error) {
  ErrorReply record;
  record.code = number_of(codes, error.code());
  record.message = error.message();
  record.fields.reserve(error.fields().size());
  for (const auto& field : error.fields())
    record.fields.push_back({field.field, number_of(reasons, field.reason), field.message});
  return record;
}

Error error_of(const ErrorReply& record) {
  const auto code = value_of(codes, record.code, ErrorCode::internal);
  if (record.fields.empty()) return Error(code, std::string(record.message));
  std::vector<FieldError> fields;
  fields.reserve(record.fields.size());
  for (const auto& field : record.fields)
    fields.push_back({std::string(field.field), value_of(reasons, field.reason, FieldError::Reason::invalid),
                      std::string(field.message)});
  // The text is rebuilt from the fields; what outer levels put before it on the other side is put there again.
  Error error(std::move(fields));
  const auto& text = error.message();
  if (record.message.size() > text.size() + 2 && record.message.ends_with(text))
    return std::move(error).within(record.message.substr(0, record.message.size() - text.size() - 2));
  return error;
}

Result<void> decode_header(std::string_view message, Header& header) {
  BoundedInputArchive archive(message);
  if (archive.take_bytes(magic.size()) != magic) return Error(ErrorCode::corrupt, "not a message of this protocol");
  header.version = archive.take<std::uint16_t>();
  header.type = static_cast<MessageType>(archive.take<std::uint16_t>());
  header.request_id = archive.take<std::uint64_t>();
  if (archive.has_failed()) return Error(ErrorCode::corrupt, "message is cut off in its header");
  if (header.version != protocol_version) {
    return Error(ErrorCode::unsupported, "the message is of protocol version " + std::to_string(header.version) +
                                             ", this program speaks version " + std::to_string(protocol_version) +
                                             ": install the same release on both sides");
  }
  header.deadline_ms = archive.take<std::uint32_t>();
  const auto body = archive.take<std::uint32_t>();
  if (archive.has_failed()) return Error(ErrorCode::corrupt, "message is cut off in its header");
  if (body != archive.left()) return Error(ErrorCode::corrupt, "the message's length is not what its header says");
  return {};
}

IRONCORE_WIRE_RECORD(ErrorReply)

}  // namespace ironcore::wire
