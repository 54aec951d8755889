// SPDX-License-Identifier: Apache-2.0
// Reading, writing and evaluating selectors.
#include "ironcore/store/selector.hpp"

#include <algorithm>
#include <optional>
#include <utility>

#include "ironcore/base/names.hpp"

namespace ironcore::store {

namespace {

/// Selectors come from the wire: a longer one is a mistake or an attack.
constexpr std::size_t max_selector_bytes = 64 * 1024;

bool is_space(char c) {
  return c == ' ' || c == '\t';
}

std::string_view trimmed(std::string_view text) {
  while (!text.empty() && is_space(text.front())) text.remove_prefix(1);
  while (!text.empty() && is_space(text.back())) text.remove_suffix(1);
  return text;
}

/// As part of an error message: bounded, on one line.
std::string shown(std::string_view text) {
  std::string result = "\"";
  for (const char c : text.substr(0, 64)) result += static_cast<unsigned char>(c) < ' ' ? '?' : c;
  if (text.size() > 64) result += "…";
  return result + "\"";
}

Error bad_label_selector(std::string_view part, const std::string& why) {
  return Error(ErrorCode::invalid, "label selector " + shown(part) + ": " + why);
}

Error bad_field_selector(std::string_view part, const std::string& why) {
  return Error(ErrorCode::invalid, "field selector " + shown(part) + ": " + why);
}

/// Splits at commas that are not inside parentheses.
std::vector<std::string_view> split_requirements(std::string_view text) {
  std::vector<std::string_view> parts;
  std::size_t begin = 0;
  bool is_inside = false;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '(') is_inside = true;
    if (text[i] == ')') is_inside = false;
    if (text[i] == ',' && !is_inside) {
      parts.push_back(text.substr(begin, i - begin));
      begin = i + 1;
    }
  }
  parts.push_back(text.substr(begin));
  return parts;
}

/// The next run of what is neither space nor an operator's character.
std::string_view take_word(std::string_view& text) {
  text = trimmed(text);
  std::size_t end = 0;
  while (end < text.size() && !is_space(text[end]) && text[end] != '=' && text[end] != '!' && text[end] != '(' &&
         text[end] != ')')
    ++end;
  const auto word = text.substr(0, end);
  text.remove_prefix(end);
  text = trimmed(text);
  return word;
}

}  // namespace

// ---- labels
// -------------------------------------------------------------------------------------------------------

Result<LabelSelector> LabelSelector::parse(std::string_view text) {
  LabelSelector selector;
  if (text.size() > max_selector_bytes) return bad_label_selector(text, "is longer than 64 KiB");
  if (trimmed(text).empty()) return selector;
  for (const auto part : split_requirements(text)) {
    auto rest = trimmed(part);
    Requirement requirement{{}, Operator::exists, {}};
    if (rest.starts_with('!')) {
      rest.remove_prefix(1);
      requirement.operation = Operator::does_not_exist;
    }
    requirement.key = take_word(rest);
    if (requirement.key.empty())
      return bad_label_selector(part, "a label key is missing; write it like app=web,tier!=db");
    if (auto why = check_label_key(requirement.key)) return bad_label_selector(part, "the key " + *why);
    if (requirement.operation == Operator::does_not_exist) {
      if (!rest.empty()) return bad_label_selector(part, "nothing may follow !key");
    } else if (rest.starts_with("!=") || rest.starts_with("==") || rest.starts_with('=')) {
      requirement.operation = rest.front() == '!' ? Operator::not_equals : Operator::equals;
      rest.remove_prefix(rest.starts_with("!=") || rest.starts_with("==") ? 2 : 1);
      requirement.values.emplace_back(trimmed(rest));
    } else if (!rest.empty()) {
      const auto word = take_word(rest);
      if (word != "in" && word != "notin") return bad_label_selector(part, "the operator must be =, !=, in or notin");
      requirement.operation = word == "in" ? Operator::in : Operator::not_in;
      if (rest.size() < 2 || rest.front() != '(' || rest.back() != ')')
        return bad_label_selector(part, "the values must stand in parentheses: zone in (a,b)");
      rest = rest.substr(1, rest.size() - 2);
      for (std::size_t begin = 0; begin <= rest.size();) {
        const auto end = std::min(rest.find(',', begin), rest.size());
        requirement.values.emplace_back(trimmed(rest.substr(begin, end - begin)));
        begin = end + 1;
      }
      std::sort(requirement.values.begin(), requirement.values.end());
      requirement.values.erase(std::unique(requirement.values.begin(), requirement.values.end()),
                               requirement.values.end());
    }
    for (const auto& value : requirement.values)
      if (auto why = check_label_value(value)) return bad_label_selector(part, "the value " + *why);
    selector.requirements_.push_back(std::move(requirement));
  }
  return selector;
}

