// SPDX-License-Identifier: Apache-2.0
// Two declared structs → the merge patch between them; and one field of a struct as text.
#pragma once

#include <array>
#include <charconv>
#include <optional>
#include <string>
#include <string_view>

#include "ironcore/api/json.hpp"
#include "json_encode.hpp"

namespace ironcore::api {

/// One step of a field path: `spec`, `[1]`, `[key]`.
struct PathStep {
  std::string_view name;
  bool is_bracketed = false;
};
/// Takes the first step off; nothing if the path is empty or malformed.
std::optional<PathStep> take_step(std::string_view& path);
/// The text of a scalar inside a JSON value.
std::optional<std::string> find_text(const json::Tree& tree, std::string_view path);

void write_difference(json::Text& out, const Unknown& from, const Unknown& to);

/// Appends `"key":patch,` for each member that differs.
template <DescribedStruct T>
void write_difference_members(json::Text& out, const T& from, const T& to);

template <DescribedStruct T>
void write_difference(json::Text& out, const T& from, const T& to) {
  out.add('{');
  write_difference_members(out, from, to);
  close_object(out);
}

template <class T>
void write_difference(json::Text& out, const std::map<std::string, T>& from, const std::map<std::string, T>& to) {
  out.add('{');
  for (const auto& [key, value] : from) {
    if (to.contains(key)) continue;
    json::append_string(out, key);
    out.add(":null,");
  }
  for (const auto& [key, value] : to) {
    const auto before = from.find(key);
    if (before != from.end() && before->second == value) continue;
    json::append_string(out, key);
    out.add(':');
    write(out, value);
    out.add(',');
  }
  close_object(out);
}

template <DescribedStruct T>
void write_difference_members(json::Text& out, const T& from, const T& to) {
  for_each_member<T>([&](auto descriptor) {
    using Descriptor = decltype(descriptor);
    const auto& before = from.*Descriptor::pointer;
    const auto& after = to.*Descriptor::pointer;
    using Member = std::remove_cvref_t<decltype(after)>;
    if constexpr (std::same_as<Member, Revision>) return;  // says which version it is, not what the object is
    if (before == after) return;
    const auto start = out.size();
    out.add(json::member_key<Descriptor>);
    const auto content = out.size();
    if (is_left_out(after, default_of<T>().*Descriptor::pointer)) {
      out.add("null,");
      return;
    }
    if constexpr (DescribedStruct<Member> || is_string_map<Member>) {
      write_difference(out, before, after);
      if (out.size() == content + 2) {
        out.truncate(start);
        return;
      }
    } else if constexpr (is_optional<Member>) {
      if constexpr (DescribedStruct<typename Member::value_type>) {
        if (before.has_value()) {
          write_difference(out, *before, *after);
        } else {
          write(out, *after);
        }
      } else {
        write(out, *after);
      }
    } else {
      write(out, after);
    }
    out.add(',');
  });
  write_difference(out, from.unknown, to.unknown);
}

template <class T>
std::optional<std::string> find_text(const T& value, std::string_view path);

namespace detail {
template <class T, std::size_t I>
std::optional<std::string> find_in_member(const T& value, std::string_view path) {
  constexpr auto pointer = json::MemberAt<T, I>::pointer;
  const auto& member = value.*pointer;
  if constexpr (std::is_integral_v<std::remove_cvref_t<decltype(member)>>) {
    if (is_left_out(member, default_of<T>().*pointer)) return std::nullopt;
  } else {
    if (is_left_out(member, member)) return std::nullopt;
  }
  return find_text(member, path);
}
template <class T>
using FindInMember = std::optional<std::string> (*)(const T&, std::string_view);
template <class T, std::size_t... I>
constexpr auto member_finders(std::index_sequence<I...>) {
  return std::array<FindInMember<T>, sizeof...(I)>{&find_in_member<T, I>...};
}
}  // namespace detail

/// The scalar at `path`, which starts at `value`. Absent (as in JSON), no scalar, or bytes: nothing.
template <class T>
std::optional<std::string> find_text(const T& value, std::string_view path) {
  if constexpr (is_optional<T>) {
    if (!value.has_value()) return std::nullopt;
    return find_text(*value, path);
  } else if constexpr (DescribedStruct<T>) {
    const auto step = take_step(path);
    if (!step || step->is_bracketed) return std::nullopt;
    static constexpr auto finders = detail::member_finders<T>(std::make_index_sequence<json::member_count<T>>());
    const auto& names = json::member_names<T>;
    for (std::size_t i = 0; i < names.size(); ++i)
      if (names[i] == step->name) return finders[i](value, path);
    const auto unknown = value.unknown.members().find(step->name);
    if (unknown == value.unknown.members().end()) return std::nullopt;
    const auto tree = json::parse_tree(unknown->second, json::Nulls::drop);
    return tree ? find_text(*tree, path) : std::nullopt;
  } else if constexpr (is_list<T>) {
    const auto step = take_step(path);
    if (!step || !step->is_bracketed) return std::nullopt;
    std::size_t index = 0;
    const auto* const end = step->name.data() + step->name.size();
    const auto [stop, failure] = std::from_chars(step->name.data(), end, index);
    if (failure != std::errc() || stop != end || index >= value.size()) return std::nullopt;
    return find_text(value[index], path);
  } else if constexpr (is_string_map<T>) {
    // Keys may have dots: without brackets, all that is left of the path is the key.
    std::string_view key = path.starts_with('.') ? path.substr(1) : path;
    if (path.starts_with('[')) {
      key = take_step(path).value_or(PathStep()).name;
      if (!path.empty()) return std::nullopt;
    }
    const auto entry = value.find(std::string(key));
    return entry == value.end() ? std::nullopt : find_text(entry->second, std::string_view());
  } else {
    if (!path.empty()) return std::nullopt;
    if constexpr (std::same_as<T, std::string>) {
      return value;
    } else if constexpr (DescribedEnum<T>) {
      return std::string(json::enumerator_name(value));
    } else if constexpr (std::same_as<T, bool>) {
      return value ? "true" : "false";
    } else if constexpr (Integer<T>) {
      return std::to_string(value);
    } else if constexpr (std::same_as<T, Revision>) {
      return std::to_string(value.value);
    } else if constexpr (std::same_as<T, WallTime>) {
      return to_rfc3339(value);
    } else if constexpr (std::same_as<T, Quantity> || std::same_as<T, IpAddress> || std::same_as<T, Prefix>) {
      return value.to_text();
    } else {
      static_assert(std::same_as<T, Bytes>);
      return std::nullopt;
    }
  }
}

}  // namespace ironcore::api
