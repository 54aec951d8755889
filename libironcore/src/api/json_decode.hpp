// SPDX-License-Identifier: Apache-2.0
// JSON → declared structs, in one pass; the same pass merges an RFC 7386 patch into a struct that has values
// already.
#pragma once

#include <array>
#include <cstdint>
#include <limits>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "field_path.hpp"
#include "ironcore/api/kind.hpp"
#include "json_reader.hpp"
#include "shapes.hpp"

namespace ironcore::api {

/// Paths of members without the indices of lists: `spec.volumes[].order`.
using Places = std::set<std::string, std::less<>>;

/// What reading one text collects besides the values.
struct Decoding {
  json::Reader& reader;
  UnknownFields unknown = UnknownFields::keep;
  /// A patch: entries of maps may replace older ones, and unknown members merge.
  bool is_patch = false;
  /// Unknown members that are kept although the others are refused, by `FieldPath::place`.
  const Places* kept = nullptr;
  std::vector<FieldError> errors;
  bool has_api_version = false;
  bool has_kind = false;

  /// Notes the error and passes over the value. Returns false so that callers can return it.
  void wrong(const FieldPath& at, FieldError::Reason reason, std::string message);
  /// `must be WANTED`, for a value of another type.
  void wrong_type(const FieldPath& at, std::string_view wanted);
  /// Notes the error; the value has been read already.
  void note(const FieldPath& at, FieldError::Reason reason, std::string message);

