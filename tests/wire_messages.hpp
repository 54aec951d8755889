// SPDX-License-Identifier: Apache-2.0
// What the bytes of every message must stand: golden files, there and back, cuts and damage. `messages` calls its argument with each message's name,
// bytes, and what turns bytes into a record and back into bytes.
#pragma once

#include <doctest/doctest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iomanip>
#include <sstream>
#include <string>
#include <string_view>

#include "envelope.hpp"

namespace ironcore::test {

inline constexpr std::uint64_t example_request = 0x1122334455667788;
inline constexpr std::uint32_t example_deadline_ms = 10'000;

/// One message, for `each` of `messages`.
template <class Each, class Record>
void one_message(Each& each, const std::string& name, const Record& record) {
  each(name, wire::encode(example_request, example_deadline_ms, record),
       [](const std::string& bytes) -> Result<std::string> {
         wire::Header header;
         IRONCORE_CHECK(wire::decode_header(bytes, header));
         IRONCORE_TRY(auto again, wire::decode<Record>(bytes));
         return wire::encode(header.request_id, header.deadline_ms, again);
       });
}

/// Sixteen bytes in a line, as `xxd -p -c 16` prints them.
inline std::string to_hex(std::string_view bytes) {
  std::ostringstream text;
  text << std::hex << std::setfill('0');
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    text << std::setw(2) << static_cast<unsigned>(static_cast<unsigned char>(bytes[i]));
    if (i % 16 == 15 || i + 1 == bytes.size()) text << '\n';
  }
  return text.str();
}

/// For a new message: IRONCORE_WRITE_GOLDEN=1 writes what is missing; an existing file is never changed.
template <class Messages>
void check_golden_files(const std::filesystem::path& directory, Messages messages) {
  messages([&](const std::string& name, const std::string& bytes, const auto&) {
    INFO(name);
    const auto path = directory / (name + ".hex");
    if (std::getenv("IRONCORE_WRITE_GOLDEN") != nullptr && !std::filesystem::exists(path))
      std::ofstream(path) << to_hex(bytes);
    std::ostringstream golden;
    golden << std::ifstream(path).rdbuf();
    CHECK(to_hex(bytes) == golden.str());
  });
}

template <class Messages>
void check_there_and_back(Messages messages) {
  messages([](const std::string& name, const std::string& bytes, const auto& decode_and_encode) {
    INFO(name);
    wire::Header header;
    REQUIRE(wire::decode_header(bytes, header));
    CHECK(header.request_id == example_request);
    CHECK(header.deadline_ms == example_deadline_ms);
    const auto again = decode_and_encode(bytes);
    REQUIRE(again);
    CHECK(*again == bytes);
  });
}

/// Cut off anywhere, or with one byte more: refused.
template <class Messages>
void check_cuts(Messages messages) {
  messages([](const std::string& name, const std::string& bytes, const auto& decode_and_encode) {
    INFO(name);
    for (std::size_t size = 0; size < bytes.size(); ++size) {
      wire::Header header;
      CHECK_FALSE(wire::decode_header(bytes.substr(0, size), header));
      // Also when the header says that this is all.
      if (size < wire::header_bytes) continue;
      auto cut = bytes.substr(0, size);
      for (std::size_t at = 0; at < 4; ++at) cut[20 + at] = static_cast<char>((size - wire::header_bytes) >> (8 * at));
      REQUIRE(wire::decode_header(cut, header));
      CHECK_FALSE(decode_and_encode(cut));
    }
    auto longer = bytes + 'x';
    CHECK_FALSE(decode_and_encode(longer));
  });
}

/// Any single damaged byte is refused or reads as another message.
template <class Messages>
void check_damage(Messages messages) {
  messages([](const std::string&, const std::string& bytes, const auto& decode_and_encode) {
    for (std::size_t at = wire::header_bytes; at < bytes.size(); ++at) {
      for (const int change : {0x01, 0x80, 0xff}) {
        auto damaged = bytes;
        damaged[at] = static_cast<char>(damaged[at] ^ change);
        const auto again = decode_and_encode(damaged);
        if (again) CHECK(*again == damaged);
      }
    }
  });
}

}  // namespace ironcore::test
