// SPDX-License-Identifier: Apache-2.0
// The JSON names of members and enumerators, made from their C++ names while compiling.
#pragma once

#include <array>
#include <boost/describe.hpp>
#include <boost/mp11.hpp>
#include <cstddef>
#include <string_view>
#include <utility>

namespace ironcore::api::json {

/// Characters whose number is known while compiling.
struct NameText {
  std::array<char, 64> characters{};
  std::size_t size = 0;
  constexpr std::string_view view() const { return {characters.data(), size}; }
  constexpr void add(char c) { characters.at(size++) = c; }
  constexpr void add(std::string_view text) {
    for (const char c : text) add(c);
  }
};

constexpr char to_upper(char c) {
  return c >= 'a' && c <= 'z' ? static_cast<char>(c - 'a' + 'A') : c;
}

/// `provider_id` → `providerID`, `namespace_` → `namespace`, `ips` → `ips`. With `pascal` (enumerators) the
/// first word is capitalised too: `internal_ip` → `InternalIP`, `true_` → `True`, `ipv4` → `IPv4`.
enum class FirstWord { lower, upper };
constexpr NameText json_spelling(std::string_view name, FirstWord first) {
  NameText out;
  bool is_first = true;
  while (!name.empty()) {
    const auto end = name.find('_');
    const auto word = name.substr(0, end);
    name.remove_prefix(end == std::string_view::npos ? name.size() : end + 1);
    if (word.empty()) continue;
    if (is_first && first == FirstWord::lower) {
      out.add(word);
    } else if (word == "ipv4" || word == "ipv6") {
      out.add("IPv");
      out.add(word.back());
    } else if (word == "id" || word == "ip" || word == "dns") {
      for (const char c : word) out.add(to_upper(c));
    } else {
      out.add(to_upper(word.front()));
      out.add(word.substr(1));
    }
    is_first = false;
  }
  return out;
}

/// The descriptors of a struct's members, in the order of their declaration.
template <class T>
using MembersOf = boost::describe::describe_members<T, boost::describe::mod_public>;

template <class T>
inline constexpr std::size_t member_count = boost::mp11::mp_size<MembersOf<T>>::value;

template <class T, std::size_t I>
using MemberAt = boost::mp11::mp_at_c<MembersOf<T>, I>;

namespace detail {
constexpr NameText quoted_key(std::string_view name) {
  NameText out;
  out.add('"');
  out.add(name);
  out.add("\":");
  return out;
}
template <class Descriptor>
inline constexpr NameText member_text = json_spelling(Descriptor::name, FirstWord::lower);
template <class Descriptor>
inline constexpr NameText member_key_text = quoted_key(member_text<Descriptor>.view());
template <class Descriptor>
inline constexpr NameText enumerator_text = json_spelling(Descriptor::name, FirstWord::upper);

template <class T, std::size_t... I>
constexpr auto names_of_members(std::index_sequence<I...>) {
  return std::array<std::string_view, sizeof...(I)>{member_text<MemberAt<T, I>>.view()...};
}
template <class List>
struct EnumeratorNames;
template <template <class...> class List, class... D>
struct EnumeratorNames<List<D...>> {
  static constexpr std::array<std::string_view, sizeof...(D)> names{enumerator_text<D>.view()...};
};
template <class List>
struct EnumeratorValues;
template <template <class...> class List, class... D>
struct EnumeratorValues<List<D...>> {
  static constexpr std::array values{D::value...};
};
}  // namespace detail

/// `providerID`
template <class Descriptor>
inline constexpr std::string_view member_name = detail::member_text<Descriptor>.view();
/// `"providerID":`
template <class Descriptor>
inline constexpr std::string_view member_key = detail::member_key_text<Descriptor>.view();
/// All names of a struct, in order.
template <class T>
inline constexpr auto member_names = detail::names_of_members<T>(std::make_index_sequence<member_count<T>>());

/// `NoSchedule`, `NoExecute`: in the order of `enumerator_values`.
template <class E>
inline constexpr auto enumerator_names = detail::EnumeratorNames<boost::describe::describe_enumerators<E>>::names;
template <class E>
inline constexpr auto enumerator_values = detail::EnumeratorValues<boost::describe::describe_enumerators<E>>::values;

/// Empty for a value that is no enumerator.
template <class E>
constexpr std::string_view enumerator_name(E value) {
  for (std::size_t i = 0; i < enumerator_values<E>.size(); ++i)
    if (enumerator_values<E>[i] == value) return enumerator_names<E>[i];
  return {};
}

}  // namespace ironcore::api::json
