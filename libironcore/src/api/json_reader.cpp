// SPDX-License-Identifier: Apache-2.0
// Reading JSON text.
#include "json_reader.hpp"

#include <algorithm>
#include <vector>

#include "json_writer.hpp"

namespace ironcore::api::json {

namespace {

bool is_digit(char c) {
  return c >= '0' && c <= '9';
}

/// Not one of the further bytes of a UTF-8 sequence.
bool starts_character(char c) {
  return (static_cast<unsigned char>(c) & 0xC0) != 0x80;
}

}  // namespace

std::size_t utf8_length(std::string_view text) noexcept {
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  const auto follows = [&](std::size_t i) { return i < text.size() && (byte(i) & 0xC0) == 0x80; };
  if (text.empty()) return 0;
  const auto first = byte(0);
  if (first < 0x80) return 1;
  if (first < 0xC2) return 0;  // a continuation, or two bytes for what fits in one
  if (first < 0xE0) return follows(1) ? 2 : 0;
  if (first < 0xF0) {
    if (!follows(1) || !follows(2)) return 0;
    if (first == 0xE0 && byte(1) < 0xA0) return 0;   // fits in two bytes
    if (first == 0xED && byte(1) >= 0xA0) return 0;  // half of a surrogate pair
    return 3;
  }
  if (first > 0xF4 || !follows(1) || !follows(2) || !follows(3)) return 0;
  if (first == 0xF0 && byte(1) < 0x90) return 0;   // fits in three bytes
  if (first == 0xF4 && byte(1) >= 0x90) return 0;  // beyond U+10FFFF
  return 4;
}

Position position_of(std::string_view text, std::size_t offset) noexcept {
  const auto before = text.substr(0, offset);
  Position position;
  position.line = 1 + static_cast<std::size_t>(std::count(before.begin(), before.end(), '\n'));
  const auto newline = before.rfind('\n');
  const auto line = before.substr(newline == std::string_view::npos ? 0 : newline + 1);
  position.column = 1 + static_cast<std::size_t>(std::count_if(line.begin(), line.end(), starts_character));
  return position;
}

Reader::Reader(std::string_view text) : begin_(text.data()), at_(begin_), end_(begin_ + text.size()) {}

bool Reader::fail(std::string_view what) {
  if (!failed_) {
    failed_ = true;
    failed_at_ = at_;
    at_ = end_;
    what_ = what;
  }
  return false;
}

Error Reader::error() const {
  const auto place = position_of({begin_, end_}, offset());
  return Error(ErrorCode::invalid,
               "JSON line " + std::to_string(place.line) + ", column " + std::to_string(place.column) + ": " + what_);
}

Type Reader::peek_slowly() {
  if (failed_) return Type::null;
  skip_blanks();
  if (at_ == end_) {
    fail("the text ends where a value is expected");
    return Type::null;
  }
  const auto type = first_bytes[static_cast<unsigned char>(*at_)];
  if (type != no_value) return static_cast<Type>(type);
  fail("a value is expected here: an object, a list, a quoted text, a number, true, false or null");
  return Type::null;
}

bool Reader::enter() {
  if (depth_ == max_depth) return fail("the value is nested deeper than " + std::to_string(max_depth) + " levels");
  ++at_;
  at_start_ |= std::uint64_t{1} << depth_;
  ++depth_;
  return true;
}

bool Reader::begin_object() {
  if (peek() != Type::object || failed_) return fail("an object is expected here");
  return enter();
}

bool Reader::begin_list() {
  if (peek() != Type::list || failed_) return fail("a list is expected here");
  return enter();
}

bool Reader::next_member(std::string_view& key) {
  if (failed_) [[unlikely]]
    return false;
  skip_blanks();
  const auto bit = std::uint64_t{1} << (depth_ - 1);
  const bool is_first = (at_start_ & bit) != 0;
  at_start_ &= ~bit;
  if (at_ != end_ && *at_ == '}') {
    ++at_;
    --depth_;
    return false;
  }
  if (!is_first) {
    if (at_ == end_ || *at_ != ',') return fail("a comma or } is missing");
    ++at_;
    skip_blanks();
  }
  if (at_ == end_ || *at_ != '"') return fail("the quoted name of a member is missing");
  key_at_ = at_;
  if (!read_quoted(key)) return false;
  skip_blanks();
  if (at_ == end_ || *at_ != ':') return fail("a colon is missing after the name of a member");
  ++at_;
  return true;
}

bool Reader::next_item() {
  if (failed_) return false;
  skip_blanks();
  const auto bit = std::uint64_t{1} << (depth_ - 1);
  const bool is_first = (at_start_ & bit) != 0;
  at_start_ &= ~bit;
  if (at_ != end_ && *at_ == ']') {
    ++at_;
    --depth_;
    return false;
  }
  if (is_first) return true;
  if (at_ == end_ || *at_ != ',') return fail("a comma or ] is missing");
  ++at_;
  return true;
}

bool Reader::read_string(std::string_view& out) {
  if (peek() != Type::string || failed_) return fail("a quoted text is expected here");
  return read_quoted(out);
}

bool Reader::read_quoted(std::string_view& out) {
  const char* const from = ++at_;
  while (true) {
    at_ = skip_plain(at_, end_);
    if (at_ == end_) return fail("the text ends inside quotes");
    if (*at_ == '"') {
      out = {from, static_cast<std::size_t>(at_ - from)};
      ++at_;
      return true;
    }
    if (*at_ == '\\') return read_escaped(from, out);
    const auto length = static_cast<unsigned char>(*at_) < 0x20 ? 0 : utf8_length({at_, end_});
    if (length == 0)
      return fail(static_cast<unsigned char>(*at_) < 0x20 ? "a control character must be escaped"
                                                          : "this is not UTF-8");
    at_ += length;
  }
}

bool Reader::read_escaped(const char* from, std::string_view& out) {
  scratch_.assign(from, at_);
  while (true) {
    const char* const run = at_;
    at_ = skip_plain(at_, end_);
    scratch_.append(run, at_);
    if (at_ == end_) return fail("the text ends inside quotes");
    if (*at_ == '"') {
      ++at_;
      out = scratch_;
      return true;
    }
    if (*at_ == '\\') {
      ++at_;
      if (!read_escape(scratch_)) return false;
      continue;
    }
    const auto length = static_cast<unsigned char>(*at_) < 0x20 ? 0 : utf8_length({at_, end_});
    if (length == 0)
      return fail(static_cast<unsigned char>(*at_) < 0x20 ? "a control character must be escaped"
                                                          : "this is not UTF-8");
    scratch_.append(at_, length);
    at_ += length;
  }
}

bool Reader::read_hex4(std::uint32_t& out) {
  out = 0;
  for (int i = 0; i < 4; ++i, ++at_) {
    if (at_ == end_) return fail("the text ends inside quotes");
    const char c = *at_;
    std::uint32_t digit = 0;
    if (is_digit(c)) {
      digit = static_cast<std::uint32_t>(c - '0');
    } else if (c >= 'a' && c <= 'f') {
      digit = static_cast<std::uint32_t>(c - 'a' + 10);
    } else if (c >= 'A' && c <= 'F') {
      digit = static_cast<std::uint32_t>(c - 'A' + 10);
    } else {
      return fail("\\u needs four hexadecimal digits");
    }
    out = out * 16 + digit;
  }
  return true;
}

bool Reader::read_escape(std::string& out) {
  if (at_ == end_) return fail("the text ends inside quotes");
  switch (*at_++) {
    case '"':
      out += '"';
      return true;
    case '\\':
      out += '\\';
      return true;
    case '/':
      out += '/';
      return true;
    case 'b':
      out += '\b';
      return true;
    case 'f':
      out += '\f';
      return true;
    case 'n':
      out += '\n';
      return true;
    case 'r':
      out += '\r';
      return true;
    case 't':
      out += '\t';
      return true;
    case 'u':
      break;
    default:
      --at_;
      return fail("there is no such escape");
  }
  std::uint32_t code = 0;
  if (!read_hex4(code)) return false;
  if (code >= 0xDC00 && code <= 0xDFFF) return fail("the second half of a surrogate pair comes first");
  if (code >= 0xD800 && code <= 0xDBFF) {
    std::uint32_t low = 0;
    if (end_ - at_ < 2 || at_[0] != '\\' || at_[1] != 'u') return fail("half of a surrogate pair is missing");
    at_ += 2;
    if (!read_hex4(low)) return false;
    if (low < 0xDC00 || low > 0xDFFF) return fail("half of a surrogate pair is missing");
    code = 0x10000 + ((code - 0xD800) << 10) + (low - 0xDC00);
  }
  const auto add = [&](std::uint32_t byte) { out += static_cast<char>(static_cast<unsigned char>(byte)); };
  if (code < 0x80) {
    add(code);
  } else if (code < 0x800) {
    add(0xC0 | (code >> 6));
    add(0x80 | (code & 0x3F));
  } else if (code < 0x10000) {
    add(0xE0 | (code >> 12));
    add(0x80 | ((code >> 6) & 0x3F));
    add(0x80 | (code & 0x3F));
  } else {
    add(0xF0 | (code >> 18));
    add(0x80 | ((code >> 12) & 0x3F));
    add(0x80 | ((code >> 6) & 0x3F));
    add(0x80 | (code & 0x3F));
  }
  return true;
}

bool Reader::read_number(std::string_view& out) {
  if (peek() != Type::number || failed_) return fail("a number is expected here");
  const char* const from = at_;
  const auto digits = [&] {
    const char* const start = at_;
    while (at_ != end_ && is_digit(*at_)) ++at_;
    return at_ != start;
  };
  if (*at_ == '-') ++at_;
  if (at_ != end_ && *at_ == '0') {
    ++at_;
    if (at_ != end_ && is_digit(*at_)) return fail("a number does not start with 0");
  } else if (!digits()) {
    return fail("a digit is missing");
  }
  if (at_ != end_ && *at_ == '.') {
    ++at_;
    if (!digits()) return fail("a digit is missing after the point");
  }
  if (at_ != end_ && (*at_ == 'e' || *at_ == 'E')) {
    ++at_;
    if (at_ != end_ && (*at_ == '+' || *at_ == '-')) ++at_;
    if (!digits()) return fail("a digit is missing in the exponent");
  }
  out = {from, static_cast<std::size_t>(at_ - from)};
  return true;
}

bool Reader::expect_word(std::string_view word) {
  if (!std::string_view(at_, static_cast<std::size_t>(end_ - at_)).starts_with(word))
    return fail("a value is expected here: an object, a list, a quoted text, a number, true, false or null");
  at_ += word.size();
  return true;
}

bool Reader::read_boolean(bool& out) {
  if (peek() != Type::boolean || failed_) return fail("true or false is expected here");
  out = *at_ == 't';
  return expect_word(out ? "true" : "false");
}

bool Reader::read_null() {
  if (peek() != Type::null || failed_) return fail("null is expected here");
  return expect_word("null");
}

bool Reader::take_empty_string() {
  if (peek() != Type::string || end_ - at_ < 2 || at_[1] != '"') return false;
  at_ += 2;
  return true;
}

bool Reader::skip() {
  Text nowhere;
  return copy(nowhere);
}

bool Reader::copy(Text& out, Order order) {
  std::string_view text;
  bool flag = false;
  switch (peek()) {
    case Type::object:
      return copy_object(out, order);
    case Type::list:
      return copy_list(out, order);
    case Type::string:
      if (!read_string(text)) return false;
      append_string(out, text);
      return true;
    case Type::number:
      if (!read_number(text)) return false;
      out.add(text);
      return true;
    case Type::boolean:
      if (!read_boolean(flag)) return false;
      out.add(flag ? "true" : "false");
      return true;
    case Type::null:
      if (failed_ || !read_null()) return false;
      out.add("null");
      return true;
  }
  return false;
}

bool Reader::copy_object(Text& out, Order order) {
  // Places in `out`, which may move: offsets, not views. A member that is null leaves only its name, for the
  // check.
  struct Piece {
    std::size_t from, key_size, size;
  };
  std::vector<Piece> members;
  std::vector<std::string> null_keys;
  if (!begin_object()) return false;
  out.add('{');
  const auto start = out.size();
  std::string_view key;
  while (next_member(key)) {
    const auto from = out.size();
    append_string(out, key);
    const auto key_size = out.size() - from;
    out.add(':');
    if (peek() == Type::null) {
      if (failed_ || !read_null()) return false;
      null_keys.emplace_back(out.view().substr(from, key_size));
      out.truncate(from);
      continue;
    }
    if (!copy(out, order)) return false;
    members.push_back({from, key_size, out.size() - from});
    out.add(',');
  }
  if (failed_) return false;
  const auto name_of = [&](const Piece& member) { return out.view().substr(member.from, member.key_size); };
  if (members.size() + null_keys.size() > 1) {
    std::vector<std::string_view> names;
    names.reserve(members.size() + null_keys.size());
    for (const auto& member : members) names.push_back(name_of(member));
    names.insert(names.end(), null_keys.begin(), null_keys.end());
    std::sort(names.begin(), names.end());
    if (const auto twice = std::adjacent_find(names.begin(), names.end()); twice != names.end())
      return fail("the object that ends here has the member " + std::string(twice->substr(0, 256)) + " twice");
  }
  const auto by_name = [&](const Piece& a, const Piece& b) { return name_of(a) < name_of(b); };
  if (order == Order::sort && !std::is_sorted(members.begin(), members.end(), by_name)) {
    std::sort(members.begin(), members.end(), by_name);
    std::string sorted;
    sorted.reserve(out.size() - start);
    for (const auto& member : members) sorted.append(out.view().substr(member.from, member.size)).append(",");
    out.truncate(start);
    out.add(sorted);
  }
  if (out.back() == ',') {
    out.replace_back('}');
  } else {
    out.add('}');
  }
  return true;
}

bool Reader::copy_list(Text& out, Order order) {
  if (!begin_list()) return false;
  out.add('[');
  bool is_first = true;
  while (next_item()) {
    if (!is_first) out.add(',');
    is_first = false;
    if (!copy(out, order)) return false;
  }
  if (failed_) return false;
  out.add(']');
  return true;
}

bool Reader::finish() {
  if (failed_) return false;
  skip_blanks();
  if (at_ != end_) return fail("something follows the end of the value");
  return true;
}

}  // namespace ironcore::api::json