bool LabelSelector::matches(const std::map<std::string, std::string>& labels) const {
  for (const auto& requirement : requirements_) {
    const auto found = labels.find(requirement.key);
    const bool is_there = found != labels.end();
    const auto is_among = [&] {
      return is_there && std::binary_search(requirement.values.begin(), requirement.values.end(), found->second);
    };
    bool holds = false;
    switch (requirement.operation) {
      case Operator::equals:
      case Operator::in:
        holds = is_among();
        break;
      // As in Kubernetes, an object without the label is not equal to any value.
      case Operator::not_equals:
      case Operator::not_in:
        holds = !is_among();
        break;
      case Operator::exists:
        holds = is_there;
        break;
      case Operator::does_not_exist:
        holds = !is_there;
        break;
    }
    if (!holds) return false;
  }
  return true;
}

std::string LabelSelector::to_text() const {
  std::string text;
  for (const auto& requirement : requirements_) {
    if (!text.empty()) text += ',';
    switch (requirement.operation) {
      case Operator::equals:
        text += requirement.key + '=' + requirement.values.front();
        break;
      case Operator::not_equals:
        text += requirement.key + "!=" + requirement.values.front();
        break;
      case Operator::exists:
        text += requirement.key;
        break;
      case Operator::does_not_exist:
        text += '!' + requirement.key;
        break;
      case Operator::in:
      case Operator::not_in:
        text += requirement.key + (requirement.operation == Operator::in ? " in (" : " notin (");
        for (std::size_t i = 0; i < requirement.values.size(); ++i) text += (i == 0 ? "" : ",") + requirement.values[i];
        text += ')';
        break;
    }
  }
  return text;
}

// ---- fields
// -------------------------------------------------------------------------------------------------------

namespace {

/// A value may hold `,`, `=` and `\` when each has a backslash before it, as in Kubernetes.
std::string escaped(std::string_view value) {
  std::string text;
  for (const char c : value) {
    if (c == '\\' || c == ',' || c == '=') text += '\\';
    text += c;
  }
  return text;
}

std::optional<std::string> unescaped(std::string_view text) {
  std::string value;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '\\') {
      if (++i == text.size() || (text[i] != '\\' && text[i] != ',' && text[i] != '=')) return std::nullopt;
    } else if (text[i] == '=') {
      return std::nullopt;
    }
    value += text[i];
  }
  return value;
}

bool is_field_path(std::string_view path) {
  return !path.empty() && path.size() <= 256 && path.front() != '.' && path.back() != '.' &&
         path.find("..") == std::string_view::npos && std::none_of(path.begin(), path.end(), [](char c) {
           return static_cast<unsigned char>(c) <= ' ' || c == '=' || c == '!' || c == ',';
         });
}

}  // namespace

