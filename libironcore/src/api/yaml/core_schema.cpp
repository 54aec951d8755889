// SPDX-License-Identifier: Apache-2.0
// Plain scalars.
#include "core_schema.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdint>

#include "../json_reader.hpp"

namespace ironcore::api {

namespace {

bool is_digit(char c) {
  return c >= '0' && c <= '9';
}

template <std::size_t N>
bool is_one_of(std::string_view text, const std::array<std::string_view, N>& words) {
  return std::find(words.begin(), words.end(), text) != words.end();
}

std::string_view take_digits(std::string_view& text) {
  std::size_t count = 0;
  while (count < text.size() && is_digit(text[count])) ++count;
  const auto digits = text.substr(0, count);
  text.remove_prefix(count);
  return digits;
}

std::string_view without_leading_zeros(std::string_view digits) {
  const auto first = digits.find_first_not_of('0');
  return first == std::string_view::npos ? std::string_view("0") : digits.substr(first);
}

/// `0o17`, `0x1F`
std::optional<PlainScalar> resolve_base(std::string_view text) {
  const int base = text.starts_with("0o") ? 8 : text.starts_with("0x") ? 16 : 0;
  if (base == 0 || text.size() == 2) return std::nullopt;
  text.remove_prefix(2);
  const bool fits_base = std::all_of(text.begin(), text.end(), [&](char c) {
    return base == 8 ? c >= '0' && c <= '7' : is_digit(c) || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
  });
  if (!fits_base) return std::nullopt;
  std::uint64_t value = 0;
  const auto [end, failure] = std::from_chars(text.data(), text.data() + text.size(), value, base);
  if (failure != std::errc()) return PlainScalar{ScalarType::no_json, {}};
  return PlainScalar{ScalarType::integer, std::to_string(value)};
}

/// `[-+]? ( \. [0-9]+ | [0-9]+ ( \. [0-9]* )? ) ( [eE] [-+]? [0-9]+ )?`, rewritten as a JSON number.
std::optional<PlainScalar> resolve_decimal(std::string_view text) {
  std::string json;
  if (text.starts_with('-')) json += '-';
  if (text.starts_with('-') || text.starts_with('+')) text.remove_prefix(1);
  auto type = ScalarType::integer;
  const auto whole = take_digits(text);
  if (whole.empty() && !(text.size() > 1 && text[0] == '.' && is_digit(text[1]))) return std::nullopt;
  json += without_leading_zeros(whole);
  if (text.starts_with('.')) {
    type = ScalarType::number;
    text.remove_prefix(1);
    if (const auto fraction = take_digits(text); !fraction.empty()) json.append(".").append(fraction);
  }
  if (text.starts_with('e') || text.starts_with('E')) {
    type = ScalarType::number;
    text.remove_prefix(1);
    json += 'e';
    if (text.starts_with('-') || text.starts_with('+')) {
      json += text.front();
      text.remove_prefix(1);
    }
    const auto exponent = take_digits(text);
    if (exponent.empty()) return std::nullopt;
    json += exponent;
  }
  if (!text.empty()) return std::nullopt;
  return PlainScalar{type, std::move(json)};
}

std::string lower(std::string_view text) {
  std::string out(text);
  for (auto& c : out)
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  return out;
}

}  // namespace

PlainScalar resolve_plain(std::string_view text) {
  static constexpr std::array<std::string_view, 5> nulls{"", "~", "null", "Null", "NULL"};
  static constexpr std::array<std::string_view, 3> trues{"true", "True", "TRUE"};
  static constexpr std::array<std::string_view, 3> falses{"false", "False", "FALSE"};
  if (is_one_of(text, nulls)) return {ScalarType::null, "null"};
  if (is_one_of(text, trues)) return {ScalarType::boolean, "true"};
  if (is_one_of(text, falses)) return {ScalarType::boolean, "false"};
  if (auto number = resolve_base(text)) return *number;
  if (auto number = resolve_decimal(text)) return *number;
  auto rest = text;
  if (rest.starts_with('-') || rest.starts_with('+')) rest.remove_prefix(1);
  static constexpr std::array<std::string_view, 3> infinities{".inf", ".Inf", ".INF"};
  static constexpr std::array<std::string_view, 3> nans{".nan", ".NaN", ".NAN"};
  if (is_one_of(rest, infinities) || is_one_of(text, nans)) return {ScalarType::no_json, {}};
  return {};
}

bool needs_quotes(std::string_view text) {
  if (text.empty() || resolve_plain(text).type != ScalarType::text) return true;
  static constexpr std::array<std::string_view, 8> old_words{"y", "n", "yes", "no", "on", "off", "<<", "="};
  if (is_one_of(lower(text), old_words)) return true;
  // Older YAML reads 1_000, 0b11, 12:30 and dates as numbers and times: nothing that starts like one stays
  // bare.
  const char first = text.front();
  if (is_digit(first) || (text.size() > 1 && (first == '.' || first == '+') && (is_digit(text[1]) || text[1] == '.')))
    return true;
  if (std::string_view("-?:,[]{}#&*!|>'\"%@`= ").find(first) != std::string_view::npos || text.back() == ' ' ||
      text.back() == ':')
    return true;
  if (text.find(": ") != std::string_view::npos || text.find(" #") != std::string_view::npos) return true;
  for (std::size_t i = 0; i < text.size();) {
    const auto c = static_cast<unsigned char>(text[i]);
    if (c < 0x20 || c == 0x7F) return true;
    const auto length = json::utf8_length(text.substr(i));
    // Beyond ASCII some characters are blanks, breaks or marks in YAML; quoted, all of them are themselves.
    if (length != 1) return true;
    ++i;
  }
  return false;
}

}  // namespace ironcore::api