  bool read_text(const FieldPath& at, std::string_view& out);
  void read_integer(const FieldPath& at, std::int64_t min, std::int64_t max, std::int64_t& out);
  void read_quantity(const FieldPath& at, Quantity& out);
  void read_time(const FieldPath& at, WallTime& out);
  void read_revision(const FieldPath& at, Revision& out);
  void read_bytes(const FieldPath& at, Bytes& out);
  void read_address(const FieldPath& at, IpAddress& out);
  void read_prefix(const FieldPath& at, Prefix& out);
  /// Compares `apiVersion` or `kind` with what it has to be.
  void read_fixed(const FieldPath& at, std::string_view wanted);
  /// npos, with an error noted, if the text is none of `names`.
  std::size_t read_enumerator(const FieldPath& at, std::span<const std::string_view> names);
  /// `nulls` collects the names that came with null, so that a second coming is noticed.
  void read_unknown(const FieldPath& at, std::string_view key, std::span<const std::string_view> known,
                    std::set<std::string, std::less<>>& nulls, Unknown& out);
  /// A member came twice: the text is refused as a whole.
  void twice(std::string_view key);
};

/// More errors than these help nobody; a hostile text could have a million.
inline constexpr std::size_t max_field_errors = 32;
/// More elements are refused: an empty element of three bytes becomes a struct of a kilobyte.
inline constexpr std::size_t max_list_size = 10'000;

template <class T>
void read(Decoding& in, const FieldPath& at, T& out);

namespace detail {

template <class T>
using ReadMember = void (*)(Decoding&, const FieldPath&, T&);

template <class T, std::size_t I>
void read_member(Decoding& in, const FieldPath& at, T& out) {
  using Descriptor = json::MemberAt<T, I>;
  auto& member = out.*Descriptor::pointer;
  if (in.reader.peek() == json::Type::null) {
    in.reader.read_null();
    member = default_of<T>().*Descriptor::pointer;
    return;
  }
  using Member = std::remove_cvref_t<decltype(member)>;
  if constexpr (DescribedEnum<Member> || IsOptionalEnum<Member>) {
    // The programs of the original write an enumerator that is not set as an empty text.
    if (in.reader.take_empty_string()) {
      member = default_of<T>().*Descriptor::pointer;
      return;
    }
  }
  read(in, FieldPath(at, json::member_name<Descriptor>), member);
}

template <class T, std::size_t... I>
constexpr auto member_readers(std::index_sequence<I...>) {
  return std::array<ReadMember<T>, sizeof...(I)>{&read_member<T, I>...};
}

/// What a person may have meant by an unknown member.
template <class T>
constexpr auto meant_names() {
  constexpr auto& names = json::member_names<T>;
  std::array<std::string_view, names.size() + (KindStruct<T> ? 2 : 0)> all{};
  for (std::size_t i = 0; i < names.size(); ++i) all[i] = names[i];
  if constexpr (KindStruct<T>) {
    all[names.size()] = "apiVersion";
    all[names.size() + 1] = "kind";
  }
  return all;
}

/// Members usually come in the order of the declaration: look at the one after the last found first.
template <class T>
std::size_t find_member(std::string_view key, std::size_t likely) {
  constexpr auto& names = json::member_names<T>;
  if (likely < names.size() && names[likely] == key) return likely;
  for (std::size_t i = 0; i < names.size(); ++i)
    if (names[i] == key) return i;
  return names.size();
}

template <DescribedStruct T>
void read_struct(Decoding& in, const FieldPath& at, T& out) {
  static constexpr auto readers = member_readers<T>(std::make_index_sequence<json::member_count<T>>());
  static_assert(readers.size() <= 64);
  if (in.reader.peek() != json::Type::object) return in.wrong_type(at, "an object");
  if (!in.reader.begin_object()) return;
  std::uint64_t seen = 0;
  std::size_t next = 0;
  std::set<std::string, std::less<>> nulls;
  std::string_view key;
  while (in.reader.next_member(key)) {
    const auto index = find_member<T>(key, next);
    if (index < readers.size()) {
      const auto bit = std::uint64_t{1} << index;
      if ((seen & bit) != 0) return in.twice(key);
      seen |= bit;
      next = index + 1;
      readers[index](in, at, out);
      continue;
    }
    if constexpr (KindStruct<T>) {
      const bool is_version = key == "apiVersion";
      if (is_version || key == "kind") {
        bool& has = is_version ? in.has_api_version : in.has_kind;
        if (std::exchange(has, true)) return in.twice(key);
        in.read_fixed(FieldPath(at, is_version ? "apiVersion" : "kind"),
                      is_version ? api_version_text<T>.view() : T::info.kind);
        continue;
      }
    }
    static constexpr auto meant = meant_names<T>();
    in.read_unknown(at, key, meant, nulls, out.unknown);
  }
}

template <class T>
void read_list(Decoding& in, const FieldPath& at, std::vector<T>& out) {
  if (in.reader.peek() != json::Type::list) return in.wrong_type(at, "a list");
  if (!in.reader.begin_list()) return;
  out.clear();
  while (in.reader.next_item()) {
    const FieldPath item(at, out.size());
    if (out.size() == max_list_size) {
      in.reader.fail("the list " + at.text() + " has more than " + std::to_string(max_list_size) + " elements");
      return;
    }
    read(in, item, out.emplace_back());
  }
}

template <class T>
void read_map(Decoding& in, const FieldPath& at, std::map<std::string, T>& out) {
  if (in.reader.peek() != json::Type::object) return in.wrong_type(at, "an object");
  if (!in.reader.begin_object()) return;
  std::set<std::string, std::less<>> nulls;
  std::string_view found;
  while (in.reader.next_member(found)) {
    std::string key(found);
    if (!nulls.empty() && nulls.contains(key)) return in.twice(key);
    if (in.reader.peek() == json::Type::null) {
      in.reader.read_null();
      if (in.is_patch) {
        out.erase(key);
      } else if (out.contains(key)) {
        return in.twice(key);
      }
      nulls.insert(std::move(key));
      continue;
    }
    const auto [place, is_new] = out.try_emplace(std::move(key));
    if (!is_new && !in.is_patch) return in.twice(place->first);
    read(in, FieldPath::entry(at, place->first), place->second);
  }
}

}  // namespace detail

template <class T>
void read(Decoding& in, const FieldPath& at, T& out) {
  if constexpr (DescribedStruct<T>) {
    detail::read_struct(in, at, out);
  } else if constexpr (is_optional<T>) {
    if (!out.has_value()) out.emplace();
    read(in, at, *out);
  } else if constexpr (is_list<T>) {
    detail::read_list(in, at, out);
  } else if constexpr (is_string_map<T>) {
    detail::read_map(in, at, out);
  } else if constexpr (DescribedEnum<T>) {
    const auto index = in.read_enumerator(at, json::enumerator_names<T>);
    if (index != std::string_view::npos) out = json::enumerator_values<T>[index];
  } else if constexpr (std::same_as<T, std::string>) {
    std::string_view text;
    if (in.read_text(at, text)) out = text;
  } else if constexpr (std::same_as<T, bool>) {
    if (in.reader.peek() != json::Type::boolean) return in.wrong_type(at, "true or false");
    in.reader.read_boolean(out);
  } else if constexpr (Integer<T>) {
    static_assert(std::is_signed_v<T>);
    std::int64_t value = 0;
    in.read_integer(at, std::numeric_limits<T>::min(), std::numeric_limits<T>::max(), value);
    out = static_cast<T>(value);
  } else if constexpr (std::same_as<T, Revision>) {
    in.read_revision(at, out);
  } else if constexpr (std::same_as<T, WallTime>) {
    in.read_time(at, out);
  } else if constexpr (std::same_as<T, Quantity>) {
    in.read_quantity(at, out);
  } else if constexpr (std::same_as<T, IpAddress>) {
    in.read_address(at, out);
  } else if constexpr (std::same_as<T, Prefix>) {
    in.read_prefix(at, out);
  } else if constexpr (std::same_as<T, Bytes>) {
    in.read_bytes(at, out);
  } else {
    static_assert(!sizeof(T), "no JSON form for this type");
  }
}

/// `exhausted` if the text is larger than any object may be.
Result<> check_size(std::string_view text);
/// Finds what reading a patch cannot see: that a member comes twice.
Result<> check_patch(std::string_view patch);
/// The errors of a finished reading, if there are any. A manifest needs `apiVersion` and `kind`, a patch does
/// not.
Result<> finish_decoding(Decoding& in);

template <KindStruct T>
Result<> decode_text(std::string_view text, UnknownFields unknown, T& out, const Places* kept = nullptr) {
  IRONCORE_CHECK(check_size(text));
  json::Reader reader(text);
  Decoding in{.reader = reader, .unknown = unknown, .kept = kept, .errors = {}};
  read(in, FieldPath(), out);
  return finish_decoding(in);
}

/// The unknown members of a value and of what is in it.
template <class T>
void collect_unknown(const T& value, const FieldPath& at, Places& out) {
  if constexpr (DescribedStruct<T>) {
    for (const auto& [name, text] : value.unknown.members()) out.insert(FieldPath(at, name).place());
    for_each_member<T>([&](auto descriptor) {
      using Descriptor = decltype(descriptor);
      collect_unknown(value.*Descriptor::pointer, FieldPath(at, json::member_name<Descriptor>), out);
    });
  } else if constexpr (is_optional<T>) {
    if (value) collect_unknown(*value, at, out);
  } else if constexpr (is_list<T>) {
    for (const auto& item : value) collect_unknown(item, FieldPath(at, std::size_t{0}), out);
  }
}

/// Lays an RFC 7386 patch over `out`, which is worth nothing after an error.
template <KindStruct T>
Result<> merge_text(std::string_view patch, T& out) {
  IRONCORE_CHECK(check_patch(patch));
  json::Reader reader(patch);
  Decoding in{.reader = reader, .is_patch = true, .errors = {}};
  read(in, FieldPath(), out);
  return finish_decoding(in);
}

}  // namespace ironcore::api
