// SPDX-License-Identifier: Apache-2.0
// Writing JSON text.
#include "json_writer.hpp"

#include "json_reader.hpp"

namespace ironcore::api::json {

namespace {

void append_escaped(Text& out, char c) {
  constexpr std::string_view digits = "0123456789abcdef";
  out.add('\\');
  switch (c) {
    case '"':
      out.add('"');
      break;
    case '\\':
      out.add('\\');
      break;
    case '\n':
      out.add('n');
      break;
    case '\r':
      out.add('r');
      break;
    case '\t':
      out.add('t');
      break;
    default:
      out.add("u00");
      out.add(digits[static_cast<unsigned char>(c) >> 4]);
      out.add(digits[static_cast<unsigned char>(c) & 0xF]);
  }
}

char* put_two(char* to, unsigned value) {
  to[0] = static_cast<char>('0' + value / 10);
  to[1] = static_cast<char>('0' + value % 10);
  return to + 2;
}

void indent(std::string& out, unsigned depth) {
  out += '\n';
  out.append(depth * 2, ' ');
}

}  // namespace

void append_string(Text& out, std::string_view text) {
  const char* at = text.data();
  const char* const end = at + text.size();
  char* to = out.room(text.size() + 2);
  *to++ = '"';
  while (true) {
    copy_plain(at, end, to);
    if (at == end) break;
    out.written(to);
    if (static_cast<unsigned char>(*at) < 0x80) {
      append_escaped(out, *at++);
    } else if (const auto length = utf8_length({at, static_cast<std::size_t>(end - at)}); length != 0) {
      out.add({at, length});
      at += length;
    } else {
      out.add("\xEF\xBF\xBD");
      ++at;
    }
    to = out.room(static_cast<std::size_t>(end - at) + 1);
  }
  *to++ = '"';
  out.written(to);
}

void append_time(Text& out, WallTime time) {
  using namespace std::chrono;
  const auto day = floor<days>(time);
  const year_month_day date(day);
  const auto in_day = time - day;
  if (in_day % 1s != 0ns) {  // rare: objects carry whole seconds
    out.add('"');
    out.add(to_rfc3339(time));
    out.add('"');
    return;
  }
  const auto second = static_cast<unsigned>(duration_cast<seconds>(in_day).count());
  const auto year = static_cast<unsigned>(static_cast<int>(date.year()));
  char* to = out.room(22);
  *to++ = '"';
  to = put_two(put_two(to, year / 100), year % 100);
  *to++ = '-';
  to = put_two(to, static_cast<unsigned>(date.month()));
  *to++ = '-';
  to = put_two(to, static_cast<unsigned>(date.day()));
  *to++ = 'T';
  to = put_two(to, second / 3600);
  *to++ = ':';
  to = put_two(to, second / 60 % 60);
  *to++ = ':';
  to = put_two(to, second % 60);
  *to++ = 'Z';
  *to++ = '"';
  out.written(to);
}

std::string indented(std::string_view json) {
  std::string out;
  out.reserve(json.size() * 2);
  unsigned depth = 0;
  bool in_string = false;
  for (std::size_t i = 0; i < json.size(); ++i) {
    const char c = json[i];
    if (in_string) {
      out += c;
      if (c == '\\') {
        out += json[++i];
      } else if (c == '"') {
        in_string = false;
      }
      continue;
    }
    switch (c) {
      case '"':
        in_string = true;
        out += c;
        break;
      case '{':
      case '[':
        out += c;
        if (i + 1 < json.size() && (json[i + 1] == '}' || json[i + 1] == ']')) {
          out += json[++i];
        } else {
          indent(out, ++depth);
        }
        break;
      case '}':
      case ']':
        indent(out, --depth);
        out += c;
        break;
      case ',':
        out += c;
        indent(out, depth);
        break;
      case ':':
        out += ": ";
        break;
      default:
        out += c;
    }
  }
  return out;
}

}  // namespace ironcore::api::json
