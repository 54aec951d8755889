// SPDX-License-Identifier: Apache-2.0
// What all messages have in common, whoever speaks: header, errors, and how records become bytes. docs/wire.md shows them.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "ironcore/base/result.hpp"

namespace ironcore::wire {

inline constexpr std::uint16_t protocol_version = 1;
inline constexpr std::string_view magic = "ICZM";
inline constexpr std::size_t header_bytes = 24;
/// Largest message that a server reads, and a client of a stream.
inline constexpr std::size_t max_request_bytes = 2 * 1024 * 1024;
/// Largest answer that a client reads: the objects of the largest transaction.
inline constexpr std::size_t max_reply_bytes = 64 * 1024 * 1024;

/// The answer to request N has type `N | reply_bit`, or is `error`.
enum class MessageType : std::uint16_t {
  hello = 0x0001,
  get = 0x0002,
  list = 0x0003,
  commit = 0x0004,
  changes = 0x0005,
  revision = 0x0006,
  acquire_lease = 0x0007,
  release_lease = 0x0008,
  leases = 0x0009,
  grant_stream = 0x000a,

  // Of a host's dataplane.
  dataplane_hello = 0x0101,
  apply_changes = 0x0102,
  list_objects = 0x0103,
  watch_batches = 0x0104,
  dataplane_counters = 0x0105,
  open_port = 0x0106,
  close_port = 0x0107,
  list_ports = 0x0108,
  explain_packet = 0x0109,
  dataplane_usage = 0x010a,
  list_vnis = 0x010b,
  start_capture = 0x0110,
  stop_capture = 0x0111,
  list_captures = 0x0112,
  read_capture = 0x0113,
  dataplane_offload = 0x0115,

  // Of a reflector, to those who operate it; 0x0201 to 0x0280 are routing's own (routing/messages.hpp).
  reflector_status = 0x0281,
  reflector_nodes = 0x0282,
  reflector_vnis = 0x0283,
  reflector_routes = 0x0284,

  serve_streams = 0x2001,
  open_stream = 0x2002,
  offer_stream = 0x2003,
  accept_stream = 0x2004,
  stream_data = 0x2005,
  stream_credit = 0x2006,
  close_stream = 0x2007,
  ping = 0x2008,

  change = 0x4001,
  bookmark = 0x4002,
  heartbeat = 0x4003,

  restarted = 0xfffe,
  error = 0xffff,
};
inline constexpr std::uint16_t reply_bit = 0x8000;
constexpr MessageType reply_to(MessageType request) noexcept {
  return static_cast<MessageType>(static_cast<std::uint16_t>(request) | reply_bit);
}

/// The first 24 bytes. The first 16 and the error record are the same in every protocol version.
struct Header {
  std::uint16_t version = protocol_version;
  MessageType type{};
  std::uint64_t request_id = 0;   ///< of a stream message: the stream
  std::uint32_t deadline_ms = 0;  ///< how long the sender waits
};

// All texts are views: on the way out into what the caller holds, on the way in into the message.
using Text = std::string_view;

struct FieldRecord {
  static constexpr std::size_t least_bytes = 4 + 1 + 4;
  Text field;
  std::uint8_t reason = 0;
  Text message;
};
struct ErrorReply {
  static constexpr MessageType type = MessageType::error;
  std::uint8_t code = 0;
  Text message;
  std::vector<FieldRecord> fields;
};
/// Codes and reasons have fixed numbers on the wire; an unknown one becomes `internal` or `invalid`.
ErrorReply to_record(const Error& error);
Error error_of(const ErrorReply& record);

/// Appends the whole message, header included.
template <class Record>
void encode(std::string& out, std::uint64_t request_id, std::uint32_t deadline_ms, const Record& record);
template <class Record>
std::string encode(std::uint64_t request_id, std::uint32_t deadline_ms, const Record& record) {
  std::string out;
  encode(out, request_id, deadline_ms, record);
  return out;
}

/// `corrupt` = not ours or cut; `unsupported` = another protocol version (the header is filled then).
Result<void> decode_header(std::string_view message, Header& header);
/// The record of a message whose header was read. `corrupt` when a size does not fit, a value is none of its enumeration, or bytes are left.
template <class Record>
Result<Record> decode(std::string_view message);

}  // namespace ironcore::wire
