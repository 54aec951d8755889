// SPDX-License-Identifier: Apache-2.0
// JSON is read into a tree and written again with line breaks, or as YAML.
#include "ironcorectl/output.hpp"

#include <boost/json.hpp>
#include <ostream>

#include "ironcorectl/target.hpp"

namespace ironcore::ctl {
namespace {

namespace json = boost::json;

std::string indentation(std::size_t depth) { return std::string(depth * 2, ' '); }

void add_json(std::string& text, const json::value& value, std::size_t depth) {
  if (const auto* object = value.if_object(); object && !object->empty()) {
    text += "{\n";
    bool is_first = true;
    for (const auto& [key, member] : *object) {
      if (!is_first) text += ",\n";
      is_first = false;
      text += indentation(depth + 1) + json::serialize(json::string(key)) + ": ";
      add_json(text, member, depth + 1);
    }
    text += '\n' + indentation(depth) + '}';
  } else if (const auto* array = value.if_array(); array && !array->empty()) {
    text += "[\n";
    bool is_first = true;
    for (const auto& element : *array) {
      if (!is_first) text += ",\n";
      is_first = false;
      text += indentation(depth + 1);
      add_json(text, element, depth + 1);
    }
    text += '\n' + indentation(depth) + ']';
  } else {
    text += json::serialize(value);
  }
}

/// A word that every YAML reader takes for a string, and for this one.
bool is_plain_yaml(std::string_view text) {
  if (text.empty() || text.size() > 200) return false;
  bool has_letter = false;
  for (const char c : text) {
    const bool is_letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
    const bool is_digit = c >= '0' && c <= '9';
    if (!is_letter && !is_digit && c != '.' && c != '_' && c != '/' && c != '-') return false;
    has_letter |= is_letter;
  }
  const char first = text.front();
  if (!has_letter || first == '-' || first == '.' || (first >= '0' && first <= '9')) return false;
  // Words that one or another version of YAML takes for something else.
  static constexpr std::string_view taken[] = {"true", "false", "yes", "no", "on", "off", "null", "y", "n", "nan", "inf"};
  std::string lower(text);
  for (char& c : lower) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  for (const std::string_view word : taken) {
    if (lower == word) return false;
  }
  return true;
}

/// Several lines as a literal block, when that keeps every byte.
bool is_block_yaml(std::string_view text) {
  if (text.find('\n') == std::string_view::npos || text.front() == ' ' || text.front() == '\n') return false;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const auto byte = static_cast<unsigned char>(text[i]);
    if ((byte < 0x20 && byte != '\n') || byte == 0x7f) return false;
    if (byte == '\n' && i > 0 && text[i - 1] == ' ') return false;
  }
  return text.find("\n\n", text.size() - std::min<std::size_t>(text.size(), 2)) == std::string_view::npos;
}

void add_yaml_string(std::string& text, std::string_view value, std::size_t depth) {
  if (is_plain_yaml(value)) {
    text += value;
  } else if (is_block_yaml(value)) {
    text += value.back() == '\n' ? "|" : "|-";
    if (value.back() == '\n') value.remove_suffix(1);
    while (true) {
      const auto end = value.find('\n');
      const auto line = value.substr(0, end);
      text += '\n';
      if (!line.empty()) text += indentation(depth) + std::string(line);
      if (end == std::string_view::npos) break;
      value.remove_prefix(end + 1);
    }
  } else {
    text += json::serialize(json::string(value));  // JSON strings are YAML
  }
}

void add_yaml(std::string& text, const json::value& value, std::size_t depth);

void add_yaml_members(std::string& text, const json::object& object, std::size_t depth, bool is_first_inline) {
  for (const auto& [key, member] : object) {
    if (!is_first_inline) text += indentation(depth);
    is_first_inline = false;
    add_yaml_string(text, key, depth + 1);
    text += ':';
    const bool is_nested = (member.is_object() && !member.get_object().empty()) ||
                           (member.is_array() && !member.get_array().empty());
    text += is_nested ? '\n' : ' ';
    // Elements of a list stand under their key without further indentation, as people write them.
    add_yaml(text, member, is_nested && member.is_array() ? depth : depth + 1);
  }
}

void add_yaml(std::string& text, const json::value& value, std::size_t depth) {
  if (const auto* object = value.if_object(); object && !object->empty()) {
    add_yaml_members(text, *object, depth, false);
  } else if (const auto* array = value.if_array(); array && !array->empty()) {
    for (const auto& element : *array) {
      text += indentation(depth) + "- ";
      if (const auto* members = element.if_object(); members && !members->empty()) {
        add_yaml_members(text, *members, depth + 1, true);
      } else if (const auto* inner = element.if_array(); inner && !inner->empty()) {
        text += json::serialize(element) + '\n';  // flow style
      } else {
        add_yaml(text, element, depth + 1);
      }
    }
  } else if (const auto* string = value.if_string()) {
    add_yaml_string(text, *string, depth);
    text += '\n';
  } else {
    text += json::serialize(value) + '\n';
  }
}

}  // namespace

std::string pretty_json(std::string_view text) {
  std::string result;
  add_json(result, json::parse(text), 0);
  return result + '\n';
}

std::string yaml_text(std::string_view text) {
  std::string result;
  add_yaml(result, json::parse(text), 0);
  return result;
}

std::string text_of(const api::Object& object, OutputFormat format) {
  switch (format) {
    case OutputFormat::json: return pretty_json(object.json());
    case OutputFormat::yaml: return yaml_text(object.json());
    case OutputFormat::name:
    case OutputFormat::table:
    case OutputFormat::wide: break;
  }
  return text_of(object) + '\n';
}

void print(Session& session, std::span<const api::Object> objects, OutputFormat format) {
  std::ostream& out = session.out();
  if (format == OutputFormat::json && objects.size() != 1) {
    json::array items;
    for (const api::Object& object : objects) items.push_back(json::parse(object.json()));
    json::object list{{"apiVersion", "v1"}, {"kind", "List"}, {"items", std::move(items)}};
    std::string text;
    add_json(text, list, 0);
    out << text << '\n';
    return;
  }
  bool is_first = true;
  for (const api::Object& object : objects) {
    if (format == OutputFormat::yaml && !is_first) out << "---\n";
    is_first = false;
    out << text_of(object, format);
  }
}

}  // namespace ironcore::ctl
