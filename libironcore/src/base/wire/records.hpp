// SPDX-License-Identifier: Apache-2.0
// For the sources that say how their records become bytes: the only ones, with the archives, that know cereal.
#pragma once

#include <string>
#include <string_view>

#include "archive.hpp"
#include "envelope.hpp"

// One function per record, for both directions; in the namespace of the record.
#define IRONCORE_WIRE(Record, ...)                   \
  template <class Archive>                           \
  void serialize(Archive& archive, Record& record) { \
    static_cast<void>(archive);                      \
    static_cast<void>(record);                       \
    __VA_ARGS__;                                     \
  }

// Makes `encode` and `decode` of a record; in namespace ironcore::wire.
#define IRONCORE_WIRE_RECORD(Record)                                                       \
  template void encode<Record>(std::string&, std::uint64_t, std::uint32_t, const Record&); \
  template Result<Record> decode<Record>(std::string_view);

namespace ironcore::wire {

IRONCORE_WIRE(FieldRecord, archive(record.field, record.reason, record.message))
IRONCORE_WIRE(ErrorReply, archive(record.code, record.message, record.fields))

template <class Record>
void encode(std::string& out, std::uint64_t request_id, std::uint32_t deadline_ms, const Record& record) {
  const auto start = out.size();
  OutputArchive archive(out);
  archive.put_bytes(magic);
  archive.put(protocol_version);
  archive.put(static_cast<std::uint16_t>(Record::type));
  archive.put(request_id);
  archive.put(deadline_ms);
  archive.put(std::uint32_t{0});
  archive(record);
  const auto body = static_cast<std::uint32_t>(out.size() - start - header_bytes);
  for (std::size_t i = 0; i < 4; ++i)
    out[start + 20 + i] = static_cast<char>(static_cast<unsigned char>(body >> (8 * i)));
}

template <class Record>
Result<Record> decode(std::string_view message) {
  BoundedInputArchive archive(message.substr(header_bytes));
  Record record;
  archive(record);
  if (archive.has_failed()) return Error(ErrorCode::corrupt, "message is damaged: a size or value in it cannot be");
  if (archive.left() != 0) return Error(ErrorCode::corrupt, "message is damaged: bytes are left over at its end");
  return record;
}

}  // namespace ironcore::wire
