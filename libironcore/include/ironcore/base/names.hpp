// SPDX-License-Identifier: Apache-2.0
// What a legal name, label or key is, and which known word an unknown one was meant to be.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace ironcore {

/// Each check returns nothing if the text is fine, or the reason it is not, as the end of a sentence that starts with
/// the field: `must start and end with a lower-case letter or a digit`. The rules are those of Kubernetes.

/// RFC 1123 label: up to 63 of `a-z 0-9 -`, a letter or digit at both ends.
std::optional<std::string> check_dns_label(std::string_view text);
/// DNS labels joined by dots, up to 253 characters.
std::optional<std::string> check_dns_subdomain(std::string_view text);
/// `name` or `prefix/name`: the prefix is a DNS subdomain; the name is up to 63 of `A-Z a-z 0-9 - _ .`, a letter or
/// digit at both ends.
std::optional<std::string> check_qualified_name(std::string_view text);
/// A label key is a qualified name.
std::optional<std::string> check_label_key(std::string_view text);
/// Empty, or like the name of a qualified name.
std::optional<std::string> check_label_value(std::string_view text);

/// The candidate that differs least from `word` (insertions, deletions, replacements, swapped neighbours; case counts
/// only among equals), if it is close enough to be a likely typing error. The first of equals.
std::optional<std::string_view> nearest(std::string_view word, std::span<const std::string_view> candidates);
std::optional<std::string_view> nearest(std::string_view word, std::span<const std::string> candidates);

/// ` (did you mean "spec"?)`, or nothing if no candidate is close.
std::string did_you_mean(std::string_view word, std::span<const std::string_view> candidates);
std::string did_you_mean(std::string_view word, std::span<const std::string> candidates);

}  // namespace ironcore
