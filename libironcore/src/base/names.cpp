// SPDX-License-Identifier: Apache-2.0
// The rules of Kubernetes for names and labels, and the nearest known word.
#include "ironcore/base/names.hpp"

#include <algorithm>
#include <cstddef>

namespace ironcore {

namespace {

bool is_lower(char c) {
  return c >= 'a' && c <= 'z';
}
bool is_upper(char c) {
  return c >= 'A' && c <= 'Z';
}
bool is_digit(char c) {
  return c >= '0' && c <= '9';
}
bool is_lower_alphanumeric(char c) {
  return is_lower(c) || is_digit(c);
}
bool is_alphanumeric(char c) {
  return is_lower_alphanumeric(c) || is_upper(c);
}

std::string too_long(std::size_t most) {
  return "must have at most " + std::to_string(most) + " characters";
}

/// What stands between the slashes and dots of label keys and values.
std::optional<std::string> check_label_word(std::string_view text) {
  if (text.size() > 63) return too_long(63);
  for (const char c : text)
    if (!is_alphanumeric(c) && c != '-' && c != '_' && c != '.')
      return "may contain only letters, digits, '-', '_' and '.'";
  if (!is_alphanumeric(text.front()) || !is_alphanumeric(text.back()))
    return "must start and end with a letter or a digit";
  return std::nullopt;
}

char lowered(char c) {
  return is_upper(c) ? static_cast<char>(c - 'A' + 'a') : c;
}

/// Damerau-Levenshtein distance (optimal string alignment) without regard to case, in half steps: 2 for each edit, and
/// 1 if only the case differs. `limit` and more are all the same to the caller.
std::size_t distance(std::string_view a, std::string_view b, std::size_t limit) {
  const auto gap = a.size() > b.size() ? a.size() - b.size() : b.size() - a.size();
  if (2 * gap >= limit) return limit;
  std::vector<std::size_t> before_last(b.size() + 1), last(b.size() + 1), row(b.size() + 1);
  for (std::size_t j = 0; j <= b.size(); ++j) last[j] = 2 * j;
  for (std::size_t i = 1; i <= a.size(); ++i) {
    row[0] = 2 * i;
    for (std::size_t j = 1; j <= b.size(); ++j) {
      const char x = lowered(a[i - 1]), y = lowered(b[j - 1]);
      row[j] = std::min({last[j] + 2, row[j - 1] + 2, last[j - 1] + (x == y ? 0 : 2)});
      if (i > 1 && j > 1 && x == lowered(b[j - 2]) && lowered(a[i - 2]) == y)
        row[j] = std::min(row[j], before_last[j - 2] + 2);
    }
    std::swap(before_last, last);
    std::swap(last, row);
  }
  const auto steps = last[b.size()];
  return std::min(steps == 0 && a != b ? 1 : steps, limit);
}

template <class Text>
std::optional<std::string_view> nearest_of(std::string_view word, std::span<const Text> candidates) {
  constexpr std::size_t longest = 128;  // longer input is no typing error, and the work is bounded
  if (word.empty() || word.size() > longest) return std::nullopt;
  std::optional<std::string_view> best;
  // A third of the letters may be wrong, at least one; a word that is all wrong is no suggestion.
  std::size_t limit = 2 * std::max<std::size_t>(1, word.size() / 3) + 1;
  for (const auto& candidate : candidates) {
    if (candidate.empty() || candidate.size() > longest) continue;
    const auto steps = distance(word, candidate, limit);
    if (steps < limit && steps < 2 * std::max(word.size(), candidate.size())) {
      best = candidate;
      limit = steps;
    }
  }
  if (best || word.size() < 3) return best;
  // Somebody who stopped typing meant the only word that goes on like this.
  for (const auto& candidate : candidates) {
    if (!std::string_view(candidate).starts_with(word)) continue;
    if (best) return std::nullopt;
    best = candidate;
  }
  return best;
}

template <class Text>
std::string suggestion(std::string_view word, std::span<const Text> candidates) {
  const auto best = nearest(word, candidates);
  return best ? " (did you mean \"" + std::string(*best) + "\"?)" : std::string();
}

}  // namespace

std::optional<std::string> check_dns_label(std::string_view text) {
  if (text.empty()) return "must not be empty";
  if (text.size() > 63) return too_long(63);
  for (const char c : text)
    if (!is_lower_alphanumeric(c) && c != '-') return "may contain only lower-case letters, digits and '-'";
  if (!is_lower_alphanumeric(text.front()) || !is_lower_alphanumeric(text.back()))
    return "must start and end with a lower-case letter or a digit";
  return std::nullopt;
}

std::optional<std::string> check_dns_subdomain(std::string_view text) {
  if (text.empty()) return "must not be empty";
  if (text.size() > 253) return too_long(253);
  for (const char c : text)
    if (!is_lower_alphanumeric(c) && c != '-' && c != '.')
      return "may contain only lower-case letters, digits, '-' and '.'";
  // Unlike a label, a part may be longer than 63: Kubernetes bounds only the whole.
  for (std::size_t at = 0; at <= text.size();) {
    const auto end = std::min(text.find('.', at), text.size());
    if (end == at || text[at] == '-' || text[end - 1] == '-')
      return "must start and end with a lower-case letter or a digit, and so must each part between dots";
    at = end + 1;
  }
  return std::nullopt;
}

std::optional<std::string> check_qualified_name(std::string_view text) {
  const auto slash = text.find('/');
  auto word = text;
  if (slash != std::string_view::npos) {
    word = text.substr(slash + 1);
    if (word.find('/') != std::string_view::npos) return "may contain only one '/'";
    if (const auto wrong = check_dns_subdomain(text.substr(0, slash))) return "the part before '/' " + *wrong;
  }
  if (word.empty())
    return slash == std::string_view::npos ? "must not be empty" : "the part after '/' must not be empty";
  auto wrong = check_label_word(word);
  if (wrong && slash != std::string_view::npos) return "the part after '/' " + *wrong;
  return wrong;
}

std::optional<std::string> check_label_key(std::string_view text) {
  return check_qualified_name(text);
}

std::optional<std::string> check_label_value(std::string_view text) {
  if (text.empty()) return std::nullopt;
  return check_label_word(text);
}

std::optional<std::string_view> nearest(std::string_view word, std::span<const std::string_view> candidates) {
  return nearest_of(word, candidates);
}
std::optional<std::string_view> nearest(std::string_view word, std::span<const std::string> candidates) {
  return nearest_of(word, candidates);
}

std::string did_you_mean(std::string_view word, std::span<const std::string_view> candidates) {
  return suggestion(word, candidates);
}
std::string did_you_mean(std::string_view word, std::span<const std::string> candidates) {
  return suggestion(word, candidates);
}

}  // namespace ironcore
