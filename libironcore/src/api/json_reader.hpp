// SPDX-License-Identifier: Apache-2.0
// A strict pull reader for JSON (RFC 8259): no tree, bounded depth, duplicate members and bad UTF-8 refused.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "ironcore/api/json.hpp"
#include "ironcore/base/result.hpp"
#include "json_text.hpp"

namespace ironcore::api::json {

/// What an object may take as JSON, everywhere. Larger text is `exhausted`.
inline constexpr std::size_t max_text_size = 1'572'864;
/// Objects and lists inside each other, the outermost included.
inline constexpr unsigned max_depth = 32;

/// Of the members of an object that is copied.
enum class Order {
  keep,
  sort,  ///< by name: equal values become equal texts
};

/// Why not Boost.JSON: its tree forgets that a member came twice and rewrites numbers, and building it costs
/// more than reading straight into the structs. A fuzz target compares the two on what is legal.
///
/// A failure is sticky: afterwards everything returns false or null, and `error()` says where and why, by
/// line and column. Use: look at `peek()`, then call the one function that reads this type, or `skip()`.
class Reader {
 public:
  explicit Reader(std::string_view text);

  /// The type of the value that comes next. `null` after a failure.
  Type peek() {
    if (at_ != end_) {
      const auto type = first_bytes[static_cast<unsigned char>(*at_)];
      if (type != no_value) return static_cast<Type>(type);
    }
    return peek_slowly();
  }

  /// Enters an object; then call `next_member` until it returns false.
  bool begin_object();
  /// False at the end of the object (which is then left) or after a failure. `key` is valid until the next
  /// call.
  bool next_member(std::string_view& key);
  /// Enters a list; then call `next_item` before each item until it returns false.
  bool begin_list();
  bool next_item();

  /// Valid until the next call.
  bool read_string(std::string_view& out);
  /// The number as it is written.
  bool read_number(std::string_view& out);
  bool read_boolean(bool& out);
  bool read_null();
  /// Passes over a text without characters, if one comes next.
  bool take_empty_string();

  /// Passes over one value, checking it like `copy`.
  bool skip();
  /// Appends one value without blanks, strings in one spelling, numbers as they are written. Members that are
  /// null are left out: null means absent.
  bool copy(Text& out, Order order = Order::keep);

  /// True if nothing but blanks is left and nothing has failed.
  bool finish();

  bool has_failed() const noexcept { return failed_; }
  Error error() const;
  std::string_view text() const noexcept { return {begin_, static_cast<std::size_t>(end_ - begin_)}; }
  /// Bytes read so far.
  std::size_t offset() const noexcept { return static_cast<std::size_t>((failed_ ? failed_at_ : at_) - begin_); }

  /// Where the name of the member last entered starts.
  std::size_t key_offset() const noexcept { return static_cast<std::size_t>(key_at_ - begin_); }

  /// Makes the reader fail here: for a reader of structs that finds a duplicate member.
  bool fail(std::string_view what);

 private:
  static constexpr std::uint8_t no_value = 255;
  static constexpr auto first_bytes = [] {
    std::array<std::uint8_t, 256> table{};
    table.fill(no_value);
    const auto set = [&](char c, Type type) { table[static_cast<unsigned char>(c)] = static_cast<std::uint8_t>(type); };
    set('{', Type::object);
    set('[', Type::list);
    set('"', Type::string);
    set('t', Type::boolean);
    set('f', Type::boolean);
    set('n', Type::null);
    set('-', Type::number);
    for (char c = '0'; c <= '9'; ++c) set(c, Type::number);
    return table;
  }();

  Type peek_slowly();
  void skip_blanks() {
    while (at_ != end_ && (*at_ == ' ' || *at_ == '\n' || *at_ == '\r' || *at_ == '\t')) ++at_;
  }
  bool enter();
  bool read_quoted(std::string_view& out);
  bool read_escaped(const char* from, std::string_view& out);
  bool read_escape(std::string& out);
  bool read_hex4(std::uint32_t& out);
  bool expect_word(std::string_view word);
  bool copy_object(Text& out, Order order);
  bool copy_list(Text& out, Order order);

  const char* begin_;
  const char* at_;  // the end after a failure, so that nothing is read any more
  const char* end_;
  std::string scratch_;  // the string last read, if it had escapes
  std::string what_;
  const char* failed_at_ = nullptr;
  const char* key_at_ = nullptr;
  unsigned depth_ = 0;
  std::uint64_t at_start_ = 0;  // bit n: nothing was read yet in the container of depth n
  bool failed_ = false;
};

/// The length of the UTF-8 sequence at the start of `text`, 0 if it is not a legal one.
std::size_t utf8_length(std::string_view text) noexcept;

/// Line and column (both from 1, columns in characters) of an offset.
struct Position {
  std::size_t line = 1;
  std::size_t column = 1;
};
Position position_of(std::string_view text, std::size_t offset) noexcept;

}  // namespace ironcore::api::json
