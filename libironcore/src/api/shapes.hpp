// SPDX-License-Identifier: Apache-2.0
// Which kind of JSON a C++ type of a declared struct stands for, and what its absent value is.
#pragma once

#include <boost/describe.hpp>
#include <boost/mp11.hpp>
#include <concepts>
#include <map>
#include <optional>
#include <string>
#include <type_traits>
#include <vector>

#include "ironcore/api/boxed.hpp"
#include "ironcore/api/core.hpp"
#include "ironcore/api/metadata.hpp"
#include "ironcore/base/clock.hpp"
#include "ironcore/base/ip_address.hpp"
#include "ironcore/base/prefix.hpp"
#include "ironcore/base/quantity.hpp"
#include "json_names.hpp"

namespace ironcore::api {

template <class T>
concept DescribedStruct = std::is_class_v<T> && boost::describe::has_describe_members<T>::value;
template <class T>
concept DescribedEnum = std::is_enum_v<T> && boost::describe::has_describe_enumerators<T>::value;
template <class T>
concept Integer = std::integral<T> && !std::same_as<T, bool>;

template <class T>
inline constexpr bool is_optional = false;
template <class T>
inline constexpr bool is_optional<std::optional<T>> = true;
template <class T>
inline constexpr bool is_optional<Boxed<T>> = true;
/// An optional enumerator.
template <class T>
concept IsOptionalEnum = is_optional<T> && requires {
  requires DescribedEnum<typename T::value_type>;
};
template <class T>
inline constexpr bool is_list = false;
template <class T>
inline constexpr bool is_list<std::vector<T>> = true;
template <class T>
inline constexpr bool is_string_map = false;
template <class T>
inline constexpr bool is_string_map<std::map<std::string, T>> = true;

/// The struct of a kind: it has `apiVersion` and `kind` in JSON, from its `info`.
template <class T>
concept KindStruct = DescribedStruct<T> && requires {
  T::info;
};

namespace detail {
template <KindStruct T>
constexpr json::NameText join_api_version() {
  json::NameText out;
  out.add(T::info.group);
  if (!T::info.group.empty()) out.add('/');
  out.add(T::info.version);
  return out;
}
}  // namespace detail

/// `compute.ironcore.dev/v1alpha1`
template <KindStruct T>
inline constexpr json::NameText api_version_text = detail::join_api_version<T>();

/// A struct of T's declaration, to read what an absent member means.
template <class T>
const T& default_of() {
  static const T value{};
  return value;
}

/// Calls `visit(descriptor)` for each member, in order.
template <DescribedStruct T, class Visit>
void for_each_member(Visit&& visit) {
  boost::mp11::mp_for_each<json::MembersOf<T>>(visit);
}

}  // namespace ironcore::api
