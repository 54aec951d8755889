// SPDX-License-Identifier: Apache-2.0
// Declared structs → canonical JSON, straight into one string.
#pragma once

#include <string>

#include "json_writer.hpp"
#include "shapes.hpp"
#include "ironcore/base/base64.hpp"

namespace ironcore::api {

/// Absent in JSON: an empty text or container, an optional without value, a zero whose default is zero. Enumerators are
/// always written, and so is a struct in an optional, even if `{}`. A plain struct that would be `{}` is left out: the
/// caller sees that after writing it.
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
void write(std::string& out, const T& value);

/// `"key":value,` for each member, then the unknown ones.
template <DescribedStruct T>
void write_members(std::string& out, const T& value) {
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
    out += json::member_key<Descriptor>;
    const auto content = out.size();
    write(out, member);
    if constexpr (DescribedStruct<Member>) {
      if (out.size() == content + 2) {
        out.resize(start);
        return;
      }
    }
    out += ',';
  });
  for (const auto& [name, text] : value.unknown.members()) {
    json::append_string(out, name);
    out += ':';
    out += text;
    out += ',';
  }
}

inline void close_object(std::string& out) {
  if (out.back() == ',') {
    out.back() = '}';
  } else {
    out += '}';
  }
}

template <class T>
void write(std::string& out, const T& value) {
  if constexpr (DescribedStruct<T>) {
    out += '{';
    if constexpr (KindStruct<T>) {
      out += R"("apiVersion":")";
      out += api_version_text<T>.view();
      out += R"(","kind":")";
      out += T::info.kind;
      out += "\",";
    }
    write_members(out, value);
    close_object(out);
  } else if constexpr (DescribedEnum<T>) {
    out += '"';
    out += json::enumerator_name(value);
    out += '"';
  } else if constexpr (is_optional<T>) {
    write(out, *value);
  } else if constexpr (is_list<T>) {
    out += '[';
    for (const auto& item : value) {
      write(out, item);
      out += ',';
    }
    if (value.empty()) {
      out += ']';
    } else {
      out.back() = ']';
    }
  } else if constexpr (is_string_map<T>) {
    out += '{';
    for (const auto& [key, item] : value) {
      json::append_string(out, key);
      out += ':';
      write(out, item);
      out += ',';
    }
    close_object(out);
  } else if constexpr (std::same_as<T, std::string>) {
    json::append_string(out, value);
  } else if constexpr (std::same_as<T, bool>) {
    out += value ? "true" : "false";
  } else if constexpr (Integer<T>) {
    json::append_integer(out, value);
  } else if constexpr (std::same_as<T, Revision>) {
    out += '"';
    json::append_integer(out, value.value);
    out += '"';
  } else if constexpr (std::same_as<T, WallTime>) {
    json::append_time(out, value);
  } else if constexpr (std::same_as<T, Quantity>) {
    out += '"';
    out += value.to_text();
    out += '"';
  } else if constexpr (std::same_as<T, Bytes>) {
    out += '"';
    out += base64_encode(value.value);
    out += '"';
  } else {
    static_assert(!sizeof(T), "no JSON form for this type");
  }
}

}  // namespace ironcore::api
