// SPDX-License-Identifier: Apache-2.0
// JSON → YAML in block style.
#include "../json_reader.hpp"
#include "../json_text.hpp"
#include "../json_writer.hpp"
#include "core_schema.hpp"
#include "ironcore/api/yaml.hpp"

namespace ironcore::api {

namespace {

/// Whether the text can stand as it is behind `|`: lines of printable ASCII, of which the first is not blank
/// at its start.
bool is_literal(std::string_view text) {
  if (text.find('\n') == std::string_view::npos || text.front() == '\n' || text.front() == ' ') return false;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const auto c = static_cast<unsigned char>(text[i]);
    if (c == '\n') {
      if (i > 0 && text[i - 1] == ' ') return false;
      continue;
    }
    if (c < 0x20 || c >= 0x7F) return false;
  }
  return text.back() != ' ';
}

class Printer {
 public:
  explicit Printer(std::string_view json) : reader_(json) {}

  Result<std::string> print() {
    value(0, At::start);
    if (!reader_.finish()) return reader_.error();
    return out_.text();
  }

 private:
  enum class At { start, after_key, after_dash };

  void line(std::size_t depth) {
    if (out_.size() > 0 && out_.back() != '\n') out_.add('\n');
    for (std::size_t i = 0; i < depth; ++i) out_.add("  ");
  }

  void blank(At at) {
    if (at == At::after_key) out_.add(' ');
  }

  void text(std::string_view value, std::size_t depth) {
    if (!is_literal(value)) {
      if (needs_quotes(value)) {
        json::append_string(out_, value);
      } else {
        out_.add(value);
      }
      out_.add('\n');
      return;
    }
    // `|` keeps one line break at the end, `|-` none, `|+` all of them.
    std::size_t breaks = 0;
    while (breaks < value.size() && value[value.size() - 1 - breaks] == '\n') ++breaks;
    out_.add(breaks == 0 ? "|-\n" : breaks == 1 ? "|\n" : "|+\n");
    while (!value.empty()) {
      const auto end = std::min(value.find('\n'), value.size());
      if (end > 0) {
        for (std::size_t i = 0; i < std::max<std::size_t>(depth, 1); ++i) out_.add("  ");
        out_.add(value.substr(0, end));
      }
      out_.add('\n');
      value.remove_prefix(std::min(end + 1, value.size()));
    }
  }

  /// `depth` is that of the members or elements inside.
  void value(std::size_t depth, At at) {
    std::string_view scalar;
    bool flag = false;
    switch (reader_.peek()) {
      case json::Type::object:
        return object(depth, at);
      case json::Type::list:
        return list(depth, at);
      case json::Type::string:
        blank(at);
        if (reader_.read_string(scalar)) text(scalar, depth);
        return;
      case json::Type::number:
        blank(at);
        if (reader_.read_number(scalar)) out_.add(scalar);
        break;
      case json::Type::boolean:
        blank(at);
        if (reader_.read_boolean(flag)) out_.add(flag ? "true" : "false");
        break;
      case json::Type::null:
        if (reader_.has_failed()) return;
        blank(at);
        if (reader_.read_null()) out_.add("null");
        break;
    }
    out_.add('\n');
  }

  void object(std::size_t depth, At at) {
    if (!reader_.begin_object()) return;
    std::string_view key;
    bool is_first = true;
    while (reader_.next_member(key)) {
      // The first member of an element stands behind its dash.
      if (!is_first || at != At::after_dash) line(depth);
      is_first = false;
      if (needs_quotes(key)) {
        json::append_string(out_, key);
      } else {
        out_.add(key);
      }
      out_.add(':');
      value(depth + 1, At::after_key);
    }
    if (is_first) empty("{}", at);
  }

  void list(std::size_t depth, At at) {
    if (!reader_.begin_list()) return;
    bool is_first = true;
    // Elements of a member stand below its name, not further in; a list in a list starts behind the dash.
    const auto inner = at == At::after_key ? depth - 1 : depth;
    while (reader_.next_item()) {
      if (!is_first || at != At::after_dash) line(inner);
      is_first = false;
      out_.add("- ");
      value(inner + 1, At::after_dash);
    }
    if (is_first) empty("[]", at);
  }

  void empty(std::string_view brackets, At at) {
    blank(at);
    out_.add(brackets);
    out_.add('\n');
  }

  json::Reader reader_;
  json::Text out_;
};

}  // namespace

Result<std::string> to_yaml(std::string_view json) {
  return Printer(json).print();
}

Result<std::string> to_indented_json(std::string_view json) {
  json::Reader reader(json);
  json::Text canonical;
  if (!reader.copy(canonical) || !reader.finish()) return reader.error();
  return json::indented(canonical.view()) + "\n";
}

}  // namespace ironcore::api