Result<FieldSelector> FieldSelector::parse(std::string_view text) {
  FieldSelector selector;
  if (text.size() > max_selector_bytes) return bad_field_selector(text, "is longer than 64 KiB");
  if (trimmed(text).empty()) return selector;
  for (std::size_t begin = 0; begin <= text.size();) {
    std::size_t end = begin;
    while (end < text.size() && text[end] != ',') end += text[end] == '\\' && end + 1 < text.size() ? 2 : 1;
    const auto part = trimmed(text.substr(begin, end - begin));
    begin = end + 1;
    const auto sign = part.find('=');
    if (sign == std::string_view::npos)
      return bad_field_selector(part, "= is missing; write it like spec.machinePoolRef.name=pool-a");
    Requirement requirement{{}, {}, true};
    auto path = part.substr(0, sign);
    if (path.ends_with('!')) {
      requirement.is_equal = false;
      path.remove_suffix(1);
    }
    requirement.path = trimmed(path);
    if (!is_field_path(requirement.path))
      return bad_field_selector(part, "the field must be a path like metadata.name");
    auto value = part.substr(sign + 1);
    if (requirement.is_equal && value.starts_with('=')) value.remove_prefix(1);
    auto plain = unescaped(trimmed(value));
    if (!plain) return bad_field_selector(part, R"(write , = and \ in a value as \, \= and \\)");
    requirement.value = *std::move(plain);
    selector.requirements_.push_back(std::move(requirement));
  }
  return selector;
}

namespace {

std::string quoted(std::string_view text) {
  std::string json = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') json += '\\';
    json += c;
  }
  return json + '"';
}

/// The least object that has this field. A step in brackets is a place in a list, or else a key.
std::string json_with(std::string_view path) {
  std::string before;
  std::string after;
  while (!path.empty()) {
    std::string_view step;
    if (path.starts_with('[')) {
      step = path.substr(1, path.find(']') - 1);
      path.remove_prefix(std::min(path.size(), step.size() + 2));
      if (!step.empty() && std::all_of(step.begin(), step.end(), [](char c) { return c >= '0' && c <= '9'; })) {
        before += '[';
        after += ']';
        continue;
      }
    } else {
      path.remove_prefix(path.starts_with('.') ? 1 : 0);
      step = path.substr(0, path.find_first_of(".["));
      path.remove_prefix(step.size());
    }
    before += '{' + quoted(step) + ':';
    after += '}';
  }
  std::reverse(after.begin(), after.end());
  return before + "\"\"" + after;
}

}  // namespace

Result<void> FieldSelector::check(const api::Kind& kind) const {
  for (const auto& requirement : requirements_) {
    const auto& path = requirement.path;
    if (path == "metadata.name" || path == "metadata.namespace" || path == kind.info().placement) continue;
    // The kind itself knows its fields; whether the value fits is of no concern here.
    const auto probe = kind.decode(json_with(path), api::UnknownFields::refuse);
    if (probe) continue;
    const Error error = probe.error();
    for (const auto& wrong : error.fields())
      if (wrong.reason == FieldError::Reason::unknown)
        return bad_field_selector(path, wrong.field + " of " + kind.resource() + ": " + wrong.message);
  }
  return {};
}

bool FieldSelector::matches(const api::Object& object) const {
  return std::all_of(requirements_.begin(), requirements_.end(), [&](const Requirement& requirement) {
    const auto& metadata = object.metadata();
    // The two that everybody uses need no copy of the text.
    if (requirement.path == "metadata.name") return (metadata.name == requirement.value) == requirement.is_equal;
    if (requirement.path == "metadata.namespace")
      return (metadata.namespace_ == requirement.value) == requirement.is_equal;
    return (api::field_text(object, requirement.path).value_or("") == requirement.value) == requirement.is_equal;
  });
}

const std::string* FieldSelector::required(std::string_view path) const noexcept {
  for (const auto& requirement : requirements_)
    if (requirement.is_equal && requirement.path == path) return &requirement.value;
  return nullptr;
}

std::string FieldSelector::to_text() const {
  std::string text;
  for (const auto& requirement : requirements_) {
    if (!text.empty()) text += ',';
    text += requirement.path + (requirement.is_equal ? "=" : "!=") + escaped(requirement.value);
  }
  return text;
}

}  // namespace ironcore::store
