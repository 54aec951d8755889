// SPDX-License-Identifier: Apache-2.0
// Declared structs → canonical JSON, straight into one string.
#pragma once

#include <string>

#include "ironcore/base/base64.hpp"
#include "json_writer.hpp"
#include "shapes.hpp"

namespace ironcore::api {

/// Absent in JSON: an empty text or container, an optional without value, a zero whose default is zero.
/// Enumerators are always written, and so is a struct in an optional, even if `{}`. A plain struct that would
/// be `{}` is left out: the caller sees that after writing it.
template <class T>
bool is_left_out(const T& value, const T& fallback) {
  if constexpr (std::same_as<T, std::string> || is_list<T> || is_string_map<T>) {
    return value.empty();
  } else if constexpr (is_optional<T>) {
    return !value.has_value();
  } else if constexpr (std::same_as<T, Bytes>) {
    return value.value.empty();
  } else if constexpr (std::same_as<T, Revision>) {
    return value.value == 0;
  } else if constexpr (std::is_integral_v<T>) {
    return value == T() && fallback == T();
  } else {
    return false;
  }
}

template <class T>
void write(json::Text& out, const T& value);

/// `"key":value,` for each member, then the unknown ones.
template <DescribedStruct T>
void write_members(json::Text& out, const T& value) {
  for_each_member<T>([&](auto descriptor) {
    using Descriptor = decltype(descriptor);
    const auto& member = value.*Descriptor::pointer;
    using Member = std::remove_cvref_t<decltype(member)>;
    if constexpr (std::is_integral_v<Member>) {
      if (is_left_out(member, default_of<T>().*Descriptor::pointer)) return;
    } else {
      if (is_left_out(member, member)) return;
    }
    const auto start = out.size();
    out.add(json::member_key<Descriptor>);
    const auto content = out.size();
    write(out, member);
    if constexpr (DescribedStruct<Member>) {
      if (out.size() == content + 2) {
        out.truncate(start);
        return;
      }
    }
    out.add(',');
  });
  for (const auto& [name, text] : value.unknown.members()) {
    json::append_string(out, name);
    out.add(':');
    out.add(text);
    out.add(',');
  }
}

inline void close_object(json::Text& out) {
  if (out.back() == ',') {
    out.replace_back('}');
  } else {
    out.add('}');
  }
}

template <class T>
void write(json::Text& out, const T& value) {
  if constexpr (DescribedStruct<T>) {
    out.add('{');
    if constexpr (KindStruct<T>) {
      out.add(R"("apiVersion":")");
      out.add(api_version_text<T>.view());
      out.add(R"(","kind":")");
      out.add(T::info.kind);
      out.add("\",");
    }
    write_members(out, value);
    close_object(out);
  } else if constexpr (DescribedEnum<T>) {
    out.add('"');
    out.add(json::enumerator_name(value));
    out.add('"');
  } else if constexpr (is_optional<T>) {
    write(out, *value);
  } else if constexpr (is_list<T>) {
    out.add('[');
    for (const auto& item : value) {
      write(out, item);
      out.add(',');
    }
    if (value.empty()) {
      out.add(']');
    } else {
      out.replace_back(']');
    }
  } else if constexpr (is_string_map<T>) {
    out.add('{');
    for (const auto& [key, item] : value) {
      json::append_string(out, key);
      out.add(':');
      write(out, item);
      out.add(',');
    }
    close_object(out);
  } else if constexpr (std::same_as<T, std::string>) {
    json::append_string(out, value);
  } else if constexpr (std::same_as<T, bool>) {
    out.add(value ? "true" : "false");
  } else if constexpr (Integer<T>) {
    out.add_integer(value);
  } else if constexpr (std::same_as<T, Revision>) {
    out.add('"');
    out.add_integer(value.value);
    out.add('"');
  } else if constexpr (std::same_as<T, WallTime>) {
    json::append_time(out, value);
  } else if constexpr (std::same_as<T, Quantity> || std::same_as<T, IpAddress> || std::same_as<T, Prefix>) {
    out.add('"');
    out.add(value.to_text());
    out.add('"');
  } else if constexpr (std::same_as<T, Bytes>) {
    out.add('"');
    out.add(base64_encode(value.value));
    out.add('"');
  } else {
    static_assert(!sizeof(T), "no JSON form for this type");
  }
}

}  // namespace ironcore::api
