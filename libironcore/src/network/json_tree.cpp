// SPDX-License-Identifier: Apache-2.0
// Builds the tree from what Boost.JSON's parser finds.
#include "json_tree.hpp"

#include <algorithm>
#include <boost/json/basic_parser_impl.hpp>
#include <limits>
#include <utility>

#include "ironcore/base/text.hpp"

namespace ironcore::network {

namespace {

namespace json = boost::json;

/// Called by the parser; `false` with an error code ends it.
class Builder {
 public:
  static constexpr std::size_t max_object_size = std::numeric_limits<std::size_t>::max();
  static constexpr std::size_t max_array_size = std::numeric_limits<std::size_t>::max();
  static constexpr std::size_t max_key_size = 256;
  static constexpr std::size_t max_string_size = 64 * 1024;

  JsonTree root;
  std::string refused;  ///< why it ended, if it was not the parser who found something

  bool on_document_begin(json::error_code&) { return true; }
  bool on_document_end(json::error_code&) { return true; }
  bool on_object_begin(json::error_code&) { return enter(JsonTree::Type::object); }
  bool on_object_end(std::size_t, json::error_code&) { return leave(); }
  bool on_array_begin(json::error_code&) { return enter(JsonTree::Type::list); }
  bool on_array_end(std::size_t, json::error_code&) { return leave(); }
  bool on_key_part(json::string_view part, std::size_t, json::error_code&) { return gather(part); }
  bool on_key(json::string_view part, std::size_t, json::error_code& error) {
    gather(part);
    auto& members = open_.back()->members;
    if (open_.back()->find(text_) != nullptr) return refuse("the member " + in_quotes(text_) + " comes twice", error);
    if (members.size() == max_json_members) return refuse("an object with more than 64 members", error);
    members.push_back({std::exchange(text_, {}), {}});
    return true;
  }
  bool on_string_part(json::string_view part, std::size_t, json::error_code&) { return gather(part); }
  bool on_string(json::string_view part, std::size_t, json::error_code&) {
    gather(part);
    JsonTree& value = add(JsonTree::Type::text);
    value.text = std::exchange(text_, {});
    return true;
  }
  bool on_number_part(json::string_view, json::error_code&) { return true; }
  bool on_int64(std::int64_t number, json::string_view, json::error_code&) {
    JsonTree& value = add(JsonTree::Type::number);
    if (number >= 0) value.number = static_cast<std::uint64_t>(number);
    return true;
  }
  bool on_uint64(std::uint64_t number, json::string_view, json::error_code&) {
    add(JsonTree::Type::number).number = number;
    return true;
  }
  bool on_double(double, json::string_view, json::error_code&) {
    add(JsonTree::Type::number);
    return true;
  }
  bool on_bool(bool, json::error_code&) {
    add(JsonTree::Type::boolean);
    return true;
  }
  bool on_null(json::error_code&) {
    add(JsonTree::Type::null);
    return true;
  }
  bool on_comment_part(json::string_view, json::error_code&) { return true; }
  bool on_comment(json::string_view, json::error_code&) { return true; }

 private:
  bool gather(json::string_view part) {
    text_.append(part.data(), part.size());
    return true;
  }
  bool refuse(std::string why, json::error_code& error) {
    refused = std::move(why);
    error = json::error::exception;
    return false;
  }
  /// The place of the next value: of the member whose name was read, a new element, or the root.
  JsonTree& add(JsonTree::Type type) {
    JsonTree* value = &root;
    if (!open_.empty()) {
      JsonTree& around = *open_.back();
      value = around.type == JsonTree::Type::object ? &around.members.back().value : &around.items.emplace_back();
    }
    value->type = type;
    return *value;
  }
  bool enter(JsonTree::Type type) {
    open_.push_back(&add(type));
    return true;
  }
  bool leave() {
    std::erase_if(open_.back()->members, [](const auto& member) { return member.value.type == JsonTree::Type::null; });
    open_.pop_back();
    return true;
  }

  // Stay where they are as long as they are open: only the innermost one grows.
  std::vector<JsonTree*> open_;
  std::string text_;
};

}  // namespace

const JsonTree* JsonTree::find(std::string_view name) const noexcept {
  const auto at = std::find_if(members.begin(), members.end(), [&](const auto& member) { return member.name == name; });
  return at == members.end() ? nullptr : &at->value;
}

Result<JsonTree> parse_json_tree(std::string_view text) {
  json::parse_options options;
  options.max_depth = max_json_depth;
  json::basic_parser<Builder> parser(options);
  json::error_code error;
  const auto used = parser.write_some(false, text.data(), text.size(), error);
  if (!parser.handler().refused.empty())
    return Error(ErrorCode::invalid, "byte " + std::to_string(used) + ": " + parser.handler().refused);
  const auto rest = text.find_first_not_of(" \t\r\n", std::min(used, text.size()));
  if (!error && rest != std::string_view::npos) error = json::error::extra_data;
  if (error) return Error(ErrorCode::invalid, "no JSON at byte " + std::to_string(used) + ": " + error.message());
  return std::move(parser.handler().root);
}

void append_json_text(std::string& out, std::string_view text) {
  constexpr std::string_view digits = "0123456789abcdef";
  out += '"';
  for (const char c : text) {
    const auto byte = static_cast<std::uint8_t>(c);
    if (c == '"' || c == '\\') {
      out += '\\';
      out += c;
    } else if (byte < 0x20) {
      out += "\\u00";
      out += digits[byte >> 4];
      out += digits[byte & 15];
    } else {
      out += c;
    }
  }
  out += '"';
}

}  // namespace ironcore::network
