// SPDX-License-Identifier: Apache-2.0
// Writing JSON text.
#include "json_writer.hpp"

#include <array>

#include "json_reader.hpp"

namespace ironcore::api::json {

namespace {

constexpr auto needs_care = [] {
  std::array<bool, 256> table{};
  for (std::size_t c = 0; c < 256; ++c) table[c] = c < 0x20 || c >= 0x80 || c == '"' || c == '\\';
  return table;
}();

void append_escaped(std::string& out, char c) {
  constexpr std::string_view digits = "0123456789abcdef";
  switch (c) {
    case '"': out += "\\\""; break;
    case '\\': out += "\\\\"; break;
    case '\n': out += "\\n"; break;
    case '\r': out += "\\r"; break;
    case '\t': out += "\\t"; break;
    default:
      out += "\\u00";
      out += digits[static_cast<unsigned char>(c) >> 4];
      out += digits[static_cast<unsigned char>(c) & 0xF];
  }
}

void append_two(std::string& out, unsigned value) {
  out += static_cast<char>('0' + value / 10);
  out += static_cast<char>('0' + value % 10);
}

void indent(std::string& out, unsigned depth) {
  out += '\n';
  out.append(depth * 2, ' ');
}

}  // namespace

void append_string(std::string& out, std::string_view text) {
  out += '"';
  std::size_t done = 0;
  for (std::size_t i = 0; i < text.size();) {
    if (!needs_care[static_cast<unsigned char>(text[i])]) {
      ++i;
      continue;
    }
    if (static_cast<unsigned char>(text[i]) >= 0x80) {
      if (const auto length = utf8_length(text.substr(i)); length != 0) {
        i += length;
        continue;
      }
    }
    out.append(text, done, i - done);
    if (static_cast<unsigned char>(text[i]) >= 0x80) {
      out += "\xEF\xBF\xBD";
    } else {
      append_escaped(out, text[i]);
    }
    done = ++i;
  }
  out.append(text, done);
  out += '"';
}

void append_time(std::string& out, WallTime time) {
  using namespace std::chrono;
  const auto day = floor<days>(time);
  const year_month_day date(day);
  const auto in_day = time - day;
  if (in_day % 1s != 0ns) {  // rare: objects carry whole seconds
    out += '"';
    out += to_rfc3339(time);
    out += '"';
    return;
  }
  const auto second = static_cast<unsigned>(duration_cast<seconds>(in_day).count());
  const auto year = static_cast<unsigned>(static_cast<int>(date.year()));
  out += '"';
  append_two(out, year / 100);
  append_two(out, year % 100);
  out += '-';
  append_two(out, static_cast<unsigned>(date.month()));
  out += '-';
  append_two(out, static_cast<unsigned>(date.day()));
  out += 'T';
  append_two(out, second / 3600);
  out += ':';
  append_two(out, second / 60 % 60);
  out += ':';
  append_two(out, second % 60);
  out += "Z\"";
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
      case ':': out += ": "; break;
      default: out += c;
    }
  }
  return out;
}

}  // namespace ironcore::api::json
