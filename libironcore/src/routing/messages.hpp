// SPDX-License-Identifier: Apache-2.0
// What speakers and reflectors say to each other, as bytes. docs/wire.md draws them; everything is little-endian.
#pragma once

#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>
#include <vector>

#include "ironcore/base/clock.hpp"
#include "ironcore/base/result.hpp"
#include "ironcore/routing/link.hpp"
#include "record.hpp"

namespace ironcore::routing {

inline constexpr std::uint16_t protocol_version = 1;
inline constexpr std::size_t max_records = 1'000;  ///< in one message: 64 KB
inline constexpr std::uint8_t max_pieces = 16;     ///< that a reader is sent before it asks again
inline constexpr std::size_t max_positions = 1'000;
inline constexpr std::uint64_t not_read = ~std::uint64_t{0};
inline constexpr std::size_t max_name_bytes = 253;
/// Versions are an instance and what comes after it: they must not run over.
inline constexpr std::uint64_t max_instance = std::uint64_t{1} << 62;
/// Of reflectors; a lease is at least two heartbeats.
inline constexpr Duration least_heartbeat = std::chrono::milliseconds(10);
inline constexpr Duration longest_heartbeat = std::chrono::hours(1);
inline constexpr Duration longest_lease = std::chrono::hours(24);

enum class MessageType : std::uint16_t {
  open = 0x0201,
  welcome = 0x0202,
  refuse = 0x0203,
  heartbeat = 0x0204,
  close = 0x0205,
  changes = 0x0206,
  position = 0x0207,
};

/// A speaker that wants a session, and what it announces.
struct Open {
  std::string_view name;  ///< of the node
  std::uint64_t instance =
      0;  ///< of this life of the speaker, from 1; later ones have higher numbers. Versions begin with it
  std::uint64_t sequence = 0;  ///< of the stream `own`
  std::uint64_t digest = 0;    ///< likewise
};
/// A session. What the reflector knows of the speaker's routes decides what must be said again.
struct Welcome {
  std::string_view name;           ///< of the reflector
  std::uint64_t epoch = 0;         ///< of this life of the reflector; sequences are its
  std::uint64_t instance = 0;      ///< of the speaker that it heard last; 0 = none
  std::uint64_t sequence = 0;      ///< that it has of this instance
  std::uint64_t digest = 0;        ///< of all routes that it has of this origin
  std::uint32_t lease_ms = 0;      ///< a speaker that is silent for longer is dead
  std::uint32_t heartbeat_ms = 0;  ///< both sides say something as often
  std::uint8_t is_ready = 0;       ///< all that live had time to announce themselves
  std::uint8_t has_relayed = 0;    ///< there is something in `View::relayed`
  std::string_view bulk;           ///< where its bulk socket is; empty = beside the one of control
  std::string_view publications;   ///< likewise
};
/// No session, or no longer one.
struct Refuse {
  enum class Reason : std::uint8_t {
    forbidden = 1,        ///< not with this key, or name
    older_instance = 2,   ///< a later life of this node was here: `detail` is its instance
    replaced = 3,         ///< a later life of this node has come
    unknown_session = 4,  ///< open one
    foreign_version = 5,  ///< speaks another protocol version
    exhausted = 6,        ///< too many sessions
    stream = 7,           ///< the session goes on, but not with the stream of `detail`: see `stream_number`
  };
  Reason reason = Reason::forbidden;
  std::uint64_t detail = 0;
  std::string_view text;
};
/// A stream as `Refuse::detail`: its VNI, and its view above that.
constexpr std::uint64_t stream_number(StreamName stream) noexcept {
  return std::uint64_t{static_cast<std::uint8_t>(stream.view)} << 32 | stream.vni;
}
/// "I am here." From a speaker also how far it has read since it last said so.
struct Heartbeat {
  std::uint8_t is_ready = 0;
  std::uint8_t has_relayed = 0;
  struct Position {
    StreamName stream;
    std::uint64_t sequence = 0;  ///< `not_read` = not any more
  };
  std::vector<Position> positions;
};
struct Close {
  enum class Reason : std::uint8_t {
    leaving = 1,   ///< a speaker that takes its routes along
    stopping = 2,  ///< a speaker or reflector that comes back, or another one: nothing changes
  };
  Reason reason = Reason::stopping;
};
/// What changed in a stream after `from`, through `to`. None = how things are.
struct Changes {
  StreamName stream;
  std::uint64_t epoch = 0;  ///< of the table's life: a reflector's epoch, a speaker's instance
  std::uint64_t from = 0;
  std::uint64_t to = 0;
  std::uint64_t head = 0;    ///< the stream's latest number when this was said
  std::uint64_t digest = 0;  ///< of the whole stream at `to`, if `to` is `head`
  std::uint8_t is_ready = 0;
  std::uint8_t is_restart = 0;  ///< forget what you confirmed: this begins from 0

  std::string_view records;  ///< when decoded: whole ones, not yet looked at
  std::size_t count() const noexcept { return records.size() / sizeof(Record); }
  Record record(std::size_t i) const noexcept {
    Record record;
    std::memcpy(&record, records.data() + i * sizeof(Record), sizeof record);
    return record;
  }
};
/// How far a reader has come, and whether it waits for more.
struct Position {
  StreamName stream;
  std::uint64_t epoch = 0;
  std::uint64_t sequence = 0;
  std::uint64_t base = 0;     ///< what was withdrawn through this number does not concern the reader
  std::uint64_t refused = 0;  ///< records of this session that were not accepted
  std::uint8_t wants = 0;     ///< pieces of what comes after `sequence` that may be sent now; at most `max_pieces`
};

/// The first 24 bytes, as in every message of this project.
struct Envelope {
  MessageType type{};
  std::uint64_t session = 0;  ///< 0 = none yet
  std::string_view body;
};
/// `corrupt` = none of ours or cut; `unsupported` = another protocol version, unless it is a refusal: that is the same in all.
Result<Envelope> read_envelope(std::string_view message);

std::string encode(std::uint64_t session, const Open& open);
std::string encode(std::uint64_t session, const Welcome& welcome);
std::string encode(std::uint64_t session, const Refuse& refuse);
std::string encode(std::uint64_t session, const Heartbeat& heartbeat);
std::string encode(std::uint64_t session, const Close& close);
std::string encode(std::uint64_t session, const Position& position);

/// `corrupt` when a size does not fit, a value is none of its enumeration, or bytes are left. Texts are views into the body.
Result<void> decode(std::string_view body, Open& open);
Result<void> decode(std::string_view body, Welcome& welcome);
Result<void> decode(std::string_view body, Refuse& refuse);
Result<void> decode(std::string_view body, Heartbeat& heartbeat);
Result<void> decode(std::string_view body, Close& close);
Result<void> decode(std::string_view body, Changes& changes);
Result<void> decode(std::string_view body, Position& position);

/// Records first, then what they are: a message of changes is written once, where it is sent from.
class ChangesWriter {
 public:
  explicit ChangesWriter(std::size_t records = 0);
  void add(const Record& record) { message_.append(reinterpret_cast<const char*>(&record), sizeof record); }
  std::size_t count() const noexcept;
  /// `changes.records` is not used.
  std::string finish(std::uint64_t session, const Changes& changes) &&;

 private:
  std::string message_;
};

}  // namespace ironcore::routing
